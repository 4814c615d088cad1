//! A raw episode as DexUMI's recorder leaves it (real-stanford/DexUMI at 56b8fc7,
//! `dexumi/data_recording`): a group of a Zarr 2 hierarchy, with one group per
//! camera (beside its `.mp4`) and one per board, each with `receive_time` and
//! `capture_time` [s, CLOCK_MONOTONIC of the recording computer].

use std::path::{Path, PathBuf};

use crate::error::ExportError;
use crate::zarr::{Array, Source};

/// Full scale of the board's converter: volts = counts · 5 / (2²³ − 1).
const VOLTS_PER_COUNT: f64 = 5.0 / 0x7F_FFFF as f64;

/// Times of a stream's samples [s].
pub(super) struct Times {
    pub receive: Vec<f64>,
    pub capture: Vec<f64>,
}

impl Times {
    pub fn len(&self) -> usize {
        self.receive.len()
    }

    /// The recorder's own constant, receive minus capture time [s]: the median, and
    /// how far samples are off it.
    pub fn latency_s(&self) -> (f64, f64) {
        let mut latency: Vec<f64> = self
            .receive
            .iter()
            .zip(&self.capture)
            .map(|(receive, capture)| receive - capture)
            .collect();
        latency.sort_by(f64::total_cmp);
        let Some(&median) = latency.get(latency.len() / 2) else {
            return (0.0, 0.0);
        };
        (median, latency[latency.len() - 1] - latency[0])
    }
}

/// Encoder board: counts of the joints, of the reference and of the spare channel.
pub(super) struct EncoderRows {
    pub counts: Vec<Vec<i32>>,
    /// Samples whose `joint_angles` are not those of their `raw_voltage`.
    pub contradicting: u64,
}

/// One raw episode, open.
pub(super) struct RawEpisode {
    pub path: PathBuf,
    source: Source,
}

impl RawEpisode {
    pub fn open(path: &Path) -> Result<Self, ExportError> {
        let source = Source::open(path).map_err(|what| source_error(what, path))?;
        Ok(Self {
            path: path.to_owned(),
            source,
        })
    }

    fn fault(&self, what: impl Into<String>) -> ExportError {
        source_error(what, &self.path)
    }

    /// Groups, such as `camera_0` and `numeric_0`.
    pub fn groups(&self) -> Result<Vec<String>, ExportError> {
        self.source.children("").map_err(|what| self.fault(what))
    }

    /// Arrays of a group.
    pub fn arrays(&self, group: &str) -> Result<Vec<String>, ExportError> {
        self.source.children(group).map_err(|what| self.fault(what))
    }

    /// Shape of an array, or `None`.
    pub fn shape(&mut self, key: &str) -> Result<Option<Vec<u64>>, ExportError> {
        let array = self.source.array(key).map_err(|what| self.fault(what))?;
        Ok(array.map(|array| array.shape))
    }

    /// An array of the given width: `[N][width...]`, rows in order.
    fn rows(&mut self, key: &str, width: &[u64]) -> Result<Option<Vec<f64>>, ExportError> {
        let path = self.path.clone();
        let fault = |what| source_error(what, &path);
        let Some(array): Option<Array> = self.source.array(key).map_err(fault)? else {
            return Ok(None);
        };
        if array.shape.len() != width.len() + 1 || array.shape[1..] != *width {
            return Err(fault(format!(
                "{key} has shape {:?}, expected [N, {width:?}]",
                array.shape
            )));
        }
        let values = array.numbers(&mut self.source).map_err(fault)?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => {
                let row = at as u64 / width.iter().product::<u64>().max(1);
                Err(fault(format!("{key} row {row} is not finite")))
            }
            None => Ok(Some(values)),
        }
    }

    /// Times of a group's samples.
    pub fn times(&mut self, group: &str) -> Result<Times, ExportError> {
        let receive = format!("{group}/receive_time");
        let receive = self.rows(&receive, &[])?.ok_or_else(|| {
            self.fault(format!(
                "no array {receive}, expected one by DexUMI's recorder"
            ))
        })?;
        let capture = self
            .rows(&format!("{group}/capture_time"), &[])?
            .unwrap_or_else(|| receive.clone());
        if capture.len() != receive.len() {
            return Err(self.fault(format!(
                "{group} has {} receive and {} capture times, expected as many",
                receive.len(),
                capture.len()
            )));
        }
        // Nanoseconds in an i64 and no negative time: a machine's uptime.
        if let Some(wrong) = receive.iter().find(|time| !(0.0..9e9).contains(*time)) {
            return Err(self.fault(format!(
                "{group}/receive_time has {wrong} s, expected seconds of a monotonic clock"
            )));
        }
        Ok(Times { receive, capture })
    }

    fn expect(
        &mut self,
        key: &str,
        width: &[u64],
        count: usize,
    ) -> Result<Option<Vec<f64>>, ExportError> {
        let Some(values) = self.rows(key, width)? else {
            return Ok(None);
        };
        let rows = values.len() / width.iter().product::<u64>().max(1) as usize;
        if rows != count {
            return Err(self.fault(format!(
                "{key} has {rows} rows for {count} times, expected as many"
            )));
        }
        Ok(Some(values))
    }

    /// Counts of an encoder board, whose voltages are exact multiples of a count.
    pub fn encoders(&mut self, group: &str, count: usize) -> Result<EncoderRows, ExportError> {
        let key = format!("{group}/raw_voltage");
        let channels = match self.shape(&key)?.as_deref() {
            Some(&[_, channels @ (8 | 14)]) => channels,
            other => {
                return Err(self.fault(format!(
                    "{key} has shape {other:?}, expected [N, 14] of an XHand or [N, 8] of an Inspire exoskeleton"
                )));
            }
        };
        let volts = self.expect(&key, &[channels], count)?.unwrap_or_default();
        let angles = format!("{group}/joint_angles");
        let angles = self.expect(&angles, &[channels - 2], count)?;
        let channels = channels as usize;
        let mut counts = Vec::with_capacity(count);
        let mut contradicting = 0;
        for (row, volts) in volts.chunks_exact(channels).enumerate() {
            let words: Vec<i32> = volts
                .iter()
                .map(|volts| (volts / VOLTS_PER_COUNT).round() as i32)
                .collect();
            if let Some(fault) = words
                .iter()
                .position(|word| !(-(1 << 23)..1 << 23).contains(word))
            {
                return Err(self.fault(format!(
                    "{key} row {row} channel {fault} is {} V, expected -5 to 5",
                    volts[fault]
                )));
            }
            let joints = channels - 2;
            let reference = volts[joints];
            if let Some(angles) = &angles {
                let told = &angles[row * joints..(row + 1) * joints];
                let off = told
                    .iter()
                    .zip(volts)
                    .any(|(angle, volts)| (volts / reference * 360.0 - angle).abs() > 1e-6);
                contradicting += u64::from(off);
            }
            counts.push(words);
        }
        Ok(EncoderRows {
            counts,
            contradicting,
        })
    }

    /// Raw counts of a force board, `width` a sample.
    pub fn force(
        &mut self,
        group: &str,
        count: usize,
    ) -> Result<Option<(usize, Vec<i32>)>, ExportError> {
        let key = format!("{group}/fsr_values");
        let width = match self.shape(&key)?.as_deref() {
            None => return Ok(None),
            Some(&[_, width @ (2 | 3)]) => width,
            Some(other) => {
                return Err(self.fault(format!(
                    "{key} has shape {other:?}, expected [N, 3] of an XHand fingertip or [N, 2] of an Inspire board"
                )));
            }
        };
        let values = self.expect(&key, &[width], count)?.unwrap_or_default();
        let values = values.iter().map(|value| value.round() as i32).collect();
        Ok(Some((width as usize, values)))
    }

    /// Poses of the phone, 4x4 row-major, where the camera has any.
    pub fn poses(
        &mut self,
        group: &str,
        count: usize,
    ) -> Result<Option<Vec<[f64; 16]>>, ExportError> {
        let values = self.expect(&format!("{group}/pose"), &[4, 4], count)?;
        Ok(values.map(|values| values.as_chunks::<16>().0.to_vec()))
    }

    /// Focal lengths and principal point fx, fy, cx, cy of each image [pixel].
    pub fn intrinsics(
        &mut self,
        group: &str,
        count: usize,
    ) -> Result<Option<Vec<[f64; 4]>>, ExportError> {
        let values = self.expect(&format!("{group}/intrinsics"), &[3, 3], count)?;
        Ok(values.map(|values| {
            let each = values.as_chunks::<9>().0.iter();
            each.map(|k| [k[0], k[4], k[2], k[5]]).collect()
        }))
    }
}

/// Something is wrong with the data of others.
pub(super) fn source_error(what: impl Into<String>, path: &Path) -> ExportError {
    ExportError::Source {
        what: what.into(),
        path: path.to_owned(),
    }
}
