//! Packets damaged on the wire, and devices that come and go.

use std::collections::HashMap;

use dexumi_capture::emulate::truth::{self, Damaged, Fate, Sample};
use dexumi_episode::{Episode, HostTime, SessionTime, schema::Encoders};

use crate::program::{Rig, long, run_well, text};

const ENCODERS: &str = "/exo/right/encoders";

#[test]
fn every_damaged_packet_is_rejected_or_suspect_and_good_ones_pass() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(
        folder.path(),
        &["--fault", "corrupt=0.01,stall=0.02", "--seed", "7"],
    );
    let session = folder.path().join("session");
    let seconds = if long() { "300" } else { "20" };
    let record = [
        "record",
        "--rig",
        text(&rig.rig),
        "--out",
        text(&session),
        "--seconds",
        seconds,
        "--task",
        "damage",
    ];
    run_well(&record, &[3]);
    let truth = truth::read(&rig.stop()).expect("a truth file");
    let episode = Episode::open(&session.join("episode_0000.mcap")).expect("an episode");
    assert!(
        episode.ledger.values().all(|ledger| ledger.balances()),
        "{:?}",
        episode.ledger
    );

    // What was sent within the episode, by counter and words.
    let anchor = episode.info.anchor;
    let within = |sample: &&Sample| {
        let time = anchor.to_session(HostTime::from_nanos(sample.t_ns));
        time > episode.recorded_from && time < episode.interval.1
    };
    let sent: Vec<&Sample> = truth
        .samples
        .iter()
        .filter(|s| s.stream == ENCODERS)
        .filter(within)
        .collect();
    let key = |words: &[i32], ticks: u64| (words.to_vec(), ticks);
    let meant: HashMap<_, _> = sent
        .iter()
        .map(|s| (key(&s.counts, s.device_ticks.unwrap_or(0)), *s))
        .collect();

    let recorded = episode.file.read::<Encoders>(ENCODERS).expect("encoders");
    let (mut good, mut good_suspect, mut wrong) = (0_u64, 0_u64, Vec::new());
    for (times, message) in &recorded {
        let stamp = message.stamp.as_ref().expect("a stamp");
        let mut words = message.counts.clone();
        words.extend([message.reference, message.spare]);
        if meant.contains_key(&key(&words, stamp.device_ticks.expect("ticks"))) {
            good += 1;
            good_suspect += u64::from(stamp.suspect != 0);
        } else {
            wrong.push((times.log_time, stamp.suspect != 0));
        }
    }
    // 1 in 10,000 good ones may be called suspect.
    assert!(
        good_suspect * 10_000 <= good.max(10_000),
        "{good_suspect} of {good} good packets are suspect"
    );

    let damaged: Vec<_> = sent
        .iter()
        .filter(|s| s.fate == Fate::Corrupt)
        .filter_map(|s| s.damage)
        .collect();
    let rejected: u64 = damaged.iter().filter(|d| d.exposable && !d.intact).count() as u64;
    let lost = episode.ledger[ENCODERS].lost();
    assert!(
        lost.abs_diff(rejected) <= 2,
        "{rejected} packets can be exposed, {lost} were rejected"
    );
    // At the edges of the episode a packet may fall on either side.
    let hidden = damaged.iter().filter(|d| !d.exposable).count();
    assert!(
        wrong.len().abs_diff(hidden) <= 1,
        "{hidden} hidden changes, {} recorded",
        wrong.len()
    );
    // Each large one must be suspect itself: found by its time, 60 ms being more
    // than any stall.
    let is_large = |d: &Damaged| !d.exposable && (d.jump_deg > 5.0 || d.jump_ms.abs() > 20.0);
    let large: Vec<_> = sent
        .iter()
        .filter(|s| s.fate == Fate::Corrupt && s.damage.as_ref().is_some_and(is_large))
        .map(|s| anchor.to_session(HostTime::from_nanos(s.t_ns)))
        .collect();
    let missed = large
        .iter()
        .filter(|&&time| {
            let near = |at: SessionTime| (0.0..0.06).contains(&(at - time).secs_f64());
            wrong.iter().any(|&(at, suspect)| near(at) && !suspect)
        })
        .count();
    eprintln!(
        "{} packets, {} damaged, {lost} rejected, {hidden} hidden, {} of them large, {missed} missed; \
         {good_suspect} of {good} good ones suspect",
        sent.len(),
        damaged.len(),
        large.len()
    );
    assert!(
        missed * 100 <= large.len(),
        "{} large hidden jumps, {missed} not flagged",
        large.len()
    );
    assert!(
        sent.len() > 3000 && rejected > 10,
        "{} packets, {rejected} rejected",
        sent.len()
    );
}

#[test]
fn an_unplugged_board_comes_back_and_its_gap_stays_a_gap() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(folder.path(), &["--fault", "unplug=encoders@6s+2s"]);
    let session = folder.path().join("session");
    let record = [
        "record",
        "--rig",
        text(&rig.rig),
        "--out",
        text(&session),
        "--seconds",
        "9",
        "--settle-s",
        "1",
    ];
    run_well(&record, &[0, 3]);
    let episode = Episode::open(&session.join("episode_0000.mcap")).expect("an episode");
    let recorded = episode.file.read::<Encoders>(ENCODERS).expect("encoders");
    let gap = recorded
        .windows(2)
        .map(|pair| (pair[1].0.log_time - pair[0].0.log_time).secs_f64())
        .fold(0.0, f64::max);
    assert!((1.5..4.5).contains(&gap), "the longest gap is {gap} s");
    let after = recorded.last().expect("samples").0.log_time;
    assert!(
        (episode.interval.1 - after).secs_f64() < 0.5,
        "nothing came after the gap"
    );
    // The board counts from a new start: alignment makes two stretches of it.
    let output = run_well(
        &["align", text(episode.file.path()), "--grid", "30", "--json"],
        &[3],
    );
    let report = crate::program::json(&output);
    let encoders = &report["streams"][ENCODERS];
    assert_eq!(encoders["clock_segments"], 2, "{encoders}");
    assert!(encoders["gaps"].as_u64().expect("a number") >= 1);
    let valid = report["valid_share"][ENCODERS].as_f64().expect("a number");
    assert!(
        (0.4..0.9).contains(&valid),
        "{valid} of the cells are valid"
    );
}
