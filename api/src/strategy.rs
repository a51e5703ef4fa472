//! What a store does against faults: [`Strategy`], [`Consensus`], [`Durability`], and the values that follow from them
//! when a user leaves them out. Which combinations are allowed is said once, in the kind's rules and in
//! [`crate::Settings::validate`].

use serde::{Deserialize, Serialize};

use crate::Span;

/// What a store does against faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "kind", derive(schemars::JsonSchema))]
pub enum Strategy {
    /// One member that keeps nothing: after its process ends, the state is gone.
    Baseline,
    /// One member that writes a checkpoint every interval: after its process ends, later writes are gone.
    Checkpointing,
    /// Members that hold the same log: another one leads when one is lost.
    #[default]
    Replication,
    /// Replication, and a checkpoint every interval.
    Hybrid,
}

/// Which members must hold a write before it is committed, and who may lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "kind", derive(schemars::JsonSchema))]
pub enum Consensus {
    /// A majority of the members (Raft).
    #[default]
    Majority,
    /// Every member that is in sync (PacificA): with three members the store survives the loss of two, by an authority
    /// outside that decides who leads.
    InSync,
}

/// Where a member keeps its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "kind", derive(schemars::JsonSchema))]
pub enum Durability {
    /// In files, and an acknowledged write is on the disk.
    Disk,
    /// Nowhere: a member forgets everything when its process ends.
    Memory,
}

/// How checkpoints are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "kind", derive(schemars::JsonSchema))]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// By LZ4: smaller, for a little of the processor's time.
    Lz4,
}

impl Compression {
    /// Whether they are written as they are.
    pub fn is_none(&self) -> bool {
        *self == Compression::None
    }
}

impl Strategy {
    /// Whether several members may hold the state. The others have one and keep no log.
    pub const fn replicates(self) -> bool {
        matches!(self, Strategy::Replication | Strategy::Hybrid)
    }

    /// Whether a checkpoint is taken every interval.
    pub const fn takes_checkpoints(self) -> bool {
        matches!(self, Strategy::Checkpointing | Strategy::Hybrid)
    }

    /// The durability of a store that names none. Only Replication can have the other one too, with several members.
    pub const fn durability(self) -> Durability {
        if self.replicates() { Durability::Disk } else { Durability::Memory }
    }

    /// The time between checkpoints of a store that names none. All writes since the last checkpoint are at stake in
    /// Checkpointing; in Hybrid only if every member is lost.
    pub const fn checkpoint_interval(self) -> Option<Span> {
        match self {
            Strategy::Checkpointing => Some(Span::from_secs(30)),
            Strategy::Hybrid => Some(Span::from_secs(300)),
            Strategy::Baseline | Strategy::Replication => None,
        }
    }

    /// The name, as in a manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Strategy::Baseline => "Baseline",
            Strategy::Checkpointing => "Checkpointing",
            Strategy::Replication => "Replication",
            Strategy::Hybrid => "Hybrid",
        }
    }
}

/// How many members a store has that does not say.
pub const REPLICAS_DEFAULT: u8 = 3;
/// How often a leader lets its followers know that it lives.
pub const HEARTBEAT_INTERVAL_DEFAULT: Span = Span::from_millis(100);
/// After so long without word from the leader a follower campaigns.
pub const HEARTBEAT_TIMEOUT_DEFAULT: Span = Span::from_secs(1);
/// `heartbeat.timeout` is at least so many intervals: one lost packet must not depose a leader.
pub const HEARTBEAT_TIMEOUT_INTERVALS_MIN: u32 = 3;
/// Shortest heartbeat interval. Below it a busy core spends its time on heartbeats.
pub const HEARTBEAT_INTERVAL_MIN: Span = Span::from_millis(10);
/// Longest heartbeat timeout. Beyond it nobody would notice a dead leader.
pub const HEARTBEAT_TIMEOUT_MAX: Span = Span::from_secs(600);
/// How many checkpoints are kept, if nobody says.
pub const CHECKPOINT_RETAIN_DEFAULT: u8 = 3;
/// Most checkpoints that can be kept. Each is a whole copy of the state.
pub const CHECKPOINT_RETAIN_MAX: u8 = 50;
/// Shortest time between checkpoints. Each writes the whole state.
pub const CHECKPOINT_INTERVAL_MIN: Span = Span::from_secs(1);
/// Longest time between checkpoints: a day.
pub const CHECKPOINT_INTERVAL_MAX: Span = Span::from_secs(24 * 3600);
