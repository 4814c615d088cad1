//! `dexumi demo`: the whole job, on an emulated rig, by the same commands that a
//! user would give.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use dexumi_capture::emulate::truth;
use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use serde::Serialize;

use super::{
    Alignment, calibrate,
    check::Selection,
    emulate::SceneArguments,
    export::{Choices, Export, FitChoice, VideoCodec},
    print_json, retarget,
    view::View,
};
use crate::{
    Exit,
    report::{EpisodeResult, Report},
    sync::{TruthReport, compare},
    terminal,
};

/// Emulate a rig, calibrate it, record episodes, align, retarget, export,
/// and report, with nothing to type and no hardware.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dexumi demo
  dexumi demo --video wrist=hand.mp4 --motion hand_keypoints.npy --seconds 20")]
pub struct Demo {
    /// Where everything goes; an earlier demo there is replaced.
    #[arg(long, value_name = "DIR", default_value = "demo-out")]
    out: PathBuf,
    /// Episodes.
    #[arg(long, default_value_t = 2)]
    episodes: u32,
    /// Length of each [s].
    #[arg(long, default_value_t = 12.0)]
    seconds: f64,
    #[command(flatten)]
    scene: SceneArguments,
    /// Faults of the emulated devices.
    #[arg(long, value_name = "FAULTS", default_value = dexumi_capture::emulate::Faults::ORDINARY)]
    fault: String,
    /// Size of the dataset's images.
    #[arg(long, value_name = "WxH", default_value = "640x480")]
    image_size: String,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// Written into a folder that a demo made, so that the next may replace it.
const MARKER: &str = ".dexumi-demo";
const HAND: &str = "xhand_right";

#[derive(Serialize)]
struct Outcome<'a> {
    out: &'a Path,
    stages_s: Vec<(&'static str, f64)>,
    truth: Vec<&'a TruthReport>,
    dataset: &'a dexumi_export::Report,
}

/// A child that is told to end when this is dropped, and by the kernel when
/// this program dies.
struct Emulator {
    child: Child,
}

impl Emulator {
    fn start(arguments: &[String], rig: &Path, log: &Path) -> Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let _ = std::fs::remove_file(rig);
        let file = std::fs::File::create(log)
            .with_context(|| format!("cannot create {}", log.display()))?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("emulate")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        // SAFETY: prctl is async-signal-safe; nothing is allocated between fork and exec.
        unsafe {
            command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGTERM)?));
        }
        let mut child = command.spawn().context("cannot start the emulator")?;
        let began = Instant::now();
        while !rig.exists() {
            if let Some(status) = child.try_wait()? {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                bail!("the emulator ended with {status}: {}", said.trim());
            }
            if began.elapsed() > Duration::from_secs(60) {
                bail!(
                    "the emulator is not up after 60 s; its log is {}",
                    log.display()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { child })
    }

    /// Ends it, so that its truth file is complete.
    fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT)?;
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn record(
    rig: &Path,
    task: &str,
    episodes: u32,
    seconds: f64,
    settle_s: f64,
    out: &Path,
) -> Result<()> {
    let status = Command::new(std::env::current_exe()?)
        .arg("record")
        .args([
            "--rig".as_ref(),
            rig.as_os_str(),
            "--out".as_ref(),
            out.as_os_str(),
        ])
        .args(["--task", task, "--episodes", &episodes.to_string()])
        .args([
            "--seconds",
            &seconds.to_string(),
            "--settle-s",
            &settle_s.to_string(),
        ])
        .stdin(Stdio::null())
        .status()
        .context("cannot start the recorder")?;
    // 3: the emulator was asked for faults, and the recorder found them.
    if !matches!(status.code(), Some(0 | 3)) {
        bail!("the recorder ended with {status}; what it said is above");
    }
    Ok(())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

impl Demo {
    /// Runs it all.
    pub fn run(self) -> Result<Exit> {
        self.make_room()?;
        let out = &self.out;
        let mut stages: Vec<(&'static str, f64)> = Vec::new();
        let mut clock = Instant::now();
        let mut stage = |name: &'static str| {
            stages.push((name, clock.elapsed().as_secs_f64()));
            clock = Instant::now();
        };

        eprintln!("1/7 calibrate: known poses on the emulated exoskeleton");
        let calibration = out.join("calibration.toml");
        self.calibrate(&calibration)?;
        stage("calibrate (known poses, recorded)");

        eprintln!(
            "2/7 record: {} episodes of {:.0} s",
            self.episodes, self.seconds
        );
        let session = out.join("session");
        let truth_path = out.join("truth.jsonl");
        let rig = out.join("rig.toml");
        let mut arguments = vec![
            "--out".to_owned(),
            text(&rig),
            "--truth".to_owned(),
            text(&truth_path),
            "--fault".to_owned(),
            self.fault.clone(),
        ];
        arguments.extend(self.scene_arguments());
        let emulator = Emulator::start(&arguments, &rig, &out.join("emulator.log"))?;
        std::fs::create_dir_all(&session)
            .with_context(|| format!("cannot create {}", session.display()))?;
        std::fs::copy(&calibration, session.join("calibration.toml"))?;
        record(
            &rig,
            "grasp and release",
            self.episodes,
            self.seconds,
            2.0,
            &session,
        )?;
        emulator.stop()?;
        stage("record");

        eprintln!("3/7 align: clocks of the whole episode, against the truth");
        let truth = truth::read(&truth_path)?;
        let alignment = Alignment {
            calibration: None,
            max_gap_ms: 50,
        };
        let mut aligned = Vec::new();
        for path in dexumi_episode::episodes_in(&session)? {
            let episode = alignment.load(&path)?;
            let report = compare(&episode, &truth)?;
            aligned.push((episode, report));
        }
        stage("align, and compare with the truth");

        eprintln!("4/7 retarget: to {HAND}");
        let hand = retarget::hand_of(HAND)?;
        let mut episodes = Vec::new();
        for (aligned, truth) in aligned {
            let retarget = retarget::retarget(&aligned, &hand)?;
            episodes.push(EpisodeResult {
                aligned,
                truth,
                retarget,
            });
        }
        stage("retarget");

        eprintln!("5/7 export: lerobot-v3");
        let dataset = out.join("dataset");
        let export = self.export(&session, &dataset)?.write()?;
        stage("export");

        eprintln!("6/7 view: a Rerun recording");
        let rrd = out.join("episode_0000.rrd");
        let episode = episodes[0].aligned.episode.file.path().to_owned();
        let view = View {
            episode: episode.clone(),
            save: None,
            every_nth_image: 1,
            alignment,
        };
        view.write(&rrd)?;
        stage("view");

        eprintln!("7/7 report");
        let page = out.join("report.html");
        let results = [
            ("report", page.clone()),
            ("session: one MCAP file per episode", session.clone()),
            ("dataset, LeRobot v3", dataset.clone()),
            ("Rerun recording", rrd.clone()),
            ("truth of the emulated rig", truth_path),
        ];
        let report = Report {
            stages: &stages,
            episodes: &episodes,
            truth: &truth,
            dataset: &export.dataset,
            results: &results,
        };
        report.write(&page)?;
        self.close(
            &stages,
            &episodes,
            &export.dataset,
            &page,
            &rrd,
            &episode,
            &dataset,
        )
    }

    /// Prints where the results are and what to open next.
    #[allow(
        clippy::too_many_arguments,
        reason = "the end of a long story, told once"
    )]
    fn close(
        &self,
        stages: &[(&'static str, f64)],
        episodes: &[EpisodeResult],
        dataset: &dexumi_export::Report,
        page: &Path,
        rrd: &Path,
        episode: &Path,
        dataset_path: &Path,
    ) -> Result<Exit> {
        let holds = episodes
            .iter()
            .all(|e| e.truth.sync.values().all(|sync| sync.holds()));
        eprintln!();
        for (number, result) in episodes.iter().enumerate() {
            for (stream, error) in &result.truth.sync {
                eprintln!(
                    "episode {number} {stream:28} sync error p95 {:6.3} ms (promised {:.0} ms)",
                    error.p95_s * 1e3,
                    error.limit_s * 1e3
                );
            }
            eprintln!(
                "episode {number} joint angles: {:.3}° rms from the truth",
                result.truth.joint_rms_rad.to_degrees()
            );
            if let (Some(rms), Some(max)) = (result.truth.tip_rms_m, result.truth.tip_max_m) {
                eprintln!(
                    "episode {number} fingertips: {:.2} mm rms from the truth, {:.2} mm at most",
                    rms * 1e3,
                    max * 1e3
                );
            }
        }
        let total: f64 = stages.iter().map(|(_, seconds)| seconds).sum();
        eprintln!("\ndone in {total:.0} s. What to open next:");
        eprintln!(
            "  {}   in a browser: what was recorded, and how well",
            page.display()
        );
        eprintln!(
            "  {}   in the Rerun viewer (pip install rerun-sdk==0.36.3; rerun FILE)",
            rrd.display()
        );
        eprintln!("  {}   in Rerun or Foxglove as it is", episode.display());
        eprintln!(
            "  {}   in LeRobot: {} steps, {}",
            dataset_path.display(),
            dataset.rows,
            terminal::bytes(dataset.bytes)
        );
        eprintln!("  dexumi app --rig rig.toml   beside a running `dexumi emulate --out rig.toml`");
        if self.json {
            print_json(&Outcome {
                out: &self.out,
                stages_s: stages.to_vec(),
                truth: episodes.iter().map(|e| &e.truth).collect(),
                dataset,
            })?;
        }
        if !holds {
            eprintln!("note: a sync promise was broken on this machine; the report shows which");
        }
        Ok(if holds { Exit::Done } else { Exit::Lossy })
    }

    fn make_room(&self) -> Result<()> {
        let out = &self.out;
        if out.exists() {
            let mut entries = std::fs::read_dir(out)
                .with_context(|| format!("cannot read folder {}", out.display()))?;
            if out.join(MARKER).exists() {
                std::fs::remove_dir_all(out)
                    .with_context(|| format!("cannot remove the earlier demo {}", out.display()))?;
            } else if entries.next().is_some() {
                bail!(
                    "folder is not empty and no earlier demo, expected a new or empty one; \
                     choose another by --out: {}",
                    out.display()
                );
            }
        }
        std::fs::create_dir_all(out)
            .with_context(|| format!("cannot create folder {}", out.display()))?;
        std::fs::write(
            out.join(MARKER),
            "made by `dexumi demo`, replaced by the next\n",
        )
        .with_context(|| format!("cannot write to folder {}", out.display()))
    }

    fn calibrate(&self, calibration: &Path) -> Result<()> {
        let folder = self.out.join("calibration");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let setpoints = folder.join("setpoints.toml");
        calibrate::Points {
            hand: HAND.to_owned(),
            levels: 9,
            out: setpoints.clone(),
        }
        .run()?;
        let points = dexumi_calibrate::SetPoints::load(&setpoints)?;
        let rig = folder.join("rig.toml");
        let arguments: Vec<String> = [
            ("--out", text(&rig)),
            ("--calibration-out", text(calibration)),
            ("--setpoints", text(&setpoints)),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        let emulator = Emulator::start(&arguments, &rig, &folder.join("emulator.log"))?;
        let seconds = points.duration_s() + points.dwell_s;
        record(&rig, "calibration: known poses", 1, seconds, 0.5, &folder)?;
        emulator.stop()?;
        calibrate::Joints {
            episode: folder.join("episode_0000.mcap"),
            setpoints,
            out: calibration.to_owned(),
            max_residual_deg: 2.0,
            json: false,
        }
        .run()?;
        Ok(())
    }

    fn scene_arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
        if let Some(path) = &self.scene.motion {
            add("--motion", text(path));
        }
        if let Some(path) = &self.scene.setpoints {
            add("--setpoints", text(path));
        }
        if let Some(path) = &self.scene.wrist {
            add("--wrist", text(path));
        }
        for (name, path) in &self.scene.video {
            add("--video", format!("{name}={}", path.display()));
        }
        if let Some((width, height)) = self.scene.camera_size {
            add("--camera-size", format!("{width}x{height}"));
        }
        add("--motion-fps", self.scene.motion_fps.to_string());
        arguments
    }

    fn export(&self, session: &Path, dataset: &Path) -> Result<Export> {
        let (width, height) = self
            .image_size
            .split_once('x')
            .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)))
            .with_context(|| {
                format!("image size is `{}`, expected WIDTHxHEIGHT", self.image_size)
            })?;
        Ok(Export {
            paths: vec![session.to_owned()],
            out: dataset.to_owned(),
            choices: Choices {
                format: "lerobot-v3".to_owned(),
                variant: None,
                fps: Some(30),
                image_size: Some((width, height)),
                codec: VideoCodec::H264,
                fit: FitChoice::Crop,
                causal: false,
                keep_idle: false,
                hand: vec![HAND.to_owned()],
                selection: Selection::default(),
                no_check: false,
                alignment: Alignment {
                    calibration: None,
                    max_gap_ms: 50,
                },
                license: None,
            },
            json: false,
        })
    }
}
