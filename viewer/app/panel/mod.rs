//! The parts of the window, one file each. They draw what the model says.

pub(super) mod absent;
pub(super) mod band;
pub(super) mod cameras;
pub(super) mod controls;
pub(super) mod episodes;
pub(super) mod footer;
pub(super) mod messages;
pub(super) mod plots;
pub(super) mod streams;
