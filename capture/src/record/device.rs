//! One thread per connection: read, stamp, push. Nothing stands between the read
//! and the stamp, and a full queue never blocks the device: what does not fit is
//! dropped and counted.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use dexumi_episode::{Device, HostTime, StreamKind};

use crate::{
    driver::{Data, Driver, Item, Output, Source},
    error::CaptureError,
};

/// What goes to the writer.
pub(super) enum Queued {
    /// From a device.
    Item {
        stream: usize,
        item: Item,
        /// Samples of its stream that found the queue full since the last one that fit.
        dropped: u64,
        pushed: Instant,
    },
    /// A device came or went.
    Connection {
        stream: usize,
        problem: Option<String>,
        at: HostTime,
    },
}

/// Sensors and images apart, so that images never push sensors out. All that concerns
/// a stream goes one way: what was lost before a sample, and that its device is back,
/// must not arrive after it.
#[derive(Clone)]
pub(super) struct Queues {
    pub sensors: Sender<Queued>,
    pub images: Sender<Queued>,
    /// Bytes of the images that wait.
    pub image_bytes: Arc<AtomicUsize>,
}

/// Images that wait for the writer take no more memory [byte].
const MAX_IMAGE_BYTES: usize = 512 << 20;
/// Between two attempts to find a lost device again.
const RETRY: Duration = Duration::from_millis(500);

pub(super) struct Started {
    pub thread: JoinHandle<()>,
    /// How the first opening went.
    pub opened: Receiver<Result<(), CaptureError>>,
    /// Samples that found the queue full, by stream of the connection.
    pub dropped: Vec<Arc<AtomicU64>>,
}

/// Number of bytes that an item takes beside its own size.
pub(super) fn image_bytes(item: &Item) -> usize {
    match item {
        Item::Sample(sample) => match &sample.data {
            Data::Image(image) => image.data.len(),
            _ => 0,
        },
        _ => 0,
    }
}

/// Everything that a connection's thread has.
struct Connection {
    driver: &'static Driver,
    devices: Vec<Device>,
    /// Index of each at the writer.
    streams: Vec<usize>,
    /// Whether each gives images.
    gives_images: Vec<bool>,
    queues: Queues,
    dropped: Vec<Arc<AtomicU64>>,
    /// Those of them that the next sample has to tell of.
    untold: Vec<u64>,
    /// What is no sample is small and is kept until it fits.
    waiting: VecDeque<Queued>,
}

/// Starts the thread of one connection. `streams` are the writer's indices of
/// `devices`.
pub(super) fn start(
    driver: &'static Driver,
    devices: Vec<Device>,
    streams: Vec<usize>,
    queues: Queues,
    stop: Arc<AtomicBool>,
) -> Result<Started, CaptureError> {
    let (report, opened) = bounded(1);
    let dropped: Vec<Arc<AtomicU64>> = devices.iter().map(|_| Arc::default()).collect();
    let gives_images = devices
        .iter()
        .map(|device| {
            let kind = StreamKind::of(&device.stream);
            matches!(
                kind,
                Some(StreamKind::Camera { .. } | StreamKind::Depth { .. })
            )
        })
        .collect();
    let mut connection = Connection {
        driver,
        devices,
        gives_images,
        streams,
        queues,
        untold: vec![0; dropped.len()],
        dropped: dropped.clone(),
        waiting: VecDeque::new(),
    };
    // Linux shows 15 characters of a thread's name.
    let name = connection.devices[0]
        .stream
        .trim_start_matches('/')
        .replace('/', ".");
    let thread = std::thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            let source = match (driver.open)(&connection.devices) {
                Ok(source) => {
                    let _ = report.send(Ok(()));
                    source
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                    return;
                }
            };
            connection.run(source, &stop);
        })
        .map_err(|source| CaptureError::Thread { name, source })?;
    Ok(Started {
        thread,
        opened,
        dropped,
    })
}

impl Connection {
    fn run(&mut self, source: Box<dyn Source>, stop: &AtomicBool) {
        let mut source = Some(source);
        let mut output = Output::default();
        while !stop.load(Ordering::Relaxed) {
            self.send_waiting();
            let Some(open) = &mut source else {
                std::thread::sleep(RETRY);
                source = (self.driver.open)(&self.devices).ok();
                if source.is_some() {
                    self.say(None);
                }
                continue;
            };
            let result = open.read(&mut output);
            for (stream, item) in output.items.drain(..) {
                self.push(stream, item);
            }
            if let Err(error) = result {
                // Closed before the search for it begins, or its name changes.
                source = None;
                self.say(Some(error.to_string()));
            }
        }
    }

    fn push(&mut self, stream: usize, item: Item) {
        let bytes = image_bytes(&item);
        let is_sample = matches!(item, Item::Sample(_));
        let queued = Queued::Item {
            stream: self.streams[stream],
            item,
            dropped: if is_sample { self.untold[stream] } else { 0 },
            pushed: Instant::now(),
        };
        let waiting = self.queues.image_bytes.fetch_add(bytes, Ordering::Relaxed);
        let result = if bytes > 0 && waiting + bytes > MAX_IMAGE_BYTES {
            Err(TrySendError::Full(queued))
        } else {
            self.queue(&queued).try_send(queued)
        };
        let Err(error) = result else {
            if is_sample {
                self.untold[stream] = 0;
            }
            return;
        };
        self.queues.image_bytes.fetch_sub(bytes, Ordering::Relaxed);
        match error {
            TrySendError::Full(queued) if !is_sample => self.keep(queued),
            TrySendError::Full(_) => self.drop_one(stream),
            // The recorder ends.
            TrySendError::Disconnected(_) => {}
        }
    }

    /// Which way it goes.
    fn queue(&self, queued: &Queued) -> &Sender<Queued> {
        let (Queued::Item { stream, .. } | Queued::Connection { stream, .. }) = queued;
        let at = self.streams.iter().position(|index| index == stream);
        if at.is_some_and(|at| self.gives_images[at]) {
            &self.queues.images
        } else {
            &self.queues.sensors
        }
    }

    fn drop_one(&mut self, stream: usize) {
        self.dropped[stream].fetch_add(1, Ordering::Relaxed);
        self.untold[stream] += 1;
    }

    /// Counts must not be lost with the packets that they count: equal ones are
    /// added up until the queue takes them.
    fn keep(&mut self, queued: Queued) {
        let Queued::Item { stream, item, .. } = &queued else {
            self.waiting.push_back(queued);
            return;
        };
        for kept in &mut self.waiting {
            let Queued::Item {
                stream: of,
                item: sum,
                ..
            } = kept
            else {
                continue;
            };
            if of != stream {
                continue;
            }
            match (sum, item) {
                (
                    Item::Lost { kind, count, .. },
                    Item::Lost {
                        kind: other,
                        count: more,
                        ..
                    },
                ) if kind == other => {
                    *count += more;
                    return;
                }
                (Item::Missing { count, .. }, Item::Missing { count: more, .. }) => {
                    *count += more;
                    return;
                }
                (Item::Discarded { bytes }, Item::Discarded { bytes: more }) => {
                    *bytes += more;
                    return;
                }
                _ => {}
            }
        }
        // A question's answer is worth nothing later; the rest is rare.
        if !matches!(item, Item::Echo { .. }) {
            self.waiting.push_back(queued);
        }
    }

    fn send_waiting(&mut self) {
        for queued in std::mem::take(&mut self.waiting) {
            if let Err(error) = self.queue(&queued).try_send(queued) {
                self.waiting.push_back(error.into_inner());
            }
        }
    }

    fn say(&mut self, problem: Option<String>) {
        let at = HostTime::now();
        for &stream in &self.streams {
            let queued = Queued::Connection {
                stream,
                problem: problem.clone(),
                at,
            };
            if let Err(error) = self.queue(&queued).try_send(queued) {
                self.waiting.push_back(error.into_inner());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::driver::{Sample, xhand_force};

    #[test]
    fn the_next_sample_tells_what_found_the_queue_full() {
        let ((sensors, out), (images, _images)) = (bounded(2), bounded(1));
        let stream = "/exo/right/force/thumb";
        let mut connection = Connection {
            driver: &xhand_force::DRIVER,
            devices: vec![Device::new(stream, xhand_force::DRIVER.name, "")],
            streams: vec![7],
            gives_images: vec![false],
            queues: Queues {
                sensors,
                images,
                image_bytes: Arc::default(),
            },
            dropped: vec![Arc::default()],
            untold: vec![0],
            waiting: VecDeque::new(),
        };
        let sample = |sequence| {
            Item::Sample(Sample {
                arrival: HostTime::now(),
                captured: None,
                device: None,
                sent: None,
                ticks: None,
                sequence,
                suspect: 0,
                data: Data::Force {
                    counts: [1, 2, 3],
                    taxels: Vec::new(),
                },
                raw: None::<Bytes>,
            })
        };
        (0..5).for_each(|sequence| connection.push(0, sample(sequence)));
        let told = |queued| match queued {
            Queued::Item { dropped, .. } => dropped,
            Queued::Connection { .. } => panic!("no item"),
        };
        let first: Vec<u64> = out.try_iter().map(told).collect();
        assert_eq!(first, [0, 0]);
        connection.push(0, sample(5));
        connection.push(0, sample(6));
        let then: Vec<u64> = out.try_iter().map(told).collect();
        assert_eq!(then, [3, 0]);
        assert_eq!(connection.dropped[0].load(Ordering::Relaxed), 3);
    }
}
