//! The project's deterministic source of chance: SplitMix64 from a given seed. Not for secrets.

use std::time::Duration;

/// [SplitMix64](https://prng.di.unimi.it/splitmix64.c) by Sebastiano Vigna: one state word, full period.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number, uniform over all of them.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `[0, bound)`; 0 if the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of the remainder is below 2⁻³² for the bounds that timers and simulations use.
        if bound == 0 { 0 } else { self.draw() % bound }
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        (self.draw() >> 11) as f64 / ((1u64 << 53) as f64) < probability
    }

    /// A duration in `[from, to)`; `from` if the range is empty.
    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        from + Duration::from_nanos(self.below(to.saturating_sub(from).as_nanos() as u64))
    }
}
