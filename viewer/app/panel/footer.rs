//! Which rig, which folder, how much room.

use egui::{Align2, Ui};

use crate::app::{
    layout::columns,
    model::Model,
    theme::{self, WEAK, bold, regular, severity_colour},
    words::{self, Severity},
};

/// Less than this is worth a colour [byte].
const LITTLE: u64 = 5_000_000_000;

/// Draws the footer.
pub(in crate::app) fn show(ui: &mut Ui, model: &Model) {
    let published = &model.published;
    let [left, right] = columns(ui.max_rect(), [1.6, 1.0], 20.0);
    let what = match published.rig.as_str() {
        "" => String::new(),
        rig => format!("{rig}   ·   {}   ·   {}", published.hand, published.session),
    };
    let shown = theme::text(ui, left, Align2::LEFT_CENTER, regular(14.0), WEAK, &what);
    shown.on_hover_text("rig, hand, session folder");
    if published.rig.is_empty() {
        return;
    }
    let free = published.status.free_bytes;
    let (colour, font) = match free {
        1..LITTLE => (severity_colour(Severity::Warning), bold(14.0)),
        _ => (WEAK, regular(14.0)),
    };
    let mut text = words::disk(free, model.bytes_per_s());
    if model.is_recording() {
        text = format!(
            "this episode: {}   ·   {text}",
            words::bytes(published.status.bytes)
        );
    }
    theme::text(ui, right, Align2::RIGHT_CENTER, font, colour, &text);
}
