use dexumi_capture::Status;

use super::{state::Headline, *};

const CAMERA: &str = "/camera/wrist/image";
const ENCODERS: &str = "/exo/right/encoders";

fn published(state: RecorderState) -> Published {
    let stream = |topic: &str, rate_hz: f64| StreamStatus {
        stream: topic.to_owned(),
        rate_hz,
        age_s: 0.01,
        clock: "locked".to_owned(),
        ..StreamStatus::default()
    };
    Published {
        status: Status {
            state,
            streams: vec![stream(ENCODERS, 180.0), stream(CAMERA, 30.0)],
            ..Status::default()
        },
        number: 3,
        ..Published::default()
    }
}

fn model(state: RecorderState) -> Model {
    let nominal = BTreeMap::from([(CAMERA.to_owned(), 30.0)]);
    let mut model = Model::new("pick up the cube".to_owned(), nominal);
    model.link = LinkState::Connected;
    for step in 0..40 {
        model.hear(published(state), f64::from(step) * 0.05);
    }
    model
}

/// Just after the last status of [`model`] [s].
const NOW_S: f64 = 2.0;

#[test]
fn the_colour_follows_the_recorder() {
    let phase = |state| model(state).phase(NOW_S);
    assert_eq!(phase(RecorderState::Idle), Phase::Ready);
    assert_eq!(phase(RecorderState::Recording), Phase::Recording);
    assert_eq!(phase(RecorderState::Saving), Phase::Saving);
    let mut gone = model(RecorderState::Idle);
    gone.link = LinkState::Failed(Failure {
        what: "It ended.".to_owned(),
        ..Failure::default()
    });
    assert_eq!(
        (gone.phase(NOW_S), gone.headline(NOW_S).sentence.as_str()),
        (Phase::Fault, "It ended.")
    );
}

#[test]
fn a_recorder_that_says_nothing_is_a_fault_within_two_seconds() {
    let model = model(RecorderState::Recording);
    assert_eq!(model.phase(NOW_S + 1.0), Phase::Recording);
    assert_eq!(model.phase(NOW_S + 2.0), Phase::Fault);
    assert!(
        model
            .headline(NOW_S + 2.0)
            .sentence
            .contains("may still be running")
    );
    assert!(
        model.elapsed_s(NOW_S + 60.0) < 2.0,
        "the timer does not run on without news"
    );
}

#[test]
fn a_stream_that_falls_silent_is_named_and_recording_goes_on() {
    let mut model = model(RecorderState::Recording);
    let mut status = published(RecorderState::Recording);
    (
        status.status.streams[1].age_s,
        status.status.streams[1].rate_hz,
    ) = (2.5, 0.0);
    model.hear(status, NOW_S);
    assert_eq!(model.phase(NOW_S), Phase::Fault);
    assert_eq!(
        model.headline(NOW_S).sentence,
        "Still recording. Wrist camera: silent for 2.5 s"
    );
    assert!(model.is_recording());
    assert_eq!(model.act(Action::Toggle, NOW_S), Some(Order::Stop));
}

#[test]
fn an_episode_does_not_start_while_a_stream_has_no_data() {
    let mut model = model(RecorderState::Idle);
    let mut status = published(RecorderState::Idle);
    status.status.streams[1].age_s = -1.0;
    model.hear(status, NOW_S);
    assert_eq!(model.phase(NOW_S), Phase::Idle);
    assert_eq!(
        model.check(Action::Toggle, NOW_S),
        Err("Cannot start: Wrist camera has no data.".to_owned())
    );
    assert_eq!(model.act(Action::Toggle, NOW_S), None);
}

#[test]
fn a_bounce_of_the_start_key_does_not_stop_at_once() {
    let mut model = model(RecorderState::Idle);
    let start = Order::Start {
        task: "pick up the cube".to_owned(),
    };
    assert_eq!(model.act(Action::Toggle, NOW_S), Some(start));
    assert_eq!(model.act(Action::Toggle, NOW_S + 0.1), None);
    model.hear(published(RecorderState::Recording), NOW_S + 0.15);
    assert_eq!(model.phase(NOW_S + 0.2), Phase::Recording);
    assert_eq!(
        model.act(Action::Toggle, NOW_S + 0.2),
        None,
        "within the bounce"
    );
    assert_eq!(model.act(Action::Toggle, NOW_S + 1.0), Some(Order::Stop));
    assert_eq!(model.phase(NOW_S + 1.0), Phase::Saving);
}

#[test]
fn discard_wants_a_second_press_soon() {
    let mut model = model(RecorderState::Recording);
    assert_eq!(model.act(Action::Discard, NOW_S), None);
    assert!(model.is_discard_armed(NOW_S + 1.0));
    assert_eq!(
        model.act(Action::Discard, NOW_S + 0.1),
        None,
        "a bounce is no second press"
    );
    assert_eq!(
        model.act(Action::Discard, NOW_S + 1.0),
        Some(Order::Discard)
    );
    assert_eq!(model.headline(NOW_S + 1.0).word, "DISCARDING");

    let mut slow = self::model(RecorderState::Recording);
    assert_eq!(slow.act(Action::Discard, NOW_S), None);
    assert!(!slow.is_discard_armed(NOW_S + 4.0));
    assert_eq!(
        slow.act(Action::Discard, NOW_S + 4.0),
        None,
        "too late, that was the first again"
    );
    assert_eq!(
        self::model(RecorderState::Idle).act(Action::Discard, NOW_S),
        None
    );
}

#[test]
fn an_episode_that_ends_by_itself_is_said_until_the_next_start() {
    let mut model = model(RecorderState::Recording);
    let error = Some("the disk is down to its reserve".to_owned());
    let ended = Published {
        error,
        ..published(RecorderState::Idle)
    };
    model.hear(ended, NOW_S);
    assert_eq!(model.phase(NOW_S), Phase::Fault);
    let headline = model.headline(NOW_S);
    assert!(headline.sentence.contains("disk is down"), "{headline:?}");
    assert!(model.act(Action::Toggle, NOW_S).is_some());
    model.hear(published(RecorderState::Recording), NOW_S + 0.1);
    assert_eq!(model.phase(NOW_S + 0.1), Phase::Recording);
}

#[test]
fn an_episode_that_somebody_ends_is_no_fault() {
    // By this window, and by a pedal or over HTTP.
    for is_here in [true, false] {
        let mut model = model(RecorderState::Recording);
        if is_here {
            assert_eq!(model.act(Action::Toggle, NOW_S), Some(Order::Stop));
        }
        model.hear(published(RecorderState::Saving), NOW_S + 0.2);
        assert_eq!(model.phase(NOW_S + 0.2), Phase::Saving);
        model.hear(published(RecorderState::Idle), NOW_S + 0.4);
        assert_eq!(model.phase(NOW_S + 0.4), Phase::Ready);
    }
}

#[test]
fn an_error_of_the_recorder_shows_and_does_not_block() {
    let mut model = model(RecorderState::Idle);
    let error = Some("only 20 MB free".to_owned());
    model.hear(
        Published {
            error,
            ..published(RecorderState::Idle)
        },
        NOW_S,
    );
    assert_eq!(
        model.headline(NOW_S),
        Headline {
            word: "FAULT",
            sentence: "Only 20 MB free".to_owned()
        }
    );
    assert!(model.act(Action::Toggle, NOW_S).is_some());
}

#[test]
fn a_falling_rate_is_measured_against_what_the_device_did_before() {
    let mut model = model(RecorderState::Idle);
    for step in 0..100 {
        let mut status = published(RecorderState::Idle);
        status.status.streams[0].rate_hz = 100.0;
        model.hear(status, NOW_S + f64::from(step) * 0.05);
    }
    let rows = model.rows();
    assert_eq!(
        rows[0].expected,
        Some(Expected {
            hz: 180.0,
            is_nominal: false
        })
    );
    assert_eq!(rows[0].verdict.text, "slow: 100 of 180 Hz");
    assert_eq!(
        rows[1].expected,
        Some(Expected {
            hz: 30.0,
            is_nominal: true
        })
    );
}

#[test]
fn a_task_already_set_is_taken_over_when_none_was_given() {
    let mut model = Model::new(String::new(), BTreeMap::new());
    model.link = LinkState::Connected;
    let task = "fold the towel".to_owned();
    model.hear(
        Published {
            task,
            ..published(RecorderState::Idle)
        },
        0.0,
    );
    assert_eq!(model.task, "fold the towel");
    model.task.clear();
    let task = "fold the towel".to_owned();
    model.hear(
        Published {
            task,
            ..published(RecorderState::Idle)
        },
        0.1,
    );
    assert_eq!(model.task, "", "later, what the operator types stands");
}
