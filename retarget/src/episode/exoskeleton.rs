//! Joints of an exoskeleton, joint for joint.

use std::time::Instant;

use dexumi_episode::{
    EpisodeError, EpisodeWriter, SessionTime,
    align::{JointTracks, Timeline},
    schema::Retargeted,
};

use super::{
    EpisodeJob, EpisodeOptions, RetargetError, RetargetReport, StepWriter, grid, side_name,
};
use crate::exo_map::{JointMap, LONGEST_STEP_S, NO_ANSWER_YET, NON_FINITE_HELD};
use crate::figures::FigureTally;

/// Writes the joints of the hand's side.
pub(super) fn write(
    job: &EpisodeJob<'_>,
    timeline: &Timeline,
    options: &EpisodeOptions,
    writer: &mut EpisodeWriter,
    report: &mut RetargetReport,
) -> Result<(), RetargetError> {
    let (joints, order) = joints_of(job, timeline)?;
    let rows = match (options.rate_hz, &joints.rows[..]) {
        (Some(rate_hz), [first, .., last]) => grid(timeline.interval.0, *first, *last, rate_hz),
        _ => joints.rows.clone(),
    };
    report.received = rows.len() as u64;
    let hand = job.hand;
    let mut steps = StepWriter::new(job, writer, hand, "exoskeleton")?;
    let mut tally = FigureTally::new(hand);
    // What the exoskeleton's joints give before the encoder notices is no motion of the hand.
    let play_rad: Vec<f64> = order.iter().map(|&joint| joints.play_rad[joint]).collect();
    report.play_max_rad = Some(play_rad.iter().copied().fold(0.0, f64::max));
    let mut map = JointMap::new(hand.clone()).with_play(&play_rad);
    let mut last: Option<SessionTime> = None;
    let (mut square_sum, mut largest, mut values) = (0.0, 0.0_f64, 0_u64);
    for &time in &rows {
        let angles: Option<Vec<f64>> = order
            .iter()
            .map(|&joint| joints.tracks[joint].at(time, timeline.max_gap))
            .collect();
        let Some(angles) = angles else {
            // The first and the last row lie between two scans of some channel.
            report.gaps += 1;
            continue;
        };
        let dt_s = last.map(|last| (time - last).secs_f64());
        let began = Instant::now();
        let step = map.step(&angles, dt_s);
        tally.time(began.elapsed().as_secs_f64());
        last = Some(time);
        let flags = step.any_flags();
        if flags & (NON_FINITE_HELD | NO_ANSWER_YET) != 0 {
            report.held += 1;
        } else if flags != 0 {
            report.clipped += 1;
        } else {
            report.passed += 1;
        }
        tally.joints(
            &step.position,
            flags,
            dt_s.is_none_or(|dt_s| dt_s > LONGEST_STEP_S),
        );
        values += step.residual_rad.len() as u64;
        for residual in step
            .residual_rad
            .iter()
            .filter(|residual| residual.is_finite())
        {
            square_sum += residual * residual;
            largest = largest.max(residual.abs());
        }
        let message = Retargeted {
            position: step.position.clone(),
            motor: step.motor.clone(),
            residual: step.residual_rad.clone(),
            flags,
            ..Retargeted::default()
        };
        steps.write(time, message)?;
    }
    report.residual_rms_rad = Some((square_sum / values.max(1) as f64).sqrt());
    report.residual_max_rad = Some(largest);
    report.figures = tally.finish();
    Ok(())
}

/// The calibrated joints of the hand's side, and which of them each variable of the hand is.
fn joints_of<'a>(
    job: &EpisodeJob<'_>,
    timeline: &'a Timeline,
) -> Result<(&'a JointTracks, Vec<usize>), EpisodeError> {
    let (input, hand) = (job.episode.file.path(), job.hand);
    let side = side_name(hand.side());
    let calibrated = timeline.joints.get(side).filter(|joints| joints.calibrated);
    let joints = calibrated.ok_or_else(|| {
        EpisodeError::content(
            format!(
                "no calibrated joints of the {side} side, expected them for hand `{}`; \
                 run `dexumi calibrate joints` and give its file by --calibration",
                hand.name()
            ),
            input,
        )
    })?;
    let order = hand.variable_names().map(|name| {
        joints
            .names
            .iter()
            .position(|known| known == name)
            .ok_or_else(|| {
                EpisodeError::content(
                    format!(
                        "joint `{name}` of hand `{}` is not in the calibration, which has: {}; \
                     calibrate for this hand",
                        hand.name(),
                        joints.names.join(", ")
                    ),
                    input,
                )
            })
    });
    Ok((joints, order.collect::<Result<_, _>>()?))
}
