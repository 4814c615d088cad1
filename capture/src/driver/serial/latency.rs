//! An FTDI adapter keeps bytes for up to 16 ms before it hands them over. The
//! flag `ASYNC_LOW_LATENCY` makes its driver ask for 1 ms; where that is not
//! allowed, its `latency_timer` can be set by an administrator.

use std::{os::fd::RawFd, path::Path};

use nix::libc::{self, c_int, c_uchar, c_uint, c_ulong, c_ushort};

/// `ASYNC_LOW_LATENCY` (linux/tty_flags.h).
const LOW_LATENCY: c_int = 1 << 13;

/// `serial_struct` (linux/serial.h).
#[repr(C)]
struct SerialStruct {
    kind: c_int,
    line: c_int,
    port: c_uint,
    irq: c_int,
    flags: c_int,
    xmit_fifo_size: c_int,
    custom_divisor: c_int,
    baud_base: c_int,
    close_delay: c_ushort,
    io_type: c_uchar,
    reserved: c_uchar,
    hub6: c_int,
    closing_wait: c_ushort,
    closing_wait2: c_ushort,
    iomem_base: *mut c_uchar,
    iomem_reg_shift: c_ushort,
    port_high: c_uint,
    iomap_base: c_ulong,
}

nix::ioctl_read_bad!(tiocgserial, libc::TIOCGSERIAL, SerialStruct);
nix::ioctl_write_ptr_bad!(tiocsserial, libc::TIOCSSERIAL, SerialStruct);

/// Sets the flag; `false` where the port's driver does not know it.
fn set_flag(fd: RawFd) -> nix::Result<bool> {
    let mut settings = std::mem::MaybeUninit::<SerialStruct>::zeroed();
    // SAFETY: both calls read or write one `serial_struct`, which all-zero bytes
    // are a valid value of, and keep no pointer to it.
    unsafe {
        tiocgserial(fd, settings.as_mut_ptr())?;
        let mut settings = settings.assume_init();
        if settings.flags & LOW_LATENCY == 0 {
            settings.flags |= LOW_LATENCY;
            tiocsserial(fd, &raw const settings)?;
            tiocgserial(fd, &raw mut settings)?;
        }
        Ok(settings.flags & LOW_LATENCY != 0)
    }
}

/// How quickly a port hands bytes over, after what could be done about it.
pub struct Latency {
    /// For the file.
    pub about: (String, String),
    /// What people should do, where it stays slow.
    pub warning: Option<String>,
}

/// Makes an open port hand over its bytes at once, where its driver lets it.
/// `device` is the port's folder in `/sys`.
pub fn lower(fd: RawFd, node: &Path, device: &Path, driver: &str) -> Latency {
    let about = |text: String| ("latency".to_owned(), text);
    let timer = device.join("latency_timer");
    let read_ms = || {
        let text = std::fs::read_to_string(&timer).ok()?;
        text.trim().parse::<u32>().ok()
    };
    if driver == "cdc_acm" {
        return Latency {
            about: about("no timer (USB CDC-ACM)".to_owned()),
            warning: None,
        };
    }
    let flagged = set_flag(fd).unwrap_or(false);
    if read_ms().is_some_and(|ms| ms > 1) {
        // Root, or a udev rule that opened the file to the group.
        let _ = std::fs::write(&timer, "1");
    }
    match read_ms() {
        Some(ms) if ms > 1 => Latency {
            about: about(format!("{ms} ms timer")),
            warning: Some(format!(
                "{} hands its bytes over every {ms} ms only; `dexumi devices --setup`, as root, \
                 makes that 1 ms",
                node.display()
            )),
        },
        Some(ms) => Latency {
            about: about(format!("{ms} ms timer")),
            warning: None,
        },
        None => Latency {
            about: about(match flagged {
                true => "low-latency flag set".to_owned(),
                false => "no timer known".to_owned(),
            }),
            warning: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_have_the_kernel_s_layout() {
        // linux/serial.h on 64-bit: 72 bytes.
        #[cfg(target_pointer_width = "64")]
        assert_eq!(size_of::<SerialStruct>(), 72);
        assert_eq!(std::mem::offset_of!(SerialStruct, flags), 16);
    }

    #[test]
    fn a_timer_that_cannot_be_set_is_told_with_what_sets_it() {
        let folder = tempfile::tempdir().expect("folder");
        let timer = folder.path().join("latency_timer");
        std::fs::write(&timer, "16\n").expect("write");
        // A pipe knows no serial settings, as a pseudo-terminal does not.
        let (pipe, _other) = nix::unistd::pipe().expect("pipe");
        let fd = std::os::fd::AsRawFd::as_raw_fd(&pipe);
        let node = Path::new("/dev/ttyUSB0");
        // Writable: as root.
        let set = lower(fd, node, folder.path(), "ftdi_sio");
        assert_eq!(set.about.1, "1 ms timer");
        assert!(set.warning.is_none());
        // Not writable, for root neither.
        std::fs::remove_file(&timer).expect("remove");
        std::os::unix::fs::symlink("/proc/sys/kernel/ngroups_max", &timer).expect("link");
        let kept = lower(fd, node, folder.path(), "ftdi_sio");
        let warning = kept.warning.expect("a warning");
        assert!(warning.contains("dexumi devices --setup"), "{warning}");
        let none = lower(fd, node, Path::new("/nowhere"), "");
        assert_eq!(none.about.1, "no timer known");
        assert_eq!(
            lower(fd, node, folder.path(), "cdc_acm").about.1,
            "no timer (USB CDC-ACM)"
        );
    }
}
