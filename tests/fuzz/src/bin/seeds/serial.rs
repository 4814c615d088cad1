//! What comes over a serial line: encoders, force sensors, boards, trackers.

use dexumi_capture::driver::{
    board, inspire_encoders, inspire_fsr, packets::Packet as _, polhemus, xhand_encoders,
    xhand_force,
};

use crate::{Seeds, disturbed, part};

pub fn serial(seeds: &Seeds) {
    fn scans<const N: usize>() -> Vec<Vec<u8>> {
        (0..7)
            .map(|k| dexumi_capture::driver::encoder_scan::Scan::<N> {
                words: std::array::from_fn(|w| 1000 * w as i32 - 17 * k),
                ticks: 65_530_u16.wrapping_add(6 * k as u16),
            })
            .map(|scan| scan.encode())
            .collect()
    }
    let force = |k: u16| xhand_force::Reading::<0> {
        xy: [k as i8, -3],
        z: 10,
        taxels: [],
        ticks: 300 + 10 * k,
    };
    let taxels = |k: u16| xhand_force::Reading::<{ xhand_force::TAXELS }> {
        xy: [1, -2],
        z: 10,
        taxels: std::array::from_fn(|t| t as u16 + k),
        ticks: 300 + 10 * k,
    };
    let fsr = |k: u16| inspire_fsr::Reading {
        words: std::array::from_fn(|w| w as i32 - 6),
        counts: [100 + k, 900],
        ticks: 50 + 5 * k,
    };
    seeds.write(
        "serial",
        "xhand",
        &[0, 64],
        disturbed(scans::<{ xhand_encoders::CHANNELS }>()),
    );
    seeds.write(
        "serial",
        "inspire",
        &[1, 7],
        disturbed(scans::<{ inspire_encoders::CHANNELS }>()),
    );
    seeds.write(
        "serial",
        "force",
        &[2, 3],
        disturbed((0..7).map(|k| force(k).encode()).collect()),
    );
    seeds.write(
        "serial",
        "taxels",
        &[3, 255],
        disturbed((0..3).map(|k| taxels(k).encode()).collect()),
    );
    seeds.write(
        "serial",
        "fsr",
        &[4, 60],
        disturbed((0..7).map(|k| fsr(k).encode()).collect()),
    );
}

pub fn boards(seeds: &Seeds) {
    use board::{
        describe::{Board, Channel, Field, Format, role},
        protocol::{Kind, Packet},
    };
    let field = |role, format, count, turn, scale, unit: &str| Field {
        role,
        format,
        count,
        turn,
        scale,
        unit: unit.to_owned(),
    };
    let channel = |name: &str, rate_mhz, fields| Channel {
        name: name.to_owned(),
        rate_mhz,
        scan_us: 500,
        fields,
    };
    let channels = [
        channel(
            "joints",
            200_000,
            vec![
                field(role::ANGLE, Format::I32, 2, 0, 0.0, "count"),
                field(role::REFERENCE, Format::I32, 1, 0, 0.0, "count"),
            ],
        ),
        channel(
            "thumb",
            0,
            vec![
                field(role::FORCE, Format::I16, 3, 0, 0.01, "N"),
                field(role::TAXELS, Format::U8, 4, 0, 0.0, ""),
            ],
        ),
        channel(
            "wrist",
            400_000,
            vec![
                field(role::ACCELERATION, Format::F32, 3, 0, 9.81, "m/s2"),
                field(role::ANGULAR_VELOCITY, Format::I16, 3, 0, 0.001, "rad/s"),
                field(200, Format::U8, 1, 0, 0.0, "C"),
            ],
        ),
    ];
    let board = Board {
        channels: 3,
        started: true,
        name: "glove".to_owned(),
        firmware: "1.2".to_owned(),
        serial: "A7".to_owned(),
    };
    let mut packets = vec![(Kind::Board, 0, 0, board.encode())];
    for (number, channel) in (1..).zip(&channels) {
        packets.push((Kind::Channel, number, 0, channel.encode()));
    }
    for k in [0_u16, 1, 3] {
        for (number, channel) in (1_u8..).zip(&channels) {
            let payload = (0..channel.bytes()).map(|b| b as u8 ^ k as u8).collect();
            packets.push((Kind::Sample, number, k, payload));
        }
    }
    packets.push((Kind::Text, 0, 0, b"\x01warm".to_vec()));
    packets.push((Kind::Pong, 0, 0, vec![1, 2, 3, 4]));
    let wire = packets
        .iter()
        .flat_map(|(kind, channel, sequence, payload)| {
            let packet = Packet {
                kind: *kind,
                channel: *channel,
                sequence: *sequence,
                time_us: 9_000 + 5_000 * u32::from(*sequence),
                payload: payload.clone(),
            };
            packet.encode()
        });
    let mut wire: Vec<u8> = [0].into_iter().chain(wire).collect();
    seeds.write("board", "connection", &[0, 40], &wire);
    let at = wire.len() - 30;
    wire[at] ^= 4;
    seeds.write("board", "damaged", &[0, 255], &wire);
    // By their parts, so that a fuzzer needs no checksum: places in the target's
    // list of kinds.
    let parts = packets
        .iter()
        .flat_map(|(kind, channel, sequence, payload)| {
            let place = match kind {
                Kind::Sample => 0,
                Kind::Board => 1,
                Kind::Channel => 2,
                Kind::Pong => 3,
                _ => 4,
            };
            let time_us = 9_000 + 5_000 * u32::from(*sequence);
            let mut bytes = vec![place, *channel];
            bytes.extend(sequence.to_le_bytes());
            bytes.extend(time_us.to_le_bytes());
            bytes.extend(payload);
            part(bytes)
        });
    seeds.write("board", "parts", &[1, 90], parts.collect::<Vec<u8>>());
    let long = Packet {
        kind: Kind::Sample,
        channel: 1,
        sequence: 7,
        time_us: 1,
        payload: vec![7; 300],
    };
    seeds.write("board", "long", &[0, 255], long.encode());
}

pub fn polhemuses(seeds: &Seeds) {
    use polhemus::record::{Format, Model, Record, encode};
    let of = |model: Model, format: Format| {
        let record = |k: u32| Record {
            station: 1 + (k % 2) as u8,
            error: b' ',
            time_ms: (model == Model::Patriot).then_some(5_000 + 17 * k),
            count: (model == Model::Patriot).then_some(300 + k),
            position_cm: [12.5 + f64::from(k), -3.25, 40.0],
            rotation_xyzw: [0.0, 0.6, 0.0, 0.8],
        };
        let records = (0..6).map(|k| encode(model, format, model.items(), &record(k)));
        let mut bytes = b"\r\n01".to_vec();
        for (k, mut record) in records.enumerate() {
            if k == 3 {
                record[11] ^= 0x40;
            }
            bytes.extend(record);
        }
        bytes
    };
    for (mode, name, model, format) in [
        (0, "fastrak", Model::Fastrak, Format::Binary),
        (1, "patriot", Model::Patriot, Format::Binary),
        (2, "fastrak_ascii", Model::Fastrak, Format::Ascii),
        (3, "patriot_ascii", Model::Patriot, Format::Ascii),
    ] {
        seeds.write("polhemus", name, &[mode, 50], of(model, format));
    }
}
