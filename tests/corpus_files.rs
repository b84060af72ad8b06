//! The functions of the fuzz targets, over all seeds, captures and findings in `fuzz/corpus`.

use std::{collections::BTreeMap, fs, path::Path};

use ws_tests::seeds::{Target, targets};

#[test]
fn every_target_runs_over_its_corpus() {
    for target in targets() {
        for (name, bytes) in files(&target) {
            // A panic says which file it was: the name is printed with a failing test's output.
            println!("{} {name}", target.name);
            (target.run)(&bytes);
        }
    }
}

/// Where the corpus of conversations has changed, run `cargo run -p ws-tests --example seeds`.
#[test]
fn generated_seeds_are_committed() {
    for target in targets() {
        let files = files(&target);
        for (name, bytes) in &target.seeds {
            assert!(
                files.get(name) == Some(bytes),
                "{}/{name} is out of date",
                target.name
            );
        }
    }
}

#[test]
fn corpus_is_small() {
    let files: Vec<_> = targets().iter().flat_map(files).collect();
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(files.len() < 200, "{} files", files.len());
    assert!(bytes < 300 << 10, "{bytes} bytes");
}

fn files(target: &Target) -> BTreeMap<String, Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target.name);
    let entries = fs::read_dir(directory).expect("each target has a corpus");
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.expect("the directory is read");
        let name = entry.file_name().into_string().expect("names are ASCII");
        (name, fs::read(entry.path()).expect("a file is read"))
    };
    entries.map(file).collect()
}
