//! Anything else that can send UDP: our own JSON packets (`udp_json`), OSC
//! (`osc`), and the Quest app Hand Tracking Streamer (`hts`).
//!
//! `docs/devices/udp.md` is what a sender reads.

mod hts;
mod json;
mod osc;
mod source;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, ToSocketAddrs, UdpSocket};

use dexumi_episode::{ClockModel, Device, StreamKind};
use socket2::{Domain, Protocol, Socket, Type};

use self::source::UdpSource;
use super::{
    Data, Driver, Source,
    axes::Axes,
    min_delay_ns,
    options::{Options, failed},
};
use crate::error::CaptureError;

pub use hts::{encode as encode_hts, parse as parse_hts};
pub use json::{answer as answer_json, encode as encode_json, parse as parse_json};
pub use osc::{answer as answer_osc, encode as encode_osc, parse as parse_osc};

/// What the kernel keeps while this program is held up.
const KERNEL_BYTES: usize = 4 << 20;

/// JSON as documented.
pub const JSON: Driver = Driver {
    name: "udp_json",
    help: "Poses, keypoints, encoders, forces, IMU or markers as JSON over UDP, from any program",
    open: |devices| open(devices, &json::FORMAT),
    ..OSC
};

/// Open Sound Control.
pub const OSC: Driver = Driver {
    name: "osc",
    help: "The same as OSC messages over UDP, from any program",
    feeds: "any stream but images",
    can_feed: |topic| {
        !matches!(
            StreamKind::of(topic),
            None | Some(StreamKind::Camera { .. } | StreamKind::Depth { .. })
        )
    },
    // Of stamps that are a double of seconds.
    clock: |device| {
        Some(ClockModel {
            tick_ns: 1_000,
            min_delay_ns: min_delay_ns(device),
        })
    },
    metadata: |device| {
        let option = |key: &str| device.options.get(key).and_then(toml::Value::as_str);
        let axes = option("axes").or((device.driver == HTS.name).then_some("unity"));
        let frame = match axes {
            Some("y_up") => "the sender's world with z up: x, -z, y of its axes",
            Some("unity") => "the sender's Unity world made right-handed: z, -x, y of its axes",
            _ => "the sender's world",
        };
        vec![("frame", frame.to_owned())]
    },
    shares: true,
    // Where the sender numbers its packets; else nobody can say what is missing.
    counts_missing: true,
    keeps_packets: true,
    open: |devices| open(devices, &osc::FORMAT),
};

/// Hand Tracking Streamer.
pub const HTS: Driver = Driver {
    name: "hts",
    help: "Meta Quest with the app Hand Tracking Streamer: wrists, head, 21 keypoints of each hand",
    feeds: "/tracker/<name>/pose, /glove/<left|right>/keypoints",
    can_feed: |topic| {
        matches!(
            StreamKind::of(topic),
            Some(StreamKind::Tracker { .. } | StreamKind::Keypoints { .. })
        )
    },
    open: |devices| open(devices, &hts::FORMAT),
    ..OSC
};

/// A language that packets can be in.
struct Format {
    /// Reads a datagram; `Err` in words for people.
    parse: fn(&[u8]) -> Result<Vec<Message>, String>,
    /// Asks the sender for its time; an answer carries the number back.
    echo: Option<fn(u64) -> Vec<u8>>,
    axes: Axes,
}

/// What a sender says.
#[derive(Debug, Clone)]
pub enum Message {
    /// A sample.
    Sample(Packet),
    /// An answer to a question for the time.
    Echo {
        /// The question's number.
        number: u64,
        /// The sender's clock [ns].
        time_ns: i64,
    },
    /// Serial number, firmware, settings of what a stream is of.
    About {
        /// The stream's name, as in a sample.
        name: String,
        /// Keys and values.
        about: Vec<(String, String)>,
    },
}

/// A sample, in the sender's axes and units.
#[derive(Debug, Clone)]
pub struct Packet {
    /// The sender's name for the stream.
    pub name: String,
    /// Its number, which counts up by one.
    pub sequence: Option<u64>,
    /// When it was true, on the sender's clock [ns].
    pub time_ns: Option<i64>,
    /// When it was sent, likewise.
    pub sent_ns: Option<i64>,
    /// What was measured.
    pub payload: Payload,
}

/// What a packet carries.
#[derive(Debug, Clone)]
pub enum Payload {
    /// A thing that says what it is.
    Data(Data),
    /// Numbers whose meaning is that of the stream.
    Numbers {
        /// `pose`, `keypoints`, `markers`, `imu`, `force` or `encoders`, where the
        /// sender says it.
        what: Option<String>,
        /// In order.
        values: Vec<f64>,
        /// Whether the sender believes them.
        valid: bool,
    },
}

/// What the rig says of a connection.
struct Settings {
    axes: Axes,
    /// Metres in a unit of the sender.
    unit_m: f64,
    /// Its quaternions begin with w.
    w_first: bool,
    /// Nobody else is listened to.
    from: Option<IpAddr>,
}

fn open(devices: &[Device], format: &'static Format) -> Result<Box<dyn Source>, CaptureError> {
    let device = &devices[0];
    let options = Options::of(
        devices,
        &["axes", "unit", "quaternion", "from", "interface"],
    )?;
    let unit = |text: &str| match text {
        "m" => Some(1.0),
        "cm" => Some(0.01),
        "mm" => Some(0.001),
        _ => None,
    };
    let w_first = |text: &str| match text {
        "xyzw" => Some(false),
        "wxyz" => Some(true),
        _ => None,
    };
    let settings = Settings {
        axes: options
            .text("axes", Axes::NAMES, Axes::named)?
            .unwrap_or(format.axes),
        unit_m: options.text("unit", "m, cm or mm", unit)?.unwrap_or(1.0),
        w_first: options
            .text("quaternion", "xyzw or wxyz", w_first)?
            .unwrap_or(false),
        from: options.text(
            "from",
            "the sender's address, such as 192.168.1.7",
            |text| text.parse().ok(),
        )?,
    };
    let interface = options.text("interface", "this computer's address", |text| {
        text.parse::<Ipv4Addr>().ok()
    })?;
    let socket = listen(device, interface.unwrap_or(Ipv4Addr::UNSPECIFIED))?;
    Ok(Box::new(UdpSource::new(socket, format, settings, devices)))
}

/// A socket on the address of the rig: `0.0.0.0:9005` for any sender,
/// `127.0.0.1:9005` for programs of this computer, or a multicast group.
fn listen(device: &Device, interface: Ipv4Addr) -> Result<UdpSocket, CaptureError> {
    let malformed = |problem: String| {
        failed(
            device,
            problem,
            "write the address to listen on, such as 0.0.0.0:9005",
        )
    };
    let address = device
        .address
        .to_socket_addrs()
        .map_err(|error| malformed(format!("not an address ({error})")))?
        .find(SocketAddr::is_ipv4)
        .ok_or_else(|| malformed("no IPv4 address".to_owned()))?;
    let open = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        if let SocketAddr::V4(group) = address
            && group.ip().is_multicast()
        {
            // Others on this computer may listen as well.
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddrV4::new(*group.ip(), group.port()).into())?;
            socket.join_multicast_v4(group.ip(), &interface)?;
        } else {
            socket.bind(&address.into())?;
        }
        let _ = socket.set_recv_buffer_size(KERNEL_BYTES);
        socket.set_read_timeout(Some(source::WAIT))?;
        Ok::<UdpSocket, std::io::Error>(socket.into())
    };
    open().map_err(|error| {
        failed(
            device,
            format!("cannot listen ({error})"),
            "is the port taken by another program, and the address one of this computer?",
        )
    })
}
