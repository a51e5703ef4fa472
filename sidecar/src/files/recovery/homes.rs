//! Who keeps what a member was to keep that is in the store no more.

use std::collections::HashSet;

use holdfast_engine::{Ordinal, WriteConcern};

use crate::files::Files;
use crate::files::catalogue::{CatalogueError, Change};
use crate::files::records::{FileRecord, QueueItem};

impl Files {
    /// The members that the store is to have, and those that still vote; `None`: nobody can say.
    pub(super) async fn remaining(&self) -> Option<HashSet<Ordinal>> {
        let status = self.running().status().await.ok()?;
        Some(self.members().into_iter().chain(status.voters.into_iter().map(Ordinal)).collect())
    }

    /// Whatever a member was to keep that is in the store no more, another one keeps; the record as it is then. Every member
    /// does so for all records, and the first of them is enough.
    pub(super) async fn give_home(
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
}
