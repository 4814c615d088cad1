//! Camera previews: JPEGs to small pictures, on a thread of their own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use egui::ColorImage;
use opencv::{
    core::{Mat, Size},
    imgcodecs::{IMREAD_COLOR, IMREAD_REDUCED_COLOR_2, IMREAD_REDUCED_COLOR_4, imdecode},
    imgproc::{COLOR_BGR2RGBA, INTER_AREA, cvt_color_def, resize},
    prelude::*,
};

use super::link::Wake;

/// No preview is wider [pixel].
pub(super) const MAX_WIDTH: i32 = 640;

/// A decoded image, or why there is none.
pub(super) type Preview = Result<ColorImage, String>;

/// Decodes the newest image of each camera; older ones that it has not got to
/// are left out.
#[derive(Default)]
pub(super) struct Decoder {
    waiting: Mutex<BTreeMap<String, Vec<u8>>>,
    is_waiting: Condvar,
    ready: Mutex<BTreeMap<String, Preview>>,
}

impl Decoder {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(wake: Wake) -> std::io::Result<Arc<Self>> {
        let decoder = Arc::new(Self::default());
        let thread = decoder.clone();
        std::thread::Builder::new()
            .name("previews".to_owned())
            .spawn(move || thread.run(&wake))?;
        Ok(decoder)
    }

    /// Hands in a JPEG.
    pub fn push(&self, topic: String, jpeg: Vec<u8>) {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(topic, jpeg);
        self.is_waiting.notify_one();
    }

    /// Takes what is ready, by topic.
    pub fn take(&self) -> BTreeMap<String, Preview> {
        std::mem::take(&mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn run(&self, wake: &Wake) {
        loop {
            let jobs = {
                let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let mut waiting = self
                    .is_waiting
                    .wait_while(waiting, |waiting| waiting.is_empty())
                    .unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *waiting)
            };
            for (topic, jpeg) in jobs {
                let preview = decode(&jpeg);
                self.ready
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(topic, preview);
            }
            wake();
        }
    }
}

/// Decodes to at most [`MAX_WIDTH`]. What JPEG can scale by itself is not decoded
/// in full: a quarter of the time for a 720p image.
fn decode(jpeg: &[u8]) -> Preview {
    let error = |error: opencv::Error| format!("not a picture: {}", error.message);
    let flags = match width_of(jpeg) {
        Some(width) if width >= 4 * MAX_WIDTH => IMREAD_REDUCED_COLOR_4,
        Some(width) if width >= 2 * MAX_WIDTH => IMREAD_REDUCED_COLOR_2,
        _ => IMREAD_COLOR,
    };
    let mut image = imdecode(&Mat::from_slice(jpeg).map_err(error)?, flags).map_err(error)?;
    if image.cols() > MAX_WIDTH {
        let height = (image.rows() * MAX_WIDTH / image.cols()).max(1);
        let mut small = Mat::default();
        resize(
            &image,
            &mut small,
            Size::new(MAX_WIDTH, height),
            0.0,
            0.0,
            INTER_AREA,
        )
        .map_err(error)?;
        image = small;
    }
    if image.cols() == 0 {
        return Err("not a picture: it is empty or broken".to_owned());
    }
    let mut rgba = Mat::default();
    cvt_color_def(&image, &mut rgba, COLOR_BGR2RGBA).map_err(error)?;
    let size = [rgba.cols() as usize, rgba.rows() as usize];
    Ok(ColorImage::from_rgba_unmultiplied(
        size,
        rgba.data_bytes().map_err(error)?,
    ))
}

/// Width that a JPEG's header declares [pixel]: marker segments of ITU T.81,
/// Annex B, up to the first start of frame.
fn width_of(jpeg: &[u8]) -> Option<i32> {
    let mut at = 2;
    while let [0xff, marker, high, low, rest @ ..] = jpeg.get(at..)? {
        let is_start = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        if is_start {
            let width = rest.get(3..5)?;
            return Some(i32::from(u16::from_be_bytes([width[0], width[1]])));
        }
        at += 2 + usize::from(u16::from_be_bytes([*high, *low]));
    }
    None
}

#[cfg(test)]
mod tests {
    use opencv::{
        core::{CV_8UC3, Scalar, Vector},
        imgcodecs::imencode,
    };

    use super::*;

    fn jpeg(width: i32, height: i32) -> Vec<u8> {
        let orange_bgr = Scalar::new(20.0, 120.0, 240.0, 0.0);
        let image =
            Mat::new_rows_cols_with_default(height, width, CV_8UC3, orange_bgr).expect("image");
        let mut bytes = Vector::new();
        assert!(imencode(".jpg", &image, &mut bytes, &Vector::new()).expect("encodes"));
        bytes.to_vec()
    }

    #[test]
    fn previews_are_small_upright_and_of_the_right_colour() {
        for (size, expected) in [
            ((320, 240), [320, 240]),
            ((1280, 720), [640, 360]),
            ((1920, 1080), [640, 360]),
            ((2592, 1944), [640, 480]),
        ] {
            let jpeg = jpeg(size.0, size.1);
            assert_eq!(width_of(&jpeg), Some(size.0));
            let preview = decode(&jpeg).expect("decodes");
            assert_eq!(preview.size, expected, "{size:?}");
            let [r, g, b, a] = preview.pixels[preview.pixels.len() / 2].to_array();
            assert!(
                r.abs_diff(240) < 8 && g.abs_diff(120) < 8 && b.abs_diff(20) < 8 && a == 255,
                "{r} {g} {b}"
            );
        }
    }

    #[test]
    fn garbage_is_refused_in_words() {
        for bytes in [
            &b""[..],
            b"not a jpeg",
            &[0xff, 0xd8, 0xff],
            &jpeg(64, 64)[..30],
        ] {
            let problem = decode(bytes).expect_err("no picture");
            assert!(problem.starts_with("not a picture"), "{problem}");
        }
    }
}
