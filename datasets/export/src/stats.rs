//! Exact statistics of feature columns and of sampled image pixels.

use serde::{Deserialize, Serialize};

/// The quantiles that LeRobot v3 stores, with their names.
pub const QUANTILES: [(&str, f64); 5] = [
    ("q01", 0.01),
    ("q10", 0.10),
    ("q50", 0.50),
    ("q90", 0.90),
    ("q99", 0.99),
];

/// Statistics of one column, in the column's unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Population standard deviation (divided by n, not n - 1).
    pub std: f64,
    /// [`QUANTILES`], interpolated linearly between order statistics
    /// (definition 7 of Hyndman and Fan 1996, numpy's default).
    pub quantiles: [f64; 5],
}

impl Summary {
    /// Statistics of `values`, which are sorted in the course of it; `None`
    /// when there are none. Values must be finite.
    #[must_use]
    pub fn of(values: &mut [f64]) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let n = values.len() as f64;
        // Shifted by the smallest value, so that UNIX times keep their digits.
        let mean = min + values.iter().map(|x| x - min).sum::<f64>() / n;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        Some(Self {
            min,
            max,
            mean,
            std: variance.sqrt(),
            quantiles: QUANTILES.map(|(_, q)| {
                let (at, part) = position(q, values.len() as u64);
                let low = values[at as usize];
                let high = values[(at as usize + 1).min(values.len() - 1)];
                low + (high - low) * part
            }),
        })
    }

    /// Name and value of each statistic, in LeRobot's order.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        [
            ("min", self.min),
            ("max", self.max),
            ("mean", self.mean),
            ("std", self.std),
        ]
        .into_iter()
        .chain(
            QUANTILES
                .iter()
                .zip(self.quantiles)
                .map(|(&(name, _), value)| (name, value)),
        )
    }
}

/// Order statistic and interpolation weight of quantile `q` of `n` values.
fn position(q: f64, n: u64) -> (u64, f64) {
    let at = q * (n - 1) as f64;
    (at.floor() as u64, at.fract())
}

/// Counts of 8-bit red, green and blue values.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(into = "CountLists", try_from = "CountLists")]
pub struct PixelCounts {
    counts: Box<[[u64; 256]; 3]>,
    /// Number of images counted.
    pub images: u64,
}

impl Default for PixelCounts {
    fn default() -> Self {
        Self {
            counts: Box::new([[0; 256]; 3]),
            images: 0,
        }
    }
}

/// [`PixelCounts`] as text: red, green, blue.
#[derive(Serialize, Deserialize)]
struct CountLists {
    images: u64,
    counts: [Vec<u64>; 3],
}

impl From<PixelCounts> for CountLists {
    fn from(pixels: PixelCounts) -> Self {
        Self {
            images: pixels.images,
            counts: pixels.counts.map(|counts| counts.to_vec()),
        }
    }
}

impl TryFrom<CountLists> for PixelCounts {
    type Error = String;

    fn try_from(lists: CountLists) -> Result<Self, String> {
        let mut pixels = Self {
            images: lists.images,
            ..Self::default()
        };
        for (counts, list) in pixels.counts.iter_mut().zip(lists.counts) {
            *counts = list.try_into().map_err(|list: Vec<u64>| {
                format!("counts of {} values, expected 256", list.len())
            })?;
        }
        Ok(pixels)
    }
}

impl PixelCounts {
    /// Counts one image of interleaved red, green, blue bytes.
    pub fn add_image(&mut self, rgb: &[u8]) {
        for pixel in rgb.chunks_exact(3) {
            for (counts, &value) in self.counts.iter_mut().zip(pixel) {
                counts[usize::from(value)] += 1;
            }
        }
        self.images += 1;
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts.iter()) {
            for (a, b) in mine.iter_mut().zip(theirs) {
                *a += b;
            }
        }
        self.images += other.images;
    }

    /// Statistics of red, green and blue in 0 to 1; `None` without pixels.
    #[must_use]
    pub fn summaries(&self) -> Option<[Summary; 3]> {
        let [r, g, b] = self.counts.as_ref();
        Some([summary(r)?, summary(g)?, summary(b)?])
    }
}

fn summary(counts: &[u64; 256]) -> Option<Summary> {
    let n: u64 = counts.iter().sum();
    let value = |i: usize| i as f64 / 255.0;
    let min = value(counts.iter().position(|&c| c > 0)?);
    let max = value(counts.iter().rposition(|&c| c > 0)?);
    let weighted = |f: &dyn Fn(f64) -> f64| {
        let sum: f64 = (0..256).map(|i| counts[i] as f64 * f(value(i))).sum();
        sum / n as f64
    };
    let mean = weighted(&|x| x);
    // The value at position `at` of all pixels in order.
    let order = |at: u64| {
        let mut passed = 0;
        let index = counts.iter().position(|&c| {
            passed += c;
            passed > at
        });
        index.map_or(max, value)
    };
    Some(Summary {
        min,
        max,
        mean,
        std: weighted(&|x| (x - mean).powi(2)).sqrt(),
        quantiles: QUANTILES.map(|(_, q)| {
            let (at, part) = position(q, n);
            let low = order(at);
            low + (order(at + 1) - low) * part
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definitions, written out without regard to speed.
    fn naive(values: &[f64]) -> Summary {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let mut sorted = values.to_vec();
        sorted.sort_by(|a, b| a.partial_cmp(b).unwrap());
        let quantile = |q: f64| {
            let h = (n - 1.0) * q;
            let (lo, hi) = (sorted[h.floor() as usize], sorted[h.ceil() as usize]);
            lo + (h - h.floor()) * (hi - lo)
        };
        Summary {
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mean,
            std: (values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt(),
            quantiles: [0.01, 0.1, 0.5, 0.9, 0.99].map(quantile),
        }
    }

    fn assert_close(a: &Summary, b: &Summary, scale: f64) -> Result<(), TestCaseError> {
        for ((name, x), (_, y)) in a.entries().zip(b.entries()) {
            prop_assert!((x - y).abs() <= 1e-9 * scale, "{name}: {x} against {y}");
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn statistics_equal_their_definitions(values in proptest::collection::vec(-1e3f64..1e3, 1..400)) {
            let ours = Summary::of(&mut values.clone()).unwrap();
            assert_close(&ours, &naive(&values), 1e3)?;
        }

        #[test]
        fn pixel_statistics_equal_those_of_the_values(pixels in proptest::collection::vec(any::<[u8; 3]>(), 1..300)) {
            let mut counts = PixelCounts::default();
            counts.add_image(pixels.as_flattened());
            for (channel, ours) in counts.summaries().unwrap().iter().enumerate() {
                let values: Vec<f64> = pixels.iter().map(|p| f64::from(p[channel]) / 255.0).collect();
                assert_close(ours, &naive(&values), 1.0)?;
            }
        }
    }

    #[test]
    fn unix_times_keep_their_spread() {
        let mut times: Vec<f64> = (0..1000).map(|k| 1.7e9 + f64::from(k) / 1000.0).collect();
        let summary = Summary::of(&mut times).unwrap();
        assert!((summary.mean - 1.7e9 - 0.4995).abs() < 1e-6, "{summary:?}");
        assert!((summary.std - 0.288_675).abs() < 1e-6, "{summary:?}");
    }

    #[test]
    fn nothing_has_no_statistics() {
        assert_eq!(Summary::of(&mut []), None);
        assert!(PixelCounts::default().summaries().is_none());
    }
}
