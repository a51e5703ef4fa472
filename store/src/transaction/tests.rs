//! Outcomes of single operations: preconditions, comparisons, limits, and what a refusal leaves behind.

use super::*;
use crate::script::{Script, all, delete, put};
use crate::{ITEM_BYTES, View};

fn key(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn put_if(name: &'static str, expect: Expect) -> Operation {
    Operation::Put { key: key(name), value: key("new"), expect }
}

fn txn_put(name: &'static str) -> TxnOperation {
    TxnOperation::Put { key: key(name), value: key("new") }
}

fn txn_delete(name: &'static str) -> TxnOperation {
    TxnOperation::Delete(Keys::Key(key(name)))
}

fn txn_get(prefix: &'static str, limit: u64) -> TxnOperation {
    TxnOperation::Get { keys: Keys::Prefix(key(prefix)), limit }
}

/// A store with a at revision 2 and b at 3.
fn script() -> Script {
    let mut script = Script::new();
    script.run(put("a", "1"));
    script.run(put("b", "2"));
    script
}

fn revision(script: &Script) -> u64 {
    script.store.revision(View::Committed).0
}

#[test]
fn a_precondition_that_fails_says_what_is_there() {
    let present = Some(Revision(2));
    let check = |operation: Operation, actual: Option<Revision>| {
        let mut script = script();
        assert_eq!(script.refused(operation), Reason::PreconditionFailed { actual });
        assert_eq!(revision(&script), 3, "nothing was written");
    };
    check(put_if("a", Expect::Absent), present);
    check(put_if("a", Expect::Revision(Revision(3))), present);
    check(put_if("x", Expect::Revision(Revision(2))), None);
    check(put_if("x", Expect::Revision(Revision(0))), None);
    check(Operation::Delete { key: key("a"), expect: Expect::Revision(Revision(1)) }, present);
    check(Operation::Delete { key: key("a"), expect: Expect::Absent }, present);
    check(Operation::Delete { key: key("x"), expect: Expect::Revision(Revision(2)) }, None);
}

#[test]
fn a_precondition_that_holds_lets_the_write_through() {
    let mut script = script();
    let previous = Some(Revision(2));
    let expect = Expect::Revision(Revision(2));
    assert_eq!(script.run(put_if("a", expect)), Outcome::Put { revision: Revision(4), previous });
    assert_eq!(
        script.run(put_if("x", Expect::Absent)),
        Outcome::Put { revision: Revision(5), previous: None }
    );
    script.run(delete("x"));
    assert_eq!(
        script.run(put_if("x", Expect::Absent)),
        Outcome::Put { revision: Revision(7), previous: None }
    );
    let absent = Operation::Delete { key: key("nothing"), expect: Expect::Absent };
    assert_eq!(script.run(absent), Outcome::Deleted { revision: Revision(7), count: 0 });
}

#[test]
fn only_what_changes_something_makes_a_revision() {
    let mut script = script();
    assert_eq!(script.run(delete("nothing")), Outcome::Deleted { revision: Revision(3), count: 0 });
    let nothing = |results| Outcome::Txn { revision: Revision(3), succeeded: true, results };
    assert_eq!(script.run(all(vec![])), nothing(vec![]));
    assert_eq!(script.run(all(vec![txn_delete("nothing")])), nothing(vec![TxnResult::Deleted { count: 0 }]));
    let got = TxnResult::Got { items: vec![], more: false };
    assert_eq!(script.run(all(vec![txn_get("nothing", 9)])), nothing(vec![got]));
    assert_eq!(script.run(delete("a")), Outcome::Deleted { revision: Revision(4), count: 1 });
}

#[test]
fn a_transaction_has_one_revision_and_sees_its_own_writes() {
    let mut script = script();
    let operations =
        vec![txn_get("", 9), txn_put("c"), txn_delete("a"), txn_get("", 9), txn_get("", 1), txn_put("b")];
    let outcome = script.run(all(operations));
    let Outcome::Txn { revision: Revision(4), succeeded: true, results } = outcome else {
        panic!("{outcome:?}")
    };
    let got = |result: &TxnResult| match result {
        TxnResult::Got { items, more } => {
            let names = items.iter().map(|item| String::from_utf8_lossy(&item.key).into_owned());
            (names.collect::<Vec<_>>().concat(), *more)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(got(&results[0]), ("ab".to_owned(), false));
    assert_eq!(results[1], TxnResult::Put { previous: None });
    assert_eq!(results[2], TxnResult::Deleted { count: 1 });
    assert_eq!(got(&results[3]), ("bc".to_owned(), false));
    assert_eq!(got(&results[4]), ("b".to_owned(), true));
    assert_eq!(results[5], TxnResult::Put { previous: Some(Revision(3)) });
    let put = script.store.get(b"c", None, View::Committed).expect("the newest").expect("put");
    assert_eq!((put.create_revision, put.mod_revision, put.version), (Revision(4), Revision(4), 1));
}

#[test]
fn comparisons_choose_the_branch() {
    use Relation::{Equal, Greater, Less, NotEqual};
    let check = |name: &'static str, target: Target, holds: [Relation; 2], fails: [Relation; 2]| {
        for (relations, expected) in [(holds, true), (fails, false)] {
            for relation in relations {
                let compare = vec![Compare { key: key(name), relation, target: target.clone() }];
                let mut script = script();
                let txn = Txn { compare, success: vec![txn_put("yes")], failure: vec![txn_put("no")] };
                let outcome = script.run(Operation::Txn(txn));
                let done = matches!(outcome, Outcome::Txn { succeeded, .. } if succeeded == expected);
                assert!(done, "{name} {relation:?} {target:?}: {outcome:?}");
                let branch: &[u8] = if expected { b"yes" } else { b"no" };
                assert!(script.store.get(branch, None, View::Committed).expect("the newest").is_some());
            }
        }
    };
    check("a", Target::Version(1), [Equal, Equal], [Less, Greater]);
    check("a", Target::Version(2), [Less, NotEqual], [Equal, Greater]);
    check("b", Target::Created(Revision(3)), [Equal, Equal], [NotEqual, Less]);
    check("b", Target::Modified(Revision(2)), [Greater, NotEqual], [Equal, Less]);
    check("b", Target::Value(key("2")), [Equal, Equal], [NotEqual, Greater]);
    check("b", Target::Value(key("10")), [Greater, NotEqual], [Equal, Less]);
    check("nothing", Target::Version(0), [Equal, Equal], [Less, Greater]);
    check("nothing", Target::Modified(Revision(1)), [Less, NotEqual], [Equal, Greater]);
    check("nothing", Target::Created(Revision(0)), [Equal, Equal], [NotEqual, Less]);
    let value = [Equal, NotEqual, Less, Greater].map(|relation| {
        let compare = vec![Compare { key: key("nothing"), relation, target: Target::Value(Bytes::new()) }];
        script().run(Operation::Txn(Txn { compare, ..Txn::default() }))
    });
    for outcome in value {
        assert!(matches!(outcome, Outcome::Txn { succeeded: false, .. }), "no value compares with anything");
    }
}

#[test]
fn a_key_is_changed_once_or_the_transaction_is_refused() {
    let prefix = |text| TxnOperation::Delete(Keys::Prefix(key(text)));
    let check = |operations: Vec<TxnOperation>, twice: Option<&'static str>| {
        let mut script = script();
        let both =
            [all(operations.clone()), Operation::Txn(Txn { failure: operations.clone(), ..Txn::default() })];
        for operation in both {
            let outcome = script.run(operation);
            let expected = twice.map(|name| Reason::DuplicateKey { key: key(name) });
            assert_eq!(outcome.refusal(), expected.as_ref(), "{operations:?}");
        }
    };
    check(vec![txn_put("a"), txn_put("b"), txn_put("a")], Some("a"));
    check(vec![txn_put("a"), txn_delete("a")], Some("a"));
    check(vec![txn_delete("a"), txn_put("a")], Some("a"));
    check(vec![prefix("a"), txn_put("ab"), txn_put("b")], Some("ab"));
    check(vec![prefix(""), txn_put("z")], Some("z"));
    check(vec![prefix("ab"), txn_put("a"), txn_put("ac")], None);
    check(vec![txn_put("aa"), txn_delete("a")], None);
    check(vec![txn_delete("a"), prefix("a"), txn_delete("a")], None);
    check(vec![txn_put("a"), txn_get("a", 1), txn_get("a", 1)], None);
}

#[test]
fn overlapping_deletes_count_each_key_once() {
    let mut script = script();
    let outcome = script.run(all(vec![TxnOperation::Delete(Keys::Prefix(Bytes::new())), txn_delete("a")]));
    let results = vec![TxnResult::Deleted { count: 2 }, TxnResult::Deleted { count: 0 }];
    assert_eq!(outcome, Outcome::Txn { revision: Revision(4), succeeded: true, results });
    assert_eq!(script.store.statistics().keys, 0);
}

#[test]
fn sizes_are_refused_from_the_first_byte_too_many() {
    let put = |key: usize, value: usize| Operation::Put {
        key: vec![b'k'; key].into(),
        value: vec![b'v'; value].into(),
        expect: Expect::Any,
    };
    let check = |operation: Operation, expected: Option<Reason>| {
        assert_eq!(Script::new().run(operation).refusal(), expected.as_ref());
    };
    let (long, large) = (KEY_BYTES_MAX as u64 + 1, VALUE_BYTES_MAX as u64 + 1);
    check(put(0, 0), Some(Reason::KeyEmpty));
    check(put(1, 0), None);
    check(put(KEY_BYTES_MAX, VALUE_BYTES_MAX), None);
    check(put(KEY_BYTES_MAX + 1, 0), Some(Reason::KeyTooLarge { bytes: long }));
    check(put(1, VALUE_BYTES_MAX + 1), Some(Reason::ValueTooLarge { bytes: large }));
    check(delete(""), Some(Reason::KeyEmpty));
    let key = |bytes: usize| Bytes::from(vec![b'k'; bytes]);
    let too_long = Some(Reason::KeyTooLarge { bytes: long });
    for keys in [Keys::Key(key(KEY_BYTES_MAX + 1)), Keys::Prefix(key(KEY_BYTES_MAX + 1))] {
        check(all(vec![TxnOperation::Delete(keys.clone())]), too_long.clone());
        check(all(vec![TxnOperation::Get { keys, limit: 1 }]), too_long.clone());
    }
    check(all(vec![TxnOperation::Get { keys: Keys::Key(key(0)), limit: 1 }]), Some(Reason::KeyEmpty));
    check(all(vec![TxnOperation::Get { keys: Keys::Prefix(key(0)), limit: 1 }]), None);
    let compare = vec![Compare { key: key(0), relation: Relation::Equal, target: Target::Version(0) }];
    check(Operation::Txn(Txn { compare, ..Txn::default() }), Some(Reason::KeyEmpty));
}

#[test]
fn a_transaction_has_so_many_operations_and_no_more() {
    let gets = |count: usize| vec![txn_get("x", 1); count];
    assert!(Script::new().run(all(gets(TXN_OPERATIONS_MAX))).refusal().is_none());
    let operations = TXN_OPERATIONS_MAX as u64 + 1;
    let failure = Txn { failure: gets(TXN_OPERATIONS_MAX + 1), ..Txn::default() };
    for txn in [all(gets(TXN_OPERATIONS_MAX + 1)), Operation::Txn(failure)] {
        assert_eq!(Script::new().refused(txn), Reason::TooManyOperations { operations });
    }
}

#[test]
fn an_answer_that_is_too_large_undoes_the_transaction() {
    let mut script = Script::new();
    script.fill(3, VALUE_BYTES_MAX);
    let before = script.store.statistics();
    assert_eq!(
        script.refused(all(vec![txn_put("x"), txn_delete("key-000000"), txn_get("", 2), txn_get("", 2)])),
        Reason::ResultTooLarge
    );
    assert_eq!(script.store.statistics(), before);
    assert_eq!(script.store.get(b"x", None, View::Committed), Ok(None));
    assert!(script.store.get(b"key-000000", None, View::Committed).expect("the newest").is_some());
    assert!(script.run(all(vec![txn_get("", 1)])).refusal().is_none());
    let again = script.run(all(vec![txn_put("x"), txn_delete("key-000000")]));
    let results = vec![TxnResult::Put { previous: None }, TxnResult::Deleted { count: 1 }];
    assert_eq!(again, Outcome::Txn { revision: before.revision.next(), succeeded: true, results });
}

#[test]
fn a_full_store_takes_what_does_not_make_it_larger() {
    let quota_bytes = 2 * (ITEM_BYTES + 1 + 10);
    let mut script = Script::with_limits(Limits { quota_bytes, ..Limits::default() });
    script.run(put("a", "0123456789"));
    assert!(script.run(put("b", "0123456789")).refusal().is_none(), "just full");
    let full = Reason::QuotaExceeded { quota: quota_bytes };
    assert_eq!(script.refused(put("c", "")), full);
    assert_eq!(script.refused(put("b", "01234567890")), full);
    assert_eq!(script.refused(all(vec![txn_put("c"), txn_put("d")])), full);
    assert_eq!(script.store.statistics().keys, 2);
    assert_eq!(revision(&script), 3);
    assert!(script.run(put("a", "9876543210")).refusal().is_none());
    assert!(script.run(all(vec![txn_put("c"), txn_delete("a")])).refusal().is_none(), "one in, one out");
    assert!(script.run(delete("b")).refusal().is_none());
    assert_eq!(script.store.statistics().live_bytes, ITEM_BYTES + 4);
}
