//! What an emulated rig is made of, and who makes it.

use std::{path::PathBuf, sync::Arc, thread::JoinHandle};

use dexumi_episode::{FINGERS, Rig};

use super::{
    EmulateError, ExoMap, RigOptions, arkit, bridge, camera, channels,
    device::{Device, Shared},
    exo, ffmpeg, natnet, polhemus, record3d, rokoko, survive, udp,
};

/// One emulated device: the driver that is to be spoken to, and the streams that
/// come over its connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Name of the driver.
    pub driver: &'static str,
    /// Streams of the connection, at least one.
    pub streams: Vec<String>,
    /// Its clock's share of the rig's drift, −1 to 1.
    pub drift: f64,
    /// Rate, where it is not the device's usual one [Hz].
    pub rate_hz: Option<f64>,
    /// What kind of it, where its emulator knows several.
    pub variant: &'static str,
}

impl Part {
    /// A device at its usual rate.
    pub fn new(driver: &'static str, streams: &[&str], drift: f64) -> Self {
        Self {
            driver,
            streams: streams.iter().map(|&stream| stream.to_owned()).collect(),
            drift,
            rate_hz: None,
            variant: "",
        }
    }

    /// Of another kind.
    pub fn variant(self, variant: &'static str) -> Self {
        Self { variant, ..self }
    }
}

/// A rig by name.
#[derive(Debug)]
pub struct Preset {
    /// Name.
    pub name: &'static str,
    /// One sentence for people.
    pub help: &'static str,
    /// Robot hand that it moves like.
    pub hand: &'static str,
    /// Its devices.
    pub parts: fn() -> Vec<Part>,
}

/// All emulated rigs; the first is the usual one.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "dexumi-xhand",
        help: "DexUMI, right XHand: encoders, three fingertips, a tracked wrist, wrist and head \
               camera",
        hand: "xhand_right",
        parts: dexumi_xhand,
    },
    Preset {
        name: "dexumi-inspire",
        help: "DexUMI, right Inspire hand: encoders, two fingertips, a tracked wrist, wrist and \
               head camera",
        hand: "inspire_right",
        parts: dexumi_inspire,
    },
    Preset {
        name: "egoscale",
        help: "Two hands without exoskeleton, as EgoScale's mid-training data: gloves, tracked \
               wrists and head, a camera on each",
        hand: "xhand_right",
        parts: egoscale,
    },
    Preset {
        name: "dexumi-board",
        help: "right XHand on one board of our own: encoders, three fingertips, inertial unit; \
               tracked wrist, wrist and head camera",
        hand: "xhand_right",
        parts: dexumi_board,
    },
];

fn dexumi_xhand() -> Vec<Part> {
    let force = |finger: usize, drift| {
        let stream = format!("/exo/right/force/{}", FINGERS[finger]);
        Part::new("dexumi_xhand_force", &[&stream], drift)
    };
    vec![
        Part::new("dexumi_xhand_encoders", &["/exo/right/encoders"], 1.0),
        force(0, -0.8),
        force(1, 0.6),
        force(2, -0.4),
        Part::new("natnet", &["/tracker/wrist/pose"], -1.0),
        Part::new("mjpeg_http", &["/camera/wrist/image"], -0.7),
        Part::new("mjpeg_http", &["/camera/head/image"], 0.9).variant(camera::STAMPED),
    ]
}

fn dexumi_inspire() -> Vec<Part> {
    let forces = ["/exo/right/force/thumb", "/exo/right/force/index"];
    vec![
        Part::new("dexumi_inspire_encoders", &["/exo/right/encoders"], 1.0),
        Part::new("dexumi_inspire_fsr", &forces, -0.8),
        Part::new("natnet", &["/tracker/wrist/pose"], -1.0),
        Part::new("mjpeg_http", &["/camera/wrist/image"], -0.7),
        Part::new("mjpeg_http", &["/camera/head/image"], 0.9).variant(camera::STAMPED),
    ]
}

fn egoscale() -> Vec<Part> {
    let trackers = [
        "/tracker/left_wrist/pose",
        "/tracker/right_wrist/pose",
        "/tracker/head/pose",
    ];
    let gloves = ["/glove/left/keypoints", "/glove/right/keypoints"];
    let camera = |stream: &str, drift| Part::new("mjpeg_http", &[stream], drift);
    vec![
        Part::new("natnet", &trackers, -1.0),
        Part::new("rokoko", &gloves, 0.5),
        camera("/camera/head/image", 0.9).variant(camera::STAMPED),
        camera("/camera/left_wrist/image", -0.7).variant(camera::STAMPED),
        camera("/camera/right_wrist/image", 0.6).variant(camera::STAMPED),
    ]
}

fn dexumi_board() -> Vec<Part> {
    let streams = [
        "/exo/right/encoders",
        "/exo/right/force/thumb",
        "/exo/right/force/index",
        "/exo/right/force/middle",
        "/imu/wrist",
    ];
    vec![
        Part::new("dexumi_board", &streams, 1.0),
        Part::new("natnet", &["/tracker/wrist/pose"], -1.0),
        Part::new("mjpeg_http", &["/camera/wrist/image"], -0.7),
        Part::new("mjpeg_http", &["/camera/head/image"], 0.9).variant(camera::STAMPED),
    ]
}

/// Who plays the devices of a driver.
pub(super) struct Emulator {
    /// Name of the driver.
    pub driver: &'static str,
    /// Makes the device: its entries in the rig, its threads.
    pub start: fn(&mut Assembly<'_>, &Part) -> Result<(), EmulateError>,
}

/// All of them.
pub(super) const EMULATORS: &[Emulator] = &[
    exo::XHAND_ENCODERS,
    exo::XHAND_FORCE,
    exo::INSPIRE_ENCODERS,
    exo::INSPIRE_FSR,
    channels::EMULATOR,
    natnet::EMULATOR,
    camera::EMULATOR,
    survive::EMULATOR,
    bridge::EMULATOR,
    arkit::EMULATOR,
    record3d::EMULATOR,
    polhemus::FASTRAK,
    polhemus::PATRIOT,
    udp::JSON,
    udp::OSC,
    udp::HTS,
    rokoko::EMULATOR,
    ffmpeg::EMULATOR,
];

/// A rig while it is being put together.
pub(super) struct Assembly<'a> {
    pub shared: &'a Arc<Shared>,
    pub options: &'a RigOptions,
    pub exo_map: &'a ExoMap,
    /// Devices are added here.
    pub rig: &'a mut Rig,
    /// Folder of the links to the pseudo-terminals, and of sockets.
    pub folder: PathBuf,
    pub threads: &'a mut Vec<JoinHandle<()>>,
    pub ports_taken: u16,
}

pub(super) fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> EmulateError {
    |source| EmulateError::System {
        what: what.into(),
        source,
    }
}

impl Assembly<'_> {
    /// Makes one part.
    pub fn add(&mut self, part: &Part) -> Result<(), EmulateError> {
        let emulator = EMULATORS
            .iter()
            .find(|emulator| emulator.driver == part.driver)
            .ok_or_else(|| EmulateError::Driver {
                driver: part.driver.to_owned(),
                known: EMULATORS
                    .iter()
                    .map(|emulator| emulator.driver)
                    .collect::<Vec<_>>()
                    .join(", "),
            })?;
        (emulator.start)(self, part)
    }

    /// The device behind a part: its clock, its random numbers, its place in the
    /// truth under the name of a stream.
    pub fn device(&self, part: &Part, stream: &str) -> Device {
        let drift_ppm = part.drift * self.options.drift_ppm;
        Device::new(self.shared, stream, drift_ppm, self.options.seed)
    }

    /// Path of a pseudo-terminal's link or a socket of a stream.
    pub fn path(&self, stream: &str) -> PathBuf {
        let name = stream.trim_start_matches('/').trim_start_matches("exo/");
        self.folder.join(name.replace('/', "-"))
    }

    /// The next port of the range that was asked for; 0 for any free one.
    pub fn port(&mut self) -> u16 {
        let taken = self.ports_taken;
        self.ports_taken += 1;
        self.options
            .base_port
            .map_or(0, |base| base.saturating_add(taken))
    }

    pub fn spawn(
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
}
