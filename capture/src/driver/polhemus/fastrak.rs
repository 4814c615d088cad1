//! Commands of a FASTRAK. Single letters are taken at once, the others end with a
//! carriage return; none is answered but questions.
//! (3Space Fastrak User Manual OPM00PI002 Rev. G: `c`, `C`, `u`, `f`, `F`, `O`, `H`, `l`, `S`.)

use dexumi_episode::Device;

use super::{
    ATTEMPTS, Setup, ask, drain,
    record::{Format, Model},
};
use crate::{
    driver::{options::failed, serial::Port},
    error::CaptureError,
};

/// Of a status record: binary output, centimetres.
const BINARY: u32 = 1;
const CENTIMETRES: u32 = 2;
/// A status record is so long.
const STATUS_BYTES: usize = 55;

/// Makes the tracker send our records, and says what it is.
pub(super) fn set_up(
    device: &Device,
    port: &mut Port,
    setup: &Setup,
) -> Result<Vec<(String, String)>, CaptureError> {
    let silent = || {
        failed(
            device,
            "no FASTRAK answers",
            "is it on, its switches at RS-232 and this baud rate, and the cable a null modem?",
        )
    };
    let mut identity = None;
    for _ in 0..ATTEMPTS {
        // Out of a command that somebody began, and quiet.
        port.write(b"\rc")?;
        drain(port)?;
        identity = ask(port, b"S", status)?;
        if identity.is_some() {
            break;
        }
    }
    let identity = identity.ok_or_else(silent)?;
    for station in &setup.stations {
        port.write(format!("l{station},1\r").as_bytes())?;
    }
    drain(port)?;
    let active = ask(port, b"l1\r", active_stations)?.ok_or_else(silent)?;
    if let Some(missing) = setup
        .stations
        .iter()
        .find(|station| !active.contains(station))
    {
        return Err(failed(
            device,
            format!("station {missing} has no sensor"),
            "plug it in, and switch the tracker off and on",
        ));
    }
    // The others would take their share of its time.
    for station in active
        .iter()
        .filter(|station| !setup.stations.contains(station))
    {
        port.write(format!("l{station},0\r").as_bytes())?;
    }
    let format = match setup.format {
        Format::Binary => 'f',
        Format::Ascii => 'F',
    };
    port.write(format!("u{format}").as_bytes())?;
    let list = Model::Fastrak.list();
    for station in &setup.stations {
        port.write(format!("O{station},{list}\r").as_bytes())?;
        if let Some([x, y, z]) = setup.hemisphere {
            port.write(format!("H{station},{x:.3},{y:.3},{z:.3}\r").as_bytes())?;
        }
    }
    drain(port)?;
    let status = ask(port, b"S", status)?.ok_or_else(silent)?;
    let is_binary = status.flags & BINARY != 0;
    if status.flags & CENTIMETRES == 0 || is_binary != (setup.format == Format::Binary) {
        return Err(failed(
            device,
            format!(
                "the tracker does not do as it is told: its flags are {:X}",
                status.flags
            ),
            "switch it off and on",
        ));
    }
    port.write(b"C")?;
    let text = |text: &str| text.trim().to_owned();
    Ok(vec![
        ("model".to_owned(), "FASTRAK".to_owned()),
        ("firmware".to_owned(), text(&identity.version)),
        ("identification".to_owned(), text(&identity.identification)),
        ("built_in_test".to_owned(), text(&status.test)),
    ])
}

/// What a tracker says of itself.
#[derive(Debug, PartialEq)]
pub(super) struct Status {
    pub flags: u32,
    pub test: String,
    pub version: String,
    pub identification: String,
}

/// Finds a status record: `2`, station, `S`, three hexadecimal digits of flags, three
/// of the built-in test, then version and identification.
pub(super) fn status(heard: &[u8]) -> Option<Status> {
    heard
        .windows(STATUS_BYTES)
        .filter(|w| w[0] == b'2' && w[2] == b'S' && w.ends_with(b"\r\n"))
        .find_map(|window| {
            let text = std::str::from_utf8(window)
                .ok()
                .filter(|text| text.is_ascii())?;
            Some(Status {
                flags: u32::from_str_radix(text[3..6].trim(), 16).ok()?,
                test: text[6..9].to_owned(),
                version: text[15..21].to_owned(),
                identification: text[21..53].to_owned(),
            })
        })
}

/// Finds which stations are active: `2`, station, `l`, a digit for each.
pub(super) fn active_stations(heard: &[u8]) -> Option<Vec<u8>> {
    heard
        .windows(9)
        .find(|w| w[0] == b'2' && w[2] == b'l' && w.ends_with(b"\r\n"))
        .map(|w| {
            let on = |station: &u8| w[2 + usize::from(*station)] == b'1';
            (1..=4).filter(on).collect()
        })
}
