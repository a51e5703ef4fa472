//! Bugs that the simulator must find: each is a mistake that a replication engine has really shipped with, or that the
//! papers warn of. They exist only with the feature `seeded-bugs`, and only one that `Config::bug` names is active.

/// Whether this engine is to behave by one of the bugs; always false without the feature.
macro_rules! seeded {
    ($engine:expr, $bug:ident) => {{
        #[cfg(feature = "seeded-bugs")]
        let active = $engine.config.bug == Some(crate::Bug::$bug);
        #[cfg(not(feature = "seeded-bugs"))]
        let active = false;
        active
    }};
}

pub(crate) use seeded;

/// One deliberate mistake.
#[cfg(feature = "seeded-bugs")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A follower says that entries are durable as soon as it has them.
    AcknowledgeBeforeDurable,
    /// A leader counts its own entries as durable as soon as it has them.
    LeaderCountsItselfEarly,
    /// A vote is sent before it is durable.
    VoteBeforeDurable,
    /// A member votes twice in one term.
    VoteTwice,
    /// A vote is given without comparing logs.
    VoteIgnoresLog,
    /// Entries of a deposed leader are accepted.
    AppendIgnoresTerm,
    /// Entries are accepted without looking at the one before them.
    AppendIgnoresPrevious,
    /// Every append cuts the log, also what a late, repeated message already brought.
    AppendAlwaysCuts,
    /// Entries of earlier terms are committed by counting (Raft, figure 8).
    CommitCountsOldTerms,
    /// A leader answers reads without asking whether it still leads.
    ReadWithoutRound,
    /// A new leader answers reads before it has committed an entry of its own term.
    ReadBeforeFirstCommit,
    /// A cut log still counts as durable up to where it was.
    DurableSurvivesCut,
    /// A member that lost its disk votes and counts as before.
    AmnesiacVotes,
    /// Effects of entries that a failover dropped are kept.
    RollbackForgotten,
    /// A fetched checkpoint is installed over a log that is already further.
    CheckpointOverNewerLog,
}

#[cfg(feature = "seeded-bugs")]
impl Bug {
    /// All of them.
    pub const ALL: [Bug; 15] = [
        Bug::AcknowledgeBeforeDurable,
        Bug::LeaderCountsItselfEarly,
        Bug::VoteBeforeDurable,
        Bug::VoteTwice,
        Bug::VoteIgnoresLog,
        Bug::AppendIgnoresTerm,
        Bug::AppendIgnoresPrevious,
        Bug::AppendAlwaysCuts,
        Bug::CommitCountsOldTerms,
        Bug::ReadWithoutRound,
        Bug::ReadBeforeFirstCommit,
        Bug::DurableSurvivesCut,
        Bug::AmnesiacVotes,
        Bug::RollbackForgotten,
        Bug::CheckpointOverNewerLog,
    ];
}
