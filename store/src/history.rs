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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, all, delete, put};
    use crate::{ITEM_BYTES, Keys, Operation, Outcome, ReadError, Reason, TxnOperation, View};

    fn compact(revision: u64) -> Operation {
        Operation::Compact { revision: Revision(revision) }
    }

    /// a at 2, b at 3, both changed at 4, a deleted at 5.
    fn script() -> Script {
        let mut script = Script::new();
        script.run(put("a", "1"));
        script.run(put("b", "1"));
        let both = ["b", "a"].map(|key| TxnOperation::Put { key: key.into(), value: "2".into() });
        script.run(all(both.to_vec()));
        script.run(delete("a"));
        script
    }

    fn events(script: &Script, from: u64, prefix: &str, limit: usize) -> Vec<(u64, String)> {
        let events = script.store.events(Revision(from), prefix.as_bytes(), limit).expect("not compacted");
        let told = |event: Event| (event.revision().0, String::from_utf8_lossy(event.key()).into_owned());
        events.into_iter().map(told).collect()
    }

    fn owned(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
        expected.iter().map(|&(revision, key)| (revision, key.to_owned())).collect()
    }

    #[test]
    fn events_of_one_revision_stay_together_in_the_order_of_their_keys() {
        let script = script();
        let everything = owned(&[(2, "a"), (3, "b"), (4, "a"), (4, "b"), (5, "a")]);
        assert_eq!(events(&script, 0, "", 100), everything);
        assert_eq!(events(&script, 2, "", 5), everything);
        assert_eq!(events(&script, 2, "", 3), everything[..2], "revision 4 would be cut in two");
        assert_eq!(events(&script, 4, "", 1), everything[2..4], "but the first one comes whole");
        assert_eq!(events(&script, 4, "", 0), everything[2..4], "there is always progress");
        assert_eq!(events(&script, 3, "a", 1), owned(&[(4, "a")]));
        assert_eq!(events(&script, 5, "b", 9), []);
        assert_eq!(events(&script, 6, "", 9), []);
        assert_eq!(events(&script, 600, "", 9), []);
    }

    #[test]
    fn events_say_what_was_put_and_deleted() {
        let script = script();
        let events = script.store.events(Revision(4), b"a", 9).expect("not compacted");
        let [Event::Put(item), Event::Deleted { key, revision }] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&item.value[..], item.version, item.create_revision), (&b"2"[..], 2, Revision(2)));
        assert_eq!((&key[..], *revision), (&b"a"[..], Revision(5)));
    }

    #[test]
    fn only_committed_events_are_told() {
        let mut script = script();
        script.execute(put("c", "1"));
        assert_eq!(events(&script, 6, "", 9), []);
        script.execute(put("d", "1"));
        let first = script.store.commit(script.store.committed().next());
        assert_eq!(first.iter().map(|event| event.revision().0).collect::<Vec<_>>(), [6]);
        assert_eq!(events(&script, 6, "", 9), owned(&[(6, "c")]));
    }

    #[test]
    fn at_the_oldest_revision_everything_can_be_read_and_watched() {
        for oldest in 2..=5 {
            let mut script = script();
            let before = script.store.get(b"a", Some(Revision(oldest)), View::Committed);
            assert_eq!(script.run(compact(oldest)), Outcome::Compacted { revision: Revision(oldest) });
            assert_eq!(script.store.get(b"a", Some(Revision(oldest)), View::Committed), before);
            let all = owned(&[(2, "a"), (3, "b"), (4, "a"), (4, "b"), (5, "a")]);
            let expected: Vec<_> = all.into_iter().filter(|(revision, _)| *revision >= oldest).collect();
            assert_eq!(events(&script, oldest, "", 9), expected);
            let compacted = Err(ReadError::Compacted { compacted: Revision(oldest) });
            assert_eq!(script.store.events(Revision(oldest - 1), b"", 9), compacted);
            let read = script.store.get(b"a", Some(Revision(oldest - 1)), View::Committed);
            assert_eq!(read, Err(ReadError::Compacted { compacted: Revision(oldest) }));
        }
    }

    #[test]
    fn what_cannot_be_compacted_is_refused() {
        let mut script = script();
        assert_eq!(script.refused(compact(6)), Reason::FutureRevision { current: Revision(5) });
        assert_eq!(script.refused(compact(0)), Reason::Compacted { compacted: Revision(0) });
        script.run(compact(4));
        assert_eq!(script.refused(compact(4)), Reason::Compacted { compacted: Revision(4) });
        assert_eq!(script.refused(compact(3)), Reason::Compacted { compacted: Revision(4) });
        assert_eq!(script.store.revision(View::Committed), Revision(5), "compacting is no write");
    }

    #[test]
    fn a_compaction_drops_at_once_what_it_covers() {
        let mut script = script();
        // Five records, of keys of one byte, and three superseded versions.
        assert_eq!(script.store.statistics().history_bytes, 5 * (ITEM_BYTES + 1) + 3 * (ITEM_BYTES + 2));
        script.run(compact(5));
        assert_eq!(script.store.statistics().history_bytes, ITEM_BYTES + 1, "the deletion at 5");
        script.run(put("c", ""));
        assert_eq!(script.store.keys_in_memory(), 3, "a is there, deleted");
        script.run(compact(6));
        script.run(delete("nothing"));
        assert_eq!(script.store.keys_in_memory(), 2);
    }

    #[test]
    fn a_deletion_below_a_put_is_dropped_too() {
        let mut script = script();
        script.run(put("a", "3"));
        for (oldest, versions) in [(5, 2), (6, 1)] {
            script.run(compact(oldest));
            script.run(delete("nothing"));
            assert_eq!(script.store.versions_in_memory(b"a"), versions);
        }
    }

    #[test]
    fn the_history_stays_within_its_revisions() {
        let mut script = Script::with_limits(Limits { history_revisions: 10, ..Limits::default() });
        for _ in 0..50 {
            script.run(put("a", "x"));
        }
        assert_eq!(script.store.revision(View::Committed), Revision(51));
        assert_eq!(script.store.compacted(View::Committed), Revision(41));
        assert_eq!(script.store.statistics().history_bytes, 11 * (ITEM_BYTES + 1) + 10 * (ITEM_BYTES + 2));
    }

    #[test]
    fn the_history_stays_within_its_bytes() {
        let limit = 5 * (ITEM_BYTES + 1) + 4 * (ITEM_BYTES + 2);
        let mut script = Script::with_limits(Limits { history_bytes: limit, ..Limits::default() });
        for _ in 0..50 {
            script.run(put("a", "x"));
        }
        assert_eq!(script.store.statistics().history_bytes, limit);
        assert_eq!(script.store.compacted(View::Committed), Revision(47));
    }

    #[test]
    fn a_change_larger_than_the_whole_history_goes_with_the_next_one() {
        let mut script = Script::with_limits(Limits { history_bytes: 10_000, ..Limits::default() });
        script.fill(500, 10);
        script.run(all(vec![TxnOperation::Delete(Keys::Prefix("key".into()))]));
        let deleted = Revision(502);
        assert_eq!(script.store.compacted(View::Committed), deleted, "nothing before it is kept");
        assert_eq!(events(&script, 502, "key-00000", 1).len(), 10, "but its events are");
        script.run(put("a", "x"));
        assert_eq!(script.store.compacted(View::Committed), deleted.next());
        assert_eq!(script.store.statistics().history_bytes, ITEM_BYTES + 1);
    }

    #[test]
    fn memory_is_given_back_in_pieces_and_then_all_of_it() {
        let mut script = Script::new();
        script.fill(2_000, 10);
        for number in 0..2_000 {
            let key = Bytes::from(format!("key-{number:06}"));
            script.run(Operation::Delete { key, expect: crate::Expect::Any });
        }
        assert_eq!(script.store.keys_in_memory(), 2_000);
        script.run(compact(4_001));
        assert!(script.store.keys_in_memory() > 1_900, "one commit gives back a little");
        for _ in 0..400 {
            script.run(put("a", "x"));
        }
        script.run(compact(4_401));
        for _ in 0..100 {
            script.run(delete("nothing"));
        }
        assert_eq!(script.store.keys_in_memory(), 1);
    }
}
