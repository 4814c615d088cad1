//! Intrinsics that a phone or camera sends with each image: kept once, and again
//! when they change.

use super::Item;

/// Changes of the focal length or the principal point below this part of the
/// focal length are what a lens that breathes does between two images.
const CHANGE: f64 = 5e-3;

/// What was said last.
#[derive(Debug, Default)]
pub(super) struct Intrinsics {
    kept: Option<[f64; 4]>,
}

impl Intrinsics {
    /// Takes fx, fy, cx, cy [pixel] of an image; what people should know of it.
    pub fn see(&mut self, seen: [f64; 4]) -> Vec<Item> {
        if !seen.iter().all(|value| value.is_finite()) || seen[0] <= 0.0 || seen[1] <= 0.0 {
            return Vec::new();
        }
        let text = |[fx, fy, cx, cy]: [f64; 4]| format!("{fx:.3}, {fy:.3}, {cx:.3}, {cy:.3}");
        let about = Item::About(vec![("intrinsics_px".to_owned(), text(seen))]);
        match self.kept {
            None => {
                self.kept = Some(seen);
                vec![about]
            }
            Some(kept) if changed(kept, seen) => {
                self.kept = Some(seen);
                let text = format!(
                    "fx, fy, cx, cy have changed from {} to {} pixel",
                    text(kept),
                    text(seen)
                );
                let note = Item::Note {
                    warning: false,
                    text,
                };
                vec![about, note]
            }
            Some(_) => Vec::new(),
        }
    }
}

fn changed(kept: [f64; 4], seen: [f64; 4]) -> bool {
    kept.iter()
        .zip(seen)
        .any(|(kept_px, seen_px)| (kept_px - seen_px).abs() > CHANGE * kept[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_and_breathing_is_not() {
        let mut intrinsics = Intrinsics::default();
        assert_eq!(intrinsics.see([f64::NAN; 4]).len(), 0);
        assert_eq!(intrinsics.see([600.0, 600.0, 320.0, 240.0]).len(), 1);
        assert_eq!(intrinsics.see([602.0, 602.0, 320.5, 240.0]).len(), 0);
        let items = intrinsics.see([620.0, 620.0, 320.5, 240.0]);
        assert!(
            matches!(&items[..], [Item::About(_), Item::Note { text, .. }] if text.contains("620.000"))
        );
        assert_eq!(intrinsics.see([620.0, 620.0, 320.5, 240.0]).len(), 0);
    }
}
