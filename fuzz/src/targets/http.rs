//! What HTTP clients send: keys in paths, queries, conditional headers, cursors and transactions, as the sidecar's
//! routes read them.

use std::fmt::Write as _;
use std::time::Duration;

use holdfast_engine::{MEMBERS_MAX, WriteConcern};
use holdfast_sidecar::readings;
use holdfast_store::{Command, Expect, KEY_BYTES_MAX, Keys, Operation, TXN_OPERATIONS_MAX, TxnOperation};
use http::header::{HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH};

use super::{SMALL, memory};
use crate::{Target, shape};

/// The path of a request for a key.
pub(super) const KEY: Target = Target {
    name: "http-key",
    about: "keys in the paths of HTTP requests",
    samples: || KEYS.iter().map(|path| path.as_bytes().to_vec()).collect(),
    words: &["%2F", "%", "%25", "%00", "%c3%a9", "+", "/", "..", "//", "?", "#", "\u{e9}", "/v1/kv/"],
    mend: None,
    run: read_key,
    memory: memory(SMALL, 24),
};

/// The query of a request, a cursor, and conditional headers: all are short texts.
pub(super) const QUERY: Target = Target {
    name: "http-query",
    about: "queries, cursors and conditional headers of HTTP requests",
    samples: || QUERIES.iter().map(|query| query.as_bytes().to_vec()).collect(),
    words: QUERY_WORDS,
    mend: None,
    run: read_query,
    // Every unknown parameter is named in the answer.
    memory: memory(SMALL, 100),
};

/// The body of a transaction, up to the command that it becomes.
pub(super) const TRANSACTION: Target = Target {
    name: "http-txn",
    about: "transactions as JSON, and the commands that they become",
    samples: super::text::transactions,
    words: super::text::TRANSACTION_WORDS,
    mend: None,
    run: read_transaction,
    memory: memory(SMALL, 200),
};

const KEYS: &[&str] =
    &["/v1/kv/a", "/v1/kv/a/b//c%2Fd/", "/v1/kv/%C3%A9+%2B%25", "/v1/kv/", "/v1/kv/%ff", "/v1/kv/%e2%82%ac"];

const QUERIES: &[&str] = &[
    "w=2&session=00ab&sequence=7&timeout=250ms",
    "w=majority&timeout=1m",
    "read=local&revision=5&timeout=5s",
    "w=all&&session=ffffffffffffffffffffffffffffffff&sequence=18446744073709551615",
    "12c.11.6772c3b6c39f652f31",
    "\"42\"",
    "*",
];

const QUERY_WORDS: &[&str] = &[
    "w=",
    "session=",
    "sequence=",
    "timeout=",
    "read=",
    "revision=",
    "linearizable",
    "local",
    "&",
    "=",
    "%3D",
    "%26",
    "+",
    "%2b",
    "W/\"",
    "\"",
    ".",
    "0x",
    "majority",
    "all",
    "7",
    "1.1.61",
    "\u{e9}",
];

/// How the path of a key begins.
const PREFIX: &str = "/v1/kv/";

/// What decoding is, in the plainest words.
fn plain(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits)
            .ok()
            .filter(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    Some(bytes)
}

fn read_key(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    let read = readings::key(path);
    let expected = path
        .strip_prefix(PREFIX)
        .and_then(plain)
        .filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()) && std::str::from_utf8(key).is_ok())
        // The store's own.
        .filter(|key| key[0] != 0);
    assert_eq!(read.as_ref().ok().map(|key| key.to_vec()), expected, "{read:?}");
    let Ok(key) = read else { return shape::note(&read) };
    shape::note_size(key.len());
    // Whatever is escaped, it is the same key.
    let all = key.iter().fold(PREFIX.to_owned(), |mut path, byte| {
        write!(path, "%{byte:02x}").expect("a string takes everything");
        path
    });
    assert_eq!(readings::key(&all), Ok(key.clone()));
    let least = std::str::from_utf8(&key).expect("keys are text").replace('%', "%25");
    assert_eq!(readings::key(&format!("{PREFIX}{least}")), Ok(key));
}

fn read_query(bytes: &[u8]) {
    check_headers(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let waits = |timeout: Duration| assert!((1..=60_000).contains(&timeout.as_millis()), "{timeout:?}");
    let write = readings::write(text);
    if let Ok(write) = &write {
        waits(write.timeout);
        assert!(write.stamp.is_none_or(|stamp| stamp.sequence > 0));
        if let WriteConcern::Members(members) = write.concern {
            assert!((1..=MEMBERS_MAX).contains(&members.into()), "{members} members");
        }
    }
    let read = readings::read(text);
    if let Ok(read) = &read {
        waits(read.timeout);
        assert!(read.revision.is_none_or(|revision| revision.0 > 0));
    }
    if let Some(cursor) = readings::cursor(text) {
        assert_eq!(readings::cursor(&cursor).as_ref(), Some(&cursor), "a cursor is written in one way");
    }
    shape::note(&(write.is_ok(), read.is_ok()));
    // The words of a refusal up to what it quotes.
    let refusal = |error: String| shape::note(&format_args!("{error}"));
    write.err().map(refusal);
    read.err().map(refusal);
}

/// A tag that is read is one that is written.
fn check_headers(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    for name in [IF_MATCH, IF_NONE_MATCH] {
        let headers = HeaderMap::from_iter([(name.clone(), value.clone())]);
        match readings::expectation(&headers) {
            Ok(Expect::Any) => panic!("{name} {value:?} asks for nothing"),
            Ok(Expect::Absent) => {
                assert_eq!((name, value.as_bytes().trim_ascii()), (IF_NONE_MATCH, &b"*"[..]))
            }
            Ok(Expect::Revision(revision)) => {
                let tag = value.to_str().expect("digits are text").trim();
                let digits = tag.trim_matches('"').trim_start_matches('0');
                assert_eq!(digits, revision.0.to_string().trim_start_matches('0'), "{tag}");
            }
            Err(error) => assert!(!error.is_empty()),
        }
    }
}

fn read_transaction(bytes: &[u8]) {
    let txn = match readings::transaction(bytes) {
        Ok(txn) => txn,
        Err(error) => return shape::note(&format_args!("{error}")),
    };
    shape::note(&txn);
    let key_is_valid = |key: &[u8]| (1..=KEY_BYTES_MAX).contains(&key.len());
    assert!(txn.compare.iter().all(|compare| key_is_valid(&compare.key)));
    for list in [&txn.success, &txn.failure] {
        assert!(list.len() <= TXN_OPERATIONS_MAX);
        for operation in list {
            match operation {
                TxnOperation::Put { key, .. } => assert!(key_is_valid(key)),
                TxnOperation::Delete(Keys::Key(key)) => assert!(key_is_valid(key)),
                TxnOperation::Get { keys: Keys::Key(key), limit } => assert!(key_is_valid(key) && *limit > 0),
                TxnOperation::Get { keys: Keys::Prefix(prefix), limit } => {
                    assert!(prefix.len() <= KEY_BYTES_MAX && *limit > 0);
                }
                TxnOperation::Delete(Keys::Prefix(prefix)) => assert!(prefix.len() <= KEY_BYTES_MAX),
            }
        }
    }
    let command = Command::new(Operation::Txn(txn));
    assert_eq!(Command::decode(&command.encode()), Ok(command));
}
