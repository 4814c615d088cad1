//! OptiTrack NatNet 3.0 to 4.1 over UDP, unicast: one rigid body as a tracker.
//!
//! Packets: u16 message id, u16 payload size, payload, little-endian. The frame
//! of data carries three of the server's clock readings: mid-exposure of the
//! cameras (when the pose was true), reception by the software, and
//! transmission. The clock is fitted on transmission, the pose is dated by
//! mid-exposure. From 4.1 on each section has its size in front, so that
//! sections of no interest are skipped.
//! (NatNet SDK documentation and `PacketClient` sample.)

use std::{
    io::ErrorKind,
    net::{SocketAddr, ToSocketAddrs, UdpSocket},
    time::{Duration, Instant},
};

use bytes::Bytes;
use dexumi_episode::{ClockModel, Device, DeviceTime, HostTime, StreamKind};

use super::{Data, Driver, Output, Sample, Source, min_delay_ns};
use crate::error::CaptureError;

/// Message ids.
pub const CONNECT: u16 = 0;
/// Answer to [`CONNECT`].
pub const SERVER_INFO: u16 = 1;
/// Frame of data.
pub const FRAME: u16 = 7;
/// Keeps a unicast subscription alive.
pub const KEEP_ALIVE: u16 = 10;
/// Carries the client's time.
pub const ECHO_REQUEST: u16 = 12;
/// Carries the client's time back, and the server's ticks.
pub const ECHO_RESPONSE: u16 = 13;

/// The registration.
pub const DRIVER: Driver = Driver {
    name: "natnet",
    help: "OptiTrack Motive by NatNet 3.0-4.1, unicast UDP: pose of one rigid body",
    feeds: "/tracker/<name>/pose",
    can_feed: |topic| matches!(StreamKind::of(topic), Some(StreamKind::Tracker { .. })),
    // Ticks are nanoseconds here: the server's rate is divided out on arrival.
    clock: |device| {
        Some(ClockModel {
            tick_ns: 100,
            min_delay_ns: min_delay_ns(device),
        })
    },
    metadata: |_| vec![("frame", "world of the tracker".to_owned())],
    shares: false,
    counts_missing: true,
    keeps_packets: true,
    open,
};

/// Pose of one rigid body.
#[derive(Debug, Clone, PartialEq)]
pub struct RigidBody {
    /// Streaming id.
    pub id: i32,
    /// x, y, z [m].
    pub position_m: [f32; 3],
    /// Quaternion x, y, z, w.
    pub rotation_xyzw: [f32; 4],
    /// Mean marker error [m].
    pub mean_error_m: f32,
    /// Tracking was successful.
    pub tracked: bool,
}

/// What is read of a frame of data.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Frame number.
    pub number: i32,
    /// Rigid bodies.
    pub bodies: Vec<RigidBody>,
    /// The software's own time [s].
    pub software_time_s: f64,
    /// Middle of the cameras' exposure [server ticks].
    pub mid_exposure_ticks: u64,
    /// Reception of the camera data [server ticks].
    pub received_ticks: u64,
    /// Transmission of the packet [server ticks].
    pub transmit_ticks: u64,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerInfo {
    /// Program.
    pub name: String,
    /// Its version.
    pub version: [u8; 4],
    /// Version of the protocol.
    pub natnet: [u8; 4],
    /// Rate of its clock [Hz].
    pub tick_hz: u64,
    /// Port of the data.
    pub data_port: u16,
    /// Whether data go to a multicast group.
    pub multicast: bool,
}

/// Id of a packet whose stated size fits.
pub fn message_id(packet: &[u8]) -> Option<u16> {
    let head = packet.get(..4)?;
    let size = u16::from_le_bytes([head[2], head[3]]) as usize;
    (packet.len() >= 4 + size).then(|| u16::from_le_bytes([head[0], head[1]]))
}

fn packet(id: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(4 + payload.len());
    packet.extend(id.to_le_bytes());
    packet.extend((payload.len() as u16).to_le_bytes());
    packet.extend(payload);
    packet
}

/// A request without payload.
pub fn encode_request(id: u16) -> Vec<u8> {
    match id {
        // Motive reads a client's name and versions from a connection request.
        CONNECT => {
            let mut payload = vec![0; 264];
            payload[..6].copy_from_slice(b"dexumi");
            payload[260..264].copy_from_slice(&[4, 1, 0, 0]);
            packet(CONNECT, &payload)
        }
        _ => packet(id, &[]),
    }
}

/// A server's answer to a connection request.
pub fn encode_server_info(info: &ServerInfo) -> Vec<u8> {
    let mut payload = vec![0; 256];
    let name = info.name.as_bytes();
    let length = name.len().min(255);
    payload[..length].copy_from_slice(&name[..length]);
    payload.extend(info.version);
    payload.extend(info.natnet);
    payload.extend(info.tick_hz.to_le_bytes());
    payload.extend(info.data_port.to_le_bytes());
    payload.push(u8::from(info.multicast));
    payload.extend([239, 255, 42, 99]);
    packet(SERVER_INFO, &payload)
}

/// Reads a server's answer.
pub fn decode_server_info(bytes: &[u8]) -> Option<ServerInfo> {
    if message_id(bytes)? != SERVER_INFO {
        return None;
    }
    let mut cursor = Cursor { bytes, at: 4 };
    let name = cursor.take(256)?;
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    Some(ServerInfo {
        name: String::from_utf8_lossy(name).into_owned(),
        version: cursor.array()?,
        natnet: cursor.array()?,
        tick_hz: u64::from_le_bytes(cursor.array()?),
        data_port: u16::from_le_bytes(cursor.array()?),
        multicast: cursor.take(1)?[0] != 0,
    })
}

/// A frame of data in version 4.1, rigid bodies only.
pub fn encode_frame(frame: &Frame) -> Vec<u8> {
    let mut payload = Vec::with_capacity(192);
    payload.extend(frame.number.to_le_bytes());
    let empty_section = |payload: &mut Vec<u8>| payload.extend([0; 8]);
    empty_section(&mut payload); // marker sets
    empty_section(&mut payload); // other markers
    payload.extend((frame.bodies.len() as i32).to_le_bytes());
    payload.extend((frame.bodies.len() as i32 * 38).to_le_bytes());
    for body in &frame.bodies {
        payload.extend(body.id.to_le_bytes());
        body.position_m
            .iter()
            .chain(&body.rotation_xyzw)
            .for_each(|v| payload.extend(v.to_le_bytes()));
        payload.extend(body.mean_error_m.to_le_bytes());
        payload.extend(u16::from(body.tracked).to_le_bytes());
    }
    // skeletons, assets, labelled markers, force plates, devices
    (0..5).for_each(|_| empty_section(&mut payload));
    payload.extend([0; 8]); // timecode, subframe
    payload.extend(frame.software_time_s.to_le_bytes());
    payload.extend(frame.mid_exposure_ticks.to_le_bytes());
    payload.extend(frame.received_ticks.to_le_bytes());
    payload.extend(frame.transmit_ticks.to_le_bytes());
    payload.extend([0; 8]); // precision time
    payload.extend([0; 2]); // parameters
    payload.extend([0; 4]); // end
    packet(FRAME, &payload)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let part = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(part)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    fn f32(&mut self) -> Option<f32> {
        self.array().map(f32::from_le_bytes)
    }

    fn count(&mut self) -> Option<usize> {
        // No section of a UDP packet has more entries than the packet has bytes.
        usize::try_from(self.i32()?)
            .ok()
            .filter(|&count| count <= 65_535)
    }

    fn name(&mut self) -> Option<()> {
        let length = self
            .bytes
            .get(self.at..)?
            .iter()
            .position(|&byte| byte == 0)?;
        self.take(length + 1).map(drop)
    }

    /// Runs over a section: by its size where there is one, else entry by entry.
    fn section(&mut self, sized: bool, entry: impl Fn(&mut Self) -> Option<()>) -> Option<()> {
        let count = self.count()?;
        if sized {
            let size = self.count()?;
            return self.take(size).map(drop);
        }
        (0..count).try_for_each(|_| entry(self))
    }
}

/// Reads a frame of data of protocol `version` (major, minor).
pub fn decode_frame(bytes: &[u8], version: (u8, u8)) -> Option<Frame> {
    if message_id(bytes)? != FRAME {
        return None;
    }
    let sized = version >= (4, 1);
    let mut cursor = Cursor { bytes, at: 4 };
    let number = cursor.i32()?;
    cursor.section(sized, |c| {
        c.name()?;
        let markers = c.count()?;
        c.take(12 * markers).map(drop)
    })?;
    cursor.section(sized, |c| c.take(12).map(drop))?;
    let count = cursor.count()?;
    if sized {
        cursor.count()?;
    }
    let mut bodies = Vec::new();
    for _ in 0..count {
        bodies.push(rigid_body(&mut cursor)?);
    }
    cursor.section(sized, |c| {
        c.i32()?;
        let bones = c.count()?;
        c.take(38 * bones).map(drop)
    })?;
    if sized {
        cursor.section(true, |_| None)?; // assets
    }
    cursor.section(sized, |c| c.take(26).map(drop))?; // labelled markers
    let analog = |c: &mut Cursor<'_>| {
        c.i32()?;
        for _ in 0..c.count()? {
            let values = c.count()?;
            c.take(4 * values)?;
        }
        Some(())
    };
    cursor.section(sized, analog)?; // force plates
    cursor.section(sized, analog)?; // devices
    cursor.take(8)?; // timecode, subframe
    Some(Frame {
        number,
        bodies,
        software_time_s: f64::from_le_bytes(cursor.array()?),
        mid_exposure_ticks: u64::from_le_bytes(cursor.array()?),
        received_ticks: u64::from_le_bytes(cursor.array()?),
        transmit_ticks: u64::from_le_bytes(cursor.array()?),
    })
}

fn rigid_body(cursor: &mut Cursor<'_>) -> Option<RigidBody> {
    Some(RigidBody {
        id: cursor.i32()?,
        position_m: [cursor.f32()?, cursor.f32()?, cursor.f32()?],
        rotation_xyzw: [cursor.f32()?, cursor.f32()?, cursor.f32()?, cursor.f32()?],
        mean_error_m: cursor.f32()?,
        tracked: u16::from_le_bytes(cursor.array()?) & 1 != 0,
    })
}

struct NatNetSource {
    socket: UdpSocket,
    command: SocketAddr,
    info: ServerInfo,
    body: Option<i32>,
    last_number: Option<i32>,
    /// Packets that could not be read since then: they are not missing besides.
    unread: u64,
    last_alive: Instant,
    last_data: Instant,
    buffer: Vec<u8>,
    stream: String,
}

fn open(devices: &[Device]) -> Result<Box<dyn Source>, CaptureError> {
    let device = &devices[0];
    let failed = |problem: String, next: &str| CaptureError::Open {
        stream: device.stream.clone(),
        address: device.address.clone(),
        problem,
        next: next.to_owned(),
    };
    let command = device
        .address
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.find(SocketAddr::is_ipv4))
        .ok_or_else(|| {
            failed(
                "not an address".to_owned(),
                "write host:port, such as 192.168.1.20:1510",
            )
        })?;
    let local = if command.ip().is_loopback() {
        "127.0.0.1:0"
    } else {
        "0.0.0.0:0"
    };
    let socket = UdpSocket::bind(local)
        .and_then(|socket| {
            socket
                .set_read_timeout(Some(Duration::from_millis(100)))
                .map(|()| socket)
        })
        .map_err(|error| failed(error.to_string(), "free a UDP port"))?;
    let mut buffer = vec![0; 65_536];
    let deadline = Instant::now() + Duration::from_secs(3);
    let mut asked = Instant::now() - Duration::from_secs(1);
    let info = loop {
        if Instant::now() > deadline {
            return Err(failed(
                "no NatNet server answers".to_owned(),
                "is Motive streaming (Data Streaming: unicast on, this computer allowed by the firewall)?",
            ));
        }
        if asked.elapsed() > Duration::from_millis(250) {
            let _ = socket.send_to(&encode_request(CONNECT), command);
            asked = Instant::now();
        }
        match socket.recv_from(&mut buffer) {
            Ok((count, _)) => {
                if let Some(info) = decode_server_info(&buffer[..count]) {
                    break info;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => {
                return Err(failed(
                    error.to_string(),
                    "is Motive streaming on this port?",
                ));
            }
        }
    };
    if info.tick_hz == 0 || (info.natnet[0], info.natnet[1]) < (3, 0) {
        return Err(failed(
            format!("server speaks NatNet {}.{}", info.natnet[0], info.natnet[1]),
            "NatNet 3.0 or newer is needed for mid-exposure times; update Motive",
        ));
    }
    Ok(Box::new(NatNetSource {
        socket,
        command,
        info,
        body: device.source.as_ref().and_then(|id| id.parse().ok()),
        last_number: None,
        unread: 0,
        last_alive: Instant::now(),
        last_data: Instant::now(),
        buffer,
        stream: device.stream.clone(),
    }))
}

impl NatNetSource {
    fn device_time(&self, ticks: u64) -> DeviceTime {
        let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(self.info.tick_hz);
        DeviceTime::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    fn take(&mut self, count: usize, arrival: HostTime, out: &mut Output) {
        let bytes = &self.buffer[..count];
        match message_id(bytes) {
            Some(FRAME) => {}
            Some(_) => return,
            None => {
                self.unread += 1;
                out.lost(0, "corrupt", 1, arrival);
                return;
            }
        }
        let version = (self.info.natnet[0], self.info.natnet[1]);
        let Some(frame) = decode_frame(bytes, version) else {
            self.unread += 1;
            out.lost(0, "corrupt", 1, arrival);
            return;
        };
        self.last_data = Instant::now();
        let step = self
            .last_number
            .map_or(1, |last| frame.number.wrapping_sub(last));
        // A server that starts anew counts from 0 again; that is no loss.
        let unread = std::mem::take(&mut self.unread);
        if (2..10_000).contains(&step) {
            let count = (step as u64 - 1).saturating_sub(unread);
            out.missing(0, count, arrival);
        }
        if step <= 0 && step > -10_000 {
            out.lost(0, "repeated", 1, arrival);
            return;
        }
        self.last_number = Some(frame.number);
        let body = match self.body {
            Some(id) => frame.bodies.iter().find(|body| body.id == id),
            None => frame.bodies.first(),
        };
        let Some(body) = body else {
            out.lost(0, "body_absent", 1, arrival);
            return;
        };
        let norm = body.rotation_xyzw.iter().map(|v| v * v).sum::<f32>().sqrt();
        let finite = body
            .position_m
            .iter()
            .all(|v| v.is_finite() && v.abs() < 1e3);
        if !finite || !(0.9..1.1).contains(&norm) {
            out.lost(0, "corrupt", 1, arrival);
            return;
        }
        out.sample(
            0,
            Sample {
                arrival,
                captured: None,
                device: Some(self.device_time(frame.mid_exposure_ticks)),
                sent: Some(self.device_time(frame.transmit_ticks)),
                ticks: Some(frame.mid_exposure_ticks),
                sequence: frame.number as u32 as u64,
                suspect: 0,
                data: Data::Pose {
                    position_m: body.position_m.map(f64::from),
                    rotation_xyzw: body.rotation_xyzw.map(f64::from),
                    valid: body.tracked,
                    mean_error_m: f64::from(body.mean_error_m),
                },
                raw: Some(Bytes::copy_from_slice(bytes)),
            },
        );
    }
}

impl Source for NatNetSource {
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError> {
        if self.last_alive.elapsed() > Duration::from_secs(1) {
            let request = if self.last_data.elapsed() > Duration::from_secs(2) {
                CONNECT
            } else {
                KEEP_ALIVE
            };
            let _ = self.socket.send_to(&encode_request(request), self.command);
            self.last_alive = Instant::now();
        }
        match self.socket.recv_from(&mut self.buffer) {
            Ok((count, _)) => {
                self.take(count, HostTime::now(), out);
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
                stream: self.stream.clone(),
                address: self.command.to_string(),
                problem: error.to_string(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame() -> Frame {
        Frame {
            number: 7,
            bodies: vec![RigidBody {
                id: 1,
                position_m: [0.1, -0.2, 1.3],
                rotation_xyzw: [0.0, 0.6, 0.0, 0.8],
                mean_error_m: 0.0003,
                tracked: true,
            }],
            software_time_s: 1.5,
            mid_exposure_ticks: 123_456_789,
            received_ticks: 123_466_789,
            transmit_ticks: 123_512_389,
        }
    }

    #[test]
    fn what_is_encoded_decodes() {
        assert_eq!(decode_frame(&encode_frame(&frame()), (4, 1)), Some(frame()));
        let info = ServerInfo {
            name: "Motive".to_owned(),
            version: [3, 1, 2, 0],
            natnet: [4, 1, 0, 0],
            tick_hz: 10_000_000,
            data_port: 1511,
            multicast: false,
        };
        assert_eq!(decode_server_info(&encode_server_info(&info)), Some(info));
    }

    #[test]
    fn versions_without_section_sizes_are_read_entry_by_entry() {
        // 3.1: a marker set, an other marker, a rigid body, a skeleton, a
        // labelled marker, a force plate with two channels, no device.
        let mut payload = Vec::new();
        payload.extend(9_i32.to_le_bytes());
        payload.extend(1_i32.to_le_bytes());
        payload.extend(b"hand\0");
        payload.extend(2_i32.to_le_bytes());
        payload.extend([0; 24]);
        payload.extend(1_i32.to_le_bytes());
        payload.extend([0; 12]);
        payload.extend(1_i32.to_le_bytes());
        let body = &frame().bodies[0];
        payload.extend(body.id.to_le_bytes());
        body.position_m
            .iter()
            .chain(&body.rotation_xyzw)
            .for_each(|v| payload.extend(v.to_le_bytes()));
        payload.extend(body.mean_error_m.to_le_bytes());
        payload.extend(1_u16.to_le_bytes());
        payload.extend(1_i32.to_le_bytes());
        payload.extend(5_i32.to_le_bytes());
        payload.extend(1_i32.to_le_bytes());
        payload.extend([0; 38]);
        payload.extend(1_i32.to_le_bytes());
        payload.extend([0; 26]);
        payload.extend(1_i32.to_le_bytes());
        payload.extend(3_i32.to_le_bytes());
        payload.extend(2_i32.to_le_bytes());
        payload.extend(1_i32.to_le_bytes());
        payload.extend([0; 4]);
        payload.extend(0_i32.to_le_bytes());
        payload.extend(0_i32.to_le_bytes());
        payload.extend([0; 8]);
        payload.extend(1.5_f64.to_le_bytes());
        for ticks in [11_u64, 22, 33] {
            payload.extend(ticks.to_le_bytes());
        }
        payload.extend([0; 6]);
        let got = decode_frame(&packet(FRAME, &payload), (3, 1)).expect("a valid packet");
        assert_eq!(got.bodies, frame().bodies);
        assert_eq!((got.mid_exposure_ticks, got.transmit_ticks), (11, 33));
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0_usize..160, byte: u8, cut in 0_usize..160, minor in 0_u8..2) {
            let mut bytes = encode_frame(&frame());
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(cut.max(4));
            let _ = decode_frame(&bytes, (4, minor));
            let _ = decode_server_info(&bytes);
        }
    }
}
