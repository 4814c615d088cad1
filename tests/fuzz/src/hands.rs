//! What people bring along to retarget: hands, robots and keypoints.

use std::path::Path;

use dexumi_retarget::{
    Finger, Hand, NpyArray, Preset, RetargetOptions, Retargeter, UrdfOptions, UrdfTree,
    keypoints_from_array,
};

/// What any hand that was read keeps: a posture within its limits, places that are numbers, and answers.
fn check(hand: Hand) {
    let rest = hand.rest();
    assert_eq!((rest.len(), hand.limits().len()), (hand.dof(), hand.dof()));
    for (&q, &(lower, upper)) in rest.iter().zip(hand.limits()) {
        assert!(lower <= q && q <= upper, "{lower} {q} {upper}");
    }
    let pose = hand.forward(&rest);
    let places = pose.root_from_joint.iter();
    assert!(
        places
            .flat_map(|place| place.translation.vector.iter().copied())
            .all(f64::is_finite)
    );
    let across = hand.side().thumb_along_y();
    let mut points = [[0.0; 3].into(); 21];
    for finger in 0..5 {
        for bone in 0..4 {
            points[1 + 4 * finger + bone] = [
                0.0,
                across * (0.04 - 0.02 * finger as f64),
                0.09 + 0.03 * bone as f64,
            ]
            .into();
        }
    }
    let limits = hand.limits().to_vec();
    // A hand whose open links touch is refused, and so is one without places to follow.
    if let Ok(mut retargeter) =
        Retargeter::new(hand, &RetargetOptions::new(Preset::dexumi(Vec::new())))
    {
        for (q, (lower, upper)) in retargeter.step(&points, None).position.iter().zip(limits) {
            assert!((lower..=upper).contains(q), "{lower} {q} {upper}");
        }
    }
}

/// A hand file.
pub fn hand(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes);
    let Ok(hand) = Hand::from_toml(&text, "hand.toml") else {
        return 0;
    };
    check(hand);
    1
}

/// A URDF, and the hand that it makes.
pub fn urdf(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes);
    let Ok(tree) = UrdfTree::from_text(&text, Path::new("/nowhere/hand_right.urdf")) else {
        return 0;
    };
    let mut understood = 1;
    let last = tree.links().last().map(|link| link.name.clone());
    let named = UrdfOptions {
        side: None,
        tips: last.into_iter().map(|link| (Finger::Thumb, link)).collect(),
        name: None,
    };
    let guessed = UrdfOptions {
        tips: Vec::new(),
        ..named.clone()
    };
    for options in [named, guessed] {
        if let Ok(hand) = Hand::from_urdf_tree(&tree, &options) {
            check(hand);
            understood += 1;
        }
    }
    understood
}

/// Keypoints of NumPy.
pub fn npy(bytes: &[u8]) -> usize {
    let Ok(array) = NpyArray::from_bytes(bytes, "hand.npy") else {
        return 0;
    };
    match keypoints_from_array(&array) {
        Ok(clip) => 1 + clip.len(),
        Err(_) => 1,
    }
}
