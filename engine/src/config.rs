//! What an engine is told when it starts: its settings, and what its disk remembers.

use std::time::Duration;

use crate::{Checkpoint, Entry, Formation, HardState, MemberId};

/// Settings of one engine. The owner may change the three times while it runs ([`crate::Engine::retime`]).
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this member is.
    pub me: MemberId,
    /// How many members the store is to have: ordinals `[0, members)`, `[1, MEMBERS_MAX]` of them. A leader brings the
    /// membership there by itself; [`crate::Engine::resize`] changes it.
    pub members: u8,
    /// What commits, and who may lead.
    pub consensus: Consensus,
    /// How often a leader lets its followers know that it lives.
    pub heartbeat_interval: Duration,
    /// After so long without word from a leader a follower campaigns, at a random time in `[1, 1.25)` of it; after so
    /// long without word from a majority a leader steps down. At least three heartbeat intervals.
    pub election_timeout: Duration,
    /// After a start, a member waits `ordinal` times this before it campaigns, so that the lowest one goes first; and
    /// after a lost connection so many times as there are lower ordinals without the one that was lost. A hint: nobody
    /// refuses a vote for it.
    pub campaign_stagger: Duration,
    /// Most bytes of entries in one [`crate::Message::Append`]; a single larger entry still goes.
    pub append_bytes_max: usize,
    /// Most unacknowledged [`crate::Message::Append`]s with entries to one follower.
    pub appends_in_flight_max: usize,
    /// Most bytes of entries that are not committed; proposals beyond it are refused.
    pub uncommitted_bytes_max: usize,
    /// A leader whose disk has not finished a write for so long hands over to a member whose disk works.
    pub disk_stall_max: Duration,
    /// Bytes of entries kept behind a checkpoint for followers that are a little behind.
    pub log_bytes_kept: usize,
    /// Source of all randomness; different for every member and every start.
    pub seed: u64,
    /// A bug to behave by.
    #[cfg(feature = "seeded-bugs")]
    pub bug: Option<crate::Bug>,
}

/// A store of one member with etcd's times, and no limit that a test would meet. A shell that sets every field still
/// ends with `..Config::default()`: it does not know whether another crate of the build has switched `seeded-bugs` on.
impl Default for Config {
    fn default() -> Config {
        Config {
            me: MemberId::default(),
            members: 1,
            consensus: Consensus::Majority,
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_secs(1),
            campaign_stagger: Duration::ZERO,
            disk_stall_max: Duration::from_secs(10),
            append_bytes_max: usize::MAX,
            appends_in_flight_max: usize::MAX,
            uncommitted_bytes_max: usize::MAX,
            log_bytes_kept: 0,
            seed: 0,
            #[cfg(feature = "seeded-bugs")]
            bug: None,
        }
    }
}

/// What commits an entry, and who may lead: all that the modes differ in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consensus {
    /// A majority of the voters has it; a majority votes. Survives fewer than half of the members, needs nobody else.
    #[default]
    Majority,
    /// Every member that is in sync has it; any of them may lead, by one compare-and-set at the authority. Survives all
    /// members but one.
    InSync {
        /// So many members stay in sync, whatever happens: with fewer of them alive nothing is committed. At least 1.
        min: u8,
    },
}

/// What a member's disk remembers. `Default` is an empty disk.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// How the store began, if this member was there or learned it.
    pub formation: Option<Formation>,
    /// Its term and vote.
    pub hard_state: HardState,
    /// The checkpoint that its state was restored from.
    pub checkpoint: Option<Checkpoint>,
    /// Its log, contiguous; the first entry is at most right after the checkpoint.
    pub entries: Vec<Entry>,
    /// It was part of a formed store in an earlier life and has forgotten what it held, so that it is not new: it joins
    /// a store that still is, but does not help to form one anew, unless it is the only member.
    pub formed_before: bool,
}
