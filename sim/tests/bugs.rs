//! The simulator finds every mistake that is put in on purpose, each within a stated number of seeds.

use std::sync::Mutex;

use holdfast_sim::{Flaw, hunt};

/// Seeds that may be spent on one mistake.
const SEEDS_MAX: u64 = 500;

#[test]
fn every_seeded_bug_is_found() {
    // A bug may well end in a failed assertion; its backtrace would drown the table below.
    std::panic::set_hook(Box::new(|_| {}));
    let catalogue: Vec<Flaw> = Flaw::all().collect();
    let missed = Mutex::new(Vec::new());
    hunt(&catalogue, SEEDS_MAX, |hunted| {
        if hunted.found.is_none() {
            missed.lock().expect("nobody panics with it").push(hunted.flaw);
        }
    });
    let _ = std::panic::take_hook();
    let missed = missed.into_inner().expect("nobody panics with it");
    assert!(missed.is_empty(), "not found in {SEEDS_MAX} seeds each: {missed:?}");
}
