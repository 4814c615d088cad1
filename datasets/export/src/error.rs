//! Everything that can go wrong while a dataset is written or checked.

use std::path::PathBuf;

/// An export failed, or one episode of it.
///
/// [`ExportError::concerns_one_episode`] tells the two apart: a writer leaves
/// such an episode out, lists it in its report and goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// An episode cannot become part of a dataset.
    #[error("episode {episode}: {what}")]
    Episode {
        /// Id of the episode.
        episode: String,
        /// What is wrong, what was expected, what was found.
        what: String,
    },
    /// One image of an episode is unusable.
    #[error(
        "episode {episode}, camera {camera}, step {step} (image {image} of its source): {what}"
    )]
    Image {
        /// Id of the episode.
        episode: String,
        /// Name of the camera.
        camera: String,
        /// Step of the resampled episode, from 0.
        step: usize,
        /// Index of the image in its source.
        image: usize,
        /// What is wrong with the image.
        what: String,
    },
    /// An episode does not have the features of the first one.
    #[error(
        "episode {episode} differs from the first episode: {what}; export episodes of different rigs or hands into different datasets"
    )]
    Mismatch {
        /// Id of the episode that differs.
        episode: String,
        /// The difference: expected, got.
        what: String,
    },
    /// No episode was left to write.
    #[error("nothing to write: {received} episodes received, all rejected or none given{first}")]
    NoEpisodes {
        /// Episodes that the iterator yielded.
        received: usize,
        /// The first rejection, preceded by `"; first: "`, or nothing.
        first: String,
    },
    /// The asked size of images cannot be encoded.
    #[error(
        "image size {width}x{height}: expected even numbers of pixels, at least 2x2, since chroma is stored for pairs of them"
    )]
    Size {
        /// Width asked for, pixels.
        width: u32,
        /// Height asked for, pixels.
        height: u32,
    },
    /// What was chosen cannot be written.
    #[error("{what}")]
    Choice {
        /// What is wrong, what is expected.
        what: String,
    },
    /// The output folder is in use.
    #[error("output exists and is not an empty folder; name another or remove it first: {}", path.display())]
    OutputExists {
        /// The output folder.
        path: PathBuf,
    },
    /// Another process writes to the same place.
    #[error("another export is writing there; wait for it or end it: {}", path.display())]
    Busy {
        /// The folder in which it works.
        path: PathBuf,
    },
    /// The dataset will not fit.
    #[error(
        "the dataset may take {:.1} MB, {:.1} MB are free; make room, name another --out, or choose a smaller \
         --image-size: {}",
        *needed as f64 / 1e6,
        *free as f64 / 1e6,
        path.display()
    )]
    NoSpace {
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
        /// The folder where it would be written.
        path: PathBuf,
    },
    /// A recording cannot be read, or what is made from it cannot be written.
    #[error("recording {}", path.display())]
    Recording {
        /// The recording.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An episode that has to be in the dataset cannot be written.
    #[error(
        "an episode that is in the dataset cannot be written again: {why}; nothing was changed, `dexumi withdraw` \
         takes it out"
    )]
    Lost {
        /// Why it cannot be written.
        why: String,
    },
    /// An episode of a dataset is made from something else by now.
    #[error(
        "what this episode of the dataset was made from has changed, {what}; bring that back, or export all episodes \
         anew: {}",
        path.display()
    )]
    Changed {
        /// What of it, how it was and how it is.
        what: String,
        /// The recording.
        path: PathBuf,
    },
    /// The path says something else of a dataset than it is.
    #[error("{what}; choose another --out: {}", path.display())]
    PathName {
        /// Which word, and what it does.
        what: String,
        /// The output folder.
        path: PathBuf,
    },
    /// `ffmpeg` or `ffprobe` cannot be started.
    #[error("cannot start {tool}; install FFmpeg 4.4 or newer (Debian, Ubuntu: apt install ffmpeg) or give its path: {}", path.display())]
    ToolMissing {
        /// `ffmpeg` or `ffprobe`.
        tool: &'static str,
        /// What was tried.
        path: PathBuf,
        /// Why it did not start.
        #[source]
        source: std::io::Error,
    },
    /// The installed ffmpeg lacks an encoder.
    #[error("ffmpeg has no usable encoder for {wanted} (missing: {missing}); install a full build or choose another codec: {}", path.display())]
    NoEncoder {
        /// The codec asked for.
        wanted: &'static str,
        /// The encoders that were looked for.
        missing: &'static str,
        /// The ffmpeg that was asked.
        path: PathBuf,
    },
    /// `ffmpeg` or `ffprobe` ran and failed.
    #[error("{tool} failed while {doing} ({status}): {stderr}: {}", path.display())]
    ToolFailed {
        /// `ffmpeg` or `ffprobe`.
        tool: &'static str,
        /// What it was doing.
        doing: &'static str,
        /// Its exit status.
        status: String,
        /// The end of what it said.
        stderr: String,
        /// The file it wrote or read.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot {what}: {}", path.display())]
    Io {
        /// The operation.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// A Parquet file cannot be written or read.
    #[error("cannot {what}: {}", path.display())]
    Parquet {
        /// The operation.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// A written dataset breaks a rule of its format.
    #[error("not a valid dataset: {what}: {}", path.display())]
    Invalid {
        /// The rule: expected, got.
        what: String,
        /// The file that breaks it.
        path: PathBuf,
    },
    /// The format has no variant of that name.
    #[error("unknown variant {name:?} of {format}; known: {known}")]
    UnknownVariant {
        /// The format.
        format: &'static str,
        /// The name asked for.
        name: String,
        /// The known names, or that there are none.
        known: String,
    },
    /// The data of others is not what it should be.
    #[error("{what}: {}", path.display())]
    Source {
        /// What is wrong: expected, got.
        what: String,
        /// The folder or file.
        path: PathBuf,
    },
    /// The session or an episode of it cannot be read or written.
    #[error(transparent)]
    Session(#[from] dexumi_episode::EpisodeError),
    /// No format of that name.
    #[error("unknown export format {name:?}; known: {known}")]
    UnknownFormat {
        /// The name asked for.
        name: String,
        /// The known names.
        known: String,
    },
}

impl ExportError {
    /// Whether the fault lies in one episode alone, so that the others can
    /// still be written.
    #[must_use]
    pub fn concerns_one_episode(&self) -> bool {
        matches!(self, Self::Episode { .. } | Self::Image { .. })
    }

    /// Whether the same may be done later, once there is room or the machine is well.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Io { .. }
                | Self::ToolFailed { .. }
                | Self::NoSpace { .. }
                | Self::Recording { .. }
                | Self::Parquet { .. }
        )
    }

    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    pub(crate) fn parquet(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        let path = path.into();
        move |source| Self::Parquet { what, path, source }
    }
}
