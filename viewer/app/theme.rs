//! Colours, type and the few shapes that all panels share.

use std::sync::Arc;

use egui::{
    Align2, Color32, Context, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Rect,
    Response, Sense, Stroke, Theme, Ui, Vec2, WidgetInfo, accesskit::Role, text::LayoutJob,
    text::TextWrapping, vec2,
};

use super::{history::Hue, model::Phase, words::Severity};

/// Behind everything, before the state's tint.
pub(super) const GROUND: Color32 = Color32::from_rgb(0x0d, 0x10, 0x14);
/// Behind a panel.
pub(super) const CARD: Color32 = Color32::from_rgb(0x17, 0x1b, 0x21);
/// Behind what can be pressed or typed into.
pub(super) const RAISED: Color32 = Color32::from_rgb(0x25, 0x2b, 0x34);
/// Lines between things.
pub(super) const LINE: Color32 = Color32::from_rgb(0x2b, 0x32, 0x3c);
/// What is to be read.
pub(super) const TEXT: Color32 = Color32::from_rgb(0xec, 0xef, 0xf4);
/// What is to be read second.
pub(super) const WEAK: Color32 = Color32::from_rgb(0x9a, 0xa5, 0xb3);

/// Corners of panels and buttons.
pub(super) const ROUND: CornerRadius = CornerRadius::same(8);
/// Inside a panel, around its contents.
pub(super) const PADDING: f32 = 12.0;

/// Window for which the sizes in this module are right [point]; the whole is
/// enlarged in a larger one, since the operator stands two metres away.
const DESIGN: Vec2 = vec2(1280.0, 800.0);

/// Fonts whose figures are all as wide, best first: regular and bold.
const FONTS: [(&str, &str); 5] = [
    (
        "/usr/share/fonts/truetype/inter/Inter-Regular.ttf",
        "/usr/share/fonts/truetype/inter/Inter-Bold.ttf",
    ),
    (
        "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
        "/usr/share/fonts/truetype/noto/NotoSans-Bold.ttf",
    ),
    (
        "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf",
        "/usr/share/fonts/truetype/liberation/LiberationSans-Bold.ttf",
    ),
    (
        "/usr/share/fonts/opentype/urw-base35/NimbusSans-Regular.otf",
        "/usr/share/fonts/opentype/urw-base35/NimbusSans-Bold.otf",
    ),
    (
        "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
        "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf",
    ),
];

/// Colour of a state, for large areas under white text.
pub(super) fn phase_colour(phase: Phase) -> Color32 {
    match phase {
        Phase::Idle => Color32::from_rgb(0x4d, 0x58, 0x66),
        Phase::Ready => Color32::from_rgb(0x12, 0x86, 0x4a),
        Phase::Recording => Color32::from_rgb(0xcf, 0x22, 0x22),
        Phase::Saving => Color32::from_rgb(0xb3, 0x6b, 0x00),
        Phase::Fault => Color32::from_rgb(0xb4, 0x0f, 0xa4),
    }
}

/// Colour of a verdict, for text.
pub(super) fn severity_colour(severity: Severity) -> Color32 {
    match severity {
        Severity::Good => Color32::from_rgb(0x4c, 0xd0, 0x88),
        Severity::Waiting => WEAK,
        Severity::Warning => Color32::from_rgb(0xff, 0xb8, 0x3d),
        Severity::Fault => Color32::from_rgb(0xff, 0x6f, 0xf0),
    }
}

/// Colour of a curve; paler for the later joints of a finger.
pub(super) fn curve_colour(hue: Hue, shade: usize) -> Color32 {
    // Okabe and Ito's palette, brightened for a dark ground: told apart also by
    // those who see few colours.
    const PALETTE: [Color32; 5] = [
        Color32::from_rgb(0xff, 0x9f, 0x40),
        Color32::from_rgb(0x5c, 0xb8, 0xff),
        Color32::from_rgb(0x3d, 0xd6, 0xa0),
        Color32::from_rgb(0xf2, 0xe3, 0x5a),
        Color32::from_rgb(0xf0, 0x86, 0xc6),
    ];
    let base = match hue {
        Hue::Finger(index) | Hue::Channel(index) => PALETTE[index % PALETTE.len()],
        Hue::Axis(index) => [PALETTE[0], PALETTE[2], PALETTE[1]][index % 3],
    };
    base.lerp_to_gamma(CARD, 0.25 * (shade.min(2) as f32))
}

/// Sets fonts, colours and spacing.
pub(super) fn install(ctx: &Context) {
    let mut fonts = FontDefinitions::default();
    let read = |path: &str| {
        std::fs::read(path)
            .ok()
            .map(|bytes| Arc::new(FontData::from_owned(bytes)))
    };
    let found = FONTS
        .iter()
        .find_map(|&(regular, bold)| Some((read(regular)?, read(bold)?)));
    let fallback = fonts
        .families
        .get(&FontFamily::Proportional)
        .cloned()
        .unwrap_or_default();
    let mut family = |name: &str, data: Option<Arc<FontData>>| {
        let mut names = fallback.clone();
        if let Some(data) = data {
            fonts.font_data.insert(name.to_owned(), data);
            names.insert(0, name.to_owned());
        }
        names
    };
    let (regular, bold) = found.unzip();
    let (regular, bold) = (family("regular", regular), family("bold", bold));
    fonts.families.insert(FontFamily::Proportional, regular);
    fonts.families.insert(bold_family(), bold);
    ctx.set_fonts(fonts);
    ctx.set_theme(Theme::Dark);
    ctx.options_mut(|options| options.zoom_with_keyboard = false);
    ctx.all_styles_mut(|style| {
        style.interaction.selectable_labels = false;
        style.spacing.item_spacing = vec2(8.0, 6.0);
        style.visuals.override_text_color = Some(TEXT);
        style.visuals.panel_fill = GROUND;
        style.visuals.extreme_bg_color = CARD;
        style.visuals.selection.stroke = Stroke::new(2.0, TEXT);
        style.visuals.widgets.inactive.bg_fill = RAISED;
        style.visuals.widgets.inactive.corner_radius = ROUND;
    });
}

/// Enlarges the whole to the window.
pub(super) fn zoom_to_window(ctx: &Context) {
    let pixels = ctx.content_rect().size() * ctx.pixels_per_point();
    let points = pixels / ctx.native_pixels_per_point().unwrap_or(1.0);
    let zoom = (points.x / DESIGN.x)
        .min(points.y / DESIGN.y)
        .clamp(0.5, 4.0);
    // In steps, so that dragging the window's edge does not render every size of letter.
    ctx.set_zoom_factor((zoom * 40.0).floor() / 40.0);
}

fn bold_family() -> FontFamily {
    FontFamily::Name("bold".into())
}

/// Regular type of a size [point].
pub(super) fn regular(size: f32) -> FontId {
    FontId::new(size, FontFamily::Proportional)
}

/// Bold type of a size [point].
pub(super) fn bold(size: f32) -> FontId {
    FontId::new(size, bold_family())
}

/// Text of at most `rows` lines within `rect`, ended by … where it does not fit;
/// then all of it shows under the pointer. Named for screen readers.
pub(super) fn text_rows(
    ui: &mut Ui,
    rect: Rect,
    align: Align2,
    font: FontId,
    colour: Color32,
    text: &str,
    rows: usize,
) -> Response {
    let mut job = LayoutJob::simple(text.to_owned(), font.clone(), colour, rect.width());
    let (max_width, break_anywhere) = (rect.width(), rows == 1);
    job.wrap = TextWrapping {
        max_width,
        max_rows: rows,
        break_anywhere,
        ..TextWrapping::default()
    };
    job.halign = align.x();
    let galley = ui.painter().layout_job(job);
    let mut place = align.align_size_within_rect(galley.size(), rect);
    if galley.rows.len() == 1 && align.y() == egui::Align::Center {
        place = place.translate(vec2(
            0.0,
            rect.center().y - place.top() - middle_of_capitals(ui, &font),
        ));
    }
    // A galley's origin is on the side that it is aligned to.
    let origin = egui::pos2(
        align.x().to_factor().mul_add(place.width(), place.left()),
        place.top(),
    );
    let is_cut = galley.elided;
    ui.painter().galley(origin, galley, colour);
    let id = ui.next_auto_id();
    ui.skip_ahead_auto_ids(1);
    let response = ui.interact(rect, id, Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, text));
    if is_cut {
        response.on_hover_text(text)
    } else {
        response
    }
}

/// How far below a line's top its capitals have their middle [point]. By this, not
/// by its row, a line is centred: fonts differ in the room they keep around letters.
fn middle_of_capitals(ui: &Ui, font: &FontId) -> f32 {
    ui.painter()
        .layout_no_wrap("H".to_owned(), font.clone(), TEXT)
        .mesh_bounds
        .center()
        .y
}

/// As [`text_rows`], one line.
pub(super) fn text(
    ui: &mut Ui,
    rect: Rect,
    align: Align2,
    font: FontId,
    colour: Color32,
    text: &str,
) -> Response {
    text_rows(ui, rect, align, font, colour, text, 1)
}

/// A panel with a title; returns what is left inside.
pub(super) fn card(ui: &mut Ui, rect: Rect, title: &str) -> Rect {
    ui.painter().rect_filled(rect, ROUND, CARD);
    let inside = rect.shrink2(vec2(PADDING, 8.0));
    let (head, body) = inside.split_top_bottom_at_y(inside.top() + 22.0);
    text(ui, head, Align2::LEFT_CENTER, bold(14.0), WEAK, title);
    body.with_min_y(body.top() + 4.0)
}

/// How a button looks.
pub(super) struct Face<'a> {
    /// What it does, in large.
    pub title: &'a str,
    /// The key that does the same.
    pub key: &'a str,
    /// Ground.
    pub fill: Color32,
    /// Whether it can be pressed.
    pub is_enabled: bool,
}

/// A button to hit with gloves on.
pub(super) fn big_button(ui: &mut Ui, rect: Rect, face: &Face<'_>) -> Response {
    let id = ui.scope_id().with(("button", face.key, rect.left() as i32));
    let sense = if face.is_enabled {
        Sense::click()
    } else {
        Sense::hover()
    };
    let response = ui.interact(rect, id, sense);
    response.widget_info(|| WidgetInfo::labeled(Role::Button, face.is_enabled, face.title));
    let (fill, ink) = match face.is_enabled {
        true if response.is_pointer_button_down_on() => {
            (face.fill.lerp_to_gamma(Color32::BLACK, 0.25), TEXT)
        }
        true if response.hovered() => (face.fill.lerp_to_gamma(Color32::WHITE, 0.10), TEXT),
        true => (face.fill, TEXT),
        false => (
            RAISED.lerp_to_gamma(GROUND, 0.45),
            WEAK.lerp_to_gamma(GROUND, 0.35),
        ),
    };
    let painter = ui.painter();
    painter.rect_filled(rect, ROUND, fill);
    if response.has_focus() {
        painter.rect_stroke(
            rect.shrink(3.0),
            ROUND,
            Stroke::new(2.0, TEXT),
            egui::StrokeKind::Inside,
        );
    }
    // Drawn, not labels of their own: the button's name says it.
    let line = |text: &str, font: FontId, below: f32, ink: Color32| {
        let middle = middle_of_capitals(ui, &font);
        let galley = painter.layout_no_wrap(text.to_owned(), font, ink);
        let left = rect.center().x - galley.size().x / 2.0;
        painter.galley(
            egui::pos2(left, rect.center().y + below - middle),
            galley,
            ink,
        );
    };
    line(face.title, bold(26.0), -12.0, ink);
    line(face.key, regular(15.0), 17.0, ink.gamma_multiply(0.8));
    response
}
