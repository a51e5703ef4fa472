//! Copies that are missing here are made again: every member looks after its own.
//!
//! A round goes over all records. What this member is to have and has not, it fetches from one that has it, checks, and then
//! says that it holds it; what nothing refers to it removes. So a member that comes back needs nobody to remember what it
//! missed: the queue is there for people to see, the records are what counts. What this refuses to do: say that a copy is
//! there before its digest was compared, and try without a pause what has just failed.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use holdfast_engine::{MEMBERS_MAX, MemberId, Ordinal, WriteConcern};
use holdfast_store::Event;
use holdfast_wire::files::{Digest, Words};

use super::blobs::BlobError;
use super::calls::CallError;
use super::catalogue::{CatalogueError, Change};
use super::limits::{COMPLETED_KEPT, FETCHES_MAX, PAUSE_FIRST, PAUSE_MAX, TRIES_MAX};
use super::records::{FileRecord, QUEUE, QueueItem, QueueStatus, decode, now_ms};
use super::writing::Writing;
use super::{Files, nodes};
use crate::core::Handle;
use crate::listener::chain;
use crate::metrics::TransferResult;

/// How often it is looked which members are connected. One that comes back may have what is missing here.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The pause after the catalogue could not be asked: about an election.
const AGAIN_PAUSE: Duration = Duration::from_secs(2);

/// The pause before a round that was asked for, so that what happens together is looked after together.
const GATHER_PAUSE: Duration = Duration::from_millis(50);

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
pub(super) struct Rounds {
    running: tokio::sync::Mutex<()>,
    /// How many rounds there were, and what the last one came to.
    last: Mutex<(u64, Round)>,
}

/// Whether a round tries what has failed a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// It waits for its pause to be over.
    Patient,
    /// Something has changed, or somebody asks for it.
    Eager,
}

/// What became of one copy.
enum Fetched {
    /// It is here.
    Here,
    /// Nobody wants it here any more.
    Unwanted,
    /// It is not here, and why.
    Failed(String),
}

/// Look after this member's copies until the task is dropped.
pub(super) async fn recover(files: Files, core: Handle) {
    let Some(interval) = files.0.options.recovery_interval else { return };
    let watch = tokio::spawn(wake_by_queue(files.clone(), core));
    let _abort = AbortOnDrop(watch);
    let mut mood = Mood::Eager;
    let mut connected = files.connected();
    let mut members = files.remaining().await;
    loop {
        let pause = match files.round(mood).await {
            Ok(_) => interval,
            Err(error) => {
                tracing::debug!(reason = chain(&error), "cannot look after the files now");
                AGAIN_PAUSE.min(interval)
            }
        };
        let until = tokio::time::Instant::now() + pause;
        mood = loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => break Mood::Patient,
                () = files.0.wake.notified() => {
                    tokio::time::sleep(GATHER_PAUSE).await;
                    break Mood::Patient;
                }
                () = tokio::time::sleep(LOOK_INTERVAL) => {
                    let now = files.connected();
                    let more = now.iter().zip(&connected).any(|(now, before)| *now && !before);
                    connected = now;
                    if more {
                        break Mood::Eager;
                    }
                    // While members come and go, what they keep may need another home.
                    if members.as_ref() != Some(&files.members().into_iter().collect()) {
                        let now = files.remaining().await;
                        if now != members {
                            members = now;
                            break Mood::Patient;
                        }
                    }
                }
            }
        };
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Wake the rounds when somebody else finds that a copy is missing here.
async fn wake_by_queue(files: Files, core: Handle) {
    loop {
        if let Ok(mut changes) = core.watch(None, Bytes::from_static(QUEUE)).await {
            while let Some(Ok(batch)) = changes.next().await {
                let mine = batch.events.iter().any(|event| match event {
                    Event::Put(item) => decode::<QueueItem>(&item.value).is_some_and(|item| {
                        item.target == files.me().ordinal.0
                            && item.status == QueueStatus::Pending
                            && item.retry_count == 0
                    }),
                    Event::Deleted { .. } => false,
                });
                if mine {
                    files.look_again();
                }
            }
        }
        tokio::time::sleep(AGAIN_PAUSE).await;
        files.look_again();
    }
}

impl Files {
    /// There may be something to recover.
    pub(super) fn look_again(&self) {
        self.0.wake.notify_one();
    }

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

    /// A member's copies, recovered now, by whoever it is.
    pub(crate) async fn recover_member(&self, ordinal: Ordinal) -> Result<Round, String> {
        if ordinal == self.me().ordinal {
            return self.recover_now().await.map_err(|error| chain(&error));
        }
        if !self.is_up(ordinal) {
            return Err(format!("{} is down", nodes::name(ordinal)));
        }
        match self.0.calls.ask(ordinal, Words::Recover).await {
            Ok((Words::Recovered { total, success, failed }, _)) => Ok(Round { total, success, failed }),
            Ok(_) => Err(CallError::Unexpected.words()),
            Err(error) => Err(error.words()),
        }
    }

    /// A file of this member is not what it was: it is not given to anybody from now on, and made again.
    pub(crate) fn found_damaged(&self, digest: Digest, why: String) {
        let files = self.clone();
        tokio::spawn(async move {
            let blobs = files.0.blobs.clone();
            // Another reader may have found it first, and it may be good again by now.
            let aside = tokio::task::spawn_blocking(move || {
                let damaged = blobs.get(&digest).and_then(|blob| blob.verify());
                matches!(damaged, Err(BlobError::Damaged { .. })).then(|| blobs.set_aside(&digest))
            });
            let Ok(Some(aside)) = aside.await else { return };
            files.running().metrics().files.damaged.increment();
            tracing::warn!(why, "a file is damaged; it is fetched again from another member");
            if let Err(error) = aside {
                tracing::warn!(reason = chain(&error), "cannot set a damaged file aside");
            }
            if let Err(error) = files.disclaim(digest, &why).await {
                tracing::warn!(reason = chain(&error), "cannot write down that a file is damaged");
            }
            files.look_again();
        });
    }

    /// Write down that this member does not hold these bytes any more.
    async fn disclaim(&self, digest: Digest, why: &str) -> Result<(), CatalogueError> {
        let me = self.me();
        for found in self.catalogue().files_with(&digest).await? {
            let decide = |record: Option<&FileRecord>| {
                let mut record =
                    record.filter(|record| record.digest == digest && record.is_held_by(me))?.clone();
                record.remove_holder(me.ordinal);
                let source = record.holders.first().map(|holder| Ordinal(holder.ordinal));
                let item = QueueItem::new(&record.name, me.ordinal, source, Some(why.to_owned()));
                Some(Change { record: Some(record), items: vec![item], done: vec![] })
            };
            self.catalogue().change(&found.record.name, WriteConcern::Majority, decide).await?;
        }
        Ok(())
    }

    fn last_round(&self) -> (u64, Round) {
        *self.0.rounds.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connected(&self) -> [bool; MEMBERS_MAX] {
        std::array::from_fn(|ordinal| self.is_up(Ordinal(ordinal as u8)))
    }

    /// Go over all records once.
    async fn round(&self, mood: Mood) -> Result<Round, CatalogueError> {
        let _running = self.0.rounds.running.lock().await;
        let mut round = Round::default();
        let mut kept: HashSet<Digest> = HashSet::new();
        let mut fetches = FuturesUnordered::new();
        let members = self.remaining().await;
        let (mut after, mut files) = (None, 0);
        let mut counts = Counts::default();
        loop {
            let page = self.catalogue().records(after.take()).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            files += page.len() as u64;
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
        self.0.counted.store(files, Relaxed);
        counts.show(self, round);
        self.sweep(&kept).await?;
        self.remove_old_partials();
        self.tidy_queue().await?;
        let mut last = self.0.rounds.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (last.0 + 1, round);
        Ok(round)
    }

    /// The members that the store is to have, and those that still vote; `None`: nobody can say.
    async fn remaining(&self) -> Option<HashSet<Ordinal>> {
        let status = self.running().status().await.ok()?;
        Some(self.members().into_iter().chain(status.voters.into_iter().map(Ordinal)).collect())
    }

    /// Whatever a member was to keep that is in the store no more, another one keeps; the record as it is then. Every member
    /// does so for all records, and the first of them is enough.
    async fn give_home(
        &self,
        record: FileRecord,
        members: &HashSet<Ordinal>,
    ) -> Result<FileRecord, CatalogueError> {
        let is_gone = |ordinal: Ordinal| !members.contains(&ordinal);
        let homes = |record: &FileRecord| {
            let free = members.iter().copied().filter(|&ordinal| !record.wants(ordinal));
            self.homes(free, record.size, record.generation)
        };
        if record.without(is_gone, homes(&record)).is_none() {
            return Ok(record);
        }
        let decide = |now: Option<&FileRecord>| {
            let now = now.filter(|now| now.generation == record.generation)?;
            let after = now.without(is_gone, homes(now))?;
            let source = after.holders.first().map(|holder| Ordinal(holder.ordinal));
            let new = after.wanted.iter().filter(|place| !now.wanted.contains(place));
            let why = || Some("it takes the place of a member that was removed".to_owned());
            let items = new.map(|&place| QueueItem::new(&now.name, Ordinal(place), source, why())).collect();
            let done = now.wanted.iter().copied().map(Ordinal).filter(|&place| is_gone(place)).collect();
            Some(Change { record: Some(after), items, done })
        };
        let changed = self.catalogue().change(&record.name, WriteConcern::Majority, decide).await?;
        Ok(changed.unwrap_or(record))
    }

    /// Whether what a record says of this member is so, and what it wants of it.
    async fn is_as_it_should_be(&self, record: &FileRecord) -> bool {
        let (wanted, held) = (record.wants(self.me().ordinal), record.is_held_by(self.me()));
        if !wanted {
            return !held;
        }
        let (blobs, digest) = (self.0.blobs.clone(), record.digest);
        held && tokio::task::spawn_blocking(move || blobs.has(&digest)).await.unwrap_or(true)
    }

    /// Make what a record says so. `None`: it is not its turn.
    async fn put_right(&self, record: FileRecord, mood: Mood) -> Option<bool> {
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

    /// Remove what nothing refers to.
    async fn sweep(&self, kept: &HashSet<Digest>) -> Result<(), CatalogueError> {
        for first in 0..=u8::MAX {
            let blobs = self.0.blobs.clone();
            let listed = tokio::task::spawn_blocking(move || blobs.list(first)).await;
            let listed = match listed {
                Ok(Ok(listed)) => listed,
                Ok(Err(error)) => {
                    tracing::warn!(reason = chain(&error), "cannot list the files of this member");
                    continue;
                }
                Err(_) => return Ok(()),
            };
            for (digest, _) in listed.into_iter().filter(|(digest, _)| !kept.contains(digest)) {
                // It asks the catalogue once more: an upload may have ended since.
                let _ = self.forget(digest, None).await;
            }
        }
        Ok(())
    }

    /// Forget items that are done, and items of members that are no more.
    async fn tidy_queue(&self) -> Result<(), CatalogueError> {
        let now = now_ms();
        let members = self.members();
        let over = |item: &QueueItem| {
            let mine = item.target == self.me().ordinal.0;
            let old = item
                .last_attempt_ms
                .is_some_and(|at| now.saturating_sub(at) > COMPLETED_KEPT.as_millis() as u64);
            let done = mine && item.status == QueueStatus::Completed && old;
            done || !members.contains(&Ordinal(item.target))
        };
        let (over, kept): (Vec<QueueItem>, Vec<QueueItem>) =
            self.catalogue().queue().await?.into_iter().partition(over);
        for status in QueueStatus::ALL {
            let items = kept.iter().filter(|item| item.status == status).count();
            self.running().metrics().files.queued(status.name(), items);
        }
        self.catalogue().remove_items(&over).await
    }
}

/// What the records of a round come to.
#[derive(Debug, Default)]
struct Counts {
    files: u64,
    bytes: u64,
    wanted: u64,
    held: u64,
    held_bytes: u64,
}

impl Counts {
    /// Count a record as it was read.
    fn count(&mut self, record: &FileRecord, me: MemberId) {
        self.files += 1;
        self.bytes += record.size;
        self.wanted += u64::from(record.wants(me.ordinal) && !record.is_held_by(me));
        if record.is_held_by(me) {
            self.held += 1;
            self.held_bytes += record.size;
        }
    }

    /// Show them, after a round that has made some of the missing copies.
    fn show(&self, files: &Files, round: Round) {
        let metrics = &files.running().metrics().files;
        metrics.files.set(self.files as f64);
        metrics.bytes.set(self.bytes as f64);
        metrics.held.set((self.held + round.success.min(self.wanted)) as f64);
        metrics.held_bytes.set(self.held_bytes as f64);
        metrics.missing.set(self.wanted.saturating_sub(round.success) as f64);
        metrics.free_bytes.set(files.free_bytes(files.me().ordinal) as f64);
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

    #[test]
    fn a_round_counts_what_it_tried() {
        let mut round = Round::default();
        for done in [Some(true), None, Some(false), Some(true)] {
            round.count(Some(done));
        }
        assert_eq!(round, Round { total: 3, success: 2, failed: 1 });
    }
}
