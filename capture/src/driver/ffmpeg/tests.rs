//! The driver with a real ffmpeg and files that ffmpeg makes.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use dexumi_episode::{CameraMode, Device};

use super::{
    super::{Data, Item, Output, Sample, Source, driver_of},
    passthrough,
};
use crate::error::CaptureError;

/// Whether there is an ffmpeg to run.
fn has_ffmpeg() -> bool {
    let found = Command::new("ffmpeg").arg("-version").output().is_ok();
    if !found {
        eprintln!("skipped: there is no ffmpeg");
    }
    found
}

fn make(folder: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let output = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc=size=64x48:rate=20:duration=0.5",
        ])
        .args(arguments)
        .arg(&path)
        .output()
        .expect("ffmpeg runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    path
}

fn device(address: &str) -> Device {
    Device {
        camera: Some(CameraMode::default()),
        ..Device::new("/camera/table/image", "ffmpeg", address)
    }
}

fn open(device: Device) -> Result<Box<dyn Source>, CaptureError> {
    (driver_of(&device).expect("a driver").open)(&[device])
}

/// All that comes until the source ends, and why it ended.
fn read_all(source: &mut dyn Source) -> (Output, String) {
    let mut output = Output::default();
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < end, "no end within 60 s");
        if let Err(error) = source.read(&mut output) {
            return (output, error.to_string());
        }
    }
}

fn samples(output: &Output) -> Vec<&Sample> {
    let samples = output.items.iter().filter_map(|(_, item)| match item {
        Item::Sample(sample) => Some(sample),
        _ => None,
    });
    samples.collect()
}

fn about(output: &Output, key: &str) -> String {
    let all = output.items.iter().filter_map(|(_, item)| match item {
        Item::About(about) => about.iter().find(|(known, _)| known == key),
        _ => None,
    });
    all.map(|(_, value)| value.clone())
        .next()
        .unwrap_or_default()
}

#[test]
fn images_of_an_mjpeg_file_are_copied_in_their_time() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let path = make(folder.path(), "v.mkv", &["-c:v", "mjpeg", "-q:v", "2"]);
    let images = make(
        folder.path(),
        "%02d.jpg",
        &["-q:v", "2", "-start_number", "0"],
    );
    let mut source = open(device(&path.to_string_lossy())).expect("open");
    let (output, error) = read_all(&mut *source);
    let samples = samples(&output);
    assert_eq!(samples.len(), 10);
    for (number, sample) in samples.iter().enumerate() {
        assert_eq!(
            sample.device.expect("a stamp").nanos(),
            50_000_000 * number as i64
        );
        let Data::Image(image) = &sample.data else {
            panic!("no image");
        };
        // What a copy keeps: the pixels' bytes are those of the file.
        let file = images.with_file_name(format!("{number:02}.jpg"));
        let alone = std::fs::read(file).expect("image");
        let tail = |jpeg: &[u8]| jpeg[jpeg.len() - 200..].to_vec();
        assert_eq!(tail(&image.data), tail(&alone), "image {number}");
    }
    let span = samples[9].arrival - samples[0].arrival;
    // Paced: 0.45 s; ffmpeg may read some images ahead.
    assert!(span.secs_f64() > 0.2, "{span:?}");
    assert!(about(&output, "encoding").contains("as the source sent it"));
    assert!(
        error.contains("is gone") && error.contains("status 0"),
        "{error}"
    );
}

#[test]
fn any_other_source_is_encoded_anew_with_its_exact_time_stamps() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    // Uneven steps of 1/90000 s, two images 11 µs apart.
    let uneven = "settb=1/90000,setpts='4500*N+(N/3-floor(N/3))*3000-if(eq(N,4),3499)'";
    let path = make(
        folder.path(),
        "v.mp4",
        &[
            "-vf",
            uneven,
            "-vsync",
            "passthrough",
            "-enc_time_base",
            "-1",
            "-c:v",
            "libx264",
            "-bf",
            "0",
            "-video_track_timescale",
            "90000",
        ],
    );
    let listed = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "v",
            "-show_entries",
            "packet=pts",
            "-of",
            "csv=p=0",
        ])
        .arg(&path)
        .output()
        .expect("ffprobe runs");
    let expected: Vec<u64> = String::from_utf8_lossy(&listed.stdout)
        .split_whitespace()
        .map(|line| line.trim_end_matches(',').parse().expect("a number"))
        .collect();
    let mut source = open(device(&path.to_string_lossy())).expect("open");
    let (output, _) = read_all(&mut *source);
    let got: Vec<u64> = samples(&output)
        .iter()
        .map(|sample| sample.ticks.expect("ticks"))
        .collect();
    assert_eq!(got, expected);
    let steps: Vec<u64> = expected.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        steps.len() == 9 && steps.iter().any(|step| *step != steps[0]),
        "{steps:?}"
    );
    let encoding = about(&output, "encoding");
    assert!(
        encoding.contains("encoded as JPEG") && encoding.contains("-q:v 2"),
        "{encoding}"
    );
    assert_eq!(about(&output, "time_base_s"), "1/90000");
}

#[test]
fn a_source_that_is_not_there_is_refused_with_ffmpeg_s_words() {
    if !has_ffmpeg() {
        return;
    }
    let error = open(device("/no/such/film.mp4"))
        .err()
        .expect("not there")
        .to_string();
    assert!(
        error.contains("No such file") && error.contains("ffplay"),
        "{error}"
    );
    let mut other = device("/no/such/film.mp4");
    other
        .options
        .insert("ffmpeg".to_owned(), "/no/such/ffmpeg".into());
    let error = open(other).err().expect("no program").to_string();
    assert!(error.contains("/no/such/ffmpeg"), "{error}");
}

#[test]
fn a_source_with_options_of_its_own_is_read_and_ended_with_the_driver() {
    if !has_ffmpeg() {
        return;
    }
    let mut endless = device("testsrc=size=64x48:rate=25");
    endless
        .options
        .insert("input".to_owned(), vec!["-re", "-f", "lavfi"].into());
    let mut source = open(endless).expect("open");
    let mut output = Output::default();
    while samples(&output).len() < 5 {
        source.read(&mut output).expect("it runs");
    }
    drop(source);
    let samples = samples(&output);
    assert!(
        samples
            .windows(2)
            .all(|pair| pair[1].device > pair[0].device)
    );
}

#[test]
fn a_camera_s_rtp_time_stamps_come_through_rtsp() {
    if !has_ffmpeg() {
        return;
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port();
    let url = format!("rtsp://127.0.0.1:{port}/camera");
    // The camera: it begins once the driver's ffmpeg listens.
    let camera = std::thread::Builder::new()
        .name("camera".to_owned())
        .spawn({
            let url = url.clone();
            move || {
                let end = Instant::now() + Duration::from_secs(30);
                let source = "testsrc=size=64x48:rate=20:duration=1.5";
                while Instant::now() < end {
                    let status = Command::new("ffmpeg")
                        .args(["-v", "quiet", "-re", "-f", "lavfi", "-i", source])
                        .args(["-c:v", "mjpeg", "-q:v", "4", "-huffman", "default"])
                        .args(["-pix_fmt", "yuvj420p", "-f", "rtsp", &url])
                        .status();
                    if status.expect("ffmpeg runs").success() {
                        return true;
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
                false
            }
        });
    let mut listening = device(&url);
    listening
        .options
        .insert("input".to_owned(), vec!["-rtsp_flags", "listen"].into());
    let mut source = open(listening).expect("open");
    let (output, _) = read_all(&mut *source);
    assert!(
        camera.expect("a thread").join().expect("no panic"),
        "the camera found no listener"
    );
    let ticks: Vec<u64> = samples(&output)
        .iter()
        .map(|sample| sample.ticks.expect("ticks"))
        .collect();
    assert!(ticks.len() >= 25, "{ticks:?}");
    assert!(
        ticks.windows(2).all(|pair| pair[1] - pair[0] == 4500),
        "1/20 s at 90 kHz: {ticks:?}"
    );
    assert_eq!(about(&output, "time_base_s"), "1/90000");
    assert!(about(&output, "encoding").contains("as the source sent it"));
}

#[test]
fn the_option_that_keeps_every_image_depends_on_the_version() {
    let old = ["-vsync", "passthrough"];
    for version in [
        "ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright",
        "ffmpeg version n5.0 Copyright",
    ] {
        assert_eq!(passthrough(version), old, "{version}");
    }
    let new = ["-fps_mode", "passthrough"];
    for version in [
        "ffmpeg version 5.1.9-0+deb12u1 Copyright",
        "ffmpeg version n7.1",
        "ffmpeg version 8.0",
        "ffmpeg version N-118-gabc",
        "",
    ] {
        assert_eq!(passthrough(version), new, "{version}");
    }
}
