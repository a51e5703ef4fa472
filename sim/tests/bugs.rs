//! The simulator finds every bug that is put in on purpose, each within a stated number of seeds.

use holdfast_sim::{Bug, run};

/// Seeds that may be spent on one bug. Most are found within ten.
const SEEDS_MAX: u64 = 1000;

#[test]
fn every_seeded_bug_is_found() {
    // A bug may well end in a failed assertion; its backtrace would drown the table below.
    std::panic::set_hook(Box::new(|_| {}));
    let mut table = String::new();
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        match (0..SEEDS_MAX).find_map(|seed| run(seed, Some(bug), false).err()) {
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
