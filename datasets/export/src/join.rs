//! Videos of episodes, one camera: joined without re-encoding into files of
//! bounded size. That every packet of a joined file lies at its time is left to
//! [`crate::verify`], which runs over the whole dataset before it gets its name.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::error::ExportError;
use crate::ffmpeg::Tools;
use crate::timestamp::ticks_per_second;
use crate::video::Encoded;

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

    /// Adds an episode. A file that is thereby complete is written to the path
    /// that `target` gives for its number.
    pub fn add(
        &mut self,
        video: Encoded,
        tools: &Tools,
        target: impl Fn(u64) -> PathBuf,
    ) -> Result<Place, ExportError> {
        let fits = self.pending_bytes + video.bytes <= self.limit
            // Decoders take their parameters from the head of the file.
            && self.pending.first().is_none_or(|first| first.parameters == video.parameters);
        if !fits {
            self.finish(tools, &target)?;
        }
        let place = Place {
            file: self.file,
            from: self.pending_steps,
        };
        self.pending_bytes += video.bytes;
        self.pending_steps += video.steps;
        self.pending.push(video);
        Ok(place)
    }

    /// Writes the file begun, if any, and removes the videos it is made of.
    pub fn finish(
        &mut self,
        tools: &Tools,
        target: impl Fn(u64) -> PathBuf,
    ) -> Result<(), ExportError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let path = target(self.file);
        join(tools, &self.pending, self.fps, &path)?;
        for video in self.pending.drain(..) {
            std::fs::remove_file(&video.path)
                .map_err(ExportError::io("remove a temporary video", &video.path))?;
        }
        self.file += 1;
        self.pending_bytes = 0;
        self.pending_steps = 0;
        Ok(())
    }
}

fn join(tools: &Tools, videos: &[Encoded], fps: u32, path: &Path) -> Result<(), ExportError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(ExportError::io("create a folder", folder))?;
    }
    let list = path.with_extension("txt");
    std::fs::write(&list, listing(videos, fps))
        .map_err(ExportError::io("write a list of videos", &list))?;
    let partial = path.with_extension("mp4.partial");
    let mut command = tools.ffmpeg();
    command
        .args(["-f", "concat", "-safe", "0", "-i"])
        .arg(&list)
        .args(["-map", "0:v:0", "-c", "copy", "-bitexact"])
        .args(["-video_track_timescale", &ticks_per_second(fps).to_string()])
        .args(["-movflags", "+faststart", "-f", "mp4", "-y"])
        .arg(&partial);
    tools.run(command, "joining videos", &partial)?;
    std::fs::remove_file(&list).map_err(ExportError::io("remove a list of videos", &list))?;
    std::fs::rename(&partial, path).map_err(ExportError::io("rename a video", path))
}

/// The concat demuxer's list. It adds durations up in whole microseconds, so
/// each is given such that the sums, not the durations, are rounded: no error
/// builds up over many episodes.
fn listing(videos: &[Encoded], fps: u32) -> String {
    let micros = |steps: u64| (steps * 1_000_000 + u64::from(fps) / 2) / u64::from(fps);
    let mut text = String::from("ffconcat version 1.0\n");
    let mut steps = 0;
    for video in videos {
        let duration = micros(steps + video.steps) - micros(steps);
        steps += video.steps;
        // A quote inside quotes: close, escape, open again.
        let quoted = video.path.to_string_lossy().replace('\'', r"'\''");
        // Writing to a string does not fail.
        let _ = writeln!(text, "file '{quoted}'\nduration {duration}us");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::PixelCounts;

    fn video(steps: u64) -> Encoded {
        Encoded {
            path: "/x/it's.mp4".into(),
            bytes: 100,
            steps,
            parameters: String::new(),
            pixels: PixelCounts::default(),
        }
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
