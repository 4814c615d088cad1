//! `dexumi verify`: whether a dataset is what its models' loaders assume.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use dexumi_export::{CARD_FILE, Options, verify};

use super::print_json;
use crate::{Exit, terminal::counted};

/// Check a dataset strictly: every row, every packet of every video, all metadata, and that no file
/// was changed, lost or added since it was written.
///
/// The format is told by the files. `dexumi export` does this by itself before a
/// dataset gets its name.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dexumi verify dataset
  dexumi verify dataset --json")]
pub struct Verify {
    /// Folder of the dataset.
    #[arg(value_name = "DATASET")]
    pub dataset: PathBuf,
    /// For machines.
    #[arg(long)]
    pub json: bool,
}

impl Verify {
    /// Checks the dataset and says what it holds.
    ///
    /// # Errors
    /// The first broken rule, with its file.
    pub fn run(&self) -> Result<Exit> {
        let found = verify(&self.dataset, &Options::default())?;
        eprintln!(
            "valid {}: {}, {}, {}, {}",
            found.format,
            counted(found.episodes as usize, "episode"),
            counted(found.rows as usize, "step"),
            counted(found.tasks as usize, "sentence"),
            counted(found.videos, "video")
        );
        match found.files {
            Some(files) => eprintln!("{files} files are what the manifest says"),
            None => eprintln!("no manifest: it is not known what the dataset was made from"),
        }
        if found.is_card_edited {
            eprintln!("note: {CARD_FILE} was edited since the dataset was written");
        }
        if self.json {
            print_json(&found)?;
        }
        Ok(Exit::Done)
    }
}
