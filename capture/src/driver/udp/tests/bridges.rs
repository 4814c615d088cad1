//! The bridges that need no device, as programs of their own.

use std::{
    io::Write,
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::source::{Connection, port};
use crate::driver::{Data, Item};

/// Ends with its test.
struct Bridge(Child);

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a bridge, or says why not.
fn start(name: &str, arguments: &[String]) -> Option<Bridge> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../bridges")
        .join(name);
    let started = Command::new("python3")
        .arg("-B")
        .arg(script)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn();
    match started {
        Ok(child) => Some(Bridge(child)),
        Err(error) => {
            eprintln!("skipped: there is no python3 to run bridges/{name} ({error})");
            None
        }
    }
}

#[test]
fn lines_of_text_become_poses_and_their_clock_is_asked_for() {
    let mut connection = Connection::open(
        "udp_json",
        &["/tracker/wrist/pose", "/tracker/head/pose"],
        "",
    );
    let port = connection.port().to_string();
    let arguments = ["--port", &port, "--clock", "monotonic"].map(str::to_owned);
    let Some(mut bridge) = start("udp_sender.py", &arguments) else {
        return;
    };
    let mut lines = bridge.0.stdin.take().expect("its input");
    writeln!(lines, "wrist 1.25 0.1 0.2 0.3 0 0 0 1").expect("written");
    writeln!(lines, "nonsense").expect("written");
    writeln!(lines, "wrist 1.5 0.1 0.2 0.4 0 0 0 1").expect("written");
    writeln!(lines, "head - 0 0 1.7 0 0 0 1").expect("written");
    lines.flush().expect("flushed");
    let is_echo = |item: &Item| matches!(item, Item::Echo { .. });
    connection.read_until(|c| {
        c.samples(1).len() == 1 && c.out.items.iter().any(|(_, item)| is_echo(item))
    });
    let wrist = connection.samples(0);
    assert_eq!(wrist.len(), 2);
    assert_eq!(wrist[1].device.expect("a time").nanos(), 1_500_000_000);
    assert_eq!(wrist[1].sequence, 1);
    assert!(matches!(
        wrist[1].data,
        Data::Pose {
            position_m: [0.1, 0.2, 0.4],
            valid: true,
            ..
        }
    ));
    assert!(connection.samples(1)[0].device.is_none());
    for (_, item) in &connection.out.items {
        if let Item::Echo {
            sent,
            device,
            received,
        } = item
        {
            // Its clock is ours.
            let at = device.nanos();
            assert!((sent.nanos() - 1_000..=received.nanos() + 1_000).contains(&at));
        }
    }
}

#[test]
fn a_quest_on_a_cable_is_passed_on() {
    let mut connection = Connection::open("hts", &["/tracker/right/pose"], "");
    let listen = port();
    let arguments = [
        "--listen",
        &listen.to_string(),
        "--port",
        &connection.port().to_string(),
    ];
    let Some(_bridge) = start("hts_tcp_to_udp.py", &arguments.map(str::to_owned)) else {
        return;
    };
    let end = Instant::now() + Duration::from_secs(20);
    let mut app = loop {
        match TcpStream::connect(("127.0.0.1", listen)) {
            Ok(app) => break app,
            Err(error) => assert!(Instant::now() < end, "the bridge does not listen: {error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    app.write_all(b"Right wrist:, 0.1, 1.2, 0.3, 0, 0, 0, 1\nRight wri")
        .expect("written");
    app.write_all(b"st:, 0.1, 1.2, 0.4, 0, 0, 0, 1\n")
        .expect("written");
    connection.read_until(|c| c.samples(0).len() == 2);
    assert!(matches!(
        connection.samples(0)[1].data,
        Data::Pose {
            position_m: [0.4, -0.1, 1.2],
            ..
        }
    ));
}
