//! Writes the truth file, off the device threads.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use dexumi_episode::HostTime;

use super::truth::{Event, Header, Line, Sample};

/// Lines on their way to the disk; a disk that is slower for longer than some
/// seconds loses lines, and the file says how many.
const QUEUE: usize = 8192;
const FLUSH: Duration = Duration::from_millis(100);

/// Where device threads put what they did; never blocks.
#[derive(Debug, Clone, Default)]
pub(super) struct Sink {
    lines: Option<Sender<Line>>,
    lost: Arc<AtomicU64>,
    closing: Arc<AtomicBool>,
}

impl Sink {
    /// Starts the writing thread, which ends after [`close`](Self::close).
    pub fn create(path: &Path, header: Header) -> std::io::Result<(Self, JoinHandle<()>)> {
        let mut file = BufWriter::with_capacity(1 << 16, File::create(path)?);
        write_line(&mut file, &Line::Header(header))?;
        file.flush()?;
        let (sender, receiver) = bounded(QUEUE);
        let sink = Self {
            lines: Some(sender),
            lost: Arc::default(),
            closing: Arc::default(),
        };
        let (lost, closing) = (sink.lost.clone(), sink.closing.clone());
        let path = path.to_owned();
        let thread = std::thread::Builder::new()
            .name("emulate truth".to_owned())
            .spawn(move || {
                if let Err(error) = write_all(&receiver, &mut file, &lost, &closing) {
                    eprintln!(
                        "cannot write truth file, it ends here: {error}: {}",
                        path.display()
                    );
                }
            })?;
        Ok((sink, thread))
    }

    pub fn sample(&self, sample: Sample) {
        self.put(Line::Sample(sample));
    }

    pub fn event(&self, stream: &str, what: impl Into<String>, count: u64) {
        let t_ns = HostTime::now().nanos();
        self.put(Line::Event(Event {
            stream: stream.to_owned(),
            t_ns,
            what: what.into(),
            count,
        }));
    }

    /// No more lines: the thread writes what it has and ends.
    pub fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    fn put(&self, line: Line) {
        if let Some(lines) = &self.lines
            && lines.try_send(line).is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_line(file: &mut impl Write, line: &Line) -> std::io::Result<()> {
    serde_json::to_writer(&mut *file, line)?;
    file.write_all(b"\n")
}

fn write_all(
    lines: &Receiver<Line>,
    file: &mut impl Write,
    lost: &AtomicU64,
    closing: &AtomicBool,
) -> std::io::Result<()> {
    let mut flushed = Instant::now();
    loop {
        // Looked at before the queue, so that an empty queue then is the end.
        let last = closing.load(Ordering::SeqCst);
        let open = match lines.recv_timeout(if last { Duration::ZERO } else { FLUSH }) {
            Ok(line) => {
                write_line(file, &line)?;
                true
            }
            Err(RecvTimeoutError::Timeout) => !last,
            Err(RecvTimeoutError::Disconnected) => false,
        };
        if !open || flushed.elapsed() >= FLUSH {
            let count = lost.swap(0, Ordering::Relaxed);
            if count > 0 {
                let t_ns = HostTime::now().nanos();
                let what = "truth_lost".to_owned();
                write_line(
                    file,
                    &Line::Event(Event {
                        stream: String::new(),
                        t_ns,
                        what,
                        count,
                    }),
                )?;
            }
            file.flush()?;
            flushed = Instant::now();
        }
        if !open {
            return Ok(());
        }
    }
}
