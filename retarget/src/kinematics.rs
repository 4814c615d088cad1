//! Forward kinematics of a hand and the Jacobians of its points.

use std::sync::Arc;

use nalgebra::{Isometry3, Point3, Vector3};

use crate::hand::{Frame, Hand, JointKind};

/// Where the parts of a hand are, in root axes: the answer of [`Hand::forward`].
#[derive(Debug, Clone, PartialEq)]
pub struct HandPose {
    /// Axes of each joint, turned with it, shape (joints,) (m).
    pub root_from_joint: Vec<Isometry3<f64>>,
    /// Fingertip points in root axes, in the order of [`Hand::tips`] (m).
    pub tips: Vec<Point3<f64>>,
}

impl Hand {
    /// Forward kinematics at `q`, shape (dof,) (rad or m). For many calls use [`Kinematics`].
    ///
    /// # Panics
    /// When the length of `q` is not [`Hand::dof`].
    pub fn forward(&self, q: &[f64]) -> HandPose {
        let mut pose = HandPose {
            root_from_joint: vec![Isometry3::identity(); self.joints().len()],
            tips: vec![Point3::origin(); self.tips().len()],
        };
        place(self, q, &mut pose);
        pose
    }
}

/// Fills `pose`, whose buffers have the hand's sizes.
fn place(hand: &Hand, q: &[f64], pose: &mut HandPose) {
    assert_eq!(
        q.len(),
        hand.dof(),
        "q of {} has the wrong length",
        hand.name()
    );
    for (index, joint) in hand.joints().iter().enumerate() {
        let position = joint.factor * q[joint.variable] + joint.offset;
        let parent_from_joint = joint.parent_from_link(position);
        // Parents come first (checked on load), so theirs is already of this configuration.
        pose.root_from_joint[index] = match joint.parent {
            Some(parent) => pose.root_from_joint[parent] * parent_from_joint,
            None => parent_from_joint,
        };
    }
    for (point, tip) in pose.tips.iter_mut().zip(hand.tips()) {
        *point = pose.root_from_joint[tip.joint] * tip.point_in_joint;
    }
}

/// Forward kinematics with its own buffers: no call allocates after [`Kinematics::new`].
#[derive(Debug, Clone)]
pub struct Kinematics {
    hand: Arc<Hand>,
    pose: HandPose,
}

impl Kinematics {
    /// Buffers for `hand`, which stands in [`Hand::rest`].
    pub fn new(hand: impl Into<Arc<Hand>>) -> Self {
        let hand = hand.into();
        let pose = hand.forward(&hand.rest());
        Self { hand, pose }
    }

    /// The hand.
    pub fn hand(&self) -> &Arc<Hand> {
        &self.hand
    }

    /// Moves the hand to `q`, shape (dof,) (rad or m).
    ///
    /// # Panics
    /// When the length of `q` is not [`Hand::dof`].
    pub fn update(&mut self, q: &[f64]) -> &HandPose {
        place(&self.hand, q, &mut self.pose);
        &self.pose
    }

    /// The pose of the last [`Kinematics::update`].
    pub fn pose(&self) -> &HandPose {
        &self.pose
    }

    /// A point given in the axes of a joint's link (`None`: the root), in root axes (m).
    pub fn point_in_root(&self, joint: Option<usize>, point: &Point3<f64>) -> Point3<f64> {
        joint.map_or(*point, |joint| self.pose.root_from_joint[joint] * point)
    }

    /// Axes of a named place (of [`Hand::frames`]) in root axes (m).
    pub fn root_from_frame(&self, frame: &Frame) -> Isometry3<f64> {
        let link = frame.joint.map(|joint| self.pose.root_from_joint[joint]);
        link.unwrap_or_default() * frame.link_from_frame
    }

    /// Geometric position Jacobian of a point fixed to the link of `joint` and now at
    /// `point_in_root` (m): column v is its velocity in root axes per unit of speed of variable v
    /// (m/rad, or m/m).
    ///
    /// Column of a revolute joint: a × (p − o), with its axis a and origin o in root axes, of a
    /// prismatic one: a, times the joint's factor; the columns of coupled joints add up in the
    /// variable that they share (Siciliano et al., Robotics, section 3.1).
    ///
    /// # Panics
    /// When the length of `columns` is not [`Hand::dof`].
    pub fn point_jacobian(
        &self,
        joint: usize,
        point_in_root: &Point3<f64>,
        columns: &mut [Vector3<f64>],
    ) {
        assert_eq!(columns.len(), self.hand.dof(), "wrong number of columns");
        columns.fill(Vector3::zeros());
        let mut next = Some(joint);
        while let Some(index) = next {
            let joint = &self.hand.joints()[index];
            let root_from_joint = &self.pose.root_from_joint[index];
            let axis = root_from_joint.rotation * joint.axis.into_inner();
            let column = match joint.kind {
                JointKind::Revolute => {
                    axis.cross(&(point_in_root.coords - root_from_joint.translation.vector))
                }
                JointKind::Prismatic => axis,
            };
            columns[joint.variable] += joint.factor * column;
            next = joint.parent;
        }
    }

    /// Geometric position Jacobian of fingertip `tip` (index into [`Hand::tips`]), as
    /// [`Kinematics::point_jacobian`].
    ///
    /// # Panics
    /// When there is no such tip, or the length of `columns` is not [`Hand::dof`].
    pub fn tip_jacobian(&self, tip: usize, columns: &mut [Vector3<f64>]) {
        let point = self.pose.tips[tip];
        self.point_jacobian(self.hand.tips()[tip].joint, &point, columns);
    }
}
