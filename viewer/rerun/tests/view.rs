//! What `save` writes, read back with Rerun's own decoder.

mod read_back;
mod synthetic;

use dexumi_episode::{
    Episode, EpisodeFile, EpisodeWriter,
    align::{DEFAULT_MAX_GAP, Timeline},
    schema::Retargeted,
};
use dexumi_rerun::{ViewError, ViewOptions, ViewReport, save};
use dexumi_retarget::Hand;
use read_back::{ReadBack, times};
use rerun::log::Chunk;
use synthetic::{
    ENCODER_HZ, FORCE_HZ, GAP_NS, START_NS, Synthetic, TRACKER_HZ, joint_rad, wrist_m,
};

const JPEG: &[u8] = include_bytes!("synthetic/tiny.jpg");

/// An image that can be told from its neighbours: a number after the end marker.
fn image(number: u8) -> Vec<u8> {
    [JPEG, &[number]].concat()
}

fn synthetic(seconds: i64) -> Synthetic {
    Synthetic {
        seconds,
        calibrated: true,
        cameras: vec![
            ("wrist", (0..20).map(image).collect()),
            ("head", (100..107).map(image).collect()),
        ],
    }
}

fn timeline(episode: &Episode) -> Timeline {
    Timeline::of(episode, episode.calibration.as_ref(), DEFAULT_MAX_GAP).expect("timeline")
}

/// Saves an episode and reads it back.
fn saved(
    synthetic: &Synthetic,
    derived: Option<&EpisodeFile>,
    options: &ViewOptions,
) -> (ViewReport, ReadBack) {
    let folder = tempfile::tempdir().expect("folder");
    let episode = synthetic.episode(&folder.path().join("episode_0007.mcap"));
    let out = folder.path().join("view.rrd");
    let report = save(&episode, &timeline(&episode), derived, options, &out).expect("saved");
    assert_eq!(report.bytes, out.metadata().expect("exists").len());
    (report, ReadBack::of(&out))
}

const HAND: &str = "world/tracker/wrist/hand";

#[test]
fn every_sample_is_in_the_file_at_its_time_and_in_degrees() {
    let synthetic = synthetic(2);
    let (report, read) = saved(&synthetic, None, &ViewOptions::default());
    let hand = Hand::by_name("xhand_right").expect("built in");
    let missed = (0..2 * ENCODER_HZ)
        .filter(|step| GAP_NS.contains(&(step * 1_000_000_000 / ENCODER_HZ)))
        .count() as i64;
    let scans = 2 * ENCODER_HZ - missed;
    for (joint, name) in hand.variable_names().enumerate() {
        let name = name.strip_prefix("right_hand_").expect("a right hand");
        let curve = read.curve(&format!("joints/right/{name}"));
        // One row more: it ends the line at the gap.
        assert_eq!(curve.len() as i64, scans + 1, "{name}");
        assert_eq!(
            curve.iter().filter(|(_, value)| value.is_none()).count(),
            1,
            "{name}"
        );
        for (at_ns, value) in curve {
            let Some(value) = value else {
                assert!(
                    (GAP_NS.start - 6_000_000..GAP_NS.start).contains(&at_ns),
                    "{at_ns}"
                );
                continue;
            };
            let expected = joint_rad(&hand, joint, at_ns as f64 * 1e-9).to_degrees();
            assert!(
                (value - expected).abs() < 0.01,
                "{name} at {at_ns}: {value}, {expected}"
            );
        }
    }
    let force = read.curve("force/right/thumb/z");
    assert_eq!(force.len() as i64, 2 * FORCE_HZ);
    assert!(force.iter().any(|&(_, value)| value > Some(800.0)));
    let chunk = read.of_entity(
        HAND.trim_end_matches("/hand"),
        rerun::Transform3D::descriptor_translation().component,
    )[0];
    assert_eq!(
        times(chunk, "capture_time")[1],
        START_NS + 1_000_000_000 / TRACKER_HZ
    );
    // Two events, one message, one gap.
    let lines = 4;
    assert_eq!(
        report.samples as i64,
        scans + 4 * FORCE_HZ + 2 * TRACKER_HZ + lines
    );
}

#[test]
fn images_are_the_cameras_own_bytes() {
    let synthetic = synthetic(1);
    let (report, read) = saved(&synthetic, None, &ViewOptions::default());
    let wrist = read.images(&format!("{HAND}/camera/wrist/image"));
    let expected: Vec<_> = (0..20)
        .map(|n| (i64::from(n) * 1_000_000_000 / 30, image(n)))
        .collect();
    assert_eq!(wrist, expected);
    assert_eq!(report.images, 27);
    // No mount and no intrinsics: in 2-D only, and said.
    assert_eq!(read.images("camera/head/image").len(), 7);
    assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
    assert!(
        report.notes[0].contains("camera/head"),
        "{:?}",
        report.notes
    );
    let pinhole = rerun::Pinhole::descriptor_image_from_camera().component;
    assert_eq!(
        read.of_entity(&format!("{HAND}/camera/wrist"), pinhole)
            .len(),
        1
    );

    let options = ViewOptions { every_nth_image: 3 };
    let (report, read) = saved(&synthetic, None, &options);
    let kept: Vec<_> = expected.iter().step_by(3).cloned().collect();
    assert_eq!(read.images(&format!("{HAND}/camera/wrist/image")), kept);
    assert_eq!(report.images, 7 + 3);
}

#[test]
fn a_fingertip_link_is_where_kinematics_and_mounts_put_it() {
    let (_, read) = saved(&synthetic(2), None, &ViewOptions::default());
    let hand = Hand::by_name("xhand_right").expect("built in");
    let tracker = read.poses("world/tracker/wrist");
    assert_eq!(tracker.len() as i64, 2 * TRACKER_HZ);
    let [x, y, z] = wrist_m(1.0);
    let at_one_second = tracker[TRACKER_HZ as usize].translation.vector;
    assert!((at_one_second - nalgebra::Vector3::new(x, y, z)).norm() < 1e-6);

    // Fingers point along the world's x when the tracker is not turned.
    let [tracker_from_hand] = read.poses(HAND)[..] else {
        panic!("one mount")
    };
    assert!((tracker_from_hand * nalgebra::Vector3::z() - nalgebra::Vector3::x()).norm() < 1e-6);
    // The mount was given as camera_from_hand.
    let [hand_from_camera] = read.poses(&format!("{HAND}/camera/wrist"))[..] else {
        panic!("one mount")
    };
    let position = hand_from_camera.translation.vector;
    assert!(
        (position - nalgebra::Vector3::new(0.08, 0.0, -0.03)).norm() < 1e-6,
        "{position}"
    );

    let entity = format!("{HAND}/measured/right_hand_index_joint2");
    let links = read.poses(&entity);
    let q: Vec<f64> = (0..hand.dof())
        .map(|joint| joint_rad(&hand, joint, 0.0))
        .collect();
    let index = hand
        .joints()
        .iter()
        .position(|joint| joint.name == "right_hand_index_joint2");
    let expected = hand.forward(&q).root_from_joint[index.expect("it has one")];
    let off = expected.inverse() * links[0];
    assert!(
        off.translation.vector.norm() < 1e-4 && off.rotation.angle() < 1e-3,
        "{off}"
    );
    let lengths = rerun::Capsules3D::descriptor_lengths().component;
    let drawn: usize = read
        .chunks
        .iter()
        .flat_map(|chunk| {
            chunk
                .iter_slices::<f32>(lengths)
                .map(<[f32]>::len)
                .collect::<Vec<_>>()
        })
        .sum();
    assert_eq!(drawn, hand.capsules().len());
}

#[test]
fn the_robot_hand_of_a_derived_file_is_drawn_beside() {
    let folder = tempfile::tempdir().expect("folder");
    let hand = Hand::by_name("xhand_right").expect("built in");
    let path = folder.path().join("retargeted.mcap");
    let mut writer = EpisodeWriter::create_bare(&path).expect("create");
    let mut names: Vec<&str> = hand.variable_names().collect();
    names.reverse();
    let metadata = [("hand", hand.name().to_owned()), ("names", names.join(","))];
    let channel = writer
        .channel::<Retargeted>("/retarget/right/joints", &metadata)
        .expect("channel");
    for step in 0..50_i64 {
        let at_ns = step * 20_000_000;
        let position = (0..12)
            .rev()
            .map(|joint| joint_rad(&hand, joint, at_ns as f64 * 1e-9));
        let message = Retargeted {
            stamp: synthetic::stamp(at_ns, step as u64),
            position: position.collect(),
            ..Retargeted::default()
        };
        let time = synthetic::at(at_ns);
        writer.write(channel, step as u64, time, time, &message);
    }
    let path = writer.finish_bare().expect("finish");
    let derived = EpisodeFile::open(&path).expect("open");

    let (_, without) = saved(&synthetic(1), None, &ViewOptions::default());
    assert!(!without.has(&format!("{HAND}/robot")) && !without.has("retarget"));
    let (report, read) = saved(&synthetic(1), Some(&derived), &ViewOptions::default());
    let curve = read.curve("retarget/right/thumb_rota_joint1");
    assert_eq!(curve.len(), 50);
    for (at_ns, value) in curve {
        let expected = joint_rad(&hand, 1, at_ns as f64 * 1e-9).to_degrees();
        assert!((value.expect("no gap") - expected).abs() < 1e-6);
    }
    assert_eq!(
        read.poses(&format!("{HAND}/robot/right_hand_mid_joint1"))
            .len(),
        50
    );
    let [hand_from_robot] = read.poses(&format!("{HAND}/robot"))[..] else {
        panic!("one place")
    };
    // Towards the little finger: the thumb of a right hand is along y.
    assert!(hand_from_robot.translation.y < -0.1);
    assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
}

#[test]
fn without_a_calibration_there_are_curves_and_a_note_but_no_hand() {
    let synthetic = Synthetic {
        calibrated: false,
        ..synthetic(1)
    };
    let (report, read) = saved(&synthetic, None, &ViewOptions::default());
    assert!(!read.has(&format!("{HAND}/measured")));
    assert!(read.has("joints/right/channel_3"));
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("not calibrated")),
        "{:?}",
        report.notes
    );
    // The notes are in the recording, too.
    let about = read.texts("about", rerun::TextDocument::descriptor_text().component);
    assert!(about[0].contains("not calibrated"), "{about:?}");
}

#[test]
fn the_log_tells_events_messages_gaps_and_the_document_losses() {
    let (_, read) = saved(&synthetic(2), None, &ViewOptions::default());
    let log = read.texts("log", rerun::TextLog::descriptor_text().component);
    assert_eq!(
        log,
        [
            "start: pick up the cup",
            "/exo/right/encoders: no sample for 0.206 s",
            "/exo/right/force/thumb: checksum 0x3A1F, computed 0x3A20",
            "mark",
        ]
    );
    let levels = read.texts("log", rerun::TextLog::descriptor_level().component);
    assert_eq!(levels, ["INFO", "WARN", "ERROR", "INFO"]);
    let about = read.texts("about", rerun::TextDocument::descriptor_text().component);
    assert!(
        about[0].contains("/exo/right/force/thumb: 1 × checksum"),
        "{about:?}"
    );
}

#[test]
fn the_blueprint_shows_what_is_there_and_is_activated() {
    let (_, read) = saved(&synthetic(1), None, &ViewOptions::default());
    assert!(read.activated);
    let query = |chunk: &Chunk| {
        let origin = "ViewBlueprint:space_origin";
        let rows = chunk.iter_slices::<String>(origin.into());
        rows.map(|row| row[0].to_string()).collect::<Vec<_>>()
    };
    let mut origins: Vec<String> = read.blueprint.iter().flat_map(query).collect();
    origins.sort();
    assert_eq!(
        origins,
        [
            "/about",
            "/camera/head",
            "/force/right/index",
            "/force/right/thumb",
            "/joints/right",
            "/log",
            "/world",
            "/world/tracker/wrist/hand/camera/wrist",
        ]
    );
    // A view of an entity without data would be empty.
    for origin in origins {
        assert!(read.has(&origin), "{origin}");
    }
}

#[test]
fn a_minute_is_a_few_large_chunks() {
    let images: Vec<_> = (0..1800).map(|n| image((n % 251) as u8)).collect();
    let synthetic = Synthetic {
        cameras: vec![("wrist", images)],
        ..synthetic(60)
    };
    let folder = tempfile::tempdir().expect("folder");
    let episode = synthetic.episode(&folder.path().join("episode_0000.mcap"));
    let timeline = timeline(&episode);
    let out = folder.path().join("view.rrd");
    let begun = std::time::Instant::now();
    let report = save(&episode, &timeline, None, &ViewOptions::default(), &out).expect("saved");
    println!("{report:?} in {:.3} s", begun.elapsed().as_secs_f64());
    let read = ReadBack::of(&out);
    println!(
        "{} chunks, {} of the blueprint",
        read.chunks.len(),
        read.blueprint.len()
    );
    assert!(read.chunks.len() < 100, "{}", read.chunks.len());
    assert_eq!(report.images, 1800);
}

#[test]
fn what_cannot_be_done_is_refused_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("folder");
    let episode = synthetic(1).episode(&folder.path().join("episode_0000.mcap"));
    let timeline = timeline(&episode);
    let out = folder.path().join("view.rrd");
    let none = ViewOptions { every_nth_image: 0 };
    let error = save(&episode, &timeline, None, &none, &out).expect_err("every 0th image");
    assert!(
        matches!(
            error,
            ViewError::Option {
                name: "every_nth_image",
                ..
            }
        ),
        "{error}"
    );

    // A folder stands where the file should go.
    std::fs::create_dir(&out).expect("folder");
    let error =
        save(&episode, &timeline, None, &ViewOptions::default(), &out).expect_err("a folder");
    assert!(error.to_string().ends_with("view.rrd"), "{error}");
    let left: Vec<_> = folder
        .path()
        .read_dir()
        .expect("list")
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}
