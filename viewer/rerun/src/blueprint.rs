//! What the viewer shows when an episode is opened: images left, 3-D in the
//! middle, curves right, words below.

use nalgebra::{Isometry3, Point3, Vector3};
use rerun::{
    AsComponents, EntityPath,
    blueprint::{
        components::{ContainerKind, Corner2D, LoopMode, PanelState, PlayState},
        datatypes::{TextLogColumn, TextLogColumnKind},
    },
    external::re_sdk_types::blueprint::archetypes::{
        EyeControls3D, LineGrid3D, PlotLegend, TextLogColumns, TimePanelBlueprint,
    },
};

use crate::{
    layout::{Part, container, view, viewport},
    rrd::EPISODE_TIME,
    scene::{WORLD, floats},
    text::{ABOUT, LOG},
};

/// Distance between the lines on the floor [m].
const GRID_M: f32 = 0.1;
/// Length of a hand, about [m].
const HAND_M: f64 = 0.2;
/// Distance of the eye, in radii of what it is to see: the viewer's angle of
/// view is about 55 degrees.
const EYE_RADII: f64 = 1.6;

/// A view with a name, onto one entity.
pub(crate) struct Shown {
    pub name: String,
    pub entity: EntityPath,
}

/// All that was written and can be shown.
#[derive(Default)]
pub(crate) struct Contents {
    pub cameras: Vec<Shown>,
    /// Joint angles, measured and retargeted.
    pub joints: Vec<Shown>,
    pub force: Vec<Shown>,
    /// `world_from_hand` over time, or of the trackers: what to look at.
    pub hand: Vec<Isometry3<f64>>,
    /// `Side::thumb_along_y` of the hand.
    pub thumb_along_y: f64,
}

/// The blueprint's entries.
pub(crate) fn blueprint(contents: &Contents) -> Vec<(EntityPath, Box<dyn AsComponents>)> {
    let mut columns = Vec::new();
    if !contents.cameras.is_empty() {
        let views = contents.cameras.iter().map(|camera| {
            let queries = ["$origin/**".to_owned()];
            (
                1.0,
                view("2D", &camera.name, &camera.entity, &queries, Vec::new()),
            )
        });
        let cameras = container(ContainerKind::Vertical, "Cameras", views.collect());
        columns.push((1.0, cameras));
    }
    columns.push((1.5, space(contents)));
    let joints = contents
        .joints
        .iter()
        .map(|shown| plot(shown, Corner2D::RightTop));
    let joints: Vec<_> = joints.map(|part| (1.0, part)).collect();
    let force = contents
        .force
        .iter()
        .map(|shown| plot(shown, Corner2D::RightTop));
    let force: Vec<_> = force.map(|part| (1.0, part)).collect();
    let mut curves = Vec::new();
    if !joints.is_empty() {
        // Measured and retargeted hold the same joints: one at a time.
        curves.push((1.6, container(ContainerKind::Tabs, "Joint angles", joints)));
    }
    if !force.is_empty() {
        let share = (0.5 * force.len() as f32).min(1.6);
        curves.push((share, container(ContainerKind::Vertical, "Force", force)));
    }
    if !curves.is_empty() {
        columns.push((1.15, container(ContainerKind::Vertical, "Curves", curves)));
    }
    let words = vec![(1.0, log()), (1.0, about())];
    let root = container(
        ContainerKind::Vertical,
        "Episode",
        vec![
            (2.8, container(ContainerKind::Horizontal, "Data", columns)),
            (1.0, container(ContainerKind::Horizontal, "Words", words)),
        ],
    );
    let time_panel = TimePanelBlueprint::new()
        .with_state(PanelState::Collapsed)
        .with_timeline(EPISODE_TIME)
        .with_play_state(PlayState::Playing)
        .with_loop_mode(LoopMode::All);
    viewport(root, Box::new(time_panel))
}

/// All lines are of one entity: no column for it.
fn log() -> Part {
    let shown = [TextLogColumnKind::LogLevel, TextLogColumnKind::Body];
    let columns = TextLogColumns::new().with_text_log_columns(shown.map(|kind| TextLogColumn {
        visible: true.into(),
        kind,
    }));
    let queries = ["$origin/**".to_owned()];
    let properties: Vec<(&str, Box<dyn AsComponents>)> =
        vec![("TextLogColumns", Box::new(columns))];
    view(
        "TextLog",
        "Log",
        &EntityPath::from(LOG),
        &queries,
        properties,
    )
}

fn about() -> Part {
    let queries = ["$origin/**".to_owned()];
    view(
        "TextDocument",
        "About this episode",
        &EntityPath::from(ABOUT),
        &queries,
        Vec::new(),
    )
}

fn plot(shown: &Shown, corner: Corner2D) -> Part {
    let legend = PlotLegend::new().with_corner(corner);
    let queries = ["$origin/**".to_owned()];
    let properties: Vec<(&str, Box<dyn AsComponents>)> = vec![("PlotLegend", Box::new(legend))];
    view(
        "TimeSeries",
        &shown.name,
        &shown.entity,
        &queries,
        properties,
    )
}

/// The 3-D view, looking at the hand from the side of its thumb.
fn space(contents: &Contents) -> Part {
    let grid = LineGrid3D::new().with_spacing(GRID_M);
    let mut properties: Vec<(&str, Box<dyn AsComponents>)> = vec![("LineGrid3D", Box::new(grid))];
    if let Some((eye, target)) = eye(&contents.hand, contents.thumb_along_y) {
        let controls = EyeControls3D::new()
            .with_position(floats(&eye))
            .with_look_target(floats(&target))
            .with_eye_up([0.0, 0.0, 1.0]);
        properties.push(("EyeControls3D", Box::new(controls)));
    }
    let world = EntityPath::from(WORLD);
    view(
        "3D",
        "Hand and cameras",
        &world,
        &["$origin/**".to_owned()],
        properties,
    )
}

/// Eye and target in the world [m]: the hand is in view wherever it goes, and at
/// first is seen half from the thumb, half from the palm.
fn eye(hand: &[Isometry3<f64>], thumb_along_y: f64) -> Option<(Vector3<f64>, Vector3<f64>)> {
    let first = hand.first()?;
    let middle = Point3::new(0.0, 0.0, HAND_M / 2.0);
    let positions = || hand.iter().map(|pose| (pose * middle).coords);
    let start = (first * middle).coords;
    let low = positions().fold(start, |low, p| low.inf(&p));
    let high = positions().fold(start, |high, p| high.sup(&p));
    let target = (low + high) / 2.0;
    let mut direction = first.rotation * Vector3::new(1.0, thumb_along_y, 0.0);
    direction.z = 0.0;
    let direction = direction.try_normalize(1e-3).unwrap_or(-Vector3::x());
    let radius = (high - low).norm() / 2.0 + HAND_M / 2.0;
    let eye = target + (direction + Vector3::new(0.0, 0.0, 0.85)) * radius * EYE_RADII;
    Some((eye, target))
}
