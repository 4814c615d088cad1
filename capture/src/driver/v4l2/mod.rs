//! USB and other cameras of Video for Linux, with all that the kernel knows of an
//! image: its stamp on the host's clock, its number, its true length, whether data
//! is missing. A backend inside a nokhwa [`Camera`], like the network cameras.

mod backend;
mod controls;
mod mode;
mod node;
mod stream;

use std::{cell::RefCell, collections::VecDeque, io, path::Path, rc::Rc};

use bytes::Bytes;
use dexumi_episode::{Delta, Device, HostTime, StreamKind};
use nokhwa::{
    Camera,
    utils::{ApiBackend, CameraIndex},
};

use self::{
    backend::{Backend, Side},
    controls::Settings,
    mode::{Mode, negotiate},
    stream::Meta,
};
pub use self::{
    controls::{Control, list as controls},
    mode::{Offer, list as offers},
    node::{Capabilities, Node},
};
use super::{
    Data, Driver, Image, ImageFormat, Item, Output, Sample, Source,
    encoder::Encoder,
    options::Options,
    pixels::{self, Pixel},
};
use crate::{
    discover::{Holder, VideoNode, find_camera, holders},
    error::{CaptureError, Refusal},
    jpeg,
};

/// The registration.
pub const DRIVER: Driver = Driver {
    name: "v4l2",
    help: "USB camera on Linux, stamped and numbered by the kernel",
    feeds: "/camera/<name>/image",
    can_feed: |topic| matches!(StreamKind::of(topic), Some(StreamKind::Camera { .. })),
    // The kernel stamps on the host's own clock: there is nothing to fit.
    clock: |_| None,
    metadata,
    shares: false,
    counts_missing: true,
    keeps_packets: false,
    open,
};

/// Buffers that the kernel fills while this program is busy; half a second at 30 Hz.
const BUFFERS: u32 = 16;
/// A camera is given so long for its first image: some take a second to wake up.
const FIRST_IMAGE: Delta = Delta::from_millis(3_000);
/// One that has given images, and then none for so long, is frozen, unless it is
/// slow by itself.
const FROZEN: Delta = Delta::from_millis(1_000);
const FROZEN_PERIODS: f64 = 5.0;
/// A stamp can be later than its arrival by as much where the kernel reckons it
/// back from the camera's clock, and earlier by as much after a long stall.
const LATEST_STAMP: Delta = Delta::from_millis(2);
const EARLIEST_STAMP: Delta = Delta::from_millis(5_000);

fn metadata(device: &Device) -> Vec<(&'static str, String)> {
    let mode = device.camera.clone().unwrap_or_default();
    let encoding = match (mode.raw, mode.pixel.as_deref()) {
        (true, _) => "pixels as the camera sent them".to_owned(),
        (false, Some("mjpeg")) => "JPEG as the camera sent it".to_owned(),
        (false, Some(_)) => format!("JPEG made here of the camera's pixels: {}", pixels::ENCODER),
        (false, None) => format!(
            "JPEG as the camera sent it; of one without, made here: {}; the device's metadata tell",
            pixels::ENCODER
        ),
    };
    vec![("encoding", encoding)]
}

impl Refusal {
    /// Of an error that a node answered with.
    pub(crate) fn io(what: &str, node: &Node, error: &io::Error) -> Self {
        let next = match error.raw_os_error() {
            Some(nix::libc::EBUSY) => return Self::busy(node.path()),
            Some(nix::libc::ENOSPC) => {
                "the USB bus has no room for its images: move a camera to another controller, or \
                 choose mjpeg, a smaller size or a lower rate"
            }
            Some(nix::libc::ENODEV) => "it was unplugged; plug it in again",
            _ => "plug it in again; `dexumi devices` shows what it offers",
        };
        Self::new(format!("{what} ({error})"), next)
    }

    fn busy(node: &Path) -> Self {
        let own = std::process::id();
        let mut by = holders(node);
        // This very attempt has the node open as well.
        by.retain(|holder| holder.pid != own || holder.times > 1);
        let by: Vec<String> = by.iter().map(Holder::to_string).collect();
        let by = match by.is_empty() {
            true => "another program".to_owned(),
            false => by.join(" and "),
        };
        Self::new(
            format!("the camera is in use by {by}"),
            "close that first, or give each stream its own camera",
        )
    }

    fn open(node: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::new(
                format!("no permission to open {}", node.display()),
                "add yourself to group `video` and log in again; `dexumi devices --setup` tells how",
            ),
            _ => Self::new(
                format!("cannot open {} ({error})", node.display()),
                "plug it in again",
            ),
        }
    }
}

/// Opens a node for this program alone among those that record.
pub(super) fn open_alone(path: &Path) -> Result<Node, Refusal> {
    let node = Node::open(path).map_err(|error| Refusal::open(path, &error))?;
    match node.file().try_lock() {
        Ok(()) => Ok(node),
        Err(std::fs::TryLockError::WouldBlock) => Err(Refusal::busy(path)),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(Refusal::io("cannot lock the camera", &node, &error))
        }
    }
}

fn open(devices: &[Device]) -> Result<Box<dyn Source>, CaptureError> {
    let device = &devices[0];
    let options = Options::of(devices, &["buffers"])?;
    let buffers = options
        .whole("buffers", 2..=32)?
        .map_or(BUFFERS, |count| count as u32);
    let source = UsbCamera::open(device, buffers).map_err(|refusal| refusal.of(device))?;
    Ok(Box::new(source))
}

struct UsbCamera {
    camera: Camera,
    node: Rc<Node>,
    side: Rc<RefCell<Option<Side>>>,
    stream: String,
    address: String,
    mode: Mode,
    keeps_pixels: bool,
    encoder: Option<Encoder<Sample>>,
    settings: Settings,
    /// Things to say at the next read.
    said: Vec<Item>,
    /// Images that came while the camera was opened.
    first: VecDeque<(Meta, Bytes)>,
    numbers: Numbers,
    frozen: Delta,
    last_image: HostTime,
    stamps_refused: bool,
}

/// What a call for an image gave.
enum Next {
    Image(Meta, Bytes),
    Nothing,
}

impl UsbCamera {
    fn open(device: &Device, buffers: u32) -> Result<Self, Refusal> {
        let wanted = device.camera.clone().unwrap_or_default();
        let (video, warning) = find_camera(&device.address)?;
        let node = Rc::new(open_alone(&video.node)?);
        let capabilities = node
            .capabilities()
            .map_err(|error| Refusal::io("it does not answer", &node, &error))?;
        let mode = negotiate(&node, &wanted)?;
        let settings = controls::apply(&node, &wanted.controls)?;
        let side = Rc::new(RefCell::new(None));
        let backend = Backend::new(node.clone(), &capabilities, mode, buffers, side.clone());
        let index = CameraIndex::String(video.node.display().to_string());
        let mut camera = Camera::with_custom(index, ApiBackend::Video4Linux, Box::new(backend));
        if let Err(error) = camera.open_stream() {
            return Err(match side.borrow_mut().take() {
                Some(Side::Gone(error)) => Refusal::io("cannot start its stream", &node, &error),
                _ => Refusal::new(error.to_string(), "plug it in again"),
            });
        }
        let is_encoded = mode.layout.pixel != Pixel::Mjpeg && !wanted.raw;
        let encoder = is_encoded
            .then(|| Encoder::start(mode.layout))
            .transpose()
            .map_err(|error| Refusal::new(error.to_string(), "end other programs"))?;
        let period = Delta::from_secs_f64(FROZEN_PERIODS / wanted.fps);
        let mut source = Self {
            camera,
            node,
            side,
            stream: device.stream.clone(),
            address: device.address.clone(),
            mode,
            keeps_pixels: wanted.raw,
            encoder,
            settings,
            said: Vec::new(),
            first: VecDeque::new(),
            numbers: Numbers::new(wanted.fps),
            frozen: FROZEN.max(period),
            last_image: HostTime::now(),
            stamps_refused: false,
        };
        source.wait_for_first(period)?;
        source.introduce(&video, &capabilities, warning, wanted.fps);
        Ok(source)
    }

    /// A camera is there when its first image is: one that opens and stays silent
    /// must not count as back.
    fn wait_for_first(&mut self, period: Delta) -> Result<(), Refusal> {
        let patience = FIRST_IMAGE.max(period);
        let began = HostTime::now();
        loop {
            match self.next() {
                Ok(Next::Image(meta, bytes)) => {
                    self.first.push_back((meta, bytes));
                    return Ok(());
                }
                Ok(Next::Nothing) if HostTime::now() - began < patience => {}
                Ok(Next::Nothing) => {
                    return Err(Refusal::new(
                        format!(
                            "it opens, but gave no image within {:.0} s",
                            patience.secs_f64()
                        ),
                        "plug it in again, at another port if it stays silent",
                    ));
                }
                Err(error) => return Err(Refusal::io("it is gone", &self.node, &error)),
            }
        }
    }

    fn next(&mut self) -> io::Result<Next> {
        let result = self.camera.frame();
        let side = self.side.borrow_mut().take();
        match (result, side) {
            (Ok(buffer), Some(Side::Image(meta))) => Ok(Next::Image(meta, buffer.buffer_bytes())),
            (_, Some(Side::Gone(error))) => Err(error),
            (Err(_), Some(Side::Nothing)) => Ok(Next::Nothing),
            (_, _) => Err(io::Error::other("nokhwa's camera lost its backend")),
        }
    }

    /// What there is to know of the camera, for the file.
    fn introduce(
        &mut self,
        video: &VideoNode,
        capabilities: &Capabilities,
        warning: Option<String>,
        wanted_fps: f64,
    ) {
        self.settings.verify(&self.node);
        let (meta, bytes) = &self.first[0];
        let layout = self.mode.layout;
        let stamp = match (self.stamp(meta), meta.stamp) {
            (Some(_), _) if meta.stamp_at_start => "kernel, CLOCK_MONOTONIC, start of exposure",
            (Some(_), _) => "kernel, CLOCK_MONOTONIC, end of image",
            (None, Some(_)) => "arrival: the kernel's is not near it",
            (None, None) => "arrival: the kernel's is not of CLOCK_MONOTONIC",
        };
        let encoding = match (layout.pixel, self.keeps_pixels) {
            (Pixel::Mjpeg, _) => match jpeg::walk(bytes) {
                Ok(jpeg) if jpeg.has_huffman_tables => "JPEG as the camera sent it".to_owned(),
                Ok(_) => "JPEG as the camera sent it, without Huffman tables".to_owned(),
                Err(_) => "JPEG as the camera sent it; the first one is damaged".to_owned(),
            },
            (_, true) => "pixels as the camera sent them".to_owned(),
            (_, false) => format!("JPEG made here: {}", pixels::ENCODER),
        };
        let fps = self
            .mode
            .fps
            .map_or("not settable".to_owned(), |fps| format!("{fps:.6}"));
        let mut about = vec![
            ("camera", capabilities.card.clone()),
            (
                "kernel_driver",
                format!("{} {}", capabilities.driver, capabilities.version),
            ),
            ("bus", capabilities.bus.clone()),
            ("node", video.node.display().to_string()),
            ("pixel", layout.pixel.name().to_owned()),
            ("size", format!("{}x{}", layout.width, layout.height)),
            ("fps", fps),
            ("stamp", stamp.to_owned()),
            ("encoding", encoding),
        ];
        if layout.pixel != Pixel::Mjpeg {
            let range = if layout.full_range {
                "0 to 255"
            } else {
                "16 to 235"
            };
            about.push(("range", range.to_owned()));
        }
        if let Some(usb) = &video.usb {
            about.push(("usb", usb.address()));
            about.push(("usb_port", usb.port.clone()));
        }
        let mut about: Vec<(String, String)> = about
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        about.append(&mut self.settings.about);
        self.said.push(Item::About(about));
        let longest = self.settings.exposure_ns.unwrap_or(0) as f64 * 1e-9;
        let too_long = (longest > 1.0 / wanted_fps)
            .then(|| format!("exposure of {longest} s is longer than the time between two images"));
        let no_stamp = (self.stamp(meta).is_none()).then(|| {
            "the kernel does not stamp its images usably: they are dated by their arrival"
                .to_owned()
        });
        let warnings = self
            .settings
            .warnings
            .drain(..)
            .chain(warning)
            .chain(too_long);
        let name = self.stream.clone();
        for text in warnings.chain(no_stamp) {
            let text = format!("`{name}`: {text}");
            self.said.push(Item::Note {
                warning: true,
                text,
            });
        }
    }

    /// The kernel's stamp, where it can be true.
    fn stamp(&self, meta: &Meta) -> Option<HostTime> {
        meta.stamp.filter(|&stamp| {
            let delay = meta.arrival - stamp;
            delay >= Delta::ZERO - LATEST_STAMP && delay <= EARLIEST_STAMP
        })
    }

    fn image(&mut self, meta: Meta, bytes: Bytes, out: &mut Output) {
        self.last_image = meta.arrival;
        let captured = self.stamp(&meta);
        if meta.stamp.is_some() && captured.is_none() && !self.stamps_refused {
            self.stamps_refused = true;
            let text = format!(
                "`{}`: the kernel's stamp of an image is {:+.3} s off its arrival and is not used",
                self.stream,
                meta.stamp
                    .map_or(0.0, |stamp| (stamp - meta.arrival).secs_f64())
            );
            out.push(
                0,
                Item::Note {
                    warning: true,
                    text,
                },
            );
        }
        match self
            .numbers
            .next(meta.sequence, captured.unwrap_or(meta.arrival))
        {
            Step::On(missing) => out.missing(0, missing, meta.arrival),
            Step::Anew => {
                let text = format!("`{}`: the kernel counts its images anew", self.stream);
                out.push(
                    0,
                    Item::Note {
                        warning: true,
                        text,
                    },
                );
            }
        }
        if meta.is_flagged {
            out.lost(0, "flagged_by_kernel", 1, meta.arrival);
            return;
        }
        let layout = self.mode.layout;
        let (data, format) = if layout.pixel == Pixel::Mjpeg {
            match jpeg::walk(&bytes) {
                Ok(found) => (bytes.slice(..found.length), ImageFormat::Jpeg),
                Err(jpeg::Defect::Truncated) => return out.lost(0, "truncated", 1, meta.arrival),
                Err(jpeg::Defect::Corrupt) => return out.lost(0, "corrupt", 1, meta.arrival),
            }
        } else if bytes.len() < layout.image_bytes() {
            return out.lost(0, "truncated", 1, meta.arrival);
        } else {
            let format = layout.raw().unwrap_or(ImageFormat::Jpeg);
            (bytes.slice(..layout.image_bytes()), format)
        };
        let sample = |data: Bytes, format: ImageFormat| Sample {
            arrival: meta.arrival,
            captured,
            device: None,
            sent: None,
            ticks: None,
            sequence: self.numbers.count,
            suspect: 0,
            data: Data::Image(Image {
                data,
                format,
                exposure_ns: self.settings.exposure_ns,
            }),
            raw: None,
        };
        match &self.encoder {
            Some(encoder) => {
                let waits = sample(Bytes::new(), ImageFormat::Jpeg);
                if !encoder.push(waits, data) {
                    out.lost(0, "encoder_behind", 1, meta.arrival);
                }
            }
            None => out.sample(0, sample(data, format)),
        }
    }

    /// Images that the encoder has finished.
    fn finished(&self, out: &mut Output) {
        let Some(encoder) = &self.encoder else { return };
        while let Some((sample, jpeg)) = encoder.finished() {
            encoded(sample, jpeg, out);
        }
    }

    /// All that the encoder still has, once it has finished them.
    fn drain(&mut self, out: &mut Output) {
        let Some(encoder) = self.encoder.take() else {
            return;
        };
        for (sample, jpeg) in encoder.into_rest() {
            encoded(sample, jpeg, out);
        }
    }
}

fn encoded(mut sample: Sample, jpeg: Result<Vec<u8>, String>, out: &mut Output) {
    match (jpeg, &mut sample.data) {
        (Ok(jpeg), Data::Image(image)) => {
            image.data = jpeg.into();
            out.sample(0, sample);
        }
        _ => out.lost(0, "not_encoded", 1, sample.arrival),
    }
}

impl Source for UsbCamera {
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError> {
        for item in self.said.drain(..) {
            out.push(0, item);
        }
        while let Some((meta, bytes)) = self.first.pop_front() {
            self.image(meta, bytes, out);
        }
        let next = self.next();
        self.finished(out);
        let problem = match next {
            Ok(Next::Image(meta, bytes)) => {
                self.image(meta, bytes, out);
                return Ok(());
            }
            Ok(Next::Nothing) => {
                let silent = HostTime::now() - self.last_image;
                if silent <= self.frozen {
                    return Ok(());
                }
                format!(
                    "frozen: plugged in, but no image for {:.1} s",
                    silent.secs_f64()
                )
            }
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => "unplugged".to_owned(),
            Err(error) => error.to_string(),
        };
        // What was taken before is still worth its sample.
        self.drain(out);
        Err(CaptureError::Gone {
            stream: self.stream.clone(),
            address: self.address.clone(),
            problem,
        })
    }
}

/// The kernel's numbers of images, which count those that were lost as well.
#[derive(Debug)]
struct Numbers {
    fps: f64,
    last: Option<(u32, HostTime)>,
    /// Without its wraps.
    count: u64,
}

/// From one image to the next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// So many are missing between them.
    On(u64),
    /// The count does not follow from the one before.
    Anew,
}

impl Numbers {
    fn new(fps: f64) -> Self {
        Self {
            fps,
            last: None,
            count: 0,
        }
    }

    fn next(&mut self, sequence: u32, at: HostTime) -> Step {
        let Some((last, then)) = self.last.replace((sequence, at)) else {
            self.count = u64::from(sequence);
            return Step::On(0);
        };
        let step = u64::from(sequence.wrapping_sub(last));
        // A driver that does not count gives the same number again and again.
        if step == 0 {
            self.count += 1;
            return Step::On(0);
        }
        // No camera takes twice as many images as it is set to.
        let possible = (2.0 * self.fps * (at - then).secs_f64().abs()).ceil() + 2.0;
        if step as f64 > possible {
            self.count += 1;
            return Step::Anew;
        }
        self.count += step;
        Step::On(step - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_tell_exactly_what_is_missing() {
        let mut numbers = Numbers::new(30.0);
        let at = |image: i64| HostTime::from_nanos(image * 33_333_333);
        assert_eq!(numbers.next(7, at(0)), Step::On(0));
        assert_eq!(numbers.next(8, at(1)), Step::On(0));
        assert_eq!(numbers.next(14, at(7)), Step::On(5));
        assert_eq!(numbers.count, 14);
        // Over the end of 32 bits.
        let mut numbers = Numbers::new(30.0);
        numbers.next(u32::MAX, at(0));
        assert_eq!(numbers.next(1, at(2)), Step::On(1));
        assert_eq!(numbers.count, u64::from(u32::MAX) + 2);
    }

    #[test]
    fn a_count_that_does_not_follow_is_no_loss() {
        let mut numbers = Numbers::new(30.0);
        let at = |image: i64| HostTime::from_nanos(image * 33_333_333);
        numbers.next(500, at(0));
        assert_eq!(numbers.next(0, at(1)), Step::Anew);
        assert_eq!(numbers.next(1, at(2)), Step::On(0));
        // One that never counts.
        assert_eq!(numbers.next(1, at(3)), Step::On(0));
        assert_eq!(numbers.next(1_000_000, at(4)), Step::Anew);
    }
}
