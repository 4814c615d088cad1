//! A program that a driver runs: it ends with the driver, and what it said last
//! is known when it ends before.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};

/// Lines that are kept of what it says.
const LINES: usize = 8;
/// No line is kept longer [byte].
const LINE_BYTES: u64 = 400;
/// For a program to end by itself after its input has ended, and after a signal.
const GRACE: Duration = Duration::from_millis(400);

/// A running program with its own process group.
pub(super) struct Child {
    process: std::process::Child,
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Child {
    /// Starts it. Its errors are read here; its output too, unless it goes to the
    /// driver.
    pub fn start(
        command: &mut Command,
        stdin: Stdio,
        output_to_driver: bool,
    ) -> std::io::Result<Self> {
        let (said, says) = std::io::pipe()?;
        let stdout = match output_to_driver {
            true => Stdio::piped(),
            false => says.try_clone()?.into(),
        };
        let process = command
            .stdin(stdin)
            .stdout(stdout)
            .stderr(says)
            // Its own group: a Ctrl-C meant for the recorder does not end it
            // mid-episode, and what it starts itself ends with it.
            .process_group(0)
            .spawn()?;
        // The command would keep our copy of the pipe open, and it would never end.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let lines = Arc::<Mutex<VecDeque<String>>>::default();
        let kept = lines.clone();
        std::thread::Builder::new()
            .name("child's words".to_owned())
            .spawn(move || keep_lines(said, &kept))?;
        Ok(Self { process, lines })
    }

    /// Its output, once, where it goes to the driver.
    pub fn take_output(&mut self) -> Option<ChildStdout> {
        self.process.stdout.take()
    }

    /// How it ended, if it did within a moment, and what it said last.
    pub fn last_words(&self) -> String {
        let ended = match self.ends_within(GRACE) {
            Some(WaitStatus::Exited(_, code)) => format!("its program ended with status {code}"),
            Some(WaitStatus::Signaled(_, signal, _)) => {
                format!("its program was ended by signal {signal}")
            }
            _ => "its program has closed the connection".to_owned(),
        };
        // What it said just before may still be on its way through the pipe.
        std::thread::sleep(Duration::from_millis(20));
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.is_empty() {
            true => ended,
            false => {
                let lines: Vec<_> = lines.iter().map(String::as_str).collect();
                format!("{ended}; it said last: {}", lines.join(" / "))
            }
        }
    }

    fn id(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }

    /// How it has ended, if it has by then. It is not reaped: until it is, nobody
    /// else can have its group's number.
    fn ends_within(&self, time: Duration) -> Option<WaitStatus> {
        let end = Instant::now() + time;
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        loop {
            match waitid(Id::Pid(self.id()), flags) {
                Ok(WaitStatus::StillAlive) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Ok(WaitStatus::StillAlive) | Err(_) => return None,
                Ok(status) => return Some(status),
            }
        }
    }
}

impl Drop for Child {
    /// Asks it to end, then ends it. The driver's end of the connection must be
    /// closed before, so that it can end by itself.
    fn drop(&mut self) {
        if self.ends_within(GRACE).is_none() {
            let _ = killpg(self.id(), Signal::SIGTERM);
            self.ends_within(GRACE);
        }
        // Also what it started and left behind.
        let _ = killpg(self.id(), Signal::SIGKILL);
        let _ = self.process.wait();
    }
}

fn keep_lines(said: impl Read, lines: &Mutex<VecDeque<String>>) {
    let mut said = BufReader::new(said);
    let mut line = Vec::new();
    loop {
        line.clear();
        match said.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if text.is_empty() {
            continue;
        }
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Child::start(&mut command, Stdio::null(), false).expect("a shell")
    }

    fn runs(id: u32) -> bool {
        nix::sys::signal::kill(Pid::from_raw(id.cast_signed()), None).is_ok()
    }

    #[test]
    fn its_last_words_and_its_status_are_kept() {
        let child = shell("for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; done; exit 3");
        let words = child.last_words();
        assert!(words.contains("status 3"), "{words}");
        assert!(
            words.contains("line 10") && !words.contains("line 2 "),
            "{words}"
        );
    }

    #[test]
    fn it_ends_with_its_driver_even_when_it_does_not_want_to() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("pids");
        let script = format!(
            "trap '' TERM; sleep 1000 & echo $$ $! > {}.new; mv {0}.new {0}; wait; sleep 1000",
            file.display()
        );
        let child = shell(&script);
        let end = Instant::now() + Duration::from_secs(10);
        let ids: Vec<u32> = loop {
            if let Ok(text) = std::fs::read_to_string(&file) {
                break text
                    .split_whitespace()
                    .map(|id| id.parse().expect("an id"))
                    .collect();
            }
            assert!(
                Instant::now() < end,
                "the shell has not started within 10 s"
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(ids.len() == 2 && ids.iter().all(|&id| runs(id)));
        drop(child);
        assert!(!runs(ids[0]), "the program itself");
        // The other was its child; it is gone once it has been reaped.
        let end = Instant::now() + Duration::from_secs(10);
        while runs(ids[1]) {
            let state =
                std::fs::read_to_string(format!("/proc/{}/stat", ids[1])).unwrap_or_default();
            if state.contains(") Z ") {
                break;
            }
            assert!(Instant::now() < end, "what it started still runs");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
