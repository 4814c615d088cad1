//! iPhone or iPad with the app Record3D, over USB: image, pose and depth in one
//! packet. Speaks to usbmuxd itself; no vendor library.
//!
//! The packets carry no time stamp and no number: samples are dated by arrival, and
//! losses are found by the rate alone.

pub mod protocol;
pub mod usbmux;

use std::{
    io::{ErrorKind, Read},
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use dexumi_episode::{Device, HostTime, StreamKind};

use self::protocol::{Framer, LIDAR, Packet, TRUE_DEPTH};
use super::{
    Data, Driver, Image, Item, Output, Sample, Source,
    background::Background,
    depth::{self, Clipped},
    intrinsics::Intrinsics,
    mjpeg_http::is_whole_jpeg,
    options::Options,
};
use crate::error::CaptureError;

const READ_TIMEOUT: Duration = Duration::from_millis(50);
const READ_BYTES: usize = 256 << 10;

/// The registration.
pub const DRIVER: Driver = Driver {
    name: "record3d",
    help: "iPhone or iPad with the app Record3D 1.10 or newer, over USB: image, pose, depth",
    feeds: "/camera/<name>/image, /camera/<name>/depth, /tracker/<name>/pose",
    can_feed: |topic| {
        matches!(
            StreamKind::of(topic),
            Some(StreamKind::Camera { .. } | StreamKind::Depth { .. } | StreamKind::Tracker { .. })
        )
    },
    clock: |_| None,
    metadata: |device| {
        let clock = (
            "clock",
            "none: the app sends no time stamp, dated by arrival".to_owned(),
        );
        match StreamKind::of(&device.stream) {
            Some(StreamKind::Tracker { .. }) => vec![
                clock,
                (
                    "frame",
                    "ARKit world, turned from y up to z up; camera axes turned from OpenGL"
                        .to_owned(),
                ),
            ],
            Some(StreamKind::Depth { .. }) => {
                vec![
                    clock,
                    ("encoding", "millimetres, from LZFSE f32 metres".to_owned()),
                ]
            }
            _ => vec![clock, ("encoding", "JPEG as the app sent it".to_owned())],
        }
    },
    shares: true,
    counts_missing: false,
    keeps_packets: true,
    open,
};

struct Record3dSource {
    socket: UnixStream,
    framer: Framer,
    kinds: Vec<StreamKind>,
    sequence: u64,
    intrinsics: Intrinsics,
    background: Background,
    clipped: Arc<Clipped>,
    buffer: Vec<u8>,
    /// What was learnt while opening.
    first: Vec<Item>,
    device_type: Option<u32>,
    stream: String,
    address: String,
}

fn open(devices: &[Device]) -> Result<Box<dyn Source>, CaptureError> {
    let device = &devices[0];
    let failed = |problem: String, next: &str| CaptureError::Open {
        stream: device.stream.clone(),
        address: device.address.clone(),
        problem,
        next: next.to_owned(),
    };
    let path = Options::of(devices, &["socket"])?.string("socket")?;
    let udid = device.address.strip_prefix("usbmuxd:").ok_or_else(|| {
        failed(
            "not a phone's address".to_owned(),
            "write usbmuxd:UDID, or usbmuxd: for the only phone",
        )
    })?;
    let next = "is the phone plugged in, unlocked and trusted, usbmuxd installed, Record3D in USB \
        streaming mode, and its record button pressed?";
    let path = Path::new(path.as_deref().unwrap_or(usbmux::SOCKET));
    let (socket, phone) =
        usbmux::dial(path, udid, protocol::PORT).map_err(|problem| failed(problem, next))?;
    let background = socket
        .set_read_timeout(Some(READ_TIMEOUT))
        .and_then(|()| Background::start("depth images"))
        .map_err(|error| failed(error.to_string(), "end some programs"))?;
    Ok(Box::new(Record3dSource {
        socket,
        framer: Framer::default(),
        kinds: devices
            .iter()
            .filter_map(|device| StreamKind::of(&device.stream))
            .collect(),
        sequence: 0,
        intrinsics: Intrinsics::default(),
        background,
        clipped: Arc::default(),
        buffer: vec![0; READ_BYTES],
        first: vec![Item::About(vec![("udid".to_owned(), phone.udid)])],
        device_type: None,
        stream: device.stream.clone(),
        address: device.address.clone(),
    }))
}

/// Without what an encoder may have padded it with.
fn trimmed(jpeg: &Bytes) -> Bytes {
    let padding = jpeg.iter().rev().take_while(|&&byte| byte == 0).count();
    jpeg.slice(..jpeg.len() - padding)
}

impl Record3dSource {
    fn gone(&self, problem: String) -> CaptureError {
        CaptureError::Gone {
            stream: self.stream.clone(),
            address: self.address.clone(),
            problem,
        }
    }

    fn say_of(&mut self, packet: &Packet, out: &mut Output) {
        if self.device_type != Some(packet.device_type) {
            self.device_type = Some(packet.device_type);
            let camera = match packet.device_type {
                TRUE_DEPTH => "TrueDepth (images are mirrored, there is no pose)".to_owned(),
                LIDAR => "LiDAR".to_owned(),
                other => format!("type {other}"),
            };
            let size = |[width, height]: [u32; 2]| format!("{width}x{height}");
            let about = [
                ("camera", camera),
                ("image_px", size(packet.image_size)),
                ("depth_px", size(packet.depth_size)),
                ("confidence_px", size(packet.confidence_size)),
            ];
            let about = about.map(|(key, value)| (key.to_owned(), value));
            self.first.push(Item::About(about.to_vec()));
        }
        self.first
            .extend(self.intrinsics.see(packet.intrinsics.map(f64::from)));
        for item in self.first.drain(..) {
            let everywhere = matches!(item, Item::About(_));
            let streams = if everywhere { self.kinds.len() } else { 1 };
            (0..streams).for_each(|stream| out.push(stream, item.clone()));
        }
    }

    fn take(&mut self, body: Bytes, arrival: HostTime, out: &mut Output) {
        let sequence = self.sequence;
        self.sequence += 1;
        let Some(packet) = protocol::parse(body) else {
            for (stream, kind) in self.kinds.iter().enumerate() {
                let lost = Item::Lost {
                    kind: "corrupt",
                    count: 1,
                    at: arrival,
                };
                match kind {
                    StreamKind::Depth { .. } => self.background.push(stream, lost, out),
                    _ => out.push(stream, lost),
                }
            }
            return;
        };
        self.say_of(&packet, out);
        // All that the streams do not hold: intrinsics of each image, confidences.
        let raw = [&packet.head[..], &packet.confidence, &packet.rest].concat();
        let mut raw = Some(Bytes::from(raw));
        for (stream, kind) in self.kinds.iter().enumerate() {
            let sample = |data, raw| Sample {
                arrival,
                captured: None,
                device: None,
                sent: None,
                ticks: None,
                sequence,
                suspect: 0,
                data,
                raw,
            };
            match kind {
                StreamKind::Camera { .. } => {
                    let jpeg = trimmed(&packet.jpeg);
                    match is_whole_jpeg(&jpeg) {
                        true => {
                            out.sample(stream, sample(Data::Image(Image::jpeg(jpeg)), raw.take()))
                        }
                        false => out.lost(stream, "truncated", 1, arrival),
                    }
                }
                StreamKind::Tracker { .. } => match protocol::world_from_camera(&packet) {
                    Some(pose) => {
                        let data = Data::Pose {
                            position_m: pose.translation.vector.into(),
                            rotation_xyzw: pose.rotation.coords.into(),
                            valid: packet.device_type == LIDAR,
                            mean_error_m: 0.0,
                        };
                        out.sample(stream, sample(data, raw.take()));
                    }
                    None => out.lost(stream, "corrupt", 1, arrival),
                },
                _ => {
                    let empty = Data::Image(Image::jpeg(Bytes::new()));
                    let work = depth_work(&packet, sample(empty, raw.take()), self.clipped.clone());
                    let taken = self.background.run(stream, work);
                    out.lost(stream, "too_slow", u64::from(!taken), arrival);
                }
            }
        }
    }
}

/// Unpacking a depth image and packing it anew, for another thread.
fn depth_work(
    packet: &Packet,
    mut sample: Sample,
    clipped: Arc<Clipped>,
) -> impl FnOnce() -> Vec<Item> + Send + use<> {
    let (packed, size) = (packet.depth.clone(), packet.depth_size);
    move || {
        let image = protocol::unpack_depth(&packed, size)
            .and_then(|depths_m| depth::pack_metres(depths_m.into_iter(), size[0], size[1]).ok());
        match image {
            Some(packed) => {
                let mut items = clipped.see(packed.clipped);
                sample.data = Data::Image(packed.image);
                items.push(Item::Sample(sample));
                items
            }
            None => vec![Item::Lost {
                kind: "corrupt",
                count: 1,
                at: sample.arrival,
            }],
        }
    }
}

impl Source for Record3dSource {
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError> {
        let result = match self.socket.read(&mut self.buffer) {
            Ok(0) => Err(self.gone("unplugged, or the app has stopped streaming".to_owned())),
            Ok(count) => {
                let arrival = HostTime::now();
                self.framer.push(&self.buffer[..count]);
                loop {
                    match self.framer.pull() {
                        Ok(Some(body)) => self.take(body, arrival, out),
                        Ok(None) => break Ok(()),
                        Err(lost) => {
                            let problem = format!(
                                "a packet of {} bytes is announced, expected {} to {}; is it \
                                 Record3D 1.10 or newer?",
                                lost.body_bytes,
                                protocol::HEAD_BYTES,
                                protocol::MAX_BODY_BYTES
                            );
                            break Err(self.gone(problem));
                        }
                    }
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(()),
                _ => Err(self.gone(error.to_string())),
            },
        };
        self.background.fetch(out);
        result
    }
}
