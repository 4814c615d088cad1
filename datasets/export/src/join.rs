//! Videos of episodes, one camera: joined without re-encoding into files of
//! bounded size. That every packet of a joined file lies at its time is left to
//! [`crate::verify`], which runs over the whole dataset before it gets its name.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::error::ExportError;
use crate::ffmpeg::Tools;
use crate::lifecycle::{Encoded, Parts};
use crate::timestamp::ticks_per_second;

/// Where an episode's video lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the file, from 0, over all chunks.
    pub file: u64,
    /// Steps of earlier episodes in the same file.
    pub from: u64,
}

/// Collects the videos of one camera.
pub(crate) struct Joiner {
    fps: u32,
    limit: u64,
    file: u64,
    pending: Vec<Encoded>,
    pending_bytes: u64,
    pending_steps: u64,
}

impl Joiner {
    pub fn new(fps: u32, limit: u64) -> Self {
        Self {
            fps,
            limit,
            file: 0,
            pending: Vec::new(),
            pending_bytes: 0,
            pending_steps: 0,
        }
    }

    /// Adds an episode. A file that is thereby complete is written to the path in the dataset
    /// that `target` gives for its number.
    pub fn add(
        &mut self,
        mut video: Encoded,
        (parts, tools): (&Parts, &Tools),
        target: impl Fn(u64) -> PathBuf,
    ) -> Result<Place, ExportError> {
        let known = &video.known;
        let fits = self.pending_bytes + known.bytes <= self.limit
            // Decoders take their parameters from the head of the file.
            && self.pending.first().is_none_or(|first| first.known.parameters == known.parameters);
        if !fits {
            self.finish((parts, tools), &target)?;
        }
        let place = Place {
            file: self.file,
            from: self.pending_steps,
        };
        self.pending_bytes += video.known.bytes;
        self.pending_steps += video.known.steps;
        // There may be very many of them.
        video.known.pixels = None;
        self.pending.push(video);
        Ok(place)
    }

    /// Writes the file begun, if any.
    pub fn finish(
        &mut self,
        (parts, tools): (&Parts, &Tools),
        target: impl Fn(u64) -> PathBuf,
    ) -> Result<(), ExportError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let steps: Vec<u64> = self.pending.iter().map(|video| video.known.steps).collect();
        parts.place_joined(&self.pending, &target(self.file), |files, joined| {
            let videos: Vec<(&Path, u64)> = files.iter().map(PathBuf::as_path).zip(steps).collect();
            join(tools, &videos, self.fps, joined)
        })?;
        self.pending.clear();
        self.file += 1;
        self.pending_bytes = 0;
        self.pending_steps = 0;
        Ok(())
    }
}

/// Joins videos, each a file and its steps.
fn join(tools: &Tools, videos: &[(&Path, u64)], fps: u32, path: &Path) -> Result<(), ExportError> {
    let list = path.with_extension("txt");
    std::fs::write(&list, listing(videos, fps))
        .map_err(ExportError::io("write a list of videos", &list))?;
    let mut command = tools.ffmpeg();
    command
        .args(["-f", "concat", "-safe", "0", "-i"])
        .arg(&list)
        .args(["-map", "0:v:0", "-c", "copy", "-bitexact"])
        .args(["-video_track_timescale", &ticks_per_second(fps).to_string()])
        .args(tools.without_bit_rate()?)
        .args(["-movflags", "+faststart", "-f", "mp4", "-y"])
        .arg(path);
    tools.run(command, "joining videos", path)?;
    std::fs::remove_file(&list).map_err(ExportError::io("remove a list of videos", &list))
}

/// The concat demuxer's list. It adds durations up in whole microseconds, so
/// each is given such that the sums, not the durations, are rounded: no error
/// builds up over many episodes.
fn listing(videos: &[(&Path, u64)], fps: u32) -> String {
    let micros = |steps: u64| (steps * 1_000_000 + u64::from(fps) / 2) / u64::from(fps);
    let mut text = String::from("ffconcat version 1.0\n");
    let mut steps = 0;
    for (path, own) in videos {
        let duration = micros(steps + own) - micros(steps);
        steps += own;
        // A quote inside quotes: close, escape, open again.
        let quoted = path.to_string_lossy().replace('\'', r"'\''");
        // Writing to a string does not fail.
        let _ = writeln!(text, "file '{quoted}'\nduration {duration}us");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(steps: u64) -> (&'static Path, u64) {
        (Path::new("/x/it's.mp4"), steps)
    }

    #[test]
    fn durations_add_up_without_drift() {
        let videos: Vec<_> = (0..3000).map(|_| video(7)).collect();
        let sum: u64 = listing(&videos, 30)
            .lines()
            .filter_map(|line| line.strip_prefix("duration ")?.strip_suffix("us"))
            .map(|us| us.parse::<u64>().unwrap())
            .sum();
        assert_eq!(sum, 700_000_000);
    }

    #[test]
    fn quotes_in_paths_are_escaped() {
        assert!(listing(&[video(1)], 30).contains(r"file '/x/it'\''s.mp4'"));
    }
}
