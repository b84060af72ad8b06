//! The list is held by this test: each row of the RFC checklist and each fault has a test that is
//! named after it, `rfc_047_server_receives_unmasked_frame` or `fault_09_...`. So has each class of
//! attacks that is the adapters' to withstand, `sec_31_...`.

use std::{collections::BTreeSet, fs, ops::RangeInclusive, path::Path};

/// The rows of the checklist: URIs, the opening handshake, framing, text, ping and pong, closing.
/// Rows 4 to 6 are a pool's, TLS's and a proxy's; from 98 on they are of compression and HTTP/2.
const ROWS: [RangeInclusive<u32>; 2] = [1..=3, 7..=97];

/// The faults of other crates; 15 and 16 are of compression.
const FAULTS: [RangeInclusive<u32>; 2] = [1..=14, 17..=24];

/// The classes of attacks on a server's memory, time and descriptors.
const CLASSES: [RangeInclusive<u32>; 4] = [6..=6, 15..=15, 19..=23, 28..=40];

/// Rows without a test, and why. A row that has one must not be here.
const LATER: &[(u32, &str)] = &[];

#[test]
fn each_row_and_each_fault_has_a_test_named_after_it() {
    let tests = tests();
    let rows = numbers(&tests, "rfc_", 3);
    let faults = numbers(&tests, "fault_", 2);
    let missing: Vec<_> = ROWS
        .into_iter()
        .flatten()
        .filter(|row| !rows.contains(row))
        .collect();
    let later: Vec<_> = LATER.iter().map(|(row, _)| *row).collect();
    assert_eq!(missing, later, "rows without a test, and those that may be");
    let missing: Vec<_> = FAULTS
        .into_iter()
        .flatten()
        .filter(|fault| !faults.contains(fault))
        .collect();
    assert_eq!(missing, [0; 0], "faults without a test");
    let classes = numbers(&tests, "sec_", 2);
    let missing: Vec<_> = CLASSES
        .into_iter()
        .flatten()
        .filter(|class| !classes.contains(class))
        .collect();
    assert_eq!(missing, [0; 0], "classes of attacks without a test");
}

/// A number that is in no list is a slip of the pen.
#[test]
fn no_test_is_named_after_a_row_that_does_not_exist() {
    let tests = tests();
    let strange = |number: &u32, last| *number == 0 || *number > last;
    let rows = numbers(&tests, "rfc_", 3);
    assert_eq!(rows.iter().find(|row| strange(row, 120)), None);
    let faults = numbers(&tests, "fault_", 2);
    assert_eq!(faults.iter().find(|fault| strange(fault, 24)), None);
    let classes = numbers(&tests, "sec_", 2);
    assert_eq!(classes.iter().find(|class| strange(class, 54)), None);
    let named = |name: &&String| name.starts_with("rfc_") || name.starts_with("fault_");
    let many = tests.iter().filter(named).count();
    assert!(many > rows.len() + faults.len(), "{many} names were read");
}

/// The names of the tests that `cargo test` runs, in the files of this package and in those beside
/// the adapters.
fn tests() -> Vec<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(here.join("Cargo.toml")).expect("there is a manifest");
    let mut names = Vec::new();
    for (directory, is_flat) in [
        (here.to_owned(), true),
        (here.join("../ws-std/tests"), false),
        (here.join("../ws-mio/tests"), false),
        // The modules of its files.
        (here.join("../ws-mio/tests/engine"), false),
        (here.join("../ws-mio/tests/security"), false),
    ] {
        let Ok(entries) = fs::read_dir(directory) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("it can be read").path();
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            // A file that lies flat is run only if the manifest names it.
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .expect("ASCII");
            assert!(
                !is_flat || manifest.contains(&format!("path = \"{name}\"")),
                "{name} is not run"
            );
            names.extend(names_in(&fs::read_to_string(&path).expect("it is text")));
        }
    }
    names
}

/// The names of functions behind `#[test]`, unless they are ignored.
fn names_in(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        match line {
            "#[test]" => is_test = true,
            _ if line.starts_with("#[ignore") => is_test = false,
            _ if line.starts_with("fn ") => {
                let name = line.split(['(', '<']).next().unwrap_or_default();
                if is_test {
                    names.push(name["fn ".len()..].to_owned());
                }
                is_test = false;
            }
            _ => {}
        }
    }
    names
}

/// The numbers of this many digits behind `prefix`, each with an underscore behind it.
fn numbers(names: &[String], prefix: &str, digits: usize) -> BTreeSet<u32> {
    let numbers = names.iter().filter_map(|name| {
        let (number, _) = name.strip_prefix(prefix)?.split_once('_')?;
        assert_eq!(number.len(), digits, "{name}");
        Some(
            number
                .parse()
                .unwrap_or_else(|_| panic!("{name} has no number")),
        )
    });
    numbers.collect()
}
