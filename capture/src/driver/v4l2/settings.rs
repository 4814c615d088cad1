//! Controls as the rig wants them: set before the first image, read back, set again
//! where a camera forgets them, and kept in the file.
//!
//! Numbers are those of the kernel's camera and user classes, which USB cameras
//! have (`V4L2_CID_EXPOSURE`, the one of older analogue devices, they lack).

use std::{collections::BTreeMap, fmt::Write, io};

use v4l::v4l_sys::{
    V4L2_CID_AUTO_WHITE_BALANCE, V4L2_CID_AUTOGAIN, V4L2_CID_EXPOSURE_ABSOLUTE,
    V4L2_CID_EXPOSURE_AUTO, V4L2_CID_EXPOSURE_AUTO_PRIORITY, V4L2_CID_FOCUS_ABSOLUTE,
    V4L2_CID_FOCUS_AUTO, V4L2_CID_GAIN, V4L2_CID_POWER_LINE_FREQUENCY,
    V4L2_CID_WHITE_BALANCE_TEMPERATURE,
};

use super::{
    Refusal,
    controls::{Control, list, write},
    node::Node,
};

/// The kernel counts exposure in steps of 100 µs [s].
const EXPOSURE_STEP_S: f64 = 1e-4;
const MANUAL_EXPOSURE: i64 = 1;

/// What the rig's word means: automatics that have to be set first, then the value.
struct Wish {
    /// Key in `rig.toml`.
    key: String,
    id: u32,
    value: i64,
}

/// Keys with a meaning of their own, beside the camera's names.
const KEYS: &str = "exposure_s, gain, white_balance_k, focus, power_line_hz, dynamic_rate";

fn number(key: &str, value: &toml::Value) -> Result<i64, Refusal> {
    value
        .as_integer()
        .or_else(|| value.as_bool().map(i64::from))
        .ok_or_else(|| {
            Refusal::new(
                format!("control `{key}` is {value}"),
                "give it as a whole number, true or false",
            )
        })
}

/// Turns a line of the rig into settings, in the order in which they are made.
fn wishes(key: &str, value: &toml::Value, controls: &[Control]) -> Result<Vec<Wish>, Refusal> {
    let has = |id: u32| controls.iter().any(|control| control.id == id);
    let wish = |id: u32, value: i64| Wish {
        key: key.to_owned(),
        id,
        value,
    };
    // A value, behind the switch that lets go of it.
    let manual = |switch: u32, off: i64, id: u32, value: i64| {
        let switch = has(switch).then(|| wish(switch, off));
        switch.into_iter().chain([wish(id, value)]).collect()
    };
    let is_auto = value.as_str() == Some("auto");
    Ok(match key {
        "exposure_s" if is_auto => {
            // Aperture priority is what USB cameras call automatic; few have another.
            let menu = controls.iter().find(|c| c.id == V4L2_CID_EXPOSURE_AUTO);
            let item = menu.and_then(|menu| {
                let has = |value: i64| menu.items.iter().any(|(item, _)| *item == value);
                [3, 0].into_iter().find(|&value| has(value))
            });
            vec![wish(V4L2_CID_EXPOSURE_AUTO, item.unwrap_or(3))]
        }
        "exposure_s" => {
            let seconds = value
                .as_float()
                .filter(|seconds| (1e-5..=100.0).contains(seconds))
                .ok_or_else(|| {
                    Refusal::new(
                        format!("control `exposure_s` is {value}"),
                        "give it in seconds, such as 0.008, or as \"auto\"",
                    )
                })?;
            let steps = (seconds / EXPOSURE_STEP_S).round().max(1.0) as i64;
            manual(
                V4L2_CID_EXPOSURE_AUTO,
                MANUAL_EXPOSURE,
                V4L2_CID_EXPOSURE_ABSOLUTE,
                steps,
            )
        }
        "gain" if is_auto => vec![wish(V4L2_CID_AUTOGAIN, 1)],
        "gain" => manual(V4L2_CID_AUTOGAIN, 0, V4L2_CID_GAIN, number(key, value)?),
        "white_balance_k" if is_auto => vec![wish(V4L2_CID_AUTO_WHITE_BALANCE, 1)],
        "white_balance_k" => manual(
            V4L2_CID_AUTO_WHITE_BALANCE,
            0,
            V4L2_CID_WHITE_BALANCE_TEMPERATURE,
            number(key, value)?,
        ),
        "focus" if is_auto => vec![wish(V4L2_CID_FOCUS_AUTO, 1)],
        "focus" => manual(
            V4L2_CID_FOCUS_AUTO,
            0,
            V4L2_CID_FOCUS_ABSOLUTE,
            number(key, value)?,
        ),
        "power_line_hz" => {
            let item = match (is_auto, value.as_integer()) {
                (true, _) => 3,
                (_, Some(0)) => 0,
                (_, Some(50)) => 1,
                (_, Some(60)) => 2,
                _ => {
                    return Err(Refusal::new(
                        format!("control `power_line_hz` is {value}"),
                        "it can be 0, 50, 60 or \"auto\"",
                    ));
                }
            };
            vec![wish(V4L2_CID_POWER_LINE_FREQUENCY, item)]
        }
        "dynamic_rate" => vec![wish(V4L2_CID_EXPOSURE_AUTO_PRIORITY, number(key, value)?)],
        name => {
            let by_number = name
                .strip_prefix("0x")
                .and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let found = controls
                .iter()
                .find(|control| control.name == name || Some(control.id) == by_number)
                .ok_or_else(|| unknown(name, controls))?;
            vec![wish(found.id, number(key, value)?)]
        }
    })
}

fn unknown(key: &str, controls: &[Control]) -> Refusal {
    let mut has = String::new();
    for control in controls.iter().filter(|control| control.is_writable) {
        let gap = if has.is_empty() { "" } else { "; " };
        write!(has, "{gap}{} ({})", control.name, control.range())
            .expect("a string always has room");
    }
    Refusal::new(
        format!("the camera has no control for `{key}`"),
        format!("it has {has}; besides, {KEYS} are understood"),
    )
}

/// Controls as they were set and read back.
#[derive(Debug, Default, PartialEq)]
pub struct Settings {
    /// What was asked of the camera: number, value.
    asked: Vec<(u32, i64)>,
    /// For the file: `control.<name>`, value.
    pub about: Vec<(String, String)>,
    /// For people: what the camera made of it.
    pub warnings: Vec<String>,
    /// Length of the exposure, where it is fixed [ns].
    pub exposure_ns: Option<i64>,
}

/// Sets what the rig asks for, automatics before the values that they would change,
/// and reads everything back. A rate that follows the light is switched off unless
/// the rig wants it.
///
/// # Errors
/// The camera lacks a control, refuses a value, or is gone.
pub fn apply(node: &Node, wanted: &BTreeMap<String, toml::Value>) -> Result<Settings, Refusal> {
    let failed = |error: &io::Error| Refusal::io("cannot list the controls", node, error);
    let controls = list(node).map_err(|error| failed(&error))?;
    let mut order = Vec::new();
    for (key, value) in wanted {
        order.extend(wishes(key, value, &controls)?);
    }
    for wish in &order {
        let control = controls
            .iter()
            .find(|control| control.id == wish.id && control.is_writable)
            .ok_or_else(|| unknown(&wish.key, &controls))?;
        write(node, control, wish.value).map_err(|error| {
            Refusal::new(
                format!(
                    "the camera does not take {} for `{}` ({error})",
                    wish.value, wish.key
                ),
                format!("`{}` can be {}", control.name, control.range()),
            )
        })?;
    }
    let steady = controls
        .iter()
        .find(|control| control.id == V4L2_CID_EXPOSURE_AUTO_PRIORITY && control.is_writable);
    let is_set = order
        .iter()
        .any(|wish| wish.id == V4L2_CID_EXPOSURE_AUTO_PRIORITY);
    if let (Some(control), false) = (steady, is_set)
        && write(node, control, 0).is_ok()
    {
        order.push(Wish {
            key: "dynamic_rate".to_owned(),
            id: control.id,
            value: 0,
        });
    }
    let mut settings = Settings {
        asked: order.iter().map(|wish| (wish.id, wish.value)).collect(),
        ..Settings::default()
    };
    settings.read_back(node).map_err(|error| failed(&error))?;
    Ok(settings)
}

impl Settings {
    /// Reads everything anew, and says where the camera differs from what was asked.
    fn read_back(&mut self, node: &Node) -> io::Result<()> {
        let controls = list(node)?;
        let value = |id: u32| controls.iter().find(|c| c.id == id).and_then(|c| c.value);
        self.warnings.clear();
        for &(id, asked) in &self.asked {
            let Some(control) = controls.iter().find(|control| control.id == id) else {
                continue;
            };
            if control.value.is_some_and(|value| value != asked) {
                self.warnings.push(format!(
                    "asked the camera for {} = {asked}, it took {}; it can be {}",
                    control.name,
                    control
                        .value
                        .map_or_else(String::new, |value| control.says(value)),
                    control.range()
                ));
            }
        }
        self.about = controls
            .iter()
            .filter_map(|control| {
                let mut says = control.says(control.value?);
                if control.is_inactive {
                    says.push_str(", inactive");
                }
                Some((format!("control.{}", control.name), says))
            })
            .collect();
        let is_manual = value(V4L2_CID_EXPOSURE_AUTO).is_none_or(|auto| auto == MANUAL_EXPOSURE);
        self.exposure_ns = value(V4L2_CID_EXPOSURE_ABSOLUTE)
            .filter(|_| is_manual)
            .map(|steps| steps.saturating_mul(100_000));
        Ok(())
    }

    /// Once images flow: some cameras forget their controls when the stream starts.
    /// What differs is set once more and read back.
    pub fn verify(&mut self, node: &Node) {
        let before = std::mem::take(&mut self.warnings);
        if self.read_back(node).is_err() || self.warnings == before {
            self.warnings = before;
            return;
        }
        let Ok(controls) = list(node) else { return };
        for (id, value) in &self.asked {
            if let Some(control) = controls.iter().find(|control| control.id == *id) {
                let _ = write(node, control, *value);
            }
        }
        let _ = self.read_back(node);
        self.warnings.push(
            "the camera changed its controls when the stream started; they were set again"
                .to_owned(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(id: u32, name: &str) -> Control {
        Control {
            id,
            name: name.to_owned(),
            least: 1,
            greatest: 5000,
            items: Vec::new(),
            value: Some(1),
            is_writable: true,
            is_inactive: false,
            is_64_bit: false,
        }
    }

    fn order(key: &str, value: &str) -> Vec<(u32, i64)> {
        let auto = Control {
            items: vec![
                (1, "Manual Mode".into()),
                (3, "Aperture Priority Mode".into()),
            ],
            ..control(V4L2_CID_EXPOSURE_AUTO, "auto_exposure")
        };
        let controls = [
            auto,
            control(V4L2_CID_EXPOSURE_ABSOLUTE, "exposure_time_absolute"),
            control(V4L2_CID_AUTO_WHITE_BALANCE, "white_balance_automatic"),
            control(V4L2_CID_GAIN, "gain"),
            control(0x0098_091b, "sharpness"),
        ];
        let value: toml::Value =
            format!("x = {value}").parse::<toml::Table>().expect("TOML")["x"].clone();
        wishes(key, &value, &controls)
            .map(|wishes| wishes.iter().map(|wish| (wish.id, wish.value)).collect())
            .unwrap_or_default()
    }

    #[test]
    fn automatics_are_let_go_before_their_values_are_set() {
        assert_eq!(
            order("exposure_s", "0.008"),
            [
                (V4L2_CID_EXPOSURE_AUTO, 1),
                (V4L2_CID_EXPOSURE_ABSOLUTE, 80)
            ]
        );
        assert_eq!(
            order("exposure_s", "\"auto\""),
            [(V4L2_CID_EXPOSURE_AUTO, 3)]
        );
        assert_eq!(
            order("white_balance_k", "4600"),
            [
                (V4L2_CID_AUTO_WHITE_BALANCE, 0),
                (V4L2_CID_WHITE_BALANCE_TEMPERATURE, 4600)
            ]
        );
        // Without a switch for it there is none to set.
        assert_eq!(order("gain", "32"), [(V4L2_CID_GAIN, 32)]);
        assert_eq!(
            order("power_line_hz", "50"),
            [(V4L2_CID_POWER_LINE_FREQUENCY, 1)]
        );
        assert_eq!(order("sharpness", "3"), [(0x0098_091b, 3)]);
        assert_eq!(order("0x0098091b", "3"), [(0x0098_091b, 3)]);
        assert_eq!(order("zoom", "3"), []);
        assert_eq!(order("exposure_s", "80"), []);
    }
}
