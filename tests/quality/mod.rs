//! `dexumi check` against recordings whose faults are known.
//!
//! `DEXUMI_LONG=1 cargo test --release --test end_to_end quality -- --nocapture` takes 100 clean
//! recordings and 10 of each kind of fault, and prints the table of docs/quality.md; with `DEXUMI_SERIES=1` and
//! so on, of other motions and seeds than those by which the thresholds were set; `DEXUMI_TAKES` is another number
//! of clean ones, and a tenth of it of each kind.

mod faults;
pub mod studio;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use dexumi_quality::Grade;
use serde_json::Value;

use crate::program::{alone, json, long, run, run_well, text};
use faults::{FAULTS, Fault};
use studio::{Dice, Studio, Take};

/// What `dexumi check` says of an episode.
struct Said {
    grade: Grade,
    tags: Vec<String>,
    json: Value,
}

impl Said {
    /// Grade of a metric's worst figure.
    fn grade_of(&self, metric: &str) -> Option<Grade> {
        let figures = self.json["figures"].as_array().expect("figures");
        figures
            .iter()
            .filter(|figure| figure["metric"] == metric)
            .filter_map(|figure| figure["grade"].as_str()?.parse().ok())
            .max()
    }

    /// Values and remarks of what is worse than A.
    fn findings(&self) -> String {
        let figures = self.json["figures"].as_array().expect("figures").iter();
        figures
            .filter(|figure| !matches!(figure["grade"].as_str(), Some("A") | None))
            .map(|f| {
                format!(
                    "{} {} {} {}; ",
                    f["metric"], f["subject"], f["value"], f["note"]
                )
            })
            .collect()
    }
}

fn said(output: &std::process::Output) -> Vec<Said> {
    let report = json(output);
    assert_eq!(report["failed"], serde_json::json!([]));
    let episodes = report["episodes"].as_array().expect("episodes").iter();
    episodes
        .map(|episode| Said {
            grade: episode["grade"]
                .as_str()
                .expect("a grade")
                .parse()
                .expect("a grade"),
            tags: serde_json::from_value(episode["tags"].clone()).expect("tags"),
            json: episode.clone(),
        })
        .collect()
}

fn check(session: &Path) -> Vec<Said> {
    said(&run_well(&["check", text(session), "--json"], &[0]))
}

/// Counts of one kind: seeded, found.
#[derive(Default, Clone, Copy)]
struct Count {
    seeded: usize,
    found: usize,
}

#[test]
fn seeded_faults_are_found_and_clean_episodes_are_left_alone() {
    // Drawing takes the cores.
    let _alone = alone();
    let number = |name: &str, otherwise| {
        std::env::var(name).map_or(otherwise, |n| n.parse().expect("a number"))
    };
    let studio = Studio::open(number("DEXUMI_SERIES", 0));
    let (clean, seconds) = if long() { (100, 12.0) } else { (4, 10.0) };
    let clean = number("DEXUMI_TAKES", clean) as usize;
    let each = clean.div_ceil(10);
    let folder = tempfile::tempdir().expect("a folder");

    let session = folder.path().join("clean");
    let mut takes: Vec<Take> = Vec::new();
    for number in 0..clean {
        let take = studio.take(number as u64, seconds);
        studio.write(&take, &session, number as u32);
        takes.push(take);
    }
    let mut alarms: BTreeMap<String, usize> = BTreeMap::new();
    let mut tagged = 0;
    for said in check(&session) {
        tagged += usize::from(said.grade != Grade::A);
        for tag in &said.tags {
            *alarms.entry(tag.clone()).or_default() += 1;
        }
        if said.grade != Grade::A {
            eprintln!("clean, but {}: {}", said.grade, said.findings());
        }
    }

    let mut counts: Vec<Count> = Vec::new();
    for (kind, fault) in FAULTS.iter().enumerate() {
        let session = folder.path().join(format!("fault_{kind}"));
        for number in 0..each {
            let mut take = takes[(number * 7 + kind) % takes.len()].clone();
            let mut dice = studio.dice((1000 * kind + number) as u64 + 77);
            (fault.seed)(&mut take, &mut dice);
            take.id = format!("0199c0de-0000-7000-9000-{kind:04}{number:08}");
            studio.write(&take, &session, number as u32);
        }
        let mut count = Count::default();
        for said in check(&session) {
            let is_found = said
                .grade_of(fault.metric)
                .is_some_and(|grade| grade >= fault.grade);
            count.seeded += 1;
            count.found += usize::from(is_found);
            if !is_found {
                let figures = said.json["figures"].as_array().expect("figures").iter();
                let of_it: Vec<_> = figures.filter(|f| f["metric"] == fault.metric).collect();
                eprintln!(
                    "{}: not found: {of_it:?}; said: {}",
                    fault.name,
                    said.findings()
                );
            }
        }
        counts.push(count);
        std::fs::remove_dir_all(&session).expect("removable");
    }
    let duplicates = duplicates(&studio, &takes, each, &folder.path().join("clean"));

    print_table(&counts, duplicates, (clean, tagged), &alarms);
    let all = counts.iter().chain([&duplicates]);
    let (seeded, found) = all.fold((0, 0), |(s, f), c| (s + c.seeded, f + c.found));
    assert!(
        100 * found >= 95 * seeded,
        "{found} of {seeded} faults were found"
    );
    for (fault, count) in FAULTS.iter().zip(&counts).filter(|_| long()) {
        let (found, seeded) = (count.found, count.seeded);
        assert!(
            100 * found >= 90 * seeded,
            "{}: {found} of {seeded}",
            fault.name
        );
    }
    assert!(
        100 * tagged <= 5 * clean,
        "{tagged} of {clean} clean episodes were tagged: {alarms:?}"
    );
}

/// Recordings of a motion that is in the session already, with noise of their own.
fn duplicates(studio: &Studio, takes: &[Take], count: usize, session: &Path) -> Count {
    for (number, take) in takes[..count].iter().enumerate() {
        let mut take = take.clone();
        let mut dice = studio.dice(number as u64 + 5000);
        for pose in &mut take.wrist {
            (0..3).for_each(|i| pose.value.0.translation.vector[i] += 0.0005 * dice.gauss());
        }
        for scan in &mut take.joints {
            scan.value
                .iter_mut()
                .for_each(|angle| *angle += 0.003 * dice.gauss());
        }
        take.id = format!("0199c0de-0000-7000-a000-{number:012}");
        studio.write(&take, session, 5000 + number as u32);
    }
    let mut found = 0;
    for said in check(session).split_off(takes.len()) {
        found += usize::from(said.grade_of("near_duplicate") >= Some(Grade::C));
    }
    Count {
        seeded: count,
        found,
    }
}

fn print_table(
    counts: &[Count],
    duplicates: Count,
    (clean, tagged): (usize, usize),
    alarms: &BTreeMap<String, usize>,
) {
    println!("| fault | size | found by | graded | found |\n|---|---|---|---|---|");
    let row = |fault: &Fault, count: &Count| {
        println!(
            "| {} | {} | `{}` | {} or worse | {} of {} |",
            fault.name, fault.size, fault.metric, fault.grade, count.found, count.seeded
        );
    };
    FAULTS
        .iter()
        .zip(counts)
        .for_each(|(fault, count)| row(fault, count));
    println!(
        "| the same motion again | 0.5 mm and 0.17° of noise | `near_duplicate` | C or worse | {} of {} |",
        duplicates.found, duplicates.seeded
    );
    println!("| none | | | A | {} of {clean} |", clean - tagged);
    println!("\nTags on clean episodes: {alarms:?}");
}

/// A session of two good episodes and one whose camera is out of focus.
fn small_session(folder: &Path) -> PathBuf {
    let studio = Studio::open(0);
    let session = folder.join("session");
    for number in 0..3 {
        let mut take = studio.take(200 + number, 4.0);
        if number == 2 {
            let blurred = FAULTS.iter().find(|fault| fault.metric == "blurred");
            (blurred.expect("there").seed)(&mut take, &mut Dice::new(3));
        }
        studio.write(&take, &session, number as u32);
    }
    session
}

#[test]
fn verdicts_are_kept_made_anew_and_filtered_by() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = small_session(folder.path());
    let path = text(&session);
    let of = |report: &Value, key: &str| -> Vec<Value> {
        let episodes = report["episodes"].as_array().expect("episodes").iter();
        episodes.map(|episode| episode[key].clone()).collect()
    };

    let first = json(&run_well(&["check", path, "--json", "--jobs", "1"], &[0]));
    assert_eq!(of(&first, "reused"), [false, false, false]);
    let grades = of(&first, "grade");
    assert_eq!(grades[..2], ["A", "A"], "{first:#}");
    assert!(grades[2] == "C" || grades[2] == "D");
    let tags = &of(&first, "tags")[2];
    assert!(
        tags.as_array().expect("tags").contains(&"blurred".into()),
        "{tags}"
    );

    // Again: nothing is measured. From nothing, on two threads: the same numbers.
    let again = json(&run_well(&["check", path, "--json"], &[0]));
    assert_eq!(of(&again, "reused"), [true, true, true]);
    assert_eq!(of(&again, "figures"), of(&first, "figures"));
    std::fs::remove_dir_all(session.join("derived")).expect("removable");
    let anew = json(&run_well(&["check", path, "--json", "--jobs", "2"], &[0]));
    assert_eq!(of(&anew, "reused"), [false, false, false]);
    assert_eq!(of(&anew, "figures"), of(&first, "figures"));

    // The page draws what was kept.
    let page = std::fs::read_to_string(session.join("derived/quality.html")).expect("a page");
    assert!(
        page.contains("data:image/jpeg") && page.contains("<svg") && page.contains("sync_residual")
    );

    // Another rule for gaps: made anew.
    let other = json(&run_well(
        &["check", path, "--json", "--max-gap-ms", "40"],
        &[0],
    ));
    assert_eq!(of(&other, "reused"), [false, false, false]);

    let passes = |arguments: &[&str], code: i32| {
        let all = [&["check", path, "--json"], arguments].concat();
        of(&json(&run_well(&all, &[code])), "passes")
    };
    assert_eq!(passes(&["--min-grade", "B"], 3), [true, true, false]);
    assert_eq!(
        passes(&["--where", "tag = blurred"], 3),
        [false, false, true]
    );
    assert_eq!(
        passes(&["--where", "blurred < 10 or tag = blurred"], 0),
        [true, true, true]
    );
    let refused = run(&["check", path, "--where", "sharpness > 3"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("near_duplicate"));

    // What is no episode is said, and the others are judged.
    std::fs::write(session.join("episode_0007.mcap"), b"no episode").expect("written");
    let output = run_well(&["check", path, "--json"], &[3]);
    let report = json(&output);
    assert_eq!(report["failed"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["episodes"].as_array().map(Vec::len), Some(3));
}

#[test]
fn an_arm_that_is_named_is_asked_whether_it_reaches() {
    let folder = tempfile::tempdir().expect("a folder");
    let studio = Studio::open(0);
    studio.write(&studio.take(300, 3.0), folder.path(), 0);
    let arguments = ["check", text(folder.path()), "--json", "--arm", "ur5e"];
    let said = said(&run_well(&arguments, &[0]));
    assert!(
        said[0].grade_of("unreachable").is_some(),
        "{:#}",
        said[0].json
    );
    // Without one nothing is said of it, and the motion is that of before.
    let without = check(folder.path());
    assert_eq!(without[0].grade_of("unreachable"), None);
    assert!(without[0].grade_of("limit_hits").is_some());
}
