//! Executing one operation, whole or not at all: [`perform`]. Those of the message logs are handed on.
//!
//! It refuses to know about sessions and the log of entries. What it refuses to users is decided from the state and the limits
//! alone, so that every member refuses the same.

use bytes::Bytes;
use holdfast_engine::Index;

use crate::history::{Change, History, KeyChange};
use crate::keyspace::{Keyspace, Superseded};
use crate::limits::cost;
use crate::logs::Logs;
use crate::undo::Marks;
use crate::version::Version;
use crate::{
    Compare, Expect, KEY_BYTES_MAX, KeyValue, Keys, Limits, Operation, Outcome, Reason, Relation, Revision,
    TXN_OPERATIONS_MAX, TXN_RESULT_BYTES_MAX, Target, Txn, TxnOperation, TxnResult, VALUE_BYTES_MAX,
    reserved,
};

/// What operations work on.
#[derive(Debug)]
pub(crate) struct State<'a> {
    /// The entry that is executed.
    pub(crate) index: Index,
    pub(crate) keyspace: &'a mut Keyspace,
    pub(crate) history: &'a mut History,
    pub(crate) logs: &'a mut Logs,
    pub(crate) marks: &'a mut Marks,
    pub(crate) limits: &'a Limits,
}

/// Do what `operation` says.
///
/// # Errors
///
/// A [`Reason`]; the state is as before then.
pub(crate) fn perform(mut state: State<'_>, operation: Operation<&[u8]>) -> Result<Outcome, Reason> {
    match operation {
        Operation::Put { key, value, expect } => {
            check_key(key)?;
            check_value(value)?;
            expect.check(state.keyspace, key)?;
            let mut writing = Writing::begin(&mut state);
            let previous = writing.put(key, value);
            Ok(Outcome::Put { revision: writing.finish()?, previous })
        }
        Operation::Delete { key, expect } => {
            check_key(key)?;
            expect.check(state.keyspace, key)?;
            let mut writing = Writing::begin(&mut state);
            let count = writing.delete(&Keys::Key(key));
            Ok(Outcome::Deleted { revision: writing.finish()?, count })
        }
        Operation::Txn(txn) => transact(&mut state, txn),
        Operation::Compact { revision } => compact(&mut state, revision),
        Operation::Append(append) => state.logs.append(state.index, state.marks, state.limits, &append),
        Operation::ConfigureLog { log, settings } => {
            state.logs.configure(state.index, state.marks, state.limits, log, settings)
        }
        Operation::DeleteLog { log } => state.logs.delete(state.index, state.marks, log),
        Operation::TrimLog { log, before } => {
            state.logs.trim(state.index, state.marks, state.limits, log, before)
        }
    }
}

fn compact(state: &mut State<'_>, revision: Revision) -> Result<Outcome, Reason> {
    let Marks { compacted, revision: current, .. } = *state.marks;
    if revision > current {
        return Err(Reason::FutureRevision { current });
    }
    if revision <= compacted {
        return Err(Reason::Compacted { compacted });
    }
    state.history.compact(state.marks, revision);
    Ok(Outcome::Compacted { revision })
}

fn transact(state: &mut State<'_>, txn: Txn<&[u8]>) -> Result<Outcome, Reason> {
    check_txn(&txn)?;
    let succeeded = txn.compare.iter().all(|compare| compare.holds(state.keyspace.live(compare.key)));
    let operations = if succeeded { txn.success } else { txn.failure };
    let mut writing = Writing::begin(state);
    let mut results = Vec::with_capacity(operations.len());
    let mut room = TXN_RESULT_BYTES_MAX as u64;
    for operation in operations {
        results.push(match operation {
            TxnOperation::Put { key, value } => TxnResult::Put { previous: writing.put(key, value) },
            TxnOperation::Delete(keys) => TxnResult::Deleted { count: writing.delete(&keys) },
            TxnOperation::Get { keys, limit } => match writing.get(&keys, limit, &mut room) {
                Some((items, more)) => TxnResult::Got { items, more },
                None => {
                    writing.abandon();
                    return Err(Reason::ResultTooLarge);
                }
            },
        });
    }
    Ok(Outcome::Txn { revision: writing.finish()?, succeeded, results })
}

/// One revision in the making. It ends with [`Writing::finish`] or [`Writing::abandon`].
struct Writing<'a, 's> {
    state: &'a mut State<'s>,
    /// The figures so far; `revision` is still the one before.
    marks: Marks,
    change: Change,
}

impl<'a, 's> Writing<'a, 's> {
    fn begin(state: &'a mut State<'s>) -> Writing<'a, 's> {
        let marks = *state.marks;
        Writing { state, marks, change: Change::default() }
    }

    fn revision(&self) -> Revision {
        self.marks.revision.next()
    }

    /// Give a key a value; the revision of the one before.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Option<Revision> {
        let (after, before) = self.state.keyspace.put(key, value, self.revision());
        self.marks.live_bytes += cost(key, value.len());
        let superseded = self.change.record(after, before);
        match superseded {
            Some(superseded) => self.marks.live_bytes -= superseded.cost,
            None => self.marks.live_keys += 1,
        }
        superseded.map(|superseded| superseded.modified)
    }

    /// Delete keys; how many there were.
    fn delete(&mut self, keys: &Keys<&[u8]>) -> u64 {
        match keys {
            Keys::Key(key) => u64::from(self.delete_one(key)),
            Keys::Prefix(prefix) => {
                let there = self.state.keyspace.scan(prefix, None).filter(|(_, version)| version.is_live());
                let there: Vec<Version> = there.map(|(_, version)| version.clone()).collect();
                there.iter().map(|version| u64::from(self.delete_one(version.key()))).sum()
            }
        }
    }

    /// Delete a key; whether it was there.
    fn delete_one(&mut self, key: &[u8]) -> bool {
        let Some((after, before)) = self.state.keyspace.delete(key, self.revision()) else { return false };
        let superseded = self.change.record(after, before);
        self.marks.live_keys -= 1;
        self.marks.live_bytes -= superseded.map_or(0, |Superseded { cost, .. }| cost);
        true
    }

    /// Read keys, as this transaction has left them; `None` if they are more than `room` bytes, which the answer
    /// takes from.
    fn get(&self, keys: &Keys<&[u8]>, limit: u64, room: &mut u64) -> Option<(Vec<KeyValue>, bool)> {
        let (prefix, exact) = match keys {
            Keys::Key(key) => (key, true),
            Keys::Prefix(prefix) => (prefix, false),
        };
        let mut items = Vec::new();
        for (key, version) in self.state.keyspace.scan(prefix, None) {
            if exact && key.len() > prefix.len() {
                break;
            }
            let Some(found) = version.item() else { continue };
            if items.len() as u64 >= limit {
                return Some((items, true));
            }
            *room = room.checked_sub(cost(key, found.value.len()))?;
            items.push(found);
        }
        Some((items, false))
    }

    /// Make it the newest revision, if it changed anything; the revision that the store is at then.
    fn finish(mut self) -> Result<Revision, Reason> {
        if self.change.keys.as_slice().is_empty() {
            return Ok(self.marks.revision);
        }
        let quota = self.state.limits.quota_bytes;
        if self.marks.quota_bytes() > quota {
            self.abandon();
            return Err(Reason::QuotaExceeded { quota });
        }
        self.marks.revision = self.revision();
        self.marks.history_bytes += self.change.superseded + self.change.recorded;
        self.state.history.push(self.change);
        self.state.history.compact_to_limits(&mut self.marks, self.state.limits);
        *self.state.marks = self.marks;
        Ok(self.marks.revision)
    }

    /// Leave everything as it was before.
    fn abandon(self) {
        let (revision, remembered) = (self.revision(), self.state.history.first());
        for KeyChange { after, before } in self.change.keys.into_reversed() {
            self.state.keyspace.revert(after.key(), revision, before, remembered);
        }
    }
}

impl Expect {
    fn check(self, keyspace: &Keyspace, key: &[u8]) -> Result<(), Reason> {
        if self == Expect::Any {
            return Ok(()); // without a search
        }
        let actual = keyspace.live(key).map(|version| version.modified);
        let holds = match self {
            Expect::Any => true,
            Expect::Absent => actual.is_none(),
            Expect::Revision(revision) => actual == Some(revision),
        };
        if holds { Ok(()) } else { Err(Reason::PreconditionFailed { actual }) }
    }
}

impl Compare<&[u8]> {
    fn holds(&self, live: Option<&Version>) -> bool {
        let absent = (0, Revision(0), Revision(0));
        let (version, created, modified) = live.map_or(absent, |v| (v.version, v.created, v.modified));
        let ordering = match &self.target {
            Target::Version(operand) => version.cmp(operand),
            Target::Created(operand) => created.cmp(operand),
            Target::Modified(operand) => modified.cmp(operand),
            Target::Value(operand) => match live.and_then(Version::value) {
                Some(value) => value.cmp(operand),
                None => return false,
            },
        };
        match self.relation {
            Relation::Equal => ordering.is_eq(),
            Relation::NotEqual => ordering.is_ne(),
            Relation::Less => ordering.is_lt(),
            Relation::Greater => ordering.is_gt(),
        }
    }
}

fn check_key(key: &[u8]) -> Result<(), Reason> {
    match key.len() {
        0 => Err(Reason::KeyEmpty),
        bytes if bytes > KEY_BYTES_MAX => Err(Reason::KeyTooLarge { bytes: bytes as u64 }),
        _ => Ok(()),
    }
}

fn check_keys(keys: &Keys<&[u8]>) -> Result<(), Reason> {
    match keys {
        Keys::Prefix([]) => Ok(()),
        Keys::Key(key) | Keys::Prefix(key) => check_key(key),
    }
}

fn check_value(value: &[u8]) -> Result<(), Reason> {
    match value.len() {
        bytes if bytes > VALUE_BYTES_MAX => Err(Reason::ValueTooLarge { bytes: bytes as u64 }),
        _ => Ok(()),
    }
}

/// Both branches are checked, so that a transaction that can be refused for its form always is.
fn check_txn(txn: &Txn<&[u8]>) -> Result<(), Reason> {
    let operations = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    if operations > TXN_OPERATIONS_MAX {
        return Err(Reason::TooManyOperations { operations: operations as u64 });
    }
    for compare in &txn.compare {
        check_key(compare.key)?;
    }
    check_branch(&txn.success)?;
    check_branch(&txn.failure)
}

fn check_branch(operations: &[TxnOperation<&[u8]>]) -> Result<(), Reason> {
    let mut puts: Vec<&[u8]> = Vec::new();
    for operation in operations {
        match operation {
            TxnOperation::Put { key, value } => {
                check_key(key)?;
                check_value(value)?;
                puts.push(key);
            }
            TxnOperation::Delete(keys) | TxnOperation::Get { keys, .. } => check_keys(keys)?,
        }
    }
    puts.sort_unstable();
    if let Some(pair) = puts.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Reason::DuplicateKey { key: Bytes::copy_from_slice(pair[0]) });
    }
    for operation in operations {
        let TxnOperation::Delete(keys) = operation else { continue };
        let (Keys::Key(deleted) | Keys::Prefix(deleted)) = keys;
        let start = match keys {
            Keys::Key(key) => *key,
            Keys::Prefix(prefix) => reserved::start(prefix),
        };
        let next = puts.get(puts.partition_point(|put| *put < start));
        let clash = next.filter(|put| match keys {
            Keys::Key(_) => *put == deleted,
            Keys::Prefix(_) => put.starts_with(deleted),
        });
        if let Some(&put) = clash {
            return Err(Reason::DuplicateKey { key: Bytes::copy_from_slice(put) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
