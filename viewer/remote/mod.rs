//! A recorder from afar: orders over HTTP, a live view over WebSocket.
//!
//! ```text
//! curl, pedal, robot ──▶ Front ─▶ Gate ─▶ Control ─▶ orders, as from the keyboard
//! Foxglove ───────────▶ Front ─▶ Gate ─▶ Tunnel  ─▶ Foxglove's server, on loopback
//! ```
//!
//! A [`Front`] takes connections, within bounds of size, time and number. A
//! [`Gate`] says who may come in: on loopback everybody on this machine, except a
//! web page that has no business here; elsewhere who has the token. Nothing is
//! encrypted.

mod access;
mod control;
mod front;
mod tunnel;

use std::{
    ffi::OsString,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use dexumi_capture::Recorder;
use dexumi_episode::{Calibration, Rig, SessionAnchor};
use dexumi_live::{LiveView, hidden_loopback};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::control::{Published, Request};
use access::{Gate, Guests, Token};
use front::Front;

/// Name of the environment variable with the token.
const TOKEN_VARIABLE: &str = "DEXUMI_TOKEN";

/// Where to be reached, and by whom.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "From elsewhere")]
pub struct RemoteArguments {
    /// Take orders over HTTP [default address: 127.0.0.1:8766].
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:8766",
        value_parser = address,
    )]
    pub http: Option<SocketAddr>,
    /// Show what comes in to Foxglove, live [default address: 127.0.0.1:8765].
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:8765",
        value_parser = address,
    )]
    pub live: Option<SocketAddr>,
    /// Who comes in must show the token in this file (else the one in
    /// DEXUMI_TOKEN); needed for any address but loopback.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric
        .parse()
        .map_err(|_| "expected IP:PORT, such as 127.0.0.1:8766 or 0.0.0.0:8766".to_owned())
}

/// Addresses that are ours, before anything is served there.
#[derive(Debug, Default)]
pub struct Doors {
    http: Option<TcpListener>,
    live: Option<TcpListener>,
    token: Option<Arc<Token>>,
}

impl RemoteArguments {
    /// The same as words of a command line.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let addresses = [("--http", self.http), ("--live", self.live)];
        let mut words: Vec<OsString> = addresses
            .into_iter()
            .filter_map(|(option, address)| Some([option.into(), address?.to_string().into()]))
            .flatten()
            .collect();
        if let Some(file) = &self.token_file {
            words.extend(["--token-file".into(), file.into()]);
        }
        words
    }

    /// Takes the addresses, so that what is wrong with them is said before any
    /// device is touched.
    ///
    /// # Errors
    /// One of them is in use, or open to others without a token; the token cannot
    /// be read, or is none.
    pub fn open(&self) -> Result<Doors> {
        if self.http.is_none() && self.live.is_none() {
            if self.token_file.is_some() {
                bail!("--token-file guards nothing here: give --http or --live, or leave it out");
            }
            return Ok(Doors::default());
        }
        let token = Token::load(self.token_file.as_deref(), TOKEN_VARIABLE)?.map(Arc::new);
        let open = |option: &str, address: Option<SocketAddr>| {
            let Some(address) = address else {
                return Ok(None);
            };
            if !address.ip().is_loopback() && token.is_none() {
                bail!(
                    "--{option} {address} would let anybody on the network in; give a token by \
                     --token-file FILE or {TOKEN_VARIABLE} (make one: openssl rand -hex 32 > FILE), \
                     or stay on loopback and come in by `ssh -L {port}:127.0.0.1:{port}`",
                    port = address.port()
                );
            }
            let listener = TcpListener::bind(address).with_context(|| {
                format!(
                    "cannot listen on {address}: is another recorder running? \
                     Choose another address by --{option} ADDRESS"
                )
            })?;
            listener.set_nonblocking(true)?;
            Ok(Some(listener))
        };
        Ok(Doors {
            http: open("http", self.http)?,
            live: open("live", self.live)?,
            token,
        })
    }
}

/// What is served.
pub struct Served {
    /// The recorder.
    pub recorder: Arc<Recorder>,
    /// What is told about it.
    pub published: watch::Receiver<Published>,
    /// Where orders go.
    pub orders: mpsc::Sender<Request>,
    /// The live view, from [`Doors::live_view`].
    pub live: Option<LiveView>,
}

impl Doors {
    /// Whether orders can come this way.
    pub fn has_control(&self) -> bool {
        self.http.is_some()
    }

    /// A live view, if there is a door for it.
    ///
    /// # Errors
    /// No address can be had for it.
    pub async fn live_view(
        &self,
        rig: &Rig,
        calibration: Option<&Calibration>,
        anchor: SessionAnchor,
    ) -> Result<Option<LiveView>> {
        if self.live.is_none() {
            return Ok(None);
        }
        let [.., a, b, c] = uuid::Uuid::now_v7().into_bytes();
        let live = LiveView::start(hidden_loopback([a, b, c]), rig, calibration, anchor).await?;
        Ok(Some(live))
    }

    /// Opens the doors, and says where they are.
    ///
    /// # Errors
    /// A listener cannot be waited for.
    pub fn serve(self, served: Served) -> Result<Serving> {
        let Served {
            recorder,
            published,
            orders,
            live,
        } = served;
        let gate = |guests| Gate::new(self.token.clone(), guests);
        let with_token = match self.token {
            Some(_) => ", with the token",
            None => "",
        };
        let mut serving = Serving {
            http: None,
            live: None,
        };
        if let Some(listener) = self.http {
            let address = listener.local_addr()?;
            eprintln!("orders: http://{address}{with_token} (curl it for what it takes)");
            let control = control::Control {
                gate: gate(Guests::NoPages),
                recorder: recorder.clone(),
                published,
                orders,
            };
            serving.http = Some(control.open(listener)?);
        }
        if let (Some(listener), Some(live)) = (self.live, live) {
            let address = listener.local_addr()?;
            eprintln!("live view: ws://{address}{with_token}");
            if address.ip().is_loopback() && self.token.is_none() {
                eprintln!("  in a browser: {}", app_url(address));
            }
            let tunnel = tunnel::Tunnel::new(gate(Guests::Foxglove), live.address());
            let front = tunnel.open(listener)?;
            let (end, ended) = oneshot::channel::<()>();
            let shown = live.run(recorder, async {
                let _ = ended.await;
            });
            serving.live = Some(LiveDoor {
                front,
                end,
                shown: tokio::spawn(shown),
            });
        }
        Ok(serving)
    }
}

/// Opens Foxglove's app in a browser, on a live view.
fn app_url(address: SocketAddr) -> String {
    let address = address.to_string();
    let address = address.replace(':', "%3A");
    format!("https://app.foxglove.dev/?ds=foxglove-websocket&ds.url=ws%3A%2F%2F{address}")
}

/// Doors that are open.
pub struct Serving {
    http: Option<Front>,
    live: Option<LiveDoor>,
}

struct LiveDoor {
    front: Front,
    end: oneshot::Sender<()>,
    shown: JoinHandle<()>,
}

impl Serving {
    /// Closes the doors. Who waits for an answer gets it, viewers are told.
    pub async fn close(self) {
        if let Some(http) = self.http {
            http.close().await;
        }
        if let Some(LiveDoor { front, end, shown }) = self.live {
            front.close().await;
            let _ = end.send(());
            let _ = tokio::time::timeout(Duration::from_secs(2), shown).await;
        }
    }
}
