//! A camera read through a real ffmpeg.

use super::{drive, *};
use crate::driver::{Data, Item};

const STREAM: &str = "/camera/table/image";

fn part() -> Part {
    Part::new("ffmpeg", &[STREAM], 1.0)
}

fn has_ffmpeg() -> bool {
    let found = std::process::Command::new("ffmpeg")
        .arg("-version")
        .output()
        .is_ok();
    if !found {
        eprintln!("skipped: there is no ffmpeg");
    }
    found
}

#[test]
fn images_and_their_time_stamps_pass_through_ffmpeg() {
    if !has_ffmpeg() {
        return;
    }
    let (rig, folder) = drive::start_scene(
        Arc::new(drive::Jpegs),
        vec![part()],
        "drop=0.1,corrupt=0.1,stall=0.05",
    );
    let mut source = drive::open(&rig).expect("open");
    let items = drive::read(&mut *source, |items| drive::samples(items, 0).len() >= 60);
    drop(source);
    let start_ns = rig.host_start_ns();
    let truth = truth_after(rig, &folder);
    let taken = of(&truth, STREAM);
    let samples = drive::samples(&items, 0);
    for sample in &samples {
        let same = |meant: &&&Sample| meant.device_ticks == sample.ticks;
        let meant = taken.iter().find(same).expect("it was taken");
        assert_eq!(meant.fate, Fate::Sent);
        assert_eq!(
            sample.device.expect("a stamp").nanos(),
            meant.device_ticks.expect("ticks") as i64 * 1000
        );
        assert!(sample.arrival.nanos() - meant.t_ns >= 30_000_000);
        let Data::Image(image) = &sample.data else {
            panic!("no image");
        };
        let t_s = (meant.t_ns - start_ns) as f64 * 1e-9;
        assert_eq!(
            image.data,
            drive::Jpegs.image("table", t_s, None).expect("image")
        );
    }
    let ticks = |sample: &crate::driver::Sample| sample.ticks.expect("a stamp");
    let range = ticks(samples[0])..=ticks(samples[samples.len() - 1]);
    let within = taken
        .iter()
        .filter(|meant| range.contains(&meant.device_ticks.expect("ticks")));
    let count = |fate| within.clone().filter(|meant| meant.fate == fate).count();
    assert_eq!(samples.len(), count(Fate::Sent));
    assert!(count(Fate::Corrupt) > 0 && count(Fate::Dropped) > 0);
    let is_sample = |(_, item): &(usize, Item)| matches!(item, Item::Sample(_));
    let first = items.iter().position(is_sample).expect("a sample");
    let last = items.iter().rposition(is_sample).expect("a sample");
    let truncated = items[first..=last].iter().filter(|(_, item)| {
        matches!(
            item,
            Item::Lost {
                kind: "truncated",
                count: 1,
                ..
            }
        )
    });
    assert_eq!(truncated.count(), count(Fate::Corrupt));
}

#[test]
fn a_camera_that_goes_takes_its_ffmpeg_with_it() {
    if !has_ffmpeg() {
        return;
    }
    let (rig, _folder) =
        drive::start_scene(Arc::new(drive::Jpegs), vec![part()], "unplug=table@3s+0.3s");
    let mut source = eventually(|| drive::open(&rig).ok());
    let error = drive::read_to_the_end(&mut *source).to_string();
    assert!(
        error.contains("is gone") && error.contains("its program ended"),
        "{error}"
    );
    drop(source);
    let mut source = eventually(|| drive::open(&rig).ok());
    drive::read(&mut *source, |items| drive::samples(items, 0).len() >= 3);
}

#[test]
fn a_clock_that_begins_anew_within_a_connection_ends_it() {
    if !has_ffmpeg() {
        return;
    }
    let (rig, folder) = drive::start_scene(Arc::new(drive::Jpegs), vec![part()], "reboot=/@1.5s");
    let mut source = drive::open(&rig).expect("open");
    let error = drive::read_to_the_end(&mut *source).to_string();
    assert!(error.contains("stand still"), "{error}");
    drop(source);
    // The next connection has the new clock.
    let mut source = drive::open(&rig).expect("open");
    let items = drive::read(&mut *source, |items| drive::samples(items, 0).len() >= 10);
    for pair in drive::samples(&items, 0).windows(2) {
        let stamp = |sample: &crate::driver::Sample| sample.device.expect("a stamp");
        assert!((stamp(pair[1]) - stamp(pair[0])).secs_f64() > 0.01);
        assert_eq!(pair[1].suspect, 0);
    }
    drop(source);
    truth_after(rig, &folder);
}
