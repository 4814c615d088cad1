//! An emulated serial port: a pseudo-terminal behind a stable link, as udev
//! keeps them under `/dev/serial/by-id`.

use std::{
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::symlink,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll, ppoll},
    pty::openpty,
    sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr},
    unistd::{read, ttyname, write},
};

/// What became of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// All of them are in the kernel's buffer.
    Whole,
    /// The buffer is full: some are lost.
    Overrun,
    /// Nobody has the port open.
    Nobody,
    /// Someone had it open and has closed it since the last writing.
    ReaderLeft,
}

/// What came from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// Some bytes.
    Bytes,
    /// Nothing, in the time there was.
    Nothing,
    /// Nobody has the port open: nothing can come, and nothing was waited.
    Nobody,
}

/// The device's end of the port.
pub(super) struct Pty {
    link: PathBuf,
    /// `None` while unplugged.
    master: Option<OwnedFd>,
    was_open: bool,
}

impl Pty {
    /// A port behind `link`.
    pub fn create(link: &Path) -> std::io::Result<Self> {
        let mut pty = Self {
            link: link.to_owned(),
            master: None,
            was_open: false,
        };
        pty.plug()?;
        Ok(pty)
    }

    /// Takes the port away: a reader sees a hangup, the link is gone.
    pub fn unplug(&mut self) {
        let _ = std::fs::remove_file(&self.link);
        self.master = None;
        self.was_open = false;
    }

    /// A new port behind the same link.
    pub fn plug(&mut self) -> std::io::Result<()> {
        let pair = openpty(None, None)?;
        let mut settings = tcgetattr(&pair.slave)?;
        cfmakeraw(&mut settings);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &settings)?;
        fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let target = ttyname(&pair.slave)?;
        // In one step, so that nobody meets a moment without a link.
        let temporary = self.link.with_extension("new");
        let _ = std::fs::remove_file(&temporary);
        symlink(target, &temporary)?;
        std::fs::rename(&temporary, &self.link)?;
        self.master = Some(pair.master);
        self.was_open = false;
        // Our copy of the slave ends here: from now on the master hangs up
        // whenever nobody has the port open.
        Ok(())
    }

    /// Waits for bytes of the host, at most so long.
    pub fn receive(&mut self, wait: Duration, bytes: &mut Vec<u8>) -> std::io::Result<Received> {
        let Some(master) = &self.master else {
            return Ok(Received::Nobody);
        };
        let mut ready = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
        ppoll(&mut ready, Some(wait.into()), None)?;
        let events = ready[0].revents().unwrap_or(PollFlags::empty());
        if events.contains(PollFlags::POLLHUP) {
            return Ok(Received::Nobody);
        }
        if !events.contains(PollFlags::POLLIN) {
            return Ok(Received::Nothing);
        }
        let mut buffer = [0; 256];
        match read(master, &mut buffer) {
            Ok(count) => {
                bytes.extend_from_slice(&buffer[..count]);
                Ok(Received::Bytes)
            }
            Err(Errno::EAGAIN) => Ok(Received::Nothing),
            Err(Errno::EIO) => Ok(Received::Nobody),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes without waiting; nothing is kept for a reader who is not there.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<Written> {
        let Some(master) = &self.master else {
            return Ok(Written::Nobody);
        };
        let mut ready = [PollFd::new(master.as_fd(), PollFlags::POLLOUT)];
        poll(&mut ready, PollTimeout::ZERO)?;
        if ready[0]
            .revents()
            .is_some_and(|events| events.contains(PollFlags::POLLHUP))
        {
            if !std::mem::take(&mut self.was_open) {
                return Ok(Written::Nobody);
            }
            // What the reader left unread, and its lock on the port, would meet
            // the next one: give that one a new port.
            self.plug()?;
            return Ok(Written::ReaderLeft);
        }
        self.was_open = true;
        match write(master, bytes) {
            Ok(count) if count == bytes.len() => Ok(Written::Whole),
            Ok(_) | Err(Errno::EAGAIN) => Ok(Written::Overrun),
            Err(Errno::EIO) => Ok(Written::Nobody),
            Err(error) => Err(error.into()),
        }
    }
}

impl Pty {
    /// What was said to the device since it last listened; `None` when whoever had
    /// the port open has closed it.
    pub fn hear(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut heard = Vec::new();
        let Some(master) = &self.master else {
            return Ok(Some(heard));
        };
        let mut ready = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
        poll(&mut ready, PollTimeout::ZERO)?;
        let events = ready[0].revents().unwrap_or(PollFlags::empty());
        if events.contains(PollFlags::POLLHUP) {
            if !std::mem::take(&mut self.was_open) {
                return Ok(Some(heard));
            }
            // As in `write`.
            self.plug()?;
            return Ok(None);
        }
        self.was_open = true;
        let mut buffer = [0; 512];
        while let Ok(count @ 1..) = read(master, &mut buffer) {
            heard.extend_from_slice(&buffer[..count]);
        }
        Ok(Some(heard))
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        self.unplug();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{File, OpenOptions},
        io::{Read, Write},
        os::unix::fs::OpenOptionsExt,
    };

    use super::*;

    /// Not as the controlling terminal of the test, whose hangup would end it.
    fn open(link: &Path) -> File {
        let flags = OFlag::O_NOCTTY.bits();
        OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(link)
            .expect("open")
    }

    #[test]
    fn nothing_piles_up_for_a_reader_who_is_not_there() {
        let folder = tempfile::tempdir().expect("folder");
        let link = folder.path().join("port");
        let mut pty = Pty::create(&link).expect("pty");
        assert_eq!(pty.write(b"before").expect("write"), Written::Nobody);
        let mut reader = open(&link);
        assert_eq!(pty.write(b"first").expect("write"), Written::Whole);
        let mut bytes = [0; 16];
        let count = reader.read(&mut bytes).expect("read");
        assert_eq!(&bytes[..count], b"first");
        assert_eq!(pty.write(b"unread").expect("write"), Written::Whole);
        drop(reader);
        assert_eq!(pty.write(b"between").expect("write"), Written::ReaderLeft);
        let mut reader = open(&link);
        assert_eq!(pty.write(b"second").expect("write"), Written::Whole);
        let count = reader.read(&mut bytes).expect("read");
        assert_eq!(&bytes[..count], b"second");
    }

    #[test]
    fn what_is_said_to_the_device_is_heard() {
        let folder = tempfile::tempdir().expect("folder");
        let link = folder.path().join("port");
        let mut pty = Pty::create(&link).expect("pty");
        assert_eq!(
            pty.hear().expect("listen"),
            Some(Vec::new()),
            "nobody there"
        );
        let mut host = OpenOptions::new()
            .write(true)
            .custom_flags(OFlag::O_NOCTTY.bits())
            .open(&link)
            .expect("open");
        host.write_all(b"S").expect("said");
        assert_eq!(pty.hear().expect("listen"), Some(b"S".to_vec()));
        drop(host);
        assert_eq!(pty.hear().expect("listen"), None, "gone");
        assert_eq!(pty.hear().expect("listen"), Some(Vec::new()));
    }

    #[test]
    fn a_reader_who_does_not_read_never_blocks_the_device() {
        let folder = tempfile::tempdir().expect("folder");
        let link = folder.path().join("port");
        let mut pty = Pty::create(&link).expect("pty");
        let _reader = open(&link);
        let overrun =
            (0..10_000).any(|_| pty.write(&[0x55; 64]).expect("write") == Written::Overrun);
        assert!(overrun);
    }

    #[test]
    fn unplugging_ends_a_reader_and_plugging_in_serves_the_next() {
        let folder = tempfile::tempdir().expect("folder");
        let link = folder.path().join("port");
        let mut pty = Pty::create(&link).expect("pty");
        let mut reader = open(&link);
        pty.unplug();
        let mut bytes = [0; 16];
        assert!(matches!(reader.read(&mut bytes), Ok(0) | Err(_)));
        assert!(!link.exists());
        pty.plug().expect("plug");
        let mut reader = open(&link);
        assert_eq!(pty.write(b"again").expect("write"), Written::Whole);
        let count = reader.read(&mut bytes).expect("read");
        assert_eq!(&bytes[..count], b"again");
    }
}
