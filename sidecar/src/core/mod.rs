//! The core of a member: one thread that owns the engine and the state, and the [`Handle`] to ask it.
//!
//! Everything that happens to a member is an event in one bounded queue. The core refuses to wait for anything else:
//! disk, network and clients are told what to do and report back by events.

mod asking;
mod checkpoints;
mod cutting;
mod delays;
mod disk;
mod effects;
pub(crate) mod event;
mod fingerprints;
mod follows;
mod hand_overs;
mod handle;
mod held;
mod history;
mod look_ups;
mod member_error;
mod members;
mod messages;
pub(crate) mod queue;
mod reads;
mod requests;
mod run;
mod status;
mod stopping;
mod terms;
mod verification;
mod watches;
mod writes;

use std::sync::Arc;

use holdfast_engine::{
    Checkpoint, Config, Effects, Engine, Formation, MEMBERS_MAX, MemberId, Membership, Moment, Restored,
    Role, Term,
};
use holdfast_storage::LogWriter;
use holdfast_store::{Revision, Store, View};

pub use delays::Faults;
pub use follows::{Follower, Tail};
pub use handle::{
    Answer, CheckpointTaken, Consistency, Failure, FaultsChange, Figures, HandedOver, Handle, Query,
    ReadReply, ReadRequest, RefusalCode, Timing, WatchBatch, WatchEnd, WriteRequest, Written,
};
pub use history::{Happening, What};
pub use member_error::{Broken, Damage};
pub use watches::WatchStream;

use self::asking::{HandOver, Write};
use self::checkpoints::Checkpoints;
use self::delays::Delays;
use self::disk::Disk;
use self::fingerprints::Fingerprints;
use self::follows::Follows;
use self::held::{Forwarded, Held};
use self::history::History;
use self::messages::Leaderless;
use self::queue::Queue;
use self::reads::Reads;
use self::run::Clock;
use self::stopping::Stopping;
use self::terms::Terms;
use self::watches::Watches;
use self::writes::{Done, Writes};
use crate::authority::Asker;
use crate::metrics::Metrics;
use crate::native::Unsent;
use crate::peers::{Shared, Transfer};

pub(crate) use self::checkpoints::CheckpointSettings;
pub(crate) use self::members::wanted;

/// What the core starts from.
pub(crate) struct CoreOptions {
    /// The engine's settings.
    pub(crate) config: Config,
    /// How many members the store is to have.
    pub(crate) members: u8,
    /// What the disk remembers.
    pub(crate) restored: Restored,
    /// The state at the restored checkpoint; empty without one.
    pub(crate) store: Store,
    /// The way to the disk.
    pub(crate) writer: LogWriter,
    /// Whether log and votes are on disk.
    pub(crate) log_kept: bool,
    /// When and where checkpoints are written.
    pub(crate) checkpoints: CheckpointSettings,
    /// The store's name.
    pub(crate) store_name: String,
    /// What it does wrong on purpose.
    pub(crate) faults: Faults,
    /// The way to what decides in the store, if that is not a majority.
    pub(crate) authority: Option<Asker>,
    /// What a person should know about this start.
    pub(crate) note: Option<String>,
    /// The way in.
    pub(crate) queue: Arc<Queue>,
    /// The connections.
    pub(crate) peers: Arc<Shared>,
    /// Where it is counted.
    pub(crate) metrics: Metrics,
}

/// One member's core. Its parts are in the modules beside this one, by concern.
pub(crate) struct Core {
    me: MemberId,
    /// How many members the store is to have.
    members: u8,
    /// Until when a store that is not formed waits for members that are to go.
    leavers_until: Option<Moment>,
    store_name: String,
    note: Option<String>,
    clock: Clock,
    /// The time of this round.
    now: Moment,
    queue: Arc<Queue>,
    peers: Arc<Shared>,
    metrics: Metrics,
    engine: Engine,
    /// What the engine wants done, since it was last carried out.
    effects: Effects,
    /// The role as it was last carried out.
    role: Role,
    /// The last leader that this member knew, and its term.
    last_leader: Option<(MemberId, Term)>,
    formation: Option<Formation>,
    /// Who votes by what is committed.
    voters: Membership,
    election_timeout: std::time::Duration,
    log_kept: bool,
    /// What it holds back on purpose.
    delays: Delays,
    authority: Option<Asker>,
    disk: Disk,
    store: Store,
    terms: Terms,
    fingerprints: Fingerprints,
    /// Writes that this member proposes, as the leader, before anything is carried out.
    proposals: Vec<Write>,
    writes: Writes,
    /// Writes with a verdict, not answered yet.
    done: Done,
    /// Answers to clients that are not sent yet.
    unsent: Unsent,
    held: Held,
    forwarded: Forwarded,
    /// Who led and who was lost.
    history: History,
    leaderless: Leaderless,
    hand_overs: Vec<HandOver>,
    reads: Reads,
    watches: Watches,
    follows: Follows,
    checkpoints: Checkpoints,
    /// The checkpoint that is being fetched.
    fetching: Option<Transfer>,
    /// A fetched checkpoint's state, until the engine says to use it.
    fetched: Option<(Checkpoint, Box<Store>)>,
    /// When each peer was last heard of, and who it was.
    heard: [Option<(MemberId, Moment)>; MEMBERS_MAX],
    /// Peers that are about to end, by ordinal: nothing is passed on to them.
    leaving: [bool; MEMBERS_MAX],
    /// Peers that something was put into the buffer for, by ordinal.
    unflushed: [bool; MEMBERS_MAX],
    /// Names for proposals and reads.
    last_token: u64,
    stopping: Option<Stopping>,
}

impl Core {
    /// A core that has not taken any event yet.
    pub(crate) fn new(options: CoreOptions) -> Core {
        let clock = Clock::start();
        let now = clock.now();
        let start = options.restored.checkpoint.map(|checkpoint| checkpoint.position).unwrap_or_default();
        let formation = options.restored.formation.clone();
        let (me, members) = (options.config.me, options.members);
        let election_timeout = options.config.election_timeout;
        let engine = Engine::new(options.config, options.restored, now);
        assert_eq!(options.store.committed(), start.index, "the state is the checkpoint's");
        Core {
            me,
            members,
            leavers_until: members::leavers_until(formation.is_some(), now),
            store_name: options.store_name,
            note: options.note,
            clock,
            now,
            queue: options.queue,
            peers: options.peers,
            metrics: options.metrics,
            role: engine.role(),
            last_leader: None,
            voters: engine.membership_at(start.index),
            engine,
            effects: Effects::default(),
            formation,
            election_timeout,
            log_kept: options.log_kept,
            delays: Delays::new(options.faults),
            authority: options.authority,
            disk: Disk::new(options.writer),
            store: options.store,
            terms: Terms::after(start),
            fingerprints: Fingerprints::default(),
            proposals: Vec::new(),
            writes: Writes::default(),
            done: Done::new(),
            unsent: Unsent::default(),
            held: Held::default(),
            forwarded: Forwarded::default(),
            history: History::default(),
            leaderless: Leaderless::since(now),
            hand_overs: Vec::new(),
            reads: Reads::default(),
            watches: Watches::default(),
            follows: Follows::default(),
            checkpoints: Checkpoints::new(options.checkpoints, now),
            fetching: None,
            fetched: None,
            heard: Default::default(),
            leaving: Default::default(),
            unflushed: Default::default(),
            // Never used again after a restart: a late answer must not meet another question of the same name.
            last_token: crate::peers::random() >> 1,
            stopping: None,
        }
    }

    /// The revision that everybody may see.
    fn committed_revision(&self) -> Revision {
        self.store.revision(View::Committed)
    }

    fn next_token(&mut self) -> u64 {
        self.last_token += 1;
        self.last_token
    }
}
