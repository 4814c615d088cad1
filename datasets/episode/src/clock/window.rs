//! The envelope of the last minute or so.

use std::collections::VecDeque;

use super::envelope::Envelope;
use crate::time::{Delta, DeviceTime, HostTime};

/// Parts that a window is forgotten in.
const PARTS: i64 = 8;

/// Envelope of the samples of a window that moves along with the newest one.
///
/// A hull cannot forget its first vertices: what lay above their edges was thrown away, and
/// the hull of what remains may be the last second alone. So each part of the window keeps a
/// hull of its own, and the hull of all is made anew from these when a part is too old.
#[derive(Debug, Clone)]
pub(super) struct SlidingEnvelope {
    length: Delta,
    /// Oldest first, never empty.
    parts: VecDeque<Envelope>,
    whole: Envelope,
}

impl SlidingEnvelope {
    /// `length`: how far before the newest sample others count, and up to an eighth more.
    pub fn new(length: Delta, device: DeviceTime, host: HostTime) -> Self {
        let whole = Envelope::new(device, host);
        Self {
            length,
            parts: VecDeque::from([whole.clone()]),
            whole,
        }
    }

    /// Of all samples in the window.
    pub fn whole(&self) -> &Envelope {
        &self.whole
    }

    pub fn push(&mut self, device: DeviceTime, host: HostTime) {
        let newest = self.whole.last_x();
        self.whole.push(device, host);
        let point = self.whole.relative(device, host);
        let part = self.parts.back_mut().expect("never empty");
        if point.0 <= newest || part.span().nanos() * PARTS < self.length.nanos() {
            part.push(device, host);
            return;
        }
        self.parts.push_back(self.whole.single(point));
        let limit = point.0 - self.length.nanos();
        let parts = self.parts.len();
        while self.parts.len() > 1 && self.parts[0].last_x() < limit {
            self.parts.pop_front();
        }
        if self.parts.len() < parts {
            self.whole = self.parts[0].clone();
            let later = self.parts.iter().skip(1);
            later.for_each(|part| self.whole.append(part));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_envelope_of_the_samples_of_its_window(
            steps in proptest::collection::vec((-300_000_i64..20_000_000, 0_i64..20_000_000), 20..600)
        ) {
            const LENGTH: Delta = Delta::from_millis(1_000);
            let mut device = 0;
            let samples: Vec<_> = steps.iter().map(|&(step, late)| {
                device += step;
                (DeviceTime::from_nanos(device), HostTime::from_nanos(device + device / 30_000 + late))
            }).collect();
            let mut sliding = SlidingEnvelope::new(LENGTH, samples[0].0, samples[0].1);
            for (index, &(device, host)) in samples.iter().enumerate().skip(1) {
                sliding.push(device, host);
                let whole = sliding.whole();
                let count = whole.count() as usize;
                prop_assert!(count <= index + 1);
                // The last samples, as many as it says: all of the window are among them.
                let recent = &samples[index + 1 - count..=index];
                let newest = recent.iter().map(|s| s.0).max().expect("one");
                prop_assert!(samples[..index + 1 - count].iter().all(|s| newest - s.0 > LENGTH));
                let span = newest - recent.iter().map(|s| s.0).min().expect("one");
                // Parts are as long as steps allow, and a stamp may be behind the one before.
                prop_assert!(span <= LENGTH + LENGTH + Delta::from_millis(40));
                let line = whole.line();
                for &(device, host) in recent {
                    let (x, y) = whole.relative(device, host);
                    // A stamp that is behind another is not in the hull.
                    prop_assert!(y >= line.at(x) - 2 || x < whole.last_x());
                }
                let sorted = recent.is_sorted_by_key(|s| s.0);
                if sorted {
                    let fresh = Envelope::of(recent);
                    prop_assert_eq!(
                        whole.vertices().collect::<Vec<_>>(),
                        fresh.vertices().collect::<Vec<_>>()
                    );
                }
            }
        }
    }
}
