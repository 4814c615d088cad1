//! Cameras encoded side by side: as many at a time as there are cores, those of the next episode as
//! soon as one is free.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

use crate::error::ExportError;
use crate::ffmpeg::{Encoder, Tools};
use crate::fit::FitMode;
use crate::lifecycle::{Encoded, Parts};
use crate::model::{CameraTrack, Resampled};
use crate::video::{Job, video};

/// What all videos of a dataset are encoded with.
#[derive(Clone, Copy)]
pub(crate) struct Settings<'a> {
    pub tools: &'a Tools,
    pub encoder: &'a Encoder,
    /// Asked size of the written images, pixels.
    pub size: Option<(u32, u32)>,
    /// How they are brought to it.
    pub fit: FitMode,
    /// The finished videos.
    pub parts: &'a Parts,
}

/// A camera that waits to be encoded.
struct Work {
    episode: Arc<Episode>,
    camera: usize,
    track: CameraTrack,
}

/// What is known of an episode while its cameras are encoded.
struct Episode {
    id: String,
    fps: u32,
    content: Option<String>,
    /// Images that are done, over all cameras.
    images: AtomicUsize,
}

/// A camera that was encoded, or could not be.
struct Done {
    episode: Arc<Episode>,
    camera: usize,
    track: CameraTrack,
    video: Result<Encoded, ExportError>,
}

/// An episode that was begun.
struct Begun {
    episode: Arc<Episode>,
    done: Vec<Option<(CameraTrack, Result<Encoded, ExportError>)>>,
}

/// Threads that encode, each a camera at a time, in the order in which episodes are begun. Dropped,
/// they break off.
pub(crate) struct Encoders<'scope> {
    work: Option<SyncSender<Work>>,
    done: Receiver<Done>,
    threads: Vec<ScopedJoinHandle<'scope, ()>>,
    begun: VecDeque<Begun>,
    is_stopped: Arc<AtomicBool>,
}

/// More cameras than are under way at any time: who sends one does not wait.
const MOST_CAMERAS: usize = 1024;
/// How often progress is told.
const LOOK: Duration = Duration::from_millis(50);

impl<'scope> Encoders<'scope> {
    /// Starts one a core.
    pub fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        settings: Settings<'env>,
    ) -> Result<Self, ExportError> {
        let (work, waiting) = sync_channel::<Work>(MOST_CAMERAS);
        let (tell, done) = sync_channel(MOST_CAMERAS);
        let waiting = Arc::new(Mutex::new(waiting));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..cores).map(|number| {
            let (waiting, tell, is_stopped) = (waiting.clone(), tell.clone(), is_stopped.clone());
            let encode = move || {
                // The lock is held only while the next camera is waited for.
                let next = || waiting.lock().ok()?.recv().ok();
                while let Some(work) = next() {
                    let done = encode(work, settings, &is_stopped);
                    if is_stopped.load(Ordering::Relaxed) || tell.send(done).is_err() {
                        break;
                    }
                }
            };
            Builder::new()
                .name(format!("encode {number}"))
                .spawn_scoped(scope, encode)
                .map_err(ExportError::io(
                    "start a thread to encode a video",
                    &settings.tools.ffmpeg,
                ))
        });
        Ok(Self {
            threads: threads.collect::<Result<_, _>>()?,
            work: Some(work),
            done,
            begun: VecDeque::new(),
            is_stopped,
        })
    }

    /// Begins to encode the cameras of an episode, which are taken from it.
    pub fn begin(&mut self, episode: &mut Resampled) {
        let begun = Arc::new(Episode {
            id: episode.episode_id.clone(),
            fps: episode.fps,
            content: episode.content().map(str::to_owned),
            images: AtomicUsize::new(0),
        });
        let cameras = std::mem::take(&mut episode.cameras);
        self.begun.push_back(Begun {
            episode: begun.clone(),
            done: cameras.iter().map(|_| None).collect(),
        });
        let Some(work) = &self.work else { return };
        for (camera, track) in cameras.into_iter().enumerate() {
            let episode = begun.clone();
            // Threads end early only in a panic, which is told below.
            let _ = work.send(Work {
                episode,
                camera,
                track,
            });
        }
    }

    /// Cameras that were begun and are not known to be done.
    pub fn waited_for(&self) -> usize {
        let done = self.begun.iter().flat_map(|begun| &begun.done);
        done.filter(|done| done.is_none()).count()
    }

    /// Waits for the episode that was begun first: its cameras and their videos. `on_images` is told
    /// again and again how many images are done.
    ///
    /// # Panics
    /// When no episode is begun, or a thread has panicked.
    pub fn finish(
        &mut self,
        mut on_images: impl FnMut(usize),
    ) -> (Vec<CameraTrack>, Result<Vec<Encoded>, ExportError>) {
        let first = |begun: &VecDeque<Begun>| {
            let first = begun.front().expect("an episode that was begun");
            let images = first.episode.images.load(Ordering::Relaxed);
            (images, first.done.iter().all(Option::is_some))
        };
        loop {
            let (images, is_done) = first(&self.begun);
            on_images(images);
            if is_done {
                break;
            }
            match self.done.recv_timeout(LOOK) {
                Ok(done) => {
                    let mut all = self.begun.iter_mut();
                    if let Some(of) = all.find(|begun| Arc::ptr_eq(&begun.episode, &done.episode)) {
                        of.done[done.camera] = Some((done.track, done.video));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let ended = self.threads.iter().any(ScopedJoinHandle::is_finished);
                    assert!(!ended, "a thread that encodes has panicked");
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the threads that encode have panicked")
                }
            }
        }
        let done = self.begun.pop_front().map(|begun| begun.done);
        let (tracks, videos): (Vec<_>, Vec<_>) = done.into_iter().flatten().flatten().unzip();
        (tracks, videos.into_iter().collect())
    }
}

impl Drop for Encoders<'_> {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.work = None;
    }
}

fn encode(work: Work, settings: Settings<'_>, is_stopped: &AtomicBool) -> Done {
    let Work {
        episode,
        camera,
        mut track,
    } = work;
    let job = Job {
        episode: &episode.id,
        fps: episode.fps,
        content: episode.content.as_deref(),
        settings,
        is_stopped,
    };
    let video = video(&job, &mut track, || {
        episode.images.fetch_add(1, Ordering::Relaxed);
    });
    Done {
        episode,
        camera,
        track,
        video,
    }
}

/// The videos of one episode. `on_image` is called for each image, not at once.
pub(crate) fn encode_all(
    settings: Settings<'_>,
    episode: &mut Resampled,
    mut on_image: impl FnMut(),
) -> Result<Vec<Encoded>, ExportError> {
    std::thread::scope(|scope| {
        let mut encoders = Encoders::start(scope, settings)?;
        encoders.begin(episode);
        let mut told = 0;
        let (cameras, videos) = encoders.finish(|images| {
            (told..images).for_each(|_| on_image());
            told = images;
        });
        episode.cameras = cameras;
        videos
    })
}
