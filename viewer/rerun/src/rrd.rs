//! Writing an `.rrd` file: Rerun's messages, encoded as they come.
//!
//! Rerun's own `RecordingStream` batches and writes on threads of its own and
//! only prints when the disk is full; here every error reaches the caller, and
//! the file has its name only once it is whole.

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
};

use dexumi_episode::SessionTime;
use rerun::{
    ApplicationId, AsComponents, EntityPath, SerializationResult, SerializedComponentColumn,
    StoreId, StoreKind, TimeColumn, TimePoint,
    external::{
        re_build_info::CrateVersion,
        re_log_encoding::{Encoder, EncodingOptions},
        re_log_types::{
            BlueprintActivationCommand, RecordingId, SetStoreInfo, StoreInfo, StoreSource,
        },
    },
    log::{Chunk, ChunkId, LogMsg, RowId},
};

use crate::error::{Refused, ViewError};

/// Rerun keeps one blueprint per application.
const APPLICATION: &str = "dexumi";
/// Capture time as a date.
pub(crate) const CAPTURE_TIME: &str = "capture_time";
/// Capture time since the episode's start.
pub(crate) const EPISODE_TIME: &str = "episode_time";

/// An `.rrd` file being written.
pub(crate) struct Rrd {
    encoder: Encoder<BufWriter<File>>,
    recording: StoreId,
    start: SessionTime,
    path: PathBuf,
    partial: PathBuf,
}

impl Rrd {
    /// Starts `path` under a temporary name.
    pub fn create(
        path: &Path,
        recording: &str,
        name: &str,
        start: SessionTime,
    ) -> Result<Self, ViewError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).map_err(ViewError::io("create", &partial))?;
        let encoder = Encoder::new_eager(
            CrateVersion::LOCAL,
            EncodingOptions::PROTOBUF_COMPRESSED,
            BufWriter::with_capacity(1 << 20, file),
        )
        .map_err(|error| ViewError::rerun("start", &partial, error))?;
        let recording = StoreId::recording(APPLICATION, RecordingId::from(recording));
        let mut rrd = Self {
            encoder,
            recording: recording.clone(),
            start,
            path: path.to_owned(),
            partial,
        };
        rrd.open_store(recording)?;
        let info = rerun::RecordingInfo::new()
            .with_name(name)
            .with_start_time(start.nanos());
        rrd.fixed(&EntityPath::properties(), &info)?;
        Ok(rrd)
    }

    /// Where the file grows until it is whole.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    fn open_store(&mut self, store: StoreId) -> Result<(), ViewError> {
        let source = StoreSource::Other(concat!("dexumi ", env!("CARGO_PKG_VERSION")).to_owned());
        self.append(
            "start",
            LogMsg::SetStoreInfo(SetStoreInfo {
                row_id: *RowId::new(),
                info: StoreInfo::new(store, source),
            }),
        )
    }

    fn append(&mut self, doing: &str, message: LogMsg) -> Result<(), ViewError> {
        self.encoder
            .append(&message)
            .map(drop)
            .map_err(|error| ViewError::rerun(doing, &self.partial, error))
    }

    fn append_chunk(
        &mut self,
        store: &StoreId,
        entity: &EntityPath,
        chunk: Result<Chunk, Refused>,
    ) -> Result<(), ViewError> {
        let message = chunk.and_then(|chunk| Ok(chunk.to_arrow_msg()?));
        match message {
            Ok(message) => self.append("write to", LogMsg::ArrowMsg(store.clone(), message)),
            Err(refused) => Err(ViewError::rerun(
                format!("encode {entity} into"),
                &self.partial,
                refused,
            )),
        }
    }

    /// Writes what holds at all times.
    pub fn fixed(&mut self, entity: &EntityPath, what: &dyn AsComponents) -> Result<(), ViewError> {
        let chunk = Chunk::builder(entity.clone())
            .with_archetype(RowId::new(), TimePoint::default(), what)
            .build();
        let store = self.recording.clone();
        self.append_chunk(&store, entity, chunk.map_err(Refused::from))
    }

    /// Writes one chunk: a row for each time, on both timelines.
    pub fn columns(
        &mut self,
        entity: &EntityPath,
        times: &[SessionTime],
        columns: SerializationResult<impl Iterator<Item = SerializedComponentColumn>>,
    ) -> Result<(), ViewError> {
        if times.is_empty() {
            return Ok(());
        }
        let start = self.start;
        let capture = times.iter().map(|time| time.nanos());
        let since_start = times.iter().map(|&time| (time - start).nanos());
        let timelines = [
            TimeColumn::new_timestamp_nanos_since_epoch(CAPTURE_TIME, capture),
            TimeColumn::new_duration_nanos(EPISODE_TIME, since_start),
        ];
        let timelines = timelines
            .into_iter()
            .map(|column| (*column.timeline().name(), column))
            .collect();
        let chunk = columns.map_err(Refused::from).and_then(|columns| {
            let components = columns
                .map(|column| (column.descriptor, column.list_array))
                .collect();
            let id = ChunkId::new();
            Ok(Chunk::from_auto_row_ids(
                id,
                entity.clone(),
                timelines,
                components,
            )?)
        });
        let store = self.recording.clone();
        self.append_chunk(&store, entity, chunk)
    }

    /// Writes the viewer's layout: properties by path in the blueprint's store.
    pub fn blueprint(
        &mut self,
        entries: Vec<(EntityPath, Box<dyn AsComponents>)>,
    ) -> Result<(), ViewError> {
        let store = StoreId::random(StoreKind::Blueprint, ApplicationId::from(APPLICATION));
        self.open_store(store.clone())?;
        let time = TimePoint::from([(
            rerun::Timeline::new_sequence("blueprint"),
            rerun::time::TimeInt::ZERO,
        )]);
        for (entity, what) in entries {
            let chunk = Chunk::builder(entity.clone())
                .with_archetype(RowId::new(), time.clone(), &*what)
                .build();
            self.append_chunk(&store, &entity, chunk.map_err(Refused::from))?;
        }
        let activation = BlueprintActivationCommand {
            blueprint_id: store,
            make_active: true,
            make_default: true,
        };
        self.append("write to", LogMsg::BlueprintActivationCommand(activation))
    }

    /// Ends the file, gives it its name, and returns its size [byte].
    pub fn finish(mut self) -> Result<u64, ViewError> {
        let failed = |error| ViewError::rerun("finish", &self.partial, error);
        self.encoder.finish().map_err(failed)?;
        let buffer = self.encoder.into_inner().map_err(failed)?;
        let file = buffer
            .into_inner()
            .map_err(|error| ViewError::io("write", &self.partial)(error.into_error()))?;
        let size = file
            .metadata()
            .map_err(ViewError::io("read the size of", &self.partial))?
            .len();
        std::fs::rename(&self.partial, &self.path)
            .map_err(ViewError::io("rename to", &self.path))?;
        Ok(size)
    }
}
