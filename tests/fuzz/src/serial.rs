//! Packets of fixed length of DexUMI's own boards.

use dexumi_capture::driver::{
    Chunk, Item, Output, inspire_encoders, inspire_fsr,
    packets::{Found, Packet, PacketFramer, PacketSearch},
    xhand_encoders, xhand_force,
};
use dexumi_episode::HostTime;

/// Which board, how many bytes a read brings, then the bytes.
pub fn packets(mut bytes: &[u8]) -> usize {
    let board = super::byte(&mut bytes);
    let cut = usize::from(super::byte(&mut bytes)).max(1);
    match board % 5 {
        0 => stream::<xhand_encoders::Scan>(bytes, cut, vec![0]),
        1 => stream::<inspire_encoders::Scan>(bytes, cut, vec![0]),
        2 => stream::<xhand_force::Reading<0>>(bytes, cut, vec![0]),
        3 => stream::<xhand_force::Reading<{ xhand_force::TAXELS }>>(bytes, cut, vec![0]),
        _ => stream::<inspire_fsr::Reading>(bytes, cut, vec![1, 0]),
    }
}

fn stream<P: Packet>(bytes: &[u8], cut: usize, channels: Vec<usize>) -> usize {
    let mut search = PacketSearch::<P>::default();
    let (mut packets, mut skipped) = (0, 0);
    for part in bytes.chunks(cut) {
        search.push(part, |found| match found {
            Found::Packet {
                packet,
                bytes,
                after,
            } => {
                // What was taken is what was sent, to the last bit.
                assert_eq!(packet.encode(), bytes);
                assert!(after < part.len());
                packets += 1;
            }
            Found::Skipped { bytes, .. } => skipped += bytes,
        });
    }
    if let Some(Found::Skipped { bytes, .. }) = search.flush() {
        skipped += bytes;
    }
    // The rest waits: less than a packet, and noise of less than one before it.
    let accounted = packets * P::BYTES + skipped;
    assert!(accounted <= bytes.len() && bytes.len() - accounted < 2 * P::BYTES);

    let mut framer = PacketFramer::<P>::new(channels.clone());
    let mut out = Output::default();
    for (read, part) in bytes.chunks(cut).enumerate() {
        let chunk = Chunk {
            bytes: part,
            arrival: HostTime::from_nanos(read as i64 * 1_000_000),
            uart_baud: cut.is_multiple_of(2).then_some(921_600),
        };
        framer.push(&chunk, &mut out);
    }
    framer.release_all(HostTime::from_nanos(1 << 50), &mut out);
    for stream in 0..channels.len() {
        let samples = out
            .items
            .iter()
            .filter(|(of, item)| *of == stream && matches!(item, Item::Sample(_)));
        assert_eq!(
            samples.count(),
            packets,
            "each packet is a sample of each stream"
        );
    }
    let discarded = out.items.iter().map(|(_, item)| match item {
        Item::Discarded { bytes } => *bytes as usize,
        _ => 0,
    });
    assert_eq!(discarded.sum::<usize>(), skipped);
    packets
}
