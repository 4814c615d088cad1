//! USB cameras through nokhwa's own backend, as it comes: the portable path, without
//! the kernel's number, flags and length of an image. On Linux `v4l2` knows more.
//!
//! `Camera::frame` waits for as long as the camera gives nothing, so that it has a
//! thread of its own: one that hangs is left behind, and ends when the camera does.

mod grab;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use dexumi_episode::{CameraMode, Delta, Device, HostTime, StreamKind};
use nokhwa::utils::{CameraFormat, Resolution};

use self::grab::{Grabbed, Signals, Stamp, Told, grab};
use super::{
    Data, Driver, Image, ImageFormat, Item, Output, Sample, Source,
    options::Options,
    pixels::{self, Layout, Pixel},
};
use crate::{
    error::{CaptureError, Refusal},
    jpeg,
};

/// The registration.
pub const DRIVER: Driver = Driver {
    name: "nokhwa",
    help: "USB camera through nokhwa's own backend; on Linux prefer v4l2, which knows more",
    feeds: "/camera/<name>/image",
    can_feed: |topic| matches!(StreamKind::of(topic), Some(StreamKind::Camera { .. })),
    // Its stamps are brought to the host's own clock: there is nothing to fit.
    clock: |_| None,
    metadata,
    shares: false,
    // nokhwa drops the kernel's number; gaps between the stamps tell.
    counts_missing: false,
    keeps_packets: false,
    open,
};

/// Images between the two threads; more means that the JPEG maker is too slow.
const QUEUE: usize = 8;
/// A read returns after so long without an image.
const WAIT: Duration = Duration::from_millis(100);
/// A camera is given so long for its first image: some take a second to wake up.
const FIRST_IMAGE: Delta = Delta::from_millis(3_000);
/// One that has given images, and then none for so long, is frozen, unless it is
/// slow by itself.
const FROZEN: Delta = Delta::from_millis(1_000);
const FROZEN_PERIODS: f64 = 5.0;
/// One that is closed is waited for so long: a thread that hangs is not.
const CLOSING: Delta = Delta::from_millis(300);

fn metadata(device: &Device) -> Vec<(&'static str, String)> {
    let mode = device.camera.clone().unwrap_or_default();
    let encoding = match (mode.raw, mode.pixel.as_deref()) {
        (true, _) => "pixels as the camera sent them".to_owned(),
        (false, Some("mjpeg")) => "JPEG as the camera sent it".to_owned(),
        (false, _) => format!(
            "JPEG as the camera sent it; of one without, made here: {}",
            pixels::ENCODER
        ),
    };
    vec![("encoding", encoding)]
}

/// What is asked of nokhwa, the preferred format first.
fn formats(mode: &CameraMode) -> Result<Vec<(Pixel, CameraFormat)>, Refusal> {
    if !mode.controls.is_empty() {
        return Err(Refusal::new(
            "driver `nokhwa` sets no controls",
            "take driver `v4l2`, or leave `controls` out",
        ));
    }
    let fps = mode.fps.round();
    if (mode.fps - fps).abs() > 1e-9 || fps < 1.0 {
        return Err(Refusal::new(
            format!("nokhwa knows no rate of {} images a second", mode.fps),
            "give a whole number, or take driver `v4l2`",
        ));
    }
    let mut wanted = Pixel::wanted(mode).map_err(|(problem, next)| Refusal::new(problem, next))?;
    // nokhwa looks for four letters that no camera has.
    wanted.retain(|&pixel| pixel != Pixel::Grey);
    if wanted.is_empty() {
        return Err(Refusal::new(
            "nokhwa does not see cameras that give grey",
            "take driver `v4l2`",
        ));
    }
    let size = Resolution::new(mode.width, mode.height);
    let format = |pixel: Pixel| CameraFormat::new(size, pixel.nokhwa(), fps as u32);
    Ok(wanted.into_iter().map(|p| (p, format(p))).collect())
}

/// The camera that an address means.
struct Found {
    index: u32,
    about: Vec<(String, String)>,
    warning: Option<String>,
    /// Keeps other recorders out.
    #[cfg(target_os = "linux")]
    node: super::v4l2::Node,
}

#[cfg(target_os = "linux")]
fn find(address: &str) -> Result<Found, Refusal> {
    let (video, warning) = crate::discover::find_camera(address)?;
    let node = super::v4l2::open_alone(&video.node)?;
    let name = video.node.display().to_string();
    let index = name.strip_prefix("/dev/video").and_then(|n| n.parse().ok());
    let mut about = vec![("node".to_owned(), name.clone())];
    if let Some(usb) = &video.usb {
        about.push(("usb".to_owned(), usb.address()));
        about.push(("usb_port".to_owned(), usb.port.clone()));
    }
    Ok(Found {
        index: index.ok_or_else(|| {
            Refusal::new(
                format!("nokhwa opens cameras by number, and {name} has none"),
                "take driver `v4l2`",
            )
        })?,
        about,
        warning,
        node,
    })
}

#[cfg(not(target_os = "linux"))]
fn find(address: &str) -> Result<Found, Refusal> {
    let index = address.parse().map_err(|_| {
        Refusal::new(
            "this is no camera's address",
            "give the camera's number, such as 0; it may change from plug to plug",
        )
    })?;
    Ok(Found {
        index,
        about: Vec::new(),
        warning: None,
    })
}

impl Found {
    /// What the camera offers, for people.
    fn offers(&self) -> String {
        #[cfg(target_os = "linux")]
        return format!("it offers {}", super::v4l2::offers_text(&self.node));
        #[cfg(not(target_os = "linux"))]
        return "choose another mode".to_owned();
    }
}

fn open(devices: &[Device]) -> Result<Box<dyn Source>, CaptureError> {
    let device = &devices[0];
    Options::of(devices, &[])?;
    let source = NokhwaCamera::open(device).map_err(|refusal| refusal.of(device))?;
    Ok(Box::new(source))
}

struct NokhwaCamera {
    told: Receiver<Told>,
    signals: Arc<Signals>,
    /// Keeps other recorders out while this is open.
    found: Found,
    stream: String,
    address: String,
    layout: Layout,
    keeps_pixels: bool,
    /// nokhwa's stamps have been usable so far.
    is_stamped: bool,
    /// Things to say, and the first image.
    said: Vec<Item>,
    first: Option<Grabbed>,
    count: u64,
    frozen: Delta,
    last_image: HostTime,
}

impl NokhwaCamera {
    fn open(device: &Device) -> Result<Self, Refusal> {
        let mode = device.camera.clone().unwrap_or_default();
        let formats = formats(&mode)?;
        let found = find(&device.address)?;
        let (tell, told) = bounded(QUEUE);
        let signals = Arc::new(Signals::default());
        let (index, shared) = (found.index, signals.clone());
        std::thread::Builder::new()
            .name("nokhwa".to_owned())
            .spawn(move || grab(index, &formats, &tell, &shared))
            .map_err(|error| Refusal::new(error.to_string(), "end other programs"))?;
        let period = Delta::from_secs_f64(FROZEN_PERIODS / mode.fps);
        let patience = FIRST_IMAGE.max(period);
        let began = HostTime::now();
        let (mut opened, mut first) = (None, None);
        while first.is_none() {
            let left = (patience - (HostTime::now() - began)).secs_f64().max(0.0);
            match told.recv_timeout(Duration::from_secs_f64(left)) {
                Ok(Told::Open(pixel, name)) => opened = Some((pixel, name)),
                Ok(Told::Image(image)) => first = Some(image),
                Ok(Told::Ended(problem)) => return Err(Refusal::new(problem, found.offers())),
                // A camera that opens and stays silent must not count as back.
                Err(RecvTimeoutError::Timeout) => {
                    let waited_s = patience.secs_f64();
                    return Err(Refusal::new(
                        format!("it opens, but gave no image within {waited_s:.0} s"),
                        "plug it in again, at another port if it stays silent",
                    ));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Refusal::new("nokhwa broke off", "plug it in again"));
                }
            }
        }
        let (pixel, name) = opened.expect("it is opened before it gives an image");
        // nokhwa says neither how long a row is nor which range Y has: the usual ones.
        let layout = Layout::new(pixel, (mode.width, mode.height), 0, false);
        let mut source = Self {
            told,
            signals,
            stream: device.stream.clone(),
            address: device.address.clone(),
            layout,
            keeps_pixels: mode.raw,
            is_stamped: true,
            said: Vec::new(),
            first,
            count: 0,
            frozen: FROZEN.max(period),
            last_image: HostTime::now(),
            found,
        };
        source.introduce(name, mode.fps);
        Ok(source)
    }

    fn introduce(&mut self, name: String, fps: f64) {
        let encoding = match (self.layout.pixel, self.keeps_pixels) {
            (Pixel::Mjpeg, _) => "JPEG as the camera sent it".to_owned(),
            (_, true) => "pixels as the camera sent them".to_owned(),
            (_, false) => format!("JPEG made here: {}", pixels::ENCODER),
        };
        let stamp = match self.first.as_ref().map(|image| image.stamp) {
            Some(Stamp::None) => "arrival: nokhwa has none, or not near it",
            _ => "kernel, by way of nokhwa's wall clock",
        };
        let about = [
            ("camera", name),
            ("pixel", self.layout.pixel.name().to_owned()),
            (
                "size",
                format!("{}x{}", self.layout.width, self.layout.height),
            ),
            ("fps", fps.to_string()),
            ("stamp", stamp.to_owned()),
            ("encoding", encoding),
        ];
        let about = about.map(|(key, value)| (key.to_owned(), value));
        let mut about = Vec::from(about);
        about.append(&mut self.found.about);
        self.said.push(Item::About(about));
        if let Some(text) = self.found.warning.take() {
            self.warn(&text);
        }
    }

    fn warn(&mut self, text: &str) {
        self.said.push(Item::Note {
            warning: true,
            text: format!("`{}`: {text}", self.stream),
        });
    }

    fn captured(&mut self, stamp: Stamp) -> Option<HostTime> {
        match stamp {
            Stamp::At(stamp) if self.is_stamped => Some(stamp),
            Stamp::At(_) => None,
            Stamp::ClockWasSet => {
                self.warn("the wall clock was set: one image is dated by its arrival");
                None
            }
            Stamp::None => {
                // Stamps that come and go would make the times jump.
                if std::mem::take(&mut self.is_stamped) {
                    self.warn(
                        "nokhwa does not stamp its images usably: they are dated by their arrival",
                    );
                }
                None
            }
        }
    }

    fn image(&mut self, image: Grabbed, out: &mut Output) {
        let arrival = image.arrival;
        self.last_image = arrival;
        let captured = self.captured(image.stamp);
        let layout = self.layout;
        let (data, format) = match (layout.pixel, self.keeps_pixels) {
            // The buffer is far longer than the image, and is not kept for it.
            (Pixel::Mjpeg, _) => match jpeg::walk(&image.bytes) {
                Ok(found) => {
                    let jpeg = Bytes::copy_from_slice(&image.bytes[..found.length]);
                    (jpeg, ImageFormat::Jpeg)
                }
                Err(jpeg::Defect::Truncated) => return out.lost(0, "truncated", 1, arrival),
                Err(jpeg::Defect::Corrupt) => return out.lost(0, "corrupt", 1, arrival),
            },
            _ if image.bytes.len() < layout.image_bytes() => {
                return out.lost(0, "truncated", 1, arrival);
            }
            (_, true) => {
                let format = layout.raw().unwrap_or(ImageFormat::Jpeg);
                (image.bytes.slice(..layout.image_bytes()), format)
            }
            (_, false) => match layout.to_jpeg(&image.bytes) {
                Ok(jpeg) => (jpeg.into(), ImageFormat::Jpeg),
                Err(_) => return out.lost(0, "not_encoded", 1, arrival),
            },
        };
        let sample = Sample {
            arrival,
            captured,
            device: None,
            sent: None,
            ticks: None,
            sequence: self.count,
            suspect: 0,
            data: Data::Image(Image {
                data,
                format,
                exposure_ns: None,
            }),
            raw: None,
        };
        self.count += 1;
        out.sample(0, sample);
    }
}

impl Drop for NokhwaCamera {
    /// Lets the thread close the camera, which has to be free for the next opening.
    fn drop(&mut self) {
        self.signals.stop.store(true, Ordering::Relaxed);
        let began = HostTime::now();
        while HostTime::now() - began < CLOSING {
            // The channel ends with the thread.
            if let Err(RecvTimeoutError::Disconnected) = self.told.recv_timeout(WAIT) {
                break;
            }
        }
    }
}

impl Source for NokhwaCamera {
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError> {
        let next = match self.first.take() {
            Some(image) => Ok(Told::Image(image)),
            None => self.told.recv_timeout(WAIT),
        };
        let problem = match next {
            Ok(Told::Image(image)) => {
                self.image(image, out);
                None
            }
            Ok(Told::Open(..)) => None,
            Ok(Told::Ended(problem)) if problem.contains("os error 19") => {
                Some("unplugged".to_owned())
            }
            Ok(Told::Ended(problem)) => Some(problem),
            Err(RecvTimeoutError::Timeout) => {
                let silent = HostTime::now() - self.last_image;
                let silent_s = silent.secs_f64();
                (silent > self.frozen)
                    .then(|| format!("frozen: plugged in, but no image for {silent_s:.1} s"))
            }
            Err(RecvTimeoutError::Disconnected) => Some("nokhwa broke off".to_owned()),
        };
        let overflow = self.signals.overflow.swap(0, Ordering::Relaxed);
        out.lost(0, "encoder_behind", overflow, HostTime::now());
        for item in self.said.drain(..) {
            out.push(0, item);
        }
        match problem {
            None => Ok(()),
            Some(problem) => Err(CaptureError::Gone {
                stream: self.stream.clone(),
                address: self.address.clone(),
                problem,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nokhwa_cannot_do_is_refused_with_what_can() {
        let refused = |mode: CameraMode, word: &str| {
            let refusal = formats(&mode).expect_err("refused");
            let text = format!("{}; {}", refusal.problem, refusal.next);
            assert!(text.contains(word) && text.contains("v4l2"), "{text}");
        };
        let plain = CameraMode::default;
        let fps = 29.97;
        refused(CameraMode { fps, ..plain() }, "29.97");
        let pixel = Some("grey".to_owned());
        refused(CameraMode { pixel, ..plain() }, "grey");
        let controls = [("gain".to_owned(), 1.into())].into();
        refused(
            CameraMode {
                controls,
                ..plain()
            },
            "controls",
        );
        let all = formats(&plain()).expect("formats");
        assert_eq!(
            all.iter().map(|(p, _)| p.name()).collect::<Vec<_>>(),
            ["mjpeg", "yuyv", "nv12"]
        );
    }
}
