//! One member's clock: it starts anywhere, runs a little or a lot too fast or too slow, and may miss a pause or jump.
//!
//! It never goes back while a process runs: engines are promised a monotonic clock, and nothing else.

use std::time::Duration;

use holdfast_engine::{Moment, Random};

/// A clock that runs right counts so many parts while the world counts a million.
const RIGHT: u64 = 1_000_000;

/// How a member's time follows from the world's.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// At this moment of the world ...
    world: Moment,
    /// ... the member's clock showed this.
    local: Moment,
    /// Parts per million of the world's pace.
    rate: u64,
}

impl Clock {
    /// A clock of some start and pace; `drift_max` in parts per million, below a million.
    pub(crate) fn draw(drift_max: u64, random: &mut Random) -> Clock {
        let rate = RIGHT - drift_max + random.below(2 * drift_max + 1);
        Clock { world: Moment(0), local: Moment(random.below(1 << 40)), rate }
    }

    /// What the clock shows at `world`.
    pub(crate) fn at(&self, world: Moment) -> Moment {
        Moment(self.local.0 + world.0.saturating_sub(self.world.0) * self.rate / RIGHT)
    }

    /// The first moment of the world at which the clock shows `local` or more.
    pub(crate) fn when(&self, local: Moment) -> Moment {
        let left = local.0.saturating_sub(self.local.0);
        let away = u128::from(left) * u128::from(RIGHT);
        Moment(
            self.world
                .0
                .saturating_add(away.div_ceil(u128::from(self.rate)).try_into().unwrap_or(u64::MAX / 2)),
        )
    }

    /// The clock stood still since `since`: a virtual machine was frozen.
    pub(crate) fn stood_still(&mut self, since: Moment, now: Moment) {
        (self.local, self.world) = (self.at(since), now);
    }

    /// The clock jumps ahead.
    pub(crate) fn jump(&mut self, now: Moment, ahead: Duration) {
        (self.local, self.world) = (self.at(now) + ahead, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_over_when_the_clock_says_so_and_not_before() {
        let mut random = Random::new(7);
        for _ in 0..1000 {
            let clock = Clock::draw(200_000, &mut random);
            let local = Moment(clock.local.0 + random.below(1 << 36));
            let due = clock.when(local);
            assert!(clock.at(due) >= local);
            assert!(due.0 == 0 || clock.at(Moment(due.0 - 1)) < local || local == clock.local);
        }
    }

    #[test]
    fn a_clock_never_goes_back() {
        let mut random = Random::new(7);
        let mut clock = Clock::draw(200_000, &mut random);
        let before = clock.at(Moment(1_000_000));
        clock.stood_still(Moment(1_000_000), Moment(9_000_000));
        assert_eq!(clock.at(Moment(9_000_000)), before);
        clock.jump(Moment(9_000_000), Duration::from_secs(1));
        assert_eq!(clock.at(Moment(9_000_000)), before + Duration::from_secs(1));
    }
}
