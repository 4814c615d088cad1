//! What the system has to allow: groups that may open devices, and udev's rules.

use nix::unistd::{Gid, Group, Uid, User, getgroups};
use serde::Serialize;

/// Groups that may open devices, and which.
pub const GROUPS: [(&str, &str); 3] = [
    ("dialout", "serial ports"),
    ("video", "cameras"),
    ("input", "foot pedals and buttons"),
];

/// Where the rules go.
pub const RULES_PATH: &str = "/etc/udev/rules.d/70-dexumi.rules";

/// Rules for udev. Debian gives these groups already; other systems do not, and
/// none sets the latency of FTDI chips.
pub const RULES: &str = "\
# Devices of a capture rig, for dexumi. Made by `dexumi devices --setup`.
# Who may open them: members of these groups.
SUBSYSTEM==\"tty\", SUBSYSTEMS==\"usb\", GROUP=\"dialout\", MODE=\"0660\"
SUBSYSTEM==\"video4linux\", GROUP=\"video\", MODE=\"0660\"
SUBSYSTEM==\"input\", KERNEL==\"event*\", GROUP=\"input\", MODE=\"0660\"
# FTDI chips hold bytes back for up to 16 ms unless told otherwise.
ACTION==\"add|change\", SUBSYSTEM==\"usb-serial\", DRIVER==\"ftdi_sio\", ATTR{latency_timer}=\"1\"
# ModemManager sends AT commands to new ports; boards must be spared.
SUBSYSTEM==\"tty\", DRIVERS==\"cdc_acm|ftdi_sio|cp210x|ch341\", ENV{ID_MM_PORT_IGNORE}=\"1\"
";

/// Whether the user is in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Membership {
    /// The group.
    pub group: &'static str,
    /// What its members may open.
    pub opens: &'static str,
    /// The system has such a group.
    pub exists: bool,
    /// The user is in it, as the system's files say.
    pub is_member: bool,
    /// This program runs with it: a new member has to log in again.
    pub is_active: bool,
}

/// Of the user who runs this program, for each of [`GROUPS`]. Root may open all.
pub fn memberships() -> Vec<Membership> {
    let active = getgroups().unwrap_or_default();
    let user = User::from_uid(Uid::current()).ok().flatten();
    let is_root = Uid::effective().is_root();
    GROUPS
        .into_iter()
        .map(|(group, opens)| {
            let found = Group::from_name(group).ok().flatten();
            let own = |gid: Gid| active.contains(&gid) || Gid::effective() == gid;
            let listed = found
                .as_ref()
                .zip(user.as_ref())
                .is_some_and(|(group, user)| {
                    group.mem.contains(&user.name) || group.gid == user.gid
                });
            let is_active = is_root || found.as_ref().is_some_and(|group| own(group.gid));
            Membership {
                group,
                opens,
                exists: found.is_some(),
                is_member: is_active || listed,
                is_active,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_matches_something_and_sets_something() {
        let rules: Vec<&str> = RULES
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert!(rules.len() >= 5);
        for rule in rules {
            assert!(rule.contains("==\""), "{rule}");
            let sets = |part: &str| part.contains("=\"") && !part.contains("==\"");
            assert!(rule.split(", ").any(sets), "{rule}");
        }
        for (group, _) in GROUPS {
            assert!(RULES.contains(&format!("GROUP=\"{group}\"")), "{group}");
        }
    }

    #[test]
    fn root_may_open_all() {
        let all = memberships();
        assert_eq!(all.len(), GROUPS.len());
        if Uid::effective().is_root() {
            assert!(all.iter().all(|one| one.is_active));
        }
    }
}
