//! The catalogue of files, in the replicated state under reserved keys: [`Catalogue`].
//!
//! It is changed by transactions that compare what was read, so that two members that change one record never undo each
//! other's work, and a change whose outcome is unknown can be looked up and tried again. What it refuses to do: say that a
//! member holds anything; it writes down what others have checked.

use std::time::Duration;

use bytes::Bytes;
use holdfast_engine::{Ordinal, WriteConcern};
use holdfast_store::{
    Command, Compare, KeyValue, Keys, Operation, Outcome, Relation, Revision, Target, Txn, TxnOperation,
};
use holdfast_wire::files::Digest;
use tokio::time::Instant;

use super::limits::CATALOGUE_TIME_MAX;
use super::records::{
    FILE, FileRecord, NameHash, QUEUE, QueueItem, TIME, bytes_prefix, decode, encode, file_key, hash,
    hash_at_end, queue_key,
};
use crate::core::{Answer, Consistency, Failure, Handle, Query, ReadReply, ReadRequest, WriteRequest};

/// Records that are read in one go: what the core gives between two events without anybody noticing.
const PAGE_ITEMS: usize = 256;

/// The pause after somebody else changed a record first, or nobody could say what became of a change.
const AGAIN_PAUSE: Duration = Duration::from_millis(20);

/// Why the catalogue has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CatalogueError {
    /// The core has none.
    #[error(transparent)]
    Core(#[from] Failure),
    /// The state refused a change.
    #[error("the catalogue cannot be changed: {0}")]
    Refused(holdfast_store::Reason),
    /// The time was up.
    #[error("the catalogue did not answer within {} s", CATALOGUE_TIME_MAX.as_secs())]
    Late,
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) record: FileRecord,
    /// The revision that put it.
    pub(crate) revision: Revision,
}

/// How to change a file's record and its items, once it is known what they are.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// The record as it shall be; `None` leaves none.
    pub(crate) record: Option<FileRecord>,
    /// Items that shall be as they are here.
    pub(crate) items: Vec<QueueItem>,
    /// Members whose item shall not be there.
    pub(crate) done: Vec<Ordinal>,
}

/// A page of files, the newest first.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) files: Vec<FileRecord>,
    /// How many there are on all pages; only with the first.
    pub(crate) count: Option<u64>,
    /// Where the next page begins: after this key, at this revision.
    pub(crate) next: Option<(Bytes, Revision)>,
}

/// The catalogue. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    core: Handle,
}

/// What became of a transaction.
enum Written {
    Done,
    /// Something it compared was otherwise.
    Conflict,
    /// Nobody can tell.
    Unknown,
}

impl Catalogue {
    pub(crate) fn new(core: Handle) -> Catalogue {
        Catalogue { core }
    }

    /// The way to the state that has it.
    pub(super) fn core(&self) -> &Handle {
        &self.core
    }

    /// A file's record, as the store's leader confirms it.
    pub(crate) async fn get(&self, name: &str) -> Result<Option<Found>, CatalogueError> {
        self.get_hashed(&hash(name), None).await
    }

    /// As [`Catalogue::get`], at a revision that was read before, or confirmed now.
    async fn get_hashed(
        &self,
        hash: &NameHash,
        at: Option<Revision>,
    ) -> Result<Option<Found>, CatalogueError> {
        let reply = self.read(Query::Get { key: file_key(hash), at }, at.is_some()).await?;
        let Answer::Get(item) = reply.answer else { unreachable!("a get is answered by a get") };
        Ok(item.and_then(found))
    }

    /// Files, the newest first.
    pub(crate) async fn list(
        &self,
        after: Option<(Bytes, Revision)>,
        limit: usize,
    ) -> Result<Page, CatalogueError> {
        let (after, at) = after.unzip();
        let prefix = Bytes::from_static(TIME);
        let reply = self.read(Query::Range { prefix, after, limit, at }, false).await?;
        let Answer::Range(range) = reply.answer else { unreachable!("a range is answered by a range") };
        let mut files = Vec::with_capacity(range.items.len());
        for item in &range.items {
            let Some(hash) = hash_at_end(&item.key) else { continue };
            // This member has come as far as the page already.
            files.extend(self.get_hashed(&hash, Some(range.revision)).await?.map(|found| found.record));
        }
        let last = range.items.last().filter(|_| range.more);
        let next = last.map(|item| (item.key.clone(), range.revision));
        Ok(Page { files, count: range.count, next })
    }

    /// Records after `after`, in an order of no meaning; empty after the last.
    pub(crate) async fn records(&self, after: Option<Bytes>) -> Result<Vec<(Bytes, Found)>, CatalogueError> {
        let prefix = Bytes::from_static(FILE);
        let query = Query::Range { prefix, after, limit: PAGE_ITEMS, at: None };
        let items = self.range(query).await?;
        Ok(items.into_iter().filter_map(|item| Some((item.key.clone(), found(item)?))).collect())
    }

    /// All items of the queue.
    pub(crate) async fn queue(&self) -> Result<Vec<QueueItem>, CatalogueError> {
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let prefix = Bytes::from_static(QUEUE);
            let items = self.range(Query::Range { prefix, after, limit: PAGE_ITEMS, at: None }).await?;
            let Some(last) = items.last() else { return Ok(all) };
            after = Some(last.key.clone());
            all.extend(items.iter().filter_map(|item| decode::<QueueItem>(&item.value)));
        }
    }

    /// How many items the queue has.
    pub(crate) async fn queue_length(&self) -> Result<u64, CatalogueError> {
        let query = Query::Range { prefix: Bytes::from_static(QUEUE), after: None, limit: 0, at: None };
        let reply = self.read(query, true).await?;
        let Answer::Range(range) = reply.answer else { unreachable!("a range is answered by a range") };
        Ok(range.count.unwrap_or_default())
    }

    /// A file's item for a member.
    pub(crate) async fn item(
        &self,
        name: &str,
        target: Ordinal,
    ) -> Result<Option<QueueItem>, CatalogueError> {
        let reply = self.read(Query::Get { key: queue_key(&hash(name), target), at: None }, false).await?;
        let Answer::Get(item) = reply.answer else { unreachable!("a get is answered by a get") };
        Ok(item.and_then(|item| decode(&item.value)))
    }

    /// The files that have these bytes.
    pub(crate) async fn files_with(&self, digest: &Digest) -> Result<Vec<Found>, CatalogueError> {
        let prefix = bytes_prefix(digest);
        let items = self.range(Query::Range { prefix, after: None, limit: PAGE_ITEMS, at: None }).await?;
        let mut files = Vec::new();
        for hash in items.iter().filter_map(|item| hash_at_end(&item.key)) {
            files.extend(self.get_hashed(&hash, None).await?);
        }
        Ok(files)
    }

    /// Change a file's record and its items. `decide` is told what the record is and says what shall be; `None` leaves it.
    /// It is asked again when somebody else was faster, and when nobody can tell what became of the change: it must see by
    /// the record whether there is anything left to do. Gives the record that there was when there was nothing left to do.
    pub(crate) async fn change(
        &self,
        name: &str,
        concern: WriteConcern,
        mut decide: impl FnMut(Option<&FileRecord>) -> Option<Change>,
    ) -> Result<Option<FileRecord>, CatalogueError> {
        let until = Instant::now() + CATALOGUE_TIME_MAX;
        loop {
            let before = self.get(name).await?;
            let Some(change) = decide(before.as_ref().map(|found| &found.record)) else {
                return Ok(before.map(|found| found.record));
            };
            let after = change.record.clone();
            match self.write(transaction(name, before.as_ref(), change), concern, until).await? {
                Written::Done => return Ok(after),
                Written::Conflict | Written::Unknown if Instant::now() >= until => {
                    return Err(CatalogueError::Late);
                }
                Written::Conflict | Written::Unknown => tokio::time::sleep(AGAIN_PAUSE).await,
            }
        }
    }

    /// Remove items that are done with.
    pub(crate) async fn remove_items(&self, items: &[QueueItem]) -> Result<(), CatalogueError> {
        for items in items.chunks(holdfast_store::TXN_OPERATIONS_MAX) {
            let success = items.iter().map(|item| TxnOperation::Delete(Keys::Key(item.key()))).collect();
            let txn = Txn { compare: vec![], success, failure: vec![] };
            self.write(txn, WriteConcern::Majority, Instant::now() + CATALOGUE_TIME_MAX).await?;
        }
        Ok(())
    }

    async fn range(&self, query: Query) -> Result<Vec<KeyValue>, CatalogueError> {
        let reply = self.read(query, false).await?;
        let Answer::Range(range) = reply.answer else { unreachable!("a range is answered by a range") };
        Ok(range.items)
    }

    async fn read(&self, query: Query, local: bool) -> Result<ReadReply, CatalogueError> {
        let consistency = if local { Consistency::Local } else { Consistency::Linearizable };
        let request = ReadRequest { query, consistency, timeout: CATALOGUE_TIME_MAX };
        let reply = tokio::time::timeout(CATALOGUE_TIME_MAX, self.core.read(request)).await;
        Ok(reply.map_err(|_| CatalogueError::Late)??)
    }

    async fn write(
        &self,
        txn: Txn,
        concern: WriteConcern,
        until: Instant,
    ) -> Result<Written, CatalogueError> {
        let timeout = until.saturating_duration_since(Instant::now()).max(AGAIN_PAUSE);
        let command = Command::new(Operation::Txn(txn)).encode();
        let request = WriteRequest { command, concern, timeout, retryable: false };
        match tokio::time::timeout(timeout + AGAIN_PAUSE, self.core.write(request)).await {
            Err(_) | Ok(Err(Failure::Unknown { .. })) => Ok(Written::Unknown),
            Ok(Err(failure @ Failure::Refused { retryable, .. })) => {
                // Nobody leads for a moment; what was asked for is as true later.
                if retryable && Instant::now() < until { Ok(Written::Unknown) } else { Err(failure.into()) }
            }
            Ok(Ok(written)) => match written.outcome {
                Outcome::Txn { succeeded: true, .. } => Ok(Written::Done),
                Outcome::Refused(reason) => Err(CatalogueError::Refused(reason)),
                _ => Ok(Written::Conflict),
            },
        }
    }
}

fn found(item: KeyValue) -> Option<Found> {
    Some(Found { record: decode(&item.value)?, revision: item.mod_revision })
}

/// The transaction that makes `change`, if the record is still what it was.
fn transaction(name: &str, before: Option<&Found>, change: Change) -> Txn {
    let hash = hash(name);
    let revision = before.map_or(Revision(0), |found| found.revision);
    let target = Target::Modified(revision);
    let compare = vec![Compare { key: file_key(&hash), relation: Relation::Equal, target }];
    let mut success = Vec::new();
    let old = before.map(|found| found.record.keys());
    let new = change.record.as_ref().map(FileRecord::keys);
    for key in old.iter().flatten().filter(|key| !new.iter().flatten().any(|kept| kept == *key)) {
        success.push(TxnOperation::Delete(Keys::Key(key.clone())));
    }
    if let (Some(record), Some([file, time, bytes])) = (&change.record, new) {
        let is_new = |key: &Bytes| !old.iter().flatten().any(|there| there == key);
        success.push(TxnOperation::Put { key: file, value: encode(record) });
        for key in [time, bytes].into_iter().filter(is_new) {
            success.push(TxnOperation::Put { key, value: Bytes::new() });
        }
    } else {
        // Nobody misses a copy of what is gone.
        let all = [QUEUE, &hash].concat();
        success.push(TxnOperation::Delete(Keys::Prefix(all.into())));
    }
    for target in change.done {
        success.push(TxnOperation::Delete(Keys::Key(queue_key(&hash, target))));
    }
    for item in change.items {
        success.push(TxnOperation::Put { key: item.key(), value: encode(&item) });
    }
    Txn { compare, success, failure: vec![] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::records::Holder;

    fn record(uploaded_ms: u64, digest: u8) -> FileRecord {
        FileRecord {
            name: "a".to_owned(),
            original: "a".to_owned(),
            size: 1,
            digest: [digest; 32],
            uploaded_ms,
            generation: 1,
            wanted: vec![],
            holders: vec![Holder { ordinal: 0, incarnation: 1 }],
        }
    }

    /// Puts and deletes that a change makes.
    fn check(before: Option<FileRecord>, change: Change) -> (usize, usize) {
        let before = before.map(|record| Found { record, revision: Revision(7) });
        let txn = transaction("a", before.as_ref(), change);
        let expected = Revision(if before.is_some() { 7 } else { 0 });
        assert_eq!(txn.compare[0].target, Target::Modified(expected));
        let puts = txn.success.iter().filter(|op| matches!(op, TxnOperation::Put { .. })).count();
        (puts, txn.success.len() - puts)
    }

    #[test]
    fn a_change_leaves_exactly_the_keys_of_the_record_that_is_there_after_it() {
        let with = |record| Change { record: Some(record), ..Change::default() };
        assert_eq!(check(None, with(record(1, 1))), (3, 0), "a new file has three keys");
        assert_eq!(check(Some(record(1, 1)), with(record(1, 1))), (1, 0), "its members change: one");
        assert_eq!(check(Some(record(1, 1)), with(record(2, 1))), (2, 1), "uploaded again: another time");
        assert_eq!(check(Some(record(1, 1)), with(record(2, 2))), (3, 2), "with other bytes");
        assert_eq!(check(Some(record(1, 1)), Change::default()), (0, 4), "removed, with its items");
        let item = QueueItem::new("a", Ordinal(2), None, None);
        let queued = Change { items: vec![item], done: vec![Ordinal(1)], ..with(record(1, 1)) };
        assert_eq!(check(Some(record(1, 1)), queued), (2, 1));
    }
}
