//! How good a recorded episode is.
//!
//! [`Measured::of`] reads an episode once; every entry of [`METRICS`] makes figures of it,
//! each is graded by its thresholds, and the worst is the episode's [`Grade`].
//! Episodes are tagged, never deleted: which of them are used is decided by a [`Filter`]
//! when a dataset is made.
//!
//! # Conventions
//! As in [`dexumi_episode`]: SI units and radians inside; figures are in the unit of their
//! metric. A lag is positive where images are stamped later than the motion that they show.

mod duplicates;
mod filter;
mod flow;
mod grade;
mod hand;
mod images;
mod language;
mod measured;
mod metric;
mod motion;
mod reach;
mod rules;
mod streams;
mod sync;
mod verdict;

pub use duplicates::{Signature, mark_duplicates};
pub use filter::{Filter, FilterError, Subject};
pub use grade::{GRADES, Grade};
pub use measured::{Input, Measured, Plot, QualityError};
pub use metric::{Found, METRICS, Measure, Metric, Worse, metric};
pub use rules::{markdown, rules_sha256};
pub use verdict::{Figure, Verdict};
