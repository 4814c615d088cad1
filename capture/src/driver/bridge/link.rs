//! The connection to a bridge: a program started here, or one that listens.

use std::{
    fs::File,
    net::{TcpStream, ToSocketAddrs},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::Command,
    time::Duration,
};

use dexumi_episode::Device;

use super::super::{child::Child, options::Options};
use crate::error::CaptureError;

/// A read returns after this long without data.
const READ_TIMEOUT: Duration = Duration::from_millis(50);
/// A bridge that takes no order for longer hangs.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// An open connection. The socket is closed before the program is ended, so that
/// it can end by itself.
pub(super) struct Link {
    pub socket: File,
    pub child: Option<Child>,
}

fn failed(device: &Device, problem: impl ToString, next: &str) -> CaptureError {
    CaptureError::Open {
        stream: device.stream.clone(),
        address: device.address.clone(),
        problem: problem.to_string(),
        next: next.to_owned(),
    }
}

/// The command that the entries of a connection give; one of them is enough.
fn command(devices: &[Device]) -> Result<Option<Vec<String>>, CaptureError> {
    let command = Options::of(devices, &["command"])?.strings("command")?;
    if command.as_ref().is_some_and(Vec::is_empty) {
        return Err(failed(
            &devices[0],
            "its command is empty",
            "name the program",
        ));
    }
    Ok(command)
}

/// Opens the connection that these entries share.
pub(super) fn open(devices: &[Device]) -> Result<Link, CaptureError> {
    let device = &devices[0];
    let command = command(devices)?;
    let (socket, child): (OwnedFd, _) = match (device.address.split_once(':'), command) {
        (Some(("child", _)), Some(command)) => {
            let (ours, theirs) =
                UnixStream::pair().map_err(|error| failed(device, error, "close some files"))?;
            let mut program = Command::new(&command[0]);
            program.args(&command[1..]).env("DEXUMI_BRIDGE", "stdin");
            let child = Child::start(&mut program, OwnedFd::from(theirs).into(), false).map_err(
                |error| {
                    let problem = format!("cannot start `{}`: {error}", command.join(" "));
                    failed(device, problem, "is it installed, and the path right?")
                },
            )?;
            (limited_unix(ours, device)?, Some(child))
        }
        (Some(("unix", path)), None) => {
            let socket = UnixStream::connect(path)
                .map_err(|error| failed(device, error, "is the bridge running?"))?;
            (limited_unix(socket, device)?, None)
        }
        (Some(("tcp", host)), None) => {
            let address = host.to_socket_addrs().ok().and_then(|mut all| all.next());
            let address = address.ok_or_else(|| {
                failed(
                    device,
                    format!("`{host}` is no address"),
                    "write tcp:HOST:PORT",
                )
            })?;
            let socket = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)
                .map_err(|error| failed(device, error, "is the bridge running?"))?;
            let _ = socket.set_nodelay(true);
            let limited = socket
                .set_read_timeout(Some(READ_TIMEOUT))
                .and_then(|()| socket.set_write_timeout(Some(WRITE_TIMEOUT)));
            limited.map_err(|error| failed(device, error, "close some files"))?;
            (socket.into(), None)
        }
        (Some(("child", _)), None) => {
            let next = "add options = { command = [\"python3\", \"bridges/oak.py\"] } to one entry";
            return Err(failed(device, "no entry has a command to start", next));
        }
        (Some(("unix" | "tcp", _)), Some(_)) => {
            let next = "write the address as child:NAME, or remove the command";
            return Err(failed(device, "it has a command and an address", next));
        }
        _ => {
            let next = "write child:NAME with a command, tcp:HOST:PORT or unix:PATH";
            return Err(failed(device, "not a bridge's address", next));
        }
    };
    Ok(Link {
        socket: File::from(socket),
        child,
    })
}

/// Timeouts hold for the socket, whatever it is read through.
fn limited_unix(socket: UnixStream, device: &Device) -> Result<OwnedFd, CaptureError> {
    socket
        .set_read_timeout(Some(READ_TIMEOUT))
        .and_then(|()| socket.set_write_timeout(Some(WRITE_TIMEOUT)))
        .map_err(|error| failed(device, error, "close some files"))?;
    Ok(socket.into())
}
