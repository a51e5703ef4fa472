//! What the rest of the sidecar may ask of the core: [`Handle`], its requests and its answers.
//!
//! A handle only carries questions to the core thread and answers back. It refuses to decide anything itself: who
//! leads, what is committed and what may be retried is known on the core thread alone.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_api::Probability;
use holdfast_api::http::{FaultsStatus, Status};
use holdfast_engine::{MemberId, Ordinal, OrdinalSet, Position, Term, WriteConcern};
use holdfast_storage::Compression;
use holdfast_store::{
    Event as StoreEvent, KeyValue, LogError, LogState, Message, MessagesPage, Outcome, Range, Revision,
    Sequence,
};
use tokio::runtime::Handle as Runtime;
use tokio::sync::oneshot;

use super::event::Event;
use super::follows::Follower;
use super::history::Happening;
use super::queue::{PushError, Queue};
use super::watches::WatchStream;
use crate::authority::ForcedStarted;
use crate::native::{Asked, Outbox};

/// A write on its way to the leader.
#[derive(Clone, Debug)]
pub struct WriteRequest {
    /// A [`holdfast_store::Command`], encoded; at most [`holdfast_engine::ENTRY_PAYLOAD_BYTES_MAX`] bytes.
    pub command: Bytes,
    /// What the answer waits for.
    pub concern: WriteConcern,
    /// How long the caller waits, from the call on.
    pub timeout: Duration,
    /// Whether the command carries a session's stamp: then applying it twice is harmless, and the member asks again
    /// by itself when it cannot tell what became of it.
    pub retryable: bool,
}

/// A write that is in the log to stay, as far as its concern says.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Where the write stands in the log.
    pub position: Position,
    /// What it did; also when it was refused by the state itself, such as by a precondition.
    pub outcome: Outcome,
    /// What the caller asked for.
    pub concern: WriteConcern,
    /// On how many members the write is known to be durable.
    pub reached: u8,
    /// Which members these are; none if that is not known, because the leader changed meanwhile.
    pub holders: OrdinalSet,
    /// Whether `concern` was met. `false`: the time was up before as many members as asked for had it.
    pub satisfied: bool,
    /// Whether no failover can undo it. Always so if `concern` was not met, but for messages of a log: of those it is
    /// also told that they are stored and not committed.
    pub committed: bool,
}

/// Why there is no answer of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing happened, and nothing of the request will.
    #[error("{detail}")]
    Refused {
        /// The stable name of the reason.
        code: RefusalCode,
        /// The reason in words, for people.
        detail: String,
        /// Whether the same request may succeed later.
        retryable: bool,
        /// When to try again at the earliest, if it is known.
        retry_after: Option<Duration>,
    },
    /// The request may or may not have taken effect, or may still.
    #[error("{detail}")]
    Unknown {
        /// What is known, in words, for people.
        detail: String,
    },
}

/// The reasons for which the core refuses a request; a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum RefusalCode {
    /// No leader was found within the request's time.
    NoLeader,
    /// The request came to a member that does not lead, and was not to be passed on.
    NotLeader,
    /// Too much is under way.
    Overloaded,
    /// The leader's disk is full, and the request makes the store larger.
    DiskFull,
    /// The member is stopping.
    ShuttingDown,
    /// The write concern asks for more members than there are.
    ConcernTooHigh,
    /// The request is larger than what the log takes.
    TooLarge,
    /// The revision that was asked for is compacted away.
    Compacted,
    /// The revision that was asked for does not exist yet.
    FutureRevision,
    /// The member has as many watches as it may have.
    TooManyWatches,
    /// No such member, or not one that can lead.
    NoSuchMember,
    /// Nobody took the leadership over in time; the leader goes on.
    HandOverFailed,
    /// This store takes no checkpoints, or this one could not be written.
    CheckpointFailed,
    /// The member may have no faults on purpose.
    FaultsDisabled,
    /// A start from a member that may have lost writes cannot be, or is not needed.
    ForceRefused,
}

/// A read.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// What to read.
    pub query: Query,
    /// How fresh the answer has to be.
    pub consistency: Consistency,
    /// How long the caller waits.
    pub timeout: Duration,
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// One key.
    Get {
        /// The key.
        key: Bytes,
        /// As of this revision; `None` is the newest.
        at: Option<Revision>,
    },
    /// Keys in order.
    Range {
        /// Only keys that begin so; empty for all.
        prefix: Bytes,
        /// Only keys after this one: the last key of the page before.
        after: Option<Bytes>,
        /// Most items in the answer.
        limit: usize,
        /// As of this revision; `None` is the newest.
        at: Option<Revision>,
    },
    /// All message logs.
    Logs,
    /// One message log.
    Log {
        /// Its name.
        log: Bytes,
    },
    /// Messages of a log in order.
    Messages {
        /// The log.
        log: Bytes,
        /// The first one; 0 is the oldest that is kept.
        from: Sequence,
        /// Most messages in the answer.
        limit: usize,
        /// Most bytes of messages in the answer, which has at least one message if there is one.
        bytes_max: usize,
    },
    /// One message.
    Message {
        /// The log.
        log: Bytes,
        /// Which one.
        sequence: Sequence,
    },
}

/// How fresh a read's answer has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// It shows every write that was acknowledged at the store's concern before the read began. Needs a leader and a
    /// majority.
    #[default]
    Linearizable,
    /// What this member has at hand, even if it is old, cut off, or may still be undone (writes with concern 1).
    Local,
    /// What this member knows to be committed: perhaps old, never undone.
    Committed,
}

/// The answer to a read.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadReply {
    /// The revision of the state that answered.
    pub revision: Revision,
    /// The answer.
    pub answer: Answer,
}

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// For [`Query::Get`]: the key, if it exists.
    Get(Option<KeyValue>),
    /// For [`Query::Range`].
    Range(Range),
    /// For [`Query::Logs`]: by name.
    Logs(Vec<LogState>),
    /// For [`Query::Log`]: if it exists.
    Log(Option<LogState>),
    /// For [`Query::Messages`].
    Messages(Result<MessagesPage, LogError>),
    /// For [`Query::Message`]: if the log has it already.
    Message(Result<Option<Message>, LogError>),
}

/// Events of committed writes, in order. All events of one revision are in one batch.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchBatch {
    /// At least one.
    pub events: Vec<StoreEvent>,
    /// A watch that goes on after this batch starts from the revision after this one.
    pub revision: Revision,
}

/// Why a watch ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchEnd {
    /// The reader was too slow for its buffer.
    #[error("the reader is too slow; go on from revision {}", resume.0)]
    TooSlow {
        /// The first revision that was not delivered.
        resume: Revision,
    },
    /// What comes next is compacted away.
    #[error("what comes next is compacted away, up to revision {}", compacted.0)]
    Compacted {
        /// The first revision that a new watch can start from.
        compacted: Revision,
    },
    /// The member is stopping.
    #[error("the member is stopping; go on from revision {} at another", resume.0)]
    ShuttingDown {
        /// The first revision that was not delivered.
        resume: Revision,
    },
}

/// A checkpoint that is durable on this member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointTaken {
    /// The last entry in it.
    pub position: Position,
    /// How many bytes of state it holds.
    pub bytes: u64,
    /// How long it took from the request on.
    pub took: Duration,
}

/// Leadership that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedOver {
    /// Who leads now.
    pub leader: Ordinal,
    /// In which term.
    pub term: Term,
}

/// Other faults on purpose; what is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultsChange {
    /// Whether there may be any.
    pub enabled: Option<bool>,
    /// How long messages with entries are held back.
    pub delay: Option<Duration>,
    /// How likely one is lost.
    pub failure: Option<Probability>,
}

/// Settings that take effect while the member runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader lets its followers know that it lives.
    pub heartbeat_interval: Duration,
    /// After so long without word from the leader a follower campaigns.
    pub heartbeat_timeout: Duration,
    /// How often a checkpoint is taken; `None`: only when the log has grown, or on request.
    pub checkpoint_interval: Option<Duration>,
    /// How many checkpoints are kept.
    pub checkpoint_retain: NonZeroUsize,
    /// How they are written.
    pub checkpoint_compression: Compression,
}

/// What the member's state and queues come to, for the metrics page; the rest is in its [`Status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Of the keyspace.
    pub statistics: holdfast_store::Statistics,
    /// Writes of this member's clients, and of other members' if it leads, that wait for their answer.
    pub writes_pending: usize,
    /// Reads that wait for their answer.
    pub reads_pending: usize,
    /// Messages that this member has in the log that clients of the replicated log use.
    pub messages: u64,
    /// Bytes of log in memory.
    pub log_bytes: usize,
    /// Whether the disk is full.
    pub disk_full: bool,
    /// For how long the oldest write that is not durable has been asked for.
    pub disk_waits: Duration,
}

/// The way to the core thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    queue: Arc<Queue>,
    me: MemberId,
    runtime: Runtime,
}

impl Handle {
    pub(crate) fn new(queue: Arc<Queue>, me: MemberId, runtime: Runtime) -> Handle {
        Handle { queue, me, runtime }
    }

    /// Where to run what talks to the core all the time: on its own thread, while it waits. Whatever runs there must be
    /// quick and is dropped when the core ends.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Whose core it is.
    pub fn member(&self) -> MemberId {
        self.me
    }

    /// Ask many things at once, which are answered into `outbox`; or give them back, if nothing of it was done.
    pub(crate) fn ask_all(
        &self,
        outbox: &Arc<Outbox>,
        asked: Vec<Asked>,
    ) -> Result<(), (Failure, Vec<Asked>)> {
        let event = Event::Asked { outbox: outbox.clone(), asked };
        self.queue.push_now(event).map_err(|(error, event)| match event {
            Event::Asked { asked, .. } => (error.into(), asked),
            _ => unreachable!("what was given is given back"),
        })
    }

    /// Write, through whoever leads.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] if nothing was written, [`Failure::Unknown`] if that cannot be told.
    pub async fn write(&self, request: WriteRequest) -> Result<Written, Failure> {
        self.ask(|reply| Event::Write { request, reply }, died).await?
    }

    /// Read.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`], also for a linearizable read that found no leader in time.
    pub async fn read(&self, request: ReadRequest) -> Result<ReadReply, Failure> {
        self.ask(|reply| Event::Read { request, reply }, Failure::stopping).await?
    }

    /// Follow committed writes under `prefix` from a revision on; `None` is from the next one.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] if the revision is compacted, or there are too many watches.
    pub async fn watch(&self, from: Option<Revision>, prefix: Bytes) -> Result<WatchStream, Failure> {
        self.ask(|reply| Event::Watch { from, prefix, reply }, Failure::stopping).await?
    }

    /// Hear how far a message log is, whenever that changes.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] if there are too many followers.
    pub async fn follow(&self, log: Bytes) -> Result<Follower, Failure> {
        self.ask(|reply| Event::Follow { log, reply }, Failure::stopping).await?
    }

    /// How this member is, and how it sees the others.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] if the core is overloaded or has ended.
    pub async fn status(&self) -> Result<Status, Failure> {
        self.ask(|reply| Event::Status { reply }, Failure::stopping).await
    }

    /// What the member's state and queues come to.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] if the core is overloaded or has ended.
    pub async fn figures(&self) -> Result<Figures, Failure> {
        self.ask(|reply| Event::Figures { reply }, Failure::stopping).await
    }

    /// Who led since when, and who was lost, as this member saw it: the last of it, the oldest first.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] if the core is overloaded or has ended.
    pub async fn history(&self) -> Result<Vec<Happening>, Failure> {
        self.ask(|reply| Event::History { reply }, Failure::stopping).await
    }

    /// Take a checkpoint now, or wait for the one that is being taken.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] if it could not be written.
    pub async fn checkpoint(&self) -> Result<CheckpointTaken, Failure> {
        self.ask(|reply| Event::Checkpoint { reply }, Failure::stopping).await?
    }

    /// Read the checkpoint at `position` back from the disk, all of it.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] if it is damaged, or not there any more, or if another one is being read back.
    pub async fn verify_checkpoint(&self, position: Position) -> Result<(), Failure> {
        self.ask(|reply| Event::VerifyCheckpoint { position, reply }, Failure::stopping).await?
    }

    /// Hand leadership over to `to`, or to the member that has most of the log. Any member takes the request.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] if there is no such member, no leader, or nobody took over.
    pub async fn hand_over(&self, to: Option<Ordinal>, timeout: Duration) -> Result<HandedOver, Failure> {
        self.ask(|reply| Event::HandOver { to, timeout, reply }, died).await?
    }

    /// Use new settings from now on.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] if the core is overloaded or has ended.
    pub async fn retime(&self, timing: Timing) -> Result<(), Failure> {
        self.ask(|reply| Event::Retime { timing, reply }, Failure::stopping).await
    }

    /// Start from this member, although it may have lost writes, if the store is in `epoch`.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] if somebody leads, the store is in another epoch, or no authority decides in it;
    /// [`Failure::Unknown`] if the authority does not answer.
    pub async fn force_start(&self, epoch: Term) -> Result<ForcedStarted, Failure> {
        self.ask(|reply| Event::ForceStart { epoch, reply }, died).await?
    }

    /// Have other faults on purpose from now on.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] if the member may have none.
    pub async fn set_faults(&self, change: FaultsChange) -> Result<FaultsStatus, Failure> {
        self.ask(|reply| Event::Faults { change, reply }, Failure::stopping).await?
    }

    /// The store is to have so many members from now on, `[1, MEMBERS_MAX]`, whose peer ports are at `peers`:
    /// `host:port` by ordinal, at least `members` of them. Further ones are of members that are to be removed; their votes
    /// count until then. Connections that are established stay.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] if the core is overloaded or has ended.
    pub async fn resize(&self, members: u8, peers: Vec<String>) -> Result<(), Failure> {
        self.ask(|reply| Event::Resize { members, peers, reply }, Failure::stopping).await
    }

    /// Let another member lead, if this one does; it goes on serving as a follower. For a member that is about to stop.
    pub fn step_aside(&self) {
        // An error means that the core has ended by itself.
        let _ = self.queue.push_always(Event::StepAside);
    }

    /// Hand over, finish what is under way, stop writing, and end the core thread. Returns when that is done; takes
    /// no new requests from the call on.
    pub async fn shut_down(&self) {
        let (reply, done) = oneshot::channel();
        if self.queue.push_always(Event::ShutDown { reply }).is_ok() {
            // An error means that the core has ended by itself, which is what was asked for.
            let _ = done.await;
        }
    }

    /// Put a question into the core's queue and wait for its answer. The core answers everything that it takes;
    /// `unanswered` is what it means if it ends before.
    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Event,
        unanswered: fn() -> Failure,
    ) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        self.queue.push_now(question(reply)).map_err(|(error, _)| Failure::from(error))?;
        answer.await.map_err(|_| unanswered())
    }
}

/// The member ended with a request that may have taken effect.
fn died() -> Failure {
    Failure::Unknown { detail: "the member stopped before it could answer".to_owned() }
}

/// What a refused caller is told to wait: about the time in which a full queue drains at the rate measured for one
/// member.
pub(crate) const OVERLOAD_PAUSE: Duration = Duration::from_millis(100);

impl From<PushError> for Failure {
    fn from(error: PushError) -> Failure {
        match error {
            PushError::Full => Failure::Refused {
                code: RefusalCode::Overloaded,
                detail: "too many requests wait for this member".to_owned(),
                retryable: true,
                retry_after: Some(OVERLOAD_PAUSE),
            },
            PushError::Closed => Failure::stopping(),
        }
    }
}

impl Failure {
    /// The member is stopping.
    pub(crate) fn stopping() -> Failure {
        Failure::Refused {
            code: RefusalCode::ShuttingDown,
            detail: "this member is stopping; ask another".to_owned(),
            retryable: true,
            retry_after: None,
        }
    }
}
