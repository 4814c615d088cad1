//! Talk goes to stderr, results to stdout; a progress bar on a terminal, plain
//! lines otherwise.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Progress of long work.
pub struct Progress {
    bar: Option<ProgressBar>,
    what: String,
    total: u64,
    last: Instant,
}

impl Progress {
    /// `total` steps of `what`.
    pub fn new(what: &str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            let style = ProgressStyle::with_template("{msg:24} {wide_bar} {pos}/{len} {eta}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(what.to_owned());
            bar
        });
        Self {
            bar,
            what: what.to_owned(),
            total,
            last: Instant::now(),
        }
    }

    /// How far it is.
    pub fn set(&mut self, done: u64) {
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None => {
                if self.last.elapsed() > Duration::from_secs(5) {
                    self.last = Instant::now();
                    eprintln!("{}: {done} of {}", self.what, self.total);
                }
            }
        }
    }

    /// It is done.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// 1 as "1 episode", 2 as "2 episodes".
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// 1234567 as "1.2 MB".
pub fn bytes(count: u64) -> String {
    let count = count as f64;
    let (scaled, unit) = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")]
        .into_iter()
        .find(|(scale, _)| count >= *scale)
        .map_or((count, "B"), |(scale, unit)| (count / scale, unit));
    format!("{scaled:.1} {unit}")
}

/// Now as RFC 3339, UTC, whole seconds.
pub fn now_rfc3339() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    rfc3339(now.map_or(0, |since| since.as_secs() as i64))
}

/// Seconds since the UNIX epoch as RFC 3339, UTC. The civil date by H. Hinnant,
/// "chrono-compatible low-level date algorithms" (days_to_civil).
pub fn rfc3339(unix_s: i64) -> String {
    let (days, second) = (unix_s.div_euclid(86_400), unix_s.rem_euclid(86_400));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_764_000_000), "2025-11-24T16:00:00Z");
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(bytes(999), "999.0 B");
        assert_eq!(bytes(1_500_000), "1.5 MB");
    }
}
