//! Files: what people edit, and episodes.

use std::path::{Path, PathBuf};

use dexumi_episode::{
    Calibration, Episode, EpisodeFile, Rig, recover as recover_file,
    schema::{CompressedImage, Encoders, Force, Health, Record},
};
use tempfile::TempDir;

/// `rig.toml`.
pub fn rig(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes);
    let Ok(rig) = Rig::parse(&text, Path::new("rig.toml")) else {
        return 0;
    };
    let again = Rig::parse(&rig.to_toml(), Path::new("again")).expect("our own");
    // As text: options may hold numbers that are none.
    assert_eq!(format!("{again:?}"), format!("{rig:?}"));
    for mount in &rig.mount {
        let pose = mount.parent_from_child();
        assert!(pose.translation.vector.iter().all(|v| v.is_finite()));
        assert!((pose.rotation.norm() - 1.0).abs() < 1e-9);
        assert!(rig.mount(&mount.child, &mount.parent).is_some());
    }
    for device in &rig.device {
        let found = rig.device(&device.stream).expect("it is there");
        assert_eq!(format!("{found:?}"), format!("{device:?}"));
        let intrinsics = device.camera.as_ref().and_then(|mode| mode.intrinsics);
        assert!(intrinsics.is_none_or(|values| values.iter().all(|v| v.is_finite())));
    }
    1
}

/// `calibration.toml`, and what its maps make of angles.
pub fn calibration(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes);
    let Ok(calibration) = Calibration::parse(&text, Path::new("calibration.toml")) else {
        return 0;
    };
    let again = Calibration::parse(&calibration.to_toml(), Path::new("again")).expect("our own");
    assert_eq!(format!("{again:?}"), format!("{calibration:?}"));
    for map in calibration.joints.values().flat_map(|joints| &joints.joint) {
        let least = map.joint_rad.iter().copied().fold(f64::INFINITY, f64::min);
        let most = map
            .joint_rad
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        let room = 1e-9 * (1.0 + least.abs().max(most.abs()));
        let knots = map.sensor_rad.iter().copied();
        let between = map
            .sensor_rad
            .windows(2)
            .map(|pair| (pair[0] + pair[1]) / 2.0);
        for sensor_rad in knots.chain(between).chain([0.0, 1.0, -2.5, 6.3]) {
            let angle = map.apply(sensor_rad).joint_rad;
            // No map overshoots its knots.
            assert!(
                (least - room..=most + room).contains(&angle),
                "{angle} of {sensor_rad}, {map:?}"
            );
        }
    }
    1
}

/// A folder in memory where there is one: recovery syncs its files.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => TempDir::new_in(memory),
        false => TempDir::new(),
    }
    .expect("a folder")
}

fn written(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("written");
    path
}

/// An unfinished episode.
pub fn recover(bytes: &[u8]) -> usize {
    let folder = folder();
    let partial = written(&folder, "e.mcap.partial", bytes);
    let Ok(recovery) = recover_file(&partial) else {
        // Nothing else is left behind, and nothing is lost.
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("readable").count(),
            1
        );
        assert_eq!(std::fs::read(&partial).expect("readable"), bytes);
        return 0;
    };
    assert_eq!(std::fs::read(&recovery.original).expect("readable"), bytes);
    let said = &recovery.recovered;
    assert!(said.bytes == bytes.len() as u64 && said.bytes_cut <= said.bytes);
    assert_eq!(said.by_topic.values().sum::<u64>(), said.messages);
    // What was recovered is a whole file that holds what is said of it.
    let file = EpisodeFile::open(&recovery.path).expect("whole");
    let topics = file.topics();
    for (topic, &count) in &said.by_topic {
        assert_eq!(
            topics.get(topic).map(|(_, held)| *held),
            Some(count),
            "{topic}"
        );
    }
    assert_eq!(
        file.json("recovered").expect("readable").as_ref(),
        Some(said)
    );
    messages(&file);
    1
}

/// A finished episode.
pub fn episode(bytes: &[u8]) -> usize {
    let folder = folder();
    let path = written(&folder, "e.mcap", bytes);
    let Ok(file) = EpisodeFile::open(&path) else {
        return 0;
    };
    messages(&file);
    for name in ["rig.toml", "calibration.toml"] {
        let _ = file.attachment(name);
    }
    if let Ok(episode) = Episode::open(&path) {
        assert!(episode.duration_s().is_finite());
    }
    1
}

fn messages(file: &EpisodeFile) {
    fn all<M: Record>(file: &EpisodeFile, topic: &str) {
        if let Ok(messages) = file.read::<M>(topic) {
            assert!(messages.len() as u64 <= file.size());
        }
    }
    for (topic, (schema, _)) in file.topics() {
        match schema.as_str() {
            schema if schema == Encoders::SCHEMA => all::<Encoders>(file, &topic),
            schema if schema == Force::SCHEMA => all::<Force>(file, &topic),
            schema if schema == Health::SCHEMA => all::<Health>(file, &topic),
            schema if schema == CompressedImage::SCHEMA => all::<CompressedImage>(file, &topic),
            _ => {}
        }
        if let Ok(images) = file.images(&topic) {
            for index in 0..images.len().min(3) {
                let _ = file.image(&images, index);
            }
        }
    }
}
