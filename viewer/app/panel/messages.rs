//! What the recorder says, newest first.

use egui::{Align2, ScrollArea, Sense, Ui, UiBuilder, vec2};

use crate::app::{
    model::Model,
    theme::{self, TEXT, WEAK, regular, severity_colour},
    words::Severity,
};

const LINE: f32 = 21.0;

/// Draws the messages.
pub(in crate::app) fn show(ui: &mut Ui, model: &Model) {
    let body = theme::card(ui, ui.max_rect(), "MESSAGES");
    let messages = &model.published.status.messages;
    let error = model
        .published
        .error
        .iter()
        .map(|error| (error, severity_colour(Severity::Fault)));
    let newest = messages.iter().rev().enumerate();
    let messages = newest.map(|(index, message)| (message, if index == 0 { TEXT } else { WEAK }));
    let lines: Vec<_> = error.chain(messages).collect();
    if lines.is_empty() {
        theme::text(ui, body, Align2::LEFT_TOP, regular(14.0), WEAK, "none");
        return;
    }
    ui.scope_builder(UiBuilder::new().max_rect(body), |ui| {
        // A scrolled area shows some of what lies beyond it, else.
        ui.shrink_clip_rect(body);
        ui.spacing_mut().item_spacing.y = 0.0;
        ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            for (message, colour) in lines {
                let (rect, _) = ui.allocate_exact_size(vec2(body.width(), LINE), Sense::hover());
                theme::text(
                    ui,
                    rect,
                    Align2::LEFT_CENTER,
                    regular(14.0),
                    colour,
                    message,
                );
            }
        });
    });
}
