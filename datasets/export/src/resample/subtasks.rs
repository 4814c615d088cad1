//! Subtasks, from what the operator said while recording.

use dexumi_episode::{Episode, SessionTime, schema::Event};

use crate::model::Subtask;

/// Subtasks begin at events of the kind `subtask`, or at marks that begin with `subtask:`, and last
/// until the next or the end; an empty text ends one without beginning another.
pub(super) fn read(episode: &Episode, times: &[SessionTime]) -> Result<Vec<Subtask>, String> {
    let events = episode
        .file
        .read::<Event>("/events")
        .map_err(|error| error.to_string())?;
    let named = events.iter().filter_map(|(_, event)| {
        let text = match event.kind.as_str() {
            "subtask" => event.text.as_str(),
            "mark" => event.text.trim_start().strip_prefix("subtask:")?,
            _ => return None,
        };
        Some((SessionTime::from_nanos(event.timestamp_ns), text.trim()))
    });
    Ok(segments(&named.collect::<Vec<_>>(), times))
}

/// Stretches of steps from (time, text) in order; `times` has one more than there are steps.
fn segments(named: &[(SessionTime, &str)], times: &[SessionTime]) -> Vec<Subtask> {
    let steps = times.len() - 1;
    let step_of = |time: SessionTime| times[..steps].partition_point(|&t| t < time);
    let ends = named
        .iter()
        .skip(1)
        .map(|&(time, _)| step_of(time))
        .chain([steps]);
    named
        .iter()
        .zip(ends)
        .map(|(&(time, text), to)| Subtask {
            from: step_of(time),
            to,
            text: text.to_owned(),
        })
        .filter(|subtask| !subtask.text.is_empty() && subtask.from < subtask.to)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtask_lasts_until_the_next_and_nothing_is_lost_at_the_ends() {
        let at = |ms: i64| SessionTime::from_nanos(ms * 1_000_000);
        let times: Vec<_> = (0..=10).map(|k| at(100 * k)).collect();
        let named = [
            // Before the first step that was kept.
            (at(-50), "reach"),
            (at(290), "grasp"),
            (at(500), ""),
            (at(700), "lift"),
            // Behind the last step.
            (at(2_000), "rest"),
        ];
        let told: Vec<_> = segments(&named, &times)
            .into_iter()
            .map(|s| (s.from, s.to, s.text))
            .collect();
        let expected = [(0, 3, "reach"), (3, 5, "grasp"), (7, 10, "lift")];
        assert_eq!(
            told,
            expected.map(|(from, to, text)| (from, to, text.to_owned()))
        );
    }
}
