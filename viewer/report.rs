//! `report.html`: what was recorded, how well, and how long it took.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use anyhow::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use dexumi_capture::emulate::truth::{Fate, Truth};
use dexumi_episode::{
    HostTime, StreamKind,
    align::{ImageTrack, TimingMethod},
    write_atomically,
};
use dexumi_retarget::RetargetReport;

use crate::{
    command::Aligned,
    page::{Line, escape, page, plot, table, thin},
    picture,
    sync::TruthReport,
    terminal,
};

/// One episode, and what became of it.
pub struct EpisodeResult {
    /// The episode.
    pub aligned: Aligned,
    /// Against the truth.
    pub truth: TruthReport,
    /// Retargeting.
    pub retarget: RetargetReport,
}

/// What the report tells.
pub struct Report<'a> {
    /// Stages in order, and their durations [s].
    pub stages: &'a [(&'static str, f64)],
    /// Episodes.
    pub episodes: &'a [EpisodeResult],
    /// The truth of the emulated rig.
    pub truth: &'a Truth,
    /// The dataset.
    pub dataset: &'a dexumi_export::Report,
    /// Results to open next: what, where.
    pub results: &'a [(&'static str, PathBuf)],
}

const THUMBNAILS: usize = 6;
const PLOT_POINTS: usize = 700;

impl Report<'_> {
    /// Writes the page.
    ///
    /// # Errors
    /// An episode cannot be read, or the page cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut body = String::new();
        self.head(&mut body)?;
        for (number, result) in self.episodes.iter().enumerate() {
            episode(&mut body, number, result, self.truth)?;
        }
        self.stages(&mut body)?;
        write_atomically(path, page("dexumi demo report", &body).as_bytes())?;
        Ok(())
    }

    fn head(&self, body: &mut String) -> Result<()> {
        let total: f64 = self.stages.iter().map(|(_, seconds)| seconds).sum();
        let seconds: f64 = self
            .episodes
            .iter()
            .map(|e| e.aligned.episode.duration_s())
            .sum();
        let ledgers = || {
            self.episodes
                .iter()
                .flat_map(|e| e.aligned.episode.ledger.values())
        };
        let written: u64 = ledgers().map(|ledger| ledger.written).sum();
        let lost: u64 = ledgers().map(dexumi_episode::StreamLedger::lost).sum();
        let holds = self
            .episodes
            .iter()
            .all(|e| e.truth.sync.values().all(|sync| sync.holds()));
        let rms = self
            .episodes
            .iter()
            .map(|e| e.truth.joint_rms_rad)
            .fold(0.0, f64::max)
            .to_degrees();
        let tip_mm = self
            .episodes
            .iter()
            .filter_map(|e| e.truth.tip_rms_m)
            .fold(0.0, f64::max)
            * 1e3;
        writeln!(
            body,
            "<h1>dexumi demo</h1><p class=\"soft\">Recorded from an emulated rig, spoken to byte for byte: \
             exoskeleton, fingertip force, wrist tracker, two cameras. {}.</p><div class=\"cards\">",
            escape(&self.truth.header.motion)
        )?;
        let verdict = if holds {
            ("good", "held")
        } else {
            ("bad", "broken")
        };
        for (value, label, class) in [
            (
                format!("{seconds:.1} s"),
                format!("recorded in {} episodes", self.episodes.len()),
                "",
            ),
            (written.to_string(), "samples written".to_owned(), ""),
            (
                lost.to_string(),
                "packets lost or rejected".to_owned(),
                if lost == 0 { "good" } else { "warn" },
            ),
            (
                verdict.1.to_owned(),
                "sync promises, against truth".to_owned(),
                verdict.0,
            ),
            (
                format!("{rms:.3}°"),
                "joint angle error, rms".to_owned(),
                if rms < 0.5 { "good" } else { "bad" },
            ),
            (
                format!("{:.2} mm", tip_mm),
                "fingertip error, rms".to_owned(),
                if tip_mm < 1.0 { "good" } else { "bad" },
            ),
            (
                self.dataset.rows.to_string(),
                format!("dataset steps ({})", self.dataset.format),
                "",
            ),
            (format!("{total:.0} s"), "for the whole job".to_owned(), ""),
        ] {
            writeln!(
                body,
                "<div class=\"card\"><b class=\"{class}\">{value}</b><span>{label}</span></div>"
            )?;
        }
        body.push_str("</div><section><table><tbody>");
        for (what, path) in self.results {
            writeln!(
                body,
                "<tr><td>{what}</td><td style=\"text-align:left\"><code>{}</code></td></tr>",
                escape(&path.display().to_string())
            )?;
        }
        body.push_str("</tbody></table></section>");
        Ok(())
    }

    fn stages(&self, body: &mut String) -> Result<()> {
        body.push_str("<h2>How long each stage took</h2><section>");
        let total: f64 = self.stages.iter().map(|(_, seconds)| seconds).sum();
        let rows: Vec<_> = self
            .stages
            .iter()
            .map(|(stage, seconds)| {
                let bar = format!(
                    "<div style=\"background:var(--a);height:10px;border-radius:5px;width:{:.1}%\"></div>",
                    100.0 * seconds / total
                );
                vec![escape(stage), format!("{seconds:.1} s"), bar]
            })
            .collect();
        body.push_str(
            &table(&["stage", "time", "share of the whole"], &rows)
                .replace("<td><div", "<td style=\"width:60%\"><div"),
        );
        writeln!(
            body,
            "<p class=\"soft\">Video: {}.</p></section>",
            escape(&self.dataset.encoder)
        )?;
        Ok(())
    }
}

fn episode(body: &mut String, number: usize, result: &EpisodeResult, truth: &Truth) -> Result<()> {
    let episode = &result.aligned.episode;
    writeln!(
        body,
        "<h2>Episode {number}: {}</h2><p class=\"soft\">{:.2} s, {}, id {}</p><section>",
        escape(&episode.info.task),
        episode.duration_s(),
        terminal::bytes(episode.file.size()),
        episode.info.id
    )?;
    for (name, track) in &result.aligned.timeline.images {
        thumbnails(body, result, name, track)?;
    }
    body.push_str("</section><h2>Streams: nothing is lost in silence</h2><section>");
    streams(body, result);
    body.push_str("</section><h2>Capture time against truth</h2><section>");
    sync(body, result)?;
    body.push_str("</section><h2>Motion</h2><section>");
    motion(body, result, truth);
    let report = &result.retarget;
    writeln!(
        body,
        "<p class=\"soft\">Retargeted to {}: {} steps, {} at a limit, {} held, {} inside gaps; asked minus given {:.3}° rms, \
         {:.2}° at most.</p></section>",
        escape(&episode.info.hand),
        report.received,
        report.clipped,
        report.held,
        report.gaps,
        report.residual_rms_rad.unwrap_or(0.0).to_degrees(),
        report.residual_max_rad.unwrap_or(0.0).to_degrees()
    )?;
    Ok(())
}

fn thumbnails(
    body: &mut String,
    result: &EpisodeResult,
    name: &str,
    track: &ImageTrack,
) -> Result<()> {
    body.push_str("<div class=\"strip\" style=\"margin-bottom:8px\">");
    let start = result.aligned.timeline.interval.0;
    for k in 0..THUMBNAILS.min(track.times.len()) {
        let index = k * (track.times.len() - 1) / (THUMBNAILS - 1).max(1);
        let image = result.aligned.episode.file.image(&track.index, index)?;
        let small = STANDARD.encode(picture::thumbnail(&image.data, 320)?);
        let at = (track.times[index] - start).secs_f64();
        writeln!(
            body,
            "<figure><img alt=\"{0} camera at {at:.1} s\" src=\"data:image/jpeg;base64,{small}\">\
             <figcaption>{0}, {at:.2} s</figcaption></figure>",
            escape(name)
        )?;
    }
    body.push_str("</div>");
    Ok(())
}

fn streams(body: &mut String, result: &EpisodeResult) {
    let rows: Vec<_> = result
        .aligned
        .episode
        .ledger
        .iter()
        .map(|(stream, ledger)| {
            let rate = result.aligned.timeline.report.get(stream);
            let losses: Vec<_> = ledger
                .losses
                .iter()
                .map(|(kind, n)| format!("{n} {kind}"))
                .collect();
            let class = if ledger.lost() == 0 { "good" } else { "warn" };
            vec![
                escape(stream),
                rate.map_or("-".to_owned(), |r| format!("{:.1}", r.rate_hz)),
                ledger.received.to_string(),
                ledger.written.to_string(),
                format!(
                    "<span class=\"{class}\">{}</span>",
                    if losses.is_empty() {
                        "none".to_owned()
                    } else {
                        losses.join(", ")
                    }
                ),
                ledger.suspect.to_string(),
                ledger.missing.to_string(),
                if ledger.balances() {
                    "<span class=\"good\">yes</span>"
                } else {
                    "<span class=\"bad\">no</span>"
                }
                .to_owned(),
            ]
        })
        .collect();
    let head = [
        "stream",
        "Hz",
        "received",
        "written",
        "lost",
        "suspect",
        "never arrived",
        "received = written + lost",
    ];
    body.push_str(&table(&head, &rows));
}

fn sync(body: &mut String, result: &EpisodeResult) -> Result<()> {
    let ms = |seconds: f64| format!("{:.3}", seconds * 1e3);
    let rows: Vec<_> = result
        .truth
        .sync
        .iter()
        .map(|(stream, error)| {
            let report = result.aligned.timeline.report.get(stream);
            let class = if error.holds() { "good" } else { "bad" };
            vec![
                escape(stream),
                report
                    .map_or("-", |r| match r.timing {
                        TimingMethod::DeviceClock => "device clock",
                        TimingMethod::KernelStamp => "kernel stamp",
                        TimingMethod::Period => "steady rate",
                        TimingMethod::Arrival => "arrival",
                    })
                    .to_owned(),
                report.map_or("-".to_owned(), |r| format!("{:.1}", r.skew_ppm)),
                error.samples.to_string(),
                ms(error.mean_s),
                ms(error.p50_s),
                format!("<span class=\"{class}\">{}</span>", ms(error.p95_s)),
                ms(error.max_s),
                ms(error.limit_s),
            ]
        })
        .collect();
    let head = [
        "stream",
        "times from",
        "skew ppm",
        "compared",
        "mean ms",
        "median ms",
        "p95 ms",
        "max ms",
        "promised p95",
    ];
    body.push_str(&table(&head, &rows));
    body.push_str("<div class=\"plots\" style=\"margin-top:16px\">");
    for (stream, error) in &result.truth.sync {
        let count = error.errors_s.len().max(1) as f64;
        let points = error
            .errors_s
            .iter()
            .enumerate()
            .map(|(k, e)| (100.0 * k as f64 / count, e * 1e3))
            .collect();
        let line = Line {
            name: "",
            colour: "var(--a)",
            points: thin(points, PLOT_POINTS),
            dashed: false,
        };
        body.push_str(&plot(
            &format!("{stream}: estimated minus true [ms]"),
            "% of the episode",
            &[line],
        ));
    }
    body.push_str("</div>");
    Ok(())
}

fn motion(body: &mut String, result: &EpisodeResult, truth: &Truth) {
    let timeline = &result.aligned.timeline;
    let start = timeline.interval.0;
    let anchor = &result.aligned.episode.info.anchor;
    let within = |t_ns: i64| {
        let time = anchor.to_session(HostTime::from_nanos(t_ns));
        (time >= start && time <= timeline.interval.1).then(|| (time - start).secs_f64())
    };
    body.push_str("<div class=\"plots\">");
    for joints in timeline.joints.values() {
        for (joint, name) in joints
            .names
            .iter()
            .enumerate()
            .filter(|(joint, _)| [0, 1, 4, 5].contains(joint))
        {
            let recorded = joints.rows.iter().map(|&t| {
                let value = joints.tracks[joint].at(t, timeline.max_gap);
                (
                    (t - start).secs_f64(),
                    value.map_or(f64::NAN, f64::to_degrees),
                )
            });
            let offset = truth
                .header
                .scan_offsets_s
                .get(joint)
                .copied()
                .unwrap_or(0.0);
            let truth = truth
                .samples
                .iter()
                .filter(|sample| {
                    sample.stream.ends_with("/encoders") && sample.fate != Fate::Unsent
                })
                .filter_map(|s| {
                    Some((within(s.t_ns)? + offset, s.values.get(joint)?.to_degrees()))
                });
            let lines = [
                Line {
                    name: "recorded",
                    colour: "var(--a)",
                    points: thin(recorded.collect(), PLOT_POINTS),
                    dashed: false,
                },
                Line {
                    name: "truth",
                    colour: "var(--b)",
                    points: thin(truth.collect(), PLOT_POINTS),
                    dashed: true,
                },
            ];
            body.push_str(&plot(
                &format!("{} [°]", name.trim_start_matches("right_hand_")),
                "s",
                &lines,
            ));
        }
    }
    for (topic, track) in &timeline.force {
        let Some(StreamKind::Force { finger, .. }) = StreamKind::of(topic) else {
            continue;
        };
        let axis = |axis: usize| {
            let points = track.times.iter().zip(&track.values);
            thin(
                points
                    .map(|(&t, v)| ((t - start).secs_f64(), v[axis]))
                    .collect(),
                PLOT_POINTS,
            )
        };
        let lines = [
            Line {
                name: "z",
                colour: "var(--a)",
                points: axis(2),
                dashed: false,
            },
            Line {
                name: "x",
                colour: "var(--b)",
                points: axis(0),
                dashed: false,
            },
            Line {
                name: "y",
                colour: "var(--good)",
                points: axis(1),
                dashed: false,
            },
        ];
        body.push_str(&plot(&format!("force, {finger} [counts]"), "s", &lines));
    }
    for (name, track) in &timeline.poses {
        let axis = |axis: usize| {
            let points = track.times.iter().zip(&track.values);
            thin(
                points
                    .map(|(&t, p)| ((t - start).secs_f64(), p.translation.vector[axis]))
                    .collect(),
                PLOT_POINTS,
            )
        };
        let lines = [
            Line {
                name: "x",
                colour: "var(--a)",
                points: axis(0),
                dashed: false,
            },
            Line {
                name: "y",
                colour: "var(--b)",
                points: axis(1),
                dashed: false,
            },
            Line {
                name: "z",
                colour: "var(--good)",
                points: axis(2),
                dashed: false,
            },
        ];
        body.push_str(&plot(&format!("tracker {name}, position [m]"), "s", &lines));
    }
    body.push_str("</div>");
}
