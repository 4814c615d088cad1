//! JPEGs made beside the device's thread, so that no image waits for the encoder
//! before it is stamped. One thread a camera keeps their order.

use std::thread::JoinHandle;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::pixels::Layout;

/// Images between the two threads; more means that the encoder is too slow.
const QUEUE: usize = 8;

/// An image that came out, with what travelled with it.
pub type Finished<T> = (T, Result<Vec<u8>, String>);

/// The thread that makes JPEGs. `T` is what travels with an image.
pub struct Encoder<T> {
    jobs: Option<Sender<(T, Bytes)>>,
    done: Receiver<Finished<T>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Encoder<T> {
    /// Starts it.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn start(layout: Layout) -> std::io::Result<Self> {
        let (jobs, todo) = bounded::<(T, Bytes)>(QUEUE);
        let (send, done) = bounded(2 * QUEUE);
        let thread = std::thread::Builder::new()
            .name("jpeg".to_owned())
            .spawn(move || {
                for (with, pixels) in todo {
                    if send.send((with, layout.to_jpeg(&pixels))).is_err() {
                        break;
                    }
                }
            })?;
        Ok(Self {
            jobs: Some(jobs),
            done,
            thread: Some(thread),
        })
    }

    /// Hands over an image; false when the encoder is behind and it is lost.
    pub fn push(&self, with: T, pixels: Bytes) -> bool {
        self.jobs
            .as_ref()
            .is_some_and(|jobs| jobs.try_send((with, pixels)).is_ok())
    }

    /// The next finished one, if there is one.
    pub fn finished(&self) -> Option<Finished<T>> {
        self.done.try_recv().ok()
    }

    /// Waits for all that were handed over.
    pub fn into_rest(mut self) -> Vec<Finished<T>> {
        self.jobs = None;
        self.done.iter().collect()
    }
}

impl<T> Drop for Encoder<T> {
    fn drop(&mut self) {
        // Without jobs to come, and with nobody who waits for them, the thread ends.
        self.jobs = None;
        self.done = crossbeam_channel::never();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::driver::pixels::{Layout, Pixel};

    #[test]
    fn every_image_comes_back_in_order_or_is_refused() {
        let layout = Layout::new(Pixel::Grey, (64, 48), 0, true);
        let encoder = Encoder::start(layout).expect("a thread");
        let pixels = Bytes::from(vec![9; layout.image_bytes()]);
        let taken: Vec<u32> = (0..200)
            .filter(|&n| encoder.push(n, pixels.clone()))
            .collect();
        let mut finished = Vec::new();
        for _ in 0..2000 {
            match encoder.finished() {
                Some((number, jpeg)) => {
                    assert!(jpeg.is_ok());
                    finished.push(number);
                }
                None if finished.len() == taken.len() => break,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
            // What did not fit behind the finished ones goes on once there is room.
        }
        assert_eq!(finished, taken);
        assert!(!taken.is_empty());
    }
}
