//! Our own packets: a JSON object a sample, or a list of such objects.
//!
//! ```json
//! {"stream": "wrist", "seq": 12, "t": 3.25, "sent": 3.26,
//!  "pose": {"p": [0.1, 0.2, 1.0], "q": [0, 0, 0, 1], "valid": true, "error": 0.0003}}
//! ```
//!
//! Instead of `pose`: `keypoints`, `encoders`, `force`, `imu`, `markers`. A question
//! for the sender's time is `{"echo": 17}`, its answer `{"echo": 17, "t": 3.27}`.

use serde::Deserialize;

use super::{Axes, Data, Format, Message, Packet, Payload};
use crate::driver::NamedPose;

pub(super) const FORMAT: Format = Format {
    parse,
    echo: Some(|number| format!("{{\"echo\":{number}}}").into_bytes()),
    axes: Axes::ZUp,
};

/// Seconds since 1970 of today, thrice.
const LATEST_S: f64 = 6e9;

#[derive(Deserialize)]
struct Object {
    stream: Option<String>,
    seq: Option<u64>,
    t: Option<f64>,
    sent: Option<f64>,
    echo: Option<u64>,
    about: Option<std::collections::BTreeMap<String, String>>,
    pose: Option<Pose>,
    keypoints: Option<Keypoints>,
    encoders: Option<Encoders>,
    force: Option<Force>,
    imu: Option<Imu>,
    markers: Option<Markers>,
}

#[derive(Deserialize)]
struct Pose {
    p: [f64; 3],
    q: [f64; 4],
    valid: Option<bool>,
    #[serde(default)]
    error: f64,
}

#[derive(Deserialize)]
struct Keypoints {
    points: Vec<Option<[f64; 3]>>,
    valid: Option<bool>,
    #[serde(default)]
    joints: Vec<Joint>,
}

#[derive(Deserialize)]
struct Joint {
    name: String,
    p: [f64; 3],
    q: [f64; 4],
}

#[derive(Deserialize)]
struct Encoders {
    counts: Vec<i32>,
    reference: i32,
    #[serde(default)]
    spare: i32,
}

#[derive(Deserialize)]
struct Force {
    counts: [i32; 3],
    #[serde(default)]
    taxels: Vec<u16>,
}

#[derive(Deserialize)]
struct Imu {
    a: [f64; 3],
    w: [f64; 3],
}

#[derive(Deserialize)]
struct Markers {
    points: Vec<Option<[f64; 3]>>,
}

/// Reads a datagram.
///
/// # Errors
/// It is no such packet; in words for people.
pub fn parse(bytes: &[u8]) -> Result<Vec<Message>, String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Datagram {
        Many(Vec<Object>),
        One(Box<Object>),
    }
    // Read twice on failure: an untagged enum cannot say what is wrong.
    let objects = match serde_json::from_slice(bytes) {
        Ok(Datagram::Many(objects)) => objects,
        Ok(Datagram::One(object)) => vec![*object],
        Err(_) => match serde_json::from_slice::<Object>(bytes) {
            Ok(_) => return Err("it is neither an object nor a list of objects".to_owned()),
            Err(error) => return Err(error.to_string()),
        },
    };
    objects.into_iter().map(message).collect()
}

fn nanos(seconds: Option<f64>) -> Result<Option<i64>, String> {
    let Some(seconds) = seconds else {
        return Ok(None);
    };
    if !(-LATEST_S..LATEST_S).contains(&seconds) {
        return Err(format!("its time is {seconds}, expected seconds"));
    }
    // Whole seconds apart, so that those of 1970 lose no nanosecond more than JSON did.
    let whole = seconds.floor();
    Ok(Some(
        whole as i64 * 1_000_000_000 + ((seconds - whole) * 1e9).round() as i64,
    ))
}

fn message(object: Object) -> Result<Message, String> {
    let time_ns = nanos(object.t)?;
    if let (Some(number), Some(time_ns)) = (object.echo, time_ns) {
        return Ok(Message::Echo { number, time_ns });
    }
    let name = object.stream.ok_or("it names no `stream`")?;
    if let Some(about) = object.about {
        return Ok(Message::About {
            name,
            about: about.into_iter().collect(),
        });
    }
    let points = |points: Vec<Option<[f64; 3]>>| {
        points
            .into_iter()
            .map(|point| point.unwrap_or([f64::NAN; 3]))
            .collect()
    };
    let mut things = [
        object.pose.map(|pose| Data::Pose {
            position_m: pose.p,
            rotation_xyzw: pose.q,
            valid: pose.valid.unwrap_or(true),
            mean_error_m: pose.error,
        }),
        object.keypoints.map(|keypoints| Data::Keypoints {
            points_m: points(keypoints.points),
            joints: keypoints.joints.into_iter().map(named).collect(),
            valid: keypoints.valid.unwrap_or(true),
        }),
        object.encoders.map(|encoders| Data::Encoders {
            counts: encoders.counts,
            reference: encoders.reference,
            spare: encoders.spare,
        }),
        object.force.map(|force| Data::Force {
            counts: force.counts,
            taxels: force.taxels,
        }),
        object.imu.map(|imu| Data::Imu {
            acceleration_m_s2: imu.a,
            angular_velocity_rad_s: imu.w,
        }),
        object.markers.map(|markers| Data::Markers {
            points_m: points(markers.points),
        }),
    ]
    .into_iter()
    .flatten();
    match (things.next(), things.next()) {
        (Some(data), None) => Ok(Message::Sample(Packet {
            name,
            sequence: object.seq,
            time_ns,
            sent_ns: nanos(object.sent)?,
            payload: Payload::Data(data),
        })),
        (None, _) => {
            Err("it has none of pose, keypoints, encoders, force, imu, markers".to_owned())
        }
        (Some(_), Some(_)) => Err("it has two things in one object; send a list".to_owned()),
    }
}

fn named(joint: Joint) -> NamedPose {
    NamedPose {
        name: joint.name,
        position_m: joint.p,
        rotation_xyzw: joint.q,
    }
}

/// What a sender answers to a question for its time; `None` to anything else.
pub fn answer(question: &[u8], time_ns: i64) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Question {
        echo: u64,
    }
    let Question { echo } = serde_json::from_slice(question).ok()?;
    let t = time_ns as f64 * 1e-9;
    Some(format!("{{\"echo\":{echo},\"t\":{t}}}").into_bytes())
}

/// A sample as a sender writes it.
pub fn encode(packet: &Packet) -> Vec<u8> {
    let seconds = |ns: i64| ns as f64 * 1e-9;
    let points = |points: &[[f64; 3]]| -> Vec<Option<[f64; 3]>> {
        let seen = |point: &[f64; 3]| point.iter().all(|v| v.is_finite());
        points
            .iter()
            .map(|point| seen(point).then_some(*point))
            .collect()
    };
    let mut object = serde_json::Map::new();
    let mut put = |key: &str, value: serde_json::Value| object.insert(key.to_owned(), value);
    put("stream", packet.name.clone().into());
    if let Some(sequence) = packet.sequence {
        put("seq", sequence.into());
    }
    if let Some(time_ns) = packet.time_ns {
        put("t", seconds(time_ns).into());
    }
    if let Some(sent_ns) = packet.sent_ns {
        put("sent", seconds(sent_ns).into());
    }
    use serde_json::json;
    let (key, value) = match &packet.payload {
        Payload::Data(Data::Pose {
            position_m,
            rotation_xyzw,
            valid,
            mean_error_m,
        }) => (
            "pose",
            json!({"p": position_m, "q": rotation_xyzw, "valid": valid, "error": mean_error_m}),
        ),
        Payload::Data(Data::Keypoints {
            points_m,
            joints,
            valid,
        }) => {
            let joints: Vec<_> = joints
                .iter()
                .map(|joint| json!({"name": joint.name, "p": joint.position_m, "q": joint.rotation_xyzw}))
                .collect();
            (
                "keypoints",
                json!({"points": points(points_m), "valid": valid, "joints": joints}),
            )
        }
        Payload::Data(Data::Encoders {
            counts,
            reference,
            spare,
        }) => (
            "encoders",
            json!({"counts": counts, "reference": reference, "spare": spare}),
        ),
        Payload::Data(Data::Force { counts, taxels }) => {
            ("force", json!({"counts": counts, "taxels": taxels}))
        }
        Payload::Data(Data::Imu {
            acceleration_m_s2,
            angular_velocity_rad_s,
        }) => (
            "imu",
            json!({"a": acceleration_m_s2, "w": angular_velocity_rad_s}),
        ),
        Payload::Data(Data::Markers { points_m }) => {
            ("markers", json!({"points": points(points_m)}))
        }
        Payload::Data(Data::Image(_)) | Payload::Numbers { .. } => ("nothing", json!(null)),
    };
    put(key, value);
    serde_json::Value::Object(object).to_string().into_bytes()
}
