//! The card's plots, as one SVG file: how long episodes are, and where the state's numbers lie.

use std::fmt::Write as _;

use serde_json::Value;

/// Bars of the histogram.
const BARS: usize = 30;
/// Columns that are drawn.
const MOST: usize = 80;
/// Size of a plot, pixels.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 130.0;
/// Place of a column's name, pixels.
const NAMES: f64 = 200.0;
const ROW: f64 = 12.0;

/// Draws lengths of episodes in `steps`, `fps` a second, and of the columns their statistics by name,
/// each from least to largest with a bar from q01 to q99 and a mark at the mean.
pub(super) fn draw(steps: &[u64], fps: u32, columns: Option<&(Value, Value)>) -> String {
    let mut body = String::new();
    let mut height = lengths(&mut body, steps, fps);
    if let Some((stats, names)) = columns {
        height = ranges(&mut body, height, stats, names);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"10\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         {body}</svg>\n"
    )
}

fn text(into: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        into,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    );
}

fn bar(into: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str) {
    let _ = writeln!(
        into,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>"
    );
}

/// Returns where it ends.
fn lengths(into: &mut String, steps: &[u64], fps: u32) -> f64 {
    let seconds = |steps: u64| steps as f64 / f64::from(fps.max(1));
    let (least, most) = (steps.iter().min(), steps.iter().max());
    let (Some(&least), Some(&most)) = (least, most) else {
        return 0.0;
    };
    let span = (most - least + 1) as usize;
    let bars = BARS.min(span);
    let mut counts = vec![0u64; bars];
    for &own in steps {
        counts[(own - least) as usize * bars / span] += 1;
    }
    let largest = counts.iter().max().copied().unwrap_or(1).max(1);
    text(into, 10.0, 14.0, "start", "episodes by length");
    let wide = (WIDTH - 20.0) / bars as f64;
    for (at, &count) in counts.iter().enumerate() {
        let high = (HEIGHT - 50.0) * count as f64 / largest as f64;
        let place = (10.0 + wide * at as f64, HEIGHT - 20.0 - high);
        bar(into, place, (wide * 0.9, high), "#4477aa");
    }
    let end = HEIGHT - 6.0;
    text(
        into,
        10.0,
        end,
        "start",
        &format!("{:.1} s", seconds(least)),
    );
    text(
        into,
        WIDTH - 10.0,
        end,
        "end",
        &format!("{:.1} s", seconds(most)),
    );
    text(
        into,
        WIDTH - 10.0,
        14.0,
        "end",
        &format!("highest bar: {largest}"),
    );
    HEIGHT
}

/// Returns where it ends.
fn ranges(into: &mut String, top: f64, stats: &Value, names: &Value) -> f64 {
    let list = |name: &str| -> Vec<f64> {
        let values = stats[name].as_array().into_iter().flatten();
        values.filter_map(Value::as_f64).collect()
    };
    let [min, max, mean, low, high] = ["min", "max", "mean", "q01", "q99"].map(list);
    let names: Vec<&str> = names
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let count = [&min, &max, &mean, &low, &high]
        .map(Vec::len)
        .into_iter()
        .fold(names.len(), usize::min);
    let title = "observation.state: each from its least to its largest value, bar from q01 to q99, mark at the mean";
    text(into, 10.0, top + 16.0, "start", title);
    let wide = WIDTH - NAMES - 120.0;
    for at in 0..count.min(MOST) {
        let y = top + 26.0 + ROW * at as f64;
        let span = max[at] - min[at];
        let place = |value: f64| match span > 0.0 {
            true => NAMES + wide * (value - min[at]) / span,
            false => NAMES,
        };
        text(into, NAMES - 6.0, y + 8.0, "end", names[at]);
        bar(into, (NAMES, y + 4.0), (wide, 1.0), "#999999");
        let quantiles = place(high[at]) - place(low[at]);
        bar(into, (place(low[at]), y + 1.0), (quantiles, 7.0), "#4477aa");
        bar(into, (place(mean[at]), y), (2.0, 9.0), "#cc3311");
        let words = format!("{:.3} to {:.3}", min[at], max[at]);
        text(into, WIDTH - 10.0, y + 8.0, "end", &words);
    }
    top + 36.0 + ROW * count.min(MOST) as f64
}
