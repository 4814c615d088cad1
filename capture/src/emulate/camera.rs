//! Cameras: JPEG images over HTTP as `multipart/x-mixed-replace`, free-running
//! on their own oscillators.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use crossbeam_channel::{RecvTimeoutError, Sender, TrySendError, bounded};
use dexumi_episode::{CameraMode, Device as Entry, HostTime, StreamKind};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{
    EmulateError,
    assembly::{Assembly, Emulator, Part, system},
    device::{Device, Shared},
    mark::Mark,
    rig,
    truth::Fate,
};
use crate::driver::mjpeg_http::{BOUNDARY, encode_part};

/// From capture to the first byte on the network [s]: exposure, readout and
/// compression.
const DELAY_S: f64 = 25e-3;
/// Where the images are.
const PATH: &str = "/stream.mjpg";
/// Images on their way to one reader, due or not.
const QUEUE: usize = 6;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_REQUEST_BYTES: usize = 8 << 10;
/// Wake-up of waiting threads to look at the stop flag.
const WAIT: Duration = Duration::from_millis(50);
const HELP: &str = "Emulated camera. Moving pictures: GET /stream.mjpg\n";

/// Variant whose images carry `X-Timestamp` of the camera's own clock.
pub(super) const STAMPED: &str = "stamped";

/// A network camera.
pub(super) const EMULATOR: Emulator = Emulator {
    driver: "mjpeg_http",
    start,
};

fn start(assembly: &mut Assembly<'_>, part: &Part) -> Result<(), EmulateError> {
    let stream = part.streams[0].clone();
    let name = match StreamKind::of(&stream) {
        Some(StreamKind::Camera { name }) => name,
        _ => stream.clone(),
    };
    let options = assembly.options;
    let camera = Camera {
        name,
        fps: part.rate_hz.unwrap_or(options.fps),
        stamps: part.variant == STAMPED,
        mark: options.mark,
    };
    let port = assembly.port();
    let listener = TcpListener::bind(("127.0.0.1", port)).map_err(system(format!(
        "open TCP port {port} of 127.0.0.1 for camera `{}`",
        camera.name
    )))?;
    let address = listener
        .local_addr()
        .map_err(system("read a camera's TCP port"))?;
    let source = match camera.stamps {
        true => "emulator: X-Timestamp, in the middle of the exposure, to arrival",
        false => "emulator: middle of the exposure to arrival",
    };
    assembly.rig.device.push(Entry {
        camera: Some(CameraMode {
            width: options.width,
            height: options.height,
            fps: camera.fps,
            intrinsics: assembly.shared.scene.intrinsics(&camera.name),
            ..CameraMode::default()
        }),
        ..rig::entry(
            part,
            &stream,
            &format!("http://{address}{PATH}"),
            DELAY_S,
            source,
        )
    });
    let readers = Arc::new(Readers::default());
    let device = assembly.device(part, &stream);
    let (shared, served) = (assembly.shared.clone(), readers.clone());
    assembly.spawn("emulate http", move || {
        serve(&shared, &stream, listener, &served)
    })?;
    assembly.spawn("emulate camera", move || capture(device, &camera, &readers))
}

/// One camera.
struct Camera {
    name: String,
    fps: f64,
    /// Whether its images carry `X-Timestamp` of its own clock.
    stamps: bool,
    /// Whether the capture time is drawn into its images.
    mark: bool,
}

/// An image and when to send it.
#[derive(Clone)]
struct Pending {
    due_ns: i64,
    bytes: Bytes,
}

/// Those who are connected.
#[derive(Default)]
struct Readers(Mutex<Vec<Sender<Pending>>>);

impl Readers {
    fn lock(&self) -> MutexGuard<'_, Vec<Sender<Pending>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many were given the part, and how many had no room for it.
    fn hand_out(&self, part: &Pending) -> (u64, u64) {
        let (mut given, mut slow) = (0, 0);
        self.lock()
            .retain(|reader| match reader.try_send(part.clone()) {
                Ok(()) => {
                    given += 1;
                    true
                }
                Err(TrySendError::Full(_)) => {
                    slow += 1;
                    true
                }
                Err(TrySendError::Disconnected(_)) => false,
            });
        (given, slow)
    }
}

/// Takes images until it is time to stop.
fn capture(mut device: Device, camera: &Camera, readers: &Readers) {
    let shared = device.shared.clone();
    let stream = device.stream.clone();
    let period_ns = device.clock.host_s(1.0 / camera.fps) * 1e9;
    let phase_ns = device.random.between(0.0, period_ns);
    for number in 0_u32.. {
        let t_ns = shared.start_ns + (phase_ns + f64::from(number) * period_ns) as i64;
        let micros = camera.stamps.then(|| device.clock.at(t_ns) / 1_000);
        let sample = device.sample(
            t_ns,
            micros.map(|micros| micros as u64),
            Vec::new(),
            Vec::new(),
        );
        let draw = device.draw();
        if !shared.sleep_until(t_ns) {
            return;
        }
        if draw.drop {
            device.conclude(sample, Fate::Dropped);
            continue;
        }
        if readers.lock().is_empty() || shared.unplugged(&stream, t_ns).is_some() {
            device.conclude(sample, Fate::Unsent);
            continue;
        }
        if (HostTime::now().nanos() - t_ns) as f64 > period_ns {
            // Behind by a whole image: leave this one out instead of sending all
            // that follow late.
            shared.truth.event(&stream, "late", 1);
            device.conclude(sample, Fate::Unsent);
            continue;
        }
        let t_s = shared.scene_s(t_ns);
        let mark = camera.mark.then(|| Mark::at(t_s));
        let jpeg = match shared.scene.image(&camera.name, t_s, mark) {
            Ok(jpeg) => jpeg,
            Err(problem) => {
                device.conclude(sample, Fate::Unsent);
                return shared.fail(&stream, problem);
            }
        };
        let bytes = encode_part(&jpeg, micros.map(|micros| micros as f64 * 1e-6)).into();
        let due_ns = device.due(t_ns + (DELAY_S * 1e9) as i64 + draw.stall_ns);
        let late_us = ((HostTime::now().nanos() - due_ns) as f64 * 1e-3).max(0.0);
        let (given, slow) = readers.hand_out(&Pending { due_ns, bytes });
        if slow > 0 {
            shared.truth.event(&stream, "slow_reader", slow);
        }
        if given > 0 && slow == 0 {
            let mut sample = sample;
            sample.late_us = Some(late_us);
            device.conclude(sample, Fate::Sent);
        } else {
            device.conclude(sample, Fate::Unsent);
        }
    }
}

/// Serves readers until it is time to stop, each on a thread of its own.
fn serve(shared: &Arc<Shared>, stream: &str, listener: TcpListener, readers: &Arc<Readers>) {
    let Ok(address) = listener.local_addr() else {
        return;
    };
    let mut listener = Some(listener);
    let mut threads: Vec<std::thread::JoinHandle<()>> = Vec::new();
    while !shared.stopping() {
        if let Some(end_ns) = shared.unplugged(stream, HostTime::now().nanos()) {
            shared.truth.event(stream, "unplug", 1);
            listener = None;
            readers.lock().clear();
            if !shared.sleep_until(end_ns) {
                break;
            }
            shared.truth.event(stream, "plug", 1);
            continue;
        }
        match &listener {
            None => match TcpListener::bind(address) {
                Ok(again) => listener = Some(again),
                Err(error) => {
                    shared.fail(stream, format!("cannot listen at {address} again: {error}"));
                    break;
                }
            },
            Some(open) => {
                if let Some(client) = accept(open) {
                    threads.retain(|thread| !thread.is_finished());
                    let (shared, stream, readers) =
                        (shared.clone(), stream.to_owned(), readers.clone());
                    let run = move || attend(client, &shared, &stream, &readers);
                    match std::thread::Builder::new()
                        .name("emulate reader".to_owned())
                        .spawn(run)
                    {
                        Ok(thread) => threads.push(thread),
                        Err(error) => eprintln!("cannot serve a reader of {address}: {error}"),
                    }
                }
            }
        }
    }
    readers.lock().clear();
    for thread in threads {
        let _ = thread.join();
    }
}

/// Waits a moment for a connection.
fn accept(listener: &TcpListener) -> Option<TcpStream> {
    let mut ready = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let wait = PollTimeout::from(WAIT.as_millis() as u8);
    match poll(&mut ready, wait) {
        Ok(1..) => listener
            .accept()
            .ok()
            .map(|(client, _): (_, SocketAddr)| client),
        _ => None,
    }
}

/// Reads one request and answers it.
fn attend(mut client: TcpStream, shared: &Shared, stream: &str, readers: &Readers) {
    let _ = client.set_nodelay(true);
    if client.set_read_timeout(Some(REQUEST_TIMEOUT)).is_err()
        || client.set_write_timeout(Some(WRITE_TIMEOUT)).is_err()
    {
        return;
    }
    let Ok(request) = read_request(&mut client) else {
        return;
    };
    let mut words = request.split_whitespace();
    let plain = |status: &str, text: &str| {
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        )
    };
    // A client that is gone needs no answer.
    let _ = match (words.next(), words.next()) {
        (Some("GET"), Some(PATH)) => {
            if let Err(error) = send_images(&mut client, shared, stream, readers)
                && error.kind() == ErrorKind::WouldBlock
            {
                shared.truth.event(stream, "slow_reader", 1);
            }
            Ok(())
        }
        (Some("GET"), Some("/")) => client.write_all(plain("200 OK", HELP).as_bytes()),
        (Some("GET"), _) => client.write_all(plain("404 Not Found", HELP).as_bytes()),
        _ => client.write_all(plain("405 Method Not Allowed", HELP).as_bytes()),
    };
}

/// The head of a request, up to the empty line.
fn read_request(client: &mut TcpStream) -> std::io::Result<String> {
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = client.read(&mut buffer)?;
        if count == 0 || head.len() > MAX_REQUEST_BYTES {
            return Err(ErrorKind::InvalidData.into());
        }
        head.extend_from_slice(&buffer[..count]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn send_images(
    client: &mut TcpStream,
    shared: &Shared,
    stream: &str,
    readers: &Readers,
) -> std::io::Result<()> {
    write!(
        client,
        "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary={BOUNDARY}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )?;
    let (sender, parts) = bounded::<Pending>(QUEUE);
    readers.lock().push(sender);
    loop {
        match parts.recv_timeout(WAIT) {
            Ok(part) => {
                if !shared.sleep_until(part.due_ns)
                    || shared.unplugged(stream, HostTime::now().nanos()).is_some()
                {
                    return Ok(());
                }
                client.write_all(&part.bytes)?;
            }
            Err(RecvTimeoutError::Timeout) if !shared.stopping() => {}
            Err(_) => return Ok(()),
        }
    }
}
