//! Cameras, trackers and gloves behind other software: a bridge is a small program
//! that speaks the vendor's SDK on one side and our packet on the other. The
//! driver starts it, or connects to one that listens.
//! (`docs/bridge-packet.md`; `bridges/` has bridges and the Python side.)

mod link;
pub mod packet;
pub mod payload;

use std::{
    io::{ErrorKind, Read, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dexumi_episode::{ClockModel, Device, DeviceTime, HostTime, StreamKind};

use self::{
    link::Link,
    packet::{Found, Kind, NO_STREAM, Packet, Parser},
    payload::{Hello, ImageHead, StreamHello, Take},
};
use super::{
    Data, Driver, Image, ImageFormat, Item, Output, Sample, Source,
    background::Background,
    depth::{self, Clipped},
    intrinsics::Intrinsics,
    min_delay_ns,
    mjpeg_http::is_whole_jpeg,
};
use crate::error::CaptureError;

/// A device may need to boot before its bridge can say what it has.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two questions for the time.
const ECHO_INTERVAL: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 256 << 10;
/// A sequence that jumps further has started anew.
const MAX_GAP: u64 = 1_000_000;

/// The registration.
pub const DRIVER: Driver = Driver {
    name: "bridge",
    help: "Device behind another program (Luxonis OAK, RealSense, gloves): a bridge and its packet",
    feeds: "/camera/<name>/image, /camera/<name>/depth, /imu/<name>, /tracker/<name>/pose, \
        /glove/<side>/keypoints",
    can_feed: |topic| StreamKind::of(topic).is_some_and(|kind| !kinds(&kind).is_empty()),
    // Nanoseconds as the bridge gives them; holds where it gives any.
    clock: |device| {
        Some(ClockModel {
            tick_ns: 1_000,
            min_delay_ns: min_delay_ns(device),
        })
    },
    metadata: |_| {
        vec![(
            "clock",
            "as the bridge says, in the stream's device record".to_owned(),
        )]
    },
    shares: true,
    counts_missing: true,
    keeps_packets: false,
    open,
};

/// Kinds of a bridge's streams that can feed a stream of the rig.
fn kinds(stream: &StreamKind) -> &'static [&'static str] {
    match stream {
        StreamKind::Camera { .. } => &["jpeg", "raw"],
        StreamKind::Depth { .. } => &["depth"],
        StreamKind::Imu { .. } => &["imu"],
        StreamKind::Tracker { .. } => &["pose"],
        StreamKind::Keypoints { .. } => &["hand"],
        _ => &[],
    }
}

/// One entry of the rig and the bridge's stream that feeds it.
struct Fed {
    /// Its place in the hello.
    place: u16,
    hello: StreamHello,
    last_sequence: Option<u64>,
    intrinsics: Intrinsics,
}

struct BridgeSource {
    link: Link,
    parser: Parser,
    fed: Vec<Fed>,
    /// The bridge answers questions for the time.
    echo: bool,
    asked: Option<(u64, HostTime)>,
    questions: u64,
    last_question: Instant,
    background: Background,
    /// By entry of the rig.
    clipped: Vec<Arc<Clipped>>,
    buffer: Vec<u8>,
    /// What was learnt while opening.
    first: Vec<(usize, Item)>,
    last_warning: Option<String>,
    stream: String,
    address: String,
}

fn open(devices: &[Device]) -> Result<Box<dyn Source>, CaptureError> {
    let device = &devices[0];
    let failed = |device: &Device, problem: String, next: &str| CaptureError::Open {
        stream: device.stream.clone(),
        address: device.address.clone(),
        problem,
        next: next.to_owned(),
    };
    let link = link::open(devices)?;
    let background = Background::start("depth images")
        .map_err(|error| failed(device, error.to_string(), "end some programs"))?;
    let mut source = BridgeSource {
        link,
        parser: Parser::default(),
        fed: Vec::new(),
        echo: false,
        asked: None,
        questions: 0,
        last_question: Instant::now(),
        background,
        clipped: devices.iter().map(|_| Arc::default()).collect(),
        buffer: vec![0; READ_BYTES],
        first: Vec::new(),
        last_warning: None,
        stream: device.stream.clone(),
        address: device.address.clone(),
    };
    let hello = source
        .hello()
        .map_err(|problem| failed(device, problem, "try the bridge by hand: its page says how"))?;
    for (entry, device) in devices.iter().enumerate() {
        let place =
            choose(device, &hello).map_err(|(problem, next)| failed(device, problem, &next))?;
        let chosen = hello.streams[place].clone();
        source.first.push((entry, about(&hello, &chosen)));
        source.fed.push(Fed {
            place: place as u16,
            hello: chosen,
            last_sequence: None,
            intrinsics: Intrinsics::default(),
        });
    }
    source.echo = hello.echo;
    let streams = source.fed.iter().map(|fed| fed.place).collect();
    let take = serde_json::to_vec(&Take { streams }).expect("numbers are JSON");
    source
        .send(&Packet::new(Kind::Take, NO_STREAM, take))
        .map_err(|error| failed(device, error.to_string(), "is the bridge still running?"))?;
    Ok(Box::new(source))
}

/// The bridge's stream for an entry: by its name, or the only one of its kind.
fn choose(device: &Device, hello: &Hello) -> Result<usize, (String, String)> {
    let raw = device.camera.as_ref().is_some_and(|mode| mode.raw);
    let kinds: &[&str] = match StreamKind::of(&device.stream) {
        Some(StreamKind::Camera { .. }) if raw => &["raw"],
        Some(StreamKind::Camera { .. }) => &["jpeg"],
        Some(kind) => kinds(&kind),
        None => &[],
    };
    let fits: Vec<usize> = (0..hello.streams.len().min(usize::from(NO_STREAM)))
        .filter(|&place| kinds.contains(&hello.streams[place].kind.as_str()))
        .collect();
    let names: Vec<&str> = fits
        .iter()
        .map(|&place| hello.streams[place].name.as_str())
        .collect();
    let known = match names.is_empty() {
        true => format!(
            "`{}` has no stream of kind {}",
            hello.bridge,
            kinds.join(" or ")
        ),
        false => format!("it has: {}", names.join(", ")),
    };
    match (&device.source, &fits[..]) {
        (Some(source), _) => names
            .iter()
            .position(|name| name == source)
            .map(|index| fits[index])
            .ok_or_else(|| {
                let problem = format!(
                    "the bridge has no stream `{source}` of kind {}",
                    kinds.join(" or ")
                );
                (problem, known)
            }),
        (None, &[only]) => Ok(only),
        (None, []) => Err((known, "choose another bridge".to_owned())),
        (None, _) => Err((
            "the bridge has several such streams".to_owned(),
            format!("name one with `source`; {known}"),
        )),
    }
}

fn about(hello: &Hello, stream: &StreamHello) -> Item {
    let clock = hello.clock.as_deref().unwrap_or("none: dated by arrival");
    let mut about = vec![
        ("bridge", hello.bridge.clone()),
        ("clock", clock.to_owned()),
    ];
    about.push(("bridge_stream", stream.name.clone()));
    for (key, value) in [
        ("sequence", stream.sequence.clone()),
        ("frame", stream.frame.clone()),
        ("joints", stream.joints.join(",")),
    ] {
        if !value.is_empty() {
            about.push((key, value));
        }
    }
    Item::About(
        about
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

/// Text for people from a JSON object of a bridge.
fn about_of(payload: &[u8]) -> Option<Vec<(String, String)>> {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(payload).ok()?;
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Some(
        object
            .into_iter()
            .map(|(key, value)| (key, text(value)))
            .collect(),
    )
}

impl BridgeSource {
    fn send(&mut self, packet: &Packet) -> std::io::Result<()> {
        self.link.socket.write_all(&packet::encode(packet))
    }

    /// Reads once; `Ok(None)` when nothing came.
    fn receive(&mut self) -> Result<Option<HostTime>, String> {
        match self.link.socket.read(&mut self.buffer) {
            Ok(0) => Err(self.last_words()),
            Ok(count) => {
                let arrival = HostTime::now();
                self.parser.push(&self.buffer[..count]);
                Ok(Some(arrival))
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(None),
                ErrorKind::ConnectionReset => Err(self.last_words()),
                _ => Err(error.to_string()),
            },
        }
    }

    /// Why the bridge has gone, as far as it said so.
    fn last_words(&self) -> String {
        let words = match &self.link.child {
            Some(child) => child.last_words(),
            None => "the bridge has closed the connection".to_owned(),
        };
        match &self.last_warning {
            Some(warning) => format!("{words}; its last warning: {warning}"),
            None => words,
        }
    }

    fn gone(&self, problem: String) -> CaptureError {
        CaptureError::Gone {
            stream: self.stream.clone(),
            address: self.address.clone(),
            problem,
        }
    }

    fn hello(&mut self) -> Result<Hello, String> {
        let end = Instant::now() + HELLO_TIMEOUT;
        while Instant::now() < end {
            self.receive()?;
            while let Some(found) = self.parser.next() {
                match found {
                    Found::Packet(packet) if packet.kind == Kind::Hello as u8 => {
                        return serde_json::from_slice(&packet.payload)
                            .map_err(|error| format!("its hello is not understood ({error})"));
                    }
                    Found::Packet(packet) if packet.kind == Kind::Log as u8 => {
                        let note = self.note(&packet);
                        self.first.push((0, note));
                    }
                    Found::Version(version) => return Err(wrong_version(version)),
                    _ => {}
                }
            }
        }
        Err(format!(
            "no hello came within {} s",
            HELLO_TIMEOUT.as_secs()
        ))
    }

    fn note(&mut self, packet: &Packet) -> Item {
        let text = String::from_utf8_lossy(&packet.payload).into_owned();
        if packet.warning {
            self.last_warning = Some(text.clone());
        }
        Item::Note {
            warning: packet.warning,
            text,
        }
    }

    /// Asks the bridge for its time, now and then.
    fn ask(&mut self) {
        if self.echo && self.last_question.elapsed() >= ECHO_INTERVAL {
            self.last_question = Instant::now();
            self.questions += 1;
            let question = Packet {
                sequence: self.questions,
                ..Packet::new(Kind::EchoRequest, NO_STREAM, Vec::new())
            };
            self.asked = Some((self.questions, HostTime::now()));
            // A connection that is gone shows when it is read.
            let _ = self.send(&question);
        }
    }

    fn take(&mut self, packet: Packet, arrival: HostTime, out: &mut Output) {
        match Kind::of(packet.kind) {
            Some(Kind::EchoReply) => {
                if let (Some((number, sent)), Some(device_ns)) = (self.asked, packet.device_ns)
                    && number == packet.sequence
                {
                    self.asked = None;
                    for entry in 0..self.fed.len() {
                        out.push(
                            entry,
                            Item::Echo {
                                sent,
                                device: DeviceTime::from_nanos(device_ns),
                                received: arrival,
                            },
                        );
                    }
                }
            }
            Some(Kind::Log) => {
                let entry = self.entries(packet.stream).next().unwrap_or(0);
                let note = self.note(&packet);
                out.push(entry, note);
            }
            Some(Kind::About) => {
                if let Some(about) = about_of(&packet.payload) {
                    for entry in self.entries(packet.stream) {
                        out.push(entry, Item::About(about.clone()));
                    }
                }
            }
            Some(Kind::Hello | Kind::Take | Kind::EchoRequest) => {}
            Some(_) | None => {
                // A stream may feed two entries of the rig.
                let entries: Vec<usize> = match packet.stream {
                    NO_STREAM => Vec::new(),
                    place => self.entries(place).collect(),
                };
                for entry in entries {
                    if self.count(entry, packet.sequence, arrival, out) {
                        self.sample(entry, &packet, arrival, out);
                    }
                }
            }
        }
    }

    /// Entries of the rig that a stream of the bridge feeds; all for the bridge
    /// as a whole.
    fn entries(&self, place: u16) -> impl Iterator<Item = usize> + use<'_> {
        let fed = self.fed.iter().enumerate();
        fed.filter(move |(_, fed)| place == NO_STREAM || fed.place == place)
            .map(|(entry, _)| entry)
    }

    /// Follows a stream's sequence; `false` for a sample that came before.
    fn count(&mut self, entry: usize, sequence: u64, arrival: HostTime, out: &mut Output) -> bool {
        let fed = &mut self.fed[entry];
        match fed.last_sequence.replace(sequence) {
            Some(last) if sequence == last => {
                out.lost(entry, "repeated", 1, arrival);
                false
            }
            // A device that starts anew counts from 0 again; that is no loss.
            Some(last) if sequence > last && sequence - last < MAX_GAP => {
                out.missing(entry, sequence - last - 1, arrival);
                true
            }
            _ => true,
        }
    }

    fn sample(&mut self, entry: usize, packet: &Packet, arrival: HostTime, out: &mut Output) {
        let sample = |data| Sample {
            arrival,
            captured: None,
            device: packet.device_ns.map(DeviceTime::from_nanos),
            sent: packet
                .device_ns
                .and(packet.sent_ns)
                .map(DeviceTime::from_nanos),
            ticks: packet.device_ns.map(i64::cast_unsigned),
            sequence: packet.sequence,
            suspect: 0,
            data,
            raw: None,
        };
        let fed = &mut self.fed[entry];
        let made = match (Kind::of(packet.kind), fed.hello.kind.as_str()) {
            (Some(Kind::Jpeg), "jpeg") | (Some(Kind::Raw), "raw") => {
                image(packet, &fed.hello).map(|(head, image)| {
                    let seen = fed.intrinsics.see(head.intrinsics.map(f64::from));
                    seen.into_iter().for_each(|item| out.push(entry, item));
                    Data::Image(image)
                })
            }
            (Some(Kind::Depth), "depth") => {
                let sample = sample(Data::Image(Image::jpeg(Bytes::new())));
                match depth_work(packet, sample, self.clipped[entry].clone()) {
                    None => out.lost(entry, "corrupt", 1, arrival),
                    Some(work) => {
                        let taken = self.background.run(entry, work);
                        out.lost(entry, "too_slow", u64::from(!taken), arrival);
                    }
                }
                return;
            }
            (Some(Kind::Imu), "imu") => {
                payload::decode_imu(packet.payload.clone()).map(|(a, w)| Data::Imu {
                    acceleration_m_s2: a,
                    angular_velocity_rad_s: w,
                })
            }
            (Some(Kind::Pose), "pose") => {
                payload::decode_pose(packet.payload.clone()).map(|pose| Data::Pose {
                    position_m: pose.position_m,
                    rotation_xyzw: pose.rotation_xyzw,
                    valid: packet.valid,
                    mean_error_m: pose.mean_error_m,
                })
            }
            (Some(Kind::Hand), "hand") => payload::decode_hand(packet.payload.clone(), &fed.hello)
                .map(|(points_m, joints)| Data::Keypoints {
                    points_m,
                    joints,
                    valid: packet.valid,
                }),
            _ => return out.lost(entry, "unknown_kind", 1, arrival),
        };
        match made {
            Some(data) => out.sample(entry, sample(data)),
            None => out.lost(entry, "corrupt", 1, arrival),
        }
    }
}

fn wrong_version(version: u8) -> String {
    format!(
        "it speaks version {version} of the packet, expected {}",
        packet::VERSION
    )
}

fn exposure_ns(packet: &Packet) -> Option<i64> {
    packet.exposure_us.map(|micros| i64::from(micros) * 1000)
}

/// The image of a packet, if it is one.
fn image(packet: &Packet, hello: &StreamHello) -> Option<(ImageHead, Image)> {
    let (head, data) = payload::decode_image(packet.payload.clone())?;
    let format = match packet.kind == Kind::Jpeg as u8 {
        true => is_whole_jpeg(&data).then_some(ImageFormat::Jpeg)?,
        false => {
            let encoding = payload::encoding(&hello.encoding)?;
            payload::fits(encoding, &head, data.len()).then_some(ImageFormat::Raw {
                encoding,
                width: head.width,
                height: head.height,
                step: head.step,
            })?
        }
    };
    let image = Image {
        data,
        format,
        exposure_ns: exposure_ns(packet),
    };
    Some((head, image))
}

/// Packing a depth image, for another thread.
fn depth_work(
    packet: &Packet,
    mut sample: Sample,
    clipped: Arc<Clipped>,
) -> Option<impl FnOnce() -> Vec<Item> + Send + use<>> {
    let (head, data) = payload::decode_image(packet.payload.clone())?;
    let whole = u64::from(head.step) == 2 * u64::from(head.width)
        && payload::fits("mono16", &head, data.len());
    if !whole || !(1e-6..=1.0).contains(&head.unit_m) {
        return None;
    }
    let exposure_ns = exposure_ns(packet);
    Some(move || {
        let packed = depth::pack_units(&data, head.unit_m, head.width, head.height);
        match packed {
            Ok(packed) => {
                let mut items = clipped.see(packed.clipped);
                sample.data = Data::Image(Image {
                    exposure_ns,
                    ..packed.image
                });
                items.push(Item::Sample(sample));
                items
            }
            Err(_) => vec![Item::Lost {
                kind: "corrupt",
                count: 1,
                at: sample.arrival,
            }],
        }
    })
}

impl Source for BridgeSource {
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError> {
        for (entry, item) in self.first.drain(..) {
            out.push(entry, item);
        }
        self.ask();
        let received = self.receive();
        if let Ok(Some(arrival)) = received {
            while let Some(found) = self.parser.next() {
                match found {
                    Found::Packet(packet) => self.take(packet, arrival, out),
                    // Of an order or a sentence nothing is counted.
                    Found::Damaged {
                        stream: NO_STREAM, ..
                    } => {}
                    Found::Damaged { stream, sequence } => {
                        let entries: Vec<usize> = self.entries(stream).collect();
                        for entry in entries {
                            if self.count(entry, sequence, arrival, out) {
                                out.lost(entry, "corrupt", 1, arrival);
                            }
                        }
                    }
                    Found::Version(version) => return Err(self.gone(wrong_version(version))),
                    Found::Discarded(bytes) => out.push(0, Item::Discarded { bytes }),
                }
            }
        }
        self.background.fetch(out);
        received.map(drop).map_err(|problem| self.gone(problem))
    }
}

#[cfg(test)]
mod tests;
