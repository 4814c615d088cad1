//! One camera of one episode: recorded JPEGs in, a video with one packet per
//! step out.
//!
//! `ffmpeg` decodes, scales and encodes in one child process, which is fed the
//! recorded bytes; no pixel passes through this process but the small samples
//! for the image statistics.
//!
//! Colours: a camera's JPEG is full-range with BT.601 coefficients (JFIF). The
//! video is limited-range with BT.601 coefficients and says so. PyAV converts
//! with BT.601 whatever the stream says, torchcodec with what the stream says:
//! both then return the camera's colours; with BT.709 only one of them would.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::cameras::Settings;
use crate::error::ExportError;
use crate::ffmpeg::{Running, Tools, Track, probe, read_tail};
use crate::fit::{Fit, Sampling};
use crate::jpeg;
use crate::lifecycle::{Encoded, Known, VideoKey};
use crate::model::CameraTrack;
use crate::stats::PixelCounts;
use crate::timestamp::ticks_per_second;

/// What the cameras of an episode are encoded with.
pub(crate) struct Job<'a> {
    pub episode: &'a str,
    pub fps: u32,
    /// The recording, by its content; where it is known, finished videos are kept and taken up.
    pub content: Option<&'a str>,
    pub settings: Settings<'a>,
    /// The video is not wanted any more.
    pub is_stopped: &'a AtomicBool,
}

impl<'a> Job<'a> {
    /// What the video of a camera depends on.
    fn key(&self, track: &CameraTrack, fit: &Fit, sampling: &Sampling) -> Option<VideoKey> {
        let fps = self.fps.to_string();
        let size = format!("{}x{}", track.width, track.height);
        let encoder = self.settings.encoder.arguments().join(" ");
        let settings = [
            "video 1",
            fps.as_str(),
            size.as_str(),
            encoder.as_str(),
            &fit.filter(),
            &sampling.filter(self.fps),
        ];
        let content = self.content?;
        Some(VideoKey::new(
            content,
            &track.name,
            &settings,
            &track.images,
        ))
    }

    fn feed(&self) -> Feed<'a> {
        Feed {
            episode: self.episode,
            tools: self.settings.tools,
        }
    }
}

/// Whose images are fed to `ffmpeg`.
pub(crate) struct Feed<'a> {
    pub episode: &'a str,
    pub tools: &'a Tools,
}

/// The video of `track`: the finished one, or encoded anew. `on_image` is called for each image.
pub(crate) fn video(
    job: &Job<'_>,
    track: &mut CameraTrack,
    mut on_image: impl FnMut(),
) -> Result<Encoded, ExportError> {
    let fit = Fit::new(
        (track.width, track.height),
        job.settings.size,
        job.settings.fit,
    );
    let sampling = Sampling::new(track.images.len() as u64, fit.size);
    let key = job.key(track, &fit, &sampling);
    let parts = job.settings.parts;
    // Where a recording is given twice, one of both waits.
    let _alone = key.as_ref().map(|key| parts.alone_with(key));
    if let Some(found) = key.as_ref().and_then(|key| parts.find(key)) {
        track.images.iter().for_each(|_| on_image());
        return Ok(found);
    }
    parts.make(key, |out| {
        encode(job, track, (&fit, &sampling), out, on_image)
    })
}

/// Encodes `track` into `out`, calling `on_image` after each image is fed.
///
/// Reads each image once, also where it repeats. The result is checked to have
/// as many packets as steps, each at exactly its time.
fn encode(
    job: &Job<'_>,
    track: &mut CameraTrack,
    (fit, sampling): (&Fit, &Sampling),
    out: &Path,
    mut on_image: impl FnMut(),
) -> Result<Known, ExportError> {
    let Settings { tools, encoder, .. } = job.settings;
    let mut command = tools.ffmpeg();
    command
        // Without these, a broken image would be repaired by guesswork.
        .args(["-xerror", "-err_detect", "explode"])
        .args([
            "-f",
            "mjpeg",
            "-framerate",
            &job.fps.to_string(),
            "-i",
            "pipe:0",
        ])
        .arg("-filter_complex")
        .arg(format!(
            "[0:v]{},split=2[video][sample];[sample]{}[small]",
            fit.filter(),
            sampling.filter(job.fps)
        ))
        .args(["-map", "[video]"])
        .args(encoder.arguments())
        .args(["-bitexact", "-video_track_timescale"])
        .arg(ticks_per_second(job.fps).to_string())
        .args(["-f", "mp4", "-y"])
        .arg(out)
        // Newer ffmpeg would drop images here to keep a constant rate.
        .args([
            "-map",
            "[small]",
            "-vsync",
            "passthrough",
            "-f",
            "rawvideo",
            "pipe:1",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = tools.start(command)?;
    let pipes = (
        running.0.stdin.take(),
        running.0.stdout.take(),
        running.0.stderr.take(),
    );
    let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
        unreachable!("the three pipes were asked for above");
    };
    let image_bytes = sampling.width as usize * sampling.height as usize * 3;
    let (fed, pixels, said) = std::thread::scope(|scope| {
        let pixels = scope.spawn(move || count_pixels(stdout, image_bytes));
        let said = scope.spawn(move || read_tail(stderr));
        let fed = feed(&job.feed(), track, |bytes| {
            if job.is_stopped.load(Ordering::Relaxed) {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            on_image();
            stdin.write_all(bytes)
        });
        drop(stdin);
        if fed.is_err() {
            // The readers below end with the child.
            let _ = running.0.kill();
        }
        (fed, pixels.join(), said.join().unwrap_or_default())
    });
    let status = wait(&mut running, out)?;
    fed?;
    if !status.success() {
        return Err(explain(&job.feed(), track, || ExportError::ToolFailed {
            tool: "ffmpeg",
            doing: "encoding a video",
            status: status.to_string(),
            stderr: said,
            path: out.into(),
        }));
    }
    let written = probe(tools, out)?;
    check(job, track, &written, fit, out)?;
    Ok(Known {
        bytes: std::fs::metadata(out)
            .map_err(ExportError::io("read the size of a video", out))?
            .len(),
        steps: track.images.len() as u64,
        fps: job.fps,
        parameters: written.parameters,
        pixels: pixels.ok(),
        ..Known::default()
    })
}

fn wait(running: &mut Running, out: &Path) -> Result<std::process::ExitStatus, ExportError> {
    running
        .0
        .wait()
        .map_err(ExportError::io("wait for ffmpeg", out))
}

fn count_pixels(mut from: impl Read, image_bytes: usize) -> PixelCounts {
    let mut pixels = PixelCounts::default();
    let mut image = vec![0; image_bytes];
    while from.read_exact(&mut image).is_ok() {
        pixels.add_image(&image);
    }
    pixels
}

/// Reads, checks and passes on the image of every step. Ends early without an
/// error when the receiver has gone: its exit status tells why.
pub(crate) fn feed(
    job: &Feed<'_>,
    track: &mut CameraTrack,
    mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<(), ExportError> {
    let mut last: Option<(usize, Bytes)> = None;
    for (step, &image) in track.images.iter().enumerate() {
        let bytes = match last.take() {
            Some((index, bytes)) if index == image => bytes,
            _ => {
                let bytes = track.source.read(image)?;
                let size = jpeg::size(&bytes).and_then(|size| {
                    let expected = (track.width, track.height);
                    if size == expected {
                        return Ok(());
                    }
                    Err(format!(
                        "expected {}x{} pixels, got {}x{}",
                        expected.0, expected.1, size.0, size.1
                    ))
                });
                size.map_err(|what| bad_image(job, &track.name, step, image, what))?;
                bytes
            }
        };
        if take(&bytes).is_err() {
            break;
        }
        last = Some((image, bytes));
    }
    Ok(())
}

fn bad_image(job: &Feed<'_>, camera: &str, step: usize, image: usize, what: String) -> ExportError {
    ExportError::Image {
        episode: job.episode.into(),
        camera: camera.into(),
        step,
        image,
        what,
    }
}

/// Finds the images that do not decode, by decoding all of them once more;
/// `otherwise` when all of them do.
pub(crate) fn explain(
    job: &Feed<'_>,
    track: &mut CameraTrack,
    otherwise: impl FnOnce() -> ExportError,
) -> ExportError {
    let mut command = job.tools.ffmpeg();
    command
        // image2pipe keeps the place of an image that does not decode; the raw
        // mjpeg reader of newer ffmpeg closes the gap.
        .args([
            "-err_detect",
            "explode",
            "-f",
            "image2pipe",
            "-c:v",
            "mjpeg",
            "-framerate",
        ])
        // Any rate: the time of each image that decodes is printed in steps.
        .args(["25", "-i", "pipe:0"])
        .args([
            "-vf",
            "scale=16:16",
            "-vsync",
            "passthrough",
            "-f",
            "framecrc",
            "pipe:1",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let Ok(mut running) = job.tools.start(command) else {
        return otherwise();
    };
    let (Some(mut stdin), Some(mut stdout)) = (running.0.stdin.take(), running.0.stdout.take())
    else {
        return otherwise();
    };
    let lines = std::thread::scope(|scope| {
        let lines = scope.spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        });
        let fed = feed(job, track, |bytes| stdin.write_all(bytes));
        drop(stdin);
        lines.join().ok()?.ok().filter(|_| fed.is_ok())
    });
    let Some(lines) = lines else {
        return otherwise();
    };
    let decoded: Vec<usize> = lines
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(',').nth(2)?.trim().parse().ok())
        .collect();
    let broken: Vec<usize> = (0..track.images.len())
        .filter(|step| decoded.binary_search(step).is_err())
        .collect();
    match broken[..] {
        [first, ..] if !decoded.is_empty() => bad_image(
            job,
            &track.name,
            first,
            track.images[first],
            format!(
                "broken JPEG data; {} of {} steps do not decode",
                broken.len(),
                track.images.len()
            ),
        ),
        _ => otherwise(),
    }
}

fn check(
    job: &Job<'_>,
    track: &CameraTrack,
    written: &Track,
    fit: &Fit,
    out: &Path,
) -> Result<(), ExportError> {
    let what = if (written.width, written.height) != fit.size {
        Err(format!(
            "expected {}x{} pixels, got {}x{}",
            fit.size.0, fit.size.1, written.width, written.height
        ))
    } else if written.keyframes.first() != Some(&true) {
        Err("expected a keyframe first, got none".into())
    } else {
        written.check_grid(track.images.len() as u64, job.fps)
    };
    what.map_err(|what| ExportError::Invalid {
        what: format!(
            "video of episode {}, camera {}: {what}",
            job.episode, track.name
        ),
        path: out.into(),
    })
}
