//! Parquet files of a LeRobot v3 dataset: writing row by row, reading columns
//! back.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array,
    Int64Array, ListArray, RecordBatch, StringArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::error::ExportError;
use crate::features::Features;
use crate::stats::Summary;

/// Writes batches of one schema into numbered files of bounded size.
pub(crate) struct Rolling {
    root: PathBuf,
    path_of: fn(u64) -> PathBuf,
    limit: u64,
    metadata: Vec<KeyValue>,
    file: u64,
    writer: Option<ArrowWriter<File>>,
}

impl Rolling {
    pub fn new(
        root: &Path,
        path_of: fn(u64) -> PathBuf,
        limit: u64,
        metadata: Vec<KeyValue>,
    ) -> Self {
        Self {
            root: root.into(),
            path_of,
            limit,
            metadata,
            file: 0,
            writer: None,
        }
    }

    fn path(&self) -> PathBuf {
        self.root.join((self.path_of)(self.file))
    }

    /// The file that takes the next `bytes` (uncompressed, an upper bound);
    /// begins a new one when the current one would grow too large.
    pub fn file_for(&mut self, bytes: u64) -> Result<u64, ExportError> {
        if let Some(writer) = &self.writer
            && (writer.bytes_written() + writer.in_progress_size()) as u64 + bytes > self.limit
        {
            self.close()?;
            self.file += 1;
        }
        Ok(self.file)
    }

    /// Appends `batch`; with `row_group` it becomes a row group of its own.
    pub fn write(&mut self, batch: &RecordBatch, row_group: bool) -> Result<(), ExportError> {
        let path = self.path();
        if self.writer.is_none() {
            self.writer = Some(open(&path, batch, self.metadata.clone())?);
        }
        let Some(writer) = &mut self.writer else {
            unreachable!("opened above");
        };
        let written = writer.write(batch);
        written
            .and_then(|()| if row_group { writer.flush() } else { Ok(()) })
            .map_err(ExportError::parquet("write rows", path))
    }

    /// Completes the current file.
    pub fn close(&mut self) -> Result<(), ExportError> {
        let path = self.path();
        if let Some(writer) = self.writer.take() {
            writer
                .close()
                .map_err(ExportError::parquet("complete a table", path))?;
        }
        Ok(())
    }

    /// Number of files written.
    pub fn files(&self) -> u64 {
        self.file + 1
    }
}

fn open(
    path: &Path,
    batch: &RecordBatch,
    metadata: Vec<KeyValue>,
) -> Result<ArrowWriter<File>, ExportError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(ExportError::io("create a folder", folder))?;
    }
    let file = File::create(path).map_err(ExportError::io("create a table", path))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(metadata.clone()))
        .build();
    // Arrow's own readers look for metadata in the schema they find embedded.
    let embedded = metadata
        .into_iter()
        .filter_map(|pair| Some((pair.key, pair.value?)))
        .collect();
    let schema = Arc::new(batch.schema().as_ref().clone().with_metadata(embedded));
    ArrowWriter::try_new(file, schema, Some(properties))
        .map_err(ExportError::parquet("create a table", path))
}

/// Writes a table of one batch.
pub(crate) fn write_one(
    path: &Path,
    batch: &RecordBatch,
    metadata: Vec<KeyValue>,
) -> Result<(), ExportError> {
    let mut writer = open(path, batch, metadata)?;
    writer
        .write(batch)
        .and_then(|()| writer.close())
        .map_err(ExportError::parquet("write a table", path))?;
    Ok(())
}

/// A table from named columns.
pub(crate) fn batch(
    columns: Vec<(String, ArrayRef)>,
    path: &Path,
) -> Result<RecordBatch, ExportError> {
    let fields = columns
        .iter()
        .map(|(name, array)| Field::new(name, array.data_type().clone(), true))
        .collect::<Vec<_>>();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|e| ParquetError::ArrowError(e.to_string()))
        .map_err(ExportError::parquet("build a table", path))
}

/// A column of `width` values per row; a list column unless `width` is 1.
pub(crate) fn column(width: usize, values: ArrayRef) -> ArrayRef {
    if width == 1 {
        return values;
    }
    let field = Field::new("element", values.data_type().clone(), true);
    Arc::new(FixedSizeListArray::new(
        Arc::new(field),
        width as i32,
        values,
        None,
    ))
}

/// One row that holds a list of all `values`.
pub(crate) fn list(values: ArrayRef) -> ArrayRef {
    let lengths = [values.len()];
    nest(values, &lengths)
}

fn nest(values: ArrayRef, lengths: &[usize]) -> ArrayRef {
    let field = Field::new("element", values.data_type().clone(), true);
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Arc::new(ListArray::new(Arc::new(field), offsets, values, None))
}

/// One row that holds an image statistic of shape 3 x 1 x 1.
pub(crate) fn image_list(values: ArrayRef) -> ArrayRef {
    list(nest(nest(values, &[1, 1, 1]), &[1, 1, 1]))
}

/// `stats/FEATURE/STATISTIC` columns of one episode.
pub(crate) fn stats_columns(
    feature: &str,
    summaries: &[Summary],
    count: u64,
    image: bool,
) -> Vec<(String, ArrayRef)> {
    let Some(first) = summaries.first() else {
        return Vec::new();
    };
    let name = |statistic: &str| format!("stats/{feature}/{statistic}");
    let mut columns = Vec::new();
    for (at, (statistic, _)) in first.entries().enumerate() {
        let values = summaries
            .iter()
            .filter_map(|summary| summary.entries().nth(at).map(|(_, value)| value));
        let values: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
        let row = if image {
            image_list(values)
        } else {
            list(values)
        };
        columns.push((name(statistic), row));
    }
    let count = Arc::new(Int64Array::from(vec![count as i64]));
    columns.push((name("count"), list(count)));
    columns
}

/// The metadata by which Hugging Face `datasets` knows the columns' types.
pub(crate) fn hugging_face(features: &Features) -> KeyValue {
    let mut columns = serde_json::Map::new();
    for (name, feature) in features.columns() {
        let value = serde_json::json!({"dtype": feature.dtype, "_type": "Value"});
        let entry = match feature.width() {
            1 => value,
            n => serde_json::json!({"feature": value, "length": n, "_type": "List"}),
        };
        columns.insert(name.into(), entry);
    }
    let info = serde_json::json!({"info": {"features": columns}});
    KeyValue::new("huggingface".into(), info.to_string())
}

/// `meta/tasks.parquet`: a pandas frame whose index is the task; the position
/// of a row is its task index.
pub(crate) fn write_tasks(path: &Path, tasks: &[String]) -> Result<(), ExportError> {
    let string = |name: &str| {
        serde_json::json!({"name": name, "field_name": name, "pandas_type": "unicode",
            "numpy_type": "object", "metadata": null})
    };
    let pandas = serde_json::json!({
        "index_columns": ["task"],
        "column_indexes": [{"name": null, "field_name": null, "pandas_type": "unicode",
            "numpy_type": "object", "metadata": {"encoding": "UTF-8"}}],
        "columns": [
            {"name": "task_index", "field_name": "task_index", "pandas_type": "int64",
                "numpy_type": "int64", "metadata": null},
            string("task"),
        ],
        "attributes": {},
        "creator": {"library": "dexumi", "version": env!("CARGO_PKG_VERSION")},
        "pandas_version": "2.2.3",
    });
    let columns: Vec<(String, ArrayRef)> = vec![
        (
            "task_index".into(),
            Arc::new(Int64Array::from_iter_values(0..tasks.len() as i64)),
        ),
        (
            "task".into(),
            Arc::new(StringArray::from_iter_values(tasks)),
        ),
    ];
    let metadata = vec![KeyValue::new("pandas".into(), pandas.to_string())];
    write_one(path, &batch(columns, path)?, metadata)
}

/// Calls `each` with every batch of a table, reduced to the columns that
/// `wanted` accepts.
pub(crate) fn read(
    path: &Path,
    wanted: impl Fn(&str) -> bool,
    mut each: impl FnMut(&RecordBatch) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let failed = || ExportError::parquet("read a table", path);
    let file = File::open(path).map_err(ExportError::io("open a table", path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed())?;
    let fields = builder.schema().fields().iter().enumerate();
    let roots: Vec<usize> = fields
        .filter_map(|(i, field)| wanted(field.name()).then_some(i))
        .collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let reader = builder.with_projection(mask).build().map_err(failed())?;
    for batch in reader {
        let batch = batch
            .map_err(|e| ParquetError::ArrowError(e.to_string()))
            .map_err(failed())?;
        each(&batch)?;
    }
    Ok(())
}

/// Values of a numeric column, row-major; `None` for other types and nulls.
pub(crate) fn numbers(array: &dyn Array) -> Option<Vec<f64>> {
    if array.null_count() > 0 {
        return None;
    }
    Some(match array.data_type() {
        DataType::Float32 => {
            let array: &Float32Array = array.as_primitive::<Float32Type>();
            array.values().iter().map(|&x| f64::from(x)).collect()
        }
        DataType::Float64 => array.as_primitive::<Float64Type>().values().to_vec(),
        DataType::Int64 => {
            let values = array.as_primitive::<Int64Type>().values();
            values.iter().map(|&x| x as f64).collect()
        }
        DataType::Boolean => {
            let array: &BooleanArray = array.as_boolean();
            array
                .values()
                .iter()
                .map(|x| f64::from(u8::from(x)))
                .collect()
        }
        DataType::FixedSizeList(..) => {
            let lists = array.as_fixed_size_list();
            let width = lists.value_length() as usize;
            let values = numbers(lists.values().as_ref())?;
            values[lists.value_offset(0) as usize..][..lists.len() * width].to_vec()
        }
        _ => return None,
    })
}
