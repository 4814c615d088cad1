//! DexUMI's XHand exoskeleton encoder board: 12 joints, 64-byte packets at 921600
//! baud, about 180 a second. Thumb to little finger: thumb rotation and two
//! bends, index swing and two bends, two bends each of the others.

use super::{
    Driver,
    encoder_scan::{self, can_feed, millisecond_clock},
    packets,
    serial::Settings,
};

/// All channels: joints, reference, spare.
pub const CHANNELS: usize = 14;
/// What it sends.
pub type Scan = encoder_scan::Scan<CHANNELS>;

/// The registration.
pub const DRIVER: Driver = Driver {
    name: "dexumi_xhand_encoders",
    help: "DexUMI XHand exoskeleton: 12 joint encoders on a serial port",
    feeds: "/exo/<left|right>/encoders",
    can_feed,
    clock: millisecond_clock,
    metadata: |_| encoder_scan::metadata::<CHANNELS>(),
    shares: false,
    counts_missing: false,
    keeps_packets: false,
    open: |devices| packets::open::<Scan>(devices, Settings::of(devices, &[])?, vec![0]),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::packets::Packet;

    #[test]
    fn a_known_packet_has_known_bytes() {
        let scan = Scan {
            words: std::array::from_fn(|channel| channel as i32 + 1),
            ticks: 0x1234,
        };
        let packet = scan.encode();
        assert_eq!((packet.len(), Scan::BYTES), (64, 64));
        assert_eq!(packet[..12], [0xAA, 0x55, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
        // 1 + … + 14 = 105 = 0x69
        assert_eq!(packet[60..], [0x34, 0x12, 0x69, 0x00]);
        assert_eq!(Scan::decode(&packet), Some(scan));
    }
}
