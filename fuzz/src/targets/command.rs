//! Commands of the log and their outcomes: the payloads that peers forward and disks keep.
//!
//! An input of [`COMMAND`] is a log: each payload with its length in front, executed one after the other.

use bytes::Bytes;
use holdfast_engine::{ENTRY_PAYLOAD_BYTES_MAX, Entry, EntryKind, Index, Position, Term};
use holdfast_store::{
    Append, Command, Compare, Deduplication, Expect, KeyValue, Keys, Limits, LogSettings, MessagesQuery,
    Operation, Outcome, RESERVED, RangeQuery, Reason, Relation, Restore, Revision, Sequence, SessionId,
    Stamp, Store, Target as CompareTarget, Txn, TxnOperation, TxnResult, View,
};

use super::{POSTCARD, memory};
use crate::{Target, shape};

/// A log of commands.
pub(super) const COMMAND: Target = Target {
    name: "command",
    about: "commands as entries of the log, and what they do",
    samples: logs,
    words: &[],
    mend: Some(mend_pieces),
    run: execute,
    // The smallest operation has three bytes and becomes a few words; what a transaction reads may be all that was
    // written, once for each operation; and there are three stores.
    memory: memory(POSTCARD, 4000),
};

/// What a command did.
pub(super) const OUTCOME: Target = Target {
    name: "outcome",
    about: "what a command did, as leaders tell it and checkpoints keep it",
    samples: outcomes,
    words: &[],
    mend: None,
    run: read_outcome,
    memory: memory(POSTCARD, 100),
};

/// Small enough that a short log meets every one of them.
pub(super) const SMALL_LIMITS: Limits = Limits {
    sessions: 3,
    sessions_bytes: 2_000,
    history_bytes: 3_000,
    history_revisions: 12,
    quota_bytes: 4_000,
    logs: 3,
};

/// Bytes of a piece's length.
const LENGTH_BYTES: usize = 2;

/// Cut an input into pieces, each with its length in front; the last one ends where the input does.
pub(super) fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() {
        let (piece, rest) = rest.split_at(rest.len().min(u16::from_le_bytes(*length).into()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// The reverse of [`pieces`].
pub(super) fn joined<B: AsRef<[u8]>>(pieces: impl IntoIterator<Item = B>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        let piece = piece.as_ref();
        bytes.extend_from_slice(&(piece.len() as u16).to_le_bytes());
        bytes.extend_from_slice(piece);
    }
    bytes
}

/// Without bytes that are in no piece.
fn mend_pieces(bytes: &mut Vec<u8>) {
    *bytes = joined(pieces(bytes));
}

fn key(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn put(key: &'static str, value: &'static str, expect: Expect) -> Command {
    Command::new(Operation::Put { key: self::key(key), value: self::key(value), expect })
}

fn txn(compare: Vec<Compare>, success: Vec<TxnOperation>, failure: Vec<TxnOperation>) -> Command {
    Command::new(Operation::Txn(Txn { compare, success, failure }))
}

/// A log that meets most of what there is.
pub(super) fn commands() -> Vec<Command> {
    let compare = |key: &'static str, target, relation| Compare { key: self::key(key), relation, target };
    let put_in = |key: &'static str| TxnOperation::Put { key: self::key(key), value: self::key("in a txn") };
    let get_all = TxnOperation::Get { keys: Keys::Prefix(Bytes::new()), limit: 5 };
    let conditions = vec![
        compare("a", CompareTarget::Version(1), Relation::Equal),
        compare("b", CompareTarget::Created(Revision(300)), Relation::NotEqual),
        compare("c", CompareTarget::Modified(Revision(2)), Relation::Less),
        compare("a", CompareTarget::Value(key("2")), Relation::Less),
    ];
    vec![
        put("a", "1", Expect::Any),
        put("b", "2", Expect::Absent).stamped(SessionId(7), 1),
        put("b", "2", Expect::Absent).stamped(SessionId(7), 1),
        put("a", "3", Expect::Revision(Revision(2))).stamped(SessionId(7), 5),
        txn(conditions, vec![put_in("c"), get_all.clone()], vec![get_all.clone()]),
        Command::new(Operation::Delete { key: key("b"), expect: Expect::Any })
            .stamped(SessionId(u128::MAX), 1),
        txn(vec![], vec![TxnOperation::Delete(Keys::Prefix(key("a"))), put_in("d"), get_all], vec![]),
        Command::new(Operation::Compact { revision: Revision(4) }),
        put("a", "again", Expect::Absent).stamped(SessionId(8), 1),
        put("e", "", Expect::Any).stamped(SessionId(9), 1),
        append("1", None, 7),
        append("1", None, 8),
        append("2", Some("k"), 9).stamped(SessionId(9), 2),
        configure(Deduplication::Key, Some(2)),
        append("3", Some("k"), 10),
        append("4", Some("k"), 11),
        append("4", Some("l"), 12),
        configure(Deduplication::None, None),
        Command::new(Operation::TrimLog { log: key("log"), before: Sequence(3) }),
        Command::new(Operation::DeleteLog { log: key("other") }),
    ]
}

fn append(message: &'static str, key: Option<&'static str>, attempt: u64) -> Command {
    let (log, message, key) = (self::key("log"), self::key(message), key.map(self::key));
    Command::new(Operation::Append(Append { log, message, key, time_ms: 300 * attempt, attempt }))
}

fn configure(deduplication: Deduplication, retain: Option<u64>) -> Command {
    let settings = LogSettings {
        deduplication,
        deduplication_window: 3,
        retain_messages: retain,
        retain_ms: retain.map(|many| many * 1_000),
        retain_bytes: retain.map(|many| many * 100),
    };
    Command::new(Operation::ConfigureLog { log: key("log"), settings })
}

fn logs() -> Vec<Vec<u8>> {
    let payloads = commands().iter().map(Command::encode).collect::<Vec<_>>();
    let mut logs = payloads.iter().map(|payload| joined([payload])).collect::<Vec<_>>();
    logs.push(joined(&payloads));
    logs
}

fn outcomes() -> Vec<Vec<u8>> {
    let item = KeyValue {
        key: key("a"),
        value: key("1"),
        create_revision: Revision(2),
        mod_revision: Revision(300),
        version: 2,
    };
    let results = vec![
        TxnResult::Put { previous: Some(Revision(2)) },
        TxnResult::Deleted { count: 3 },
        TxnResult::Got { items: vec![item.clone(), item], more: true },
    ];
    let mut outcomes = vec![
        Outcome::Txn { revision: Revision(9), succeeded: true, results },
        Outcome::Refused(Reason::PreconditionFailed { actual: Some(Revision(4)) }),
        Outcome::Refused(Reason::DuplicateKey { key: key("twice") }),
    ];
    let mut store = Store::new();
    outcomes.extend(
        (1..).zip(commands()).filter_map(|(index, command)| store.execute(&entry(index, &command.encode()))),
    );
    outcomes.iter().map(|outcome| outcome.encode().to_vec()).collect()
}

/// The entry of a command.
pub(super) fn entry(index: u64, payload: &[u8]) -> Entry {
    Entry::new(Position::new(Term(1), Index(index)), EntryKind::Command, payload)
}

fn read_outcome(bytes: &[u8]) {
    match Outcome::decode(bytes) {
        Ok(outcome) => {
            assert_eq!(Outcome::decode(&outcome.encode()).as_ref(), Ok(&outcome));
            shape::note(&outcome);
        }
        Err(error) => shape::note(&error),
    }
}

/// Decode each command and write it again, and execute all along two ways that must come to the same: one store
/// commits at once, the other executes several entries, undoes them, and executes them again.
fn execute(bytes: &[u8]) {
    let entries = (1..).zip(pieces(bytes)).map(|(index, payload)| {
        assert!(payload.len() <= ENTRY_PAYLOAD_BYTES_MAX, "pieces are short");
        entry(index, payload)
    });
    let entries = entries.collect::<Vec<_>>();
    let (mut plain, mut undone) = (Store::with_limits(SMALL_LIMITS), Store::with_limits(SMALL_LIMITS));
    for batch in entries.chunks(3) {
        let mut outcomes = Vec::new();
        for entry in batch {
            outcomes.push(check_command(&mut plain, entry));
            plain.commit(entry.index());
        }
        let first = batch[0].index().previous();
        let again =
            |store: &mut Store| batch.iter().filter_map(|entry| store.execute(entry)).collect::<Vec<_>>();
        again(&mut undone);
        undone.rollback(first);
        assert_eq!(again(&mut undone), outcomes, "executed again after it was undone");
        undone.commit_unwatched(batch[batch.len() - 1].index());
        assert_eq!(plain.hash(), undone.hash());
    }
    assert_eq!(plain.statistics(), undone.statistics());
    check_bounds(&plain);
    let restored = restored(&plain, 700);
    assert_eq!(restored.hash(), plain.hash());
    assert_eq!(restored.statistics(), plain.statistics());
    assert_eq!(everything(&restored), everything(&plain));
}

fn check_command(store: &mut Store, entry: &Entry) -> Outcome {
    let decoded = Command::decode(&entry.payload());
    let outcome = store.execute(entry).expect("a command has an outcome");
    match decoded {
        Ok(command) => {
            assert_eq!(Command::decode(&command.encode()).as_ref(), Ok(&command));
            assert_ne!(outcome, Outcome::Refused(Reason::Malformed), "{command:?}");
            assert!(command.session.is_none_or(|Stamp { sequence, .. }| sequence > 0));
        }
        Err(error) => {
            assert_eq!(outcome, Outcome::Refused(Reason::Malformed), "{error}");
            shape::note(&error);
        }
    }
    assert_eq!(Outcome::decode(&outcome.encode()).as_ref(), Ok(&outcome));
    shape::note(&outcome);
    outcome
}

/// What limits are for.
fn check_bounds(store: &Store) {
    let statistics = store.statistics();
    assert!(statistics.live_bytes + statistics.log_bytes <= SMALL_LIMITS.quota_bytes, "{statistics:?}");
    assert!(statistics.logs <= SMALL_LIMITS.logs as u64, "{statistics:?}");
    assert!(statistics.sessions <= SMALL_LIMITS.sessions as u64, "{statistics:?}");
    assert!(
        statistics.revision.0 - statistics.compacted.0 <= SMALL_LIMITS.history_revisions,
        "{statistics:?}"
    );
}

/// A store from another one's checkpoint, cut into chunks of about so many bytes.
pub(super) fn restored(store: &Store, bytes_max: usize) -> Store {
    let mut restore = Restore::with_limits(SMALL_LIMITS);
    for chunk in chunks(store, bytes_max) {
        restore.chunk(&chunk).expect("a store takes its own checkpoints");
    }
    restore.finish().expect("a store takes its own checkpoints")
}

/// A store's checkpoint.
pub(super) fn chunks(store: &Store, bytes_max: usize) -> Vec<Bytes> {
    let mut cursor = store.begin_checkpoint();
    std::iter::from_fn(|| cursor.chunk(bytes_max)).collect()
}

/// All that can be read of a store: every key at every revision, every event, and every message.
pub(super) fn everything(store: &Store) -> String {
    let at = |at| {
        [&b""[..], &[RESERVED]].map(|prefix| {
            let prefix = Bytes::from_static(prefix);
            store.range(RangeQuery { prefix, after: None, limit: 1000, at, view: View::Committed })
        })
    };
    let (compacted, newest) = (store.compacted(View::Committed), store.revision(View::Committed));
    // No further than what was ever written: a store may be compacted at a revision that is far off.
    let revisions = (compacted.0..=newest.0).rev().take(20);
    let pages = revisions.map(|revision| at(Some(Revision(revision)))).collect::<Vec<_>>();
    let events = [&b""[..], &[RESERVED]].map(|prefix| store.events(compacted.next(), prefix, 1000));
    let logs = store.logs(View::Committed);
    let messages = logs.iter().map(|log| {
        let query = MessagesQuery {
            log: Bytes::copy_from_slice(log.name.as_bytes()),
            from: Sequence(0),
            limit: 100,
            bytes_max: usize::MAX,
            view: View::Committed,
        };
        let page = store.messages(&query).expect("a log of the list");
        let places = (log.first.0..log.next.0).take(100);
        assert!(page.messages.iter().map(|message| message.sequence.0).eq(places), "{page:?}");
        page
    });
    let messages = messages.collect::<Vec<_>>();
    format!("{:?} {pages:?} {events:?} {logs:?} {messages:?}", at(None))
}
