//! Events, compaction and pruning, on single stores.

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
