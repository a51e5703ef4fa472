//! What is left over: bytes that nothing refers to, and items of the queue that are done with.

use std::collections::HashSet;

use holdfast_engine::Ordinal;
use holdfast_wire::files::Digest;

use crate::files::Files;
use crate::files::catalogue::CatalogueError;
use crate::files::limits::COMPLETED_KEPT;
use crate::files::records::{QueueItem, QueueStatus, now_ms};
use crate::listener::chain;

impl Files {
    /// Remove what nothing refers to.
    pub(super) async fn sweep(&self, kept: &HashSet<Digest>) -> Result<(), CatalogueError> {
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
    pub(super) async fn tidy_queue(&self) -> Result<(), CatalogueError> {
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
