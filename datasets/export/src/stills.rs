//! Images of an episode as JPEGs: the recorded ones where they have the size asked
//! for, byte by byte; else decoded, cut, scaled and compressed once more.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, Write};
use std::path::Path;
use std::process::Stdio;

use crate::decode::Decoder;
use crate::error::ExportError;
use crate::ffmpeg::{Tools, read_tail};
use crate::fit::{Fit, FitMode};
use crate::jpeg;
use crate::lifecycle::{Known, Parts, VideoKey};
use crate::model::CameraTrack;
use crate::video::{Feed, first_layout};

/// Quality of JPEGs that are compressed once more, by ffmpeg's scale: 2, nearly
/// without loss, to 31. Colour is not thinned out.
pub(crate) const QUALITY: u32 = 2;

/// How images become stills.
pub(crate) struct StillJob<'a> {
    pub episode: &'a str,
    pub tools: &'a Tools,
    pub size: Option<(u32, u32)>,
    pub fit: FitMode,
    /// The recording, by its content; where it is known, what is done is not done again.
    pub content: Option<&'a str>,
    /// What is done.
    pub parts: &'a Parts,
}

/// The JPEGs of one camera and episode, in a file of their own until the whole
/// episode is known to be good: a container that only grows takes none back.
pub(crate) struct Stills {
    file: BufReader<File>,
    pub count: u64,
    pub fit: Fit,
    /// Whether the recorded bytes are kept.
    pub as_recorded: bool,
}

impl Stills {
    /// The images of every step of `track`, each decoded once to see that it does.
    pub fn make(
        job: &StillJob<'_>,
        track: &mut CameraTrack,
        spool: &Path,
        mut on_image: impl FnMut(),
    ) -> Result<Self, ExportError> {
        let fit = Fit::new((track.width, track.height), job.size, job.fit);
        let recorded = (track.width, track.height);
        let as_recorded = fit.size == recorded && fit.crop == (0, 0, recorded.0, recorded.1);
        let size = format!("{}x{}", recorded.0, recorded.1);
        let quality = QUALITY.to_string();
        let settings = ["stills 2", &size, &fit.still_filter(), &quality];
        let key = job
            .content
            .map(|content| VideoKey::new(content, &track.name, &settings, &track.images));
        let count = track.images.len() as u64;
        let known = Known {
            steps: count,
            ..Known::default()
        };
        let file = match key {
            _ if as_recorded => {
                let file = unlinked(spool)?;
                let is_known = key.as_ref().is_some_and(|key| job.parts.is_known(key));
                copy(job, track, (&file, spool), is_known, &mut on_image)?;
                if let (Some(key), false) = (&key, is_known) {
                    job.parts.know(key, &known)?;
                }
                file
            }
            Some(key) => {
                let found = job.parts.find(&key);
                if found.is_some() {
                    track.images.iter().for_each(|_| on_image());
                }
                let made = found.map_or_else(
                    || {
                        job.parts.make(Some(key), |path| {
                            let file =
                                File::create(path).map_err(ExportError::io("create", path))?;
                            convert(job, track, &fit, (&file, path), &mut on_image)?;
                            let bytes = file
                                .metadata()
                                .map_err(ExportError::io("look at", path))?
                                .len();
                            Ok(Known { bytes, ..known })
                        })
                    },
                    Ok,
                )?;
                File::open(&made.path).map_err(ExportError::io("open", made.path))?
            }
            None => {
                let file = unlinked(spool)?;
                convert(job, track, &fit, (&file, spool), &mut on_image)?;
                file
            }
        };
        let mut file = BufReader::with_capacity(1 << 20, file);
        file.rewind().map_err(ExportError::io("read", spool))?;
        Ok(Self {
            file,
            count,
            fit,
            as_recorded,
        })
    }

    /// Hands out the images in order.
    pub fn each(
        mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let path = Path::new("images that are being written");
        for at in 0..self.count {
            let image = jpeg::read_one(&mut self.file).map_err(ExportError::io("read", path))?;
            let image = image.ok_or_else(|| ExportError::Invalid {
                what: format!("{} images expected, {at} made", self.count),
                path: path.into(),
            })?;
            take(&image)?;
        }
        Ok(())
    }
}

/// A file that nobody else needs the name of, and of which nothing is left behind.
fn unlinked(path: &Path) -> Result<File, ExportError> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .map_err(ExportError::io("create", path))?;
    std::fs::remove_file(path).map_err(ExportError::io("unlink", path))?;
    Ok(file)
}

/// Writes recorded images, one behind the other, into a file that has a `path` for messages; decodes
/// them all unless they are known to decode.
fn copy(
    job: &StillJob<'_>,
    track: &mut CameraTrack,
    (file, path): (&File, &Path),
    is_known: bool,
    on_image: &mut impl FnMut(),
) -> Result<(), ExportError> {
    let image_error = |track: &CameraTrack, step: usize, what: String| ExportError::Image {
        episode: job.episode.into(),
        camera: track.name.clone(),
        step,
        image: track.images[step],
        what,
    };
    let mut decoder = Decoder::new().map_err(|what| image_error(track, 0, what))?;
    let feed = Feed {
        episode: job.episode,
        decoder: (!is_known).then_some(&mut decoder),
        layout: None,
        is_limited: false,
    };
    let mut kept = BufWriter::with_capacity(1 << 20, file);
    let mut failed = None;
    let mut grey = None;
    let mut step = 0;
    feed.each(track, |jpeg, _| {
        on_image();
        if jpeg::components(jpeg) != Some(3) {
            grey.get_or_insert(step);
        }
        step += 1;
        let written = kept.write_all(jpeg);
        written.inspect_err(|error| failed = Some(error.kind()))
    })?;
    let written = failed.map_or_else(|| kept.flush(), |kind| Err(kind.into()));
    written.map_err(ExportError::io("write", path))?;
    match grey {
        None => Ok(()),
        Some(step) => Err(image_error(
            track,
            step,
            "expected three components (colour), got another number; \
             give --image-size to have it converted"
                .into(),
        )),
    }
}

/// Writes the images, in their size and one behind the other, into a file that has a `path` for messages.
fn convert(
    job: &StillJob<'_>,
    track: &mut CameraTrack,
    fit: &Fit,
    (file, path): (&File, &Path),
    on_image: &mut impl FnMut(),
) -> Result<(), ExportError> {
    let (mut decoder, layout) = first_layout(job.episode, track)?;
    let mut command = job.tools.ffmpeg();
    command
        // Any rate: no time is written.
        .args(layout.input(25))
        .arg("-vf")
        .arg(fit.still_filter())
        .args(["-vsync", "passthrough", "-c:v", "mjpeg", "-q:v"])
        .arg(QUALITY.to_string())
        .args(["-f", "mjpeg", "pipe:1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = job.tools.start(command)?;
    let pipes = (
        running.0.stdin.take(),
        running.0.stdout.take(),
        running.0.stderr.take(),
    );
    let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
        unreachable!("the three pipes were asked for above");
    };
    let (fed, copied, said) = std::thread::scope(|scope| {
        // Where writing fails, the pipe is closed: ffmpeg ends, and with it who feeds it.
        let copied = scope.spawn(move || {
            let mut stdout = stdout;
            let mut target = BufWriter::with_capacity(1 << 20, file);
            std::io::copy(&mut stdout, &mut target).and_then(|_| target.flush())
        });
        let said = scope.spawn(move || read_tail(stderr));
        let feed = Feed {
            episode: job.episode,
            decoder: Some(&mut decoder),
            layout: Some(layout),
            is_limited: false,
        };
        let fed = feed.each(track, |_, pixels| {
            on_image();
            stdin.write_all(pixels)
        });
        drop(stdin);
        if fed.is_err() {
            // The readers end with the child.
            let _ = running.0.kill();
        }
        (fed, copied.join(), said.join().unwrap_or_default())
    });
    let status = running
        .0
        .wait()
        .map_err(ExportError::io("wait for ffmpeg", path))?;
    fed?;
    if let Ok(copied) = copied {
        copied.map_err(ExportError::io("write", path))?;
    }
    if !status.success() {
        return Err(ExportError::ToolFailed {
            tool: "ffmpeg",
            doing: "scaling images",
            status: status.to_string(),
            stderr: said,
            path: path.into(),
        });
    }
    Ok(())
}
