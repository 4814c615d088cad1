//! What all emulated devices share: the scene, a clock of their own, their
//! share of faults, and the schedule.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use dexumi_episode::HostTime;
use nix::{
    sys::time::TimeSpec,
    time::{ClockId, ClockNanosleepFlags, clock_nanosleep},
};

use super::{
    Scene,
    faults::{Draw, Faults, Random, Unplug},
    sink::Sink,
    truth::{Fate, Sample},
};

/// The kernel wakes a sleeper up to 50 µs late to save power (its timer slack),
/// and takes a moment to do so; the rest is spent waiting awake.
const AWAKE_NS: i64 = 60_000;
/// Longest sleep without a look at the stop flag.
const NAP_NS: i64 = 50_000_000;

/// What the device threads have in common.
pub(super) struct Shared {
    pub scene: Arc<dyn Scene>,
    /// CLOCK_MONOTONIC at scene time 0 [ns].
    pub start_ns: i64,
    pub faults: Faults,
    pub truth: Sink,
    pub stop: AtomicBool,
    pub failure: Mutex<Option<String>>,
}

impl Shared {
    pub fn scene_s(&self, t_ns: i64) -> f64 {
        (t_ns - self.start_ns) as f64 * 1e-9
    }

    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits for a moment of CLOCK_MONOTONIC; `false` when it is time to stop.
    pub fn sleep_until(&self, target_ns: i64) -> bool {
        loop {
            if self.stopping() {
                return false;
            }
            let now = HostTime::now().nanos();
            let wake = (target_ns - AWAKE_NS).min(now + NAP_NS);
            if wake <= now {
                break;
            }
            let wake = TimeSpec::new(wake / 1_000_000_000, wake % 1_000_000_000);
            // A signal wakes early; the loop looks at the clock again.
            let _ = clock_nanosleep(
                ClockId::CLOCK_MONOTONIC,
                ClockNanosleepFlags::TIMER_ABSTIME,
                &wake,
            );
        }
        while HostTime::now().nanos() < target_ns {
            std::hint::spin_loop();
        }
        true
    }

    /// Keeps the first failure of a device thread, for people and for the truth.
    pub fn fail(&self, stream: &str, problem: String) {
        self.truth.event(stream, format!("failed: {problem}"), 1);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| format!("`{stream}`: {problem}"));
    }

    /// When the clock of a stream starts anew [ns]; never for most.
    fn reboot_ns(&self, stream: &str) -> i64 {
        let reboots = self.faults.reboot.iter();
        reboots
            .filter(|reboot| stream.contains(&reboot.stream))
            .map(|reboot| self.start_ns + (reboot.at_s * 1e9) as i64)
            .min()
            .unwrap_or(i64::MAX)
    }

    /// End of the unplugging of a stream that a moment falls into [ns].
    pub fn unplugged(&self, stream: &str, t_ns: i64) -> Option<i64> {
        let t_s = self.scene_s(t_ns);
        let holds = |unplug: &&Unplug| {
            stream.contains(&unplug.stream)
                && (unplug.at_s..unplug.at_s + unplug.for_s).contains(&t_s)
        };
        let end_s = self
            .faults
            .unplug
            .iter()
            .filter(holds)
            .map(|unplug| unplug.at_s + unplug.for_s);
        end_s
            .reduce(f64::max)
            .map(|end_s| self.start_ns + (end_s * 1e9).ceil() as i64)
    }
}

/// A device's own clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeviceClock {
    /// CLOCK_MONOTONIC when the clock was started [ns].
    pub since_ns: i64,
    /// What it showed then [ns].
    pub shown_ns: i64,
    /// How much faster than the host it is [ppm].
    pub drift_ppm: f64,
    /// CLOCK_MONOTONIC when it starts again from zero [ns].
    pub reboot_ns: i64,
}

impl DeviceClock {
    /// What it shows at a moment of CLOCK_MONOTONIC [ns].
    pub fn at(&self, t_ns: i64) -> i64 {
        let (since_ns, shown_ns) = if t_ns >= self.reboot_ns {
            (self.reboot_ns, 0)
        } else {
            (self.since_ns, self.shown_ns)
        };
        let elapsed = t_ns - since_ns;
        shown_ns + elapsed + (elapsed as f64 * self.drift_ppm * 1e-6).floor() as i64
    }

    /// Host seconds of so many device seconds.
    pub fn host_s(&self, device_s: f64) -> f64 {
        device_s / (1.0 + self.drift_ppm * 1e-6)
    }
}

/// One emulated device, on its own thread.
pub(super) struct Device {
    pub shared: Arc<Shared>,
    pub stream: String,
    pub clock: DeviceClock,
    pub random: Random,
    sequence: u64,
    /// The link hands over in order: nothing before this moment [ns].
    link_free_ns: i64,
}

impl Device {
    pub fn new(shared: &Arc<Shared>, stream: &str, drift_ppm: f64, seed: u64) -> Self {
        let mut random = Random::new(seed, stream);
        // Devices were switched on at some time before, up to an hour.
        let shown_ns = (random.between(0.0, 3600.0) * 1e9) as i64;
        Self {
            shared: shared.clone(),
            stream: stream.to_owned(),
            clock: DeviceClock {
                since_ns: shared.start_ns,
                shown_ns,
                drift_ppm,
                reboot_ns: shared.reboot_ns(stream),
            },
            random,
            sequence: 0,
            link_free_ns: i64::MIN,
        }
    }

    pub fn draw(&mut self) -> Draw {
        self.shared.faults.draw(&mut self.random)
    }

    /// When bytes that are ready at a moment leave the link, behind what is
    /// already on it [ns].
    pub fn due(&mut self, ready_ns: i64) -> i64 {
        let batch_ns = (self.shared.faults.batch_s * 1e9) as i64;
        let ready_ns = match batch_ns {
            0 => ready_ns,
            _ => ready_ns + (batch_ns - ready_ns.rem_euclid(batch_ns)) % batch_ns,
        };
        self.link_free_ns = self.link_free_ns.max(ready_ns);
        self.link_free_ns
    }

    /// A sample of this device, still unsent.
    pub fn sample(
        &mut self,
        t_ns: i64,
        device_ticks: Option<u64>,
        values: Vec<f64>,
        counts: Vec<i32>,
    ) -> Sample {
        let seq = self.sequence;
        self.sequence += 1;
        Sample {
            stream: self.stream.clone(),
            seq,
            t_ns,
            device_ticks,
            values,
            counts,
            fate: Fate::Unsent,
            damage: None,
            late_us: None,
            sent_ns: None,
        }
    }

    /// Puts a sample into the truth.
    pub fn conclude(&self, sample: Sample, fate: Fate) {
        let is_sent = matches!(fate, Fate::Sent | Fate::Corrupt);
        let sent_ns = is_sent.then(|| HostTime::now().nanos());
        let sample = Sample {
            fate,
            sent_ns,
            ..sample
        };
        self.shared.truth.sample(sample);
    }

    /// A clock that starts anew, as after a power cut.
    pub fn reboot(&mut self, t_ns: i64) {
        self.clock.reboot_ns = i64::MAX;
        self.clock.since_ns = t_ns;
        self.clock.shown_ns = (self.random.between(0.0, 3600.0) * 1e9) as i64;
        self.link_free_ns = i64::MIN;
    }
}
