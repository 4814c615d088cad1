//! Tracker and cameras.

use super::*;

#[test]
fn the_tracker_speaks_natnet_to_an_independent_client() {
    let (rig, folder) = start("none");
    let server = address(&rig, TRACKER).to_owned();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
    socket.connect(&server).expect("connect");
    socket
        .set_read_timeout(Some(Duration::from_secs(2)))
        .expect("timeout");
    let mut buffer = [0; 2048];
    socket.send(&[0, 0, 0, 0]).expect("connection request");
    let count = socket.recv(&mut buffer).expect("server info");
    let info = ::natnet::ServerInfo::parse(&buffer[..count]).expect("valid server info");
    assert_eq!(info.protocol_version, ::natnet::Version::V4_1);
    assert_eq!(info.high_res_clock_frequency, 10_000_000);
    assert!(server.ends_with(&info.connection.data_port.to_string()) && !info.connection.multicast);

    let decoder = ::natnet::Decoder::new(::natnet::Version::V4_1).expect("decoder");
    let mut frames = Vec::new();
    let mut echo = None;
    socket
        .send(&[12, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8])
        .expect("echo request");
    while frames.len() < 120 {
        let count = socket.recv(&mut buffer).expect("packet");
        match decoder
            .parse(&buffer[..count])
            .expect("valid")
            .into_message()
        {
            ::natnet::Message::FrameOfData(frame) => frames.push((*frame, HostTime::now().nanos())),
            ::natnet::Message::Other { id: 13, payload } => echo = Some(payload),
            other => panic!("unexpected {other:?}"),
        }
    }
    let truth = truth_after(rig, &folder);
    let echo = echo.expect("echo response");
    assert_eq!(
        (&echo[..8], echo.len()),
        (&[1, 2, 3, 4, 5, 6, 7, 8][..], 16)
    );
    let samples = of(&truth, TRACKER);
    for (frame, arrival_ns) in &frames {
        let sample = samples[frame.frame_number as usize];
        assert_eq!(
            (sample.seq, sample.fate),
            (frame.frame_number as u64, Fate::Sent)
        );
        assert_eq!(
            frame.timing.camera_mid_exposure,
            sample.device_ticks.expect("ticks")
        );
        // The first is one that nobody asked for.
        let body = &frame.rigid_bodies[1];
        assert!(body.tracking_valid());
        let [x, y, z] = body.position.map(f64::from);
        let [qx, qy, qz, qw] = body.orientation.map(f64::from);
        // With y up, as Motive streams.
        let pose = [x, -z, y, qx, -qz, qy, qw];
        assert!(
            pose.iter()
                .zip(&sample.values)
                .all(|(got, meant)| (got - meant).abs() < 1e-6)
        );
        let latency_ms = (frame.timing.transmit - frame.timing.camera_mid_exposure) as f64 * 1e-4;
        assert!((5.55..5.9).contains(&latency_ms), "{latency_ms}");
        assert!(
            arrival_ns - sample.t_ns > 5_610_000,
            "never earlier than declared"
        );
    }
}

#[test]
fn the_cameras_serve_every_image_at_its_time() {
    let (rig, folder) = start("none");
    let mut text = String::new();
    get(&rig, "head", "/")
        .expect("help")
        .read_to_string(&mut text)
        .expect("text");
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("/stream.mjpg"));
    text.clear();
    get(&rig, "head", "/nothing")
        .expect("answer")
        .read_to_string(&mut text)
        .expect("text");
    assert!(text.starts_with("HTTP/1.1 404 "));

    for (camera, stamps) in [("head", true), ("wrist", false)] {
        let mut reader = get(&rig, camera, "/stream.mjpg").expect("stream");
        for _ in 0..10 {
            let part = mjpeg_http::read_part(&mut reader).expect("part");
            let arrival_s = rig.shared.scene_s(HostTime::now().nanos());
            assert!(mjpeg_http::is_whole_jpeg(&part.jpeg) && part.timestamp_ns.is_some() == stamps);
            let text = String::from_utf8_lossy(&part.jpeg[2..part.jpeg.len() - 2]).into_owned();
            let (name, t_s) = text.split_once(' ').expect("name and time");
            let delay_s = arrival_s - t_s.parse::<f64>().expect("time");
            assert!(
                name == camera && delay_s >= 0.025 - 1e-6,
                "{name} {delay_s}"
            );
        }
    }
    let truth = truth_after(rig, &folder);
    for (camera, stamps) in [("head", true), ("wrist", false)] {
        let samples = of(&truth, &format!("/camera/{camera}/image"));
        assert!(
            samples
                .iter()
                .filter(|sample| sample.fate == Fate::Sent)
                .count()
                >= 10
        );
        assert!(
            samples
                .iter()
                .enumerate()
                .all(|(index, sample)| sample.seq == index as u64)
        );
        assert!(
            samples
                .iter()
                .all(|sample| sample.device_ticks.is_some() == stamps)
        );
    }
}

#[test]
fn a_camera_that_nobody_reads_from_says_so() {
    let (rig, folder) = start("none");
    let reader = get(&rig, "head", "/stream.mjpg").expect("stream");
    std::thread::sleep(Duration::from_millis(300));
    drop(reader);
    std::thread::sleep(Duration::from_millis(300));
    let truth = truth_after(rig, &folder);
    let samples = of(&truth, "/camera/head/image");
    let count = |fate| samples.iter().filter(|sample| sample.fate == fate).count();
    assert!(count(Fate::Sent) >= 4 && count(Fate::Unsent) >= 4);
    assert!(
        of(&truth, "/camera/wrist/image")
            .iter()
            .all(|sample| sample.fate == Fate::Unsent)
    );
}
