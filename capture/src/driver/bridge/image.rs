//! Images of a bridge's packets.

use std::sync::Arc;

use super::{
    super::{
        Data, Image, ImageFormat, Item, Sample,
        depth::{self, Clipped},
        mjpeg_http::is_whole_jpeg,
    },
    packet::{Kind, Packet},
    payload::{self, ImageHead, StreamHello},
};

fn exposure_ns(packet: &Packet) -> Option<i64> {
    packet.exposure_us.map(|micros| i64::from(micros) * 1000)
}

/// The image of a packet, if it is one.
pub(super) fn image(packet: &Packet, hello: &StreamHello) -> Option<(ImageHead, Image)> {
    let (head, data) = payload::decode_image(packet.payload.clone())?;
    let format = match packet.kind == Kind::Jpeg as u8 {
        true => is_whole_jpeg(&data).then_some(ImageFormat::Jpeg)?,
        false => {
            let encoding = payload::encoding(&hello.encoding)?;
            payload::fits(encoding, &head, data.len()).then_some(ImageFormat::Raw {
                encoding,
                width: head.width,
                height: head.height,
                step: head.step,
            })?
        }
    };
    let image = Image {
        data,
        format,
        exposure_ns: exposure_ns(packet),
    };
    Some((head, image))
}

/// Packing a depth image, for another thread.
pub(super) fn depth_work(
    packet: &Packet,
    mut sample: Sample,
    clipped: Arc<Clipped>,
) -> Option<impl FnOnce() -> Vec<Item> + Send + use<>> {
    let (head, data) = payload::decode_image(packet.payload.clone())?;
    let whole = u64::from(head.step) == 2 * u64::from(head.width)
        && payload::fits("mono16", &head, data.len());
    if !whole || !(1e-6..=1.0).contains(&head.unit_m) {
        return None;
    }
    let exposure_ns = exposure_ns(packet);
    Some(move || {
        let packed = depth::pack_units(&data, head.unit_m, head.width, head.height);
        match packed {
            Ok(packed) => {
                let mut items = clipped.see(packed.clipped);
                sample.data = Data::Image(Image {
                    exposure_ns,
                    ..packed.image
                });
                items.push(Item::Sample(sample));
                items
            }
            Err(_) => vec![Item::Lost {
                kind: "corrupt",
                count: 1,
                at: sample.arrival,
            }],
        }
    })
}
