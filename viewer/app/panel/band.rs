//! The band at the top: state, timer, episode. To be read from across the room.

use egui::{Align2, Color32, Ui, vec2};

use crate::app::{
    layout::columns,
    model::Model,
    theme::{self, bold, regular},
    words,
};

/// Draws the band.
pub(in crate::app) fn show(ui: &mut Ui, model: &Model, now_s: f64) {
    let phase = model.phase(now_s);
    let headline = model.headline(now_s);
    let rect = ui.max_rect();
    ui.painter()
        .rect_filled(rect, 0.0, theme::phase_colour(phase));
    let faint = Color32::from_white_alpha(200);
    let inside = rect.shrink2(vec2(26.0, 10.0));
    let [state, timer, episode] = columns(inside, [5.6, 3.9, 1.9], 18.0);

    let (word, sentence) = state.split_top_bottom_at_y(state.top() + 62.0);
    theme::text(
        ui,
        word,
        Align2::LEFT_CENTER,
        bold(56.0),
        Color32::WHITE,
        headline.word,
    );
    let sentence = sentence.with_min_y(sentence.top() + 3.0);
    theme::text_rows(
        ui,
        sentence,
        Align2::LEFT_TOP,
        regular(21.0),
        Color32::WHITE,
        &headline.sentence,
        2,
    );

    let elapsed = words::timer(model.elapsed_s(now_s));
    let ink = if model.is_recording() {
        Color32::WHITE
    } else {
        Color32::from_white_alpha(130)
    };
    let shown = theme::text(ui, timer, Align2::RIGHT_CENTER, bold(92.0), ink, &elapsed);
    shown.on_hover_text("length of the running episode");

    let (label, number) = episode.split_top_bottom_at_y(episode.top() + 20.0);
    theme::text(
        ui,
        label,
        Align2::RIGHT_CENTER,
        bold(15.0),
        faint,
        "EPISODE",
    );
    let text = match model.published.number {
        0 if model.published.session.is_empty() => "–".to_owned(),
        number => number.to_string(),
    };
    // As large as fits: numbers reach four digits.
    let size = if text.len() > 2 { 58.0 } else { 80.0 };
    theme::text(
        ui,
        number,
        Align2::RIGHT_CENTER,
        bold(size),
        Color32::WHITE,
        &text,
    );
}
