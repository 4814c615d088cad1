//! What the emulated hand does: joint angles at any time.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use dexumi_calibrate::SetPoints;
use dexumi_retarget::{
    Hand, NpyArray, Preset, RetargetOptions, SmoothOptions, finger_scales, keypoints_from_array,
    retarget_clip,
};

use super::curve::{Curve, Repeat, Stop, Stops};

/// Joint angles [rad] over time [s]: always within the hand's limits, position and velocity
/// continuous.
#[derive(Debug, Clone)]
pub struct Motion {
    hand: Arc<Hand>,
    course: Course,
}

#[derive(Debug, Clone)]
enum Course {
    Clip(Curve),
    Stops(Stops),
}

/// Time that a grasp is held and that a move between two takes [s].
const GRASP_HOLD_S: f64 = 0.9;
const GRASP_MOVE_S: f64 = 0.7;

/// The built-in grasps, XHand joint order [rad].
///
/// The pinches bring the surfaces of thumb and fingertips together (fingertip distance on the
/// hand's own kinematics, minimised over these angles).
const GRASPS: &[(&str, [f64; 12])] = &[
    (
        "open",
        [
            0.10, 0.10, 0.05, 0.00, 0.08, 0.06, 0.08, 0.06, 0.08, 0.06, 0.08, 0.06,
        ],
    ),
    (
        "spread",
        [
            0.00, -0.45, 0.00, 0.17, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00,
        ],
    ),
    (
        "power",
        [
            1.25, 0.55, 0.75, 0.00, 1.25, 1.15, 1.30, 1.20, 1.32, 1.22, 1.35, 1.25,
        ],
    ),
    (
        "open",
        [
            0.10, 0.10, 0.05, 0.00, 0.08, 0.06, 0.08, 0.06, 0.08, 0.06, 0.08, 0.06,
        ],
    ),
    (
        "pinch",
        [
            1.27, 0.79, 0.32, -0.04, 1.12, 0.68, 0.25, 0.20, 0.22, 0.20, 0.25, 0.20,
        ],
    ),
    (
        "tripod",
        [
            1.38, 0.85, 0.28, -0.17, 1.09, 0.79, 1.00, 0.80, 0.75, 0.80, 0.85, 0.90,
        ],
    ),
    (
        "point",
        [
            1.20, 0.70, 0.90, 0.00, 0.02, 0.02, 1.55, 1.45, 1.55, 1.45, 1.55, 1.45,
        ],
    ),
    (
        "two",
        [
            1.20, 0.75, 0.95, 0.16, 0.02, 0.02, 0.02, 0.02, 1.55, 1.45, 1.55, 1.45,
        ],
    ),
    (
        "three",
        [
            1.20, 0.80, 1.00, 0.10, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 1.55, 1.45,
        ],
    ),
    (
        "four",
        [
            1.30, 0.85, 1.00, 0.10, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02,
        ],
    ),
    (
        "five",
        [
            0.10, -0.20, 0.00, 0.12, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02,
        ],
    ),
];

impl Motion {
    /// Follows a clip of hand keypoints, shape (n, 21, 3) [m], `fps` steps a second, by keypoint
    /// retargeting to `hand`.
    ///
    /// # Errors
    /// The file cannot be read, has another shape, or shows no hand.
    pub fn from_keypoints(path: &Path, fps: f64, hand: &Arc<Hand>, repeat: Repeat) -> Result<Self> {
        ensure!(
            fps.is_finite() && fps > 0.0,
            "rate of the keypoints: expected more than 0 Hz, got {fps}; give --fps"
        );
        let array = NpyArray::from_path(path)?;
        let clip = keypoints_from_array(&array).with_context(|| path.display().to_string())?;
        let scales = finger_scales(hand, &clip).with_context(|| path.display().to_string())?;
        let options = RetargetOptions::new(Preset::dexumi(scales));
        let steps = retarget_clip(
            hand.clone(),
            &options,
            SmoothOptions::default(),
            &clip,
            1.0 / fps,
        )
        .with_context(|| path.display().to_string())?;
        let held = steps.iter().filter(|step| step.is_held()).count();
        let values = steps.into_iter().flat_map(|step| step.position).collect();
        ensure!(
            held < clip.len(),
            "keypoints: expected a hand along the axes of {} (x out of the palm, z wrist to \
             fingers), got {} steps of which none is; convert the axes first: {}",
            hand.name(),
            clip.len(),
            path.display()
        );
        Ok(Self {
            hand: Arc::clone(hand),
            course: Course::Clip(Curve::new(values, hand.dof(), fps, repeat)),
        })
    }

    /// The built-in set: open, spread, power grasp, pinch, tripod, and counting from one to five;
    /// each held, over and over.
    ///
    /// # Errors
    /// `hand` is not an XHand, whose joints the set is made for.
    pub fn grasps(hand: &Arc<Hand>) -> Result<Self> {
        ensure!(
            hand.name().starts_with("xhand_"),
            "built-in grasps: expected xhand_right or xhand_left, got {}; give --motion or --setpoints",
            hand.name()
        );
        let stops = GRASPS
            .iter()
            .map(|(_, position)| Stop {
                position: position.to_vec(),
                hold_s: GRASP_HOLD_S,
                move_s: GRASP_MOVE_S,
            })
            .collect();
        Ok(Self {
            hand: Arc::clone(hand),
            course: Course::Stops(Stops::new(stops, true)),
        })
    }

    /// Goes through the poses of a set-points file: holds the first for `lead_s`, then moves within
    /// `move_s` to each next one and holds it for `dwell_s`, so that pose k > 0 stands from
    /// lead_s + k·(move_s + dwell_s) - dwell_s on; the last is held for ever.
    ///
    /// # Errors
    /// The file cannot be read, is for another hand, or has a pose outside the hand's limits.
    pub fn setpoints(path: &Path, hand: &Arc<Hand>) -> Result<Self> {
        let file = SetPoints::load(path)?;
        ensure!(
            file.hand == hand.name(),
            "set-points: expected the hand {}, got {}; choose the file for this hand: {}",
            hand.name(),
            file.hand,
            path.display()
        );
        let mut stops = Vec::new();
        for (number, pose) in file.pose.iter().enumerate() {
            ensure!(
                pose.joint_rad.len() == hand.dof(),
                "pose {number}: expected {} joint angles, got {}; correct it: {}",
                hand.dof(),
                pose.joint_rad.len(),
                path.display()
            );
            for ((name, &(lower, upper)), angle) in hand
                .variable_names()
                .zip(hand.limits())
                .zip(&pose.joint_rad)
            {
                ensure!(
                    (lower..=upper).contains(angle),
                    "pose {number}, joint {name}: expected {lower} to {upper} rad, got {angle}; \
                     correct it: {}",
                    path.display()
                );
            }
            stops.push(Stop {
                position: pose.joint_rad.clone(),
                hold_s: if number == 0 {
                    file.lead_s
                } else {
                    file.dwell_s
                },
                move_s: file.move_s,
            });
        }
        Ok(Self {
            hand: Arc::clone(hand),
            course: Course::Stops(Stops::new(stops, false)),
        })
    }

    /// Joint angles at a time [s], shape (dof,) [rad].
    pub fn at(&self, t_s: f64) -> Vec<f64> {
        let mut position = match &self.course {
            Course::Clip(curve) => curve.at(t_s),
            Course::Stops(stops) => stops.at(t_s),
        };
        // Both courses stay between poses within limits; this takes off the last bit of rounding.
        for (angle, &(lower, upper)) in position.iter_mut().zip(self.hand.limits()) {
            *angle = angle.clamp(lower, upper);
        }
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xhand() -> Arc<Hand> {
        Arc::new(Hand::by_name("xhand_right").unwrap())
    }

    /// Fastest joint over a time, sampled each millisecond [rad/s]; checks limits on the way.
    fn peak_speed(motion: &Motion, duration_s: f64) -> f64 {
        let mut last = motion.at(0.0);
        let mut peak: f64 = 0.0;
        for k in 1..(duration_s * 1000.0) as u32 {
            let now = motion.at(f64::from(k) / 1000.0);
            for ((now, last), &(lower, upper)) in now.iter().zip(&last).zip(motion.hand.limits()) {
                assert!(now.is_finite() && (lower..=upper).contains(now));
                peak = peak.max((now - last).abs() * 1000.0);
            }
            last = now;
        }
        peak
    }

    #[test]
    fn the_built_in_grasps_are_within_limits_and_not_hasty() {
        let hand = xhand();
        for (name, position) in GRASPS {
            for (angle, &(lower, upper)) in position.iter().zip(hand.limits()) {
                assert!((lower..=upper).contains(angle), "{name}: {angle}");
            }
        }
        let motion = Motion::grasps(&hand).unwrap();
        let peak = peak_speed(
            &motion,
            2.0 * GRASPS.len() as f64 * (GRASP_HOLD_S + GRASP_MOVE_S),
        );
        assert!((1.0..10.0).contains(&peak), "{peak} rad/s");
    }

    #[test]
    fn the_pinches_bring_the_fingertips_together() {
        let hand = xhand();
        let gap = |name: &str, finger: usize| {
            let (_, q) = GRASPS.iter().find(|(known, _)| *known == name).unwrap();
            let tips = hand.forward(q).tips;
            (tips[0] - tips[finger]).norm()
        };
        for (name, finger) in [("pinch", 1), ("tripod", 1), ("tripod", 2)] {
            let gap = gap(name, finger);
            assert!(
                (0.010..0.022).contains(&gap),
                "{name}, finger {finger}: {gap} m"
            );
        }
        assert!(gap("open", 1) > 0.08);
    }

    #[test]
    fn setpoints_stand_at_their_times() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("setpoints.toml");
        let pose = |angle: f64| format!("[[pose]]\njoint_rad = {:?}\n", [angle; 12]);
        let head = format!(
            "format = 1\nhand = \"xhand_right\"\njoint_names = {:?}\n\
             dwell_s = 1.0\nmove_s = 0.5\nlead_s = 2.0\n",
            xhand().variable_names().collect::<Vec<_>>()
        );
        std::fs::write(
            &path,
            format!("{head}{}{}{}", pose(0.1), pose(0.15), pose(0.05)),
        )
        .unwrap();
        let motion = Motion::setpoints(&path, &xhand()).unwrap();
        for (t, angle) in [
            (0.0, 0.1),
            (2.0, 0.1),
            (2.25, 0.125),
            (2.5, 0.15),
            (3.5, 0.15),
            (3.75, 0.1),
            (4.0, 0.05),
            (500.0, 0.05),
        ] {
            for got in motion.at(t) {
                assert!((got - angle).abs() < 1e-12, "at {t} s: {got}");
            }
        }
        std::fs::write(&path, format!("{head}{}{}", pose(0.5), pose(0.1))).unwrap();
        let error = format!("{:#}", Motion::setpoints(&path, &xhand()).unwrap_err());
        assert!(
            error.contains("pose 0") && error.contains("-0.174 to 0.174"),
            "{error}"
        );
    }

    #[test]
    fn a_recorded_hand_is_followed_smoothly() {
        let path = Path::new("../shared/data/mediapipe_right_621x21x3_30fps_m.npy");
        if !path.exists() {
            eprintln!("skipped: no recording at {}", path.display());
            return;
        }
        for repeat in [Repeat::PingPong, Repeat::Forward] {
            let motion = Motion::from_keypoints(path, 30.0, &xhand(), repeat).unwrap();
            let peak = peak_speed(&motion, 45.0);
            // The solver keeps to the hand's speeds from step to step; between two steps a
            // monotone cubic is at most twice as fast.
            assert!(
                (1.0..2.0 * 14.38).contains(&peak),
                "{repeat:?}: {peak} rad/s"
            );
        }
    }
}
