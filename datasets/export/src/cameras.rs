//! All cameras of one episode, encoded side by side.

use std::sync::{Mutex, mpsc};

use crate::error::ExportError;
use crate::lifecycle::Encoded;
use crate::model::CameraTrack;
use crate::video::{Job, video};

/// The videos of `tracks`, as many at a time as there are cores. `on_image` is told how many images are
/// done so far.
pub(crate) fn encode_all(
    job: &Job<'_>,
    tracks: &mut [CameraTrack],
    mut on_image: impl FnMut(usize),
) -> Result<Vec<Encoded>, ExportError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = cores.min(tracks.len());
    let queue = Mutex::new(tracks.iter_mut().enumerate());
    let done = Mutex::new(Vec::new());
    let (tell, told) = mpsc::sync_channel(64);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (tell, queue, done) = (tell.clone(), &queue, &done);
            scope.spawn(move || {
                // The lock is held only while the next camera is taken.
                let next = || queue.lock().ok()?.next();
                while let Some((camera, track)) = next() {
                    // The receiver outlives all workers.
                    let video = video(job, track, || _ = tell.send(()));
                    if let Ok(mut done) = done.lock() {
                        done.push((camera, video));
                    }
                }
            });
        }
        drop(tell);
        for (images, ()) in (1..).zip(told) {
            on_image(images);
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(camera, _)| *camera);
    done.into_iter().map(|(_, video)| video).collect()
}
