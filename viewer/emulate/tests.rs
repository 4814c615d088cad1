//! The scene as the emulated devices see it.

use std::path::Path;

use super::*;

fn small(video: Vec<(String, PathBuf)>) -> SceneOptions {
    SceneOptions {
        video,
        width: 640,
        height: 360,
        ..SceneOptions::default()
    }
}

fn decode(jpeg: Vec<u8>, flags: i32) -> Mat {
    imgcodecs::imdecode(&Vector::<u8>::from(jpeg), flags).unwrap()
}

fn read_mark(jpeg: Vec<u8>) -> Option<f64> {
    let gray = decode(jpeg, imgcodecs::IMREAD_GRAYSCALE);
    mark::read(
        gray.data_bytes().unwrap(),
        gray.cols() as u32,
        gray.rows() as u32,
    )
}

#[test]
fn the_mark_reads_back_from_the_jpeg_of_both_cameras() {
    let scene = EmulatedScene::new(&small(Vec::new())).unwrap();
    for (camera, _) in CAMERAS {
        for t in [0.0, 3.1234, 71.5] {
            let jpeg = scene.image(camera, t, Some(Mark::at(t))).unwrap();
            let read = read_mark(jpeg).expect("a mark");
            assert!((read - t).abs() < 1e-4, "{camera} at {t} s: {read}");
        }
        assert_eq!(read_mark(scene.image(camera, 1.0, None).unwrap()), None);
    }
    let error = scene.image("chest", 0.0, None).unwrap_err();
    assert!(
        error.contains("wrist or head") && error.contains("chest"),
        "{error}"
    );
}

#[test]
fn both_cameras_show_the_motion() {
    let scene = EmulatedScene::new(&small(Vec::new())).unwrap();
    for (camera, _) in CAMERAS {
        let [one, same, other] = [2.0, 2.0, 2.5].map(|t| {
            decode(
                scene.image(camera, t, None).unwrap(),
                imgcodecs::IMREAD_COLOR,
            )
        });
        let changed = |a: &Mat, b: &Mat| {
            let pairs = a.data_bytes().unwrap().iter().zip(b.data_bytes().unwrap());
            pairs.filter(|(a, b)| a.abs_diff(**b) > 24).count()
        };
        assert_eq!(
            changed(&one, &same),
            0,
            "{camera} depends on the time alone"
        );
        assert!(
            changed(&one, &other) > 3 * 640 * 360 / 50,
            "{camera} shows no motion"
        );
    }
}

#[test]
fn a_mark_of_the_scene_is_where_the_intrinsics_say() {
    // The thumb's tip, seen by the head camera: a white cap on dark links.
    let scene = EmulatedScene::new(&small(Vec::new())).unwrap();
    let [fx, fy, cx, cy] = scene.intrinsics("head").unwrap();
    let t = 2.0;
    let tip = scene.hand.forward(&scene.motion.at(t)).tips[0];
    let in_camera = world_from_head_camera().inverse() * scene.world_from_hand(t) * tip;
    let (x, y) = (
        fx * in_camera.x / in_camera.z + cx,
        fy * in_camera.y / in_camera.z + cy,
    );
    let picture = decode(
        scene.image("head", t, None).unwrap(),
        imgcodecs::IMREAD_GRAYSCALE,
    );
    let bytes = picture.data_bytes().unwrap();
    let brightest = (-4..=4)
        .flat_map(|dy| (-4..=4).map(move |dx| (dx, dy)))
        .map(|(dx, dy)| bytes[(y as i32 + dy) as usize * 640 + (x as i32 + dx) as usize])
        .max();
    assert!(brightest > Some(190), "at {x:.0}, {y:.0}: {brightest:?}");
}

#[test]
fn the_fingers_press_in_a_pinch_and_not_when_open() {
    let scene = EmulatedScene::new(&SceneOptions::default()).unwrap();
    let (mut high, mut low) = ([0.0_f64; 3], [f64::MAX; 3]);
    for k in 0..2000 {
        for finger in 0..3 {
            let [x, y, z] = scene.force_counts(finger, f64::from(k) * 0.01);
            assert!((-128.0..=127.0).contains(&x) && (-128.0..=127.0).contains(&y));
            assert!((0.0..=255.0).contains(&z));
            (high[finger], low[finger]) = (high[finger].max(z), low[finger].min(z));
        }
    }
    assert!(
        high.iter().all(|z| *z > 150.0) && low.iter().all(|z| *z < 5.0),
        "{high:?} {low:?}"
    );
}

#[test]
fn the_rig_gets_the_cameras_that_are_drawn() {
    let scene = EmulatedScene::new(&small(Vec::new())).unwrap();
    let mounts = scene.mounts();
    let find = |child: &str| mounts.iter().find(|mount| mount.child == child).unwrap();
    let wrist = find("camera/wrist").parent_from_child();
    assert!(
        (wrist.inverse() * hand_from_wrist_camera())
            .rotation
            .angle()
            < 1e-9
    );
    assert_eq!(find("camera/head").parent, "world");
    assert_eq!(
        scene.intrinsics("wrist"),
        Some([450.0, 450.0, 319.5, 179.5])
    );
}

#[test]
fn a_recording_takes_the_place_of_a_drawing() {
    let path = Path::new("../shared/data/human_hand_right_1280x720_30fps.mp4");
    if !path.exists() {
        eprintln!("skipped: no recording at {}", path.display());
        return;
    }
    let scene = EmulatedScene::new(&small(vec![("head".to_owned(), path.to_owned())])).unwrap();
    let jpeg = scene.image("head", 1.25, Some(Mark::at(1.25))).unwrap();
    assert_eq!(read_mark(jpeg), Some(1.25));
    assert_eq!((scene.intrinsics("head"), scene.mounts().len()), (None, 2));
}

#[test]
fn contradictory_options_are_refused_with_the_next_step() {
    let refused =
        |options: SceneOptions| format!("{:#}", EmulatedScene::new(&options).err().unwrap());
    let path = || Some(PathBuf::from("x"));
    let both = SceneOptions {
        motion: path(),
        setpoints: path(),
        ..SceneOptions::default()
    };
    assert!(refused(both).contains("leave one out"));
    let camera = refused(small(vec![("chest".to_owned(), "v.mp4".into())]));
    assert!(
        camera.contains("wrist or head") && camera.ends_with("v.mp4"),
        "{camera}"
    );
    let tiny = SceneOptions {
        width: 10,
        ..SceneOptions::default()
    };
    assert!(refused(tiny).contains("10x720"));
}

/// Writes pictures of both cameras to the folder `DEXUMI_PICTURES`, for people to look at, and says
/// what they cost.
#[test]
#[ignore = "writes pictures for people to look at"]
fn pictures() {
    let folder = PathBuf::from(std::env::var("DEXUMI_PICTURES").expect("set DEXUMI_PICTURES"));
    let scene = EmulatedScene::new(&SceneOptions::default()).unwrap();
    for (camera, _) in CAMERAS {
        let mut all = Vec::new();
        let mut drawn = Vec::new();
        for k in 0..120 {
            let t = f64::from(k) * 0.37;
            let start = std::time::Instant::now();
            let jpeg = scene.image(camera, t, None).unwrap();
            all.push(start.elapsed().as_secs_f64() * 1e3);
            let start = std::time::Instant::now();
            let Source::Drawn(painter) = &mut *scene.camera(camera).unwrap().source.lock().unwrap()
            else {
                panic!("{camera} is drawn")
            };
            painter.draw(&scene.world_from_hand(t), &scene.motion.at(t));
            drawn.push(start.elapsed().as_secs_f64() * 1e3);
            if k % 8 == 0 {
                std::fs::write(folder.join(format!("{camera}_{t:.1}s.jpg")), jpeg).unwrap();
            }
        }
        for (what, mut ms) in [("drawn", drawn), ("drawn and encoded", all)] {
            ms.sort_by(f64::total_cmp);
            println!(
                "{camera} {what}: least {:.1}, median {:.1} ms",
                ms[0], ms[60]
            );
        }
    }
}
