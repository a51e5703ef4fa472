//! Who follows which message log: readers that wait are woken once for all that a round has committed.
//!
//! A follower is told how far its log is, and reads pages at its own pace; nothing is kept for it here, so that a slow
//! one costs no memory and holds nobody up. It refuses to count what followers have seen: that they know themselves.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_store::{Sequence, Store, View};
use tokio::sync::watch;

use super::handle::{Failure, RefusalCode};

/// Followers at one member. Each that waits asks for a page whenever its log has grown; so many fit into the queue of
/// clients several times over.
const FOLLOWERS_MAX: usize = 1_000;

/// How far a log is. A log that does not exist is at its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Counts how often the log was deleted while it was followed: another life is another log of the same name.
    pub life: u64,
    /// The sequence that the next committed message gets.
    pub committed_next: Sequence,
    /// The sequence that the next message gets.
    pub next: Sequence,
    /// Counts the rollbacks: after one, messages from `committed_next` on may be others than before.
    pub rollbacks: u64,
}

/// The reader's end. Dropping it ends following.
#[derive(Debug)]
pub struct Follower(watch::Receiver<Tail>);

impl Follower {
    /// How far the log is now.
    pub fn tail(&mut self) -> Tail {
        *self.0.borrow_and_update()
    }

    /// Waits until the log is elsewhere than it was when [`Follower::tail`] was asked last; `false` if the member ends.
    ///
    /// Cancel safe.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

/// All followers of a member, by log.
#[derive(Debug, Default)]
pub(super) struct Follows {
    logs: BTreeMap<Bytes, watch::Sender<Tail>>,
    rollbacks: u64,
}

impl Follows {
    /// Follow a log, which may be still to come.
    pub(super) fn begin(&mut self, store: &Store, log: Bytes) -> Result<Follower, Failure> {
        self.logs.retain(|_, tail| tail.receiver_count() > 0);
        let followers: usize = self.logs.values().map(watch::Sender::receiver_count).sum();
        if followers >= FOLLOWERS_MAX {
            return Err(Failure::Refused {
                code: RefusalCode::TooManyWatches,
                detail: format!("this member has {FOLLOWERS_MAX} followers of message logs already"),
                retryable: true,
                retry_after: None,
            });
        }
        let tail = tail(store, &log, self.rollbacks, 0);
        let sender = self.logs.entry(log).or_insert_with(|| watch::Sender::new(tail));
        Ok(Follower(sender.subscribe()))
    }

    /// What was executed and not committed was undone, or the whole state was replaced.
    pub(super) fn rolled_back(&mut self) {
        self.rollbacks += 1;
    }

    /// Wake those whose log is elsewhere than before.
    pub(super) fn publish(&mut self, store: &Store) {
        for (log, sender) in &self.logs {
            sender.send_if_modified(|before| {
                let mut now = tail(store, log, self.rollbacks, before.life);
                // What is committed goes back only with the whole log.
                now.life += u64::from(now.committed_next < before.committed_next);
                std::mem::replace(before, now) != now
            });
        }
    }

    /// The member ends.
    pub(super) fn end(&mut self) {
        self.logs.clear();
    }
}

fn tail(store: &Store, log: &[u8], rollbacks: u64, life: u64) -> Tail {
    let next = |view| store.log(log, view).map_or(Sequence(1), |log| log.next);
    Tail { life, committed_next: next(View::Committed), next: next(View::Executed), rollbacks }
}
