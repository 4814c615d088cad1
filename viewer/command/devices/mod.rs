//! `dexumi devices`: what is plugged in, under the names that `rig.toml` wants.

mod listed;
mod setup;
mod watch;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use dexumi_capture::DRIVERS;
use serde::Serialize;

use self::listed::{CameraLine, SerialLine};
use super::print_json;
use crate::Exit;

/// Serial ports and cameras that are plugged in, by the addresses that rig.toml
/// wants, and the drivers.
#[derive(Debug, Args)]
#[command(after_help = "\
Addresses stay the same from plug to plug; /dev/ttyUSB0 and /dev/video0 do not.
A device in use is shown with the program that has it; other users' programs are
seen by root only.

Examples:
  dexumi devices                        what is plugged in
  dexumi devices --watch                and what comes and goes, until Ctrl-C
  dexumi devices --json | jq -r '.cameras[].address'
  sudo dexumi devices --setup           lets you open them: rules for udev, groups
  dexumi devices --setup --out 70-dexumi.rules")]
pub struct Devices {
    /// Show what is plugged in and pulled out, as it happens.
    #[arg(long, conflicts_with = "setup")]
    watch: bool,
    /// Print udev's rules for these devices, install them when root, and say which
    /// groups the user should be in.
    #[arg(long)]
    setup: bool,
    /// Where the rules go [default: /etc/udev/rules.d/70-dexumi.rules, for root only].
    #[arg(long, value_name = "FILE", requires = "setup")]
    out: Option<PathBuf>,
    /// For machines; with --watch one object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct DriverLine {
    name: &'static str,
    feeds: &'static str,
    help: &'static str,
}

#[derive(Serialize)]
struct Report {
    serial: Vec<SerialLine>,
    cameras: Vec<CameraLine>,
    drivers: Vec<DriverLine>,
}

impl Report {
    fn now() -> Self {
        let driver = |driver: &dexumi_capture::Driver| DriverLine {
            name: driver.name,
            feeds: driver.feeds,
            help: driver.help,
        };
        Self {
            serial: listed::serial(),
            cameras: listed::cameras(),
            drivers: DRIVERS.iter().map(driver).collect(),
        }
    }

    fn print(&self) {
        println!("Serial ports:");
        for port in &self.serial {
            print!("{port}");
        }
        if self.serial.is_empty() {
            println!("  none");
        }
        println!("Cameras:");
        for camera in &self.cameras {
            print!("{camera}");
        }
        if self.cameras.is_empty() {
            println!("  none");
        }
        println!("Drivers:");
        for driver in &self.drivers {
            println!(
                "  {:24} {}\n  {:24}   feeds {}",
                driver.name, driver.help, "", driver.feeds
            );
        }
    }
}

impl Devices {
    /// Lists, watches or sets up.
    pub fn run(self) -> Result<Exit> {
        if self.setup {
            return setup::run(self.out.as_deref(), self.json);
        }
        if self.watch {
            return watch::run(self.json);
        }
        let report = Report::now();
        if self.json {
            print_json(&report)?;
        } else {
            report.print();
        }
        Ok(Exit::Done)
    }
}
