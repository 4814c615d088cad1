//! A connection seen from the board's end.

use dexumi_episode::{Device, HostTime};

use super::{
    describe::{Board, Channel, Field, Format, role},
    link::Link,
    protocol::{Deframer, Found, Kind, Packet},
};
use crate::driver::{Data, Item, Output, Sample, serial::Chunk};

const MS: i64 = 1_000_000;

fn encoders() -> Channel {
    let field = |role, count| Field {
        role,
        format: Format::I32,
        count,
        turn: 0,
        scale: 0.0,
        unit: "count".to_owned(),
    };
    Channel {
        name: "joints".to_owned(),
        rate_mhz: 200_000,
        scan_us: 0,
        fields: vec![field(role::ANGLE, 2), field(role::REFERENCE, 1)],
    }
}

fn force(name: &str) -> Channel {
    Channel {
        name: name.to_owned(),
        rate_mhz: 0,
        scan_us: 0,
        fields: vec![Field {
            role: role::FORCE,
            format: Format::I16,
            count: 3,
            turn: 0,
            scale: 0.01,
            unit: "N".to_owned(),
        }],
    }
}

fn packet(kind: Kind, channel: u8, sequence: u16, time_us: u32, payload: Vec<u8>) -> Vec<u8> {
    Packet {
        kind,
        channel,
        sequence,
        time_us,
        payload,
    }
    .encode()
}

/// Sample number `k`, taken `5 k` ms after the clock showed `start_us`.
fn sample(k: u16, start_us: u32) -> Vec<u8> {
    let words = [i32::from(k), -1, 4096];
    let payload = words.into_iter().flat_map(i32::to_le_bytes).collect();
    let time_us = start_us.wrapping_add(u32::from(k) * 5_000);
    packet(Kind::Sample, 1, k, time_us, payload)
}

fn description(started: bool) -> Vec<u8> {
    let board = Board {
        channels: 3,
        started,
        name: "glove".to_owned(),
        firmware: "1.2".to_owned(),
        serial: "A7".to_owned(),
    };
    let mut bytes = packet(Kind::Board, 0, 0, 9, board.encode());
    for (number, channel) in (1..).zip([encoders(), force("thumb"), force("index")]) {
        bytes.extend(packet(Kind::Channel, number, 0, 9, channel.encode()));
    }
    bytes
}

fn entry(stream: &str, source: Option<&str>) -> Device {
    Device {
        source: source.map(str::to_owned),
        ..Device::new(stream, "dexumi_board", "usb:2e8a:000a")
    }
}

struct Rig {
    link: Link,
    out: Output,
}

impl Rig {
    /// A connection to a described board, with these entries of the rig.
    fn new(devices: &[Device]) -> Self {
        let mut rig = Self {
            link: Link::new(HostTime::from_nanos(0)),
            out: Output::default(),
        };
        // A delimiter first: nothing was missed.
        rig.read(0, &[&[0][..], &description(true)].concat());
        rig.link.attach(devices, &mut rig.out).expect("attached");
        rig
    }

    fn read(&mut self, at_ns: i64, bytes: &[u8]) {
        let chunk = Chunk {
            bytes,
            arrival: HostTime::from_nanos(at_ns),
            uart_baud: None,
        };
        self.link.push(&chunk, &mut self.out);
    }

    /// Reads samples at their times, each 1 ms late.
    fn samples(&mut self, numbers: impl IntoIterator<Item = u16>, start_us: u32) {
        for k in numbers {
            self.read((i64::from(k) * 5 + 1) * MS, &sample(k, start_us));
        }
    }

    fn of<T>(&self, pick: impl Fn(usize, &Item) -> Option<T>) -> Vec<T> {
        let items = self.out.items.iter();
        items
            .filter_map(|(stream, item)| pick(*stream, item))
            .collect()
    }

    fn got(&self) -> Vec<Sample> {
        self.of(|_, item| match item {
            Item::Sample(sample) => Some(sample.clone()),
            _ => None,
        })
    }

    fn losses(&self) -> Vec<(&'static str, u64)> {
        self.of(|_, item| match item {
            Item::Lost { kind, count, .. } => Some((*kind, *count)),
            Item::Missing { count, .. } => Some(("missing", *count)),
            _ => None,
        })
    }

    fn notes(&self) -> Vec<String> {
        self.of(|_, item| match item {
            Item::Note { text, .. } => Some(text.clone()),
            _ => None,
        })
    }
}

fn joints() -> Vec<Device> {
    vec![entry("/exo/right/encoders", None)]
}

#[test]
fn samples_that_came_before_the_description_are_not_lost() {
    let mut link = Link::new(HostTime::from_nanos(0));
    let mut out = Output::default();
    let bytes = [
        &[0][..],
        &sample(0, 0),
        &sample(1, 0),
        &description(false),
        &sample(2, 0),
    ]
    .concat();
    let chunk = Chunk {
        bytes: &bytes,
        arrival: HostTime::from_nanos(20 * MS),
        uart_baud: None,
    };
    assert!(!link.is_described());
    link.push(&chunk, &mut out);
    assert!(link.is_described() && out.items.is_empty());
    link.attach(&joints(), &mut out).expect("attached");
    let rig = Rig { link, out };
    let got = rig.got();
    let sequences: Vec<_> = got.iter().map(|sample| sample.sequence).collect();
    assert_eq!(sequences, [0, 1, 2]);
    assert!(
        matches!(&got[2].data, Data::Encoders { counts, reference: 4096, .. } if counts[..] == [2, -1])
    );
    assert_eq!(
        (got[1].device.expect("clock") - got[0].device.expect("clock")).nanos(),
        5 * MS
    );
    assert!(rig.losses().is_empty());
}

#[test]
fn what_a_gap_lacks_is_damaged_or_missing_but_never_both() {
    let mut rig = Rig::new(&joints());
    rig.samples(0..3, 0);
    let mut damaged = sample(3, 0);
    damaged[4] ^= 8;
    rig.read(16 * MS, &damaged);
    rig.samples(6..8, 0);
    rig.samples([8, 10], 0);
    assert_eq!(
        rig.losses(),
        [("corrupt", 1), ("missing", 2), ("missing", 1)]
    );
    let sequences: Vec<_> = rig.got().iter().map(|sample| sample.sequence).collect();
    assert_eq!(sequences, [0, 1, 2, 6, 7, 8, 10].map(|k: u64| k));
}

#[test]
fn sequence_and_clock_wrap_without_a_gap() {
    let mut rig = Rig::new(&joints());
    for k in 0..6_u16 {
        let bytes = {
            let payload = [0_i32, 0, 1]
                .into_iter()
                .flat_map(i32::to_le_bytes)
                .collect();
            let time_us = (u32::MAX - 12_000).wrapping_add(u32::from(k) * 5_000);
            packet(
                Kind::Sample,
                1,
                (u16::MAX - 2).wrapping_add(k),
                time_us,
                payload,
            )
        };
        rig.read((i64::from(k) * 5 + 1) * MS, &bytes);
    }
    let got = rig.got();
    assert_eq!(got.len(), 6);
    assert!(got.windows(2).all(|pair| {
        let step = pair[1].device.expect("clock") - pair[0].device.expect("clock");
        step.nanos() == 5 * MS && pair[1].sequence == pair[0].sequence + 1
    }));
    assert!(rig.losses().is_empty());
}

#[test]
fn a_board_that_starts_anew_is_told_and_counts_from_zero_without_loss() {
    let mut rig = Rig::new(&joints());
    rig.samples(0..5, 900_000_000);
    rig.read(40 * MS, &description(true));
    rig.samples(9..12, 0);
    assert!(rig.notes()[0].contains("started anew"), "{:?}", rig.notes());
    assert!(rig.losses().is_empty());
    assert_eq!(rig.got().len(), 8);
    // Without the description, the leap of clock and sequence is no loss either.
    let mut rig = Rig::new(&joints());
    rig.samples(0..5, 900_000_000);
    rig.samples(9_000..9_003, 0);
    assert!(rig.losses().is_empty(), "{:?}", rig.losses());
    assert!(rig.link.ended.is_none());
}

/// What the host writes.
fn written(bytes: &[u8]) -> Vec<Packet> {
    let mut packets = Vec::new();
    Deframer::default().push(bytes, |found| match found {
        Found::Packet { packet, .. } => packets.push(packet),
        other => panic!("{other:?}"),
    });
    packets
}

#[test]
fn the_host_asks_for_the_description_and_then_for_the_time() {
    let mut link = Link::new(HostTime::from_nanos(5));
    let mut out = Output::default();
    let mut ask = |link: &mut Link, at_ms: i64| {
        let bytes = link.outgoing(HostTime::from_nanos(5 + at_ms * MS), &mut out);
        bytes.map(|bytes| written(&bytes))
    };
    assert_eq!(ask(&mut link, 0).expect("asks")[0].kind, Kind::Describe);
    assert_eq!(ask(&mut link, 200), None);
    assert_eq!(
        ask(&mut link, 300).expect("asks again")[0].kind,
        Kind::Describe
    );

    let mut rig = Rig::new(&[
        entry("/exo/right/encoders", None),
        entry("/exo/right/force/index", Some("index")),
    ]);
    rig.out.items.clear();
    let now = HostTime::now();
    let asked = rig.link.outgoing(now, &mut rig.out).expect("asks");
    let ping = &written(&asked)[0];
    assert_eq!(ping.kind, Kind::Ping);
    // An answer to another question is none.
    let pong = |id: &[u8]| packet(Kind::Pong, 0, 0, 77, id.to_vec());
    rig.read(now.nanos() + MS, &pong(&[9, 9, 9, 9]));
    assert!(rig.out.items.is_empty());
    rig.read(now.nanos() + 2 * MS, &pong(&ping.payload));
    let echoes = rig.of(|stream, item| match item {
        Item::Echo {
            sent,
            device,
            received,
        } => Some((
            stream,
            *sent == now,
            device.nanos(),
            received.nanos() - now.nanos(),
        )),
        _ => None,
    });
    assert_eq!(
        echoes,
        [(0, true, 77_000, 2 * MS), (1, true, 77_000, 2 * MS)]
    );
}

#[test]
fn over_a_wire_question_and_answer_took_their_time() {
    let mut rig = Rig::new(&joints());
    let now = HostTime::now();
    let asked = rig.link.outgoing(now, &mut rig.out).expect("asks");
    let pong = packet(Kind::Pong, 0, 0, 77, written(&asked)[0].payload.clone());
    assert_eq!((asked.len(), pong.len()), (18, 18));
    let chunk = Chunk {
        bytes: &pong,
        arrival: HostTime::from_nanos(now.nanos() + 5 * MS),
        uart_baud: Some(100_000),
    };
    rig.link.push(&chunk, &mut rig.out);
    let echoes = rig.of(|_, item| match item {
        Item::Echo { sent, received, .. } => Some((sent.nanos(), received.nanos())),
        _ => None,
    });
    let wire = 18 * 100_000;
    assert_eq!(echoes, [(now.nanos() + wire, now.nanos() + 5 * MS - wire)]);
}

#[test]
fn a_board_that_never_answers_is_told_once_and_asked_seldom() {
    let mut rig = Rig::new(&joints());
    rig.out.items.clear();
    let start = HostTime::now();
    let asked: Vec<i64> = (0..60_000)
        .filter(|&ms| {
            let now = HostTime::from_nanos(start.nanos() + ms * MS);
            rig.link.outgoing(now, &mut rig.out).is_some()
        })
        .collect();
    assert!((58..=68).contains(&asked.len()), "{asked:?}");
    let late = asked.iter().filter(|&&ms| ms > 10_000).count();
    assert_eq!(late, 5, "{asked:?}");
    assert_eq!(rig.notes().len(), 1);
}

#[test]
fn what_the_rig_asks_for_and_the_board_has_not_is_refused_with_what_it_has() {
    let refused = |device: Device| {
        let mut link = Link::new(HostTime::from_nanos(0));
        let mut out = Output::default();
        let chunk = Chunk {
            bytes: &description(false),
            arrival: HostTime::from_nanos(0),
            uart_baud: None,
        };
        link.push(&chunk, &mut out);
        link.attach(&[device], &mut out)
            .expect_err("refused")
            .to_string()
    };
    let error = refused(entry("/exo/right/force/thumb", None));
    assert!(
        error.contains("2 channels") && error.contains("source = \"thumb\" (force)"),
        "{error}"
    );
    let error = refused(entry("/exo/right/encoders", Some("wrist")));
    assert!(
        error.contains("`wrist`") && error.contains("\"joints\" (encoders)"),
        "{error}"
    );
    let error = refused(entry("/exo/right/encoders", Some("thumb")));
    assert!(error.contains("of another kind"), "{error}");
    assert!(refused(entry("/imu/hand", None)).contains("0 channels"));
}

#[test]
fn the_board_s_words_reach_people_but_cannot_flood_them() {
    let mut rig = Rig::new(&joints());
    for k in 0..100 {
        let line = packet(Kind::Text, 0, k, 0, b"\x01supply is low".to_vec());
        rig.read(i64::from(k) * MS, &line);
    }
    assert_eq!(rig.notes().len(), 20);
    assert_eq!(rig.notes()[0], "board `glove`: supply is low");
}

#[test]
fn another_version_a_changed_description_and_a_line_that_echoes_end_the_connection() {
    let mut rig = Rig::new(&joints());
    rig.read(0, &packet(Kind::Board, 0, 0, 0, vec![2, 1, 0, 0]));
    assert!(rig.link.ended.take().expect("ended").contains("version 2"));
    let other = Channel {
        rate_mhz: 1,
        ..encoders()
    };
    rig.read(0, &packet(Kind::Channel, 1, 0, 0, other.encode()));
    assert!(rig.link.ended.take().expect("ended").contains("channel 1"));
    let ping = rig
        .link
        .outgoing(HostTime::now(), &mut rig.out)
        .expect("asks");
    rig.read(0, &ping);
    assert!(rig.link.ended.take().expect("ended").contains("back"));
}

#[test]
fn a_rig_that_does_not_say_how_the_joints_are_scanned_is_told_the_line_to_add() {
    let scanned = Channel {
        scan_us: 1_000,
        ..encoders()
    };
    let attach = |device: Device| {
        let mut link = Link::new(HostTime::from_nanos(0));
        let mut out = Output::default();
        let board = Board {
            channels: 1,
            ..Board::default()
        };
        let bytes = [
            packet(Kind::Board, 0, 0, 0, board.encode()),
            packet(Kind::Channel, 1, 0, 0, scanned.encode()),
        ]
        .concat();
        let chunk = Chunk {
            bytes: &bytes,
            arrival: HostTime::from_nanos(0),
            uart_baud: None,
        };
        link.push(&chunk, &mut out);
        link.attach(&[device], &mut out).expect("attached");
        Rig { link, out }.notes()
    };
    let notes = attach(entry("/exo/right/encoders", None));
    let line = "options = { scan_offsets_s = [-0.000750, -0.000250] }";
    assert!(notes[0].contains(line), "{notes:?}");
    let mut device = entry("/exo/right/encoders", None);
    device
        .options
        .insert("scan_offsets_s".to_owned(), vec![-0.00075, -0.00025].into());
    assert_eq!(
        (super::DRIVER.metadata)(&device)[0].1,
        "-0.000750,-0.000250"
    );
    assert!(attach(device).is_empty());
}

proptest::proptest! {
    #[test]
    fn garbage_and_broken_descriptions_never_panic(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400),
        payload in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60),
        kind in 0_usize..7,
        channel in 0_u8..5,
    ) {
        use Kind::{Board, Channel, Describe, Ping, Pong, Sample, Text};
        let kind = [Board, Channel, Sample, Pong, Text, Describe, Ping][kind];
        let mut rig = Rig::new(&joints());
        rig.read(0, &bytes);
        rig.read(0, &packet(kind, channel, 0, 0, payload));
        rig.samples(0..3, 0);
    }
}
