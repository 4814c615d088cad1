//! `dexumi check`: how good episodes are.

mod judge;
mod page;
mod table;

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use dexumi_episode::Notes;
use dexumi_quality::{Filter, Grade, METRICS, Subject, mark_duplicates};
use serde::{Deserialize, Serialize};

use super::{Alignment, all_episodes, interrupt::Interrupt, jobs, print_json};
use crate::{Exit, terminal::Progress};
pub use judge::{Judge, Judged};
pub use table::verdict_json;

/// Grade episodes: tracking, synchronisation, timing, smoothness, limits, images, language,
/// duplicates. Each figure has its thresholds (docs/quality.md); an episode has the grade of its
/// worst, A to D, and a tag for each metric that is worse than A. Nothing is deleted.
#[derive(Debug, Args)]
#[command(after_help = "\
Verdicts lie in derived/ beside the episodes and are made anew where the episode, its
calibration, its retargeted motion or the rules have changed.

A condition compares metrics (blurred < 20, sync_residual@wrist < 15), or grade, tag, task,
operator, outcome, hand, rig, note, episode, by < <= > >= = != ~ (contains), joined by and, or,
not and parentheses. A metric is its worst value over streams.

Ends with 3 when an episode could not be judged or does not pass --min-grade and --where.

Examples:
  dexumi check session
  dexumi check session --min-grade B --where 'not tag = blurred and task ~ cube'
  dexumi check session --report quality.html --json > quality.json")]
pub struct Check {
    /// Episodes or session folders.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    selection: Selection,
    /// Page with plots and thumbnails [default: quality.html among the results of a session].
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Hand by name, or a hand file (.toml), whose limits count; of a rig with two hands, one for
    /// each side [default: the rig's, for each side that was recorded].
    #[arg(long, value_name = "HAND")]
    hand: Vec<String>,
    /// Arm by name, an arm file (.toml) or a URDF (.urdf): can it carry the hand?
    #[arg(long, value_name = "ARM")]
    arm: Option<String>,
    /// How many at once [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    #[command(flatten)]
    alignment: Alignment,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// Which episodes are wanted.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
pub struct Selection {
    /// Only episodes of this grade or better.
    #[arg(long, value_name = "A|B|C|D")]
    pub min_grade: Option<Grade>,
    /// Only episodes that fulfil a condition, such as 'tag != blurred' (see `dexumi check --help`).
    #[arg(long = "where", value_name = "CONDITION", value_parser = Filter::parse)]
    pub condition: Option<Filter>,
}

impl Selection {
    /// Whether all are wanted.
    pub fn is_all(&self) -> bool {
        self.min_grade.is_none() && self.condition.is_none()
    }

    /// Words of the condition that no episode knows: they are most likely misspelt.
    ///
    /// # Errors
    /// Notes cannot be read.
    pub fn unknown<'a>(&self, judged: impl Iterator<Item = &'a Judged>) -> Result<Vec<String>> {
        let Some(condition) = &self.condition else {
            return Ok(Vec::new());
        };
        let mut tags: BTreeSet<String> = METRICS.iter().map(|metric| metric.key.into()).collect();
        let mut subjects = BTreeSet::new();
        for one in judged {
            tags.extend(Notes::load(&one.path)?.tags);
            let figures = one.verdict.figures.iter();
            subjects.extend(figures.map(|figure| (figure.metric.clone(), figure.subject.clone())));
        }
        let named = condition.tags().into_iter();
        let unknown = named.filter(|tag| !tags.contains(*tag));
        let mut words: Vec<String> = unknown
            .map(|tag| {
                format!("--where: no metric and no episode has the tag `{tag}`; is it misspelt?")
            })
            .collect();
        for (metric, subject) in condition.figures() {
            let Some(subject) = subject else { continue };
            if !subjects.contains(&(metric.to_owned(), subject.to_owned())) {
                let known = subjects.iter().filter(|(of, _)| of == metric);
                let known: Vec<&str> = known.map(|(_, subject)| subject.as_str()).collect();
                words.push(format!(
                    "--where: {metric} is of no stream `{subject}` here; known: {}",
                    known.join(", ")
                ));
            }
        }
        Ok(words)
    }

    /// What the condition asks for and was not measured of an episode.
    pub fn not_measured(&self, judged: &Judged) -> Vec<&'static str> {
        let asked = self.condition.iter().flat_map(Filter::figures);
        asked
            .filter(|(metric, subject)| {
                judged
                    .verdict
                    .worst(metric, *subject)
                    .is_none_or(|figure| figure.value.is_none())
            })
            .map(|(metric, _)| metric)
            .collect()
    }

    /// Whether an episode is wanted.
    ///
    /// # Errors
    /// Its notes cannot be read.
    pub fn takes(&self, judged: &Judged) -> Result<bool> {
        let notes = Notes::load(&judged.path)?;
        let subject = Subject {
            verdict: &judged.verdict,
            notes: &notes,
        };
        Ok(self
            .min_grade
            .is_none_or(|least| judged.verdict.grade.reaches(least))
            && self
                .condition
                .as_ref()
                .is_none_or(|condition| condition.holds(subject)))
    }
}

/// An episode that could not be judged.
pub struct Unjudged {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub error: anyhow::Error,
}

/// Verdicts of episodes, in their order, duplicates marked; and those that have none.
pub struct Verdicts {
    /// Judged.
    pub judged: Vec<Judged>,
    /// Not judged.
    pub unjudged: Vec<Unjudged>,
    /// Ctrl-C came before all were.
    pub interrupted: bool,
}

/// Judges episodes, or finds the verdicts of an earlier run.
pub fn verdicts(
    episodes: &[PathBuf],
    judge: &Judge<'_>,
    jobs: Option<u16>,
    interrupt: &Interrupt,
    mut progress: Progress,
) -> Verdicts {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = jobs.map_or_else(cores, usize::from);
    let results = jobs::in_parallel("check", episodes, jobs, interrupt, &mut progress, |path| {
        judge.one(path)
    });
    progress.finish();
    let (mut judged, mut unjudged) = (Vec::new(), Vec::new());
    for (path, result) in episodes.iter().zip(results) {
        match result {
            Some(Ok(one)) => judged.push(one),
            // What was stopped is no failure.
            Some(Err(error)) if !interrupt.has_come() => unjudged.push(Unjudged {
                path: path.clone(),
                error,
            }),
            _ => {}
        }
    }
    let mut verdicts: Vec<_> = judged
        .iter()
        .map(|one: &Judged| one.verdict.clone())
        .collect();
    mark_duplicates(&mut verdicts);
    for (one, verdict) in judged.iter_mut().zip(verdicts) {
        one.verdict = verdict;
    }
    Verdicts {
        interrupted: judged.len() + unjudged.len() < episodes.len(),
        judged,
        unjudged,
    }
}

impl Check {
    /// Judges all.
    pub fn run(self) -> Result<Exit> {
        let mut episodes = Vec::new();
        for episode in all_episodes(&self.paths)? {
            if !episodes.contains(&episode) {
                episodes.push(episode);
            }
        }
        let interrupt = Interrupt::watch()?;
        let arm = self.arm.as_deref();
        let judge = Judge::new(&self.alignment, &self.hand, arm, &interrupt)?;
        let progress = Progress::new("check", episodes.len() as u64);
        let found = verdicts(&episodes, &judge, self.jobs, &interrupt, progress);
        for Unjudged { path, error } in &found.unjudged {
            eprintln!("failed: {}: {error:#}", path.display());
        }
        if found.interrupted {
            eprintln!(
                "interrupted: {} of {} are done and kept; the same command goes on with the rest",
                found.judged.len(),
                episodes.len()
            );
            return Ok(Exit::Failed);
        }
        if let (true, [first, ..]) = (found.judged.is_empty(), &found.unjudged[..]) {
            return Ok(Exit::of(&first.error));
        }
        for words in self.selection.unknown(found.judged.iter())? {
            eprintln!("note: {words}");
        }
        let taken = found
            .judged
            .iter()
            .map(|judged| self.selection.takes(judged))
            .collect::<Result<Vec<bool>>>()?;
        let rows: Vec<table::Row<'_>> = found
            .judged
            .iter()
            .zip(&taken)
            .map(|(judged, &taken)| table::Row {
                judged,
                taken,
                not_measured: self.selection.not_measured(judged),
            })
            .collect();
        if self.json {
            print_json(&table::json(&rows, &found.unjudged))?;
        } else {
            table::print(&rows, !self.selection.is_all());
        }
        if let Some(page) = self.page_path() {
            let written = page::write(&page, &rows, &found.unjudged)
                .with_context(|| format!("report {}", page.display()));
            match written {
                Ok(()) => eprintln!("report: {}", page.display()),
                // Nobody asked for it, and the session may be one that is only read.
                Err(error) if self.report.is_none() => {
                    eprintln!("note: no page was written: {error:#}; --report names another place");
                }
                Err(error) => return Err(error),
            }
        }
        let all_pass = taken.iter().all(|taken| *taken) && found.unjudged.is_empty();
        Ok(if all_pass { Exit::Done } else { Exit::Lossy })
    }

    /// Where the page goes: as given, else among the results of the first session.
    fn page_path(&self) -> Option<PathBuf> {
        let session = || self.paths.iter().find(|path| path.is_dir());
        let among = || Some(session()?.join("derived").join("quality.html"));
        self.report.clone().or_else(among)
    }
}
