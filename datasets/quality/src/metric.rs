//! Every metric with its thresholds and their source: the one place for them.
//! A metric is one function and one entry here.

use crate::{
    grade::Grade,
    hand::{bone_cv, limit_hits, outside_calibration, speed_hits},
    images::{blurred, burnt, damaged_images, dark, duplicate_images, frozen},
    language::language,
    measured::Measured,
    motion::{
        duration, force_saturation, idle_ends, idle_share, jerk_peaks, joint_jitter, pose_jumps,
        smoothness, wrist_jitter,
    },
    reach::{arm_flagged, unreachable},
    streams::{
        clock_bound, clock_jumps, clock_state, cut_off, interval_cv, longest_gap, loss_share,
        missing_share, silent, suspect_share, tracking_lost,
    },
    sync::sync_residual,
};

/// Which side of a threshold is the worse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worse {
    /// Values above it.
    Above,
    /// Values below it.
    Below,
}

/// One value of a metric, before it is graded.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The stream, camera, tracker or side; empty where the metric is of the whole episode.
    pub subject: String,
    /// In the metric's unit; `None` where it was looked for and nothing can be said.
    pub value: Option<f64>,
    /// What else is to be known of it.
    pub note: String,
}

impl Found {
    /// A value of a subject.
    pub fn new(subject: impl Into<String>, value: f64) -> Self {
        Self {
            subject: subject.into(),
            value: Some(value),
            note: String::new(),
        }
    }

    /// With a remark.
    #[must_use]
    pub fn noting(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// How a metric comes to its values.
#[derive(Debug, Clone, Copy)]
pub enum Measure {
    /// From one episode.
    Episode(fn(&Measured<'_>) -> Vec<Found>),
    /// From the episodes of a set together, see [`crate::mark_duplicates`].
    Set,
}

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, and the tag that an episode gets where it is worse than A.
    pub key: &'static str,
    /// Unit of its values; empty for a bare number.
    pub unit: &'static str,
    /// What is measured.
    pub what: &'static str,
    /// Which side of the thresholds is worse.
    pub worse: Worse,
    /// Beyond these the grade is B, C, D; `None`: never that grade by this metric.
    pub limits: [Option<f64>; 3],
    /// Where the thresholds are from.
    pub source: &'static str,
    /// How.
    pub measure: Measure,
}

impl Metric {
    /// Grade of a value: that of the worst threshold that it is beyond.
    pub fn grade(&self, value: f64) -> Grade {
        let beyond = |limit: f64| match self.worse {
            Worse::Above => value > limit,
            Worse::Below => value < limit,
        };
        [Grade::D, Grade::C, Grade::B]
            .into_iter()
            .zip(self.limits.iter().rev())
            .find(|(_, limit)| limit.is_some_and(beyond))
            .map_or(Grade::A, |(grade, _)| grade)
    }
}

/// The metric of that name.
pub fn metric(key: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.key == key)
}

const fn above(b: f64, c: f64, d: f64) -> (Worse, [Option<f64>; 3]) {
    (Worse::Above, [Some(b), Some(c), Some(d)])
}

const fn entry(
    key: &'static str,
    unit: &'static str,
    (worse, limits): (Worse, [Option<f64>; 3]),
    measure: fn(&Measured<'_>) -> Vec<Found>,
    what: &'static str,
    source: &'static str,
) -> Metric {
    Metric {
        key,
        unit,
        what,
        worse,
        limits,
        source,
        measure: Measure::Episode(measure),
    }
}

/// Every metric.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    // What was recorded.
    entry("silent", "", (Worse::Above, [None, None, Some(0.0)]), silent,
        "1 where a stream of the rig has no sample", "ours"),
    entry("cut_off", "", (Worse::Above, [Some(0.0), None, None]), cut_off,
        "1 where the recording was cut off and recovered", "ours"),
    entry("duration", "s", (Worse::Below, [Some(3.0), Some(1.77), Some(0.84)]), duration,
        "start to stop", "DreamDojo drops below 53 steps (1.77 s at 30 Hz), DreamZero below 25 (0.84 s); B ours"),
    entry("loss_share", "%", above(1.0, 5.0, 20.0), loss_share,
        "of each stream's packets, those lost or never arrived by the ledger", "Calibra's levels for dropouts: warn 1 %, critical 5 %; D ours"),
    entry("suspect_share", "%", above(1.0, 5.0, 20.0), suspect_share,
        "of each stream's samples, those that contradict their neighbours", "as loss_share"),
    entry("missing_share", "%", above(1.0, 5.0, 20.0), missing_share,
        "samples that lack in each stream's own rhythm, by capture time", "Calibra: warn 1 %, critical 5 %; D ours"),
    entry("longest_gap", "s", above(0.1, 0.5, 2.0), longest_gap,
        "longest time between two samples, where above 3 usual intervals", "Calibra: a gap is above 3 medians; lengths ours (a reviewed UMI demo hid 1.4 s and 3.4 s)"),
    entry("interval_cv", "", (Worse::Above, [Some(0.15), Some(0.5), None]), interval_cv,
        "standard deviation over mean of each stream's intervals, gaps left out", "Calibra: above 0.15 noisy; C ours"),
    entry("clock_state", "", above(0.0, 1.0, 2.0), clock_state,
        "each clock at the end: 0 locked, 1 acquiring, 2 holdover, 3 lost", "ours"),
    entry("clock_jumps", "", (Worse::Above, [Some(0.0), Some(2.0), None]), clock_jumps,
        "times that a device's clock started anew", "ours"),
    entry("clock_bound", "ms", above(8.3, 20.0, 50.0), clock_bound,
        "bound of each stream's time error", "a quarter of an image interval at 30 Hz; 20 and 50 as sync_residual"),
    entry("sync_residual", "ms", (Worse::Above, [None, Some(20.0), Some(50.0)]), sync_residual,
        "lag of each camera against the motion of trackers and joints, from images 1/16 s apart, from all where these nearly tell it; ±0.5 s on a 5 ms grid; nothing is said below correlation 0.3", "Grabette: below 20 good, 20 to 50 marginal, above 50 bad, correlation below 0.3 inconclusive"),
    // Wrist and hand.
    entry("tracking_lost", "%", above(1.0, 10.0, 50.0), tracking_lost,
        "of each tracker's and glove's samples, those it calls not measured", "Grabette: below 50 % tracked is rejected; UMI: above 10 lost images; B, C ours"),
    entry("pose_jumps", "", above(0.0, 2.0, 20.0), pose_jumps,
        "times that a tracked pose moves by more than 10 mm or 10° beyond what its speed before and after explains", "Grabette counts above 50 mm, Isaac above 20 medians; 10 mm is the worst wrist error of rigs in the field (UMI)"),
    entry("wrist_jitter", "mm", above(2.0, 5.0, 20.0), wrist_jitter,
        "noise of each tracker's position, from third differences, rms over x, y, z", "rigs in the field: 2 to 10 mm; HoMMI: 2 cm of noise takes success from 90 to 50 %"),
    entry("joint_jitter", "°", above(0.5, 2.0, 10.0), joint_jitter,
        "noise of the noisiest joint angle, from third differences", "ours; C is where a fingertip is off by 4 mm"),
    entry("smoothness", "", (Worse::Below, [Some(-7.0), Some(-10.0), None]), smoothness,
        "log dimensionless jerk of the wrist, median over windows of 1 s that move", "Calibra: −3 to −7 good, below −10 bad"),
    entry("jerk_peaks", "%", (Worse::Above, [Some(2.0), Some(3.0), None]), jerk_peaks,
        "steps of 1/30 s whose jerk is above 5 times its rms", "Calibra: jerk above 5 sigma; shares ours (4 % is the most there can be)"),
    entry("idle_share", "%", above(40.0, 70.7, 93.3), idle_share,
        "time without motion: wrist below 20 mm/s and 0.1 rad/s, joints below 0.1 rad/s", "lerobot-score: below 0.1 is idle; medians of DROID-100 (70.7) and Bridge (93.3); B ours"),
    entry("idle_ends", "s", (Worse::Above, [Some(2.0), Some(10.0), None]), idle_ends,
        "idle time at beginning and end together", "ours; DreamZero cuts idle ends"),
    entry("force_saturation", "%", above(0.1, 2.0, 20.0), force_saturation,
        "of each force stream's samples, those held at the end of its range", "ours"),
    entry("outside_calibration", "%", above(1.0, 5.0, 20.0), outside_calibration,
        "of a side's scans, those with a joint beyond its calibrated span by more than 0.6°", "ours"),
    entry("limit_hits", "%", above(1.0, 10.0, 50.0), limit_hits,
        "steps of an exoskeleton's motion beyond a limit of the robot's joint by more than 1°", "XRZero-G0 rejects at limits; shares ours"),
    entry("speed_hits", "%", above(1.0, 10.0, 50.0), speed_hits,
        "steps of an exoskeleton's motion behind by more than 1° because the robot's joint is not faster", "as limit_hits"),
    entry("bone_cv", "%", above(2.0, 5.0, 15.0), bone_cv,
        "standard deviation over mean of a glove's bone lengths, mean over the bones", "MobileEgo: 1.3 to 1.4 % is usual"),
    entry("unreachable", "%", above(1.0, 5.0, 20.0), unreachable,
        "poses that the named arm does not reach", "ours; Dex1B: 62 to 64 % of human motion works"),
    entry("arm_flagged", "%", above(5.0, 20.0, 60.0), arm_flagged,
        "steps with any flag of the arm check: limit, speed, singularity, collision, jump", "XRZero-G0's list; shares ours"),
    // Images.
    entry("damaged_images", "%", above(0.0, 1.0, 5.0), damaged_images,
        "images that are cut or, of those that are looked at or followed, cannot be decoded", "as missing_share"),
    entry("blurred", "%", above(10.0, 50.0, 90.0), blurred,
        "looked-at images whose Laplacian has a variance below 100 (at a width of 640)", "lerobot-score: below 100 is blurred; shares ours"),
    entry("dark", "%", above(10.0, 50.0, 90.0), dark,
        "looked-at images with a mean brightness below 50 of 255", "lerobot-score: brightness over 50; shares ours"),
    entry("burnt", "%", above(10.0, 50.0, 90.0), burnt,
        "looked-at images with more than a quarter of their pixels at 250 or above", "ours"),
    entry("duplicate_images", "%", above(1.0, 5.0, 20.0), duplicate_images,
        "images equal to the one before while the wearer moves", "Calibra: frozen and duplicate images, levels of its dropouts"),
    entry("frozen", "s", above(0.1, 0.5, 2.0), frozen,
        "longest time of equal images while the wearer moves", "as longest_gap"),
    // Content.
    entry("language", "", (Worse::Above, [Some(0.0), Some(1.0), None]), language,
        "the task in words: 0 there and sensible, 1 doubtful, 2 absent", "DreamZero and GR00T need a sentence an episode"),
    Metric {
        key: "near_duplicate",
        unit: "",
        what: "distance of the motion from that of an earlier episode of the set, in its own rms",
        worse: Worse::Below,
        limits: [Some(0.2), Some(0.1), None],
        source: "ours; near-duplicates are said to be 60 to 80 % of some sets",
        measure: Measure::Set,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_every_metric_can_fail() {
        for (at, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[..at].iter().all(|other| other.key != metric.key));
            let limits: Vec<f64> = metric.limits.iter().flatten().copied().collect();
            assert!(
                !limits.is_empty() && !metric.source.is_empty(),
                "{}",
                metric.key
            );
            let worsens = limits.windows(2).all(|pair| match metric.worse {
                Worse::Above => pair[0] < pair[1],
                Worse::Below => pair[0] > pair[1],
            });
            assert!(worsens, "{}", metric.key);
        }
    }

    #[test]
    fn a_value_has_the_grade_of_the_worst_threshold_it_is_beyond() {
        let sync = metric("sync_residual").expect("registered");
        let grades = [19.9, 20.0, 30.0, 50.1].map(|value| sync.grade(value));
        assert_eq!(grades, [Grade::A, Grade::A, Grade::C, Grade::D]);
        let smooth = metric("smoothness").expect("registered");
        assert_eq!(smooth.grade(-8.0), Grade::B);
    }
}
