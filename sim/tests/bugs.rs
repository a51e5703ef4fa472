//! The simulator finds every bug that is put in on purpose, each within a stated number of seeds.

use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_sim::{Bug, run};

/// Seeds that may be spent on one bug. Most are found within ten.
const SEEDS_MAX: u64 = 3000;

#[test]
fn every_seeded_bug_is_found() {
    // A bug may well end in a failed assertion; its backtrace would drown the table below.
    std::panic::set_hook(Box::new(|_| {}));
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut results = Vec::new();
        while let Some(bug) = Bug::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = (0..SEEDS_MAX).find_map(|seed| run(seed, Some(*bug), false).err());
            results.push((*bug, found));
        }
        results
    };
    let results = std::thread::scope(|scope| {
        let other = scope.spawn(worker);
        let mut results = worker();
        results.extend(other.join().expect("the other worker"));
        results
    });
    let mut table = String::new();
    let mut missed = Vec::new();
    for (bug, found) in results {
        match found {
            Some(failure) => table += &format!("{bug:?}: seed {}: {}\n", failure.seed, failure.what),
            None => missed.push(bug),
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not found in {SEEDS_MAX} seeds each: {missed:?}\nfound:\n{table}");
    #[expect(clippy::print_stdout, reason = "the table is what a reader of the test wants")]
    {
        println!("{table}");
    }
}
