//! `dexumi emulate`: emulated devices on pseudo-terminals, UDP and HTTP.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use clap::Args;
use dexumi_capture::emulate::{EmulatedRig, Faults, PRESETS, Preset, RigOptions};
use dexumi_episode::write_atomically;

use super::export::image_size;
use crate::{
    Exit,
    emulate::{EmulatedScene, SceneOptions},
};

/// Emulated devices, spoken to byte for byte as real ones, until Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dexumi emulate --out rig.toml
  dexumi emulate --out rig.toml --video wrist=hand.mp4 --motion hand_keypoints.npy
  dexumi emulate --out rig.toml --fault corrupt=0.01,drop=0.002 --truth truth.jsonl
  dexumi emulate --out rig.toml --setpoints setpoints.toml     known poses, for calibration")]
pub struct Emulate {
    /// Where to write the rig that reaches the devices.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Calibration with the cameras' latencies, as declared by the emulator
    /// [default: beside --out, named calibration.toml].
    #[arg(long, value_name = "FILE")]
    pub calibration_out: Option<PathBuf>,
    /// True values of every sample, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    #[command(flatten)]
    pub scene: SceneArguments,
    /// Faults: corrupt=SHARE, drop=SHARE, stall=SHARE, batch=MS, reboot=STREAM@TIME,
    /// unplug=STREAM@START+DURATION, none.
    #[arg(long, value_name = "FAULTS", default_value = Faults::ORDINARY)]
    pub fault: Vec<String>,
    /// Drift of the devices' clocks [ppm].
    #[arg(long, default_value_t = 40.0)]
    pub drift_ppm: f64,
    /// First of the UDP and TCP ports; else free ones.
    #[arg(long)]
    pub base_port: Option<u16>,
    /// Which rig.
    #[arg(long, default_value = PRESETS[0].name, value_parser = preset)]
    pub preset: &'static Preset,
    /// Random numbers start here.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Leave the capture-time mark out of the images.
    #[arg(long)]
    pub no_mark: bool,
}

/// What the emulated devices see.
#[derive(Debug, Clone, Default, Args)]
pub struct SceneArguments {
    /// Hand motion: keypoints [N,21,3] in metres, .npy; else built-in grasps.
    #[arg(long, value_name = "FILE")]
    pub motion: Option<PathBuf>,
    /// Rate of --motion and --wrist [Hz].
    #[arg(long, value_name = "FPS", default_value_t = 30.0)]
    pub motion_fps: f64,
    /// Known poses, held one after another, for `dexumi calibrate joints`.
    #[arg(long, value_name = "FILE", conflicts_with = "motion")]
    pub setpoints: Option<PathBuf>,
    /// Wrist path [N,7]: metres and quaternion x, y, z, w, .npy; else built in.
    #[arg(long, value_name = "FILE")]
    pub wrist: Option<PathBuf>,
    /// Picture of a camera from a video, NAME=FILE; else a drawn scene.
    #[arg(long, value_name = "NAME=FILE", value_parser = name_and_file)]
    pub video: Vec<(String, PathBuf)>,
    /// Size of the cameras' images, at least 4:3; smaller ones take less of a slow machine
    /// [default: 1280x720].
    #[arg(long, value_name = "WxH", value_parser = image_size)]
    pub camera_size: Option<(u32, u32)>,
}

fn preset(name: &str) -> Result<&'static Preset, String> {
    PRESETS
        .iter()
        .find(|preset| preset.name == name)
        .ok_or_else(|| {
            let known: Vec<_> = PRESETS
                .iter()
                .map(|preset| format!("{}: {}", preset.name, preset.help))
                .collect();
            format!("expected one of:\n  {}", known.join("\n  "))
        })
}

fn name_and_file(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = text
        .split_once('=')
        .ok_or_else(|| format!("got `{text}`, expected NAME=FILE such as wrist=hand.mp4"))?;
    Ok((name.to_owned(), PathBuf::from(file)))
}

/// Size of the emulated cameras' images, unless another is asked for, and their rate.
pub const CAMERA: (u32, u32, f64) = (1280, 720, 30.0);

impl SceneArguments {
    fn camera_size(&self) -> (u32, u32) {
        self.camera_size.unwrap_or((CAMERA.0, CAMERA.1))
    }

    /// Reads what is named, draws what is not.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn scene(&self) -> Result<Arc<EmulatedScene>> {
        let (width, height) = self.camera_size();
        let scene = EmulatedScene::new(&SceneOptions {
            motion: self.motion.clone(),
            fps: self.motion_fps,
            setpoints: self.setpoints.clone(),
            wrist: self.wrist.clone(),
            video: self.video.clone(),
            width,
            height,
        })?;
        Ok(Arc::new(scene))
    }
}

/// Starts the emulated rig and writes `rig.toml` and the declared latencies.
///
/// # Errors
/// A fault is unknown, a port is taken, a file cannot be written.
pub fn start(options: &Emulate) -> Result<EmulatedRig> {
    if let Some(folder) = options
        .out
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create folder {}", folder.display()))?;
    }
    let faults = Faults::parse(&options.fault.join(","))?;
    let ((width, height), fps) = (options.scene.camera_size(), CAMERA.2);
    let rig = EmulatedRig::start(
        options.scene.scene()?,
        RigOptions {
            drift_ppm: options.drift_ppm,
            faults,
            mark: !options.no_mark,
            width,
            height,
            fps,
            seed: options.seed,
            truth: options.truth.clone(),
            base_port: options.base_port,
            parts: (options.preset.parts)(),
            hand: options.preset.hand.to_owned(),
        },
    )
    .context("cannot start the emulated rig")?;
    let latencies = options
        .calibration_out
        .clone()
        .unwrap_or_else(|| options.out.with_file_name("calibration.toml"));
    // A calibration that is there already is somebody's work.
    if !latencies.exists() {
        rig.calibration().save(&latencies)?;
    }
    write_atomically(&options.out, rig.rig().to_toml().as_bytes())?;
    Ok(rig)
}

impl Emulate {
    /// Runs until Ctrl-C.
    pub fn run(self) -> Result<Exit> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let rig = start(&self)?;
        eprintln!("emulated rig is up; it ends with Ctrl-C");
        for device in &rig.rig().device {
            eprintln!(
                "  {:28} {:24} {}",
                device.stream, device.driver, device.address
            );
        }
        eprintln!("rig written to {}", self.out.display());
        runtime.block_on(crate::command::record::interrupted())?;
        rig.stop();
        Ok(Exit::Done)
    }
}
