//! kill -9 in the middle of an episode: at most 250 ms are lost, and what
//! remains is a prefix of what was sent.

use std::{
    collections::HashSet,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use dexumi_capture::emulate::truth;
use dexumi_episode::{Episode, HostTime, schema::Encoders};

use crate::program::{Rig, dexumi, long, run_well, text};

#[test]
fn a_killed_recorder_loses_at_most_a_quarter_second() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(folder.path(), &[]);
    let kills = if long() { 200 } else { 3 };
    let mut worst = 0.0_f64;
    for number in 0..kills {
        let session = folder.path().join(format!("session_{number}"));
        let killed = kill_one(&rig.rig, &session, 1500 + (number * 377) % 2000);
        let lost = check(&session, killed);
        worst = worst.max(lost);
        if number > 0 {
            // Two hundred of them would fill a disk.
            std::fs::remove_dir_all(&session).expect("a session");
        }
    }
    eprintln!("{kills} kills, at most {:.0} ms lost", worst * 1e3);
    let truth = truth::read(&rig.stop()).expect("a truth file");
    let sent: HashSet<(u64, Vec<i32>)> = truth
        .samples
        .iter()
        .filter(|sample| sample.stream == "/exo/right/encoders")
        .map(|sample| (sample.device_ticks.unwrap_or(0), sample.counts.clone()))
        .collect();
    let session = folder.path().join("session_0");
    let episode = Episode::open(&session.join("episode_0000.mcap")).expect("an episode");
    let recorded = episode
        .file
        .read::<Encoders>("/exo/right/encoders")
        .expect("encoders");
    for (_, message) in &recorded {
        let mut words = message.counts.clone();
        words.extend([message.reference, message.spare]);
        let ticks = message
            .stamp
            .as_ref()
            .and_then(|stamp| stamp.device_ticks)
            .expect("ticks");
        assert!(
            sent.contains(&(ticks, words)),
            "a recorded packet was never sent"
        );
    }
    // A prefix: no sample is missing between the first and the last.
    for pair in recorded.windows(2) {
        let (a, b) = (&pair[0].1.stamp, &pair[1].1.stamp);
        let sequence =
            |s: &Option<dexumi_episode::schema::Stamp>| s.as_ref().map_or(0, |s| s.sequence);
        assert_eq!(sequence(b), sequence(a) + 1);
    }
}

/// Starts a recorder, kills it after a while, returns when.
fn kill_one(rig: &Path, session: &Path, after_millis: u64) -> HostTime {
    let mut recorder = dexumi()
        .args([
            "record",
            "--rig",
            text(rig),
            "--out",
            text(session),
            "--seconds",
            "60",
            "--settle-s",
            "0",
        ])
        .stderr(Stdio::null())
        .spawn()
        .expect("the recorder should start");
    let partial = session.join("episode_0000.mcap.partial");
    let began = Instant::now();
    while !partial.exists() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "no recording began"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(after_millis));
    let now = HostTime::now();
    recorder.kill().expect("a child");
    recorder.wait().expect("a child");
    now
}

/// Recovers and returns what was lost at the end [s].
fn check(session: &Path, killed: HostTime) -> f64 {
    // The unfinished file is no episode yet, and says so.
    let partial = session.join("episode_0000.mcap.partial");
    let refused = run_well(&["info", text(&partial)], &[10]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("dexumi recover"));
    run_well(&["recover", text(session)], &[3]);
    assert!(
        session.join("episode_0000.mcap.cut").exists(),
        "the unfinished file is not kept"
    );
    let path = session.join("episode_0000.mcap");
    let episode = Episode::open(&path).expect("a recovered episode");
    assert!(episode.recovered.is_some());
    let mut last = 0.0_f64;
    for topic in ["/exo/right/encoders", "/exo/right/force/thumb"] {
        let killed = episode.info.anchor.to_session(killed);
        let end = match topic {
            "/exo/right/encoders" => episode
                .file
                .read::<Encoders>(topic)
                .expect("samples")
                .last()
                .map(|(times, _)| times.log_time),
            _ => episode
                .file
                .read::<dexumi_episode::schema::Force>(topic)
                .expect("samples")
                .last()
                .map(|(times, _)| times.log_time),
        };
        let lost = (killed - end.expect("at least one sample")).secs_f64();
        assert!(lost <= 0.25, "{topic}: the last {lost:.3} s are lost");
        last = last.max(lost);
    }
    // Any other reader can open it too: here the MCAP library alone.
    let bytes = std::fs::read(&path).expect("an episode");
    let messages = mcap::MessageStream::new(&bytes)
        .expect("MCAP")
        .filter(Result::is_ok)
        .count();
    assert!(messages > 100);
    last
}
