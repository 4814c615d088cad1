//! What a bridge says that it has, and what the rig wants of it.

use dexumi_episode::{Device, StreamKind};

use super::{
    super::Item,
    kinds,
    packet::NO_STREAM,
    payload::{Hello, StreamHello},
};

/// The bridge's stream for an entry: by its name, or the only one of its kind.
pub(super) fn choose(device: &Device, hello: &Hello) -> Result<usize, (String, String)> {
    let raw = device.camera.as_ref().is_some_and(|mode| mode.raw);
    let kinds: &[&str] = match StreamKind::of(&device.stream) {
        Some(StreamKind::Camera { .. }) if raw => &["raw"],
        Some(StreamKind::Camera { .. }) => &["jpeg"],
        Some(kind) => kinds(&kind),
        None => &[],
    };
    let fits: Vec<usize> = (0..hello.streams.len().min(usize::from(NO_STREAM)))
        .filter(|&place| kinds.contains(&hello.streams[place].kind.as_str()))
        .collect();
    let names: Vec<&str> = fits
        .iter()
        .map(|&place| hello.streams[place].name.as_str())
        .collect();
    let known = match names.is_empty() {
        true => format!(
            "`{}` has no stream of kind {}",
            hello.bridge,
            kinds.join(" or ")
        ),
        false => format!("it has: {}", names.join(", ")),
    };
    match (&device.source, &fits[..]) {
        (Some(source), _) => names
            .iter()
            .position(|name| name == source)
            .map(|index| fits[index])
            .ok_or_else(|| {
                let problem = format!(
                    "the bridge has no stream `{source}` of kind {}",
                    kinds.join(" or ")
                );
                (problem, known)
            }),
        (None, &[only]) => Ok(only),
        (None, []) => Err((known, "choose another bridge".to_owned())),
        (None, _) => Err((
            "the bridge has several such streams".to_owned(),
            format!("name one with `source`; {known}"),
        )),
    }
}

/// What the hello says of one stream, for the file.
pub(super) fn about(hello: &Hello, stream: &StreamHello) -> Item {
    let clock = hello.clock.as_deref().unwrap_or("none: dated by arrival");
    let mut about = vec![
        ("bridge", hello.bridge.clone()),
        ("clock", clock.to_owned()),
    ];
    about.push(("bridge_stream", stream.name.clone()));
    for (key, value) in [
        ("sequence", stream.sequence.clone()),
        ("frame", stream.frame.clone()),
        ("joints", stream.joints.join(",")),
    ] {
        if !value.is_empty() {
            about.push((key, value));
        }
    }
    Item::About(
        about
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

/// Text for people from a JSON object of a bridge.
pub(super) fn facts(payload: &[u8]) -> Option<Vec<(String, String)>> {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(payload).ok()?;
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Some(
        object
            .into_iter()
            .map(|(key, value)| (key, text(value)))
            .collect(),
    )
}
