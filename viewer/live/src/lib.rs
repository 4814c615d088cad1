//! What a recorder receives, live: a Foxglove WebSocket server with the topics
//! and schemas of an episode file.
//!
//! It looks at the recorder as the operator's window does, at snapshots of its
//! state, and encodes what somebody has subscribed to. The writer never waits for
//! it. It is a view, not a record: a viewer that is too slow loses the oldest
//! messages of its own queue.
//!
//! Two topics are not in any file: `/recorder`, what the recorder does (JSON), and
//! `/exo/<side>/sensor_angles`, the encoders' own angles, where no calibration
//! gives joint angles.

mod channel;
mod convert;
mod publish;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use dexumi_capture::Recorder;
use dexumi_episode::{Calibration, HostTime, Rig, SessionAnchor, schema::Event};
use foxglove::{Context, FoxgloveError, WebSocketServer, WebSocketServerHandle};
use thiserror::Error;
use tokio::time::MissedTickBehavior;

use channel::Channel;
pub use convert::image_format;
use publish::Publisher;

/// The recorder's state is looked at this often.
const LOOK: Duration = Duration::from_millis(50);
/// Images go with every second look: 10 a second of each camera at most.
const IMAGES_EVERY: u64 = 2;
/// What changes slowly, or a newcomer needs, goes with every 20th look.
const SLOW_EVERY: u64 = 20;
/// Messages that wait for one viewer; then its oldest are dropped. Six seconds of
/// two cameras' images, half a second of everything.
const BACKLOG: usize = 128;

/// The live view could not be started. Sources are not repeated in `Display`.
#[derive(Debug, Error)]
pub enum LiveError {
    /// The server's address cannot be had.
    #[error("cannot listen on {address} for the live view")]
    Listen {
        /// Which.
        address: IpAddr,
        /// Why not.
        #[source]
        source: FoxgloveError,
    },
    /// A topic cannot be offered.
    #[error("cannot offer topic `{topic}` to live viewers")]
    Topic {
        /// Which.
        topic: String,
        /// Why not.
        #[source]
        source: FoxgloveError,
    },
}

/// A live view of one recorder.
pub struct LiveView {
    server: WebSocketServerHandle,
    address: SocketAddr,
    publisher: Publisher,
    announcer: Announcer,
    /// The server holds it weakly.
    _context: Arc<Context>,
}

/// Tells viewers what happens, from wherever it happens.
#[derive(Clone)]
pub struct Announcer {
    anchor: SessionAnchor,
    events: Channel<Event>,
}

impl Announcer {
    /// An event as in `/events` of an episode: start, stop, discard, mark.
    pub fn event(&self, kind: &str, text: &str) {
        let now = self.anchor.to_session(HostTime::now());
        self.events.send(now, || Event {
            timestamp_ns: now.nanos(),
            kind: kind.to_owned(),
            text: text.to_owned(),
        });
    }
}

impl LiveView {
    /// Starts the server, on a free port of an address of this machine. Whoever
    /// reaches it is served: what may, is decided in front of it.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn start(
        address: IpAddr,
        rig: &Rig,
        calibration: Option<&Calibration>,
        anchor: SessionAnchor,
    ) -> Result<Self, LiveError> {
        let context = Context::new();
        let publisher = Publisher::new(&context, rig, calibration, anchor)?;
        let events = Channel::new(&context, "/events", &[])?;
        let host = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let server = WebSocketServer::new()
            .name(format!("dexumi: {}", rig.name))
            .context(&context)
            .message_backlog_size(BACKLOG)
            .bind(host, 0)
            .start()
            .await
            .map_err(|source| LiveError::Listen { address, source })?;
        Ok(Self {
            address: SocketAddr::new(address, server.port()),
            server,
            publisher,
            announcer: Announcer { anchor, events },
            _context: context,
        })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For whoever knows what happens.
    pub fn announcer(&self) -> Announcer {
        self.announcer.clone()
    }

    /// Shows a recorder until `end` is done; then viewers are told that it is over.
    pub async fn run(mut self, recorder: Arc<Recorder>, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        let mut looks = tokio::time::interval(LOOK);
        // After a stall there is one newest state, not several.
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for look in 0_u64.. {
            tokio::select! {
                () = &mut end => break,
                _ = looks.tick() => {}
            }
            let now = HostTime::now();
            let status = recorder.status();
            self.publisher
                .publish(&status, now, look.is_multiple_of(SLOW_EVERY));
            if look.is_multiple_of(IMAGES_EVERY) && self.publisher.wants_images() {
                self.publisher
                    .publish_images(&status, &recorder.previews(), now);
            }
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), self.server.stop().wait()).await;
    }
}

/// Address for a server that only this process is to find: somewhere in
/// 127.0.0.0/8, all of which is this machine (Linux). A web page in a browser on
/// it can knock at every port of 127.0.0.1, but not of sixteen million addresses.
pub fn hidden_loopback(random: [u8; 3]) -> IpAddr {
    let [a, b, c] = random;
    IpAddr::from([127, a.clamp(1, 254), b, c.clamp(1, 254)])
}
