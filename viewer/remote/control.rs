//! Orders over HTTP.

use std::{net::TcpListener, sync::Arc, time::Duration};

use dexumi_capture::{Ended, Recorder};
use dexumi_live::image_format;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    Method, Request as HttpRequest, StatusCode,
    body::Incoming,
    header::{ALLOW, HOST, HeaderValue},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    time::timeout,
};

use super::{
    access::{Denied, Gate},
    front::{Answered, Front, answer, answer_json},
};
use crate::control::{Done, Order, Published, Refusal, Request, Why};

/// Requests at once; more wait.
const MOST: u32 = 32;
/// A body is no longer [byte], and takes no longer to come.
const BODY_BYTES: usize = 64 << 10;
const BODY_TIME: Duration = Duration::from_secs(5);
/// An order takes no longer to be answered: a stop drains the streams and waits
/// for the disk.
const ORDER_TIME: Duration = Duration::from_secs(30);
/// A whole request, with a slow reader at the other end.
const LIFETIME: Duration = Duration::from_secs(60);

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Help,
    Status,
    Preview,
    Start,
    Stop,
    Toggle,
    Mark,
    Discard,
}

/// Method, path, what it takes and does.
const ROUTES: &[(Route, Method, &str, &str)] = &[
    (Route::Help, Method::GET, "/", "this text"),
    (
        Route::Status,
        Method::GET,
        "/status",
        "state, streams with rates, losses and clocks, finished episodes, as JSON",
    ),
    (
        Route::Preview,
        Method::GET,
        "/preview/",
        "a camera's newest image, such as /preview/camera/wrist/image",
    ),
    (
        Route::Start,
        Method::POST,
        "/start",
        "start an episode; {\"task\": \"...\"} says what is to be done from now on",
    ),
    (
        Route::Stop,
        Method::POST,
        "/stop",
        "end the episode; answers what became of every stream's packets",
    ),
    (
        Route::Toggle,
        Method::POST,
        "/toggle",
        "start, or stop what runs: for a pedal",
    ),
    (
        Route::Mark,
        Method::POST,
        "/mark",
        "note a moment; {\"text\": \"...\"} says what of",
    ),
    (
        Route::Discard,
        Method::POST,
        "/discard",
        "end the episode and throw it away",
    ),
];

/// What `POST /start` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StartBody {
    task: String,
}

/// What `POST /mark` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MarkBody {
    text: String,
}

/// What the other orders take.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NoBody {}

/// Obeys whoever is let in.
pub(super) struct Control {
    pub gate: Gate,
    pub recorder: Arc<Recorder>,
    pub published: watch::Receiver<Published>,
    pub orders: mpsc::Sender<Request>,
}

impl Control {
    /// Opens the door.
    pub fn open(self, listener: TcpListener) -> std::io::Result<Front> {
        let control = Arc::new(self);
        Front::open(listener, MOST, LIFETIME, move |request| {
            let control = control.clone();
            async move { control.answer(request).await.unwrap_or_else(Answered::from) }
        })
    }

    async fn answer(&self, request: HttpRequest<Incoming>) -> Result<Answered, Denied> {
        let (head, body) = request.into_parts();
        self.gate.admit(&head)?;
        let path = head.uri.path();
        let Some(route) = route(&head.method, path) else {
            return Ok(no_route(&head.method, path));
        };
        let order = match route {
            Route::Help => {
                let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
                let text = help(host.unwrap_or("127.0.0.1:8766"), self.gate.has_token());
                return Ok(answer(StatusCode::OK, "text/plain", text));
            }
            Route::Status => {
                let mut published = self.published.borrow().clone();
                // Newer than what was published, also while an order is carried out.
                published.status = self.recorder.status();
                return Ok(answer_json(StatusCode::OK, &published));
            }
            Route::Preview => return Ok(self.preview(path)),
            Route::Start => {
                let StartBody { task } = read(body).await?;
                Order::Start { task }
            }
            Route::Stop => {
                let NoBody {} = read(body).await?;
                Order::Stop
            }
            Route::Toggle => {
                let NoBody {} = read(body).await?;
                Order::Toggle
            }
            Route::Mark => {
                let MarkBody { text } = read(body).await?;
                Order::Mark { text }
            }
            Route::Discard => {
                let NoBody {} = read(body).await?;
                Order::Discard
            }
        };
        self.order(order).await
    }

    /// Hands an order on, and waits for what comes of it.
    async fn order(&self, order: Order) -> Result<Answered, Denied> {
        let (reply, answer) = oneshot::channel();
        let reply = Some(reply);
        let over = || {
            denied(
                StatusCode::SERVICE_UNAVAILABLE,
                "the recorder is ending".to_owned(),
            )
        };
        self.orders
            .try_send(Request { order, reply })
            .map_err(|error| match error {
                TrySendError::Full(_) => denied(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "other orders are waiting already; try again".to_owned(),
                ),
                TrySendError::Closed(_) => over(),
            })?;
        match timeout(ORDER_TIME, answer).await {
            Ok(Ok(Ok(done))) => Ok(answer_json(status_of(&done), &done)),
            Ok(Ok(Err(Refusal { why, reason }))) => {
                let status = match why {
                    Why::State => StatusCode::CONFLICT,
                    Why::Disk => StatusCode::INSUFFICIENT_STORAGE,
                    Why::Failed => StatusCode::INTERNAL_SERVER_ERROR,
                };
                Err(denied(status, reason))
            }
            Ok(Err(_)) => Err(over()),
            Err(_) => Err(denied(
                StatusCode::GATEWAY_TIMEOUT,
                format!(
                    "the recorder has not answered within {} s, and may still do it; GET /status tells",
                    ORDER_TIME.as_secs()
                ),
            )),
        }
    }

    fn preview(&self, path: &str) -> Answered {
        let previews = self.recorder.previews();
        let topic = path.strip_prefix("/preview").unwrap_or_default();
        match previews.get(topic) {
            Some((_, image)) => match image_format(image) {
                Some("png") => answer(StatusCode::OK, "image/png", image.clone()),
                Some(_) => answer(StatusCode::OK, "image/jpeg", image.clone()),
                None => denied(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    format!("`{topic}` sends raw pixels, which are not shown"),
                )
                .into(),
            },
            None => {
                let mut known: Vec<_> = previews.keys().cloned().collect();
                known.sort();
                let problem = json!({
                    "error": format!("no image of `{topic}`"),
                    "topics": known,
                });
                answer_json(StatusCode::NOT_FOUND, &problem)
            }
        }
    }
}

fn denied(status: StatusCode, reason: String) -> Denied {
    Denied { status, reason }
}

fn status_of(done: &Done) -> StatusCode {
    match done {
        Done::Stopped(stopped) if matches!(stopped.ended, Ended::WriteError { .. }) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ => StatusCode::OK,
    }
}

/// What lies at a path, whatever the method.
fn at(path: &str) -> Option<&'static (Route, Method, &'static str, &'static str)> {
    ROUTES.iter().find(|(route, _, known, _)| match route {
        Route::Preview => path.starts_with(known),
        _ => path == *known,
    })
}

fn route(method: &Method, path: &str) -> Option<Route> {
    let (route, wanted, ..) = at(path)?;
    (wanted == method).then_some(*route)
}

/// Says what there is instead.
fn no_route(method: &Method, path: &str) -> Answered {
    let found = at(path);
    let (status, reason) = match found {
        Some((_, wanted, known, _)) => (
            StatusCode::METHOD_NOT_ALLOWED,
            format!("{known} takes {wanted}, got {method}"),
        ),
        None => (StatusCode::NOT_FOUND, format!("no such path: {path}")),
    };
    let routes: Vec<_> = ROUTES
        .iter()
        .map(|(_, method, path, _)| format!("{method} {path}"))
        .collect();
    let mut answer = answer_json(status, &json!({ "error": reason, "routes": routes }));
    if let Some(Ok(wanted)) = found.map(|(_, wanted, ..)| HeaderValue::from_str(wanted.as_str())) {
        answer.headers_mut().insert(ALLOW, wanted);
    }
    answer
}

/// A body of JSON; none at all stands for what is usual.
async fn read<T: DeserializeOwned + Default>(body: Incoming) -> Result<T, Denied> {
    let collected = timeout(BODY_TIME, Limited::new(body, BODY_BYTES).collect()).await;
    let bytes = match collected {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(denied(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is larger than {BODY_BYTES} bytes"),
            ));
        }
        Ok(Err(error)) => {
            return Err(denied(
                StatusCode::BAD_REQUEST,
                format!("the body broke off: {error}"),
            ));
        }
        Err(_) => {
            return Err(denied(
                StatusCode::REQUEST_TIMEOUT,
                format!("the body did not come within {} s", BODY_TIME.as_secs()),
            ));
        }
    };
    if bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        denied(
            StatusCode::BAD_REQUEST,
            format!("the body is not the JSON that is taken here: {error}; GET / shows an example"),
        )
    })
}

fn help(host: &str, has_token: bool) -> String {
    let mut text = format!("{}: orders to a recorder\n\n", crate::command::SOFTWARE);
    for (_, method, path, what) in ROUTES {
        text += &format!("{:4} {path:10} {what}\n", method.as_str());
    }
    text += "\n\
        An order is answered once it has happened, in JSON: 200 with what was done; with\n\
        an `error` 409 where it does not fit what the recorder does just now, 507 where\n\
        the disk is full, 500 where it failed.\n\n";
    let token = match has_token {
        true => " -H \"Authorization: Bearer $DEXUMI_TOKEN\"",
        false => "",
    };
    text += &format!("curl{token} http://{host}/start -d '{{\"task\": \"pick up the cube\"}}'\n");
    text += &format!("curl{token} http://{host}/stop -X POST\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_is_found_by_its_method_and_path_and_told_in_the_help() {
        for (wanted, method, path, what) in ROUTES {
            let path = match wanted {
                Route::Preview => "/preview/camera/wrist/image",
                _ => path,
            };
            assert_eq!(route(method, path), Some(*wanted));
            assert!(help("h", false).contains(what));
        }
        assert_eq!(route(&Method::GET, "/start"), None);
        let wrong = no_route(&Method::GET, "/start");
        assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(wrong.headers()[ALLOW], "POST");
        let unknown = no_route(&Method::GET, "/startle");
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
        assert!(!unknown.headers().contains_key(ALLOW));
    }
}
