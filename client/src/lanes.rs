//! Sessions that stamp writes, so that a write which is sent twice is applied once.
//!
//! A lane is one session with one write under way at a time: the store keeps the outcome of a session's newest
//! sequence number only. Refuses to reuse a lane whose last write has no known outcome: its number may be taken or
//! free, and guessing wrong would hand one write the outcome of another.

use std::sync::Mutex;

/// Lanes kept for the next write. One is needed per write under way; beyond this many a finished lane is forgotten,
/// which costs the store one of its ten thousand sessions until it is the oldest.
const LANES_IDLE_MAX: usize = 4096;

/// One session and the number that its next write carries, from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    /// Drawn at random, so that no two clients share it.
    pub(crate) session: u128,
    /// Of the write under way.
    pub(crate) sequence: u64,
}

/// The lanes of one client that have no write under way.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    idle: Mutex<Vec<Lane>>,
}

impl Lane {
    fn new() -> Lane {
        let mut session = [0; 16];
        getrandom::fill(&mut session).expect("the system has randomness");
        Lane { session: u128::from_le_bytes(session), sequence: 1 }
    }
}

impl Lanes {
    /// A lane for one write. It is given back with [`Lanes::done`], or dropped if the outcome is not certain, also
    /// by a caller that gives up.
    pub(crate) fn take(&self) -> Lane {
        self.idle().pop().unwrap_or_else(Lane::new)
    }

    /// A lane that nobody used before.
    pub(crate) fn fresh(&self) -> Lane {
        Lane::new()
    }

    /// The lane's write is in the log for certain: its number is used, and the next one is free.
    pub(crate) fn done(&self, mut lane: Lane) {
        lane.sequence += 1;
        let mut idle = self.idle();
        if idle.len() < LANES_IDLE_MAX {
            idle.push(lane);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Lane>> {
        // A vector cannot be left half changed by a panic elsewhere.
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_lane_counts_on_and_a_dropped_one_is_never_seen_again() {
        let lanes = Lanes::default();
        let first = lanes.take();
        let session = first.session;
        assert_eq!(first.sequence, 1);
        lanes.done(first);
        let again = lanes.take();
        assert_eq!(again, Lane { session, sequence: 2 });
        assert_ne!(lanes.take().session, session);
    }

    #[test]
    fn two_writes_at_once_have_a_lane_each() {
        let lanes = Lanes::default();
        assert_ne!(lanes.take().session, lanes.take().session);
    }

    #[test]
    fn idle_lanes_are_bounded() {
        let lanes = Lanes::default();
        for _ in 0..LANES_IDLE_MAX + 10 {
            lanes.done(lanes.fresh());
        }
        assert_eq!(lanes.idle().len(), LANES_IDLE_MAX);
    }
}
