//! A source for ffmpeg: JPEG images in a NUT stream over TCP, with the time stamps
//! of a clock of its own.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dexumi_episode::{CameraMode, Device as Entry, HostTime, StreamKind};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{
    EmulateError,
    assembly::{Assembly, Emulator, Part, system},
    device::{Device, Shared},
    faults::Damage,
    mark::Mark,
    rig,
    truth::{Damaged, Fate},
};
use crate::driver::ffmpeg::nut;

/// From the middle of the exposure to the packet on the network [s].
const DELAY_S: f64 = 30e-3;
const WAIT: Duration = Duration::from_millis(50);
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// A camera.
pub(super) const EMULATOR: Emulator = Emulator {
    driver: "ffmpeg",
    start,
};

#[derive(Default)]
struct Reader(Mutex<Option<TcpStream>>);

impl Reader {
    fn lock(&self) -> MutexGuard<'_, Option<TcpStream>> {
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
    let stream = part.streams[0].clone();
    let name = match StreamKind::of(&stream) {
        Some(StreamKind::Camera { name }) => name,
        _ => stream.clone(),
    };
    let options = assembly.options;
    let fps = part.rate_hz.unwrap_or(options.fps);
    let port = assembly.port();
    let listener = TcpListener::bind(("127.0.0.1", port)).map_err(system(format!(
        "open TCP port {port} of 127.0.0.1 for camera `{name}`"
    )))?;
    let address = listener
        .local_addr()
        .map_err(system("read a camera's TCP port"))?;
    let source = "emulator: middle of the exposure to the network";
    let mut entry = Entry {
        camera: Some(CameraMode {
            width: options.width,
            height: options.height,
            fps,
            intrinsics: assembly.shared.scene.intrinsics(&name),
            ..CameraMode::default()
        }),
        ..rig::entry(part, &stream, &format!("tcp://{address}"), DELAY_S, source)
    };
    entry
        .options
        .insert("input".to_owned(), vec!["-f", "nut"].into());
    assembly.rig.device.push(entry);
    let reader = Arc::new(Reader::default());
    let header = nut::encode_header(options.width, options.height);
    let (shared, served, mark) = (assembly.shared.clone(), reader.clone(), options.mark);
    let device = assembly.device(part, &stream);
    assembly.spawn("emulate tcp", move || {
        serve(&shared, &stream, listener, address, &header, &served)
    })?;
    assembly.spawn("emulate camera", move || {
        capture(device, &name, fps, mark, &reader)
    })
}

/// Serves one reader after the other until it is time to stop.
fn serve(
    shared: &Shared,
    stream: &str,
    listener: TcpListener,
    address: SocketAddr,
    header: &[u8],
    reader: &Reader,
) {
    let mut listener = Some(listener);
    while !shared.stopping() {
        if let Some(end_ns) = shared.unplugged(stream, HostTime::now().nanos()) {
            shared.truth.event(stream, "unplug", 1);
            listener = None;
            *reader.lock() = None;
            if !shared.sleep_until(end_ns) {
                return;
            }
            shared.truth.event(stream, "plug", 1);
        }
        let open = match listener
            .take()
            .map_or_else(|| TcpListener::bind(address), Ok)
        {
            Ok(open) => listener.insert(open),
            Err(error) => {
                return shared.fail(stream, format!("cannot listen at {address} again: {error}"));
            }
        };
        let mut ready = [PollFd::new(open.as_fd(), PollFlags::POLLIN)];
        if !matches!(
            poll(&mut ready, PollTimeout::from(WAIT.as_millis() as u8)),
            Ok(1..)
        ) {
            continue;
        }
        if let Ok((mut socket, _)) = open.accept() {
            let _ = socket.set_nodelay(true);
            let limited = socket.set_write_timeout(Some(WRITE_TIMEOUT));
            if limited.is_ok() && socket.write_all(header).is_ok() {
                *reader.lock() = Some(socket);
            }
        }
    }
}

fn capture(mut device: Device, name: &str, fps: f64, mark: bool, reader: &Reader) {
    let shared = device.shared.clone();
    let period_ns = device.clock.host_s(1.0 / fps) * 1e9;
    let phase_ns = device.random.between(0.0, period_ns);
    for number in 0_u32.. {
        let t_ns = shared.start_ns + (phase_ns + f64::from(number) * period_ns) as i64;
        if !shared.sleep_until(t_ns) {
            return;
        }
        let micros = (device.clock.at(t_ns) / 1000) as u64;
        let t_s = shared.scene_s(t_ns);
        let mut jpeg = match shared.scene.image(name, t_s, mark.then(|| Mark::at(t_s))) {
            Ok(jpeg) => jpeg,
            Err(problem) => return shared.fail(&device.stream, problem),
        };
        let mut sample = device.sample(t_ns, Some(micros), Vec::new(), Vec::new());
        let draw = device.draw();
        let due_ns = match draw.drop {
            true => t_ns,
            false => device.due(t_ns + (DELAY_S * 1e9) as i64 + draw.stall_ns),
        };
        if !shared.sleep_until(due_ns) {
            return;
        }
        if draw.corrupt {
            // Cut within the camera; the container around it is whole.
            jpeg.truncate(jpeg.len() - 2);
        }
        let late_us = (HostTime::now().nanos() - due_ns) as f64 * 1e-3;
        let sent = !draw.drop && reader.send(&nut::encode_packet(micros, &jpeg));
        let fate = match (draw.drop, sent, draw.corrupt) {
            (true, ..) => Fate::Dropped,
            (_, true, true) => Fate::Corrupt,
            (_, true, false) => Fate::Sent,
            _ => Fate::Unsent,
        };
        if sent {
            sample.late_us = Some(late_us);
            sample.damage = draw.corrupt.then_some(Damaged {
                kind: Damage::Truncated,
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
