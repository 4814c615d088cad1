//! `rig.toml`: what is on the rig. A person edits it; the recorder attaches it
//! to every episode.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};
use serde::{Deserialize, Serialize};

use crate::error::{EpisodeError, parse_toml};

/// Everything on a rig.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rig {
    /// Version of this file's layout; 1.
    pub format: u32,
    /// Name of the rig, free text.
    pub name: String,
    /// Robot hand that the exoskeleton moves like, such as `xhand_right`.
    pub hand: String,
    /// Streams, each with the device that feeds it. Entries with the same driver and
    /// address share one connection, where the driver can do that.
    pub device: Vec<Device>,
    /// Transforms between the things that are screwed together.
    #[serde(default)]
    pub mount: Vec<Mount>,
}

/// One device and the stream that it feeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Topic of its samples, one of [`TOPICS`].
    pub stream: String,
    /// Which driver speaks to it.
    pub driver: String,
    /// Where it is: a serial port (best under `/dev/serial/by-id/`), a URL, or
    /// `host:port`.
    pub address: String,
    /// Baud rate of a serial port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baud: Option<u32>,
    /// Least possible time from the device's stamp to the packet's arrival [s].
    #[serde(default)]
    pub min_delay_s: f64,
    /// Where that number comes from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub min_delay_source: String,
    /// Which of the things that the address offers: a rigid body (name or number),
    /// a marker set, a station, a tracker's serial number. Each driver's page says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Settings of this driver alone; its page lists them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, toml::Value>,
    /// What a camera is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraMode>,
}

/// Size, rate and lens of a camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraMode {
    /// Width [pixel].
    pub width: u32,
    /// Height [pixel].
    pub height: u32,
    /// Nominal rate [Hz].
    pub fps: f64,
    /// Keep the pixels as the camera gives them instead of a JPEG.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub raw: bool,
    /// Pixel format to ask for: `mjpeg`, `yuyv`, `nv12`, `grey` …; without it the driver
    /// takes the first of those that the camera has at this size and rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel: Option<String>,
    /// Settings of the camera, such as `exposure_s = 0.008`; the driver's page lists
    /// them. They are set at each opening, read back, and kept in the file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub controls: BTreeMap<String, toml::Value>,
    /// Focal lengths and principal point fx, fy, cx, cy [pixel], once calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intrinsics: Option<[f64; 4]>,
}

impl Default for CameraMode {
    fn default() -> Self {
        Self {
            width: 640,
            height: 480,
            fps: 30.0,
            raw: false,
            pixel: None,
            controls: BTreeMap::new(),
            intrinsics: None,
        }
    }
}

impl Device {
    /// A device with nothing but its address.
    pub fn new(stream: &str, driver: &str, address: &str) -> Self {
        Self {
            stream: stream.to_owned(),
            driver: driver.to_owned(),
            address: address.to_owned(),
            baud: None,
            min_delay_s: 0.0,
            min_delay_source: String::new(),
            source: None,
            options: BTreeMap::new(),
            camera: None,
        }
    }
}

/// A rigid transform `parent_from_child`: maps points in `child` to `parent`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Coordinate frame mapped to, such as `tracker/wrist`.
    pub parent: String,
    /// Coordinate frame mapped from, such as `hand`.
    pub child: String,
    /// Translation x, y, z [m].
    pub translation_m: [f64; 3],
    /// Rotation as a quaternion x, y, z, w.
    pub rotation_xyzw: [f64; 4],
    /// Where the numbers come from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

impl Mount {
    /// As an isometry.
    pub fn parent_from_child(&self) -> Isometry3<f64> {
        isometry(self.translation_m, self.rotation_xyzw)
    }
}

/// Isometry of a translation [m] and a quaternion x, y, z, w (normalised here).
pub fn isometry(translation_m: [f64; 3], rotation_xyzw: [f64; 4]) -> Isometry3<f64> {
    let [x, y, z, w] = rotation_xyzw;
    Isometry3::from_parts(
        Translation3::from(translation_m),
        UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z)),
    )
}

/// What a stream's topic says that it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamKind {
    /// Joint encoders of the exoskeleton of a side.
    Encoders {
        /// `left` or `right`.
        side: String,
    },
    /// Force at one fingertip.
    Force {
        /// `left` or `right`.
        side: String,
        /// `thumb`, `index`, `middle`, `ring` or `little`.
        finger: String,
    },
    /// Pose of a tracked body.
    Tracker {
        /// Name of the tracker.
        name: String,
    },
    /// Images of a camera.
    Camera {
        /// Name of the camera.
        name: String,
    },
    /// Depth images of a camera.
    Depth {
        /// Name of the camera.
        name: String,
    },
    /// Accelerometer and gyroscope.
    Imu {
        /// What it is on.
        name: String,
    },
    /// Keypoints of a hand, from a glove.
    Keypoints {
        /// `left` or `right`.
        side: String,
    },
    /// Labelled markers of a motion-capture system.
    Markers {
        /// Name of the set.
        name: String,
    },
}

/// Topics that a device can feed.
pub const TOPICS: &str = "/exo/<left|right>/encoders, \
    /exo/<left|right>/force/<thumb|index|middle|ring|little>, /tracker/<name>/pose, \
    /camera/<name>/image, /camera/<name>/depth, /imu/<name>, /glove/<left|right>/keypoints, \
    /mocap/<name>/markers";

/// Fingers, thumb first, by the project's names.
pub const FINGERS: [&str; 5] = ["thumb", "index", "middle", "ring", "little"];

impl StreamKind {
    /// Reads a topic; `None` for one that no device can feed.
    pub fn of(topic: &str) -> Option<Self> {
        let side = |side: &str| matches!(side, "left" | "right").then(|| side.to_owned());
        let name = |name: &str| {
            let legal = !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            legal.then(|| name.to_owned())
        };
        let parts: Vec<&str> = topic.strip_prefix('/')?.split('/').collect();
        match parts[..] {
            ["exo", s, "encoders"] => Some(Self::Encoders { side: side(s)? }),
            ["exo", s, "force", f] if FINGERS.contains(&f) => Some(Self::Force {
                side: side(s)?,
                finger: f.to_owned(),
            }),
            ["tracker", n, "pose"] => Some(Self::Tracker { name: name(n)? }),
            ["camera", n, "image"] => Some(Self::Camera { name: name(n)? }),
            ["camera", n, "depth"] => Some(Self::Depth { name: name(n)? }),
            ["imu", n] => Some(Self::Imu { name: name(n)? }),
            ["glove", s, "keypoints"] => Some(Self::Keypoints { side: side(s)? }),
            ["mocap", n, "markers"] => Some(Self::Markers { name: name(n)? }),
            _ => None,
        }
    }
}

impl Rig {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, has unknown keys, or contradicts itself.
    pub fn load(path: &Path) -> Result<Self, EpisodeError> {
        let text = std::fs::read_to_string(path).map_err(EpisodeError::io("read", path))?;
        Self::parse(&text, path)
    }

    /// As [`load`](Self::load), from text that came from `path`.
    ///
    /// # Errors
    /// As there.
    pub fn parse(text: &str, path: &Path) -> Result<Self, EpisodeError> {
        let rig: Self = parse_toml("rig", text, path)?;
        rig.check().map_err(|problem| EpisodeError::Config {
            what: "rig",
            problem,
            path: path.to_owned(),
        })?;
        Ok(rig)
    }

    fn check(&self) -> Result<(), String> {
        if self.format != 1 {
            return Err(format!("format is {}, expected 1", self.format));
        }
        if self.device.is_empty() {
            return Err("no [[device]] given, expected at least one".to_owned());
        }
        let mut streams = BTreeSet::new();
        for device in &self.device {
            let stream = &device.stream;
            let kind = StreamKind::of(stream)
                .ok_or_else(|| format!("stream `{stream}` is not one of {TOPICS}"))?;
            if !streams.insert(stream) {
                return Err(format!("stream `{stream}` is given twice, expected once"));
            }
            if !(0.0..1.0).contains(&device.min_delay_s) {
                return Err(format!(
                    "min_delay_s of `{stream}` is {}, expected 0 to 1 second",
                    device.min_delay_s
                ));
            }
            match (&kind, &device.camera) {
                (StreamKind::Camera { .. }, None) => {
                    return Err(format!(
                        "camera `{stream}` has no mode, expected \
                         camera = {{ width = 1280, height = 720, fps = 30.0 }}"
                    ));
                }
                (StreamKind::Camera { .. }, Some(mode)) => {
                    let sane =
                        mode.width > 0 && mode.height > 0 && (0.1..=1000.0).contains(&mode.fps);
                    if !sane {
                        return Err(format!(
                            "camera `{stream}` has mode {}x{} at {}, expected a size above 0 \
                             and 0.1 to 1000 fps",
                            mode.width, mode.height, mode.fps
                        ));
                    }
                }
                (StreamKind::Depth { .. }, Some(_)) => {}
                (_, Some(_)) => {
                    return Err(format!(
                        "`{stream}` is no camera, but has a camera mode; remove it"
                    ));
                }
                (_, None) => {}
            }
            let intrinsics = device.camera.as_ref().and_then(|mode| mode.intrinsics);
            if let Some(values @ [fx, fy, ..]) = intrinsics
                && !(fx > 0.0 && fy > 0.0 && values.iter().all(|v| v.is_finite()))
            {
                return Err(format!(
                    "camera `{stream}` has intrinsics {values:?}, expected fx, fy, cx, cy in \
                     pixels, focal lengths above 0"
                ));
            }
        }
        for mount in &self.mount {
            let norm = mount
                .rotation_xyzw
                .iter()
                .map(|v| v * v)
                .sum::<f64>()
                .sqrt();
            if !((0.99..1.01).contains(&norm) && mount.translation_m.iter().all(|v| v.is_finite()))
            {
                return Err(format!(
                    "mount {} from {} has a quaternion of length {norm:.4}, expected 1, \
                     and a finite translation",
                    mount.parent, mount.child
                ));
            }
        }
        Ok(())
    }

    /// `parent_from_child`, given in either direction, or `None`.
    pub fn mount(&self, parent: &str, child: &str) -> Option<Isometry3<f64>> {
        self.mount.iter().find_map(|mount| {
            if mount.parent == parent && mount.child == child {
                Some(mount.parent_from_child())
            } else if mount.parent == child && mount.child == parent {
                Some(mount.parent_from_child().inverse())
            } else {
                None
            }
        })
    }

    /// The device of a stream.
    pub fn device(&self, stream: &str) -> Option<&Device> {
        self.device.iter().find(|device| device.stream == stream)
    }

    /// As TOML text.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a rig is always representable as TOML")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
format = 1
name = "bench"
hand = "xhand_right"
[[device]]
stream = "/exo/right/encoders"
driver = "dexumi_xhand_encoders"
address = "/dev/ttyACM0"
"#;

    #[test]
    fn a_misspelt_key_is_refused_with_line_and_known_keys() {
        let text = GOOD.replace("address", "adress");
        let error = Rig::parse(&text, Path::new("rig.toml"))
            .expect_err("misspelt")
            .to_string();
        assert!(
            error.contains("adress") && error.contains("line 8"),
            "{error}"
        );
        assert!(error.contains("`address`"), "{error}");
    }

    #[test]
    fn a_stream_that_no_device_can_feed_is_refused() {
        let text = GOOD.replace("/exo/right/encoders", "/exo/middle/encoders");
        let error = Rig::parse(&text, Path::new("rig.toml"))
            .expect_err("no such side")
            .to_string();
        assert!(
            error.contains("/exo/middle/encoders") && error.contains("/exo/<left|right>"),
            "{error}"
        );
    }

    #[test]
    fn intrinsics_that_are_none_are_refused() {
        let camera = |intrinsics: &str| {
            let text = GOOD.replace("/exo/right/encoders", "/camera/wrist/image");
            let mode = "camera = { width = 640, height = 480, fps = 30.0, intrinsics =";
            Rig::parse(
                &format!("{text}{mode} {intrinsics} }}\n"),
                Path::new("rig.toml"),
            )
        };
        assert!(camera("[500.0, 500.0, 320.0, 240.0]").is_ok());
        for none in [
            "[nan, 500.0, 320.0, 240.0]",
            "[500.0, 0.0, 320.0, 240.0]",
            "[500.0, 500.0, inf, 1.0]",
        ] {
            let error = camera(none).expect_err("refused").to_string();
            assert!(error.contains("fx, fy, cx, cy"), "{error}");
        }
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let rig = Rig::parse(GOOD, Path::new("rig.toml")).expect("good");
        assert_eq!(
            Rig::parse(&rig.to_toml(), Path::new("again")).expect("again"),
            rig
        );
    }
}
