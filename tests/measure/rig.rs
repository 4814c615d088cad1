//! What both measurements share: the program, a cheap scene, a process's use of
//! the machine.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use dexumi::emulate::{EmulatedScene, SceneOptions};
use dexumi_capture::emulate::{Mark, Scene};
use nalgebra::Isometry3;

/// Drawn images that are sent again and again.
const IMAGES: usize = 24;

/// The drawn scene, but with images from memory: drawing them would cost more
/// than recording them.
pub struct CheapScene {
    drawn: EmulatedScene,
    images: Vec<Vec<u8>>,
}

impl CheapScene {
    /// Draws the images.
    pub fn new(width: u32, height: u32) -> Result<Arc<Self>> {
        let drawn = EmulatedScene::new(&SceneOptions {
            motion: None,
            fps: 30.0,
            setpoints: None,
            wrist: None,
            video: Vec::new(),
            width,
            height,
        })?;
        let images = (0..IMAGES)
            .map(|i| drawn.image("wrist", 0.1 * i as f64, None))
            .collect::<Result<Vec<_>, _>>()
            .map_err(anyhow::Error::msg)?;
        Ok(Arc::new(Self { drawn, images }))
    }

    /// Mean size of an image [byte].
    #[allow(dead_code, reason = "one of the two measurements tells it")]
    pub fn image_bytes(&self) -> usize {
        self.images.iter().map(Vec::len).sum::<usize>() / self.images.len()
    }
}

impl Scene for CheapScene {
    fn joint_angles_rad(&self, t_s: f64) -> Vec<f64> {
        self.drawn.joint_angles_rad(t_s)
    }

    fn force_counts(&self, finger: usize, t_s: f64) -> [f64; 3] {
        self.drawn.force_counts(finger, t_s)
    }

    fn world_from_wrist(&self, t_s: f64) -> Isometry3<f64> {
        self.drawn.world_from_wrist(t_s)
    }

    fn image(&self, _: &str, t_s: f64, _: Option<Mark>) -> Result<Vec<u8>, String> {
        Ok(self.images[(t_s * 30.0) as usize % self.images.len()].clone())
    }
}

/// The program, built with the same profile beside this one.
pub fn program() -> Result<PathBuf> {
    let here = std::env::current_exe().context("cannot find this program")?;
    let folder = here.parent().and_then(Path::parent).unwrap_or(&here);
    let path = folder.join("dexumi");
    ensure!(
        path.exists(),
        "not found, build it first with `cargo build --release`: {}",
        path.display()
    );
    Ok(path)
}

/// Starts `dexumi record` for so many seconds, behind the words of `under`, such as
/// `taskset -c 0`; its report comes on standard output, its talk goes to [`log`].
pub fn record(
    rig: &Path,
    session: &Path,
    seconds: f64,
    episodes: u32,
    under: &[String],
) -> Result<Child> {
    let log = std::fs::File::create(log(rig))?;
    let program = program()?;
    let mut command = match under.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
        None => Command::new(program),
    };
    command
        .arg("record")
        .args(["--rig".as_ref(), rig.as_os_str()])
        .args(["--out".as_ref(), session.as_os_str()])
        .args(["--task", "measure", "--json"])
        .args(["--seconds", &seconds.to_string()])
        .args(["--episodes", &episodes.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("cannot start the recorder")
}

/// What the recorder of a rig says to people.
pub fn log(rig: &Path) -> PathBuf {
    rig.with_extension("record.log")
}

/// What a process has used: processor time [s] and resident memory [MB].
pub fn used(pid: u32) -> Option<(f64, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may contain anything: state is field 3.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let pages: f64 = fields.get(21)?.parse().ok()?;
    // USER_HZ is 100 and a page 4096 bytes on the machines that this runs on.
    Some((ticks / 100.0, pages * 4096.0 / 1e6))
}

/// Seconds since, for lines of progress.
#[allow(dead_code, reason = "one of the two measurements tells it")]
pub fn since(start: Instant) -> String {
    format!("{:5.0} s", start.elapsed().as_secs_f64())
}
