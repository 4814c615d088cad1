//! What the system has to allow: groups that may open devices, and udev's rules.

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist, getgroups};
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
    /// The user's programs have it already: a new member has to log in again.
    pub is_active: bool,
}

/// Who is to open the devices, and may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Name of the user.
    pub user: String,
    /// Root, who may open all.
    pub is_root: bool,
    /// For each of [`GROUPS`].
    pub groups: Vec<Membership>,
}

impl Account {
    /// The user who runs this program; behind `sudo`, the one who called it.
    pub fn own() -> Self {
        let caller = std::env::var("SUDO_USER").ok();
        let caller = caller.filter(|_| Uid::effective().is_root());
        let user = caller.and_then(|name| User::from_name(&name).ok().flatten());
        let user = user.or_else(|| User::from_uid(Uid::current()).ok().flatten());
        let name = user.as_ref().map_or_else(String::new, |u| u.name.clone());
        let listed = user
            .as_ref()
            .and_then(|user| getgrouplist(&CString::new(&*user.name).ok()?, user.gid).ok())
            .unwrap_or_default();
        let is_own = user.as_ref().is_none_or(|user| user.uid == Uid::current());
        // What another login of the user has is not known: what the files say holds.
        let active = match is_own {
            true => getgroups().unwrap_or_default(),
            false => listed.clone(),
        };
        let is_root = user.map_or(Uid::current(), |user| user.uid).is_root();
        let groups = GROUPS
            .into_iter()
            .map(|(group, opens)| {
                let found = Group::from_name(group).ok().flatten();
                let is_in = |groups: &[Gid]| {
                    let gid = found.as_ref().map(|group| group.gid);
                    gid.is_some_and(|gid| groups.contains(&gid))
                };
                Membership {
                    group,
                    opens,
                    exists: found.is_some(),
                    is_member: is_in(&listed) || is_in(&active),
                    is_active: is_in(&active),
                }
            })
            .collect();
        Self {
            user: name,
            is_root,
            groups,
        }
    }

    /// What is left to do, as commands with the reason behind.
    pub fn next_steps(&self) -> Vec<String> {
        let step = |one: &Membership| {
            let (group, opens) = (one.group, one.opens);
            let join = format!("sudo usermod -aG {group} {}", self.user);
            match (one.exists, one.is_member, one.is_active) {
                _ if self.is_root => None,
                (false, ..) => Some(format!(
                    "sudo groupadd --system {group} && {join}     # {opens}; the group is new"
                )),
                (_, false, _) => Some(format!("{join}     # {opens}; then log in again")),
                (_, _, false) => Some(format!(
                    "log out and in again     # {opens}; `{group}` is not in force yet"
                )),
                _ => None,
            }
        };
        self.groups.iter().filter_map(step).collect()
    }
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

    fn account(exists: bool, is_member: bool, is_active: bool) -> Account {
        let one = |(group, opens)| Membership {
            group,
            opens,
            exists,
            is_member,
            is_active,
        };
        Account {
            user: "ada".to_owned(),
            is_root: false,
            groups: GROUPS.into_iter().map(one).collect(),
        }
    }

    #[test]
    fn what_is_left_to_do_is_told_until_it_is_done() {
        let first = |exists, is_member, is_active| {
            let steps = account(exists, is_member, is_active).next_steps();
            assert_eq!(steps.len(), GROUPS.len());
            steps[0].clone()
        };
        assert!(first(false, false, false).starts_with("sudo groupadd --system dialout && "));
        assert!(first(true, false, false).starts_with("sudo usermod -aG dialout ada "));
        assert!(first(true, true, false).contains("log out and in again"));
        assert!(account(true, true, true).next_steps().is_empty());
        let root = Account {
            is_root: true,
            ..account(false, false, false)
        };
        assert!(root.next_steps().is_empty());
    }

    #[test]
    fn the_user_s_groups_are_those_of_the_system() {
        let own = Account::own();
        assert_eq!(own.groups.len(), GROUPS.len());
        for one in &own.groups {
            assert!(one.is_member || !one.is_active, "{one:?}");
            assert!(one.exists || !one.is_member, "{one:?}");
        }
    }
}
