//! What is plugged in and pulled out, as it happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    time::Duration,
};

use anyhow::Result;
use serde::Serialize;

use super::listed::{self, CameraLine, SerialLine};
use crate::{Exit, command::record::interrupted};

/// Between two looks at sysfs.
const LOOK: Duration = Duration::from_millis(250);

/// A device as it is shown.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Serial(SerialLine),
    Camera(CameraLine),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(line) => line.fmt(f),
            Self::Camera(line) => line.fmt(f),
        }
    }
}

#[derive(Serialize)]
struct Event<'a> {
    event: &'static str,
    #[serde(flatten)]
    line: &'a Line,
}

fn nodes() -> BTreeSet<PathBuf> {
    let ports = dexumi_capture::discover::serial_ports();
    let nodes = ports.into_iter().map(|port| port.node);
    #[cfg(target_os = "linux")]
    let nodes = nodes.chain(
        dexumi_capture::discover::video_nodes()
            .into_iter()
            .map(|video| video.node),
    );
    nodes.collect()
}

fn lines() -> BTreeMap<PathBuf, Line> {
    let serial = listed::serial()
        .into_iter()
        .map(|line| (line.node.clone(), Line::Serial(line)));
    #[cfg(target_os = "linux")]
    let serial = serial.chain(
        listed::cameras()
            .into_iter()
            .map(|line| (line.camera.node.node.clone(), Line::Camera(line))),
    );
    serial.collect()
}

/// What has been shown, and what is about to be.
#[derive(Default)]
struct Watch {
    shown: BTreeMap<PathBuf, Line>,
    before: BTreeSet<PathBuf>,
    settled: BTreeSet<PathBuf>,
}

impl Watch {
    /// Takes what is there now. A new node is shown when it is there at two looks:
    /// udev makes its links and sets its group after the kernel makes it.
    fn look(
        &mut self,
        now: BTreeSet<PathBuf>,
        describe: impl Fn() -> BTreeMap<PathBuf, Line>,
    ) -> Vec<(&'static str, Line)> {
        let mut events = Vec::new();
        let gone = self.shown.extract_if(.., |node, _| !now.contains(node));
        events.extend(gone.map(|(_, line)| ("unplugged", line)));
        self.settled.retain(|node| now.contains(node));
        let fresh: Vec<PathBuf> = now
            .intersection(&self.before)
            .filter(|node| !self.settled.contains(*node))
            .cloned()
            .collect();
        if !fresh.is_empty() {
            let mut lines = describe();
            for node in fresh {
                // A metadata node has nothing to show.
                if let Some(line) = lines.remove(&node) {
                    events.push(("plugged", line.clone()));
                    self.shown.insert(node.clone(), line);
                }
                self.settled.insert(node);
            }
        }
        self.before = now;
        events
    }
}

/// Until Ctrl-C.
pub fn run(json: bool) -> Result<Exit> {
    let mut watch = Watch::default();
    let mut look = || -> Result<()> {
        for (event, line) in watch.look(nodes(), lines) {
            match (json, event) {
                (true, event) => {
                    let event = Event { event, line: &line };
                    println!("{}", serde_json::to_string(&event)?);
                }
                (false, "plugged") => print!("+ {}", line.to_string().trim_start()),
                (false, _) => println!(
                    "- {}",
                    line.to_string().trim_start().lines().next().unwrap_or("")
                ),
            }
        }
        Ok(())
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut ticks = tokio::time::interval(LOOK);
        let end = interrupted();
        tokio::pin!(end);
        if !json {
            eprintln!("plug and unplug; Ctrl-C ends this");
        }
        loop {
            tokio::select! {
                result = &mut end => return result,
                _ = ticks.tick() => look()?,
            }
        }
    })?;
    Ok(Exit::Done)
}
