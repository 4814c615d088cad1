//! Work that would hold up a connection's reading, such as packing depth images,
//! on a thread of its own.

use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Item, Output};

/// Pieces of work that wait; a slower computer loses images, and they are counted.
const QUEUE: usize = 16;

type Work = Box<dyn FnOnce() -> Vec<Item> + Send>;

/// One thread, which works in order.
pub(super) struct Background {
    work: Option<Sender<(usize, Work)>>,
    done: Receiver<(usize, Vec<Item>)>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts the thread.
    pub fn start(name: &str) -> std::io::Result<Self> {
        let (sender, work) = bounded::<(usize, Work)>(QUEUE);
        // Where nobody fetches them, the thread waits and more work is refused.
        let (results, done) = bounded(2 * QUEUE);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                for (stream, work) in work {
                    if results.send((stream, work())).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            work: Some(sender),
            done,
            thread: Some(thread),
        })
    }

    /// Hands a piece of work over, for a stream of the connection; `false` where
    /// there is too much of it already.
    pub fn run(&self, stream: usize, work: impl FnOnce() -> Vec<Item> + Send + 'static) -> bool {
        self.work
            .as_ref()
            .is_some_and(|queue| queue.try_send((stream, Box::new(work))).is_ok())
    }

    /// Fetches what is done.
    pub fn fetch(&self, out: &mut Output) {
        for (stream, items) in self.done.try_iter() {
            for item in items {
                out.push(stream, item);
            }
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.work = None;
        // Results that nobody fetches any more must not hold it up.
        for _ in &self.done {}
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn note(number: usize) -> Item {
        Item::Note {
            warning: false,
            text: number.to_string(),
        }
    }

    #[test]
    fn results_come_in_order_and_too_much_work_is_refused() {
        let background = Background::start("test").expect("a thread");
        let (hold, held) = bounded::<()>(0);
        assert!(background.run(0, move || {
            let _ = held.recv();
            vec![note(0)]
        }));
        let mut taken = 1;
        while background.run(taken, move || vec![note(taken)]) {
            taken += 1;
        }
        assert!((QUEUE..=QUEUE + 1).contains(&taken), "{taken}");
        drop(hold);
        let mut output = Output::default();
        let end = Instant::now() + Duration::from_secs(10);
        while output.items.len() < taken {
            background.fetch(&mut output);
            assert!(Instant::now() < end, "not done within 10 s");
            std::thread::sleep(Duration::from_millis(1));
        }
        for (number, (stream, item)) in output.items.iter().enumerate() {
            assert!(
                *stream == number
                    && matches!(item, Item::Note { text, .. } if *text == number.to_string())
            );
        }
    }

    #[test]
    fn it_ends_although_nobody_fetches_its_results() {
        let background = Background::start("test").expect("a thread");
        for number in 0..1000 {
            background.run(0, move || vec![note(number)]);
        }
        drop(background);
    }
}
