//! Independent pieces of work on several threads.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// As many threads as the machine has for us.
pub(crate) fn all_threads() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// `work(state, 0)`, …, `work(state, count - 1)`, in order. Which thread does which is left to
/// chance, so `work` must depend on its number alone; each thread makes its own `state`, for
/// buffers. A thread that the system refuses leaves its share to the others.
pub(crate) fn in_parallel<S, T: Send>(
    threads: NonZeroUsize,
    count: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut state = state();
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return done;
            }
            done.push((number, work(&mut state, number)));
        }
    };
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..threads.get().min(count))
            .filter_map(|number| {
                let builder = thread::Builder::new().name(format!("arm {number}"));
                builder.spawn_scoped(scope, run).ok()
            })
            .collect();
        let mut done = run();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_order_on_any_number_of_threads() {
        for threads in [1, 2, 7] {
            let threads = NonZeroUsize::new(threads).unwrap();
            let squares = in_parallel(threads, 100, || (), |(), number| number * number);
            let expected: Vec<_> = (0..100).map(|number| number * number).collect();
            assert_eq!(squares, expected);
        }
        let none: Vec<usize> = in_parallel(NonZeroUsize::MIN, 0, || (), |(), number| number);
        assert!(none.is_empty());
    }
}
