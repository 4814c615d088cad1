//! Hand models, kinematics and retargeting.
//!
//! A [`Hand`] is data: a hand file ([`HANDS`], `hands/*.toml`, `docs/hand-file.md`) or a URDF
//! ([`Hand::from_urdf`]; [`UrdfTree`] for what is no hand). What moves it is one of
//!
//! - [`JointMap`]: exoskeleton joint angles, joint for joint, within limits and speed;
//! - [`Retargeter`]: 21 hand keypoints, by projected, damped Newton;
//!
//! and [`WristMap`] places it in the world; [`retarget_episode`] does both for a recording. [`Kinematics`] says where its parts are.
//! An [`Arm`] is data too ([`ARMS`], `arms/*.toml`); [`ArmChecker`] tells whether it can carry the hand through a recording, and
//! [`search_placements`] where to put it. Capsules give the distance of links, hands and arms ([`nearest_pair`]).
//!
//! # Conventions
//!
//! - Units: m, rad, s, rad/s; f64 throughout. Where a joint is prismatic, its position, limits and
//!   speed are in m and m/s instead.
//! - `a_from_b` maps points in b to a. All frames are right-handed. Quaternions in slices are
//!   x, y, z, w.
//! - Hand frame (root axes of every [`Hand`], axes of the keypoints): x out of the palm, z from
//!   the wrist to the fingers, y towards the thumb on the right hand and away from it on the left.
//! - `q` has one entry per variable of the hand, in motor order; coupled joints follow.
//! - Input that is not finite never reaches an answer: the previous one is held, or none is given,
//!   and a flag says so. Answers are always finite and inside the limits.

mod arm;
mod axes;
mod capsule;
mod capsules;
mod collision;
mod coupling;
mod episode;
mod exo_map;
mod feasible;
mod figures;
mod floating_root;
mod follow;
mod fusion;
mod hand;
mod hand_file;
mod keypoints;
mod kinematics;
mod motor;
mod npy;
mod parallel;
mod preset;
mod retargeter;
mod se3;
mod smooth;
mod solver;
mod tracker;
mod urdf;
mod wrist;

pub use arm::{
    ARM_FLAGS, ARMS, Arm, ArmCapsule, ArmCheck, ArmCheckOptions, ArmChecker, ArmError, ArmJoint,
    ArmKinematics, ArmMotion, ArmReport, ArmStep, ArmUrdfOptions, COLLISION, DISCONTINUITY,
    FirstBad, FlagCount, INPUT_HELD, LIMIT, MOST_ARM_JOINTS, Placement, PlacementGrid,
    PlacementReport, SINGULAR, Span, TimedPose, UNREACHABLE, VELOCITY, arm_flag_names,
    search_placements,
};
pub use axes::{PointAxes, hand_axes, in_hand_axes, lies_along_hand_axes};
pub use capsule::{Closest, NearestPair, PlacedCapsule, closest, hand_capsules, nearest_pair};
pub use collision::CollisionOptions;
pub use episode::{
    ArmFigures, ArmPlan, Derivation, EpisodeJob, EpisodeOptions, HANDS_NEAR_M, HandsApart,
    RetargetError, RetargetReport, Source, arm_topic, derived_path, derived_path_in,
    effector_topic, hands_apart, joints_topic, retarget_episode, sha256, sha256_of_model,
};
pub use exo_map::{
    CLIPPED_LIMIT, CLIPPED_VELOCITY, JointMap, LONGEST_STEP_S, MapCounts, NO_ANSWER_YET,
    NON_FINITE_HELD, Step,
};
pub use figures::{PINCH_M, StepFigures};
pub use follow::{FollowError, FollowOptions, Follower, PresetKind};
pub use fusion::Fusion;
pub use hand::{Capsule, Finger, Frame, HANDS, Hand, Joint, JointKind, Side, Tip};
pub use hand_file::HandError;
pub use keypoints::{FingerScale, KeypointError, Keypoints, finger_scales, keypoints_from_array};
pub use kinematics::{HandPose, Kinematics};
pub use motor::{Motor, MotorUnit};
pub use npy::{NpyArray, NpyError, Npz, NpzWriter};
pub use preset::{DexumiWeights, Preset, PresetError};
pub use retargeter::{
    AT_LIMIT, AT_SPEED, COLLISION_CLIPPED, DEGENERATE, HELD, Limits, NO_ANSWER, NON_FINITE,
    RESEEDED, RetargetOptions, Retargeter, Verdict, WRONG_AXES,
};
pub use se3::{se3_exp, se3_log, translation_and_rotation_vector};
pub use smooth::{SmoothOptions, Smoother, retarget_clip};
pub use solver::{LinkPoint, Loss, Outcome, Pull, StepSolver, Term};
pub use tracker::{Tracker, TrackerOptions};
pub use urdf::{
    UrdfError, UrdfGeometry, UrdfJoint, UrdfJointKind, UrdfLink, UrdfMimic, UrdfOptions, UrdfShape,
    UrdfTree,
};
pub use wrist::{
    CHUNK_WITHOUT_REFERENCE, CLUTCH_RELEASED, POSE_NON_FINITE, POSE_UNNORMALISED,
    QUATERNION_TOLERANCE, WristMap, WristMode, WristStep,
};
