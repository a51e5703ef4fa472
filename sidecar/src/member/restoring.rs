//! What a member has when it starts: [`Restored`] from its folder, and [`Found`] of what that tells.
//!
//! Refuses to begin empty where checkpoints were kept and are gone.

use std::path::PathBuf;

use holdfast_storage::{CheckpointFile, CheckpointReader, LogPolicy, Opened};
use holdfast_store::Store;

use super::{MemberOptions, StartError};
use crate::loading::{LoadError, Taking, load};

/// What a member found when it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The store was formed before, and everything it held is lost: a store without log or checkpoint starts empty.
    pub lost_everything: bool,
    /// Bytes cut off the log's end because their write was never finished.
    pub torn_bytes: u64,
    /// What was repaired or put aside before, in words, if anything was.
    pub repaired: Option<String>,
}

impl Found {
    /// What a person should know about the start.
    pub(super) fn note(&self) -> Option<String> {
        let lost = "everything this store held is lost: its strategy keeps nothing when the member stops; it began again, empty";
        self.lost_everything.then(|| lost.to_owned()).or_else(|| self.repaired.clone())
    }
}

/// What was restored from the folder.
pub(super) struct Restored {
    pub(super) opened: Opened,
    pub(super) store: Store,
    /// The checkpoint that it was restored from.
    pub(super) newest: Option<CheckpointFile>,
}

/// Build the state up from the folder's newest checkpoint. Takes as long as reading that takes.
pub(super) fn restore(
    mut opened: Opened,
    taking: Taking,
    path: PathBuf,
    log: LogPolicy,
    alone: bool,
) -> Result<Restored, StartError> {
    if log == LogPolicy::None && !alone {
        // Without a log it is a new member, which the others bring up; its old checkpoints served those alone.
        opened.checkpoint = None;
        opened.restored.checkpoint = None;
    }
    for damaged in &opened.damaged_checkpoints {
        let (path, offset, what) = (damaged.path.display(), damaged.offset, damaged.what);
        tracing::warn!(%path, offset, %what, "a checkpoint is damaged; it is not needed");
    }
    let damaged = |source| StartError::Checkpoint { path: path.clone(), source };
    let store = match opened.checkpoint.take() {
        None => Store::new(),
        Some(reader) => taken_or_loaded(taking, reader).map_err(|error| match error {
            LoadError::File(source) => damaged(source),
            LoadError::State(source) => StartError::State { path: path.clone(), source },
            LoadError::Thread(source) => StartError::Thread { thread: "load", source },
        })?,
    };
    let newest = opened.restored.checkpoint.map(|checkpoint| checkpoint.position);
    let files = opened.disk.checkpoints().list().map_err(damaged)?;
    let newest = files.into_iter().find(|file| Some(file.position) == newest);
    Ok(Restored { opened, store, newest })
}

/// The state was taken while the folder was opened. If it was not, read the file once more.
fn taken_or_loaded(taking: Taking, reader: CheckpointReader) -> Result<Store, LoadError> {
    taking.finish(reader.checkpoint()).unwrap_or_else(|| load(reader))
}

/// What is worth telling, and whether the member may start at all with what there is.
pub(super) fn found(options: &MemberOptions, restored: &Restored) -> Result<Found, StartError> {
    let opened = &restored.opened;
    let alone = options.peers.len() == 1;
    let empty = options.log == LogPolicy::None && alone && opened.restored.checkpoint.is_none();
    let lost_everything = empty && opened.previously_formed;
    if lost_everything && options.timing.checkpoint_interval.is_some() {
        return Err(StartError::CheckpointsGone { path: options.data.clone() });
    }
    let torn_bytes = opened.torn.as_ref().map_or(0, |torn| torn.bytes);
    let begun_anew = |why: &String| {
        let aside = options.data.join("damaged");
        format!("it has begun anew, and what it had is in {}: {why}", aside.display())
    };
    Ok(Found { lost_everything, torn_bytes, repaired: opened.put_aside.as_ref().map(begun_anew) })
}
