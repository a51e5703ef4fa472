//! A member's disk: what is durable, what is still on its way, and what a crash leaves of that.
//!
//! Writes become durable in order. A crash keeps a random prefix of those that were not acknowledged, cut inside a
//! batch of entries too: a torn tail. Reordered, corrupt and misdirected writes are not modelled yet.

use std::collections::VecDeque;

use bytes::Bytes;
use holdfast_engine::{
    Checkpoint, Entry, EntryKind, Formation, HardState, Incarnation, Index, Membership, Persist, Position,
    Random, Restored, Ticket, Write,
};

/// A checkpoint file: what it covers and its chunks.
#[derive(Clone, Debug)]
pub(crate) struct CheckpointFile {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) chunks: Vec<Bytes>,
}

/// One member's disk.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) incarnation: Incarnation,
    formation: Option<Formation>,
    hard_state: HardState,
    checkpoint: Option<CheckpointFile>,
    /// Durable log records.
    entries: VecDeque<Entry>,
    /// Asked for and not durable yet, oldest first.
    pending: VecDeque<Persist>,
    /// The last ticket of the batch that is being written.
    writing: Option<Ticket>,
}

impl Disk {
    /// An empty disk, for a member in this life.
    pub(crate) fn empty(incarnation: Incarnation) -> Disk {
        Disk {
            incarnation,
            formation: None,
            hard_state: HardState::default(),
            checkpoint: None,
            entries: VecDeque::new(),
            pending: VecDeque::new(),
            writing: None,
        }
    }

    /// Ask for writes.
    pub(crate) fn submit(&mut self, writes: impl IntoIterator<Item = Persist>) {
        self.pending.extend(writes);
    }

    /// Begin to write everything that is pending, if nothing is being written: one batch, one flush.
    pub(crate) fn begin(&mut self) -> Option<Ticket> {
        if self.writing.is_some() {
            return None;
        }
        self.writing = self.pending.back().map(|persist| persist.ticket);
        self.writing
    }

    /// The batch is durable.
    pub(crate) fn finish(&mut self) -> Ticket {
        let done = self.writing.take().expect("a batch is being written");
        while self.pending.front().is_some_and(|persist| persist.ticket <= done) {
            let persist = self.pending.pop_front().expect("not empty");
            self.apply(persist.write);
        }
        done
    }

    /// Power loss or kill: of what is pending, nothing or a random prefix arrived.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        self.writing = None;
        if random.chance(0.3) {
            self.pending.clear();
        }
        let keep = random.below(self.pending.len() as u64 + 1) as usize;
        let mut pending = std::mem::take(&mut self.pending);
        let torn = pending.split_off(keep);
        for persist in pending {
            self.apply(persist.write);
        }
        if let Some(Persist { write: Write::Append(mut entries), .. }) = torn.into_iter().next() {
            entries.truncate(random.below(entries.len() as u64 + 1) as usize);
            self.apply(Write::Append(entries));
        }
    }

    /// Put a checkpoint on the disk: whole and durable, as after the rename and the flush of its folder.
    pub(crate) fn put_checkpoint(&mut self, file: CheckpointFile) {
        if self.checkpoint.as_ref().is_none_or(|newest| newest.checkpoint.position < file.checkpoint.position)
        {
            self.checkpoint = Some(file);
        }
    }

    /// The newest checkpoint.
    pub(crate) fn checkpoint(&self) -> Option<&CheckpointFile> {
        self.checkpoint.as_ref()
    }

    /// Whether the entry at `position` would survive a crash now.
    pub(crate) fn is_durable(&self, position: Position) -> bool {
        let covered =
            self.checkpoint.as_ref().is_some_and(|file| file.checkpoint.position.index >= position.index);
        covered || self.find(position.index).is_some_and(|entry| entry.position() == position)
    }

    fn find(&self, index: Index) -> Option<&Entry> {
        let first = self.entries.front()?.index();
        self.entries.get(usize::try_from(index.0.checked_sub(first.0)?).ok()?)
    }

    /// What a start finds. A log that does not go on from the newest checkpoint is older than it and is dropped: the
    /// crash came between the checkpoint and the log's reset.
    pub(crate) fn recover(&mut self) -> Restored {
        if let Some(file) = &self.checkpoint {
            let position = file.checkpoint.position;
            let goes_on = self.entries.front().is_some_and(|first| first.index() == position.index.next())
                || self.find(position.index).is_some_and(|entry| entry.position() == position);
            if !goes_on {
                self.entries.clear();
            }
        }
        Restored {
            formation: self.formation.clone(),
            hard_state: self.hard_state,
            checkpoint: self.checkpoint.as_ref().map(|file| file.checkpoint),
            entries: self.entries.iter().cloned().collect(),
            formed_before: false,
        }
    }

    /// The last membership that the disk knows of; of nobody before the store is formed.
    pub(crate) fn membership(&mut self) -> Membership {
        let restored = self.recover();
        let Some(formation) = restored.formation else { return Membership::default() };
        let first =
            restored.checkpoint.map_or(Membership::of(&formation), |checkpoint| checkpoint.membership);
        let covered = restored.checkpoint.map_or(Index(0), |checkpoint| checkpoint.position.index);
        let last = restored.entries.iter().rev().find(|entry| entry.kind() == EntryKind::Membership);
        let last = last.filter(|entry| entry.index() > covered);
        last.and_then(|entry| Membership::decode(&entry.payload())).unwrap_or(first)
    }

    fn apply(&mut self, write: Write) {
        match write {
            Write::Formation(formation) => self.formation = Some(formation),
            Write::HardState(hard_state) => self.hard_state = hard_state,
            Write::Append(entries) => {
                let Some(first) = entries.first().map(Entry::index) else { return };
                while self.entries.back().is_some_and(|last| last.index() >= first) {
                    self.entries.pop_back();
                }
                self.entries.extend(entries);
            }
            Write::Reset(_) => self.entries.clear(),
            Write::Release(index) => {
                while self.entries.front().is_some_and(|entry| entry.index() <= index) {
                    self.entries.pop_front();
                }
            }
        }
    }
}
