//! Which keys each revision changed, from the oldest revision that is kept: [`History`]. It gives watchers their events
//! and says what compaction may drop.
//!
//! Compaction has two halves. The *logical* half moves [`Marks::compacted`]; it happens when a command is executed, is
//! a function of the log alone, and is undone with the command. The *physical* half ([`History::prune`]) gives memory
//! back; it happens some time after the commit and nobody can see whether it did.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::keyspace::{Keyspace, item};
use crate::limits::cost;
use crate::undo::Marks;
use crate::{Event, Limits, Revision};

/// The first revision that changes anything.
const FIRST: Revision = Revision(2);

/// Keys that one revision changed. Mostly one, which needs no memory of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Changed {
    #[default]
    None,
    One(Bytes),
    Many(Vec<Bytes>),
}

/// What one revision changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// In order, each once.
    pub(crate) keys: Changed,
    /// Whether it deleted any of them.
    pub(crate) deletes: bool,
    /// Whether any of them was there before, be it deleted. Only for pruning: members may differ in it.
    pub(crate) replaces: bool,
    /// What the versions count that it put an end to. They can be dropped once this revision is the oldest.
    pub(crate) superseded: u64,
    /// What this record counts, and the deletions. They can be dropped once the oldest revision is a later one.
    pub(crate) recorded: u64,
}

/// The changes of all revisions from `first` on, without gaps.
///
/// Invariants: `first` is `pruned`, or 2 if nothing was pruned; `pruned` is at most the compacted revision of the
/// committed state.
#[derive(Debug)]
pub(crate) struct History {
    changes: VecDeque<Change>,
    first: Revision,
    /// What this revision and those before it superseded is dropped.
    pruned: Revision,
}

impl Changed {
    pub(crate) fn push(&mut self, key: Bytes) {
        *self = match std::mem::take(self) {
            Changed::None => Changed::One(key),
            Changed::One(first) => Changed::Many(vec![first, key]),
            Changed::Many(mut keys) => {
                keys.push(key);
                Changed::Many(keys)
            }
        };
    }

    pub(crate) fn as_slice(&self) -> &[Bytes] {
        match self {
            Changed::None => &[],
            Changed::One(key) => std::slice::from_ref(key),
            Changed::Many(keys) => keys,
        }
    }

    /// Put the keys in order.
    pub(crate) fn sort(&mut self) {
        if let Changed::Many(keys) = self {
            keys.sort_unstable();
        }
    }
}

impl Change {
    /// Record that `key` changed.
    pub(crate) fn record(&mut self, key: Bytes) {
        self.recorded += cost(&key, 0);
        self.keys.push(key);
    }
}

impl History {
    /// The history of a store that was compacted at `compacted` and pruned to there; without any changes yet.
    pub(crate) fn starting_at(compacted: Revision) -> History {
        let first = compacted.max(FIRST);
        History { changes: VecDeque::new(), first, pruned: compacted.max(Revision::EMPTY) }
    }

    /// The oldest revision whose change is on record.
    pub(crate) fn first(&self) -> Revision {
        self.first
    }

    fn get(&self, revision: Revision) -> Option<&Change> {
        self.changes.get(revision.0.checked_sub(self.first.0)? as usize)
    }

    /// Record what the next revision changed.
    pub(crate) fn push(&mut self, change: Change) {
        self.changes.push_back(change);
    }

    /// Forget the newest revision.
    pub(crate) fn pop(&mut self) -> Change {
        self.changes.pop_back().expect("the revision that is undone is on record")
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
                let gone = self.changes.pop_front().expect("a change for every revision");
                self.first = self.first.next();
                if gone.deletes {
                    gone.keys.as_slice().iter().for_each(|key| keyspace.drop_deletion(key, compacted));
                }
            }
            if let Some(change) = self.get(self.pruned).filter(|change| change.replaces) {
                change.keys.as_slice().iter().for_each(|key| keyspace.drop_superseded(key, compacted));
            }
        }
    }

    /// What the revisions `[from, to]` changed under `prefix`; ends before the revision that would make it more than
    /// `limit` events, but not before the first one that has any.
    pub(crate) fn events(
        &self,
        keyspace: &Keyspace,
        [from, to]: [Revision; 2],
        prefix: &[u8],
        limit: usize,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let mut revision = from.max(self.first);
        while revision <= to {
            let keys = self.get(revision).expect("a change for every revision").keys.as_slice();
            let start = keys.partition_point(|key| &key[..] < prefix);
            let matching = keys[start..].iter().take_while(|key| key.starts_with(prefix));
            let complete = events.len();
            events.extend(matching.map(|key| event(keyspace, key, revision)));
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

fn event(keyspace: &Keyspace, key: &Bytes, revision: Revision) -> Event {
    let (key, chain) = keyspace.chain(key).expect("a changed key is there");
    let version = chain.at(revision).filter(|version| version.modified == revision);
    let version = version.expect("a change that is on record is there");
    item(key, version).map_or_else(|| Event::Deleted { key: key.clone(), revision }, Event::Put)
}
