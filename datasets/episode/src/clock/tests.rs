use proptest::prelude::*;

use super::*;

/// 180 Hz, millisecond clock, `skew` ppm, exponential jitter, stalls.
fn cloud(skew: f64, seconds: f64, seed: u64) -> Vec<(DeviceTime, HostTime, i64)> {
    let mut state = seed | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut truth = 5e9;
    let mut points = Vec::new();
    let mut last_arrival = 0.0_f64;
    while truth < 5e9 + seconds * 1e9 {
        truth += 5.5e6 + 0.2e6 * random();
        let device_ms = (truth * (1.0 + skew * 1e-6) / 1e6).floor() as i64;
        let mut delay = 0.7e6 - 0.15e6 * random().max(1e-9).ln();
        if random() < 0.02 {
            delay += 2e6 + 28e6 * random();
        }
        last_arrival = last_arrival.max(truth + delay);
        points.push((
            DeviceTime::from_nanos(device_ms * 1_000_000),
            HostTime::from_nanos(last_arrival as i64),
            truth as i64,
        ));
    }
    points
}

fn p95(mut errors: Vec<i64>) -> i64 {
    errors.sort_unstable();
    errors[(errors.len() * 95) / 100]
}

const MODEL: ClockModel = ClockModel {
    tick_ns: 1_000_000,
    min_delay_ns: 700_000,
};

#[test]
fn a_millisecond_clock_is_known_to_better_than_a_millisecond() {
    for seed in 1..20 {
        let points = cloud(40.0, 20.0, seed);
        let samples: Vec<_> = points.iter().map(|&(d, h, _)| (d, h, true)).collect();
        let segments = fit_recording(MODEL, &[], &[], &samples);
        assert_eq!(segments.len(), 1);
        let errors = points
            .iter()
            .map(|&(d, _, truth)| (segments[0].fit.to_host(d).nanos() - truth).abs())
            .collect();
        let error = p95(errors);
        assert!(error < 650_000, "p95 {error} ns with seed {seed}");
        assert!(
            (segments[0].fit.skew_ppm + 40.0).abs() < 25.0,
            "{}",
            segments[0].fit.skew_ppm
        );
    }
}

#[test]
fn the_live_estimate_agrees_with_the_whole_fit() {
    let points = cloud(-40.0, 30.0, 7);
    let mut live = ClockEstimator::new(MODEL, Delta::from_millis(60_000));
    for &(d, h, _) in &points {
        assert!(live.push(d, h));
    }
    let fit = live.fit(points.last().expect("points").1).expect("a fit");
    assert_eq!(fit.state, ClockState::Locked);
    let errors = points
        .iter()
        .map(|&(d, _, t)| (fit.to_host(d).nanos() - t).abs())
        .collect();
    assert!(p95(errors) < 650_000);
}

#[test]
fn the_live_rate_stays_as_the_window_moves_on() {
    for seed in 1..20 {
        let points = cloud(40.0, 240.0, seed);
        let mut live = ClockEstimator::new(MODEL, Delta::from_millis(60_000));
        let begin = points[0].1;
        for (index, &(d, h, _)) in points.iter().enumerate() {
            assert!(live.push(d, h));
            if index % 180 == 0 && h - begin > Delta::from_millis(30_000) {
                let fit = live.fit(h).expect("a fit");
                assert!(
                    (fit.skew_ppm + 40.0).abs() < 20.0,
                    "seed {seed}, {h:?}: {fit:?}"
                );
            }
        }
    }
}

#[test]
fn a_reboot_opens_a_second_segment() {
    let mut points = cloud(0.0, 8.0, 3);
    let half = points.len() / 2;
    for point in &mut points[half..] {
        point.0 = point.0 - Delta::from_millis(4_321);
    }
    let samples: Vec<_> = points.iter().map(|&(d, h, _)| (d, h, true)).collect();
    let segments = fit_recording(MODEL, &[], &[], &samples);
    assert_eq!(segments.len(), 2);
    assert_eq!(segments[1].first, half);
}

#[test]
fn a_backlog_after_a_long_stop_is_late_and_no_new_clock() {
    let mut points = cloud(0.0, 40.0, 3);
    let start = points[0].1;
    for point in &mut points {
        // Stopped from second 15 to 27: what was sent meanwhile is read at once.
        let since = point.1 - start;
        if since > Delta::from_millis(15_000) && since < Delta::from_millis(27_000) {
            point.1 = start + Delta::from_millis(27_000);
        }
    }
    let mut live = ClockEstimator::new(MODEL, Delta::from_millis(60_000));
    for &(d, h, _) in &points {
        assert!(live.push(d, h));
    }
    assert_eq!(live.jumps(), 0);
    let samples: Vec<_> = points.iter().map(|&(d, h, _)| (d, h, true)).collect();
    assert_eq!(fit_recording(MODEL, &[], &[], &samples).len(), 1);
}

#[test]
fn one_wild_stamp_does_not_move_the_fit() {
    let mut live = ClockEstimator::new(MODEL, Delta::from_millis(60_000));
    for (index, &(d, h, _)) in cloud(0.0, 10.0, 5).iter().enumerate() {
        live.push(
            if index % 100 == 50 {
                d + Delta::from_millis(16_384)
            } else {
                d
            },
            h,
        );
    }
    assert!(live.gated() > 10);
    assert_eq!(live.jumps(), 0);
}

#[test]
fn two_way_exchanges_replace_a_wrong_declared_delay() {
    let points = cloud(40.0, 20.0, 11);
    let samples: Vec<_> = points.iter().map(|&(d, h, _)| (d, h, true)).collect();
    // Answers take 0.2 to 3 ms, both ways the same in the mean.
    let echoes: Vec<_> = points
        .iter()
        .step_by(180)
        .enumerate()
        .map(|(i, &(_, _, truth))| {
            let half = 100_000 + 200_000 * (i as i64 % 8);
            Echo {
                sent: HostTime::from_nanos(truth - half),
                device: DeviceTime::from_nanos(
                    ((truth as f64 * (1.0 + 40e-6)) as i64).div_euclid(1_000_000) * 1_000_000,
                ),
                received: HostTime::from_nanos(truth + half),
            }
        })
        .collect();
    let wrong = ClockModel {
        min_delay_ns: 8_000_000,
        ..MODEL
    };
    let fit = |echoes: &[Echo]| fit_recording(wrong, &[], echoes, &samples)[0].fit.clone();
    let error = |fit: &ClockFit| {
        p95(points
            .iter()
            .map(|&(d, _, truth)| (fit.to_host(d).nanos() - truth).abs())
            .collect())
    };
    assert!(error(&fit(&[])) > 6_000_000);
    let measured = fit(&echoes);
    assert!(error(&measured) < 1_100_000, "{}", error(&measured));
    assert!(error(&measured) <= measured.bound_ns + MODEL.tick_ns / 2);
}

proptest! {
    #[test]
    fn no_sample_lies_below_the_envelope(seed in 1_u64..10_000, skew in -200.0..200.0_f64) {
        let points = cloud(skew, 6.0, seed);
        let samples: Vec<_> = points.iter().map(|&(d, h, _)| (d, h, true)).collect();
        let fit = &fit_recording(MODEL, &[], &[], &samples)[0].fit;
        let raw = MODEL.min_delay_ns - MODEL.tick_ns / 2;
        for &(d, h, _) in &points {
            prop_assert!(h.nanos() - fit.to_host(d).nanos() - raw >= -5_000);
        }
    }
}
