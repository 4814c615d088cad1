//! The other end of the wire: a recorder with open doors, a plain HTTP client,
//! and a viewer that speaks Foxglove's WebSocket protocol.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use dexumi_episode::schema::Record;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tungstenite::{
    Message, WebSocket,
    client::IntoClientRequest,
    handshake::client::Request,
    http::{HeaderName, HeaderValue},
};

use crate::program::{dexumi, text};

/// Nothing that is waited for takes longer, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// `dexumi record` in the background, ended when dropped.
pub struct Recorder {
    child: Child,
    log: PathBuf,
    /// Its session folder.
    pub session: PathBuf,
    /// `IP:PORT` of its HTTP door.
    pub http: String,
    /// `IP:PORT` of its live view.
    pub live: String,
}

impl Recorder {
    /// Starts one with both doors on a loopback port each, or where `arguments`
    /// say, and the token, if there is one.
    pub fn start(folder: &Path, rig: &Path, token: Option<&str>, arguments: &[&str]) -> Self {
        let (session, log) = (folder.join("session"), folder.join("recorder.log"));
        let file = std::fs::File::create(&log).expect("a log file");
        let mut command = dexumi();
        command
            .args(["record", "--rig", text(rig), "--out", text(&session)])
            .args(arguments)
            .env_remove("DEXUMI_TOKEN")
            .stderr(file)
            .stdout(Stdio::null());
        if let Some(token) = token {
            command.env("DEXUMI_TOKEN", token);
        }
        let child = command.spawn().expect("the recorder");
        let mut recorder = Self {
            child,
            log,
            session,
            http: String::new(),
            live: String::new(),
        };
        recorder.http = recorder.address("orders: http://");
        recorder.live = recorder.address("live view: ws://");
        recorder
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn address(&mut self, before: &str) -> String {
        let began = Instant::now();
        loop {
            let said = self.said();
            if let Some((_, rest)) = said.split_once(before)
                && let Some((address, _)) = rest.split_once([' ', ',', '\n'])
            {
                // What listens everywhere is reached here.
                return address.replace("0.0.0.0", "127.0.0.1");
            }
            let ended = self.child.try_wait().expect("a child");
            assert!(ended.is_none(), "the recorder ended: {said}");
            assert!(began.elapsed() < PATIENCE, "no `{before}` in: {said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> i32 {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code().expect("no signal");
            }
            assert!(began.elapsed() < PATIENCE, "still there: {}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it as Ctrl-C does.
    pub fn interrupt(&mut self) -> i32 {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).expect("a child");
        self.wait()
    }

    /// State of the recorder, without a token.
    pub fn state(&self) -> String {
        let status = get(&self.http, "/status").json();
        status["status"]["state"]
            .as_str()
            .expect("a state")
            .to_owned()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub fn get(address: &str, path: &str) -> Answer {
    send(address, "GET", path, &[], "")
}

pub fn post(address: &str, path: &str, body: &str) -> Answer {
    send(address, "POST", path, &[], body)
}

/// One request; `headers` may replace the usual host.
pub fn send(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        request += &format!("host: {address}\r\n");
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("content-length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // A request that is refused early may be closed before all of it is sent.
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer to {method} {path}"));
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let status = head.split(' ').nth(1).expect("a status");
    Answer {
        status: status.parse().expect("a number"),
        body: bytes[end + 4..].to_vec(),
        head,
    }
}

/// A viewer, connected to a live view.
pub struct Viewer {
    socket: WebSocket<TcpStream>,
    /// What the server said about itself.
    pub info: Value,
    /// What it offers.
    pub channels: Vec<Value>,
}

/// A request for the live view, as Foxglove's app makes it.
fn request(address: &str, path: &str, headers: &[(&str, &str)]) -> Request {
    let mut request = format!("ws://{address}{path}")
        .into_client_request()
        .expect("a request");
    for (name, value) in headers
        .iter()
        .chain(&[("sec-websocket-protocol", "foxglove.sdk.v1")])
    {
        let name: HeaderName = name.parse().expect("a header");
        let value = HeaderValue::from_str(value).expect("a value");
        request.headers_mut().insert(name, value);
    }
    request
}

impl Viewer {
    /// Connects, and hears what is offered; else the status that refused it.
    pub fn connect(address: &str, path: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (socket, response) = match tungstenite::client(request(address, path, headers), stream)
        {
            Ok(connected) => connected,
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                return Err(answer.status().as_u16());
            }
            Err(error) => panic!("no WebSocket: {error}"),
        };
        assert_eq!(
            response.headers()["sec-websocket-protocol"],
            "foxglove.sdk.v1"
        );
        let mut viewer = Self {
            socket,
            info: Value::Null,
            channels: Vec::new(),
        };
        viewer.info = viewer.hear("serverInfo");
        let offer = viewer.hear("advertise");
        viewer.channels = offer["channels"].as_array().expect("channels").clone();
        Ok(viewer)
    }

    fn hear(&mut self, what: &str) -> Value {
        loop {
            if let Message::Text(text) = self.socket.read().expect("the server is gone") {
                let value: Value = serde_json::from_str(&text).expect("JSON");
                if value["op"] == what {
                    return value;
                }
            }
        }
    }

    /// What is offered on a topic.
    pub fn channel(&self, topic: &str) -> &Value {
        self.channels
            .iter()
            .find(|channel| channel["topic"] == topic)
            .unwrap_or_else(|| panic!("{topic} is not offered"))
    }

    /// Subscribes to topics; a subscription has its channel's number.
    pub fn subscribe(&mut self, topics: &[&str]) {
        let subscriptions: Vec<Value> = topics
            .iter()
            .map(|topic| &self.channel(topic)["id"])
            .map(|id| json!({ "id": id, "channelId": id }))
            .collect();
        let order = json!({ "op": "subscribe", "subscriptions": subscriptions });
        self.socket
            .send(Message::text(order.to_string()))
            .expect("sent");
    }

    /// Next message of a topic, as bytes, with its log time [ns].
    pub fn next_bytes(&mut self, topic: &str) -> (u64, Vec<u8>) {
        let wanted = self.channel(topic)["id"].as_u64().expect("a number");
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "nothing came on {topic}");
            // One byte 1, the subscription, the log time, the message.
            if let Message::Binary(bytes) = self.socket.read().expect("the server is gone")
                && let [1, i0, i1, i2, i3, rest @ ..] = bytes.as_ref()
                && u64::from(u32::from_le_bytes([*i0, *i1, *i2, *i3])) == wanted
                && let Some((time, message)) = rest.split_first_chunk::<8>()
            {
                return (u64::from_le_bytes(*time), message.to_vec());
            }
        }
    }

    /// Next message of a topic.
    pub fn next<M: Record>(&mut self, topic: &str) -> M {
        assert_eq!(self.channel(topic)["schemaName"], M::SCHEMA);
        let (_, bytes) = self.next_bytes(topic);
        M::decode(bytes.as_slice()).expect("a message of its schema")
    }
}
