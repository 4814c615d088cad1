//! The `dexumi` program: commands, operator app, emulated scene, reports.

pub mod app;
pub mod command;
pub mod control;
pub mod emulate;
mod exit;
mod page;
mod picture;
mod remote;
mod report;
pub mod sync;
mod terminal;

pub use exit::Exit;
