//! Cameras, trackers and gloves behind other software: a bridge is a small program
//! that speaks the vendor's SDK on one side and our packet on the other. The
//! driver starts it, or connects to one that listens.
//! (`docs/bridge-packet.md`; `bridges/` has bridges and the Python side.)

mod hello;
mod image;
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
    payload::{Hello, StreamHello, Take},
};
use super::{
    Data, Driver, Image, Item, Output, Sample, Source,
    background::Background,
    depth::Clipped,
    intrinsics::Intrinsics,
    min_delay_ns,
    order::{Order, Place},
};
use crate::error::CaptureError;

/// A device may need to boot before its bridge can say what it has.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two questions for the time.
const ECHO_INTERVAL: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 256 << 10;

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
    order: Order,
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
        let place = hello::choose(device, &hello)
            .map_err(|(problem, next)| failed(device, problem, &next))?;
        let chosen = hello.streams[place].clone();
        source.first.push((entry, hello::about(&hello, &chosen)));
        source.fed.push(Fed {
            place: place as u16,
            hello: chosen,
            order: Order::new(64),
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
            while let Some(found) = self.parser.pull() {
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
                if let Some(about) = hello::facts(&packet.payload) {
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
                    let place = (packet.sequence, packet.device_ns);
                    if self.count(entry, place, arrival, out) {
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

    /// Hands on what is no sample, in order with the samples.
    fn tell(&self, entry: usize, item: Item, out: &mut Output) {
        match self.fed[entry].hello.kind == "depth" {
            true => self.background.push(entry, item, out),
            false => out.push(entry, item),
        }
    }

    fn lost(&self, entry: usize, kind: &'static str, at: HostTime, out: &mut Output) {
        let count = 1;
        self.tell(entry, Item::Lost { kind, count, at }, out);
    }

    /// Follows a stream's sequence; `false` for a sample that came before.
    fn count(
        &mut self,
        entry: usize,
        (sequence, device_ns): (u64, Option<i64>),
        at: HostTime,
        out: &mut Output,
    ) -> bool {
        match self.fed[entry].order.place(sequence, device_ns) {
            Place::Next { missing: 0 } | Place::Restarted => true,
            Place::Next { missing: count } => {
                self.tell(entry, Item::Missing { count, at }, out);
                true
            }
            Place::Repeated => {
                self.lost(entry, "repeated", at, out);
                false
            }
            Place::Late => {
                self.lost(entry, "late", at, out);
                false
            }
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
                image::image(packet, &fed.hello).map(|(head, image)| {
                    let seen = fed.intrinsics.see(head.intrinsics.map(f64::from));
                    seen.into_iter().for_each(|item| out.push(entry, item));
                    Data::Image(image)
                })
            }
            (Some(Kind::Depth), "depth") => {
                let sample = sample(Data::Image(Image::jpeg(Bytes::new())));
                match image::depth_work(packet, sample, self.clipped[entry].clone()) {
                    None => self.lost(entry, "corrupt", arrival, out),
                    Some(work) => {
                        if !self.background.run(entry, work) {
                            self.lost(entry, "too_slow", arrival, out);
                        }
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
            _ => return self.lost(entry, "unknown_kind", arrival, out),
        };
        match made {
            Some(data) => out.sample(entry, sample(data)),
            None => self.lost(entry, "corrupt", arrival, out),
        }
    }
}

fn wrong_version(version: u8) -> String {
    format!(
        "it speaks version {version} of the packet, expected {}",
        packet::VERSION
    )
}

impl Source for BridgeSource {
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError> {
        for (entry, item) in self.first.drain(..) {
            out.push(entry, item);
        }
        self.ask();
        let received = self.receive();
        if let Ok(Some(arrival)) = received {
            while let Some(found) = self.parser.pull() {
                match found {
                    Found::Packet(packet) => self.take(packet, arrival, out),
                    // Of an order or a sentence nothing is counted.
                    Found::Damaged {
                        stream: NO_STREAM, ..
                    } => {}
                    Found::Damaged { stream, sequence } => {
                        let entries: Vec<usize> = self.entries(stream).collect();
                        for entry in entries {
                            if self.count(entry, (sequence, None), arrival, out) {
                                self.lost(entry, "corrupt", arrival, out);
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
