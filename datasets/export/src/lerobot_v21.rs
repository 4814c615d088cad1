//! LeRobotDataset v2.1: one file an episode, for loaders older than LeRobot 0.4.

use std::path::Path;

use crate::columns::Columns;
use crate::error::ExportError;
use crate::formats::{Episodes, Format};
use crate::options::{Options, Progress, Report};
use crate::v21;
use crate::writing::Plan;

/// The format.
pub(crate) const FORMAT: Format = Format {
    name: "lerobot-v2.1",
    help: "LeRobotDataset v2.1: one Parquet file and one video a camera for each episode",
    variants: &[],
    fps: 30,
    has_stills: false,
    keys: &[],
    load: "With lerobot 0.3 or older:\n\n```python\nfrom lerobot.common.datasets.lerobot_dataset import LeRobotDataset\ndataset = LeRobotDataset(\"local/name\", root=\"path of this folder\")\n```",
    write,
};

fn write(
    episodes: &mut Episodes<'_>,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, ExportError> {
    let plan = Plan {
        name: FORMAT.name,
        size: None,
        least_steps: 1,
        columns: |episode, _| Ok(Columns::plain(episode)),
    };
    v21::write(
        &plan,
        |_| Ok(Vec::new()),
        (episodes, out),
        options,
        progress,
    )
}
