//! The chat's state in the store beside the server: every change is one transaction, every answer a linearizable read.
//!
//! | part | does |
//! |---|---|
//! | [`accounts`] | create, log in and out, list, delete |
//! | [`sending`] | gives messages their numbers and puts them into boxes |
//! | [`reading`] | pages of messages, and what is read |
//! | [`deleting`] | messages that go |
//!
//! Refuses to keep anything: a server that is started anew, or another one, knows the same.

mod accounts;
mod deleting;
mod reading;
mod sending;

use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_client::reply::{
    Compare, CompareOperator, KeyValue, ProblemCode, TxnDelete, TxnGet, TxnOperation, TxnPut, TxnReply,
    TxnRequest, TxnResult,
};
use holdfast_client::{Client, Error, ReadOptions};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) use reading::Marking;
pub(crate) use sending::Stamp;

use crate::passwords::{PasswordError, Passwords};
use crate::{keys, texts};

/// A message as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// Its number, from 1.
    pub(crate) id: i32,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) content: String,
    /// Seconds since 1970, by the clock of the server that took it.
    pub(crate) timestamp: i64,
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// The chat says no, in the words that clients know.
    #[error("{0}")]
    Refused(String),
    /// Nothing happened: no member leads, or none answers.
    #[error("{}", texts::NO_LEADER)]
    NoLeader(#[source] Error),
    /// Nobody knows whether it happened.
    #[error("{}", texts::TIMED_OUT)]
    Unknown(#[source] Error),
    /// The store says no.
    #[error("the store refuses: {0}")]
    Store(#[source] Error),
    /// Other servers were faster, again and again. Nothing happened.
    #[error("{}", texts::NO_LEADER)]
    Conflicts,
    /// Too many at once.
    #[error("{}", texts::BUSY)]
    Busy,
    /// What is in the store is not ours, or of another version.
    #[error("what the store has at {key:?} cannot be read: {detail}")]
    Foreign { key: String, detail: String },
}

impl StateError {
    pub(crate) fn refused(text: impl Into<String>) -> StateError {
        StateError::Refused(text.into())
    }
}

impl From<Error> for StateError {
    fn from(error: Error) -> StateError {
        match (&error, error.code()) {
            (Error::Unknown { .. }, _) => StateError::Unknown(error),
            (Error::Unreachable { .. }, _)
            | (
                _,
                Some(
                    ProblemCode::NoLeader
                    | ProblemCode::NotLeader
                    | ProblemCode::Starting
                    | ProblemCode::Repairing
                    | ProblemCode::ShuttingDown
                    | ProblemCode::Overloaded,
                ),
            ) => StateError::NoLeader(error),
            _ => StateError::Store(error),
        }
    }
}

impl From<PasswordError> for StateError {
    fn from(error: PasswordError) -> StateError {
        match error {
            PasswordError::Busy => StateError::Busy,
            error => StateError::Foreign { key: "a password".to_owned(), detail: error.to_string() },
        }
    }
}

/// The state, through the member beside the server.
#[derive(Debug)]
pub(crate) struct State {
    client: Client,
    passwords: Passwords,
}

impl State {
    pub(crate) fn new(client: Client) -> State {
        State { client, passwords: Passwords::new() }
    }

    /// The store.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What a key holds, and since which revision.
    async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<(T, u64)>, StateError> {
        match self.client.get(key, ReadOptions::default()).await? {
            Some(value) => Ok(Some((parse(key, &value.bytes)?, value.mod_revision))),
            None => Ok(None),
        }
    }

    async fn write(
        &self,
        compare: Vec<Compare>,
        success: Vec<TxnOperation>,
        failure: Vec<TxnOperation>,
    ) -> Result<TxnReply, StateError> {
        Ok(self.client.txn(&TxnRequest { compare, success, failure }, None).await?)
    }

    /// The first `most` keys with a prefix, and how many there are in all.
    async fn list(&self, prefix: &str, most: usize) -> Result<(Vec<KeyValue>, u64), StateError> {
        let mut pages = self.client.list(prefix, Some(most.max(1) as u64), ReadOptions::default());
        let mut items = Vec::new();
        let mut count = 0;
        while let Some(page) = pages.next().await? {
            count = page.count;
            items.extend(page.items);
            if items.len() >= most {
                break;
            }
        }
        items.truncate(most);
        Ok((items, count))
    }

    /// How many keys have a prefix.
    async fn count(&self, prefix: &str) -> Result<u64, StateError> {
        Ok(self.list(prefix, 0).await?.1)
    }
}

fn parse<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, StateError> {
    serde_json::from_slice(bytes)
        .map_err(|error| StateError::Foreign { key: key.to_owned(), detail: error.to_string() })
}

fn parse_item<T: DeserializeOwned>(item: &KeyValue) -> Result<T, StateError> {
    let foreign = |detail: String| StateError::Foreign { key: item.key.clone(), detail };
    parse(&item.key, item.bytes().map_err(|error| foreign(error.to_string()))?)
}

/// The items of a get in a transaction.
fn items_of(result: Option<&TxnResult>) -> &[KeyValue] {
    match result {
        Some(TxnResult::Get { items, .. }) => items,
        _ => &[],
    }
}

/// How many keys a delete in a transaction removed.
fn deleted_by(result: Option<&TxnResult>) -> u64 {
    match result {
        Some(TxnResult::Delete { deleted }) => *deleted,
        _ => 0,
    }
}

fn exists(key: String) -> Compare {
    Compare { key, operator: CompareOperator::NotEqual, version: Some(0), ..Compare::default() }
}

/// The key was written last at this revision; 0: it does not exist.
fn unchanged(key: String, revision: u64) -> Compare {
    match revision {
        0 => Compare { key, version: Some(0), ..Compare::default() },
        revision => Compare { key, mod_revision: Some(revision), ..Compare::default() },
    }
}

fn put(key: String, value: &impl Serialize) -> TxnOperation {
    TxnOperation::Put(TxnPut::new(key, serde_json::to_vec(value).expect("plain data")))
}

fn get(key: String) -> TxnOperation {
    TxnOperation::Get(TxnGet { key: Some(key), ..TxnGet::default() })
}

fn delete(key: String) -> TxnOperation {
    TxnOperation::Delete(TxnDelete { key: Some(key), prefix: None })
}

fn delete_all(prefix: String) -> TxnOperation {
    TxnOperation::Delete(TxnDelete { key: None, prefix: Some(prefix) })
}

/// Seconds since 1970; 0 before.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// The first item after `before` and how many follow, for page `number` (from 1) of `size`.
pub(crate) fn page(size: i32, number: i32) -> (usize, usize) {
    let size = match usize::try_from(size) {
        Ok(0) | Err(_) => crate::limits::PAGE_DEFAULT,
        Ok(size) => size.min(crate::limits::PAGE_MAX),
    };
    let before = usize::try_from(number.max(1) - 1).unwrap_or(0).saturating_mul(size);
    (before.min(crate::limits::PAGED_MAX), size)
}

/// A pattern of names as shells have it.
pub(crate) fn pattern(text: &str) -> Result<glob::Pattern, StateError> {
    if text.len() > crate::limits::PATTERN_BYTES_MAX {
        return Err(StateError::refused(format!(
            "The pattern is longer than {} bytes.",
            crate::limits::PATTERN_BYTES_MAX
        )));
    }
    glob::Pattern::new(if text.is_empty() { "*" } else { text })
        .map_err(|error| StateError::refused(format!("'{text}' is not a valid pattern: {error}.")))
}

/// Whether a text is a pattern rather than a name.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Names of accounts, sorted, from a listing.
fn names(items: &[KeyValue]) -> Vec<String> {
    let mut names: Vec<String> = items.iter().filter_map(|item| keys::account_of(&item.key)).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_begin_at_one_and_are_bounded() {
        let check = |size, number, expected| assert_eq!(page(size, number), expected);
        check(5, 1, (0, 5));
        check(5, 3, (10, 5));
        check(0, 0, (0, 10));
        check(-1, -1, (0, 10));
        check(i32::MAX, i32::MAX, (10_000, 100));
    }

    #[test]
    fn patterns_are_a_shells() {
        let matches = |text: &str, name| pattern(text).expect("a pattern").matches(name);
        assert!(matches("", "anybody") && matches("a*", "alice") && matches("?ob", "bob"));
        assert!(matches("[ab]*", "bob") && !matches("[!ab]*", "bob") && !matches("a*", "bob"));
        assert!(pattern("[").is_err() && pattern(&"a".repeat(1000)).is_err());
        assert!(is_pattern("b*") && !is_pattern("bob"));
    }
}
