//! Images out of a video, one JPEG each.

use std::io::{BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::thread::JoinHandle;

use bytes::Bytes;

use super::raw::source_error;
use crate::error::ExportError;
use crate::ffmpeg::{Running, Tools, probe, tail_of};
use crate::jpeg;

/// Quality of the JPEGs by ffmpeg's scale (2, nearly without loss, to 31): the
/// video has been compressed once already.
pub const QUALITY: u32 = 2;

/// What a video's header says.
pub(super) struct Header {
    pub width: u32,
    pub height: u32,
    /// Images in the file.
    pub images: usize,
    /// Nominal rate [Hz]; DexUMI's recorder writes what was asked for.
    pub fps: f64,
}

pub(super) fn header(tools: &Tools, path: &Path) -> Result<Header, ExportError> {
    let track = probe(tools, path)?;
    let rate = track
        .rate
        .split_once('/')
        .and_then(|(n, d)| Some(n.parse::<f64>().ok()? / d.parse::<f64>().ok()?));
    Ok(Header {
        width: track.width,
        height: track.height,
        images: track.times.len(),
        fps: rate
            .filter(|fps| (0.1..=1000.0).contains(fps))
            .ok_or_else(|| {
                source_error(
                    format!("image rate {}, expected 0.1 to 1000 a second", track.rate),
                    path,
                )
            })?,
    })
}

/// The images of a video, one by one, in the order of the file.
pub(super) struct VideoImages {
    running: Running,
    stream: BufReader<std::process::ChildStdout>,
    said: Option<JoinHandle<String>>,
    path: std::path::PathBuf,
}

impl VideoImages {
    /// Starts to decode; as fast as images are taken.
    pub fn open(tools: &Tools, path: &Path) -> Result<Self, ExportError> {
        let mut command = tools.ffmpeg();
        command
            // Without this, a broken image would be repaired by guesswork.
            .args(["-err_detect", "explode", "-i"])
            .arg(path)
            // OpenCV's videos are of limited range with BT.601 coefficients, whether
            // they say so or not; a JPEG is of full range with the same ones.
            .args(["-map", "0:v:0", "-vf"])
            .arg("scale=in_range=tv:out_range=pc:in_color_matrix=bt601:out_color_matrix=bt601,format=yuvj420p")
            .args(["-vsync", "passthrough", "-c:v", "mjpeg", "-q:v"])
            .arg(QUALITY.to_string())
            .args(["-f", "mjpeg", "pipe:1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = tools.start(command)?;
        let (Some(stdout), Some(stderr)) = (running.0.stdout.take(), running.0.stderr.take())
        else {
            unreachable!("both pipes were asked for above");
        };
        Ok(Self {
            running,
            stream: BufReader::with_capacity(1 << 18, stdout),
            said: Some(tail_of(stderr, path)?),
            path: path.to_owned(),
        })
    }

    /// The next image; `None` behind the last.
    pub fn next(&mut self) -> Result<Option<Bytes>, ExportError> {
        let image = jpeg::read_one(&mut self.stream)
            .map_err(|error| source_error(format!("cannot read an image: {error}"), &self.path))?;
        if image.is_none() {
            self.finish()?;
        }
        Ok(image)
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        let Some(said) = self.said.take() else {
            return Ok(());
        };
        // Nothing more comes; what is left of the stream is read to its end.
        let _ = std::io::copy(&mut self.stream.by_ref(), &mut std::io::sink());
        let status = self
            .running
            .0
            .wait()
            .map_err(ExportError::io("wait for ffmpeg", self.path.as_path()))?;
        let stderr = said.join().unwrap_or_default();
        if status.success() {
            Ok(())
        } else {
            Err(ExportError::ToolFailed {
                tool: "ffmpeg",
                doing: "decoding a video",
                status: status.to_string(),
                stderr,
                path: self.path.clone(),
            })
        }
    }
}
