//! Forward kinematics of an arm, its Jacobian, and where its capsules are.

use std::sync::Arc;

use nalgebra::{Isometry3, Matrix6, Translation3, UnitQuaternion, Vector3, Vector6};

use crate::arm::{Arm, ArmMotion};
use crate::capsule::{Closest, PlacedCapsule, closest};

/// Forward kinematics of an arm with its own buffers: no call allocates after
/// [`ArmKinematics::new`].
#[derive(Debug, Clone)]
pub struct ArmKinematics {
    arm: Arc<Arm>,
    base_from_joint: Vec<Isometry3<f64>>,
    base_from_flange: Isometry3<f64>,
    placed: Vec<PlacedCapsule>,
}

impl ArmKinematics {
    /// Buffers for `arm`, which stands in [`Arm::home`].
    pub fn new(arm: impl Into<Arc<Arm>>) -> Self {
        let arm = arm.into();
        let placed = arm.capsules.iter().map(|capsule| capsule.capsule).collect();
        let mut kinematics = Self {
            base_from_joint: vec![Isometry3::identity(); arm.dof()],
            base_from_flange: Isometry3::identity(),
            placed,
            arm: arm.clone(),
        };
        kinematics.update(&arm.home);
        kinematics
    }

    /// The arm.
    pub fn arm(&self) -> &Arc<Arm> {
        &self.arm
    }

    /// Moves the arm to `q`, shape (dof,), and returns `base_from_flange` (m).
    ///
    /// # Panics
    /// When the length of `q` is not [`Arm::dof`].
    pub fn update(&mut self, q: &[f64]) -> &Isometry3<f64> {
        assert_eq!(
            q.len(),
            self.arm.dof(),
            "q of {} has the wrong length",
            self.arm.name
        );
        let mut base_from_last = Isometry3::identity();
        for ((joint, &position), base_from_joint) in
            self.arm.joints.iter().zip(q).zip(&mut self.base_from_joint)
        {
            base_from_last *= joint.parent_from_joint;
            match joint.motion {
                ArmMotion::Revolute => {
                    base_from_last.rotation *=
                        UnitQuaternion::from_axis_angle(&joint.axis, position);
                }
                ArmMotion::Prismatic => {
                    base_from_last *= Translation3::from(joint.axis.into_inner() * position);
                }
            }
            *base_from_joint = base_from_last;
        }
        self.base_from_flange = base_from_last * self.arm.last_from_flange;
        &self.base_from_flange
    }

    /// `base_from_flange` (m) of the last [`ArmKinematics::update`].
    pub fn base_from_flange(&self) -> &Isometry3<f64> {
        &self.base_from_flange
    }

    /// Axes of each joint, turned with it, shape (dof,) (m).
    pub fn base_from_joint(&self) -> &[Isometry3<f64>] {
        &self.base_from_joint
    }

    /// Geometric Jacobian of the flange, shape (6, dof): column j is the velocity of the flange's
    /// origin (m/s), then its angular velocity (rad/s), both in base axes, per unit of speed of
    /// joint j (Siciliano et al., Robotics, section 3.1).
    ///
    /// # Panics
    /// When the length of `columns` is not [`Arm::dof`].
    pub fn jacobian(&self, columns: &mut [Vector6<f64>]) {
        assert_eq!(columns.len(), self.arm.dof(), "wrong number of columns");
        let flange = self.base_from_flange.translation.vector;
        let joints = self.arm.joints.iter().zip(&self.base_from_joint);
        for ((joint, base_from_joint), column) in joints.zip(columns) {
            let axis = base_from_joint.rotation * joint.axis.into_inner();
            let (linear, angular) = match joint.motion {
                ArmMotion::Revolute => {
                    let arm = flange - base_from_joint.translation.vector;
                    (axis.cross(&arm), axis)
                }
                ArmMotion::Prismatic => (axis, Vector3::zeros()),
            };
            column.fixed_rows_mut::<3>(0).copy_from(&linear);
            column.fixed_rows_mut::<3>(3).copy_from(&angular);
        }
    }

    /// The arm's capsules in base axes, in the order of [`Arm::capsules`] (m).
    pub fn capsules(&mut self) -> &[PlacedCapsule] {
        for (capsule, placed) in self.arm.capsules.iter().zip(&mut self.placed) {
            *placed = match capsule.joint {
                Some(joint) => capsule.capsule.moved(&self.base_from_joint[joint]),
                None => capsule.capsule,
            };
        }
        &self.placed
    }

    /// The closest of [`Arm::collision_pairs`], by index of its capsules, where the arm stands;
    /// `None` when there are none.
    pub fn self_distance(&mut self) -> Option<(usize, usize, Closest)> {
        self.capsules();
        let mut best: Option<(usize, usize, Closest)> = None;
        for &(i, j) in &self.arm.pairs {
            let (one, other) = (&self.placed[i], &self.placed[j]);
            if best.is_some_and(|(_, _, best)| one.least_distance(other) >= best.distance) {
                continue;
            }
            let closest = closest(one, other);
            if best.is_none_or(|(_, _, best)| closest.distance < best.distance) {
                best = Some((i, j, closest));
            }
        }
        best
    }
}

/// Smallest singular value of a Jacobian, shape (6, n), its rows in m and rad as they are: below
/// it the arm loses a direction. With fewer than six joints, the smallest of those n.
pub(crate) fn least_singular_value(columns: &[Vector6<f64>]) -> f64 {
    let n = columns.len();
    let mut gram = Matrix6::zeros();
    if n >= 6 {
        for column in columns {
            gram += column * column.transpose();
        }
    } else {
        for i in 0..6 {
            for j in 0..6 {
                gram[(i, j)] = match (columns.get(i), columns.get(j)) {
                    (Some(one), Some(other)) => one.dot(other),
                    // Beyond the joints: a large eigenvalue that is never the least.
                    _ => f64::from(u8::from(i == j)) * 1e6,
                };
            }
        }
    }
    gram.symmetric_eigenvalues().min().max(0.0).sqrt()
}
