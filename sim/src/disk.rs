//! A member's disk: what is durable, what is still on its way, what a crash leaves of that, and what cannot be read.
//!
//! It keeps the promises of the real storage, and no others. Writes become durable in the order in which they were asked
//! for. Of those that were not flushed a crash leaves some records and not others, and recovery ends the log at the first
//! that is missing. What was flushed and cannot be read later is found on start; it may be any part.

use std::collections::VecDeque;

use bytes::Bytes;
use holdfast_engine::{
    Checkpoint, Entry, EntryKind, Formation, HardState, Incarnation, Index, Membership, Ordinal, Persist,
    Position, Random, Restored, Ticket, Write,
};

use crate::flaw::ShellBug;
use crate::journal::{self, Journal};

/// A checkpoint file: what it covers and its chunks.
#[derive(Clone, Debug)]
pub(crate) struct CheckpointFile {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) chunks: Vec<Bytes>,
}

/// One member's disk.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// Whose disk it is, by its own word.
    pub(crate) ordinal: Ordinal,
    pub(crate) incarnation: Incarnation,
    pub(super) formation: Option<Formation>,
    pub(super) identity_readable: bool,
    pub(super) hard_state: HardState,
    /// The vote before this one.
    pub(super) former_hard_state: HardState,
    pub(super) vote_readable: bool,
    pub(super) checkpoint: Option<CheckpointFile>,
    pub(super) checkpoint_readable: bool,
    pub(super) journal: Journal,
    /// Asked for and not durable yet, oldest first.
    pending: VecDeque<Persist>,
    /// The last ticket of the batch that is being written.
    writing: Option<Ticket>,
    /// A vote that `ShellBug::VoteNotFlushed` left in the page cache.
    cached_vote: Option<HardState>,
    /// What `ShellBug::ReleasesBeforeCheckpoint` had before the newest checkpoint, which a crash may bring back.
    cached_checkpoint: Option<Option<CheckpointFile>>,
    /// The next flush fails.
    pub(crate) fails_next: bool,
    /// Nothing can be written until there is space again.
    pub(crate) full: bool,
    pub(super) flaw: Option<ShellBug>,
}

impl Disk {
    /// An empty disk, for a member in this life.
    pub(crate) fn empty(ordinal: Ordinal, incarnation: Incarnation, flaw: Option<ShellBug>) -> Disk {
        Disk {
            ordinal,
            incarnation,
            formation: None,
            identity_readable: true,
            hard_state: HardState::default(),
            former_hard_state: HardState::default(),
            vote_readable: true,
            checkpoint: None,
            checkpoint_readable: true,
            journal: Journal::default(),
            pending: VecDeque::new(),
            writing: None,
            cached_vote: None,
            cached_checkpoint: None,
            fails_next: false,
            full: false,
            flaw,
        }
    }

    pub(super) fn has(&self, flaw: ShellBug) -> bool {
        self.flaw == Some(flaw)
    }

    /// Ask for writes.
    pub(crate) fn submit(&mut self, writes: impl IntoIterator<Item = Persist>) {
        self.pending.extend(writes);
    }

    /// Begin to write everything that is pending, if nothing is being written: one batch, one flush.
    pub(crate) fn begin(&mut self) -> Option<Ticket> {
        if self.writing.is_some() || self.full {
            return None;
        }
        self.writing = self.pending.back().map(|persist| persist.ticket);
        self.writing
    }

    /// The batch is durable; `None` if its flush failed, after which the process must not go on.
    pub(crate) fn finish(&mut self) -> Option<Ticket> {
        let done = self.writing.take().expect("a batch is being written");
        let fails = std::mem::take(&mut self.fails_next);
        if fails && !self.has(ShellBug::FlushErrorIgnored) {
            self.writing = Some(done);
            return None;
        }
        while self.pending.front().is_some_and(|persist| persist.ticket <= done) {
            let persist = self.pending.pop_front().expect("not empty");
            if !fails {
                self.apply(persist.write);
            }
        }
        Some(done)
    }

    /// Power loss or kill: of what is pending, nothing, a random part, or everything arrived.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        self.writing = None;
        self.full = false;
        self.fails_next = false;
        if self.cached_vote.take().is_some() && random.chance(0.7) {
            self.hard_state = self.former_hard_state;
        }
        if let Some(before) = self.cached_checkpoint.take() {
            self.checkpoint = before;
        }
        if random.chance(0.3) {
            self.pending.clear();
        }
        let keep = random.below(self.pending.len() as u64 + 1) as usize;
        let mut pending = std::mem::take(&mut self.pending);
        let torn = pending.split_off(keep);
        for persist in pending {
            self.apply(persist.write);
        }
        if let Some(Persist { write: Write::Append(entries), .. }) = torn.into_iter().next() {
            self.tear(entries, random);
        }
        self.cached_vote = None;
    }

    /// Of a write that was under way each record arrived or did not.
    fn tear(&mut self, mut entries: Vec<Entry>, random: &mut Random) {
        let arrived: Vec<bool> = entries.iter().map(|_| random.chance(0.6)).collect();
        let whole = arrived.iter().take_while(|arrived| **arrived).count();
        entries.truncate(whole);
        self.apply(Write::Append(entries));
    }

    /// Put a checkpoint on the disk: whole and durable, as after the rename and the flush of its folder.
    pub(crate) fn put_checkpoint(&mut self, file: CheckpointFile) {
        self.cached_checkpoint = None;
        let newest = self.checkpoint.as_ref().filter(|_| self.checkpoint_readable);
        if newest.is_none_or(|newest| newest.checkpoint.position < file.checkpoint.position) {
            self.checkpoint = Some(file);
            self.checkpoint_readable = true;
        }
    }

    /// Put a checkpoint on the disk, in the page cache only.
    pub(crate) fn cache_checkpoint(&mut self, file: CheckpointFile) {
        let before = self.checkpoint.clone();
        self.put_checkpoint(file);
        self.cached_checkpoint = Some(before);
    }

    /// The newest checkpoint.
    pub(crate) fn checkpoint(&self) -> Option<&CheckpointFile> {
        self.checkpoint.as_ref().filter(|_| self.checkpoint_readable)
    }

    /// How the store began, as far as the disk knows.
    pub(crate) fn formation(&self) -> Option<&Formation> {
        self.formation.as_ref()
    }

    /// The vote that would survive a crash now.
    pub(crate) fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// The durable log.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether the entry at `position` would survive a crash now.
    pub(crate) fn is_durable(&self, position: Position) -> bool {
        let covered =
            self.checkpoint.as_ref().is_some_and(|file| file.checkpoint.position.index >= position.index);
        covered || journal::holds(self.journal.log(), position)
    }

    /// What a start finds. A log that does not go on from the newest checkpoint is older than it and is dropped: the
    /// crash came between the checkpoint and the log's reset.
    pub(crate) fn recover(&mut self) -> Restored {
        if let Some(file) = &self.checkpoint {
            let position = file.checkpoint.position;
            let log = self.journal.log();
            let goes_on = log.front().is_some_and(|first| first.index() == position.index.next())
                || journal::holds(log, position);
            if !goes_on {
                self.journal.clear();
            }
        }
        Restored {
            formation: self.formation.clone(),
            hard_state: self.hard_state,
            checkpoint: self.checkpoint.as_ref().map(|file| file.checkpoint),
            entries: self.journal.log().iter().cloned().collect(),
            formed_before: false,
        }
    }

    /// The last membership that the disk knows of; of nobody before the store is formed.
    pub(crate) fn membership(&self) -> Membership {
        let Some(formation) = &self.formation else { return Membership::default() };
        let checkpoint = self.checkpoint.as_ref().map(|file| file.checkpoint);
        let first = checkpoint.map_or(Membership::of(formation), |checkpoint| checkpoint.membership);
        let covered = checkpoint.map_or(Index(0), |checkpoint| checkpoint.position.index);
        let mut log = self.journal.log().iter().rev().take_while(|entry| entry.index() > covered);
        let last = log.find(|entry| entry.kind() == EntryKind::Membership);
        last.and_then(|entry| Membership::decode(&entry.payload())).unwrap_or(first)
    }

    fn apply(&mut self, write: Write) {
        match write {
            Write::Formation(formation) => self.formation = Some(formation),
            Write::HardState(hard_state) => {
                self.former_hard_state = self.hard_state;
                self.hard_state = hard_state;
                self.vote_readable = true;
                self.cached_vote = self.has(ShellBug::VoteNotFlushed).then_some(hard_state);
            }
            Write::Append(entries) => {
                self.cached_vote = None;
                self.journal.append(entries);
            }
            Write::Reset(_) => self.journal.clear(),
            Write::Release(index) => self.journal.release(index),
        }
    }
}
