//! Commands of a Patriot, which are also a Liberty's: they end with a carriage
//! return; the answers are packets while the output is binary.
//! (Polhemus Developer Interface, `PDItracker.h`; ipab-slmc/polhemus_ros_driver,
//! `liberty_protocol.h` and `liberty.cpp`; T-PLAY/hub, `patriot/Patriot.cpp`.)

use dexumi_episode::Device;

use super::{
    ATTEMPTS, Setup, ask, drain,
    record::{Format, HEAD_BYTES, Model},
};
use crate::{
    driver::{options::failed, serial::Port},
    error::CaptureError,
};

/// Control letters: who it is, which stations are active.
const WHO: u8 = 0x16;
const STATIONS: u8 = 0x15;
/// No answer of a tracker is longer.
const LONGEST: usize = 1024;

/// An answer.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub command: u8,
    pub error: u8,
    pub body: Vec<u8>,
}

/// All answers in what was heard.
pub(super) fn answers(heard: &[u8]) -> Vec<Answer> {
    let (mut answers, mut rest) = (Vec::new(), heard);
    while rest.len() >= HEAD_BYTES {
        let size = usize::from(u16::from_le_bytes([rest[6], rest[7]]));
        let is_head = matches!(&rest[..2], b"PA" | b"LY") && size <= LONGEST;
        match rest.get(HEAD_BYTES..HEAD_BYTES + size).filter(|_| is_head) {
            Some(body) => {
                answers.push(Answer {
                    command: rest[3],
                    error: rest[4],
                    body: body.to_vec(),
                });
                rest = &rest[HEAD_BYTES + size..];
            }
            None => rest = &rest[1..],
        }
    }
    answers
}

fn answer(command: u8) -> impl Fn(&[u8]) -> Option<Answer> {
    move |heard| {
        answers(heard)
            .into_iter()
            .find(|answer| answer.command == command)
    }
}

/// What an error is called.
pub(super) fn error_name(error: u8) -> Option<&'static str> {
    Some(match error {
        0 | b' ' => return None,
        0x01 => "invalid command",
        0x02 => "invalid station",
        0x03 => "invalid parameter",
        0x04 => "too few parameters",
        0x05 => "too many parameters",
        0x06 => "parameter below its limit",
        0x07 => "parameter above its limit",
        0x08..=0x0E => "a processor does not start or answer",
        b'a'..=b'g' => "the source fails",
        b'A'..=b'G' => "the source fails, and the built-in test too",
        b'I' => "the built-in test fails",
        _ => "an error",
    })
}

/// Whether a position with this error cannot be measured.
pub(super) fn is_blind(error: u8) -> bool {
    matches!(error, b'a'..=b'g' | b'A'..=b'G')
}

/// Makes the tracker send our records, and says what it is.
pub(super) fn set_up(
    device: &Device,
    port: &mut Port,
    setup: &Setup,
) -> Result<Vec<(String, String)>, CaptureError> {
    let silent = || {
        failed(
            device,
            "no Patriot answers",
            "is it on, its switches at this baud rate, and the cable a null modem?",
        )
    };
    let mut who = None;
    for _ in 0..ATTEMPTS {
        // Out of a command that somebody began; one record instead of many.
        port.write(b"\rP")?;
        drain(port)?;
        port.write(b"F1\r")?;
        drain(port)?;
        who = ask(port, &[WHO, b'\r'], answer(WHO))?;
        if who.is_some() {
            break;
        }
    }
    let who = who.ok_or_else(silent)?;
    let stations = ask(port, &[STATIONS, b'0', b'\r'], answer(STATIONS))?.ok_or_else(silent)?;
    let detected = match stations.body[..] {
        [low, high, ..] => u16::from_le_bytes([low, high]),
        _ => return Err(silent()),
    };
    let has_sensor = |station: u8| detected >> (station - 1) & 1 != 0;
    if let Some(missing) = setup.stations.iter().find(|&&station| !has_sensor(station)) {
        return Err(failed(
            device,
            format!("station {missing} has no sensor"),
            "plug it in, and switch the tracker off and on",
        ));
    }
    let mut commands = vec!["U1".to_owned(), format!("O*,{}", Model::Patriot.list())];
    for station in Model::Patriot
        .stations()
        .filter(|&station| has_sensor(station))
    {
        let on = u8::from(setup.stations.contains(&station));
        commands.push(format!("{}{station},{on}", char::from(STATIONS)));
    }
    if let Some([x, y, z]) = setup.hemisphere {
        let set = |station: &u8| format!("H{station},{x:.3},{y:.3},{z:.3}");
        commands.extend(setup.stations.iter().map(set));
    }
    for command in commands {
        // Nothing is said to a command that is done.
        let refusal = ask_briefly(port, &command)?;
        if let Some(problem) = refusal {
            let command = command.replace(char::from(STATIONS), "^U");
            return Err(failed(
                device,
                format!("the tracker refuses `{command}`: {problem}"),
                "switch it off and on",
            ));
        }
    }
    if setup.format == Format::Ascii {
        port.write(b"F0\r")?;
        drain(port)?;
    }
    port.write(b"C\r")?;
    let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\r' | b'\n');
    let text: String = who
        .body
        .iter()
        .filter(|b| printable(b))
        .map(|&b| char::from(b))
        .collect();
    let words: Vec<&str> = text
        .split(['\r', '\n'])
        .map(str::trim)
        .filter(|t| !t.is_empty())
        .collect();
    Ok(vec![
        ("model".to_owned(), "Patriot".to_owned()),
        ("identification".to_owned(), words.join("; ")),
    ])
}

/// Gives a command; the name of the error, if it is answered with one.
fn ask_briefly(port: &mut Port, command: &str) -> Result<Option<&'static str>, CaptureError> {
    port.write(format!("{command}\r").as_bytes())?;
    let mut heard = Vec::new();
    // One silence of a read is long enough for an answer.
    while let Some(chunk) = port.read()? {
        heard.extend_from_slice(chunk.bytes);
        if heard.len() > LONGEST {
            break;
        }
    }
    Ok(answers(&heard)
        .iter()
        .find_map(|answer| error_name(answer.error)))
}
