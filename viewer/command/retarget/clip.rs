//! One file of keypoints.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use dexumi_episode::{Delta, EpisodeError, SessionTime, align::Track, write_atomically};
use dexumi_retarget::{
    Derivation, EpisodeOptions, Follower, Hand, Keypoints, NpyArray, NpyError, RetargetError,
    RetargetReport, Source, StepFigures, keypoints_from_array, sha256, sha256_of_model,
};
use nalgebra::Point3;

use super::{
    Done,
    clip_file::{Format, Meta, Rows, meta_of},
    trace::Trace,
};
use crate::command::SOFTWARE;

pub use super::clip_file::Format as ClipFormat;

/// What is to be made of a file.
pub struct ClipJob<'a> {
    /// Keypoints, shape (n, 21, 3) [m].
    pub path: &'a Path,
    /// The result; `None`: beside the file.
    pub out: Option<&'a Path>,
    /// Steps per second of the file.
    pub fps: f64,
    /// The robot hand.
    pub hand: &'a Arc<Hand>,
    /// How.
    pub options: &'a EpisodeOptions,
    /// Longest gap that another rate is interpolated across.
    pub max_gap: Delta,
    /// Asked between steps.
    pub is_stopped: &'a (dyn Fn() -> bool + Sync),
    /// Whether it shall be drawn.
    pub wants_trace: bool,
}

/// The form of a result by its ending.
///
/// # Errors
/// Another ending.
pub fn format_of(out: &Path) -> Result<ClipFormat> {
    Format::of(out)
}

/// Retargets a file, or keeps the result that is there.
///
/// # Errors
/// It cannot be read or followed, the result cannot be written, or it was stopped.
pub fn retarget(job: &ClipJob<'_>) -> Result<Done> {
    let shown = job.path.display().to_string();
    let bytes = std::fs::read(job.path).map_err(|source| NpyError::Read {
        path: shown.clone(),
        source,
    })?;
    let name = job
        .path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let out = match job.out {
        Some(out) => out.to_owned(),
        None => beside(job.path),
    };
    let format = Format::of(&out)?;
    let derivation = Derivation {
        input: name.clone(),
        input_fingerprint: sha256(&bytes),
        calibration_sha256: String::new(),
        hand: job.hand.name().to_owned(),
        hand_sha256: sha256_of_model(job.hand.as_ref()),
        max_gap_ns: job.max_gap.nanos(),
        method: serde_json::json!({
            "source": "file",
            "fps": job.fps,
            "rate_hz": job.options.rate_hz,
            "follow": job.options.follow.to_json(),
        })
        .to_string(),
        software: SOFTWARE.to_owned(),
    };
    let kept = meta_of(&out, format).filter(|meta| meta.derivation == derivation);
    if let (Some(meta), false) = (&kept, job.wants_trace) {
        return Ok(Done {
            report: reused(&meta.report, &out),
            apart: None,
            hand: job.hand.clone(),
            trace: None,
        });
    }
    let array = NpyArray::from_bytes(&bytes, &shown)?;
    drop(bytes);
    let clip = keypoints_from_array(&array).with_context(|| shown.clone())?;
    let (clip, times_s) = at_rate(job, clip);
    let follower =
        Follower::new(job.hand, &job.options.follow, &clip).with_context(|| shown.clone())?;
    let hand = follower.hand().clone();
    let tips: Vec<String> = hand
        .tips()
        .iter()
        .map(|tip| tip.finger.name().to_owned())
        .collect();
    let mut rows = Rows::new(hand.variable_names().map(str::to_owned).collect(), tips);
    let (is_turned, scales) = (follower.is_turned(), follower.scales().to_vec());
    let figures = follower.run(&clip, &times_s, |index, verdict| {
        rows.push(times_s[index], verdict);
        let is_due = index.is_multiple_of(256);
        if is_due && (job.is_stopped)() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    let Some(figures) = figures else {
        return Err(RetargetError::Stopped { path: out }.into());
    };
    let scales = scales
        .iter()
        .map(|scale| (scale.finger.name().to_owned(), scale.tip))
        .collect();
    let report = report_of(name, &out, is_turned, scales, figures);
    let trace = job.wants_trace.then(|| trace_of(&rows));
    if let Some(meta) = kept {
        return Ok(Done {
            report: reused(&meta.report, &out),
            apart: None,
            hand,
            trace,
        });
    }
    if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(EpisodeError::io("create folder", folder))?;
    }
    let meta = Meta { derivation, report };
    write_atomically(&out, &rows.to_bytes(format, &meta)?)?;
    Ok(Done {
        report: meta.report,
        apart: None,
        hand,
        trace,
    })
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("retarget.npz")
}

fn reused(report: &RetargetReport, out: &Path) -> RetargetReport {
    RetargetReport {
        reused: true,
        path: out.to_owned(),
        ..report.clone()
    }
}

fn report_of(
    input: String,
    out: &Path,
    turned: bool,
    scales: Vec<(String, f64)>,
    figures: StepFigures,
) -> RetargetReport {
    RetargetReport {
        input,
        path: out.to_owned(),
        reused: false,
        source: Source::Keypoints,
        scales,
        turned,
        received: figures.steps,
        passed: figures.steps - figures.held - figures.clipped,
        clipped: figures.clipped,
        held: figures.held,
        gaps: 0,
        left_out: 0,
        residual_rms_rad: None,
        residual_max_rad: None,
        play_max_rad: None,
        figures,
        poses: 0,
        poses_rejected: 0,
        arm: None,
    }
}

fn trace_of(rows: &Rows) -> Trace {
    let row = |columns: &[Vec<f64>], at: usize| columns.iter().map(|column| column[at]).collect();
    let steps = 0..rows.time.len();
    Trace {
        times_s: rows.time.clone(),
        names: rows.names.clone(),
        positions: steps.clone().map(|at| row(&rows.q, at)).collect(),
        tips: rows.tips.clone(),
        tip_errors_m: steps.map(|at| row(&rows.tip_error, at)).collect(),
    }
}

/// The clip with its times, at another rate where one is asked for: between whole steps, and NaN inside
/// gaps, so that the grid stays whole.
fn at_rate(job: &ClipJob<'_>, clip: Vec<Keypoints>) -> (Vec<Keypoints>, Vec<f64>) {
    let Some(rate_hz) = job.options.rate_hz else {
        let times_s = (0..clip.len()).map(|k| k as f64 / job.fps).collect();
        return (clip, times_s);
    };
    let time = |seconds: f64| SessionTime::from_nanos((seconds * 1e9).round() as i64);
    let mut track = Track {
        times: Vec::new(),
        values: Vec::new(),
    };
    for (k, points) in clip.iter().enumerate() {
        let numbers: [f64; 63] = std::array::from_fn(|at| points[at / 3][at % 3]);
        if numbers.iter().all(|number| number.is_finite()) {
            track.times.push(time(k as f64 / job.fps));
            track.values.push(numbers);
        }
    }
    // Neighbours in the file are never a gap.
    let max_gap = job.max_gap.max(Delta::from_secs_f64(1.5 / job.fps));
    let last_s = (clip.len() - 1) as f64 / job.fps;
    let steps = (last_s * rate_hz + 1e-9).floor() as usize;
    let times_s: Vec<f64> = (0..=steps).map(|k| k as f64 / rate_hz).collect();
    let at = |&seconds: &f64| {
        let numbers = track.at(time(seconds), max_gap).unwrap_or([f64::NAN; 63]);
        std::array::from_fn(|at| Point3::from(std::array::from_fn(|axis| numbers[3 * at + axis])))
    };
    (times_s.iter().map(at).collect(), times_s)
}
