//! What this run has recorded, newest first.

use egui::{Align2, ScrollArea, Sense, Ui, UiBuilder, vec2};

use crate::app::{
    layout::{ROW, columns},
    model::Model,
    theme::{self, LINE, TEXT, WEAK, bold, regular, severity_colour},
    words::{self, Severity},
};

const SHARES: [f32; 5] = [12.0, 6.0, 7.0, 6.0, 6.0];
const HEADS: [&str; 5] = ["Episode", "Length", "Size", "Lost", "Suspect"];

/// Draws the list.
pub(in crate::app) fn show(ui: &mut Ui, model: &Model) {
    let finished = &model.published.finished;
    let total_s: f64 = finished.iter().map(|episode| episode.duration_s).sum();
    let title = match finished.len() {
        0 => "EPISODES OF THIS RUN".to_owned(),
        number => format!(
            "EPISODES OF THIS RUN: {number}, {} IN ALL",
            words::timer(total_s)
        ),
    };
    let body = theme::card(ui, ui.max_rect(), &title);
    if finished.is_empty() {
        theme::text(
            ui,
            body,
            Align2::CENTER_CENTER,
            regular(18.0),
            WEAK,
            "none yet",
        );
        return;
    }
    let align = |index: usize| {
        if index == 0 {
            Align2::LEFT_CENTER
        } else {
            Align2::RIGHT_CENTER
        }
    };
    let (head, rest) = body.split_top_bottom_at_y(body.top() + 20.0);
    for (index, cell) in columns(head, SHARES, 8.0).into_iter().enumerate() {
        theme::text(ui, cell, align(index), regular(12.5), WEAK, HEADS[index]);
    }
    ui.scope_builder(UiBuilder::new().max_rect(rest), |ui| {
        // A scrolled area shows some of what lies beyond it, else.
        ui.shrink_clip_rect(rest);
        ui.spacing_mut().item_spacing.y = 0.0;
        ScrollArea::vertical().auto_shrink(false).show_rows(
            ui,
            ROW,
            finished.len(),
            |ui, shown| {
                for episode in finished.iter().rev().skip(shown.start).take(shown.len()) {
                    let (rect, _) = ui.allocate_exact_size(vec2(rest.width(), ROW), Sense::hover());
                    ui.painter().hline(rect.x_range(), rect.top(), (1.0, LINE));
                    let quiet = |number: u64| {
                        if number == 0 {
                            WEAK
                        } else {
                            severity_colour(Severity::Warning)
                        }
                    };
                    let cells = [
                        (episode.name.trim_end_matches(".mcap").to_owned(), TEXT),
                        (words::timer(episode.duration_s), TEXT),
                        (words::bytes(episode.bytes), TEXT),
                        (words::count(episode.lost), quiet(episode.lost)),
                        (words::count(episode.suspect), quiet(episode.suspect)),
                    ];
                    for (index, cell) in columns(rect, SHARES, 8.0).into_iter().enumerate() {
                        let (text, colour) = &cells[index];
                        let font = if index == 0 {
                            bold(13.5)
                        } else {
                            regular(13.5)
                        };
                        theme::text(ui, cell, align(index), font, *colour, text);
                    }
                }
            },
        );
    });
}
