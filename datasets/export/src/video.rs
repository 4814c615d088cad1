//! One camera of one episode: recorded JPEGs in, a video with one packet per
//! step out.
//!
//! Each image is decoded once, here ([`Decoder`]); `ffmpeg` scales and encodes in
//! one child process, and returns small samples for the image statistics.
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
use crate::decode::{Decoder, PlaneLayout};
use crate::error::ExportError;
use crate::ffmpeg::{Running, read_tail};
use crate::fit::{Fit, Sampling};
use crate::jpeg;
use crate::lifecycle::{Encoded, Known, VideoKey};
use crate::model::CameraTrack;
use crate::mp4;
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
            "video 2",
            fps.as_str(),
            size.as_str(),
            encoder.as_str(),
            &fit.filter(false),
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
/// as many images as steps.
fn encode(
    job: &Job<'_>,
    track: &mut CameraTrack,
    (fit, sampling): (&Fit, &Sampling),
    out: &Path,
    mut on_image: impl FnMut(),
) -> Result<Known, ExportError> {
    let Settings { tools, encoder, .. } = job.settings;
    let (mut decoder, layout) = first_layout(job.episode, track)?;
    // Where only the range is to be changed, ffmpeg's scaler is not needed.
    let is_limited = layout.is_420() && !fit.scales();
    let mut command = tools.ffmpeg();
    command
        .args(layout.input(job.fps))
        .arg("-filter_complex")
        .arg(format!(
            "[0:v]{},split=2[video][sample];[sample]{}[small]",
            fit.filter(is_limited),
            sampling.filter(job.fps)
        ))
        .args(["-map", "[video]"])
        .args(encoder.arguments())
        .args(["-bitexact", "-video_track_timescale"])
        .arg(ticks_per_second(job.fps).to_string())
        .args(["-f", "mp4", "-y"])
        .arg(out)
        // Newer ffmpeg would drop images here to keep a constant rate.
        .args(["-map", "[small]", "-vsync", "passthrough"])
        .args(["-f", "rawvideo", "pipe:1"])
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
        let feed = Feed {
            episode: job.episode,
            decoder: Some(&mut decoder),
            layout: Some(layout),
            is_limited,
        };
        let fed = feed.each(track, |_, pixels| {
            if job.is_stopped.load(Ordering::Relaxed) {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            on_image();
            stdin.write_all(pixels)
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
        return Err(ExportError::ToolFailed {
            tool: "ffmpeg",
            doing: "encoding a video",
            status: status.to_string(),
            stderr: said,
            path: out.into(),
        });
    }
    // Where in time each lies is checked in the finished dataset.
    let written = mp4::head(out)?;
    let steps = track.images.len() as u64;
    if written.images != steps {
        return Err(ExportError::Invalid {
            what: format!(
                "video of episode {}, camera {}: expected {steps} images, got {}",
                job.episode, track.name, written.images
            ),
            path: out.into(),
        });
    }
    Ok(Known {
        bytes: std::fs::metadata(out)
            .map_err(ExportError::io("read the size of a video", out))?
            .len(),
        steps,
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

/// A decoder, and how it lays out the first image of `track`, which all others have to be like.
pub(crate) fn first_layout(
    episode: &str,
    track: &mut CameraTrack,
) -> Result<(Decoder, PlaneLayout), ExportError> {
    let image = track.images.first().copied().unwrap_or(0);
    let bytes = track.source.read(image)?;
    let found = checked(track, &bytes).and_then(|()| {
        let mut decoder = Decoder::new()?;
        let layout = decoder.layout(&bytes)?;
        Ok((decoder, layout))
    });
    found.map_err(|what| bad_image(episode, &track.name, 0, image, what))
}

/// Whether an image of `track` is whole and of its size.
fn checked(track: &CameraTrack, jpeg: &[u8]) -> Result<(), String> {
    let expected = (track.width, track.height);
    let size = jpeg::size(jpeg)?;
    if size == expected {
        return Ok(());
    }
    Err(format!(
        "expected {}x{} pixels, got {}x{}",
        expected.0, expected.1, size.0, size.1
    ))
}

/// Passes on the images of a track.
pub(crate) struct Feed<'a> {
    pub episode: &'a str,
    /// `None`: they are known to decode, and their pixels are not needed.
    pub decoder: Option<&'a mut Decoder>,
    /// How the pixels have to lie, where that matters.
    pub layout: Option<PlaneLayout>,
    /// Pixels are brought to the limited range of videos.
    pub is_limited: bool,
}

impl Feed<'_> {
    /// Reads, checks and decodes the image of every step once, and passes on its bytes and pixels to
    /// `take` for each step. Ends early without an error when the receiver has gone: its exit
    /// status tells why.
    ///
    /// # Errors
    /// An image cannot be read or is not whole, or the first that does not decode, with how many do
    /// not: nothing behind it is passed on.
    pub fn each(
        mut self,
        track: &mut CameraTrack,
        mut take: impl FnMut(&[u8], &[u8]) -> std::io::Result<()>,
    ) -> Result<(), ExportError> {
        let episode = self.episode;
        let bad = |track: &CameraTrack, step: usize, what: String| {
            bad_image(episode, &track.name, step, track.images[step], what)
        };
        let mut last: Option<(usize, Bytes)> = None;
        let mut first_broken: Option<(usize, String)> = None;
        let mut broken = 0;
        for step in 0..track.images.len() {
            let image = track.images[step];
            if last.as_ref().is_none_or(|(index, _)| *index != image) {
                let bytes = track.source.read(image)?;
                checked(track, &bytes).map_err(|what| bad(track, step, what))?;
                last = match self.decode(&bytes) {
                    Ok(()) => Some((image, bytes)),
                    Err(what) => {
                        broken += 1;
                        first_broken.get_or_insert((step, what));
                        None
                    }
                };
            }
            let pixels = self
                .decoder
                .as_ref()
                .map_or(&[][..], |decoder| decoder.pixels());
            if let (Some((_, bytes)), None) = (&last, &first_broken)
                && take(bytes, pixels).is_err()
            {
                return Ok(());
            }
        }
        let Some((step, what)) = first_broken else {
            return Ok(());
        };
        let of = track.images.len();
        let what = format!("broken JPEG data ({what}); {broken} of {of} steps do not decode");
        Err(bad(track, step, what))
    }

    fn decode(&mut self, jpeg: &[u8]) -> Result<(), String> {
        let Some(decoder) = &mut self.decoder else {
            return Ok(());
        };
        let found = decoder.decode(jpeg)?;
        if let Some(first) = self.layout.filter(|first| *first != found) {
            return Err(format!(
                "its colour is stored otherwise ({}) than in the first image ({})",
                found.pixel_format(),
                first.pixel_format()
            ));
        }
        if self.is_limited {
            decoder.limit_range(found);
        }
        Ok(())
    }
}

fn bad_image(episode: &str, camera: &str, step: usize, image: usize, what: String) -> ExportError {
    ExportError::Image {
        episode: episode.into(),
        camera: camera.into(),
        step,
        image,
        what,
    }
}
