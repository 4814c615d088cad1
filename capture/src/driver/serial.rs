//! A serial port as a source of fixed-length packets.

use std::{
    io::{ErrorKind, Read},
    time::Duration,
};

use dexumi_episode::{Device, HostTime};
use serialport::{SerialPort, TTYPort};

use super::{Output, Source};
use crate::error::CaptureError;

/// Turns bytes into items; no input or output.
pub trait Framer {
    /// Takes bytes that one read gave at `arrival`, appends what they complete.
    fn push(&mut self, bytes: &[u8], arrival: HostTime, out: &mut Output);
    /// Nothing came for a while: let go of what is held back.
    fn idle(&mut self, now: HostTime, out: &mut Output);
}

struct SerialSource<F> {
    port: TTYPort,
    framer: F,
    stream: String,
    address: String,
}

/// Opens a port and puts a framer behind it.
pub fn open<F: Framer + 'static>(
    device: &Device,
    framer: F,
) -> Result<Box<dyn Source>, CaptureError> {
    let failed = |problem: String, next: &str| CaptureError::Open {
        stream: device.stream.clone(),
        address: device.address.clone(),
        problem,
        next: next.to_owned(),
    };
    // Resolved once: a link under /dev/serial/by-id leads to the node of today.
    let path = std::fs::canonicalize(&device.address).map_err(|error| {
        failed(
            match error.kind() {
                ErrorKind::NotFound => "no such port".to_owned(),
                _ => error.to_string(),
            },
            "is the board plugged in? `ls /dev/serial/by-id/` shows what is",
        )
    })?;
    let port = serialport::new(path.to_string_lossy(), device.baud.unwrap_or(921_600))
        .timeout(Duration::from_millis(100))
        .open_native()
        .map_err(|error| {
            let text = error.to_string();
            let lower = text.to_lowercase();
            if lower.contains("busy") || lower.contains("lock") || lower.contains("temporarily") {
                failed(
                    format!("port is busy ({text})"),
                    "another program has it open; close that first",
                )
            } else if lower.contains("permission") {
                failed(text, "add yourself to group `dialout` and log in again")
            } else {
                failed(text, "check the address in rig.toml")
            }
        })?;
    // What the kernel kept from before the opening has no arrival time.
    let _ = port.clear(serialport::ClearBuffer::Input);
    Ok(Box::new(SerialSource {
        port,
        framer,
        stream: device.stream.clone(),
        address: device.address.clone(),
    }))
}

impl<F: Framer> Source for SerialSource<F> {
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError> {
        let mut buffer = [0; 4096];
        let gone = |problem: &str| CaptureError::Gone {
            stream: self.stream.clone(),
            address: self.address.clone(),
            problem: problem.to_owned(),
        };
        match self.port.read(&mut buffer) {
            Ok(0) => Err(gone("end of file")),
            Ok(count) => {
                let arrival = HostTime::now();
                self.framer.push(&buffer[..count], arrival, out);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                self.framer.idle(HostTime::now(), out);
                Ok(())
            }
            Err(error) => Err(gone(&error.to_string())),
        }
    }
}

/// Searches fixed-length packets in a byte stream: a packet is taken as soon as
/// length and check fit, without waiting for the next header; after a misfit the
/// search goes on one byte further, because a payload may contain the header.
#[derive(Debug)]
pub struct PacketSearch {
    buffer: Vec<u8>,
    /// Bytes skipped since the last good packet, and headers among them.
    skipped: usize,
    headers: usize,
    header: &'static [u8],
    length: usize,
}

/// What a search found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A packet that passed its check.
    Packet(Vec<u8>),
    /// Before it, this many bytes that were no packet.
    Skipped {
        /// Bytes.
        bytes: usize,
        /// How many packets they must have been.
        packets: u64,
    },
}

impl PacketSearch {
    /// For packets of `length` bytes that start with `header`.
    pub fn new(header: &'static [u8], length: usize) -> Self {
        Self {
            buffer: Vec::with_capacity(8 * length),
            skipped: 0,
            headers: 0,
            header,
            length,
        }
    }

    /// Takes bytes and hands what they complete to `found`.
    pub fn push(
        &mut self,
        bytes: &[u8],
        check: impl Fn(&[u8]) -> bool,
        mut found: impl FnMut(Found),
    ) {
        self.buffer.extend_from_slice(bytes);
        let mut at = 0;
        while self.buffer.len() - at >= self.length {
            let candidate = &self.buffer[at..at + self.length];
            if candidate.starts_with(self.header) && check(candidate) {
                if self.skipped > 0 {
                    found(self.take_skipped());
                }
                found(Found::Packet(self.buffer[at..at + self.length].to_vec()));
                at += self.length;
            } else {
                self.headers += usize::from(candidate.starts_with(self.header));
                at += 1;
                self.skipped += 1;
            }
        }
        self.buffer.drain(..at);
    }

    /// How many damaged packets were skipped. A damaged packet has its length,
    /// give or take a byte, and most often still its header; noise has neither.
    fn take_skipped(&mut self) -> Found {
        let bytes = std::mem::take(&mut self.skipped);
        let headers = std::mem::take(&mut self.headers);
        let packets = if self.length >= 32 {
            // Long packets: noise between them is shorter, headers within them
            // are possible.
            (bytes + self.length / 16) / self.length
        } else {
            let rest = bytes.saturating_sub(headers * self.length);
            headers + usize::from(rest.abs_diff(self.length) <= 1)
        };
        Found::Skipped {
            bytes,
            packets: packets as u64,
        }
    }

    /// What was skipped so far, when no further packet may come.
    pub fn flush(&mut self) -> Option<Found> {
        (self.skipped >= self.length).then(|| self.take_skipped())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(packet: &[u8]) -> bool {
        packet[2..7]
            .iter()
            .fold(0_u8, |sum, byte| sum.wrapping_add(*byte))
            == packet[7]
    }

    proptest! {
        #[test]
        fn bytes_are_packets_or_skipped_and_nothing_else(
            bytes in proptest::collection::vec(prop_oneof![Just(0x55_u8), Just(0xAA), any::<u8>()], 0..400),
            cut in 1_usize..40,
        ) {
            let mut search = PacketSearch::new(&[0x55, 0xAA], 8);
            let (mut packets, mut skipped) = (0, 0);
            for part in bytes.chunks(cut) {
                search.push(part, sum, |found| match found {
                    Found::Packet(_) => packets += 1,
                    Found::Skipped { bytes, .. } => skipped += bytes,
                });
            }
            prop_assert_eq!(packets * 8 + skipped + search.skipped + search.buffer.len(), bytes.len());
        }
    }
}
