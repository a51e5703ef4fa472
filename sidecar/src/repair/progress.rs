//! How far a repair has come, for whoever asks while it goes on.
//!
//! What it refuses to do: anything but tell.

use std::sync::Arc;

use tokio::sync::watch;

/// What a starting member is repairing, in words; nothing if it repairs nothing. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Progress(Arc<watch::Sender<Option<String>>>);

impl Default for Progress {
    fn default() -> Progress {
        Progress(Arc::new(watch::Sender::new(None)))
    }
}

impl Progress {
    /// What is being repaired, and how far that is.
    pub fn repairing(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Wait until there is something to repair.
    pub(crate) async fn began(&self) {
        // The sender lives as long as this, so that the wait ends only with a repair.
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }

    pub(crate) fn say(&self, what: String) {
        self.0.send_if_modified(|said| {
            let news = said.as_ref() != Some(&what);
            if news {
                tracing::info!("{what}");
                *said = Some(what);
            }
            news
        });
    }

    pub(crate) fn done(&self) {
        self.0.send_replace(None);
    }
}
