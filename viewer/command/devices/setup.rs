//! Rules for udev and groups of the user.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dexumi_capture::discover::{Account, RULES, RULES_PATH};
use dexumi_episode::write_atomically;
use serde::Serialize;

use crate::{Exit, command::print_json};

/// Takes the rules into force for what is plugged in already.
const RELOAD: &str = "sudo udevadm control --reload && sudo udevadm trigger";

#[derive(Serialize)]
struct Report {
    rules: &'static str,
    /// Where they were written.
    written: Option<PathBuf>,
    reload: &'static str,
    account: Account,
    next_steps: Vec<String>,
}

/// The rules go to stdout, talk to stderr.
pub fn run(out: Option<&Path>, json: bool) -> Result<Exit> {
    let own_place = Path::new(RULES_PATH);
    let may_install =
        nix::unistd::Uid::effective().is_root() && own_place.parent().is_some_and(Path::is_dir);
    let to = out.or(may_install.then_some(own_place));
    if let Some(path) = to {
        write_atomically(path, RULES.as_bytes())
            .with_context(|| format!("cannot write the rules to {}", path.display()))?;
        // udev reads them as root, but everybody should be able to look.
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(path, readable)
            .with_context(|| format!("cannot make {} readable", path.display()))?;
    }
    let account = Account::own();
    let report = Report {
        rules: RULES,
        written: to.map(Path::to_owned),
        reload: RELOAD,
        next_steps: account.next_steps(),
        account,
    };
    if json {
        print_json(&report)?;
    } else {
        print!("{RULES}");
        report.explain(own_place);
    }
    Ok(Exit::Done)
}

impl Report {
    fn explain(&self, own_place: &Path) {
        let place = own_place.display();
        match &self.written {
            Some(path) if path == own_place => eprintln!("\nwritten to {place}; now, once:"),
            Some(path) => eprintln!(
                "\nwritten to {}; now, once:\n  sudo cp {} {place}",
                path.display(),
                path.display()
            ),
            None => eprintln!(
                "\nnot installed; `sudo dexumi devices --setup` installs them, or, once:\n  \
                 dexumi devices --setup | sudo tee {place}"
            ),
        }
        eprintln!("  {RELOAD}\n");
        for group in &self.account.groups {
            let is = match (group.exists, group.is_member, group.is_active) {
                _ if self.account.is_root => "root may open them anyway",
                (false, ..) => "there is no such group",
                (_, false, _) => "not a member",
                (_, _, false) => "a member from the next login on",
                _ => "a member",
            };
            eprintln!("  group {:8} {:24} {is}", group.group, group.opens);
        }
        for step in &self.next_steps {
            eprintln!("  {step}");
        }
        if self.next_steps.is_empty() && !self.account.is_root {
            eprintln!(
                "user {} is in all groups that are needed",
                self.account.user
            );
        }
    }
}
