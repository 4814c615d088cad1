//! OptiTrack Motive by NatNet 3.0 to 4.1 over UDP, unicast or multicast: any
//! number of rigid bodies and marker sets over one connection.
//!
//! The clock is fitted on the time of transmission and on echoes, the poses are
//! dated by the middle of the exposure.

mod cursor;
mod link;
mod model;
mod protocol;
mod source;
#[cfg(test)]
mod tests;

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, ToSocketAddrs},
    time::{Duration, Instant},
};

use dexumi_episode::{ClockModel, Device, StreamKind};

pub use model::{Models, decode_models, encode_models};
pub use protocol::*;

use self::{link::Link, source::NatNetSource};
use super::{
    Driver, Source,
    axes::Axes,
    min_delay_ns,
    options::{Options, failed},
};
use crate::error::CaptureError;

/// How long a server may take to describe itself.
const PATIENCE: Duration = Duration::from_secs(3);
/// And then to list what it tracks.
const MODEL_PATIENCE: Duration = Duration::from_secs(1);
/// Between two questions.
const REPEAT: Duration = Duration::from_millis(250);

/// The registration.
pub const DRIVER: Driver = Driver {
    name: "natnet",
    help: "OptiTrack Motive by NatNet 3.0-4.1, UDP: rigid bodies and marker sets",
    feeds: "/tracker/<name>/pose, /mocap/<name>/markers",
    can_feed: |topic| {
        matches!(
            StreamKind::of(topic),
            Some(StreamKind::Tracker { .. } | StreamKind::Markers { .. })
        )
    },
    // Of Motive's clock; a server with another is converted on arrival.
    clock: |device| {
        Some(ClockModel {
            tick_ns: 100,
            min_delay_ns: min_delay_ns(device),
        })
    },
    metadata: |device| {
        let axes = device.options.get("axes").and_then(toml::Value::as_str);
        let frame = match axes {
            Some("z_up") => "Motive's world, streamed with z up",
            _ => "Motive's world with z up: x, -z, y of its axes",
        };
        vec![("frame", frame.to_owned())]
    },
    shares: true,
    counts_missing: true,
    keeps_packets: true,
    open,
};

/// What the rig says of the connection.
struct Settings {
    axes: Axes,
    interface: Option<Ipv4Addr>,
    multicast: Option<bool>,
    group: Option<Ipv4Addr>,
    data_port: Option<u16>,
}

impl Settings {
    fn of(devices: &[Device]) -> Result<Self, CaptureError> {
        let known = ["axes", "interface", "multicast", "group", "data_port"];
        let options = Options::of(devices, &known)?;
        let axes = |name: &str| match name {
            "unity" => None,
            _ => Axes::named(name),
        };
        let address = |text: &str| text.parse::<Ipv4Addr>().ok();
        let group = |text: &str| address(text).filter(Ipv4Addr::is_multicast);
        Ok(Self {
            // Motive's own setting, "Up Axis: Y".
            axes: options
                .text(
                    "axes",
                    "y_up or z_up, as set in Motive's Data Streaming",
                    axes,
                )?
                .unwrap_or(Axes::YUp),
            interface: options.text(
                "interface",
                "this computer's address, such as 192.168.1.5",
                address,
            )?,
            multicast: options.flag("multicast")?,
            group: options.text("group", "a multicast address, such as 239.255.42.99", group)?,
            data_port: options
                .whole("data_port", 1..=65_535)?
                .map(|port| port as u16),
        })
    }
}

fn open(devices: &[Device]) -> Result<Box<dyn Source>, CaptureError> {
    let device = &devices[0];
    let settings = Settings::of(devices)?;
    let server = server_address(device)?;
    let network = |error: std::io::Error| {
        failed(
            device,
            error.to_string(),
            "is the network up, and option `interface`, if given, an address of this computer?",
        )
    };
    let mut link = Link::open(server, settings.interface).map_err(network)?;
    let info = greet(device, &mut link)?;
    let version = (info.natnet[0], info.natnet[1]);
    if info.tick_hz == 0 || version < (3, 0) {
        return Err(failed(
            device,
            format!("server speaks NatNet {}.{}", version.0, version.1),
            "NatNet 3.0 or newer is needed for mid-exposure times; update Motive",
        ));
    }
    if settings.multicast.unwrap_or(info.multicast) {
        let group = settings.group.unwrap_or(info.group.into());
        let port = settings.data_port.unwrap_or(info.data_port);
        link.join(group, port).map_err(|error| {
            failed(
                device,
                format!(
                    "cannot listen to {group}:{port} on {}: {error}",
                    link.interface()
                ),
                "option `interface` names the network card that leads to Motive",
            )
        })?;
    }
    let models = ask_models(&mut link, version).map_err(network)?;
    Ok(Box::new(NatNetSource::new(
        link,
        info,
        settings.axes,
        models,
        devices,
    )?))
}

fn server_address(device: &Device) -> Result<SocketAddrV4, CaptureError> {
    let mut addresses = device
        .address
        .to_socket_addrs()
        .map_err(|error| {
            failed(
                device,
                format!("not an address ({error})"),
                "write host:port, such as 192.168.1.20:1510",
            )
        })?
        .filter_map(|address| match address {
            SocketAddr::V4(address) => Some(address),
            SocketAddr::V6(_) => None,
        });
    addresses.next().ok_or_else(|| {
        failed(
            device,
            "no IPv4 address",
            "write host:port, such as 192.168.1.20:1510",
        )
    })
}

/// Asks the server for its description until it answers.
fn greet(device: &Device, link: &mut Link) -> Result<ServerInfo, CaptureError> {
    let gone = |error: std::io::Error| {
        failed(
            device,
            error.to_string(),
            "is Motive streaming on this port?",
        )
    };
    ask(link, CONNECT, PATIENCE, decode_server_info)
        .map_err(gone)?
        .ok_or_else(|| {
            failed(
                device,
                "no NatNet server answers",
                "is Motive streaming (Data Streaming: on, this computer allowed by the firewall)?",
            )
        })
}

/// Asks for the list of what is tracked. Some servers have none.
fn ask_models(link: &mut Link, version: Version) -> std::io::Result<Option<Models>> {
    ask(link, MODEL_REQUEST, MODEL_PATIENCE, |bytes| {
        decode_models(bytes, version)
    })
}

/// Asks until an answer comes; data that come between are from before the start.
fn ask<T>(
    link: &mut Link,
    request: u16,
    patience: Duration,
    read: impl Fn(&[u8]) -> Option<T>,
) -> std::io::Result<Option<T>> {
    let start = Instant::now();
    let mut asked: Option<Instant> = None;
    while start.elapsed() < patience {
        if asked.is_none_or(|at| at.elapsed() > REPEAT) {
            link.send(&encode_request(request));
            asked = Some(Instant::now());
        }
        link.wait(Duration::from_millis(50))?;
        while let Some((packet, _)) = link.receive()? {
            if let Some(answer) = read(packet) {
                return Ok(Some(answer));
            }
            if start.elapsed() > patience {
                break;
            }
        }
    }
    Ok(None)
}
