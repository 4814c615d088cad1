//! Devices behind a bridge, read by the driver.

use super::{
    drive::{self, Account},
    *,
};
use crate::driver::{Data, ImageFormat, Item};
use crate::emulate::bridge::depths_mm;

const STREAMS: [&str; 5] = [
    "/camera/head/image",
    "/camera/head/depth",
    "/imu/head",
    "/tracker/head/pose",
    "/glove/right/keypoints",
];

fn part() -> Part {
    Part::new("bridge", &STREAMS, 1.0)
}

#[test]
fn what_comes_over_a_bridge_is_what_was_measured() {
    for variant in ["", "tcp"] {
        let (rig, folder) = drive::start(vec![part().variant(variant)], "none");
        let mut source = drive::open(&rig).expect("open");
        let items = drive::read(&mut *source, |items| {
            let told = items
                .iter()
                .any(|(_, item)| matches!(item, Item::Echo { .. }));
            told && (0..5).all(|stream| drive::samples(items, stream).len() >= 10)
        });
        drop(source);
        let echoes: Vec<_> = items
            .iter()
            .filter_map(|(_, item)| match *item {
                Item::Echo {
                    sent,
                    device,
                    received,
                } => Some((sent, device, received)),
                _ => None,
            })
            .collect();
        let start_ns = rig.host_start_ns();
        let truth = truth_after(rig, &folder);
        for (stream, topic) in STREAMS.iter().enumerate() {
            let taken = of(&truth, topic);
            for sample in drive::samples(&items, stream) {
                let meant = taken[sample.sequence as usize];
                assert_eq!(sample.ticks, meant.device_ticks, "{topic}");
                let declared_ns = if stream < 2 { 20_000_000 } else { 2_000_000 };
                assert!(
                    sample.arrival.nanos() - meant.t_ns >= declared_ns,
                    "{topic}"
                );
                let t_s = (meant.t_ns - start_ns) as f64 * 1e-9;
                let got: Vec<f64> = match &sample.data {
                    Data::Image(image) if stream == 0 => {
                        assert_eq!(image.format, ImageFormat::Jpeg);
                        assert_eq!(image.exposure_ns, Some(8_000_000));
                        assert_eq!(image.data, Sines.image("head", t_s, None).expect("image"));
                        continue;
                    }
                    Data::Image(image) => {
                        let (values, width, height) = crate::driver::unpack_depth(&image.data);
                        assert_eq!((width, height), (64, 48));
                        assert_eq!(values, depths_mm(t_s));
                        continue;
                    }
                    Data::Imu {
                        acceleration_m_s2: a,
                        angular_velocity_rad_s: w,
                    } => a.iter().chain(w).copied().collect(),
                    Data::Pose {
                        position_m,
                        rotation_xyzw,
                        valid: true,
                        ..
                    } => position_m.iter().chain(rotation_xyzw).copied().collect(),
                    Data::Keypoints {
                        points_m,
                        valid: true,
                        ..
                    } => points_m.iter().flatten().copied().collect(),
                    other => panic!("unexpected {other:?}"),
                };
                assert_eq!(got.len(), meant.values.len());
                assert!(
                    got.iter()
                        .zip(&meant.values)
                        .all(|(a, b)| (a - b).abs() < 1e-6)
                );
            }
            let about = items.iter().find_map(|(of, item)| match item {
                Item::About(about) if *of == stream => {
                    about.iter().find(|(key, _)| key == "serial")
                }
                _ => None,
            });
            assert_eq!(about.expect("what the device says").1, "EMULATED");
        }
        let known = of(&truth, STREAMS[2])[0];
        let drift = 1.0 + truth.header.drift_ppm[STREAMS[2]] * 1e-6;
        let shown = |host: HostTime| {
            let elapsed_ns = (host.nanos() - known.t_ns) as f64 * drift;
            known.device_ticks.expect("ticks") as i64 + elapsed_ns as i64
        };
        for (sent, device, received) in echoes {
            // To the microsecond of floating point.
            let told = device.nanos();
            assert!((shown(sent) - 1000..=shown(received) + 1000).contains(&told));
        }
    }
}

#[test]
fn every_packet_that_a_bridge_lost_is_counted() {
    let (rig, folder) = drive::start(vec![part()], "drop=0.1,corrupt=0.15,stall=0.02");
    let mut source = drive::open(&rig).expect("open");
    let items = drive::read(&mut *source, |items| drive::samples(items, 2).len() >= 200);
    drop(source);
    let truth = truth_after(rig, &folder);
    for (stream, topic) in STREAMS.iter().enumerate() {
        let account = Account::of(&items, stream, &of(&truth, topic));
        assert_eq!(account.received, account.sent, "{topic}: {account:?}");
        assert_eq!(
            account.lost + account.missing,
            account.corrupt + account.dropped,
            "{topic}: {account:?}"
        );
    }
    let account = Account::of(&items, 2, &of(&truth, STREAMS[2]));
    assert!(
        account.lost > 0 && account.missing > account.lost,
        "{account:?}"
    );
}

#[test]
fn an_unplugged_bridge_is_gone_and_is_found_again() {
    let (rig, _folder) = drive::start(vec![part()], "unplug=imu@1.5s+0.4s");
    let mut source = eventually(|| drive::open(&rig).ok());
    let error = drive::read_to_the_end(&mut *source).to_string();
    assert!(
        error.contains("is gone") && error.contains("closed the connection"),
        "{error}"
    );
    drop(source);
    let mut source = eventually(|| drive::open(&rig).ok());
    drive::read(&mut *source, |items| drive::samples(items, 2).len() >= 3);
}
