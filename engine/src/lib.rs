//! The replication engine: Raft, and PacificA with an authority outside, as one state machine that does no input or output.
//!
//! One [`Engine`] is one member's replication state. Whoever owns it calls [`Engine::step`] with the present
//! [`Moment`] and one [`Input`], and carries out the [`Effects`] that come back: write to disk, send, execute,
//! answer. The crate has no clock, socket, file or random source of its own; time and seed are arguments, so that
//! a whole cluster runs in one thread of the simulator and every run can be replayed from its seed.
//!
//! What it refuses to do: wait, retry on its own clock, or know what the commands in its log mean.

mod authority;
mod bug;
mod config;
mod engine;
mod entry;
mod identity;
mod log;
mod membership;
mod message;
mod moment;
mod position;
mod quorum;
mod random;
mod step;

pub use authority::{Configuration, Question, QuestionToken, Verdict};
#[cfg(feature = "seeded-bugs")]
pub use bug::Bug;
pub use config::{Config, Consensus, Restored};
pub use engine::{Engine, Given, Peer, Status};
pub use entry::{ENTRY_PAYLOAD_BYTES_MAX, Entry, EntryKind, RECORD_HEADER_BYTES, RecordError};
pub use identity::{Formation, Incarnation, MEMBERS_MAX, MemberId, Ordinal, StoreId};
pub use membership::Membership;
pub use message::{AppendOutcome, CampaignCause, Message, Receipt};
pub use moment::Moment;
pub use position::{Index, Position, Term};
pub use quorum::OrdinalSet;
pub use random::Random;
pub use step::{
    Apply, Checkpoint, Effects, HardState, Input, Outcast, Persist, Progress, ProposalToken, ReadToken,
    Refusal, Role, Ticket, Write, WriteConcern,
};
