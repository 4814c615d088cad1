//! `dexumi retarget`: from an exoskeleton, a glove or a file of keypoints to a robot hand.

mod choices;
mod clip;
mod clip_file;
mod inputs;
mod page;
mod table;
mod trace;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};
use clap::Args;
use dexumi_episode::Episode;
use dexumi_retarget::{
    Arm, ArmPlan, EpisodeJob, EpisodeOptions, Hand, HandsApart, RetargetReport, Side, derived_path,
    retarget_episode,
};

use super::{Aligned, Alignment, interrupt::Interrupt, jobs, print_json};
use crate::{Exit, terminal::Progress};
pub use choices::SideChoice;
use choices::{AxesChoice, LimitsChoice, PresetChoice, rate, scale};
use inputs::{Input, Work};
use trace::Trace;

/// Robot joint positions, motor commands and end-effector poses, from episodes or
/// from files of hand keypoints. What was made before from the same input in the
/// same way is kept.
#[derive(Debug, Args)]
#[command(after_help = "\
Episodes: joints of an exoskeleton go joint for joint; where there are none, the
glove's keypoints are followed by the preset. The result lies in derived/ beside
the episode. Files of keypoints: shape [N, 21, 3], metres; the result lies beside
the file (.retarget.npz), or where --out says (.npz, .csv, .parquet).

Ctrl-C leaves nothing half; the same command then goes on.

Examples:
  dexumi retarget session --hand xhand_right
  dexumi retarget session --hand xhand_left --hand xhand_right
  dexumi retarget session/episode_0000.mcap --hand my_hand.toml --json
  dexumi retarget session --hand allegro_right --jobs 4 --report session.html
  dexumi retarget session --arm ur5e
  dexumi retarget hand.npy --fps 30 --hand inspire_right --out hand.parquet
  dexumi retarget hand.npy --fps 30 --hand my_hand.urdf --tips thumb=link_15,index=link_3")]
pub struct Retarget {
    /// Session folders, episodes (.mcap), or files of keypoints (.npy).
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Hand by name, a hand file (.toml) or a URDF (.urdf); twice for both sides [default: the
    /// rig's, and its twin where both sides were recorded].
    #[arg(long, value_name = "HAND")]
    pub hand: Vec<String>,
    /// Fingertips of a URDF: FINGER=LINK, comma-separated [default: by the links' names].
    #[arg(long, value_name = "TIPS")]
    pub tips: Option<String>,
    /// Side of a URDF [default: by its names].
    #[arg(long, value_enum)]
    pub side: Option<SideChoice>,
    /// How keypoints are followed.
    #[arg(long, value_enum, default_value_t = PresetChoice::Dexumi)]
    pub preset: PresetChoice,
    /// Which limits the answers to keypoints keep.
    #[arg(long, value_enum, default_value_t = LimitsChoice::All)]
    pub limits: LimitsChoice,
    /// Robot size over human size [default: measured, finger by finger].
    #[arg(long, value_name = "FACTOR", value_parser = scale)]
    pub scale: Option<f64>,
    /// Answer keypoints by looking ahead, without jitter and without lag: the default.
    #[arg(long, conflicts_with = "live")]
    pub smooth: bool,
    /// Answer keypoints as it would be done live, from the past alone.
    #[arg(long)]
    pub live: bool,
    /// Let links pass through each other.
    #[arg(long)]
    pub no_collision: bool,
    /// Axes of the points in a .npy file or a glove's: those of the hand, or found from them.
    #[arg(long, value_enum, default_value_t = AxesChoice::Auto)]
    pub axes: AxesChoice,
    /// Arm by name, an arm file (.toml) or a URDF (.urdf): can it carry the hand? Its base stands
    /// where the rig mounts `arm` to `world`, else where it reaches most.
    #[arg(long, value_name = "ARM")]
    pub arm: Option<String>,
    /// Steps per second of .npy files.
    #[arg(long, value_name = "HZ", value_parser = rate)]
    pub fps: Option<f64>,
    /// Answers at start + k / HZ [default: one for every sample].
    #[arg(long, value_name = "HZ", value_parser = rate)]
    pub rate: Option<f64>,
    /// How many at once [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Folder for the results of episodes, or the result of one .npy file.
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// Page with figures and plots [default: retarget.html among the results of a session].
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    #[command(flatten)]
    pub alignment: Alignment,
    /// For machines.
    #[arg(long)]
    pub json: bool,
}

/// A hand by name or by path.
///
/// # Errors
/// Neither exists; the message lists the known names.
pub fn hand_of(name: &str) -> Result<Arc<Hand>> {
    choices::read_hand(name, None, None).map(Arc::new)
}

/// The rig's hand, and its twin where the other side was recorded too.
///
/// # Errors
/// There is no such hand, or its name does not tell its side.
pub fn hands_of(episode: &Episode) -> Result<Vec<Arc<Hand>>> {
    let name = &episode.rig.hand;
    let own = hand_of(name)?;
    let (this, other) = match own.side() {
        Side::Left => ("left", "right"),
        Side::Right => ("right", "left"),
    };
    let topics = episode.file.topics();
    let is_recorded = |topic: String| topics.get(&topic).is_some_and(|(_, count)| *count > 0);
    let mut hands = vec![own];
    if is_recorded(format!("/exo/{other}/encoders"))
        || is_recorded(format!("/glove/{other}/keypoints"))
    {
        let twin = name.replace(this, other);
        if twin == *name {
            anyhow::bail!(
                "both sides were recorded, but the rig's hand `{name}` does not name its side; \
                 give both hands: --hand LEFT --hand RIGHT"
            );
        }
        hands.push(hand_of(&twin)?);
    }
    Ok(hands)
}

/// An arm by name or by path.
///
/// # Errors
/// Neither exists; the message lists the known names.
pub fn arm_of(name: &str) -> Result<Arm> {
    choices::read_arm(name)
}

/// Held while the result `out` is made by one of several that may want it: to write a dataset and to
/// judge its episodes. Others are made meanwhile, but for a few that share its lock.
pub fn alone(out: &Path) -> MutexGuard<'static, ()> {
    static ALONE: [Mutex<()>; 64] = [const { Mutex::new(()) }; 64];
    let mut hash = DefaultHasher::new();
    out.hash(&mut hash);
    let lock = &ALONE[hash.finish() as usize % ALONE.len()];
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Retargets an aligned episode as an earlier run of `dexumi retarget` did, else by the defaults.
///
/// # Errors
/// No calibration, joints that do not fit, or a folder that cannot be written.
pub fn retarget(aligned: &Aligned, hand: &Arc<Hand>) -> Result<RetargetReport> {
    let out = derived_path(aligned.episode.file.path(), hand.name());
    let job = EpisodeJob {
        episode: &aligned.episode,
        calibration: aligned.calibration.as_ref(),
        max_gap: aligned.timeline.max_gap,
        hand,
        options: None,
        out: &out,
        is_stopped: &|| false,
    };
    let _alone = alone(&out);
    match job.made_before()? {
        Some(report) => Ok(report),
        None => retarget_fresh(&job, aligned),
    }
}

fn retarget_fresh(job: &EpisodeJob<'_>, aligned: &Aligned) -> Result<RetargetReport> {
    if aligned.calibration.is_none() && !aligned.timeline.joints.is_empty() {
        anyhow::bail!(
            "no calibration for {}, expected calibration.toml beside it; \
             run `dexumi calibrate joints`, or give one by --calibration",
            job.episode.file.path().display()
        );
    }
    Ok(retarget_episode(job, &aligned.timeline)?)
}

/// What one input came to.
struct Done {
    report: RetargetReport,
    /// Of the second of two hands: how near it comes to the first.
    apart: Option<HandsApart>,
    hand: Arc<Hand>,
    /// Of a file of keypoints, where a page is wanted; that of an episode lies in its result.
    trace: Option<Trace>,
}

/// What one input came to, or why it did not.
struct Outcome<'a> {
    input: &'a Input,
    /// One a hand.
    done: Result<Vec<Done>>,
}

impl Retarget {
    /// Retargets all.
    pub fn run(&self) -> Result<Exit> {
        self.check();
        let side = self.side.map(Into::into);
        let read =
            |name: &String| choices::read_hand(name, self.tips.as_deref(), side).map(Arc::new);
        let hands: Vec<Arc<Hand>> = self.hand.iter().map(read).collect::<Result<_>>()?;
        if let [one, other, ..] = &hands[..]
            && (hands.len() > 2 || one.side() == other.side())
        {
            choices::refuse("--hand: expected one hand, or one of each side");
        }
        for note in hands.iter().flat_map(|hand| hand.notes()) {
            eprintln!("note: {note}");
        }
        let inputs = inputs::all(&self.paths)?;
        let page = self.page_path();
        let work = Work {
            hands,
            options: self.options(inputs.len())?,
            fps: self.fps,
            out: self.out.as_deref(),
            alignment: &self.alignment,
            wants_trace: page.is_some(),
        };
        work.check(&inputs)?;
        let interrupt = Interrupt::watch()?;
        let mut progress = Progress::new("retarget", inputs.len() as u64);
        let results = jobs::in_parallel(
            "retarget",
            &inputs,
            self.jobs(),
            &interrupt,
            &mut progress,
            |input| work.one(input, &interrupt),
        );
        progress.finish();
        let mut outcomes: Vec<Outcome<'_>> = inputs
            .iter()
            .zip(results)
            .filter_map(|(input, done)| Some(Outcome { input, done: done? }))
            .filter(|outcome| outcome.done.is_ok() || !interrupt.has_come())
            .collect();
        // One input, one message: that of `main`.
        if inputs.len() == 1
            && let Some(only) = outcomes.pop_if(|only| only.done.is_err())
        {
            return only.done.map(|_| Exit::Done);
        }
        self.tell(&outcomes, inputs.len(), &interrupt, page)
    }

    /// Says what came of it, and decides how the program ends.
    fn tell(
        &self,
        outcomes: &[Outcome<'_>],
        asked: usize,
        interrupt: &Interrupt,
        page: Option<PathBuf>,
    ) -> Result<Exit> {
        let done: Vec<&Done> = outcomes
            .iter()
            .filter_map(|outcome| outcome.done.as_ref().ok())
            .flatten()
            .collect();
        table::print(&done);
        if let Some(page) = page.filter(|_| !done.is_empty() && !interrupt.has_come()) {
            page::write(&page, &done).with_context(|| format!("report {}", page.display()))?;
            eprintln!("report: {}", page.display());
        }
        if self.json {
            print_json(&table::json(outcomes))?;
        }
        let failures: Vec<_> = outcomes
            .iter()
            .filter_map(|outcome| Some((outcome.input, outcome.done.as_ref().err()?)))
            .collect();
        for (input, error) in &failures {
            eprintln!("failed: {}: {error:#}", input.path().display());
        }
        if interrupt.has_come() && outcomes.len() < asked {
            eprintln!(
                "interrupted: {} of {asked} are done and kept; the same command goes on with the rest",
                outcomes.len() - failures.len()
            );
            return Ok(Exit::Failed);
        }
        if let (true, Some((_, error))) = (done.is_empty(), failures.first()) {
            return Ok(Exit::of(error));
        }
        let lost = done.iter().any(|done| table::is_lossy(&done.report));
        Ok(if lost || !failures.is_empty() {
            Exit::Lossy
        } else {
            Exit::Done
        })
    }

    /// Ends the program on what cannot be meant.
    fn check(&self) {
        if self.preset == PresetChoice::Position && self.scale.is_some() {
            choices::refuse(
                "--scale: the preset `position` follows points where they are, expected none",
            );
        }
        let is_urdf = matches!(&self.hand[..], [only] if choices::is_urdf(only));
        for (option, is_given) in [
            ("--tips", self.tips.is_some()),
            ("--side", self.side.is_some()),
        ] {
            if is_given && !is_urdf {
                choices::refuse(&format!(
                    "{option}: only for a URDF, expected --hand FILE.urdf; a hand file names its own"
                ));
            }
        }
    }

    fn options(&self, inputs: usize) -> Result<EpisodeOptions> {
        let arm = self.arm.as_deref().map(choices::read_arm).transpose()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = NonZeroUsize::new(cores / self.jobs().min(inputs).max(1));
        Ok(EpisodeOptions {
            follow: choices::follow(self),
            rate_hz: self.rate,
            arm: arm.map(|arm| ArmPlan {
                arm: Arc::new(arm),
                threads: threads.or(NonZeroUsize::new(1)),
            }),
        })
    }

    fn jobs(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.map_or_else(cores, usize::from)
    }

    /// Where the page goes: as given, else among the results of the first session.
    fn page_path(&self) -> Option<PathBuf> {
        let session = || self.paths.iter().find(|path| path.is_dir());
        let folder = || Some(self.out.clone().unwrap_or(session()?.join("derived")));
        self.report.clone().or_else(|| {
            session()?;
            Some(folder()?.join("retarget.html"))
        })
    }
}
