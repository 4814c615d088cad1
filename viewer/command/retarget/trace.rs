//! A result step by step, for plots.

use anyhow::Result;
use dexumi_episode::{EpisodeFile, schema::Retargeted};
use dexumi_retarget::{Hand, RetargetReport, Side, joints_topic};

/// Joint positions and fingertip errors over time.
#[derive(Debug, Default)]
pub struct Trace {
    /// Since the first step [s].
    pub times_s: Vec<f64>,
    /// Names of the joints.
    pub names: Vec<String>,
    /// One row a step, one entry a joint [rad].
    pub positions: Vec<Vec<f64>>,
    /// The fingers of `tip_errors_m`.
    pub tips: Vec<String>,
    /// One row a step, one entry a tip; NaN where held; rows are empty for an exoskeleton [m].
    pub tip_errors_m: Vec<Vec<f64>>,
}

impl Trace {
    /// Reads a derived file.
    ///
    /// # Errors
    /// It is damaged.
    pub fn of_episode(report: &RetargetReport, hand: &Hand) -> Result<Self> {
        let file = EpisodeFile::open(&report.path)?;
        let topic = joints_topic(match hand.side() {
            Side::Left => "left",
            Side::Right => "right",
        });
        let list = |key: &str| -> Vec<String> {
            let text = file.channel_metadata(&topic, key).unwrap_or_default();
            text.split(',')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let mut trace = Self {
            names: list("names"),
            tips: list("tips"),
            ..Self::default()
        };
        let messages = file.read::<Retargeted>(&topic)?;
        let first = messages.first().map(|(times, _)| times.publish_time);
        for (times, message) in messages {
            let since = first.map_or(0.0, |first| (times.publish_time - first).secs_f64());
            trace.times_s.push(since);
            trace.positions.push(message.position);
            trace.tip_errors_m.push(message.tip_error);
        }
        Ok(trace)
    }
}
