//! The table of streams: is every device alive, in time, complete?

use egui::{Align2, Color32, Rect, ScrollArea, Sense, Ui, UiBuilder, vec2};

use crate::app::{
    layout::{ROW, columns},
    model::{Model, Row},
    theme::{self, LINE, TEXT, WEAK, bold, regular, severity_colour},
    words::{self, Severity},
};

const SHARES: [f32; 10] = [20.5, 12.5, 7.0, 4.5, 7.5, 7.5, 9.0, 6.5, 8.0, 22.0];
const HEADS: [&str; 10] = [
    "Stream", "Rate, Hz", "Age", "Lost", "Suspect", "Missing", "Clock", "ppm", "Jitter", "In words",
];
const HELP: [&str; 10] = [
    "",
    "Samples in the last second, and what it should be (≈: what the device has done so far)",
    "Time since the last sample",
    "Packets that came but cannot be used: corrupt, cut, dropped",
    "Samples that were written with a doubt flagged",
    "Samples that the device took but that never arrived",
    "State of the fit between the device's clock and this computer's; none: stamped on arrival",
    "How much faster the device's clock runs than this computer's, in parts per million",
    "95th percentile of what the link delays beyond the fit",
    "The worst thing first",
];

/// Draws the table.
pub(in crate::app) fn show(ui: &mut Ui, model: &Model) {
    let body = theme::card(ui, ui.max_rect(), "STREAMS");
    let (head, rest) = body.split_top_bottom_at_y(body.top() + 20.0);
    for (index, cell) in places(head).into_iter().enumerate() {
        let shown = theme::text(ui, cell, align(index), regular(12.5), WEAK, HEADS[index]);
        if !HELP[index].is_empty() {
            shown.on_hover_text(HELP[index]);
        }
    }
    let rows = model.rows();
    ui.scope_builder(UiBuilder::new().max_rect(rest), |ui| {
        // A scrolled area shows some of what lies beyond it, else.
        ui.shrink_clip_rect(rest);
        ui.spacing_mut().item_spacing.y = 0.0;
        ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            for row in &rows {
                let size = vec2(rest.width(), ROW);
                let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
                show_row(ui, rect, row);
                response.on_hover_text(words::about_clock(row.status));
            }
        });
    });
}

/// Cells of a line. What is left-aligned keeps off the figures before it.
fn places(line: Rect) -> [Rect; 10] {
    let mut cells = columns(line, SHARES, 7.0);
    for index in [6, 9] {
        cells[index].min.x += 9.0;
    }
    cells
}

fn align(index: usize) -> Align2 {
    if matches!(index, 0 | 6 | 9) {
        Align2::LEFT_CENTER
    } else {
        Align2::RIGHT_CENTER
    }
}

fn show_row(ui: &mut Ui, rect: Rect, row: &Row<'_>) {
    let status = row.status;
    let colour = severity_colour(row.verdict.severity);
    ui.painter().hline(rect.x_range(), rect.top(), (1.0, LINE));
    let quiet = |number: u64| {
        if number == 0 {
            WEAK
        } else {
            severity_colour(Severity::Warning)
        }
    };
    let is_slow = row.verdict.text.contains("slow") || row.verdict.is_silent;
    let is_old = row.verdict.is_silent;
    let (clock, skew, jitter) = match status.clock.as_str() {
        "arrival" | "" => (
            words::clock_state(&status.clock),
            String::new(),
            String::new(),
        ),
        state => (
            words::clock_state(state),
            format!("{:+.1}", status.skew_ppm),
            words::millis(status.residual_p95_s),
        ),
    };
    let clock_colour = match status.clock.as_str() {
        "locked" => severity_colour(Severity::Good),
        "holdover" => severity_colour(Severity::Warning),
        "lost" => severity_colour(Severity::Fault),
        _ => WEAK,
    };
    let marked = |is_marked: bool| if is_marked { colour } else { TEXT };
    let cells: [(String, Color32); 10] = [
        (words::stream_name(&status.stream), TEXT),
        (words::rate(status.rate_hz, row.expected), marked(is_slow)),
        (words::age(status.age_s), marked(is_old)),
        (words::count(status.lost), quiet(status.lost)),
        (words::count(status.suspect), quiet(status.suspect)),
        (words::count(status.missing), quiet(status.missing)),
        (clock.to_owned(), clock_colour),
        (skew, TEXT),
        (jitter, TEXT),
        (row.verdict.text.clone(), colour),
    ];
    let places = places(rect);
    for (index, (text, colour)) in cells.iter().enumerate() {
        let mut place = places[index];
        let font = if index == 0 {
            bold(13.0)
        } else {
            regular(13.0)
        };
        if index == 9 {
            ui.painter()
                .circle_filled(place.left_center() + vec2(5.0, 0.0), 5.0, *colour);
            place = place.with_min_x(place.left() + 17.0);
        }
        let shown = theme::text(ui, place, align(index), font, *colour, text);
        if index == 0 {
            shown.on_hover_text(&status.stream);
        }
    }
}
