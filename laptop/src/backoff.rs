//! How long a dead member waits before it is started again: a kubelet's rule with shorter times.
//!
//! Refuses to know the time; the caller says how long the member lived.

use std::time::Duration;

/// A second death in a row waits this long, and each one after it twice as long as the one before. The first does not
/// wait: on a laptop a process that was killed once was killed on purpose.
const WAIT_FIRST: Duration = Duration::from_secs(1);

/// No wait is longer. A kubelet's is five minutes; somebody watches this one.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A member that lived this long was well, and its next death counts as the first. Longer than the time in which a
/// member that cannot start gives up, so that such a member does slow down.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);

/// The deaths in a row of one member.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// How long to wait before the next start, after a life of `lived`.
    pub fn wait_after(&mut self, lived: Duration) -> Duration {
        if lived >= HEALTHY_AFTER {
            self.deaths = 0;
        }
        let wait = match self.deaths {
            0 => Duration::ZERO,
            deaths => {
                WAIT_FIRST.saturating_mul(1_u32.checked_shl(deaths - 1).unwrap_or(u32::MAX)).min(WAIT_MAX)
            }
        };
        self.deaths = self.deaths.saturating_add(1);
        wait
    }

    /// Forgets the deaths so far: somebody started the member by hand.
    pub fn reset(&mut self) {
        self.deaths = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The waits, in seconds, after lives of so many seconds.
    fn check(lives: &[u64], waits: &[u64]) {
        let mut backoff = Backoff::default();
        let got: Vec<u64> =
            lives.iter().map(|lived| backoff.wait_after(Duration::from_secs(*lived)).as_secs()).collect();
        assert_eq!(got, waits);
    }

    #[test]
    fn the_first_restart_is_at_once_and_then_waits_double_to_a_cap() {
        check(&[0; 8], &[0, 1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_healthy_life_starts_over() {
        check(&[0, 0, 4, 5, 0], &[0, 1, 2, 0, 1]);
    }

    #[test]
    fn it_never_overflows() {
        let mut backoff = Backoff { deaths: u32::MAX };
        assert_eq!(backoff.wait_after(Duration::ZERO), WAIT_MAX);
    }
}
