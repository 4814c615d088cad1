//! Emulated USB cameras: what `dexumi devices` says of them, and that a recording
//! holds every image to the byte, or counts it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    time::{Duration, Instant},
};

use dexumi_episode::{
    Episode, StreamLedger,
    schema::{CompressedImage, Timing, timing_topic},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    program::{alone, dexumi, json, text},
    shim::{Due, Shim, Spec, WEBCAM, jpegs},
};

const SIZE: (u32, u32) = (640, 480);
const PERIOD_NS: f64 = 1e9 / 30.0;

fn camera(name: &'static str, port: &'static str, plan: &str) -> Spec {
    Spec {
        port,
        plan: plan.to_owned(),
        ..Spec::webcam(name, jpegs(SIZE.0, SIZE.1))
    }
}

fn by_id(name: &str) -> String {
    format!("/dev/v4l/by-id/usb-Emulated_Camera_{name}-video-index0")
}

/// Runs under the shim to the end.
fn run(shim: &Shim, arguments: &[&str]) -> std::process::Output {
    let mut command = dexumi();
    let output = shim.preload(command.args(arguments)).output();
    let output = output.expect("the binary should start");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    output
}

/// A program that is asked to end, if it still runs.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("the binary should start"))
    }

    /// As Ctrl-C; returns the exit code.
    fn interrupt(&mut self) -> Option<i32> {
        let pid = Pid::from_raw(self.0.id() as i32);
        kill(pid, Signal::SIGINT).expect("a signal");
        self.0.wait().expect("a child").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "waited for {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_plugged_in_is_listed_under_addresses_that_stay() {
    let Some(shim) = Shim::new() else { return };
    let mut odd = camera("head", "1-3", "");
    odd.lines = format!("mode H264 1280 720 1/30\n{WEBCAM}");
    let denied = camera("locked", "1-4", "");
    for (spec, number) in [(&camera("wrist", "1-2", ""), 0), (&odd, 2), (&denied, 4)] {
        shim.add(spec);
        shim.plug(spec, number);
    }
    std::fs::write(shim.file("locked", "denied"), "").expect("a file");
    shim.plug_serial("A50285BI");

    let report = json(&run(&shim, &["devices", "--json"]));
    let cameras = report["cameras"].as_array().expect("cameras");
    let addresses: Vec<_> = cameras.iter().map(|c| c["address"].clone()).collect();
    // Their metadata nodes, video1, 3 and 5, are none.
    assert_eq!(addresses, [by_id("wrist"), by_id("head"), by_id("locked")]);
    let wrist = &cameras[0];
    assert_eq!(wrist["node"], "/dev/video0");
    assert_eq!(wrist["usb"]["port"], "1-2");
    assert_eq!(wrist["usb"]["serial"], "wrist");
    assert_eq!(wrist["holders"], Value::Array(Vec::new()));
    let first = serde_json::json!(
        { "pixel": "mjpeg", "records": true, "size": "640x480", "fps": [30.0, 15.0] }
    );
    assert_eq!(wrist["offers"][0], first);
    assert_eq!(wrist["offers"].as_array().expect("offers").len(), 6);
    assert_eq!(cameras[1]["offers"][0]["pixel"], "H264");
    assert_eq!(cameras[1]["offers"][0]["records"], false);
    let problem = cameras[2]["problem"].as_str().expect("a problem");
    assert!(problem.contains("denied"), "{problem}");
    let port = &report["serial"][0];
    assert_eq!(port["address"], "usb:0403:6001:A50285BI");
    assert_eq!(port["node"], "/dev/ttyUSB0");
    assert_eq!(port["latency_ms"], 16);
    assert_eq!(
        port["links"][0],
        "/dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0"
    );

    // A program that has a node open is named.
    let held = std::fs::File::open(shim.node(0)).expect("the node");
    let text = String::from_utf8(run(&shim, &["devices"]).stdout).expect("text");
    drop(held);
    let own = format!("(process {})", std::process::id());
    for words in [
        &*by_id("wrist"),
        "usb:1d6b:0102:wrist at USB port 1-2, 480 Mbit/s",
        "mjpeg  640x480 at 30/15, 320x240 at 30",
        "H264   1280x720 at 30 (not recorded)",
        "usb:0403:6001:A50285BI",
        "/dev/ttyUSB0, FTDI FT232R",
        "holds bytes back for 16 ms",
        "in use by `",
        &own,
        "v4l2",
    ] {
        assert!(text.contains(words), "`{words}` is not in:\n{text}");
    }
    assert_eq!(text.matches("in use by").count(), 1, "{text}");
}

/// Lines of a program, as they come.
fn lines(child: &mut Child) -> Receiver<String> {
    let (send, lines) = sync_channel(64);
    let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    std::thread::Builder::new()
        .name("lines".to_owned())
        .spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        })
        .expect("a thread");
    lines
}

#[test]
fn what_comes_and_goes_is_shown_as_it_happens() {
    let Some(shim) = Shim::new() else { return };
    let spec = camera("wrist", "1-2", "");
    shim.add(&spec);
    shim.plug(&spec, 0);
    let mut command = dexumi();
    command
        .args(["devices", "--watch", "--json"])
        .stdout(Stdio::piped());
    let mut watch = Running::start(shim.preload(&mut command));
    let lines = lines(&mut watch.0);
    let expect = |event: &str, node: &str| {
        // Real ports of this computer may be shown as well.
        let said = std::iter::from_fn(|| lines.recv_timeout(Duration::from_secs(60)).ok())
            .map(|line| serde_json::from_str::<Value>(&line).expect("JSON"))
            .find(|said| said["kind"] == "camera")
            .expect("an event");
        assert_eq!(
            (&said["event"], &said["node"]),
            (&event.into(), &node.into())
        );
        assert_eq!(said["address"], by_id("wrist"));
    };
    expect("plugged", "/dev/video0");
    shim.unplug(&spec, 0);
    expect("unplugged", "/dev/video0");
    shim.plug(&spec, 4);
    expect("plugged", "/dev/video4");
    assert_eq!(watch.interrupt(), Some(0));
}

#[test]
fn the_rules_for_udev_are_printed_and_written_and_the_groups_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("70-dexumi.rules");
    let setup = ["devices", "--setup", "--out", text(&path)];
    let output = dexumi().args(setup).output().expect("the binary");
    let (out, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(std::fs::read_to_string(&path).expect("rules"), out);
    for rule in ["latency_timer", "video4linux", "ID_MM_PORT_IGNORE"] {
        assert!(out.contains(rule), "{out}");
    }
    for words in [
        "udevadm control --reload",
        "dialout",
        "video",
        "input",
        text(&path),
    ] {
        assert!(said.contains(words), "`{words}` is not in:\n{said}");
    }
    let output = dexumi().args(setup).arg("--json").output();
    let report = json(&output.expect("the binary"));
    assert_eq!(report["rules"], *out);
    assert_eq!(
        report["account"]["groups"].as_array().map(Vec::len),
        Some(3)
    );
    // Where the rules cannot be written, that is said.
    let nowhere = ["devices", "--setup", "--out", "/proc/70-dexumi.rules"];
    let output = dexumi().args(nowhere).output().expect("the binary");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/proc/70-dexumi.rules"), "{said}");
}

/// What a recording holds of a camera.
struct Recorded {
    /// The kernel's stamp [ns] and the JPEG.
    images: Vec<(i64, bytes::Bytes)>,
    ledger: StreamLedger,
}

impl Recorded {
    fn of(episode: &Episode, topic: &str) -> Self {
        let file = &episode.file;
        let images = file.read::<CompressedImage>(topic).expect("images");
        let timings = file.read::<Timing>(&timing_topic(topic)).expect("stamps");
        assert_eq!(images.len(), timings.len());
        let stamp = |timing: &Timing| timing.stamp.as_ref()?.captured_time_ns;
        Self {
            images: images
                .into_iter()
                .zip(&timings)
                .map(|((_, image), (_, timing))| {
                    assert_eq!(image.format, "jpeg");
                    (stamp(timing).expect("the kernel's stamp"), image.data)
                })
                .collect(),
            ledger: episode.ledger[topic].clone(),
        }
    }

    /// Holds images and ledger against what the camera gave: every image is in the
    /// file to the byte, or counted as what it was.
    fn check(&self, truth: &[Due], given: &[Vec<u8>]) {
        let is = |due: &Due, stamp: i64| (due.stamp_ns - stamp).abs() < 1_000;
        let place = |stamp: i64| {
            let found = truth.iter().position(|due| is(due, stamp));
            found.unwrap_or_else(|| panic!("no image was due at {stamp}"))
        };
        let places: Vec<usize> = self.images.iter().map(|(stamp, _)| place(*stamp)).collect();
        let mut missing = 0;
        let mut expected = StreamLedger::default();
        for (&at, (_, jpeg)) in places.iter().zip(&self.images) {
            let due = &truth[at];
            assert!(matches!(due.fate.as_str(), "good" | "pad"), "{due:?}");
            assert!(*jpeg == given[due.due as usize % given.len()], "{due:?}");
        }
        for pair in places.windows(2) {
            let between = &truth[pair[0] + 1..pair[1]];
            let count = |fates: &[&str]| {
                let fits = |due: &&Due| fates.contains(&due.fate.as_str());
                between.iter().filter(fits).count() as u64
            };
            expected.lose("truncated", count(&["truncate", "empty"]));
            expected.lose("corrupt", count(&["corrupt"]));
            expected.lose("flagged_by_kernel", count(&["error"]));
            let gap_ns = (truth[pair[1]].stamp_ns - truth[pair[0]].stamp_ns) as f64;
            if gap_ns > 1e9 {
                // While it was gone, by its own rhythm.
                expected.outages += 1;
                missing += (gap_ns / PERIOD_NS).round() as u64 - 1;
            } else {
                assert_eq!(count(&["good", "pad"]), 0, "lost in silence: {between:?}");
                missing += count(&["skip", "full"]);
            }
        }
        let written = self.images.len() as u64;
        assert_eq!(self.ledger.written, written);
        assert_eq!(self.ledger.losses, expected.losses);
        assert_eq!(self.ledger.received, written + expected.lost());
        assert_eq!(self.ledger.outages, expected.outages);
        // A gap of so many and a half periods may be counted either way.
        let off = self.ledger.missing.abs_diff(missing);
        assert!(off <= expected.outages, "{:?}, not {missing}", self.ledger);
    }
}

fn write_rig(path: &Path, cameras: [&str; 2]) {
    let mut rig = "format = 1\nname = \"cameras\"\nhand = \"xhand_right\"\n".to_owned();
    for name in cameras {
        let address = by_id(name);
        rig += &format!(
            "[[device]]\nstream = \"/camera/{name}/image\"\ndriver = \"v4l2\"\n\
             address = \"{address}\"\ncamera = {{ width = 640, height = 480, fps = 30.0 }}\n"
        );
    }
    std::fs::write(path, rig).expect("a rig");
}

#[test]
fn two_cameras_unplugged_frozen_and_damaged_are_recorded_to_the_byte_and_to_the_count() {
    let Some(shim) = Shim::new() else { return };
    let _alone = alone();
    let plan = "200 skip\n205 error\n210 truncate 2\n215 corrupt\n220 pad\n225 empty\n230 skip 4\n";
    let wrist = camera("wrist", "1-2", plan);
    let head = camera("head", "1-3", "215 truncate 3\n");
    for (spec, number) in [(&wrist, 0), (&head, 2)] {
        shim.add(spec);
        shim.plug(spec, number);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (rig, session) = (
        folder.path().join("rig.toml"),
        folder.path().join("session"),
    );
    write_rig(&rig, ["wrist", "head"]);
    let mut command = dexumi();
    command
        .args(["record", "--rig", text(&rig), "--out", text(&session)])
        .args(["--task", "t", "--settle-s", "0", "--seconds", "300"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut recorder = Running::start(shim.preload(&mut command));
    let due = |name: &str| shim.truth(name).last().map_or(0, |due| due.due);
    let partial = session.join("episode_0000.mcap.partial");
    wait_for("the recording", || partial.exists());
    assert!(due("wrist") < 200, "too late for what is planned");
    wait_for("what is planned", || {
        due("wrist") > 250 && due("head") > 250
    });

    // While they are recorded they are not free.
    let report = json(&run(&shim, &["devices", "--json"]));
    for camera in report["cameras"].as_array().expect("cameras") {
        assert_eq!(camera["holders"][0]["pid"], recorder.0.id(), "{camera}");
    }

    shim.unplug(&head, 2);
    std::fs::write(shim.file("wrist", "freeze"), "").expect("a file");
    std::thread::sleep(Duration::from_millis(2500));
    shim.plug(&head, 6);
    std::fs::remove_file(shim.file("wrist", "freeze")).expect("a file");
    // The recorder looks for them again; `due` goes on where it was.
    let given = |name: &str| shim.truth(name).len();
    let (of_wrist, of_head) = (given("wrist"), given("head"));
    wait_for("both cameras", || {
        given("wrist") > of_wrist + 60 && given("head") > of_head + 60
    });
    assert_eq!(recorder.interrupt(), Some(3));

    let path = session.join("episode_0000.mcap");
    let episode = Episode::open(&path).expect("an episode");
    let given = jpegs(SIZE.0, SIZE.1);
    for name in ["wrist", "head"] {
        let recorded = Recorded::of(&episode, &format!("/camera/{name}/image"));
        recorded.check(&shim.truth(name), &given);
        assert_eq!(recorded.ledger.outages, 1, "{name}: {:?}", recorded.ledger);
        eprintln!("{name}: {:?}", recorded.ledger);
    }

    let output = dexumi().args(["info", text(&path), "--json"]).output();
    let output = output.expect("the binary");
    assert_eq!(output.status.code(), Some(3));
    let info = &json(&output)[0];
    assert_eq!(info["balances"], true);
    let ledger = &info["ledger"]["/camera/wrist/image"];
    let losses = serde_json::json!({ "corrupt": 1, "flagged_by_kernel": 1, "truncated": 3 });
    assert_eq!(ledger["losses"], losses);
    assert_eq!(ledger["outages"], 1);
    let head = &info["ledger"]["/camera/head/image"];
    assert_eq!(head["losses"], serde_json::json!({ "truncated": 3 }));
}
