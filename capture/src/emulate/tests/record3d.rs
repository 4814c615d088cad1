//! A phone with Record3D, read by the driver.

use super::{
    drive::{self, Account},
    *,
};
use crate::{
    driver::{Data, Item, record3d::protocol, unpack_depth},
    emulate::{
        bridge::depths_mm,
        record3d::{ABSENT, FAR, UDID},
    },
};

const STREAMS: [&str; 3] = [
    "/camera/phone/image",
    "/tracker/phone/pose",
    "/camera/phone/depth",
];

fn part() -> Part {
    Part::new("record3d", &STREAMS, 0.8)
}

#[test]
fn what_a_phone_sends_is_what_was_measured() {
    let (rig, folder) = drive::start(vec![part()], "none");
    let mut source = drive::open(&rig).expect("open");
    let items = drive::read(&mut *source, |items| {
        (0..3).all(|stream| drive::samples(items, stream).len() >= 10)
    });
    drop(source);
    let start_ns = rig.host_start_ns();
    let truth = truth_after(rig, &folder);
    let [images, poses, depths] = [0, 1, 2].map(|stream| drive::samples(&items, stream));
    // There is no number in the packet: the first pose says which sample it is.
    let taken = of(&truth, STREAMS[1]);
    let Data::Pose {
        position_m: first, ..
    } = poses[0].data
    else {
        panic!("no pose");
    };
    let offset = taken
        .iter()
        .position(|sample| (0..3).all(|axis| (sample.values[axis] - first[axis]).abs() < 1e-6))
        .expect("it was measured");
    for pose in &poses {
        let meant = taken[offset + pose.sequence as usize];
        assert!(pose.arrival.nanos() - meant.t_ns >= 60_000_000);
        assert!(pose.device.is_none() && pose.raw.is_none());
        let Data::Pose {
            position_m,
            rotation_xyzw,
            valid: true,
            ..
        } = pose.data
        else {
            panic!("no valid pose");
        };
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close(&position_m, &meant.values[..3]));
        let opposite = rotation_xyzw.map(|value| -value);
        assert!(close(&rotation_xyzw, &meant.values[3..]) || close(&opposite, &meant.values[3..]));
    }
    for image in &images {
        let t_s = (taken[offset + image.sequence as usize].t_ns - start_ns) as f64 * 1e-9;
        let Data::Image(jpeg) = &image.data else {
            panic!("no image");
        };
        assert_eq!(jpeg.data, Sines.image("phone", t_s, None).expect("image"));
        let raw = image.raw.as_ref().expect("what the streams do not hold");
        assert!(
            raw.len() > protocol::HEAD_BYTES,
            "its head, and confidences"
        );
    }
    for depth in &depths {
        let t_s = (taken[offset + depth.sequence as usize].t_ns - start_ns) as f64 * 1e-9;
        let Data::Image(png) = &depth.data else {
            panic!("no depth");
        };
        let mut meant = depths_mm(t_s);
        meant[ABSENT] = 0;
        meant[FAR] = 0;
        assert_eq!(unpack_depth(&png.data), (meant, 64, 48));
    }
    let abouts: Vec<_> = items
        .iter()
        .filter_map(|(of, item)| match item {
            Item::About(about) => Some(
                about
                    .iter()
                    .map(|(key, value)| (*of, key.as_str(), value.as_str())),
            ),
            _ => None,
        })
        .flatten()
        .collect();
    assert!(abouts.contains(&(1, "udid", UDID)) && abouts.contains(&(0, "camera", "LiDAR")));
    let clipped = abouts
        .iter()
        .rfind(|(_, key, _)| *key == "depth_pixels_clipped");
    assert_eq!(clipped.expect("a pixel each").2, depths.len().to_string());
    let warnings = items
        .iter()
        .filter(|(_, item)| matches!(item, Item::Note { warning: true, .. }));
    assert_eq!(warnings.count(), 1, "told once");
}

#[test]
fn damaged_packets_are_counted_for_each_stream() {
    let (rig, folder) = drive::start(vec![part()], "corrupt=0.3");
    let mut source = drive::open(&rig).expect("open");
    let items = drive::read(&mut *source, |items| {
        (0..3).all(|stream| drive::samples(items, stream).len() >= 20)
    });
    drop(source);
    let truth = truth_after(rig, &folder);
    // Every packet is counted, so that numbers run on; they began with the connection.
    let poses = drive::samples(&items, 1);
    let taken = of(&truth, STREAMS[1]);
    let first_sent = taken
        .iter()
        .position(|sample| sample.fate != Fate::Unsent)
        .expect("sent");
    let renumbered: Vec<Sample> = taken[first_sent..]
        .iter()
        .enumerate()
        .map(|(number, sample)| Sample {
            seq: number as u64,
            ..(*sample).clone()
        })
        .collect();
    let renumbered: Vec<&Sample> = renumbered.iter().collect();
    for stream in 0..3 {
        let account = Account::of(&items, stream, &renumbered);
        assert_eq!(
            (account.received, account.lost),
            (account.sent, account.corrupt),
            "{account:?}"
        );
        assert!(account.lost > 0);
    }
    assert!(poses.len() >= 20);
}

#[test]
fn an_unplugged_phone_is_gone_and_what_to_do_is_told() {
    let (rig, _folder) = drive::start(vec![part()], "unplug=phone@1.5s+3s");
    let mut source = drive::open(&rig).expect("open");
    let error = drive::read_to_the_end(&mut *source).to_string();
    assert!(error.contains("is gone"), "{error}");
    drop(source);
    let error = drive::open(&rig).err().expect("unplugged").to_string();
    assert!(
        error.contains("no phone") && error.contains("USB streaming mode"),
        "{error}"
    );
    let mut source = eventually(|| drive::open(&rig).ok());
    drive::read(&mut *source, |items| drive::samples(items, 0).len() >= 3);
}
