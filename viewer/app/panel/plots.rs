//! Curves of the last seconds: joint angles, force, wrist position.

use egui::{Align2, Rect, Sense, Ui, UiBuilder, WidgetInfo, accesskit::Role, pos2, vec2};
use egui_plot::{AxisHints, GridInput, GridMark, Line, Plot, PlotPoints};

use crate::app::{
    history::{Curve, Hue, WINDOW_S},
    layout::stack,
    model::Model,
    theme::{self, TEXT, WEAK, bold, curve_colour, regular},
};

struct Chart {
    title: &'static str,
    unit: &'static str,
    curves: Vec<Curve>,
    /// No curve fills more of the height than it would in a span this large.
    least_span: f64,
    share: f32,
}

/// Draws the charts that have something to show.
pub(in crate::app) fn show(ui: &mut Ui, model: &Model, now_s: f64) {
    let history = &model.history;
    let charts = [
        Chart {
            title: match model.published.joint_names[..] {
                [] => "ENCODERS, NOT CALIBRATED",
                _ => "JOINT ANGLES",
            },
            unit: "°",
            curves: history.angles_deg(&model.published.joint_names),
            least_span: 20.0,
            share: 1.5,
        },
        Chart {
            title: "FORCE",
            unit: "counts",
            curves: history.forces(),
            least_span: 20.0,
            share: 1.0,
        },
        Chart {
            title: "TRACKER POSITION",
            unit: "m",
            curves: history.positions_m(),
            least_span: 0.1,
            share: 1.0,
        },
    ];
    let charts: Vec<_> = charts
        .into_iter()
        .filter(|chart| !chart.curves.is_empty())
        .collect();
    if charts.is_empty() {
        let body = theme::card(ui, ui.max_rect(), "CURVES");
        theme::text(
            ui,
            body,
            Align2::CENTER_CENTER,
            regular(18.0),
            WEAK,
            "nothing to plot yet",
        );
        return;
    }
    let shares: Vec<_> = charts.iter().map(|chart| chart.share).collect();
    for (chart, place) in charts.into_iter().zip(stack(ui.max_rect(), &shares, 12.0)) {
        show_chart(ui, place, chart, now_s);
    }
}

fn show_chart(ui: &mut Ui, place: Rect, chart: Chart, now_s: f64) {
    let body = theme::card(ui, place, &format!("{}  ({})", chart.title, chart.unit));
    legend(ui, place, &chart.curves);
    let [low, high] = span(&chart);
    let area = Rect::from_min_max(
        body.min + vec2(0.0, 4.0),
        pos2(body.right(), place.bottom() - 6.0),
    );
    ui.scope_builder(UiBuilder::new().id_salt(chart.title).max_rect(area), |ui| {
        // Marks are apart by construction; none is to fade.
        let axis = AxisHints::new_y()
            .label_spacing(1.0..=2.0)
            .min_thickness(44.0);
        let axis = axis.tick_label_color(WEAK).tick_label_font(regular(12.0));
        let shown = Plot::new(chart.title)
            .width(area.width())
            .height(area.height())
            .allow_drag(false)
            .allow_zoom(false)
            .allow_scroll(false)
            .allow_boxed_zoom(false)
            .allow_axis_zoom_drag(false)
            .allow_double_click_reset(false)
            .sense(Sense::hover())
            .show_background(false)
            .show_crosshair(false)
            .show_axes([false, true])
            .custom_y_axes(vec![axis])
            .y_grid_spacer(|input: GridInput| marks(input.bounds, area.height() / 28.0))
            .x_grid_spacer(|input: GridInput| marks(input.bounds, 5.0))
            .grid_color(theme::LINE)
            .grid_fade(0.0)
            .include_y(low)
            .include_y(high)
            .default_x_bounds(-WINDOW_S, 0.0)
            .set_margin_fraction(vec2(0.0, 0.06))
            .auto_bounds([false, true])
            .show(ui, |plot| {
                for curve in chart.curves {
                    let colour = curve_colour(curve.hue, curve.shade);
                    for stretch in curve.stretches {
                        let points: PlotPoints<'_> =
                            stretch.iter().map(|[at_s, y]| [at_s - now_s, *y]).collect();
                        plot.line(Line::new(&curve.name, points).color(colour).width(1.6));
                    }
                }
            });
        let named = format!("{}, last {WINDOW_S:.0} seconds", chart.title.to_lowercase());
        shown
            .response
            .widget_info(|| WidgetInfo::labeled(Role::Image, true, &named));
    });
}

/// Round values within `bounds`, about `wanted` of them, at most twice as many.
fn marks(bounds: (f64, f64), wanted: f32) -> Vec<GridMark> {
    let least = (bounds.1 - bounds.0) / f64::from(wanted.max(1.0));
    if !(least.is_finite() && least > 0.0) {
        return Vec::new();
    }
    let power = 10_f64.powf(least.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|round| round * power >= 0.9 * least)
        .unwrap_or(10.0);
    let step_size = round * power;
    let (first, last) = (
        (bounds.0 / step_size).ceil() as i64,
        (bounds.1 / step_size).floor() as i64,
    );
    (first..=last)
        .map(|index| GridMark {
            value: index as f64 * step_size,
            step_size,
        })
        .collect()
}

/// Range of values to show, whatever happens in it.
fn span(chart: &Chart) -> [f64; 2] {
    let values = chart
        .curves
        .iter()
        .flat_map(|curve| curve.stretches.iter().flatten())
        .map(|point| point[1]);
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), y| {
        (l.min(y), h.max(y))
    });
    if low > high {
        return [0.0, chart.least_span];
    }
    let more = ((chart.least_span - (high - low)) / 2.0).max(0.0);
    [low - more, high + more]
}

/// Names in their colours, right-aligned in the head of the panel.
fn legend(ui: &mut Ui, place: Rect, curves: &[Curve]) {
    let mut hues: Vec<Hue> = curves.iter().map(|curve| curve.hue).collect();
    hues.sort_unstable();
    hues.dedup();
    // Nobody tells a dozen nameless channels apart.
    if hues.len() > 6 {
        return;
    }
    let mut right = place.right() - theme::PADDING;
    for hue in hues.into_iter().rev() {
        let name = hue.name();
        let width = ui
            .painter()
            .layout_no_wrap(name.clone(), bold(13.0), TEXT)
            .size()
            .x;
        let place = Rect::from_min_size(
            pos2(right - width, place.top() + 8.0),
            vec2(width + 1.0, 22.0),
        );
        theme::text(
            ui,
            place,
            Align2::LEFT_CENTER,
            bold(13.0),
            curve_colour(hue, 0),
            &name,
        );
        ui.painter().circle_filled(
            pos2(place.left() - 9.0, place.center().y),
            4.0,
            curve_colour(hue, 0),
        );
        right = place.left() - 24.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_few() {
        let values = |bounds, wanted| {
            let marks = marks(bounds, wanted);
            marks
                .iter()
                .map(|mark| format!("{:.2}", mark.value))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(values((-3.0, 57.0), 4.0), "0.00 20.00 40.00");
        assert_eq!(values((0.93, 1.08), 3.0), "0.95 1.00 1.05");
        assert_eq!(
            values((-10.0, 0.0), 5.0),
            "-10.00 -8.00 -6.00 -4.00 -2.00 0.00"
        );
        assert_eq!(values((1.0, 1.0), 3.0) + &values((0.0, f64::NAN), 3.0), "");
    }

    #[test]
    fn a_still_hand_is_not_blown_up_to_the_height_of_the_plot() {
        let stretches = vec![vec![[0.0, 30.0], [1.0, 30.4]]];
        let curve = Curve {
            name: String::new(),
            hue: Hue::Finger(0),
            shade: 0,
            stretches,
        };
        let chart = Chart {
            title: "",
            unit: "",
            curves: vec![curve],
            least_span: 20.0,
            share: 1.0,
        };
        let [low, high] = span(&chart);
        assert!(
            (high - low - 20.0).abs() < 1e-9 && (low + high - 60.4).abs() < 1e-9,
            "{low} {high}"
        );
    }
}
