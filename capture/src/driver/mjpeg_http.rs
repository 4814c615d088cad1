//! Network cameras and phones: JPEG images as `multipart/x-mixed-replace` over
//! HTTP, read by a backend inside a nokhwa [`Camera`], so that USB and network
//! cameras are one thing to the rest.
//!
//! Each part has `Content-Length`; `X-Timestamp` (seconds of the camera's own
//! clock, as mjpg-streamer sends it) is used where there is one.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dexumi_episode::{CameraMode, ClockModel, Device, DeviceTime, HostTime, StreamKind};
use nokhwa::{
    Buffer, Camera, NokhwaError,
    camera_traits::CaptureBackendTrait,
    utils::{
        ApiBackend, CameraControl, CameraFormat, CameraIndex, CameraInfo, ControlValueSetter,
        FrameFormat, KnownCameraControl, Resolution,
    },
};

use super::{Data, Driver, Image, Output, Sample, Source, min_delay_ns};
use crate::error::CaptureError;

/// Between two parts.
pub const BOUNDARY: &str = "dexumiframe";
/// A camera that is silent for longer is gone.
const TIMEOUT: Duration = Duration::from_secs(2);
/// No JPEG of a camera is larger.
const MAX_IMAGE_BYTES: usize = 64 << 20;
const MAX_LINE_BYTES: u64 = 8 << 10;

/// The registration.
pub const DRIVER: Driver = Driver {
    name: "mjpeg_http",
    help: "Network camera or phone: JPEG images over HTTP (multipart/x-mixed-replace)",
    feeds: "/camera/<name>/image",
    can_feed: |topic| matches!(StreamKind::of(topic), Some(StreamKind::Camera { .. })),
    // Holds where the camera sends X-Timestamp, to the microsecond.
    clock: |device| {
        Some(ClockModel {
            tick_ns: 1_000,
            min_delay_ns: min_delay_ns(device),
        })
    },
    metadata: |_| vec![("encoding", "JPEG as the camera sent it".to_owned())],
    shares: false,
    counts_missing: false,
    keeps_packets: false,
    open,
};

/// One part with its headers, as it goes over the wire.
pub fn encode_part(jpeg: &[u8], timestamp_s: Option<f64>) -> Vec<u8> {
    let stamp = timestamp_s.map_or(String::new(), |s| format!("X-Timestamp: {s:.6}\r\n"));
    let head = format!(
        "--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n{stamp}\r\n",
        jpeg.len()
    );
    [head.as_bytes(), jpeg, b"\r\n"].concat()
}

/// A part as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The image.
    pub jpeg: Vec<u8>,
    /// `X-Timestamp`, in nanoseconds of the camera's clock.
    pub timestamp_ns: Option<i64>,
}

/// Reads the next part.
///
/// # Errors
/// The connection ended or timed out, or what came is no multipart stream.
pub fn read_part(reader: &mut impl BufRead) -> std::io::Result<Part> {
    let invalid = |what: &str| std::io::Error::new(ErrorKind::InvalidData, what.to_owned());
    let (mut length, mut timestamp_ns, mut in_head) = (None, None, false);
    loop {
        let line = read_line(reader)?;
        if line.starts_with("--") {
            in_head = true;
        } else if line.is_empty() {
            // Empty lines before the boundary belong to the part before.
            if in_head {
                break;
            }
        } else if in_head && let Some((key, value)) = line.split_once(':') {
            match key.trim().to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse::<usize>().ok(),
                "x-timestamp" => timestamp_ns = parse_nanos(value.trim()),
                _ => {}
            }
        }
    }
    let length = length
        .filter(|&length| length <= MAX_IMAGE_BYTES)
        .ok_or_else(|| invalid("part without a usable Content-Length"))?;
    let mut jpeg = vec![0; length];
    reader.read_exact(&mut jpeg)?;
    Ok(Part { jpeg, timestamp_ns })
}

/// Decimal seconds to nanoseconds, without a detour through f64, which has no
/// microseconds left at UNIX time.
fn parse_nanos(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanos: i64 = digits.parse().ok()?;
    // The sign is not that of the whole seconds, which may be none.
    let nanos = if whole.starts_with('-') {
        -nanos
    } else {
        nanos
    };
    let whole: i64 = whole.parse().ok()?;
    whole.checked_mul(1_000_000_000)?.checked_add(nanos)
}

fn read_line(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = Vec::new();
    let count = reader
        .by_ref()
        .take(MAX_LINE_BYTES)
        .read_until(b'\n', &mut line)?;
    if count == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Whether this is a JPEG from start to end marker.
pub fn is_whole_jpeg(jpeg: &[u8]) -> bool {
    jpeg.len() > 4 && jpeg.starts_with(&[0xFF, 0xD8]) && jpeg.ends_with(&[0xFF, 0xD9])
}

#[derive(Debug, Clone, Copy)]
struct Meta {
    arrival: HostTime,
    timestamp_ns: Option<i64>,
}

/// The backend: one HTTP connection.
struct HttpBackend {
    url: String,
    info: CameraInfo,
    format: CameraFormat,
    reader: Option<BufReader<TcpStream>>,
    image: Vec<u8>,
    /// Beside nokhwa's buffer, which has no room for it.
    meta: Arc<Mutex<Option<Meta>>>,
}

impl HttpBackend {
    fn new(url: &str, mode: &CameraMode, meta: Arc<Mutex<Option<Meta>>>) -> Self {
        let resolution = Resolution::new(mode.width, mode.height);
        Self {
            url: url.to_owned(),
            info: CameraInfo::new(
                url,
                "MJPEG over HTTP",
                "",
                CameraIndex::String(url.to_owned()),
            ),
            format: CameraFormat::new(resolution, FrameFormat::MJPEG, mode.fps.round() as u32),
            reader: None,
            image: Vec::new(),
            meta,
        }
    }

    fn connect(&self) -> Result<BufReader<TcpStream>, String> {
        let rest = self
            .url
            .strip_prefix("http://")
            .ok_or("not a URL that starts with http://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address = if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let address = address
            .to_socket_addrs()
            .map_err(|error| error.to_string())?
            .next()
            .ok_or("host has no address")?;
        let mut stream =
            TcpStream::connect_timeout(&address, TIMEOUT).map_err(|error| error.to_string())?;
        stream
            .set_read_timeout(Some(TIMEOUT))
            .map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        write!(
            stream,
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        .map_err(|error| error.to_string())?;
        let mut reader = BufReader::with_capacity(1 << 18, stream);
        let status = read_line(&mut reader).map_err(|error| error.to_string())?;
        if status.split_whitespace().nth(1) != Some("200") {
            return Err(format!("server answers `{status}`, expected 200"));
        }
        let mut multipart = false;
        loop {
            let line = read_line(&mut reader).map_err(|error| error.to_string())?;
            if line.is_empty() {
                break;
            }
            multipart |= line
                .to_ascii_lowercase()
                .contains("multipart/x-mixed-replace");
        }
        if !multipart {
            return Err("answer is not multipart/x-mixed-replace".to_owned());
        }
        Ok(reader)
    }
}

fn unsupported(operation: &str) -> NokhwaError {
    NokhwaError::NotImplementedError(format!("{operation}: the stream's sender decides"))
}

impl CaptureBackendTrait for HttpBackend {
    fn backend(&self) -> ApiBackend {
        ApiBackend::Network
    }

    fn camera_info(&self) -> &CameraInfo {
        &self.info
    }

    fn refresh_camera_format(&mut self) -> Result<(), NokhwaError> {
        Ok(())
    }

    fn camera_format(&self) -> CameraFormat {
        self.format
    }

    fn set_camera_format(&mut self, _: CameraFormat) -> Result<(), NokhwaError> {
        Err(unsupported("set format"))
    }

    fn compatible_list_by_resolution(
        &mut self,
        _: FrameFormat,
    ) -> Result<HashMap<Resolution, Vec<u32>>, NokhwaError> {
        Ok([(self.format.resolution(), vec![self.format.frame_rate()])].into())
    }

    fn compatible_fourcc(&mut self) -> Result<Vec<FrameFormat>, NokhwaError> {
        Ok(vec![FrameFormat::MJPEG])
    }

    fn resolution(&self) -> Resolution {
        self.format.resolution()
    }

    fn set_resolution(&mut self, _: Resolution) -> Result<(), NokhwaError> {
        Err(unsupported("set resolution"))
    }

    fn frame_rate(&self) -> u32 {
        self.format.frame_rate()
    }

    fn set_frame_rate(&mut self, _: u32) -> Result<(), NokhwaError> {
        Err(unsupported("set rate"))
    }

    fn frame_format(&self) -> FrameFormat {
        FrameFormat::MJPEG
    }

    fn set_frame_format(&mut self, _: FrameFormat) -> Result<(), NokhwaError> {
        Err(unsupported("set pixel format"))
    }

    fn camera_control(&self, _: KnownCameraControl) -> Result<CameraControl, NokhwaError> {
        Err(unsupported("read control"))
    }

    fn camera_controls(&self) -> Result<Vec<CameraControl>, NokhwaError> {
        Ok(Vec::new())
    }

    fn set_camera_control(
        &mut self,
        _: KnownCameraControl,
        _: ControlValueSetter,
    ) -> Result<(), NokhwaError> {
        Err(unsupported("set control"))
    }

    fn open_stream(&mut self) -> Result<(), NokhwaError> {
        self.reader = Some(self.connect().map_err(NokhwaError::OpenStreamError)?);
        Ok(())
    }

    fn is_stream_open(&self) -> bool {
        self.reader.is_some()
    }

    fn frame(&mut self) -> Result<Buffer, NokhwaError> {
        let resolution = self.resolution();
        let image = self.frame_raw()?;
        Ok(Buffer::new(resolution, &image, FrameFormat::MJPEG))
    }

    fn frame_raw(&mut self) -> Result<Cow<'_, [u8]>, NokhwaError> {
        let reader = self
            .reader
            .as_mut()
            .ok_or_else(|| NokhwaError::ReadFrameError("stream is not open".to_owned()))?;
        let part =
            read_part(reader).map_err(|error| NokhwaError::ReadFrameError(error.to_string()))?;
        let meta = Meta {
            arrival: HostTime::now(),
            timestamp_ns: part.timestamp_ns,
        };
        *self.meta.lock().unwrap_or_else(PoisonError::into_inner) = Some(meta);
        self.image = part.jpeg;
        Ok(Cow::Borrowed(&self.image))
    }

    fn stop_stream(&mut self) -> Result<(), NokhwaError> {
        self.reader = None;
        Ok(())
    }
}

struct CameraSource {
    camera: Camera,
    meta: Arc<Mutex<Option<Meta>>>,
    stream: String,
    address: String,
    sequence: u64,
}

fn open(devices: &[Device]) -> Result<Box<dyn Source>, CaptureError> {
    let device = &devices[0];
    let mode = device.camera.clone().unwrap_or_default();
    let meta = Arc::new(Mutex::new(None));
    let backend = HttpBackend::new(&device.address, &mode, meta.clone());
    let mut camera = Camera::with_custom(
        CameraIndex::String(device.address.clone()),
        ApiBackend::Network,
        Box::new(backend),
    );
    camera.open_stream().map_err(|error| CaptureError::Open {
        stream: device.stream.clone(),
        address: device.address.clone(),
        problem: error.to_string(),
        next: "open the address in a browser: it should show moving pictures".to_owned(),
    })?;
    Ok(Box::new(CameraSource {
        camera,
        meta,
        stream: device.stream.clone(),
        address: device.address.clone(),
        sequence: 0,
    }))
}

impl Source for CameraSource {
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError> {
        let buffer = self.camera.frame().map_err(|error| CaptureError::Gone {
            stream: self.stream.clone(),
            address: self.address.clone(),
            problem: error.to_string(),
        })?;
        let meta = self
            .meta
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .unwrap_or(Meta {
                arrival: HostTime::now(),
                timestamp_ns: None,
            });
        if !is_whole_jpeg(buffer.buffer()) {
            out.lost(0, "truncated", 1, meta.arrival);
            return Ok(());
        }
        out.sample(
            0,
            Sample {
                arrival: meta.arrival,
                captured: None,
                device: meta.timestamp_ns.map(DeviceTime::from_nanos),
                sent: None,
                // Microseconds, as the header carries them.
                ticks: meta.timestamp_ns.map(|nanos| (nanos / 1000) as u64),
                sequence: self.sequence,
                suspect: 0,
                data: Data::Image(Image::jpeg(buffer.buffer_bytes())),
                raw: None,
            },
        );
        self.sequence += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_come_back_byte_for_byte_with_their_times() {
        let jpeg = [0xFF, 0xD8, b'\r', b'\n', b'-', b'-', b'x', 0xFF, 0xD9];
        let wire = [
            encode_part(&jpeg, Some(1_700_000_000.123456)),
            encode_part(&jpeg, None),
        ]
        .concat();
        let mut reader = BufReader::new(&wire[..]);
        let first = read_part(&mut reader).expect("first part");
        assert_eq!(first.jpeg, jpeg);
        assert_eq!(
            first.timestamp_ns.expect("a stamp") / 1000,
            1_700_000_000_123_456
        );
        assert_eq!(
            read_part(&mut reader).expect("second part").timestamp_ns,
            None
        );
        assert!(read_part(&mut reader).is_err());
    }

    #[test]
    fn a_time_that_is_no_number_is_none() {
        for text in ["1.-5", "1.+5", "1.5x", "1.123456789x", "x", "", ".5", "9e9"] {
            assert_eq!(parse_nanos(text), None, "{text}");
        }
        assert_eq!(parse_nanos("-0.5"), Some(-500_000_000));
        assert_eq!(parse_nanos("-1.5"), Some(-1_500_000_000));
        assert_eq!(parse_nanos("7"), Some(7_000_000_000));
        assert_eq!(parse_nanos("1.1234567899"), Some(1_123_456_789));
    }

    #[test]
    fn a_jpeg_that_was_cut_is_not_whole() {
        assert!(is_whole_jpeg(&[0xFF, 0xD8, 1, 2, 0xFF, 0xD9]));
        assert!(!is_whole_jpeg(&[0xFF, 0xD8, 1, 2, 3, 4]));
        assert!(!is_whole_jpeg(&[]));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = BufReader::new(&bytes[..]);
            while read_part(&mut reader).is_ok() {}
        }

        #[test]
        fn decimal_seconds_keep_their_microseconds(seconds in 0_i64..4_000_000_000, micros in 0_i64..1_000_000) {
            let text = format!("{seconds}.{micros:06}");
            prop_assert_eq!(parse_nanos(&text), Some(seconds * 1_000_000_000 + micros * 1_000));
        }
    }
}
