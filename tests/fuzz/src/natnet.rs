//! NatNet: every message, in every version.

use dexumi_capture::driver::natnet::{
    Version, decode_echo_request, decode_echo_response, decode_frame, decode_models,
    decode_server_info, encode_echo_request, encode_echo_response, encode_frame, encode_models,
    encode_server_info, message_id,
};

const VERSIONS: [Version; 5] = [(3, 0), (3, 1), (4, 0), (4, 1), (4, 2)];

/// Version, then a packet; with the upper bit of the version set its size is made
/// to fit.
pub fn packet(mut bytes: &[u8]) -> usize {
    let mode = super::byte(&mut bytes);
    let version = VERSIONS[usize::from(mode & 0x7F) % VERSIONS.len()];
    let mut packet = bytes.to_vec();
    if mode & 0x80 != 0 && packet.len() >= 4 {
        let size = u16::try_from(packet.len() - 4).unwrap_or(u16::MAX);
        packet[2..4].copy_from_slice(&size.to_le_bytes());
    }
    let mut understood = 0;
    // Text, because of numbers that are none.
    let same = |a: String, b: String| assert_eq!(a, b);
    if let Some(frame) = decode_frame(&packet, version) {
        understood += 1;
        let again = decode_frame(&encode_frame(&frame, version), version);
        same(format!("{again:?}"), format!("{:?}", Some(&frame)));
        let points: usize = frame.marker_sets.iter().map(|set| set.points_m.len()).sum();
        assert!(38 * frame.bodies.len() + 12 * points <= packet.len());
    }
    if let Some(models) = decode_models(&packet, version) {
        understood += 1;
        let again = decode_models(&encode_models(&models, version), version);
        assert_eq!(again, Some(models));
    }
    if let Some(info) = decode_server_info(&packet) {
        understood += 1;
        let again = decode_server_info(&encode_server_info(&info)).expect("our own");
        // A name that is no UTF-8 becomes longer, and may not fit any more.
        assert!(
            info.name
                .starts_with(again.name.trim_end_matches('\u{FFFD}'))
        );
        assert_eq!(
            (again.version, again.natnet, again.tick_hz, again.group),
            (info.version, info.natnet, info.tick_hz, info.group)
        );
    }
    if let Some(client) = decode_echo_request(&packet) {
        understood += 1;
        assert!(packet[4..].starts_with(&encode_echo_request(client)[4..]));
    }
    if let Some((client, ticks)) = decode_echo_response(&packet) {
        understood += 1;
        assert!(packet[4..].starts_with(&encode_echo_response(client, ticks)[4..]));
    }
    assert!(understood <= 1 && (understood == 0 || message_id(&packet).is_some()));
    understood
}
