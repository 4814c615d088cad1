//! Numbers and names as an operator reads them. Pure text, no drawing.

use dexumi_capture::StreamStatus;
use dexumi_episode::StreamKind;

/// A rate below this share of the expected one is worth a word …
const SLOW: f64 = 0.85;
/// … and below this one it is a fault.
const MUCH_TOO_SLOW: f64 = 0.5;
/// A stream is silent after this long, or five periods of a slow one [s].
const SILENT_AFTER_S: f64 = 1.0;

/// How bad something is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// As it should be.
    Good,
    /// Not there yet, nothing to do but wait.
    Waiting,
    /// Usable, but somebody should look.
    Warning,
    /// Data is not usable.
    Fault,
}

/// What there is to say of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    /// How bad it is.
    pub severity: Severity,
    /// In plain words.
    pub text: String,
    /// No data come: an episode must not start.
    pub is_silent: bool,
}

impl Verdict {
    fn new(severity: Severity, text: impl Into<String>) -> Self {
        Self {
            severity,
            text: text.into(),
            is_silent: false,
        }
    }

    fn silent(severity: Severity, text: impl Into<String>) -> Self {
        Self {
            is_silent: true,
            ..Self::new(severity, text)
        }
    }

    /// Judges a stream, the worst thing first. `expected_hz` is `None` while
    /// nobody knows it.
    pub fn of(stream: &StreamStatus, expected_hz: Option<f64>) -> Self {
        let period_s = expected_hz.filter(|&hz| hz > 0.0).map_or(0.0, f64::recip);
        let slow = |below: f64| expected_hz.filter(|&hz| stream.rate_hz < below * hz);
        let counts = [
            (stream.lost, "lost"),
            (stream.missing, "never arrived"),
            (stream.suspect, "suspect"),
        ];
        let counted: Vec<String> = counts
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| format!("{} {what}", count(*number)))
            .collect();
        if let Some(problem) = &stream.problem {
            Self::silent(Severity::Fault, plain_problem(&stream.stream, problem))
        } else if stream.age_s < 0.0 {
            Self::silent(Severity::Waiting, "no data yet")
        } else if stream.age_s > SILENT_AFTER_S.max(5.0 * period_s) {
            Self::silent(Severity::Fault, format!("silent for {}", age(stream.age_s)))
        } else if let Some(hz) = slow(MUCH_TOO_SLOW) {
            Self::new(
                Severity::Fault,
                format!("much too slow: {:.0} of {hz:.0} Hz", stream.rate_hz),
            )
        } else if stream.clock == "lost" {
            Self::new(Severity::Fault, "its clock cannot be followed")
        } else if let Some(hz) = slow(SLOW) {
            Self::new(
                Severity::Warning,
                format!("slow: {:.0} of {hz:.0} Hz", stream.rate_hz),
            )
        } else if !counted.is_empty() {
            Self::new(Severity::Warning, counted.join(", "))
        } else if stream.clock == "holdover" {
            Self::new(Severity::Warning, "clock coasting")
        } else if stream.clock == "acquiring" {
            Self::new(Severity::Waiting, "clock settling")
        } else {
            Self::new(Severity::Good, "good")
        }
    }
}

/// What a device says is wrong, without its topic and address, which stand beside it.
fn plain_problem<'a>(topic: &str, problem: &'a str) -> &'a str {
    let behind_topic = problem
        .strip_prefix('`')
        .and_then(|rest| rest.strip_prefix(topic));
    behind_topic
        .and_then(|rest| rest.split_once(" is "))
        .map_or(problem, |(_, what)| what)
}

/// A stream as an operator calls it; the topic where it is none of ours.
pub(super) fn stream_name(topic: &str) -> String {
    let plain = match StreamKind::of(topic) {
        Some(StreamKind::Encoders { side }) => format!("{side} hand joints"),
        Some(StreamKind::Force { side, finger }) => format!("{side} {finger} force"),
        Some(StreamKind::Tracker { name }) => format!("{name} tracker"),
        Some(StreamKind::Camera { name }) => format!("{name} camera"),
        Some(StreamKind::Depth { name }) => format!("{name} depth"),
        Some(StreamKind::Imu { name }) => format!("{name} inertial sensor"),
        Some(StreamKind::Keypoints { side }) => format!("{side} glove"),
        Some(StreamKind::Markers { name }) => format!("{name} markers"),
        None => return topic.to_owned(),
    };
    capitalised(&plain.replace(['_', '-'], " "))
}

/// With a capital letter in front.
pub(super) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// State of a clock, in one or two words.
pub(super) fn clock_state(state: &str) -> &str {
    match state {
        "arrival" => "none",
        "acquiring" => "settling",
        "holdover" => "coasting",
        other => other,
    }
}

/// A duration [s] as `4:05.2`, or `1:02:03` from one hour on.
pub(super) fn timer(seconds: f64) -> String {
    // Rounded down, so that a whole minute never shows as 60.
    let tenths = (seconds.max(0.0) * 10.0 + 1e-6) as u64;
    let (whole, tenth) = (tenths / 10, tenths % 10);
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}.{tenth}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Age of a sample [s], in milliseconds up to one second.
pub(super) fn age(seconds: f64) -> String {
    match seconds {
        s if s < 0.0 => "–".to_owned(),
        s if s < 0.9995 => format!("{:.0} ms", s * 1e3),
        s if s < 99.95 => format!("{s:.1} s"),
        s => timer(s),
    }
}

/// A short time [s] in milliseconds, three digits of them.
pub(super) fn millis(seconds: f64) -> String {
    let millis = seconds * 1e3;
    let digits = match millis.abs() {
        m if m < 9.995 => 2,
        m if m < 99.95 => 1,
        _ => 0,
    };
    format!("{millis:.digits$} ms")
}

/// Bytes in decimal units, three digits of them.
pub(super) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if value < 999.5 {
            break;
        }
        value /= 1e3;
        unit = larger;
    }
    let digits = match value {
        _ if unit == "B" => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// A count, its thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}

/// A rate, with what is expected where that is known: `29.9 / 30`.
pub(super) fn rate(rate_hz: f64, expected: Option<Expected>) -> String {
    match expected {
        Some(Expected {
            hz,
            is_nominal: true,
        }) => format!("{rate_hz:.0} / {hz:.0}"),
        Some(Expected { hz, .. }) => format!("{rate_hz:.0} / ≈{hz:.0}"),
        None => format!("{rate_hz:.0}"),
    }
}

/// Rate that a stream should have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Expected {
    /// [Hz].
    pub hz: f64,
    /// From `rig.toml`; else what the device has done so far.
    pub is_nominal: bool,
}

/// Free space, and for how long it lasts at `bytes_per_s` where that is known.
pub(super) fn disk(free_bytes: u64, bytes_per_s: Option<f64>) -> String {
    if free_bytes == 0 {
        return "disk: free space unknown".to_owned();
    }
    let free = bytes(free_bytes);
    match bytes_per_s
        .filter(|&rate| rate > 0.0)
        .map(|rate| free_bytes as f64 / rate / 60.0)
    {
        Some(minutes) if minutes < 120.0 => {
            format!("disk: {free} free, enough for {minutes:.0} min")
        }
        Some(minutes) => format!("disk: {free} free, enough for {:.0} h", minutes / 60.0),
        None => format!("disk: {free} free"),
    }
}

/// What the clock of a stream is worth, in a sentence.
pub fn about_clock(status: &StreamStatus) -> String {
    match status.clock.as_str() {
        "arrival" | "" => "No clock of its own: dated by arrival.".to_owned(),
        "kernel" => "Stamped by the kernel on this computer's clock.".to_owned(),
        _ => format!(
            "Its clock is {:+.1} ppm off this computer's. 95 % of packets are less than {} late; times \
             are not further than {} from the truth, by the fit.",
            status.skew_ppm,
            millis(status.residual_p95_s),
            millis(status.bound_s)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> StreamStatus {
        StreamStatus {
            stream: "/camera/wrist/image".to_owned(),
            rate_hz: 30.0,
            age_s: 0.01,
            clock: "locked".to_owned(),
            ..StreamStatus::default()
        }
    }

    #[test]
    fn the_worst_thing_is_said_first() {
        let judge = |change: fn(&mut StreamStatus)| {
            let mut stream = stream();
            change(&mut stream);
            let verdict = Verdict::of(&stream, Some(30.0));
            (verdict.severity, verdict.text, verdict.is_silent)
        };
        let text = str::to_owned;
        assert_eq!(judge(|_| {}), (Severity::Good, text("good"), false));
        assert_eq!(
            judge(|s| s.age_s = -1.0),
            (Severity::Waiting, text("no data yet"), true)
        );
        let gone = judge(|s| (s.age_s, s.rate_hz, s.lost) = (3.21, 0.0, 4));
        assert_eq!(gone, (Severity::Fault, text("silent for 3.2 s"), true));
        let unplugged = judge(|s| (s.problem, s.age_s) = (Some("unplugged".to_owned()), 9.0));
        assert_eq!(unplugged, (Severity::Fault, text("unplugged"), true));
        let said = "`/camera/wrist/image` at http://10.0.0.2/s.mjpg is gone: no route to host";
        let gone = Verdict::of(
            &StreamStatus {
                problem: Some(said.to_owned()),
                ..stream()
            },
            None,
        );
        assert_eq!(gone.text, "gone: no route to host");
        let slow = judge(|s| s.rate_hz = 20.0);
        assert_eq!(slow, (Severity::Warning, text("slow: 20 of 30 Hz"), false));
        assert_eq!(judge(|s| s.rate_hz = 12.0).0, Severity::Fault);
        let counts = judge(|s| (s.lost, s.suspect) = (1200, 3));
        assert_eq!(
            counts,
            (Severity::Warning, text("1\u{a0}200 lost, 3 suspect"), false)
        );
        assert_eq!(
            judge(|s| s.clock = "acquiring".to_owned()).0,
            Severity::Waiting
        );
    }

    #[test]
    fn a_slow_stream_is_silent_only_after_five_periods() {
        let slow = StreamStatus {
            rate_hz: 0.5,
            age_s: 4.0,
            ..stream()
        };
        assert_eq!(Verdict::of(&slow, Some(0.5)).severity, Severity::Good);
        assert!(
            Verdict::of(
                &StreamStatus {
                    age_s: 11.0,
                    ..slow
                },
                Some(0.5)
            )
            .is_silent
        );
    }

    #[test]
    fn streams_have_plain_names() {
        assert_eq!(stream_name("/exo/right/encoders"), "Right hand joints");
        assert_eq!(stream_name("/exo/left/force/thumb"), "Left thumb force");
        assert_eq!(stream_name("/camera/wrist_up/image"), "Wrist up camera");
        assert_eq!(stream_name("/imu/head"), "Head inertial sensor");
        assert_eq!(stream_name("/glove/left/keypoints"), "Left glove");
        assert_eq!(stream_name("/sonar/left"), "/sonar/left");
    }

    #[test]
    fn numbers_keep_their_width_and_never_round_up_to_a_full_unit() {
        assert_eq!(timer(0.0), "0:00.0");
        assert_eq!(timer(59.99), "0:59.9");
        assert_eq!(timer(0.3), "0:00.3");
        assert_eq!(timer(245.2), "4:05.2");
        assert_eq!(timer(3723.0), "1:02:03");
        assert_eq!(age(0.0042), "4 ms");
        assert_eq!(age(0.9999), "1.0 s");
        assert_eq!(age(-1.0), "–");
        assert_eq!(
            [millis(0.00042), millis(0.03236), millis(0.3)],
            ["0.42 ms", "32.4 ms", "300 ms"]
        );
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999_600), "1.00 MB");
        assert_eq!(bytes(53_210_000_000), "53.2 GB");
        assert_eq!(bytes(2_000_000_000_000), "2000 GB");
        assert_eq!(count(12_345_678), "12\u{a0}345\u{a0}678");
    }

    #[test]
    fn disk_tells_how_long_it_lasts() {
        assert_eq!(disk(0, None), "disk: free space unknown");
        assert_eq!(disk(50_000_000_000, None), "disk: 50.0 GB free");
        assert_eq!(
            disk(50_000_000_000, Some(8e6)),
            "disk: 50.0 GB free, enough for 104 min"
        );
        assert_eq!(
            disk(500_000_000_000, Some(8e6)),
            "disk: 500 GB free, enough for 17 h"
        );
    }

    #[test]
    fn a_rate_that_was_only_seen_says_so() {
        let hz = 180.4;
        assert_eq!(
            rate(
                181.0,
                Some(Expected {
                    hz,
                    is_nominal: false
                })
            ),
            "181 / ≈180"
        );
        assert_eq!(
            rate(
                30.0,
                Some(Expected {
                    hz: 30.0,
                    is_nominal: true
                })
            ),
            "30 / 30"
        );
        assert_eq!(rate(30.0, None), "30");
    }
}
