//! The `ffmpeg` and `ffprobe` programs as child processes.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use serde::Deserialize;

use crate::error::ExportError;
use crate::options::{Codec, Options};

/// The two programs.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    pub ffmpeg: PathBuf,
    pub ffprobe: PathBuf,
    /// Whether its mp4 muxer can leave the bit rate out, once that was asked.
    omits_bit_rate: Arc<OnceLock<bool>>,
}

impl Tools {
    pub fn new(options: &Options) -> Self {
        Self {
            ffmpeg: options.ffmpeg.clone(),
            ffprobe: options.ffprobe.clone(),
            omits_bit_rate: Arc::default(),
        }
    }

    /// `ffmpeg`, quiet but for errors.
    pub fn ffmpeg(&self) -> Command {
        let mut command = Command::new(&self.ffmpeg);
        command
            .args(["-hide_banner", "-nostdin", "-loglevel", "error"])
            // SVT-AV1 prints its settings otherwise.
            .env("SVT_LOG", "1")
            .stdin(Stdio::null());
        command
    }

    pub fn start(&self, command: Command) -> Result<Running, ExportError> {
        start("ffmpeg", command)
    }

    /// Which `ffmpeg` it is.
    pub fn version(&self) -> Result<String, ExportError> {
        let mut command = Command::new(&self.ffmpeg);
        command.arg("-version").stdin(Stdio::null());
        command.stdout(Stdio::piped());
        let out = finish("ffmpeg", command, "saying its version", &self.ffmpeg)?;
        let text = String::from_utf8_lossy(&out);
        let words = text.strip_prefix("ffmpeg version ").unwrap_or(&text);
        Ok(words
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned())
    }

    /// What keeps an estimate of the bit rate out of an mp4 file's head: it is that of the first of the
    /// files that were joined, and so not of the packets alone. FFmpeg 5.0 and newer.
    pub fn without_bit_rate(&self) -> Result<&'static [&'static str], ExportError> {
        if self.omits_bit_rate.get().is_none() {
            let mut command = self.ffmpeg();
            command.args(["-h", "muxer=mp4"]).stdout(Stdio::piped());
            let out = finish("ffmpeg", command, "listing its options", &self.ffmpeg)?;
            let has_option = String::from_utf8_lossy(&out).contains("write_btrt");
            // Two threads that ask at once hear the same.
            let _ = self.omits_bit_rate.set(has_option);
        }
        match self.omits_bit_rate.get() {
            Some(true) => Ok(&["-write_btrt", "0"]),
            _ => Ok(&[]),
        }
    }

    /// Runs `ffmpeg` to its end.
    pub fn run(
        &self,
        mut command: Command,
        doing: &'static str,
        path: &Path,
    ) -> Result<(), ExportError> {
        command.stdout(Stdio::null());
        finish("ffmpeg", command, doing, path).map(drop)
    }
}

/// A child that is killed when it is dropped, or when the thread that started
/// it dies by whatever cause.
pub(crate) struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when the child has been waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(tool: &'static str, mut command: Command) -> Result<Running, ExportError> {
    // SAFETY: prctl is async-signal-safe and touches no memory.
    unsafe {
        command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(std::io::Error::from));
    }
    command
        .spawn()
        .map(Running)
        .map_err(|source| ExportError::ToolMissing {
            tool,
            path: command.get_program().into(),
            source,
        })
}

fn finish(
    tool: &'static str,
    mut command: Command,
    doing: &'static str,
    path: &Path,
) -> Result<Vec<u8>, ExportError> {
    command.stderr(Stdio::piped());
    let mut running = start(tool, command)?;
    let stderr = running.0.stderr.take();
    let stdout = running.0.stdout.take();
    let failed = |status: String, stderr: String| ExportError::ToolFailed {
        tool,
        doing,
        status,
        stderr,
        path: path.into(),
    };
    std::thread::scope(|scope| {
        let errors = scope.spawn(move || stderr.map(read_tail).unwrap_or_default());
        let mut out = Vec::new();
        if let Some(mut stdout) = stdout {
            stdout
                .read_to_end(&mut out)
                .map_err(ExportError::io("read the output of a child process", path))?;
        }
        let status = running
            .0
            .wait()
            .map_err(ExportError::io("wait for a child process", path))?;
        let errors = errors.join().unwrap_or_default();
        if status.success() {
            Ok(out)
        } else {
            Err(failed(status.to_string(), errors))
        }
    })
}

/// [`read_tail`] on a thread of its own.
pub(crate) fn tail_of(
    from: impl Read + Send + 'static,
    path: &Path,
) -> Result<JoinHandle<String>, ExportError> {
    Builder::new()
        .name("ffmpeg says".to_owned())
        .spawn(move || read_tail(from))
        .map_err(|source| ExportError::Io {
            what: "start a thread that listens to ffmpeg",
            path: path.to_owned(),
            source,
        })
}

/// The last 2000 bytes of what a child says, lines joined by `; `.
pub(crate) fn read_tail(mut from: impl Read) -> String {
    const KEEP: usize = 2000;
    let mut tail = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        tail.extend_from_slice(&buffer[..n]);
        if tail.len() > 2 * KEEP {
            tail.drain(..tail.len() - KEEP);
        }
    }
    tail.drain(..tail.len().saturating_sub(KEEP));
    let text = String::from_utf8_lossy(&tail);
    text.split(['\n', '\r'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

/// An encoder that the installed ffmpeg has.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    /// `av1` or `h264`, as datasets name it.
    pub codec: &'static str,
    /// Encoder and settings, for the report.
    pub settings: &'static str,
    /// Keyframe interval in images.
    pub interval: u32,
    /// Constant rate factor.
    pub crf: u32,
    /// Smallest width and height that the encoder takes, in pixels.
    pub smallest: u32,
    arguments: &'static [&'static str],
}

impl Encoder {
    /// Asks `ffmpeg` what it has. AV1 settings are those of the official
    /// LeRobot writer (keyframe every 2nd image, crf 30, preset 12); H.264 has
    /// a keyframe every 12th image, four times smaller at 16 % more decoding than
    /// every 2nd, and no B-frames, so that an image's position is its time.
    pub fn choose(codec: Codec, tools: &Tools) -> Result<Self, ExportError> {
        let missing = |wanted, missing| ExportError::NoEncoder {
            wanted,
            missing,
            path: tools.ffmpeg.clone(),
        };
        match codec {
            Codec::Av1 => {
                let svt = Self::describe("libsvtav1", tools)?;
                // FFmpeg before 5.1 knows libsvtav1 but not its -crf.
                if !(svt.contains("Encoder libsvtav1") && svt.contains("-crf")) {
                    return Err(missing("AV1", "libsvtav1 with -crf, FFmpeg 5.1 or newer"));
                }
                Ok(Self {
                    codec: "av1",
                    settings: "libsvtav1 (g 2, crf 30, preset 12)",
                    interval: 2,
                    crf: 30,
                    smallest: 64,
                    arguments: &["-c:v", "libsvtav1", "-preset", "12"],
                })
            }
            Codec::H264 => {
                if !Self::describe("libx264", tools)?.contains("Encoder libx264") {
                    return Err(missing("H.264", "libx264"));
                }
                Ok(Self {
                    codec: "h264",
                    settings: "libx264 (g 12, bf 0, crf 23, veryfast)",
                    interval: 12,
                    crf: 23,
                    smallest: 2,
                    arguments: &["-c:v", "libx264", "-preset", "veryfast", "-bf", "0"],
                })
            }
        }
    }

    fn describe(encoder: &str, tools: &Tools) -> Result<String, ExportError> {
        let mut command = tools.ffmpeg();
        command
            .args(["-h", &format!("encoder={encoder}")])
            .stdout(Stdio::piped());
        let out = finish("ffmpeg", command, "listing its encoders", &tools.ffmpeg)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// Arguments that encode limited-range 4:2:0 with BT.601 coefficients and
    /// say so in the stream.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = self.arguments.iter().map(|&a| a.into()).collect();
        for (key, value) in [
            ("-g", self.interval.to_string().as_str()),
            ("-crf", self.crf.to_string().as_str()),
            ("-pix_fmt", "yuv420p"),
            ("-colorspace", "smpte170m"),
            ("-color_range", "tv"),
        ] {
            arguments.extend([key.into(), value.into()]);
        }
        arguments
    }
}

/// What `ffprobe` finds in a video file with one track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Track {
    pub codec: String,
    pub width: u32,
    pub height: u32,
    pub pixel_format: String,
    /// Average image rate, numerator and denominator.
    pub rate: String,
    /// Hash of the codec parameters; files of equal parameters can be joined.
    pub parameters: String,
    /// Ticks a second.
    pub ticks: i64,
    /// Presentation time of each packet in ticks, in file order.
    pub times: Vec<i64>,
    /// Whether each packet is a keyframe.
    pub keyframes: Vec<bool>,
}

#[derive(Deserialize)]
struct Probed {
    packets: Vec<ProbedPacket>,
    streams: Vec<ProbedStream>,
}

#[derive(Deserialize)]
struct ProbedPacket {
    pts: Option<i64>,
    flags: String,
}

#[derive(Deserialize)]
struct ProbedStream {
    codec_name: String,
    width: u32,
    height: u32,
    pix_fmt: String,
    avg_frame_rate: String,
    time_base: String,
    #[serde(default)]
    extradata_hash: String,
}

/// Reads a video file's track and the time of every packet.
pub(crate) fn probe(tools: &Tools, path: &Path) -> Result<Track, ExportError> {
    let invalid = |what: String| ExportError::Invalid {
        what,
        path: path.into(),
    };
    let mut command = Command::new(&tools.ffprobe);
    command
        .args(["-v", "error", "-select_streams", "v", "-of", "json"])
        .args(["-show_data_hash", "sha256", "-show_entries"])
        .arg("stream=codec_name,width,height,pix_fmt,avg_frame_rate,time_base,extradata_hash:packet=pts,flags")
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let out = finish("ffprobe", command, "reading a video", path)?;
    let probed: Probed = serde_json::from_slice(&out)
        .map_err(|e| invalid(format!("ffprobe's description of the video: {e}")))?;
    let [stream] = &probed.streams[..] else {
        return Err(invalid(format!(
            "expected one video track, got {}",
            probed.streams.len()
        )));
    };
    let ticks = stream
        .time_base
        .strip_prefix("1/")
        .and_then(|t| t.parse().ok())
        .ok_or_else(|| {
            invalid(format!(
                "expected a time base of 1/N, got {}",
                stream.time_base
            ))
        })?;
    let times = probed.packets.iter().map(|p| p.pts).collect::<Option<_>>();
    Ok(Track {
        codec: stream.codec_name.clone(),
        width: stream.width,
        height: stream.height,
        pixel_format: stream.pix_fmt.clone(),
        rate: stream.avg_frame_rate.clone(),
        parameters: stream.extradata_hash.clone(),
        ticks,
        times: times.ok_or_else(|| invalid("a packet has no presentation time".into()))?,
        keyframes: probed
            .packets
            .iter()
            .map(|p| p.flags.starts_with('K'))
            .collect(),
    })
}

impl Track {
    /// Whether packet `k` lies at exactly `k / fps` seconds, for every one of
    /// `steps` packets.
    pub fn check_grid(&self, steps: u64, fps: u32) -> Result<(), String> {
        if self.times.len() as u64 != steps {
            return Err(format!(
                "expected {steps} images, got {} packets",
                self.times.len()
            ));
        }
        for (k, &time) in (0i64..).zip(&self.times) {
            if time * i64::from(fps) != k * self.ticks {
                return Err(format!(
                    "expected packet {k} at {k}/{fps} s, got {time}/{} s",
                    self.ticks
                ));
            }
        }
        Ok(())
    }
}
