//! Polhemus trackers on a pseudo-terminal, that do as they are told: FASTRAK, one
//! station after another at 120 Hz in all, and Patriot, all stations at 60 Hz.
//! Besides the sensors of the rig there is one that nobody asks for.

use dexumi_episode::{Device as Entry, HostTime, StreamKind};

use super::{
    EmulateError,
    assembly::{Assembly, Emulator, Part, system},
    device::Device,
    faults,
    pty::{Pty, Written},
    rig,
    truth::{Damaged, Fate, Sample},
};
use crate::driver::polhemus::record::{Format, Found, Item, Model, Record, Search, encode};

const BAUD: u32 = 115_200;
const INCH_CM: f64 = 2.54;

/// FASTRAK; the variant `ascii` is told to write text.
pub(super) const FASTRAK: Emulator = Emulator {
    driver: "polhemus_fastrak",
    start: |assembly, part| start(assembly, part, Model::Fastrak),
};

/// Patriot, likewise.
pub(super) const PATRIOT: Emulator = Emulator {
    driver: "polhemus_patriot",
    start: |assembly, part| start(assembly, part, Model::Patriot),
};

/// Measurements a second.
fn rate_hz(model: Model) -> f64 {
    match model {
        Model::Fastrak => 120.0,
        Model::Patriot => 60.0,
    }
}

/// From the measurement to the first byte [s], by the makers' figures.
fn latency_s(model: Model) -> f64 {
    match model {
        Model::Fastrak => 4e-3,
        Model::Patriot => 18.5e-3,
    }
}

fn wire_s(bytes: usize) -> f64 {
    bytes as f64 * 10.0 / f64::from(BAUD)
}

fn start(assembly: &mut Assembly<'_>, part: &Part, model: Model) -> Result<(), EmulateError> {
    let link = assembly.path(&part.streams[0]);
    let pty = Pty::create(&link).map_err(system(format!(
        "make a pseudo-terminal for `{}`",
        part.streams[0]
    )))?;
    let format = match part.variant {
        "ascii" => Format::Ascii,
        _ => Format::Binary,
    };
    let bytes = record_bytes(model, format);
    let source =
        format!("emulator: latency of the tracker and {bytes} bytes of 10 bits at {BAUD} baud");
    let delay_s = ((latency_s(model) + wire_s(bytes)) * 1e6).round() / 1e6;
    for (index, stream) in part.streams.iter().enumerate() {
        let mut entry = Entry {
            source: Some((index + 1).to_string()),
            ..rig::entry(part, stream, &link.to_string_lossy(), delay_s, &source)
        };
        if format == Format::Ascii && index == 0 {
            let ascii = toml::Value::String("ascii".to_owned());
            entry.options.insert("format".to_owned(), ascii);
        }
        assembly.rig.device.push(entry);
    }
    let devices: Vec<Device> = part
        .streams
        .iter()
        .map(|stream| assembly.device(part, stream))
        .collect();
    let names = part
        .streams
        .iter()
        .map(|stream| match StreamKind::of(stream) {
            Some(StreamKind::Tracker { name }) => name,
            _ => "nothing".to_owned(),
        })
        .collect();
    let rate_hz = part.rate_hz.unwrap_or(rate_hz(model));
    let tracker = Tracker::new(model, part.streams.len() + 1);
    assembly.spawn("emulate polhemus", move || {
        run(devices, names, pty, tracker, rate_hz)
    })
}

fn record_bytes(model: Model, format: Format) -> usize {
    let record = Record {
        station: 1,
        error: b' ',
        time_ms: Some(0),
        count: Some(0),
        position_cm: [0.0; 3],
        rotation_xyzw: [0.0, 0.0, 0.0, 1.0],
    };
    encode(model, format, model.items(), &record).len()
}

/// A tracker's settings, as after power-on: English units, ASCII, silent.
struct Tracker {
    model: Model,
    format: Format,
    continuous: bool,
    centimetres: bool,
    /// Whether each sensor that is plugged in is switched on.
    active: Vec<bool>,
    lists: Vec<Vec<Item>>,
    /// A command that has not ended.
    begun: Vec<u8>,
}

impl Tracker {
    fn new(model: Model, sensors: usize) -> Self {
        Self {
            model,
            format: Format::Ascii,
            continuous: false,
            centimetres: false,
            active: vec![true; sensors],
            lists: vec![vec![Item::Position, Item::Euler, Item::LineEnd]; sensors],
            begun: Vec::new(),
        }
    }

    /// Does what it is told; what it answers.
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut answers = Vec::new();
        for &byte in bytes {
            let at_once = match self.model {
                Model::Fastrak => matches!(byte, b'c' | b'C' | b'u' | b'U' | b'f' | b'F' | b'S'),
                Model::Patriot => byte == b'P',
            };
            if self.begun.is_empty() && at_once {
                answers.extend(self.obey(&[byte]));
            } else if byte == b'\r' {
                let command = std::mem::take(&mut self.begun);
                answers.extend(self.obey(&command));
            } else if self.begun.len() < 64 {
                self.begun.push(byte);
            }
        }
        answers
    }

    fn obey(&mut self, command: &[u8]) -> Vec<u8> {
        let (&letter, rest) = match command.split_first() {
            Some(parts) => parts,
            None => return Vec::new(),
        };
        let rest = std::str::from_utf8(rest).unwrap_or_default();
        match self.model {
            Model::Fastrak => self.obey_fastrak(letter, rest),
            Model::Patriot => self.obey_patriot(letter, rest),
        }
    }

    /// Station and further arguments.
    fn arguments(rest: &str) -> Option<(&str, &str)> {
        rest.split_once(',')
    }

    fn switch(&mut self, rest: &str) {
        if let Some((Ok(station), on)) =
            Self::arguments(rest).map(|(s, on)| (s.parse::<usize>(), on))
            && let Some(active) = self.active.get_mut(station.wrapping_sub(1))
        {
            *active = on == "1";
        }
    }

    /// Whether the list was understood.
    fn list(&mut self, rest: &str) -> bool {
        let Some((station, list)) = Self::arguments(rest) else {
            return false;
        };
        let Some(list) = self.model.read_list(list) else {
            return false;
        };
        for (index, items) in self.lists.iter_mut().enumerate() {
            if station == "*" || station == (index + 1).to_string() {
                items.clone_from(&list);
            }
        }
        true
    }

    fn obey_fastrak(&mut self, letter: u8, rest: &str) -> Vec<u8> {
        match letter {
            b'c' | b'C' => self.continuous = letter == b'C',
            b'u' | b'U' => self.centimetres = letter == b'u',
            b'f' => self.format = Format::Binary,
            b'F' => self.format = Format::Ascii,
            b'O' => drop(self.list(rest)),
            b'l' if rest.contains(',') => self.switch(rest),
            b'l' => {
                let digit = |station: usize| self.active.get(station).is_some_and(|on| *on);
                let digits: String = (0..4).map(|s| if digit(s) { '1' } else { '0' }).collect();
                return format!("21l{digits}\r\n").into_bytes();
            }
            b'S' => {
                let flag = |on: bool, bit: u32| u32::from(on) << bit;
                let flags = 0x3F0
                    | flag(self.format == Format::Binary, 0)
                    | flag(self.centimetres, 1)
                    | flag(self.continuous, 3);
                return format!(
                    "21S{flags:3X}  0   1  {:6}{:32}\r\n",
                    "0.01", "dexumi emulator"
                )
                .into_bytes();
            }
            _ => {}
        }
        Vec::new()
    }

    fn obey_patriot(&mut self, letter: u8, rest: &str) -> Vec<u8> {
        let packet = |command: u8, error: u8, body: &[u8]| {
            let [low, high] = (body.len() as u16).to_le_bytes();
            let mut bytes = vec![b'P', b'A', 1, command, error, 0, low, high];
            bytes.extend(body);
            bytes
        };
        let understood = match (letter, rest) {
            (b'P', "") => {
                self.continuous = false;
                true
            }
            (b'C', "") => {
                self.continuous = true;
                true
            }
            (b'F', "0" | "1") => {
                let binary = rest == "1";
                self.format = if binary {
                    Format::Binary
                } else {
                    Format::Ascii
                };
                return packet(b'F', 0, &i32::from(binary).to_le_bytes());
            }
            (b'U', "0" | "1") => {
                self.centimetres = rest == "1";
                true
            }
            (b'O', rest) => self.list(rest),
            (b'H', rest) => rest.split(',').filter(|v| v.parse::<f64>().is_ok()).count() == 4,
            (0x16, "") => {
                return packet(
                    0x16,
                    0,
                    b"\x02\x01\0\0\0\0\0\0\r\ndexumi emulator\r\nFirmware 0.01\r\n",
                );
            }
            (0x15, "0") => {
                let detected = (1_u16 << self.active.len()) - 1;
                let on = |(index, on): (usize, &bool)| u16::from(*on) << index;
                let active: u16 = self.active.iter().enumerate().map(on).sum();
                let body = [detected.to_le_bytes(), active.to_le_bytes()].concat();
                return packet(0x15, 0, &body);
            }
            (0x15, rest) => {
                self.switch(rest);
                true
            }
            _ => false,
        };
        if understood {
            Vec::new()
        } else {
            packet(letter, 1, &[])
        }
    }

    /// Stations that measure in a step.
    fn turn(&self, step: u64) -> Vec<usize> {
        let active: Vec<usize> = (0..self.active.len()).filter(|&s| self.active[s]).collect();
        match self.model {
            Model::Fastrak if !active.is_empty() => {
                vec![active[(step % active.len() as u64) as usize]]
            }
            _ => active,
        }
    }
}

/// Measures until it is time to stop.
fn run(
    mut devices: Vec<Device>,
    names: Vec<String>,
    mut pty: Pty,
    mut tracker: Tracker,
    rate_hz: f64,
) {
    let shared = devices[0].shared.clone();
    let clock = devices[0].clock;
    let model = tracker.model;
    let streams: Vec<String> = devices.iter().map(|device| device.stream.clone()).collect();
    let unplugged = |t_ns: i64| streams.iter().find_map(|s| shared.unplugged(s, t_ns));
    let period_ns = clock.host_s(1.0 / rate_hz) * 1e9;
    let phase_ns = devices[0].random.between(0.0, period_ns);
    let mut plugged = true;
    for step in 0_u64.. {
        let t_ns = shared.start_ns + (phase_ns + step as f64 * period_ns) as i64;
        if !shared.sleep_until(t_ns) {
            return;
        }
        // Only the cable: the tracker has a supply of its own, and goes on.
        let was_plugged = std::mem::replace(&mut plugged, unplugged(t_ns).is_none());
        if plugged != was_plugged {
            let what = if plugged { "plug" } else { "unplug" };
            streams
                .iter()
                .for_each(|stream| shared.truth.event(stream, what, 1));
            if !plugged {
                pty.unplug();
            } else if let Err(error) = pty.plug() {
                return shared.fail(&streams[0], format!("no new pseudo-terminal: {error}"));
            }
        }
        match pty.hear() {
            Ok(Some(heard)) => {
                let answers = tracker.hear(&heard);
                if !answers.is_empty() {
                    let _ = pty.write(&answers);
                }
            }
            Ok(None) => shared.truth.event(&streams[0], "reader_left", 1),
            Err(error) => return shared.fail(&streams[0], format!("cannot listen: {error}")),
        }
        let time_ms = (clock.at(t_ns) / 1_000_000) as u32;
        // One record after another on the wire.
        for (place, station) in (1..).zip(tracker.turn(step)) {
            let name = names.get(station).map_or("bench", String::as_str);
            let pose = shared.scene.world_from_tracker(name, shared.scene_s(t_ns));
            let (position, rotation) = (pose.translation.vector, pose.rotation.coords);
            let unit = if tracker.centimetres {
                100.0
            } else {
                100.0 / INCH_CM
            };
            let record = Record {
                station: station as u8 + 1,
                error: b' ',
                time_ms: Some(time_ms),
                count: Some(step as u32),
                position_cm: [0, 1, 2].map(|axis| position[axis] * unit),
                rotation_xyzw: rotation.into(),
            };
            let bytes = encode(model, tracker.format, &tracker.lists[station], &record);
            let wire_ns = ((latency_s(model) + wire_s(place * bytes.len())) * 1e9) as i64;
            let ticks = (model == Model::Patriot).then_some(u64::from(time_ms));
            let values = position.iter().chain(rotation.iter()).copied().collect();
            let sample = devices
                .get_mut(station)
                .map(|device| device.sample(t_ns, ticks, values, Vec::new()));
            let draw = devices[0].draw();
            let due_ns = devices[0].due(t_ns + wire_ns + draw.stall_ns);
            if !shared.sleep_until(due_ns) {
                return;
            }
            let conclude = |devices: &[Device], sample: Option<Sample>, fate| {
                if let Some(sample) = sample {
                    devices[station].conclude(sample, fate);
                }
            };
            if draw.drop || !tracker.continuous {
                let fate = if draw.drop {
                    Fate::Dropped
                } else {
                    Fate::Unsent
                };
                conclude(&devices, sample, fate);
                continue;
            }
            let (bytes, damaged) = match draw.corrupt {
                true => damage(&tracker, &bytes, &mut devices[0]),
                false => (bytes, None),
            };
            let late_us = (HostTime::now().nanos() - due_ns) as f64 * 1e-3;
            let fate = match pty.write(&bytes) {
                Ok(Written::Whole) if damaged.is_some() => Fate::Corrupt,
                Ok(Written::Whole) => Fate::Sent,
                Ok(_) => Fate::Unsent,
                Err(error) => return shared.fail(&streams[0], format!("cannot write: {error}")),
            };
            let sample = sample.map(|sample| match fate {
                Fate::Unsent => sample,
                _ => Sample {
                    damage: damaged,
                    late_us: Some(late_us),
                    ..sample
                },
            });
            conclude(&devices, sample, fate);
        }
    }
}

/// A damaged record, and what a reader can know of it: a record has no checksum, so
/// that a changed number may pass.
fn damage(tracker: &Tracker, record: &[u8], device: &mut Device) -> (Vec<u8>, Option<Damaged>) {
    let found = |bytes: &[u8]| {
        let mut search = Search::new(tracker.model, tracker.format);
        let mut records = Vec::new();
        // The start of the next one, which may seem to belong to it.
        let line = [bytes, &record[..record.len() - 3]].concat();
        search.push(&line, |found| {
            if let Found::Record(record, _) = found {
                records.push(record);
            }
        });
        records
    };
    let (bytes, kind) = faults::damage(record, &mut device.random);
    let (meant, got) = (found(record), found(&bytes));
    let intact = got == meant;
    let damaged = Damaged {
        kind,
        exposable: intact || got.is_empty(),
        intact,
        jump_deg: 0.0,
        jump_counts: 0.0,
        jump_ms: 0.0,
    };
    (bytes, Some(damaged))
}
