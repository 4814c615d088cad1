//! Rigs that the documentation offers, and emulated ones of every kind.

use std::path::Path;

use dexumi_capture::emulate::PRESETS;
use dexumi_episode::{Rig, episodes_in};

use crate::program::{Rig as Emulated, json, run_well, text};

#[test]
fn every_rig_of_the_documentation_is_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rigs");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("docs/rigs") {
        let path = entry.expect("an entry").path();
        let rig = Rig::load(&path).expect("a good rig");
        for device in &rig.device {
            dexumi_capture::driver::driver_of(device)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        count += 1;
    }
    assert!(count >= 2, "{count} rigs");
}

#[test]
fn every_emulated_rig_records_all_its_streams_and_loses_nothing() {
    for preset in PRESETS {
        let folder = tempfile::tempdir().expect("a folder");
        let emulated =
            Emulated::start(folder.path(), &["--preset", preset.name, "--fault", "none"]);
        let session = folder.path().join("session");
        let record = [
            "record",
            "--rig",
            text(&emulated.rig),
            "--out",
            text(&session),
            "--seconds",
            "3",
            "--json",
        ];
        // 3: a busy machine delays the emulator, which leaves out what is late.
        let report = json(&run_well(&record, &[0, 3]));
        let ledger = report["episodes"][0]["ledger"]
            .as_object()
            .expect("a ledger");
        let streams = (preset.parts)()
            .iter()
            .map(|part| part.streams.len())
            .sum::<usize>();
        assert_eq!(ledger.len(), streams, "{}", preset.name);
        for (stream, counts) in ledger {
            let written = counts["written"].as_u64().expect("a number");
            assert!(written > 60, "{}: {stream}: {counts}", preset.name);
            assert_eq!(counts["losses"], serde_json::json!({}), "{stream}");
        }
        let episode = &episodes_in(&session).expect("a session")[0];
        run_well(&["info", text(episode)], &[0, 3]);
    }
}
