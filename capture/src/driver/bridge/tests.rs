//! The driver against `bridges/dexumi_bridge.py`, as a program of its own.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use dexumi_episode::{CameraMode, Device};

use super::super::{Data, Item, Output, Sample, Source, depth::unpack, driver_of};
use crate::error::CaptureError;

const STREAMS: [&str; 5] = [
    "/camera/wrist/image",
    "/camera/wrist/depth",
    "/imu/wrist",
    "/tracker/wrist/pose",
    "/glove/right/keypoints",
];

fn bridges() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../bridges")
}

/// Whether there is a Python to run bridges with.
fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: there is no python3 to run bridges/dexumi_bridge.py");
    }
    found
}

fn devices(more: &[&str]) -> Vec<Device> {
    let script = bridges()
        .join("dexumi_bridge.py")
        .to_string_lossy()
        .into_owned();
    let mut command = vec!["python3".to_owned(), script];
    command.extend(more.iter().map(|&word| word.to_owned()));
    let mut devices: Vec<Device> = STREAMS
        .iter()
        .map(|stream| Device::new(stream, "bridge", "child:made-up"))
        .collect();
    devices[0].camera = Some(CameraMode::default());
    // One of the entries has it for all.
    devices[2]
        .options
        .insert("command".to_owned(), command.into());
    devices
}

fn open(devices: &[Device]) -> Result<Box<dyn Source>, CaptureError> {
    (driver_of(&devices[0]).expect("a driver").open)(devices)
}

fn samples(output: &Output, stream: usize) -> Vec<&Sample> {
    let items = output.items.iter().filter(|(of, _)| *of == stream);
    items
        .filter_map(|(_, item)| match item {
            Item::Sample(sample) => Some(sample),
            _ => None,
        })
        .collect()
}

#[test]
fn a_bridge_in_python_is_started_read_and_ended() {
    if !has_python() {
        return;
    }
    let mut source = open(&devices(&[])).expect("the bridge");
    let mut output = Output::default();
    let end = Instant::now() + Duration::from_secs(30);
    let told = |output: &Output| {
        output
            .items
            .iter()
            .any(|(_, item)| matches!(item, Item::Echo { .. }))
    };
    while !(told(&output) && (0..5).all(|stream| samples(&output, stream).len() >= 12)) {
        assert!(Instant::now() < end, "not enough within 30 s");
        source.read(&mut output).expect("it runs");
    }
    for stream in 0..5 {
        let samples = samples(&output, stream);
        assert_eq!(samples[0].sequence, 0);
        assert!(
            samples
                .windows(2)
                .all(|pair| pair[1].sequence == pair[0].sequence + 1)
        );
        assert!(
            samples
                .windows(2)
                .all(|pair| pair[1].device > pair[0].device)
        );
    }
    let Data::Image(image) = &samples(&output, 0)[7].data else {
        panic!("no image");
    };
    assert!(image.data.windows(7).any(|text| text == b"image 7"));
    assert_eq!(image.exposure_ns, Some(5_000_000));
    let Data::Image(image) = &samples(&output, 1)[7].data else {
        panic!("no depth");
    };
    assert_eq!(unpack(&image.data), ((1007..1019).collect(), 4, 3));
    for (index, sample) in samples(&output, 3).into_iter().enumerate() {
        assert!(matches!(sample.data, Data::Pose { valid, .. } if valid == (index % 10 != 9)));
    }
    let hand = samples(&output, 4)[5];
    let Data::Keypoints {
        points_m,
        joints,
        valid: true,
    } = &hand.data
    else {
        panic!("no hand");
    };
    assert_eq!(
        joints
            .iter()
            .map(|joint| joint.name.as_str())
            .collect::<Vec<_>>(),
        ["wrist", "index_tip"]
    );
    let tip_m = 0.1 + 0.01 * (hand.sequence as f64 * 0.01).sin();
    assert!(points_m[0] == [0.0; 3] && (points_m[8][2] - tip_m).abs() < 1e-6);
    assert_eq!(
        points_m.iter().filter(|point| point[0].is_nan()).count(),
        19
    );
    let abouts = output.items.iter().filter_map(|(of, item)| match item {
        Item::About(about) => Some(
            about
                .iter()
                .map(move |(key, value)| (*of, key.as_str(), value.as_str())),
        ),
        _ => None,
    });
    let abouts: Vec<_> = abouts.flatten().collect();
    for known in [
        (0, "intrinsics_px", "600.000, 601.000, 4.000, 4.000"),
        (1, "serial", "0001"),
        (2, "clock", "began with the program, 200 ppm fast"),
        (3, "frame", "made up, z up"),
        (4, "joints", "wrist,index_tip"),
    ] {
        assert!(abouts.contains(&known), "{known:?} is not in {abouts:?}");
    }
    assert!(output.items.iter().all(|(_, item)| !matches!(
        item,
        Item::Lost { .. } | Item::Missing { .. } | Item::Discarded { .. }
    )));
}

#[test]
fn a_bridge_that_ends_is_gone_with_its_last_words() {
    if !has_python() {
        return;
    }
    let mut source = open(&devices(&["--seconds", "0.3"])).expect("the bridge");
    let end = Instant::now() + Duration::from_secs(30);
    let error = loop {
        assert!(Instant::now() < end, "still there after 30 s");
        if let Err(error) = source.read(&mut Output::default()) {
            break error.to_string();
        }
    };
    for part in [
        "status 0",
        "made-up devices end here",
        "the time that it was given is over",
    ] {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn only_what_is_asked_for_is_sent() {
    if !has_python() {
        return;
    }
    let mut devices = devices(&[]);
    devices.remove(0);
    devices.truncate(2);
    let mut source = open(&devices).expect("the bridge");
    let mut output = Output::default();
    while samples(&output, 1).len() < 10 {
        source.read(&mut output).expect("it runs");
    }
    let notes: Vec<_> = output
        .items
        .iter()
        .filter_map(|(_, item)| match item {
            Item::Note { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(notes, ["sends depth, imu"]);
}

#[test]
fn what_a_bridge_cannot_give_is_refused_with_what_it_has() {
    if !has_python() {
        return;
    }
    let refused = |change: &dyn Fn(&mut Vec<Device>)| {
        let mut devices = devices(&[]);
        change(&mut devices);
        open(&devices).err().expect("refused").to_string()
    };
    let error = refused(&|devices| devices[3].source = Some("elbow".to_owned()));
    assert!(
        error.contains("`elbow`") && error.contains("it has: wrist"),
        "{error}"
    );
    let error = refused(&|devices| devices[0].camera.as_mut().expect("a camera").raw = true);
    assert!(error.contains("no stream of kind raw"), "{error}");
    let error = refused(&|devices| {
        devices[2].options.insert(
            "command".to_owned(),
            vec!["sh", "-c", "echo no camera >&2"].into(),
        );
    });
    assert!(error.contains("it said last: no camera"), "{error}");
    let error = refused(&|devices| {
        devices[2]
            .options
            .insert("command".to_owned(), vec!["/no/such/program"].into());
    });
    assert!(error.contains("cannot start `/no/such/program`"), "{error}");
    let error = refused(&|devices| drop(devices[2].options.remove("command")));
    assert!(error.contains("no entry has a command"), "{error}");
    let error = refused(&|devices| devices[0].address = "localhost:5570".to_owned());
    assert!(error.contains("tcp:HOST:PORT"), "{error}");
}

/// A program that ends with the test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_bridge_that_listens_serves_again_and_again() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let address = format!("unix:{}", folder.path().join("bridge").display());
    let program = Command::new("python3")
        .arg(bridges().join("dexumi_bridge.py"))
        .args(["--listen", &address])
        .spawn();
    let _running = Running(program.expect("python3 runs"));
    let device = Device::new(STREAMS[2], "bridge", &address);
    for _ in 0..2 {
        let end = Instant::now() + Duration::from_secs(30);
        let mut source = loop {
            match open(std::slice::from_ref(&device)) {
                Ok(source) => break source,
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut output = Output::default();
        while samples(&output, 0).len() < 5 {
            source.read(&mut output).expect("it runs");
        }
    }
}

#[test]
fn the_nodes_of_a_glove_find_their_points_by_name() {
    if !has_python() {
        return;
    }
    // A Manus glove's 25, in the order of one of its SDK's versions.
    let script = "import dexumi_bridge as b; \
        names = ['wrist'] + [f'{f}_{n}' for f in ('index', 'middle', 'ring', 'little') for n in b.BONES] \
            + [f'thumb_{n}' for n in ('metacarpal', 'proximal', 'distal', 'tip')]; \
        print(b.points_of(names))";
    let output = python(script);
    assert_eq!(
        output,
        "[0, 21, 22, 23, 24, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 14, 15, 17, 18, 19, 20]"
    );
}

#[test]
fn both_sides_write_the_same_bytes() {
    if !has_python() {
        return;
    }
    let script = "import dexumi_bridge as b; \
        print(b.encode(b.IMU, 2, b'dexumi', 42, 0x112210F47DE98115, 123456789, 1000).hex())";
    assert_eq!(python(script), super::packet::tests::GOLDEN);
}

/// What a script says that uses the Python side.
fn python(script: &str) -> String {
    let output = Command::new("python3")
        .args(["-B", "-c", script])
        .current_dir(bridges())
        .output()
        .expect("python3 runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
