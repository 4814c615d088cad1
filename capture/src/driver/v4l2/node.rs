//! An open video node and the questions that V4L2 answers about it. Every answer
//! comes back as a value or an error: what a newer kernel or an odd camera says
//! must not end the program.
//!
//! Source: the kernel's "Video for Linux API" (userspace-api/media/v4l), by the
//! structures of crate `v4l`.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use v4l::{
    v4l_sys::{
        V4L2_BUF_FLAG_ERROR, V4L2_CAP_DEVICE_CAPS, V4L2_CAP_STREAMING, V4L2_CAP_VIDEO_CAPTURE,
        v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE as VIDEO_CAPTURE, v4l2_capability, v4l2_fmtdesc,
        v4l2_format, v4l2_frmivalenum,
        v4l2_frmivaltypes_V4L2_FRMIVAL_TYPE_DISCRETE as INTERVAL_DISCRETE, v4l2_frmsizeenum,
        v4l2_frmsizetypes_V4L2_FRMSIZE_TYPE_DISCRETE as SIZE_DISCRETE, v4l2_streamparm,
    },
    v4l2::vidioc,
};

/// Data of this buffer may be damaged.
pub const FLAG_ERROR: u32 = V4L2_BUF_FLAG_ERROR;
/// More answers than any device has: an enumeration that does not end is cut.
const MOST_ANSWERS: u32 = 512;

/// An open `/dev/videoN`.
#[derive(Debug)]
pub struct Node {
    file: File,
    path: PathBuf,
}

/// Who a node says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Kernel driver, such as `uvcvideo`.
    pub driver: String,
    /// Name of the camera.
    pub card: String,
    /// Where it is plugged in.
    pub bus: String,
    /// Version of the kernel driver.
    pub version: String,
    /// Gives images through mapped buffers; metadata nodes do not.
    pub captures: bool,
}

/// Pixel format by its four letters, such as `MJPG`.
pub type FourCc = [u8; 4];

/// Sizes that a camera offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// One.
    One(u32, u32),
    /// A range: least, most, step of width and height.
    Range {
        /// Width from, to, in steps of.
        width: (u32, u32, u32),
        /// Height from, to, in steps of.
        height: (u32, u32, u32),
    },
}

impl Sizes {
    /// Whether this size is among them.
    pub fn has(&self, width: u32, height: u32) -> bool {
        let within = |value: u32, (least, most, step): (u32, u32, u32)| {
            (least..=most).contains(&value) && (value - least).is_multiple_of(step.max(1))
        };
        match *self {
            Self::One(w, h) => (w, h) == (width, height),
            Self::Range {
                width: w,
                height: h,
            } => within(width, w) && within(height, h),
        }
    }
}

/// Time between two images, as a fraction of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Numerator [s].
    pub numerator: u32,
    /// Denominator.
    pub denominator: u32,
}

impl Interval {
    /// Images per second.
    pub fn fps(self) -> f64 {
        f64::from(self.denominator) / f64::from(self.numerator.max(1))
    }
}

/// Rates that a camera offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intervals {
    /// One.
    One(Interval),
    /// Any between the shortest and the longest.
    Range(Interval, Interval),
}

/// The format that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Its four letters.
    pub fourcc: FourCc,
    /// Width [pixel].
    pub width: u32,
    /// Height [pixel].
    pub height: u32,
    /// Length of a row [byte]; 0 for compressed ones.
    pub bytes_per_line: u32,
    /// `v4l2_colorspace`.
    pub colorspace: u32,
    /// `v4l2_quantization`.
    pub quantization: u32,
}

/// A structure of zeros.
pub(super) fn zeroed<T: Copy>() -> T {
    // SAFETY: used for the kernel's structures only, which are plain numbers and
    // arrays of them; zero is what the kernel wants in what is not set.
    unsafe { std::mem::zeroed() }
}

/// Text of fixed length, up to its first zero.
pub(super) fn text(bytes: impl IntoIterator<Item = u8>) -> String {
    let bytes: Vec<u8> = bytes.into_iter().take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

impl Node {
    /// Opens a node, without waiting and without taking the camera.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(path)?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Asks the kernel driver; `argument` is what the request is made for.
    pub(super) fn ask<T>(&self, request: vidioc::_IOC_TYPE, argument: &mut T) -> io::Result<()> {
        loop {
            let pointer = std::ptr::from_mut(argument).cast();
            // SAFETY: the request carries the size of its structure, and each caller
            // hands the structure of its request, which lives through the call.
            let result = unsafe { v4l::v4l2::ioctl(self.file.as_raw_fd(), request, pointer) };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Collects the answers to a question with a running index. They end where the
    /// kernel says that there are no more.
    fn enumerate<T, A>(
        &self,
        request: vidioc::_IOC_TYPE,
        mut question: impl FnMut(u32) -> T,
        mut answer: impl FnMut(&T) -> Option<A>,
    ) -> io::Result<Vec<A>> {
        let mut answers = Vec::new();
        for index in 0..MOST_ANSWERS {
            let mut argument = question(index);
            match self.ask(request, &mut argument) {
                Ok(()) => answers.extend(answer(&argument)),
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
                // A metadata node does not know the question at all.
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOTTY) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(answers)
    }

    /// Who it is.
    ///
    /// # Errors
    /// It is no video node, or gone.
    pub fn capabilities(&self) -> io::Result<Capabilities> {
        let mut raw: v4l2_capability = zeroed();
        self.ask(vidioc::VIDIOC_QUERYCAP, &mut raw)?;
        // `capabilities` is of all nodes of the camera together, `device_caps` of this one.
        let own = if raw.capabilities & V4L2_CAP_DEVICE_CAPS != 0 {
            raw.device_caps
        } else {
            raw.capabilities
        };
        let [_, major, minor, patch] = raw.version.to_be_bytes();
        let wanted = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        Ok(Capabilities {
            driver: text(raw.driver),
            card: text(raw.card),
            bus: text(raw.bus_info),
            version: format!("{major}.{minor}.{patch}"),
            captures: own & wanted == wanted,
        })
    }

    /// Pixel formats, in the camera's order.
    ///
    /// # Errors
    /// The camera is gone.
    pub fn fourccs(&self) -> io::Result<Vec<FourCc>> {
        self.enumerate(
            vidioc::VIDIOC_ENUM_FMT,
            |index| v4l2_fmtdesc {
                index,
                type_: VIDEO_CAPTURE,
                ..zeroed()
            },
            |answer| Some(answer.pixelformat.to_le_bytes()),
        )
    }

    /// Sizes of a pixel format.
    ///
    /// # Errors
    /// The camera is gone.
    pub fn sizes(&self, fourcc: FourCc) -> io::Result<Vec<Sizes>> {
        self.enumerate(
            vidioc::VIDIOC_ENUM_FRAMESIZES,
            |index| v4l2_frmsizeenum {
                index,
                pixel_format: u32::from_le_bytes(fourcc),
                ..zeroed()
            },
            |answer| {
                // SAFETY: the type tells which of the two the kernel has filled in.
                Some(if answer.type_ == SIZE_DISCRETE {
                    let one = unsafe { answer.__bindgen_anon_1.discrete };
                    Sizes::One(one.width, one.height)
                } else {
                    let range = unsafe { answer.__bindgen_anon_1.stepwise };
                    Sizes::Range {
                        width: (range.min_width, range.max_width, range.step_width),
                        height: (range.min_height, range.max_height, range.step_height),
                    }
                })
            },
        )
    }

    /// Rates at a size.
    ///
    /// # Errors
    /// The camera is gone.
    pub fn intervals(&self, fourcc: FourCc, width: u32, height: u32) -> io::Result<Vec<Intervals>> {
        self.enumerate(
            vidioc::VIDIOC_ENUM_FRAMEINTERVALS,
            |index| v4l2_frmivalenum {
                index,
                pixel_format: u32::from_le_bytes(fourcc),
                width,
                height,
                ..zeroed()
            },
            |answer| {
                let interval = |fraction: v4l::v4l_sys::v4l2_fract| Interval {
                    numerator: fraction.numerator,
                    denominator: fraction.denominator,
                };
                // SAFETY: the type tells which of the two the kernel has filled in.
                Some(if answer.type_ == INTERVAL_DISCRETE {
                    Intervals::One(interval(unsafe { answer.__bindgen_anon_1.discrete }))
                } else {
                    let range = unsafe { answer.__bindgen_anon_1.stepwise };
                    Intervals::Range(interval(range.min), interval(range.max))
                })
            },
        )
    }

    /// Sets a format; the camera may choose another one, which is what comes back.
    ///
    /// # Errors
    /// The camera is in use, or gone.
    pub fn set_format(&self, fourcc: FourCc, width: u32, height: u32) -> io::Result<Format> {
        let mut raw: v4l2_format = zeroed();
        raw.type_ = VIDEO_CAPTURE;
        raw.fmt.pix = v4l::v4l_sys::v4l2_pix_format {
            width,
            height,
            pixelformat: u32::from_le_bytes(fourcc),
            ..zeroed()
        };
        self.ask(vidioc::VIDIOC_S_FMT, &mut raw)?;
        // SAFETY: for this type of buffer the kernel fills in `pix`.
        let pix = unsafe { raw.fmt.pix };
        Ok(Format {
            fourcc: pix.pixelformat.to_le_bytes(),
            width: pix.width,
            height: pix.height,
            bytes_per_line: pix.bytesperline,
            colorspace: pix.colorspace,
            quantization: pix.quantization,
        })
    }

    /// Sets the time between two images; the camera may choose another one, which is
    /// what comes back, or `None` from a camera that has no rate to set.
    ///
    /// # Errors
    /// The camera is in use, or gone.
    pub fn set_interval(&self, interval: Interval) -> io::Result<Option<Interval>> {
        let mut raw: v4l2_streamparm = zeroed();
        raw.type_ = VIDEO_CAPTURE;
        raw.parm.capture = v4l::v4l_sys::v4l2_captureparm {
            timeperframe: v4l::v4l_sys::v4l2_fract {
                numerator: interval.numerator,
                denominator: interval.denominator,
            },
            ..zeroed()
        };
        match self.ask(vidioc::VIDIOC_S_PARM, &mut raw) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOTTY) => return Ok(None),
            Err(error) => return Err(error),
        }
        // SAFETY: for this type of buffer the kernel fills in `capture`.
        let capture = unsafe { raw.parm.capture };
        if capture.capability & v4l::v4l_sys::V4L2_CAP_TIMEPERFRAME == 0 {
            return Ok(None);
        }
        Ok(Some(Interval {
            numerator: capture.timeperframe.numerator,
            denominator: capture.timeperframe.denominator,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_in_a_range_only_on_its_steps() {
        let range = Sizes::Range {
            width: (160, 1280, 32),
            height: (120, 720, 0),
        };
        assert!(range.has(640, 480) && range.has(160, 121));
        assert!(!range.has(650, 480) && !range.has(640, 721));
        assert!(Sizes::One(640, 480).has(640, 480) && !Sizes::One(640, 480).has(480, 640));
    }

    #[test]
    fn a_file_that_is_no_camera_is_an_error() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let node = Node::open(file.path()).expect("it can be opened");
        assert!(node.capabilities().is_err());
    }
}
