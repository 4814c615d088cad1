//! Where everything is: rectangles of a window, worked out before anything is drawn.

use egui::{Rect, pos2, vec2};

/// Between two panels, and around them [point].
const GAP: f32 = 12.0;
/// State's colour around the window [point].
pub(super) const BORDER: f32 = 6.0;
const BAND: f32 = 132.0;
const CONTROLS: f32 = 76.0;
const FOOTER: f32 = 26.0;
const MESSAGES: f32 = 84.0;
/// Head of a panel with the head of its table, and one row of it [point].
const TABLE_HEAD: f32 = 63.0;
pub(super) const ROW: f32 = 23.0;

/// Places of the panels [point].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Layout {
    /// State, timer, episode.
    pub band: Rect,
    /// Buttons and task.
    pub controls: Rect,
    /// All between buttons and footer, for what replaces the panels.
    pub body: Rect,
    /// Camera previews; empty without cameras.
    pub cameras: Rect,
    /// Table of streams.
    pub streams: Rect,
    /// What the recorder says.
    pub messages: Rect,
    /// Curves.
    pub plots: Rect,
    /// Finished episodes.
    pub episodes: Rect,
    /// Rig, folder, disk.
    pub footer: Rect,
}

impl Layout {
    /// For a window, the number of streams and whether there are cameras.
    pub fn of(window: Rect, streams: usize, has_cameras: bool) -> Self {
        let (band, below) = window.split_top_bottom_at_y(window.top() + BAND);
        let inside = below
            .shrink2(vec2(BORDER + GAP, 0.0))
            .with_max_y(window.bottom() - BORDER);
        let (controls, rest) = inside
            .with_min_y(inside.top() + GAP)
            .split_top_bottom_at_y(inside.top() + GAP + CONTROLS);
        let (body, footer) = rest.split_top_bottom_at_y(rest.bottom() - FOOTER);
        let body = body
            .with_min_y(body.top() + GAP)
            .with_max_y(body.bottom() - 2.0);
        let (left, right) = body.split_left_right_at_x((body.left() + body.width() * 0.65).round());
        let (left, right) = (
            left.with_max_x(left.right() - GAP / 2.0),
            right.with_min_x(right.left() + GAP / 2.0),
        );

        let (tables, messages) = left.split_top_bottom_at_y(left.bottom() - MESSAGES);
        let tables = tables.with_max_y(tables.bottom() - GAP);
        let wanted = TABLE_HEAD + ROW * streams.max(3) as f32;
        // Cameras keep a third; a longer table scrolls.
        let height = if has_cameras {
            wanted.min(tables.height() * 0.66)
        } else {
            tables.height()
        };
        let (cameras, streams) = tables.split_top_bottom_at_y((tables.bottom() - height).round());
        let cameras = cameras.with_max_y((cameras.bottom() - GAP).max(cameras.top()));

        let (plots, episodes) =
            right.split_top_bottom_at_y((right.top() + right.height() * 0.70).round());
        Self {
            band,
            controls,
            body,
            cameras,
            streams,
            messages,
            plots: plots.with_max_y(plots.bottom() - GAP / 2.0),
            episodes: episodes.with_min_y(episodes.top() + GAP / 2.0),
            footer,
        }
    }
}

/// Cuts a rectangle into columns of the given shares of its width, with a gap.
pub(super) fn columns<const N: usize>(rect: Rect, shares: [f32; N], gap: f32) -> [Rect; N] {
    let free = rect.width() - gap * (N as f32 - 1.0);
    let total: f32 = shares.iter().sum();
    let mut left = rect.left();
    shares.map(|share| {
        let width = free * share / total;
        let column = Rect::from_min_size(pos2(left, rect.top()), vec2(width, rect.height()));
        left += width + gap;
        column
    })
}

/// As [`columns`], one above the other.
pub(super) fn stack(rect: Rect, shares: &[f32], gap: f32) -> Vec<Rect> {
    let free = rect.height() - gap * (shares.len() as f32 - 1.0);
    let total: f32 = shares.iter().sum();
    let mut top = rect.top();
    shares
        .iter()
        .map(|share| {
            let height = free * share / total;
            let row = Rect::from_min_size(pos2(rect.left(), top), vec2(rect.width(), height));
            top += height + gap;
            row
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overlaps_or_leaves_the_window_whatever_its_shape() {
        // The window is zoomed so that one side fits; the other may be much longer.
        for (width, height) in [
            (1280.0, 800.0),
            (1422.0, 800.0),
            (2400.0, 800.0),
            (1280.0, 1600.0),
        ] {
            for (streams, has_cameras) in [(0, false), (7, true), (30, true), (12, false)] {
                let window = Rect::from_min_size(pos2(0.0, 0.0), vec2(width, height));
                let layout = Layout::of(window, streams, has_cameras);
                let Layout {
                    band,
                    controls,
                    cameras,
                    streams,
                    messages,
                    plots,
                    episodes,
                    footer,
                    ..
                } = layout;
                let all = [
                    band, controls, cameras, streams, messages, plots, episodes, footer,
                ];
                for (index, rect) in all.iter().enumerate() {
                    assert!(
                        window.contains_rect(*rect) && !rect.is_negative(),
                        "{index} of {layout:?}"
                    );
                    for other in &all[index + 1..] {
                        let both = rect.intersect(*other);
                        let area = both.width().max(0.0) * both.height().max(0.0);
                        assert!(area < 0.5, "{rect:?} and {other:?} overlap");
                    }
                }
                assert!(
                    streams.height() > TABLE_HEAD + 3.0 * ROW - 0.5,
                    "{streams:?}"
                );
                assert!(plots.height() > 300.0 && episodes.height() > 120.0);
                assert!(!has_cameras || cameras.height() > 120.0, "{cameras:?}");
            }
        }
    }

    #[test]
    fn columns_and_rows_fill_their_rectangle() {
        let rect = Rect::from_min_size(pos2(10.0, 20.0), vec2(100.0, 50.0));
        let [a, b] = columns(rect, [1.0, 3.0], 20.0);
        assert_eq!(
            (a.left(), a.right(), b.left(), b.right()),
            (10.0, 30.0, 50.0, 110.0)
        );
        let rows = stack(rect, &[1.0, 1.0], 10.0);
        assert_eq!(
            (rows[0].bottom(), rows[1].top(), rows[1].bottom()),
            (40.0, 50.0, 70.0)
        );
    }
}
