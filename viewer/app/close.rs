//! Closing the window: what then becomes of the recorder.

use egui::{Align2, Color32, Context, Frame, Id, Key, Margin, Modal, Modifiers, Sense, Ui, vec2};

use super::model::Phase;
use super::{
    layout::columns,
    theme::{self, Face, RAISED, TEXT, WEAK},
};

/// The window waits this long for the recorder to end [s].
const PATIENCE_S: f64 = 20.0;

/// How far closing has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Closing {
    /// Nobody has asked.
    No,
    /// An episode runs, the operator is being asked.
    Asking,
    /// The recorder was told to end.
    Ending {
        /// When [s].
        since_s: f64,
    },
    /// The window may go.
    Now,
}

/// What is known when the window is asked to close, or is closing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    /// An episode is being written.
    pub is_recording: bool,
    /// A recorder answers.
    pub is_connected: bool,
    /// It belongs to somebody else.
    pub is_guest: bool,
    /// Window's clock [s].
    pub now_s: f64,
}

/// What the operator answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Close the window, go on recording.
    Background,
    /// End the episode and the recorder.
    Save,
    /// Do not close.
    Cancel,
}

impl Closing {
    /// After the window was asked to close.
    pub fn asked(self, situation: Situation) -> Self {
        match self {
            Self::Now => Self::Now,
            _ if situation.is_recording => Self::Asking,
            _ if situation.is_guest || !situation.is_connected => Self::Now,
            Self::Ending { .. } => self,
            _ => Self::Ending {
                since_s: situation.now_s,
            },
        }
    }

    /// After the operator's answer.
    pub fn answered(self, answer: Answer, now_s: f64) -> Self {
        match answer {
            Answer::Background => Self::Now,
            Answer::Save => Self::Ending { since_s: now_s },
            Answer::Cancel => Self::No,
        }
    }

    /// As time goes by.
    pub fn next(self, situation: Situation) -> Self {
        match self {
            Self::Ending { since_s }
                if !situation.is_connected || situation.now_s - since_s > PATIENCE_S =>
            {
                Self::Now
            }
            // The episode has ended meanwhile: nothing to ask.
            Self::Asking if !situation.is_recording => Self::No.asked(situation),
            other => other,
        }
    }
}

/// Asks what is to become of the running episode.
pub(super) fn ask(ctx: &Context, number: u32) -> Option<Answer> {
    let mut answer = None;
    let frame = Frame::new()
        .fill(theme::CARD)
        .corner_radius(12)
        .inner_margin(Margin::same(28));
    let modal = Modal::new(Id::unique("closing"))
        .backdrop_color(Color32::from_black_alpha(190))
        .frame(frame);
    let shown = modal.show(ctx, |ui| {
        let title = format!("Episode {number} is being recorded");
        line(ui, 36.0, &title, theme::bold(27.0), TEXT);
        line(
            ui,
            30.0,
            "What is to become of it when the window closes?",
            theme::regular(18.0),
            WEAK,
        );
        ui.add_space(14.0);
        let (rect, _) = ui.allocate_exact_size(vec2(920.0, 84.0), Sense::hover());
        let [background, save, cancel] = columns(rect, [1.2, 1.0, 0.8], 14.0);
        let red = theme::phase_colour(Phase::Recording);
        let green = theme::phase_colour(Phase::Ready);
        let mut button = |rect, title, key, fill, means| {
            if theme::big_button(
                ui,
                rect,
                &Face {
                    title,
                    key,
                    fill,
                    is_enabled: true,
                },
            )
            .clicked()
            {
                answer = Some(means);
            }
        };
        button(
            background,
            "Keep recording",
            "in the background — B",
            red,
            Answer::Background,
        );
        button(save, "Stop and save", "then close — S", green, Answer::Save);
        button(cancel, "Cancel", "Esc", RAISED, Answer::Cancel);
    });
    let pressed = |key| ctx.input_mut(|input| input.consume_key(Modifiers::NONE, key));
    if pressed(Key::B) {
        answer = Some(Answer::Background);
    } else if pressed(Key::S) {
        answer = Some(Answer::Save);
    } else if shown.should_close() {
        answer = Some(Answer::Cancel);
    }
    answer
}

fn line(ui: &mut Ui, height: f32, text: &str, font: egui::FontId, colour: Color32) {
    let (rect, _) = ui.allocate_exact_size(vec2(920.0, height), Sense::hover());
    theme::text(ui, rect, Align2::LEFT_CENTER, font, colour, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Situation = Situation {
        is_recording: false,
        is_connected: true,
        is_guest: false,
        now_s: 10.0,
    };

    #[test]
    fn an_idle_recorder_is_ended_and_waited_for() {
        let ending = Closing::No.asked(IDLE);
        assert_eq!(ending, Closing::Ending { since_s: 10.0 });
        assert_eq!(
            ending.next(Situation {
                now_s: 12.0,
                ..IDLE
            }),
            ending
        );
        assert_eq!(
            ending.next(Situation {
                is_connected: false,
                ..IDLE
            }),
            Closing::Now
        );
        assert_eq!(
            ending.next(Situation {
                now_s: 31.0,
                ..IDLE
            }),
            Closing::Now,
            "not for ever"
        );
    }

    #[test]
    fn a_running_episode_is_never_ended_unasked() {
        let recording = Situation {
            is_recording: true,
            ..IDLE
        };
        for before in [
            Closing::No,
            Closing::Asking,
            Closing::Ending { since_s: 1.0 },
        ] {
            assert_eq!(before.asked(recording), Closing::Asking);
        }
        assert_eq!(
            Closing::Asking.answered(Answer::Background, 11.0),
            Closing::Now
        );
        assert_eq!(
            Closing::Asking.answered(Answer::Save, 11.0),
            Closing::Ending { since_s: 11.0 }
        );
        assert_eq!(Closing::Asking.answered(Answer::Cancel, 11.0), Closing::No);
    }

    #[test]
    fn a_recorder_of_somebody_else_is_left_alone() {
        assert_eq!(
            Closing::No.asked(Situation {
                is_guest: true,
                ..IDLE
            }),
            Closing::Now
        );
        assert_eq!(
            Closing::No.asked(Situation {
                is_connected: false,
                ..IDLE
            }),
            Closing::Now
        );
    }
}
