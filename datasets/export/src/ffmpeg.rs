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
    /// Once it was asked anything.
    about: Arc<OnceLock<About>>,
}

/// Which `ffmpeg` it is.
#[derive(Debug, Clone, Default)]
struct About {
    version: String,
    /// Version of its library of file formats: major, minor. Of every build, also one of no release.
    libavformat: (u32, u32),
}

impl About {
    /// From what it says of itself before it answers.
    fn of(text: &str) -> Self {
        let after = |words: &str| {
            text.lines()
                .find_map(|line| line.trim().strip_prefix(words))
        };
        let version = after("ffmpeg version ").unwrap_or_default();
        let library = after("libavformat ").unwrap_or_default();
        let mut numbers = library.split('/').next().unwrap_or_default().split('.');
        let mut number = || numbers.next()?.trim().parse().ok();
        Self {
            version: version
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned(),
            libavformat: number().zip(number()).unwrap_or_default(),
        }
    }
}

impl Tools {
    pub fn new(options: &Options) -> Self {
        Self {
            ffmpeg: options.ffmpeg.clone(),
            ffprobe: options.ffprobe.clone(),
            about: Arc::default(),
        }
    }

    /// `ffmpeg`, quiet but for errors, which end it: it would otherwise conceal broken images, and call a
    /// video whole whose end found no room on the disk. Its filters get one thread: as many children run as there are
    /// cores, and threads that wait for each other cost a sixth more.
    pub fn ffmpeg(&self) -> Command {
        let mut command = Command::new(&self.ffmpeg);
        command
            .args(["-hide_banner", "-nostdin", "-loglevel", "error", "-xerror"])
            .args(["-filter_threads", "1", "-filter_complex_threads", "1"])
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
        Ok(self.about()?.version.clone())
    }

    /// What keeps an estimate of the bit rate out of an mp4 file's head: it is that of the first of the
    /// files that were joined, and so not of the packets alone. FFmpeg 5.0 and newer.
    pub fn without_bit_rate(&self) -> Result<&'static [&'static str], ExportError> {
        Ok(match self.about()?.libavformat >= (59, 16) {
            true => &["-write_btrt", "0"],
            false => &[],
        })
    }

    fn about(&self) -> Result<&About, ExportError> {
        if self.about.get().is_none() {
            self.ask(&["-version"], "saying its version")?;
        }
        Ok(self.about.get_or_init(About::default))
    }

    /// What `ffmpeg` says to a question, behind which version it is: that is remembered, since each
    /// start of it costs a tenth of a second.
    fn ask(&self, question: &[&str], doing: &'static str) -> Result<String, ExportError> {
        let failed = |what| ExportError::io(what, &self.ffmpeg);
        let (mut answer, both) = std::io::pipe().map_err(failed("open a pipe for"))?;
        let mut command = Command::new(&self.ffmpeg);
        command
            .args(question)
            .stdin(Stdio::null())
            .stdout(both.try_clone().map_err(failed("open a pipe for"))?)
            .stderr(both);
        // It holds the ends of the pipe that are written to, until it is dropped.
        let mut running = start("ffmpeg", command)?;
        let mut text = Vec::new();
        answer
            .read_to_end(&mut text)
            .map_err(failed("read what is said by"))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let status = running.0.wait().map_err(failed("wait for"))?;
        if !status.success() {
            return Err(ExportError::ToolFailed {
                tool: "ffmpeg",
                doing,
                status: status.to_string(),
                stderr: read_tail(text.as_bytes()),
                path: self.ffmpeg.clone(),
            });
        }
        // Two threads that ask at once hear the same.
        let _ = self.about.set(About::of(&text));
        Ok(text)
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
    /// every 2nd, and no B-frames, so that an image's position is its time. With one thread an
    /// image needs less of the processor, and the bytes do not depend on the number of cores.
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
                    arguments: &[
                        "-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-threads", "1",
                    ],
                })
            }
        }
    }

    fn describe(encoder: &str, tools: &Tools) -> Result<String, ExportError> {
        let encoder = format!("encoder={encoder}");
        tools.ask(&["-h", &encoder], "listing its encoders")
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
        .arg("-show_entries")
        .arg("stream=codec_name,width,height,pix_fmt,avg_frame_rate,time_base:packet=pts,flags")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ffmpeg_says_of_itself_is_taken_apart() {
        let debian = "ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000-2026 the FFmpeg developers\n  \
                      built with gcc 12\n  libavutil      57. 28.100 / 57. 28.100\n  \
                      libavformat    59. 27.100 / 59. 27.100\nEncoder libx264 [libx264 H.264]:\n";
        let about = About::of(debian);
        assert_eq!(about.version, "5.1.9-0+deb12u1");
        assert_eq!(about.libavformat, (59, 27));
        assert_eq!(About::of("nothing").libavformat, (0, 0));
    }
}
