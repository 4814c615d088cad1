//! Trackers, through their drivers, against the truth.

use super::{
    recorded::{Recorded, entries, record},
    *,
};
use crate::driver::{Data, Item};

const WRIST: &str = "/tracker/wrist/pose";
const HEAD: &str = "/tracker/head/pose";

fn values(data: &Data) -> Vec<f64> {
    match data {
        Data::Pose {
            position_m,
            rotation_xyzw,
            ..
        } => position_m.iter().chain(rotation_xyzw).copied().collect(),
        Data::Markers { points_m } | Data::Keypoints { points_m, .. } => {
            points_m.iter().flatten().copied().collect()
        }
        Data::Force { counts, .. } => counts.map(f64::from).to_vec(),
        other => panic!("{other:?} of a tracker"),
    }
}

/// Largest difference of two poses or marker sets; a quaternion and its negative
/// are one rotation.
fn difference(got: &[f64], meant: &[f64]) -> f64 {
    assert_eq!(got.len(), meant.len());
    let largest = |sign: f64, range: std::ops::Range<usize>| {
        got[range.clone()]
            .iter()
            .zip(&meant[range])
            .map(|(a, b)| (a - sign * b).abs())
            .fold(0.0, f64::max)
    };
    match got.len() {
        7 => largest(1.0, 0..3).max(largest(1.0, 3..7).min(largest(-1.0, 3..7))),
        count => largest(1.0, 0..count),
    }
}

/// Holds samples against the truth, by their ticks: every one that was sent whole
/// within the time from first to last must be there, and nothing else but damage
/// that no reader can see. Returns the largest error of a value.
fn check(recorded: &Recorded, truth: &Truth, streams: &[&str]) -> f64 {
    let mut worst: f64 = 0.0;
    for (index, stream) in streams.iter().enumerate() {
        let meant = of(truth, stream);
        let samples = &recorded.samples[index];
        let place = |ticks: u64| {
            meant
                .iter()
                .position(|sample| sample.device_ticks == Some(ticks))
                .expect("a sample that was taken")
        };
        let places: Vec<usize> = samples
            .iter()
            .map(|sample| place(sample.ticks.expect("ticks")))
            .collect();
        assert!(
            places.windows(2).all(|pair| pair[0] < pair[1]),
            "{stream}: in order, once"
        );
        for (sample, &place) in samples.iter().zip(&places) {
            let meant = meant[place];
            if meant.damage.is_some_and(|damage| !damage.exposable) {
                continue;
            }
            let is_whole = meant.damage.is_some_and(|damage| damage.intact);
            assert!(meant.fate == Fate::Sent || is_whole, "{stream}: {meant:?}");
            worst = worst.max(difference(&values(&sample.data), &meant.values));
            assert!(
                sample.arrival.nanos() >= meant.t_ns,
                "arrives after it is taken"
            );
        }
        let (first, last) = (places[0], places[places.len() - 1]);
        // Damage that cannot be seen may pass.
        let passes = |sample: &&&Sample| {
            sample.fate == Fate::Sent || places.iter().any(|&place| meant[place].seq == sample.seq)
        };
        let sent = meant[first..=last].iter().filter(passes);
        assert_eq!(samples.len(), sent.count(), "{stream}: all that was sent");
    }
    worst
}

#[test]
fn natnet_serves_bodies_and_markers_of_one_connection_in_every_version() {
    for variant in ["3.0", "3.1", "4.0", "4.1"] {
        let streams = [WRIST, "/mocap/glove/markers", HEAD];
        let part = Part::new("natnet", &streams, -1.0).variant(variant);
        let (rig, folder) = start_parts(vec![part], "none");
        let devices = entries(&rig);
        assert_eq!(devices.len(), 3);
        let recorded = record(&devices, |recorded| {
            recorded.fewest() >= 100 && recorded.echoes[2].len() >= 2
        });
        let truth = truth_after(rig, &folder);
        assert!(check(&recorded, &truth, &streams) < 1e-6, "{variant}");
        assert_eq!((recorded.missing[0], recorded.lost[0].len()), (0, 0));
        assert_eq!(
            recorded.about[1]["labels"],
            "glove_1, glove_2, glove_3, glove_4"
        );
        assert!(recorded.about[2]["natnet"].starts_with(variant));
        assert_eq!(recorded.about[2]["rigid_body"], "head");
    }
}

#[test]
fn natnet_echoes_bound_the_server_s_clock() {
    let part = Part::new("natnet", &[WRIST], 1.0);
    let (rig, folder) = start_parts(vec![part], "none");
    let recorded = record(&entries(&rig), |recorded| recorded.echoes[0].len() >= 5);
    let truth = truth_after(rig, &folder);
    // The server's clock, from what the truth says of any sample.
    let sample = of(&truth, WRIST)[0];
    let offset_ns = sample.device_ticks.expect("ticks") as i64 * 100 - sample.t_ns;
    for item in &recorded.echoes[0] {
        let Item::Echo {
            sent,
            device,
            received,
        } = item
        else {
            panic!("an echo")
        };
        // 40 ppm over the seconds of this test, and a tick.
        let host_ns = device.nanos() - offset_ns;
        let slack_ns = (host_ns - sample.t_ns).abs() * 50 / 1_000_000 + 1_000;
        assert!(
            host_ns > sent.nanos() - slack_ns && host_ns < received.nanos() + slack_ns,
            "{host_ns} is not within {item:?}"
        );
    }
}

#[test]
fn natnet_multicast_serves_several_clients_of_one_computer() {
    let part = Part::new("natnet", &[WRIST, HEAD], 0.5).variant("4.1 multicast");
    let (rig, folder) = start_parts(vec![part], "none");
    let devices = entries(&rig);
    let enough = |recorded: &Recorded| recorded.fewest() >= 100;
    let (other, one) = std::thread::scope(|scope| {
        let other = std::thread::Builder::new()
            .name("other client".to_owned())
            .spawn_scoped(scope, || record(&devices, enough))
            .expect("thread");
        let one = record(&devices, enough);
        (other.join().expect("other client"), one)
    });
    let truth = truth_after(rig, &folder);
    for recorded in [one, other] {
        assert!(check(&recorded, &truth, &[WRIST, HEAD]) < 1e-6);
        assert!(!recorded.echoes[0].is_empty());
    }
}

#[test]
fn natnet_faults_are_counted_and_nothing_wrong_passes() {
    let part = Part::new("natnet", &[WRIST, HEAD], -1.0);
    let (rig, folder) = start_parts(vec![part], "corrupt=0.1,drop=0.1,stall=0.05");
    let recorded = record(&entries(&rig), |recorded| recorded.fewest() >= 300);
    let truth = truth_after(rig, &folder);
    assert!(check(&recorded, &truth, &[WRIST, HEAD]) < 1e-6);
    // Between the first and the last that came.
    let meant = of(&truth, WRIST);
    let last = recorded.samples[0].last().expect("samples").ticks;
    let first = recorded.samples[0][0].ticks;
    let place = |ticks| {
        meant
            .iter()
            .position(|s| s.device_ticks == ticks)
            .expect("taken")
    };
    let between = &meant[place(first)..=place(last)];
    let count = |fate| between.iter().filter(|s| s.fate == fate).count() as u64;
    let corrupt = recorded.lost[0]["corrupt"];
    assert!(corrupt >= count(Fate::Corrupt));
    assert_eq!(
        recorded.missing[0],
        count(Fate::Dropped),
        "by the server's numbers"
    );
    assert_eq!(
        recorded.lost[0], recorded.lost[1],
        "every stream of a connection loses it"
    );
}

#[test]
fn natnet_comes_back_after_its_cable_was_out() {
    let part = Part::new("natnet", &[WRIST], -1.0);
    let (rig, folder) = start_parts(vec![part], "unplug=wrist@0.5s+1s");
    let start_ns = rig.host_start_ns();
    let recorded = record(&entries(&rig), |recorded| {
        let last = recorded.samples[0].last();
        last.is_some_and(|sample| sample.arrival.nanos() > start_ns + 2_000_000_000)
    });
    let truth = truth_after(rig, &folder);
    assert!(check(&recorded, &truth, &[WRIST]) < 1e-6);
    let unsent = of(&truth, WRIST)
        .iter()
        .filter(|s| s.fate == Fate::Unsent)
        .count();
    assert!(
        unsent > 200 && recorded.missing[0] > 200,
        "{unsent} {}",
        recorded.missing[0]
    );
}

#[test]
fn survive_gives_every_tracker_of_one_program() {
    let part = Part::new("survive", &[WRIST, HEAD], 0.7);
    let (rig, folder) = start_parts(vec![part], "corrupt=0.1,drop=0.05,stall=0.02");
    let mut recorded = record(&entries(&rig), |recorded| recorded.fewest() >= 150);
    let truth = truth_after(rig, &folder);
    // Without what the driver adds when a busy computer is silent for too long.
    let stamped =
        |samples: &mut Vec<_>| samples.retain(|s: &crate::driver::Sample| s.ticks.is_some());
    recorded.samples.iter_mut().for_each(stamped);
    let worst = check(&recorded, &truth, &[WRIST, HEAD]);
    assert!(worst < 1e-6, "{worst}");
    assert!(recorded.lost[0]["corrupt"] > 0);
    assert_eq!(recorded.about[0]["serial"], "LHR-EEEE0000");
    assert_eq!(recorded.about[1]["object"], "T21");
}

#[test]
fn survive_is_read_again_when_its_program_is_started_again() {
    let part = Part::new("survive", &[WRIST], -1.0);
    let (rig, folder) = start_parts(vec![part], "unplug=wrist@0.4s+0.6s");
    let start_ns = rig.host_start_ns();
    let mut recorded = record(&entries(&rig), |recorded| {
        let last = recorded.samples[0].last();
        last.is_some_and(|sample| sample.arrival.nanos() > start_ns + 1_500_000_000)
    });
    let truth = truth_after(rig, &folder);
    assert!(
        recorded
            .notes
            .iter()
            .any(|note| note.contains("its writer closed it"))
    );
    recorded.samples[0].retain(|sample| sample.ticks.is_some());
    assert!(check(&recorded, &truth, &[WRIST]) < 1e-6);
}

#[test]
fn udp_senders_of_every_format_are_recorded_under_faults() {
    let streams = [
        HEAD,
        "/tracker/right/pose",
        "/glove/right/keypoints",
        "/exo/right/force/index",
    ];
    // The digits that each format has.
    for (driver, count, error) in [("udp_json", 4, 1e-12), ("osc", 4, 1e-6), ("hts", 3, 1e-6)] {
        let streams = &streams[..count];
        let part = Part::new(driver, streams, 0.3);
        let (rig, folder) = start_parts(vec![part], "corrupt=0.08,drop=0.05,stall=0.02");
        let recorded = record(&entries(&rig), |recorded| recorded.fewest() >= 100);
        let truth = truth_after(rig, &folder);
        let worst = check(&recorded, &truth, streams);
        assert!(worst < error, "{driver}: {worst}");
        let all = |what: &str| {
            recorded
                .lost
                .iter()
                .filter_map(|lost| lost.get(what))
                .sum::<u64>()
        };
        assert!(all("unreadable") > 0, "{driver}: {:?}", recorded.lost);
        assert!(recorded.missing.iter().sum::<u64>() > 0, "{driver}");
        assert_eq!(recorded.echoes[0].is_empty(), driver == "hts");
    }
}
