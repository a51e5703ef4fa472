//! What it takes to undo entries that are executed but not committed: [`Undo`].
//!
//! Versions are undone by taking the newest revision off the keyspace again, so that a record holds no keys or values;
//! what is left are some figures ([`Marks`]) and what happened to a session.

use std::collections::VecDeque;

use holdfast_engine::Index;

use crate::sessions::SessionUndo;
use crate::{Revision, View};

/// The state's figures after an entry. All of them are functions of the log up to that entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) revision: Revision,
    /// The oldest revision that can be read; at most `revision`.
    pub(crate) compacted: Revision,
    /// What superseded versions, deletions and change records count that `compacted` keeps.
    pub(crate) history_bytes: u64,
    pub(crate) live_keys: u64,
    pub(crate) live_bytes: u64,
    /// Message logs.
    pub(crate) logs: u64,
    /// Messages that can be read in them.
    pub(crate) messages: u64,
    /// What the logs count towards the quota.
    pub(crate) log_bytes: u64,
    /// The hash over entries and outcomes.
    pub(crate) hash: u64,
}

/// One entry that was executed and is not committed.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) after: Marks,
    /// Boxed because most entries have none.
    pub(crate) session: Option<Box<SessionUndo>>,
}

/// The committed index, and a record of every entry that was executed after it.
///
/// The engine bounds how much is executed ahead of the commit (`Config::uncommitted_bytes_max`).
#[derive(Debug)]
pub(crate) struct Undo {
    committed: Index,
    at_commit: Marks,
    records: VecDeque<Executed>,
}

impl Marks {
    /// Of a store in which nothing was ever executed.
    pub(crate) const EMPTY: Marks = Marks {
        revision: Revision::EMPTY,
        compacted: Revision(0),
        history_bytes: 0,
        live_keys: 0,
        live_bytes: 0,
        logs: 0,
        messages: 0,
        log_bytes: 0,
        hash: 0,
    };

    /// What counts towards the quota.
    pub(crate) fn quota_bytes(&self) -> u64 {
        self.live_bytes + self.log_bytes
    }
}

impl Undo {
    /// Everything up to `committed` is committed, and nothing after it executed.
    pub(crate) fn new(committed: Index, at_commit: Marks) -> Undo {
        Undo { committed, at_commit, records: VecDeque::new() }
    }

    pub(crate) fn committed(&self) -> Index {
        self.committed
    }

    pub(crate) fn executed(&self) -> Index {
        Index(self.committed.0 + self.records.len() as u64)
    }

    /// The figures of a view.
    pub(crate) fn marks(&self, view: View) -> &Marks {
        match (view, self.records.back()) {
            (View::Executed, Some(last)) => &last.after,
            _ => &self.at_commit,
        }
    }

    pub(crate) fn push(&mut self, record: Executed) {
        self.records.push_back(record);
    }

    /// Take the newest record off.
    pub(crate) fn pop(&mut self) -> Option<Executed> {
        self.records.pop_back()
    }

    /// The records, newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Executed> {
        self.records.iter().rev()
    }

    /// Drop the records up to `index`: nothing of them will be undone.
    ///
    /// # Panics
    ///
    /// If `index` is before the committed or after the executed one.
    pub(crate) fn commit(&mut self, index: Index) {
        assert!(
            (self.committed..=self.executed()).contains(&index),
            "commit of {index}, which is not in [{}, {}]",
            self.committed,
            self.executed()
        );
        let done = (index.0 - self.committed.0) as usize;
        if let Some(last) = self.records.drain(..done).next_back() {
            self.at_commit = last.after;
        }
        self.committed = index;
    }
}
