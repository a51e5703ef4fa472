//! The newest files and the queue as this member has them, for somebody who watches: without a leader, and without asking
//! anybody.
//!
//! What this refuses to do: count what it does not show, which would walk over all there is, several times a second.

use bytes::Bytes;

use super::Files;
use super::records::{FileRecord, QUEUE, QueueItem, TIME, decode, file_key, hash_at_end};
use crate::core::{Answer, Consistency, Failure, Query, ReadRequest};
use crate::files::limits::CATALOGUE_TIME_MAX;

/// Some of what there is, and whether there is more.
#[derive(Debug)]
pub(crate) struct Seen<T> {
    pub(crate) items: Vec<T>,
    pub(crate) more: bool,
}

impl Files {
    /// The files that were uploaded last, the newest first.
    pub(crate) async fn newest_seen(&self, limit: usize) -> Result<Seen<FileRecord>, Failure> {
        let (keys, more) = self.range_seen(TIME, limit).await?;
        let mut items = Vec::with_capacity(keys.len());
        for hash in keys.iter().filter_map(|(key, _)| hash_at_end(key)) {
            let answer = self.read_seen(Query::Get { key: file_key(&hash), at: None }).await?;
            let Answer::Get(item) = answer else { unreachable!("a get is answered by a get") };
            // It may have been deleted between the two reads.
            items.extend(item.and_then(|item| decode(&item.value)));
        }
        Ok(Seen { items, more })
    }

    /// Items of the queue, in an order of no meaning.
    pub(crate) async fn queue_seen(&self, limit: usize) -> Result<Seen<QueueItem>, Failure> {
        let (items, more) = self.range_seen(QUEUE, limit).await?;
        Ok(Seen { items: items.iter().filter_map(|(_, value)| decode(value)).collect(), more })
    }

    async fn range_seen(
        &self,
        prefix: &'static [u8],
        limit: usize,
    ) -> Result<(Vec<(Bytes, Bytes)>, bool), Failure> {
        let prefix = Bytes::from_static(prefix);
        // After the prefix itself, which is no key: a first page would be counted.
        let query = Query::Range { after: Some(prefix.clone()), prefix, limit, at: None };
        let Answer::Range(range) = self.read_seen(query).await? else {
            unreachable!("a range is answered by a range")
        };
        Ok((range.items.into_iter().map(|item| (item.key, item.value)).collect(), range.more))
    }

    async fn read_seen(&self, query: Query) -> Result<Answer, Failure> {
        let request = ReadRequest { query, consistency: Consistency::Committed, timeout: CATALOGUE_TIME_MAX };
        self.core().read(request).await.map(|reply| reply.answer)
    }
}
