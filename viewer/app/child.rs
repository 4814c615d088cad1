//! The recorder's process: a child in a process group of its own, so that neither
//! a crash of the window nor Ctrl-C in its terminal ends an episode.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use sha2::{Digest, Sha256};

use super::{AppOptions, model::Failure};

/// How much of the recorder's last words is shown [line, byte].
const TAIL_LINES: usize = 14;
const TAIL_BYTES: u64 = 8192;

/// Where a recorder of this session folder listens: the same path each time, so
/// that a new window finds the recorder that an old one left behind.
pub(super) fn socket_of(out: &Path) -> PathBuf {
    let folder = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|folder| folder.is_dir());
    let out = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
    // By what it is, not how it is written, where it exists already.
    let out = out.canonicalize().unwrap_or(out);
    let digest = Sha256::digest(out.as_os_str().as_bytes());
    let name: String = digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    folder
        .unwrap_or_else(std::env::temp_dir)
        .join(format!("dexumi-{name}.sock"))
}

/// A recorder that this window has started.
#[derive(Debug)]
pub(super) struct RecorderChild {
    child: Child,
    log: Log,
}

impl RecorderChild {
    /// Starts `program record …`, which will listen on `socket`.
    ///
    /// # Errors
    /// The session folder or the log cannot be written, or the program not be run.
    pub fn start(program: &OsStr, options: &AppOptions, socket: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(&options.out)?;
        let (file, log) = Log::open(&options.out)?;
        // Left behind by a recorder that was killed; whoever listened would have answered.
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut command = Command::new(program);
        command
            .arg("record")
            .arg("--rig")
            .arg(&options.rig)
            .arg("--out")
            .arg(&options.out);
        command
            .arg("--task")
            .arg(&options.task)
            .arg("--control")
            .arg(socket);
        if let Some(calibration) = &options.calibration {
            command.arg("--calibration").arg(calibration);
        }
        command.args(options.remote.to_arguments());
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0);
        Ok(Self {
            child: command.spawn()?,
            log,
        })
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// What it has said so far.
    pub fn log(&self) -> &Log {
        &self.log
    }
}

/// What a recorder says: a file in the session folder.
#[derive(Debug, Clone)]
pub(super) struct Log {
    path: PathBuf,
    /// Before this, other runs speak [byte].
    from: u64,
}

impl Log {
    /// For a recorder that runs already.
    pub fn of_running(out: &Path) -> Self {
        Self {
            path: out.join("recorder.log"),
            from: 0,
        }
    }

    fn open(out: &Path) -> std::io::Result<(File, Self)> {
        let path = out.join("recorder.log");
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        let from = file.seek(SeekFrom::End(0))?;
        Ok((file, Self { path, from }))
    }

    /// The last lines of this run; none where it cannot be read.
    pub fn tail(&self) -> Vec<String> {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            let end = file.metadata()?.len();
            file.seek(SeekFrom::Start(
                self.from.max(end.saturating_sub(TAIL_BYTES)),
            ))?;
            let mut bytes = Vec::new();
            file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..]
            .iter()
            .map(|&line| line.to_owned())
            .collect()
    }

    /// A failure, with the last lines.
    pub fn failure(&self, what: impl Into<String>) -> Failure {
        Failure {
            what: what.into(),
            lines: self.tail(),
            log: self.path.display().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::RemoteArguments;

    fn options(out: &Path) -> AppOptions {
        AppOptions {
            rig: PathBuf::from("rig.toml"),
            out: out.to_owned(),
            calibration: Some(PathBuf::from("hand.toml")),
            task: "pick up".to_owned(),
            socket: None,
            remote: RemoteArguments {
                http: Some(([127, 0, 0, 1], 9000).into()),
                live: Some(([0, 0, 0, 0], 8765).into()),
                token_file: Some(PathBuf::from("token")),
            },
        }
    }

    #[test]
    fn a_session_folder_has_one_socket_however_it_is_written() {
        let folder = tempfile::tempdir().expect("folder");
        let out = folder.path().join("session");
        std::fs::create_dir(&out).expect("session");
        let detour = folder.path().join("session/../session");
        assert_eq!(socket_of(&out), socket_of(&detour));
        assert_ne!(socket_of(&out), socket_of(folder.path()));
        assert!(
            socket_of(&out).as_os_str().len() < 100,
            "longer paths cannot be bound"
        );
    }

    #[test]
    fn the_child_gets_its_arguments_and_only_its_own_words_are_shown() {
        let folder = tempfile::tempdir().expect("folder");
        let out = folder.path().join("new");
        std::fs::create_dir(&out).expect("session");
        std::fs::write(out.join("recorder.log"), "an older run\n").expect("log");
        let socket = folder.path().join("s.sock");
        std::fs::write(&socket, "").expect("left behind");
        let mut child =
            RecorderChild::start(OsStr::new("echo"), &options(&out), &socket).expect("echo runs");
        assert!(child.child.wait().expect("ends").success());
        assert!(child.ended().is_some());
        let rest = format!(
            "--out {} --task pick up --control {}",
            out.display(),
            socket.display()
        );
        assert_eq!(
            child.log().tail(),
            [format!(
                "record --rig rig.toml {rest} --calibration hand.toml \
                 --http 127.0.0.1:9000 --live 0.0.0.0:8765 --token-file token"
            )]
        );
        assert!(!socket.exists());
    }
}
