//! The recorder from afar: orders over HTTP, the live view over WebSocket, and
//! who is let in.

mod wire;

use std::{
    io::Read,
    net::TcpStream,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dexumi_episode::{
    Calibration, Episode, JointCalibration, JointMap,
    schema::{
        CompressedImage, Event, Force, FrameTransforms, Health, JointStates, Joints, PoseInFrame,
    },
};

use crate::program::{Rig, dexumi, run_well, text};
use wire::{Recorder, Viewer, get, post, send};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const DOORS: [&str; 4] = ["--http", "127.0.0.1:0", "--live", "127.0.0.1:0"];

#[test]
fn orders_over_http_are_answered_with_what_happened() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(folder.path(), &["--fault", "none"]);
    let arguments = [&DOORS[..], &["--task", "fold", "--episodes", "2"]].concat();
    let mut recorder = Recorder::start(folder.path(), &rig.rig, None, &arguments);
    let http = recorder.http.clone();
    // Says nothing at all: it is left alone, and thrown out after a while.
    let mut silent = TcpStream::connect(&http).expect("a connection");

    let help = get(&http, "/");
    assert_eq!(help.status, 200);
    assert!(help.text().contains("/toggle") && help.text().contains(&http));
    let status = get(&http, "/status").json();
    assert_eq!(status["status"]["state"], "idle");
    assert_eq!(status["task"], "fold");
    let streams = status["status"]["streams"].as_array().expect("streams");
    assert!(streams.len() == 7 && streams.iter().all(|s| s["clock"].is_string()));
    for path in ["/stop", "/discard", "/mark"] {
        let refused = post(&http, path, "");
        assert_eq!(refused.status, 409, "{path}");
        let reason = refused.json()["error"].to_string();
        assert!(reason.contains("no episode is being recorded"), "{reason}");
    }

    let started = post(&http, "/start", r#"{"task": "stack the cups"}"#);
    assert_eq!(started.status, 200);
    let started = started.json();
    assert_eq!(started["done"], "started");
    assert_eq!(started["number"], 0);
    assert_eq!(started["task"], "stack the cups");
    let path = started["path"].as_str().expect("a path").to_owned();
    assert!(Path::new(&path).is_absolute());
    assert_eq!(recorder.state(), "recording");
    let again = post(&http, "/start", r#"{"task": "something else"}"#);
    assert_eq!(again.status, 409);
    assert!(again.text().contains("stop it first"));
    let status = get(&http, "/status").json();
    assert_eq!(status["task"], "stack the cups");
    assert_eq!(status["number"], 0);
    let marked = post(&http, "/mark", r#"{"text": "grasp"}"#);
    assert_eq!(
        (marked.status, &marked.json()["text"]),
        (200, &"grasp".into())
    );
    std::thread::sleep(Duration::from_millis(800));
    let stopped = post(&http, "/stop", "");
    assert_eq!(stopped.status, 200, "{}", stopped.text());
    let stopped = stopped.json();
    assert_eq!(stopped["done"], "stopped");
    assert_eq!(stopped["path"], path.as_str());
    let episode = Episode::open(Path::new(&path)).expect("complete once it is answered");
    assert_eq!(episode.info.task, "stack the cups");
    for (stream, ledger) in &episode.ledger {
        assert_eq!(stopped["ledger"][stream]["written"], ledger.written);
    }
    let events = episode.file.read::<Event>("/events").expect("events");
    let told: Vec<_> = events.iter().map(|(_, e)| (&*e.kind, &*e.text)).collect();
    let expected = [("start", "stack the cups"), ("mark", "grasp"), ("stop", "")];
    assert_eq!(told, expected);

    let toggled = post(&http, "/toggle", "").json();
    assert_eq!(
        (&toggled["done"], &toggled["number"]),
        (&"started".into(), &1.into())
    );
    // The task stands until another is given.
    assert_eq!(toggled["task"], "stack the cups");
    let discarded = post(&http, "/discard", "").json();
    assert_eq!(
        (&discarded["done"], &discarded["number"]),
        (&"discarded".into(), &1.into())
    );
    assert!(!recorder.session.join("episode_0001.mcap").exists());

    what_is_no_order_is_refused(&http);
    assert_eq!(recorder.state(), "idle");
    let mut byte = [0];
    silent
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    assert!(
        matches!(silent.read(&mut byte), Ok(0)),
        "an idle guest is still there"
    );

    // The second of two episodes: its answer comes, then the program ends.
    assert_eq!(post(&http, "/toggle", "").status, 200);
    std::thread::sleep(Duration::from_millis(300));
    let last = post(&http, "/toggle", "").json();
    assert_eq!(
        (&last["done"], &last["number"]),
        (&"stopped".into(), &1.into())
    );
    // 3: a busy machine may cost the emulator an image.
    assert!(matches!(recorder.wait(), 0 | 3));
    run_well(&["info", text(&recorder.session)], &[0, 3]);
}

fn what_is_no_order_is_refused(http: &str) {
    let unknown = get(http, "/nothing");
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("POST /start"));
    let wrong = get(http, "/start");
    assert_eq!(wrong.status, 405);
    assert!(wrong.head.contains("allow: post"), "{}", wrong.head);
    assert_eq!(post(http, "/status", "").status, 405);
    let misspelt = post(http, "/start", r#"{"tsak": "x"}"#);
    assert_eq!(misspelt.status, 400);
    assert!(
        misspelt.text().contains("expected `task`"),
        "{}",
        misspelt.text()
    );
    assert_eq!(post(http, "/start", "task=x").status, 400);
    assert_eq!(post(http, "/stop", r#"{"task": "x"}"#).status, 400);
    let long = format!(r#"{{"task": "{}"}}"#, "x".repeat(70_000));
    assert_eq!(post(http, "/start", &long).status, 413);
    let long = "x".repeat(20_000);
    assert_eq!(
        send(http, "GET", "/status", &[("x-long", &long)], "").status,
        431
    );
    let image = get(http, "/preview/camera/wrist/image");
    assert!(image.status == 200 && image.body.starts_with(&[0xFF, 0xD8]));
    let absent = get(http, "/preview/camera/nose/image");
    assert_eq!(absent.status, 404);
    assert_eq!(absent.json()["topics"][1], "/camera/wrist/image");
}

#[test]
fn a_door_on_the_network_needs_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = folder.path().join("rig.toml");
    let device = "stream = \"/exo/right/encoders\"\ndriver = \"dexumi_xhand_encoders\"\naddress = \"/dev/null\"";
    let toml = format!("format = 1\nname = \"t\"\nhand = \"xhand_right\"\n[[device]]\n{device}\n");
    std::fs::write(&rig, toml).expect("a rig file");
    let session = folder.path().join("session");
    let token = folder.path().join("token");
    let refused = |arguments: &[&str], words: &[&str]| {
        let output = dexumi()
            .args(["record", "--rig", text(&rig), "--out", text(&session)])
            .args(arguments)
            .env_remove("DEXUMI_TOKEN")
            .output()
            .expect("the binary should start");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            matches!(output.status.code(), Some(1 | 2)),
            "{arguments:?}: {said}"
        );
        for word in words {
            assert!(said.contains(word), "`{word}` is not in: {said}");
        }
        assert!(!session.exists(), "{arguments:?} touched the session");
    };
    for door in ["--http", "--live"] {
        let words = [door, "0.0.0.0:0", "--token-file", "DEXUMI_TOKEN", "ssh -L"];
        refused(&[door, "0.0.0.0:0"], &words);
        refused(&[door, "[::]:0"], &[door, "token"]);
        refused(&[door, "everywhere"], &["IP:PORT"]);
    }
    let with_token = ["--http", "0.0.0.0:0", "--token-file", text(&token)];
    refused(&with_token, &["cannot read the token", "token"]);
    std::fs::write(&token, "guess me\n").expect("a token file");
    refused(&with_token, &["letters, digits", text(&token)]);
    std::fs::write(&token, "guessme\n").expect("a token file");
    refused(&with_token, &["7 characters", "at least 16"]);
    refused(&["--token-file", text(&token)], &["guards nothing"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    refused(
        &["--http", &address],
        &["cannot listen", &address, "in use"],
    );
}

#[test]
fn a_web_page_in_a_browser_here_neither_drives_nor_looks() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(folder.path(), &["--fault", "none"]);
    let mut recorder = Recorder::start(folder.path(), &rig.rig, None, &DOORS);
    let (http, live) = (recorder.http.clone(), recorder.live.clone());
    let page = |headers: &[(&str, &str)]| send(&http, "POST", "/start", headers, "").status;
    assert_eq!(page(&[("origin", "https://evil.example")]), 403);
    assert_eq!(page(&[("origin", "null")]), 403);
    assert_eq!(page(&[("sec-fetch-site", "cross-site")]), 403);
    // A name of theirs that was made to point here.
    assert_eq!(page(&[("host", "evil.example")]), 403);
    let rebound = send(&http, "GET", "/status", &[("host", "evil.example")], "");
    assert_eq!(rebound.status, 403);
    assert!(!rebound.text().contains("streams"));
    assert_eq!(recorder.state(), "idle");

    let look = |headers: &[(&str, &str)]| Viewer::connect(&live, "/", headers).map(drop);
    assert_eq!(look(&[("origin", "https://evil.example")]), Err(403));
    assert_eq!(look(&[("host", "evil.example")]), Err(403));
    assert_eq!(look(&[("origin", "https://app.foxglove.dev")]), Ok(()));
    assert_eq!(get(&live, "/").status, 426);
    assert_eq!(recorder.interrupt(), 0);
}

/// Joints that are the sensors, turn for turn: what is tested is the way to the viewer.
fn calibration(folder: &Path) -> (std::path::PathBuf, Vec<String>) {
    let names: Vec<String> = (0..12).map(|joint| format!("joint_{joint}")).collect();
    let joint = names.iter().enumerate().map(|(channel, name)| {
        JointMap::through(
            name,
            channel,
            vec![0.0, std::f64::consts::TAU],
            vec![0.0, 1.0],
        )
    });
    let joints = JointCalibration {
        hand: "xhand_right".to_owned(),
        created: "2025-01-01T00:00:00Z".to_owned(),
        method: "by definition".to_owned(),
        source: "none".to_owned(),
        joint: joint.collect(),
    };
    let mut calibration = Calibration::new();
    calibration.joints.insert("right".to_owned(), joints);
    let path = folder.join("joints.toml");
    calibration.save(&path).expect("a calibration file");
    (path, names)
}

#[test]
fn a_viewer_with_the_token_sees_what_comes_in_and_no_other_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(folder.path(), &["--fault", "none"]);
    let (joints, names) = calibration(folder.path());
    let everywhere = ["--http", "0.0.0.0:0", "--live", "0.0.0.0:0"];
    let arguments = [&everywhere[..], &["--calibration", text(&joints)]].concat();
    let mut recorder = Recorder::start(folder.path(), &rig.rig, Some(TOKEN), &arguments);
    let (http, live) = (recorder.http.clone(), recorder.live.clone());
    let bearer = format!("Bearer {TOKEN}");
    let known = [("authorization", &*bearer)];
    let wrong = [("authorization", "Bearer 0123456789abcdef0123456789abcdee")];

    let order = |headers: &[(&str, &str)]| send(&http, "POST", "/start", headers, "").status;
    assert_eq!((order(&[]), order(&wrong)), (401, 401));
    let refused = get(&http, "/");
    assert!(refused.status == 401 && refused.head.contains("www-authenticate: bearer"));
    assert_eq!(get(&http, &format!("/status?token={TOKEN}")).status, 200);

    let look = |path: &str, headers: &[(&str, &str)]| Viewer::connect(&live, path, headers);
    for (path, headers) in [
        ("/", &[][..]),
        ("/", &wrong),
        ("/?token=x", &[]),
        ("/?token=", &[]),
    ] {
        assert_eq!(look(path, headers).map(drop), Err(401), "{path}");
    }
    assert!(look("/", &known).is_ok());
    // A page of any origin that knows the token.
    let path = format!("/?token={TOKEN}");
    let mut viewer = look(&path, &[("origin", "https://viewer.example")]).expect("let in");
    assert!(
        viewer.info["name"]
            .as_str()
            .expect("a name")
            .starts_with("dexumi")
    );
    for (topic, schema) in [
        ("/tf", "foxglove.FrameTransforms"),
        ("/log", "foxglove.Log"),
        ("/events", "dexumi.Event"),
        ("/recorder", "dexumi.Recorder"),
    ] {
        assert_eq!(viewer.channel(topic)["schemaName"], schema);
    }

    // While no episode runs.
    viewer.subscribe(&[
        "/exo/right/joints",
        "/exo/right/joints_flat",
        "/camera/wrist/image",
        "/exo/right/force/thumb",
        "/tracker/wrist/pose",
        "/tf",
        "/health",
        "/events",
        "/recorder",
    ]);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let states: JointStates = viewer.next("/exo/right/joints");
        let told: Vec<_> = states
            .joints
            .iter()
            .map(|joint| joint.name.clone())
            .collect();
        assert_eq!(told, names);
        seen.push(
            states
                .joints
                .iter()
                .map(|j| j.position())
                .collect::<Vec<_>>(),
        );
    }
    assert!(
        seen.iter()
            .flatten()
            .all(|angle| (0.0..=1.0).contains(angle))
    );
    assert!(seen[0] != seen[2], "the hand does not move");
    let flat: Joints = viewer.next("/exo/right/joints_flat");
    let stamp = flat.stamp.expect("a stamp");
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("now");
    let age_s = since_1970.as_secs_f64() - stamp.timestamp_ns as f64 * 1e-9;
    assert!((-1.0..30.0).contains(&age_s), "{age_s} s old");
    let image: CompressedImage = viewer.next("/camera/wrist/image");
    assert_eq!((&*image.frame_id, &*image.format), ("camera/wrist", "jpeg"));
    assert!(image.data.starts_with(&[0xFF, 0xD8]) && image.data.ends_with(&[0xFF, 0xD9]));
    viewer.next::<Force>("/exo/right/force/thumb");
    let pose: PoseInFrame = viewer.next("/tracker/wrist/pose");
    assert_eq!(pose.frame_id, "world");
    let moved = std::iter::repeat_with(|| viewer.next::<FrameTransforms>("/tf"))
        .flat_map(|message| message.transforms)
        .find(|transform| transform.child_frame_id == "tracker/wrist");
    assert!(moved.is_some_and(|transform| transform.parent_frame_id == "world"));
    let health: Health = viewer.next("/health");
    assert!(health.streams.len() == 7 && health.streams.iter().all(|s| s.rate_hz > 1.0));

    // And what happens then.
    assert_eq!(order(&known), 200);
    let event: Event = viewer.next("/events");
    assert_eq!(event.kind, "start");
    let recording = std::iter::repeat_with(|| viewer.next_bytes("/recorder").1)
        .map(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).expect("JSON"))
        .find(|told| told["state"] == "recording");
    assert!(recording.is_some_and(|told| told["episode"].is_string()));
    assert!(matches!(recorder.interrupt(), 0 | 3));
}

#[test]
fn viewers_that_do_not_read_cost_the_episode_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(folder.path(), &["--fault", "none"]);
    let mut recorder = Recorder::start(folder.path(), &rig.rig, None, &DOORS);
    let everything = || {
        let mut viewer = Viewer::connect(&recorder.live, "/", &[]).expect("let in");
        let topics: Vec<String> = viewer
            .channels
            .iter()
            .map(|channel| channel["topic"].as_str().expect("a topic").to_owned())
            .collect();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        viewer.subscribe(&topics);
        viewer
    };
    // All that are let in; they subscribe, and never read again.
    let mut stuck: Vec<Viewer> = (0..16).map(|_| everything()).collect();
    assert_eq!(
        Viewer::connect(&recorder.live, "/", &[]).map(drop),
        Err(503)
    );
    stuck.pop();
    assert_eq!(post(&recorder.http, "/start", "").status, 200);
    std::thread::sleep(Duration::from_secs(4));
    // The one that left made room, once its end was noticed.
    let mut late = std::iter::repeat_with(|| {
        std::thread::sleep(Duration::from_millis(100));
        Viewer::connect(&recorder.live, "/", &[])
    })
    .take(100)
    .find_map(Result::ok)
    .expect("room for one more");
    late.subscribe(&["/exo/right/sensor_angles", "/camera/head/image"]);
    late.next::<CompressedImage>("/camera/head/image");
    let angles: JointStates = late.next("/exo/right/sensor_angles");
    assert_eq!(angles.joints[11].name, "channel_11");
    let stopped = post(&recorder.http, "/stop", "").json();
    let ledger = stopped["ledger"].as_object().expect("a ledger");
    assert_eq!(ledger.len(), 7);
    for (stream, counts) in ledger {
        assert_eq!(counts["losses"], serde_json::json!({}), "{stream}");
        assert!(counts["written"].as_u64() > Some(20), "{stream}: {counts}");
    }
    drop(stuck);
    assert!(matches!(recorder.interrupt(), 0 | 3));
}
