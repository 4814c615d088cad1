//! What the recorder says, newest first.

use egui::{Align2, ScrollArea, Sense, Ui, UiBuilder, vec2};

use crate::app::{
    model::Model,
    theme::{self, TEXT, WEAK, regular},
};

const LINE: f32 = 20.0;

/// Draws the messages.
pub(in crate::app) fn show(ui: &mut Ui, model: &Model) {
    let body = theme::card(ui, ui.max_rect(), "MESSAGES");
    let messages = &model.published.status.messages;
    if messages.is_empty() {
        theme::text(ui, body, Align2::LEFT_TOP, regular(14.0), WEAK, "none");
        return;
    }
    ui.scope_builder(UiBuilder::new().max_rect(body), |ui| {
        ui.spacing_mut().item_spacing.y = 0.0;
        ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            for (index, message) in messages.iter().rev().enumerate() {
                let (rect, _) = ui.allocate_exact_size(vec2(body.width(), LINE), Sense::hover());
                let colour = if index == 0 { TEXT } else { WEAK };
                theme::text(ui, rect, Align2::LEFT_CENTER, regular(14.0), colour, message);
            }
        });
    });
}
