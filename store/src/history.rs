//! What each revision changed, from the oldest revision that is kept: [`History`]. It gives watchers their events, readers
//! what keys were before, and says what compaction may drop.
//!
//! Compaction has two halves. The *logical* half moves [`Marks::compacted`]; it happens when a command is executed, is
//! a function of the log alone, and is undone with the command. The *physical* half ([`History::prune`]) gives memory
//! back; it happens some time after the commit and nobody can see whether it did.

use bytes::Bytes;

use crate::blocks::Blocks;
use crate::keyspace::{Keyspace, Superseded};
use crate::limits::cost;
use crate::undo::Marks;
use crate::version::Version;
use crate::{Event, Limits, Revision};

/// The first revision that changes anything.
const FIRST: Revision = Revision(2);

/// What one revision did to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyChange {
    /// What it is from this revision on; it holds the key.
    pub(crate) after: Version,
    /// What it was; [`Version::NONE`] also if nobody can read it any more.
    pub(crate) before: Version,
}

/// Keys that one revision changed. Mostly one, which needs no memory of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Changed {
    #[default]
    None,
    One(KeyChange),
    Many(Vec<KeyChange>),
}

/// What one revision changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// In order, each key once.
    pub(crate) keys: Changed,
    /// What the versions count that it put an end to. They can be dropped once this revision is the oldest.
    pub(crate) superseded: u64,
    /// What this record counts, and the deletions. They can be dropped once the oldest revision is a later one.
    pub(crate) recorded: u64,
}

/// The changes of all revisions from `first` on, without gaps. A copy costs next to nothing and shows for ever what was
/// there.
///
/// Invariants: `first` is `pruned`, or 2 if nothing was pruned; `pruned` is at most the compacted revision of the
/// committed state.
#[derive(Clone, Debug)]
pub(crate) struct History {
    changes: Blocks<Change>,
    first: Revision,
    /// What this revision and those before it superseded is dropped.
    pruned: Revision,
}

impl KeyChange {
    pub(crate) fn key(&self) -> &[u8] {
        self.after.key()
    }
}

impl Changed {
    fn push(&mut self, change: KeyChange) {
        *self = match std::mem::take(self) {
            Changed::None => Changed::One(change),
            Changed::One(first) => Changed::Many(vec![first, change]),
            Changed::Many(mut keys) => {
                keys.push(change);
                Changed::Many(keys)
            }
        };
    }

    pub(crate) fn as_slice(&self) -> &[KeyChange] {
        match self {
            Changed::None => &[],
            Changed::One(change) => std::slice::from_ref(change),
            Changed::Many(changes) => changes,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [KeyChange] {
        match self {
            Changed::None => &mut [],
            Changed::One(change) => std::slice::from_mut(change),
            Changed::Many(changes) => changes,
        }
    }

    /// The changes, newest first before they were sorted.
    pub(crate) fn into_reversed(self) -> impl Iterator<Item = KeyChange> {
        let (one, many) = match self {
            Changed::None => (None, Vec::new()),
            Changed::One(change) => (Some(change), Vec::new()),
            Changed::Many(changes) => (None, changes),
        };
        one.into_iter().chain(many.into_iter().rev())
    }

    /// Put the keys in order.
    fn sort(&mut self) {
        if let Changed::Many(changes) = self {
            changes.sort_unstable_by(|one, other| one.key().cmp(other.key()));
        }
    }

    fn find(&self, key: &[u8]) -> Option<&KeyChange> {
        let changes = self.as_slice();
        changes.binary_search_by(|change| change.key().cmp(key)).ok().map(|at| &changes[at])
    }
}

impl Change {
    /// Record what a key became, and what it was; what ended with that.
    pub(crate) fn record(&mut self, after: Version, before: Version) -> Option<Superseded> {
        let superseded = Superseded::of(&before);
        self.recorded += cost(after.key(), 0);
        self.superseded += superseded.map_or(0, |superseded| superseded.cost);
        self.keys.push(KeyChange { after, before });
        superseded
    }
}

impl History {
    /// The history of a store that was compacted at `compacted` and pruned to there; without any changes yet.
    pub(crate) fn starting_at(compacted: Revision) -> History {
        let first = compacted.max(FIRST);
        History { changes: Blocks::default(), first, pruned: compacted.max(Revision::EMPTY) }
    }

    /// The oldest revision whose change is on record.
    pub(crate) fn first(&self) -> Revision {
        self.first
    }

    fn place(&self, revision: Revision) -> Option<usize> {
        revision.0.checked_sub(self.first.0).map(|place| place as usize)
    }

    fn get(&self, revision: Revision) -> Option<&Change> {
        self.changes.get(self.place(revision)?)
    }

    /// Record what the next revision changed.
    pub(crate) fn push(&mut self, mut change: Change) {
        change.keys.sort();
        self.changes.push_back(change);
    }

    /// Forget the newest revision.
    pub(crate) fn pop(&mut self) -> Change {
        self.changes.pop_back().expect("the revision that is undone is on record")
    }

    /// What a key was before `version`; `None` if there was no trace of it, or nobody remembers.
    fn before(&self, key: &[u8], version: &Version) -> Option<&Version> {
        let change = self.get(version.modified)?.keys.find(key)?;
        Some(&change.before).filter(|before| before.is_known())
    }

    /// All versions of a key that are on record, newest first. The steps back are as many as the versions: a page of an
    /// old revision takes at most as many as the history has changes.
    pub(crate) fn versions<'a>(
        &'a self,
        key: &'a [u8],
        newest: &'a Version,
    ) -> impl Iterator<Item = &'a Version> {
        std::iter::successors(Some(newest), move |version| self.before(key, version))
    }

    /// The version of a key that counts at `revision`.
    pub(crate) fn at<'a>(
        &'a self,
        key: &'a [u8],
        newest: &'a Version,
        revision: Revision,
    ) -> Option<&'a Version> {
        self.versions(key, newest).find(|version| version.modified <= revision)
    }

    /// Move the compacted revision by one.
    fn compact_one(&self, marks: &mut Marks) {
        let record = self.get(marks.compacted).map_or(0, |change| change.recorded);
        marks.compacted = marks.compacted.next();
        let superseded = self.get(marks.compacted).map_or(0, |change| change.superseded);
        marks.history_bytes -= record + superseded;
    }

    /// Move the compacted revision to `revision`.
    pub(crate) fn compact(&self, marks: &mut Marks, revision: Revision) {
        while marks.compacted < revision {
            self.compact_one(marks);
        }
    }

    /// Compact until the history is within its limits again, or nothing but the newest revision is left.
    pub(crate) fn compact_to_limits(&self, marks: &mut Marks, limits: &Limits) {
        while marks.compacted < marks.revision
            && (marks.history_bytes > limits.history_bytes
                || marks.revision.0 - marks.compacted.0 > limits.history_revisions)
        {
            self.compact_one(marks);
        }
    }

    /// Give back the memory of up to `changes_max` revisions that nobody can read with `compacted` as the oldest.
    pub(crate) fn prune(&mut self, keyspace: &mut Keyspace, compacted: Revision, changes_max: usize) {
        for _ in 0..changes_max {
            if self.pruned >= compacted {
                return;
            }
            self.pruned = self.pruned.next();
            if self.first < self.pruned {
                let gone = self.changes.get(0).expect("a change for every revision");
                let deleted = gone.keys.as_slice().iter().filter(|change| !change.after.is_live());
                deleted.for_each(|change| keyspace.drop_deletion(change.key(), compacted));
                self.changes.drop_front();
                self.first = self.first.next();
            }
            self.drop_superseded(self.pruned);
        }
    }

    /// Drop what the keys were that `revision` changed.
    fn drop_superseded(&mut self, revision: Revision) {
        let holds = |change: &KeyChange| change.before.is_known();
        if !self.get(revision).is_some_and(|change| change.keys.as_slice().iter().any(holds)) {
            return;
        }
        let Some(change) = self.place(revision).and_then(|place| self.changes.get_mut(place)) else { return };
        change.keys.as_mut_slice().iter_mut().for_each(|change| change.before = Version::NONE);
    }

    /// What the revisions `[from, to]` changed of keys from `start` on that begin with `prefix`; ends before the revision that would make it more than
    /// `limit` events, but not before the first one that has any.
    pub(crate) fn events(
        &self,
        [from, to]: [Revision; 2],
        start: &[u8],
        prefix: &[u8],
        limit: usize,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let mut revision = from.max(self.first);
        while revision <= to {
            let keys = self.get(revision).expect("a change for every revision").keys.as_slice();
            let first = keys.partition_point(|change| change.key() < start);
            let matching = keys[first..].iter().take_while(|change| change.key().starts_with(prefix));
            let complete = events.len();
            events.extend(matching.map(event));
            if complete > 0 && events.len() > limit {
                events.truncate(complete);
                break;
            }
            if events.len() >= limit && !events.is_empty() {
                break;
            }
            revision = revision.next();
        }
        events
    }
}

fn event(KeyChange { after, .. }: &KeyChange) -> Event {
    let deleted = || Event::Deleted { key: Bytes::copy_from_slice(after.key()), revision: after.modified };
    after.item().map_or_else(deleted, Event::Put)
}

#[cfg(test)]
mod tests;
