//! A phone with Record3D, and the daemon that it is reached through: image, pose
//! and depth in one packet without a time stamp.

use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use dexumi_episode::{CameraMode, Device as Entry, HostTime, StreamKind};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{
    EmulateError,
    assembly::{Assembly, Emulator, Part, system},
    bridge::{DEPTH_SIZE, depths_mm},
    device::{Device, Shared},
    faults::{Damage, Draw},
    mark::Mark,
    rig,
    truth::{Damaged, Fate},
};
use crate::driver::record3d::{
    protocol::{self, LIDAR, Packet, app_pose},
    usbmux::{self, Value},
};

/// From the middle of the exposure to the packet on the socket [s]: the phone packs
/// and sends a whole set.
const DELAY_S: f64 = 60e-3;
/// UDID of the emulated phone.
pub(super) const UDID: &str = "00008110000E0000EEEE801E";
const WAIT: Duration = Duration::from_millis(50);
const TIMEOUT: Duration = Duration::from_secs(1);
/// Where the depth image has no depth, and one that is too far for the file [pixel].
pub(super) const ABSENT: usize = 1;
pub(super) const FAR: usize = 2;

/// A phone.
pub(super) const EMULATOR: Emulator = Emulator {
    driver: "record3d",
    start,
};

/// Whoever the app streams to.
#[derive(Default)]
struct Reader(Mutex<Option<File>>);

impl Reader {
    fn lock(&self) -> MutexGuard<'_, Option<File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody got it.
    fn send(&self, bytes: &[u8]) -> bool {
        let mut reader = self.lock();
        let sent = reader
            .as_mut()
            .is_some_and(|socket| socket.write_all(bytes).is_ok());
        if !sent {
            *reader = None;
        }
        sent
    }
}

fn start(assembly: &mut Assembly<'_>, part: &Part) -> Result<(), EmulateError> {
    let path = assembly.path(&part.streams[0]).with_extension("usbmuxd");
    let listener = UnixListener::bind(&path).map_err(system("open usbmuxd's socket"))?;
    let options = assembly.options;
    let fps = part.rate_hz.unwrap_or(options.fps);
    let mut devices = Vec::new();
    for stream in &part.streams {
        let camera = match StreamKind::of(stream) {
            Some(StreamKind::Camera { name }) => Some(CameraMode {
                width: options.width,
                height: options.height,
                fps,
                intrinsics: assembly.shared.scene.intrinsics(&name),
                ..CameraMode::default()
            }),
            _ => None,
        };
        let address = format!("usbmuxd:{UDID}");
        let source = "emulator: middle of the exposure to the socket";
        let mut entry = Entry {
            camera,
            ..rig::entry(part, stream, &address, DELAY_S, source)
        };
        let socket = path.to_string_lossy().into_owned();
        entry.options.insert("socket".to_owned(), socket.into());
        assembly.rig.device.push(entry);
        devices.push(assembly.device(part, stream));
    }
    let reader = Arc::new(Reader::default());
    let (shared, served, topics) = (
        assembly.shared.clone(),
        reader.clone(),
        part.streams.clone(),
    );
    assembly.spawn("emulate usbmuxd", move || {
        serve(&shared, &topics, listener, path, &served)
    })?;
    let phone = Phone {
        kinds: part
            .streams
            .iter()
            .filter_map(|stream| StreamKind::of(stream))
            .collect(),
        size: [options.width, options.height],
        mark: options.mark,
        reader,
    };
    assembly.spawn("emulate phone", move || phone.run(devices, fps))
}

/// End of the unplugging of any of a phone's streams [ns].
fn unplugged(shared: &Shared, topics: &[String]) -> Option<i64> {
    let now_ns = HostTime::now().nanos();
    topics
        .iter()
        .find_map(|topic| shared.unplugged(topic, now_ns))
}

/// The daemon: it stays when the phone goes.
fn serve(
    shared: &Shared,
    topics: &[String],
    listener: UnixListener,
    path: PathBuf,
    reader: &Reader,
) {
    let mut plugged = true;
    while !shared.stopping() {
        let was_plugged = std::mem::replace(&mut plugged, unplugged(shared, topics).is_none());
        if plugged != was_plugged {
            let what = if plugged { "plug" } else { "unplug" };
            shared.truth.event(&topics[0], what, 1);
            *reader.lock() = None;
        }
        let mut ready = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        let wait = PollTimeout::from(WAIT.as_millis() as u8);
        if !matches!(poll(&mut ready, wait), Ok(1..)) {
            continue;
        }
        if let Ok((socket, _)) = listener.accept() {
            // A client that is gone needs no answer.
            let _ = answer(socket, plugged, reader);
        }
    }
    let _ = std::fs::remove_file(path);
}

/// Answers one question; a connection to the app goes to the reader.
fn answer(mut socket: UnixStream, plugged: bool, reader: &Reader) -> std::io::Result<()> {
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    let mut header = [0; 16];
    socket.read_exact(&mut header)?;
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let mut body = vec![0; (word(0) as usize).saturating_sub(16).min(1 << 16)];
    socket.read_exact(&mut body)?;
    let question = usbmux::parse(&String::from_utf8_lossy(&body));
    let is = |key: &str, value: Value| question.as_ref().and_then(|q| q.get(key)) == Some(&value);
    let mut connected = false;
    let answer = if is("MessageType", Value::Text("ListDevices".to_owned())) {
        let phone = format!(
            "<dict><key>DeviceID</key><integer>3</integer>\
             <key>MessageType</key><string>Attached</string><key>Properties</key>\
             <dict><key>ConnectionType</key><string>USB</string>\
             <key>DeviceID</key><integer>3</integer>\
             <key>SerialNumber</key><string>{UDID}</string></dict></dict>"
        );
        let phones = if plugged { phone } else { String::new() };
        format!("<dict><key>DeviceList</key><array>{phones}</array></dict>")
    } else {
        let port = i64::from(protocol::PORT.swap_bytes());
        let result = match (
            is("DeviceID", Value::Integer(3)),
            is("PortNumber", Value::Integer(port)),
        ) {
            (true, true) if plugged => 0,
            (true, false) => 3,
            _ => 2,
        };
        connected = result == 0;
        format!(
            "<dict><key>MessageType</key><string>Result</string>\
             <key>Number</key><integer>{result}</integer></dict>"
        )
    };
    socket.write_all(&usbmux::encode(word(12), &usbmux::plist(&answer)))?;
    if connected {
        *reader.lock() = Some(File::from(OwnedFd::from(socket)));
    }
    Ok(())
}

struct Phone {
    kinds: Vec<StreamKind>,
    size: [u32; 2],
    mark: bool,
    reader: Arc<Reader>,
}

impl Phone {
    fn run(&self, mut devices: Vec<Device>, fps: f64) {
        let shared = devices[0].shared.clone();
        let period_ns = devices[0].clock.host_s(1.0 / fps) * 1e9;
        let phase_ns = devices[0].random.between(0.0, period_ns);
        for number in 0_u32.. {
            let t_ns = shared.start_ns + (phase_ns + f64::from(number) * period_ns) as i64;
            if !shared.sleep_until(t_ns) {
                return;
            }
            let packet = match self.measure(&shared, shared.scene_s(t_ns)) {
                Ok(packet) => packet,
                Err(problem) => return shared.fail(&devices[0].stream, problem),
            };
            let samples: Vec<_> = devices
                .iter_mut()
                .zip(&self.kinds)
                .map(|(device, kind)| {
                    let values = match kind {
                        StreamKind::Tracker { name } => {
                            let pose = shared.scene.world_from_tracker(name, shared.scene_s(t_ns));
                            let position = pose.translation.vector;
                            position
                                .iter()
                                .chain(pose.rotation.coords.iter())
                                .copied()
                                .collect()
                        }
                        _ => Vec::new(),
                    };
                    device.sample(t_ns, None, values, Vec::new())
                })
                .collect();
            let Draw {
                drop,
                corrupt,
                stall_ns,
            } = devices[0].draw();
            let due_ns = match drop {
                true => t_ns,
                false => devices[0].due(t_ns + (DELAY_S * 1e9) as i64 + stall_ns),
            };
            if !shared.sleep_until(due_ns) {
                return;
            }
            let mut bytes = protocol::encode(&packet);
            if corrupt {
                // The length of the JPEG, beyond all that follows.
                bytes[protocol::HEADER_BYTES + 27] |= 0x7F;
            }
            let late_us = (HostTime::now().nanos() - due_ns) as f64 * 1e-3;
            let fate = match (drop, !drop && self.reader.send(&bytes), corrupt) {
                (true, ..) => Fate::Dropped,
                (_, true, true) => Fate::Corrupt,
                (_, true, false) => Fate::Sent,
                _ => Fate::Unsent,
            };
            for (device, mut sample) in devices.iter().zip(samples) {
                if matches!(fate, Fate::Sent | Fate::Corrupt) {
                    sample.late_us = Some(late_us);
                    sample.damage = corrupt.then_some(Damaged {
                        kind: Damage::OverwrittenByte,
                        exposable: true,
                        intact: false,
                        jump_deg: 0.0,
                        jump_counts: 0.0,
                        jump_ms: 0.0,
                    });
                }
                device.conclude(sample, fate);
            }
        }
    }

    fn measure(&self, shared: &Shared, t_s: f64) -> Result<Packet, String> {
        let (mut jpeg, mut intrinsics) = (Vec::new(), None);
        let mut pose = ([0.0; 3], [0.0, 0.0, 0.0, 1.0]);
        for kind in &self.kinds {
            match kind {
                StreamKind::Camera { name } => {
                    jpeg = shared
                        .scene
                        .image(name, t_s, self.mark.then(|| Mark::at(t_s)))?;
                    intrinsics = shared.scene.intrinsics(name);
                }
                StreamKind::Tracker { name } => {
                    pose = app_pose(&shared.scene.world_from_tracker(name, t_s));
                }
                _ => {}
            }
        }
        let mut depths_m: Vec<f32> = depths_mm(t_s)
            .iter()
            .map(|&mm| f32::from(mm) * 1e-3)
            .collect();
        depths_m[ABSENT] = f32::NAN;
        depths_m[FAR] = 100.0;
        let depths: Vec<u8> = depths_m
            .iter()
            .flat_map(|depth| depth.to_le_bytes())
            .collect();
        let pack = |bytes: &[u8]| {
            let mut packed = Vec::new();
            lzfse_rust::encode_bytes(bytes, &mut packed).map_err(|error| error.to_string())?;
            Ok::<_, String>(Bytes::from(packed))
        };
        let depth_size = [DEPTH_SIZE.0, DEPTH_SIZE.1];
        Ok(Packet {
            image_size: self.size,
            depth_size,
            confidence_size: depth_size,
            device_type: LIDAR,
            intrinsics: intrinsics.unwrap_or_default().map(|value| value as f32),
            position_m: pose.0,
            rotation_xyzw: pose.1,
            jpeg: jpeg.into(),
            depth: pack(&depths)?,
            confidence: pack(&vec![2; depths_m.len()])?,
            rest: Bytes::new(),
            head: Bytes::new(),
        })
    }
}
