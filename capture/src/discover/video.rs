//! Video nodes and the cameras behind them.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{Usb, links::links_to};
use crate::{
    driver::v4l2::{Node, Offer, offers},
    error::Refusal,
};

const NODES: &str = "/sys/class/video4linux";
const LINKS: [&str; 2] = ["/dev/v4l/by-id", "/dev/v4l/by-path"];

/// A node under `/dev` that is a video device of some kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VideoNode {
    /// `/dev/videoN`; the number changes from plug to plug.
    pub node: PathBuf,
    /// Name of the camera.
    pub name: String,
    /// Which of the camera's nodes: 0 is the one with the images.
    pub index: u32,
    /// The USB device, where it is one.
    pub usb: Option<Usb>,
    /// Names that stay, best first.
    pub links: Vec<PathBuf>,
    /// Another camera of the same make has the same serial number, or none has one:
    /// only the port tells them apart.
    pub has_twin: bool,
}

impl VideoNode {
    /// The name for `rig.toml`.
    pub fn address(&self) -> String {
        match (self.links.first(), &self.usb) {
            (Some(link), _) => link.display().to_string(),
            (None, Some(usb)) => usb.address(),
            (None, None) => self.node.display().to_string(),
        }
    }
}

/// All video nodes, by number.
pub fn video_nodes() -> Vec<VideoNode> {
    let Ok(entries) = std::fs::read_dir(NODES) else {
        return Vec::new();
    };
    let mut found: Vec<(u32, VideoNode)> = entries
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            let file_name = folder.file_name()?.to_str()?;
            let number = file_name.strip_prefix("video")?.parse().ok()?;
            let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
            let node = Path::new("/dev").join(file_name);
            let video = VideoNode {
                name: read("name")?.trim().to_owned(),
                index: read("index")
                    .and_then(|index| index.trim().parse().ok())
                    .unwrap_or(0),
                usb: Usb::above(&folder.join("device")),
                links: links_to(&node, &LINKS),
                has_twin: false,
                node,
            };
            Some((number, video))
        })
        .collect();
    found.sort_by_key(|(number, _)| *number);
    let mut nodes: Vec<VideoNode> = found.into_iter().map(|(_, node)| node).collect();
    let known: Vec<Usb> = nodes.iter().filter_map(|node| node.usb.clone()).collect();
    for node in &mut nodes {
        let Some(usb) = &node.usb else { continue };
        let is_twin = |other: &Usb| other.port != usb.port && other.address() == usb.address();
        node.has_twin = known.iter().any(is_twin);
        if node.has_twin {
            // The link by serial number leads to whichever was plugged in last.
            node.links.retain(|link| !link.starts_with(LINKS[0]));
        }
    }
    nodes
}

/// Whether images come out of a node. One that may not be opened is judged by its
/// place among the camera's nodes.
fn captures(node: &VideoNode) -> bool {
    match Node::open(&node.node).and_then(|node| node.capabilities()) {
        Ok(capabilities) => capabilities.captures,
        Err(error) => error.kind() == ErrorKind::PermissionDenied && node.index == 0,
    }
}

/// A camera that is plugged in.
#[derive(Debug, Clone, Serialize)]
pub struct Camera {
    /// The name for `rig.toml`.
    pub address: String,
    /// Its node.
    #[serde(flatten)]
    pub node: VideoNode,
    /// What it offers.
    pub offers: Vec<Offer>,
    /// Why that is not known.
    pub problem: Option<String>,
}

/// All cameras that are plugged in; metadata nodes and outputs are none.
pub fn cameras() -> Vec<Camera> {
    video_nodes()
        .into_iter()
        .filter(captures)
        .map(|node| {
            let offers = Node::open(&node.node).and_then(|open| offers(&open));
            let (offers, problem) = match offers {
                Ok(offers) => (offers, None),
                Err(error) => (Vec::new(), Some(error.to_string())),
            };
            Camera {
                address: node.address(),
                node,
                offers,
                problem,
            }
        })
        .collect()
}

/// Finds the camera that an address means, as it is plugged in now, with a warning
/// where the address may mean another one tomorrow.
///
/// # Errors
/// There is none, several, or it is a node without images.
pub fn find_camera(address: &str) -> Result<(VideoNode, Option<String>), Refusal> {
    let nodes = video_nodes();
    if address.starts_with("usb:") {
        return by_usb(address, nodes).map(|node| (node, None));
    }
    if !address.starts_with("/dev/") {
        return Err(Refusal::new(
            "this is no camera's address",
            format!(
                "give a link under /dev/v4l/by-id/ or /dev/v4l/by-path/, or usb:VID:PID:SERIAL; {}",
                plugged_in(&nodes)
            ),
        ));
    }
    let path = std::fs::canonicalize(address).map_err(|error| {
        let problem = match error.kind() {
            ErrorKind::NotFound => "no such camera is plugged in".to_owned(),
            _ => error.to_string(),
        };
        Refusal::new(problem, plugged_in(&nodes))
    })?;
    let found = nodes.iter().find(|node| node.node == path).cloned();
    // A node that sysfs does not know may still be one, in a container for instance.
    let node = found.unwrap_or_else(|| VideoNode {
        node: path.clone(),
        name: String::new(),
        index: 0,
        usb: None,
        links: Vec::new(),
        has_twin: false,
    });
    let opened = Node::open(&node.node).and_then(|node| node.capabilities());
    if opened.is_ok_and(|capabilities| !capabilities.captures) {
        let sibling = nodes
            .iter()
            .find(|other| other.usb == node.usb && captures(other));
        return Err(Refusal::new(
            "this node gives no images (cameras have one for metadata beside)",
            match sibling {
                Some(sibling) => format!("its images come from {}", sibling.address()),
                None => plugged_in(&nodes),
            },
        ));
    }
    let is_number = path == Path::new(address);
    let is_either = node.has_twin && Path::new(address).starts_with(LINKS[0]);
    let warning = ((is_number || is_either) && node.address() != address).then(|| {
        let why = match is_either {
            true => "another camera has the same serial number",
            false => "numbers change from plug to plug",
        };
        format!(
            "{address} may be another camera after the next plug ({why}); {} stays",
            node.address()
        )
    });
    Ok((node, warning))
}

fn by_usb(address: &str, nodes: Vec<VideoNode>) -> Result<VideoNode, Refusal> {
    let is_meant = |node: &VideoNode| {
        let usb = node.usb.as_ref();
        usb.is_some_and(|usb| usb.matches(address) == Some(true))
    };
    let list = plugged_in(&nodes);
    // The first node of each camera: a second one has other images of the same camera.
    let mut meant: Vec<VideoNode> = Vec::new();
    for node in nodes.into_iter().filter(is_meant) {
        let port = |node: &VideoNode| node.usb.as_ref().map(|usb| usb.port.clone());
        let is_known = meant.iter().any(|known| port(known) == port(&node));
        if !is_known && captures(&node) {
            meant.push(node);
        }
    }
    match meant.len() {
        0 => Err(Refusal::new("no such camera is plugged in", list)),
        1 => Ok(meant.remove(0)),
        count => {
            let addresses: Vec<_> = meant.iter().map(VideoNode::address).collect();
            Err(Refusal::new(
                format!("{count} cameras have this address"),
                format!("give one of {}", addresses.join(", ")),
            ))
        }
    }
}

fn plugged_in(nodes: &[VideoNode]) -> String {
    let cameras: Vec<String> = nodes
        .iter()
        .filter(|node| captures(node))
        .map(|node| format!("{} ({})", node.address(), node.name))
        .collect();
    if cameras.is_empty() {
        return "no camera is plugged in".to_owned();
    }
    format!("plugged in: {}", cameras.join(", "))
}
