//! No step allocates: counted by the allocator itself, for every hand and preset.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use dexumi_retarget::{
    HANDS, Hand, JointMap, Keypoints, Preset, RetargetOptions, Retargeter, Tracker, TrackerOptions,
    finger_scales,
};
use nalgebra::Point3;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a count of what this thread asks for.
struct Counting;

// SAFETY: every call goes to `System` as it came; the count is a plain cell without a destructor, which
// may be touched at any time.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// A hand that opens, closes and pinches, each finger a little later than the one before; mirrored for
/// a left one.
fn clip(across: f64) -> Vec<Keypoints> {
    let step = |time_s: f64| {
        let mut points = [Point3::origin(); 21];
        for finger in 0..5 {
            let bend = 0.4 - 0.4 * (2.0 * time_s - 0.3 * f64::from(finger)).cos();
            let mut at = [0.0, across * (0.04 - 0.02 * f64::from(finger)), 0.09];
            let mut angle = 0.1_f64;
            for bone in 0..4 {
                points[1 + 4 * finger as usize + bone] = at.into();
                angle += bend;
                at = [
                    at[0] + 0.03 * angle.sin(),
                    at[1],
                    at[2] + 0.03 * angle.cos(),
                ];
            }
        }
        points
    };
    (0..300)
        .map(|index| step(f64::from(index) / 30.0))
        .collect()
}

#[test]
fn no_step_allocates() {
    let kept = allocations(|| drop(std::hint::black_box(Box::new(1_u8))));
    assert_eq!(kept, 1, "the count counts");
    for (name, _) in HANDS {
        let hand = Arc::new(Hand::by_name(name).unwrap());
        let clip = clip(hand.side().thumb_along_y());
        let scales = finger_scales(&hand, &clip).unwrap();
        let every = [
            RetargetOptions::new(Preset::dexumi(scales.clone())),
            RetargetOptions::new(Preset::DexPilot { scale: 1.2 }),
            RetargetOptions::reference(Preset::Vector {
                scale: 1.2,
                follow: Vec::new(),
            }),
        ];
        for options in &every {
            let mut retargeter = Retargeter::new(hand.clone(), options).unwrap();
            let mut followed = 0;
            let count = allocations(|| {
                for (index, points) in clip.iter().enumerate() {
                    let dt_s = (index > 0).then_some(1.0 / 30.0);
                    followed += u32::from(!retargeter.step(points, dt_s).is_held());
                }
            });
            assert_eq!(followed, 300, "{name}");
            assert_eq!(count, 0, "{name} {}", options.preset.name());
        }
        let options = RetargetOptions::new(Preset::dexumi(scales));
        let mut tracker = Tracker::new(hand.clone(), &options, TrackerOptions::default()).unwrap();
        let count = allocations(|| {
            for points in &clip {
                tracker.step(points, Some(1.0 / 30.0));
            }
        });
        assert_eq!(count, 0, "{name} tracked");
        let mut map = JointMap::new(hand.clone());
        let angles = vec![0.3; hand.dof()];
        let count = allocations(|| {
            for _ in 0..100 {
                map.step(&angles, Some(0.005));
            }
        });
        assert_eq!(count, 0, "{name} joint for joint");
    }
}
