//! The driver `v4l2`: every image to the byte, with the kernel's stamp and number.

use super::*;

#[test]
fn every_jpeg_comes_byte_for_byte_with_the_kernels_stamp_and_what_is_missing_is_counted() {
    // `uvcvideo` hands images over the other way round at times; one of these is late
    // beside others that never come.
    let plan = "5 skip\n8 error\n10 truncate\n12 corrupt\n14 pad\n16 empty\n18 late\n20 skip 4\n25 late\n26 skip\n";
    let Some(shim) = under_shim(
        "v4l2::every_jpeg_comes_byte_for_byte_with_the_kernels_stamp_and_what_is_missing_is_counted",
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
    let good = |due: &&Due| matches!(due.fate.as_str(), "good" | "pad" | "late");
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
    // On a busy machine the kernel may have had no buffer for some.
    let last = images(&out).last().expect("images").0.sequence;
    let never = |due: &&Due| matches!(due.fate.as_str(), "skip" | "full");
    let before = |due: &&Due| u64::from(due.sequence) < last;
    let expected = truth.iter().filter(before).filter(never).count() as u64;
    assert!(expected >= 6);
    assert_eq!(missing(&out), expected);
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

#[test]
fn an_unplugged_camera_is_found_again_under_another_number() {
    let name = "v4l2::an_unplugged_camera_is_found_again_under_another_number";
    let spec = webcam("");
    let Some(shim) = under_shim(name, |shim| {
        shim.add(&spec);
        shim.plug(&spec, 0);
    }) else {
        return;
    };
    for address in [ADDRESS, "usb:1d6b:0102:wrist", "usb:1D6B:0102"] {
        let mut device = device("v4l2", CameraMode::default());
        device.address = address.to_owned();
        let mut source = open(&device).expect("a camera");
        let mut out = Output::default();
        assert!(read(&mut *source, &mut out, |out| images(out).len() >= 3).is_none());
        shim.unplug(&spec, 0);
        let gone = read(&mut *source, &mut out, |_| false).expect("it should be gone");
        assert!(gone.to_string().contains("unplugged"), "{gone}");
        drop(source);
        let absent = open(&device).err().expect("it is not there").to_string();
        assert!(absent.contains("no such camera") && absent.contains("no camera is plugged in"));
        shim.plug(&spec, 4);
        let mut source = open(&device).expect("it is back");
        assert!(read(&mut *source, &mut out, |out| images(out).len() >= 6).is_none());
        assert_eq!(about(&out, "node").as_deref(), Some("/dev/video4"));
        drop(source);
        shim.unplug(&spec, 4);
        shim.plug(&spec, 0);
    }
}

#[test]
fn a_frozen_camera_is_gone_after_a_second_and_not_back_before_its_first_image() {
    let name = "v4l2::a_frozen_camera_is_gone_after_a_second_and_not_back_before_its_first_image";
    let spec = webcam("");
    let Some(shim) = under_shim(name, |shim| {
        shim.add(&spec);
        shim.plug(&spec, 0);
    }) else {
        return;
    };
    let device = device("v4l2", CameraMode::default());
    let mut source = open(&device).expect("a camera");
    let mut out = Output::default();
    assert!(read(&mut *source, &mut out, |out| images(out).len() >= 3).is_none());
    let freeze = shim.file("wrist", "freeze");
    std::fs::write(&freeze, "").expect("a file");
    let began = Instant::now();
    let gone = read(&mut *source, &mut out, |_| false).expect("it should be gone");
    assert!(gone.to_string().contains("frozen"), "{gone}");
    assert!(began.elapsed() >= Duration::from_millis(900));
    drop(source);
    let silent = open(&device).err().expect("still frozen").to_string();
    assert!(silent.contains("no image within 3 s"), "{silent}");
    std::fs::remove_file(&freeze).expect("a file");
    let mut source = open(&device).expect("it is back");
    assert!(read(&mut *source, &mut out, |out| images(out).len() >= 6).is_none());
}

#[test]
fn controls_are_set_in_order_read_back_and_said() {
    let name = "v4l2::controls_are_set_in_order_read_back_and_said";
    let spec = Spec {
        lines: format!("{}forgets controls\n", shim::WEBCAM),
        ..webcam("")
    };
    let Some(shim) = under_shim(name, |shim| {
        shim.add(&spec);
        shim.plug(&spec, 0);
    }) else {
        return;
    };
    let mode = |controls: &str| CameraMode {
        controls: controls
            .parse::<toml::Table>()
            .expect("TOML")
            .into_iter()
            .collect(),
        ..CameraMode::default()
    };
    let wanted = mode(
        "exposure_s = 0.008\nwhite_balance_k = 9000\npower_line_hz = 50\nbrightness = 100\n\
         0x00980913 = 32",
    );
    let mut source = open(&device("v4l2", wanted)).expect("a camera");
    let mut out = Output::default();
    assert!(read(&mut *source, &mut out, |out| images(out).len() >= 2).is_none());
    drop(source);
    let set = shim.set("wrist");
    let at = |id: u32, value: i64| {
        let found = set.iter().position(|&line| line == (id, value));
        found.unwrap_or_else(|| panic!("{id:x} = {value} is not in {set:x?}"))
    };
    assert!(at(0x009a_0901, 1) < at(0x009a_0902, 80));
    assert!(at(0x0098_090c, 0) < at(0x0098_091a, 6500));
    assert!(at(0x009a_0903, 0) > 0 && at(0x0098_0918, 1) > 0 && at(0x0098_0900, 100) < set.len());
    // It forgot them when the stream started: they were set again.
    assert!(
        set.iter()
            .filter(|&&line| line == (0x009a_0902, 80))
            .count()
            == 2,
        "{set:x?}"
    );
    let said = warnings(&out);
    assert!(
        said.contains("white_balance_temperature = 9000, it took 6500"),
        "{said}"
    );
    assert!(
        said.contains("2800 to 6500") && said.contains("set again"),
        "{said}"
    );
    let value = |name: &str| about(&out, &format!("control.{name}"));
    assert_eq!(value("exposure_time_absolute").as_deref(), Some("80"));
    assert_eq!(value("auto_exposure").as_deref(), Some("1 (Manual Mode)"));
    assert_eq!(value("gain").as_deref(), Some("32"));
    assert!(
        images(&out)
            .iter()
            .all(|(_, image)| image.exposure_ns == Some(8_000_000))
    );

    for (controls, words) in [
        (
            "zoom = 3",
            [
                "no control for `zoom`",
                "exposure_time_absolute (3 to 2047)",
            ],
        ),
        (
            "auto_exposure = 2",
            ["does not take 2", "1 Manual Mode, 3 Aperture Priority Mode"],
        ),
        ("exposure_s = \"bright\"", ["exposure_s", "0.008"]),
    ] {
        let error = open(&device("v4l2", mode(controls)))
            .err()
            .expect("refused")
            .to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

#[test]
fn pixels_are_kept_exactly_or_made_a_jpeg_beside_the_thread() {
    let name = "v4l2::pixels_are_kept_exactly_or_made_a_jpeg_beside_the_thread";
    let spec = webcam("3 truncate\n");
    let Some(shim) = under_shim(name, |shim| {
        shim.add(&spec);
        shim.plug(&spec, 0);
    }) else {
        return;
    };
    let mut seen = 0;
    for (pixel, encoding, step, bytes) in [
        (Pixel::Yuyv, "yuyv", 320, 160 * 120 * 2),
        (Pixel::Nv12, "nv12", 160, 160 * 120 * 3 / 2),
        (Pixel::Grey, "mono8", 160, 160 * 120),
    ] {
        let mode = |raw| CameraMode {
            width: 160,
            height: 120,
            raw,
            pixel: Some(pixel.name().to_owned()),
            ..CameraMode::default()
        };
        let mut both = Vec::new();
        for raw in [true, false] {
            let mut source = open(&device("v4l2", mode(raw))).expect("a camera");
            let mut out = Output::default();
            assert!(read(&mut *source, &mut out, |out| images(out).len() >= 6).is_none());
            drop(source);
            let truth: Vec<Due> = shim.truth("wrist").into_iter().skip(seen).collect();
            seen += truth.len();
            let good = truth.into_iter().filter(|due| due.fate == "good");
            for ((sample, image), due) in images(&out).into_iter().zip(good) {
                let pixels: Vec<u8> = (0..bytes as u64)
                    .map(|at| (16 + (at + 7 * due.due) % 200) as u8)
                    .collect();
                assert_eq!(sample.sequence, u64::from(due.sequence));
                assert!((sample.captured.expect("a stamp").nanos() - due.stamp_ns).abs() < 1_000);
                if raw {
                    assert_eq!(image.data, pixels, "{pixel:?} {due:?}");
                    let (width, height) = (160, 120);
                    let expected = ImageFormat::Raw {
                        encoding,
                        width,
                        height,
                        step,
                    };
                    assert_eq!(image.format, expected);
                } else {
                    let full = pixel == Pixel::Grey;
                    let layout = Layout::new(pixel, (160, 120), 0, full);
                    assert_eq!(image.data, layout.to_jpeg(&pixels).expect("a JPEG"));
                    assert_eq!(image.format, ImageFormat::Jpeg);
                }
            }
            both.push(lost(&out, "truncated"));
            let says = about(&out, "encoding").expect("a line");
            assert_eq!(says.contains("jpeg-encoder"), !raw, "{says}");
        }
        let expected = if pixel == Pixel::Yuyv { [1, 0] } else { [0, 0] };
        assert_eq!(both, expected, "{pixel:?}");
    }
}

#[test]
fn what_cannot_be_had_is_refused_with_what_there_is() {
    let name = "v4l2::what_cannot_be_had_is_refused_with_what_there_is";
    let first = webcam("");
    let other = Spec {
        name: "other",
        serial: "wrist",
        port: "1-3",
        ..webcam("")
    };
    let Some(shim) = under_shim(name, |shim| {
        shim.add(&first);
        shim.add(&other);
        shim.plug(&first, 0);
        shim.plug(&other, 2);
    }) else {
        return;
    };
    let refused = |address: &str, mode: CameraMode, words: &[&str]| {
        let mut device = device("v4l2", mode);
        device.address = address.to_owned();
        let error = open(&device).err().expect("refused").to_string();
        let absent: Vec<_> = words
            .iter()
            .filter(|word| !error.contains(**word))
            .collect();
        assert!(absent.is_empty(), "{absent:?} not in: {error}");
    };
    let plain = CameraMode::default;
    // Two cameras of the same make with the same serial number.
    refused(
        "usb:1d6b:0102:wrist",
        plain(),
        &[
            "2 cameras have this address",
            "by-path/pci-0000:00:14.0-usb-0:3:1.0",
        ],
    );
    refused(
        "/dev/video1",
        plain(),
        &[
            "metadata",
            "by-path/pci-0000:00:14.0-usb-0:2:1.0-video-index0",
        ],
    );
    refused(
        "/dev/video9",
        plain(),
        &["no such camera", "plugged in: ", "Emulated other"],
    );
    refused(
        "wrist camera",
        plain(),
        &["no camera's address", "/dev/v4l/by-id/"],
    );
    let mode = |width, fps, pixel: Option<&str>| CameraMode {
        width,
        fps,
        pixel: pixel.map(str::to_owned),
        ..plain()
    };
    let offers = "mjpeg: 640x480 at 30/15, 320x240 at 30; yuyv: 320x240 at 30, 160x120 at 30";
    refused(
        "/dev/video0",
        mode(800, 30.0, None),
        &["no 800x480", offers],
    );
    refused(
        "/dev/video0",
        mode(640, 60.0, None),
        &["no 60 images a second at 640x480", offers],
    );
    refused(
        "/dev/video0",
        mode(640, 30.0, Some("yuyv")),
        &["no 640x480 as yuyv", offers],
    );
    refused(
        "/dev/video0",
        mode(640, 30.0, Some("h264")),
        &["`h264` is not known"],
    );
    let mut device_with_option = device("v4l2", plain());
    device_with_option
        .options
        .insert("buffer".to_owned(), 4.into());
    let error = open(&device_with_option)
        .err()
        .expect("refused")
        .to_string();
    assert!(
        error.contains("`buffer`") && error.contains("buffers"),
        "{error}"
    );
    let busy = shim.file("wrist", "busy");
    std::fs::write(&busy, "").expect("a file");
    refused("/dev/video0", plain(), &["in use by", "close that first"]);
    std::fs::remove_file(&busy).expect("a file");
    let denied = shim.file("wrist", "denied");
    std::fs::write(&denied, "").expect("a file");
    refused(
        "/dev/video0",
        plain(),
        &["no permission", "`video`", "dexumi devices --setup"],
    );
    std::fs::remove_file(&denied).expect("a file");

    // A name that changes works, with a word; two recorders do not share a camera.
    let mut by_number = device("v4l2", plain());
    by_number.address = "/dev/video0".to_owned();
    let mut source = open(&by_number).expect("a camera");
    let mut out = Output::default();
    assert!(read(&mut *source, &mut out, |out| images(out).len() >= 2).is_none());
    assert!(
        warnings(&out).contains("may be another camera"),
        "{}",
        warnings(&out)
    );
    refused("/dev/video0", plain(), &["in use by this program itself"]);
    drop(source);
    // Both have the same serial number: its link may lead to either.
    let mut source = open(&device("v4l2", plain())).expect("a camera");
    out = Output::default();
    assert!(read(&mut *source, &mut out, |out| images(out).len() >= 2).is_none());
    assert!(
        warnings(&out).contains("same serial number"),
        "{}",
        warnings(&out)
    );
    drop(source);
    let held = std::fs::File::open(shim.node(0)).expect("the node");
    held.lock().expect("a lock");
    refused("/dev/video0", plain(), &["in use by this program itself"]);
    drop(held);
    assert!(open(&by_number).is_ok());
}

#[test]
fn stamps_that_cannot_be_true_are_not_used() {
    let name = "v4l2::stamps_that_cannot_be_true_are_not_used";
    let [none, future] = ["none", "future"].map(|stamps| Spec {
        name: stamps,
        serial: stamps,
        port: if stamps == "none" { "1-2" } else { "1-3" },
        lines: format!("{}stamps {stamps}\n", shim::WEBCAM),
        ..webcam("4 skip 2\n")
    });
    let Some(_) = under_shim(name, |shim| {
        for (spec, number) in [(&none, 0), (&future, 2)] {
            shim.add(spec);
            shim.plug(spec, number);
        }
    }) else {
        return;
    };
    for (number, word) in [(0, "not of CLOCK_MONOTONIC"), (2, "not near it")] {
        let mut device = device("v4l2", CameraMode::default());
        device.address = format!("/dev/video{number}");
        let mut source = open(&device).expect("a camera");
        let mut out = Output::default();
        assert!(read(&mut *source, &mut out, |out| images(out).len() >= 8).is_none());
        assert!(
            images(&out)
                .iter()
                .all(|(sample, _)| sample.captured.is_none())
        );
        assert_eq!(missing(&out), 2);
        let says = about(&out, "stamp").expect("a line");
        assert!(says.contains("arrival") && says.contains(word), "{says}");
        assert!(
            warnings(&out).contains("dated by their arrival"),
            "{}",
            warnings(&out)
        );
    }
}
