//! Layouts of all versions, held against the crate `natnet`, which is not ours.

use natnet::{
    Asset, AssetDef, CameraDef, DataSet, Device, DeviceDef, ForcePlate, ForcePlateDef,
    LabeledMarker, MarkerSetDef, ModelDef, PlannedBody, PlannedSections, RigidBodyDef, Skeleton,
    SkeletonDef, SyntheticServer, modeldef::MarkerDef,
};
use proptest::prelude::*;

use crate::driver::natnet::*;

const VERSIONS: [Version; 4] = [(3, 0), (3, 1), (4, 0), (4, 1)];

fn theirs((major, minor): Version) -> natnet::Version {
    natnet::Version::new(major, minor, 0, 0)
}

fn body(id: i32) -> RigidBody {
    RigidBody {
        id,
        position_m: [0.1, -0.2, 1.3],
        rotation_xyzw: [0.0, 0.6, 0.0, 0.8],
        mean_error_m: 0.0003,
        tracked: true,
    }
}

fn frame() -> Frame {
    Frame {
        number: 7,
        marker_sets: vec![MarkerSet {
            name: "hand".to_owned(),
            points_m: vec![[1.0, 2.0, 3.0], [-0.5, 0.25, 0.0]],
        }],
        bodies: vec![body(1), body(-5)],
        software_time_s: 1.5,
        mid_exposure_ticks: 123_456_789,
        received_ticks: 123_466_789,
        transmit_ticks: 123_512_389,
        models_changed: true,
    }
}

fn info() -> ServerInfo {
    ServerInfo {
        name: "Motive".to_owned(),
        version: [3, 1, 2, 0],
        natnet: [4, 1, 0, 0],
        tick_hz: 10_000_000,
        data_port: 1511,
        multicast: true,
        group: [239, 255, 42, 99],
    }
}

fn models() -> Models {
    Models {
        bodies: vec![(1, "wrist".to_owned()), (-5, "Kopf – ü".to_owned())],
        marker_sets: vec![("hand".to_owned(), vec!["a".to_owned(), "b".to_owned()])],
    }
}

#[test]
fn what_is_encoded_decodes() {
    for version in VERSIONS {
        let packet = encode_frame(&frame(), version);
        assert_eq!(decode_frame(&packet, version), Some(frame()), "{version:?}");
        let packet = encode_models(&models(), version);
        assert_eq!(
            decode_models(&packet, version),
            Some(models()),
            "{version:?}"
        );
    }
    assert_eq!(
        decode_server_info(&encode_server_info(&info())),
        Some(info())
    );
    let packet = encode_echo_request(u64::MAX - 7);
    assert_eq!(decode_echo_request(&packet), Some(u64::MAX - 7));
    let packet = encode_echo_response(8, 9);
    assert_eq!(decode_echo_response(&packet), Some((8, 9)));
}

#[test]
fn an_independent_reader_takes_our_packets() {
    for version in VERSIONS {
        let frame = frame();
        let packet = encode_frame(&frame, version);
        let read = natnet::FrameOfData::parse(&packet, theirs(version)).expect("a valid frame");
        assert_eq!(read.frame_number, 7);
        assert_eq!(read.marker_sets[0].name, "hand");
        assert_eq!(read.marker_sets[0].markers, frame.marker_sets[0].points_m);
        assert_eq!(read.rigid_bodies[1].id, -5);
        assert_eq!(
            read.rigid_bodies[0].orientation,
            frame.bodies[0].rotation_xyzw
        );
        assert_eq!(read.timing.camera_mid_exposure, frame.mid_exposure_ticks);
        assert_eq!(read.timing.transmit, frame.transmit_ticks);
        assert_eq!(read.params, 2);
        let packet = encode_models(&models(), version);
        let read = ModelDef::parse(&packet, theirs(version)).expect("a valid list");
        assert_eq!(read.datasets.len(), 3);
    }
    let read = natnet::ServerInfo::parse(&encode_server_info(&info())).expect("valid");
    assert!(read.connection.multicast && read.connection.data_port == 1511);
    assert_eq!(read.multicast_group().to_string(), "239.255.42.99");
    // A request for no particular version of the bitstream.
    let request = encode_request(CONNECT);
    let options = natnet::command::ConnectOptions::parse(&request[4..]).expect("options");
    assert_eq!(options, natnet::command::ConnectOptions::default());
}

/// A frame with something in every section that the version has.
fn full(version: Version) -> Vec<u8> {
    let server = SyntheticServer::new(theirs(version), 10_000_000);
    let bodies = [
        PlannedBody::tracked(1, [0.1, -0.2, 1.3], [0.0, 0.6, 0.0, 0.8]),
        PlannedBody::dropout(2),
    ];
    let bone = natnet::RigidBody {
        id: 1,
        position: [9.0; 3],
        orientation: [0.0, 0.0, 0.0, 1.0],
        mean_marker_error: 0.0,
        params: 1,
    };
    let marker = LabeledMarker {
        id: 3,
        position: [1.0; 3],
        size: 0.01,
        params: 0,
        residual: 0.0,
    };
    let sections = PlannedSections {
        skeletons: vec![Skeleton {
            id: 5,
            rigid_bodies: vec![bone, bone],
        }],
        assets: match version >= (4, 1) {
            true => vec![Asset {
                id: 6,
                rigid_bodies: vec![bone],
                markers: vec![marker],
            }],
            false => Vec::new(),
        },
        force_plates: vec![ForcePlate {
            id: 1,
            channels: vec![vec![1.0, 2.0], vec![3.0]],
        }],
        devices: vec![Device {
            id: 2,
            channels: vec![vec![4.0]],
        }],
    };
    let mut frame = server
        .frame_with_sections(9, 12.5, &bodies, &sections)
        .expect("sections");
    frame.marker_sets.push(natnet::MarkerSet {
        name: "hand".to_owned(),
        markers: vec![[1.0, 2.0, 3.0]],
    });
    frame.other_markers.push([4.0; 3]);
    frame.labeled_markers.push(marker);
    frame.timing.transmit += 55_600;
    frame.to_datagram(theirs(version)).expect("a datagram")
}

#[test]
fn frames_of_an_independent_server_are_read_whatever_else_they_hold() {
    for version in VERSIONS {
        let frame = decode_frame(&full(version), version).expect("a valid frame");
        assert_eq!(
            (frame.number, frame.software_time_s),
            (9, 12.5),
            "{version:?}"
        );
        assert_eq!(frame.marker_sets[0].points_m, [[1.0, 2.0, 3.0]]);
        assert_eq!(frame.bodies[0].position_m, [0.1, -0.2, 1.3]);
        let tracked: Vec<bool> = frame.bodies.iter().map(|body| body.tracked).collect();
        assert_eq!(tracked, [true, false]);
        assert_eq!(frame.mid_exposure_ticks, 125_000_000);
        assert_eq!(frame.transmit_ticks, 125_055_600);
    }
}

#[test]
fn lists_of_an_independent_server_are_read_whatever_else_they_hold() {
    for version in VERSIONS {
        // Markers of a rigid body: count, positions, labels, names since 4.0.
        let mut tail = 1_i32.to_le_bytes().to_vec();
        tail.extend([0; 16]);
        if version >= (4, 0) {
            tail.extend(b"m1\0");
        }
        let rigid = |name: &str, id| RigidBodyDef {
            name: name.to_owned(),
            id,
            parent_id: -1,
            offset: [0.0; 3],
            tail: tail.clone(),
        };
        let text = str::to_owned;
        let mut datasets = vec![
            DataSet::Skeleton(SkeletonDef {
                name: text("person"),
                id: 4,
                rigid_bodies: vec![rigid("hip", 0), rigid("spine", 1)],
            }),
            DataSet::ForcePlate(Box::new(ForcePlateDef {
                id: 1,
                serial_number: text("FP"),
                width: 0.4,
                length: 0.6,
                origin: [0.0; 3],
                calibration_matrix: [[0.0; 12]; 12],
                corners: [[0.0; 3]; 4],
                plate_type: 2,
                channel_data_type: 0,
                channel_names: vec![text("Fx"), text("Fy")],
            })),
            DataSet::Device(DeviceDef {
                id: 2,
                name: text("DAQ"),
                serial_number: text("1"),
                device_type: 1,
                channel_data_type: 0,
                channel_names: vec![text("ch")],
            }),
            DataSet::Camera(CameraDef {
                name: text("Prime"),
                position: [0.0; 3],
                orientation: [0.0, 0.0, 0.0, 1.0],
            }),
            DataSet::MarkerSet(MarkerSetDef {
                name: text("hand"),
                marker_names: vec![text("a"), text("b")],
            }),
            DataSet::RigidBody(rigid("wrist", 17)),
        ];
        if version >= (4, 1) {
            datasets.insert(
                0,
                DataSet::Asset(AssetDef {
                    name: text("asset"),
                    asset_type: 1,
                    id: 1,
                    rigid_bodies: vec![],
                    markers: vec![MarkerDef {
                        name: text("x"),
                        id: 1,
                        position: [0.0; 3],
                        size: 0.01,
                        params: 0,
                    }],
                }),
            );
        }
        let packet = ModelDef { datasets }
            .to_datagram(theirs(version))
            .expect("a datagram");
        let models = decode_models(&packet, version).expect("a valid list");
        assert_eq!(models.bodies, [(17, "wrist".to_owned())], "{version:?}");
        assert_eq!(models.marker_sets[0].1, ["a", "b"]);
    }
}

/// Bytes written down once, so that a change of both sides is seen.
#[test]
fn golden_bytes() {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    // The values of a real server's answer, as its reader's test has them:
    // mje-nz/python_natnet, tests/test_EchoResponseMessage.py.
    let packet = encode_echo_response(278_554_190, 1_416_498_545_924);
    assert_eq!(hex(&packet), "0d0010004e669a10000000000485e4cd49010000");
    let frame = Frame {
        bodies: vec![RigidBody {
            id: 2,
            position_m: [1.0, 0.5, -2.0],
            rotation_xyzw: [0.0, 0.0, 0.0, 1.0],
            mean_error_m: 0.25,
            tracked: true,
        }],
        marker_sets: Vec::new(),
        models_changed: false,
        number: 258,
        ..frame()
    };
    let body = "02000000\
                0000803f0000003f000000c0\
                0000000000000000000000000000803f\
                0000803e0100";
    let times = "000000000000f83f15cd5b0700000000\
                 25f45b070000000045a65c0700000000";
    let end = "000000000000";
    assert_eq!(
        hex(&encode_frame(&frame, (4, 1))),
        [
            "0700a0000201000000000000000000000000000000000000",
            "0100000026000000",
            body,
            &"00".repeat(5 * 8 + 8),
            times,
            &"00".repeat(8),
            end
        ]
        .concat()
    );
    assert_eq!(
        hex(&encode_frame(&frame, (3, 1))),
        [
            "0700740002010000000000000000000001000000",
            body,
            &"00".repeat(4 * 4 + 8),
            times,
            end
        ]
        .concat()
    );
}

proptest! {
    #[test]
    fn any_frame_survives_the_way(
        number: i32,
        ids in proptest::collection::vec(any::<i32>(), 0..5),
        sets in proptest::collection::vec(("[a-z]{0,12}", 0_usize..9), 0..4),
        ticks: [u64; 3],
        models_changed: bool,
        version in 0_usize..4,
    ) {
        let frame = Frame {
            number,
            marker_sets: sets
                .into_iter()
                .map(|(name, count)| MarkerSet { name, points_m: vec![[0.5, -1.0, 2.0]; count] })
                .collect(),
            bodies: ids.into_iter().map(body).collect(),
            software_time_s: 0.25,
            mid_exposure_ticks: ticks[0],
            received_ticks: ticks[1],
            transmit_ticks: ticks[2],
            models_changed,
        };
        let version = VERSIONS[version];
        prop_assert_eq!(decode_frame(&encode_frame(&frame, version), version), Some(frame));
    }

    #[test]
    fn damage_never_panics_and_a_cut_is_always_seen(
        at in 0_usize..600, byte: u8, cut in 4_usize..600, version in 0_usize..4,
    ) {
        let version = VERSIONS[version];
        let whole = full(version);
        let mut bytes = whole.clone();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        let _ = decode_frame(&bytes, version);
        let _ = decode_models(&bytes, version);
        if cut < whole.len() {
            prop_assert_eq!(decode_frame(&whole[..cut], version), None);
            // Even where the sender's size agrees with the cut.
            let mut short = whole[..cut].to_vec();
            short[2..4].copy_from_slice(&((cut - 4) as u16).to_le_bytes());
            prop_assert_eq!(decode_frame(&short, version), None);
        }
    }

    #[test]
    fn garbage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), id in 0_u16..14) {
        if bytes.len() >= 4 {
            bytes[..2].copy_from_slice(&id.to_le_bytes());
            let size = (bytes.len() - 4) as u16;
            bytes[2..4].copy_from_slice(&size.to_le_bytes());
        }
        for version in VERSIONS {
            let _ = decode_frame(&bytes, version);
            let _ = decode_models(&bytes, version);
        }
        let _ = decode_server_info(&bytes);
        let _ = decode_echo_request(&bytes);
        let _ = decode_echo_response(&bytes);
    }
}
