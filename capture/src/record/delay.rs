//! How long samples wait for the writer.

use std::time::Duration;

/// Four buckets for each doubling, from a microsecond to an hour.
const BUCKETS: usize = 128;

/// Counts of delays, by size.
pub(super) struct Delays {
    counts: [u64; BUCKETS],
    total: u64,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            total: 0,
        }
    }
}

impl Delays {
    pub fn push(&mut self, delay: Duration) {
        let micros = (delay.as_secs_f64() * 1e6).max(1.0);
        let bucket = (micros.log2() * 4.0) as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
        self.total += 1;
    }

    /// 99th percentile, rounded up to the edge of its bucket [s]; 0 without any.
    pub fn p99_s(&self) -> f64 {
        let mut left = self.total - self.total * 99 / 100;
        if self.total == 0 {
            return 0.0;
        }
        for (bucket, &count) in self.counts.iter().enumerate().rev() {
            if count >= left {
                return 2_f64.powf((bucket + 1) as f64 / 4.0) * 1e-6;
            }
            left -= count;
        }
        0.0
    }
}
