//! Everything that can happen to a member, in one closed list.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_api::http::{FaultsStatus, Status};
use holdfast_engine::{
    Given, Index, MemberId, Message, Ordinal, Position, QuestionToken, Term, Ticket, Verdict, WriteConcern,
};
use holdfast_storage::WriteError;
use holdfast_store::Revision;
use holdfast_wire::Fingerprint;
use tokio::sync::oneshot;

use super::cutting::{CheckpointFailure, Cut};
use super::follows::Follower;
use super::handle::{
    CheckpointTaken, Failure, FaultsChange, Figures, HandedOver, ReadReply, ReadRequest, Timing,
    WriteRequest, Written,
};
use super::history::Happening;
use super::member_error::Damage;
use super::watches::WatchStream;
use crate::authority::ForcedStarted;
use crate::native::{Asked, Outbox};
use crate::peers::{FetchError, Fetched};

/// One thing that happened, or that somebody wants.
#[derive(Debug)]
pub(crate) enum Event {
    /// A client wants to write.
    Write { request: WriteRequest, reply: oneshot::Sender<Result<Written, Failure>> },
    /// A client wants to read.
    Read { request: ReadRequest, reply: oneshot::Sender<Result<ReadReply, Failure>> },
    /// What a client of the binary protocol wants; at least one thing.
    Asked { outbox: Arc<Outbox>, asked: Vec<Asked> },
    /// A client wants to follow writes.
    Watch { from: Option<Revision>, prefix: Bytes, reply: oneshot::Sender<Result<WatchStream, Failure>> },
    /// A client wants to follow a message log.
    Follow { log: Bytes, reply: oneshot::Sender<Result<Follower, Failure>> },
    /// Somebody wants to know how this member is.
    Status { reply: oneshot::Sender<Status> },
    /// Somebody wants to know what it all comes to.
    Figures { reply: oneshot::Sender<Figures> },
    /// Somebody wants to know what happened.
    History { reply: oneshot::Sender<Vec<Happening>> },
    /// Somebody wants a checkpoint.
    Checkpoint { reply: oneshot::Sender<Result<CheckpointTaken, Failure>> },
    /// Somebody wants to know whether the disk has a checkpoint.
    VerifyCheckpoint { position: Position, reply: oneshot::Sender<Result<(), Failure>> },
    /// Somebody wants another leader.
    HandOver {
        to: Option<Ordinal>,
        timeout: std::time::Duration,
        reply: oneshot::Sender<Result<HandedOver, Failure>>,
    },
    /// The settings have changed.
    Retime { timing: Timing, reply: oneshot::Sender<()> },
    /// The store is to have another number of members, or they are elsewhere.
    Resize { members: u8, peers: Vec<String>, reply: oneshot::Sender<()> },
    /// A person wants to start from this member although it may have lost writes, if the store is in this epoch.
    ForceStart { epoch: Term, reply: oneshot::Sender<Result<ForcedStarted, Failure>> },
    /// Somebody wants other faults on purpose.
    Faults { change: FaultsChange, reply: oneshot::Sender<Result<FaultsStatus, Failure>> },
    /// The member is about to be told to stop: it does not need to lead until then.
    StepAside,
    /// The member has to stop.
    ShutDown { reply: oneshot::Sender<()> },
    /// The member is dropped: it ends where it stands.
    Crash,

    /// A peer's engine said something.
    Message { from: MemberId, message: Message },
    /// A peer passes a write on.
    Forwarded { from: Ordinal, id: u64, concern: WriteConcern, timeout_ms: u32, command: Bytes },
    /// A peer passes the wish for another leader on.
    HandOverForwarded { from: Ordinal, id: u64, to: Option<Ordinal>, timeout_ms: u32 },
    /// A peer answers what this member passed on.
    ForwardReplied { from: Ordinal, id: u64, body: Bytes },
    /// A peer is about to end and has answered what it was passed on.
    Leaving { from: Ordinal },
    /// A peer has heard that this member is, and passes nothing on to it any more.
    Farewell { from: Ordinal },
    /// A peer tells what its state was.
    Fingerprint { from: Ordinal, fingerprint: Fingerprint },
    /// A peer repairs its log and lacks the entries after `after` up to `anchor`.
    LostEntries { anchor: Position, after: Index, reply: oneshot::Sender<Given> },
    /// The connection to a peer is established.
    Reachable { peer: MemberId },
    /// A connection with a peer ended, without saying that its process did: what was on it may be lost.
    Unreachable { peer: Ordinal },
    /// The connection from a peer ended.
    Lost { peer: MemberId },

    /// The authority has answered.
    Authority { token: QuestionToken, verdict: Verdict },
    /// The disk has done all writes up to this one, or has failed.
    Durable { result: Result<Ticket, WriteError> },
    /// Reading the disk again found something that is not as it was written, or cannot be read.
    Damaged { damage: Damage },
    /// A checkpoint of this member's own is durable, or is not.
    CheckpointWritten { result: Result<Cut, CheckpointFailure> },
    /// A checkpoint of another member is durable here, and its state is ready; or it is not.
    CheckpointFetched {
        /// Which of the core's wishes this was.
        transfer: u64,
        result: Result<Fetched, FetchError>,
    },
}

impl Event {
    /// How many requests of clients it stands for, or one.
    pub(crate) fn count(&self) -> usize {
        match self {
            Event::Asked { asked, .. } => asked.len(),
            _ => 1,
        }
    }

    /// Bytes that wait with the event, apart from itself; only those that somebody else decides on.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Event::Write { request, .. } => request.command.len(),
            Event::Asked { asked, .. } => asked.iter().map(Asked::command_bytes).sum(),
            Event::Forwarded { command, .. } => command.len(),
            Event::ForwardReplied { body, .. } => body.len(),
            Event::Message { message: Message::Append { entries, .. }, .. } => {
                entries.iter().map(|entry| entry.record_bytes()).sum()
            }
            _ => 0,
        }
    }
}
