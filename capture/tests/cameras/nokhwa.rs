//! The driver `nokhwa`: nokhwa's own backend, unmodified.

use super::*;

fn camera() -> Device {
    let pixel = Some("mjpeg".to_owned());
    device(
        "nokhwa",
        CameraMode {
            pixel,
            ..CameraMode::default()
        },
    )
}

/// What hung, or was slow to close, ends with the camera's next image, and only then
/// lets go of it.
fn open_again(device: &Device) -> Box<dyn Source> {
    let began = Instant::now();
    loop {
        match open(device) {
            Ok(source) => return source,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(30), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Each image is the one that was due at its stamp, to the byte.
fn check(out: &Output, truth: &[Due]) {
    let given = jpegs(640, 480);
    for (sample, image) in images(out) {
        let captured = sample.captured.expect("a stamp").nanos();
        // nokhwa reads two clocks one after the other: a thread that is interrupted
        // between them makes the stamp late.
        let near = |due: &&Due| (-1_000_000..20_000_000).contains(&(captured - due.stamp_ns));
        let fits = |due: &Due| image.data == given[(due.due % 7) as usize];
        let due = truth.iter().find(|due| near(due) && fits(due));
        let due = due.unwrap_or_else(|| panic!("no such image was due at {captured}"));
        assert!(matches!(due.fate.as_str(), "good" | "pad"), "{due:?}");
        assert!(sample.arrival.nanos() >= captured);
    }
}

#[test]
fn jpegs_are_cut_out_of_whole_buffers_and_dated_by_the_kernel() {
    let name = "nokhwa::jpegs_are_cut_out_of_whole_buffers_and_dated_by_the_kernel";
    let Some(shim) = under_shim(name, |shim| {
        let spec = webcam("5 skip\n12 corrupt\n14 pad\n20 skip 4\n");
        shim.add(&spec);
        shim.plug(&spec, 0);
    }) else {
        return;
    };
    let mut out = Output::default();
    let mut source = open(&camera()).expect("a camera");
    assert!(read(&mut *source, &mut out, |out| images(out).len() >= 30).is_none());
    // Another recorder cannot have it.
    let error = open(&camera()).err().expect("refused").to_string();
    assert!(error.contains("in use by this program itself"), "{error}");
    drop(source);
    check(&out, &shim.truth("wrist"));
    assert_eq!(lost(&out, "corrupt"), 1);
    let numbers: Vec<u64> = images(&out).iter().map(|(s, _)| s.sequence).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
    assert_eq!(about(&out, "pixel").as_deref(), Some("mjpeg"));
    assert_eq!(about(&out, "camera").as_deref(), Some("Emulated wrist"));
    assert_eq!(about(&out, "usb").as_deref(), Some("usb:1d6b:0102:wrist"));
    assert!(about(&out, "stamp").expect("a line").contains("nokhwa"));
    assert_eq!(warnings(&out), "");
}

#[test]
fn a_camera_that_hangs_or_is_pulled_out_is_gone_and_comes_back() {
    let name = "nokhwa::a_camera_that_hangs_or_is_pulled_out_is_gone_and_comes_back";
    let spec = webcam("");
    let Some(shim) = under_shim(name, |shim| {
        shim.add(&spec);
        shim.plug(&spec, 0);
    }) else {
        return;
    };
    let mut out = Output::default();
    let back = |out: &mut Output| {
        let mut source = open_again(&camera());
        let more = images(out).len() + 3;
        assert!(read(&mut *source, out, |out| images(out).len() >= more).is_none());
        source
    };
    let mut source = back(&mut out);
    let freeze = shim.file("wrist", "freeze");
    std::fs::write(&freeze, "").expect("a file");
    let began = Instant::now();
    let gone = read(&mut *source, &mut out, |_| false).expect("it should be gone");
    assert!(gone.to_string().contains("frozen"), "{gone}");
    assert!(began.elapsed() >= Duration::from_millis(900));
    drop(source);
    assert!(open(&camera()).is_err(), "it is frozen still");
    std::fs::remove_file(&freeze).expect("a file");

    let mut source = back(&mut out);
    shim.unplug(&spec, 0);
    let gone = read(&mut *source, &mut out, |_| false).expect("it should be gone");
    assert!(gone.to_string().contains("unplugged"), "{gone}");
    drop(source);
    let absent = open(&camera()).err().expect("it is not there").to_string();
    assert!(absent.contains("no such camera"), "{absent}");
    shim.plug(&spec, 4);
    drop(back(&mut out));
    assert_eq!(about(&out, "node").as_deref(), Some("/dev/video4"));
    check(&out, &shim.truth("wrist"));
}

#[test]
fn pixels_come_whole_and_stamps_that_cannot_be_true_are_not_used() {
    let name = "nokhwa::pixels_come_whole_and_stamps_that_cannot_be_true_are_not_used";
    let spec = Spec {
        lines: format!("{}stamps future\n", shim::WEBCAM),
        ..webcam("")
    };
    let Some(shim) = under_shim(name, |shim| {
        shim.add(&spec);
        shim.plug(&spec, 0);
    }) else {
        return;
    };
    let mode = |raw| CameraMode {
        width: 160,
        height: 120,
        raw,
        pixel: Some("yuyv".to_owned()),
        ..CameraMode::default()
    };
    let layout = Layout::new(Pixel::Yuyv, (160, 120), 0, false);
    let given: Vec<Vec<u8>> = (0..200_u64)
        .map(|due| {
            (0..160 * 120 * 2)
                .map(|at| (16 + (at + 7 * due) % 200) as u8)
                .collect()
        })
        .collect();
    for raw in [true, false] {
        let mut source = open_again(&device("nokhwa", mode(raw)));
        let mut out = Output::default();
        assert!(read(&mut *source, &mut out, |out| images(out).len() >= 6).is_none());
        for (sample, image) in images(&out) {
            assert_eq!(sample.captured, None);
            let is_it = |pixels: &Vec<u8>| match raw {
                true => image.data == *pixels,
                false => image.data == layout.to_jpeg(pixels).expect("a JPEG"),
            };
            assert!(given.iter().any(is_it));
        }
        let said = warnings(&out);
        assert_eq!(said.matches("dated by their arrival").count(), 1, "{said}");
    }
    let mut large = mode(false);
    large.width = 800;
    let error = open(&device("nokhwa", large))
        .err()
        .expect("refused")
        .to_string();
    assert!(
        error.contains("800x120") && error.contains("it offers mjpeg: 640x480"),
        "{error}"
    );
    drop(shim);
}
