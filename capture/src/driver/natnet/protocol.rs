//! The bytes of NatNet 3.0, 3.1, 4.0 and 4.1; no input or output.
//!
//! Packets: u16 message id, u16 payload size, payload, little-endian. The frame
//! of data carries three of the server's clock readings: mid-exposure of the
//! cameras (when the poses were true), reception by the software, and
//! transmission. From 4.1 on each section has its size in front; before, a
//! reader has to go through every entry.
//! (NatNet SDK: `NatNetTypes.h` and the `PacketClient` sample. The echo, which the
//! SDK names without a layout: mje-nz/python_natnet, with packets of a real
//! server.)

use super::cursor::Cursor;

/// Asks for a server's description, and for its data.
pub const CONNECT: u16 = 0;
/// Answer to [`CONNECT`].
pub const SERVER_INFO: u16 = 1;
/// Asks for the list of what is tracked.
pub const MODEL_REQUEST: u16 = 4;
/// Answer to [`MODEL_REQUEST`].
pub const MODEL_DEFINITION: u16 = 5;
/// Frame of data.
pub const FRAME: u16 = 7;
/// Keeps a unicast subscription alive.
pub const KEEP_ALIVE: u16 = 10;
/// Carries the client's time.
pub const ECHO_REQUEST: u16 = 12;
/// Carries the client's time back, and the server's ticks.
pub const ECHO_RESPONSE: u16 = 13;

/// Of a frame's parameters: what is tracked has changed.
const MODELS_CHANGED: u16 = 1 << 1;

/// Major and minor version of the protocol.
pub type Version = (u8, u8);

/// Where a server sends that is not told otherwise.
const DEFAULT_GROUP: [u8; 4] = [239, 255, 42, 99];

/// Since this version sections have their size in front.
pub(super) const SIZED: Version = (4, 1);

/// Pose of one rigid body.
#[derive(Debug, Clone, PartialEq)]
pub struct RigidBody {
    /// Streaming id.
    pub id: i32,
    /// x, y, z [m], in the server's axes.
    pub position_m: [f32; 3],
    /// Quaternion x, y, z, w, likewise.
    pub rotation_xyzw: [f32; 4],
    /// Mean marker error [m].
    pub mean_error_m: f32,
    /// Tracking was successful.
    pub tracked: bool,
}

/// Positions of a set of markers.
#[derive(Debug, Clone, PartialEq)]
pub struct MarkerSet {
    /// Its name.
    pub name: String,
    /// x, y, z [m], in the server's axes.
    pub points_m: Vec<[f32; 3]>,
}

/// What is read of a frame of data.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Frame {
    /// Frame number.
    pub number: i32,
    /// Marker sets.
    pub marker_sets: Vec<MarkerSet>,
    /// Rigid bodies.
    pub bodies: Vec<RigidBody>,
    /// The software's own time [s].
    pub software_time_s: f64,
    /// Middle of the cameras' exposure [server ticks]; 0 where nothing was exposed.
    pub mid_exposure_ticks: u64,
    /// Reception of the camera data [server ticks].
    pub received_ticks: u64,
    /// Transmission of the packet [server ticks].
    pub transmit_ticks: u64,
    /// What is tracked has changed: the list is to be asked for anew.
    pub models_changed: bool,
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
    /// That group.
    pub group: [u8; 4],
}

/// Id of a packet whose stated size fits.
pub fn message_id(packet: &[u8]) -> Option<u16> {
    let head = packet.get(..4)?;
    let size = u16::from_le_bytes([head[2], head[3]]) as usize;
    (packet.len() >= 4 + size).then(|| u16::from_le_bytes([head[0], head[1]]))
}

/// A packet. A payload above 65535 bytes is stated as that; readers take what
/// there is.
pub(super) fn packet(id: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(4 + payload.len());
    packet.extend(id.to_le_bytes());
    packet.extend(
        u16::try_from(payload.len())
            .unwrap_or(u16::MAX)
            .to_le_bytes(),
    );
    packet.extend(payload);
    packet
}

/// A cursor behind the head of a packet with this id.
pub(super) fn payload(bytes: &[u8], id: u16) -> Option<Cursor<'_>> {
    (message_id(bytes)? == id).then(|| Cursor::new(&bytes[4..]))
}

/// A request that needs no further content. In a connection request a client
/// names itself; the zeros where it might ask for another version of the
/// bitstream leave the server's as it is.
pub fn encode_request(id: u16) -> Vec<u8> {
    match id {
        CONNECT => {
            let mut payload = [0; 270];
            payload[..6].copy_from_slice(b"dexumi");
            payload[260..262].copy_from_slice(&[4, 1]);
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
    payload.extend(info.group);
    packet(SERVER_INFO, &payload)
}

/// Reads a server's answer.
pub fn decode_server_info(bytes: &[u8]) -> Option<ServerInfo> {
    let mut cursor = payload(bytes, SERVER_INFO)?;
    let name = cursor.take(256)?;
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    Some(ServerInfo {
        name: String::from_utf8_lossy(name).into_owned(),
        version: cursor.array()?,
        natnet: cursor.array()?,
        tick_hz: cursor.u64()?,
        data_port: u16::from_le_bytes(cursor.array()?),
        multicast: cursor.take(1)?[0] != 0,
        group: cursor.array().unwrap_or(DEFAULT_GROUP),
    })
}

/// Asks a server for its ticks; `client` comes back with them.
pub fn encode_echo_request(client: u64) -> Vec<u8> {
    packet(ECHO_REQUEST, &client.to_le_bytes())
}

/// Reads what a client asks to be echoed.
pub fn decode_echo_request(bytes: &[u8]) -> Option<u64> {
    payload(bytes, ECHO_REQUEST)?.u64()
}

/// A server's answer to an echo request.
pub fn encode_echo_response(client: u64, ticks: u64) -> Vec<u8> {
    let mut payload = client.to_le_bytes().to_vec();
    payload.extend(ticks.to_le_bytes());
    packet(ECHO_RESPONSE, &payload)
}

/// Reads what the client sent, and the server's ticks.
pub fn decode_echo_response(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut cursor = payload(bytes, ECHO_RESPONSE)?;
    Some((cursor.u64()?, cursor.u64()?))
}

/// A frame of data with marker sets and rigid bodies, and nothing in the other
/// sections.
pub fn encode_frame(frame: &Frame, version: Version) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let sized = version >= SIZED;
    out.extend(frame.number.to_le_bytes());
    let section = |out: &mut Vec<u8>, count: usize, body: &[u8]| {
        out.extend((count as i32).to_le_bytes());
        if sized {
            out.extend((body.len() as i32).to_le_bytes());
        }
        out.extend(body);
    };
    let mut body = Vec::new();
    for set in &frame.marker_sets {
        body.extend(set.name.bytes());
        body.push(0);
        body.extend((set.points_m.len() as i32).to_le_bytes());
        body.extend(set.points_m.iter().flatten().flat_map(|v| v.to_le_bytes()));
    }
    section(&mut out, frame.marker_sets.len(), &body);
    section(&mut out, 0, &[]); // other markers
    body.clear();
    for rigid in &frame.bodies {
        body.extend(rigid.id.to_le_bytes());
        let pose = rigid.position_m.iter().chain(&rigid.rotation_xyzw);
        body.extend(pose.flat_map(|v| v.to_le_bytes()));
        body.extend(rigid.mean_error_m.to_le_bytes());
        body.extend(u16::from(rigid.tracked).to_le_bytes());
    }
    section(&mut out, frame.bodies.len(), &body);
    // skeletons, assets since 4.1, labelled markers, force plates, devices
    let others = if sized { 5 } else { 4 };
    (0..others).for_each(|_| section(&mut out, 0, &[]));
    out.extend([0; 8]); // timecode, subframe
    out.extend(frame.software_time_s.to_le_bytes());
    out.extend(frame.mid_exposure_ticks.to_le_bytes());
    out.extend(frame.received_ticks.to_le_bytes());
    out.extend(frame.transmit_ticks.to_le_bytes());
    if sized {
        out.extend([0; 8]); // precision time
    }
    let parameters = if frame.models_changed {
        MODELS_CHANGED
    } else {
        0
    };
    out.extend(parameters.to_le_bytes());
    out.extend([0; 4]); // end
    packet(FRAME, &out)
}

/// Reads a frame of data of a protocol version; `None` where anything in it
/// contradicts itself.
pub fn decode_frame(bytes: &[u8], version: Version) -> Option<Frame> {
    let mut cursor = payload(bytes, FRAME)?;
    let sized = version >= SIZED;
    let number = cursor.i32()?;
    let marker_sets = read_section(&mut cursor, sized, marker_set)?;
    skip_section(&mut cursor, sized, |c| c.take(12).map(drop))?;
    let bodies = read_section(&mut cursor, sized, rigid_body)?;
    skip_section(&mut cursor, sized, |c| {
        c.i32()?;
        let bones = c.count()?;
        c.take(38 * bones).map(drop)
    })?;
    if sized {
        skip_section(&mut cursor, true, |_| None)?; // assets
    }
    skip_section(&mut cursor, sized, |c| c.take(26).map(drop))?; // labelled markers
    skip_section(&mut cursor, sized, analog)?; // force plates
    skip_section(&mut cursor, sized, analog)?; // devices
    cursor.take(8)?; // timecode, subframe
    let frame = Frame {
        number,
        marker_sets,
        bodies,
        software_time_s: f64::from_le_bytes(cursor.array()?),
        mid_exposure_ticks: cursor.u64()?,
        received_ticks: cursor.u64()?,
        transmit_ticks: cursor.u64()?,
        models_changed: false,
    };
    if sized {
        cursor.take(8)?; // precision time
    }
    let parameters = u16::from_le_bytes(cursor.array()?);
    // A version newer than those known may have more to say before its end.
    let ends = version > SIZED || cursor.i32()? == 0;
    ends.then_some(Frame {
        models_changed: parameters & MODELS_CHANGED != 0,
        ..frame
    })
}

fn read_section<T>(
    cursor: &mut Cursor<'_>,
    sized: bool,
    entry: impl Fn(&mut Cursor<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let count = cursor.count()?;
    let size = sized
        .then(|| cursor.count())
        .map_or(Some(None), |s| s.map(Some))?;
    let before = cursor.left();
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(entry(cursor)?);
    }
    let read = before - cursor.left();
    size.is_none_or(|size| size == read).then_some(entries)
}

/// Runs over a section: by its size where there is one, else entry by entry.
fn skip_section(
    cursor: &mut Cursor<'_>,
    sized: bool,
    entry: impl Fn(&mut Cursor<'_>) -> Option<()>,
) -> Option<()> {
    let count = cursor.count()?;
    if sized {
        let size = cursor.count()?;
        return cursor.take(size).map(drop);
    }
    (0..count).try_for_each(|_| entry(cursor))
}

fn marker_set(cursor: &mut Cursor<'_>) -> Option<MarkerSet> {
    let name = cursor.name()?;
    let count = cursor.count()?;
    let mut points_m = Vec::new();
    for _ in 0..count {
        points_m.push(cursor.point()?);
    }
    Some(MarkerSet { name, points_m })
}

fn rigid_body(cursor: &mut Cursor<'_>) -> Option<RigidBody> {
    Some(RigidBody {
        id: cursor.i32()?,
        position_m: cursor.point()?,
        rotation_xyzw: [cursor.f32()?, cursor.f32()?, cursor.f32()?, cursor.f32()?],
        mean_error_m: cursor.f32()?,
        tracked: u16::from_le_bytes(cursor.array()?) & 1 != 0,
    })
}

/// A force plate, or another device with analog channels.
fn analog(cursor: &mut Cursor<'_>) -> Option<()> {
    cursor.i32()?;
    for _ in 0..cursor.count()? {
        let values = cursor.count()?;
        cursor.take(4 * values)?;
    }
    Some(())
}
