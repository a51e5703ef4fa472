//! Message logs on single stores: what is added, found again, forgotten, undone, and kept in checkpoints.

use bytes::Bytes;

use super::*;
use crate::script::{Script, put};
use crate::{
    Command, LogError, LogState, MESSAGE_BYTES, MessagesQuery, Operation, Restore, SessionId, Store, View,
};

const WINDOW_OF_FIVE: LogSettings = LogSettings {
    deduplication: Deduplication::Content,
    deduplication_window: 5,
    retain_messages: None,
    retain_ms: None,
    retain_bytes: None,
};

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A message of its own attempt, at its own time.
fn message(text: &str, attempt: u64) -> Append {
    Append { log: bytes("l"), message: bytes(text), key: None, time_ms: 1_000 + attempt, attempt }
}

fn append(text: &str, attempt: u64) -> Operation {
    Operation::Append(message(text, attempt))
}

fn keyed(key: &str, text: &str, attempt: u64) -> Operation {
    Operation::Append(Append { key: Some(bytes(key)), ..message(text, attempt) })
}

fn at(time_ms: u64, text: &str) -> Operation {
    Operation::Append(Append { time_ms, ..message(text, 0) })
}

fn configure(settings: LogSettings) -> Operation {
    Operation::ConfigureLog { log: bytes("l"), settings }
}

fn trim(before: u64) -> Operation {
    Operation::TrimLog { log: bytes("l"), before: Sequence(before) }
}

fn delete() -> Operation {
    Operation::DeleteLog { log: bytes("l") }
}

fn appended(text: &str, sequence: u64, attempt: u64) -> Outcome {
    let hash = MessageHash::of(text.as_bytes());
    Outcome::Appended { sequence: Sequence(sequence), time_ms: 1_000 + attempt, hash }
}

fn duplicate(text: &str, sequence: u64, attempt: u64) -> Outcome {
    let hash = MessageHash::of(text.as_bytes());
    Outcome::Duplicate { sequence: Sequence(sequence), time_ms: 1_000 + attempt, hash }
}

fn state(store: &Store, view: View) -> LogState {
    store.log(b"l", view).expect("the log")
}

/// First, next, and the next one of what is committed.
fn places(store: &Store, view: View) -> [u64; 3] {
    let LogState { first, next, committed_next, .. } = state(store, view);
    [first.0, next.0, committed_next.0]
}

/// Sequence, text, and whether it is committed.
fn texts(store: &Store, view: View) -> Vec<(u64, String, bool)> {
    let query = MessagesQuery { log: bytes("l"), from: Sequence(0), limit: 100, bytes_max: usize::MAX, view };
    let Ok(page) = store.messages(&query) else { return Vec::new() };
    let text = |message: &Message| String::from_utf8_lossy(&message.message).into_owned();
    page.messages.iter().map(|message| (message.sequence.0, text(message), message.committed)).collect()
}

fn joined(store: &Store, view: View) -> String {
    texts(store, view).into_iter().map(|(_, text, _)| text).collect()
}

fn restored(store: &Store, chunk_bytes: usize) -> Store {
    let mut cursor = store.begin_checkpoint();
    let mut restore = Restore::new();
    while let Some(chunk) = cursor.chunk(chunk_bytes) {
        restore.chunk(&chunk).expect("as it was cut");
    }
    restore.finish().expect("a whole checkpoint")
}

#[test]
fn messages_are_numbered_from_one_and_read_in_order() {
    let mut script = Script::new();
    for (number, text) in ["a", "b", "", "d"].into_iter().enumerate() {
        let attempt = number as u64;
        assert_eq!(script.execute(append(text, attempt)), appended(text, attempt + 1, attempt));
    }
    script.store.commit(Index(2));
    assert_eq!(joined(&script.store, View::Committed), "ab");
    let all = [(1, "a", true), (2, "b", true), (3, "", false), (4, "d", false)];
    let all: Vec<_> = all.into_iter().map(|(place, text, sure)| (place, text.to_owned(), sure)).collect();
    assert_eq!(texts(&script.store, View::Executed), all);
    assert_eq!(places(&script.store, View::Executed), [1, 5, 3]);
    assert_eq!(places(&script.store, View::Committed), [1, 3, 3]);
    let figures = script.store.statistics();
    assert_eq!((figures.logs, figures.messages, figures.log_bytes), (1, 2, 2 * MESSAGE_BYTES + 2));
    assert_eq!(figures.revision.0, 1, "the keyspace knows nothing of it");
    let third = script.store.message(b"l", Sequence(3), View::Executed).expect("the log");
    assert_eq!(third.map(|third| (third.message, third.time_ms)), Some((Bytes::new(), 1_002)));
    assert_eq!(script.store.message(b"l", Sequence(3), View::Committed), Ok(None));
    assert_eq!(script.store.message(b"m", Sequence(1), View::Committed), Err(LogError::NotFound));
}

#[test]
fn a_message_is_there_once_and_a_retry_is_told_from_a_duplicate() {
    let mut script = Script::new();
    script.run(append("a", 1));
    let hash = script.store.hash();
    assert_eq!(script.run(append("a", 1)), appended("a", 1, 1), "the same attempt again");
    assert_eq!(script.run(append("a", 2)), duplicate("a", 1, 1), "another attempt");
    assert_eq!(script.run(append("b", 1)), appended("b", 2, 1), "another message");
    assert_eq!(joined(&script.store, View::Committed), "ab");
    assert_ne!(script.store.hash(), hash);
}

#[test]
fn a_duplicate_of_what_is_undone_is_none() {
    let mut script = Script::new();
    script.run(append("a", 1));
    script.execute(append("b", 2));
    assert_eq!(script.execute(append("b", 3)), duplicate("b", 2, 2));
    script.store.rollback(Index(1));
    assert_eq!(joined(&script.store, View::Executed), "a");
    assert_eq!(script.run(append("b", 3)), appended("b", 2, 3));
    script.execute(append("c", 4));
    script.store.rollback(Index(2));
    assert_eq!(places(&script.store, View::Executed), [1, 3, 3]);
}

#[test]
fn what_is_looked_back_to_does_not_depend_on_what_is_kept() {
    let mut script = Script::new();
    script.run(configure(LogSettings { retain_messages: Some(2), ..WINDOW_OF_FIVE }));
    for (number, text) in ["a", "b", "c", "d", "e", "f"].into_iter().enumerate() {
        script.run(append(text, number as u64 + 1));
    }
    assert_eq!(joined(&script.store, View::Committed), "ef");
    assert_eq!(script.run(append("b", 9)), duplicate("b", 2, 2), "of the last five, though it is forgotten");
    assert_eq!(script.run(append("a", 9)), appended("a", 7, 9), "before the last five");
    assert_eq!(script.run(append("b", 9)), appended("b", 8, 9));
    assert_eq!(script.run(append("d", 9)), duplicate("d", 4, 4));
}

#[test]
fn a_key_names_one_message() {
    let mut script = Script::new();
    script.run(configure(LogSettings { deduplication: Deduplication::Key, ..WINDOW_OF_FIVE }));
    assert_eq!(script.run(keyed("k", "a", 1)), appended("a", 1, 1));
    assert_eq!(script.run(keyed("k", "a", 1)), appended("a", 1, 1));
    assert_eq!(script.run(keyed("k", "a", 2)), duplicate("a", 1, 1));
    assert_eq!(script.refused(keyed("k", "b", 3)), Reason::KeyReused { sequence: Sequence(1) });
    assert_eq!(script.run(keyed("o", "a", 4)), appended("a", 2, 4), "the content does not count");
    assert_eq!(script.run(append("a", 5)), appended("a", 3, 5), "and without a key nothing does");
    assert_eq!(script.run(append("a", 5)), appended("a", 4, 5));
    let first = script.store.message(b"l", Sequence(1), View::Committed).expect("the log").expect("it");
    assert_eq!((first.key, first.message), (Some(bytes("k")), bytes("a")));
}

#[test]
fn without_deduplication_everything_is_taken_and_nothing_remembered() {
    let mut script = Script::new();
    script.run(configure(LogSettings { deduplication: Deduplication::None, ..WINDOW_OF_FIVE }));
    script.run(append("a", 1));
    assert_eq!(script.run(append("a", 1)), appended("a", 2, 1));
    script.run(trim(3));
    script.run(put("k", "v"));
    assert_eq!(script.store.message_logs().logs["l"].in_memory(), [0, 0, 0]);
    // A session protects every write, whatever the log does.
    let command = Command::new(append("a", 1)).stamped(SessionId(1), 1).encode();
    assert_eq!(script.execute_payload(&command), appended("a", 3, 1));
    assert_eq!(script.execute_payload(&command), appended("a", 3, 1));
}

#[test]
fn after_a_change_of_the_mode_only_what_comes_later_counts() {
    let mut script = Script::new();
    script.run(append("a", 1));
    script.run(configure(LogSettings { deduplication: Deduplication::Key, ..WINDOW_OF_FIVE }));
    assert_eq!(script.run(keyed("k", "a", 2)), appended("a", 2, 2));
    script.run(configure(WINDOW_OF_FIVE));
    assert_eq!(script.run(keyed("k", "a", 3)), appended("a", 3, 3));
    assert_eq!(script.run(keyed("k", "a", 4)), duplicate("a", 3, 3));
    script.run(put("k", "v"));
    assert_eq!(script.store.message_logs().logs["l"].in_memory(), [3, 3, 1]);
}

#[test]
fn a_window_that_was_small_does_not_remember_again() {
    let mut script = Script::new();
    (1..=5).for_each(|attempt| drop(script.run(append(&attempt.to_string(), attempt))));
    script.execute(configure(LogSettings { deduplication_window: 2, ..WINDOW_OF_FIVE }));
    script.execute(configure(WINDOW_OF_FIVE));
    assert_eq!(script.execute(append("4", 9)), duplicate("4", 4, 4));
    assert_eq!(script.execute(append("3", 9)), appended("3", 6, 9));
    script.store.rollback(Index(5));
    assert_eq!(script.execute(append("3", 9)), duplicate("3", 3, 3));
}

#[test]
fn the_settings_say_what_is_kept() {
    let keeps = |settings: LogSettings| {
        let mut before = Script::new();
        before.run(configure(LogSettings { retain_messages: settings.retain_messages, ..settings }));
        let mut after = Script::new();
        for (time, text) in [(100, "aaa"), (200, "bb"), (150, "c"), (1_000, "dddd"), (1_001, "e")] {
            before.run(at(time, text));
            after.run(at(time, text));
        }
        after.run(configure(settings));
        let kept = joined(&before.store, View::Committed);
        assert_eq!(joined(&after.store, View::Committed), kept, "at once when the settings change");
        kept
    };
    let settings = WINDOW_OF_FIVE;
    assert_eq!(keeps(settings), "aaabbcdddde");
    assert_eq!(keeps(LogSettings { retain_messages: Some(3), ..settings }), "cdddde");
    assert_eq!(keeps(LogSettings { retain_messages: Some(1), ..settings }), "e");
    assert_eq!(keeps(LogSettings { retain_ms: Some(801), ..settings }), "bbcdddde", "c is as late as bb");
    assert_eq!(keeps(LogSettings { retain_ms: Some(800), ..settings }), "dddde");
    assert_eq!(keeps(LogSettings { retain_bytes: Some(6), ..settings }), "cdddde");
    assert_eq!(keeps(LogSettings { retain_bytes: Some(5), ..settings }), "dddde");
    assert_eq!(keeps(LogSettings { retain_bytes: Some(1), ..settings }), "e");
}

#[test]
fn the_last_message_stays_however_large_it_is() {
    let mut script = Script::new();
    script.run(configure(LogSettings { retain_bytes: Some(3), ..WINDOW_OF_FIVE }));
    script.run(append("ab", 1));
    script.run(append("larger", 2));
    assert_eq!(joined(&script.store, View::Committed), "larger");
}

#[test]
fn time_never_goes_back() {
    let mut script = Script::new();
    script.run(at(5_000, "a"));
    script.run(at(4_000, "b"));
    script.run(at(u64::MAX, "c"));
    script.run(at(0, "d"));
    let query = MessagesQuery {
        log: bytes("l"),
        from: Sequence(1),
        limit: 9,
        bytes_max: usize::MAX,
        view: View::Executed,
    };
    let page = script.store.messages(&query).expect("the log");
    let times: Vec<u64> = page.messages.iter().map(|message| message.time_ms).collect();
    assert_eq!(times, [5_000, 5_000, u64::MAX, u64::MAX]);
}

#[test]
fn what_is_forgotten_can_be_read_until_that_is_committed() {
    let mut script = Script::new();
    ["a", "b", "c"].into_iter().for_each(|text| drop(script.run(append(text, 1))));
    script.execute(configure(LogSettings { retain_messages: Some(2), ..WINDOW_OF_FIVE }));
    assert_eq!(joined(&script.store, View::Executed), "bc");
    script.execute(append("d", 2));
    script.execute(trim(4));
    assert_eq!(joined(&script.store, View::Executed), "d");
    assert_eq!(joined(&script.store, View::Committed), "abc");
    script.store.commit(Index(5));
    assert_eq!(joined(&script.store, View::Committed), "cd");
    script.store.rollback(Index(5));
    assert_eq!(joined(&script.store, View::Executed), "cd");
    assert_eq!(script.run(trim(5)), Outcome::LogTrimmed { first: Sequence(5) });
    assert_eq!(script.run(trim(2)), Outcome::LogTrimmed { first: Sequence(5) });
    assert_eq!(script.refused(trim(6)), Reason::FutureSequence { next: Sequence(5) });
    assert_eq!(joined(&script.store, View::Committed), "");
    assert_eq!(script.run(append("e", 3)), appended("e", 5, 3), "sequences go on");
    assert_eq!(script.run(append("d", 4)), duplicate("d", 4, 2));
}

#[test]
fn a_deleted_log_can_be_read_until_that_is_committed() {
    let mut script = Script::new();
    script.run(append("a", 1));
    assert_eq!(script.execute(delete()), Outcome::LogDeleted { messages: 1 });
    assert_eq!(script.store.log(b"l", View::Executed), None);
    assert_eq!(script.execute(append("new", 2)), appended("new", 1, 2));
    assert_eq!(joined(&script.store, View::Executed), "new");
    assert_eq!(texts(&script.store, View::Committed), [(1, "a".to_owned(), true)]);
    assert_eq!(texts(&script.store, View::Executed), [(1, "new".to_owned(), false)]);
    let old = restored(&script.store, 10);
    assert_eq!(joined(&old, View::Committed), "a");
    script.execute(delete());
    script.execute(append("newer", 3));
    script.store.rollback(Index(3));
    assert_eq!(joined(&script.store, View::Executed), "new");
    script.commit();
    assert_eq!(texts(&script.store, View::Committed), [(1, "new".to_owned(), true)]);
    script.execute(delete());
    script.store.rollback(script.store.committed());
    assert_eq!(joined(&script.store, View::Executed), "new");
    script.run(delete());
    assert_eq!(script.refused(delete()), Reason::LogNotFound);
    assert_eq!(script.refused(trim(1)), Reason::LogNotFound);
    assert_eq!(script.store.statistics().logs, 0);
    assert_eq!(script.store.statistics().log_bytes, 0);
}

#[test]
fn what_is_refused_leaves_no_trace() {
    let limits = Limits { quota_bytes: 2 * MESSAGE_BYTES + 10, logs: 1, ..Limits::default() };
    let mut script = Script::with_limits(limits);
    let named = |log: &str| Operation::Append(Append { log: bytes(log), ..message("a", 1) });
    for name in ["", ".", "..", "a/b", "ä", "a b", &"n".repeat(LOG_NAME_BYTES_MAX + 1)] {
        assert_eq!(script.refused(named(name)), Reason::LogNameInvalid, "{name}");
    }
    let large = Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1]);
    let large = Operation::Append(Append { message: large, ..message("", 1) });
    assert_eq!(script.refused(large), Reason::MessageTooLarge { bytes: MESSAGE_BYTES_MAX as u64 + 1 });
    assert_eq!(script.refused(keyed("", "a", 1)), Reason::MessageKeyInvalid { bytes: 0 });
    let long = "k".repeat(MESSAGE_KEY_BYTES_MAX + 1);
    assert_eq!(script.refused(keyed(&long, "a", 1)), Reason::MessageKeyInvalid { bytes: 257 });
    for (settings, setting) in [
        (LogSettings { deduplication_window: 0, ..WINDOW_OF_FIVE }, Setting::DeduplicationWindow),
        (LogSettings { deduplication_window: u64::MAX, ..WINDOW_OF_FIVE }, Setting::DeduplicationWindow),
        (LogSettings { retain_messages: Some(0), ..WINDOW_OF_FIVE }, Setting::RetainMessages),
        (LogSettings { retain_ms: Some(0), ..WINDOW_OF_FIVE }, Setting::RetainMs),
        (LogSettings { retain_bytes: Some(0), ..WINDOW_OF_FIVE }, Setting::RetainBytes),
    ] {
        assert_eq!(script.refused(configure(settings)), Reason::LogSettingInvalid { setting });
    }
    let quota = limits.quota_bytes;
    let long = "x".repeat(quota as usize);
    assert_eq!(script.refused(append(&long, 1)), Reason::QuotaExceeded { quota });
    assert_eq!(script.store.logs(View::Executed), []);
    script.run(append("12345", 1));
    assert_eq!(script.refused(named("other")), Reason::TooManyLogs { logs: 1 });
    assert_eq!(script.refused(append("123456", 2)), Reason::QuotaExceeded { quota });
    assert_eq!(script.run(append("98765", 3)), appended("98765", 2, 3), "to the last byte");
    assert_eq!(script.refused(put("k", "")), Reason::QuotaExceeded { quota });
    assert_eq!(script.run(append("12345", 1)), appended("12345", 1, 1));
    script.run(configure(LogSettings {
        retain_messages: Some(1),
        deduplication_window: 1,
        ..WINDOW_OF_FIVE
    }));
    assert_eq!(script.run(append("123456", 2)), appended("123456", 3, 3), "what goes makes room");
}

#[test]
fn pages_have_no_gaps_and_say_from_where_on_they_are() {
    let mut script = Script::new();
    (1..=9).for_each(|attempt| drop(script.run(append(&attempt.to_string(), attempt))));
    script.run(trim(3));
    let page = |from, limit, bytes_max| {
        let view = View::Committed;
        let query = MessagesQuery { log: bytes("l"), from: Sequence(from), limit, bytes_max, view };
        let page = script.store.messages(&query).expect("the log");
        assert_eq!((page.first, page.next), (Sequence(3), Sequence(10)));
        let places: Vec<u64> = page.messages.iter().map(|message| message.sequence.0).collect();
        (places, page.more)
    };
    assert_eq!(page(0, 3, 100), (vec![3, 4, 5], true));
    assert_eq!(page(6, 100, 2), (vec![6, 7], true));
    assert_eq!(page(6, 100, 0), (vec![6], true), "one always fits");
    assert_eq!(page(7, 3, 100), (vec![7, 8, 9], false));
    assert_eq!(page(10, 3, 100), (vec![], false));
    assert_eq!(page(u64::MAX, 3, 100), (vec![], false));
    assert_eq!(page(7, 0, 100), (vec![], true));
}

#[test]
fn memory_is_given_back() {
    let mut script = Script::new();
    script.run(configure(LogSettings { retain_messages: Some(2), ..WINDOW_OF_FIVE }));
    (1..=1_000).for_each(|attempt| drop(script.run(append(&format!("{attempt:04}"), attempt))));
    assert_eq!(script.store.message_logs().logs["l"].in_memory(), [5, 8, 5]);
    script.run(configure(LogSettings { deduplication: Deduplication::None, ..WINDOW_OF_FIVE }));
    (0..10).for_each(|_| drop(script.run(put("k", "v"))));
    assert_eq!(script.store.message_logs().logs["l"].in_memory(), [2, 8, 0]);
    script.run(delete());
    (0..10).for_each(|_| drop(script.run(put("k", "v"))));
    assert!(script.store.message_logs().garbage.is_empty() && script.store.message_logs().pruning.is_empty());
}

#[test]
fn a_checkpoint_has_what_was_committed_and_goes_on_as_the_original() {
    for deduplication in [Deduplication::Content, Deduplication::Key, Deduplication::None] {
        let mut script = Script::new();
        script.run(configure(LogSettings { deduplication, retain_messages: Some(3), ..WINDOW_OF_FIVE }));
        (1..=7)
            .for_each(|number| drop(script.run(keyed(&format!("k{number}"), &number.to_string(), number))));
        script.run(Operation::ConfigureLog { log: bytes("empty"), settings: WINDOW_OF_FIVE });
        script.execute(append("ahead", 9));
        script.execute(trim(8));
        script.execute(Operation::DeleteLog { log: bytes("empty") });
        for chunk_bytes in [0, 1, 100, 1_000_000] {
            let mut other = Script { store: restored(&script.store, chunk_bytes) };
            assert_eq!(other.store.logs(View::Executed), script.store.logs(View::Committed));
            assert_eq!(joined(&other.store, View::Committed), "567");
            assert_eq!(other.store.statistics(), script.store.statistics());
            assert_eq!(other.store.hash(), script.store.hash());
            let mut original = Script { store: restored(&script.store, 0) };
            for number in 1..=9 {
                let again = keyed(&format!("k{number}"), &number.to_string(), 20);
                assert_eq!(other.run(again.clone()), original.run(again));
            }
            let again = match deduplication {
                Deduplication::Content | Deduplication::Key => "56789".to_owned(),
                Deduplication::None => "789".to_owned(),
            };
            assert!(again.ends_with(&joined(&other.store, View::Committed)), "{deduplication:?}");
            assert_eq!(other.store.hash(), original.store.hash());
        }
    }
}

#[test]
fn stores_without_message_logs_are_what_they_were() {
    let mut script = Script::new();
    script.run(put("a", "1"));
    let hash = script.store.hash();
    let first = script.store.begin_checkpoint().chunk(1_000).expect("a chunk");
    assert_eq!(hash, 3_893_811_578_716_788_588, "a member of an earlier version has this");
    assert_eq!(first[..2], [0, 1], "an older member can read it");
    script.run(append("a", 1));
    let first = script.store.begin_checkpoint().chunk(1_000).expect("a chunk");
    assert_eq!(first[..2], [0, 2]);
}
