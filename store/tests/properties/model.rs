//! The naive model: a whole copy of the state for every revision and every index, and no cleverness anywhere.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_engine::{Entry, EntryKind};
use holdfast_store::{
    Command, Compare, Event, Expect, ITEM_BYTES, KEY_BYTES_MAX, KeyValue, Keys, Limits, Operation, Outcome,
    Reason, Relation, Revision, SessionId, TXN_OPERATIONS_MAX, TXN_RESULT_BYTES_MAX, Target, Txn,
    TxnOperation, TxnResult, VALUE_BYTES_MAX, covers,
};

use crate::message_logs::{self, ModelLogs};

type Map = BTreeMap<Bytes, KeyValue>;

/// The state after one entry.
#[derive(Clone)]
pub(crate) struct Model {
    limits: Limits,
    /// By revision, from 0 on.
    pub(crate) maps: Vec<Map>,
    pub(crate) compacted: u64,
    /// Session, sequence, outcome; the longest silent first.
    sessions: Vec<(SessionId, u64, Outcome)>,
    pub(crate) logs: ModelLogs,
}

impl Model {
    pub(crate) fn new(limits: Limits) -> Model {
        let (maps, logs) = (vec![Map::new(), Map::new()], ModelLogs::new());
        Model { limits, maps, compacted: 0, sessions: Vec::new(), logs }
    }

    pub(crate) fn revision(&self) -> Revision {
        Revision(self.maps.len() as u64 - 1)
    }

    fn now(&self) -> &Map {
        self.maps.last().expect("revision 1 at least")
    }

    pub(crate) fn execute(&mut self, entry: &Entry) -> Option<Outcome> {
        if entry.kind() != EntryKind::Command {
            return None;
        }
        let Ok(command) = Command::decode(&entry.payload()) else {
            return Some(Outcome::Refused(Reason::Malformed));
        };
        let Some(stamp) = command.session else { return Some(self.perform(command.operation)) };
        let known = self.sessions.iter().position(|(session, ..)| *session == stamp.session);
        let last = known.map(|at| self.sessions[at].clone());
        let outcome = match last {
            None if stamp.sequence > 1 => return Some(Outcome::Refused(Reason::SessionExpired)),
            Some((_, last, _)) if stamp.sequence < last => {
                return Some(Outcome::Refused(Reason::StaleSequence { last }));
            }
            Some((_, last, outcome)) if stamp.sequence == last => outcome,
            _ => self.perform(command.operation),
        };
        self.sessions.retain(|(session, ..)| *session != stamp.session);
        self.sessions.push((stamp.session, stamp.sequence, outcome.clone()));
        while self.sessions.len() > self.limits.sessions
            || (self.sessions.len() > 1 && self.sessions_bytes() > self.limits.sessions_bytes)
        {
            self.sessions.remove(0);
        }
        Some(outcome)
    }

    fn sessions_bytes(&self) -> u64 {
        let got = |item: &KeyValue| item_bytes(&item.key, &item.value);
        let result = |result: &TxnResult| {
            let fixed = size_of::<TxnResult>() as u64;
            let TxnResult::Got { items, .. } = result else { return fixed };
            fixed + items.iter().map(got).sum::<u64>()
        };
        let outcome = |outcome: &Outcome| match outcome {
            Outcome::Refused(Reason::DuplicateKey { key }) => key.len() as u64,
            Outcome::Txn { results, .. } => results.iter().map(result).sum(),
            _ => 0,
        };
        self.sessions.iter().map(|(.., kept)| outcome(kept) + ITEM_BYTES).sum()
    }

    fn perform(&mut self, operation: Operation) -> Outcome {
        self.try_perform(operation).unwrap_or_else(Outcome::Refused)
    }

    fn try_perform(&mut self, operation: Operation) -> Result<Outcome, Reason> {
        let mut map = self.now().clone();
        let next = self.revision().next();
        match operation {
            Operation::Put { key, value, expect } => {
                check(&key, Some(&value))?;
                self.expect(&key, expect)?;
                let previous = put(&mut map, key, value, next);
                Ok(Outcome::Put { revision: self.write(map)?, previous })
            }
            Operation::Delete { key, expect } => {
                check(&key, None)?;
                self.expect(&key, expect)?;
                let count = u64::from(map.remove(&key).is_some());
                Ok(Outcome::Deleted { revision: self.write(map)?, count })
            }
            Operation::Txn(txn) => self.txn(txn),
            Operation::Compact { revision } if revision > self.revision() => {
                Err(Reason::FutureRevision { current: self.revision() })
            }
            Operation::Compact { revision } if revision.0 <= self.compacted => {
                Err(Reason::Compacted { compacted: Revision(self.compacted) })
            }
            Operation::Compact { revision } => {
                self.compacted = revision.0;
                Ok(Outcome::Compacted { revision })
            }
            operation => {
                let quota = self.limits.quota_bytes;
                let room = quota.saturating_sub(size(&map));
                let done = message_logs::perform(&self.logs, operation, self.limits.logs, room, quota)?;
                self.logs = done.0;
                Ok(done.1)
            }
        }
    }

    fn expect(&self, key: &Bytes, expect: Expect) -> Result<(), Reason> {
        let actual = self.now().get(key).map(|item| item.mod_revision);
        match expect {
            Expect::Absent if actual.is_some() => Err(Reason::PreconditionFailed { actual }),
            Expect::Revision(wanted) if actual != Some(wanted) => Err(Reason::PreconditionFailed { actual }),
            _ => Ok(()),
        }
    }

    /// Make `map` the newest revision, if it differs.
    fn write(&mut self, map: Map) -> Result<Revision, Reason> {
        if map == *self.now() {
            return Ok(self.revision());
        }
        let all = size(&map) + message_logs::cost(&self.logs);
        if all > self.limits.quota_bytes && size(&map) > size(self.now()) {
            return Err(Reason::QuotaExceeded { quota: self.limits.quota_bytes });
        }
        self.maps.push(map);
        while self.compacted < self.revision().0
            && (self.history_bytes() > self.limits.history_bytes
                || self.revision().0 - self.compacted > self.limits.history_revisions)
        {
            self.compacted += 1;
        }
        Ok(self.revision())
    }

    /// Keys that `revision` changed, with their values before and after.
    fn changes(&self, revision: u64) -> Vec<(Bytes, Option<&KeyValue>, Option<&KeyValue>)> {
        if revision < 2 {
            return Vec::new();
        }
        let (before, after) = (&self.maps[revision as usize - 1], &self.maps[revision as usize]);
        let mut keys: Vec<&Bytes> = before.keys().chain(after.keys()).collect();
        keys.sort();
        keys.dedup();
        keys.retain(|key| before.get(*key) != after.get(*key));
        keys.into_iter().map(|key| (key.clone(), before.get(key), after.get(key))).collect()
    }

    pub(crate) fn history_bytes(&self) -> u64 {
        let superseded = |revision| {
            let changes = self.changes(revision);
            changes
                .iter()
                .filter_map(|(_, before, _)| *before)
                .map(|old| item_bytes(&old.key, &old.value))
                .sum::<u64>()
        };
        let recorded =
            |revision| self.changes(revision).iter().map(|(key, ..)| item_bytes(key, b"")).sum::<u64>();
        (self.compacted..=self.revision().0)
            .map(|revision| {
                recorded(revision) + if revision > self.compacted { superseded(revision) } else { 0 }
            })
            .sum()
    }

    pub(crate) fn events(&self, from: u64, prefix: &[u8]) -> Vec<Event> {
        self.all_events(from).into_iter().filter(|event| covers(prefix, event.key())).collect()
    }

    /// Also of reserved keys.
    pub(crate) fn all_events(&self, from: u64) -> Vec<Event> {
        (from..=self.revision().0)
            .flat_map(|revision| {
                self.changes(revision).into_iter().map(move |(key, _, after)| match after {
                    Some(item) => Event::Put(item.clone()),
                    None => Event::Deleted { key, revision: Revision(revision) },
                })
            })
            .collect()
    }

    fn txn(&mut self, txn: Txn) -> Result<Outcome, Reason> {
        let longest =
            [txn.compare.len(), txn.success.len(), txn.failure.len()].into_iter().max().unwrap_or(0);
        if longest > TXN_OPERATIONS_MAX {
            return Err(Reason::TooManyOperations { operations: longest as u64 });
        }
        txn.compare.iter().try_for_each(|compare| check(&compare.key, None))?;
        check_branch(&txn.success)?;
        check_branch(&txn.failure)?;
        let succeeded = txn.compare.iter().all(|compare| holds(compare, self.now().get(&compare.key)));
        let next = self.revision().next();
        let mut map = self.now().clone();
        let (mut results, mut got) = (Vec::new(), 0);
        for operation in if succeeded { txn.success } else { txn.failure } {
            results.push(match operation {
                TxnOperation::Put { key, value } => {
                    TxnResult::Put { previous: put(&mut map, key, value, next) }
                }
                TxnOperation::Delete(keys) => {
                    let before = map.len();
                    map.retain(|key, _| !matches(&keys, key));
                    TxnResult::Deleted { count: (before - map.len()) as u64 }
                }
                TxnOperation::Get { keys, limit } => {
                    let all: Vec<_> =
                        map.values().filter(|item| matches(&keys, &item.key)).cloned().collect();
                    let items: Vec<_> = all.iter().take(limit as usize).cloned().collect();
                    got += items.iter().map(|item| item_bytes(&item.key, &item.value)).sum::<u64>();
                    TxnResult::Got { more: all.len() > items.len(), items }
                }
            });
        }
        if got > TXN_RESULT_BYTES_MAX as u64 {
            return Err(Reason::ResultTooLarge);
        }
        Ok(Outcome::Txn { revision: self.write(map)?, succeeded, results })
    }
}

fn size(map: &Map) -> u64 {
    map.values().map(|item| item_bytes(&item.key, &item.value)).sum()
}

pub(crate) fn item_bytes(key: &[u8], value: &[u8]) -> u64 {
    key.len() as u64 + value.len() as u64 + ITEM_BYTES
}

fn put(map: &mut Map, key: Bytes, value: Bytes, at: Revision) -> Option<Revision> {
    let before = map.get(&key).cloned();
    let (created, version) = before.as_ref().map_or((at, 1), |item| (item.create_revision, item.version + 1));
    map.insert(key.clone(), KeyValue { key, value, create_revision: created, mod_revision: at, version });
    before.map(|item| item.mod_revision)
}

fn matches(keys: &Keys, key: &[u8]) -> bool {
    match keys {
        Keys::Key(wanted) => wanted == key,
        Keys::Prefix(prefix) => covers(prefix, key),
    }
}

fn check(key: &[u8], value: Option<&Bytes>) -> Result<(), Reason> {
    if key.is_empty() {
        return Err(Reason::KeyEmpty);
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(Reason::KeyTooLarge { bytes: key.len() as u64 });
    }
    match value {
        Some(value) if value.len() > VALUE_BYTES_MAX => {
            Err(Reason::ValueTooLarge { bytes: value.len() as u64 })
        }
        _ => Ok(()),
    }
}

fn check_branch(operations: &[TxnOperation]) -> Result<(), Reason> {
    let mut puts = Vec::new();
    for operation in operations {
        match operation {
            TxnOperation::Put { key, value } => {
                check(key, Some(value))?;
                puts.push(key);
            }
            TxnOperation::Delete(Keys::Key(key)) | TxnOperation::Get { keys: Keys::Key(key), .. } => {
                check(key, None)?;
            }
            TxnOperation::Delete(Keys::Prefix(prefix))
            | TxnOperation::Get { keys: Keys::Prefix(prefix), .. } => {
                if !prefix.is_empty() {
                    check(prefix, None)?;
                }
            }
        }
    }
    puts.sort();
    if let Some(pair) = puts.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Reason::DuplicateKey { key: pair[0].clone() });
    }
    for operation in operations {
        if let TxnOperation::Delete(keys) = operation
            && let Some(key) = puts.iter().find(|key| matches(keys, key))
        {
            return Err(Reason::DuplicateKey { key: (*key).clone() });
        }
    }
    Ok(())
}

fn holds(compare: &Compare, item: Option<&KeyValue>) -> bool {
    let number = |actual: u64, wanted: u64| match compare.relation {
        Relation::Equal => actual == wanted,
        Relation::NotEqual => actual != wanted,
        Relation::Less => actual < wanted,
        Relation::Greater => actual > wanted,
    };
    match &compare.target {
        Target::Version(wanted) => number(item.map_or(0, |item| item.version), *wanted),
        Target::Created(wanted) => number(item.map_or(0, |item| item.create_revision.0), wanted.0),
        Target::Modified(wanted) => number(item.map_or(0, |item| item.mod_revision.0), wanted.0),
        Target::Value(wanted) => item.is_some_and(|item| match compare.relation {
            Relation::Equal => item.value == wanted,
            Relation::NotEqual => item.value != wanted,
            Relation::Less => item.value < wanted,
            Relation::Greater => item.value > wanted,
        }),
    }
}
