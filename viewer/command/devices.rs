//! `dexumi devices`: what is plugged in, and what drivers there are.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use dexumi_capture::DRIVERS;
use serde::Serialize;

use super::print_json;
use crate::Exit;

/// Serial ports and video devices by stable name, and the drivers.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dexumi devices --json")]
pub struct Devices {
    /// For machines.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Found {
    address: PathBuf,
    leads_to: PathBuf,
}

#[derive(Serialize)]
struct DriverLine {
    name: &'static str,
    feeds: &'static str,
    help: &'static str,
}

#[derive(Serialize)]
struct Report {
    serial: Vec<Found>,
    video: Vec<Found>,
    drivers: Vec<DriverLine>,
}

/// Links of a folder under /dev: names that stay the same from plug to plug.
fn links(folder: &str) -> Vec<Found> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<Found> = entries
        .filter_map(|entry| {
            let address = entry.ok()?.path();
            let leads_to = std::fs::canonicalize(&address).ok()?;
            Some(Found { address, leads_to })
        })
        .collect();
    found.sort_by(|a, b| a.address.cmp(&b.address));
    found
}

impl Devices {
    /// Lists.
    pub fn run(self) -> Result<Exit> {
        let report = Report {
            serial: links("/dev/serial/by-id"),
            video: links("/dev/v4l/by-id"),
            drivers: DRIVERS
                .iter()
                .map(|driver| DriverLine {
                    name: driver.name,
                    feeds: driver.feeds,
                    help: driver.help,
                })
                .collect(),
        };
        if self.json {
            print_json(&report)?;
            return Ok(Exit::Done);
        }
        for (what, found) in [
            ("Serial ports", &report.serial),
            ("Video devices", &report.video),
        ] {
            println!("{what}:");
            if found.is_empty() {
                println!("  none");
            }
            for device in found {
                println!(
                    "  {}  ({})",
                    device.address.display(),
                    device.leads_to.display()
                );
            }
        }
        println!("Drivers:");
        for driver in &report.drivers {
            println!(
                "  {:24} {}\n  {:24}   feeds {}",
                driver.name, driver.help, "", driver.feeds
            );
        }
        Ok(Exit::Done)
    }
}
