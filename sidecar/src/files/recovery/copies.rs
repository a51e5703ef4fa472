//! The copies that this member is to have, one by one: is it here, who has it, fetch it, say so.
//!
//! What this refuses to do: say that a copy is here before its digest was compared.

use holdfast_engine::{MemberId, Ordinal, WriteConcern};

use super::round::Mood;
use crate::files::blobs::BlobError;
use crate::files::calls::CallError;
use crate::files::catalogue::{CatalogueError, Change};
use crate::files::limits::{PAUSE_FIRST, PAUSE_MAX, TRIES_MAX};
use crate::files::records::{FileRecord, QueueItem, QueueStatus, now_ms};
use crate::files::writing::Writing;
use crate::files::{Files, nodes};
use crate::listener::chain;
use crate::metrics::TransferResult;

/// What became of one copy.
enum Fetched {
    /// It is here.
    Here,
    /// Nobody wants it here any more.
    Unwanted,
    /// It is not here, and why.
    Failed(String),
}

impl Files {
    /// Whether what a record says of this member is so, and what it wants of it.
    pub(super) async fn is_as_it_should_be(&self, record: &FileRecord) -> bool {
        let (wanted, held) = (record.wants(self.me().ordinal), record.is_held_by(self.me()));
        if !wanted {
            return !held;
        }
        let (blobs, digest) = (self.0.blobs.clone(), record.digest);
        held && tokio::task::spawn_blocking(move || blobs.has(&digest)).await.unwrap_or(true)
    }

    /// Make what a record says so. `None`: it is not its turn.
    pub(super) async fn put_right(&self, record: FileRecord, mood: Mood) -> Option<bool> {
        let (name, me) = (record.name.clone(), self.me());
        if !record.wants(me.ordinal) {
            let _ = self.hold(&record, false, None).await;
            return None;
        }
        let item = match self.catalogue().item(&name, me.ordinal).await {
            Ok(Some(item)) if item.status != QueueStatus::Completed => item,
            Ok(_) => QueueItem::new(&name, me.ordinal, None, None),
            Err(error) => {
                tracing::debug!(reason = chain(&error), "cannot ask for an item of the queue");
                return Some(false);
            }
        };
        if mood == Mood::Patient && !is_due(&item, now_ms()) {
            return None;
        }
        let fetched = self.fetch(&record, &item).await;
        let metrics = &self.running().metrics().files;
        let attempted = QueueItem { last_attempt_ms: Some(now_ms()), ..item };
        match fetched {
            Fetched::Here => {
                let item = QueueItem { status: QueueStatus::Completed, error: None, ..attempted };
                match self.hold(&record, true, Some(item)).await {
                    Ok(()) => {
                        metrics.repaired(TransferResult::Ok);
                        Some(true)
                    }
                    Err(error) => {
                        tracing::warn!(reason = chain(&error), file = ?name, "a copy is here, and that could not be written down");
                        Some(false)
                    }
                }
            }
            Fetched::Unwanted => None,
            Fetched::Failed(why) => {
                metrics.repaired(TransferResult::Failed);
                let retry_count = attempted.retry_count + 1;
                let status =
                    if retry_count >= TRIES_MAX { QueueStatus::Failed } else { QueueStatus::Pending };
                tracing::warn!(file = ?name, why, retry_count, "a copy could not be made");
                let item = QueueItem { status, retry_count, error: Some(why), ..attempted };
                if let Err(error) = self.hold(&record, false, Some(item)).await {
                    tracing::debug!(reason = chain(&error), "cannot write down that a copy failed");
                }
                Some(false)
            }
        }
    }

    /// Write down whether this member holds a file, if the file is still the same.
    async fn hold(
        &self,
        as_read: &FileRecord,
        holds: bool,
        item: Option<QueueItem>,
    ) -> Result<(), CatalogueError> {
        let me = self.me();
        let decide = |record: Option<&FileRecord>| {
            let record = record.filter(|record| record.generation == as_read.generation)?;
            let mut after = record.clone();
            if holds {
                after.add_holder(me)
            } else {
                after.remove_holder(me.ordinal)
            }
            // Asked again because nobody knows what became of it: there is nothing to do if it has been done.
            let same = after == *record && (holds || item.is_none());
            (!same).then(|| Change {
                record: Some(after),
                items: item.clone().into_iter().collect(),
                done: vec![],
            })
        };
        self.catalogue().change(&as_read.name, WriteConcern::Majority, decide).await.map(|_| ())
    }

    /// Have a file here: it may be already.
    async fn fetch(&self, record: &FileRecord, item: &QueueItem) -> Fetched {
        match self.verify(record.digest).await {
            Ok(_) => return Fetched::Here,
            Err(BlobError::Missing) => {}
            Err(error) => {
                self.running().metrics().files.damaged.increment();
                tracing::warn!(
                    reason = chain(&error),
                    "a file is damaged; it is fetched again from another member"
                );
                let (blobs, digest) = (self.0.blobs.clone(), record.digest);
                let _ = tokio::task::spawn_blocking(move || blobs.set_aside(&digest)).await;
            }
        }
        let me = self.me().ordinal;
        let holders = record.holders.iter().map(|&holder| MemberId::from(holder).ordinal);
        let holders: Vec<Ordinal> = holders.filter(|&ordinal| ordinal != me).collect();
        let sources = self.best(holders.iter().copied());
        let Some(&first) = sources.first() else {
            let names: Vec<String> = holders.into_iter().map(nodes::name).collect();
            return Fetched::Failed(match names.len() {
                0 => "no member holds a good copy".to_owned(),
                _ => format!("none of the members that hold it can be reached: {}", names.join(", ")),
            });
        };
        let status = QueueStatus::InProgress;
        let item =
            QueueItem { status, source: Some(first.0), last_attempt_ms: Some(now_ms()), ..item.clone() };
        if self.hold(record, false, Some(item)).await.is_err() {
            return Fetched::Failed("the catalogue did not answer".to_owned());
        }
        let mut why = Vec::new();
        for source in sources {
            match self.fetch_from(source, record).await {
                Ok(()) => return Fetched::Here,
                Err(error) => why.push(format!("{}: {error}", nodes::name(source))),
            }
            if !self.is_still(record).await {
                return Fetched::Unwanted;
            }
        }
        Fetched::Failed(why.join("; "))
    }

    async fn is_still(&self, record: &FileRecord) -> bool {
        match self.catalogue().get(&record.name).await {
            Ok(found) => found.is_some_and(|found| found.record.generation == record.generation),
            Err(_) => true,
        }
    }

    /// Copy a file from a member, and check it.
    async fn fetch_from(&self, source: Ordinal, record: &FileRecord) -> Result<(), String> {
        let _transfer = self.transfer(source);
        let words = |error: CallError| error.words();
        let mut call = self.0.calls.to(source).await.map_err(words)?;
        call.begin_send(record.digest, 0, u64::MAX).await.map_err(words)?;
        let writing = Writing::begin(&self.0.blobs, Some(record.size));
        let mut stopped = false;
        while let Some(piece) = call.piece().await.map_err(words)? {
            stopped = writing.piece(piece).await.is_err();
            if stopped {
                break;
            }
        }
        if !stopped {
            self.0.calls.keep(call);
        }
        let kept = self.keep_written(writing, record.digest, record.size, record.generation).await;
        kept.map_err(|error| chain(&error))
    }
}

/// Whether an item's pause is over.
fn is_due(item: &QueueItem, now_ms: u64) -> bool {
    let Some(last) = item.last_attempt_ms.filter(|_| item.retry_count > 0) else { return true };
    let pause = match item.status {
        QueueStatus::Failed => PAUSE_MAX,
        _ => PAUSE_FIRST.saturating_mul(1 << item.retry_count.saturating_sub(1).min(16)).min(PAUSE_MAX),
    };
    now_ms.saturating_sub(last) >= pause.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_further_try_waits_longer_and_none_for_ever() {
        let item = |retry_count, status| QueueItem {
            retry_count,
            status,
            last_attempt_ms: Some(1_000_000),
            ..QueueItem::new("a", Ordinal(1), None, None)
        };
        let due_after = |item: &QueueItem| {
            let waits = |seconds: &u64| is_due(item, 1_000_000 + seconds * 1000);
            (0..1000).find(waits).expect("it is tried again")
        };
        let pauses = [0, 1, 2, 3].map(|tries| due_after(&item(tries, QueueStatus::Pending)));
        assert_eq!(pauses, [0, 2, 4, 8]);
        assert_eq!(due_after(&item(60, QueueStatus::Pending)), PAUSE_MAX.as_secs());
        assert_eq!(due_after(&item(6, QueueStatus::Failed)), PAUSE_MAX.as_secs());
    }
}
