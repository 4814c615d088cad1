//! Starts and stops the emulated devices.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
};

use dexumi_episode::{Calibration, HostTime, Rig, StreamKind};

use super::{
    EmulateError, ExoMap, RigOptions, Scene,
    assembly::{Assembly, system},
    device::Shared,
    rig,
    sink::Sink,
    truth,
};
use crate::driver::{board, inspire_encoders, xhand_encoders};

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
        check(&*scene, &options)?;
        let drift_ppm: BTreeMap<String, f64> = options
            .parts
            .iter()
            .flat_map(|part| {
                let drift_ppm = part.drift * options.drift_ppm;
                part.streams.iter().map(move |s| (s.clone(), drift_ppm))
            })
            .collect();
        let has = |driver: &str| options.parts.iter().any(|part| part.driver == driver);
        let (exo_map, scan_offsets_s) = if has(inspire_encoders::DRIVER.name) {
            let offsets_s = inspire_encoders::Scan::offsets_s();
            (ExoMap::inspire(), offsets_s.to_vec())
        } else if has(board::DRIVER.name) {
            // All joints at once.
            (ExoMap::xhand(), vec![0.0; 14])
        } else {
            let offsets_s = xhand_encoders::Scan::offsets_s();
            (ExoMap::xhand(), offsets_s.to_vec())
        };
        let start_ns = HostTime::now().nanos();
        let header = truth::Header {
            format: truth::Header::FORMAT,
            host_start_ns: start_ns,
            drift_ppm,
            scan_offsets_s,
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
                hand: options.hand.clone(),
                device: Vec::new(),
                mount: rig::with_wrists(shared.scene.mounts(), &options.parts),
            },
            exo_map: exo_map.clone(),
        };
        let mut assembly = Assembly {
            shared: &shared,
            options: &options,
            exo_map: &exo_map,
            rig: &mut running.rig,
            folder: running.folder.clone(),
            threads: &mut running.threads,
            ports_taken: 0,
        };
        options
            .parts
            .iter()
            .try_for_each(|part| assembly.add(part))?;
        Ok(running)
    }

    /// The rig file that reaches these devices.
    pub fn rig(&self) -> &Rig {
        &self.rig
    }

    /// Declared latencies of the cameras, nothing else.
    pub fn calibration(&self) -> Calibration {
        rig::calibration(&self.rig)
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

fn check(scene: &dyn Scene, options: &RigOptions) -> Result<(), EmulateError> {
    let joints = scene.joint_angles_rad(0.0).len();
    if joints != 12 {
        let what = format!("{joints} joint angles");
        return Err(EmulateError::Scene {
            what,
            expected: "the 12 of an XHand",
        });
    }
    let streams: Vec<&str> = options
        .parts
        .iter()
        .flat_map(|part| part.streams.iter().map(String::as_str))
        .collect();
    for stream in &streams {
        if let Some(StreamKind::Camera { name }) = StreamKind::of(stream) {
            scene
                .image(&name, 0.0, None)
                .map_err(|problem| EmulateError::Scene {
                    what: format!("no image of camera `{name}` ({problem})"),
                    expected: "a JPEG",
                })?;
        }
    }
    for unplug in &options.faults.unplug {
        if !streams.iter().any(|stream| stream.contains(&unplug.stream)) {
            return Err(EmulateError::Unplug {
                name: unplug.stream.clone(),
                known: streams.join(", "),
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
