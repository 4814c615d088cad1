//! Starts the binary and the emulated rig.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The program under test.
pub fn dexumi() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dexumi"));
    command.stdin(Stdio::null());
    command
}

/// Runs to the end.
pub fn run(arguments: &[&str]) -> Output {
    dexumi()
        .args(arguments)
        .output()
        .expect("the binary should start")
}

/// Runs to the end, and wants one of these exit codes.
pub fn run_well(arguments: &[&str], codes: &[i32]) -> Output {
    let output = run(arguments);
    let code = output.status.code().unwrap_or(-1);
    assert!(
        codes.contains(&code),
        "dexumi {} ended with {code}, expected one of {codes:?}:\n{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Standard output as JSON.
pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error} in: {}", String::from_utf8_lossy(&output.stdout)))
}

/// Held by a test that measures times: two at once would disturb each other.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An emulated rig, ended when dropped; one at a time.
pub struct Rig {
    child: Child,
    /// Its rig.toml.
    pub rig: PathBuf,
    /// Its truth file.
    pub truth: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Rig {
    /// Starts one in a folder.
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        let alone = alone();
        let (rig, truth) = (folder.join("rig.toml"), folder.join("truth.jsonl"));
        let log = std::fs::File::create(folder.join("emulator.log")).expect("a log file");
        let mut child = dexumi()
            .arg("emulate")
            .args([
                "--out".as_ref(),
                rig.as_os_str(),
                "--truth".as_ref(),
                truth.as_os_str(),
            ])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the emulator should start");
        let began = Instant::now();
        while !rig.exists() {
            let ended = child.try_wait().expect("a child");
            let said = || std::fs::read_to_string(folder.join("emulator.log")).unwrap_or_default();
            assert!(ended.is_none(), "the emulator ended: {}", said());
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "the emulator is not up: {}",
                said()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            child,
            rig,
            truth,
            _alone: alone,
        }
    }

    /// Ends it, so that its truth file is complete.
    pub fn stop(mut self) -> PathBuf {
        self.end();
        self.truth.clone()
    }

    fn end(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT);
        let _ = self.child.wait();
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.end();
    }
}

/// Recordings made by others, beside the checkout; `None`, with a word, where
/// they are absent.
pub fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/data")
        .join(name);
    if !path.exists() {
        eprintln!("skipped: {} is absent", path.display());
        return None;
    }
    Some(path)
}

/// Whether the long form of a test is wanted.
pub fn long() -> bool {
    std::env::var_os("DEXUMI_LONG").is_some()
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}
