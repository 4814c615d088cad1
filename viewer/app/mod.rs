//! `dexumi app`: the operator's window.
//!
//! ```text
//! recorder (child process) ── socket ──▶ link thread ──▶ Model ──▶ panels
//!          ▲                                 └─ JPEGs ──▶ preview thread ──▶ textures
//!          └──────────────── orders ◀── keys and buttons
//! ```
//!
//! The recorder is a process of its own: a crash of the window, of a graphics
//! driver or of a thread here does not end an episode, and a new window finds the
//! recorder that an old one left behind.

mod child;
mod close;
mod history;
mod layout;
mod link;
mod model;
mod panel;
mod preview;
mod theme;
mod ui;
mod words;

use std::path::PathBuf;

use crate::remote::RemoteArguments;

/// What the window is to record.
#[derive(Debug, Clone)]
pub struct AppOptions {
    /// The rig.
    pub rig: PathBuf,
    /// Session folder.
    pub out: PathBuf,
    /// Calibration; without one, the recorder looks for it.
    pub calibration: Option<PathBuf>,
    /// Task of the first episode, until the operator types another.
    pub task: String,
    /// Control socket of a recorder that somebody else runs, instead of starting
    /// one: closing the window then leaves it running.
    pub socket: Option<PathBuf>,
    /// Where the recorder that the window starts can be reached from elsewhere.
    pub remote: RemoteArguments,
}

/// Opens the window and shows it until it is closed.
///
/// # Errors
/// There is no display, or no OpenGL 2.1 (or ES 2.0) to draw with. Whatever
/// happens to the recorder is shown in the window.
pub fn run(options: AppOptions) -> anyhow::Result<()> {
    let viewport = egui::ViewportBuilder::default()
        .with_title("dexumi")
        .with_app_id("dexumi")
        .with_inner_size([1280.0, 800.0])
        .with_min_inner_size([800.0, 500.0]);
    let native = eframe::NativeOptions {
        viewport,
        // Four times as fast as wgpu where there is no graphics card.
        renderer: eframe::Renderer::Glow,
        ..eframe::NativeOptions::default()
    };
    eframe::run_native(
        "dexumi",
        native,
        Box::new(|creation| Ok(Box::new(ui::App::new(creation, options)?))),
    )
    // eframe's error cannot be sent between threads, as anyhow asks for.
    .map_err(|error| {
        anyhow::anyhow!("cannot open a window: {error}; without a screen, use `dexumi record`")
    })
}
