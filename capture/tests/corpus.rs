//! Every file of the fuzz corpus through its parser, with what the fuzz targets
//! check (`tests/fuzz/`), so that neither needs a fuzzer to be kept.

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

#[path = "../../tests/fuzz/src/lib.rs"]
#[allow(dead_code, reason = "`run` is for the fuzzer")]
mod targets;

/// Targets of crates that this one must not know: `retarget/tests/corpus.rs`.
const ELSEWHERE: [&str; 3] = ["hand", "urdf", "npy"];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("readable")
                .file_name()
                .into_string()
                .expect("a name")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn every_file_of_the_corpus_is_read_as_its_target_says() {
    let mut failed = Vec::new();
    for (name, target) in targets::TARGETS {
        let folder = corpus().join(name);
        let mut understood = 0;
        for file in names(&folder) {
            let bytes = fs::read(folder.join(&file)).expect("readable");
            match catch_unwind(AssertUnwindSafe(|| target(&bytes))) {
                Ok(count) => understood += count,
                Err(_) => failed.push(format!("{name}/{file}")),
            }
        }
        // A corpus of which nothing is understood checks nothing.
        if understood == 0 {
            failed.push(format!("{name}: nothing understood"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn each_target_has_a_corpus_and_a_program() {
    let targets: BTreeSet<String> = targets::TARGETS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let own = |name: &String| !ELSEWHERE.contains(&name.as_str());
    assert_eq!(targets, names(&corpus()).into_iter().filter(own).collect());
    let programs = names(&corpus().join("../fuzz_targets"));
    let programs = programs.iter().filter_map(|file| file.strip_suffix(".rs"));
    assert_eq!(targets, programs.map(str::to_owned).filter(own).collect());
}
