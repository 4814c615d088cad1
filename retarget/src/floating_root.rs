//! A hand whose root is free: six joints in front of it, for problems that place the hand as well.

use std::f64::consts::TAU;

use nalgebra::{Isometry3, Unit, Vector3};

use crate::hand::{Frame, Hand, Joint, JointKind};
use crate::motor::Motor;

/// Name of the link that takes the root's place, in whose axes the hand then lies.
const FLOATING_ROOT: &str = "floating_root";
/// Reach of the root along each axis, each way (m), as dex-retargeting 0.5 sets it.
const REACH: f64 = 5.0;
/// Range of the root's turns about each axis, each way (rad), as dex-retargeting 0.5 sets it.
const TURN: f64 = TAU;
/// Speed of the root (m/s): above that of a human hand.
const SLIDING: f64 = 5.0;
/// Speed of the root (rad/s): above that of a human wrist.
const TURNING: f64 = 20.0;

impl Hand {
    /// This hand behind six joints of its own, in the order and with the names, limits and axes of
    /// dex-retargeting's `add_dummy_free_joint`: translation along x, y, z, then rotation about x,
    /// y, z, each in the axes that the one before leaves. They are the first six entries of `q`;
    /// the old root link is moved by the sixth, and root axes are those of a new `floating_root`.
    pub fn with_floating_root(&self) -> Self {
        let new_root = self.free_name(FLOATING_ROOT);
        let mut hand = Self::empty(self.name.clone(), self.side, new_root);
        let kinds = [
            (JointKind::Prismatic, "translation"),
            (JointKind::Revolute, "rotation"),
        ];
        let axes = [
            ("x", Vector3::x()),
            ("y", Vector3::y()),
            ("z", Vector3::z()),
        ];
        let each = kinds
            .iter()
            .flat_map(|kind| axes.iter().map(move |axis| (kind, axis)));
        for (index, (&(kind, motion), &(letter, axis))) in each.enumerate() {
            let (reach, velocity) = match kind {
                JointKind::Prismatic => (REACH, SLIDING),
                JointKind::Revolute => (TURN, TURNING),
            };
            let link = match index {
                5 => self.root.clone(),
                _ => self.free_name(&format!("dummy_{letter}_{motion}_link")),
            };
            hand.joints.push(Joint {
                name: format!("dummy_{letter}_{motion}_joint"),
                link: link.clone(),
                kind,
                parent: index.checked_sub(1),
                parent_from_joint: Isometry3::identity(),
                axis: Unit::new_unchecked(axis),
                variable: index,
                factor: 1.0,
                offset: 0.0,
                lower: -reach,
                upper: reach,
                velocity,
            });
            hand.frames.push(Frame {
                name: link,
                joint: Some(index),
                link_from_frame: Isometry3::identity(),
            });
            hand.variables.push(index);
            hand.limits.push((-reach, reach));
            hand.velocities.push(velocity);
            hand.motors.push(Motor::direct(kind, (-reach, reach)));
        }
        let added = hand.joints.len();
        let moved = |joint: Option<usize>| Some(joint.map_or(added - 1, |joint| joint + added));
        for joint in &self.joints {
            let mut joint = joint.clone();
            joint.parent = moved(joint.parent);
            joint.variable += added;
            hand.joints.push(joint);
        }
        // The old root's own frame is that of the sixth joint's link.
        for frame in self.frames.iter().filter(|frame| frame.name != self.root) {
            let mut frame = frame.clone();
            frame.joint = moved(frame.joint);
            hand.frames.push(frame);
        }
        for tip in &self.tips {
            let mut tip = tip.clone();
            tip.joint += added;
            tip.middle_joint = tip.middle_joint.map(|joint| joint + added);
            hand.tips.push(tip);
        }
        for capsule in &self.capsules {
            let mut capsule = capsule.clone();
            capsule.joint = moved(capsule.joint);
            hand.capsules.push(capsule);
        }
        let variables = self.variables.iter().map(|joint| joint + added);
        hand.variables.extend(variables);
        hand.limits.extend(&self.limits);
        hand.velocities.extend(&self.velocities);
        hand.motors.extend(&self.motors);
        hand.notes.clone_from(&self.notes);
        hand
    }

    /// `name`, or where a frame has it already `name_1`, `name_2` and so on.
    fn free_name(&self, name: &str) -> String {
        let numbered = (1..).map(|number| format!("{name}_{number}"));
        std::iter::once(name.to_owned())
            .chain(numbered)
            .find(|name| self.frame(name).is_none())
            .unwrap_or_default()
    }
}
