//! How a member's parts learn that it is to end, and by when: [`End`] says it once, every [`Ending`] hears it.
//!
//! It refuses to be taken back: a part that has begun to end cannot be asked to go on.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Says that the end has come. Dropping it without a word says so too, with no time left.
#[derive(Debug)]
pub struct End(watch::Sender<Option<Instant>>);

/// Hears that the end has come.
#[derive(Clone, Debug)]
pub struct Ending(watch::Receiver<Option<Instant>>);

/// One end, and its first listener.
pub fn ending() -> (End, Ending) {
    let (say, hear) = watch::channel(None);
    (End(say), Ending(hear))
}

impl End {
    /// Begin to end; whatever is not done after `grace` is cut off. Only the first call counts.
    pub fn begin(&self, grace: Duration) {
        self.0.send_if_modified(|deadline| {
            let first = deadline.is_none();
            deadline.get_or_insert(Instant::now() + grace);
            first
        });
    }
}

impl Ending {
    /// Wait until the end begins; then: when it must be over.
    pub async fn begun(&mut self) -> Instant {
        match self.0.wait_for(Option::is_some).await {
            Ok(deadline) => deadline.unwrap_or_else(Instant::now),
            Err(_) => Instant::now(),
        }
    }

    /// Whether the end has begun.
    pub fn has_begun(&self) -> bool {
        self.0.borrow().is_some() || self.0.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_hears_the_first_deadline() {
        let (end, mut early) = ending();
        assert!(!early.has_begun());
        end.begin(Duration::from_secs(60));
        let deadline = early.begun().await;
        end.begin(Duration::from_secs(600));
        let mut late = early.clone();
        assert!(late.has_begun());
        assert_eq!(late.begun().await, deadline);
    }

    #[tokio::test]
    async fn an_end_that_is_dropped_ends_at_once() {
        let (end, mut hears) = ending();
        drop(end);
        assert!(hears.has_begun());
        assert!(hears.begun().await <= Instant::now());
    }
}
