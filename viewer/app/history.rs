//! The last seconds of every stream's values, as curves to plot.

use std::collections::{BTreeMap, VecDeque};

use dexumi_capture::StreamStatus;
use dexumi_episode::{FINGERS, StreamKind};

/// How far back the plots go [s].
pub(super) const WINDOW_S: f64 = 10.0;
/// Values older than this are not news; a longer pause breaks a curve [s].
const BREAK_S: f64 = 0.4;

/// What a curve belongs to, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hue {
    /// A finger, index into [`FINGERS`].
    Finger(usize),
    /// x, y or z.
    Axis(usize),
    /// A channel that nobody has named.
    Channel(usize),
}

impl Hue {
    /// Name in a legend.
    pub fn name(self) -> String {
        match self {
            Self::Finger(index) => FINGERS.get(index).copied().unwrap_or("finger").to_owned(),
            Self::Axis(index) => ["x", "y", "z"]
                .get(index)
                .copied()
                .unwrap_or("axis")
                .to_owned(),
            Self::Channel(index) => format!("channel {index}"),
        }
    }

    /// Finger of a joint's name, also by the names of foreign hand models.
    fn of_joint(name: &str) -> Option<Self> {
        const SAID: [(&str, usize); 7] = [
            ("thumb", 0),
            ("index", 1),
            ("mid", 2),
            ("ring", 3),
            ("little", 4),
            ("pinky", 4),
            ("small", 4),
        ];
        let name = name.to_lowercase();
        SAID.iter()
            .find(|(part, _)| name.contains(part))
            .map(|&(_, finger)| Self::Finger(finger))
    }
}

/// One line of a plot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    /// What it shows.
    pub name: String,
    /// Whose it is.
    pub hue: Hue,
    /// Which of those with the same hue; later ones are drawn paler.
    pub shade: usize,
    /// Unbroken stretches of time (x, on the window's clock [s]) and value (y).
    pub stretches: Vec<Vec<[f64; 2]>>,
}

/// Values of all streams.
#[derive(Debug, Default)]
pub(super) struct History {
    streams: BTreeMap<String, VecDeque<(f64, Vec<f64>)>>,
}

impl History {
    /// Takes the newest values, known at `now_s`.
    pub fn push(&mut self, now_s: f64, streams: &[StreamStatus]) {
        for stream in streams {
            if stream.values.is_empty() || !(0.0..BREAK_S).contains(&stream.age_s) {
                continue;
            }
            let samples = self.streams.entry(stream.stream.clone()).or_default();
            samples.push_back((now_s, stream.values.clone()));
            while samples
                .front()
                .is_some_and(|&(at_s, _)| now_s - at_s > WINDOW_S)
            {
                samples.pop_front();
            }
        }
    }

    /// Joint angles [degree] of all hands. `names` where a calibration is loaded.
    pub fn angles_deg(&self, names: &[String]) -> Vec<Curve> {
        let is_encoders = |kind: &StreamKind| matches!(kind, StreamKind::Encoders { .. });
        let mut curves = Vec::new();
        for (_, samples) in self.of_kind(is_encoders) {
            let channels = samples.back().map_or(0, |(_, values)| values.len());
            for channel in 0..channels {
                let named = (names.len() == channels).then(|| names[channel].as_str());
                let hue = named
                    .and_then(Hue::of_joint)
                    .unwrap_or(Hue::Channel(channel));
                let name = named.map_or_else(|| hue.name(), |name| name.replace('_', " "));
                let value = |values: &[f64]| values.get(channel).map(|angle| angle.to_degrees());
                push_curve(&mut curves, name, hue, samples, value);
            }
        }
        // A full turn is no movement: encoders wrap where the mapping is not known.
        for curve in &mut curves {
            curve.stretches = std::mem::take(&mut curve.stretches)
                .iter()
                .flat_map(|stretch| stretch.chunk_by(|a, b| (a[1] - b[1]).abs() < 180.0))
                .map(<[_]>::to_vec)
                .collect();
        }
        curves
    }

    /// Length of the force vector at each finger [counts].
    pub fn forces(&self) -> Vec<Curve> {
        let mut curves = Vec::new();
        for (kind, samples) in self.of_kind(|kind| matches!(kind, StreamKind::Force { .. })) {
            let StreamKind::Force { side, finger } = kind else {
                continue;
            };
            let index = FINGERS
                .iter()
                .position(|&known| known == finger)
                .unwrap_or_default();
            let value = |values: &[f64]| Some(values.iter().map(|v| v * v).sum::<f64>().sqrt());
            push_curve(
                &mut curves,
                format!("{side} {finger}"),
                Hue::Finger(index),
                samples,
                value,
            );
        }
        curves.sort_by_key(|curve| curve.hue);
        curves
    }

    /// Position of each tracker [m], in its own world's axes.
    pub fn positions_m(&self) -> Vec<Curve> {
        let mut curves = Vec::new();
        for (kind, samples) in self.of_kind(|kind| matches!(kind, StreamKind::Tracker { .. })) {
            let StreamKind::Tracker { name } = kind else {
                continue;
            };
            for axis in 0..3 {
                let hue = Hue::Axis(axis);
                let value = |values: &[f64]| values.get(axis).copied();
                push_curve(
                    &mut curves,
                    format!("{name} {}", hue.name()),
                    hue,
                    samples,
                    value,
                );
            }
        }
        curves
    }

    fn of_kind(
        &self,
        is_wanted: impl Fn(&StreamKind) -> bool,
    ) -> impl Iterator<Item = (StreamKind, &VecDeque<(f64, Vec<f64>)>)> {
        let kinds = self
            .streams
            .iter()
            .filter_map(|(topic, samples)| Some((StreamKind::of(topic)?, samples)));
        kinds.filter(move |(kind, _)| is_wanted(kind))
    }
}

fn push_curve(
    curves: &mut Vec<Curve>,
    name: String,
    hue: Hue,
    samples: &VecDeque<(f64, Vec<f64>)>,
    value: impl Fn(&[f64]) -> Option<f64>,
) {
    let shade = curves.iter().filter(|curve| curve.hue == hue).count();
    let mut stretches: Vec<Vec<[f64; 2]>> = Vec::new();
    let mut last_s = f64::NEG_INFINITY;
    for (at_s, values) in samples {
        let Some(value) = value(values).filter(|value| value.is_finite()) else {
            continue;
        };
        if at_s - last_s > BREAK_S {
            stretches.push(Vec::new());
        }
        last_s = *at_s;
        if let Some(stretch) = stretches.last_mut() {
            stretch.push([*at_s, value]);
        }
    }
    curves.push(Curve {
        name,
        hue,
        shade,
        stretches,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(topic: &str, values: &[f64]) -> StreamStatus {
        StreamStatus {
            stream: topic.to_owned(),
            values: values.to_vec(),
            ..StreamStatus::default()
        }
    }

    #[test]
    fn joints_are_grouped_by_finger_where_they_have_names() {
        let mut history = History::default();
        history.push(
            1.0,
            &[sample(
                "/exo/right/encoders",
                &[std::f64::consts::PI, 0.5, 0.1],
            )],
        );
        let names = [
            "right_hand_thumb_bend_joint",
            "right_hand_mid_joint1",
            "right_hand_mid_joint2",
        ];
        let curves = history.angles_deg(&names.map(str::to_owned));
        let hues: Vec<_> = curves
            .iter()
            .map(|curve| (curve.hue, curve.shade))
            .collect();
        assert_eq!(
            hues,
            [
                (Hue::Finger(0), 0),
                (Hue::Finger(2), 0),
                (Hue::Finger(2), 1)
            ]
        );
        assert_eq!(curves[0].stretches, [[[1.0, 180.0]]]);
        history.push(1.1, &[sample("/exo/right/encoders", &[-3.1, 0.6, 0.1])]);
        let turned: Vec<_> = history
            .angles_deg(&[])
            .iter()
            .map(|curve| curve.stretches.len())
            .collect();
        assert_eq!(turned, [2, 1, 1], "a wrap breaks the curve");
        // Names of another hand do not fit and are not guessed at.
        let raw = history.angles_deg(&names[..2].iter().map(|&n| n.to_owned()).collect::<Vec<_>>());
        assert_eq!(raw[1].hue, Hue::Channel(1));
    }

    #[test]
    fn a_silent_stream_breaks_its_curve_and_old_values_go() {
        let mut history = History::default();
        for step in 0..400 {
            let at_s = f64::from(step) * 0.05;
            let age_s = if (250..300).contains(&step) {
                1.0
            } else {
                0.01
            };
            let pose = sample("/tracker/wrist/pose", &[at_s, 2.0, 3.0, 0.0, 0.0, 0.0, 1.0]);
            history.push(at_s, &[StreamStatus { age_s, ..pose }]);
        }
        let curves = history.positions_m();
        assert_eq!(curves.len(), 3);
        let x = &curves[0].stretches;
        assert_eq!(x.len(), 2, "{x:?}");
        let first_s = x[0][0][0];
        assert!((19.95 - first_s) <= WINDOW_S && first_s < 10.1, "{first_s}");
        assert!(x[1][0][0] - x[0][x[0].len() - 1][0] > 2.0);
    }

    #[test]
    fn force_is_the_length_of_the_vector() {
        let mut history = History::default();
        history.push(0.0, &[sample("/exo/right/force/index", &[3.0, 4.0, 12.0])]);
        assert_eq!(history.forces()[0].stretches, [[[0.0, 13.0]]]);
        assert_eq!(history.forces()[0].hue, Hue::Finger(1));
    }
}
