//! What must hold for every log: the store against a naive model, and against itself along other ways to the same
//! log. Every run draws from a seed and names it when it fails; `HOLDFAST_STORE_SEED` adds one run with that seed.

mod checkpoints;
mod commands;
mod interleaving;
mod message_logs;
mod model;
mod reads;
mod restores;

use holdfast_engine::{Entry, EntryKind, Index, Position, Term};
use holdfast_store::Limits;

/// Small enough that a few hundred commands meet every one of them.
pub(crate) const SMALL: Limits = Limits {
    sessions: 4,
    sessions_bytes: 4_000,
    history_bytes: 12_000,
    history_revisions: 40,
    quota_bytes: 9_000,
    logs: 3,
};

/// Run `check` with each of `runs` seeds.
pub(crate) fn for_seeds(runs: u64, check: impl Fn(u64)) {
    let extra = std::env::var("HOLDFAST_STORE_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in extra.into_iter().chain(0..runs) {
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(seed)));
        if let Err(panic) = failed {
            let message = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            panic!("seed {seed} (set HOLDFAST_STORE_SEED={seed} to try it first): {message}");
        }
    }
}

/// The entry with this payload at `index`.
pub(crate) fn entry(index: u64, payload: &[u8]) -> Entry {
    Entry::new(Position::new(Term(1), Index(index)), EntryKind::Command, payload)
}
