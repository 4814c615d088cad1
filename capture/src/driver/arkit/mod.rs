//! A phone with an app of one's own that sends ARKit's poses with ARKit's time
//! stamps, its images, and its inertial sensors over UDP.
//! (`docs/arkit-packet.md` has the packet and a sender in Swift.)

mod images;
pub mod packet;

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use bytes::Bytes;
use dexumi_episode::{ClockModel, Device, DeviceTime, HostTime, StreamKind};
use nix::sys::socket::{setsockopt, sockopt::RcvBuf};

use self::{
    images::{Done, Images},
    packet::{Datagram, Imu, Moment},
};
use super::{
    Data, Driver, Image, Item, Output, Sample, Source,
    axes::{is_pose, world_from_opengl_camera},
    intrinsics::Intrinsics,
    min_delay_ns,
    mjpeg_http::is_whole_jpeg,
    options::{Options, failed},
    order::{Order, Place},
};
use crate::error::CaptureError;

/// Between two questions for the time.
const ECHO_INTERVAL: Duration = Duration::from_secs(1);
/// An image is a hundred datagrams or more on end; the usual buffer of the system
/// holds about one. The system may give less (`net.core.rmem_max`).
const RECEIVE_BYTES: usize = 4 << 20;
/// After so long without its phone, the port is another's.
const PHONE_TIMEOUT: Duration = Duration::from_secs(2);

/// The registration.
pub const DRIVER: Driver = Driver {
    name: "arkit_udp",
    help: "Phone with an ARKit app that sends dexumi's packet over UDP: pose, image, inertial sensors",
    feeds: "/tracker/<name>/pose, /camera/<name>/image, /imu/<name>",
    can_feed: |topic| {
        matches!(
            StreamKind::of(topic),
            Some(StreamKind::Tracker { .. } | StreamKind::Camera { .. } | StreamKind::Imu { .. })
        )
    },
    clock: |device| {
        Some(ClockModel {
            tick_ns: 1_000,
            min_delay_ns: min_delay_ns(device),
        })
    },
    metadata: |device| {
        let clock = (
            "clock",
            "time since the phone's start (ARFrame.timestamp, CoreMotion)".to_owned(),
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
            Some(StreamKind::Imu { .. }) => {
                vec![clock, ("frame", "CoreMotion: the phone's".to_owned())]
            }
            _ => vec![clock, ("encoding", "JPEG as the app sent it".to_owned())],
        }
    },
    shares: true,
    counts_missing: true,
    keeps_packets: true,
    open,
};

struct ArkitSource {
    socket: UdpSocket,
    kinds: Vec<StreamKind>,
    /// Whose datagrams are taken, and when the last one came.
    phone: Option<(SocketAddr, Instant)>,
    session: Option<u32>,
    moments: Order,
    inertial: Order,
    images: Images,
    /// The last moment had an image.
    has_images: bool,
    intrinsics: Intrinsics,
    asked: Option<(u32, HostTime)>,
    questions: u32,
    last_question: Instant,
    buffer: Vec<u8>,
    stream: String,
    address: String,
}

fn open(devices: &[Device]) -> Result<Box<dyn Source>, CaptureError> {
    let device = &devices[0];
    Options::of(devices, &[])?;
    let socket = UdpSocket::bind(&device.address).and_then(|socket| {
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        // Less is no error: what does not fit is counted.
        let _ = setsockopt(&socket, RcvBuf, &RECEIVE_BYTES);
        Ok(socket)
    });
    let socket = socket.map_err(|error| {
        let next = "write the address to listen at, such as 0.0.0.0:7710, one port for each phone";
        failed(device, error.to_string(), next)
    })?;
    let kinds = devices
        .iter()
        .filter_map(|device| StreamKind::of(&device.stream));
    Ok(Box::new(ArkitSource {
        socket,
        kinds: kinds.collect(),
        phone: None,
        session: None,
        moments: Order::new(32),
        inertial: Order::new(32),
        images: Images::default(),
        has_images: false,
        intrinsics: Intrinsics::default(),
        asked: None,
        questions: 0,
        last_question: Instant::now(),
        buffer: vec![0; 65_536],
        stream: device.stream.clone(),
        address: device.address.clone(),
    }))
}

fn device_time(nanos: u64) -> Option<DeviceTime> {
    i64::try_from(nanos).ok().map(DeviceTime::from_nanos)
}

fn sample(timestamp_ns: u64, sent_ns: u64, sequence: u64, arrival: HostTime, data: Data) -> Sample {
    Sample {
        arrival,
        captured: None,
        device: device_time(timestamp_ns),
        sent: device_time(sent_ns),
        ticks: Some(timestamp_ns),
        sequence,
        suspect: 0,
        data,
        raw: None,
    }
}

impl ArkitSource {
    /// Streams of a kind.
    fn streams(&self, fits: impl Fn(&StreamKind) -> bool) -> Vec<usize> {
        let kinds = self.kinds.iter().enumerate();
        kinds
            .filter(|(_, kind)| fits(kind))
            .map(|(stream, _)| stream)
            .collect()
    }

    fn cameras(&self) -> Vec<usize> {
        self.streams(|kind| matches!(kind, StreamKind::Camera { .. }))
    }

    fn trackers(&self) -> Vec<usize> {
        self.streams(|kind| matches!(kind, StreamKind::Tracker { .. }))
    }

    /// Whether this sender is the phone that has the port.
    fn is_phone(&mut self, sender: SocketAddr) -> bool {
        let now = Instant::now();
        let other = self
            .phone
            .is_some_and(|(phone, last)| phone.ip() != sender.ip() && now - last < PHONE_TIMEOUT);
        if !other {
            self.phone = Some((sender, now));
        }
        !other
    }

    fn take(&mut self, count: usize, sender: SocketAddr, arrival: HostTime, out: &mut Output) {
        let bytes = &self.buffer[..count];
        let parsed = packet::parse(bytes);
        let head = Bytes::copy_from_slice(&bytes[..count.min(packet::MOMENT_BYTES)]);
        match parsed {
            // A phone's own cut datagram shows as a gap of its sequence.
            None => out.push(
                0,
                Item::Discarded {
                    bytes: count as u64,
                },
            ),
            Some(_) if !self.is_phone(sender) => {
                out.push(
                    0,
                    Item::Discarded {
                        bytes: count as u64,
                    },
                );
            }
            Some(Datagram::Moment(moment)) => self.moment(moment, head, arrival, out),
            Some(Datagram::Fragment(fragment)) => {
                if self
                    .session
                    .is_none_or(|session| session == fragment.session)
                {
                    let done = self.images.fragment(fragment, arrival);
                    self.finish(done, arrival, out);
                }
            }
            Some(Datagram::Imu(imu)) => self.imu(&imu, arrival, out),
            Some(Datagram::About { json }) => self.about(&json, out),
            Some(Datagram::EchoRequest { .. }) => {}
            Some(Datagram::EchoReply { number, now_ns }) => {
                if let (Some((asked, sent)), Some(device)) = (self.asked, device_time(now_ns))
                    && asked == number
                {
                    self.asked = None;
                    for stream in 0..self.kinds.len() {
                        out.push(
                            stream,
                            Item::Echo {
                                sent,
                                device,
                                received: arrival,
                            },
                        );
                    }
                }
            }
        }
    }

    fn moment(&mut self, moment: Moment, raw: Bytes, arrival: HostTime, out: &mut Output) {
        if self
            .session
            .replace(moment.session)
            .is_some_and(|session| session != moment.session)
        {
            let text = "the phone's AR session has begun anew: its world is another".to_owned();
            out.push(
                0,
                Item::Note {
                    warning: true,
                    text,
                },
            );
            self.moments = Order::new(32);
            let done = self.images.restart();
            self.finish(done, arrival, out);
        }
        let (cameras, trackers) = (self.cameras(), self.trackers());
        let place = self.moments.place(
            moment.sequence.into(),
            i64::try_from(moment.timestamp_ns).ok(),
        );
        let had_images = std::mem::replace(&mut self.has_images, moment.image_bytes > 0);
        match place {
            Place::Next { missing } => {
                trackers
                    .iter()
                    .for_each(|&stream| out.missing(stream, missing, arrival));
                if had_images {
                    cameras
                        .iter()
                        .for_each(|&stream| out.missing(stream, missing, arrival));
                }
            }
            Place::Restarted => {}
            Place::Repeated | Place::Late => {
                let kind = if place == Place::Late {
                    "late"
                } else {
                    "repeated"
                };
                trackers
                    .iter()
                    .for_each(|&stream| out.lost(stream, kind, 1, arrival));
                return;
            }
        }
        let mut raw = Some(raw);
        let position_m = moment.position_m.map(f64::from);
        let rotation_xyzw = moment.rotation_xyzw.map(f64::from);
        for stream in trackers {
            if !is_pose(&position_m, &rotation_xyzw) {
                out.lost(stream, "corrupt", 1, arrival);
                continue;
            }
            let pose = world_from_opengl_camera(position_m, rotation_xyzw);
            let data = Data::Pose {
                position_m: pose.translation.vector.into(),
                rotation_xyzw: pose.rotation.coords.into(),
                valid: moment.tracking == 2,
                mean_error_m: 0.0,
            };
            let sample = sample(
                moment.timestamp_ns,
                moment.sent_ns,
                moment.sequence.into(),
                arrival,
                data,
            );
            out.sample(
                stream,
                Sample {
                    raw: raw.take(),
                    ..sample
                },
            );
        }
        if moment.image_bytes > 0 && !cameras.is_empty() {
            for item in self.intrinsics.see(moment.intrinsics.map(f64::from)) {
                cameras
                    .iter()
                    .for_each(|&stream| out.push(stream, item.clone()));
            }
            let done = self.images.moment(moment, arrival);
            self.finish(done, arrival, out);
        }
    }

    fn finish(&mut self, done: Vec<Done>, arrival: HostTime, out: &mut Output) {
        let cameras = self.cameras();
        for done in done {
            for &stream in &cameras {
                match &done {
                    Done::Whole { moment, jpeg } if is_whole_jpeg(jpeg) => {
                        let exposure_ns = i64::from(moment.exposure_us) * 1000;
                        let image = Image {
                            exposure_ns: (exposure_ns > 0).then_some(exposure_ns),
                            ..Image::jpeg(jpeg.clone())
                        };
                        out.sample(
                            stream,
                            sample(
                                moment.timestamp_ns,
                                moment.sent_ns,
                                moment.sequence.into(),
                                arrival,
                                Data::Image(image),
                            ),
                        );
                    }
                    Done::Whole { .. } => out.lost(stream, "truncated", 1, arrival),
                    Done::Incomplete => out.lost(stream, "incomplete", 1, arrival),
                }
            }
        }
    }

    fn imu(&mut self, imu: &Imu, arrival: HostTime, out: &mut Output) {
        let streams = self.streams(|kind| matches!(kind, StreamKind::Imu { .. }));
        for (index, measured) in imu.samples.iter().enumerate() {
            let sequence = imu.sequence.wrapping_add(index as u32);
            let time_ns = i64::try_from(measured.timestamp_ns).ok();
            let lost = match self.inertial.place(sequence.into(), time_ns) {
                Place::Next { missing } => {
                    streams
                        .iter()
                        .for_each(|&stream| out.missing(stream, missing, arrival));
                    None
                }
                Place::Restarted => None,
                Place::Repeated => Some("repeated"),
                Place::Late => Some("late"),
            };
            for &stream in &streams {
                let data = Data::Imu {
                    acceleration_m_s2: measured.acceleration.map(f64::from),
                    angular_velocity_rad_s: measured.angular_velocity.map(f64::from),
                };
                match lost {
                    Some(kind) => out.lost(stream, kind, 1, arrival),
                    None => out.sample(
                        stream,
                        sample(
                            measured.timestamp_ns,
                            imu.sent_ns,
                            sequence.into(),
                            arrival,
                            data,
                        ),
                    ),
                }
            }
        }
    }

    fn about(&self, json: &[u8], out: &mut Output) {
        let object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(json);
        let Ok(object) = object else {
            return;
        };
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        let about: Vec<_> = object
            .into_iter()
            .map(|(key, value)| (key, text(value)))
            .collect();
        (0..self.kinds.len()).for_each(|stream| out.push(stream, Item::About(about.clone())));
    }

    /// Asks the phone for its time, now and then; an app that does not answer is
    /// fitted by arrivals alone.
    fn ask(&mut self) {
        let Some((phone, _)) = self.phone else {
            return;
        };
        if self.last_question.elapsed() >= ECHO_INTERVAL {
            self.last_question = Instant::now();
            self.questions = self.questions.wrapping_add(1);
            let question = packet::encode(&Datagram::EchoRequest {
                number: self.questions,
            });
            self.asked = Some((self.questions, HostTime::now()));
            // A phone that is gone shows by its silence.
            let _ = self.socket.send_to(&question, phone);
        }
    }
}

impl Source for ArkitSource {
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError> {
        self.ask();
        match self.socket.recv_from(&mut self.buffer) {
            Ok((count, sender)) => self.take(count, sender, HostTime::now(), out),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock
                | ErrorKind::TimedOut
                | ErrorKind::Interrupted
                | ErrorKind::ConnectionRefused => {}
                _ => {
                    return Err(CaptureError::Gone {
                        stream: self.stream.clone(),
                        address: self.address.clone(),
                        problem: error.to_string(),
                    });
                }
            },
        }
        let now = HostTime::now();
        let done = self.images.expire(now);
        self.finish(done, now, out);
        Ok(())
    }
}
