//! A page of HTML with plots in SVG: one file, nothing fetched.

use std::fmt::Write;

/// Text that is safe inside HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Styles of the page; dark or light as the reader's system is.
const STYLE: &str = "
:root{--bg:#f6f7f9;--card:#fff;--ink:#1c2330;--soft:#647084;--line:#dfe3ea;--good:#12805c;--bad:#b3261e;--warn:#9a6700;--a:#2f6fed;--b:#d9662b}
@media(prefers-color-scheme:dark){:root{--bg:#12161d;--card:#1b212b;--ink:#e7ebf2;--soft:#98a4b8;--line:#2e3745;--good:#4cc38a;--bad:#ff8079;--warn:#e3b341;--a:#6ea0ff;--b:#ff9a62}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,'DejaVu Sans',sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 20px 60px}h1{font-size:28px;margin:0 0 4px}h2{font-size:19px;margin:36px 0 10px}
p.soft,.soft{color:var(--soft)}section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px 20px;overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{padding:6px 7px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:500}td:first-child,th:first-child{text-align:left}tr:last-child td{border-bottom:0}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;margin:20px 0}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px}.card b{display:block;font-size:24px;line-height:1.25}.card span{color:var(--soft);font-size:13px}
.strip{display:grid;grid-template-columns:repeat(6,1fr);gap:8px}.strip img{width:100%;border-radius:6px;display:block}.strip figcaption{font-size:12px;color:var(--soft)}figure{margin:0}
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,'DejaVu Sans',sans-serif;fill:var(--soft)}code{background:var(--bg);padding:1px 5px;border-radius:4px}
.card .grade{color:#fff;font-size:inherit}.grade{display:inline-block;min-width:1.7em;text-align:center;border-radius:6px;color:#fff;font-weight:700;padding:1px 6px}.A{background:var(--good)}.B{background:#4a7fb5}.C{background:#b57d1a}.D{background:var(--bad)}
.tag{display:inline-block;border:1px solid var(--line);border-radius:99px;padding:0 8px;margin:1px 3px 1px 0;font-size:12px}details summary{cursor:pointer;color:var(--soft);margin:8px 0}td.wide{white-space:normal;text-align:left}a{color:var(--a)}
.bar{display:flex;height:14px;border-radius:7px;overflow:hidden}.bar i{display:block}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:16px}
";

/// A whole page.
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{0}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n",
        escape(title)
    )
}

/// A table; cells are HTML.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut html = String::from("<table><thead><tr>");
    head.iter().for_each(|cell| {
        let _ = write!(html, "<th>{}</th>", escape(cell));
    });
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        row.iter().for_each(|cell| {
            let _ = write!(html, "<td>{cell}</td>");
        });
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
    html
}

/// One line of a plot.
pub struct Line<'a> {
    /// For the legend.
    pub name: &'a str,
    /// A CSS colour, such as `var(--a)`.
    pub colour: &'a str,
    /// x and y; a value that is not finite breaks the line.
    pub points: Vec<(f64, f64)>,
    /// Dashes, for a line that lies under another.
    pub dashed: bool,
}

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 30.0;
/// Width of a letter of a title, about.
const BOLD: f64 = 6.6;

/// Width of a name in the legend with the space before it, about.
fn legend_width_of(name: &str) -> f64 {
    7.0 * name.chars().count() as f64 + 14.0
}

/// Lines over a common x axis.
pub fn plot(title: &str, x_label: &str, lines: &[Line<'_>]) -> String {
    let finite = || {
        lines
            .iter()
            .flat_map(|line| &line.points)
            .filter(|(x, y)| x.is_finite() && y.is_finite())
    };
    let bounds = |pick: fn(&(f64, f64)) -> f64| {
        let (low, high) = finite()
            .map(pick)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                (low.min(v), high.max(v))
            });
        if low > high {
            (0.0, 1.0)
        } else if high - low < 1e-9 {
            (low - 0.5, high + 0.5)
        } else {
            (low, high)
        }
    };
    let (x0, x1) = bounds(|point| point.0);
    let (y0, y1) = bounds(|point| point.1);
    let margin = (y1 - y0) * 0.05;
    let (y0, y1) = (y0 - margin, y1 + margin);
    // Where title and legend do not fit beside each other, the legend has a line of its own; a
    // title that is wider than the plot is made smaller.
    let space = WIDTH - LEFT - RIGHT;
    let title_width = BOLD * title.chars().count() as f64;
    let named = || lines.iter().filter(|line| !line.name.is_empty());
    let legend_width: f64 = named().map(|line| legend_width_of(line.name)).sum();
    let is_crowded = title_width + legend_width > space;
    let legend_y = if is_crowded { 29.0 } else { 15.0 };
    let top = TOP + if is_crowded { 14.0 } else { 0.0 };
    let font = 11.0 * (space / title_width).min(1.0);
    let sx = |x: f64| LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT);
    let sy = |y: f64| HEIGHT - BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - top - BOTTOM);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}\">\
         <text x=\"{LEFT}\" y=\"15\" style=\"fill:var(--ink);font-weight:600;font-size:{font:.1}px\">{0}</text>",
        escape(title)
    );
    for (from, to, is_x) in [(y0, y1, false), (x0, x1, true)] {
        for tick in ticks(from, to) {
            let label = format!("{tick:.*}", decimals(to - from));
            let _ = if is_x {
                write!(
                    svg,
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                    sx(tick),
                    HEIGHT - BOTTOM + 14.0
                )
            } else {
                write!(
                    svg,
                    "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"var(--line)\"/>\
                     <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                    WIDTH - RIGHT,
                    LEFT - 5.0,
                    sy(tick) + 4.0,
                    y = sy(tick)
                )
            };
        }
    }
    let _ = write!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        WIDTH - RIGHT,
        HEIGHT - 3.0,
        escape(x_label)
    );
    for line in lines {
        let mut path = String::new();
        let mut pen_up = true;
        for &(x, y) in &line.points {
            if !(x.is_finite() && y.is_finite()) {
                pen_up = true;
                continue;
            }
            let _ = write!(
                path,
                "{}{:.1} {:.1}",
                if pen_up { 'M' } else { 'L' },
                sx(x),
                sy(y)
            );
            pen_up = false;
        }
        let dash = if line.dashed {
            " stroke-dasharray=\"4 3\""
        } else {
            ""
        };
        let _ = write!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.4\" stroke-linejoin=\"round\"{dash}/>",
            line.colour
        );
    }
    let mut x = WIDTH - RIGHT;
    for line in named().rev() {
        let _ = write!(
            svg,
            "<text x=\"{x:.1}\" y=\"{legend_y}\" text-anchor=\"end\" style=\"fill:{}\">{}</text>",
            line.colour,
            escape(line.name)
        );
        x -= legend_width_of(line.name);
    }
    svg.push_str("</svg>");
    svg
}

/// About four round numbers between two.
fn ticks(from: f64, to: f64) -> Vec<f64> {
    let raw = (to - from) / 4.0;
    let power = 10_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|step| *step >= raw)
        .unwrap_or(raw);
    let first = (from / step).ceil() as i64;
    let last = (to / step).floor() as i64;
    (first..=last.min(first + 12))
        .map(|k| k as f64 * step)
        .collect()
}

/// Decimals that tell the ticks of such a span apart.
fn decimals(span: f64) -> usize {
    (-(span / 4.0).log10().floor()).clamp(0.0, 4.0) as usize
}

/// At most `count` of the points, evenly chosen.
pub fn thin(points: Vec<(f64, f64)>, count: usize) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(count.max(1)).max(1);
    points.into_iter().step_by(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_of_nothing_is_still_a_plot() {
        let svg = plot(
            "t",
            "x",
            &[Line {
                name: "a",
                colour: "red",
                points: vec![],
                dashed: false,
            }],
        );
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 20.0), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert!(
            ticks(-0.37, 0.41)
                .iter()
                .all(|t| (-0.37..=0.41).contains(t))
        );
        assert_eq!((decimals(400.0), decimals(20.0), decimals(0.8)), (0, 0, 1));
    }

    #[test]
    fn what_a_user_wrote_stays_text() {
        assert_eq!(escape("<b>&\"x\""), "&lt;b&gt;&amp;&quot;x&quot;");
    }
}
