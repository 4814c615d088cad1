//! Many inputs at once, results in their order.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::interrupt::Interrupt;
use crate::terminal::Progress;

/// `work` on each of `items`, on `jobs` threads named after `what`; one result an item, in their order, `None` for those
/// that an interrupt came before.
pub fn in_parallel<I: Sync, T: Send>(
    what: &str,
    items: &[I],
    jobs: usize,
    interrupt: &Interrupt,
    progress: &mut Progress,
    work: impl Fn(&I) -> T + Sync,
) -> Vec<Option<T>> {
    let next = AtomicUsize::new(0);
    let mut results: Vec<Option<T>> = items.iter().map(|_| None).collect();
    let jobs = jobs.clamp(1, items.len().max(1));
    std::thread::scope(|scope| {
        let (send, receive) = crossbeam_channel::bounded(jobs);
        for number in 0..jobs {
            let (send, next, work) = (send.clone(), &next, &work);
            let each = move || {
                while !interrupt.has_come() {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    if send.send((index, work(item))).is_err() {
                        break;
                    }
                }
            };
            std::thread::Builder::new()
                .name(format!("{what} {number}"))
                .spawn_scoped(scope, each)
                .expect("a thread should start");
        }
        drop(send);
        for (done, (index, result)) in receive.iter().enumerate() {
            results[index] = Some(result);
            progress.set(done as u64 + 1);
        }
    });
    results
}
