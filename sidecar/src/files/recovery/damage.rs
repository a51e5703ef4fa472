//! A file of this member that is not what it was.
//!
//! What this refuses to do: leave the catalogue saying that this member holds it while it is fetched again.

use holdfast_engine::{Ordinal, WriteConcern};
use holdfast_wire::files::Digest;

use crate::files::Files;
use crate::files::blobs::BlobError;
use crate::files::catalogue::{CatalogueError, Change};
use crate::files::records::{FileRecord, QueueItem};
use crate::listener::chain;

impl Files {
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
}
