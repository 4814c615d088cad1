//! A program whose output is read as it is written, or a named pipe that some
//! other program writes to.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            fs::{FileTypeExt, OpenOptionsExt},
            process::CommandExt,
        },
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use dexumi_episode::HostTime;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::openpty,
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, killpg},
        termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr},
    },
    unistd::Pid,
};

/// How long a program may take to end when it is asked to.
const FAREWELL: Duration = Duration::from_millis(500);

/// What was read.
pub(super) enum Chunk {
    /// So many bytes of its output, at the start of the buffer.
    Output(usize, HostTime),
    /// So many bytes of its complaints.
    Complaint(usize),
    /// Nothing, for as long as was asked.
    Nothing,
    /// It has ended.
    End,
}

/// Where lines come from.
pub(super) struct Feed {
    output: File,
    /// Of a program that was started here.
    program: Option<Program>,
}

struct Program {
    child: Child,
    errors: Option<File>,
}

impl Drop for Program {
    fn drop(&mut self) {
        // The whole group: the program may be a pipeline of several.
        let group = Pid::from_raw(self.child.id() as i32);
        let _ = killpg(group, Signal::SIGTERM);
        let end = Instant::now() + FAREWELL;
        while Instant::now() < end {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Whether an address is a named pipe; else it is a command.
pub(super) fn is_pipe(address: &str) -> bool {
    std::fs::metadata(address).is_ok_and(|about| about.file_type().is_fifo())
}

impl Feed {
    /// Opens a named pipe. A writer may come later.
    pub fn pipe(path: &Path) -> std::io::Result<Self> {
        let output = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path)?;
        Ok(Self {
            output,
            program: None,
        })
    }

    /// Starts a command by the shell.
    pub fn start(command: &str) -> std::io::Result<Self> {
        // On a terminal a C program writes each line when it is complete; into a
        // pipe it would write when 4096 bytes have come together.
        let pair = openpty(None, None)?;
        let mut settings = tcgetattr(&pair.slave)?;
        cfmakeraw(&mut settings);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &settings)?;
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", command])
            .stdin(Stdio::null())
            .stdout(pair.slave)
            .stderr(Stdio::piped())
            .process_group(0);
        // SAFETY: prctl is async-signal-safe and touches no memory.
        unsafe {
            // Nobody is left holding the trackers when this program is killed.
            shell.pre_exec(|| set_pdeathsig(Signal::SIGTERM).map_err(std::io::Error::from));
        }
        let mut child = shell.spawn()?;
        // The last copy of the terminal's other side is the program's.
        drop(shell);
        let errors = child
            .stderr
            .take()
            .map(|errors| File::from(OwnedFd::from(errors)));
        for file in errors.iter().map(AsFd::as_fd).chain([pair.master.as_fd()]) {
            fcntl(file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Self {
            output: File::from(pair.master),
            program: Some(Program { child, errors }),
        })
    }

    /// How the program ended and what it said last, if it ends before it writes
    /// anything and within so long.
    pub fn end_within(&mut self, longest: Duration) -> std::io::Result<Option<String>> {
        let Some(program) = &mut self.program else {
            return Ok(None);
        };
        let end = Instant::now() + longest;
        loop {
            if let Some(status) = program.child.try_wait()? {
                let mut said = Vec::new();
                if let Some(errors) = &mut program.errors {
                    // To what is there; more may be held open by others.
                    let _ = errors.read_to_end(&mut said);
                }
                let said = String::from_utf8_lossy(&said);
                let last = said.lines().last().unwrap_or_default();
                return Ok(Some(format!("{status} {last}").trim().to_owned()));
            }
            let mut files = [PollFd::new(self.output.as_fd(), PollFlags::POLLIN)];
            let wrote = poll(&mut files, PollTimeout::from(10_u8)).unwrap_or(0) > 0
                && files[0]
                    .revents()
                    .is_some_and(|e| e.contains(PollFlags::POLLIN));
            if wrote || Instant::now() >= end {
                return Ok(None);
            }
        }
    }

    /// Waits for something to read, at most so long.
    pub fn read(&mut self, buffer: &mut [u8], longest: Duration) -> std::io::Result<Chunk> {
        let errors = self
            .program
            .as_ref()
            .and_then(|program| program.errors.as_ref());
        let mut files: Vec<PollFd<'_>> = [Some(&self.output), errors]
            .into_iter()
            .flatten()
            .map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN))
            .collect();
        let timeout = PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX);
        match poll(&mut files, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Chunk::Nothing),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |file: &PollFd<'_>| file.revents().is_some_and(|events| !events.is_empty());
        let (output_ready, errors_ready) = (ready(&files[0]), files.get(1).is_some_and(ready));
        if output_ready {
            return match self.output.read(buffer) {
                Ok(0) => Ok(Chunk::End),
                Ok(count) => Ok(Chunk::Output(count, HostTime::now())),
                // A terminal whose other side is closed.
                Err(error) if error.raw_os_error() == Some(Errno::EIO as i32) => Ok(Chunk::End),
                Err(error) if is_nothing(&error) => Ok(Chunk::Nothing),
                Err(error) => Err(error),
            };
        }
        if let Some(program) = self.program.as_mut().filter(|_| errors_ready)
            && let Some(errors) = &mut program.errors
        {
            match errors.read(buffer) {
                Ok(0) => program.errors = None,
                Ok(count) => return Ok(Chunk::Complaint(count)),
                Err(error) if is_nothing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Chunk::Nothing)
    }
}

fn is_nothing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
