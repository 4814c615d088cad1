//! Sockets, sequences, echoes, units.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use dexumi_episode::Device;

use crate::driver::{Data, Item, Output, Sample, Source, driver_of};

fn device(driver: &str, stream: &str, port: u16, options: &str) -> Device {
    Device {
        options: toml::from_str(options).expect("options"),
        ..Device::new(stream, driver, &format!("127.0.0.1:{port}"))
    }
}

/// A port that was free a moment ago.
pub fn port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
    socket.local_addr().expect("address").port()
}

pub struct Connection {
    source: Box<dyn Source>,
    sender: UdpSocket,
    pub out: Output,
}

impl Connection {
    /// Opens streams; `{port}` is put into their addresses.
    pub fn open(driver: &str, streams: &[&str], options: &str) -> Self {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let port = port();
            let devices: Vec<Device> = streams
                .iter()
                .map(|stream| device(driver, stream, port, options))
                .collect();
            let driver = driver_of(&devices[0]).expect("a driver");
            // Another test may have taken the port.
            let Ok(source) = (driver.open)(&devices) else {
                assert!(Instant::now() < end, "no port to be had");
                continue;
            };
            let sender = UdpSocket::bind("127.0.0.1:0").expect("socket");
            sender.connect(("127.0.0.1", port)).expect("connect");
            return Self {
                source,
                sender,
                out: Output::default(),
            };
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.sender.peer_addr().expect("connected").port()
    }

    fn send(&self, packet: impl AsRef<[u8]>) {
        self.sender.send(packet.as_ref()).expect("sent");
    }

    pub fn read_until(&mut self, enough: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !enough(self) {
            assert!(
                Instant::now() < end,
                "not within 10 s: {:?}",
                self.out.items
            );
            self.source.read(&mut self.out).expect("open");
        }
    }

    pub fn samples(&self, of: usize) -> Vec<&Sample> {
        let samples = self
            .out
            .items
            .iter()
            .filter_map(|(stream, item)| match item {
                Item::Sample(sample) if *stream == of => Some(sample),
                _ => None,
            });
        samples.collect()
    }

    pub fn count(&self, of: usize, what: &str) -> u64 {
        let counts = self.out.items.iter().map(|(stream, item)| match item {
            Item::Lost { kind, count, .. } if *stream == of && *kind == what => *count,
            Item::Missing { count, .. } if *stream == of && what == "missing" => *count,
            _ => 0,
        });
        counts.sum()
    }

    pub fn notes(&self) -> Vec<&str> {
        let notes = self.out.items.iter().filter_map(|(_, item)| match item {
            Item::Note { text, .. } => Some(text.as_str()),
            _ => None,
        });
        notes.collect()
    }
}

fn pose(name: &str, sequence: i64, t_s: f64) -> String {
    format!(
        "{{\"stream\":\"{name}\",\"seq\":{sequence},\"t\":{t_s},\
         \"pose\":{{\"p\":[1,2,3],\"q\":[0,0,0,1]}}}}"
    )
}

#[test]
fn packets_reach_the_stream_that_they_name() {
    let mut connection = Connection::open(
        "udp_json",
        &["/tracker/wrist/pose", "/tracker/head/pose", "/imu/head"],
        "",
    );
    connection.send(pose("/tracker/head/pose", 4, 1.0));
    connection.send(pose("wrist", 9, 1.0));
    connection.send(r#"{"stream":"head","seq":1,"imu":{"a":[0,0,9.8],"w":[1,2,3]}}"#);
    connection.send(pose("elbow", 1, 1.0));
    connection.send(r#"{"stream":"wrist","imu":{"a":[0,0,9.8],"w":[1,2,3]}}"#);
    connection.send("not this");
    connection.send(pose("head", 5, 1.0));
    connection.read_until(|c| c.samples(1).len() == 2);
    assert_eq!(connection.samples(0)[0].sequence, 9);
    assert_eq!(
        connection.samples(0)[0].device.expect("a time").nanos(),
        1_000_000_000
    );
    assert!(connection.samples(0)[0].raw.is_some());
    assert!(matches!(connection.samples(2)[0].data, Data::Imu { .. }));
    assert_eq!(connection.count(0, "wrong_kind"), 1);
    assert_eq!(connection.count(0, "unreadable"), 1);
    let notes = connection.notes();
    let said = |part: &str| notes.iter().any(|note| note.contains(part));
    assert!(
        said("`elbow`") && said("cannot be read") && said("something else"),
        "{notes:?}"
    );
    assert!(
        said("`head` has no source time: it is dated by arrival"),
        "{notes:?}"
    );
}

#[test]
fn missing_repeated_and_late_packets_are_counted() {
    let mut connection = Connection::open("udp_json", &["/tracker/wrist/pose"], "");
    for sequence in [10, 11, 14, 13, 14, 15] {
        connection.send(pose("wrist", sequence, sequence as f64 * 0.01));
    }
    connection.send(r#"{"stream":"wrist","seq":16,"t":0.16,"pose":{"p":[1,2,3],"q":[0,0,0,2]}}"#);
    connection.send(pose("wrist", 17, 0.17));
    // A sender that is started anew, with the clock of its computer.
    connection.send(pose("wrist", 0, 5.0));
    connection.send(pose("wrist", 1, 5.01));
    connection.read_until(|c| c.samples(0).len() == 7);
    let numbers: Vec<u64> = connection.samples(0).iter().map(|s| s.sequence).collect();
    assert_eq!(numbers, [10, 11, 14, 15, 17, 0, 1]);
    let counts = ["missing", "late", "repeated", "corrupt"].map(|what| connection.count(0, what));
    assert_eq!(counts, [2, 1, 1, 1]);
}

#[test]
fn units_axes_and_quaternions_become_ours() {
    let options = "axes = \"unity\"\nunit = \"mm\"\nquaternion = \"wxyz\"";
    let mut connection = Connection::open(
        "udp_json",
        &["/tracker/a/pose", "/mocap/b/markers"],
        options,
    );
    connection.send(r#"{"stream":"a","pose":{"p":[1000,2000,3000],"q":[0.8,0.6,0,0],"error":2}}"#);
    connection.send(r#"{"stream":"b","markers":{"points":[[0,0,500],null]}}"#);
    connection.read_until(|c| c.samples(1).len() == 1);
    let Data::Pose {
        position_m,
        rotation_xyzw,
        mean_error_m,
        ..
    } = connection.samples(0)[0].data
    else {
        panic!("a pose");
    };
    assert_eq!(position_m, [3.0, -1.0, 2.0]);
    // About their x, to the right, which is our −y; a mirror turns the sense.
    assert_eq!(rotation_xyzw, [0.0, 0.6, 0.0, 0.8]);
    assert_eq!(mean_error_m, 0.002);
    let Data::Markers { points_m } = &connection.samples(1)[0].data else {
        panic!("markers");
    };
    assert_eq!(points_m[0], [0.5, 0.0, 0.0]);
    assert!(points_m[1].iter().all(|v| v.is_nan()));
}

#[test]
fn osc_of_any_program_is_read_by_the_stream_s_kind() {
    let streams = [
        "/tracker/wrist/pose",
        "/glove/right/keypoints",
        "/exo/right/force/thumb",
    ];
    let mut connection = Connection::open("osc", &streams, "");
    let send = |addr: &str, args: Vec<rosc::OscType>| {
        let addr = addr.to_owned();
        let packet = rosc::OscPacket::Message(rosc::OscMessage { addr, args });
        connection.send(rosc::encoder::encode(&packet).expect("encodable"));
    };
    use rosc::OscType::{Bool, Float, Int, Long};
    let numbers = |count: usize| {
        (0..count)
            .map(|i| Float(i as f32 * 0.1))
            .collect::<Vec<_>>()
    };
    let q = [0.0, 0.0, 0.0, 1.0].map(Float);
    let wrist = [Long(5)]
        .into_iter()
        .chain(numbers(3))
        .chain(q)
        .chain([Bool(false)]);
    send("/dexumi/wrist/pose", wrist.collect());
    send("/dexumi/right/keypoints", numbers(63));
    send("/dexumi/right/keypoints", numbers(62));
    send("/dexumi/right_thumb/force", vec![Int(1), Int(-2), Int(200)]);
    connection.read_until(|c| c.samples(2).len() == 1);
    assert!(matches!(
        connection.samples(0)[0].data,
        Data::Pose { valid: false, .. }
    ));
    assert_eq!(connection.samples(0)[0].sequence, 5);
    assert_eq!(connection.samples(1).len(), 1);
    assert_eq!(connection.count(1, "corrupt"), 1, "62 numbers are no hand");
    assert!(matches!(
        connection.samples(2)[0].data,
        Data::Force {
            counts: [1, -2, 200],
            ..
        }
    ));
}

#[test]
fn a_quest_s_hands_and_head_come_right_handed() {
    let streams = [
        "/tracker/right/pose",
        "/glove/right/keypoints",
        "/tracker/head/pose",
    ];
    let mut connection = Connection::open("hts", &streams, "");
    let points = vec!["0.1, 0.2, 0.3"; 21].join(", ");
    connection.send(format!(
        "Right wrist:, 0.1, 1.2, 0.3, 0, 0, 0, 1\nRight landmarks:, {points}\n"
    ));
    connection.send("Head pose:, 0, 1.7, 0, 0, 0, 0, 1");
    connection.read_until(|c| c.samples(2).len() == 1);
    let Data::Pose { position_m, .. } = connection.samples(0)[0].data else {
        panic!("a pose");
    };
    assert_eq!(position_m, [0.3, -0.1, 1.2], "forward, left, up");
    let Data::Keypoints { points_m, .. } = &connection.samples(1)[0].data else {
        panic!("keypoints");
    };
    assert_eq!(points_m[20], [0.3, -0.1, 0.2]);
    assert!(matches!(
        connection.samples(2)[0].data,
        Data::Pose {
            position_m: [0.0, _, 1.7],
            ..
        }
    ));
}

#[test]
fn a_sender_that_answers_is_asked_for_its_time_and_one_that_does_not_is_left_alone() {
    let mut connection = Connection::open("udp_json", &["/tracker/wrist/pose"], "");
    connection.send(pose("wrist", 1, 100.0));
    connection.read_until(|c| c.samples(0).len() == 1);
    connection
        .sender
        .set_nonblocking(true)
        .expect("nonblocking");
    let mut buffer = [0; 200];
    let (end, mut asked) = (Instant::now() + Duration::from_secs(10), 0);
    while asked < 2 {
        assert!(Instant::now() < end, "not asked");
        connection.source.read(&mut connection.out).expect("open");
        if let Ok(count) = connection.sender.recv(&mut buffer) {
            let question: serde_json::Value =
                serde_json::from_slice(&buffer[..count]).expect("JSON");
            let number = question["echo"].as_u64().expect("a number");
            if asked == 0 {
                connection.send(format!("{{\"echo\":{},\"t\":1}}", number + 1));
                connection.send(format!("{{\"echo\":{number},\"t\":123.5}}"));
            }
            asked += 1;
        }
    }
    let echoes: Vec<&Item> = connection
        .out
        .items
        .iter()
        .map(|(_, item)| item)
        .filter(|item| matches!(item, Item::Echo { .. }))
        .collect();
    let [
        Item::Echo {
            sent,
            device,
            received,
        },
    ] = echoes[..]
    else {
        panic!("one answer: {echoes:?}");
    };
    assert!(sent < received && device.nanos() == 123_500_000_000);
}

#[test]
fn only_the_sender_of_the_rig_is_listened_to() {
    let mut other = Connection::open("udp_json", &["/tracker/wrist/pose"], "from = \"10.9.8.7\"");
    let mut this = Connection::open("udp_json", &["/tracker/wrist/pose"], "from = \"127.0.0.1\"");
    for connection in [&mut other, &mut this] {
        connection.send(pose("wrist", 1, 1.0));
    }
    this.read_until(|c| c.samples(0).len() == 1);
    for _ in 0..3 {
        other.source.read(&mut other.out).expect("open");
    }
    assert!(other.out.items.is_empty(), "{:?}", other.out.items);
}

#[test]
fn a_multicast_group_is_joined() {
    let group = format!("239.255.43.{}:{}", port() % 200 + 1, port());
    let device = Device {
        options: toml::from_str("interface = \"127.0.0.1\"").expect("options"),
        ..Device::new("/tracker/wrist/pose", "udp_json", &group)
    };
    let open = driver_of(&device).expect("a driver").open;
    let devices = [device];
    // Two programs of one computer.
    let sources = [open(&devices).expect("open"), open(&devices).expect("open")];
    let sender = UdpSocket::bind("127.0.0.1:0").expect("socket");
    let loopback = std::net::Ipv4Addr::LOCALHOST;
    socket2::SockRef::from(&sender)
        .set_multicast_if_v4(&loopback)
        .expect("interface");
    sender
        .send_to(pose("wrist", 1, 1.0).as_bytes(), &group)
        .expect("sent");
    for mut source in sources {
        let mut out = Output::default();
        let end = Instant::now() + Duration::from_secs(10);
        while !out
            .items
            .iter()
            .any(|(_, item)| matches!(item, Item::Sample(_)))
        {
            assert!(Instant::now() < end, "nothing came");
            source.read(&mut out).expect("open");
        }
    }
}
