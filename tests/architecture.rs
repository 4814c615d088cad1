//! The layers of the project hold: manifests and imports point down only, what
//! every crate rebuilds with stays light, and names say something.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::{Table, Value};

/// Each crate of the workspace and the crates of ours that it may use, as in the
/// table of layers in ARCHITECTURE.md. A new crate belongs in here.
const LAYERS: &[(&str, &[&str])] = &[
    ("dexumi_episode", &[]),
    ("dexumi_export", &["dexumi_episode"]),
    ("dexumi_capture", &["dexumi_episode"]),
    ("dexumi_calibrate", &["dexumi_episode"]),
    ("dexumi_retarget", &["dexumi_episode"]),
    ("dexumi_quality", &["dexumi_episode", "dexumi_retarget"]),
    ("dexumi_live", &["dexumi_episode", "dexumi_capture"]),
    ("dexumi_rerun", &["dexumi_episode", "dexumi_retarget"]),
    (
        "dexumi",
        &[
            "dexumi_episode",
            "dexumi_export",
            "dexumi_quality",
            "dexumi_capture",
            "dexumi_calibrate",
            "dexumi_retarget",
            "dexumi_live",
            "dexumi_rerun",
        ],
    ),
];

/// Too slow to build for a crate whose every edit rebuilds all others.
const HEAVY: &[&str] = &[
    "opencv", "rerun", "eframe", "egui", "tokio", "arrow", "parquet", "nokhwa",
];

/// Words that name anything and so say nothing.
const EMPTY_WORDS: &[&str] = &["manager", "helper", "util", "common", "misc"];

/// One crate of the workspace.
struct Crate {
    name: String,
    manifest: Table,
    /// Where its Rust files are: never another crate's.
    sources: Vec<PathBuf>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{error}: {}", path.display()))
}

fn read_toml(path: &Path) -> Table {
    read(path)
        .parse()
        .unwrap_or_else(|error| panic!("{error}: {}", path.display()))
}

/// Every file below `folder`, without what is built, recorded or hidden, and
/// without the folders of other crates (`nested`).
fn files_below(folder: &Path, nested: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{error}: {}", folder.display()));
        for entry in entries {
            let entry = entry.expect("a readable folder entry");
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let built = folder == root() && matches!(name.as_str(), "target" | "demo-out");
            // A build folder, a cache, a Python environment: they carry a mark.
            let mark = |mark: &str| path.join(mark).exists();
            let marked = mark("CACHEDIR.TAG") || mark("pyvenv.cfg");
            if name.starts_with('.') || built || marked || nested.contains(&path) {
                continue;
            }
            let kind = entry.file_type().expect("a readable file type");
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

/// The crates of the workspace, as its manifest lists them.
fn crates() -> Vec<Crate> {
    let workspace = read_toml(&root().join("Cargo.toml"));
    let members = workspace["workspace"]["members"]
        .as_array()
        .expect("workspace.members is a list");
    let folders: BTreeSet<PathBuf> = members
        .iter()
        .map(|member| member.as_str().expect("a member is a path"))
        .map(|member| match member {
            "." => root().to_owned(),
            member => root().join(member),
        })
        .collect();
    folders
        .iter()
        .map(|folder| {
            let manifest = read_toml(&folder.join("Cargo.toml"));
            let mut nested = folders.clone();
            nested.remove(folder);
            let mut sources = files_below(folder, &nested);
            sources.retain(|path| is_rust(path));
            Crate {
                name: manifest["package"]["name"]
                    .as_str()
                    .expect("a package has a name")
                    .to_owned(),
                manifest,
                sources,
            }
        })
        .collect()
}

/// The packages that a manifest names as dependencies of any kind, on any target.
fn dependencies(manifest: &Table) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (key, value) in manifest {
        let Value::Table(table) = value else { continue };
        match key.as_str() {
            "dependencies" | "dev-dependencies" | "build-dependencies" => {
                found.extend(table.iter().map(|(name, entry)| {
                    let renamed = entry.get("package").and_then(Value::as_str);
                    renamed.unwrap_or(name).replace('-', "_")
                }));
            }
            "target" => {
                for per_target in table.values().filter_map(Value::as_table) {
                    found.extend(dependencies(per_target));
                }
            }
            _ => {}
        }
    }
    found
}

/// The crates of ours that Rust code names in a path or an import. Comments may
/// name what the code may not.
fn imports(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in source.lines() {
        let code = line.split("//").next().unwrap_or_default();
        for (crate_name, _) in LAYERS {
            for (start, _) in code.match_indices(crate_name) {
                let before = &code[..start];
                let after = &code[start + crate_name.len()..];
                let inside_a_word = |c: char| c.is_alphanumeric() || c == '_';
                if before.ends_with(inside_a_word) || after.starts_with(inside_a_word) {
                    continue;
                }
                let imported = before.trim_end().ends_with("use")
                    || before.trim_end().ends_with("extern crate");
                if after.starts_with("::") || imported {
                    found.insert((*crate_name).to_owned());
                }
            }
        }
    }
    found
}

/// What in `named` the crate `name` may not use: crates of ours that are not below it.
fn forbidden(name: &str, named: &BTreeSet<String>) -> Vec<String> {
    let (_, below) = LAYERS
        .iter()
        .find(|(layer, _)| *layer == name)
        .unwrap_or_else(|| panic!("crate {name} has no layer: add it to LAYERS in this test"));
    named
        .iter()
        .filter(|used| LAYERS.iter().any(|(ours, _)| ours == used))
        .filter(|used| *used != name && !below.contains(&used.as_str()))
        .cloned()
        .collect()
}

/// The words of a name, lower case: `FooBar`, `foo_bar` and `foo-bar` are two.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut previous_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && previous_lower) {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            let last = words.last_mut().expect("never empty");
            last.extend(c.to_lowercase());
        }
        previous_lower = c.is_lowercase() || c.is_numeric();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The empty word in a name, if there is one (`utils` is `util`).
fn empty_word(name: &str) -> Option<&'static str> {
    let words = words(name);
    let singular = |word: &str| word.strip_suffix('s').unwrap_or(word).to_owned();
    EMPTY_WORDS
        .iter()
        .find(|empty| {
            words
                .iter()
                .any(|word| word == *empty || singular(word) == **empty)
        })
        .copied()
}

/// The names that a line of Rust declares: modules, types, traits, functions, constants.
fn declared(line: &str) -> Option<&str> {
    const KEYWORDS: &[&str] = &[
        "mod",
        "struct",
        "enum",
        "union",
        "trait",
        "type",
        "fn",
        "const",
        "static",
        "macro_rules!",
    ];
    let code = line.split("//").next().unwrap_or_default();
    let mut tokens = code.split_whitespace();
    let token = tokens.find(|token| KEYWORDS.contains(token))?;
    let mut name = tokens.next()?;
    if token == "const" && name == "fn" {
        name = tokens.next()?;
    }
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
    Some(&name[..end.unwrap_or(name.len())])
}

#[test]
fn every_manifest_names_only_crates_below_it() {
    let crates = crates();
    assert_eq!(
        crates.len(),
        LAYERS.len(),
        "LAYERS lists a crate that the workspace lacks"
    );
    for Crate { name, manifest, .. } in crates {
        let wrong = forbidden(&name, &dependencies(&manifest));
        assert!(
            wrong.is_empty(),
            "the manifest of {name} points up or sideways, to {wrong:?}"
        );
    }
}

#[test]
fn every_source_file_imports_only_crates_below_its_own() {
    let mut read_files = 0;
    for Crate { name, sources, .. } in crates() {
        assert!(!sources.is_empty(), "{name} has no Rust file");
        for path in sources {
            let wrong = forbidden(&name, &imports(&read(&path)));
            assert!(
                wrong.is_empty(),
                "{name} names {wrong:?}, up or sideways, in {}",
                path.display()
            );
            read_files += 1;
        }
    }
    assert!(read_files >= LAYERS.len());
}

#[test]
fn an_edge_that_points_up_or_sideways_is_found_in_whatever_form_it_is_written() {
    let manifest: Table = r#"
        [dependencies]
        dexumi_episode.workspace = true
        eyes = { package = "dexumi_retarget", path = "../retarget" }
        [dev-dependencies]
        dexumi_capture = { path = "../capture" }
        [target.'cfg(unix)'.build-dependencies]
        dexumi-export = "1"
    "#
    .parse()
    .expect("valid toml");
    assert_eq!(
        forbidden("dexumi_calibrate", &dependencies(&manifest)),
        ["dexumi_capture", "dexumi_export", "dexumi_retarget"]
    );

    let source = "
        use dexumi_episode::time::HostTime;
        pub use dexumi_capture;
        fn f() -> dexumi_retarget::Hand { dexumi::run() } // not dexumi_export::Format
        let folder = \"dexumi_rerun\"; let dexumi_export_path = 1;
    ";
    assert_eq!(
        forbidden("dexumi_calibrate", &imports(source)),
        ["dexumi", "dexumi_capture", "dexumi_retarget"]
    );
    assert!(forbidden("dexumi_rerun", &imports("use dexumi_retarget::Hand;")).is_empty());
}

/// All crates that one of ours brings when it is built by itself. Features are
/// resolved for it alone: what another crate of the workspace switches on in a
/// shared dependency (a server in `foxglove`) is not its doing.
fn brought_by(name: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "--package", name])
        .args(["--edges", "normal,build", "--prefix", "none"])
        .args(["--format", "{p}"])
        .current_dir(root())
        .output()
        .expect("cargo should start");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {said}");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn heavy_dependencies_stay_out_of_the_episode_crate_and_of_all_that_it_brings() {
    let all = brought_by("dexumi");
    for heavy in HEAVY {
        assert!(
            all.contains(*heavy),
            "{heavy} is not used any more: remove it from HEAVY"
        );
    }
    let brought = brought_by("dexumi_episode");
    assert!(brought.contains("mcap"), "cargo tree told nothing");
    for heavy in HEAVY {
        assert!(
            !brought.contains(*heavy),
            "dexumi_episode brings {heavy}; `cargo tree -p dexumi_episode -i {heavy}` tells by what way"
        );
    }
}

#[test]
fn no_file_folder_or_declaration_has_a_name_that_says_nothing() {
    let mut found = Vec::new();
    for path in files_below(root(), &BTreeSet::new()) {
        let inside = path.strip_prefix(root()).expect("below the root");
        for part in inside.components() {
            if let Some(word) = empty_word(&part.as_os_str().to_string_lossy()) {
                found.push(format!("\"{word}\" in the path {}", inside.display()));
            }
        }
        if !is_rust(&path) {
            continue;
        }
        for (index, line) in read(&path).lines().enumerate() {
            let name = declared(line);
            if let Some((name, word)) = name.and_then(|name| Some((name, empty_word(name)?))) {
                let number = index + 1;
                found.push(format!(
                    "\"{word}\" in {name}, {}:{number}",
                    inside.display()
                ));
            }
        }
    }
    found.dedup();
    assert!(
        found.is_empty(),
        "names that say nothing:\n{}",
        found.join("\n")
    );
}

#[test]
fn a_name_that_says_nothing_is_found_in_any_case_and_number() {
    assert_eq!(empty_word("serial_utils.rs"), Some("util"));
    assert_eq!(empty_word("DeviceManager"), Some("manager"));
    assert_eq!(empty_word("utility_function"), None);
    assert_eq!(empty_word("commonplace"), None);
    assert_eq!(
        declared("pub(crate) const fn ticks_of<T>() {"),
        Some("ticks_of")
    );
    assert_eq!(
        declared("    pub struct Session; // a struct Helper"),
        Some("Session")
    );
    assert_eq!(declared("let x = 1;"), None);
}
