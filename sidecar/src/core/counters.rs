//! What the core and the peer connections count, for the metrics page to read.
//!
//! Plain atomics: counting never locks and never fails. Names, units and help texts for the outside are given where
//! the metrics page is written, not here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use holdfast_engine::MEMBERS_MAX;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// How many times something took how long.
///
/// Bounds double from 16 µs to 16.8 s, so that both a local fdatasync and a wedged disk can be read off.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; HISTOGRAM_BUCKETS],
    sum_ns: AtomicU64,
}

/// Buckets of a [`Histogram`]; the last one is open.
pub const HISTOGRAM_BUCKETS: usize = 22;

/// Upper bound of a histogram's first bucket.
const FIRST_BOUND: Duration = Duration::from_micros(16);

/// Everything that is counted. Gauges are read from the member's status instead.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events that the core took from its queue.
    pub events: Counter,
    /// Rounds of the core's loop; events per round tell how well it batches.
    pub rounds: Counter,
    /// Writes that were answered as done.
    pub writes_done: Counter,
    /// Writes that were refused; nothing of them happened.
    pub writes_refused: Counter,
    /// Writes whose outcome could not be told.
    pub writes_unknown: Counter,
    /// Writes that were asked for again because they had certainly not happened, or carried a session.
    pub writes_retried: Counter,
    /// Writes that were passed on to the leader.
    pub writes_forwarded: Counter,
    /// From a write's arrival at the core to its answer.
    pub write_seconds: Histogram,
    /// At the leader, from an entry's append to its commit.
    pub commit_seconds: Histogram,
    /// From a linearizable read's arrival at the core to its answer.
    pub read_seconds: Histogram,
    /// Reads that were answered.
    pub reads_done: Counter,
    /// Reads that were refused.
    pub reads_refused: Counter,
    /// Entries executed on the state.
    pub entries_executed: Counter,
    /// Entries undone because a failover dropped them.
    pub entries_undone: Counter,
    /// Times that this member became leader.
    pub leaderships: Counter,
    /// Times that this member saw another leader, or none, than before.
    pub leader_changes: Counter,
    /// Checkpoints written.
    pub checkpoints_done: Counter,
    /// Checkpoints that could not be written.
    pub checkpoints_failed: Counter,
    /// From a checkpoint's start to its being durable.
    pub checkpoint_seconds: Histogram,
    /// Checkpoints fetched from another member.
    pub checkpoints_fetched: Counter,
    /// Checkpoints that could not be fetched.
    pub fetches_failed: Counter,
    /// Watches that were ended because their reader was too slow.
    pub watches_too_slow: Counter,
    /// Per peer.
    pub peers: [PeerCounters; MEMBERS_MAX],
    /// Connections to the peer port that were turned away before they proved who they are.
    pub handshakes_refused: Counter,
    /// Connections to the peer port that were closed because of what came over them.
    pub frames_malformed: Counter,
}

/// What is counted per peer.
#[derive(Debug, Default)]
pub struct PeerCounters {
    /// Messages handed to its connection.
    pub sent: Counter,
    /// Messages dropped because it was not connected or its queue was full.
    pub dropped: Counter,
    /// Messages that came from it.
    pub received: Counter,
    /// Bytes written to it.
    pub sent_bytes: Counter,
    /// Bytes read from it.
    pub received_bytes: Counter,
    /// Connections to it that were established.
    pub connections: Counter,
    /// Connections from it that ended.
    pub connections_lost: Counter,
    /// The last round trip over its connection, in nanoseconds; 0 before the first.
    round_trip_ns: AtomicU64,
}

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Histogram {
    /// Something took `time`.
    pub fn observe(&self, time: Duration) {
        let steps = (time.as_nanos() / FIRST_BOUND.as_nanos().max(1)).max(1);
        // Bucket i holds what took up to FIRST_BOUND * 2^i; exact bounds round up to the bucket they end.
        let exact = time.as_nanos() % FIRST_BOUND.as_nanos() == 0 && steps.is_power_of_two();
        let bucket = match time <= FIRST_BOUND {
            true => 0,
            false => steps.ilog2() as usize + usize::from(!exact),
        };
        self.buckets[bucket.min(HISTOGRAM_BUCKETS - 1)].fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Upper bounds in seconds and how many were within each, not cumulative; the last bound is infinite.
    pub fn buckets(&self) -> [(f64, u64); HISTOGRAM_BUCKETS] {
        std::array::from_fn(|bucket| {
            let bound = match bucket {
                last if last == HISTOGRAM_BUCKETS - 1 => f64::INFINITY,
                bucket => FIRST_BOUND.as_secs_f64() * (1u64 << bucket) as f64,
            };
            (bound, self.buckets[bucket].load(Relaxed))
        })
    }

    /// The sum of all times, in seconds.
    pub fn sum(&self) -> f64 {
        self.sum_ns.load(Relaxed) as f64 / 1e9
    }
}

impl PeerCounters {
    /// A round trip over the peer's connection was measured.
    pub fn set_round_trip(&self, time: Duration) {
        self.round_trip_ns.store(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1), Relaxed);
    }

    /// The last round trip, if there was one.
    pub fn round_trip(&self) -> Option<Duration> {
        match self.round_trip_ns.load(Relaxed) {
            0 => None,
            ns => Some(Duration::from_nanos(ns)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_the_bucket_that_bounds_them() {
        for (micros, expected) in [(0, 0), (16, 0), (17, 1), (32, 1), (33, 2), (64, 2), (1_000_000_000, 21)] {
            let histogram = Histogram::default();
            histogram.observe(Duration::from_micros(micros));
            let bucket = histogram.buckets().iter().position(|&(_, count)| count == 1);
            assert_eq!(bucket, Some(expected), "{micros} µs");
        }
    }

    #[test]
    fn bounds_grow_and_end_open() {
        let bounds = Histogram::default().buckets().map(|(bound, _)| bound);
        assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{bounds:?}");
        assert!(bounds[HISTOGRAM_BUCKETS - 1].is_infinite());
    }
}
