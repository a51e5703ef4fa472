//! The closed sets that label values come from.

/// Why a proposal came to nothing, or may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalFailure {
    /// Nobody led before its time was up.
    NoLeader,
    /// More was under way than the member may hold.
    Overloaded,
    /// The leader was handing over.
    HandingOver,
    /// It was in a log when its time was up: the outcome is unknown.
    Timeout,
    /// It was in the log of a leader that lost its term: the outcome is unknown, or it was dropped.
    Lost,
}

/// How a checkpoint ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointResult {
    /// It is durable.
    Ok,
    /// It was given up; the next one is taken as if nothing had happened.
    Failed,
    /// It is durable, and could not be kept outside of the members too.
    NotOutside,
}

/// What became of a changed settings file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadResult {
    /// The changed times are in use.
    Applied,
    /// Part of it needs a restart and was not taken.
    Refused,
    /// It could not be read or did not make sense.
    Unreadable,
}

/// Why a connection to the peer port was turned away, or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerRefusal {
    /// The caller belongs to another store, or to another one of the same name.
    OtherStore,
    /// The caller's ordinal is none of the store's others.
    WrongOrdinal,
    /// The caller speaks no version that this member speaks.
    Version,
    /// The caller wants a checkpoint that is not here.
    NoCheckpoint,
    /// There are too many connections.
    Busy,
    /// The caller did not introduce itself, or not in time.
    NoGreeting,
    /// What came after the introduction is no frame, or not one that belongs there.
    Malformed,
}

/// What became of a message that a client of this member wanted to append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendResult {
    /// As many members as asked for have it.
    Reached,
    /// It is stored, but fewer members had it when the time was up.
    NotReached,
    /// It was there already.
    Duplicate,
    /// It was refused for another reason.
    Refused,
    /// Nobody can tell.
    Unknown,
}

/// Which of the member's HTTP listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Where applications talk to the store.
    Client,
    /// Where probes, scrapes and operators do.
    Admin,
}

impl ProposalFailure {
    pub(super) const ALL: [ProposalFailure; 5] = [
        ProposalFailure::NoLeader,
        ProposalFailure::Overloaded,
        ProposalFailure::HandingOver,
        ProposalFailure::Timeout,
        ProposalFailure::Lost,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            ProposalFailure::NoLeader => "no_leader",
            ProposalFailure::Overloaded => "overloaded",
            ProposalFailure::HandingOver => "handing_over",
            ProposalFailure::Timeout => "timeout",
            ProposalFailure::Lost => "lost",
        }
    }
}

impl PeerRefusal {
    pub(super) const ALL: [PeerRefusal; 7] = [
        PeerRefusal::OtherStore,
        PeerRefusal::WrongOrdinal,
        PeerRefusal::Version,
        PeerRefusal::NoCheckpoint,
        PeerRefusal::Busy,
        PeerRefusal::NoGreeting,
        PeerRefusal::Malformed,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            PeerRefusal::OtherStore => "other_store",
            PeerRefusal::WrongOrdinal => "wrong_ordinal",
            PeerRefusal::Version => "version",
            PeerRefusal::NoCheckpoint => "no_checkpoint",
            PeerRefusal::Busy => "busy",
            PeerRefusal::NoGreeting => "no_greeting",
            PeerRefusal::Malformed => "malformed",
        }
    }
}

impl AppendResult {
    pub(super) const ALL: [AppendResult; 5] = [
        AppendResult::Reached,
        AppendResult::NotReached,
        AppendResult::Duplicate,
        AppendResult::Refused,
        AppendResult::Unknown,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            AppendResult::Reached => "reached",
            AppendResult::NotReached => "not_reached",
            AppendResult::Duplicate => "duplicate",
            AppendResult::Refused => "refused",
            AppendResult::Unknown => "unknown",
        }
    }
}

impl CheckpointResult {
    pub(super) const ALL: [CheckpointResult; 3] =
        [CheckpointResult::Ok, CheckpointResult::Failed, CheckpointResult::NotOutside];

    pub(super) fn name(self) -> &'static str {
        match self {
            CheckpointResult::Ok => "ok",
            CheckpointResult::Failed => "failed",
            CheckpointResult::NotOutside => "not_outside",
        }
    }
}

impl ReloadResult {
    pub(super) const ALL: [ReloadResult; 3] =
        [ReloadResult::Applied, ReloadResult::Refused, ReloadResult::Unreadable];

    pub(super) fn name(self) -> &'static str {
        match self {
            ReloadResult::Applied => "applied",
            ReloadResult::Refused => "refused",
            ReloadResult::Unreadable => "unreadable",
        }
    }
}

impl Port {
    pub(super) const ALL: [Port; 2] = [Port::Client, Port::Admin];

    pub(super) fn name(self) -> &'static str {
        match self {
            Port::Client => "client",
            Port::Admin => "admin",
        }
    }
}
