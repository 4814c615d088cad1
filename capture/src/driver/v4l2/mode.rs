//! What a camera offers, what the rig asks for, and what becomes of it.

use std::{fmt::Write, io};

use dexumi_episode::CameraMode;
use v4l::v4l_sys::{
    v4l2_colorspace_V4L2_COLORSPACE_JPEG as COLORSPACE_JPEG,
    v4l2_quantization_V4L2_QUANTIZATION_DEFAULT as QUANTIZATION_DEFAULT,
    v4l2_quantization_V4L2_QUANTIZATION_FULL_RANGE as FULL_RANGE,
};

use super::{
    Refusal,
    node::{FourCc, Interval, Intervals, Node, Sizes},
};
use crate::driver::pixels::{Layout, Pixel};

/// A camera's rate may be off what the rig says by as much, 29.97 for 30.
const RATE_TOLERANCE: f64 = 0.01;

/// What a camera has been set to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mode {
    /// How its images lie in memory.
    pub layout: Layout,
    /// Rate as read back; `None` where the camera has none to set.
    pub fps: Option<f64>,
}

/// Chooses and sets what the rig asks for.
///
/// # Errors
/// The camera does not have it, is in use, or gone; the text lists what there is.
pub fn negotiate(node: &Node, mode: &CameraMode) -> Result<Mode, Refusal> {
    let wanted = Pixel::wanted(mode).map_err(|(problem, next)| Refusal::new(problem, next))?;
    let offered = node
        .fourccs()
        .map_err(|error| Refusal::io("cannot list pixel formats", node, &error))?;
    let mut tried = None;
    for pixel in wanted {
        if !offered.contains(&pixel.fourcc()) {
            continue;
        }
        let sizes = node.sizes(pixel.fourcc()).unwrap_or_default();
        let has_size =
            sizes.is_empty() || sizes.iter().any(|sizes| sizes.has(mode.width, mode.height));
        if !has_size {
            continue;
        }
        let intervals = node
            .intervals(pixel.fourcc(), mode.width, mode.height)
            .unwrap_or_default();
        if let Some(interval) = choose(&intervals, mode.fps) {
            return set(node, pixel, mode, interval);
        }
        tried = Some(pixel);
    }
    let what = match (tried, &mode.pixel) {
        (Some(_), _) => format!(
            "no {} images a second at {}x{}",
            mode.fps, mode.width, mode.height
        ),
        (None, Some(pixel)) => format!("no {}x{} as {pixel}", mode.width, mode.height),
        (None, None) => format!("no {}x{} that can be recorded", mode.width, mode.height),
    };
    Err(Refusal::new(
        format!("the camera has {what}"),
        format!("it offers {}", offers(node)),
    ))
}

/// The offered interval that is nearest to a rate, if one is near enough.
fn choose(intervals: &[Intervals], fps: f64) -> Option<Interval> {
    // One that does not tell is asked by setting it.
    let asked = Interval {
        numerator: 1000,
        denominator: (fps * 1000.0).round() as u32,
    };
    if intervals.is_empty() {
        return Some(asked);
    }
    let off = |interval: Interval| (interval.fps() / fps - 1.0).abs();
    intervals
        .iter()
        .filter_map(|intervals| match *intervals {
            Intervals::One(one) => Some(one),
            // The shortest interval is the fastest rate.
            Intervals::Range(shortest, longest) => {
                let within = fps <= shortest.fps() * (1.0 + RATE_TOLERANCE)
                    && fps >= longest.fps() * (1.0 - RATE_TOLERANCE);
                within.then_some(asked)
            }
        })
        .filter(|&interval| off(interval) <= RATE_TOLERANCE)
        .min_by(|&a, &b| off(a).total_cmp(&off(b)))
}

fn set(node: &Node, pixel: Pixel, mode: &CameraMode, interval: Interval) -> Result<Mode, Refusal> {
    let format = node
        .set_format(pixel.fourcc(), mode.width, mode.height)
        .map_err(|error| Refusal::io("cannot set the format", node, &error))?;
    if (format.fourcc, format.width, format.height) != (pixel.fourcc(), mode.width, mode.height) {
        return Err(Refusal::new(
            format!(
                "asked for {}x{} {}, the camera chose {}x{} {}",
                mode.width,
                mode.height,
                letters(pixel.fourcc()),
                format.width,
                format.height,
                letters(format.fourcc)
            ),
            format!("it offers {}", offers(node)),
        ));
    }
    let fps = node
        .set_interval(interval)
        .map_err(|error| Refusal::io("cannot set the rate", node, &error))?
        .map(Interval::fps);
    if let Some(fps) = fps
        && (fps / mode.fps - 1.0).abs() > RATE_TOLERANCE
    {
        return Err(Refusal::new(
            format!(
                "asked for {} images a second, the camera chose {fps:.3}",
                mode.fps
            ),
            format!("it offers {}", offers(node)),
        ));
    }
    // By default Y is 16 to 235; grey alone has always been all of 0 to 255.
    let full_range = match format.quantization {
        FULL_RANGE => true,
        QUANTIZATION_DEFAULT => format.colorspace == COLORSPACE_JPEG || pixel == Pixel::Grey,
        _ => false,
    };
    let size = (format.width, format.height);
    let step = format.bytes_per_line as usize;
    Ok(Mode {
        layout: Layout::new(pixel, size, step, full_range),
        fps,
    })
}

/// Four letters as text.
pub fn letters(fourcc: FourCc) -> String {
    fourcc
        .iter()
        .map(|&byte| {
            if byte.is_ascii_graphic() {
                char::from(byte)
            } else {
                '?'
            }
        })
        .collect()
}

/// One size of one pixel format, with its rates.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Offer {
    /// Name in `rig.toml`, or the kernel's four letters where it cannot be recorded.
    pub pixel: String,
    /// Whether it can be recorded.
    pub records: bool,
    /// `1280x720`, or a range.
    pub size: String,
    /// Images per second, fastest first.
    pub fps: Vec<f64>,
}

/// All that a camera offers.
///
/// # Errors
/// The camera is gone.
pub fn list(node: &Node) -> io::Result<Vec<Offer>> {
    let mut offers = Vec::new();
    for fourcc in node.fourccs()? {
        let known = Pixel::ALL
            .into_iter()
            .find(|pixel| pixel.fourcc() == fourcc);
        for sizes in node.sizes(fourcc)? {
            let (size, probe) = match sizes {
                Sizes::One(w, h) => (format!("{w}x{h}"), (w, h)),
                Sizes::Range { width, height } => (
                    format!("{}x{} to {}x{}", width.0, height.0, width.1, height.1),
                    (width.1, height.1),
                ),
            };
            let mut fps: Vec<f64> = node
                .intervals(fourcc, probe.0, probe.1)?
                .into_iter()
                .flat_map(|intervals| match intervals {
                    Intervals::One(one) => vec![one.fps()],
                    Intervals::Range(a, b) => vec![a.fps(), b.fps()],
                })
                .map(|fps| (fps * 1000.0).round() / 1000.0)
                .collect();
            fps.sort_by(|a, b| b.total_cmp(a));
            fps.dedup();
            offers.push(Offer {
                pixel: known.map_or_else(|| letters(fourcc), |pixel| pixel.name().to_owned()),
                records: known.is_some(),
                size,
                fps,
            });
        }
    }
    Ok(offers)
}

/// [`list`] in a sentence.
fn offers(node: &Node) -> String {
    let Ok(offers) = list(node) else {
        return "nothing that it would list".to_owned();
    };
    let mut text = String::new();
    let mut last = "";
    for offer in &offers {
        if last != offer.pixel {
            let gap = if text.is_empty() { "" } else { "; " };
            write!(text, "{gap}{}: ", offer.pixel).expect("a string always has room");
            last = &offer.pixel;
        } else {
            text.push_str(", ");
        }
        let fps: Vec<String> = offer.fps.iter().map(f64::to_string).collect();
        write!(text, "{} at {}", offer.size, fps.join("/")).expect("a string always has room");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(numerator: u32, denominator: u32) -> Intervals {
        Intervals::One(Interval {
            numerator,
            denominator,
        })
    }

    #[test]
    fn the_nearest_rate_is_chosen_if_it_is_near() {
        let offered = [one(1, 60), one(1001, 30_000), one(1, 15), one(2, 25)];
        let fps = |wanted| choose(&offered, wanted).map(Interval::fps);
        assert_eq!(fps(30.0), Some(30_000.0 / 1001.0));
        assert_eq!(fps(12.5), Some(12.5));
        assert_eq!(fps(25.0), None);
        assert_eq!(choose(&[], 7.5).map(Interval::fps), Some(7.5));
        let (Intervals::One(fast), Intervals::One(slow)) = (one(1, 60), one(1, 5)) else {
            unreachable!()
        };
        let range = [Intervals::Range(fast, slow)];
        assert_eq!(choose(&range, 24.0).map(Interval::fps), Some(24.0));
        assert_eq!(choose(&range, 61.0), None);
    }
}
