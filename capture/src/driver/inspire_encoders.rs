//! DexUMI's Inspire exoskeleton encoder board: 6 joints, 40-byte packets at 921600
//! baud, about 300 a second. Thumb swing, thumb bend, then the bends of index,
//! middle, ring and little finger.

use super::{
    Driver,
    encoder_scan::{self, can_feed, millisecond_clock},
    packets,
    serial::Settings,
};

/// All channels: joints, reference, spare.
pub const CHANNELS: usize = 8;
/// What it sends.
pub type Scan = encoder_scan::Scan<CHANNELS>;

/// The registration.
pub const DRIVER: Driver = Driver {
    name: "dexumi_inspire_encoders",
    help: "DexUMI Inspire exoskeleton: 6 joint encoders on a serial port",
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
    use crate::driver::{
        Data,
        packets::{
            Packet,
            testing::{items, samples},
        },
    };

    /// Words 1 to 8, counter 0x1234; 1 + … + 8 = 36 = 0x24.
    const GOLDEN: [u8; 40] = [
        0xAA, 0x55, 0x00, 0x00, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6, 0,
        0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0x34, 0x12, 0x24, 0x00,
    ];

    #[test]
    fn the_golden_packet_decodes() {
        let scan = Scan {
            words: [1, 2, 3, 4, 5, 6, 7, 8],
            ticks: 0x1234,
        };
        assert_eq!(Scan::decode(&GOLDEN), Some(scan.clone()));
        assert_eq!(scan.encode(), GOLDEN);
    }

    #[test]
    fn six_joints_come_before_the_reference_and_the_spare() {
        let samples = samples(&items::<Scan>(&[GOLDEN.to_vec()], 1, &[0]), 0);
        let Data::Encoders {
            counts,
            reference,
            spare,
        } = &samples[0].data
        else {
            panic!("encoders");
        };
        assert_eq!(
            (&counts[..], *reference, *spare),
            (&[1, 2, 3, 4, 5, 6][..], 7, 8)
        );
        assert_eq!(samples[0].ticks, Some(0x1234));
    }
}
