//! Gloves through Rokoko Studio, read by the driver.

use super::drive;
use super::*;
use crate::driver::{Data, Item};

const STREAMS: [&str; 2] = ["/glove/left/keypoints", "/glove/right/keypoints"];

fn part() -> Part {
    Part::new("rokoko", &STREAMS, -0.9)
}

#[test]
fn both_hands_come_as_they_were() {
    for variant in ["", "lz4"] {
        let (rig, folder) = drive::start(vec![part().variant(variant)], "none");
        let mut source = drive::open(&rig).expect("open");
        let items = drive::read(&mut *source, |items| drive::samples(items, 1).len() >= 20);
        drop(source);
        let truth = truth_after(rig, &folder);
        for (stream, topic) in STREAMS.iter().enumerate() {
            let taken = of(&truth, topic);
            for sample in drive::samples(&items, stream) {
                let same = |meant: &&&Sample| meant.device_ticks == sample.ticks;
                let meant = taken.iter().find(same).expect("it was measured");
                assert!(sample.arrival.nanos() - meant.t_ns >= 5_000_000);
                assert_eq!(sample.raw.is_some(), stream == 0);
                let Data::Keypoints {
                    points_m,
                    joints,
                    valid: true,
                } = &sample.data
                else {
                    panic!("no hand");
                };
                let got: Vec<f64> = points_m.iter().flatten().copied().collect();
                assert_eq!(got, meant.values);
                assert_eq!(
                    (
                        joints.len(),
                        &joints[4].name[..][joints[4].name.len() - 8..]
                    ),
                    (21, "ThumbTip")
                );
            }
        }
    }
}

#[test]
fn damaged_and_dropped_datagrams_are_told_apart() {
    let (rig, folder) = drive::start(vec![part()], "drop=0.2,corrupt=0.2");
    let mut source = drive::open(&rig).expect("open");
    let items = drive::read(&mut *source, |items| drive::samples(items, 0).len() >= 60);
    drop(source);
    let truth = truth_after(rig, &folder);
    for (stream, topic) in STREAMS.iter().enumerate() {
        let samples = drive::samples(&items, stream);
        let ticks = |sample: &crate::driver::Sample| sample.ticks.expect("a stamp");
        let range = ticks(samples[0])..=ticks(samples[samples.len() - 1]);
        let taken = of(&truth, topic);
        let within = taken
            .iter()
            .filter(|meant| range.contains(&meant.device_ticks.expect("ticks")));
        let count = |fate| within.clone().filter(|meant| meant.fate == fate).count();
        assert_eq!(samples.len(), count(Fate::Sent));
        let is_sample =
            |(of, item): &(usize, Item)| *of == stream && matches!(item, Item::Sample(_));
        let first = items.iter().position(is_sample).expect("a sample");
        let last = items.iter().rposition(is_sample).expect("a sample");
        let lost = items[first..=last].iter().filter(|(of, item)| {
            *of == stream
                && matches!(
                    item,
                    Item::Lost {
                        kind: "corrupt",
                        count: 1,
                        ..
                    }
                )
        });
        assert_eq!(lost.count(), count(Fate::Corrupt));
        assert!(count(Fate::Corrupt) > 0 && count(Fate::Dropped) > 0);
    }
}

#[test]
fn who_is_not_there_is_counted_and_a_taken_port_is_told() {
    let (rig, _folder) = drive::start(vec![part()], "none");
    let mut devices = rig.rig().device.clone();
    devices[1].source = Some("Somebody".to_owned());
    let open = crate::driver::rokoko::DRIVER.open;
    let mut source = open(&devices).expect("open");
    let items = drive::read(&mut *source, |items| drive::samples(items, 0).len() >= 5);
    assert!(drive::samples(&items, 1).is_empty());
    let absent = |(of, item): &(usize, Item)| {
        *of == 1
            && matches!(
                item,
                Item::Lost {
                    kind: "actor_absent",
                    ..
                }
            )
    };
    assert!(items.iter().any(absent));
    let error = open(&devices).err().expect("taken").to_string();
    assert!(
        error.contains("in use") && error.contains("0.0.0.0:14043"),
        "{error}"
    );
}
