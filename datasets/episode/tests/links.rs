//! How well a device's clock is known over the links that devices have, against
//! the truth of a simulation: 2 % of all packets are stalled by 2 to 30 ms, the
//! device's crystal is 40 ppm fast, and it is reset in the middle.

use dexumi_episode::{ClockModel, ClockSegment, DeviceTime, Echo, HostTime, fit_recording};

/// xorshift64* (S. Vigna, 2016).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Uniform in [0, 1).
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mean 1.
    fn exponential(&mut self) -> f64 {
        -(1.0 - self.next()).ln()
    }
}

/// What is between the device and the host.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Transport {
    /// A UART and an adapter that hands over at once.
    Direct,
    /// A UART and something that hands over every 16 ms, whatever there is.
    Batches,
    /// A UART and an FTDI chip: 62 bytes, or what there is after 16 ms.
    Ftdi,
    /// USB on the device itself: no wire, a packet takes no time.
    Native,
}

/// A device on a link.
#[derive(Debug, Clone, Copy)]
struct Case {
    transport: Transport,
    tick_ns: i64,
    period_s: f64,
    jitter_s: f64,
    bytes: usize,
    baud: f64,
    /// Packets sent at once, measured 0.1 ms apart.
    burst: usize,
    seconds: f64,
    /// Reset after so long, and with which crystal it goes on [ppm].
    reset: Option<(f64, f64)>,
    /// Asks for the time as the dexumi board's driver does.
    asks: bool,
    /// The least delay is declared.
    declared: bool,
    /// Bytes that came after a packet in one read count against its arrival.
    corrected: bool,
}

const SKEW_PPM: f64 = 40.0;
/// An XHand's encoders on a link that hands over at once.
const ENCODERS: Case = Case {
    transport: Transport::Direct,
    tick_ns: 1_000_000,
    period_s: 5.5e-3,
    jitter_s: 0.1e-3,
    bytes: 64,
    baud: 921_600.0,
    burst: 1,
    seconds: 60.0,
    reset: Some((30.0, SKEW_PPM)),
    asks: false,
    declared: true,
    corrected: false,
};
/// Its fingertips.
const FORCE: Case = Case {
    period_s: 10e-3,
    jitter_s: 0.2e-3,
    bytes: 8,
    ..ENCODERS
};

/// Something on its way to the host.
struct Packet {
    /// When its last byte left the device [s].
    left_s: f64,
    bytes: usize,
    device_ns: i64,
    /// When the device read its clock [s].
    true_s: f64,
    /// When the question that it answers was sent [s].
    asked_s: Option<f64>,
}

struct Recording {
    samples: Vec<(DeviceTime, HostTime, bool)>,
    true_s: Vec<f64>,
    echoes: Vec<Echo>,
}

fn host(s: f64) -> HostTime {
    HostTime::from_nanos((s * 1e9) as i64)
}

impl Case {
    fn byte_s(&self) -> f64 {
        match self.transport {
            Transport::Native => 0.0,
            _ => 10.0 / self.baud,
        }
    }

    fn model(&self) -> ClockModel {
        let wire_s = self.bytes as f64 * self.byte_s();
        ClockModel {
            tick_ns: self.tick_ns,
            min_delay_ns: if self.declared {
                (wire_s * 1e9) as i64
            } else {
                0
            },
        }
    }

    /// What the device sends.
    fn packets(&self, random: &mut Random) -> Vec<Packet> {
        let start_s = 5.0 + random.next();
        let mut shown_s = 3600.0 * random.next();
        let mut since_s = start_s;
        let mut skew_ppm = SKEW_PPM;
        let mut packets = Vec::new();
        let (mut at_s, mut ask_s) = (start_s, start_s);
        let (mut asked, mut reset) = (0_u32, self.reset);
        while at_s < start_s + self.seconds {
            if let Some((_, ppm)) = reset.filter(|(after_s, _)| at_s > start_s + after_s) {
                (shown_s, since_s, skew_ppm, reset) = (0.0, at_s, ppm, None);
                (asked, ask_s) = (0, at_s);
            }
            let read = |s: f64| {
                let ns = (shown_s + (s - since_s) * (1.0 + skew_ppm * 1e-6)) * 1e9;
                (ns / self.tick_ns as f64).floor() as i64 * self.tick_ns
            };
            if self.asks && at_s > ask_s && at_s > since_s + 0.05 {
                // A USB frame, the wire, and the loop that looks into its buffer.
                let there_s = 0.1e-3 + 1e-3 * random.next() + 18.0 * self.byte_s();
                let true_s = at_s + there_s + 0.5e-3 * random.next();
                packets.push(Packet {
                    left_s: true_s + 18.0 * self.byte_s(),
                    bytes: 18,
                    device_ns: read(true_s),
                    true_s,
                    asked_s: Some(at_s),
                });
                asked += 1;
                // Never in step with what is between.
                let spread_s = 20e-3 * (f64::from(asked) * 0.618_034).fract();
                ask_s = at_s + if asked < 30 { 0.05 } else { 0.1 } + spread_s;
            }
            for number in 0..self.burst {
                let true_s = at_s - 0.1e-3 * (self.burst - 1 - number) as f64;
                packets.push(Packet {
                    left_s: at_s + self.bytes as f64 * self.byte_s(),
                    bytes: self.bytes,
                    device_ns: read(true_s),
                    true_s,
                    asked_s: None,
                });
            }
            at_s += self.period_s + self.jitter_s * random.next();
        }
        packets.sort_by(|a, b| a.left_s.total_cmp(&b.left_s));
        // One after another.
        let mut free_s = 0.0_f64;
        for packet in &mut packets {
            let wire_s = packet.bytes as f64 * self.byte_s();
            packet.left_s = packet.left_s.max(free_s + wire_s);
            free_s = packet.left_s;
        }
        packets
    }

    /// When each packet is handed over, and how many bytes are behind it then.
    fn handed_over(&self, packets: &[Packet], random: &mut Random) -> Vec<(f64, usize)> {
        const TIMER_S: f64 = 16e-3;
        let phase_s = TIMER_S * random.next();
        match self.transport {
            Transport::Direct | Transport::Native => packets
                .iter()
                .enumerate()
                .map(|(index, packet)| {
                    let with_it = packets[index + 1..]
                        .iter()
                        .take_while(|next| next.left_s <= packet.left_s);
                    (packet.left_s, with_it.map(|next| next.bytes).sum())
                })
                .collect(),
            Transport::Batches => packets
                .iter()
                .map(|packet| {
                    let turns = ((packet.left_s - phase_s) / TIMER_S).ceil();
                    (turns * TIMER_S + phase_s, 0)
                })
                .collect(),
            Transport::Ftdi => {
                let mut all = vec![(0.0, 0); packets.len()];
                // Whole packets in the chip, with the bytes up to their ends.
                let mut whole: Vec<(usize, usize)> = Vec::new();
                let (mut count, mut timer_s) = (0, packets[0].left_s + phase_s);
                let mut flush = |at_s: f64, count: &mut usize, whole: &mut Vec<(usize, usize)>| {
                    for (index, end) in whole.drain(..) {
                        all[index] = (at_s, *count - end);
                    }
                    *count = 0;
                };
                for (index, packet) in packets.iter().enumerate() {
                    for byte in 1..=packet.bytes {
                        let now_s = packet.left_s - (packet.bytes - byte) as f64 * self.byte_s();
                        while timer_s <= now_s {
                            flush(timer_s, &mut count, &mut whole);
                            timer_s += TIMER_S;
                        }
                        count += 1;
                        if byte == packet.bytes {
                            whole.push((index, count));
                        }
                        if count == 62 {
                            flush(now_s, &mut count, &mut whole);
                            timer_s = now_s + TIMER_S;
                        }
                    }
                }
                flush(timer_s, &mut count, &mut whole);
                all
            }
        }
    }

    fn record(&self, seed: u64) -> Recording {
        let mut random = Random::new(seed);
        let packets = self.packets(&mut random);
        let handed_over = self.handed_over(&packets, &mut random);
        let mut recording = Recording {
            samples: Vec::new(),
            true_s: Vec::new(),
            echoes: Vec::new(),
        };
        let mut last_s = 0.0_f64;
        for (packet, (handed_s, after)) in packets.iter().zip(handed_over) {
            let mut delay_s = 0.05e-3 + 0.1e-3 * random.exponential();
            if random.next() < 0.02 {
                delay_s += 2e-3 + 28e-3 * random.next();
            }
            // In order.
            last_s = last_s.max(handed_s + delay_s);
            let mut arrival_s = last_s;
            if self.corrected {
                arrival_s -= after as f64 * 10.0 / self.baud;
            }
            let device = DeviceTime::from_nanos(packet.device_ns);
            match packet.asked_s {
                Some(asked_s) => recording.echoes.push(Echo {
                    sent: host(asked_s + 18.0 * self.byte_s()),
                    device,
                    received: host(arrival_s - 18.0 * self.byte_s()),
                }),
                None => {
                    recording.samples.push((device, host(arrival_s), true));
                    recording.true_s.push(packet.true_s);
                }
            }
        }
        recording
    }

    fn fitted(&self, seed: u64) -> Fitted {
        let recording = self.record(seed);
        let segments = fit_recording(self.model(), &[], &recording.echoes, &recording.samples);
        let mut at = 0;
        let errors_ms = recording
            .samples
            .iter()
            .zip(&recording.true_s)
            .enumerate()
            .map(|(index, ((device, ..), true_s))| {
                while segments.get(at + 1).is_some_and(|next| next.first <= index) {
                    at += 1;
                }
                let fitted = segments[at].fit.to_host(*device);
                (at, (fitted.nanos() as f64 * 1e-9 - true_s) * 1e3)
            })
            .collect();
        Fitted {
            segments,
            errors_ms,
        }
    }

    /// 95th percentile of the error over twelve recordings [ms].
    fn p95_ms(&self) -> f64 {
        let all = (1..=12).flat_map(|seed| self.fitted(seed).errors_ms);
        p95(all.map(|(_, error_ms)| error_ms))
    }
}

fn p95(errors: impl Iterator<Item = f64>) -> f64 {
    let mut errors: Vec<f64> = errors.map(f64::abs).collect();
    errors.sort_by(f64::total_cmp);
    errors[errors.len() * 95 / 100]
}

struct Fitted {
    segments: Vec<ClockSegment>,
    /// Of each sample, with the segment that it is in.
    errors_ms: Vec<(usize, f64)>,
}

#[test]
fn every_clock_is_known_within_its_budget() {
    use Transport::{Batches, Direct, Ftdi};
    for device in [ENCODERS, FORCE] {
        for (tick_ns, transport, asks, budget_ms) in [
            (1_000_000, Direct, false, 0.6),
            (1_000_000, Batches, false, 1.3),
            (1_000_000, Ftdi, false, 1.3),
            (1_000, Direct, false, 0.1),
            (1_000, Batches, false, 0.4),
            (1_000, Ftdi, false, 0.4),
            (1_000, Direct, true, 0.1),
            (1_000, Batches, true, 0.4),
            (1_000, Ftdi, true, 0.4),
        ] {
            let case = Case {
                tick_ns,
                transport,
                asks,
                ..device
            };
            let error_ms = case.p95_ms();
            eprintln!(
                "{} bytes, tick {} µs, {transport:?}, asks {asks}: p95 {error_ms:.3} ms of {budget_ms}",
                case.bytes,
                tick_ns / 1000
            );
            assert!(error_ms <= budget_ms, "{error_ms} ms: {case:?}");
        }
    }
}

#[test]
fn questions_find_a_delay_that_nobody_declared_and_bound_the_error() {
    for transport in [Transport::Direct, Transport::Batches, Transport::Ftdi] {
        // A period that divides the batches': no sample ever comes at once.
        for device in [
            ENCODERS,
            FORCE,
            Case {
                period_s: 2e-3,
                jitter_s: 0.0,
                bytes: 40,
                ..ENCODERS
            },
        ] {
            let silent = Case {
                tick_ns: 1_000,
                transport,
                declared: false,
                ..device
            };
            let asking = Case {
                asks: true,
                ..silent
            };
            let (without_ms, with_ms) = (silent.p95_ms(), asking.p95_ms());
            for seed in 1..=12 {
                let fitted = asking.fitted(seed);
                for (segment, error_ms) in &fitted.errors_ms {
                    // The line is the samples'; it may lean a little.
                    let bound_ms = fitted.segments[*segment].fit.bound_ns as f64 * 1e-6 + 0.1;
                    assert!(
                        error_ms.abs() <= bound_ms,
                        "{error_ms} of {bound_ms} ms: {asking:?}"
                    );
                }
            }
            eprintln!(
                "{transport:?}, {} bytes: {without_ms:.3} ms without questions, {with_ms:.3} ms with",
                device.bytes
            );
            assert!(
                with_ms < 0.35 * without_ms + 0.1,
                "{with_ms} {without_ms} ms: {asking:?}"
            );
        }
    }
}

#[test]
fn a_rate_that_divides_the_batches_does_not_fool_who_asks() {
    // 500 Hz by the device's own clock: eight samples a batch, and the distance of the
    // last one from the hand-over drifts only as fast as the clock does. The line
    // under the samples is as steep as the adapter's clock.
    for transport in [Transport::Batches, Transport::Ftdi] {
        for (seconds, reset) in [(20.0, None), (60.0, Some((36.0, SKEW_PPM)))] {
            let asking = Case {
                transport,
                tick_ns: 1_000,
                period_s: 2e-3 / (1.0 + SKEW_PPM * 1e-6),
                jitter_s: 0.0,
                bytes: 40,
                seconds,
                reset,
                asks: true,
                ..ENCODERS
            };
            let silent = Case {
                asks: false,
                ..asking
            };
            let (with_ms, without_ms) = (asking.p95_ms(), silent.p95_ms());
            eprintln!(
                "{transport:?}, {seconds} s: {with_ms:.3} ms with questions, {without_ms:.3} ms without"
            );
            assert!(with_ms <= 0.4, "{with_ms} ms: {asking:?}");
            // It is a trap, where nothing is handed over but by the timer.
            assert!(
                transport == Transport::Ftdi || without_ms > 0.4,
                "{without_ms} ms"
            );
        }
    }
}

#[test]
fn twenty_seconds_tell_a_millisecond_clock_behind_batches() {
    for device in [ENCODERS, FORCE] {
        let case = Case {
            transport: Transport::Batches,
            seconds: 20.0,
            reset: None,
            ..device
        };
        let worst_ms = (1..=24)
            .map(|seed| p95(case.fitted(seed).errors_ms.iter().map(|&(_, error)| error)))
            .fold(0.0, f64::max);
        let p95_ms = case.p95_ms();
        eprintln!(
            "{} bytes: p95 {p95_ms:.3} ms, of the worst recording {worst_ms:.3} ms",
            case.bytes
        );
        assert!(
            p95_ms < 1.0 && worst_ms < 1.3,
            "{p95_ms} {worst_ms} ms: {case:?}"
        );
    }
}

#[test]
fn a_short_stretch_after_a_reset_has_the_slope_of_the_long_one() {
    for (tick_ns, budget_ms) in [(1_000_000, 1.3), (1_000, 0.4)] {
        let case = Case {
            transport: Transport::Batches,
            tick_ns,
            seconds: 68.0,
            reset: Some((60.0, SKEW_PPM)),
            ..FORCE
        };
        let (mut together, mut alone) = (Vec::new(), Vec::new());
        let mut errors_ms = Vec::new();
        for seed in 1..=12 {
            let recording = case.record(seed);
            let segments = fit_recording(case.model(), &[], &[], &recording.samples);
            assert_eq!(segments.len(), 2);
            let (samples, true_s) = (
                &recording.samples[segments[1].first..],
                &recording.true_s[segments[1].first..],
            );
            let fit = &segments[1].fit;
            let own = &fit_recording(case.model(), &[], &[], samples)[0].fit;
            together.push((fit.skew_ppm + SKEW_PPM).abs());
            alone.push((own.skew_ppm + SKEW_PPM).abs());
            errors_ms.extend(samples.iter().zip(true_s).map(|((device, ..), true_s)| {
                (fit.to_host(*device).nanos() as f64 * 1e-9 - true_s) * 1e3
            }));
        }
        let mean = |ppm: &[f64]| ppm.iter().sum::<f64>() / ppm.len() as f64;
        let (together, alone) = (mean(&together), mean(&alone));
        let error_ms = p95(errors_ms.into_iter());
        eprintln!(
            "8 s after a reset: {error_ms:.3} ms of {budget_ms}, rate off by {together:.1} ppm, alone {alone:.1}"
        );
        assert!(error_ms < budget_ms && together < 0.5 * alone);
    }
}

#[test]
fn another_device_in_the_place_of_the_first_keeps_its_own_crystal() {
    for tick_ns in [1_000_000, 1_000] {
        let case = Case {
            tick_ns,
            reset: Some((30.0, -60.0)),
            ..ENCODERS
        };
        let budget_ms = if tick_ns == 1_000 { 0.1 } else { 0.65 };
        let error_ms = case.p95_ms();
        assert!(error_ms <= budget_ms, "{error_ms} ms");
    }
}

#[test]
fn bytes_behind_a_packet_date_it_better_over_a_wire_and_wrongly_without_one() {
    // A slow line that is never idle: packets end anywhere in what is handed over.
    let busy = Case {
        transport: Transport::Ftdi,
        tick_ns: 1_000,
        baud: 115_200.0,
        period_s: 64.0 * 10.0 / 115_200.0 + 0.02e-3,
        jitter_s: 0.02e-3,
        seconds: 10.0,
        reset: None,
        ..ENCODERS
    };
    let corrected = Case {
        corrected: true,
        ..busy
    };
    let jitter_ms = |case: Case| {
        let fits = (1..=12).map(|seed| case.fitted(seed).segments[0].fit.bound_ns);
        fits.sum::<i64>() as f64 * 1e-6 / 12.0
    };
    let (without, with) = (busy.p95_ms(), corrected.p95_ms());
    let (bound_without, bound_with) = (jitter_ms(busy), jitter_ms(corrected));
    eprintln!(
        "busy wire: error {without:.3} → {with:.3} ms, bound {bound_without:.3} → {bound_with:.3} ms"
    );
    assert!(with <= without && with < 0.1 && bound_with < 0.3 * bound_without);

    // A board with USB of its own sends three packets at once.
    let burst = Case {
        transport: Transport::Native,
        tick_ns: 1_000,
        burst: 3,
        reset: None,
        declared: false,
        ..ENCODERS
    };
    let (right, wrong) = (
        burst.p95_ms(),
        Case {
            corrected: true,
            ..burst
        }
        .p95_ms(),
    );
    eprintln!("no wire: error {right:.3} ms, if taken for a wire {wrong:.3} ms");
    assert!(right < 0.15 && wrong > 3.0 * right);
}
