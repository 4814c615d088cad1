//! Pictures from a recording in place of drawn ones.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use opencv::core::{Mat, Size};
use opencv::prelude::*;
use opencv::{imgproc, videoio};

/// Image of a recording of `count` images at `fps` [Hz] that is shown at a time [s]:
/// round(t · fps) mod `count`. Half-way between two it is the later one.
pub fn image_index(t_s: f64, fps: f64, count: usize) -> usize {
    (t_s * fps).round().rem_euclid(count as f64) as usize
}

/// A recording, read from start to end and again; see [`image_index`].
///
/// Images are decoded one after another. Going back (at the end of a round, or when asked for an
/// earlier time) opens the file again and reads up to the place.
pub struct Video {
    path: PathBuf,
    reader: videoio::VideoCapture,
    fps: f64,
    count: usize,
    /// Index of the image that the reader gives next.
    next: usize,
    decoded: Mat,
    picture: Mat,
    /// Index of the image in `picture`.
    shown: Option<usize>,
    size: Size,
}

impl Video {
    /// Opens a recording, to be shown at a size [pixel].
    ///
    /// # Errors
    /// The file is missing or holds no video whose rate and number of images are known.
    pub fn open(path: &Path, width: u32, height: u32) -> Result<Self> {
        let reader = reader(path)?;
        let number = |property| reader.get(property).unwrap_or(0.0);
        let (fps, count) = (
            number(videoio::CAP_PROP_FPS),
            number(videoio::CAP_PROP_FRAME_COUNT),
        );
        ensure!(
            fps.is_finite() && fps > 0.0 && count >= 1.0,
            "video: expected a rate and a number of images, got {fps} Hz and {count}; convert it \
             with ffmpeg -i IN -c:v libx264 OUT.mp4: {}",
            path.display()
        );
        Ok(Self {
            path: path.to_owned(),
            reader,
            fps,
            count: count as usize,
            next: 0,
            decoded: Mat::default(),
            picture: Mat::default(),
            shown: None,
            size: Size::new(width as i32, height as i32),
        })
    }

    /// The picture at a time [s]: blue, green, red, at the size asked for.
    ///
    /// # Errors
    /// The recording ends before the number of images that it declares, or cannot be decoded.
    pub fn picture(&mut self, t_s: f64) -> Result<&Mat> {
        let index = image_index(t_s, self.fps, self.count);
        if self.shown != Some(index) {
            self.shown = None;
            self.decode(index)?;
            if self.decoded.size()? == self.size {
                std::mem::swap(&mut self.decoded, &mut self.picture);
            } else {
                // Averages when it shrinks the image, so that edges do not flicker.
                let method = imgproc::INTER_AREA;
                imgproc::resize(
                    &self.decoded,
                    &mut self.picture,
                    self.size,
                    0.0,
                    0.0,
                    method,
                )?;
            }
            self.shown = Some(index);
        }
        Ok(&self.picture)
    }

    fn decode(&mut self, index: usize) -> Result<()> {
        if index < self.next {
            self.reader = reader(&self.path)?;
            self.next = 0;
        }
        while self.next < index {
            ensure!(self.reader.grab()?, self.ended());
            self.next += 1;
        }
        ensure!(self.reader.read(&mut self.decoded)?, self.ended());
        self.next += 1;
        Ok(())
    }

    fn ended(&self) -> String {
        format!(
            "video: expected {} images, got {}; the file is cut or damaged, convert it again: {}",
            self.count,
            self.next,
            self.path.display()
        )
    }
}

fn reader(path: &Path) -> Result<videoio::VideoCapture> {
    let shown = || path.display().to_string();
    std::fs::File::open(path).with_context(|| format!("cannot read the video: {}", shown()))?;
    let reader = videoio::VideoCapture::from_file_def(path).with_context(shown)?;
    ensure!(
        reader.is_opened()?,
        "video: expected a file that OpenCV can decode, such as H.264 in MP4; convert it with \
         ffmpeg -i IN -c:v libx264 OUT.mp4: {}",
        shown()
    );
    Ok(reader)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_shown_follows_the_clock_and_starts_again() {
        for (t, index) in [
            (0.0, 0),
            (0.016, 0),
            (0.017, 1),
            (0.1, 3),
            (0.65, 0),
            (0.7, 1),
        ] {
            assert_eq!(image_index(t, 30.0, 20), index, "at {t} s");
        }
    }

    /// Mean of a picture's channels and of its left half.
    fn fingerprint(picture: &Mat) -> (u64, u64) {
        let bytes = picture.data_bytes().unwrap();
        let sum = |bytes: &[u8]| bytes.iter().map(|&x| u64::from(x)).sum();
        (sum(bytes), sum(&bytes[..bytes.len() / 2]))
    }

    #[test]
    fn a_recording_is_decoded_in_order_and_from_the_start_again() {
        let path = Path::new("../shared/data/human_hand_right_1280x720_30fps.mp4");
        if !path.exists() {
            eprintln!("skipped: no recording at {}", path.display());
            return;
        }
        let mut video = Video::open(path, 320, 180).unwrap();
        assert_eq!((video.fps, video.count), (30.0, 621));
        let early: Vec<_> = [5, 6, 9]
            .map(|i| fingerprint(video.picture(f64::from(i) / 30.0).unwrap()))
            .into();
        assert!(early[0] != early[1] && early[1] != early[2]);
        assert_eq!(video.next, 10);
        // One round later, at a time that is not on the grid.
        let again = fingerprint(video.picture(621.0 / 30.0 + 6.2 / 30.0).unwrap());
        assert_eq!(again, early[1]);
        assert_eq!(
            video.picture(0.3).unwrap().size().unwrap(),
            Size::new(320, 180)
        );
    }

    #[test]
    fn what_is_no_video_is_refused_with_the_next_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hand.mp4");
        let text = |result: Result<Video>| format!("{:#}", result.err().unwrap());
        let missing = text(Video::open(&path, 64, 48));
        assert!(missing.contains("cannot read the video") && missing.contains("hand.mp4"));
        std::fs::write(&path, "no video").unwrap();
        let wrong = text(Video::open(&path, 64, 48));
        assert!(
            wrong.contains("ffmpeg -i") && wrong.ends_with("hand.mp4"),
            "{wrong}"
        );
    }
}
