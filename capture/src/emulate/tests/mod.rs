//! The emulated rig seen from outside: bytes against the truth file.

mod arkit;
mod boards;
mod bridge;
mod drive;
mod ffmpeg;
mod network;
mod one_rig;
mod record3d;
mod recorded;
mod rokoko;
mod serial;
mod trackers;

use std::{
    fs::{File, OpenOptions},
    io::{BufReader, ErrorKind, Read, Write},
    net::{TcpStream, UdpSocket},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use dexumi_episode::HostTime;
use nix::fcntl::OFlag;
use tempfile::TempDir;

use super::{
    truth::{Fate, Sample, Truth},
    *,
};
use crate::driver::{mjpeg_http, packets::Packet, xhand_encoders::Scan, xhand_force::Reading};

const ENCODERS: &str = "/exo/right/encoders";
const TRACKER: &str = "/tracker/wrist/pose";

struct Sines;

impl Scene for Sines {
    fn joint_angles_rad(&self, t_s: f64) -> Vec<f64> {
        (0..12)
            .map(|joint| 0.6 + 0.5 * (f64::from(joint) + 3.0 * t_s).sin())
            .collect()
    }

    fn force_counts(&self, finger: usize, t_s: f64) -> [f64; 3] {
        [3.0 * t_s.sin(), -40.0, 100.0 + finger as f64]
    }

    fn world_from_wrist(&self, t_s: f64) -> Isometry3<f64> {
        let turn = nalgebra::UnitQuaternion::from_euler_angles(0.1, 0.2, t_s);
        Isometry3::from_parts(nalgebra::Translation3::new(0.3 * t_s.sin(), 0.1, 1.0), turn)
    }

    fn image(&self, camera: &str, t_s: f64, _: Option<Mark>) -> Result<Vec<u8>, String> {
        let mut jpeg = vec![0xFF, 0xD8];
        jpeg.extend(format!("{camera} {t_s:.6}").bytes());
        jpeg.extend([0xFF, 0xD9]);
        Ok(jpeg)
    }
}

fn start(faults: &str) -> (EmulatedRig, TempDir) {
    start_parts(RigOptions::default().parts, faults)
}

fn start_parts(parts: Vec<Part>, faults: &str) -> (EmulatedRig, TempDir) {
    let folder = tempfile::tempdir().expect("folder");
    let options = RigOptions {
        parts,
        faults: Faults::parse(faults).expect("faults"),
        truth: Some(folder.path().join("truth.jsonl")),
        ..RigOptions::default()
    };
    (
        EmulatedRig::start(Arc::new(Sines), options).expect("start"),
        folder,
    )
}

fn truth_after(rig: EmulatedRig, folder: &TempDir) -> Truth {
    assert_eq!(rig.stop(), None);
    truth::read(&folder.path().join("truth.jsonl")).expect("truth")
}

fn of<'a>(truth: &'a Truth, stream: &str) -> Vec<&'a Sample> {
    truth
        .samples
        .iter()
        .filter(|sample| sample.stream == stream)
        .collect()
}

fn address<'a>(rig: &'a EmulatedRig, stream: &str) -> &'a str {
    &rig.rig().device(stream).expect("device").address
}

fn open(rig: &EmulatedRig, stream: &str) -> File {
    let flags = (OFlag::O_NOCTTY | OFlag::O_NONBLOCK).bits();
    let path = Path::new(address(rig, stream));
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags);
    eventually(|| options.open(path).ok())
}

/// What comes true within some seconds, however busy the computer is.
fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match attempt() {
            Some(result) => return result,
            None => assert!(Instant::now() < end, "not within 10 s"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Reads at least so many bytes, or to the hangup.
fn read_bytes(port: &mut File, count: usize) -> Vec<u8> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    eventually(|| match port.read(&mut buffer) {
        Ok(0) => Some(()),
        Ok(got) => {
            bytes.extend_from_slice(&buffer[..got]);
            (bytes.len() >= count).then_some(())
        }
        Err(error) => (error.kind() != ErrorKind::WouldBlock).then_some(()),
    });
    bytes
}

/// All packets that pass, searched byte by byte.
fn packets<T>(bytes: &[u8], length: usize, decode: impl Fn(&[u8]) -> Option<T>) -> Vec<T> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at + length <= bytes.len() {
        match decode(&bytes[at..at + length]) {
            Some(packet) => {
                found.push(packet);
                at += length;
            }
            None => at += 1,
        }
    }
    found
}

fn get(rig: &EmulatedRig, camera: &str, path: &str) -> std::io::Result<BufReader<TcpStream>> {
    let url = address(rig, &format!("/camera/{camera}/image"));
    let host = url
        .trim_start_matches("http://")
        .split('/')
        .next()
        .expect("host");
    let mut client = TcpStream::connect(host)?;
    client.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(client, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
    Ok(BufReader::new(client))
}

#[test]
fn unplugged_devices_are_gone_and_come_back() {
    let (rig, folder) =
        start("unplug=encoders@0.3s+0.8s,unplug=tracker@0.3s+0.8s,unplug=head@0.3s+0.8s,drop=0.2");
    let tracker = UdpSocket::bind("127.0.0.1:0").expect("socket");
    tracker.set_nonblocking(true).expect("nonblocking");
    tracker
        .send_to(&[0, 0, 0, 0], address(&rig, TRACKER))
        .expect("connection request");
    let waiting = || {
        let mut buffer = [0; 2048];
        std::iter::from_fn(|| tracker.recv(&mut buffer).ok()).count()
    };
    let mut camera = get(&rig, "head", "/stream.mjpg").expect("stream");
    let mut port = open(&rig, ENCODERS);
    // To the hangup.
    let bytes = read_bytes(&mut port, usize::MAX);
    assert!(!packets(&bytes, 64, Scan::decode).is_empty());
    assert!(!Path::new(address(&rig, ENCODERS)).exists());
    while mjpeg_http::read_part(&mut camera).is_ok() {}
    assert!(get(&rig, "head", "/stream.mjpg").is_err());
    assert!(waiting() > 10);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(waiting(), 0);

    let mut port = open(&rig, ENCODERS);
    let bytes = read_bytes(&mut port, 20 * 64);
    assert_eq!(packets(&bytes, 64, Scan::decode).len(), 20);
    let mut camera = eventually(|| get(&rig, "head", "/stream.mjpg").ok());
    assert!(mjpeg_http::read_part(&mut camera).is_ok());
    eventually(|| (waiting() > 0).then_some(()));
    let start_ns = rig.host_start_ns();
    let truth = truth_after(rig, &folder);
    let events: Vec<_> = truth
        .events
        .iter()
        .map(|event| (&event.stream[..], &event.what[..]))
        .collect();
    for stream in [ENCODERS, TRACKER, "/camera/head/image"] {
        assert!(
            events.contains(&(stream, "unplug")) && events.contains(&(stream, "plug")),
            "{events:?}"
        );
    }
    let gap = start_ns + 310_000_000..start_ns + 1_090_000_000;
    assert!(
        !of(&truth, ENCODERS)
            .iter()
            .any(|sample| gap.contains(&sample.t_ns))
    );
    let silent = of(&truth, TRACKER)
        .into_iter()
        .filter(|sample| gap.contains(&sample.t_ns));
    assert!(
        silent
            .into_iter()
            .all(|sample| matches!(sample.fate, Fate::Unsent | Fate::Dropped))
    );
    assert!(
        of(&truth, TRACKER)
            .iter()
            .any(|sample| sample.fate == Fate::Dropped)
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let options = RigOptions {
        faults: Faults::parse("unplug=glove@1s+1s").expect("faults"),
        ..RigOptions::default()
    };
    let message = EmulatedRig::start(Arc::new(Sines), options)
        .err()
        .expect("no glove")
        .to_string();
    assert!(
        message.contains("glove") && message.contains(TRACKER),
        "{message}"
    );
}

#[test]
fn the_rig_file_is_one_that_the_recorder_takes() {
    let (rig, _folder) = start("none");
    let text = rig.rig().to_toml();
    let parsed = dexumi_episode::Rig::parse(&text, Path::new("rig.toml")).expect("valid rig");
    assert_eq!(parsed, *rig.rig());
    for device in &parsed.device {
        crate::driver::driver_of(device).expect("a driver that can feed it");
    }
    let hand_from_camera = parsed.mount("hand", "camera/wrist").expect("mount");
    // It looks along the fingers, the thumb on the right.
    let forward = hand_from_camera * nalgebra::Vector3::z();
    let right = hand_from_camera * nalgebra::Vector3::x();
    assert!(forward.z > 0.9 && (right.y - 1.0).abs() < 1e-9);
    assert!(parsed.mount("tracker/wrist", "hand").is_some());
}
