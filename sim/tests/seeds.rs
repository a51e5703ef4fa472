//! Seeds that must hold: a fixed set, and fresh ones at every run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_sim::{IN_SYNC, MESSAGE_LOGS, Scenario, run, run_scenario};

/// Seeds of the fixed set: every run of the tests sees the same ones.
const FIXED: u64 = 300;

/// As many of in-sync mode.
const FIXED_IN_SYNC: u64 = 300;

/// As many with message logs.
const FIXED_MESSAGE_LOGS: u64 = 300;

/// Fresh seeds for each run of the tests.
const FRESH: u64 = 150;

/// Run `count` seeds from `first` on two threads, and fail with the first seed that does.
fn hold(first: u64, count: u64) {
    let next = AtomicU64::new(0);
    let worker = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return;
            }
            if let Err(failure) = run(first.wrapping_add(at), None, false) {
                panic!("{failure}");
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(worker);
        scope.spawn(worker);
    });
}

#[test]
fn fixed_seeds_hold() {
    hold(0, FIXED);
}

#[test]
fn fixed_seeds_of_in_sync_mode_hold() {
    hold(IN_SYNC, FIXED_IN_SYNC);
}

#[test]
fn fixed_seeds_with_message_logs_hold() {
    hold(MESSAGE_LOGS, FIXED_MESSAGE_LOGS);
}

/// The short form of the soak in the README.
#[test]
fn a_small_soak_of_the_message_logs_holds() {
    let report =
        run_scenario(Scenario::soak(1, 16, 3_000), None, false).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(report.messages >= 3_000 && report.lists > 1_000, "{report:?}");
}

#[test]
fn fresh_seeds_hold() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    let first = now.as_nanos() as u64;
    hold(first, FRESH);
    hold(first | IN_SYNC, FRESH);
    hold(first | MESSAGE_LOGS, FRESH);
}

#[test]
fn a_seed_replays_event_by_event() {
    for seed in (0..5).chain(IN_SYNC..IN_SYNC + 5).chain(MESSAGE_LOGS..MESSAGE_LOGS + 5) {
        let first = run(seed, None, false).expect("a seed of the fixed set");
        let second = run(seed, None, false).expect("the same seed");
        assert_eq!(format!("{first:?}"), format!("{second:?}"), "seed {seed}");
    }
}
