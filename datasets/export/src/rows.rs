//! Rows of a LeRobot v3 dataset: one per step in the data files, one per
//! episode in `meta/episodes`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray,
};

use crate::features::CHUNK_FILES;
use crate::join::Place;
use crate::model::ExtraValues;
use crate::stats::{PixelCounts, Summary};
use crate::tables::{self, column};
use crate::timestamp::seconds_rounded_up;
use crate::writing::Accepted;

/// Where the video of one camera lies, and its sampled pixels.
pub(crate) struct PlacedVideo {
    /// The feature's name.
    pub key: String,
    pub place: Place,
    pub pixels: Option<PixelCounts>,
}

/// Columns of all steps of an episode. `number` is the episode's in the dataset, `index` that of its
/// first step.
pub(crate) fn data_columns(
    accepted: &Accepted,
    number: u64,
    index: u64,
) -> Vec<(String, ArrayRef)> {
    let floats = |values: &[f32]| -> ArrayRef { Arc::new(Float32Array::from(values.to_vec())) };
    let (episode, task) = (&accepted.episode, accepted.task as u64);
    let (state, action) = (&accepted.columns.state, &accepted.columns.action);
    let mut columns = vec![
        (
            "observation.state".into(),
            column(state.names.len(), floats(&state.values)),
        ),
        (
            "action".into(),
            column(action.names.len(), floats(&action.values)),
        ),
    ];
    for extra in &episode.features() {
        let values: ArrayRef = match &extra.values {
            ExtraValues::F32(v) => floats(v),
            ExtraValues::F64(v) => Arc::new(Float64Array::from(v.clone())),
            ExtraValues::I64(v) => Arc::new(Int64Array::from(v.clone())),
            ExtraValues::Bool(v) => Arc::new(BooleanArray::from(v.clone())),
        };
        columns.push((extra.name.clone(), column(extra.names.len(), values)));
    }
    let steps = episode.steps() as u64;
    let times = (0..steps).map(|k| seconds_rounded_up(k, episode.fps));
    let integers = |f: &dyn Fn(u64) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            (0..steps).map(|k| f(k) as i64),
        ))
    };
    columns.extend([
        (
            "timestamp".into(),
            Arc::new(Float32Array::from_iter_values(times)) as ArrayRef,
        ),
        ("frame_index".into(), integers(&|k| k)),
        ("episode_index".into(), integers(&|_| number)),
        ("index".into(), integers(&|k| index + k)),
        ("task_index".into(), integers(&|_| task)),
        ("annotation.task".into(), integers(&|_| task)),
        (
            "annotation.subtask".into(),
            integers(&|k| accepted.language[k as usize] as u64),
        ),
    ]);
    columns
}

/// What `meta/episodes` says about one episode.
pub(crate) struct Description<'a> {
    pub episode: u64,
    pub task: &'a str,
    pub fps: u32,
    /// Number of its first step in the dataset.
    pub from: u64,
    pub steps: u64,
    pub data_file: u64,
    pub meta_file: u64,
    pub videos: &'a [PlacedVideo],
    /// Grade and tags, in a dataset whose episodes were judged.
    pub quality: Option<[String; 2]>,
}

impl Description<'_> {
    /// One row of columns, with the statistics of the episode's `data`.
    pub fn columns(&self, data: &RecordBatch) -> Vec<(String, ArrayRef)> {
        let integer = |name: String, value: u64| -> (String, ArrayRef) {
            (name, Arc::new(Int64Array::from(vec![value as i64])))
        };
        let place = |columns: &mut Vec<_>, folder: &str, file: u64| {
            columns.push(integer(format!("{folder}/chunk_index"), file / CHUNK_FILES));
            columns.push(integer(format!("{folder}/file_index"), file % CHUNK_FILES));
        };
        let seconds = |name: String, steps: u64| -> (String, ArrayRef) {
            let value = steps as f64 / f64::from(self.fps);
            (name, Arc::new(Float64Array::from(vec![value])))
        };
        let task = Arc::new(StringArray::from(vec![self.task]));
        let mut columns = vec![
            integer("episode_index".into(), self.episode),
            ("tasks".into(), tables::list(task)),
            integer("length".into(), self.steps),
        ];
        place(&mut columns, "data", self.data_file);
        columns.push(integer("dataset_from_index".into(), self.from));
        columns.push(integer("dataset_to_index".into(), self.from + self.steps));
        for PlacedVideo { key, place: at, .. } in self.videos {
            let folder = format!("videos/{key}");
            place(&mut columns, &folder, at.file);
            columns.push(seconds(format!("{folder}/from_timestamp"), at.from));
            columns.push(seconds(
                format!("{folder}/to_timestamp"),
                at.from + self.steps,
            ));
        }
        for (field, array) in data.schema().fields().iter().zip(data.columns()) {
            let values = tables::numbers(array.as_ref()).unwrap_or_default();
            let summaries = per_column(&values, self.steps as usize);
            columns.extend(tables::stats_columns(
                field.name(),
                &summaries,
                self.steps,
                false,
            ));
        }
        for video in self.videos {
            let pixels = video.pixels.as_ref();
            if let Some((pixels, rgb)) = pixels.and_then(|p| Some((p, p.summaries()?))) {
                columns.extend(tables::stats_columns(&video.key, &rgb, pixels.images, true));
            }
        }
        place(&mut columns, "meta/episodes", self.meta_file);
        let words = ["quality/grade", "quality/tags"]
            .into_iter()
            .zip(self.quality.iter().flatten());
        for (name, word) in words {
            columns.push((
                name.into(),
                Arc::new(StringArray::from(vec![word.as_str()])),
            ));
        }
        columns
    }
}

/// Statistics of each column of row-major `values` with `rows` rows.
pub(crate) fn per_column(values: &[f64], rows: usize) -> Vec<Summary> {
    let width = values.len() / rows.max(1);
    (0..width)
        .filter_map(|at| {
            let mut one: Vec<f64> = values.iter().skip(at).step_by(width).copied().collect();
            Summary::of(&mut one)
        })
        .collect()
}
