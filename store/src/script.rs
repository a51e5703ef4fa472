//! Drives a store through one operation after the other, in unit tests.

use bytes::Bytes;
use holdfast_engine::{Entry, EntryKind, Position, Term};

use crate::{Command, Event, Expect, Limits, Operation, Outcome, Reason, Store, Txn, TxnOperation};

/// A store, and the operations that tests give it.
pub(crate) struct Script {
    pub(crate) store: Store,
}

/// Give `key` a value, whatever it was.
pub(crate) fn put(key: &'static str, value: &'static str) -> Operation {
    Operation::Put { key: key.into(), value: value.into(), expect: Expect::Any }
}

/// Delete `key`, whatever it was.
pub(crate) fn delete(key: &'static str) -> Operation {
    Operation::Delete { key: key.into(), expect: Expect::Any }
}

/// Do all of these.
pub(crate) fn all(operations: Vec<TxnOperation>) -> Operation {
    Operation::Txn(Txn { success: operations, ..Txn::default() })
}

impl Script {
    pub(crate) fn new() -> Script {
        Script::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Script {
        Script { store: Store::with_limits(limits) }
    }

    /// Execute an operation, without committing it.
    pub(crate) fn execute(&mut self, operation: Operation) -> Outcome {
        self.execute_payload(&Command::new(operation).encode())
    }

    pub(crate) fn execute_payload(&mut self, payload: &[u8]) -> Outcome {
        let position = Position::new(Term(1), self.store.executed().next());
        let outcome = self.store.execute(&Entry::new(position, EntryKind::Command, payload));
        outcome.expect("a command has an outcome")
    }

    /// Commit what was executed.
    pub(crate) fn commit(&mut self) -> Vec<Event> {
        self.store.commit(self.store.executed())
    }

    /// Execute an operation and commit it.
    pub(crate) fn run(&mut self, operation: Operation) -> Outcome {
        let outcome = self.execute(operation);
        self.commit();
        outcome
    }

    /// The reason for which an operation is refused.
    pub(crate) fn refused(&mut self, operation: Operation) -> Reason {
        match self.run(operation) {
            Outcome::Refused(reason) => reason,
            outcome => panic!("not refused: {outcome:?}"),
        }
    }

    /// Run the same put with so many different keys.
    pub(crate) fn fill(&mut self, keys: u64, value_bytes: usize) {
        for number in 0..keys {
            let (key, value) =
                (Bytes::from(format!("key-{number:06}")), Bytes::from(vec![b'v'; value_bytes]));
            self.run(Operation::Put { key, value, expect: Expect::Any });
        }
    }
}
