//! The source with programs that stand in for `survive-cli`.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use dexumi_episode::Device;

use super::*;

fn device(command: &str, source: &str) -> Device {
    Device {
        source: Some(source.to_owned()),
        ..Device::new("/tracker/wrist/pose", "survive", command)
    }
}

/// Reads until the program ends; gives its items and what the source said then.
fn read(devices: &[Device]) -> (Vec<(usize, Item)>, String) {
    let mut source = open(devices).expect("open");
    let mut out = Output::default();
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < end, "not within 20 s: {:?}", out.items);
        if let Err(error) = source.read(&mut out) {
            return (out.items, error.to_string());
        }
    }
}

fn notes(items: &[(usize, Item)]) -> Vec<&str> {
    let notes = items.iter().filter_map(|(_, item)| match item {
        Item::Note { text, .. } => Some(text.as_str()),
        _ => None,
    });
    notes.collect()
}

fn poses(items: &[(usize, Item)], of: usize) -> Vec<([f64; 3], bool)> {
    let poses = items.iter().filter_map(|(stream, item)| match item {
        Item::Sample(Sample {
            data: Data::Pose {
                position_m, valid, ..
            },
            ..
        }) if *stream == of => Some((*position_m, *valid)),
        _ => None,
    });
    poses.collect()
}

const POSE: &str = "1 0 0 0 \\r\\n";

#[test]
fn trackers_are_told_apart_by_name_and_by_serial_number() {
    let command = format!(
        "printf '0.1 T21 CONFIG {{\"device_serial_number\":\"LHR-7\"}}\\r\\n\
         1.5 T20 POSE 1 2 3 {POSE}1.6 T21 POSE 4 5 6 {POSE}1.7 WM0 POSE 7 8 9 {POSE}'; sleep 0.1"
    );
    let (items, end) = read(&[device(&command, "T20"), device(&command, "LHR-7")]);
    assert_eq!(poses(&items, 0), [([1.0, 2.0, 3.0], true)]);
    assert_eq!(poses(&items, 1), [([4.0, 5.0, 6.0], true)]);
    assert!(end.contains("exit status: 0"), "{end}");
    let about = items.iter().any(|(stream, item)| {
        *stream == 1 && matches!(item, Item::About(about) if about.contains(&("object".to_owned(), "T21".to_owned())))
    });
    assert!(about);
}

#[test]
fn a_line_is_here_when_it_is_written_though_its_writer_would_buffer() {
    // Of awk, a C program that buffers into pipes and not onto terminals.
    let command = format!(
        "awk 'BEGIN {{ print \"1.5 T20 POSE 1 2 3 1 0 0 0 \"; {} }}'",
        "while (1) {}"
    );
    let mut source = open(&[device(&command, "T20")]).expect("open");
    let mut out = Output::default();
    let end = Instant::now() + Duration::from_secs(20);
    while poses(&out.items, 0).is_empty() {
        assert!(Instant::now() < end, "the line is held back");
        source.read(&mut out).expect("still running");
    }
}

#[test]
fn a_tracker_that_falls_silent_or_freezes_is_not_valid() {
    let command = format!(
        "printf '1.0 T20 POSE 1 2 3 {POSE}1.1 T21 POSE 1 2 3 {POSE}1.5 T21 POSE 1 2 3 {POSE}'; sleep 1"
    );
    let (items, _) = read(&[device(&command, "T20"), device(&command, "T21")]);
    let valid = |of| {
        poses(&items, of)
            .iter()
            .map(|(_, valid)| *valid)
            .collect::<Vec<_>>()
    };
    assert_eq!(valid(0), [true, false], "the second says that it is over");
    assert_eq!(
        valid(1),
        [true, false],
        "the same again after 0.4 s, and over already"
    );
    let notes: BTreeSet<_> = notes(&items).into_iter().collect();
    assert!(notes.contains("T20 gives no pose any more"), "{notes:?}");
    assert!(
        notes.contains("T21 is frozen: it says the same pose again"),
        "{notes:?}"
    );
}

#[test]
fn what_the_program_complains_of_is_in_the_log() {
    let command = "printf '0.1 INFO LOG Adding tracked object T20\\r\\n'; \
         echo 'Warning: no lighthouse' >&2; sleep 0.5; exit 3";
    let (items, end) = read(&[device(command, "T20")]);
    let notes = notes(&items);
    assert!(
        notes.contains(&"libsurvive: Adding tracked object T20"),
        "{notes:?}"
    );
    assert!(
        notes.contains(&"libsurvive: Warning: no lighthouse"),
        "{notes:?}"
    );
    assert!(end.contains("exit status: 3"), "{end}");
}

#[test]
fn a_broken_pose_is_counted_and_a_missing_option_is_guessed() {
    let command = format!(
        "for i in $(seq 40); do echo \"Info: $i\"; done; printf '1.0 T20 POSE 1 2 {POSE}'; sleep 0.1"
    );
    let (items, _) = read(&[device(&command, "T20")]);
    let corrupt = |item: &Item| {
        matches!(
            item,
            Item::Lost {
                kind: "corrupt",
                count: 1,
                ..
            }
        )
    };
    assert_eq!(items.iter().filter(|(_, item)| corrupt(item)).count(), 1);
    assert!(
        notes(&items)
            .iter()
            .any(|note| note.contains("--record-stdout"))
    );
}

#[test]
fn a_command_that_cannot_run_is_refused_with_its_words() {
    let error = open(&[device("/nowhere/survive-cli --x", "T20")])
        .err()
        .expect("refused")
        .to_string();
    assert!(
        error.contains("127") && error.contains("/nowhere/survive-cli"),
        "{error}"
    );
    let unnamed = Device::new("/tracker/wrist/pose", "survive", "true");
    let error = open(&[unnamed]).err().expect("refused").to_string();
    assert!(error.contains("LHR-"), "{error}");
}

#[test]
fn no_program_is_left_behind() {
    let folder = tempfile::tempdir().expect("folder");
    let mark = folder.path().join("pid");
    let command = format!("sh -c 'echo $$ > {}; sleep 600' & wait", mark.display());
    let source = open(&[device(&command, "T20")]).expect("open");
    let end = Instant::now() + Duration::from_secs(10);
    let pid = loop {
        match std::fs::read_to_string(&mark) {
            Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
            _ => assert!(Instant::now() < end, "the program did not start"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    drop(source);
    let gone = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // Ended, and perhaps not yet fetched by whoever inherited it.
        Ok(stat) => stat.contains(") Z "),
        Err(_) => true,
    };
    while !gone() {
        assert!(Instant::now() < end, "{pid} still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
}
