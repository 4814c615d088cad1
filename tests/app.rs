//! The window, and that its death does not end an episode.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use dexumi::control::{Client, Heard, Order, Published};
use dexumi_capture::RecorderState;

use crate::program::{Rig, dexumi, run_well, text};

/// An X server without a screen, ended when dropped.
struct Display {
    server: Child,
    name: String,
}

impl Display {
    fn start() -> Option<Self> {
        let mut server = Command::new("Xvfb")
            .args([
                "-displayfd",
                "1",
                "-screen",
                "0",
                "1280x800x24",
                "-nolisten",
                "tcp",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let out = server.stdout.take()?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).ok()?;
        Some(Self {
            server,
            name: format!(":{}", line.trim()),
        })
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn wait_for(client: &mut Client, what: &str, wanted: impl Fn(&Published) -> bool) -> Published {
    let began = Instant::now();
    loop {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{what} did not come"
        );
        if let Heard::Published(published) = client.hear().expect("the recorder is gone")
            && wanted(&published)
        {
            return *published;
        }
    }
}

fn connect(socket: &Path) -> Client {
    let began = Instant::now();
    loop {
        match Client::connect(socket) {
            Ok(client) => return client,
            Err(error) => {
                assert!(
                    began.elapsed() < Duration::from_secs(30),
                    "no recorder listens: {error}"
                );
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

#[test]
fn a_recorder_obeys_its_socket_and_shows_its_images() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(folder.path(), &["--fault", "none"]);
    let (session, socket) = (
        folder.path().join("session"),
        folder.path().join("control.sock"),
    );
    let mut recorder = dexumi()
        .args([
            "record",
            "--rig",
            text(&rig.rig),
            "--out",
            text(&session),
            "--control",
            text(&socket),
        ])
        .stderr(Stdio::null())
        .spawn()
        .expect("the recorder");
    let mut client = connect(&socket);
    wait_for(&mut client, "idle", |p| {
        p.status.state == RecorderState::Idle && p.status.streams.len() == 7
    });
    client
        .send(&Order::Start {
            task: "stack the cups".to_owned(),
        })
        .expect("sent");
    let running = wait_for(&mut client, "recording", |p| {
        p.status.state == RecorderState::Recording
    });
    assert_eq!(running.task, "stack the cups");
    let image = std::iter::repeat_with(|| client.hear().expect("heard"))
        .find_map(|heard| match heard {
            Heard::Image { topic, jpeg } => Some((topic, jpeg)),
            Heard::Published(_) => None,
        })
        .expect("an image");
    assert!(image.0.starts_with("/camera/") && image.1.starts_with(&[0xFF, 0xD8]));
    // A second client may come and go.
    drop(connect(&socket));
    std::thread::sleep(Duration::from_millis(700));
    client.send(&Order::Stop).expect("sent");
    let done = wait_for(&mut client, "a finished episode", |p| p.finished.len() == 1);
    assert!(done.finished[0].written > 200, "{:?}", done.finished);
    client
        .send(&Order::Start {
            task: String::new(),
        })
        .expect("sent");
    wait_for(&mut client, "recording", |p| {
        p.status.state == RecorderState::Recording
    });
    client.send(&Order::Discard).expect("sent");
    wait_for(&mut client, "idle", |p| {
        p.status.state == RecorderState::Idle
    });
    client.send(&Order::Quit).expect("sent");
    // 3: a busy machine may cost the emulator an image.
    assert!(matches!(
        recorder.wait().expect("a child").code(),
        Some(0 | 3)
    ));
    run_well(&["info", text(&session), "--json"], &[0, 3]);
    assert!(
        !session.join("episode_0001.mcap").exists(),
        "a discarded episode is still there"
    );
}

#[test]
fn the_window_may_die_and_the_episode_goes_on() {
    let Some(display) = Display::start() else {
        eprintln!("skipped: Xvfb is absent");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(folder.path(), &["--fault", "none"]);
    let session = folder.path().join("session");
    let runtime = folder.path().join("run");
    std::fs::create_dir(&runtime).expect("a folder");
    let mut window = dexumi()
        .args([
            "app",
            "--rig",
            text(&rig.rig),
            "--out",
            text(&session),
            "--task",
            "t",
        ])
        .env("DISPLAY", &display.name)
        .env("XDG_RUNTIME_DIR", &runtime)
        .env("LIBGL_ALWAYS_SOFTWARE", "1")
        .env_remove("WAYLAND_DISPLAY")
        .stderr(Stdio::null())
        .spawn()
        .expect("the window");
    let began = Instant::now();
    let socket = loop {
        let found = std::fs::read_dir(&runtime)
            .expect("a folder")
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "sock")
            });
        if let Some(socket) = found {
            break socket;
        }
        assert!(
            window.try_wait().expect("a child").is_none(),
            "the window closed by itself"
        );
        assert!(
            began.elapsed() < Duration::from_secs(40),
            "the window started no recorder"
        );
        std::thread::sleep(Duration::from_millis(50));
    };
    let mut client = connect(&socket);
    client
        .send(&Order::Start {
            task: String::new(),
        })
        .expect("sent");
    wait_for(&mut client, "recording", |p| {
        p.status.state == RecorderState::Recording
    });
    window.kill().expect("a child");
    window.wait().expect("a child");
    std::thread::sleep(Duration::from_millis(800));
    let going_on = wait_for(&mut client, "still recording", |p| p.status.elapsed_s > 0.7);
    assert_eq!(going_on.status.state, RecorderState::Recording);
    client.send(&Order::Stop).expect("sent");
    wait_for(&mut client, "a finished episode", |p| p.finished.len() == 1);
    client.send(&Order::Quit).expect("sent");
    let began = Instant::now();
    while socket.exists() {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "the recorder did not end"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    run_well(&["info", text(&session)], &[0, 3]);
}
