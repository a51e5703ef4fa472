//! What the core says, as clients read it.

use holdfast_store::{KeyValue, Outcome, Revision, TxnResult};
use holdfast_wire::native as wire;
use holdfast_wire::native::Reply;

use crate::core::{Answer, Failure, ReadReply, Written};
use crate::problem::{Code, Problem};

/// The reply to a write. `repeatable` is whether it can be sent again without harm even if it took effect.
pub(crate) fn to_write(result: Result<Written, Failure>, repeatable: bool) -> Reply {
    let written = match result {
        Ok(written) => written,
        Err(failure) => return failed(failure, repeatable),
    };
    let (revision, outcome) = match written.outcome {
        Outcome::Put { revision, previous } => (revision, wire::Outcome::Put { previous: number(previous) }),
        Outcome::Deleted { revision, count } => (revision, wire::Outcome::Deleted { count }),
        Outcome::Txn { revision, succeeded, results } => {
            let results = results.into_iter().map(result_of).collect();
            (revision, wire::Outcome::Txn { succeeded, results })
        }
        // No request of this protocol compacts, or is about message logs.
        Outcome::Compacted { revision } => (revision, wire::Outcome::Deleted { count: 0 }),
        Outcome::Appended { .. }
        | Outcome::Duplicate { .. }
        | Outcome::LogConfigured { .. }
        | Outcome::LogDeleted { .. }
        | Outcome::LogTrimmed { .. } => (Revision::EMPTY, wire::Outcome::Deleted { count: 0 }),
        Outcome::Refused(reason) => return refused(Problem::of_reason(&reason)),
    };
    Reply::Written(wire::Written {
        revision: revision.0,
        position: written.position,
        concern: written.concern,
        reached: written.reached,
        satisfied: written.satisfied,
        outcome,
    })
}

/// The reply to a read.
pub(crate) fn to_read(result: Result<ReadReply, Failure>) -> Reply {
    let ReadReply { revision, answer } = match result {
        Ok(reply) => reply,
        Err(failure) => return failed(failure, true),
    };
    let revision = revision.0;
    match answer {
        Answer::Get(None) => Reply::NotFound { revision },
        Answer::Get(Some(item)) => Reply::Found { revision, value: value(item).value },
        Answer::Range(range) => Reply::Page {
            revision: range.revision.0,
            more: range.more,
            count: range.count,
            items: range.items.into_iter().map(value).collect(),
        },
        // No request of this protocol asks for message logs.
        Answer::Logs(_) | Answer::Log(_) | Answer::Messages(_) | Answer::Message(_) => {
            refused(Problem::new(Code::Internal, "the answer is about a message log"))
        }
    }
}

/// The reply to a request that nothing was done for.
pub(crate) fn refused(problem: Problem) -> Reply {
    Reply::Refused(problem.into_refusal())
}

fn failed(failure: Failure, repeatable: bool) -> Reply {
    match failure {
        Failure::Unknown { detail } => Reply::Unknown { retryable: repeatable, detail },
        refusal => {
            let problem = Problem::of_failure(refusal, repeatable);
            debug_assert!(problem.code != Code::OutcomeUnknown);
            refused(problem)
        }
    }
}

fn result_of(result: TxnResult) -> wire::TxnResult {
    match result {
        TxnResult::Put { previous } => wire::TxnResult::Put { previous: number(previous) },
        TxnResult::Deleted { count } => wire::TxnResult::Deleted { count },
        TxnResult::Got { items, more } => {
            wire::TxnResult::Got { items: items.into_iter().map(value).collect(), more }
        }
    }
}

fn value(item: KeyValue) -> wire::Item {
    let KeyValue { key, value: bytes, create_revision, mod_revision, version } = item;
    let (create_revision, mod_revision) = (create_revision.0, mod_revision.0);
    wire::Item { key, value: wire::Value { bytes, create_revision, mod_revision, version } }
}

fn number(revision: Option<Revision>) -> Option<u64> {
    revision.map(|revision| revision.0)
}
