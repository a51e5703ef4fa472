//! Lots drawn from a seed: the same seed draws the same. It is SplitMix64; nothing here is secret.

use std::time::Duration;

/// The drawer.
#[derive(Clone, Debug)]
pub struct Lots(u64);

impl Lots {
    /// Lots that follow from `seed`.
    pub fn new(seed: u64) -> Lots {
        Lots(seed)
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `[0, bound)`; `bound` is small beside 2^64, so that all are as likely.
    ///
    /// # Panics
    ///
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// Whether something happens that does in so many of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    /// A time in whole milliseconds from `[low, high]`.
    pub fn time(&mut self, low_ms: u64, high_ms: u64) -> Duration {
        Duration::from_millis(low_ms + self.below(high_ms - low_ms + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_again_and_everything_there_is() {
        let draw = |seed| {
            let mut lots = Lots::new(seed);
            (0..200).map(|_| lots.below(7)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!((0..7).all(|number| draw(1).contains(&number)));
        let mut lots = Lots::new(3);
        assert!((0..100).all(|_| (5..=9).contains(&(lots.time(5, 9).as_millis() as u64))));
    }
}
