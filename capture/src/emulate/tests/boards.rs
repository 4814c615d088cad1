//! Boards of the exoskeletons, read by their drivers.

use super::{
    drive::{Account, open, read, samples, start},
    recorded, *,
};
use crate::driver::{Data, Item, Sample as Got};

const FORCES: [&str; 2] = ["/exo/right/force/thumb", "/exo/right/force/index"];

fn count(items: &[(usize, Item)], stream: usize) -> usize {
    samples(items, stream).len()
}

/// The truth of a sample, by its counter and the time at which it came.
fn truth_of<'a>(truth: &[&'a Sample], got: &Got) -> &'a Sample {
    let same = truth
        .iter()
        .filter(|sample| sample.device_ticks == got.ticks);
    let nearest = same.min_by_key(|sample| (sample.t_ns - got.arrival.nanos()).abs());
    nearest.expect("a sample with this counter")
}

#[test]
fn six_joints_of_an_inspire_exoskeleton_are_those_that_moved() {
    let part = Part::new("dexumi_inspire_encoders", &[ENCODERS], 1.0);
    let (rig, folder) = start(vec![part], "drop=0.05");
    let mut source = open(&rig).expect("open");
    let items = read(&mut *source, |items| count(items, 0) >= 500);
    drop(source);
    let map = rig.exo_map().clone();
    assert_eq!(map.channel.len(), 6);
    let truth = truth_after(rig, &folder);
    assert_eq!(truth.header.scan_offsets_s.len(), 8);
    let sent = of(&truth, ENCODERS);
    for got in samples(&items, 0) {
        let Data::Encoders {
            counts, reference, ..
        } = &got.data
        else {
            panic!("encoders");
        };
        let sample = truth_of(&sent, got);
        assert_eq!(
            (&counts[..], *reference),
            (&sample.counts[..6], sample.counts[6])
        );
        for (joint, &count) in counts.iter().enumerate() {
            let sensor = dexumi_episode::sensor_angle_rad(count, *reference).expect("reference");
            let error = map.channel[joint].joint_rad(sensor) - sample.values[joint];
            assert!(error.abs() < 6.0 * 0.05_f64.to_radians(), "{error}");
        }
    }
    let span_s = (sent[sent.len() - 1].t_ns - sent[0].t_ns) as f64 * 1e-9;
    let rate_hz = (sent.len() - 1) as f64 / span_s;
    assert!((300.0..325.0).contains(&rate_hz), "{rate_hz}");
}

#[test]
fn one_resistor_board_feeds_two_fingers() {
    let part = Part::new("dexumi_inspire_fsr", &FORCES, -0.8);
    let (rig, folder) = start(vec![part], "corrupt=0.05,drop=0.02");
    let mut source = open(&rig).expect("open");
    let items = read(&mut *source, |items| count(items, 1) >= 500);
    drop(source);
    let truth = truth_after(rig, &folder);
    for (stream, name) in FORCES.iter().enumerate() {
        let sent = of(&truth, name);
        let mut checked = 0;
        for got in samples(&items, stream) {
            assert_eq!(got.raw.is_some(), stream == 0);
            let Data::Force { counts, .. } = got.data else {
                panic!("force");
            };
            // Damage that passes the sum is suspect, or small.
            if got.suspect != 0 {
                continue;
            }
            let sample = truth_of(&sent, got);
            let off = (counts[2] - sample.counts[2]).abs();
            let seen = sample.damage.is_none_or(|damage| damage.exposable);
            assert!(
                counts[..2] == [0, 0] && (off == 0 || !seen),
                "{got:?} {sample:?}"
            );
            checked += 1;
        }
        assert!(checked > 400, "{checked}");
        // Sensors of two fingers, not of one.
        let first = sent[0].values[2];
        assert!(
            (first - 16.0 * (100.0 + stream as f64)).abs() < 1e-6,
            "{first}"
        );
    }
}

#[test]
fn the_long_packet_of_a_fingertip_has_its_taxels() {
    let part = Part::new("dexumi_xhand_force", &FORCES[..1], 0.6).variant("taxels");
    let (rig, _folder) = start(vec![part], "none");
    let mut source = open(&rig).expect("open");
    let items = read(&mut *source, |items| count(items, 0) >= 30);
    for got in samples(&items, 0) {
        let Data::Force { counts, taxels } = &got.data else {
            panic!("force");
        };
        // The middle of the block of z.
        let middle = i32::from(taxels[240 + 4 * 12 + 5]);
        let expected = (f64::from(counts[2]) * 100.0 / 1.5).round() as i32;
        assert_eq!((taxels.len(), middle), (360, expected));
    }
}

const CHANNELS: [&str; 4] = [ENCODERS, FORCES[0], FORCES[1], "/imu/wrist"];

#[test]
fn every_sample_of_a_board_of_many_channels_is_accounted_for() {
    for variant in ["", super::super::channels::UART] {
        let part = Part::new("dexumi_board", &CHANNELS, 1.0).variant(variant);
        let (rig, folder) = start(vec![part], "corrupt=0.02,drop=0.02,stall=0.02");
        let mut source = open(&rig).expect("open");
        let items = read(&mut *source, |items| count(items, 3) >= 400);
        drop(source);
        let truth = truth_after(rig, &folder);
        let (mut lost, mut corrupt) = (0, 0);
        for (stream, name) in CHANNELS.iter().enumerate() {
            let all = of(&truth, name);
            for got in samples(&items, stream) {
                let sample = truth_of(&all, got);
                let counts = match &got.data {
                    Data::Encoders {
                        counts, reference, ..
                    } => [&counts[..], &[*reference]].concat(),
                    Data::Force { counts, .. } => counts.to_vec(),
                    Data::Imu {
                        acceleration_m_s2: a,
                        angular_velocity_rad_s: w,
                    } => {
                        let felt = a.iter().chain(w).zip(&sample.values);
                        assert!(felt.into_iter().all(|(got, true_value)| {
                            (got - true_value).abs() < 9.80665 / 4096.0
                        }));
                        sample.counts.clone()
                    }
                    other => panic!("{other:?}"),
                };
                assert_eq!(counts, sample.counts);
            }
            let account = Account::of(&items, stream, &all);
            let intact = |sample: &&&Sample| sample.damage.is_some_and(|damage| damage.intact);
            assert!(
                account.sent > 0 && account.received >= account.sent,
                "{account:?}"
            );
            // A damaged packet that was found whole counts as received.
            let found = account.received - account.sent;
            assert!(found <= all.iter().filter(intact).count() as u64);
            assert_eq!(
                account.lost + account.missing,
                account.corrupt - found + account.dropped,
                "{name}: {account:?}"
            );
            lost += account.lost;
            // Whose a damaged packet was is not to be seen: only the sum is.
            corrupt += all
                .iter()
                .filter(|sample| sample.fate == Fate::Corrupt)
                .count() as u64;
        }
        // A packet that a stray zero cuts in two counts as two.
        assert!(
            lost > 0 && lost <= corrupt + corrupt / 10 + 2,
            "{lost} {corrupt}"
        );
        for stream in 0..CHANNELS.len() {
            let echo =
                |(of, item): &&(usize, Item)| *of == stream && matches!(item, Item::Echo { .. });
            assert!(items.iter().filter(echo).count() > 3);
        }
    }
}

#[test]
fn a_board_that_is_reset_or_unplugged_goes_on_afterwards() {
    let part = Part::new("dexumi_board", &CHANNELS, 1.0);
    let (rig, folder) = start(vec![part], "reboot=encoders@1s,unplug=encoders@2s+0.3s");
    let devices = recorded::entries(&rig);
    let start_ns = rig.host_start_ns();
    let recorded = recorded::record(&devices, |recorded| {
        let last = recorded.samples[0].last();
        last.is_some_and(|sample| sample.arrival.nanos() > start_ns + 3_000_000_000)
    });
    let truth = truth_after(rig, &folder);
    let noted = |word: &str| recorded.notes.iter().any(|note| note.contains(word));
    assert!(
        noted("started anew") && noted("gone"),
        "{:?}",
        recorded.notes
    );
    assert_eq!(recorded.about[1]["board"], "emulated board");
    assert_eq!(recorded.about[1]["channel"], "thumb");
    let all = of(&truth, ENCODERS);
    for (from_s, to_s) in [(0.5, 0.9), (1.1, 1.9), (2.7, 2.9)] {
        let within = |t_ns: i64| {
            let t_s = (t_ns - start_ns) as f64 * 1e-9;
            t_s > from_s && t_s < to_s
        };
        let took = |sample: &&&Sample| within(sample.t_ns) && sample.fate == Fate::Sent;
        let sent = all.iter().filter(took).count();
        let got = recorded.samples[0]
            .iter()
            .filter(|got| within(truth_of(&all, got).t_ns))
            .count();
        assert_eq!(got, sent, "between {from_s} and {to_s} s");
    }
    assert_eq!(recorded.missing, [0; 4]);
}

#[test]
fn a_wrong_driver_for_a_board_is_told_from_a_silent_port() {
    // Bytes, but of another protocol.
    let (rig, _folder) = start(
        vec![Part::new("dexumi_xhand_encoders", &[ENCODERS], 1.0)],
        "none",
    );
    let mut device = rig.rig().device[0].clone();
    device.driver = "dexumi_board".to_owned();
    let driver = crate::driver::driver_of(&device).expect("driver");
    let error = (driver.open)(&[device.clone()])
        .err()
        .expect("refused")
        .to_string();
    assert!(
        error.contains("bytes came") && error.contains("baud"),
        "{error}"
    );
    device.options.insert("speed".to_owned(), true.into());
    let error = (driver.open)(&[device]).err().expect("refused").to_string();
    assert!(
        error.contains("`speed`") && error.contains("scan_offsets_s"),
        "{error}"
    );
}
