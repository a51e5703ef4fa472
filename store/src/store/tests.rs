//! Indexes, views, sessions, checkpoints and the panics that guard them, on single stores.

use bytes::Bytes;
use holdfast_engine::{Position, Term};

use super::*;
use crate::script::{Script, delete, put};
use crate::{SessionId, TXN_RESULT_BYTES_MAX};

fn noop(index: u64) -> Entry {
    Entry::new(Position::new(Term(1), Index(index)), EntryKind::Noop, b"")
}

fn stamped(operation: Operation, session: u128, sequence: u64) -> Bytes {
    Command::new(operation).stamped(SessionId(session), sequence).encode()
}

#[test]
fn an_empty_store_is_at_revision_one() {
    let store = Store::new();
    assert_eq!((store.executed(), store.committed()), (Index(0), Index(0)));
    assert_eq!((store.revision(View::Executed), store.compacted(View::Executed)), (Revision(1), Revision(0)));
    for at in [None, Some(Revision(0)), Some(Revision(1))] {
        assert_eq!(store.get(b"a", at, View::Committed), Ok(None));
    }
    assert_eq!(store.events(Revision(0), b"", 1), Ok(vec![]));
    let future = ReadError::FutureRevision { current: Revision(1) };
    assert_eq!(store.get(b"a", Some(Revision(2)), View::Committed), Err(future));
}

#[test]
fn a_noop_moves_the_index_and_the_hash_only() {
    let mut store = Store::new();
    let before = store.hash();
    assert_eq!(store.execute(&noop(1)), None);
    assert_eq!(store.commit(Index(1)), []);
    assert_eq!((store.committed(), store.revision(View::Committed)), (Index(1), Revision(1)));
    assert_ne!(store.hash(), before);
}

#[test]
fn a_change_of_members_changes_nothing_but_the_hash() {
    let hash = |payload: &[u8]| {
        let mut store = Store::new();
        let position = Position::new(Term(1), Index(1));
        assert_eq!(store.execute(&Entry::new(position, EntryKind::Membership, payload)), None);
        assert_eq!(store.commit(Index(1)), []);
        assert_eq!(store.revision(View::Committed), Revision(1));
        store.hash()
    };
    assert_eq!(hash(b"these"), hash(b"these"));
    assert_ne!(hash(b"these"), hash(b"those"), "members must agree on who they are");
}

#[test]
fn nonsense_is_refused_as_malformed() {
    let mut script = Script::new();
    for payload in [&b""[..], b"\x00", b"\x01", b"\x01\x00\x09", b"\xff\xff\xff", &[0xff; 100]] {
        assert_eq!(script.execute_payload(payload), Outcome::Refused(Reason::Malformed), "{payload:?}");
    }
    assert_eq!(script.commit(), []);
    assert_eq!(script.store.committed(), Index(6));
}

#[test]
fn different_logs_have_different_hashes() {
    let hash = |operations: [Operation; 2]| {
        let mut script = Script::new();
        operations.into_iter().for_each(|operation| drop(script.run(operation)));
        script.store.hash()
    };
    let reference = hash([put("a", "1"), put("b", "2")]);
    assert_eq!(hash([put("a", "1"), put("b", "2")]), reference);
    for other in
        [[put("b", "2"), put("a", "1")], [put("a", "1"), put("b", "3")], [put("a", "1"), delete("b")]]
    {
        assert_ne!(hash(other.clone()), reference, "{other:?}");
    }
}

#[test]
fn a_session_writes_once_however_often_it_asks() {
    let mut script = Script::new();
    let first = script.execute_payload(&stamped(put("a", "1"), 9, 1));
    assert_eq!(first, Outcome::Put { revision: Revision(2), previous: None });
    for _ in 0..3 {
        assert_eq!(script.execute_payload(&stamped(put("a", "1"), 9, 1)), first);
    }
    assert_eq!(script.store.revision(View::Executed), Revision(2));
    let second = script.execute_payload(&stamped(put("a", "2"), 9, 2));
    assert_eq!(second, Outcome::Put { revision: Revision(3), previous: Some(Revision(2)) });
    let stale = script.execute_payload(&stamped(put("a", "1"), 9, 1));
    assert_eq!(stale, Outcome::Refused(Reason::StaleSequence { last: 2 }));
    let unknown = script.execute_payload(&stamped(put("a", "1"), 8, 2));
    assert_eq!(unknown, Outcome::Refused(Reason::SessionExpired));
}

#[test]
fn a_refusal_is_remembered_as_well() {
    let mut script = Script::new();
    let create = || {
        let expect = crate::Expect::Revision(Revision(5));
        Operation::Put { key: "a".into(), value: "1".into(), expect }
    };
    let refused = script.execute_payload(&stamped(create(), 9, 1));
    assert_eq!(refused, Outcome::Refused(Reason::PreconditionFailed { actual: None }));
    for _ in 0..4 {
        script.run(put("a", "0"));
    }
    assert_eq!(script.execute_payload(&stamped(create(), 9, 1)), refused, "what was said once stays said");
}

#[test]
fn an_undone_session_may_ask_again() {
    let mut script = Script::new();
    script.run(put("x", "1"));
    let committed = script.store.committed();
    let first = script.execute_payload(&stamped(put("a", "1"), 9, 1));
    script.store.rollback(committed);
    assert_eq!(script.store.statistics().sessions, 0);
    assert_eq!(script.execute_payload(&stamped(put("a", "1"), 9, 1)), first);
}

#[test]
fn what_is_undone_cannot_be_seen() {
    let mut script = Script::new();
    script.run(put("a", "1"));
    let before =
        (script.store.get(b"a", None, View::Executed), script.store.statistics(), script.store.hash());
    script.execute(put("a", "2"));
    script.execute(put("b", "2"));
    script.execute(delete("a"));
    script.store.rollback(script.store.committed());
    let after =
        (script.store.get(b"a", None, View::Executed), script.store.statistics(), script.store.hash());
    assert_eq!(after, before);
    assert_eq!(script.store.keys_in_memory(), 1);
    assert_eq!(script.store.executed(), Index(1));
}

#[test]
fn a_checkpoint_shows_what_was_committed_when_it_began() {
    let mut script = Script::new();
    script.run(put("a", "old"));
    script.execute_payload(&stamped(put("b", "ahead"), 1, 1));
    let mut cursor = script.store.begin_checkpoint();
    assert_eq!((cursor.index(), cursor.revision()), (Index(1), Revision(2)));
    script.commit();
    script.run(put("a", "new"));
    script.run(delete("a"));
    script.run(Operation::Compact { revision: Revision(5) });
    let mut restore = crate::Restore::new();
    while let Some(chunk) = cursor.chunk(10) {
        restore.chunk(&chunk).expect("as it was cut");
        script.run(put("c", "in between"));
    }
    let restored = restore.finish().expect("a whole checkpoint");
    let value =
        |key: &[u8]| restored.get(key, None, View::Committed).expect("the newest").map(|item| item.value);
    assert_eq!([value(b"a"), value(b"b"), value(b"c")], [Some("old".into()), None, None]);
    assert_eq!(restored.statistics().sessions, 0);
}

#[test]
fn a_restored_store_gives_back_memory_as_the_original() {
    let mut script = Script::new();
    script.run(put("a", "1"));
    script.run(put("a", "2"));
    script.run(put("b", "1"));
    script.run(delete("b"));
    let mut cursor = script.store.begin_checkpoint();
    let mut restore = crate::Restore::new();
    while let Some(chunk) = cursor.chunk(100) {
        restore.chunk(&chunk).expect("as it was cut");
    }
    let restored = Script { store: restore.finish().expect("a whole checkpoint") };
    for mut script in [script, restored] {
        script.run(put("c", "1"));
        assert_eq!((script.store.keys_in_memory(), script.store.versions_in_memory(b"a")), (3, 2));
        script.run(Operation::Compact { revision: Revision(6) });
        script.run(delete("nothing"));
        assert_eq!((script.store.keys_in_memory(), script.store.versions_in_memory(b"a")), (2, 1));
    }
}

#[test]
fn a_checkpoint_keeps_what_it_shows_and_the_store_does_not() {
    let mut script = Script::new();
    script.fill(600, 10);
    let mut cursor = script.store.begin_checkpoint();
    let mut other = script.store.begin_checkpoint();
    let expected: Vec<_> = std::iter::from_fn(|| other.chunk(1000)).collect();
    script.fill(600, 20);
    let revision = script.store.revision(View::Committed);
    script.run(Operation::Compact { revision });
    script.fill(600, 30);
    assert_eq!(script.store.versions_in_memory(b"key-000000"), 2, "it does not wait for the checkpoint");
    let chunks: Vec<_> = std::iter::from_fn(|| cursor.chunk(1000)).collect();
    assert_eq!(chunks, expected);
}

#[test]
fn a_large_outcome_leaves_no_large_memory_behind() {
    let mut script = Script::new();
    script.fill(1, 1_000_000);
    script.run(crate::script::all(vec![crate::TxnOperation::Get {
        keys: crate::Keys::Prefix(Bytes::new()),
        limit: TXN_RESULT_BYTES_MAX as u64,
    }]));
    assert!(script.store.scratch.capacity() <= SCRATCH_BYTES_KEPT);
}

#[test]
#[should_panic(expected = "entry 2 right after 0")]
fn a_gap_in_the_log_is_a_bug() {
    Store::new().execute(&noop(2));
}

#[test]
#[should_panic(expected = "commit of 1")]
fn what_was_not_executed_cannot_be_committed() {
    Store::new().commit(Index(1));
}

#[test]
#[should_panic(expected = "rollback to 0")]
fn what_is_committed_cannot_be_undone() {
    let mut store = Store::new();
    store.execute(&noop(1));
    store.commit(Index(1));
    store.rollback(Index(0));
}
