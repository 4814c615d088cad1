//! Anything that ffmpeg reads (RTSP cameras, files, capture cards), through an
//! ffmpeg program of our own: JPEG images in a NUT stream on its output, each with
//! the source's exact time stamp.
//!
//! A source that is MJPEG is copied. Any other is decoded and encoded anew as JPEG,
//! and the file says so.

pub mod nut;

use std::{
    io::{ErrorKind, Read},
    os::fd::AsFd,
    path::Path,
    process::{ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use dexumi_episode::{
    ClockModel, Delta, Device, DeviceTime, HostTime, StreamKind, schema::suspect,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::nut::{Found, Parser};
use super::{
    Data, Driver, Image, Item, Output, Sample, Source, child::Child, min_delay_ns,
    mjpeg_http::is_whole_jpeg, options::Options,
};
use crate::error::CaptureError;

/// A camera on the network may take its time until the first key image.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// A read returns after this long without data [ms].
const WAIT_MS: u8 = 50;
const READ_BYTES: usize = 256 << 10;
const OPTIONS: &[&str] = &["input", "quality", "loop", "ffmpeg"];

/// The registration.
pub const DRIVER: Driver = Driver {
    name: "ffmpeg",
    help: "Anything that ffmpeg reads (RTSP camera, file, capture card), with the source's time stamps",
    feeds: "/camera/<name>/image",
    can_feed: |topic| matches!(StreamKind::of(topic), Some(StreamKind::Camera { .. })),
    // The source's own ticks: 1/90000 s for RTP. Rounded up to a microsecond here.
    clock: |device| {
        Some(ClockModel {
            tick_ns: 1_000,
            min_delay_ns: min_delay_ns(device),
        })
    },
    metadata: |_| {
        vec![
            ("clock", "the source's presentation time stamps".to_owned()),
            (
                "encoding",
                "JPEG: copied or transcoded, as the stream's device record says".to_owned(),
            ),
        ]
    },
    shares: false,
    counts_missing: false,
    keeps_packets: false,
    open,
};

/// What an entry asks for.
struct Settings {
    program: String,
    input: Vec<String>,
    address: String,
    /// Of JPEGs encoded anew, 2 (best) to 31.
    quality: String,
    /// At the speed of its time stamps.
    paced: bool,
    repeat: bool,
}

impl Settings {
    fn of(device: &Device) -> Result<Self, CaptureError> {
        let options = Options::of(std::slice::from_ref(device), OPTIONS)?;
        let input = options.strings("input")?.unwrap_or_default();
        let quality = options.string("quality")?.unwrap_or_else(|| "2".to_owned());
        Ok(Self {
            program: options
                .string("ffmpeg")?
                .unwrap_or_else(|| "ffmpeg".to_owned()),
            // A file has all its images at once; a rehearsal wants them in their time.
            paced: Path::new(&device.address).is_file() && !input.iter().any(|word| word == "-re"),
            repeat: options.flag("loop")?.unwrap_or(false),
            input,
            address: device.address.clone(),
            quality,
        })
    }

    /// The command that copies images, or encodes them anew.
    fn command(&self, copies: bool, passthrough: [&str; 2]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-hide_banner", "-nostdin", "-loglevel", "warning"]);
        // Else it holds back twenty images to find out a rate that nobody asks for.
        command.args(["-fpsprobesize", "0"]);
        if self.paced {
            command.arg("-re");
        }
        if self.repeat {
            command.args(["-stream_loop", "-1"]);
        }
        command.args(&self.input).args(["-i", &self.address]);
        // The source's own time stamps, neither shifted nor smoothed.
        command.args(["-map", "0:v:0", "-copyts"]);
        match copies {
            true => command.args(["-c:v", "copy"]),
            false => command
                .args([
                    "-c:v",
                    "mjpeg",
                    "-q:v",
                    &self.quality,
                    "-pix_fmt",
                    "yuvj420p",
                ])
                .args(passthrough)
                .args(["-enc_time_base", "-1"]),
        };
        command.args([
            "-f",
            "nut",
            "-write_index",
            "0",
            "-flush_packets",
            "1",
            "pipe:1",
        ]);
        command
    }
}

/// The option that keeps every image: it has a new name since ffmpeg 5.1.
fn passthrough(version: &str) -> [&'static str; 2] {
    let number = version.split_whitespace().nth(2).unwrap_or_default();
    let mut parts = number
        .trim_start_matches('n')
        .split(|c: char| !c.is_ascii_digit());
    let mut part = || parts.next().and_then(|part| part.parse::<u32>().ok());
    match (part(), part()) {
        (Some(major), minor) if (major, minor.unwrap_or(0)) < (5, 1) => ["-vsync", "passthrough"],
        // A build without a version is a recent one.
        _ => ["-fps_mode", "passthrough"],
    }
}

/// Where a source's clock goes back within a connection, ffmpeg counts on by one tick an image. Stamps
/// stand still where they gain less than a twentieth of the time between two images that came at
/// least this far apart.
const LEAST_WAIT: Delta = Delta::from_millis(10);
/// So many images in a row end the connection, so that the next one has a clock of its own.
const MOST_STANDING: u32 = 5;

struct FfmpegSource {
    /// Closed before the program is ended, so that it ends by itself.
    output: ChildStdout,
    child: Child,
    parser: Parser,
    time_base: (u64, u64),
    buffer: Vec<u8>,
    sequence: u64,
    first: Vec<Item>,
    /// Of what has been read, but not taken yet.
    arrival: HostTime,
    /// Stamp and arrival of the last image, and images since the stamps last moved on.
    last: Option<(DeviceTime, HostTime)>,
    stood_still: u32,
    stream: String,
    address: String,
}

fn open(devices: &[Device]) -> Result<Box<dyn Source>, CaptureError> {
    let device = &devices[0];
    let settings = Settings::of(device)?;
    let failed = |problem: String| CaptureError::Open {
        stream: device.stream.clone(),
        address: device.address.clone(),
        problem,
        next: format!(
            "try it by hand: ffplay {} -i {}",
            settings.input.join(" "),
            device.address
        ),
    };
    let version = Command::new(&settings.program)
        .arg("-version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(format!("cannot start `{}`: {error}", settings.program)))?;
    let version = String::from_utf8_lossy(&version.stdout)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    let passthrough = passthrough(&version);
    let mut source =
        FfmpegSource::start(device, settings.command(true, passthrough)).map_err(failed)?;
    let mut codec = source.header().map_err(failed)?;
    let mut encoding = "JPEG as the source sent it".to_owned();
    if codec.fourcc.to_ascii_uppercase() != *b"MJPG" {
        // Only now is it known that copying is not enough.
        drop(source);
        encoding = format!(
            "decoded from {} and encoded as JPEG by ffmpeg, -q:v {}",
            String::from_utf8_lossy(&codec.fourcc),
            settings.quality
        );
        source =
            FfmpegSource::start(device, settings.command(false, passthrough)).map_err(failed)?;
        codec = source.header().map_err(failed)?;
    }
    let (num, den) = codec.time_base;
    source.time_base = codec.time_base;
    let about = [
        ("encoding", encoding),
        ("image_px", format!("{}x{}", codec.width, codec.height)),
        ("time_base_s", format!("{num}/{den}")),
        ("ffmpeg", version),
    ];
    let about = about.map(|(key, value)| (key.to_owned(), value));
    source.first.push(Item::About(about.to_vec()));
    Ok(Box::new(source))
}

/// What the stream's header says.
struct Codec {
    fourcc: [u8; 4],
    width: u64,
    height: u64,
    time_base: (u64, u64),
}

impl FfmpegSource {
    fn start(device: &Device, mut command: Command) -> Result<Self, String> {
        let mut child = Child::start(&mut command, Stdio::null(), true)
            .map_err(|error| format!("cannot start ffmpeg: {error}"))?;
        let output = child.take_output().ok_or("ffmpeg has no output")?;
        Ok(Self {
            output,
            child,
            parser: Parser::default(),
            time_base: (1, 1),
            buffer: vec![0; READ_BYTES],
            sequence: 0,
            first: Vec::new(),
            arrival: HostTime::now(),
            last: None,
            stood_still: 0,
            stream: device.stream.clone(),
            address: device.address.clone(),
        })
    }

    /// Reads once, at most a moment.
    fn receive(&mut self) -> Result<(), String> {
        let mut ready = [PollFd::new(self.output.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::from(WAIT_MS)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
        match self.output.read(&mut self.buffer) {
            Ok(0) => Err(self.child.last_words()),
            Ok(count) => {
                self.arrival = HostTime::now();
                self.parser.push(&self.buffer[..count]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn header(&mut self) -> Result<Codec, String> {
        let end = Instant::now() + OPEN_TIMEOUT;
        while Instant::now() < end {
            let found = self.parser.pull();
            match found.map_err(|error| format!("ffmpeg's output: {error}"))? {
                Some(Found::Stream {
                    fourcc,
                    width,
                    height,
                    time_base,
                }) => {
                    return Ok(Codec {
                        fourcc,
                        width,
                        height,
                        time_base,
                    });
                }
                Some(Found::Packet { .. }) => {}
                None => self.receive()?,
            }
        }
        Err(format!("no image came within {} s", OPEN_TIMEOUT.as_secs()))
    }

    fn sample(&mut self, pts: i64, data: bytes::Bytes, out: &mut Output) {
        let arrival = self.arrival;
        let sequence = self.sequence;
        self.sequence += 1;
        if !is_whole_jpeg(&data) {
            return out.lost(0, "truncated", 1, arrival);
        }
        let (num, den) = self.time_base;
        let nanos = i128::from(pts) * i128::from(num) * 1_000_000_000 / i128::from(den);
        let device = i64::try_from(nanos).ok().map(DeviceTime::from_nanos);
        if let Some(device) = device {
            let stands_still = self.last.is_some_and(|(last, arrived)| {
                let waited = arrival - arrived;
                waited > LEAST_WAIT && (device - last).nanos() * 20 < waited.nanos()
            });
            self.stood_still = if stands_still {
                self.stood_still + 1
            } else {
                0
            };
            self.last = Some((device, arrival));
        }
        let suspect = if self.stood_still > 0 {
            suspect::TICKS
        } else {
            0
        };
        out.sample(
            0,
            Sample {
                arrival,
                device,
                sent: None,
                ticks: Some(pts.cast_unsigned()),
                sequence,
                captured: None,
                suspect,
                data: Data::Image(Image::jpeg(data)),
                raw: None,
            },
        );
    }

    /// Takes what has been read; whether there was an image.
    fn parse(&mut self, out: &mut Output) -> Result<bool, CaptureError> {
        let before = self.sequence;
        loop {
            match self.parser.pull() {
                Ok(Some(Found::Packet { pts, data })) => {
                    self.sample(pts, data, out);
                    if self.stood_still >= MOST_STANDING {
                        return Err(self.gone(format!(
                            "the time stamps stand still over {MOST_STANDING} images, as when the source's \
                             clock began anew; it is opened anew"
                        )));
                    }
                }
                // A source that changes its size starts anew.
                Ok(Some(Found::Stream { time_base, .. })) => self.time_base = time_base,
                Ok(None) => return Ok(self.sequence > before),
                Err(error) => return Err(self.gone(format!("ffmpeg's output: {error}"))),
            }
        }
    }

    fn gone(&self, problem: String) -> CaptureError {
        CaptureError::Gone {
            stream: self.stream.clone(),
            address: self.address.clone(),
            problem,
        }
    }
}

impl Source for FfmpegSource {
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError> {
        for item in self.first.drain(..) {
            out.push(0, item);
        }
        // What was there is handed on before anything else is waited for.
        if !self.parse(out)? {
            self.receive().map_err(|problem| self.gone(problem))?;
            self.parse(out)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
