//! The sockets of a client: one for commands, and, where the server multicasts,
//! one for data.

use std::{
    io::{Error, ErrorKind},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    os::fd::AsFd,
    time::Duration,
};

use dexumi_episode::HostTime;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use socket2::{Domain, Protocol, Socket, Type};

/// Largest UDP packet.
const BUFFER_BYTES: usize = 65_536;
/// What the kernel keeps while this program is held up: seconds of data.
const KERNEL_BYTES: usize = 4 << 20;

pub(super) struct Link {
    command: UdpSocket,
    /// Where the server multicasts.
    data: Option<UdpSocket>,
    server: SocketAddrV4,
    interface: Ipv4Addr,
    buffer: Vec<u8>,
}

impl Link {
    /// A command socket on `interface`, or on the one that leads to the server.
    pub fn open(server: SocketAddrV4, interface: Option<Ipv4Addr>) -> std::io::Result<Self> {
        let interface = match interface {
            Some(interface) => interface,
            None => {
                // Sends nothing: the kernel says which way it would.
                let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
                probe.connect(server)?;
                match probe.local_addr()? {
                    SocketAddr::V4(local) => *local.ip(),
                    SocketAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
                }
            }
        };
        let command = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        command.bind(&SocketAddrV4::new(interface, 0).into())?;
        Ok(Self {
            command: prepare(command)?,
            data: None,
            server,
            interface,
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// Listens to a multicast group, beside other programs on this computer that
    /// do so.
    pub fn join(&mut self, group: Ipv4Addr, port: u16) -> std::io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        // Bound to the group, it does not hear what else comes to this port.
        socket.bind(&SocketAddrV4::new(group, port).into())?;
        socket.join_multicast_v4(&group, &self.interface)?;
        self.data = Some(prepare(socket)?);
        Ok(())
    }

    /// The interface in use.
    pub fn interface(&self) -> Ipv4Addr {
        self.interface
    }

    /// Sends a command. What does not reach the server is asked again later.
    pub fn send(&self, packet: &[u8]) {
        let _ = self.command.send_to(packet, self.server);
    }

    /// Waits until a packet is there, at most so long.
    pub fn wait(&self, longest: Duration) -> std::io::Result<()> {
        let mut sockets: Vec<PollFd<'_>> = [Some(&self.command), self.data.as_ref()]
            .into_iter()
            .flatten()
            .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
            .collect();
        let timeout = PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX);
        match poll(&mut sockets, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The next packet of the server that is already here, and its arrival.
    pub fn receive(&mut self) -> std::io::Result<Option<(&[u8], HostTime)>> {
        let mut found = None;
        for socket in [Some(&self.command), self.data.as_ref()]
            .into_iter()
            .flatten()
        {
            loop {
                match socket.recv_from(&mut self.buffer) {
                    Ok((count, from)) => {
                        let arrival = HostTime::now();
                        // Another server may use the same group.
                        if from.ip() == SocketAddr::V4(self.server).ip() {
                            found = Some((count, arrival));
                            break;
                        }
                    }
                    Err(error) if is_nothing(&error) => break,
                    Err(error) => return Err(error),
                }
            }
            if found.is_some() {
                break;
            }
        }
        Ok(found.map(|(count, arrival)| (&self.buffer[..count], arrival)))
    }
}

fn prepare(socket: Socket) -> std::io::Result<UdpSocket> {
    // As much of it as the system allows.
    let _ = socket.set_recv_buffer_size(KERNEL_BYTES);
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn is_nothing(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
            // A host's answer to an earlier command: nobody listens there now.
            | ErrorKind::ConnectionRefused
    )
}
