//! Buttons to hit with gloves on, and what the operator is to do.

use egui::{Align2, Color32, Frame, Id, Key, Margin, Rect, Stroke, TextEdit, Ui, vec2};

use crate::app::{
    layout::columns,
    model::{Action, Model, Phase},
    theme::{self, Face, RAISED, TEXT, WEAK, bold, regular},
};

/// Draws the controls; the button that was pressed.
pub(in crate::app) fn show(ui: &mut Ui, model: &mut Model, now_s: f64) -> Option<Action> {
    let [toggle, discard, mark, task] = columns(ui.max_rect(), [3.1, 2.2, 1.8, 5.4], 12.0);
    let is_recording = model.is_recording();
    let mut pressed = None;
    let mut button = |ui: &mut Ui, rect: Rect, action, title: &str, key: &str, fill: Color32| {
        let check = model.check(action, now_s);
        let response = theme::big_button(
            ui,
            rect,
            &Face {
                title,
                key,
                fill,
                is_enabled: check.is_ok(),
            },
        );
        if response.clicked() {
            pressed = Some(action);
        }
        if let Err(why) = check {
            response.on_hover_text(why);
        }
    };
    let (title, phase) = if is_recording {
        ("Stop", Phase::Recording)
    } else {
        ("Start", Phase::Ready)
    };
    button(
        ui,
        toggle,
        Action::Toggle,
        title,
        "Space",
        theme::phase_colour(phase),
    );
    if model.is_discard_armed(now_s) {
        let fill = theme::phase_colour(Phase::Saving);
        button(
            ui,
            discard,
            Action::Discard,
            "Really discard?",
            "press D again",
            fill,
        );
    } else {
        button(ui, discard, Action::Discard, "Discard", "D", RAISED);
    }
    let title = if is_recording && model.marks > 0 {
        format!("Mark ({})", model.marks)
    } else {
        "Mark".to_owned()
    };
    button(ui, mark, Action::Mark, &title, "M", RAISED);
    task_field(ui, task, &mut model.task, is_recording);
    pressed
}

fn task_field(ui: &mut Ui, rect: Rect, task: &mut String, is_recording: bool) {
    let id = Id::unique("task");
    let is_typing = ui.memory(|memory| memory.has_focus(id));
    ui.painter().rect_filled(rect, theme::ROUND, RAISED);
    if is_typing {
        ui.painter().rect_stroke(
            rect,
            theme::ROUND,
            Stroke::new(2.0, TEXT),
            egui::StrokeKind::Inside,
        );
    }
    let (head, field) = rect
        .shrink2(vec2(14.0, 8.0))
        .split_top_bottom_at_y(rect.top() + 28.0);
    let title = match (is_typing, is_recording) {
        (true, _) => "Task — Enter when done; other keys are off while you type",
        (false, true) => "Task of the next episode",
        (false, false) => "Task",
    };
    let label = theme::text(ui, head, Align2::LEFT_CENTER, bold(14.0), WEAK, title);
    let edit = TextEdit::singleline(task)
        .id(id)
        .font(regular(23.0))
        .frame(Frame::NONE)
        .margin(Margin::ZERO)
        .hint_text("what is to be done")
        .align(Align2::LEFT_CENTER);
    let response = ui
        .put(field, edit.desired_width(field.width()))
        .labelled_by(label.id);
    let is_done = ui.input(|input| input.key_pressed(Key::Escape) || input.key_pressed(Key::Enter));
    if response.has_focus() && is_done {
        response.surrender_focus();
    }
}
