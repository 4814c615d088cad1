//! The drivers `v4l2` and `nokhwa` against emulated cameras: this program starts itself
//! once more with the shim preloaded, one test at a time.

#![cfg(target_os = "linux")]

use std::{
    process::Command,
    time::{Duration, Instant},
};

use dexumi_capture::{
    CaptureError,
    driver::{
        Data, Image, ImageFormat, Item, Output, Sample, Source, driver_of,
        pixels::{Layout, Pixel},
    },
};
use dexumi_episode::{CameraMode, Device};

mod nokhwa;
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../../../tests/shim/mod.rs"]
mod shim;
mod v4l2;

use shim::{Due, Shim, Spec, jpegs};

const ADDRESS: &str = "/dev/v4l/by-id/usb-Emulated_Camera_wrist-video-index0";

/// Runs the rest of a test under the shim: the first time it makes the cameras and
/// starts this program again for this test alone, then it returns the shim. `test` is
/// the test's name with its module.
fn under_shim(test: &str, make: impl FnOnce(&Shim)) -> Option<Shim> {
    if let Some(around) = Shim::around() {
        return Some(around);
    }
    let shim = Shim::new()?;
    make(&shim);
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.args([test, "--exact", "--nocapture"]);
    let output = shim
        .preload(&mut command)
        .output()
        .expect("it should start");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    None
}

fn webcam(plan: &str) -> Spec {
    Spec {
        plan: plan.to_owned(),
        ..Spec::webcam("wrist", jpegs(640, 480))
    }
}

fn device(driver: &str, mode: CameraMode) -> Device {
    Device {
        camera: Some(mode),
        ..Device::new("/camera/wrist/image", driver, ADDRESS)
    }
}

fn open(device: &Device) -> Result<Box<dyn Source>, CaptureError> {
    (driver_of(device).expect("a driver").open)(std::slice::from_ref(device))
}

/// Reads until `done`, or an error, or long.
fn read(
    source: &mut dyn Source,
    out: &mut Output,
    mut done: impl FnMut(&Output) -> bool,
) -> Option<CaptureError> {
    let began = Instant::now();
    while !done(out) {
        if let Err(error) = source.read(out) {
            return Some(error);
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{out:?}");
    }
    None
}

fn images(out: &Output) -> Vec<(&Sample, &Image)> {
    let image = |item: &'_ (usize, Item)| matches!(&item.1, Item::Sample(s) if matches!(s.data, Data::Image(_)));
    out.items
        .iter()
        .filter(|item| image(item))
        .filter_map(|(_, item)| match item {
            Item::Sample(sample) => match &sample.data {
                Data::Image(image) => Some((sample, image)),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

fn lost(out: &Output, wanted: &str) -> u64 {
    let count = |(_, item): &(usize, Item)| match item {
        Item::Lost { kind, count, .. } if *kind == wanted => *count,
        _ => 0,
    };
    out.items.iter().map(count).sum()
}

fn missing(out: &Output) -> u64 {
    let count = |(_, item): &(usize, Item)| match item {
        Item::Missing { count, .. } => *count,
        _ => 0,
    };
    out.items.iter().map(count).sum()
}

fn about(out: &Output, wanted: &str) -> Option<String> {
    out.items.iter().rev().find_map(|(_, item)| match item {
        Item::About(about) => about
            .iter()
            .find(|(key, _)| key == wanted)
            .map(|(_, v)| v.clone()),
        _ => None,
    })
}

fn warnings(out: &Output) -> String {
    let text = |(_, item): &(usize, Item)| match item {
        Item::Note {
            warning: true,
            text,
        } => Some(text.clone()),
        _ => None,
    };
    out.items
        .iter()
        .filter_map(text)
        .collect::<Vec<_>>()
        .join("\n")
}
