//! Deleting files: the record first, then the bytes, everywhere.
//!
//! That a file has no record is what makes it deleted: a member that is down finds that out when it is back, and removes
//! what nothing refers to. What this refuses to do: remove bytes that another file has, or that were promised to an upload.

use futures::future::join_all;
use holdfast_engine::{Ordinal, WriteConcern};
use holdfast_wire::files::{Digest, Words};

use super::Files;
use super::blobs::BlobError;
use super::catalogue::{CatalogueError, Change};
use super::records::FileRecord;
use crate::listener::chain;

/// Why bytes are still there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForgetError {
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// A file that was deleted.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    /// What it was; `None`: there was none.
    pub(crate) record: Option<FileRecord>,
    /// Members that held it and have removed it.
    pub(crate) deleted: Vec<Ordinal>,
    /// Members that held it and remove it later: when they are back, at the latest.
    pub(crate) later: Vec<Ordinal>,
}

impl Files {
    /// Delete a file.
    pub(crate) async fn remove(&self, name: &str) -> Result<Removed, CatalogueError> {
        let mut removed = None;
        let decide = |before: Option<&FileRecord>| {
            // If there is none now and was before, an earlier try has been done.
            let before = before?;
            removed = Some(before.clone());
            Some(Change::default())
        };
        self.catalogue().change(name, WriteConcern::Majority, decide).await?;
        let Some(record) = removed else { return Ok(Removed::default()) };
        let holders = record.holders.iter().map(|holder| Ordinal(holder.ordinal));
        let asked = holders.map(async |ordinal| (ordinal, self.have_forgotten(ordinal, &record).await));
        let (mut deleted, mut later) = (Vec::new(), Vec::new());
        for (ordinal, done) in join_all(asked).await {
            if done { deleted.push(ordinal) } else { later.push(ordinal) }
        }
        self.0
            .counted
            .fetch_update(
                std::sync::atomic::Ordering::Relaxed,
                std::sync::atomic::Ordering::Relaxed,
                |count| count.checked_sub(1),
            )
            .ok();
        Ok(Removed { record: Some(record), deleted, later })
    }

    /// Have a member remove the bytes of a file that is deleted; whether it has done so.
    async fn have_forgotten(&self, ordinal: Ordinal, record: &FileRecord) -> bool {
        if ordinal == self.me().ordinal {
            return self.forget(record.digest, Some(record.generation)).await.is_ok();
        }
        if !self.is_up(ordinal) {
            return false;
        }
        let words = Words::Forget { digest: record.digest, upload: record.generation };
        matches!(self.0.calls.ask(ordinal, words).await, Ok((Words::Done, _)))
    }

    /// Nothing refers to these bytes of an upload any more: have all members remove them, sooner or later.
    pub(super) fn forget_everywhere(&self, digest: Digest, upload: u128) {
        let files = self.clone();
        tokio::spawn(async move {
            let _ = files.forget(digest, Some(upload)).await;
            let others = files.members().into_iter().filter(|&ordinal| ordinal != files.me().ordinal);
            let up: Vec<Ordinal> = others.filter(|&ordinal| files.is_up(ordinal)).collect();
            join_all(up.iter().map(|&ordinal| files.0.calls.ask(ordinal, Words::Forget { digest, upload })))
                .await;
        });
    }

    /// Remove bytes from this member, unless a file that this member is to have has them, or they are promised; whether they
    /// are gone. `upload` is the one that nothing refers to any more.
    pub(super) async fn forget(&self, digest: Digest, upload: Option<u128>) -> Result<bool, ForgetError> {
        if let Some(upload) = upload {
            self.0.promises.release(&digest, upload);
        }
        let me = self.me();
        let files = self.catalogue().files_with(&digest).await?;
        if files.iter().any(|found| found.record.wants(me.ordinal) || found.record.is_held_by(me)) {
            return Ok(false);
        }
        let (blobs, files) = (self.0.blobs.clone(), self.clone());
        let removed = tokio::task::spawn_blocking(move || files.0.promises.remove(&blobs, &digest)).await;
        let removed = removed.unwrap_or(Err(BlobError::Stopping));
        if let Err(error) = &removed {
            tracing::warn!(reason = chain(error), "cannot remove the bytes of a deleted file");
        }
        Ok(removed?)
    }
}
