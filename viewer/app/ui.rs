//! The window: news in, keys and buttons out, panels in their places.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use dexumi_episode::Rig;
use eframe::glow::{self, HasContext};
use egui::{
    Context, Event, Key, Rect, TextureHandle, TextureOptions, Ui, UiBuilder, ViewportCommand,
};

use super::{
    AppOptions,
    close::{self, Closing, Situation},
    layout::{BORDER, Layout},
    link::{Link, Wake},
    model::{Action, LinkState, Model, Phase},
    panel,
    preview::Decoder,
    theme,
};
use crate::control::Order;

/// Time between two drawings with a graphics card …
const REDRAW: Duration = Duration::from_millis(16);
/// … and without one, where the processor draws and the recorder needs it too.
const SOFTWARE_REDRAW: Duration = Duration::from_millis(42);

/// A camera's picture.
pub(super) struct Camera {
    /// Newest picture; the last good one after a broken one.
    pub texture: Option<TextureHandle>,
    /// Why the newest one cannot be shown.
    pub problem: Option<String>,
    /// When something came last [s].
    pub at_s: f64,
}

/// The window's state.
pub(super) struct App {
    link: Link,
    decoder: Arc<Decoder>,
    model: Model,
    cameras: BTreeMap<String, Camera>,
    closing: Closing,
    epoch: Instant,
    redraw: Duration,
}

impl App {
    /// Sets up the window and starts to look for the recorder.
    pub fn new(
        creation: &eframe::CreationContext<'_>,
        options: AppOptions,
    ) -> std::io::Result<Self> {
        theme::install(&creation.egui_ctx);
        let ctx = creation.egui_ctx.clone();
        let redraw = if draws_in_software(creation) {
            SOFTWARE_REDRAW
        } else {
            REDRAW
        };
        let wake: Wake = Arc::new(move || ctx.request_repaint_after(redraw));
        let nominal_hz = nominal_rates(&options);
        let model = Model::new(options.task.clone(), nominal_hz);
        let decoder = Decoder::start(wake.clone())?;
        let epoch = Instant::now();
        let link = Link::open(options, epoch, decoder.clone(), wake)?;
        Ok(Self {
            link,
            decoder,
            model,
            cameras: BTreeMap::new(),
            closing: Closing::No,
            epoch,
            redraw,
        })
    }

    fn now_s(&self) -> f64 {
        self.epoch.elapsed().as_secs_f64()
    }

    fn situation(&self) -> Situation {
        Situation {
            is_recording: self.model.is_recording(),
            is_connected: self.model.link == LinkState::Connected,
            is_guest: self.link.is_guest(),
            now_s: self.now_s(),
        }
    }

    fn act(&mut self, action: Action) {
        let now_s = self.now_s();
        if let Some(order) = self.model.act(action, now_s) {
            self.link.send(&order);
        }
    }

    fn keys(&mut self, ctx: &Context) {
        if ctx.text_edit_focused() || self.closing != Closing::No {
            return;
        }
        let mut actions = Vec::new();
        // Taken away here, so that Space does not press a focused button as well.
        ctx.input_mut(|input| {
            input.events.retain(|event| {
                let Event::Key {
                    key,
                    pressed,
                    repeat,
                    modifiers,
                    ..
                } = event
                else {
                    return true;
                };
                let action = match key {
                    _ if modifiers.any() => return true,
                    Key::Space => Action::Toggle,
                    Key::D => Action::Discard,
                    Key::M => Action::Mark,
                    _ => return true,
                };
                if *pressed && !repeat {
                    actions.push(action);
                }
                false
            });
        });
        actions.into_iter().for_each(|action| self.act(action));
    }

    fn close(&mut self, ctx: &Context) {
        let before = self.closing;
        if ctx.input(|input| input.viewport().close_requested()) {
            self.closing = self.closing.asked(self.situation());
            if self.closing != Closing::Now {
                ctx.send_viewport_cmd(ViewportCommand::CancelClose);
            }
        }
        self.closing = self.closing.next(self.situation());
        self.model.is_closing = matches!(self.closing, Closing::Ending { .. });
        self.follow(ctx, before);
    }

    /// Does what a step of closing asks for.
    fn follow(&mut self, ctx: &Context, before: Closing) {
        match self.closing {
            Closing::Ending { .. } if !matches!(before, Closing::Ending { .. }) => {
                self.link.send(&Order::Quit);
            }
            Closing::Now if before != Closing::Now => ctx.send_viewport_cmd(ViewportCommand::Close),
            _ => {}
        }
    }

    fn take_pictures(&mut self, ctx: &Context) {
        let at_s = self.now_s();
        for (topic, preview) in self.decoder.take() {
            let camera = self.cameras.entry(topic).or_insert(Camera {
                texture: None,
                problem: None,
                at_s,
            });
            camera.at_s = at_s;
            match preview {
                Ok(image) => {
                    camera.problem = None;
                    match &mut camera.texture {
                        Some(texture) => texture.set(image, TextureOptions::LINEAR),
                        none => {
                            *none = Some(ctx.load_texture("camera", image, TextureOptions::LINEAR))
                        }
                    }
                }
                Err(problem) => camera.problem = Some(problem),
            }
        }
    }

    fn panels(&mut self, ui: &mut Ui, layout: &Layout, phase: Phase) {
        let now_s = self.now_s();
        within(ui, "band", layout.band, |ui| {
            panel::band::show(ui, &self.model, now_s)
        });
        let pressed = within(ui, "controls", layout.controls, |ui| {
            panel::controls::show(ui, &mut self.model, now_s)
        });
        within(ui, "footer", layout.footer, |ui| {
            panel::footer::show(ui, &self.model)
        });
        if panel::absent::is_due(&self.model) {
            if within(ui, "absent", layout.body, |ui| {
                panel::absent::show(ui, &self.model)
            }) {
                self.link.try_again();
            }
        } else {
            within(ui, "cameras", layout.cameras, |ui| {
                panel::cameras::show(ui, &self.model, &self.cameras, now_s);
            });
            within(ui, "streams", layout.streams, |ui| {
                panel::streams::show(ui, &self.model)
            });
            within(ui, "messages", layout.messages, |ui| {
                panel::messages::show(ui, &self.model)
            });
            within(ui, "plots", layout.plots, |ui| {
                panel::plots::show(ui, &self.model, now_s)
            });
            within(ui, "episodes", layout.episodes, |ui| {
                panel::episodes::show(ui, &self.model)
            });
        }
        let window = ui.max_rect();
        let stroke = egui::Stroke::new(BORDER, theme::phase_colour(phase));
        ui.painter()
            .rect_stroke(window, 0.0, stroke, egui::StrokeKind::Inside);
        if let Some(action) = pressed {
            self.act(action);
        }
    }
}

/// A panel's own part of the window: nothing of it shows outside.
fn within<R>(ui: &mut Ui, name: &str, rect: Rect, show: impl FnOnce(&mut Ui) -> R) -> R {
    let builder = UiBuilder::new().id_salt(name).max_rect(rect);
    ui.scope_builder(builder, |ui| {
        ui.shrink_clip_rect(rect);
        show(ui)
    })
    .inner
}

/// Whether OpenGL is computed by the processor, by the name that it gives itself.
fn draws_in_software(creation: &eframe::CreationContext<'_>) -> bool {
    let Some(gl) = &creation.gl else { return false };
    // SAFETY: eframe has just made this context and keeps it current on this
    // thread while the application is created.
    let name = unsafe { gl.get_parameter_string(glow::RENDERER) }.to_lowercase();
    ["llvmpipe", "softpipe", "swrast", "swiftshader", "software"]
        .iter()
        .any(|known| name.contains(known))
}

/// Rates that the rig asks its cameras for; of other devices it says nothing.
fn nominal_rates(options: &AppOptions) -> BTreeMap<String, f64> {
    // The recorder reads the same file and says what is wrong with it.
    let devices = Rig::load(&options.rig).map_or(Vec::new(), |rig| rig.device);
    devices
        .into_iter()
        .filter_map(|device| Some((device.stream, device.camera?.fps)))
        .collect()
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &Context, _: &mut eframe::Frame) {
        self.model.link = self.link.state();
        while let Some((at_s, published)) = self.link.next_status() {
            self.model.hear(*published, at_s);
        }
        self.take_pictures(ctx);
        self.close(ctx);
    }

    fn ui(&mut self, ui: &mut Ui, _: &mut eframe::Frame) {
        let ctx = ui.ctx().clone();
        theme::zoom_to_window(&ctx);
        self.keys(&ctx);
        let now_s = self.now_s();
        let phase = self.model.phase(now_s);
        let window = ui.max_rect();
        let has_cameras = panel::cameras::topics(&self.model).next().is_some();
        let layout = Layout::of(
            window,
            self.model.published.status.streams.len(),
            has_cameras,
        );
        self.panels(ui, &layout, phase);
        if self.closing == Closing::Asking
            && let Some(answer) = close::ask(&ctx, self.model.published.number)
        {
            let before = self.closing;
            self.closing = self.closing.answered(answer, now_s);
            self.follow(&ctx, before);
        }
        ctx.request_repaint_after(self.redraw);
    }

    fn clear_color(&self, _: &egui::Visuals) -> [f32; 4] {
        let state = theme::phase_colour(self.model.phase(self.now_s()));
        theme::GROUND
            .lerp_to_gamma(state, 0.16)
            .to_normalized_gamma_f32()
    }
}
