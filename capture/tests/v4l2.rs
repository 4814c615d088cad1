//! The V4L2 driver and the stock nokhwa path against emulated cameras: this program
//! starts itself once more with the shim preloaded, one test at a time.

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

#[allow(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../../tests/shim/mod.rs"]
mod shim;
use shim::{Due, Shim, Spec};

const ADDRESS: &str = "/dev/v4l/by-id/usb-Emulated_Camera_wrist-video-index0";

/// Runs the rest of a test under the shim: the first time it makes the cameras and
/// starts this program again for this test alone, then it returns the shim.
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

/// JPEGs of very different lengths, so that buffers hold the ends of longer ones.
fn jpegs(width: u32, height: u32) -> Vec<Vec<u8>> {
    let layout = Layout::new(Pixel::Grey, (width, height), 0, true);
    (0..7_usize)
        .map(|number| {
            let coarse = 1 + (number * 5) % 7;
            let pixels: Vec<u8> = (0..layout.image_bytes())
                .map(|at| ((at / coarse).wrapping_mul(2_654_435_761) >> 7) as u8 & (0xFF >> number))
                .collect();
            layout.to_jpeg(&pixels).expect("a JPEG")
        })
        .collect()
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

#[test]
fn every_jpeg_comes_byte_for_byte_with_the_kernels_stamp_and_what_is_missing_is_counted() {
    let plan = "5 skip\n8 error\n10 truncate\n12 corrupt\n14 pad\n16 empty\n20 skip 4\n";
    let Some(shim) = under_shim(
        "every_jpeg_comes_byte_for_byte_with_the_kernels_stamp_and_what_is_missing_is_counted",
        |shim| {
            let spec = webcam(plan);
            shim.add(&spec);
            shim.plug(&spec, 0);
        },
    ) else {
        return;
    };
    let given = jpegs(640, 480);
    let mut out = Output::default();
    let mut source = open(&device("v4l2", CameraMode::default())).expect("a camera");
    assert!(read(&mut *source, &mut out, |out| images(out).len() >= 30).is_none());
    drop(source);
    let truth = shim.truth("wrist");
    let good = |due: &&Due| matches!(due.fate.as_str(), "good" | "pad");
    for ((sample, image), due) in images(&out).into_iter().zip(truth.iter().filter(good)) {
        assert_eq!(image.data, given[(due.due % 7) as usize], "{due:?}");
        assert_eq!(image.format, ImageFormat::Jpeg);
        assert_eq!(sample.sequence, u64::from(due.sequence));
        let captured = sample.captured.expect("a stamp").nanos();
        assert!(
            (due.stamp_ns - captured).abs() < 1_000,
            "{due:?} {captured}"
        );
        assert!(sample.arrival.nanos() >= captured);
    }
    assert_eq!(missing(&out), 5);
    assert_eq!(lost(&out, "flagged_by_kernel"), 1);
    assert_eq!(lost(&out, "truncated"), 2);
    assert_eq!(lost(&out, "corrupt"), 1);
    assert_eq!(about(&out, "pixel").as_deref(), Some("mjpeg"));
    assert_eq!(about(&out, "usb").as_deref(), Some("usb:1d6b:0102:wrist"));
    assert!(
        about(&out, "stamp")
            .expect("a line")
            .contains("start of exposure")
    );
    assert_eq!(warnings(&out), "");
}
