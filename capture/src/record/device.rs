//! One thread per device: read, stamp, push. Nothing stands between the read and
//! the stamp, and a full queue never blocks the device: what does not fit is
//! dropped and counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use dexumi_episode::{Device, HostTime};

use crate::{
    driver::{Driver, Item, Source},
    error::CaptureError,
};

/// What goes to the writer.
pub(super) enum Queued {
    /// From a device.
    Item(usize, Item),
    /// A device came or went.
    Connection {
        stream: usize,
        problem: Option<String>,
        at: HostTime,
    },
}

pub(super) struct Started {
    pub thread: JoinHandle<()>,
    /// How the first opening went.
    pub opened: Receiver<Result<(), CaptureError>>,
    /// Samples that found the queue full.
    pub dropped: Arc<AtomicU64>,
}

const RETRY: Duration = Duration::from_millis(500);

pub(super) fn start(
    index: usize,
    device: Device,
    driver: &'static Driver,
    queue: Sender<Queued>,
    stop: Arc<AtomicBool>,
) -> Result<Started, CaptureError> {
    let (report, opened) = bounded(1);
    let dropped = Arc::new(AtomicU64::new(0));
    let count = dropped.clone();
    // Linux shows 15 characters of a thread's name.
    let name = device.stream.trim_start_matches('/').replace('/', ".");
    let thread = std::thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            let mut source = match (driver.open)(&device) {
                Ok(source) => {
                    let _ = report.send(Ok(()));
                    Some(source)
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                    return;
                }
            };
            let mut items = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let Some(open) = &mut source else {
                    std::thread::sleep(RETRY);
                    source = reopen(index, &device, driver, &queue);
                    continue;
                };
                let result = open.read(&mut items);
                for item in items.drain(..) {
                    let is_sample = matches!(item, Item::Sample(_));
                    if queue.try_send(Queued::Item(index, item)).is_err() && is_sample {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
                if let Err(error) = result {
                    // Closed before the search for it begins, or its name changes.
                    source = None;
                    let _ = queue.send(Queued::Connection {
                        stream: index,
                        problem: Some(error.to_string()),
                        at: HostTime::now(),
                    });
                }
            }
        })
        .map_err(|source| CaptureError::Thread { name, source })?;
    Ok(Started {
        thread,
        opened,
        dropped,
    })
}

fn reopen(
    index: usize,
    device: &Device,
    driver: &Driver,
    queue: &Sender<Queued>,
) -> Option<Box<dyn Source>> {
    let source = (driver.open)(device).ok()?;
    let _ = queue.send(Queued::Connection {
        stream: index,
        problem: None,
        at: HostTime::now(),
    });
    Some(source)
}
