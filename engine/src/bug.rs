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
    /// A leader commits what a majority has in memory.
    CommitOnWritten,
    /// Half of the members commits, less than a majority.
    CommitOnHalf,
    /// Half of an even number of members elects.
    ElectionRoundsDown,
    /// The end of one flush counts for every write that was asked for by then: completions out of order.
    OneFlushCompletesAll,
    /// A follower acknowledges all of its log, also what the leader has not confirmed to be the same.
    AckWholeLog,
    /// A follower commits by a heartbeat what it has not compared with the leader's log.
    CommitBeyondMatched,
    /// Pre-votes are not forgotten when the votes are counted.
    PreVotesCountAsVotes,
    /// Who has no vote campaigns, and counts its own.
    LearnerCampaigns,
    /// A member campaigns without asking first who would vote for it.
    SkipsPreVote,
    /// A leader that hears nobody goes on leading.
    NeverStepsDown,
    /// A leader that steps down answers the reads that wait.
    DeposedAnswersReads,
    /// A change of the voters counts when it is committed, not when it is appended.
    MembershipFromCommit,
    /// A change of the voters begins before the one before it is committed.
    ChangesOverlap,
    /// A change of the voters that was cut off the log still counts.
    MembershipSurvivesCut,
    /// Who fetches a checkpoint goes on with the voters of its former log.
    CheckpointForgetsMembership,
    /// A member does not care that it has less than it once acknowledged.
    ReceiptIgnored,
    /// Ordinal 0 forms a store without hearing from everybody that there is none.
    FormsWithoutAsking,
    /// A checkpoint whose transfer failed is never fetched again.
    FailedFetchForgotten,
    /// A hand-over to a member that does not take over is never given up.
    HandOverNeverEnds,
    /// What is committed still counts against the bound on what is not.
    UncommittedBytesLeak,
    /// Who finds that the authority holds nothing makes it up, although the store has been in use.
    MakesAuthorityUpAgain,
    /// What the authority holds is believed although it is older than what was seen.
    BelievesOlderAuthority,
    /// A member claims to lead that is not in sync.
    AnyoneClaims,
    /// A member that forgot everything claims to lead because its former life was in sync.
    AmnesiacClaims,
    /// A primary that was killed leads on in the term of its former life.
    SecondLifeKeepsTerm,
    /// A member is taken in before the new primary knows what is committed.
    TakesInBeforeFirstCommit,
    /// A member that is to be taken in does not count before it is known that the authority has it.
    CountsWhenTakenIn,
    /// A member is taken in that has not caught up.
    TakesInWhoLags,
    /// Entries count as committed without a member that is to be taken out, before it is known that it was.
    ActsOnUnsettledChange,
    /// A change whose answer did not come is taken to have happened.
    UnknownIsDone,
    /// A primary that learns at the authority that another one took over goes on.
    DeposedGoesOn,
    /// One other member confirms reads where only all that are in sync may.
    OneConfirmsReads,
    /// A member whose committed entries a person's forced start gave up does not notice, and follows the new primary.
    OverruledGoesOn,
}

#[cfg(feature = "seeded-bugs")]
impl Bug {
    /// All that majority mode can have.
    pub const ALL: [Bug; 35] = [
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
        Bug::CommitOnWritten,
        Bug::CommitOnHalf,
        Bug::ElectionRoundsDown,
        Bug::OneFlushCompletesAll,
        Bug::AckWholeLog,
        Bug::CommitBeyondMatched,
        Bug::PreVotesCountAsVotes,
        Bug::LearnerCampaigns,
        Bug::SkipsPreVote,
        Bug::NeverStepsDown,
        Bug::DeposedAnswersReads,
        Bug::MembershipFromCommit,
        Bug::ChangesOverlap,
        Bug::MembershipSurvivesCut,
        Bug::CheckpointForgetsMembership,
        Bug::ReceiptIgnored,
        Bug::FormsWithoutAsking,
        Bug::FailedFetchForgotten,
        Bug::HandOverNeverEnds,
        Bug::UncommittedBytesLeak,
    ];

    /// Those of in-sync mode alone.
    pub const OF_IN_SYNC: [Bug; 13] = [
        Bug::MakesAuthorityUpAgain,
        Bug::BelievesOlderAuthority,
        Bug::AnyoneClaims,
        Bug::AmnesiacClaims,
        Bug::SecondLifeKeepsTerm,
        Bug::TakesInBeforeFirstCommit,
        Bug::CountsWhenTakenIn,
        Bug::TakesInWhoLags,
        Bug::ActsOnUnsettledChange,
        Bug::UnknownIsDone,
        Bug::DeposedGoesOn,
        Bug::OneConfirmsReads,
        Bug::OverruledGoesOn,
    ];
}
