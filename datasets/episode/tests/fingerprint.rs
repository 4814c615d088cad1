//! What a fingerprint tells apart.

use std::path::Path;

use dexumi_episode::{
    EpisodeFile, EpisodeWriter, SessionTime,
    schema::{CompressedImage, Joints},
};

/// A file of sensors and images, the last image's last byte being `last`; its fingerprint.
fn fingerprint(folder: &Path, name: &str, images: u64, last: u8) -> String {
    let path = folder.join(name);
    let mut writer = EpisodeWriter::create_bare(&path).expect("a file");
    let joints = writer.channel::<Joints>("/joints", &[]).expect("a channel");
    let camera = writer
        .channel::<CompressedImage>("/image", &[])
        .expect("a channel");
    for k in 0..images {
        let time = SessionTime::from_nanos(1_000 + k as i64);
        let message = Joints {
            position: vec![k as f64],
            ..Joints::default()
        };
        writer.write(joints, k, time, time, &message);
        let mut data = vec![7; 100_000];
        if k + 1 == images {
            data[99_999] = last;
        }
        let image = CompressedImage {
            data: data.into(),
            ..CompressedImage::default()
        };
        writer.write(camera, k, time, time, &image);
        writer.tick().expect("a tick");
    }
    let path = writer.finish_bare().expect("a whole file");
    EpisodeFile::open(&path)
        .expect("an episode")
        .fingerprint()
        .expect("a fingerprint")
}

#[test]
fn equal_files_have_one_and_a_changed_byte_of_an_image_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let first = fingerprint(folder, "a.mcap", 8, 1);
    assert_eq!(first.len(), 64);
    assert_eq!(
        first,
        fingerprint(folder, "b.mcap", 8, 1),
        "the name does not count"
    );
    assert_ne!(
        first,
        fingerprint(folder, "c.mcap", 8, 2),
        "one byte of 800 kB"
    );
    assert_ne!(first, fingerprint(folder, "d.mcap", 9, 1), "one image more");
}
