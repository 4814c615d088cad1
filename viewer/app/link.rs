//! The window's end of the recorder: starts it or finds it, listens to it, sends
//! it orders. One thread; the window never waits for it.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{
    AppOptions,
    child::{Log, RecorderChild, socket_of},
    model::{Failure, LinkState},
    preview::Decoder,
};
use crate::control::{Client, Heard, Order, Published};

/// Statuses that a window may leave lying; 12 s of them.
const QUEUE: usize = 256;
/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(50);
/// How long a closed connection may precede the end of the process, or a
/// recorder that somebody else started may be away.
const GRACE: Duration = Duration::from_secs(3);

/// Tells the window that there is news.
pub(super) type Wake = Arc<dyn Fn() + Send + Sync>;

struct Shared {
    options: AppOptions,
    socket: PathBuf,
    state: Mutex<LinkState>,
    orders: Mutex<Option<Client>>,
    is_quitting: AtomicBool,
    epoch: Instant,
    wake: Wake,
}

/// Connection to a recorder.
pub(super) struct Link {
    shared: Arc<Shared>,
    statuses: Receiver<(f64, Box<Published>)>,
    again: Sender<()>,
}

impl Link {
    /// Starts to connect. Times are seconds since `epoch`; images go to `decoder`.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn open(
        options: AppOptions,
        epoch: Instant,
        decoder: Arc<Decoder>,
        wake: Wake,
    ) -> std::io::Result<Self> {
        let socket = options
            .socket
            .clone()
            .unwrap_or_else(|| socket_of(&options.out));
        let starting = LinkState::Starting {
            what: "Looking for the recorder".to_owned(),
        };
        let shared = Arc::new(Shared {
            options,
            socket,
            state: Mutex::new(starting),
            orders: Mutex::new(None),
            is_quitting: AtomicBool::new(false),
            epoch,
            wake,
        });
        let (statuses, statuses_out) = bounded(QUEUE);
        let (again, again_out) = bounded(1);
        let thread = Listener {
            shared: shared.clone(),
            statuses,
            again: again_out,
            decoder,
        };
        std::thread::Builder::new()
            .name("recorder link".to_owned())
            .spawn(move || thread.run())?;
        Ok(Self {
            shared,
            statuses: statuses_out,
            again,
        })
    }

    /// How things stand.
    pub fn state(&self) -> LinkState {
        lock(&self.shared.state).clone()
    }

    /// The oldest status that has not been taken, with when it was heard [s].
    pub fn next_status(&self) -> Option<(f64, Box<Published>)> {
        self.statuses.try_recv().ok()
    }

    /// Sends an order; false where nobody takes it.
    pub fn send(&self, order: &Order) -> bool {
        if *order == Order::Quit {
            self.shared.is_quitting.store(true, Ordering::Relaxed);
        }
        let mut orders = lock(&self.shared.orders);
        orders
            .as_mut()
            .is_some_and(|client| client.send(order).is_ok())
    }

    /// After a failure: starts the recorder again.
    pub fn try_again(&self) {
        self.shared.is_quitting.store(false, Ordering::Relaxed);
        let _ = self.again.try_send(());
    }

    /// Whether somebody else started the recorder and says when it ends.
    pub fn is_guest(&self) -> bool {
        self.shared.options.socket.is_some()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Free bytes on the disk of a folder; 0 where unknown.
fn free_bytes(folder: &std::path::Path) -> u64 {
    nix::sys::statvfs::statvfs(folder)
        .map_or(0, |disk| disk.blocks_available() * disk.fragment_size())
}

struct Listener {
    shared: Arc<Shared>,
    statuses: Sender<(f64, Box<Published>)>,
    again: Receiver<()>,
    decoder: Arc<Decoder>,
}

impl Listener {
    fn run(self) {
        let mut child = None;
        let mut log = Log::of_running(&self.shared.options.out);
        let mut was_connected = false;
        loop {
            let problem = match self.connect(&mut child, &mut log, was_connected) {
                Ok(client) => {
                    was_connected = true;
                    self.listen(client)
                }
                Err(failure) => {
                    self.set(LinkState::Failed(failure));
                    was_connected = false;
                    // Closed when the window is gone.
                    if self.again.recv().is_err() {
                        return;
                    }
                    continue;
                }
            };
            *lock(&self.shared.orders) = None;
            if self.shared.is_quitting.load(Ordering::Relaxed) {
                self.wait_for_end(&mut child);
                self.set(LinkState::Ended);
                was_connected = false;
                if self.again.recv().is_err() {
                    return;
                }
            } else {
                let what = format!("Connection to the recorder lost ({problem}); looking for it");
                self.set(LinkState::Starting { what });
            }
        }
    }

    fn set(&self, state: LinkState) {
        let mut now = lock(&self.shared.state);
        if *now != state {
            *now = state;
            drop(now);
            (self.shared.wake)();
        }
    }

    /// Tries until a recorder answers; starts one where none does.
    fn connect(
        &self,
        child: &mut Option<RecorderChild>,
        log: &mut Log,
        was_connected: bool,
    ) -> Result<Client, Failure> {
        let shared = &*self.shared;
        let began = Instant::now();
        loop {
            if let Ok(client) = Client::connect(&shared.socket)
                && let Ok(orders) = client.try_clone()
            {
                *lock(&shared.orders) = Some(orders);
                return Ok(client);
            }
            match child {
                Some(running) => {
                    if let Some(status) = running.ended() {
                        let when = if was_connected {
                            "ended unasked"
                        } else {
                            "did not start"
                        };
                        *child = None;
                        return Err(log.failure(format!("The recorder {when} ({status}).")));
                    }
                    let last = log
                        .tail()
                        .pop()
                        .map_or(String::new(), |line| format!(" ({line})"));
                    let what = if was_connected {
                        "Looking for the recorder"
                    } else {
                        "Opening the devices"
                    };
                    self.set(LinkState::Starting {
                        what: format!("{what}{last}"),
                    });
                }
                None if shared.options.socket.is_some() => {
                    let path = shared.socket.display();
                    self.set(LinkState::Starting {
                        what: format!("Waiting for a recorder on {path}"),
                    });
                }
                // It may only be busy; a second recorder would find the devices taken.
                None if was_connected && began.elapsed() < GRACE => {}
                None if was_connected => return Err(log.failure("The recorder is gone.")),
                None => {
                    let started = std::env::current_exe().and_then(|program| {
                        RecorderChild::start(program.as_os_str(), &shared.options, &shared.socket)
                    });
                    match started {
                        Ok(started) => {
                            *log = started.log().clone();
                            *child = Some(started);
                        }
                        Err(error) => {
                            return Err(
                                log.failure(format!("The recorder cannot be started: {error}."))
                            );
                        }
                    }
                }
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Passes on what the recorder says, until it says no more. Returns why.
    fn listen(&self, mut client: Client) -> String {
        loop {
            match client.hear() {
                Ok(Heard::Published(mut published)) => {
                    // The recorder looks at the disk only while it writes.
                    if published.status.free_bytes == 0 && self.shared.options.socket.is_none() {
                        published.status.free_bytes = free_bytes(&self.shared.options.out);
                    }
                    let at_s = self.shared.epoch.elapsed().as_secs_f64();
                    // A window that does not look misses some; the newest comes in 50 ms.
                    let _ = self.statuses.try_send((at_s, published));
                    self.set(LinkState::Connected);
                    (self.shared.wake)();
                }
                Ok(Heard::Image { topic, jpeg }) => self.decoder.push(topic, jpeg),
                Err(error) => return error.to_string(),
            }
        }
    }

    fn wait_for_end(&self, child: &mut Option<RecorderChild>) {
        let began = Instant::now();
        while let Some(running) = child.as_mut()
            && began.elapsed() < GRACE
        {
            if running.ended().is_some() {
                *child = None;
            } else {
                std::thread::sleep(RETRY);
            }
        }
    }
}
