//! USB and other cameras of Video for Linux, with all that the kernel knows of an
//! image: its stamp on the host's clock, its number, its true length, whether data
//! is missing. A backend inside a nokhwa [`Camera`], like the network cameras.

mod backend;
mod controls;
mod mode;
mod node;
mod numbers;
mod refusal;
mod settings;
mod stamps;
mod stream;

use std::{cell::RefCell, collections::VecDeque, io, rc::Rc};

use bytes::Bytes;
use dexumi_episode::{Delta, Device, HostTime, StreamKind};
use nokhwa::{
    Camera,
    utils::{ApiBackend, CameraIndex},
};

pub(super) use self::refusal::open_alone;
use self::{
    backend::{Backend, Side},
    mode::{Mode, negotiate},
    numbers::{Numbers, Step},
    settings::Settings,
    stream::Meta,
};
pub use self::{
    controls::{Control, list as controls},
    mode::{Offer, list as offers, offers as offers_text},
    node::{Capabilities, Node},
};
use super::{
    Data, Driver, Image, ImageFormat, Item, Output, Sample, Source,
    encoder::Encoder,
    options::Options,
    pixels::{self, Pixel},
};
use crate::{
    discover::{VideoNode, find_camera},
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
    numbers: Numbers<Taken>,
    frozen: Delta,
    last_image: HostTime,
    /// Newest stamp of the kernel that was used.
    last_stamp: Option<HostTime>,
    stamps_refused: bool,
}

/// An image that waits for its turn.
struct Taken {
    arrival: HostTime,
    /// The kernel's stamp, where it is used.
    captured: Option<HostTime>,
    is_flagged: bool,
    bytes: Bytes,
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
        let settings = settings::apply(&node, &wanted.controls)?;
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
            last_stamp: None,
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
        found: Option<String>,
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
            .chain(found)
            .chain(too_long);
        let name = &self.stream;
        let notes = warnings.chain(no_stamp);
        self.said
            .extend(notes.map(|text| warning(format!("`{name}`: {text}"))));
    }

    /// The kernel's stamp, where it can be true.
    fn stamp(&self, meta: &Meta) -> Option<HostTime> {
        meta.stamp
            .filter(|&stamp| stamps::is_possible(stamp, meta.arrival, self.last_stamp))
    }

    /// Takes an image from the kernel, which may hand it over before an earlier one.
    fn arrived(&mut self, meta: Meta, bytes: Bytes, out: &mut Output) {
        self.last_image = meta.arrival;
        let captured = self.stamp(&meta);
        self.last_stamp = captured.max(self.last_stamp);
        let name = &self.stream;
        if meta.stamp.is_some() && captured.is_none() && !self.stamps_refused {
            self.stamps_refused = true;
            let off_s = meta
                .stamp
                .map_or(0.0, |stamp| (stamp - meta.arrival).secs_f64());
            let text = format!(
                "`{name}`: the kernel's stamp of an image is {off_s:+.3} s off its arrival and is not used"
            );
            out.push(0, warning(text));
        }
        let at = captured.unwrap_or(meta.arrival);
        let sequence = meta.sequence;
        let taken = Taken {
            arrival: meta.arrival,
            captured,
            is_flagged: meta.is_flagged,
            bytes,
        };
        match self.numbers.push(sequence, at, HostTime::now(), taken) {
            Step::On => {}
            Step::Anew => {
                let text = format!("`{name}`: the kernel counts its images anew");
                out.push(0, warning(text));
            }
            Step::TooLate => {
                let text = format!(
                    "`{name}`: image {sequence} came after it had been counted as missing, and is left out"
                );
                out.push(0, warning(text));
            }
        }
        self.in_order(out);
    }

    /// Hands on the images whose turn it is.
    fn in_order(&mut self, out: &mut Output) {
        let now = HostTime::now();
        while let Some(next) = self.numbers.pop(now) {
            out.missing(0, next.missing, next.image.arrival);
            self.image(next.image, next.number, out);
        }
    }

    fn image(&self, taken: Taken, number: u64, out: &mut Output) {
        let Taken {
            arrival,
            captured,
            is_flagged,
            bytes,
        } = taken;
        if is_flagged {
            out.lost(0, "flagged_by_kernel", 1, arrival);
            return;
        }
        let layout = self.mode.layout;
        let (data, format) = if layout.pixel == Pixel::Mjpeg {
            match jpeg::walk(&bytes) {
                Ok(found) => (bytes.slice(..found.length), ImageFormat::Jpeg),
                Err(jpeg::Defect::Truncated) => return out.lost(0, "truncated", 1, arrival),
                Err(jpeg::Defect::Corrupt) => return out.lost(0, "corrupt", 1, arrival),
            }
        } else if bytes.len() < layout.image_bytes() {
            return out.lost(0, "truncated", 1, arrival);
        } else {
            let format = layout.raw().unwrap_or(ImageFormat::Jpeg);
            (bytes.slice(..layout.image_bytes()), format)
        };
        let sample = |data: Bytes, format: ImageFormat| Sample {
            arrival,
            captured,
            device: None,
            sent: None,
            ticks: None,
            sequence: number,
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
                    out.lost(0, "encoder_behind", 1, arrival);
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

fn warning(text: String) -> Item {
    Item::Note {
        warning: true,
        text,
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
            self.arrived(meta, bytes, out);
        }
        let next = self.next();
        self.finished(out);
        let problem = match next {
            Ok(Next::Image(meta, bytes)) => {
                self.arrived(meta, bytes, out);
                return Ok(());
            }
            Ok(Next::Nothing) => {
                self.in_order(out);
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
        self.numbers.flush();
        self.in_order(out);
        self.drain(out);
        Err(CaptureError::Gone {
            stream: self.stream.clone(),
            address: self.address.clone(),
            problem,
        })
    }
}
