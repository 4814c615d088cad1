//! The source against a server that a test leads.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use ::natnet::{PlannedBody, SyntheticServer};
use dexumi_episode::Device;

use crate::driver::{Data, Item, Output, Source, natnet::*};

const VERSION: Version = (4, 1);

struct State {
    info: ServerInfo,
    models: Option<Models>,
    client: Option<SocketAddr>,
}

/// Answers commands; data are sent by the test.
struct Server {
    socket: Arc<UdpSocket>,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(models: Option<Models>) -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("socket"));
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("timeout");
        let state = Arc::new(Mutex::new(State {
            info: ServerInfo {
                name: "test".to_owned(),
                version: [1, 0, 0, 0],
                natnet: [VERSION.0, VERSION.1, 0, 0],
                tick_hz: 10_000_000,
                data_port: 0,
                multicast: false,
                group: [239, 255, 42, 99],
            },
            models,
            client: None,
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let (socket2, state2, stop2) = (socket.clone(), state.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("test server".to_owned())
            .spawn(move || {
                let mut buffer = [0; 2048];
                while !stop2.load(Ordering::Relaxed) {
                    let Ok((count, client)) = socket2.recv_from(&mut buffer) else {
                        continue;
                    };
                    let mut state = state2.lock().expect("state");
                    let reply = match message_id(&buffer[..count]) {
                        Some(CONNECT) => {
                            state.client = Some(client);
                            Some(encode_server_info(&state.info))
                        }
                        Some(MODEL_REQUEST) => state
                            .models
                            .as_ref()
                            .map(|models| encode_models(models, VERSION)),
                        Some(ECHO_REQUEST) => {
                            let sent = decode_echo_request(&buffer[..count]).expect("a time");
                            // Not only the right answer.
                            let wrong = encode_echo_response(sent ^ 1, 1);
                            let _ = socket2.send_to(&wrong, client);
                            Some(encode_echo_response(sent, 70_000_000))
                        }
                        _ => None,
                    };
                    if let Some(reply) = reply {
                        let _ = socket2.send_to(&reply, client);
                    }
                }
            })
            .expect("thread");
        Self {
            socket,
            state,
            stop,
            thread: Some(thread),
        }
    }

    fn device(&self, stream: &str, source: Option<&str>) -> Device {
        let address = self.socket.local_addr().expect("address").to_string();
        Device {
            source: source.map(str::to_owned),
            ..Device::new(stream, "natnet", &address)
        }
    }

    fn send(&self, packet: &[u8]) {
        let client = self.state.lock().expect("state").client.expect("connected");
        self.socket.send_to(packet, client).expect("sent");
    }

    /// A frame of an independent implementation.
    fn frame(&self, number: i32, t_s: f64, bodies: &[PlannedBody]) {
        let server = SyntheticServer::new(::natnet::Version::V4_1, 10_000_000);
        self.send(&server.datagram(number, t_s, bodies).expect("a datagram"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn models(bodies: &[(i32, &str)]) -> Option<Models> {
    Some(Models {
        bodies: bodies
            .iter()
            .map(|(id, name)| (*id, (*name).to_owned()))
            .collect(),
        marker_sets: vec![("hand".to_owned(), vec!["tip".to_owned(), "base".to_owned()])],
    })
}

/// Reads until `enough`, or fails after ten seconds.
fn read(
    source: &mut Box<dyn Source>,
    mut enough: impl FnMut(&[(usize, Item)]) -> bool,
) -> Vec<(usize, Item)> {
    let mut output = Output::default();
    let end = Instant::now() + Duration::from_secs(10);
    while !enough(&output.items) {
        assert!(Instant::now() < end, "not within 10 s: {:?}", output.items);
        source.read(&mut output).expect("connected");
    }
    output.items
}

fn samples(items: &[(usize, Item)], of: usize) -> Vec<&crate::driver::Sample> {
    items
        .iter()
        .filter_map(|(stream, item)| match item {
            Item::Sample(sample) if *stream == of => Some(sample),
            _ => None,
        })
        .collect()
}

fn pose(sample: &crate::driver::Sample) -> ([f64; 3], bool) {
    match sample.data {
        Data::Pose {
            position_m, valid, ..
        } => (position_m, valid),
        _ => panic!("a pose"),
    }
}

fn count(items: &[(usize, Item)], of: usize, kind: &str) -> u64 {
    items
        .iter()
        .map(|(stream, item)| match item {
            Item::Lost { kind: k, count, .. } if *stream == of && *k == kind => *count,
            Item::Missing { count, .. } if *stream == of && kind == "missing" => *count,
            _ => 0,
        })
        .sum()
}

fn at(id: i32, x: f32) -> PlannedBody {
    PlannedBody::tracked(id, [x, 0.25, 0.5], [0.0, 0.0, 0.0, 1.0])
}

#[test]
fn bodies_are_told_apart_by_name_and_by_id() {
    let server = Server::start(models(&[(7, "bench"), (3, "wrist"), (4, "head")]));
    let devices = [
        server.device("/tracker/wrist/pose", None),
        server.device("/tracker/cap/pose", Some("head")),
        server.device("/tracker/table/pose", Some("7")),
    ];
    let mut source = open(&devices).expect("open");
    server.frame(1, 1.0, &[at(7, 7.0), at(3, 3.0), PlannedBody::dropout(4)]);
    server.frame(2, 1.004, &[at(4, 4.0), at(3, 3.5), at(7, 7.0)]);
    let items = read(&mut source, |items| samples(items, 2).len() == 2);
    // Motive's y is up: x, y, z become x, -z, y.
    let wrist: Vec<_> = samples(&items, 0).into_iter().map(pose).collect();
    assert_eq!(
        wrist,
        [([3.0, -0.5, 0.25], true), ([3.5, -0.5, 0.25], true)]
    );
    let head: Vec<_> = samples(&items, 1).into_iter().map(pose).collect();
    assert!(!head[0].1 && head[1] == ([4.0, -0.5, 0.25], true));
    assert_eq!(pose(samples(&items, 2)[0]).0[0], 7.0);
    // The packet is kept once.
    let raw = |of| {
        samples(&items, of)
            .iter()
            .filter(|s| s.raw.is_some())
            .count()
    };
    assert_eq!((raw(0), raw(1), raw(2)), (2, 0, 0));
    let sample = samples(&items, 0)[1];
    assert_eq!(sample.device.expect("dated").nanos(), 1_004_000_000);
    let about = |of: usize, key: &str| {
        items.iter().find_map(|(stream, item)| match item {
            Item::About(about) if *stream == of => {
                about.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone())
            }
            _ => None,
        })
    };
    assert_eq!(about(1, "streaming_id").as_deref(), Some("4"));
    assert_eq!(about(2, "rigid_body").as_deref(), Some("bench"));
}

#[test]
fn a_source_that_does_not_exist_is_refused_with_those_that_do() {
    let server = Server::start(models(&[(3, "wrist"), (4, "head")]));
    let refused = |stream: &str, source: Option<&str>| match open(&[server.device(stream, source)])
    {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    };
    let error = refused("/tracker/elbow/pose", None);
    assert!(
        error.contains("`elbow`") && error.contains("wrist (3), head (4)"),
        "{error}"
    );
    let error = refused("/mocap/face/markers", None);
    assert!(
        error.contains("`face`") && error.contains("hand"),
        "{error}"
    );
    let mut odd = server.device("/tracker/wrist/pose", None);
    odd.options
        .insert("axis".to_owned(), toml::Value::Boolean(true));
    let error = open(&[odd]).err().expect("refused").to_string();
    assert!(
        error.contains("`axis`") && error.contains("axes, interface"),
        "{error}"
    );
}

#[test]
fn marker_sets_have_their_labels_and_hidden_markers_no_place() {
    let server = Server::start(models(&[(3, "wrist")]));
    let devices = [
        server.device("/mocap/hand/markers", None),
        server.device("/tracker/wrist/pose", None),
    ];
    let mut source = open(&devices).expect("open");
    server.send(&encode_frame(
        &Frame {
            number: 1,
            marker_sets: vec![MarkerSet {
                name: "hand".to_owned(),
                points_m: vec![[1.0, 2.0, 3.0], [0.0; 3], [9999.0, 9999.0, 9999.0]],
            }],
            mid_exposure_ticks: 1,
            transmit_ticks: 2,
            ..Frame::default()
        },
        VERSION,
    ));
    let items = read(&mut source, |items| !samples(items, 0).is_empty());
    let Data::Markers { points_m } = &samples(&items, 0)[0].data else {
        panic!("markers");
    };
    assert_eq!(points_m[0], [1.0, -3.0, 2.0]);
    assert!(points_m[1..].iter().flatten().all(|v| v.is_nan()));
    assert_eq!(
        count(&items, 1, "absent"),
        1,
        "the body is not in this frame"
    );
    let labels = items.iter().any(|(stream, item)| {
        *stream == 0
            && matches!(item, Item::About(about) if about.contains(&("labels".to_owned(), "tip, base".to_owned())))
    });
    assert!(labels);
}

#[test]
fn what_is_missing_late_repeated_or_damaged_is_counted_apart() {
    let server = Server::start(models(&[(3, "wrist")]));
    let mut source = open(&[server.device("/tracker/wrist/pose", None)]).expect("open");
    let frame = |number: i32| server.frame(number, f64::from(number) * 0.01, &[at(3, 1.0)]);
    [1, 2, 5, 4, 5, 6].into_iter().for_each(frame);
    server.send(&[7, 0, 200, 0, 1]); // cut short; stands for 7
    server.send(&[0x33, 0x99, 0, 0]); // nobody's message
    frame(9);
    // The server is started anew, and its clock goes on.
    server.frame(0, 1.0, &[at(3, 1.0)]);
    server.frame(1, 1.01, &[at(3, 1.0)]);
    let items = read(&mut source, |items| samples(items, 0).len() == 7);
    let numbers: Vec<u64> = samples(&items, 0).iter().map(|s| s.sequence).collect();
    assert_eq!(numbers, [1, 2, 5, 6, 9, 0, 1]);
    assert_eq!(
        count(&items, 0, "missing"),
        2,
        "3 and 4; 7 and 8 were unreadable"
    );
    assert_eq!(count(&items, 0, "late"), 1);
    assert_eq!(count(&items, 0, "repeated"), 1);
    assert_eq!(count(&items, 0, "corrupt"), 2);
    assert!(
        items
            .iter()
            .any(|(_, item)| matches!(item, Item::Note { .. }))
    );
}

#[test]
fn echoes_are_matched_to_their_questions() {
    let server = Server::start(models(&[(3, "wrist")]));
    let devices = [
        server.device("/tracker/wrist/pose", None),
        server.device("/mocap/hand/markers", None),
    ];
    let mut source = open(&devices).expect("open");
    let echoes = |items: &[(usize, Item)], of: usize| {
        items
            .iter()
            .filter(|(stream, item)| *stream == of && matches!(item, Item::Echo { .. }))
            .count()
    };
    let items = read(&mut source, |items| echoes(items, 1) == 3);
    assert_eq!(echoes(&items, 0), 3, "every stream has its own clock");
    for (_, item) in &items {
        if let Item::Echo {
            sent,
            device,
            received,
        } = item
        {
            assert!(sent < received);
            assert_eq!(device.nanos(), 7_000_000_000, "not the wrong answer's");
        }
    }
}

#[test]
fn a_changed_list_of_models_is_asked_for_and_followed() {
    let server = Server::start(models(&[(3, "wrist")]));
    let mut source = open(&[server.device("/tracker/wrist/pose", Some("wrist"))]).expect("open");
    server.state.lock().expect("state").models = models(&[(8, "wrist"), (3, "cup")]);
    let changed = Frame {
        number: 1,
        bodies: vec![],
        mid_exposure_ticks: 1,
        transmit_ticks: 2,
        models_changed: true,
        ..Frame::default()
    };
    server.send(&encode_frame(&changed, VERSION));
    read(&mut source, |items| {
        items.iter().any(|(_, item)| {
            matches!(item, Item::About(about) if about.contains(&("streaming_id".to_owned(), "8".to_owned())))
        })
    });
    server.frame(2, 1.0, &[at(3, 1.0), at(8, 2.0)]);
    let items = read(&mut source, |items| !samples(items, 0).is_empty());
    assert_eq!(pose(samples(&items, 0)[0]).0[0], 2.0);
}

#[test]
fn a_server_without_a_list_is_taken_by_ids() {
    let server = Server::start(None);
    let mut source = open(&[server.device("/tracker/wrist/pose", Some("4"))]).expect("open");
    server.frame(1, 1.0, &[at(3, 3.0), at(4, 4.0)]);
    let items = read(&mut source, |items| !samples(items, 0).is_empty());
    assert_eq!(pose(samples(&items, 0)[0]).0[0], 4.0);
    let error = open(&[server.device("/tracker/wrist/pose", Some("wrist"))])
        .err()
        .expect("a name cannot be found")
        .to_string();
    assert!(error.contains("streaming ID"), "{error}");
}

#[test]
fn a_server_with_other_settings_is_a_new_connection() {
    let server = Server::start(models(&[(3, "wrist")]));
    let mut source = open(&[server.device("/tracker/wrist/pose", None)]).expect("open");
    let info = {
        let mut state = server.state.lock().expect("state");
        state.info.tick_hz = 1_000;
        state.info.clone()
    };
    server.send(&encode_server_info(&info));
    let end = Instant::now() + Duration::from_secs(10);
    let mut output = Output::default();
    let error = loop {
        assert!(Instant::now() < end, "not within 10 s");
        if let Err(error) = source.read(&mut output) {
            break error.to_string();
        }
    };
    assert!(error.contains("changed its settings"), "{error}");
}

#[test]
fn an_old_server_is_refused() {
    let server = Server::start(models(&[]));
    server.state.lock().expect("state").info.natnet = [2, 9, 0, 0];
    let error = open(&[server.device("/tracker/wrist/pose", None)])
        .err()
        .expect("refused")
        .to_string();
    assert!(error.contains("NatNet 2.9"), "{error}");
}
