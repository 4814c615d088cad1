//! Camera controls: exposure, gain, white balance and whatever else a camera has.
//! They are set by the rig, read back, and kept in the file.
//!
//! Numbers are those of the kernel's camera and user classes, which USB cameras
//! have (`V4L2_CID_EXPOSURE`, the one of older analogue devices, they lack).

use std::{collections::BTreeMap, fmt::Write, io};

use v4l::{
    v4l_sys::{
        V4L2_CID_AUTO_WHITE_BALANCE, V4L2_CID_AUTOGAIN, V4L2_CID_EXPOSURE_ABSOLUTE,
        V4L2_CID_EXPOSURE_AUTO, V4L2_CID_EXPOSURE_AUTO_PRIORITY, V4L2_CID_FOCUS_ABSOLUTE,
        V4L2_CID_FOCUS_AUTO, V4L2_CID_GAIN, V4L2_CID_POWER_LINE_FREQUENCY,
        V4L2_CID_WHITE_BALANCE_TEMPERATURE, V4L2_CTRL_FLAG_DISABLED, V4L2_CTRL_FLAG_INACTIVE,
        V4L2_CTRL_FLAG_NEXT_CTRL, V4L2_CTRL_FLAG_READ_ONLY, V4L2_CTRL_FLAG_WRITE_ONLY,
        v4l2_ctrl_type_V4L2_CTRL_TYPE_BOOLEAN as BOOLEAN,
        v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER as INTEGER,
        v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER_MENU as INTEGER_MENU,
        v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER64 as INTEGER64,
        v4l2_ctrl_type_V4L2_CTRL_TYPE_MENU as MENU, v4l2_ext_control, v4l2_ext_controls,
        v4l2_query_ext_ctrl, v4l2_querymenu,
    },
    v4l2::vidioc,
};

use super::{
    Refusal,
    node::{Node, text, zeroed},
};

/// The kernel counts exposure in steps of 100 µs [s].
const EXPOSURE_STEP_S: f64 = 1e-4;
const MANUAL_EXPOSURE: i64 = 1;
/// More than any camera has.
const MOST_CONTROLS: usize = 512;
/// Items of a menu beyond this are not looked at.
const MOST_ITEMS: i64 = 64;

/// One control of a camera: a number, a switch or a menu.
#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    /// The kernel's number.
    pub id: u32,
    /// Name as `v4l2-ctl` writes it: lower case, words joined by `_`.
    pub name: String,
    /// Least value.
    pub least: i64,
    /// Greatest value.
    pub greatest: i64,
    /// Values of a menu, with their words.
    pub items: Vec<(i64, String)>,
    /// Value as read, where it can be read.
    pub value: Option<i64>,
    /// It can be set.
    pub is_writable: bool,
    /// It has no effect just now, because something automatic decides.
    pub is_inactive: bool,
    is_64_bit: bool,
}

impl Control {
    /// Its value in words.
    fn says(&self, value: i64) -> String {
        match self.items.iter().find(|(item, _)| *item == value) {
            Some((_, word)) => format!("{value} ({word})"),
            None => value.to_string(),
        }
    }

    /// What it can be set to.
    fn range(&self) -> String {
        if self.items.is_empty() {
            return format!("{} to {}", self.least, self.greatest);
        }
        let items = self
            .items
            .iter()
            .map(|(value, word)| format!("{value} {word}"));
        items.collect::<Vec<_>>().join(", ")
    }
}

/// The name as `v4l2-ctl` makes it: letters and digits, the rest joined to `_`.
fn normalised(name: &str) -> String {
    let mut result = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            result.push(c.to_ascii_lowercase());
        } else if !result.is_empty() && !result.ends_with('_') {
            result.push('_');
        }
    }
    result.trim_end_matches('_').to_owned()
}

/// All controls of a camera that are numbers, switches or menus. Others, such as
/// rectangles, are not in the list.
///
/// # Errors
/// The camera is gone.
pub fn list(node: &Node) -> io::Result<Vec<Control>> {
    let mut controls = Vec::new();
    let mut last = 0;
    while controls.len() < MOST_CONTROLS {
        let mut raw = v4l2_query_ext_ctrl {
            id: last | V4L2_CTRL_FLAG_NEXT_CTRL,
            ..zeroed()
        };
        match node.ask(vidioc::VIDIOC_QUERY_EXT_CTRL, &mut raw) {
            Ok(()) if raw.id > last => last = raw.id,
            // The kernel says so at the end; a node without any control as well.
            Ok(()) => break,
            Err(error) if ends_a_list(&error) => break,
            Err(error) => return Err(error),
        }
        let is_value = matches!(
            raw.type_,
            INTEGER | BOOLEAN | MENU | INTEGER_MENU | INTEGER64
        );
        if !is_value || raw.flags & V4L2_CTRL_FLAG_DISABLED != 0 {
            continue;
        }
        let items = match raw.type_ {
            MENU | INTEGER_MENU => items(node, &raw),
            _ => Vec::new(),
        };
        let is_64_bit = raw.type_ == INTEGER64;
        let value = match raw.flags & V4L2_CTRL_FLAG_WRITE_ONLY {
            0 => read(node, raw.id, is_64_bit).ok(),
            _ => None,
        };
        controls.push(Control {
            id: raw.id,
            name: normalised(&text(raw.name.iter().map(|&c| c as u8))),
            least: raw.minimum,
            greatest: raw.maximum,
            items,
            value,
            is_writable: raw.flags & V4L2_CTRL_FLAG_READ_ONLY == 0,
            is_inactive: raw.flags & V4L2_CTRL_FLAG_INACTIVE != 0,
            is_64_bit,
        });
    }
    Ok(controls)
}

fn ends_a_list(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(nix::libc::EINVAL | nix::libc::ENOTTY)
    )
}

fn items(node: &Node, control: &v4l2_query_ext_ctrl) -> Vec<(i64, String)> {
    let last = control
        .maximum
        .min(control.minimum.saturating_add(MOST_ITEMS));
    (control.minimum..=last)
        .filter_map(|value| {
            let mut raw = v4l2_querymenu {
                id: control.id,
                index: u32::try_from(value).ok()?,
                ..zeroed()
            };
            // Menus have holes: what is not there is an error.
            node.ask(vidioc::VIDIOC_QUERYMENU, &mut raw).ok()?;
            // SAFETY: the kernel fills in `value` for menus of numbers, `name` for others.
            let word = unsafe {
                if control.type_ == INTEGER_MENU {
                    let value = raw.__bindgen_anon_1.value;
                    value.to_string()
                } else {
                    text(raw.__bindgen_anon_1.name)
                }
            };
            Some((value, word))
        })
        .collect()
}

fn one(argument: &mut v4l2_ext_control) -> v4l2_ext_controls {
    v4l2_ext_controls {
        count: 1,
        controls: argument,
        ..zeroed()
    }
}

fn read(node: &Node, id: u32, is_64_bit: bool) -> io::Result<i64> {
    let mut argument = v4l2_ext_control { id, ..zeroed() };
    node.ask(vidioc::VIDIOC_G_EXT_CTRLS, &mut one(&mut argument))?;
    // SAFETY: all members of the union are numbers here, and it began as zeros.
    Ok(unsafe {
        if is_64_bit {
            argument.__bindgen_anon_1.value64
        } else {
            i64::from(argument.__bindgen_anon_1.value)
        }
    })
}

/// Sets a control. Values outside its range come back clamped at the next reading.
///
/// # Errors
/// The camera refuses, or is gone.
pub fn write(node: &Node, control: &Control, value: i64) -> io::Result<()> {
    let mut argument = v4l2_ext_control {
        id: control.id,
        ..zeroed()
    };
    if control.is_64_bit {
        argument.__bindgen_anon_1.value64 = value;
    } else {
        let value = value.clamp(i32::MIN.into(), i32::MAX.into());
        argument.__bindgen_anon_1.value = value as i32;
    }
    node.ask(vidioc::VIDIOC_S_EXT_CTRLS, &mut one(&mut argument))
}

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

    #[test]
    fn names_are_those_of_v4l2_ctl() {
        assert_eq!(
            normalised("Exposure Time, Absolute"),
            "exposure_time_absolute"
        );
        assert_eq!(
            normalised("White Balance, Auto & Preset"),
            "white_balance_auto_preset"
        );
        assert_eq!(normalised(" Zoom (Absolute)"), "zoom_absolute");
    }
}
