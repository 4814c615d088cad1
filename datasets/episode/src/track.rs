//! Values over time: what a stream measured, at its own capture times.

use nalgebra::{Isometry3, Translation3};

use crate::{
    read::ImageIndex,
    time::{Delta, SessionTime},
};

/// A value that changes over time, sampled at its own times.
#[derive(Debug, Clone, Default)]
pub struct Track<T> {
    /// Capture times, increasing.
    pub times: Vec<SessionTime>,
    /// One per time.
    pub values: Vec<T>,
}

/// What can be interpolated between two samples.
pub trait Interpolate: Clone {
    /// From `a` (0) to `b` (1).
    fn between(a: &Self, b: &Self, t: f64) -> Self;
}

impl Interpolate for f64 {
    fn between(a: &Self, b: &Self, t: f64) -> Self {
        a + (b - a) * t
    }
}

impl<const N: usize> Interpolate for [f64; N] {
    fn between(a: &Self, b: &Self, t: f64) -> Self {
        std::array::from_fn(|i| f64::between(&a[i], &b[i], t))
    }
}

impl Interpolate for Isometry3<f64> {
    fn between(a: &Self, b: &Self, t: f64) -> Self {
        let rotation = a
            .rotation
            .try_slerp(&b.rotation, t, 1e-9)
            .unwrap_or(b.rotation);
        Self::from_parts(
            Translation3::from(a.translation.vector.lerp(&b.translation.vector, t)),
            rotation,
        )
    }
}

impl<T: Interpolate> Track<T> {
    /// Value at `time`, or `None` outside the track or inside a gap longer than
    /// `max_gap`.
    pub fn at(&self, time: SessionTime, max_gap: Delta) -> Option<T> {
        let right = self.times.partition_point(|&t| t < time);
        if let (Some(&t), Some(value)) = (self.times.get(right), self.values.get(right))
            && t == time
        {
            return Some(value.clone());
        }
        let left = right.checked_sub(1)?;
        let (t0, t1) = (self.times[left], *self.times.get(right)?);
        let gap = t1 - t0;
        if gap > max_gap || gap.nanos() <= 0 {
            return None;
        }
        let t = (time - t0).nanos() as f64 / gap.nanos() as f64;
        Some(T::between(&self.values[left], &self.values[right], t))
    }

    /// Adds a sample; one that is not later than the last is refused.
    pub(crate) fn push(&mut self, time: SessionTime, value: T) -> bool {
        if self.times.last().is_some_and(|&last| time <= last) {
            return false;
        }
        self.times.push(time);
        self.values.push(value);
        true
    }
}

/// Images of one camera.
#[derive(Debug, Clone)]
pub struct ImageTrack {
    /// Capture times, in the order of the file.
    pub times: Vec<SessionTime>,
    /// Where the images lie; as many.
    pub index: ImageIndex,
}

/// An image chosen for a grid time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageChoice {
    /// Into the camera's [`ImageIndex`].
    pub index: usize,
    /// Its capture time.
    pub capture: SessionTime,
}

impl ImageTrack {
    /// Nearest image, ties earlier; `None` beyond `limit`.
    pub fn nearest(&self, time: SessionTime, limit: Delta) -> Option<ImageChoice> {
        let right = self.times.partition_point(|&t| t < time);
        let candidates = [
            right.checked_sub(1),
            (right < self.times.len()).then_some(right),
        ];
        let index = candidates
            .into_iter()
            .flatten()
            .min_by_key(|&i| ((self.times[i] - time).abs(), i))?;
        let capture = self.times[index];
        ((capture - time).abs() <= limit).then_some(ImageChoice { index, capture })
    }

    /// Latest image that is not after `time`; `None` where it is older than `limit`.
    pub fn latest(&self, time: SessionTime, limit: Delta) -> Option<ImageChoice> {
        let index = self.times.partition_point(|&t| t <= time).checked_sub(1)?;
        let capture = self.times[index];
        (time - capture <= limit).then_some(ImageChoice { index, capture })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::align::DEFAULT_MAX_GAP;

    fn track(times_ms: &[i64]) -> Track<f64> {
        Track {
            times: times_ms
                .iter()
                .map(|ms| SessionTime::from_nanos(ms * 1_000_000))
                .collect(),
            values: times_ms.iter().map(|&ms| ms as f64).collect(),
        }
    }

    #[test]
    fn nothing_is_interpolated_across_a_long_gap() {
        let track = track(&[0, 10, 20, 100, 110]);
        let at = |ms: i64| track.at(SessionTime::from_nanos(ms * 1_000_000), DEFAULT_MAX_GAP);
        assert_eq!(at(15), Some(15.0));
        assert_eq!(at(60), None);
        assert_eq!(at(100), Some(100.0));
        assert_eq!(at(-1), None);
        assert_eq!(at(111), None);
    }

    proptest! {
        #[test]
        fn interpolation_stays_between_its_neighbours(
            steps in proptest::collection::vec(1_i64..40, 2..50),
            at in 0_i64..2_000,
        ) {
            let mut ms = 0;
            let times: Vec<i64> = steps.iter().map(|step| { ms += step; ms }).collect();
            let track = track(&times);
            if let Some(value) = track.at(SessionTime::from_nanos(at * 1_000_000), DEFAULT_MAX_GAP) {
                prop_assert!((value - at as f64).abs() < 1e-6);
            } else {
                prop_assert!(at < times[0] || at > times[times.len() - 1]);
            }
        }
    }
}
