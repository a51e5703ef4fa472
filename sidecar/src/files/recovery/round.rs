//! One round: over all records, once.
//!
//! What this refuses to do: hold all records in memory, and run twice at a time.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use holdfast_wire::files::Digest;

use super::counts::Counts;
use crate::files::Files;
use crate::files::catalogue::CatalogueError;
use crate::files::limits::FETCHES_MAX;

/// What a round came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Round {
    /// Copies that were missing.
    pub(crate) total: u64,
    /// How many of them are there now.
    pub(crate) success: u64,
    /// How many are not.
    pub(crate) failed: u64,
}

/// One round at a time.
#[derive(Debug, Default)]
pub(in crate::files) struct Rounds {
    running: tokio::sync::Mutex<()>,
    /// How many rounds there were, and what the last one came to.
    last: Mutex<(u64, Round)>,
}

/// Whether a round tries what has failed a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// It waits for its pause to be over.
    Patient,
    /// Something has changed, or somebody asks for it.
    Eager,
}

impl Files {
    /// Recover everything now that is missing here, whatever has failed before. A round that is under way counts too.
    pub(crate) async fn recover_now(&self) -> Result<Round, CatalogueError> {
        let before = self.last_round().0;
        let running = self.0.rounds.running.lock().await;
        let (rounds, last) = self.last_round();
        drop(running);
        let round = self.round(Mood::Eager).await?;
        if rounds == before {
            return Ok(round);
        }
        // What failed in the round before was tried again in this one.
        let success = last.success + round.success;
        Ok(Round { total: success + round.failed, success, failed: round.failed })
    }

    fn last_round(&self) -> (u64, Round) {
        *self.0.rounds.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Go over all records once.
    pub(super) async fn round(&self, mood: Mood) -> Result<Round, CatalogueError> {
        let _running = self.0.rounds.running.lock().await;
        let mut round = Round::default();
        let mut kept: HashSet<Digest> = HashSet::new();
        let mut fetches = FuturesUnordered::new();
        let members = self.remaining().await;
        let mut after = None;
        let mut counts = Counts::default();
        loop {
            let page = self.catalogue().records(after.take()).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (_, found) in page {
                let record = match &members {
                    Some(members) => self.give_home(found.record, members).await?,
                    None => found.record,
                };
                counts.count(&record, self.me());
                if record.wants(self.me().ordinal) || record.is_held_by(self.me()) {
                    kept.insert(record.digest);
                }
                if self.is_as_it_should_be(&record).await {
                    continue;
                }
                if fetches.len() >= FETCHES_MAX {
                    round.count(fetches.next().await);
                }
                fetches.push(self.put_right(record, mood));
            }
        }
        while let Some(done) = fetches.next().await {
            round.count(Some(done));
        }
        self.0.counted.store(counts.files, Relaxed);
        counts.show(self, round);
        self.sweep(&kept).await?;
        self.remove_old_partials();
        self.tidy_queue().await?;
        let mut last = self.0.rounds.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (last.0 + 1, round);
        Ok(round)
    }
}

impl Round {
    fn count(&mut self, done: Option<Option<bool>>) {
        match done.flatten() {
            None => {}
            Some(true) => {
                self.total += 1;
                self.success += 1;
            }
            Some(false) => {
                self.total += 1;
                self.failed += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_counts_what_it_tried() {
        let mut round = Round::default();
        for done in [Some(true), None, Some(false), Some(true)] {
            round.count(Some(done));
        }
        assert_eq!(round, Round { total: 3, success: 2, failed: 1 });
    }
}
