//! Where an emulated bridge listens.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::PathBuf,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Wake-up to look at the stop flag.
const WAIT: Duration = Duration::from_millis(50);
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Where it listens.
pub(super) enum Listener {
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener, SocketAddr),
}

impl Listener {
    pub fn unix(path: PathBuf) -> std::io::Result<Self> {
        let _ = std::fs::remove_file(&path);
        Ok(Self::Unix(UnixListener::bind(&path)?, path))
    }

    pub fn tcp(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        Ok(Self::Tcp(listener, address))
    }

    /// Closes it; what opens it again.
    pub fn close(self) -> impl Fn() -> std::io::Result<Self> {
        let (path, address) = match self {
            Self::Unix(listener, path) => {
                drop(listener);
                let _ = std::fs::remove_file(&path);
                (Some(path), None)
            }
            Self::Tcp(_, address) => (None, Some(address)),
        };
        move || match (&path, address) {
            (Some(path), _) => Self::unix(path.clone()),
            (None, Some(address)) => Self::tcp(address),
            (None, None) => unreachable!("it was one of the two"),
        }
    }

    pub fn address(&self) -> String {
        match self {
            Self::Unix(_, path) => format!("unix:{}", path.display()),
            Self::Tcp(_, address) => format!("tcp:{address}"),
        }
    }

    /// Waits a moment for a connection.
    pub fn accept(&self) -> Option<File> {
        let fd = match self {
            Self::Unix(listener, _) => listener.as_fd(),
            Self::Tcp(listener, _) => listener.as_fd(),
        };
        let mut ready = [PollFd::new(fd, PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(WAIT.as_millis() as u8)).ok()? == 0 {
            return None;
        }
        let socket: OwnedFd = match self {
            Self::Unix(listener, _) => {
                let (socket, _) = listener.accept().ok()?;
                socket.set_read_timeout(Some(WAIT)).ok()?;
                socket.set_write_timeout(Some(WRITE_TIMEOUT)).ok()?;
                socket.into()
            }
            Self::Tcp(listener, _) => {
                let (socket, _) = listener.accept().ok()?;
                let _ = socket.set_nodelay(true);
                socket.set_read_timeout(Some(WAIT)).ok()?;
                socket.set_write_timeout(Some(WRITE_TIMEOUT)).ok()?;
                socket.into()
            }
        };
        Some(File::from(socket))
    }
}
