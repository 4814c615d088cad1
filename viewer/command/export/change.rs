//! `dexumi extend`, `withdraw` and `rebuild`: a dataset by the choices in its manifest, with other
//! episodes or the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use dexumi_episode::EpisodeFile;
use dexumi_export::{CARD_FILE, Entry, ExportError, MANIFEST_FILE, Manifest, Origin};

use super::{Choices, Job, write::how_to_go_on};
use crate::{
    Exit,
    command::{all_episodes, interrupt, print_json},
    terminal::counted,
};

/// Add episodes to a dataset, by the choices that it was exported with. Those that are in it
/// already are skipped.
///
/// The result is what an export of all the episodes would write. The recordings of the episodes in
/// it are read once more; videos are not encoded again. The old dataset is there until the new one
/// has passed its check.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dexumi extend dataset session2
  dexumi extend dataset session/episode_0007.mcap")]
pub struct Extend {
    /// Folder of the dataset.
    #[arg(value_name = "DATASET")]
    pub dataset: PathBuf,
    /// Episodes or session folders.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub search: Search,
    /// For machines.
    #[arg(long)]
    pub json: bool,
}

/// Take episodes out of a dataset. Indices, statistics and videos are as if they had never been in
/// it.
///
/// The recordings of the others are read once more; videos are not encoded again. The old dataset is
/// there until the new one has passed its check; then nothing of it is left.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dexumi withdraw dataset 17                                      by index in the dataset
  dexumi withdraw dataset 0192f3a0-5c1e-7cc0-8000-3f1b2a5d7e11    by the recording's id
  dexumi withdraw dataset session/episode_0007.mcap               by the recording")]
pub struct Withdraw {
    /// Folder of the dataset.
    #[arg(value_name = "DATASET")]
    pub dataset: PathBuf,
    /// Index in the dataset, id, or file of the recording.
    #[arg(required = true, value_name = "EPISODE")]
    pub episodes: Vec<String>,
    #[command(flatten)]
    pub search: Search,
    /// For machines.
    #[arg(long)]
    pub json: bool,
}

/// Write a dataset once more from its recordings, by the choices that it was exported with, and
/// compare the two.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dexumi rebuild dataset --out again")]
pub struct Rebuild {
    /// Folder of the dataset.
    #[arg(value_name = "DATASET")]
    pub dataset: PathBuf,
    /// Folder to write; must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub search: Search,
    /// For machines.
    #[arg(long)]
    pub json: bool,
}

/// Where the recordings of a dataset are.
#[derive(Debug, Clone, Args)]
pub struct Search {
    /// Episodes or session folders to look for recordings in that are not where they were.
    #[arg(long, value_name = "PATH")]
    pub from: Vec<PathBuf>,
}

/// A dataset that was exported by this program.
struct Exported {
    manifest: Manifest,
    choices: Choices,
}

impl Exported {
    fn open(dataset: &Path) -> Result<Self> {
        let path = dataset.join(MANIFEST_FILE);
        let manifest = Manifest::read(dataset)?.with_context(|| {
            format!(
                "no {}: it is not known what the dataset was made from; export it anew",
                path.display()
            )
        })?;
        let choices =
            serde_json::from_value(manifest.configuration.asked.clone()).with_context(|| {
                format!("choices in {} cannot be read; export anew", path.display())
            })?;
        Ok(Self { manifest, choices })
    }

    /// The recordings of its episodes, in their order, where they were or among `candidates`, and what they
    /// were made from.
    fn recordings(&self, candidates: &[PathBuf]) -> Result<Vec<(PathBuf, Origin)>> {
        let mut elsewhere: Option<BTreeMap<String, &PathBuf>> = None;
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for entry in &self.manifest.episodes {
            let origin = entry.origin.as_ref().with_context(|| {
                format!(
                    "episode {} has no origin in the manifest",
                    entry.episode_index
                )
            })?;
            if fingerprint(&origin.path).is_ok_and(|print| print == origin.fingerprint) {
                found.push((origin.path.clone(), origin.clone()));
                continue;
            }
            let elsewhere = elsewhere.get_or_insert_with(|| {
                let known = candidates.iter();
                known
                    .filter_map(|path| Some((fingerprint(path).ok()?, path)))
                    .collect()
            });
            match elsewhere.get(&origin.fingerprint) {
                Some(path) => found.push(((*path).clone(), origin.clone())),
                None => missing.push(origin.path.display().to_string()),
            }
        }
        if let Some(first) = missing.first() {
            bail!(
                "{} of {} recordings are not where they were, or not the same any more, such as \
                 {first}; say by --from where they are",
                missing.len(),
                self.manifest.episodes.len()
            );
        }
        Ok(found)
    }
}

fn fingerprint(path: &Path) -> Result<String> {
    Ok(EpisodeFile::open(path)?.fingerprint()?)
}

impl Extend {
    /// Adds the episodes.
    ///
    /// # Errors
    /// What went wrong, with what to do about it.
    pub fn run(&self) -> Result<Exit> {
        let exported = Exported::open(&self.dataset)?;
        exported.manifest.check(&self.dataset, false)?;
        let given = all_episodes(&self.paths)?;
        let mut candidates = all_episodes(&self.search.from)?;
        candidates.extend(given.iter().cloned());
        let recordings = exported.recordings(&candidates)?;
        let mut present: BTreeSet<String> = recordings
            .iter()
            .map(|(_, origin)| origin.fingerprint.clone())
            .collect();
        let mut added = Vec::new();
        for path in &given {
            if present.insert(fingerprint(path)?) {
                added.push(path.clone());
            }
        }
        let skipped = given.len() - added.len();
        if skipped > 0 {
            eprintln!(
                "{skipped} of {} given are in the dataset already",
                given.len()
            );
        }
        if added.is_empty() {
            eprintln!("nothing to add: {} is as it was", self.dataset.display());
            if self.json {
                print_json(&serde_json::json!({ "added": 0, "present": skipped }))?;
            }
            return Ok(Exit::Done);
        }
        interrupt::exit_saying(how_to_go_on(&self.dataset))?;
        keep_card(&self.dataset, &exported.manifest)?;
        let before = recordings.iter().map(|(path, _)| path.clone());
        let outcome = Job {
            choices: &exported.choices,
            episodes: before.chain(added).collect(),
            out: &self.dataset,
            replace: true,
            known: recordings.iter().cloned().collect(),
        }
        .write()?;
        let written = outcome
            .dataset
            .episodes_written
            .saturating_sub(recordings.len());
        eprintln!("{} added", counted(written, "episode"));
        outcome.tell(&self.dataset, self.json)
    }
}

impl Withdraw {
    /// Takes the episodes out.
    ///
    /// # Errors
    /// What went wrong, with what to do about it.
    pub fn run(&self) -> Result<Exit> {
        let exported = Exported::open(&self.dataset)?;
        let mut out = BTreeSet::new();
        for words in &self.episodes {
            out.extend(self.indices_of(words, &exported.manifest.episodes)?);
        }
        exported.manifest.check(&self.dataset, false)?;
        let kept: Vec<Entry> = exported
            .manifest
            .episodes
            .iter()
            .filter(|entry| !out.contains(&entry.episode_index))
            .cloned()
            .collect();
        if kept.is_empty() {
            bail!(
                "nothing would be left of {}; remove the folder",
                self.dataset.display()
            );
        }
        let smaller = Exported {
            manifest: Manifest {
                episodes: kept,
                ..exported.manifest
            },
            choices: exported.choices,
        };
        let recordings = smaller.recordings(&all_episodes(&self.search.from)?)?;
        interrupt::exit_saying(how_to_go_on(&self.dataset))?;
        keep_card(&self.dataset, &smaller.manifest)?;
        let outcome = Job {
            choices: &smaller.choices,
            episodes: recordings.iter().map(|(path, _)| path.clone()).collect(),
            out: &self.dataset,
            replace: true,
            known: recordings.into_iter().collect(),
        }
        .write()?;
        eprintln!("{} withdrawn", counted(out.len(), "episode"));
        outcome.tell(&self.dataset, self.json)
    }

    /// The episodes that are meant: all of a recording or an id.
    fn indices_of(&self, words: &str, episodes: &[Entry]) -> Result<Vec<u64>> {
        let path = std::path::absolute(words)?;
        let print = fingerprint(&path).ok();
        let is_meant = |entry: &&Entry| {
            let origin = entry.origin.as_ref();
            words == entry.episode_id
                || words.parse() == Ok(entry.episode_index)
                || origin.is_some_and(|origin| {
                    origin.path == path || print.as_ref() == Some(&origin.fingerprint)
                })
        };
        let found = episodes.iter().filter(is_meant);
        let found: Vec<u64> = found.map(|entry| entry.episode_index).collect();
        if found.is_empty() {
            let what = format!(
                "`{words}` is no episode of {}, expected an index below {}, an id or a recording \
                 that {MANIFEST_FILE} lists",
                self.dataset.display(),
                episodes.len()
            );
            return Err(ExportError::Choice { what }.into());
        }
        Ok(found)
    }
}

impl Rebuild {
    /// Writes the dataset once more.
    ///
    /// # Errors
    /// What went wrong, with what to do about it.
    pub fn run(&self) -> Result<Exit> {
        let exported = Exported::open(&self.dataset)?;
        let recordings = exported.recordings(&all_episodes(&self.search.from)?)?;
        interrupt::exit_saying(how_to_go_on(&self.out))?;
        let outcome = Job {
            choices: &exported.choices,
            episodes: recordings.iter().map(|(path, _)| path.clone()).collect(),
            out: &self.out,
            replace: false,
            known: recordings.into_iter().collect(),
        }
        .write()?;
        let exit = outcome.tell(&self.out, self.json)?;
        let rebuilt = Manifest::read(&self.out)?.context("the rebuilt dataset has no manifest")?;
        let files: BTreeMap<_, _> = rebuilt
            .files
            .iter()
            .map(|file| (&file.path, &file.sha256))
            .collect();
        // The card tells where the recordings lie and what else there was, and who has the dataset may edit it.
        let compared = exported.manifest.files.iter();
        let compared: Vec<_> = compared
            .filter(|file| file.path != Path::new(CARD_FILE))
            .collect();
        let differing: Vec<String> = compared
            .iter()
            .filter(|file| files.get(&file.path) != Some(&&file.sha256))
            .map(|file| file.path.display().to_string())
            .collect();
        if differing.is_empty() {
            eprintln!(
                "all {} files but the card are the same to the byte",
                compared.len()
            );
            return Ok(exit);
        }
        eprintln!(
            "{} of {} files differ: {}",
            differing.len(),
            compared.len(),
            first_of(&differing)
        );
        Ok(Exit::Lossy)
    }
}

/// The first of a list, and how many more there are.
fn first_of(names: &[String]) -> String {
    const MOST: usize = 10;
    let more = match names.len().checked_sub(MOST) {
        None | Some(0) => String::new(),
        Some(more) => format!(" and {more} more"),
    };
    names[..names.len().min(MOST)].join(", ") + &more
}

/// Keeps a card that was edited beside the dataset, whose own is written anew.
fn keep_card(dataset: &Path, manifest: &Manifest) -> Result<()> {
    if !manifest.is_card_edited(dataset)? {
        return Ok(());
    }
    let mut name = dataset.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(CARD_FILE);
    let kept = dataset.with_file_name(name);
    std::fs::copy(dataset.join(CARD_FILE), &kept)
        .with_context(|| format!("cannot keep the edited card as {}", kept.display()))?;
    eprintln!(
        "note: {CARD_FILE} was edited; a new one is written, the edited one is kept as {}",
        kept.display()
    );
    Ok(())
}
