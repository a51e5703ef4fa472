//! The engine's only source of chance: SplitMix64 from the seed it was given. Not for secrets.

use std::time::Duration;

/// [SplitMix64](https://prng.di.unimi.it/splitmix64.c) by Sebastiano Vigna: one state word, full period.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A duration in `[from, to)`; `from` if the range is empty.
    pub(crate) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let span = to.saturating_sub(from).as_nanos() as u64;
        if span == 0 { from } else { from + Duration::from_nanos(self.next() % span) }
    }
}
