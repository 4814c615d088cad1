//! Work that would hold up a connection's reading, such as packing depth images,
//! on a thread of its own.

use std::{cell::Cell, thread::JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Item, Output};

/// Pieces of work that wait; a slower computer loses images, and they are counted.
const QUEUE: usize = 16;

type Work = Box<dyn FnOnce() -> Vec<Item> + Send>;

/// One thread, which works in order.
pub(super) struct Background {
    work: Option<Sender<(usize, Work)>>,
    done: Receiver<(usize, Vec<Item>)>,
    /// Pieces of work whose results have not been fetched.
    waiting: Cell<usize>,
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
            waiting: Cell::new(0),
            thread: Some(thread),
        })
    }

    /// Hands a piece of work over, for a stream of the connection; `false` where
    /// there is too much of it already.
    pub fn run(&self, stream: usize, work: impl FnOnce() -> Vec<Item> + Send + 'static) -> bool {
        let queue = self.work.as_ref();
        let taken = queue.is_some_and(|queue| queue.try_send((stream, Box::new(work))).is_ok());
        self.waiting.set(self.waiting.get() + usize::from(taken));
        taken
    }

    /// Hands an item on behind the work that waits, so that a stream's samples and
    /// its losses stay in order.
    pub fn push(&self, stream: usize, item: Item, out: &mut Output) {
        let late = item.clone();
        if self.waiting.get() == 0 || !self.run(stream, move || vec![late]) {
            out.push(stream, item);
        }
    }

    /// Fetches what is done.
    pub fn fetch(&self, out: &mut Output) {
        for (stream, items) in self.done.try_iter() {
            self.waiting.set(self.waiting.get() - 1);
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
    fn what_is_pushed_stands_behind_the_work_that_waits() {
        let background = Background::start("test").expect("a thread");
        let mut output = Output::default();
        background.push(0, note(0), &mut output);
        assert_eq!(output.items.len(), 1, "nothing waits");
        let (hold, held) = bounded::<()>(0);
        background.run(0, move || {
            let _ = held.recv();
            vec![note(1)]
        });
        background.push(0, note(2), &mut output);
        assert_eq!(output.items.len(), 1, "behind the work");
        drop(hold);
        let end = Instant::now() + Duration::from_secs(10);
        while output.items.len() < 3 {
            background.fetch(&mut output);
            assert!(Instant::now() < end, "not done within 10 s");
        }
        let numbers: Vec<_> = output
            .items
            .iter()
            .map(|(_, item)| match item {
                Item::Note { text, .. } => text.as_str(),
                _ => "",
            })
            .collect();
        assert_eq!(numbers, ["0", "1", "2"]);
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
