//! What a camera's images are worth: whole, sharp, lit, new; and how they move.

use bytes::Bytes;
use dexumi_episode::{
    Delta, SessionTime, StreamKind,
    align::ImageTrack,
    schema::{CompressedImage, Record as _},
};
use opencv::{
    core::{Mat, MatTraitConst, MatTraitConstManual},
    imgcodecs,
};

use crate::{
    flow::{self, Plane},
    measured::{Input, Measured, Plot, QualityError},
    metric::Found,
    motion::Motion,
    sync::{self, Lag, NoLag, Pair},
};

/// Width to which images are reduced for sharpness and exposure [pixel], at the least.
const LOOK_WIDTH: usize = 640;
/// Width to which they are reduced for motion [pixel], at the least.
const MOTION_WIDTH: usize = 80;
/// One image of so many is looked at for sharpness and exposure (lerobot-score: 60).
const LOOK_EVERY: usize = 60;
/// But so many of each camera at the least.
const LOOK_LEAST: usize = 24;
/// Motion is followed between images that are so far apart at the least [s]: hands move more slowly than
/// that. Where it nearly tells the lag, all images are followed.
const FOLLOW_S: f64 = 1.0 / 16.0;
/// Time of each camera's images whose motion is followed, at the most [s].
const SYNC_S: f64 = 60.0;
/// It is made of windows of this length [s], those with most motion.
const SYNC_WINDOW_S: f64 = 10.0;

/// Variance of the Laplacian below which an image is blurred (lerobot-score).
const SHARP: f64 = 100.0;
/// Mean brightness below which it is dark, of 255 (lerobot-score).
const LIT: f64 = 50.0;
/// Share of burnt pixels above which it is overexposed, and where burnt begins.
const BURNT_SHARE: f64 = 0.25;
const BURNT: u8 = 250;

/// One image that was looked at.
struct Glance {
    time: SessionTime,
    /// Variance of the Laplacian at about [`LOOK_WIDTH`].
    sharpness: f64,
    /// Mean, of 255.
    brightness: f64,
    burnt_share: f64,
}

/// What was seen of a camera.
pub(crate) struct CameraLook {
    images: usize,
    damaged: usize,
    /// Images that follow another while something moves, and of them those equal to it.
    moving: usize,
    duplicates: usize,
    frozen_s: f64,
    frozen_at: Option<SessionTime>,
    glances: Vec<Glance>,
    pub pairs: Vec<Pair>,
    pub lag: Result<Lag, NoLag>,
    /// It has no compressed images.
    is_raw: bool,
}

/// Looks at every image of a camera, one after another.
pub(crate) fn look(
    input: &Input<'_>,
    name: &str,
    track: &ImageTrack,
    motion: &Motion,
) -> Result<CameraLook, QualityError> {
    let mut look = CameraLook {
        images: track.times.len(),
        damaged: 0,
        moving: 0,
        duplicates: 0,
        frozen_s: 0.0,
        frozen_at: None,
        glances: Vec::new(),
        pairs: Vec::new(),
        lag: Err("no images".into()),
        is_raw: false,
    };
    let file = &input.episode.file;
    let topics = file.topics();
    let topic = topics
        .iter()
        .find(|(topic, _)| {
            StreamKind::of(topic).is_some_and(
                |kind| matches!(kind, StreamKind::Camera { name: camera } if camera == name),
            )
        })
        .map(|(_, (schema, _))| schema.as_str());
    if topic != Some(CompressedImage::SCHEMA) {
        look.is_raw = true;
        look.lag = Err("images are raw pixels".into());
        return Ok(look);
    }
    let stopped = || QualityError::Stopped {
        path: file.path().to_owned(),
    };
    let followed = windows(input, track);
    let every = (track.times.len() / LOOK_LEAST).clamp(1, LOOK_EVERY);
    let mut before: Option<Before> = None;
    let mut follower = Follower::new(FOLLOW_S);
    // Images within the windows that repeat no other: the time of one that does is not that of its motion.
    let mut followable: Vec<usize> = Vec::new();
    let mut reductions: Option<[i32; 2]> = None;
    let mut frozen_since: Option<SessionTime> = None;
    for (index, &time) in track.times.iter().enumerate() {
        if (input.is_stopped)() {
            return Err(stopped());
        }
        let bytes = file.image(&track.index, index)?.data;
        let is_jpeg = bytes.starts_with(&[0xFF, 0xD8]);
        let is_cut = bytes.is_empty() || (is_jpeg && !bytes.ends_with(&[0xFF, 0xD9]));
        if is_cut {
            look.damaged += 1;
            before = None;
            continue;
        }
        let is_equal = before.as_ref().is_some_and(|before| before.bytes == bytes);
        if before.is_some() && motion.may_move_at(time) {
            look.moving += 1;
            look.duplicates += usize::from(is_equal);
        }
        if is_equal && motion.may_move_at(time) {
            let since = *frozen_since.get_or_insert(before.as_ref().map_or(time, |b| b.time));
            let length = (time - since).secs_f64();
            if length > look.frozen_s {
                (look.frozen_s, look.frozen_at) = (length, Some(since));
            }
        } else {
            frozen_since = None;
        }
        let is_within = followed.iter().any(|window| window.contains(&time));
        if !is_within {
            follower.pause();
        }
        let is_followed = is_within && !is_equal && follower.is_due(time);
        if is_within && !is_equal {
            followable.push(index);
        }
        let is_looked_at = index % every == every / 2;
        if is_followed || is_looked_at {
            let [for_look, for_motion] = match reductions {
                Some(reductions) => reductions,
                None => match decode(&bytes, 8) {
                    Some(eighth) => {
                        let width = 8 * eighth.width;
                        let by = |least: usize| {
                            let fits = [8, 4, 2].into_iter().find(|by| width / by >= least);
                            fits.unwrap_or(1) as i32
                        };
                        *reductions.insert([by(LOOK_WIDTH), by(MOTION_WIDTH)])
                    }
                    None => {
                        look.damaged += 1;
                        before = None;
                        continue;
                    }
                },
            };
            let small = is_followed.then(|| decode(&bytes, for_motion));
            let whole = is_looked_at.then(|| decode(&bytes, for_look));
            if matches!(small, Some(None)) || matches!(whole, Some(None)) {
                look.damaged += 1;
                before = None;
                continue;
            }
            if let Some(Some(grey)) = small {
                follower.see(time, grey);
            }
            if let Some(Some(image)) = whole {
                look.glances.push(image.glance(time));
            }
        }
        before = Some(Before { bytes, time });
    }
    look.pairs = follower.pairs;
    look.lag = sync::lag(&look.pairs, input.timeline);
    if let (Err(NoLag { is_near: true, .. }), Some([_, for_motion])) = (&look.lag, reductions)
        && followable.len() > look.pairs.len() + 1
    {
        let mut follower = Follower::new(0.0);
        let mut last: Option<SessionTime> = None;
        for index in followable {
            if (input.is_stopped)() {
                return Err(stopped());
            }
            let time = track.times[index];
            // From one window to the next.
            if last.is_some_and(|last| (time - last).secs_f64() > SYNC_WINDOW_S) {
                follower.pause();
            }
            last = Some(time);
            if let Some(grey) = decode(&file.image(&track.index, index)?.data, for_motion) {
                follower.see(time, grey);
            }
        }
        let lag = sync::lag(&follower.pairs, input.timeline);
        (look.pairs, look.lag) = (follower.pairs, lag);
    }
    Ok(look)
}

/// Finds how images move, one after another.
struct Follower {
    /// Time between two images at the least [s].
    least_s: f64,
    last: Option<(SessionTime, Plane)>,
    pairs: Vec<Pair>,
}

impl Follower {
    fn new(least_s: f64) -> Self {
        Self {
            least_s,
            last: None,
            pairs: Vec::new(),
        }
    }

    /// The next image does not follow the last one.
    fn pause(&mut self) {
        self.last = None;
    }

    /// Whether an image of this time is wanted.
    fn is_due(&self, time: SessionTime) -> bool {
        let last = self.last.as_ref();
        last.is_none_or(|(last, _)| (time - *last).secs_f64() >= self.least_s)
    }

    fn see(&mut self, time: SessionTime, grey: Grey) {
        let now = Plane::smooth(grey.width, grey.height, &grey.pixels);
        if let Some((from, then)) = &self.last
            && then.is_like(&now)
        {
            self.pairs.push(Pair {
                from: *from,
                to: time,
                moved: flow::shifts(then, &now),
            });
        }
        self.last = Some((time, now));
    }
}

/// The image before.
struct Before {
    bytes: Bytes,
    time: SessionTime,
}

/// Spans of time whose images are followed.
fn windows(input: &Input<'_>, track: &ImageTrack) -> Vec<std::ops::RangeInclusive<SessionTime>> {
    let (Some(&first), Some(&last)) = (track.times.first(), track.times.last()) else {
        return Vec::new();
    };
    let seconds = (last - first).secs_f64();
    if seconds <= SYNC_S {
        return vec![first..=last];
    }
    let count = (seconds / SYNC_WINDOW_S).floor() as usize;
    let mut spans: Vec<(f64, usize)> = (0..count)
        .map(|index| {
            let from = first + Delta::from_secs_f64(index as f64 * SYNC_WINDOW_S);
            (
                sync::motion_between(input.timeline, from, SYNC_WINDOW_S),
                index,
            )
        })
        .collect();
    spans.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    spans.truncate((SYNC_S / SYNC_WINDOW_S) as usize);
    spans
        .into_iter()
        .map(|(_, index)| {
            let from = first + Delta::from_secs_f64(index as f64 * SYNC_WINDOW_S);
            from..=from + Delta::from_secs_f64(SYNC_WINDOW_S)
        })
        .collect()
}

/// Brightness of an image, row by row.
struct Grey {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// Decodes an image at 1/1, 1/2, 1/4 or 1/8 of its size; `None` where it cannot be.
fn decode(bytes: &[u8], reduced_by: i32) -> Option<Grey> {
    let mode = match reduced_by {
        8 => imgcodecs::IMREAD_REDUCED_GRAYSCALE_8,
        4 => imgcodecs::IMREAD_REDUCED_GRAYSCALE_4,
        2 => imgcodecs::IMREAD_REDUCED_GRAYSCALE_2,
        _ => imgcodecs::IMREAD_GRAYSCALE,
    };
    let image = imgcodecs::imdecode(&Mat::from_slice(bytes).ok()?, mode).ok()?;
    if image.empty() {
        return None;
    }
    Some(Grey {
        width: image.cols() as usize,
        height: image.rows() as usize,
        pixels: image.data_bytes().ok()?.to_vec(),
    })
}

impl Grey {
    fn glance(&self, time: SessionTime) -> Glance {
        let count = self.pixels.len().max(1) as f64;
        let sum: u64 = self.pixels.iter().map(|&pixel| u64::from(pixel)).sum();
        let burnt = self.pixels.iter().filter(|&&pixel| pixel >= BURNT).count();
        let (mut first, mut second, mut inner) = (0.0, 0.0, 0_u64);
        for y in 1..self.height.saturating_sub(1) {
            let row = |y: usize| &self.pixels[y * self.width..][..self.width];
            let (above, here, below) = (row(y - 1), row(y), row(y + 1));
            for x in 1..self.width.saturating_sub(1) {
                let [a, b, l, r, c] =
                    [above[x], below[x], here[x - 1], here[x + 1], here[x]].map(i32::from);
                let laplacian = f64::from(a + b + l + r - 4 * c);
                first += laplacian;
                second += laplacian * laplacian;
                inner += 1;
            }
        }
        let inner = inner.max(1) as f64;
        Glance {
            time,
            sharpness: second / inner - (first / inner).powi(2),
            brightness: sum as f64 / count,
            burnt_share: burnt as f64 / count,
        }
    }
}

impl CameraLook {
    fn share_of_glances(&self, is_bad: impl Fn(&Glance) -> bool) -> Option<f64> {
        let bad = self.glances.iter().filter(|glance| is_bad(glance)).count();
        (!self.glances.is_empty()).then(|| 100.0 * bad as f64 / self.glances.len() as f64)
    }

    pub(crate) fn plots(&self, name: &str, start: SessionTime) -> Vec<Plot> {
        let since = |time: SessionTime| (time - start).secs_f64();
        let mut plots = Vec::new();
        if let Ok(lag) = &self.lag {
            plots.push(Plot {
                title: format!("{name}: image motion [pixel]"),
                lines: lag.lines(start),
            });
            let curve = lag.curve.iter().map(|&(lag_s, r)| (lag_s, r));
            plots.push(Plot {
                title: format!("{name}: agreement over lag [s]"),
                lines: vec![Plot::line("", curve.collect::<Vec<_>>().into_iter())],
            });
        }
        if !self.glances.is_empty() {
            let of = |pick: fn(&Glance) -> f64| {
                let glances = self.glances.iter();
                let points: Vec<_> = glances.map(|g| (since(g.time), pick(g))).collect();
                points.into_iter()
            };
            plots.push(Plot {
                title: format!("{name}: sharpness (variance of the Laplacian)"),
                lines: vec![Plot::line("", of(|glance| glance.sharpness))],
            });
            plots.push(Plot {
                title: format!("{name}: brightness, of 255"),
                lines: vec![Plot::line("", of(|glance| glance.brightness))],
            });
        }
        plots
    }
}

/// A figure of each camera whose images could be looked at.
fn each(measured: &Measured<'_>, of: impl Fn(&CameraLook, &str) -> Option<Found>) -> Vec<Found> {
    let cameras = measured.cameras.iter();
    cameras
        .filter(|(_, look)| look.images > 0 && !look.is_raw)
        .filter_map(|(name, look)| of(look, name))
        .collect()
}

pub(crate) fn damaged_images(measured: &Measured<'_>) -> Vec<Found> {
    each(measured, |look, name| {
        let share = 100.0 * look.damaged as f64 / look.images as f64;
        Some(Found::new(name, share).noting(format!("{} of {}", look.damaged, look.images)))
    })
}

/// A middle value of what was seen, to know how far from the threshold it is.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn blurred(measured: &Measured<'_>) -> Vec<Found> {
    each(measured, |look, name| {
        let share = look.share_of_glances(|glance| glance.sharpness < SHARP)?;
        let usual = median(look.glances.iter().map(|glance| glance.sharpness).collect());
        Some(Found::new(name, share).noting(format!("median variance {usual:.0}")))
    })
}

pub(crate) fn dark(measured: &Measured<'_>) -> Vec<Found> {
    each(measured, |look, name| {
        let share = look.share_of_glances(|glance| glance.brightness < LIT)?;
        let usual = median(
            look.glances
                .iter()
                .map(|glance| glance.brightness)
                .collect(),
        );
        Some(Found::new(name, share).noting(format!("median brightness {usual:.0}")))
    })
}

pub(crate) fn burnt(measured: &Measured<'_>) -> Vec<Found> {
    each(measured, |look, name| {
        let share = look.share_of_glances(|glance| glance.burnt_share > BURNT_SHARE)?;
        Some(Found::new(name, share))
    })
}

pub(crate) fn duplicate_images(measured: &Measured<'_>) -> Vec<Found> {
    each(measured, |look, name| {
        let share = 100.0 * look.duplicates as f64 / look.moving.max(1) as f64;
        Some(Found::new(name, share).noting(format!("{} of {}", look.duplicates, look.moving)))
    })
}

pub(crate) fn frozen(measured: &Measured<'_>) -> Vec<Found> {
    each(measured, |look, name| {
        let found = Found::new(name, look.frozen_s);
        Some(match look.frozen_at {
            Some(at) => found.noting(format!("at {:.2} s", measured.since_start_s(at))),
            None => found,
        })
    })
}
