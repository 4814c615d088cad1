//! In place of the panels while there is no recorder: what happened, what it said
//! last, what to do.

use egui::{Align2, FontId, Ui, vec2};

use crate::app::{
    layout::stack,
    model::{LinkState, Model, Phase},
    theme::{self, CARD, Face, TEXT, WEAK, bold, regular},
};

/// Whether there is nothing else to show. While a lost recorder is looked for,
/// its last words stay.
pub(in crate::app) fn is_due(model: &Model) -> bool {
    match model.link {
        LinkState::Failed(_) | LinkState::Ended => true,
        LinkState::Starting { .. } => model.published.session.is_empty(),
        LinkState::Connected => false,
    }
}

/// Draws it; whether the recorder is to be started again.
pub(in crate::app) fn show(ui: &mut Ui, model: &Model) -> bool {
    let rect = ui.max_rect();
    ui.painter().rect_filled(rect, theme::ROUND, CARD);
    let inside = rect.shrink2(vec2(28.0, 22.0));
    match &model.link {
        LinkState::Failed(failure) => {
            let places = stack(inside, &[0.9, 5.6, 0.9, 1.6, 1.7], 8.0);
            let log = format!("What the recorder said last ({}):", failure.log);
            theme::text(ui, places[0], Align2::LEFT_CENTER, bold(17.0), WEAK, &log);
            let said = match &failure.lines[..] {
                [] => "nothing".to_owned(),
                lines => lines.join("\n"),
            };
            let rows = (places[1].height() / 19.0) as usize;
            theme::text_rows(
                ui,
                places[1],
                Align2::LEFT_TOP,
                FontId::monospace(15.0),
                TEXT,
                &said,
                rows.max(1),
            );
            theme::text(
                ui,
                places[2],
                Align2::LEFT_BOTTOM,
                bold(17.0),
                WEAK,
                "What to do next:",
            );
            let next = "Do what the last line asks for; most often a device is unplugged, or the rig file names \
                        another port (`dexumi devices` lists what is connected). An episode that was running \
                        is repaired at the next start.";
            theme::text_rows(
                ui,
                places[3],
                Align2::LEFT_TOP,
                regular(18.0),
                TEXT,
                next,
                3,
            );
            let button = places[4].with_max_x(places[4].left() + 300.0);
            let fill = theme::phase_colour(Phase::Ready);
            let face = Face {
                title: "Try again",
                key: "Enter",
                fill,
                is_enabled: true,
            };
            let is_key = !ui.ctx().text_edit_focused()
                && ui.input(|input| input.key_pressed(egui::Key::Enter));
            theme::big_button(ui, button, &face).clicked() || is_key
        }
        LinkState::Starting { what } => {
            theme::text_rows(
                ui,
                inside,
                Align2::CENTER_CENTER,
                regular(22.0),
                WEAK,
                &format!("{what} …"),
                4,
            );
            false
        }
        LinkState::Ended => {
            let (text, button) = inside.split_top_bottom_at_y(inside.bottom() - 80.0);
            let said = "The recorder has ended; all episodes are complete.";
            theme::text(ui, text, Align2::CENTER_CENTER, regular(22.0), TEXT, said);
            let button = egui::Rect::from_center_size(button.center(), vec2(300.0, 76.0));
            let fill = theme::phase_colour(Phase::Ready);
            let face = Face {
                title: "Start it again",
                key: "Enter",
                fill,
                is_enabled: true,
            };
            theme::big_button(ui, button, &face).clicked()
        }
        LinkState::Connected => false,
    }
}
