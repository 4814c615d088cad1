//! Camera previews, side by side.

use std::collections::BTreeMap;

use dexumi_episode::StreamKind;
use egui::{Align2, Color32, Image, Rect, Stroke, StrokeKind, Ui, pos2, vec2};

use crate::app::{
    layout::columns,
    model::{Model, Row},
    theme::{self, WEAK, bold, regular, severity_colour},
    ui::Camera,
    words::{self, Severity},
};

/// A picture older than this is not live [s].
const OLD_S: f64 = 1.0;
/// More than this would be too small to see anything.
const MOST: usize = 4;

/// Topics of the cameras, in the rig's order.
pub(in crate::app) fn topics(model: &Model) -> impl Iterator<Item = &str> {
    let topics = model
        .published
        .status
        .streams
        .iter()
        .map(|stream| stream.stream.as_str());
    topics.filter(|topic| matches!(StreamKind::of(topic), Some(StreamKind::Camera { .. })))
}

/// Draws the previews.
pub(in crate::app) fn show(
    ui: &mut Ui,
    model: &Model,
    cameras: &BTreeMap<String, Camera>,
    now_s: f64,
) {
    let rows = model.rows();
    let is_camera = |row: &&Row<'_>| topics(model).any(|topic| topic == row.status.stream);
    let shown: Vec<_> = rows.iter().filter(is_camera).take(MOST).collect();
    let rect = ui.max_rect();
    let places = match shown.len() {
        0 => return,
        1 => columns(rect, [1.0], 12.0).to_vec(),
        2 => columns(rect, [1.0; 2], 12.0).to_vec(),
        3 => columns(rect, [1.0; 3], 12.0).to_vec(),
        _ => columns(rect, [1.0; 4], 12.0).to_vec(),
    };
    for (row, place) in shown.into_iter().zip(places) {
        show_camera(ui, place, row, cameras.get(&row.status.stream), now_s);
    }
}

fn show_camera(ui: &mut Ui, place: Rect, row: &Row<'_>, camera: Option<&Camera>, now_s: f64) {
    let name = words::stream_name(&row.status.stream);
    ui.painter().rect_filled(place, theme::ROUND, theme::CARD);
    let texture = camera.and_then(|camera| camera.texture.as_ref());
    let age_s = camera.map_or(f64::INFINITY, |camera| now_s - camera.at_s);
    let is_live = age_s < OLD_S && camera.is_some_and(|camera| camera.problem.is_none());
    if let Some(texture) = texture {
        let size = texture.size_vec2();
        let scale = (place.width() / size.x).min(place.height() / size.y);
        let picture = Rect::from_center_size(place.center(), size * scale);
        let tint = if is_live {
            Color32::WHITE
        } else {
            Color32::from_gray(70)
        };
        let image = Image::new(texture)
            .alt_text(format!("Preview of {name}"))
            .tint(tint);
        ui.put(picture, image.fit_to_exact_size(picture.size()));
    }
    if !is_live {
        let why = match camera {
            Some(Camera {
                problem: Some(problem),
                ..
            }) => problem.clone(),
            Some(_) => format!("no new picture for {}", words::age(age_s)),
            None => "no picture yet".to_owned(),
        };
        let (colour, font) = match texture {
            Some(_) => (severity_colour(Severity::Fault), bold(20.0)),
            None => (WEAK, regular(18.0)),
        };
        theme::text_rows(
            ui,
            place.shrink(20.0),
            Align2::CENTER_CENTER,
            font,
            colour,
            &why,
            3,
        );
    }
    let label = format!("{name}  {:.0} Hz", row.status.rate_hz);
    let width = ui
        .painter()
        .layout_no_wrap(label.clone(), bold(14.0), Color32::WHITE)
        .size()
        .x;
    let tag = Rect::from_min_size(place.min + vec2(8.0, 8.0), vec2(width + 30.0, 24.0));
    let tag = tag.with_max_x(tag.right().min(place.right() - 8.0));
    ui.painter()
        .rect_filled(tag, 6.0, Color32::from_black_alpha(170));
    let colour = severity_colour(row.verdict.severity);
    ui.painter()
        .circle_filled(pos2(tag.left() + 12.0, tag.center().y), 5.0, colour);
    let text = tag.with_min_x(tag.left() + 22.0);
    theme::text(
        ui,
        text,
        Align2::LEFT_CENTER,
        bold(14.0),
        Color32::WHITE,
        &label,
    );
    if row.verdict.severity == Severity::Fault {
        ui.painter().rect_stroke(
            place,
            theme::ROUND,
            Stroke::new(3.0, colour),
            StrokeKind::Inside,
        );
    }
}
