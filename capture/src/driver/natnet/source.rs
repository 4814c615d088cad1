//! An open connection: picks each stream's body or marker set out of the frames
//! of data, keeps the subscription, the clock and the list of models.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dexumi_episode::{Device, DeviceTime, HostTime, StreamKind};

use super::{
    CONNECT, ECHO_RESPONSE, FRAME, Frame, KEEP_ALIVE, MODEL_DEFINITION, MODEL_REQUEST, Models,
    RigidBody, SERVER_INFO, ServerInfo, Version, decode_echo_response, decode_frame, decode_models,
    decode_server_info, encode_echo_request, encode_request, link::Link, message_id,
};
use crate::{
    driver::{
        Data, Item, Output, Sample, Source,
        axes::{Axes, is_point, is_pose},
        options::failed,
        order::{Order, Place},
    },
    error::CaptureError,
};

/// Longest wait in one read.
const WAIT: Duration = Duration::from_millis(100);
/// Packets taken in one read, so that a read ends.
const BURST: usize = 64;
/// Between two signs of life.
const ALIVE: Duration = Duration::from_secs(1);
/// A server that sends nothing for so long is asked to connect anew.
const SILENCE: Duration = Duration::from_secs(2);
/// Between two echoes; the first few come quicker, for short recordings.
const ECHO: Duration = Duration::from_secs(1);
const FIRST_ECHOES: u64 = 10;
const FIRST_ECHO: Duration = Duration::from_millis(100);
/// Questions that wait for their answer.
const MAX_ASKED: usize = 4;
/// Ids up to this one, and that of an unrecognised request, are a server's.
const LAST_ID: u16 = 14;
const UNRECOGNIZED: u16 = 100;

/// What a stream takes from the frames.
struct Stream {
    /// As written in the rig, or the name in the topic.
    wanted: String,
    markers: bool,
    /// Of a rigid body, once known.
    id: Option<i32>,
}

pub(super) struct NatNetSource {
    link: Link,
    info: ServerInfo,
    version: Version,
    axes: Axes,
    streams: Vec<Stream>,
    order: Order,
    models: Option<Models>,
    models_wanted: bool,
    echoes: u64,
    asked: VecDeque<(u64, HostTime)>,
    next_echo: Instant,
    next_alive: Instant,
    next_models: Instant,
    last_data: Instant,
    /// Said at the next read.
    waiting: Vec<(usize, Item)>,
    undated: bool,
    first: Device,
}

impl NatNetSource {
    pub fn new(
        link: Link,
        info: ServerInfo,
        axes: Axes,
        models: Option<Models>,
        devices: &[Device],
    ) -> Result<Self, CaptureError> {
        let version = (info.natnet[0], info.natnet[1]);
        let streams = devices
            .iter()
            .map(|device| stream_of(device, models.as_ref()))
            .collect::<Result<_, _>>()?;
        let now = Instant::now();
        let mut source = Self {
            link,
            version,
            axes,
            streams,
            order: Order::new(32),
            models_wanted: models.is_none(),
            models,
            echoes: 0,
            asked: VecDeque::new(),
            next_echo: now,
            next_alive: now + ALIVE,
            next_models: now + ALIVE,
            last_data: now,
            waiting: Vec::new(),
            undated: false,
            first: devices[0].clone(),
            info,
        };
        source.introduce();
        Ok(source)
    }

    /// What the server and its models are, for the file.
    fn introduce(&mut self) {
        let dots = |version: [u8; 4]| version.map(|part| part.to_string()).join(".");
        let info = &self.info;
        let server = [
            ("server", format!("{} {}", info.name, dots(info.version))),
            ("natnet", dots(info.natnet)),
            ("clock_hz", info.tick_hz.to_string()),
        ];
        for (index, stream) in self.streams.iter().enumerate() {
            let mut about = server
                .clone()
                .map(|(key, value)| (key.to_owned(), value))
                .to_vec();
            if stream.markers {
                about.push(("marker_set".to_owned(), stream.wanted.clone()));
                let labels = self.models.as_ref().and_then(|models| {
                    let mut sets = models.marker_sets.iter();
                    sets.find(|(name, _)| *name == stream.wanted)
                });
                if let Some((_, labels)) = labels {
                    about.push(("labels".to_owned(), labels.join(", ")));
                }
            } else if let Some(id) = stream.id {
                about.push(("streaming_id".to_owned(), id.to_string()));
                let bodies = self.models.iter().flat_map(|models| &models.bodies);
                if let Some((_, name)) = bodies.into_iter().find(|(of, _)| *of == id) {
                    about.push(("rigid_body".to_owned(), name.clone()));
                }
            }
            self.waiting.push((index, Item::About(about)));
        }
        if self.version > super::protocol::SIZED {
            self.note(format!(
                "server speaks NatNet {}.{}, newer than 4.1; it is read as 4.1",
                self.version.0, self.version.1
            ));
        }
    }

    fn note(&mut self, text: String) {
        let warning = true;
        self.waiting.push((0, Item::Note { warning, text }));
    }

    fn gone(&self, problem: String) -> CaptureError {
        CaptureError::Gone {
            stream: self.first.stream.clone(),
            address: self.first.address.clone(),
            problem,
        }
    }

    /// Asks what is due.
    fn keep_up(&mut self) {
        let now = Instant::now();
        if now >= self.next_alive {
            self.next_alive = now + ALIVE;
            let silent = now - self.last_data > SILENCE;
            let request = if silent { CONNECT } else { KEEP_ALIVE };
            self.link.send(&encode_request(request));
        }
        if self.models_wanted && now >= self.next_models {
            self.next_models = now + ALIVE;
            self.link.send(&encode_request(MODEL_REQUEST));
        }
        if now >= self.next_echo {
            let pause = if self.echoes < FIRST_ECHOES {
                FIRST_ECHO
            } else {
                ECHO
            };
            self.next_echo = now + pause;
            self.echoes += 1;
            if self.asked.len() == MAX_ASKED {
                self.asked.pop_front();
            }
            // The time itself tells one question from another.
            let sent = HostTime::now();
            let payload = sent.nanos() as u64;
            self.asked.push_back((payload, sent));
            self.link.send(&encode_echo_request(payload));
        }
    }

    fn all(&self, out: &mut Output, push: impl Fn(&mut Output, usize)) {
        (0..self.streams.len()).for_each(|stream| push(out, stream));
    }

    fn lost(&self, kind: &'static str, at: HostTime, out: &mut Output) {
        self.all(out, |out, stream| out.lost(stream, kind, 1, at));
    }

    fn take(
        &mut self,
        packet: Bytes,
        arrival: HostTime,
        out: &mut Output,
    ) -> Result<(), CaptureError> {
        match message_id(&packet) {
            Some(FRAME) => {
                let Some(frame) = decode_frame(&packet, self.version) else {
                    self.order.unreadable();
                    self.lost("corrupt", arrival, out);
                    return Ok(());
                };
                self.last_data = Instant::now();
                self.frame(frame, packet, arrival, out);
            }
            Some(ECHO_RESPONSE) => self.echo(&packet, arrival, out),
            Some(MODEL_DEFINITION) => {
                if let Some(models) = decode_models(&packet, self.version) {
                    self.learn(models);
                }
            }
            Some(SERVER_INFO) => {
                if let Some(info) = decode_server_info(&packet)
                    && info != self.info
                {
                    return Err(self.gone("the server has changed its settings".to_owned()));
                }
            }
            Some(id) if id <= LAST_ID || id == UNRECOGNIZED => {}
            _ => {
                self.order.unreadable();
                self.lost("corrupt", arrival, out);
            }
        }
        Ok(())
    }

    fn echo(&mut self, packet: &[u8], received: HostTime, out: &mut Output) {
        let Some((payload, ticks)) = decode_echo_response(packet) else {
            return;
        };
        // An answer that was waited for too long belongs to no question any more.
        let Some(at) = self.asked.iter().position(|(asked, _)| *asked == payload) else {
            return;
        };
        let (_, sent) = self.asked.remove(at).expect("just found");
        let device = self.device_time(ticks);
        let echo = || Item::Echo {
            sent,
            device,
            received,
        };
        self.all(out, |out, stream| out.push(stream, echo()));
    }

    /// The list of models came, perhaps with other ids for the same names.
    fn learn(&mut self, models: Models) {
        self.models_wanted = false;
        if self.models.as_ref() == Some(&models) {
            return;
        }
        for stream in self.streams.iter_mut().filter(|stream| !stream.markers) {
            stream.id = find(&stream.wanted, &models).or(stream.id);
        }
        self.models = Some(models);
        self.introduce();
    }

    fn device_time(&self, ticks: u64) -> DeviceTime {
        let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(self.info.tick_hz);
        DeviceTime::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    fn frame(&mut self, frame: Frame, packet: Bytes, arrival: HostTime, out: &mut Output) {
        if frame.models_changed && !self.models_wanted {
            self.models_wanted = true;
            self.next_models = Instant::now();
        }
        let sent = self.device_time(frame.transmit_ticks);
        let number = u64::from(frame.number as u32);
        match self.order.place(number, Some(sent.nanos())) {
            Place::Next { missing } => {
                self.all(out, |out, stream| out.missing(stream, missing, arrival));
            }
            Place::Repeated => return self.lost("repeated", arrival, out),
            Place::Late => return self.lost("late", arrival, out),
            Place::Restarted => self.note("the server counts its frames anew".to_owned()),
        }
        let exposed = frame.mid_exposure_ticks;
        if exposed == 0 && !std::mem::replace(&mut self.undated, true) {
            self.note(
                "the server gives no time of exposure (a replayed take?): poses are dated by arrival"
                    .to_owned(),
            );
        }
        let mut raw = Some(packet);
        for (index, stream) in self.streams.iter().enumerate() {
            let data = match stream.markers {
                true => self.markers(stream, &frame),
                false => self.pose(stream, &frame),
            };
            match data {
                Ok(data) => out.sample(
                    index,
                    Sample {
                        arrival,
                        captured: None,
                        device: (exposed > 0).then(|| self.device_time(exposed)),
                        sent: Some(sent),
                        ticks: (exposed > 0).then_some(exposed),
                        sequence: number,
                        suspect: 0,
                        data,
                        raw: raw.take(),
                    },
                ),
                Err(kind) => {
                    if kind == "absent" {
                        self.models_wanted = true;
                    }
                    out.lost(index, kind, 1, arrival);
                }
            }
        }
    }

    fn pose(&self, stream: &Stream, frame: &Frame) -> Result<Data, &'static str> {
        let body = match stream.id {
            Some(id) => frame.bodies.iter().find(|body| body.id == id),
            None => frame.bodies.first(),
        };
        let RigidBody {
            position_m,
            rotation_xyzw,
            mean_error_m,
            tracked,
            ..
        } = body.ok_or("absent")?;
        let position_m = position_m.map(f64::from);
        let rotation_xyzw = rotation_xyzw.map(f64::from);
        // A body that was never seen has no orientation.
        if !is_pose(&position_m, &rotation_xyzw) {
            return Err(if *tracked { "corrupt" } else { "absent" });
        }
        Ok(Data::Pose {
            position_m: self.axes.point(position_m),
            rotation_xyzw: self.axes.rotation(rotation_xyzw),
            valid: *tracked,
            mean_error_m: f64::from(*mean_error_m),
        })
    }

    fn markers(&self, stream: &Stream, frame: &Frame) -> Result<Data, &'static str> {
        let mut sets = frame.marker_sets.iter();
        let set = sets.find(|set| set.name == stream.wanted).ok_or("absent")?;
        let points_m = set.points_m.iter().map(|point| {
            let point = point.map(f64::from);
            // Motive puts a hidden marker at the origin, or very far away.
            let hidden = point == [0.0; 3] || !is_point(&point);
            if hidden {
                [f64::NAN; 3]
            } else {
                self.axes.point(point)
            }
        });
        Ok(Data::Markers {
            points_m: points_m.collect(),
        })
    }
}

/// Id of a rigid body by its name, or by the id itself.
fn find(wanted: &str, models: &Models) -> Option<i32> {
    let mut bodies = models.bodies.iter();
    let by_name = bodies.find(|(_, name)| name == wanted).map(|(id, _)| *id);
    by_name.or_else(|| {
        let id = wanted.parse().ok()?;
        models.bodies.iter().any(|(of, _)| *of == id).then_some(id)
    })
}

/// What a stream is to take, where the server's list of models is known by that.
fn stream_of(device: &Device, models: Option<&Models>) -> Result<Stream, CaptureError> {
    let (markers, name) = match StreamKind::of(&device.stream) {
        Some(StreamKind::Markers { name }) => (true, name),
        Some(StreamKind::Tracker { name }) => (false, name),
        _ => (false, String::new()),
    };
    let wanted = device.source.clone().unwrap_or(name);
    let named = device.source.is_some();
    let listed = |names: Vec<String>| match names.is_empty() {
        true => "nothing".to_owned(),
        false => names.join(", "),
    };
    let mut id = None;
    if markers {
        let names = models.map(|models| {
            let sets = models.marker_sets.iter();
            sets.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        });
        if let Some(names) = names
            && !names.contains(&wanted)
        {
            return Err(failed(
                device,
                format!(
                    "no marker set `{wanted}`; the server streams: {}",
                    listed(names)
                ),
                "write one of them as `source`",
            ));
        }
    } else if let Some(models) = models {
        id = find(&wanted, models);
        if let (None, false, [(only, _)]) = (id, named, &models.bodies[..]) {
            id = Some(*only);
        }
        if id.is_none() {
            let names = models.bodies.iter();
            let names = names.map(|(id, name)| format!("{name} ({id})")).collect();
            return Err(failed(
                device,
                format!(
                    "no rigid body `{wanted}`; the server streams: {}",
                    listed(names)
                ),
                "write one of them as `source`: its name or its streaming ID",
            ));
        }
    } else if named {
        id = Some(wanted.parse().map_err(|_| {
            failed(
                device,
                format!("the server does not list its rigid bodies, among them `{wanted}`"),
                "write the streaming ID as `source`, such as source = \"1\"",
            )
        })?);
    }
    Ok(Stream {
        wanted,
        markers,
        id,
    })
}

impl Source for NatNetSource {
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError> {
        self.keep_up();
        let network = |source: &Self, error: std::io::Error| source.gone(error.to_string());
        self.link.wait(WAIT).map_err(|e| network(self, e))?;
        for _ in 0..BURST {
            let received = match self.link.receive() {
                Ok(received) => received.map(|(bytes, at)| (Bytes::copy_from_slice(bytes), at)),
                Err(error) => return Err(self.gone(error.to_string())),
            };
            let Some((packet, arrival)) = received else {
                break;
            };
            self.take(packet, arrival, out)?;
        }
        out.items.append(&mut self.waiting);
        Ok(())
    }
}
