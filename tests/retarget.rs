//! `dexumi retarget` on files of keypoints and on episodes of a glove: results in
//! every form, resuming, what is refused, Ctrl-C.

mod glove;

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use dexumi_episode::{
    EpisodeFile,
    schema::{ArmJoints, EffectorPose, Retargeted},
};
use dexumi_retarget::{Arm, Hand, Npz, UNREACHABLE};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use parquet::file::reader::{FileReader, SerializedFileReader};

use glove::{
    in_the_world, motion, write_clip, write_episode, write_glove, write_glove_anew, write_npy,
};

use crate::program::{dexumi, json, run_well, text};

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

fn npz(path: &Path) -> (Vec<f64>, usize) {
    let mut archive = Npz::open(path).expect("an archive");
    let q = archive.numbers("q").expect("q");
    (q.data, q.shape[1])
}

#[test]
fn a_file_of_keypoints_gives_the_same_motion_in_every_form() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = folder.path().join("hand.npy");
    write_clip(&clip, 90, |step| in_the_world(motion(step)));
    let to = |ending: &str| folder.path().join(format!("out.{ending}"));
    let run = |out: Option<&Path>| {
        let mut arguments = vec![
            "retarget",
            text(&clip),
            "--fps",
            "30",
            "--hand",
            "xhand_right",
            "--json",
        ];
        arguments.extend(out.iter().flat_map(|out| ["--out", text(out)]));
        json(&run_well(&arguments, &[0]))[0].clone()
    };
    let report = run(None);
    let beside = folder.path().join("hand.retarget.npz");
    assert_eq!(report["path"], text(&beside));
    assert_eq!(
        (&report["turned"], &report["received"]),
        (&true.into(), &90.into())
    );
    let figures = &report["figures"];
    let error_m = figures["tip_error_mean_m"].as_f64().expect("a tip error");
    assert!(error_m > 0.0 && error_m < 0.03, "{figures}");
    assert!(
        figures["jitter_rad2"].as_f64().expect("a jitter") < 1e-2,
        "{figures}"
    );

    let hand = Hand::by_name("xhand_right").expect("a hand");
    let (q, dof) = npz(&beside);
    assert_eq!((q.len(), dof), (90 * hand.dof(), hand.dof()));
    for row in q.chunks(dof) {
        for (value, (lower, upper)) in row.iter().zip(hand.limits()) {
            assert!(
                (lower..=upper).contains(&value),
                "{value} of {lower} to {upper}"
            );
        }
    }
    // The fingers bend and straighten.
    let index = hand
        .variable_names()
        .position(|name| name.contains("index_joint1"));
    let bends = q
        .chunks(dof)
        .map(|row| row[index.expect("an index finger")]);
    let (least, most) = bends.fold((f64::MAX, f64::MIN), |(a, b), q| (a.min(q), b.max(q)));
    assert!(most - least > 0.5, "{least} to {most}");
    let mut archive = Npz::open(&beside).expect("an archive");
    let time = archive.numbers("time").expect("time").data;
    assert!((time[89] - 89.0 / 30.0).abs() < 1e-12);
    for (name, length) in [
        ("objective", 90),
        ("confidence", 90),
        ("flags", 90),
        ("tip_error", 450),
    ] {
        assert_eq!(
            archive.numbers(name).expect(name).data.len(),
            length,
            "{name}"
        );
    }

    run(Some(&to("csv")));
    let csv = std::fs::read_to_string(to("csv")).expect("a text");
    let mut lines = csv.lines();
    assert!(
        lines
            .next()
            .is_some_and(|line| line.starts_with("# {\"derivation\":"))
    );
    let names: Vec<&str> = lines.next().expect("a heading").split(',').collect();
    assert_eq!(names[0], "time");
    assert_eq!(names[1..=dof], hand.variable_names().collect::<Vec<_>>());
    assert_eq!(
        names[dof + 1..=dof + 4],
        ["objective", "confidence", "flags", "tip_error_thumb"]
    );
    let rows: Vec<Vec<f64>> = lines
        .map(|line| {
            line.split(',')
                .map(|cell| cell.parse().expect("a number"))
                .collect()
        })
        .collect();
    let in_csv: Vec<f64> = rows.iter().flat_map(|row| row[1..=dof].to_vec()).collect();
    assert_eq!(in_csv, q);

    run(Some(&to("parquet")));
    let file = std::fs::File::open(to("parquet")).expect("a file");
    let reader = SerializedFileReader::new(file).expect("Parquet");
    let rows = reader.get_row_iter(None).expect("rows");
    let in_parquet: Vec<f64> = rows
        .flat_map(|row| {
            let columns = row.expect("a row").into_columns();
            let q = columns.into_iter().skip(1).take(dof);
            q.map(|(_, field)| match field {
                parquet::record::Field::Double(value) => value,
                other => panic!("{other}"),
            })
        })
        .collect();
    assert_eq!(in_parquet, q);
    assert_eq!(
        files(folder.path()),
        ["hand.npy", "hand.retarget.npz", "out.csv", "out.parquet"]
    );
}

#[test]
fn a_result_is_kept_until_its_input_or_its_configuration_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = folder.path().join("hand.npy");
    write_clip(&clip, 40, motion);
    for ending in ["npz", "csv", "parquet"] {
        let out = folder.path().join(format!("out.{ending}"));
        let run = |more: &[&str]| {
            let mut arguments = vec!["retarget", text(&clip), "--hand", "inspire_right", "--json"];
            arguments.extend(["--out", text(&out)]);
            arguments.extend(if more.contains(&"--fps") {
                &[][..]
            } else {
                &["--fps", "30"][..]
            });
            arguments.extend(more);
            json(&run_well(&arguments, &[0]))[0]["reused"]
                .as_bool()
                .expect("a flag")
        };
        assert!(!run(&[]), "{ending}: nothing is there yet");
        let made = std::fs::read(&out).expect("a result");
        assert!(run(&[]), "{ending}: nothing changed");
        assert_eq!(std::fs::read(&out).expect("a result"), made);
        let changes: &[&[&str]] = &[
            &["--live"],
            &["--limits", "joints"],
            &["--scale", "1.1"],
            &["--preset", "vector"],
            &["--no-collision"],
            &["--fps", "29"],
            &["--rate", "60"],
            &["--axes", "hand"],
        ];
        // Every option once, and that each form says how it was made.
        let few = if ending == "npz" { changes.len() } else { 1 };
        for change in &changes[..few] {
            assert!(!run(change), "{ending}: {change:?}");
            assert!(run(change), "{ending}: {change:?}");
        }
        // A result that is cut, or another program's, is made anew.
        assert!(!run(&[]));
        std::fs::write(&out, &made[..made.len() / 3]).expect("a file");
        assert!(!run(&[]), "{ending}");
    }
    let run = || {
        let arguments = [
            "retarget",
            text(&clip),
            "--hand",
            "inspire_right",
            "--fps",
            "30",
            "--json",
        ];
        json(&run_well(&arguments, &[0]))[0]["reused"]
            .as_bool()
            .expect("a flag")
    };
    assert!(!run() && run());
    write_clip(&clip, 40, |step| motion(step + 1));
    assert!(!run(), "another input of the same length");
}

#[test]
fn what_cannot_be_retargeted_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (clip, flat, none) = (path("hand.npy"), path("flat.npy"), path("none.npy"));
    write_clip(&clip, 5, motion);
    write_npy(&flat, "(5, 63)", (0..315).map(f64::from));
    std::fs::write(&none, b"no array at all").expect("a file");
    let refused = |arguments: &[&str], code: i32, words: &[&str]| {
        let all: Vec<&str> = std::iter::once("retarget")
            .chain(arguments.iter().copied())
            .collect();
        let output = run_well(&all, &[code]);
        let said = String::from_utf8_lossy(&output.stderr);
        for word in words {
            assert!(
                said.contains(word),
                "{arguments:?}: `{word}` is not in:\n{said}"
            );
        }
        assert!(output.stdout.is_empty(), "{arguments:?}");
    };
    let (clip, flat, none) = (text(&clip), text(&flat), text(&none));
    let hand = ["--hand", "xhand_right", "--fps", "30"];
    let with = |file, more: &[&'static str]| -> Vec<&str> {
        [file]
            .into_iter()
            .chain(hand)
            .chain(more.iter().copied())
            .collect()
    };
    refused(
        &[clip, "--fps", "30"],
        2,
        &["--hand", "expected one", "hand.npy"],
    );
    refused(
        &[clip, "--hand", "xhand_right"],
        2,
        &["--fps", "steps per second", "hand.npy"],
    );
    refused(
        &[clip, "--hand", "xhand_right", "--fps", "0"],
        2,
        &["--fps", "more than 0"],
    );
    refused(&with(clip, &["--scale=-1"]), 2, &["--scale", "more than 0"]);
    refused(
        &with(clip, &["--live", "--smooth"]),
        2,
        &["cannot be used with"],
    );
    refused(&with(clip, &["--tips", "thumb=a"]), 2, &["--tips", "URDF"]);
    refused(
        &with(clip, &["--preset", "position", "--scale", "1"]),
        2,
        &["--scale", "position"],
    );
    refused(
        &with(clip, &["--out", "x.txt"]),
        1,
        &[".npz, .csv or .parquet", "x.txt"],
    );
    refused(&with(flat, &[]), 10, &["[n, 21, 3]", "[5, 63]", "flat.npy"]);
    refused(&with(none, &[]), 10, &["magic", "none.npy"]);
    refused(
        &with("absent.npy", &[]),
        10,
        &["no such file or folder", "absent.npy"],
    );
    refused(
        &[clip, "--hand", "claw", "--fps", "30"],
        10,
        &["claw", "xhand_right"],
    );
    assert_eq!(files(folder.path()), ["flat.npy", "hand.npy", "none.npy"]);

    // One that fails does not stop the others; the report lists it.
    let all = [
        "retarget",
        none,
        clip,
        "--hand",
        "xhand_right",
        "--fps",
        "30",
        "--json",
    ];
    let output = run_well(&all, &[3]);
    let report = json(&output);
    assert!(
        report[0]["error"]
            .as_str()
            .is_some_and(|error| error.contains("magic"))
    );
    assert_eq!(report[1]["received"], 5);
    assert!(String::from_utf8_lossy(&output.stderr).contains("failed: "));
}

/// A thumb and an index of two joints each, written for this test.
const CLAW: &str = r#"<robot name="claw">
  <link name="base"/><link name="a1"/><link name="a2"/><link name="b1"/><link name="b2"/>
  <link name="end_a"/><link name="end_b"/>
  <joint name="thumb_swing" type="revolute"><parent link="base"/><child link="a1"/>
    <origin xyz="0.01 0.03 0.03"/><axis xyz="0 1 0"/>
    <limit lower="-0.2" upper="1.2" effort="1" velocity="6"/></joint>
  <joint name="thumb_bend" type="revolute"><parent link="a1"/><child link="a2"/>
    <origin xyz="0 0.01 0.05"/><axis xyz="0 1 0"/>
    <limit lower="0" upper="1.2" effort="1" velocity="6"/></joint>
  <joint name="thumb_end" type="fixed"><parent link="a2"/><child link="end_a"/>
    <origin xyz="0 0 0.04"/></joint>
  <joint name="index_swing" type="revolute"><parent link="base"/><child link="b1"/>
    <origin xyz="0 0.02 0.09"/><axis xyz="0 1 0"/>
    <limit lower="0" upper="1.6" effort="1" velocity="6"/></joint>
  <joint name="index_bend" type="revolute"><parent link="b1"/><child link="b2"/>
    <origin xyz="0 0 0.05"/><axis xyz="0 1 0"/>
    <limit lower="0" upper="1.6" effort="1" velocity="6"/></joint>
  <joint name="index_end" type="fixed"><parent link="b2"/><child link="end_b"/>
    <origin xyz="0 0 0.04"/></joint>
</robot>"#;

#[test]
fn a_urdf_is_a_hand_once_its_tips_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (clip, urdf) = (
        folder.path().join("hand.npy"),
        folder.path().join("claw.urdf"),
    );
    write_clip(&clip, 60, motion);
    std::fs::write(&urdf, CLAW).expect("a file");
    let run = |more: &[&str], code: i32| {
        let mut arguments = vec![
            "retarget",
            text(&clip),
            "--fps",
            "30",
            "--hand",
            text(&urdf),
            "--json",
        ];
        arguments.extend(more);
        run_well(&arguments, &[code])
    };
    let tips = ["--side", "right", "--tips", "thumb=end_a,index=end_b"];
    let report = json(&run(&tips, 0));
    assert_eq!(report[0]["scales"][0][0], "thumb");
    assert_eq!(report[0]["scales"][1][0], "index");
    let mut archive = Npz::open(&folder.path().join("hand.retarget.npz")).expect("an archive");
    let q = archive.numbers("q").expect("q");
    assert_eq!(q.shape, [60, 4]);
    let bends: Vec<f64> = q.data.chunks(4).map(|row| row[3]).collect();
    let most = bends.iter().copied().fold(f64::MIN, f64::max);
    assert!(most > 0.5 && most <= 1.6, "{most}");
    // Other tips, or another file, are another hand.
    assert_eq!(json(&run(&tips, 0))[0]["reused"], true);
    let others = ["--side", "right", "--tips", "thumb=a2,index=end_b"];
    assert_eq!(json(&run(&others, 0))[0]["reused"], false);
    std::fs::write(&urdf, CLAW.replace("xyz=\"0 0 0.05\"", "xyz=\"0 0 0.06\"")).expect("a file");
    assert_eq!(json(&run(&others, 0))[0]["reused"], false);
    let said = |output: std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let wrong = said(run(
        &["--side", "right", "--tips", "thumb=nothing,index=end_b"],
        10,
    ));
    assert!(
        wrong.contains("nothing") && wrong.contains("end_a"),
        "{wrong}"
    );
    let wrong = said(run(&["--side", "right", "--tips", "toe=end_a"], 10));
    assert!(wrong.contains("thumb, index, middle"), "{wrong}");
}

#[test]
fn episodes_of_a_glove_are_followed_in_parallel_and_kept() {
    let session = tempfile::tempdir().expect("a folder");
    let folder = session.path();
    write_episode(&folder.join("episode_0000.mcap"), 300, false);
    write_episode(&folder.join("episode_0001.mcap"), 200, true);
    let run = |more: &[&str], code: i32| {
        let mut arguments = vec!["retarget", text(folder), "--jobs", "2", "--json"];
        arguments.extend(more);
        json(&run_well(&arguments, &[code]))
    };
    // 3: what was not tracked is held, and counted.
    let reports = run(&[], 3);
    let names: Vec<&str> = (0..2)
        .map(|at| reports[at]["input"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["episode_0000.mcap", "episode_0001.mcap"]);
    for (at, (received, held)) in [(300, 0), (200, 20)].into_iter().enumerate() {
        let report = &reports[at];
        let count = |key: &str| report[key].as_u64().expect("a count");
        assert_eq!(
            (count("received"), count("held")),
            (received, held),
            "{report}"
        );
        let parts = ["passed", "clipped", "held", "gaps", "left_out"];
        assert_eq!(
            parts.into_iter().map(count).sum::<u64>(),
            received,
            "{report}"
        );
        assert_eq!(
            (&report["source"], &report["turned"]),
            (&"keypoints".into(), &true.into())
        );
    }
    let derived = folder.join("derived");
    let made = |episode: &str| derived.join(format!("{episode}.retarget.xhand_right.mcap"));
    let file = EpisodeFile::open(&made("episode_0001")).expect("a result");
    let steps = file
        .read::<Retargeted>("/retarget/right/joints")
        .expect("steps");
    assert_eq!(steps.len(), 200);
    let hand = Hand::by_name("xhand_right").expect("a hand");
    for (step, (times, message)) in steps.iter().enumerate() {
        let expected = 1_760_000_000_000_000_000 + step as i64 * 10_000_000;
        assert_eq!(times.publish_time.nanos(), expected);
        assert_eq!(
            (message.position.len(), message.motor.len()),
            (hand.dof(), hand.dof())
        );
        assert_eq!(message.tip_error.len(), hand.tips().len());
        let is_held = step % 10 == 3;
        assert_eq!(
            message.objective.is_some_and(f64::is_nan),
            is_held,
            "step {step}"
        );
        if is_held {
            assert_eq!(message.position, steps[step - 1].1.position, "step {step}");
        }
    }
    let page = std::fs::read_to_string(derived.join("retarget.html")).expect("a page");
    assert!(page.contains("<svg") && page.contains("tip error") && page.contains("episode_0001"));
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "nothing is fetched"
    );

    let before = files(&derived);
    assert!(
        before
            .iter()
            .all(|name| !name.contains("partial") && !name.contains(".new"))
    );
    let again = run(&[], 3);
    assert_eq!(
        (&again[0]["reused"], &again[1]["reused"]),
        (&true.into(), &true.into())
    );
    // Another input under the same name; the other one stays.
    std::fs::remove_file(folder.join("episode_0000.mcap")).expect("an episode");
    write_episode(&folder.join("episode_0000.mcap"), 301, false);
    let again = run(&[], 3);
    assert_eq!(
        (&again[0]["reused"], &again[1]["reused"]),
        (&false.into(), &true.into())
    );
    // A grid of its own: samples that are not tracked are bridged, as far as gaps allow.
    let grid = run(&["--rate", "50"], 0);
    assert_eq!(grid[1]["held"], 0);
    let file = EpisodeFile::open(&made("episode_0000")).expect("a result");
    let steps = file
        .read::<Retargeted>("/retarget/right/joints")
        .expect("steps");
    assert_eq!(steps.len(), 151);
    assert!(
        steps.windows(2).all(|pair| {
            (pair[1].0.publish_time - pair[0].0.publish_time).nanos() == 20_000_000
        })
    );
    assert_eq!(files(&derived), before);

    // An episode without anything to follow does not stop the others.
    let left = run(&["--hand", "xhand_left", "--fps", "30"], 10);
    assert!(
        left[0]["error"]
            .as_str()
            .is_some_and(|error| error.contains("/glove/left/keypoints"))
    );
}

#[test]
fn an_arm_is_asked_whether_it_can_carry_the_hand() {
    let session = tempfile::tempdir().expect("a folder");
    let folder = session.path();
    let mount = |parent: &str, child: &str| {
        format!(
            "[[mount]]\nparent = \"{parent}\"\nchild = \"{child}\"\n\
             translation_m = [0.0, 0.0, 0.0]\nrotation_xyzw = [0.0, 0.0, 0.0, 1.0]\n"
        )
    };
    let wrist = mount("tracker/wrist", "hand");
    let path = folder.join("episode_0000.mcap");
    let run = || {
        let arguments = ["retarget", text(&path), "--arm", "ur5e", "--json"];
        json(&run_well(&arguments, &[0]))[0].clone()
    };
    // The base is at the world's origin: the hand leaves its reach on the way.
    write_glove(
        &path,
        300,
        false,
        Some(&format!("{wrist}{}", mount("world", "arm"))),
    );
    let report = run();
    let arm = &report["arm"];
    assert_eq!(
        (&arm["searched"], &arm["report"]["arm"]),
        (&false.into(), &"ur5e".into())
    );
    let percent = arm["report"]["reachable_percent"]
        .as_f64()
        .expect("a share");
    assert!(percent > 10.0 && percent < 90.0, "{percent}");
    let first_bad_s = arm["first_bad_s"].as_f64().expect("a time");
    let made = folder.join("derived/episode_0000.retarget.xhand_right.mcap");
    let file = EpisodeFile::open(&made).expect("a result");
    let steps = file
        .read::<ArmJoints>("/retarget/right/arm")
        .expect("steps");
    let poses = file
        .read::<EffectorPose>("/retarget/right/end_effector")
        .expect("poses");
    assert_eq!((steps.len(), poses.len()), (300, 300));
    let dof = Arm::by_name("ur5e").expect("an arm").dof();
    assert!(steps.iter().all(|(_, step)| step.position.len() == dof));
    let first = steps
        .iter()
        .position(|(_, step)| step.flags != 0)
        .expect("a bad step");
    assert!(
        (first_bad_s - first as f64 / 100.0).abs() < 1e-9,
        "{first_bad_s} s, step {first}"
    );
    let missed = steps
        .iter()
        .filter(|(_, step)| step.flags & UNREACHABLE != 0)
        .count();
    assert!(
        (percent - (300 - missed) as f64 / 3.0).abs() < 1e-9,
        "{percent} %, {missed} missed"
    );
    assert_eq!(run()["reused"], true);
    // Nobody says where the arm stands: a place is searched, and it is better.
    write_glove_anew(&path, &wrist);
    let searched = run();
    assert_eq!(
        (&searched["reused"], &searched["arm"]["searched"]),
        (&false.into(), &true.into())
    );
    let better = searched["arm"]["report"]["reachable_percent"]
        .as_f64()
        .expect("a share");
    assert!(better > percent, "{better} %, at the origin {percent} %");
    let said = run_well(&["retarget", text(&path), "--arm", "no_arm"], &[10]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("ur5e"));
}

#[test]
fn ctrl_c_leaves_what_is_whole_and_nothing_half() {
    let session = tempfile::tempdir().expect("a folder");
    let folder = session.path();
    let short = folder.join("short.npy");
    write_clip(&short, 20, motion);
    let long = folder.join("episode_0000.mcap");
    write_episode(&long, 200_000, false);
    let log = folder.join("log");
    let mut child = dexumi()
        .args([
            "retarget",
            text(&short),
            text(&long),
            "--jobs",
            "1",
            "--fps",
            "30",
        ])
        .args(["--hand", "xhand_right"])
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).expect("a log"))
        .spawn()
        .expect("the binary should start");
    let partial = folder.join("derived/episode_0000.retarget.xhand_right.mcap.new.partial");
    let began = Instant::now();
    while !partial.exists() {
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "the second was never begun"
        );
        assert!(child.try_wait().expect("a child").is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("a signal");
    let ended = child.wait().expect("a child");
    let said = std::fs::read_to_string(&log).expect("a log");
    assert_eq!(ended.code(), Some(1), "{said}");
    assert!(
        said.contains("interrupted: 1 of 2 are done and kept"),
        "{said}"
    );
    assert!(said.contains("the same command goes on"), "{said}");
    assert!(folder.join("short.retarget.npz").exists());
    assert_eq!(files(&folder.join("derived")), Vec::<String>::new());
    let arguments = [
        "retarget",
        text(&short),
        "--fps",
        "30",
        "--hand",
        "xhand_right",
        "--json",
    ];
    assert_eq!(json(&run_well(&arguments, &[0]))[0]["reused"], true);
}
