//! Datasets over their life: killed at random moments, extended, withdrawn from, written once more.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use dexumi_episode::Episode;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    program::{dexumi, json, long, run_well, text},
    quality::studio::{Dice, Studio, Take},
};

/// A session of short episodes.
fn session(folder: &Path, episodes: u32) -> PathBuf {
    let studio = Studio::open(0);
    let session = folder.join("session");
    for number in 0..episodes {
        let take = studio.take(300 + u64::from(number), 1.5 + 0.1 * f64::from(number));
        studio.write(&take, &session, number);
    }
    session
}

fn episode(session: &Path, number: u32) -> PathBuf {
    session.join(format!("episode_{number:04}.mcap"))
}

/// Every file and its content.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = std::fs::read(&path).expect("a file");
                found.insert(
                    path.strip_prefix(folder).expect("inside").to_owned(),
                    content,
                );
            }
        }
    }
    found
}

fn assert_same(expected: &Path, got: &Path, when: &str) {
    let (expected, got) = (tree(expected), tree(got));
    let names = |tree: &BTreeMap<PathBuf, Vec<u8>>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&expected), names(&got), "{when}");
    let differing = expected.keys().filter(|name| expected[*name] != got[*name]);
    let differing: Vec<_> = differing.collect();
    assert!(differing.is_empty(), "{when}: {differing:?} differ");
}

fn arguments<'a>(paths: &[&'a Path], format: &'a str, out: &'a Path) -> Vec<&'a str> {
    let mut all = vec!["export"];
    all.extend(paths.iter().map(|path| text(path)));
    all.extend(["--format", format, "--out", text(out)]);
    all.extend(["--image-size", "160x120"]);
    all
}

#[test]
fn a_killed_export_goes_on_and_ends_as_an_undisturbed_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = session(folder.path(), 3);
    let (formats, kills): (&[&str], u64) = match long() {
        true => (&["lerobot-v3", "lerobot-v2.1", "umi-zarr"], 20),
        false => (&["lerobot-v3"], 4),
    };
    for format in formats {
        let calm = folder.path().join(format).join("calm/dataset");
        let out = folder.path().join(format).join("killed/dataset");
        // The first time everything is retargeted and judged; the second time tells what is usual.
        run_well(&arguments(&[&session], format, &calm), &[0, 3]);
        std::fs::remove_dir_all(&calm).expect("removable");
        let began = Instant::now();
        run_well(&arguments(&[&session], format, &calm), &[0, 3]);
        let mut usual = began.elapsed();
        let (mut dice, mut whole, mut reused) = (Dice::new(7), 0, 0);
        for number in 0..kills {
            let after = usual.mul_f64(dice.unit());
            // Every fourth time as a user would.
            let signal = if number % 4 == 3 {
                Signal::SIGINT
            } else {
                Signal::SIGKILL
            };
            let took = kill_one(&arguments(&[&session], format, &out), after, signal);
            if out.exists() {
                // A busy machine was slow before.
                usual = usual.min(took);
                assert_same(
                    &calm,
                    &out,
                    &format!("{format}, whole before kill {number}"),
                );
                whole += 1;
                std::fs::remove_dir_all(&out).expect("removable");
            } else {
                reused += count(&out.with_file_name("dataset.partial/parts"));
            }
        }
        run_well(&arguments(&[&session], format, &out), &[0, 3]);
        assert_same(&calm, &out, &format!("{format}, after {kills} kills"));
        assert!(!out.with_file_name("dataset.partial").exists());
        run_well(&["verify", text(&out)], &[0]);
        eprintln!(
            "{format}: {kills} kills within {:.1} s, {whole} times it was whole before, {reused} finished \
             videos found",
            usual.as_secs_f64()
        );
        std::fs::remove_dir_all(folder.path().join(format)).expect("removable");
    }
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, |entries| {
        let names = entries.flatten().map(|entry| entry.path());
        names
            .filter(|path| path.extension() == Some("json".as_ref()))
            .count()
    })
}

/// Kills an export after a while, and says how long it ran.
fn kill_one(arguments: &[&str], after: Duration, signal: Signal) -> Duration {
    let began = Instant::now();
    let mut export = dexumi()
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the export should start");
    while began.elapsed() < after && export.try_wait().expect("a child").is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = began.elapsed();
    let pid = Pid::from_raw(i32::try_from(export.id()).expect("a process"));
    if export.try_wait().expect("a child").is_none() {
        kill(pid, signal).expect("a child");
    }
    let output = export.wait_with_output().expect("a child");
    let said = String::from_utf8_lossy(&output.stderr);
    match (output.status.signal(), output.status.code()) {
        (Some(9), _) | (_, Some(0 | 3)) => {}
        // Before the program has come to it, Ctrl-C ends it as any other.
        (Some(2), _) => {}
        (_, Some(130)) => assert!(said.contains("the same command goes on"), "{said}"),
        (killed, code) => panic!("ended by {killed:?} with {code:?}: {said}"),
    }
    took
}

#[test]
fn a_dataset_grows_shrinks_and_is_written_once_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = session(folder.path(), 4);
    let dataset = folder.path().join("dataset");
    let fresh = |name: &str, numbers: &[u32]| -> PathBuf {
        let out = folder.path().join(name).join("dataset");
        let paths: Vec<PathBuf> = numbers
            .iter()
            .map(|&number| episode(&session, number))
            .collect();
        let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        run_well(&arguments(&paths, "lerobot-v3", &out), &[0, 3]);
        out
    };
    let first = [episode(&session, 0), episode(&session, 1)];
    run_well(
        &arguments(&[&first[0], &first[1]], "lerobot-v3", &dataset),
        &[0, 3],
    );

    let output = run_well(&["extend", text(&dataset), text(&session)], &[0, 3]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("2 of 4 given are in the dataset already")
            && said.contains("2 episodes added"),
        "{said}"
    );
    assert!(said.contains("4 videos were finished before"), "{said}");
    assert_same(&fresh("all", &[0, 1, 2, 3]), &dataset, "extended");
    let before = tree(&dataset);
    let output = run_well(&["extend", text(&dataset), text(&session)], &[0]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing to add"));
    assert_eq!(tree(&dataset), before);

    // Whatever names an episode names it.
    let second = episode(&session, 1);
    let output = run_well(&["withdraw", text(&dataset), "3", text(&second)], &[0, 3]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("2 episodes withdrawn"), "{said}");
    assert_same(&fresh("some", &[0, 2]), &dataset, "withdrawn");
    let refused = run_well(&["withdraw", text(&dataset), "2"], &[10]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("no episode of") && said.contains("below 2"),
        "{said}"
    );
    run_well(&["verify", text(&dataset)], &[0]);

    // The recordings have moved, and are found by what they hold.
    let moved = folder.path().join("archive");
    std::fs::rename(&session, &moved).expect("movable");
    let again = folder.path().join("again");
    let refused = run_well(&["rebuild", text(&dataset), "--out", text(&again)], &[1]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("2 of 2 recordings") && said.contains("--from"),
        "{said}"
    );
    std::fs::rename(&moved, &session).expect("movable");
    let output = run_well(&["rebuild", text(&dataset), "--out", text(&again)], &[0, 3]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("are the same to the byte"), "{said}");

    // Old and new numbers are not mixed.
    let before = tree(&dataset);
    let calibration = Episode::open(&first[0]).expect("an episode").calibration;
    let calibration = calibration.expect("it is attached").to_toml();
    let changed = calibration.replacen("residual_rms_rad = 0.0", "residual_rms_rad = 0.001", 1);
    assert_ne!(changed, calibration);
    std::fs::write(session.join("calibration.toml"), changed).expect("writable");
    let refused = run_well(&["extend", text(&dataset), text(&session)], &[10]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("has changed"), "{said}");
    assert_eq!(tree(&dataset), before);
    assert!(!folder.path().join("dataset.partial").exists());
}

#[test]
fn a_recording_is_in_a_dataset_once_and_leaves_it_altogether() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = session(folder.path(), 2);
    let copy = folder.path().join("copy.mcap");
    std::fs::copy(episode(&session, 0), &copy).expect("copied");
    let dataset = folder.path().join("dataset");
    let given = [&session, &episode(&session, 0), &copy];
    let output = run_well(
        &arguments(&given.map(PathBuf::as_path), "lerobot-v3", &dataset),
        &[0, 3],
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("2 recordings given twice"), "{said}");
    assert!(said.contains("2 episodes, "), "{said}");

    // Behind a link, nothing is left where it was either.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&dataset, &link).expect("a link");
    run_well(&["withdraw", text(&link), text(&copy)], &[0, 3]);
    assert!(link.is_symlink());
    let output = run_well(&["verify", text(&dataset)], &[0]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("1 episode, "), "{said}");
}

#[test]
fn a_sensor_that_dies_does_not_end_the_episode_and_a_camera_that_dies_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let studio = Studio::open(0);
    let steps = |name: &str, break_it: &dyn Fn(&mut Take)| {
        let mut take = studio.take(300, 3.0);
        break_it(&mut take);
        let session = folder.path().join(name);
        studio.write(&take, &session, 0);
        let out = folder.path().join(format!("{name}-dataset"));
        let mut all = arguments(&[&session], "lerobot-v3", &out);
        all.extend(["--keep-idle", "--json"]);
        let output = run_well(&all, &[0, 3]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            json(&output)["dataset"]["rows"].as_u64().expect("rows"),
            said,
        )
    };
    let (whole, _) = steps("whole", &|_| {});
    assert!(whole > 80, "{whole}");
    let (without_force, _) = steps("force", &|take| take.forces[0].retain(|one| one.t < 1.0));
    assert_eq!(without_force, whole);
    let (short, said) = steps("camera", &|take| take.images[0].retain(|one| one.t < 1.5));
    assert!((40..50).contains(&short), "{short}");
    assert!(said.contains("are cut off at its ends"), "{said}");
}

#[test]
fn a_camera_s_gap_where_motion_begins_costs_its_steps_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let studio = Studio::open(0);
    let mut take = studio.take(300, 3.0);
    // Still for a second; of that a quarter is kept, and the camera is away where it begins.
    let (joints, wrist) = (&mut take.joints, &mut take.wrist);
    let at = |t: f64| t < 1.0;
    let first = joints
        .iter()
        .find(|one| !at(one.t))
        .expect("a sample")
        .value
        .clone();
    joints
        .iter_mut()
        .filter(|one| at(one.t))
        .for_each(|one| one.value.clone_from(&first));
    let first = wrist.iter().find(|one| !at(one.t)).expect("a sample").value;
    wrist
        .iter_mut()
        .filter(|one| at(one.t))
        .for_each(|one| one.value = first);
    take.images[0].retain(|one| !(0.05..1.1).contains(&one.t));
    let session = folder.path().join("session");
    studio.write(&take, &session, 0);
    let out = folder.path().join("dataset");
    let mut all = arguments(&[&session], "lerobot-v3", &out);
    all.push("--json");
    let told = json(&run_well(&all, &[3]));
    let resampled = &told["resampled"][0];
    assert!(resampled["idle_start"].as_u64() > Some(3), "{resampled}");
    assert!(resampled["filled"].as_u64() > Some(5), "{resampled}");
    assert!(told["dataset"]["rows"].as_u64() > Some(50), "{told}");
}

#[test]
fn what_the_machine_lacks_costs_no_episode() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = session(folder.path(), 2);
    let dataset = folder.path().join("dataset");
    let first = episode(&session, 0);
    run_well(&arguments(&[&first], "lerobot-v3", &dataset), &[0, 3]);
    let before = tree(&dataset);
    // Its motion has to be made anew, and cannot be written.
    let derived = std::fs::read_dir(session.join("derived")).expect("results");
    let motion = derived
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.to_string_lossy().contains("episode_0000.retarget"))
        .expect("its motion");
    std::fs::remove_file(&motion).expect("removable");
    std::fs::create_dir_all(motion.join("in the way")).expect("a folder");
    let output = run_well(
        &["extend", text(&dataset), text(&episode(&session, 1))],
        &[1],
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("episode_0000.mcap"), "{said}");
    assert_eq!(tree(&dataset), before);
}

#[test]
fn a_card_may_be_edited_and_what_git_adds_is_no_matter() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = session(folder.path(), 2);
    let dataset = folder.path().join("dataset");
    run_well(
        &arguments(&[&episode(&session, 0)], "lerobot-v3", &dataset),
        &[0, 3],
    );
    let card = dataset.join("README.md");
    let edited = std::fs::read_to_string(&card).expect("a card") + "\nCite us.\n";
    std::fs::write(&card, &edited).expect("writable");
    std::fs::create_dir_all(dataset.join(".git/objects")).expect("a folder");
    std::fs::write(dataset.join(".git/HEAD"), "ref").expect("writable");
    std::fs::write(dataset.join(".gitattributes"), "*.mp4 lfs").expect("writable");
    let output = run_well(&["verify", text(&dataset)], &[0]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("README.md was edited"), "{said}");
    run_well(&["extend", text(&dataset), text(&session)], &[0, 3]);
    let kept = folder.path().join("dataset.README.md");
    assert_eq!(std::fs::read_to_string(kept).expect("kept"), edited);
    assert!(dataset.join(".git/HEAD").is_file() && dataset.join(".gitattributes").is_file());

    // Anything else is told as what it is.
    let data = dataset.join("data/chunk-000/file-000.parquet");
    let mut bytes = std::fs::read(&data).expect("data");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&data, bytes).expect("writable");
    let output = run_well(&["verify", text(&dataset)], &[10]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("was changed since") && said.contains("file-000.parquet"),
        "{said}"
    );
}

#[test]
fn a_disk_that_is_full_ends_an_export_which_goes_on_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = session(folder.path(), 4);
    let calm = folder.path().join("calm/dataset");
    run_well(&arguments(&[&session], "lerobot-v3", &calm), &[0, 3]);
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).expect("a folder");
    let out = disk.join("dataset");
    let log = folder.path().join("log");
    let export = [
        &[env!("CARGO_BIN_EXE_dexumi")],
        arguments(&[&session], "lerobot-v3", &out).as_slice(),
    ]
    .concat()
    .join(" ");
    // A disk of its own, of 4 MB and then of 12, which fills up once something is finished.
    let script = format!(
        "mount -t tmpfs -o size=200k none {disk} || exit 99
         {export} 2>{log}.refused; echo $? >{log}.codes
         mount -o remount,size=12m {disk}
         {export} 2>{log}.full & job=$!
         until ls {disk}/dataset.partial/parts/*.json >/dev/null 2>&1; do sleep 0.01; done
         dd if=/dev/zero of={disk}/filler bs=64k 2>/dev/null
         wait $job; echo $? >>{log}.codes
         rm {disk}/filler
         {export} 2>{log}.done; echo $? >>{log}.codes
         cp -r {disk}/dataset {log}.dataset",
        disk = text(&disk),
        log = text(&log),
    );
    let status = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .stdin(Stdio::null())
        .status();
    if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
        eprintln!("skipped: a disk of its own cannot be mounted here: {status:?}");
        return;
    }
    let said = |name: &str| {
        std::fs::read_to_string(folder.path().join(format!("log.{name}"))).expect("a log")
    };
    let codes: Vec<String> = said("codes").lines().map(str::to_owned).collect();
    assert_eq!(
        codes[..2],
        ["1", "1"],
        "{}{}",
        said("refused"),
        said("full")
    );
    assert!(["0", "3"].contains(&codes[2].as_str()), "{}", said("done"));
    let refused = said("refused");
    assert!(
        refused.contains("the dataset may take") && refused.contains("are free"),
        "{refused}"
    );
    let full = said("full");
    assert!(full.contains("No space left on device"), "{full}");
    assert!(full.contains("the same command goes on"), "{full}");
    assert!(said("done").contains("finished before"), "{}", said("done"));
    assert_same(
        &calm,
        &folder.path().join("log.dataset"),
        "after a full disk",
    );
}
