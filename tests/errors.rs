//! What a user sees when something is wrong: what, where, what was expected,
//! the next step; an exit code; and nothing that looks like a result.

use std::{path::Path, process::Stdio};

use dexumi_episode::{Episode, schema::Encoders};

use crate::program::{Rig, dexumi, run_well, text};

/// Runs, wants the code, and wants each word in the message.
fn refused(arguments: &[&str], code: i32, words: &[&str]) {
    let output = run_well(arguments, &[code]);
    let message = String::from_utf8_lossy(&output.stderr);
    for word in words {
        assert!(
            message.contains(word),
            "`{word}` is not in the message of {arguments:?}:\n{message}"
        );
    }
}

fn rig_with(folder: &Path, device: &str) -> std::path::PathBuf {
    let path = folder.join("rig.toml");
    std::fs::write(
        &path,
        format!("format = 1\nname = \"test\"\nhand = \"xhand_right\"\n[[device]]\n{device}\n"),
    )
    .expect("a rig file");
    path
}

fn episodes(session: &Path) -> usize {
    std::fs::read_dir(session).map_or(0, |entries| {
        entries
            .filter_map(Result::ok)
            .filter(|e| e.file_name().to_string_lossy().contains(".mcap"))
            .count()
    })
}

#[test]
fn a_wrong_rig_is_explained_with_line_and_known_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = folder.path().join("session");
    let rig = rig_with(
        folder.path(),
        "stream = \"/exo/right/encoders\"\ndriver = \"x\"\nadress = \"y\"",
    );
    let record = [
        "record",
        "--rig",
        text(&rig),
        "--out",
        text(&session),
        "--seconds",
        "1",
    ];
    refused(
        &record,
        10,
        &["adress", "line 7", "expected one of", "rig.toml"],
    );
    assert!(!session.exists());
    let rig = rig_with(
        folder.path(),
        "stream = \"/exo/right/encoders\"\ndriver = \"x\"\naddress = \"y\"",
    );
    let record = [
        "record",
        "--rig",
        text(&rig),
        "--out",
        text(&session),
        "--seconds",
        "1",
    ];
    refused(
        &record,
        10,
        &["unknown driver `x`", "dexumi_xhand_encoders", "natnet"],
    );
    refused(
        &["record", "--rig", "no.toml", "--out", text(&session)],
        1,
        &["cannot read no.toml"],
    );
    assert_eq!(episodes(&session), 0);
}

#[test]
fn a_missing_device_is_named_with_its_address() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = folder.path().join("session");
    let serial = "stream = \"/exo/right/encoders\"\ndriver = \"dexumi_xhand_encoders\"\naddress = \"/dev/not-there\"";
    let camera = "stream = \"/camera/wrist/image\"\ndriver = \"mjpeg_http\"\naddress = \"http://127.0.0.1:9/x\"\n\
                  camera = { width = 640, height = 480, fps = 30.0 }";
    for (device, word) in [(serial, "/dev/not-there"), (camera, "http://127.0.0.1:9/x")] {
        let rig = rig_with(folder.path(), device);
        let record = [
            "record",
            "--rig",
            text(&rig),
            "--out",
            text(&session),
            "--seconds",
            "1",
        ];
        refused(&record, 75, &["cannot open", word, ";"]);
    }
    assert_eq!(episodes(&session), 0);
}

#[test]
fn a_busy_port_and_a_busy_session_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(folder.path(), &["--fault", "none"]);
    let toml = std::fs::read_to_string(&rig.rig).expect("a rig");
    let first = toml
        .lines()
        .find(|line| line.contains("encoders") && line.starts_with("address"));
    let port = first
        .and_then(|line| line.split('"').nth(1))
        .expect("the encoders' port");
    let holder = serialport_holder(port);
    let session = folder.path().join("session");
    let record = [
        "record",
        "--rig",
        text(&rig.rig),
        "--out",
        text(&session),
        "--seconds",
        "1",
    ];
    refused(
        &record,
        75,
        &["/exo/right/encoders", "busy", "another program"],
    );
    drop(holder);
    assert_eq!(episodes(&session), 0);

    std::fs::create_dir_all(&session).expect("a folder");
    let lock = std::fs::File::create(session.join(".lock")).expect("a lock file");
    let lock =
        nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusiveNonblock).expect("a lock");
    refused(&record, 10, &["another dexumi records", "session"]);
    drop(lock);
}

/// Holds a terminal as a serial program does: exclusively.
fn serialport_holder(path: &str) -> std::fs::File {
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("the port");
    let lock = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock);
    lock.map_err(|(_, errno)| errno)
        .expect("a lock on the port")
        .unlock_on_drop_never()
}

/// Keeps the lock as long as the file is open.
trait Keep {
    fn unlock_on_drop_never(self) -> std::fs::File;
}

impl Keep for nix::fcntl::Flock<std::fs::File> {
    fn unlock_on_drop_never(self) -> std::fs::File {
        let copy = self.try_clone().expect("a copy");
        // The lock belongs to the open file, which the copy shares; without
        // unlocking it lives until the copy is closed.
        std::mem::forget(self);
        copy
    }
}

#[test]
fn unknown_names_list_the_known_ones() {
    refused(
        &["retarget", "nowhere"],
        10,
        &["no such file or folder", "nowhere"],
    );
    let folder = tempfile::tempdir().expect("a folder");
    let points = folder.path().join("points.toml");
    let hand = [
        "calibrate",
        "setpoints",
        "--hand",
        "mitten",
        "--out",
        text(&points),
    ];
    refused(&hand, 10, &["mitten", "xhand_right", "xhand_left"]);
    let format = [
        "export",
        text(folder.path()),
        "--format",
        "vhs",
        "--out",
        text(&points),
    ];
    refused(&format, 10, &["vhs", "lerobot-v3"]);
    assert!(!points.exists());
    let rig = folder.path().join("rig.toml");
    refused(
        &["emulate", "--out", text(&rig), "--fault", "rain=1"],
        1,
        &["rain", "corrupt", "stall"],
    );
    refused(
        &["info", text(folder.path())],
        10,
        &["no episode_*.mcap found", "dexumi record"],
    );
}

#[test]
fn a_file_that_is_no_episode_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("episode_0000.mcap");
    std::fs::write(&path, b"not an MCAP file, though its name says so").expect("a file");
    for command in ["info", "align", "view"] {
        let mut arguments = vec![command, text(&path)];
        let out = folder.path().join("x.rrd");
        if command == "view" {
            arguments.extend(["--save", text(&out)]);
        }
        refused(&arguments, 10, &["no MCAP file", "episode_0000.mcap"]);
        assert!(!out.exists());
    }
}

#[test]
fn a_full_disk_and_a_read_only_folder_end_cleanly() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(folder.path(), &["--fault", "none"]);
    let session = folder.path().join("session");
    // More room wanted than any disk has: refused before anything is written.
    let record = [
        "record",
        "--rig",
        text(&rig.rig),
        "--out",
        text(&session),
        "--seconds",
        "1",
    ];
    let full = [&record[..], &["--reserve-mb", "9000000000000"]].concat();
    refused(
        &full,
        1,
        &["MB free", "kept in reserve", "choose another folder"],
    );
    assert_eq!(episodes(&session), 0);
    // /proc takes no new folder, not even from root.
    let nowhere = [
        "record",
        "--rig",
        text(&rig.rig),
        "--out",
        "/proc/session",
        "--seconds",
        "1",
    ];
    refused(&nowhere, 1, &["cannot create folder /proc/session"]);
}

/// Records with a limit on the size of files, which stands in for a disk that
/// refuses; returns exit code and messages.
fn record_with_limit(rig: &Rig, session: &Path, kib: u32, seconds: u32) -> (Option<i32>, String) {
    let script = format!(
        "trap '' XFSZ; ulimit -f {kib}; exec {} record --rig {} --out {} --seconds {seconds}",
        env!("CARGO_BIN_EXE_dexumi"),
        rig.rig.display(),
        session.display()
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .output()
        .expect("bash");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), message)
}

#[test]
fn a_write_error_leaves_a_partial_file_that_can_be_recovered() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(folder.path(), &["--fault", "none"]);
    let session = folder.path().join("session");
    // Too small for two seconds: another file would not help.
    let (code, message) = record_with_limit(&rig, &session, 14_000, 30);
    assert_eq!(code, Some(1), "{message}");
    assert!(
        message.contains("recording broke off") && message.contains("dexumi recover"),
        "{message}"
    );
    assert!(!session.join("episode_0000.mcap").exists());
    assert!(session.join("episode_0000.mcap.partial").exists());
    run_well(&["recover", text(&session)], &[3]);
    run_well(&["info", text(&session.join("episode_0000.mcap"))], &[3]);
}

#[test]
fn after_a_write_error_the_episode_goes_on_in_another_file_and_no_sample_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(folder.path(), &["--fault", "none"]);
    let session = folder.path().join("session");
    let (code, message) = record_with_limit(&rig, &session, 32_000, 9);
    assert_eq!(code, Some(3), "{message}");
    assert!(message.contains("went on in another file"), "{message}");
    // A file that was cut close to its limit has no room for its index there.
    let is_partial =
        |entry: std::fs::DirEntry| entry.path().extension() == Some("partial".as_ref());
    let mut entries = std::fs::read_dir(&session).expect("a session").flatten();
    if entries.any(is_partial) {
        run_well(&["recover", text(&session)], &[0, 3]);
    }
    let parts = (2..20).map(|part| format!("episode_0000.part{part}.mcap"));
    let files: Vec<_> = std::iter::once("episode_0000.mcap".to_owned())
        .chain(parts)
        .take_while(|name| session.join(name).exists())
        .collect();
    assert!(files.len() > 1, "{message}");
    let mut sequences = Vec::new();
    for name in files {
        let episode = Episode::open(&session.join(&name)).expect("an episode");
        let recorded = episode
            .file
            .read::<Encoders>("/exo/right/encoders")
            .expect("encoders");
        assert_eq!(
            episode.ledger["/exo/right/encoders"].written,
            recorded.len() as u64,
            "{name}"
        );
        sequences.extend(
            recorded
                .iter()
                .filter_map(|(_, message)| Some(message.stamp.as_ref()?.sequence)),
        );
    }
    assert!(sequences.len() > 700, "{} samples", sequences.len());
    assert!(
        sequences.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "samples are missing or doubled between the files"
    );
}

#[test]
fn ctrl_c_completes_the_episode() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(folder.path(), &["--fault", "none"]);
    let session = folder.path().join("session");
    let recorder = crate::program::dexumi()
        .args([
            "record",
            "--rig",
            text(&rig.rig),
            "--out",
            text(&session),
            "--task",
            "t",
            "--settle-s",
            "0",
        ])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the recorder");
    let partial = session.join("episode_0000.mcap.partial");
    let began = std::time::Instant::now();
    while !partial.exists() {
        assert!(began.elapsed().as_secs() < 20, "no recording began");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let pid = nix::unistd::Pid::from_raw(recorder.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("a signal");
    let output = recorder.wait_with_output().expect("the recorder");
    let message = String::from_utf8_lossy(&output.stderr);
    // 3: a busy machine delays the emulator, which leaves out what is late.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{message}");
    assert!(
        session.join("episode_0000.mcap").exists() && !partial.exists(),
        "{message}"
    );
}

#[test]
fn a_reader_that_goes_ends_the_program_without_a_panic() {
    let mut child = dexumi()
        .args(["devices", "--setup"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary should start");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(141));
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
