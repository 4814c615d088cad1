//! Streaming through mapped buffers. An image is copied out and its buffer goes
//! back to the kernel at once, so that all of them wait for the next images.
//!
//! Crate `v4l` has a stream too, but it keeps one buffer back, asks for it again
//! after a time-out, and ends the program when the end of a stream fails.

use std::{
    ffi::c_void,
    io,
    os::fd::{AsFd, AsRawFd},
    ptr::NonNull,
    rc::Rc,
};

use dexumi_episode::HostTime;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use v4l::{
    v4l_sys::{
        V4L2_BUF_FLAG_TIMESTAMP_MASK, V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC,
        V4L2_BUF_FLAG_TSTAMP_SRC_MASK, V4L2_BUF_FLAG_TSTAMP_SRC_SOE,
        v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE as VIDEO_CAPTURE, v4l2_buffer,
        v4l2_memory_V4L2_MEMORY_MMAP as MMAP, v4l2_requestbuffers,
    },
    v4l2::vidioc,
};

use super::node::{FLAG_ERROR, Node, zeroed};

/// What the kernel says of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// When it was taken over from the kernel.
    pub arrival: HostTime,
    /// The kernel's own stamp, where it is of CLOCK_MONOTONIC.
    pub stamp: Option<HostTime>,
    /// The stamp is of the start of the exposure rather than of the end.
    pub stamp_at_start: bool,
    /// Counts every image that the camera began to send.
    pub sequence: u32,
    /// The kernel says that data is damaged or missing.
    pub is_flagged: bool,
    /// Bytes that it has [byte]; the buffer is longer.
    pub length: usize,
}

/// A running stream.
#[derive(Debug)]
pub struct Stream {
    node: Rc<Node>,
    buffers: Vec<Mapping>,
}

/// A buffer of the kernel, mapped.
#[derive(Debug)]
struct Mapping {
    address: NonNull<c_void>,
    length: usize,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `Stream::map` with this length; nothing points there any more.
        let _ = unsafe { v4l::v4l2::munmap(self.address.as_ptr(), self.length) };
    }
}

fn question(index: u32) -> v4l2_buffer {
    v4l2_buffer {
        index,
        type_: VIDEO_CAPTURE,
        memory: MMAP,
        ..zeroed()
    }
}

impl Stream {
    /// Maps up to `count` buffers, gives all to the kernel and starts.
    ///
    /// # Errors
    /// The camera is in use, gone, or the bus has no room for its images.
    pub fn start(node: Rc<Node>, count: u32) -> io::Result<Self> {
        let mut request = v4l2_requestbuffers {
            count,
            type_: VIDEO_CAPTURE,
            memory: MMAP,
            ..zeroed()
        };
        node.ask(vidioc::VIDIOC_REQBUFS, &mut request)?;
        let mut stream = Self {
            node,
            buffers: Vec::new(),
        };
        for index in 0..request.count {
            let mapping = stream.map(index)?;
            stream.buffers.push(mapping);
        }
        for index in 0..request.count {
            stream.queue(index)?;
        }
        let mut kind = VIDEO_CAPTURE;
        stream.node.ask(vidioc::VIDIOC_STREAMON, &mut kind)?;
        Ok(stream)
    }

    fn map(&self, index: u32) -> io::Result<Mapping> {
        let mut buffer = question(index);
        self.node.ask(vidioc::VIDIOC_QUERYBUF, &mut buffer)?;
        let length = buffer.length as usize;
        // SAFETY: for mapped buffers the kernel fills in `offset`; it is handed back as
        // it came, for a mapping anywhere.
        let address = unsafe {
            v4l::v4l2::mmap(
                std::ptr::null_mut(),
                length,
                nix::libc::PROT_READ | nix::libc::PROT_WRITE,
                nix::libc::MAP_SHARED,
                self.node.file().as_raw_fd(),
                nix::libc::off_t::from(buffer.m.offset),
            )
        }?;
        let address = NonNull::new(address).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { address, length })
    }

    fn queue(&self, index: u32) -> io::Result<()> {
        self.node.ask(vidioc::VIDIOC_QBUF, &mut question(index))
    }

    /// Waits for an image and lets `copy` take it out of its buffer; `None` when
    /// none came in time.
    ///
    /// # Errors
    /// The camera is gone.
    pub fn next<T>(
        &mut self,
        wait: PollTimeout,
        copy: impl FnOnce(&[u8], &Meta) -> T,
    ) -> io::Result<Option<(Meta, T)>> {
        let mut asked = [PollFd::new(self.node.file().as_fd(), PollFlags::POLLIN)];
        match poll(&mut asked, wait) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(None),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut buffer = question(0);
        match self.node.ask(vidioc::VIDIOC_DQBUF, &mut buffer) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        let arrival = HostTime::now();
        let mapping = self
            .buffers
            .get(buffer.index as usize)
            .ok_or_else(|| io::Error::other("the kernel gave a buffer that does not exist"))?;
        let length = (buffer.bytesused as usize).min(mapping.length);
        let meta = meta(&buffer, arrival, length);
        // SAFETY: mapped for that length; the kernel does not write to a buffer between
        // DQBUF and QBUF.
        let bytes = unsafe {
            std::slice::from_raw_parts(mapping.address.as_ptr().cast::<u8>().cast_const(), length)
        };
        let taken = copy(bytes, &meta);
        // One that does not take its buffer back is gone: the next call finds out.
        let _ = self.queue(buffer.index);
        Ok(Some((meta, taken)))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Of a camera that is gone nothing more is wanted.
        let mut kind = VIDEO_CAPTURE;
        let _ = self.node.ask(vidioc::VIDIOC_STREAMOFF, &mut kind);
        self.buffers.clear();
        let mut request = v4l2_requestbuffers {
            count: 0,
            type_: VIDEO_CAPTURE,
            memory: MMAP,
            ..zeroed()
        };
        let _ = self.node.ask(vidioc::VIDIOC_REQBUFS, &mut request);
    }
}

fn meta(buffer: &v4l2_buffer, arrival: HostTime, length: usize) -> Meta {
    let is_monotonic =
        buffer.flags & V4L2_BUF_FLAG_TIMESTAMP_MASK == V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    let nanos = buffer
        .timestamp
        .tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(buffer.timestamp.tv_usec.saturating_mul(1_000));
    Meta {
        arrival,
        stamp: is_monotonic.then(|| HostTime::from_nanos(nanos)),
        stamp_at_start: buffer.flags & V4L2_BUF_FLAG_TSTAMP_SRC_MASK
            == V4L2_BUF_FLAG_TSTAMP_SRC_SOE,
        sequence: buffer.sequence,
        is_flagged: buffer.flags & FLAG_ERROR != 0,
        length,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_monotonic_stamp_is_one() {
        let mut buffer = question(0);
        buffer.timestamp.tv_sec = 12;
        buffer.timestamp.tv_usec = 345_678;
        let arrival = HostTime::from_nanos(12_400_000_000);
        assert_eq!(meta(&buffer, arrival, 5).stamp, None);
        buffer.flags =
            V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC | V4L2_BUF_FLAG_TSTAMP_SRC_SOE | FLAG_ERROR;
        let meta = meta(&buffer, arrival, 5);
        assert_eq!(meta.stamp, Some(HostTime::from_nanos(12_345_678_000)));
        assert!(meta.stamp_at_start && meta.is_flagged);
    }
}
