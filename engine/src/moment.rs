//! Time as the engine sees it: a number that its owner reads off some monotonic clock.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds since a point that the owner chose and keeps. Moments of different members cannot be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Add<Duration> for Moment {
    type Output = Moment;

    /// Later by `duration`; stays at the last moment instead of overflowing (584 years).
    fn add(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Moment {
    type Output = Duration;

    /// The time from `earlier` to `self`; zero if it is not earlier.
    fn sub(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
