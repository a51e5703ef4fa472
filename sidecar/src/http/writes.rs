//! What all writes share: asking the core, and the reply that says how safe the write is.
//!
//! A reply refuses to promise more than was reached: a concern that was not met in time is a 202 with a warning, and
//! one that a failover may undo says so.

use std::time::Duration;

use holdfast_api::http::{Concern, WriteReply};
use holdfast_engine::WriteConcern;
use holdfast_store::{Operation, Outcome, Revision};
use http::StatusCode;

use super::Context;
use super::parameters::{WriteParameters, wished_concern};
use crate::core::{Failure, WriteRequest, Written};
use crate::problem::Problem;

/// How much longer than its time a request waits for the core's word that its time is up. It never comes to that
/// unless the core is stuck, and then nobody must wait for ever.
pub(super) const CORE_GRACE: Duration = Duration::from_secs(2);

/// A write that was done.
pub(super) struct Done {
    /// 200, or 202 if the concern was not met in time.
    pub(super) status: StatusCode,
    /// What it did.
    pub(super) outcome: Outcome,
    written: Written,
    /// How many there may be that vote.
    members: u8,
}

/// Write, and wait for the concern.
pub(super) async fn write(
    context: &Context,
    parameters: &WriteParameters,
    operation: Operation,
) -> Result<Done, Problem> {
    let settings = context.running.settings();
    let request = parameters.request(operation, settings.write_concern);
    let written = ask(context, request).await.map_err(|failure| {
        let failure = failure.map(|failure| Problem::of_failure(failure, parameters.repeatable()));
        failure.unwrap_or_else(|problem| problem)
    })?;
    if let Some(reason) = written.outcome.refusal() {
        return Err(Problem::of_reason(reason));
    }
    let status = if written.satisfied { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(Done { status, outcome: written.outcome.clone(), written, members: settings.peers.len() as u8 })
}

/// Ask the core to write: its failure, or why it cannot be asked.
pub(super) async fn ask(
    context: &Context,
    request: WriteRequest,
) -> Result<Written, Result<Failure, Problem>> {
    let handle = context.running.handle().map_err(Err)?;
    let patience = request.timeout + CORE_GRACE;
    match tokio::time::timeout(patience, handle.write(request)).await {
        Ok(written) => written.map_err(Ok),
        Err(_) => Err(Ok(Failure::Unknown { detail: "this member did not answer in time".to_owned() })),
    }
}

impl Done {
    /// The reply, for a write after which the store was at `revision`.
    pub(super) fn reply(&self, revision: Revision) -> WriteReply {
        let Written { position, concern, reached, .. } = self.written;
        WriteReply {
            revision: revision.0,
            term: position.term.0,
            index: position.index.0,
            concern: Concern { requested: wished_concern(concern), reached },
            warning: self.warning(),
        }
    }

    /// What was waited for and how far it came, and what the caller should know of that.
    pub(super) fn concern(&self) -> (Concern, Option<String>) {
        let Written { concern, reached, .. } = self.written;
        (Concern { requested: wished_concern(concern), reached }, self.warning())
    }

    fn warning(&self) -> Option<String> {
        let Written { concern, reached, satisfied, .. } = self.written;
        if !satisfied {
            return Some(format!(
                "the write is committed, but when the time was up {reached} members had it, not {concern}"
            ));
        }
        let undoable = matches!(concern, WriteConcern::Members(k) if k <= self.members / 2);
        undoable
            .then(|| format!("acknowledged by {reached} of {} members: a failover may undo it", self.members))
    }
}
