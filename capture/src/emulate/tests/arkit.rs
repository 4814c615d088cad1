//! A phone with an ARKit app, read by the driver.

use super::{
    drive::{self, Account},
    *,
};
use crate::{
    driver::{Data, Item, arkit::packet},
    emulate::arkit::LIMITED,
};

const STREAMS: [&str; 3] = ["/tracker/phone/pose", "/camera/phone/image", "/imu/phone"];

fn part() -> Part {
    Part::new("arkit_udp", &STREAMS, 1.0)
}

fn start(faults: &str) -> (EmulatedRig, TempDir) {
    drive::start_scene(Arc::new(drive::Jpegs), vec![part()], faults)
}

#[test]
fn what_arkit_saw_comes_with_arkit_s_own_times() {
    let (rig, folder) = start("none");
    let mut source = drive::open(&rig).expect("open");
    let items = drive::read(&mut *source, |items| {
        let told = items
            .iter()
            .any(|(_, item)| matches!(item, Item::Echo { .. }));
        let named = items.iter().any(|(_, item)| matches!(item, Item::About(_)));
        told && named && (0..3).all(|stream| drive::samples(items, stream).len() >= 20)
    });
    drop(source);
    let start_ns = rig.host_start_ns();
    let truth = truth_after(rig, &folder);
    for (stream, topic) in STREAMS.iter().enumerate() {
        let taken = of(&truth, topic);
        for sample in drive::samples(&items, stream) {
            let meant = taken[sample.sequence as usize];
            assert_eq!(sample.ticks, meant.device_ticks, "{topic}");
            let device = sample.device.expect("ARKit's time");
            assert_eq!(device.nanos(), meant.device_ticks.expect("ticks") as i64);
            assert!(sample.sent.expect("a stamp of sending") > device);
            let t_s = (meant.t_ns - start_ns) as f64 * 1e-9;
            match &sample.data {
                Data::Pose {
                    position_m,
                    rotation_xyzw,
                    valid,
                    ..
                } => {
                    assert!(sample.arrival.nanos() - meant.t_ns >= 20_050_000);
                    assert_eq!(*valid, sample.sequence as u32 % LIMITED != LIMITED - 1);
                    assert_eq!(
                        sample.raw.as_ref().map(bytes::Bytes::len),
                        Some(packet::MOMENT_BYTES)
                    );
                    let close =
                        |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
                    let opposite = rotation_xyzw.map(|value| -value);
                    assert!(close(position_m, &meant.values[..3]));
                    let rotation = &meant.values[3..];
                    assert!(close(rotation_xyzw, rotation) || close(&opposite, rotation));
                }
                Data::Image(image) => {
                    assert_eq!(
                        image.data,
                        drive::Jpegs.image("phone", t_s, None).expect("image")
                    );
                    assert!(image.data.len() > 100, "of several fragments");
                    assert_eq!(image.exposure_ns, Some(8_333_000));
                }
                Data::Imu {
                    acceleration_m_s2: a,
                    angular_velocity_rad_s: w,
                } => {
                    let mut pairs = a.iter().chain(w).zip(&meant.values);
                    assert!(pairs.all(|(a, b)| (a - b).abs() < 1e-4));
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        let about = items.iter().any(|(of, item)| {
            matches!(item, Item::About(about) if *of == stream && about.contains(&("model".to_owned(), "EMULATED".to_owned())))
        });
        assert!(about, "{topic}");
    }
    let known = of(&truth, STREAMS[0])[0];
    let drift = 1.0 + truth.header.drift_ppm[STREAMS[0]] * 1e-6;
    let shown = |host: HostTime| {
        let elapsed_ns = (host.nanos() - known.t_ns) as f64 * drift;
        known.device_ticks.expect("ticks") as i64 + elapsed_ns as i64
    };
    for (_, item) in &items {
        if let Item::Echo {
            sent,
            device,
            received,
        } = *item
        {
            assert!((shown(sent) - 1000..=shown(received) + 1000).contains(&device.nanos()));
        }
    }
}

#[test]
fn lost_moments_are_missing_and_lost_fragments_make_images_incomplete() {
    let (rig, folder) = start("drop=0.1,corrupt=0.1");
    let mut source = drive::open(&rig).expect("open");
    let items = drive::read(&mut *source, |items| drive::samples(items, 1).len() >= 60);
    drop(source);
    let truth = truth_after(rig, &folder);
    for (stream, topic) in STREAMS.iter().enumerate() {
        let account = Account::of(&items, stream, &of(&truth, topic));
        assert_eq!(account.received, account.sent, "{topic}: {account:?}");
        let gone = account.corrupt + account.dropped;
        assert_eq!(account.lost + account.missing, gone, "{topic}: {account:?}");
        // Only images can come in part.
        assert_eq!(account.lost > 0, stream == 1, "{topic}: {account:?}");
        assert!(account.missing > 0, "{topic}: {account:?}");
    }
    let incomplete = items.iter().any(|(_, item)| {
        matches!(
            item,
            Item::Lost {
                kind: "incomplete",
                ..
            }
        )
    });
    let cut = items
        .iter()
        .any(|(_, item)| matches!(item, Item::Discarded { bytes: 95 }));
    assert!(incomplete && cut);
}

#[test]
fn a_second_phone_on_the_same_port_is_kept_out() {
    let (rig, _folder) = start("none");
    let mut source = drive::open(&rig).expect("open");
    drive::read(&mut *source, |items| drive::samples(items, 0).len() >= 3);
    // From another address of this computer.
    let other = UdpSocket::bind("127.0.0.2:0").expect("socket");
    let datagram = packet::encode(&packet::Datagram::About {
        json: (&b"{\"model\":\"other\"}"[..]).into(),
    });
    for _ in 0..5 {
        other
            .send_to(&datagram, address(&rig, STREAMS[0]))
            .expect("sent");
    }
    let items = drive::read(&mut *source, |items| {
        let kept_out = |(_, item): &&(usize, Item)| matches!(item, Item::Discarded { .. });
        items.iter().filter(kept_out).count() >= 5
    });
    assert!(items.iter().all(|(_, item)| match item {
        Item::About(about) => about.iter().all(|(_, value)| value != "other"),
        _ => true,
    }));
}
