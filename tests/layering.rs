//! The import table of the core: imports point down, never up. And what is absent on purpose.

use std::{collections::BTreeMap, fs, path::Path};

/// The modules of ws-proto, the lowest layer first. An import leads to a lower layer, between a
/// module and the modules inside it, or is listed below.
const LAYERS: &[&[&str]] = &[
    // Wire: pure codecs, which keep nothing between calls.
    &[
        "close",
        "frame",
        "frame/header",
        "frame/mask",
        "handshake/accept",
        "handshake/head",
        "uri",
        "utf8",
    ],
    &["error"],
    &["config", "event", "extension", "handshake", "output"],
    &[
        "connection",
        "connection/receive",
        "connection/send",
        "connection/timer",
    ],
    &[
        "handshake/client",
        "handshake/request",
        "handshake/server",
        "message",
    ],
    // Drivers.
    &["io", "io/handshake"],
];

/// Imports within a layer.
const SIDEWAYS: &[(&str, &str)] = &[
    // A Close code says which role may send it.
    ("close", "frame"),
    ("frame/header", "frame/mask"),
    // What both machines of the handshake write, and how long they wait.
    ("handshake", "config"),
    ("handshake", "output"),
    ("handshake/server", "handshake/request"),
];

/// Imports that lead up, each with its reason. Let this list become shorter.
const UPWARDS: &[(&str, &str)] = &[
    // Codecs name the rule that was broken: `Violation` is a word, and nothing else of `error` is
    // used. (`error` in turn knows each violation's Close code, so it cannot lie below `close`.)
    ("close", "error"),
    ("frame/header", "error"),
];

/// What the crate's root itself defines.
const ROOT: &[&str] = &["REPLY_ROOM"];

#[test]
fn imports_point_down() {
    let mut unused: Vec<_> = [SIDEWAYS, UPWARDS].concat();
    for (module, source) in sources() {
        if module == "lib" {
            continue;
        }
        for import in imports(&module, &code(&source)) {
            let pair = (module.as_str(), import.as_str());
            unused.retain(|listed| *listed != pair);
            assert!(
                may_import(&module, &import),
                "{module} must not import {import}"
            );
        }
    }
    assert_eq!(unused, [], "exceptions that are not needed any more");
}

fn may_import(module: &str, import: &str) -> bool {
    if let Some(item) = import.strip_prefix("crate::") {
        return ROOT.contains(&item);
    }
    let is_inside = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    let pair = (module, import);
    layer(import) < layer(module)
        || is_inside(import, module)
        || is_inside(module, import) && layer(import) == layer(module)
        || SIDEWAYS.contains(&pair) && layer(import) == layer(module)
        || UPWARDS.contains(&pair)
}

fn layer(module: &str) -> usize {
    let layer = LAYERS.iter().position(|layer| layer.contains(&module));
    layer.unwrap_or_else(|| panic!("{module} has a place in the table"))
}

/// The first word of a module says what it is.
#[test]
fn modules_say_what_they_are() {
    for (module, source) in sources() {
        let expected = match module.as_str() {
            "lib" => continue,
            module if layer(module) == 0 => "//! Wire. ",
            module if layer(module) == LAYERS.len() - 1 => "//! Driver. ",
            _ => "//! State. ",
        };
        let first = source.lines().next().unwrap_or_default();
        assert!(first.starts_with(expected), "{module} begins: {first}");
    }
}

/// No allocation, no clock, no I/O: neither `std` nor `alloc` but behind a feature.
#[test]
fn std_and_alloc_are_behind_features() {
    for (module, source) in sources() {
        let mut gate = "";
        for line in code(&source).lines().map(str::trim) {
            if line.starts_with("#[cfg(") {
                gate = line;
                continue;
            }
            let is_gated = gate.starts_with("#[cfg(feature = ") || gate == "#[cfg(test)]";
            // `forbid(unsafe_code)` is another word.
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let mut words = line.split(|c| !is_word(c));
            let absent = ["std", "alloc", "Instant", "SystemTime", "unsafe"];
            let found = words.find(|word| absent.contains(word));
            assert!(found.is_none() || is_gated, "{module}: {line}");
            gate = "";
        }
    }
}

/// All modules by name, the root being `lib`.
fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ws-proto/src");
    let mut sources = BTreeMap::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("the sources are there") {
            let path = entry.expect("the directory is read").path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let inside = path.strip_prefix(&root).expect("it is inside");
            let name = inside.with_extension("");
            let name = name.to_str().expect("names are ASCII");
            let name = name.strip_suffix("/mod").unwrap_or(name).to_owned();
            let source = fs::read_to_string(&path).expect("a file is read");
            sources.insert(name, source);
        }
    }
    assert!(sources.len() > 20, "the walk finds the crate");
    sources
}

/// The source without its tests and comments.
fn code(source: &str) -> String {
    let without_tests = source
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    let line = |line: &str| line.split("//").next().unwrap_or_default().to_owned() + "\n";
    without_tests.lines().map(line).collect()
}

/// The modules that a module imports; an item of the root itself is `crate::` and its name.
fn imports(module: &str, code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for part in code.split(';') {
        if let Some((_, tree)) = part.rsplit_once("use ") {
            expand("", tree, &mut paths);
        }
    }
    // Paths that are written where they are used.
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
        paths.push(rest[..end.unwrap_or(rest.len())].to_owned());
    }
    let mut imports: Vec<_> = paths
        .iter()
        .filter_map(|path| resolve(module, path))
        .filter(|import| import != module)
        .collect();
    imports.sort();
    imports.dedup();
    imports
}

/// `a::{b, c::{d, e}}` is `a::b`, `a::c::d`, `a::c::e`.
fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        let name = tree.split_whitespace().next().unwrap_or_default();
        paths.push(format!("{prefix}{name}"));
        return;
    };
    let prefix = format!("{prefix}{}", head.trim());
    let body = rest.rsplit_once('}').map_or(rest, |(body, _)| body);
    let mut depth = 0;
    let parts = body.split(|c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    for part in parts.filter(|part| !part.trim().is_empty()) {
        expand(&prefix, part, paths);
    }
}

/// The module that a path leads to, if it is one of this crate.
fn resolve(module: &str, path: &str) -> Option<String> {
    let mut names = path.split("::").filter(|name| !name.is_empty());
    let mut place: Vec<&str> = match names.next()? {
        "crate" => Vec::new(),
        "self" => module.split('/').collect(),
        "super" => module
            .rsplit_once('/')
            .map_or(Vec::new(), |(outer, _)| outer.split('/').collect()),
        _ => return None,
    };
    place.extend(names);
    let item = *place.first()?;
    while !place.is_empty() {
        let name = place.join("/");
        if LAYERS.concat().contains(&name.as_str()) {
            return Some(name);
        }
        place.pop();
    }
    Some(format!("crate::{item}"))
}

/// The half of ws-mio that decides: it is told what is ready and what time it is. Sockets, the poll
/// and the clock are at the rim: `reactor/mod.rs`, `reactor/listener.rs` and `server.rs`.
const DECIDES: &[&str] = &[
    "accept.rs",
    "buffers.rs",
    "connection/memory.rs",
    "connection/outgoing.rs",
    "connection/queue.rs",
    "connection/reader.rs",
    "connection/sender.rs",
    "handle.rs",
    "reactor/census.rs",
    "reactor/drain.rs",
    "reactor/engine.rs",
    "reactor/engine/admission.rs",
    "reactor/engine/ending.rs",
    "reactor/farewell.rs",
    "reactor/inbox.rs",
    "reactor/open.rs",
    "reactor/opening.rs",
    "reactor/slab.rs",
    "reactor/wheel.rs",
    "session.rs",
    "testing.rs",
    "testing/client.rs",
    "testing/transcript.rs",
    "testing/wire.rs",
];

#[test]
fn engine_of_ws_mio_knows_no_sockets_and_no_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ws-mio/src");
    for name in DECIDES {
        let source = fs::read_to_string(root.join(name)).expect("a file is read");
        let code = code(&source);
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let absent = [
            "mio",
            "socket2",
            "rustix",
            "TcpStream",
            "TcpListener",
            "UnixStream",
            "Poll",
            "Instant",
            "SystemTime",
            "sleep",
        ];
        let mut words = code.split(|c| !is_word(c));
        let found = words.find(|word| absent.contains(word));
        assert_eq!(found, None, "{name}");
    }
}
