//! Tests of what must stay absent: arrows between crates that the design does not draw, and anything of the outside world in
//! the crates that must behave the same whenever they are given the same input.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::{checkout, command};

/// Which of our crates each of our crates may use, also in its tests. `*` may use all.
const ARROWS: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("bench", &["*"]),
    ("chat", &["client"]),
    ("cli", &["api", "client", "figures", "lab", "laptop", "sidecar"]),
    ("client", &["api", "wire"]),
    ("e2e", &["*"]),
    ("engine", &[]),
    ("figures", &[]),
    ("fuzz", &["*"]),
    ("lab", &["api", "client", "figures", "laptop", "sidecar"]),
    ("laptop", &["api", "sidecar"]),
    ("operator", &["api", "client"]),
    ("sidecar", &["api", "engine", "storage", "store", "wire"]),
    ("sim", &["*"]),
    ("storage", &["engine"]),
    ("store", &["engine"]),
    ("wire", &["engine"]),
    ("xtask", &["api", "lab", "operator", "sidecar"]),
];

/// Crates that read no clock, open nothing and draw no lots: their callers hand them the time, the bytes and the seed.
const PURE: &[&str] = &["engine", "store"];

/// What pure crates may use of others.
const PURE_DEPENDENCIES: &[&str] =
    &["bytes", "crc32c", "holdfast-engine", "postcard", "serde", "sha2", "thiserror"];

/// What no source of a pure crate may name. The standard maps are among them because they order by a random seed.
const IMPURE: &[&str] = &[
    "File",
    "HashMap",
    "HashSet",
    "Instant",
    "RandomState",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "async_std",
    "env",
    "fs",
    "getrandom",
    "mio",
    "net",
    "process",
    "rand",
    "rustix",
    "smol",
    "thread",
    "thread_local",
    "tokio",
];

/// One of our crates: which crates it uses, by their names in the workspace's vocabulary.
fn workspace() -> BTreeMap<String, BTreeSet<String>> {
    let mut metadata = command::cargo(["metadata", "--no-deps", "--format-version=1", "--offline"]);
    let metadata = command::capture(metadata.current_dir(checkout())).expect("cargo knows the workspace");
    let metadata: serde_json::Value = serde_json::from_str(&metadata).expect("JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a name").to_owned();
    let packages = metadata["packages"].as_array().expect("packages").iter();
    packages
        .map(|package| {
            let uses = package["dependencies"].as_array().expect("dependencies").iter();
            (text(&package["name"]), uses.map(|used| text(&used["name"])).collect())
        })
        .collect()
}

/// Arrows of `crates` that `ARROWS` does not draw, each as `FROM -> TO`.
fn undrawn(crates: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut undrawn = Vec::new();
    for (name, uses) in crates {
        let from = name.strip_prefix("holdfast-").unwrap_or(name);
        let drawn = ARROWS.iter().find(|(crate_name, _)| *crate_name == from).map(|(_, targets)| *targets);
        // A crate may name itself: that is how its tests switch on its features.
        for to in uses.iter().filter_map(|used| used.strip_prefix("holdfast-")).filter(|to| *to != from) {
            if !drawn.is_some_and(|targets| targets.contains(&to) || targets.contains(&"*")) {
                undrawn.push(format!("{from} -> {to}"));
            }
        }
        if drawn.is_none() {
            undrawn.push(format!("{from} is not in the drawing"));
        }
    }
    undrawn
}

/// Words of `IMPURE` that a source names outside of comments, with their lines.
fn impurities(source: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (number, line) in source.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let words: Vec<&str> = code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        found.extend(IMPURE.iter().filter(|word| words.contains(*word)).map(|word| (number + 1, *word)));
    }
    found
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources.extend(self::sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
    sources
}

#[test]
fn no_crate_has_an_arrow_that_the_design_does_not_draw() {
    let crates = workspace();
    assert!(crates.len() >= ARROWS.len(), "every drawn crate is there: {:?}", crates.keys());
    assert_eq!(undrawn(&crates), Vec::<String>::new());
}

#[test]
fn an_arrow_that_is_not_drawn_is_found() {
    let one = |from: &str, to: &str| {
        let uses = BTreeSet::from([format!("holdfast-{to}"), "serde".to_owned()]);
        undrawn(&BTreeMap::from([(format!("holdfast-{from}"), uses)]))
    };
    assert_eq!(one("engine", "store"), ["engine -> store"]);
    assert_eq!(one("operator", "sidecar"), ["operator -> sidecar"]);
    assert_eq!(one("new", "api"), ["new -> api", "new is not in the drawing"]);
    assert_eq!(one("e2e", "cli"), Vec::<String>::new());
}

#[test]
fn engine_and_store_name_nothing_of_the_outside_world() {
    for name in PURE {
        let sources = sources(&checkout().join(name).join("src"));
        assert!(!sources.is_empty(), "{name} has sources");
        for path in sources {
            let source = fs::read_to_string(&path).expect("a source");
            assert_eq!(impurities(&source), [], "{}", path.display());
        }
    }
}

#[test]
fn engine_and_store_use_no_crate_that_could_reach_the_outside_world() {
    let crates = workspace();
    for name in PURE {
        let uses = &crates[&format!("holdfast-{name}")];
        let unknown: Vec<&String> =
            uses.iter().filter(|used| !PURE_DEPENDENCIES.contains(&used.as_str())).collect();
        assert!(unknown.is_empty(), "{name} uses {unknown:?}");
    }
}

#[test]
fn a_name_of_the_outside_world_is_found() {
    assert_eq!(impurities("use std::time::Duration;\nuse std::time::{Duration, Instant};"), [(2, "Instant")]);
    assert_eq!(impurities("std::fs::read(path)?;"), [(1, "fs")]);
    assert_eq!(impurities("let map = HashMap::new(); // as std::net does"), [(1, "HashMap")]);
    assert_eq!(impurities("/// An Instant of the caller's.\nlet rand_seed = random.draw();"), []);
}
