//! Camera controls as the kernel lists them: exposure, gain, white balance and
//! whatever else a camera has.

use std::io;

use v4l::{
    v4l_sys::{
        V4L2_CTRL_FLAG_DISABLED, V4L2_CTRL_FLAG_INACTIVE, V4L2_CTRL_FLAG_NEXT_CTRL,
        V4L2_CTRL_FLAG_READ_ONLY, V4L2_CTRL_FLAG_WRITE_ONLY,
        v4l2_ctrl_type_V4L2_CTRL_TYPE_BOOLEAN as BOOLEAN,
        v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER as INTEGER,
        v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER_MENU as INTEGER_MENU,
        v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER64 as INTEGER64,
        v4l2_ctrl_type_V4L2_CTRL_TYPE_MENU as MENU, v4l2_ext_control, v4l2_ext_controls,
        v4l2_query_ext_ctrl, v4l2_querymenu,
    },
    v4l2::vidioc,
};

use super::node::{Node, text, zeroed};

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
    pub(super) is_64_bit: bool,
}

impl Control {
    /// Its value in words.
    pub(super) fn says(&self, value: i64) -> String {
        match self.items.iter().find(|(item, _)| *item == value) {
            Some((_, word)) => format!("{value} ({word})"),
            None => value.to_string(),
        }
    }

    /// What it can be set to.
    pub(super) fn range(&self) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

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
