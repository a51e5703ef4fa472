//! The replicated state of one member: [`Store`], which executes entries, commits them, undoes them and answers reads.
//!
//! It refuses to be asked for what cannot happen in a correct log: entries out of order, a commit of what was not
//! executed, an undo of what is committed. These are bugs of the caller, and it panics.

use std::fmt;

use holdfast_engine::{Entry, EntryKind, Index};

use crate::checkpoint::Snapshot;
use crate::digest::{digest, mix};
use crate::history::{History, KeyChange};
use crate::keyspace::Keyspace;
use crate::logs::Logs;
use crate::sessions::{SessionUndo, Sessions, Verdict};
use crate::transaction::{self, State};
use crate::undo::{Executed, Marks, Undo};
use crate::version::Version;
use crate::{
    CheckpointCursor, Command, Event, KeyValue, Limits, LogError, LogState, Message, MessagesPage,
    MessagesQuery, Operation, Outcome, Range, RangeQuery, ReadError, Reason, Revision, Sequence, View, read,
    reserved,
};

/// Revisions whose superseded versions a commit drops, beside [`PRUNE_PER_ENTRY`] for each entry that it commits: a
/// compaction of the longest history is paid in many small pieces instead of one long pause.
const PRUNE_PER_COMMIT: usize = 16;

/// An entry adds one revision, so that twice as many catch up with what is left over.
const PRUNE_PER_ENTRY: usize = 2;

/// An encoded outcome above this size gives its memory back after it was hashed.
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

/// The replicated state of one member.
///
/// Two states in one: what is *committed*, and what is *executed*, which is the same or ahead of it. Both are functions
/// of the log up to their index.
pub struct Store {
    limits: Limits,
    keyspace: Keyspace,
    history: History,
    sessions: Sessions,
    logs: Logs,
    undo: Undo,
    /// Memory for encoding outcomes.
    scratch: Vec<u8>,
}

/// Figures for metrics and statuses; of the committed state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The store's revision.
    pub revision: Revision,
    /// The oldest revision that can be read.
    pub compacted: Revision,
    /// Live keys, also the reserved ones.
    pub keys: u64,
    /// Bytes of live keys and values, each with `ITEM_BYTES`: what the quota counts.
    pub live_bytes: u64,
    /// Message logs.
    pub logs: u64,
    /// Messages that can be read in them.
    pub messages: u64,
    /// Bytes of the message logs, each message with `MESSAGE_BYTES`, also those that only the windows for duplicates
    /// know: what the quota counts beside `live_bytes`.
    pub log_bytes: u64,
    /// Bytes of the history, counted alike.
    pub history_bytes: u64,
    /// Remembered sessions; these of the executed state.
    pub sessions: u64,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("executed", &self.executed())
            .field("committed", &self.committed())
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

impl Default for Store {
    fn default() -> Store {
        Store::new()
    }
}

impl Store {
    /// An empty store: index 0, revision 1.
    pub fn new() -> Store {
        Store::with_limits(Limits::default())
    }

    /// An empty store with other limits than the usual. All members must use the same.
    pub fn with_limits(limits: Limits) -> Store {
        let (keyspace, history) = (Keyspace::default(), History::starting_at(Marks::EMPTY.compacted));
        let (sessions, logs) = (Sessions::default(), Logs::default());
        Store::assemble(limits, Index(0), Marks::EMPTY, keyspace, history, sessions, logs)
    }

    /// The store that has these parts, all of them committed.
    pub(crate) fn assemble(
        limits: Limits,
        committed: Index,
        marks: Marks,
        keyspace: Keyspace,
        history: History,
        sessions: Sessions,
        logs: Logs,
    ) -> Store {
        let undo = Undo::new(committed, marks);
        Store { limits, keyspace, history, sessions, logs, undo, scratch: Vec::new() }
    }

    /// Execute the next entry. Its effect shows in [`View::Executed`] and can be undone until it is committed.
    ///
    /// The outcome is `None` for an entry that is no command. Whatever the entry's payload is, there is an outcome:
    /// bytes that are no command are refused as [`Reason::Malformed`].
    ///
    /// # Panics
    ///
    /// If the entry is not the one right after the last executed one.
    pub fn execute(&mut self, entry: &Entry) -> Option<Outcome> {
        let index = entry.index();
        assert!(index == self.executed().next(), "entry {index} right after {}", self.executed());
        let mut after = *self.undo.marks(View::Executed);
        let (outcome, session) = match entry.kind() {
            EntryKind::Noop => (None, None),
            EntryKind::Membership => {
                after.hash = mix(after.hash, digest(&entry.payload()));
                (None, None)
            }
            EntryKind::Command => {
                let payload = entry.payload();
                let (outcome, session) = self.command(index, &payload, &mut after);
                after.hash = mix(after.hash, digest(&payload));
                (Some(outcome), session)
            }
        };
        after.hash = self.hash_outcome(index, outcome.as_ref(), &after);
        self.undo.push(Executed { after, session });
        outcome
    }

    fn command(
        &mut self,
        index: Index,
        payload: &[u8],
        marks: &mut Marks,
    ) -> (Outcome, Option<Box<SessionUndo>>) {
        let Ok(Command { session, operation }) = Command::borrowed(payload) else {
            return (Outcome::Refused(Reason::Malformed), None);
        };
        let Some(stamp) = session else { return (self.perform(index, operation, marks), None) };
        match self.sessions.judge(stamp) {
            Verdict::Refused(reason) => (Outcome::Refused(reason), None),
            Verdict::Repeated(outcome) => {
                let undo = self.sessions.touch(stamp.session, index);
                (outcome, Some(Box::new(undo)))
            }
            Verdict::Fresh => {
                let outcome = self.perform(index, operation, marks);
                let undo = self.sessions.record(stamp, outcome.clone(), index, &self.limits);
                (outcome, Some(Box::new(undo)))
            }
        }
    }

    fn perform(&mut self, index: Index, operation: Operation<&[u8]>, marks: &mut Marks) -> Outcome {
        let Store { keyspace, history, logs, limits, .. } = self;
        transaction::perform(State { index, keyspace, history, logs, marks, limits }, operation)
            .unwrap_or_else(Outcome::Refused)
    }

    /// The hash after an entry: over the one before and the payload (in `after.hash`), the entry's index, what came of
    /// it, and the figures that later outcomes depend on.
    fn hash_outcome(&mut self, index: Index, outcome: Option<&Outcome>, after: &Marks) -> u64 {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let encoded =
            postcard::to_extend(&outcome, scratch).expect("outcomes have nothing that postcard refuses");
        let Marks { revision, compacted, history_bytes, live_keys, live_bytes, hash, .. } = *after;
        let figures = [
            index.0,
            digest(&encoded),
            revision.0,
            compacted.0,
            history_bytes,
            live_keys,
            live_bytes,
            self.sessions.len() as u64,
            self.sessions.bytes(),
        ];
        if encoded.capacity() <= SCRATCH_BYTES_KEPT {
            self.scratch = encoded;
        }
        let hash = figures.into_iter().fold(hash, mix);
        // Without message logs it is what it was before there were any.
        let Some(log) = self.logs.figures(index) else { return hash };
        let all = [after.logs, after.messages, after.log_bytes];
        log.into_iter().chain(all).fold(hash, mix)
    }

    /// Everything up to and including `index` is committed: it shows in [`View::Committed`] and cannot be undone any
    /// more. Gives the events of what became so, in order.
    ///
    /// # Panics
    ///
    /// If `index` is before the committed or after the executed one.
    pub fn commit(&mut self, index: Index) -> Vec<Event> {
        let before = self.revision(View::Committed);
        self.commit_unwatched(index);
        self.history.events([before.next(), self.revision(View::Committed)], b"", b"", usize::MAX)
    }

    /// As [`Store::commit`], for when nobody wants the events, which cost about as much as the rest of it.
    ///
    /// # Panics
    ///
    /// If `index` is before the committed or after the executed one.
    pub fn commit_unwatched(&mut self, index: Index) {
        let Marks { compacted, .. } = *self.undo.marks(View::Committed);
        let entries = index.0.saturating_sub(self.committed().0) as usize;
        self.undo.commit(index);
        // What was committed before is behind, not what is committed now: its events are still to be given.
        let steps = PRUNE_PER_COMMIT + PRUNE_PER_ENTRY * entries;
        self.history.prune(&mut self.keyspace, compacted, steps);
        self.logs.commit(index);
        self.logs.prune(steps);
    }

    /// Undo everything executed after `index`; nothing of it can be seen afterwards.
    ///
    /// # Panics
    ///
    /// If `index` is before the committed or after the executed one.
    pub fn rollback(&mut self, index: Index) {
        let (committed, executed) = (self.committed(), self.executed());
        assert!((committed..=executed).contains(&index), "rollback to {index} in [{committed}, {executed}]");
        self.logs.rollback(index);
        while self.executed() > index {
            let undone = self.undo.pop().expect("as many as are executed and not committed");
            if undone.after.revision > self.revision(View::Executed) {
                let (change, remembered) = (self.history.pop(), self.history.first());
                for KeyChange { after, before } in change.keys.into_reversed() {
                    self.keyspace.revert(after.key(), undone.after.revision, before, remembered);
                }
            }
            if let Some(session) = undone.session {
                self.sessions.undo(*session);
            }
        }
    }

    /// The last entry that was executed and not undone; 0 if there is none.
    pub fn executed(&self) -> Index {
        self.undo.executed()
    }

    /// The last entry that is known to be committed; 0 if there is none.
    pub fn committed(&self) -> Index {
        self.undo.committed()
    }

    /// The newest revision of a view.
    pub fn revision(&self, view: View) -> Revision {
        self.undo.marks(view).revision
    }

    /// The oldest revision of a view that can be read; 0 if nothing was ever compacted.
    pub fn compacted(&self, view: View) -> Revision {
        self.undo.marks(view).compacted
    }

    /// Figures for metrics and statuses.
    pub fn statistics(&self) -> Statistics {
        let marks = self.undo.marks(View::Committed);
        Statistics {
            revision: marks.revision,
            compacted: marks.compacted,
            keys: marks.live_keys,
            live_bytes: marks.live_bytes,
            logs: marks.logs,
            messages: marks.messages,
            log_bytes: marks.log_bytes,
            history_bytes: marks.history_bytes,
            sessions: self.sessions.len() as u64,
        }
    }

    /// A hash over every entry up to the committed one, with its outcome: equal at equal index on all members.
    pub fn hash(&self) -> u64 {
        self.undo.marks(View::Committed).hash
    }

    /// The revision that `at` means.
    fn resolve(&self, at: Option<Revision>, view: View) -> Result<Revision, ReadError> {
        let Marks { revision: current, compacted, .. } = *self.undo.marks(view);
        match at {
            None => Ok(current),
            Some(at) if at > current => Err(ReadError::FutureRevision { current }),
            Some(at) if at < compacted => Err(ReadError::Compacted { compacted }),
            Some(at) => Ok(at),
        }
    }

    /// One key, as of a revision; `None` is the newest of the view.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if there is no such revision, or not any more.
    pub fn get(&self, key: &[u8], at: Option<Revision>, view: View) -> Result<Option<KeyValue>, ReadError> {
        let revision = self.resolve(at, view)?;
        let Some(newest) = self.keyspace.newest(key) else { return Ok(None) };
        Ok(self.history.at(key, newest, revision).and_then(Version::item))
    }

    /// Keys in order.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if there is no such revision, or not any more.
    pub fn range(&self, query: RangeQuery) -> Result<Range, ReadError> {
        let revision = self.resolve(query.at, query.view)?;
        let marks = self.undo.marks(query.view);
        let live_keys = (revision == marks.revision).then_some(marks.live_keys);
        Ok(read::range(&self.keyspace, &self.history, &query, revision, live_keys))
    }

    /// Committed changes of keys that `prefix` covers, from the revision `from` on, in order; empty if there are
    /// none, also if `from` is yet to come.
    ///
    /// All events of one revision come together: the list ends before a revision that would make it longer than
    /// `limit`, unless that is its first. To go on, ask from the revision after the last event's until the list is
    /// empty.
    ///
    /// # Errors
    ///
    /// [`ReadError::Compacted`] if some of them may be compacted away.
    pub fn events(&self, from: Revision, prefix: &[u8], limit: usize) -> Result<Vec<Event>, ReadError> {
        let Marks { revision, compacted, .. } = *self.undo.marks(View::Committed);
        if from < compacted {
            return Err(ReadError::Compacted { compacted });
        }
        Ok(self.history.events([from, revision], reserved::start(prefix), prefix, limit))
    }

    /// All message logs, by name.
    pub fn logs(&self, view: View) -> Vec<LogState> {
        self.logs.list(view)
    }

    /// One message log; `None` if the view has none of this name.
    pub fn log(&self, name: &[u8], view: View) -> Option<LogState> {
        self.logs.describe(name, view)
    }

    /// One message; `None` if the log has forgotten it, or it is yet to come.
    ///
    /// # Errors
    ///
    /// [`LogError::NotFound`]
    pub fn message(&self, log: &[u8], sequence: Sequence, view: View) -> Result<Option<Message>, LogError> {
        self.logs.message(log, sequence, view)
    }

    /// Messages of a log, in order and without gaps.
    ///
    /// # Errors
    ///
    /// [`LogError::NotFound`]
    pub fn messages(&self, query: &MessagesQuery) -> Result<MessagesPage, LogError> {
        self.logs.messages(query)
    }

    /// Begin to cut a checkpoint of the committed state. Everything goes on meanwhile, and no later change shows in it:
    /// the cursor shares what does not change, and can be sent to another thread. As long as it lives, it keeps the
    /// memory of what it shows.
    pub fn begin_checkpoint(&self) -> CheckpointCursor {
        let undone = self.undo.newest_first().filter_map(|record| record.session.as_deref());
        CheckpointCursor::new(Snapshot {
            index: self.committed(),
            marks: *self.undo.marks(View::Committed),
            sessions: self.sessions.before(undone),
            keyspace: self.keyspace.clone(),
            history: self.history.clone(),
            logs: self.logs.snapshot(),
        })
    }

    /// Behave by a bug from now on; the clock of this member is so far ahead of the others'.
    #[cfg(feature = "seeded-bugs")]
    pub fn seed_bug(&mut self, bug: Option<crate::Bug>, ahead_ms: u64) {
        self.logs.seed_bug(bug, ahead_ms);
    }

    /// How many versions of a key are in memory, also those that nobody can read.
    #[cfg(test)]
    pub(crate) fn versions_in_memory(&self, key: &[u8]) -> usize {
        self.keyspace.newest(key).map_or(0, |newest| self.history.versions(key, newest).count())
    }

    /// The message logs, also what nobody can read of them.
    #[cfg(test)]
    pub(crate) fn message_logs(&self) -> &Logs {
        &self.logs
    }

    /// How many keys are in memory, also those of which only a deletion is left.
    #[cfg(test)]
    pub(crate) fn keys_in_memory(&self) -> usize {
        self.keyspace.len()
    }
}

#[cfg(test)]
mod tests;
