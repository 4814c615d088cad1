//! An open socket: hands each packet to the stream that it names.

use std::{
    collections::{BTreeSet, VecDeque},
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use bytes::Bytes;
use dexumi_episode::{Device, DeviceTime, HostTime, StreamKind};

use super::{Format, Message, Packet, Payload, Settings};
use crate::{
    driver::{
        Data, Item, Output, Sample, Source,
        axes::{is_point, is_pose},
        order::{Order, Place},
    },
    error::CaptureError,
};

pub(super) const WAIT: Duration = Duration::from_millis(100);
const ECHO: Duration = Duration::from_secs(1);
/// A sender that answers none of so many questions is not asked again.
const PATIENCE: u32 = 5;
/// Questions that wait for an answer.
const MAX_ASKED: usize = 8;
/// Keypoints of a hand.
const KEYPOINTS: usize = 21;
/// Different complaints that go into the log.
const MAX_COMPLAINTS: usize = 20;

struct Stream {
    kind: Option<StreamKind>,
    /// The sender's names for it.
    names: Vec<String>,
    order: Order,
    /// Counted here, where the sender does not.
    counted: u64,
    /// Who sent its last packet.
    sender: Option<SocketAddr>,
    /// That it has no number, or no time, has been said.
    said: [bool; 2],
}

/// Somebody who is asked for the time.
struct Asked {
    sender: SocketAddr,
    number: u64,
    at: HostTime,
}

pub(super) struct UdpSource {
    socket: UdpSocket,
    format: &'static Format,
    settings: Settings,
    streams: Vec<Stream>,
    buffer: Vec<u8>,
    asked: VecDeque<Asked>,
    next_echo: Instant,
    /// Who has left how many questions unanswered.
    silent: Vec<(SocketAddr, u32)>,
    complaints: BTreeSet<String>,
    first: Device,
}

impl UdpSource {
    pub fn new(
        socket: UdpSocket,
        format: &'static Format,
        settings: Settings,
        devices: &[Device],
    ) -> Self {
        let streams = devices.iter().map(|device| {
            let kind = StreamKind::of(&device.stream);
            let names = match &device.source {
                Some(source) => vec![source.clone()],
                None => names(&device.stream, kind.as_ref()),
            };
            Stream {
                kind,
                names,
                order: Order::new(64),
                counted: 0,
                sender: None,
                said: [false; 2],
            }
        });
        Self {
            socket,
            format,
            settings,
            streams: streams.collect(),
            buffer: vec![0; 65_536],
            asked: VecDeque::new(),
            next_echo: Instant::now(),
            silent: Vec::new(),
            complaints: BTreeSet::new(),
            first: devices[0].clone(),
        }
    }

    /// Says a thing once.
    fn complain(&mut self, stream: usize, text: String, out: &mut Output) {
        if self.complaints.len() < MAX_COMPLAINTS && self.complaints.insert(text.clone()) {
            let warning = true;
            out.push(stream, Item::Note { warning, text });
        }
    }

    fn take(&mut self, count: usize, sender: SocketAddr, arrival: HostTime, out: &mut Output) {
        let messages = match (self.format.parse)(&self.buffer[..count]) {
            Ok(messages) => messages,
            Err(problem) => {
                // Whose it was meant to be is not known.
                out.lost(0, "unreadable", 1, arrival);
                let text = format!("a packet from {} cannot be read: {problem}", sender.ip());
                return self.complain(0, text, out);
            }
        };
        let mut raw = Some(Bytes::copy_from_slice(&self.buffer[..count]));
        for message in messages {
            match message {
                Message::Sample(packet) => self.sample(packet, sender, arrival, &mut raw, out),
                Message::Echo { number, time_ns } => {
                    self.echo(number, time_ns, sender, arrival, out);
                }
                Message::About { name, about } => {
                    for stream in self.named(&name) {
                        out.push(stream, Item::About(about.clone()));
                    }
                }
            }
        }
    }

    fn named(&self, name: &str) -> Vec<usize> {
        let is_named = |index: &usize| self.streams[*index].names.iter().any(|known| known == name);
        (0..self.streams.len()).filter(is_named).collect()
    }

    fn sample(
        &mut self,
        packet: Packet,
        sender: SocketAddr,
        arrival: HostTime,
        raw: &mut Option<Bytes>,
        out: &mut Output,
    ) {
        let named = self.named(&packet.name);
        if named.is_empty() {
            let known: Vec<&str> = self
                .streams
                .iter()
                .flat_map(|stream| stream.names.iter().map(String::as_str))
                .collect();
            let text = format!(
                "packets for `{}` are for no stream; the rig takes: {}",
                packet.name,
                known.join(", ")
            );
            return self.complain(0, text, out);
        }
        let fits = |index: &usize| match (&packet.payload, &self.streams[*index].kind) {
            (Payload::Numbers { what: None, .. }, _) => true,
            (
                Payload::Numbers {
                    what: Some(what), ..
                },
                Some(kind),
            ) => what == word(kind),
            (Payload::Data(data), Some(kind)) => is_of(data, kind),
            (_, None) => false,
        };
        let Some(index) = named.iter().copied().find(fits) else {
            out.lost(named[0], "wrong_kind", 1, arrival);
            let text = format!(
                "packets for `{}` carry something else than the stream",
                packet.name
            );
            return self.complain(named[0], text, out);
        };
        let stream = &mut self.streams[index];
        stream.sender = Some(sender);
        let sequence = packet.sequence.unwrap_or(stream.counted);
        stream.counted += 1;
        if packet.sequence.is_some() {
            match stream.order.place(sequence, packet.time_ns) {
                Place::Next { missing } => out.missing(index, missing, arrival),
                Place::Repeated => return out.lost(index, "repeated", 1, arrival),
                Place::Late => return out.lost(index, "late", 1, arrival),
                Place::Restarted => {
                    let text = format!("`{}` counts its packets anew", packet.name);
                    out.push(
                        index,
                        Item::Note {
                            warning: true,
                            text,
                        },
                    );
                }
            }
        }
        let unsaid = [packet.sequence.is_none(), packet.time_ns.is_none()];
        for (which, lacks) in unsaid.into_iter().enumerate() {
            if lacks && !std::mem::replace(&mut stream.said[which], true) {
                let text = match which {
                    0 => format!(
                        "`{}` has no sequence: missing packets cannot be counted",
                        packet.name
                    ),
                    _ => format!(
                        "`{}` has no source time: it is dated by arrival",
                        packet.name
                    ),
                };
                out.push(
                    index,
                    Item::Note {
                        warning: false,
                        text,
                    },
                );
            }
        }
        let kind = stream.kind.clone();
        let data = match packet.payload {
            Payload::Data(data) => Some(data),
            Payload::Numbers { values, valid, .. } => {
                kind.and_then(|kind| read(&kind, &values, valid))
            }
        };
        let Some(data) = data.and_then(|data| self.settings.convert(data)) else {
            return out.lost(index, "corrupt", 1, arrival);
        };
        out.sample(
            index,
            Sample {
                arrival,
                device: packet.time_ns.map(DeviceTime::from_nanos),
                sent: packet.sent_ns.map(DeviceTime::from_nanos),
                ticks: packet.time_ns.and_then(|ns| u64::try_from(ns).ok()),
                sequence,
                captured: None,
                suspect: 0,
                data,
                raw: raw.take(),
            },
        );
    }

    /// Asks every sender for its time, about once a second.
    fn ask(&mut self) {
        let Some(question) = self.format.echo else {
            return;
        };
        if Instant::now() < self.next_echo {
            return;
        }
        self.next_echo = Instant::now() + ECHO;
        let senders: BTreeSet<SocketAddr> = self.streams.iter().filter_map(|s| s.sender).collect();
        self.silent.retain(|(sender, _)| senders.contains(sender));
        for sender in senders {
            let at = self.silent.iter().position(|(known, _)| *known == sender);
            let at = at.unwrap_or_else(|| {
                self.silent.push((sender, 0));
                self.silent.len() - 1
            });
            let unanswered = &mut self.silent[at].1;
            if *unanswered >= PATIENCE {
                continue;
            }
            *unanswered += 1;
            if self.asked.len() == MAX_ASKED {
                self.asked.pop_front();
            }
            let at = HostTime::now();
            // The time itself tells one question from another; JSON's numbers are
            // exact up to 2⁵³.
            let number = at.nanos() as u64 & ((1 << 53) - 1);
            self.asked.push_back(Asked { sender, number, at });
            let _ = self.socket.send_to(&question(number), sender);
        }
    }

    fn echo(
        &mut self,
        number: u64,
        time_ns: i64,
        sender: SocketAddr,
        received: HostTime,
        out: &mut Output,
    ) {
        let is_answer = |asked: &Asked| asked.number == number && asked.sender == sender;
        let Some(at) = self.asked.iter().position(is_answer) else {
            return;
        };
        let sent = self.asked.remove(at).expect("just found").at;
        for (known, unanswered) in &mut self.silent {
            if *known == sender {
                *unanswered = 0;
            }
        }
        for (index, stream) in self.streams.iter().enumerate() {
            if stream.sender == Some(sender) {
                let device = DeviceTime::from_nanos(time_ns);
                out.push(
                    index,
                    Item::Echo {
                        sent,
                        device,
                        received,
                    },
                );
            }
        }
    }
}

/// What a sender may call a stream without more: its topic, or the name in it.
fn names(topic: &str, kind: Option<&StreamKind>) -> Vec<String> {
    let short = match kind {
        Some(
            StreamKind::Tracker { name }
            | StreamKind::Imu { name }
            | StreamKind::Markers { name }
            | StreamKind::Camera { name }
            | StreamKind::Depth { name },
        ) => Some(name.clone()),
        Some(StreamKind::Encoders { side } | StreamKind::Keypoints { side }) => Some(side.clone()),
        Some(StreamKind::Force { side, finger }) => Some(format!("{side}_{finger}")),
        None => None,
    };
    short.into_iter().chain([topic.to_owned()]).collect()
}

/// What a sender calls it.
fn word(kind: &StreamKind) -> &'static str {
    match kind {
        StreamKind::Tracker { .. } => "pose",
        StreamKind::Keypoints { .. } => "keypoints",
        StreamKind::Encoders { .. } => "encoders",
        StreamKind::Force { .. } => "force",
        StreamKind::Imu { .. } => "imu",
        StreamKind::Markers { .. } => "markers",
        StreamKind::Camera { .. } | StreamKind::Depth { .. } => "image",
    }
}

/// Whether a stream of this kind can carry it.
fn is_of(data: &Data, kind: &StreamKind) -> bool {
    matches!(
        (data, kind),
        (Data::Pose { .. }, StreamKind::Tracker { .. })
            | (Data::Keypoints { .. }, StreamKind::Keypoints { .. })
            | (Data::Encoders { .. }, StreamKind::Encoders { .. })
            | (Data::Force { .. }, StreamKind::Force { .. })
            | (Data::Imu { .. }, StreamKind::Imu { .. })
            | (Data::Markers { .. }, StreamKind::Markers { .. })
    )
}

/// What numbers mean for a stream; `None` where there are not as many as that needs.
fn read(kind: &StreamKind, values: &[f64], valid: bool) -> Option<Data> {
    let points = |values: &[f64]| values.chunks(3).map(|v| [v[0], v[1], v[2]]).collect();
    let counts = |values: &[f64]| -> Option<Vec<i32>> {
        let whole = |&v: &f64| (v.abs() < 2_147_483_648.0).then_some(v as i32);
        values.iter().map(whole).collect()
    };
    match (kind, values) {
        (StreamKind::Tracker { .. }, &[x, y, z, q0, q1, q2, q3]) => Some(Data::Pose {
            position_m: [x, y, z],
            rotation_xyzw: [q0, q1, q2, q3],
            valid,
            mean_error_m: 0.0,
        }),
        (StreamKind::Keypoints { .. }, values) if values.len() == 3 * KEYPOINTS => {
            Some(Data::Keypoints {
                points_m: points(values),
                joints: Vec::new(),
                valid,
            })
        }
        (StreamKind::Markers { .. }, values) if values.len().is_multiple_of(3) => {
            Some(Data::Markers {
                points_m: points(values),
            })
        }
        (StreamKind::Imu { .. }, &[a0, a1, a2, w0, w1, w2]) => Some(Data::Imu {
            acceleration_m_s2: [a0, a1, a2],
            angular_velocity_rad_s: [w0, w1, w2],
        }),
        (StreamKind::Force { .. }, values @ [_, _, _]) => Some(Data::Force {
            counts: counts(values)?.try_into().ok()?,
            taxels: Vec::new(),
        }),
        (StreamKind::Encoders { .. }, [joints @ .., reference]) if !joints.is_empty() => {
            Some(Data::Encoders {
                counts: counts(joints)?,
                reference: *counts(&[*reference])?.first()?,
                spare: 0,
            })
        }
        _ => None,
    }
}

impl Settings {
    /// In our axes and units; `None` for what cannot be measured.
    fn convert(&self, data: Data) -> Option<Data> {
        let point = |p: [f64; 3]| self.axes.point(p.map(|v| v * self.unit_m));
        let rotation = |q: [f64; 4]| match self.w_first {
            true => self.axes.rotation([q[1], q[2], q[3], q[0]]),
            false => self.axes.rotation(q),
        };
        // A point that the source does not see is NaN, one that is absurd is damage.
        let points = |points: Vec<[f64; 3]>| -> Option<Vec<[f64; 3]>> {
            let seen_or_sane = |p: [f64; 3]| {
                let unseen = p.iter().any(|v| v.is_nan());
                let p = if unseen { [f64::NAN; 3] } else { point(p) };
                (unseen || is_point(&p)).then_some(p)
            };
            points.into_iter().map(seen_or_sane).collect()
        };
        match data {
            Data::Pose {
                position_m,
                rotation_xyzw,
                valid,
                mean_error_m,
            } => {
                let (position_m, rotation_xyzw) = (point(position_m), rotation(rotation_xyzw));
                (is_pose(&position_m, &rotation_xyzw) && mean_error_m.is_finite()).then_some(
                    Data::Pose {
                        position_m,
                        rotation_xyzw,
                        valid,
                        mean_error_m: mean_error_m * self.unit_m,
                    },
                )
            }
            Data::Keypoints {
                points_m,
                mut joints,
                valid,
            } => {
                for joint in &mut joints {
                    joint.position_m = point(joint.position_m);
                    joint.rotation_xyzw = rotation(joint.rotation_xyzw);
                    is_pose(&joint.position_m, &joint.rotation_xyzw).then_some(())?;
                }
                (points_m.len() == KEYPOINTS).then_some(())?;
                Some(Data::Keypoints {
                    points_m: points(points_m)?,
                    joints,
                    valid,
                })
            }
            Data::Markers { points_m } => Some(Data::Markers {
                points_m: points(points_m)?,
            }),
            Data::Imu {
                acceleration_m_s2: a,
                angular_velocity_rad_s: w,
            } => a
                .iter()
                .chain(&w)
                .all(|v| v.is_finite())
                .then_some(Data::Imu {
                    acceleration_m_s2: a,
                    angular_velocity_rad_s: w,
                }),
            Data::Encoders { .. } | Data::Force { .. } => Some(data),
            Data::Image(_) => None,
        }
    }
}

impl Source for UdpSource {
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError> {
        self.ask();
        match self.socket.recv_from(&mut self.buffer) {
            Ok((count, sender)) => {
                let arrival = HostTime::now();
                if self.settings.from.is_none_or(|from| from == sender.ip()) {
                    self.take(count, sender, arrival, out);
                }
                Ok(())
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock
                        | ErrorKind::TimedOut
                        | ErrorKind::Interrupted
                        | ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(CaptureError::Gone {
                stream: self.first.stream.clone(),
                address: self.first.address.clone(),
                problem: error.to_string(),
            }),
        }
    }
}
