//! Rerun's blueprint store: views and containers, by the paths where the viewer
//! looks for them.
//!
//! Rerun's own builder cannot set a view's properties (eye, legend, grid); the
//! paths and types here are those that it writes.

use rerun::{
    AsComponents, EntityPath,
    blueprint::components::{ContainerKind, PanelState},
    datatypes::Uuid,
    external::re_sdk_types::blueprint::archetypes::{
        ContainerBlueprint, PanelBlueprint, ViewBlueprint, ViewContents, ViewportBlueprint,
    },
};

type Entries = Vec<(EntityPath, Box<dyn AsComponents>)>;

/// A view, or a container of views.
pub(crate) struct Part {
    id: Uuid,
    path: String,
    /// Of all below, too.
    entries: Entries,
}

/// A view of a class that the viewer knows, such as `3D`.
pub(crate) fn view(
    class: &str,
    name: &str,
    origin: &EntityPath,
    contents: &[String],
    properties: Vec<(&str, Box<dyn AsComponents>)>,
) -> Part {
    let id = Uuid::random();
    let path = format!("view/{id}");
    let view = ViewBlueprint::new(class)
        .with_display_name(name)
        .with_space_origin(origin.to_string());
    let contents = ViewContents::new(contents.iter().map(String::as_str));
    let mut entries: Entries = vec![
        (path.as_str().into(), Box::new(view)),
        (format!("{path}/ViewContents").into(), Box::new(contents)),
    ];
    for (name, property) in properties {
        entries.push((format!("{path}/{name}").into(), property));
    }
    Part { id, path, entries }
}

/// A container; `shares` are the relative sizes of its parts.
pub(crate) fn container(kind: ContainerKind, name: &str, parts: Vec<(f32, Part)>) -> Part {
    let id = Uuid::random();
    let path = format!("container/{id}");
    let shares: Vec<f32> = parts.iter().map(|(share, _)| *share).collect();
    let mut container = ContainerBlueprint::new(kind)
        .with_display_name(name)
        .with_contents(parts.iter().map(|(_, part)| part.path.as_str()));
    container = match kind {
        ContainerKind::Horizontal => container.with_col_shares(shares),
        ContainerKind::Vertical => container.with_row_shares(shares),
        ContainerKind::Tabs | ContainerKind::Grid => container,
    };
    let mut entries: Entries = parts
        .into_iter()
        .flat_map(|(_, part)| part.entries)
        .collect();
    entries.push((path.as_str().into(), Box::new(container)));
    Part { id, path, entries }
}

/// The whole of the viewer, its side panels folded away.
pub(crate) fn viewport(root: Part, time_panel: Box<dyn AsComponents>) -> Entries {
    let viewport = ViewportBlueprint::new()
        .with_root_container(root.id)
        .with_auto_layout(false)
        .with_auto_views(false);
    let folded = || Box::new(PanelBlueprint::new().with_state(PanelState::Collapsed));
    let mut entries = root.entries;
    entries.push(("viewport".into(), Box::new(viewport)));
    entries.push(("blueprint_panel".into(), folded()));
    entries.push(("selection_panel".into(), folded()));
    entries.push(("time_panel".into(), time_panel));
    entries
}
