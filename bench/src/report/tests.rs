//! The report of a small, made-up run, compared byte for byte with the one in `testdata/`. After a change of how it looks:
//! `UPDATE=1 cargo test -p holdfast-bench report`, and read the difference.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;

fn testdata() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata"))
}

fn results() -> Results {
    let text = fs::read_to_string(testdata().join("results.json")).expect("testdata/results.json");
    serde_json::from_str(&text).expect("results of this version")
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(path).expect("text"))
        })
        .collect()
}

#[test]
fn the_report_looks_as_it_did() {
    let folder = tempfile::tempdir().expect("a folder");
    write(&results(), folder.path()).expect("it is written");
    if std::env::var_os("UPDATE").is_some() {
        write(&results(), testdata()).expect("it is written");
    }
    let (found, wanted) = (files(folder.path()), files(testdata()));
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (name, text) in wanted {
        assert_eq!(found[&name], text, "{name}");
    }
}

#[test]
fn plots_without_figures_of_this_run_go_away() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("memory.svg"), "of an earlier run").expect("it is written");
    let results = Results { memory: Vec::new(), ..results() };
    write(&results, folder.path()).expect("it is written");
    assert!(!folder.path().join("memory.svg").exists());
    assert!(!fs::read_to_string(folder.path().join("results.md")).expect("the page").contains("memory.svg"));
}

#[test]
fn goals_without_figures_are_left_out() {
    assert!(targets::of(&results()).len() > 5);
    let nothing = Results {
        loads: Vec::new(),
        outages: Vec::new(),
        memory: Vec::new(),
        starts: Vec::new(),
        files: Vec::new(),
        ..results()
    };
    assert_eq!(targets::of(&nothing), []);
}

#[test]
fn a_goal_is_missed_by_a_little_too_much() {
    let goal = |what: &str, results: &Results| {
        let targets = targets::of(results);
        targets.into_iter().find(|target| target.what.contains(what)).expect("the goal is there").met
    };
    let mut results = results();
    let outages = results.outages.iter_mut().find(|outages| outages.fault == "kill").expect("kills");
    outages.ms = vec![5.0; 50];
    assert!(goal("kill -9", &results));
    results.outages[0].ms[0] = 20.1;
    assert!(!goal("kill -9", &results), "the 99th percentile of fifty is the longest");
}

#[test]
fn a_floor_that_writes_are_below_meets_nothing() {
    let busy = crate::floor::Floor { flush_us: 4_000.0, ..results().floors[0] };
    let results = Results { floors: vec![busy; 3], ..results() };
    let targets = targets::of(&results);
    let target = targets.iter().find(|target| target.what.contains("÷ floor")).expect("the goal is there");
    assert!(!target.met && target.measured.contains("busy"), "{target:?}");
}
