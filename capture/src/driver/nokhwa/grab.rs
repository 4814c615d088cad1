//! The thread that waits in nokhwa, and when its images were taken.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use crossbeam_channel::{Sender, TrySendError};
use dexumi_episode::{Delta, HostTime, SessionAnchor};
use nokhwa::{
    Buffer, Camera,
    utils::{CameraFormat, CameraIndex, RequestedFormat, RequestedFormatType::Exact},
};

use crate::driver::pixels::Pixel;

/// No stamp is so much later than its arrival, or earlier.
const LATEST_STAMP: Delta = Delta::from_millis(2);
const EARLIEST_STAMP: Delta = Delta::from_millis(5_000);
/// The wall clock does not run away from CLOCK_MONOTONIC by as much from one image
/// to the next, unless it is set [ns].
const CLOCK_WAS_SET_NS: i64 = 1_000_000;

/// Between the two threads, beside the images.
#[derive(Default)]
pub(super) struct Signals {
    /// Nobody wants images any more.
    pub(super) stop: AtomicBool,
    /// Images for which the queue had no room.
    pub(super) overflow: AtomicU64,
}

/// What the camera's own thread has to tell.
pub(super) enum Told {
    /// It is open, in this mode, under this name.
    Open(Pixel, String),
    Image(Grabbed),
    /// It cannot be opened, or is gone.
    Ended(String),
}

/// An image as nokhwa gave it: a whole buffer, whatever of it is in use.
pub(super) struct Grabbed {
    pub(super) arrival: HostTime,
    pub(super) stamp: Stamp,
    pub(super) bytes: Bytes,
}

/// When nokhwa says that an image was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stamp {
    At(HostTime),
    /// The wall clock was set just then, and nokhwa counts by it.
    ClockWasSet,
    /// nokhwa has none, or one that cannot be true.
    None,
}

/// nokhwa gives UNIX time: CLOCK_REALTIME at its reading, less the age of the image
/// by CLOCK_MONOTONIC. This takes the difference of the two clocks off again.
#[derive(Default)]
struct Stamps {
    /// CLOCK_REALTIME less CLOCK_MONOTONIC at the last image [ns].
    last_ns: Option<i64>,
}

impl Stamps {
    /// `unix` is nokhwa's stamp; `clocks` were read right behind it.
    fn next(&mut self, unix: Option<Duration>, arrival: HostTime, clocks: SessionAnchor) -> Stamp {
        let apart_ns = clocks.unix_time_ns - clocks.host_time_ns;
        let last_ns = self.last_ns.replace(apart_ns).unwrap_or(apart_ns);
        if (apart_ns - last_ns).abs() > CLOCK_WAS_SET_NS {
            return Stamp::ClockWasSet;
        }
        let unix_ns = unix.and_then(|unix| i64::try_from(unix.as_nanos()).ok());
        let stamp = unix_ns.map(|unix_ns| HostTime::from_nanos(unix_ns - apart_ns));
        let can_be_true = |stamp: &HostTime| {
            let delay = arrival - *stamp;
            delay >= Delta::ZERO - LATEST_STAMP && delay <= EARLIEST_STAMP
        };
        stamp.filter(can_be_true).map_or(Stamp::None, Stamp::At)
    }
}

/// Opens in the first of these formats that nokhwa can set.
fn open_camera(index: u32, formats: &[(Pixel, CameraFormat)]) -> Result<(Pixel, Camera), String> {
    let mut problem = "nothing to ask for".to_owned();
    for &(pixel, format) in formats {
        let formats = [format.format()];
        let request = RequestedFormat::with_formats(Exact(format), &formats);
        let camera = Camera::new(CameraIndex::Index(index), request);
        match camera.and_then(|mut camera| camera.open_stream().map(|()| camera)) {
            Ok(camera) => return Ok((pixel, camera)),
            Err(error) => problem = format!("nokhwa cannot set {format}: {error}"),
        }
    }
    Err(problem)
}

/// The camera's own thread, until nobody listens or the camera is gone.
pub(super) fn grab(
    index: u32,
    formats: &[(Pixel, CameraFormat)],
    tell: &Sender<Told>,
    signals: &Signals,
) {
    let (pixel, mut camera) = match open_camera(index, formats) {
        Ok(open) => open,
        Err(problem) => {
            let _ = tell.send(Told::Ended(problem));
            return;
        }
    };
    if tell
        .send(Told::Open(pixel, camera.info().human_name()))
        .is_err()
    {
        return;
    }
    let mut stamps = Stamps::default();
    while !signals.stop.load(Ordering::Relaxed) {
        let buffer: Buffer = match camera.frame() {
            Ok(buffer) => buffer,
            Err(error) => {
                let _ = tell.send(Told::Ended(error.to_string()));
                return;
            }
        };
        let arrival = HostTime::now();
        let stamp = stamps.next(buffer.capture_timestamp(), arrival, SessionAnchor::now());
        let told = Told::Image(Grabbed {
            arrival,
            stamp,
            bytes: buffer.buffer_bytes(),
        });
        match tell.try_send(told) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                signals.overflow.fetch_add(1, Ordering::Relaxed);
            }
            Err(TrySendError::Disconnected(_)) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(host_ns: i64, unix_ns: i64) -> SessionAnchor {
        SessionAnchor {
            host_time_ns: host_ns,
            unix_time_ns: unix_ns,
            uncertainty_ns: 0,
        }
    }

    #[test]
    fn the_wall_clock_is_taken_off_again_unless_it_was_set() {
        const EPOCH_NS: i64 = 1_700_000_000_000_000_000;
        let mut stamps = Stamps::default();
        // Taken at 1.00 s, read at 1.01 s.
        let mut next = |taken_ns: i64, apart_ns: i64| {
            let read_ns = taken_ns + 10_000_000;
            let unix = Duration::from_nanos((taken_ns + apart_ns) as u64);
            let clocks = clocks(read_ns, read_ns + apart_ns);
            stamps.next(Some(unix), HostTime::from_nanos(read_ns), clocks)
        };
        let at = |ns: i64| Stamp::At(HostTime::from_nanos(ns));
        assert_eq!(next(1_000_000_000, EPOCH_NS), at(1_000_000_000));
        // NTP slews it.
        assert_eq!(next(1_033_000_000, EPOCH_NS + 17_000), at(1_033_000_000));
        // It is set by an hour: which of the two nokhwa counted by is not known.
        let later_ns = EPOCH_NS + 3_600_000_000_000;
        assert_eq!(next(1_066_000_000, later_ns), Stamp::ClockWasSet);
        assert_eq!(next(1_100_000_000, later_ns), at(1_100_000_000));
    }

    #[test]
    fn a_stamp_that_cannot_be_true_is_none() {
        let next = |unix_ns: Option<u64>| {
            let unix = unix_ns.map(Duration::from_nanos);
            let arrival = HostTime::from_nanos(10_000_000_000);
            Stamps::default().next(unix, arrival, clocks(10_000_000_000, 50_000_000_000))
        };
        assert_eq!(next(None), Stamp::None);
        assert_eq!(next(Some(50_031_000_000)), Stamp::None);
        assert_eq!(next(Some(44_000_000_000)), Stamp::None);
        let at = |ns: i64| Stamp::At(HostTime::from_nanos(ns));
        assert_eq!(next(Some(49_950_000_000)), at(9_950_000_000));
    }
}
