//! Images of an episode as JPEGs: the recorded ones where they have the size asked
//! for, byte by byte; else decoded, cut, scaled and compressed once more.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, Write};
use std::path::Path;
use std::process::Stdio;

use crate::error::ExportError;
use crate::ffmpeg::{Tools, read_tail, tail_of};
use crate::fit::{Fit, FitMode};
use crate::jpeg;
use crate::lifecycle::{Known, Parts, VideoKey};
use crate::model::CameraTrack;
use crate::video::{Feed, explain, feed};

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
        let settings = ["stills 1", &size, &fit.still_filter(), &quality];
        let key = job
            .content
            .map(|content| VideoKey::new(content, &track.name, &settings, &track.images));
        let count = track.images.len() as u64;
        let known = Known {
            steps: count,
            ..Known::default()
        };
        let file = match key {
            Some(key) if as_recorded => {
                let file = unlinked(spool)?;
                if job.parts.is_known(&key) {
                    copy(job, track, &file, &mut on_image)?;
                } else {
                    convert(job, track, &fit, as_recorded, (&file, spool), &mut on_image)?;
                    job.parts.know(&key, &known)?;
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
                            convert(job, track, &fit, as_recorded, (&file, path), &mut on_image)?;
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
                convert(job, track, &fit, as_recorded, (&file, spool), &mut on_image)?;
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

/// Writes recorded images, known to decode, one behind the other.
fn copy(
    job: &StillJob<'_>,
    track: &mut CameraTrack,
    file: &File,
    on_image: &mut impl FnMut(),
) -> Result<(), ExportError> {
    let from = Feed {
        episode: job.episode,
        tools: job.tools,
    };
    let mut kept = BufWriter::with_capacity(1 << 20, file);
    let mut failed = None;
    feed(&from, track, |bytes| {
        on_image();
        let written = kept.write_all(bytes);
        written.inspect_err(|error| failed = Some(error.kind()))
    })?;
    let written = failed.map_or_else(|| kept.flush(), |kind| Err(kind.into()));
    written.map_err(ExportError::io("write images to", job.parts.folder()))
}

/// Writes the images, in their size and one behind the other, into a file that has a `path` for messages;
/// decodes all of them.
fn convert(
    job: &StillJob<'_>,
    track: &mut CameraTrack,
    fit: &Fit,
    as_recorded: bool,
    (file, path): (&File, &Path),
    on_image: &mut impl FnMut(),
) -> Result<(), ExportError> {
    let feed_job = Feed {
        episode: job.episode,
        tools: job.tools,
    };
    let mut command = job.tools.ffmpeg();
    command
        // Without these, a broken image would be repaired by guesswork.
        .args(["-xerror", "-err_detect", "explode"])
        .args(["-f", "mjpeg", "-i", "pipe:0"]);
    if as_recorded {
        command.args(["-f", "null", "pipe:1"]);
    } else {
        command.arg("-vf").arg(fit.still_filter());
        command.args(["-vsync", "passthrough", "-c:v", "mjpeg", "-q:v"]);
        command
            .arg(QUALITY.to_string())
            .args(["-f", "mjpeg", "pipe:1"]);
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = job.tools.start(command)?;
    let pipes = (
        running.0.stdin.take(),
        running.0.stdout.take(),
        running.0.stderr.take(),
    );
    let (Some(mut stdin), Some(mut stdout), Some(stderr)) = pipes else {
        unreachable!("the three pipes were asked for above");
    };
    let mut kept = BufWriter::with_capacity(1 << 20, file);
    let mut grey = None;
    let (fed, copied, said) = std::thread::scope(|scope| {
        let copied = scope.spawn(|| {
            let mut sink = BufWriter::with_capacity(1 << 20, file);
            let mut target: &mut dyn Write = &mut sink;
            let mut nowhere = std::io::sink();
            if as_recorded {
                target = &mut nowhere;
            }
            std::io::copy(&mut stdout, &mut target).and_then(|_| target.flush())
        });
        let said = scope.spawn(move || read_tail(stderr));
        let mut step = 0;
        let fed = feed(&feed_job, track, |bytes| {
            on_image();
            if jpeg::components(bytes) != Some(3) {
                grey.get_or_insert(step);
            }
            step += 1;
            if as_recorded {
                kept.write_all(bytes)?;
            }
            stdin.write_all(bytes)
        });
        drop(stdin);
        if fed.is_err() {
            // The readers end with the child.
            let _ = running.0.kill();
        }
        (fed, copied.join(), said.join().unwrap_or_default())
    });
    let failed = || ExportError::io("write", path);
    kept.flush().map_err(failed())?;
    drop(kept);
    let status = running
        .0
        .wait()
        .map_err(ExportError::io("wait for ffmpeg", path))?;
    fed?;
    if let Ok(copied) = copied {
        copied.map_err(failed())?;
    }
    if !status.success() {
        return Err(explain(&feed_job, track, || ExportError::ToolFailed {
            tool: "ffmpeg",
            doing: "decoding images",
            status: status.to_string(),
            stderr: said,
            path: path.into(),
        }));
    }
    if let (Some(step), true) = (grey, as_recorded) {
        return Err(ExportError::Image {
            episode: job.episode.into(),
            camera: track.name.clone(),
            step,
            image: track.images[step],
            what: "expected three components (colour), got another number; \
                   give --image-size to have it converted"
                .into(),
        });
    }
    Ok(())
}

/// Decodes JPEGs, all of them, and counts what comes out.
///
/// # Errors
/// What ffmpeg says of the first that does not decode.
pub(crate) fn decode_all(
    tools: &Tools,
    mut next: impl FnMut() -> Result<Option<Vec<u8>>, ExportError>,
) -> Result<Result<(), String>, ExportError> {
    let mut command = tools.ffmpeg();
    command
        .args([
            "-xerror",
            "-err_detect",
            "explode",
            "-f",
            "mjpeg",
            "-i",
            "pipe:0",
        ])
        .args(["-f", "null", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut running = tools.start(command)?;
    let (Some(mut stdin), Some(stderr)) = (running.0.stdin.take(), running.0.stderr.take()) else {
        unreachable!("both pipes were asked for above");
    };
    let said = tail_of(stderr, &tools.ffmpeg)?;
    let mut fed = Ok(());
    loop {
        match next() {
            Ok(Some(image)) => {
                // Its exit status tells why it has gone.
                if stdin.write_all(&image).is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                fed = Err(error);
                break;
            }
        }
    }
    drop(stdin);
    let status = running
        .0
        .wait()
        .map_err(ExportError::io("wait for ffmpeg", tools.ffmpeg.as_path()))?;
    fed?;
    let said = said.join().unwrap_or_default();
    Ok(if status.success() { Ok(()) } else { Err(said) })
}
