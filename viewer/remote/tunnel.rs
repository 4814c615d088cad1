//! The way to the live view: who is let in is connected with Foxglove's server,
//! which takes everybody and is hidden behind this.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{
        CONNECTION, HOST, HeaderName, HeaderValue, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
    upgrade::{self, OnUpgrade},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    access::{Denied, Gate},
    front::{Answered, Front, answer_error},
};

/// Viewers at once; more are refused, since nobody knows when one leaves.
const VIEWERS: usize = 16;
/// Requests at once that are not viewers yet.
const MOST: u32 = 32;
/// From the connection to the upgrade.
const LIFETIME: Duration = Duration::from_secs(15);
/// The server behind is on this machine: it takes no longer to answer.
const SERVER_TIME: Duration = Duration::from_secs(5);
/// A viewer that takes nothing for so long is gone.
const STUCK: Duration = Duration::from_secs(30);
/// A viewer has no more to say in all its time [byte]: it subscribes.
const MOST_FROM_VIEWER: u64 = 16 << 20;
/// What of a request is passed on: all that makes the WebSocket, and no token.
const PASSED_ON: [HeaderName; 6] = [
    CONNECTION,
    UPGRADE,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_EXTENSIONS,
];

/// Leads to the live view.
pub(super) struct Tunnel {
    gate: Gate,
    server: SocketAddr,
    viewers: Arc<Semaphore>,
}

impl Tunnel {
    /// To the server at an address.
    pub fn new(gate: Gate, server: SocketAddr) -> Self {
        let viewers = Arc::new(Semaphore::new(VIEWERS));
        Self {
            gate,
            server,
            viewers,
        }
    }

    /// Opens the door.
    pub fn open(self, listener: TcpListener) -> std::io::Result<Front> {
        let tunnel = Arc::new(self);
        Front::open(listener, MOST, LIFETIME, move |request| {
            let tunnel = tunnel.clone();
            async move { tunnel.answer(request).await.unwrap_or_else(Answered::from) }
        })
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answered, Denied> {
        let (head, body) = request.into_parts();
        self.gate.admit(&head)?;
        let mut request = Request::from_parts(head, body);
        let is_websocket = request
            .headers()
            .get(UPGRADE)
            .is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
        if request.method() != Method::GET || !is_websocket {
            let reason = "this is a WebSocket for Foxglove; open a connection to it in the app";
            let mut answer = answer_error(StatusCode::UPGRADE_REQUIRED, reason);
            let websocket = HeaderValue::from_static("websocket");
            answer.headers_mut().insert(UPGRADE, websocket);
            return Ok(answer);
        }
        let slot = self.viewers.clone().try_acquire_owned();
        let slot = slot.map_err(|_| Denied {
            status: StatusCode::SERVICE_UNAVAILABLE,
            reason: format!("{VIEWERS} viewers are looking already; close one of them"),
        })?;
        let connected = timeout(SERVER_TIME, self.connect(&request)).await;
        let mut response = match connected {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                return Err(Denied {
                    status: StatusCode::BAD_GATEWAY,
                    reason: format!("the live view does not answer: {error:#}"),
                });
            }
            Err(_) => {
                return Err(Denied {
                    status: StatusCode::GATEWAY_TIMEOUT,
                    reason: "the live view does not answer".to_owned(),
                });
            }
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let server = upgrade::on(&mut response);
            let viewer = upgrade::on(&mut request);
            tokio::spawn(connect_both(viewer, server, slot));
            let (head, _) = response.into_parts();
            return Ok(Response::from_parts(head, Full::default()));
        }
        // Refused there: it speaks another protocol.
        let (head, body) = response.into_parts();
        let body = Limited::new(body, 64 << 10).collect().await;
        let reason = body.map(|body| body.to_bytes()).unwrap_or_default();
        let reason = String::from_utf8_lossy(&reason);
        Ok(answer_error(
            head.status,
            &format!("the live view refuses: {reason}"),
        ))
    }

    /// Asks the server behind for the same WebSocket.
    async fn connect(&self, request: &Request<Incoming>) -> anyhow::Result<Response<Incoming>> {
        let stream = TcpStream::connect(self.server).await?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        tokio::spawn(connection.with_upgrades());
        let mut asked = Request::builder()
            .uri("/")
            .header(HOST, self.server.to_string());
        for name in PASSED_ON {
            for value in request.headers().get_all(&name) {
                asked = asked.header(name.clone(), value.clone());
            }
        }
        Ok(sender
            .send_request(asked.body(Empty::<Bytes>::new())?)
            .await?)
    }
}

/// Passes on what is said until one of both is gone.
async fn connect_both(viewer: OnUpgrade, server: OnUpgrade, slot: OwnedSemaphorePermit) {
    let _slot = slot;
    let Ok((viewer, server)) = tokio::try_join!(viewer, server) else {
        return;
    };
    let (from_viewer, to_viewer) = split(TokioIo::new(viewer));
    let (from_server, to_server) = split(TokioIo::new(server));
    // An error on one side ends both; it is no news that a viewer is gone.
    let _ = tokio::try_join!(
        pass_on(from_viewer.take(MOST_FROM_VIEWER), to_server),
        pass_on(from_server, to_viewer),
    );
}

async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        timeout(STUCK, to.write_all(&buffer[..count])).await??;
    }
}
