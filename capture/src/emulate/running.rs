//! Starts and stops the emulated devices.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
};

use dexumi_episode::{Calibration, FINGERS, HostTime, Rig};

use super::{
    EmulateError, ExoMap, RigOptions, Scene,
    camera::{self, Camera, Readers},
    device::{Device, Shared},
    exo, natnet,
    pty::Pty,
    rig,
    sink::Sink,
    truth,
};

pub(super) const ENCODERS: &str = "/exo/right/encoders";
pub(super) const TRACKER: &str = "/tracker/wrist/pose";
/// Names of the cameras, and whether they stamp their images.
pub(super) const CAMERAS: [(&str, bool); 2] = [("wrist", false), ("head", true)];
/// Fingers with a force board, from the thumb.
const FORCE_FINGERS: usize = 3;

/// Streams, and each one's share of the drift.
fn streams() -> [(String, f64); 7] {
    let force = |finger: usize| format!("/exo/right/force/{}", FINGERS[finger]);
    let camera = |camera: usize| format!("/camera/{}/image", CAMERAS[camera].0);
    [
        (ENCODERS.to_owned(), 1.0),
        (force(0), -0.8),
        (force(1), 0.6),
        (force(2), -0.4),
        (TRACKER.to_owned(), -1.0),
        (camera(0), -0.7),
        (camera(1), 0.9),
    ]
}

fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> EmulateError {
    |source| EmulateError::System {
        what: what.into(),
        source,
    }
}

/// A running rig; stops when dropped.
pub struct EmulatedRig {
    pub(super) shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    truth_thread: Option<JoinHandle<()>>,
    folder: PathBuf,
    rig: Rig,
    exo_map: ExoMap,
}

impl EmulatedRig {
    /// Starts all devices.
    ///
    /// # Errors
    /// The scene does not fit, a fault names no stream, or the system has no
    /// port, pseudo-terminal, thread or file for us.
    pub fn start(scene: Arc<dyn Scene>, options: RigOptions) -> Result<Self, EmulateError> {
        let streams = streams();
        check(&*scene, &options, &streams)?;
        let drift_ppm: BTreeMap<String, f64> = streams
            .iter()
            .map(|(stream, share)| (stream.clone(), share * options.drift_ppm))
            .collect();
        let exo_map = ExoMap::xhand();
        let start_ns = HostTime::now().nanos();
        let header = truth::Header {
            format: truth::Header::FORMAT,
            host_start_ns: start_ns,
            drift_ppm: drift_ppm.clone(),
            scan_offsets_s: crate::driver::xhand_encoders::scan_offsets_s().to_vec(),
            exo_map: exo_map.clone(),
            faults: options.faults.clone(),
            seed: options.seed,
            motion: scene.description(),
        };
        let (truth, truth_thread) = match &options.truth {
            Some(path) => Sink::create(path, header)
                .map(|(sink, thread)| (sink, Some(thread)))
                .map_err(system(format!("write truth file {}", path.display())))?,
            None => (Sink::default(), None),
        };
        let shared = Arc::new(Shared {
            scene,
            start_ns,
            faults: options.faults.clone(),
            truth,
            stop: AtomicBool::new(false),
            failure: Mutex::default(),
        });
        let mut running = Self {
            shared: shared.clone(),
            threads: Vec::new(),
            truth_thread,
            folder: make_folder()?,
            rig: Rig {
                format: 1,
                name: "emulated".to_owned(),
                hand: "xhand_right".to_owned(),
                device: Vec::new(),
                mount: shared.scene.mounts(),
            },
            exo_map: exo_map.clone(),
        };
        let device = |stream: &str| Device::new(&shared, stream, drift_ppm[stream], options.seed);
        running.start_exo(&streams, &device, exo_map)?;
        running.start_tracker(device(TRACKER), options.base_port.unwrap_or(0))?;
        for (index, (name, stamps)) in CAMERAS.into_iter().enumerate() {
            let camera = Camera {
                name,
                fps: options.fps,
                stamps,
                mark: options.mark,
            };
            let port = options
                .base_port
                .map_or(0, |base| base.saturating_add(1 + index as u16));
            running.start_camera(
                device(&format!("/camera/{name}/image")),
                camera,
                port,
                &options,
            )?;
        }
        Ok(running)
    }

    fn start_exo(
        &mut self,
        streams: &[(String, f64)],
        device: &dyn Fn(&str) -> Device,
        map: ExoMap,
    ) -> Result<(), EmulateError> {
        for (index, (stream, _)) in streams[..=FORCE_FINGERS].iter().enumerate() {
            let link = self
                .folder
                .join(stream.trim_start_matches("/exo/").replace('/', "-"));
            let pty = Pty::create(&link)
                .map_err(system(format!("make a pseudo-terminal for `{stream}`")))?;
            let device = device(stream);
            self.rig.device.push(rig::serial(stream, &link));
            match index {
                0 => {
                    let map = map.clone();
                    self.spawn("emulate exo", move || {
                        exo::run(device, pty, exo::Encoders { map })
                    })?;
                }
                _ => {
                    let finger = index - 1;
                    self.spawn("emulate force", move || {
                        exo::run(device, pty, exo::Force { finger })
                    })?;
                }
            }
        }
        Ok(())
    }

    fn start_tracker(&mut self, device: Device, port: u16) -> Result<(), EmulateError> {
        let server = natnet::Server::bind(port)
            .map(Arc::new)
            .map_err(system(format!(
                "open UDP port {port} of 127.0.0.1 for the tracker"
            )))?;
        let address = server
            .address()
            .map_err(system("read the tracker's UDP port"))?;
        self.rig.device.push(rig::tracker(TRACKER, address));
        let (shared, commands, clock) = (self.shared.clone(), server.clone(), device.clock);
        self.spawn("emulate command", move || {
            natnet::answer(&shared, TRACKER, clock, &commands)
        })?;
        self.spawn("emulate tracker", move || natnet::publish(device, &server))
    }

    fn start_camera(
        &mut self,
        device: Device,
        camera: Camera,
        port: u16,
        options: &RigOptions,
    ) -> Result<(), EmulateError> {
        let listener = TcpListener::bind(("127.0.0.1", port)).map_err(system(format!(
            "open TCP port {port} of 127.0.0.1 for camera `{}`",
            camera.name
        )))?;
        let address = listener
            .local_addr()
            .map_err(system("read a camera's TCP port"))?;
        let intrinsics = self.shared.scene.intrinsics(camera.name);
        self.rig.device.push(rig::camera(
            &device.stream,
            address,
            &camera,
            options,
            intrinsics,
        ));
        let readers = Arc::new(Readers::default());
        let (shared, stream, served) =
            (self.shared.clone(), device.stream.clone(), readers.clone());
        self.spawn("emulate http", move || {
            camera::serve(&shared, &stream, listener, &served)
        })?;
        self.spawn("emulate camera", move || {
            camera::capture(device, &camera, &readers)
        })
    }

    fn spawn(
        &mut self,
        name: &str,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<(), EmulateError> {
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(system(format!("start thread `{name}`")))?;
        self.threads.push(thread);
        Ok(())
    }

    /// The rig file that reaches these devices.
    pub fn rig(&self) -> &Rig {
        &self.rig
    }

    /// Declared latencies of the cameras, nothing else.
    pub fn calibration(&self) -> Calibration {
        rig::calibration()
    }

    /// The true map from joint to sensor angles.
    pub fn exo_map(&self) -> &ExoMap {
        &self.exo_map
    }

    /// CLOCK_MONOTONIC at scene time 0 [ns].
    pub fn host_start_ns(&self) -> i64 {
        self.shared.start_ns
    }

    /// Why a device ended early, if one did; in words for people.
    pub fn failure(&self) -> Option<String> {
        self.shared
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Stops all devices and completes the truth file; what a device died of, if
    /// one did.
    pub fn stop(mut self) -> Option<String> {
        self.end();
        self.failure()
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let name = thread.thread().name().unwrap_or("device").to_owned();
            if thread.join().is_err() {
                self.shared.fail(&name, "its thread panicked".to_owned());
            }
        }
        self.shared.truth.close();
        if let Some(thread) = self.truth_thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Drop for EmulatedRig {
    fn drop(&mut self) {
        self.end();
    }
}

fn check(
    scene: &dyn Scene,
    options: &RigOptions,
    streams: &[(String, f64)],
) -> Result<(), EmulateError> {
    let joints = scene.joint_angles_rad(0.0).len();
    if joints != 12 {
        let what = format!("{joints} joint angles");
        return Err(EmulateError::Scene {
            what,
            expected: "the 12 of an XHand",
        });
    }
    for (name, _) in CAMERAS {
        scene
            .image(name, 0.0, None)
            .map_err(|problem| EmulateError::Scene {
                what: format!("no image of camera `{name}` ({problem})"),
                expected: "a JPEG",
            })?;
    }
    for unplug in &options.faults.unplug {
        if !streams
            .iter()
            .any(|(stream, _)| stream.contains(&unplug.stream))
        {
            let known: Vec<&str> = streams.iter().map(|(stream, _)| stream.as_str()).collect();
            return Err(EmulateError::Unplug {
                name: unplug.stream.clone(),
                known: known.join(", "),
            });
        }
    }
    Ok(())
}

/// Folder of the links to the pseudo-terminals.
fn make_folder() -> Result<PathBuf, EmulateError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder =
        std::env::temp_dir().join(format!("dexumi-emulated-{}-{number}", std::process::id()));
    // Left by a killed emulator that had the same process id.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).map_err(system(format!("make folder {}", folder.display())))?;
    Ok(folder)
}
