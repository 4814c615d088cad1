//! Exit codes, so that scripts can tell one ending from another.

use std::process::ExitCode;

use dexumi_capture::CaptureError;
use dexumi_episode::EpisodeError;
use dexumi_export::ExportError;
use dexumi_quality::QualityError;
use dexumi_retarget::RetargetError;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Done = 0,
    /// It could not be done.
    Failed = 1,
    /// Done, but data was lost or rejected; the report says what.
    Lossy = 3,
    /// The input is not what it should be.
    BadInput = 10,
    /// It may work later: a device is busy, missing or silent.
    TryAgain = 75,
}

impl Exit {
    /// The code for an error.
    pub fn of(error: &anyhow::Error) -> Self {
        for cause in error.chain() {
            if let Some(error) = cause.downcast_ref::<CaptureError>() {
                match error {
                    CaptureError::Open { .. }
                    | CaptureError::Silent { .. }
                    | CaptureError::Gone { .. } => {
                        return Self::TryAgain;
                    }
                    CaptureError::UnknownDriver { .. } | CaptureError::WrongStream { .. } => {
                        return Self::BadInput;
                    }
                    _ => {}
                }
            }
            if let Some(error) = cause.downcast_ref::<EpisodeError>() {
                return Self::of_episode(error);
            }
            if let Some(error) = cause.downcast_ref::<QualityError>() {
                return match error {
                    QualityError::Episode(error) => Self::of_episode(error),
                    QualityError::Stopped { .. } => Self::Failed,
                };
            }
            if let Some(error) = cause.downcast_ref::<RetargetError>() {
                return match error {
                    RetargetError::Episode(error) => Self::of_episode(error),
                    RetargetError::Follow { .. } | RetargetError::Arm { .. } => Self::BadInput,
                    RetargetError::Stopped { .. } => Self::Failed,
                };
            }
            if let Some(error) = cause.downcast_ref::<ExportError>() {
                return match error {
                    ExportError::UnknownFormat { .. }
                    | ExportError::UnknownVariant { .. }
                    | ExportError::PathName { .. }
                    | ExportError::Choice { .. }
                    | ExportError::Invalid { .. }
                    | ExportError::Changed { .. }
                    | ExportError::Episode { .. } => Self::BadInput,
                    ExportError::Busy { .. } => Self::TryAgain,
                    _ => Self::Failed,
                };
            }
            if let Some(dexumi_retarget::NpyError::Invalid { .. }) = cause.downcast_ref() {
                return Self::BadInput;
            }
            if cause.downcast_ref::<dexumi_retarget::HandError>().is_some()
                || cause.downcast_ref::<dexumi_retarget::ArmError>().is_some()
                || cause.downcast_ref::<dexumi_retarget::UrdfError>().is_some()
                || cause
                    .downcast_ref::<dexumi_retarget::KeypointError>()
                    .is_some()
                || cause
                    .downcast_ref::<dexumi_retarget::FollowError>()
                    .is_some()
                || cause
                    .downcast_ref::<dexumi_calibrate::JointsError>()
                    .is_some()
            {
                return Self::BadInput;
            }
        }
        Self::Failed
    }

    fn of_episode(error: &EpisodeError) -> Self {
        match error {
            EpisodeError::Config { .. }
            | EpisodeError::Damaged { .. }
            | EpisodeError::Unfinished { .. }
            | EpisodeError::Missing { .. }
            | EpisodeError::Nothing { .. }
            | EpisodeError::Content { .. } => Self::BadInput,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
