//! The fuzz corpus of what people bring along to retarget, through the same checks as under the fuzzer
//! (`tests/fuzz/`).

use std::fs;
use std::path::Path;

#[path = "../../tests/fuzz/src/hands.rs"]
mod hands;

#[test]
fn every_file_of_the_corpus_is_read_as_its_target_says() {
    let targets: [(&str, fn(&[u8]) -> usize); 3] = [
        ("hand", hands::hand),
        ("urdf", hands::urdf),
        ("npy", hands::npy),
    ];
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus");
    for (name, target) in targets {
        let files = fs::read_dir(corpus.join(name)).expect("a corpus");
        let understood: usize = files
            .map(|file| target(&fs::read(file.expect("readable").path()).expect("readable")))
            .sum();
        // A corpus of which nothing is understood checks nothing.
        assert!(understood > 0, "{name}");
    }
}
