//! The camera as a backend of nokhwa: `Camera::with_custom` takes it like one of
//! its own. What nokhwa's buffer has no room for goes past it through [`Side`].

use std::{borrow::Cow, cell::RefCell, collections::HashMap, rc::Rc};

use nix::poll::PollTimeout;
use nokhwa::{
    Buffer, NokhwaError,
    camera_traits::CaptureBackendTrait,
    utils::{
        ApiBackend, CameraControl, CameraFormat, CameraIndex, CameraInfo, ControlValueDescription,
        ControlValueSetter, FrameFormat, KnownCameraControl, KnownCameraControlFlag, Resolution,
    },
};
use v4l::v4l_sys::{
    V4L2_CID_BACKLIGHT_COMPENSATION, V4L2_CID_BRIGHTNESS, V4L2_CID_CONTRAST,
    V4L2_CID_EXPOSURE_ABSOLUTE, V4L2_CID_FOCUS_ABSOLUTE, V4L2_CID_GAIN, V4L2_CID_GAMMA,
    V4L2_CID_HUE, V4L2_CID_IRIS_ABSOLUTE, V4L2_CID_PAN_ABSOLUTE, V4L2_CID_SATURATION,
    V4L2_CID_SHARPNESS, V4L2_CID_TILT_ABSOLUTE, V4L2_CID_WHITE_BALANCE_TEMPERATURE,
    V4L2_CID_ZOOM_ABSOLUTE,
};

use super::{
    controls,
    mode::{Mode, negotiate},
    node::{Capabilities, Intervals, Node, Sizes},
    stream::{Meta, Stream},
};
use crate::driver::pixels::Pixel;

/// A call for an image waits so long.
const WAIT_MILLIS: u8 = 100;

/// What the last call for an image gave, beside its buffer.
#[derive(Debug)]
pub enum Side {
    /// An image.
    Image(Meta),
    /// Nothing in time.
    Nothing,
    /// The camera is gone.
    Gone(std::io::Error),
}

/// One camera.
pub struct Backend {
    node: Rc<Node>,
    info: CameraInfo,
    mode: Mode,
    buffers: u32,
    stream: Option<Stream>,
    side: Rc<RefCell<Option<Side>>>,
}

impl Backend {
    /// Of a node whose mode is set.
    pub fn new(
        node: Rc<Node>,
        capabilities: &Capabilities,
        mode: Mode,
        buffers: u32,
        side: Rc<RefCell<Option<Side>>>,
    ) -> Self {
        let path = node.path().display().to_string();
        Self {
            info: CameraInfo::new(
                &capabilities.card,
                &capabilities.driver,
                &capabilities.bus,
                CameraIndex::String(path),
            ),
            node,
            mode,
            buffers,
            stream: None,
            side,
        }
    }

    /// The next image as `make` takes it out of the kernel's buffer.
    fn next<T>(&mut self, make: impl FnOnce(&[u8]) -> T) -> Result<T, NokhwaError> {
        let stream = self
            .stream
            .as_mut()
            .ok_or_else(|| NokhwaError::ReadFrameError("stream is not open".to_owned()))?;
        let next = stream.next(PollTimeout::from(WAIT_MILLIS), |bytes, _| make(bytes));
        let (side, result) = match next {
            Ok(Some((meta, taken))) => (Side::Image(meta), Ok(taken)),
            Ok(None) => {
                let text = "no image in time".to_owned();
                (Side::Nothing, Err(NokhwaError::ReadFrameError(text)))
            }
            Err(error) => {
                let text = error.to_string();
                (Side::Gone(error), Err(NokhwaError::ReadFrameError(text)))
            }
        };
        *self.side.borrow_mut() = Some(side);
        result
    }

    fn set(&mut self, format: CameraFormat) -> Result<(), NokhwaError> {
        let refused = |error: String| NokhwaError::SetPropertyError {
            property: "format".to_owned(),
            value: format.to_string(),
            error,
        };
        if self.stream.is_some() {
            return Err(refused("stop the stream first".to_owned()));
        }
        let pixel = Pixel::of_nokhwa(format.format())
            .ok_or_else(|| refused("this pixel format is not recorded".to_owned()))?;
        let wanted = dexumi_episode::CameraMode {
            width: format.width(),
            height: format.height(),
            fps: f64::from(format.frame_rate()),
            pixel: Some(pixel.name().to_owned()),
            ..Default::default()
        };
        self.mode = negotiate(&self.node, &wanted)
            .map_err(|refusal| refused(format!("{}; {}", refusal.problem, refusal.next)))?;
        Ok(())
    }
}

fn failed(property: &str) -> impl Fn(std::io::Error) -> NokhwaError {
    move |error| NokhwaError::GetPropertyError {
        property: property.to_owned(),
        error: error.to_string(),
    }
}

/// nokhwa's names of controls, and the numbers that USB cameras know them by.
const KNOWN: [(KnownCameraControl, u32); 15] = [
    (KnownCameraControl::Brightness, V4L2_CID_BRIGHTNESS),
    (KnownCameraControl::Contrast, V4L2_CID_CONTRAST),
    (KnownCameraControl::Hue, V4L2_CID_HUE),
    (KnownCameraControl::Saturation, V4L2_CID_SATURATION),
    (KnownCameraControl::Sharpness, V4L2_CID_SHARPNESS),
    (KnownCameraControl::Gamma, V4L2_CID_GAMMA),
    (
        KnownCameraControl::WhiteBalance,
        V4L2_CID_WHITE_BALANCE_TEMPERATURE,
    ),
    (
        KnownCameraControl::BacklightComp,
        V4L2_CID_BACKLIGHT_COMPENSATION,
    ),
    (KnownCameraControl::Gain, V4L2_CID_GAIN),
    (KnownCameraControl::Pan, V4L2_CID_PAN_ABSOLUTE),
    (KnownCameraControl::Tilt, V4L2_CID_TILT_ABSOLUTE),
    (KnownCameraControl::Zoom, V4L2_CID_ZOOM_ABSOLUTE),
    (KnownCameraControl::Exposure, V4L2_CID_EXPOSURE_ABSOLUTE),
    (KnownCameraControl::Iris, V4L2_CID_IRIS_ABSOLUTE),
    (KnownCameraControl::Focus, V4L2_CID_FOCUS_ABSOLUTE),
];

fn number_of(known: KnownCameraControl) -> Option<u32> {
    match known {
        KnownCameraControl::Other(id) => u32::try_from(id).ok(),
        known => KNOWN
            .into_iter()
            .find_map(|(name, id)| (name == known).then_some(id)),
    }
}

fn known_of(id: u32) -> KnownCameraControl {
    KNOWN
        .into_iter()
        .find_map(|(name, number)| (number == id).then_some(name))
        .unwrap_or(KnownCameraControl::Other(u128::from(id)))
}

fn described(control: &controls::Control) -> Option<CameraControl> {
    let value = ControlValueDescription::IntegerRange {
        min: control.least,
        max: control.greatest,
        value: control.value?,
        step: 1,
        default: control.least,
    };
    let flags = [
        (!control.is_writable, KnownCameraControlFlag::ReadOnly),
        (control.is_inactive, KnownCameraControlFlag::Disabled),
    ];
    Some(CameraControl::new(
        known_of(control.id),
        control.name.clone(),
        value,
        flags
            .into_iter()
            .filter_map(|(is, flag)| is.then_some(flag))
            .collect(),
        !control.is_inactive,
    ))
}

impl CaptureBackendTrait for Backend {
    fn backend(&self) -> ApiBackend {
        ApiBackend::Video4Linux
    }

    fn camera_info(&self) -> &CameraInfo {
        &self.info
    }

    fn refresh_camera_format(&mut self) -> Result<(), NokhwaError> {
        Ok(())
    }

    fn camera_format(&self) -> CameraFormat {
        CameraFormat::new(self.resolution(), self.frame_format(), self.frame_rate())
    }

    fn set_camera_format(&mut self, format: CameraFormat) -> Result<(), NokhwaError> {
        self.set(format)
    }

    fn compatible_list_by_resolution(
        &mut self,
        format: FrameFormat,
    ) -> Result<HashMap<Resolution, Vec<u32>>, NokhwaError> {
        let Some(pixel) = Pixel::of_nokhwa(format) else {
            return Ok(HashMap::new());
        };
        let sizes = self.node.sizes(pixel.fourcc()).map_err(failed("sizes"))?;
        let mut list = HashMap::new();
        for size in sizes {
            // Of a range nokhwa can hold its ends.
            let ends = match size {
                Sizes::One(w, h) => vec![(w, h)],
                Sizes::Range { width, height } => vec![(width.0, height.0), (width.1, height.1)],
            };
            for (width, height) in ends {
                let intervals = self.node.intervals(pixel.fourcc(), width, height);
                let rates = intervals
                    .map_err(failed("rates"))?
                    .into_iter()
                    .flat_map(|i| match i {
                        Intervals::One(one) => vec![one],
                        Intervals::Range(a, b) => vec![a, b],
                    });
                let rates = rates
                    .map(|interval| interval.fps().round() as u32)
                    .collect();
                list.insert(Resolution::new(width, height), rates);
            }
        }
        Ok(list)
    }

    fn compatible_fourcc(&mut self) -> Result<Vec<FrameFormat>, NokhwaError> {
        let fourccs = self.node.fourccs().map_err(failed("pixel formats"))?;
        let known = Pixel::ALL
            .into_iter()
            .filter(|pixel| fourccs.contains(&pixel.fourcc()));
        Ok(known.map(Pixel::nokhwa).collect())
    }

    fn resolution(&self) -> Resolution {
        Resolution::new(self.mode.layout.width, self.mode.layout.height)
    }

    fn set_resolution(&mut self, resolution: Resolution) -> Result<(), NokhwaError> {
        let format = self.camera_format();
        self.set(CameraFormat::new(
            resolution,
            format.format(),
            format.frame_rate(),
        ))
    }

    fn frame_rate(&self) -> u32 {
        self.mode.fps.unwrap_or(0.0).round() as u32
    }

    fn set_frame_rate(&mut self, rate: u32) -> Result<(), NokhwaError> {
        self.set(CameraFormat::new(
            self.resolution(),
            self.frame_format(),
            rate,
        ))
    }

    fn frame_format(&self) -> FrameFormat {
        self.mode.layout.pixel.nokhwa()
    }

    fn set_frame_format(&mut self, format: FrameFormat) -> Result<(), NokhwaError> {
        self.set(CameraFormat::new(
            self.resolution(),
            format,
            self.frame_rate(),
        ))
    }

    fn camera_control(&self, known: KnownCameraControl) -> Result<CameraControl, NokhwaError> {
        let all = self.camera_controls()?;
        all.into_iter()
            .find(|control| number_of(control.control()) == number_of(known))
            .ok_or_else(|| NokhwaError::GetPropertyError {
                property: known.to_string(),
                error: "the camera has no such control".to_owned(),
            })
    }

    fn camera_controls(&self) -> Result<Vec<CameraControl>, NokhwaError> {
        let controls = controls::list(&self.node).map_err(failed("controls"))?;
        Ok(controls.iter().filter_map(described).collect())
    }

    fn set_camera_control(
        &mut self,
        known: KnownCameraControl,
        setter: ControlValueSetter,
    ) -> Result<(), NokhwaError> {
        let refused = |error: String| NokhwaError::SetPropertyError {
            property: known.to_string(),
            value: setter.to_string(),
            error,
        };
        let value = match setter {
            ControlValueSetter::Integer(value) => value,
            ControlValueSetter::Boolean(value) => i64::from(value),
            _ => {
                return Err(refused(
                    "a whole number, true or false is expected".to_owned(),
                ));
            }
        };
        let controls = controls::list(&self.node).map_err(failed("controls"))?;
        let control = controls
            .iter()
            .find(|control| Some(control.id) == number_of(known))
            .ok_or_else(|| refused("the camera has no such control".to_owned()))?;
        controls::write(&self.node, control, value).map_err(|error| refused(error.to_string()))
    }

    fn open_stream(&mut self) -> Result<(), NokhwaError> {
        match Stream::start(self.node.clone(), self.buffers) {
            Ok(stream) => {
                self.stream = Some(stream);
                Ok(())
            }
            Err(error) => {
                let text = error.to_string();
                *self.side.borrow_mut() = Some(Side::Gone(error));
                Err(NokhwaError::OpenStreamError(text))
            }
        }
    }

    fn is_stream_open(&self) -> bool {
        self.stream.is_some()
    }

    fn frame(&mut self) -> Result<Buffer, NokhwaError> {
        let (resolution, format) = (self.resolution(), self.frame_format());
        self.next(|bytes| Buffer::new(resolution, bytes, format))
    }

    fn frame_raw(&mut self) -> Result<Cow<'_, [u8]>, NokhwaError> {
        self.next(|bytes| Cow::Owned(bytes.to_vec()))
    }

    fn stop_stream(&mut self) -> Result<(), NokhwaError> {
        self.stream = None;
        Ok(())
    }
}
