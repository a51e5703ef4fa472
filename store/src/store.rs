//! The store. First shape: signatures only.

use bytes::Bytes;
use holdfast_engine::{Entry, EntryKind, Index};

use crate::{
    CheckpointCursor, Event, KeyValue, Limits, Outcome, Range, RangeQuery, ReadError, Reason, Revision, View,
};

/// The replicated state of one member.
#[derive(Debug)]
pub struct Store {
    executed: Index,
    committed: Index,
}

/// Figures for metrics and statuses; of the committed state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The store's revision.
    pub revision: Revision,
    /// The oldest revision that can be read.
    pub compacted: Revision,
    /// Live keys.
    pub keys: u64,
    /// Bytes of live keys and values, each with `ITEM_BYTES`: what the quota counts.
    pub live_bytes: u64,
    /// Bytes of the history.
    pub history_bytes: u64,
    /// Remembered sessions.
    pub sessions: u64,
}

impl Default for Store {
    fn default() -> Store {
        Store::new()
    }
}

impl Store {
    /// An empty store.
    pub fn new() -> Store {
        Store::with_limits(Limits::default())
    }

    /// An empty store with other limits than the usual.
    pub fn with_limits(_limits: Limits) -> Store {
        Store { executed: Index(0), committed: Index(0) }
    }

    /// Execute the next entry.
    pub fn execute(&mut self, entry: &Entry) -> Option<Outcome> {
        self.executed = entry.index();
        (entry.kind() == EntryKind::Command).then_some(Outcome::Refused(Reason::Malformed))
    }

    /// Everything up to and including `index` is committed.
    pub fn commit(&mut self, index: Index) -> Vec<Event> {
        self.committed = index;
        Vec::new()
    }

    /// Undo everything executed after `index`.
    pub fn rollback(&mut self, index: Index) {
        self.executed = index;
    }

    /// The last entry that was executed.
    pub fn executed(&self) -> Index {
        self.executed
    }

    /// The last entry that is known to be committed.
    pub fn committed(&self) -> Index {
        self.committed
    }

    /// The newest revision.
    pub fn revision(&self, _view: View) -> Revision {
        Revision::EMPTY
    }

    /// The oldest revision that can be read.
    pub fn compacted(&self, _view: View) -> Revision {
        Revision(0)
    }

    /// Figures for metrics and statuses.
    pub fn statistics(&self) -> Statistics {
        Statistics::default()
    }

    /// One key.
    ///
    /// # Errors
    ///
    /// [`ReadError`]
    pub fn get(
        &self,
        _key: &[u8],
        _at: Option<Revision>,
        _view: View,
    ) -> Result<Option<KeyValue>, ReadError> {
        Ok(None)
    }

    /// Keys in order.
    ///
    /// # Errors
    ///
    /// [`ReadError`]
    pub fn range(&self, _query: RangeQuery) -> Result<Range, ReadError> {
        Ok(Range { items: Vec::new(), more: false, count: Some(0), revision: Revision::EMPTY })
    }

    /// Committed changes.
    ///
    /// # Errors
    ///
    /// [`ReadError`]
    pub fn events(&self, _from: Revision, _prefix: &[u8], _limit: usize) -> Result<Vec<Event>, ReadError> {
        Ok(Vec::new())
    }

    /// A hash over everything committed.
    pub fn hash(&self) -> u64 {
        0
    }

    /// Begin to cut a checkpoint of the committed state.
    pub fn begin_checkpoint(&mut self) -> CheckpointCursor {
        CheckpointCursor { finished: false }
    }

    /// The checkpoint's next chunk.
    pub fn checkpoint_chunk(&mut self, cursor: &mut CheckpointCursor, _bytes_max: usize) -> Option<Bytes> {
        cursor.finished = true;
        None
    }

    /// End a checkpoint before it is whole.
    pub fn abandon_checkpoint(&mut self, _cursor: CheckpointCursor) {}
}
