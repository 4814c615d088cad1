//! Boards of the exoskeleton.

use super::*;

#[test]
fn every_packet_of_a_serial_port_is_in_the_truth() {
    let (rig, folder) = start("none");
    let mut encoders = open(&rig, ENCODERS);
    let mut force = open(&rig, "/exo/right/force/index");
    let (encoder_bytes, force_bytes) = std::thread::scope(|scope| {
        let force = scope.spawn(|| read_bytes(&mut force, 80 * 8));
        (
            read_bytes(&mut encoders, 150 * 64),
            force.join().expect("reader"),
        )
    });
    let map = rig.exo_map().clone();
    let start_ns = rig.host_start_ns();
    let truth = truth_after(rig, &folder);

    let got = packets(&encoder_bytes, 64, Scan::decode);
    assert!(got.len() >= 150 && encoder_bytes.len().is_multiple_of(64));
    let sent: Vec<_> = of(&truth, ENCODERS)
        .into_iter()
        .filter(|sample| sample.fate == Fate::Sent)
        .collect();
    for (Scan { words, ticks }, sample) in got.iter().zip(&sent) {
        assert_eq!(
            (&words[..], u64::from(*ticks)),
            (&sample.counts[..], sample.device_ticks.expect("ticks"))
        );
        for joint in 0..12 {
            let at_s = (sample.t_ns - start_ns) as f64 * 1e-9 + truth.header.scan_offsets_s[joint];
            let joint_rad = Sines.joint_angles_rad(at_s)[joint];
            assert!((joint_rad - sample.values[joint]).abs() < 1e-9);
            let sensor =
                dexumi_episode::sensor_angle_rad(words[joint], words[12]).expect("reference");
            let read_rad = map.channel[joint].joint_rad(sensor);
            assert!(
                (read_rad - joint_rad).abs() < 6.0 * 0.05_f64.to_radians(),
                "{read_rad} {joint_rad}"
            );
        }
    }
    assert_ticks_follow(&sent, 40.0);
    let span_s = (sent[sent.len() - 1].t_ns - sent[0].t_ns) as f64 * 1e-9;
    let rate_hz = (sent.len() - 1) as f64 / span_s;
    assert!((179.0..181.0).contains(&rate_hz), "{rate_hz}");

    let got = packets(&force_bytes, 8, Reading::<0>::decode);
    assert!(got.len() >= 80 && force_bytes.len().is_multiple_of(8));
    let sent = of(&truth, "/exo/right/force/index");
    let sent = sent.into_iter().filter(|sample| sample.fate == Fate::Sent);
    for (reading, sample) in got.iter().zip(sent) {
        assert_eq!(
            (&reading.counts()[..], u64::from(reading.ticks)),
            (&sample.counts[..], sample.device_ticks.expect("ticks"))
        );
    }
}

/// Every stamp is the true time by the device's clock, rounded down.
fn assert_ticks_follow(samples: &[&Sample], drift_ppm: f64) {
    let (first, mut wraps, mut last) = (samples[0], 0, 0);
    let mut phases = Vec::new();
    for sample in samples {
        let ticks = sample.device_ticks.expect("ticks");
        wraps += u64::from(ticks < last);
        last = ticks;
        let device_ms = (wraps * 65_536 + ticks) as f64;
        let true_ms = (sample.t_ns - first.t_ns) as f64 * 1e-6 * (1.0 + drift_ppm * 1e-6);
        phases.push(true_ms - device_ms);
    }
    let spread = phases.iter().copied().fold(f64::MIN, f64::max)
        - phases.iter().copied().fold(f64::MAX, f64::min);
    assert!((0.5..1.0001).contains(&spread), "{spread} ms");
}

#[test]
fn what_a_reader_finds_among_damaged_bytes_is_what_the_truth_foretells() {
    let (rig, folder) = start("corrupt=0.4");
    let streams = [
        "/exo/right/force/thumb",
        "/exo/right/force/middle",
        ENCODERS,
    ];
    let mut ports = streams.map(|stream| open(&rig, stream));
    let counts = [700, 700, 10_000];
    let bytes = std::thread::scope(|scope| {
        let mut counts = counts.into_iter();
        ports
            .each_mut()
            .map(|port| (port, counts.next().expect("as many counts as ports")))
            .map(|(port, count)| scope.spawn(move || read_bytes(port, count)))
            .map(|t| t.join().expect("reader"))
    });
    let truth = truth_after(rig, &folder);
    for (stream, bytes) in streams.iter().zip(&bytes) {
        let ticks = match *stream {
            ENCODERS => packets(bytes, 64, |b| Scan::decode(b).map(|p| p.ticks)),
            _ => packets(bytes, 8, |b| Reading::<0>::decode(b).map(|p| p.ticks)),
        };
        let foretold: Vec<_> = of(&truth, stream)
            .into_iter()
            .filter(|sample| match sample.damage {
                Some(damage) => !damage.exposable || damage.intact,
                None => sample.fate == Fate::Sent,
            })
            .collect();
        assert!(ticks.len() >= 8 && ticks.len() <= foretold.len());
        for (got, sample) in ticks.iter().zip(foretold) {
            let jump_ms = sample.damage.map_or(0.0, |damage| damage.jump_ms);
            let meant = sample.device_ticks.expect("ticks") as u16;
            assert_eq!(
                f64::from(got.wrapping_sub(meant) as i16),
                jump_ms,
                "{stream} {}",
                sample.seq
            );
        }
        assert!(
            of(&truth, stream)
                .iter()
                .any(|sample| sample.fate == Fate::Corrupt)
        );
    }
}

#[test]
fn stalled_samples_are_late_by_schedule_and_none_is_early() {
    let (rig, folder) = start("stall=0.05");
    let mut port = open(&rig, ENCODERS);
    let mut arrivals = Vec::new();
    while arrivals.len() < 250 {
        let bytes = read_bytes(&mut port, 1);
        let now = HostTime::now().nanos();
        arrivals.extend(
            packets(&bytes, 64, Scan::decode)
                .into_iter()
                .map(|scan| (scan.ticks, now)),
        );
    }
    let truth = truth_after(rig, &folder);
    let sent: Vec<_> = of(&truth, ENCODERS)
        .into_iter()
        .filter(|sample| sample.fate == Fate::Sent)
        .collect();
    assert!(
        sent.iter()
            .all(|sample| sample.late_us.is_some_and(|late| late >= 0.0))
    );
    let delays_ms: Vec<f64> = arrivals
        .iter()
        .filter_map(|&(ticks, now)| {
            let sample = sent
                .iter()
                .find(|sample| sample.device_ticks == Some(ticks.into()))?;
            Some((now - sample.t_ns) as f64 * 1e-6)
        })
        .collect();
    assert_eq!(delays_ms.len(), arrivals.len());
    assert!(delays_ms.iter().all(|delay| *delay >= 0.694));
    let stalled = delays_ms.iter().filter(|delay| **delay > 7.0).count();
    assert!(
        stalled > delays_ms.len() / 50,
        "{stalled} of {}",
        delays_ms.len()
    );
}
