//! The lower convex hull of (device time, arrival − device time), and lines
//! under it.

use crate::time::{Delta, DeviceTime, HostTime};

/// Shortest span from which a skew is estimated; a shorter one takes skew 0.
pub(super) const MIN_SKEW_SPAN: Delta = Delta::from_millis(4_000);
/// A line of another slope is as good as the best where it runs not further below,
/// in the mean, than this share of the samples' median delay and so much besides [ns].
const NEAR: f64 = 0.1;
const NEAR_NS: f64 = 20_000.0;
/// Quartz is within ±100 ppm, a bad ceramic resonator within ±5000.
const MAX_SKEW: f64 = 5e-3;

/// Lower convex hull, built sample by sample; constant work per sample in the
/// mean.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    /// Vertices relative to the first sample [ns]: device time and offset.
    hull: Vec<(i64, i64)>,
    origin: (i64, i64),
    count: u64,
    sum_x: f64,
    last_x: i64,
}

/// A line, relative to an envelope's first sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub slope: f64,
    /// A point on it [ns].
    pub x: i64,
    pub y: i64,
}

impl Line {
    pub fn at(&self, x: i64) -> i64 {
        self.y + ((x - self.x) as f64 * self.slope) as i64
    }
}

impl Envelope {
    pub fn new(device: DeviceTime, host: HostTime) -> Self {
        Self {
            hull: vec![(0, 0)],
            origin: (device.nanos(), host.nanos() - device.nanos()),
            count: 1,
            sum_x: 0.0,
            last_x: 0,
        }
    }

    /// Of samples in order of device time, at least one.
    pub fn of(points: &[(DeviceTime, HostTime)]) -> Self {
        let mut envelope = Self::new(points[0].0, points[0].1);
        points[1..].iter().for_each(|&(d, h)| envelope.push(d, h));
        envelope
    }

    pub fn relative(&self, device: DeviceTime, host: HostTime) -> (i64, i64) {
        (
            device.nanos() - self.origin.0,
            host.nanos() - device.nanos() - self.origin.1,
        )
    }

    /// Device and host time of a point of a line.
    pub fn absolute(&self, x: i64, y: i64) -> (DeviceTime, HostTime) {
        let device = self.origin.0 + x;
        (
            DeviceTime::from_nanos(device),
            HostTime::from_nanos(device + self.origin.1 + y),
        )
    }

    pub fn push(&mut self, device: DeviceTime, host: HostTime) {
        let point = self.relative(device, host);
        self.count += 1;
        self.sum_x += point.0 as f64;
        if point.0 <= self.last_x {
            // Equal or slightly earlier stamps add nothing right of the hull;
            // a lower offset at the same time replaces the vertex.
            if let Some(last) = self.hull.last_mut()
                && point.0 == last.0
                && point.1 < last.1
            {
                last.1 = point.1;
                self.tidy();
            }
            return;
        }
        self.last_x = point.0;
        self.hull.push(point);
        self.tidy();
    }

    /// Drops vertices that no longer turn left.
    fn tidy(&mut self) {
        while let [.., a, b, c] = self.hull[..] {
            let cross = (b.0 - a.0) as i128 * (c.1 - a.1) as i128
                - (b.1 - a.1) as i128 * (c.0 - a.0) as i128;
            if cross > 0 {
                break;
            }
            let keep = self.hull.len() - 2;
            self.hull[keep] = c;
            self.hull.truncate(keep + 1);
        }
    }

    /// One sample, its place relative to this envelope's first one.
    pub fn single(&self, (x, y): (i64, i64)) -> Self {
        Self {
            hull: vec![(x, y)],
            origin: self.origin,
            count: 1,
            sum_x: x as f64,
            last_x: x,
        }
    }

    /// Takes the samples of another one of the same origin, which are later.
    pub fn append(&mut self, later: &Self) {
        self.count += later.count;
        self.sum_x += later.sum_x;
        self.last_x = self.last_x.max(later.last_x);
        for &vertex in &later.hull {
            self.hull.push(vertex);
            self.tidy();
        }
    }

    /// The vertices.
    pub fn vertices(&self) -> impl Iterator<Item = (DeviceTime, HostTime)> {
        self.hull.iter().map(|&(x, y)| self.absolute(x, y))
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn last_x(&self) -> i64 {
        self.last_x
    }

    /// Device time from first to last sample.
    pub fn span(&self) -> Delta {
        Delta::from_nanos(self.last_x - self.hull[0].0)
    }

    fn mean_x(&self) -> f64 {
        self.sum_x / self.count as f64
    }

    /// The line below all samples and nearest to them in the mean.
    pub fn line(&self) -> Line {
        if self.span() < MIN_SKEW_SPAN || self.hull.len() < 2 {
            return self.line_of_slope(0.0);
        }
        let mean = self.mean_x() as i64;
        let right = self
            .hull
            .partition_point(|vertex| vertex.0 < mean)
            .clamp(1, self.hull.len() - 1);
        let (a, b) = (self.hull[right - 1], self.hull[right]);
        let slope = ((b.1 - a.1) as f64 / (b.0 - a.0) as f64).clamp(-MAX_SKEW, MAX_SKEW);
        Line {
            slope,
            x: a.0,
            y: a.1,
        }
    }

    /// The highest line of a slope that is below all samples.
    pub fn line_of_slope(&self, slope: f64) -> Line {
        let height = |&&(x, y): &&(i64, i64)| y as f64 - slope * x as f64;
        let lowest = self
            .hull
            .iter()
            .min_by(|a, b| height(a).total_cmp(&height(b)));
        let &(x, y) = lowest.expect("never empty");
        Line { slope, x, y }
    }

    /// Whether a line under samples that lie `usual_delay_ns` above the best one in the
    /// median is as good as that.
    pub fn nearly_as_near(&self, line: &Line, usual_delay_ns: i64) -> bool {
        self.loss(line) <= NEAR * usual_delay_ns as f64 + NEAR_NS
    }

    /// How far a line runs below the best one in the mean of the samples [ns].
    pub fn loss(&self, line: &Line) -> f64 {
        let mean = self.mean_x() as i64;
        (self.line().at(mean) - line.at(mean)) as f64
    }
}

/// The slope whose lines are nearest to the samples of all envelopes in the mean:
/// where the height of those lines, which is concave in the slope, is greatest.
pub(super) fn shared_slope(envelopes: &[Envelope]) -> f64 {
    let (mut low, mut high) = (-MAX_SKEW, MAX_SKEW);
    for _ in 0..60 {
        let slope = (low + high) / 2.0;
        let rise: f64 = envelopes
            .iter()
            .map(|envelope| {
                let touches = envelope.line_of_slope(slope).x;
                envelope.count as f64 * (envelope.mean_x() - touches as f64)
            })
            .sum();
        match rise > 0.0 {
            true => low = slope,
            false => high = slope,
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelope(points: &[(i64, i64)]) -> Envelope {
        let points: Vec<_> = points
            .iter()
            .map(|&(device, late)| {
                let host = HostTime::from_nanos(device + late);
                (DeviceTime::from_nanos(device), host)
            })
            .collect();
        Envelope::of(&points)
    }

    fn cloud() -> impl Strategy<Value = Vec<(i64, i64)>> {
        let point = (1_000_000_i64..60_000_000, 0_i64..20_000_000);
        proptest::collection::vec(point, 200..600).prop_map(|steps| {
            let mut device = 0;
            let walk = steps.into_iter().map(|(step, late)| {
                device += step;
                (device, device / 30_000 + late)
            });
            walk.collect()
        })
    }

    proptest! {
        #[test]
        fn one_envelope_shares_its_slope_with_itself(points in cloud()) {
            let envelope = envelope(&points);
            let (own, shared) = (envelope.line(), shared_slope(std::slice::from_ref(&envelope)));
            prop_assert!(envelope.loss(&envelope.line_of_slope(shared)) < 10.0);
            prop_assert!(envelope.loss(&own).abs() < 1e-9);
        }

        #[test]
        fn no_line_of_any_slope_is_above_a_sample(points in cloud(), ppm in -5000.0..5000.0_f64) {
            let envelope = envelope(&points);
            let line = envelope.line_of_slope(ppm * 1e-6);
            for &(device, late) in &points {
                let (device, host) = (DeviceTime::from_nanos(device), HostTime::from_nanos(device + late));
                let (x, y) = envelope.relative(device, host);
                prop_assert!(y >= line.at(x) - 2);
            }
            prop_assert!(envelope.loss(&line) > -2.0);
        }
    }
}
