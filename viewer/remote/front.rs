//! Takes connections, within bounds: so many at once, so long for the head of a
//! request, so long for all of it.

use std::{convert::Infallible, net::TcpListener, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{
        CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE,
        X_CONTENT_TYPE_OPTIONS,
    },
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use socket2::{SockRef, TcpKeepalive};
use tokio::{net::TcpStream, sync::Semaphore, task::JoinHandle, time::timeout};

use super::access::Denied;

/// The head of a request takes no longer to come.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// Nor is it longer [byte], or made of more lines.
const HEAD_BYTES: usize = 16 << 10;
const HEAD_LINES: usize = 64;
/// At the end, answers under way get this long.
const GRACE: Duration = Duration::from_secs(2);
/// A peer that is silent so long is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// All that is ever answered.
pub(super) type Answered = Response<Full<Bytes>>;

/// An open door.
pub(super) struct Front {
    slots: Arc<Semaphore>,
    most: u32,
    accept: JoinHandle<()>,
}

impl Front {
    /// Answers requests, `most` at once; others wait. A connection is for one
    /// request, and closed after `lifetime` at the latest, unless it was upgraded.
    ///
    /// # Errors
    /// The listener cannot be waited for.
    pub fn open<H, F>(
        listener: TcpListener,
        most: u32,
        lifetime: Duration,
        handler: H,
    ) -> std::io::Result<Self>
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answered> + Send + 'static,
    {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let slots = Arc::new(Semaphore::new(most as usize));
        let free = slots.clone();
        let accept = tokio::spawn(async move {
            while let Ok(slot) = free.clone().acquire_owned().await {
                let Ok((stream, _)) = listener.accept().await else {
                    // Too many open files, or the like: it passes.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let handler = handler.clone();
                tokio::spawn(async move {
                    let _slot = slot;
                    let _ = timeout(lifetime, converse(stream, handler)).await;
                });
            }
        });
        Ok(Self {
            slots,
            most,
            accept,
        })
    }

    /// Takes nobody in any more, and waits for what is being answered.
    pub async fn close(self) {
        self.accept.abort();
        // The task holds a slot while it waits for a guest.
        let _ = self.accept.await;
        let _ = timeout(GRACE, self.slots.acquire_many(self.most)).await;
    }
}

async fn converse<H, F>(stream: TcpStream, handler: H) -> hyper::Result<()>
where
    H: Fn(Request<Incoming>) -> F + Clone,
    F: Future<Output = Answered> + Send + 'static,
{
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    let service = service_fn(|request| {
        let answer = handler(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_LINES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await
}

/// An answer of any kind, and the end of the connection.
pub(super) fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answered {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// An answer in JSON.
pub(super) fn answer_json(status: StatusCode, value: &impl serde::Serialize) -> Answered {
    match serde_json::to_string_pretty(value) {
        Ok(text) => answer(status, "application/json", text + "\n"),
        Err(error) => answer(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain",
            format!("cannot represent the answer as JSON: {error}\n"),
        ),
    }
}

/// What went wrong, in JSON.
pub(super) fn answer_error(status: StatusCode, reason: &str) -> Answered {
    answer_json(status, &json!({ "error": reason }))
}

impl From<Denied> for Answered {
    fn from(denied: Denied) -> Self {
        let mut response = answer_error(denied.status, &denied.reason);
        if denied.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
