//! What clients saw, and whether one order of all writes explains it: linearizability of the whole keyspace.
//!
//! The store says itself where each operation stands in its order: a write by its index, a read by its revision. So no
//! search is needed: the order is given, and it must agree with real time and with what was read.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_engine::Index;
use holdfast_store::{Event, KeyValue, Revision, View};

use crate::invariants::{Broken, Invariants};

/// One operation that a client knows the end of.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// When it was invoked, and when it returned, on a scale that counts events.
    pub(crate) invoked: u64,
    pub(crate) returned: u64,
    pub(crate) done: Done,
}

/// How it ended.
#[derive(Clone, Debug)]
pub(crate) enum Done {
    /// A write that was acknowledged at a majority or more: its index, and the revision it made, if it changed anything.
    Write { index: Index, revision: Option<Revision> },
    /// A linearizable read.
    Read { key: Bytes, revision: Revision, found: Option<(u64, Bytes)> },
}

/// What is already known to have happened when an operation is invoked: it must come after that.
#[derive(Clone, Copy, Debug, Default)]
struct Floor {
    index: Index,
    revision: Revision,
}

/// Check a whole history.
pub(crate) fn check(history: &[Operation], invariants: &Invariants) -> Result<(), Broken> {
    let mut moments: BTreeMap<u64, (usize, bool)> = BTreeMap::new();
    for (at, operation) in history.iter().enumerate() {
        moments.insert(operation.invoked, (at, false));
        moments.insert(operation.returned, (at, true));
    }
    let mut now = Floor::default();
    let mut floors = vec![Floor::default(); history.len()];
    for (at, returns) in moments.into_values() {
        if !returns {
            floors[at] = now;
            continue;
        }
        let floor = floors[at];
        match &history[at].done {
            Done::Write { index, revision } => {
                if *index <= floor.index {
                    return Err(format!(
                        "linearizability: a write at {index} was invoked after one at {} returned",
                        floor.index
                    ));
                }
                if let Some(revision) = revision
                    && *revision <= floor.revision
                {
                    return Err(format!(
                        "linearizability: a write made {revision} after {} was seen",
                        floor.revision
                    ));
                }
                now.index = now.index.max(*index);
                now.revision = now.revision.max(revision.unwrap_or_default());
            }
            Done::Read { key, revision, found } => {
                if *revision < floor.revision {
                    return Err(format!(
                        "linearizability: a stale read at {revision}, {} was seen before it",
                        floor.revision
                    ));
                }
                is_what_was_there(key, *revision, found.as_ref(), invariants)?;
                now.revision = now.revision.max(*revision);
            }
        }
    }
    Ok(())
}

fn is_what_was_there(
    key: &[u8],
    revision: Revision,
    found: Option<&(u64, Bytes)>,
    invariants: &Invariants,
) -> Result<(), Broken> {
    let there = invariants.reference().get(key, Some(revision), View::Committed);
    let there =
        there.map_err(|error| format!("the reference has no revision {revision} any more: {error}"))?;
    let there = there.map(|there| (there.mod_revision.0, there.value));
    if there.as_ref() != found {
        return Err(format!("linearizability: a read at {revision} found {found:?}, there was {there:?}"));
    }
    Ok(())
}

/// Values are unique, so each may have been put at most once however often its write was retried.
pub(crate) fn check_exactly_once(invariants: &Invariants) -> Result<(), Broken> {
    let mut put: BTreeMap<Bytes, Revision> = BTreeMap::new();
    let events = invariants.reference().events(Revision(2), b"", usize::MAX);
    for event in events.map_err(|error| format!("the reference lost its history: {error}"))? {
        let Event::Put(KeyValue { value, mod_revision, .. }) = event else { continue };
        if let Some(before) = put.insert(value.clone(), mod_revision) {
            return Err(format!("exactly once: {value:?} was put at {before} and again at {mod_revision}"));
        }
    }
    Ok(())
}
