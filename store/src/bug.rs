//! Bugs of the message logs that the simulator must find: each is a mistake that logs with deduplication are known for.
//! They exist only with the feature `seeded-bugs`, and only one that [`crate::Store::seed_bug`] names is active.

/// Whether these logs are to behave by one of the bugs; always false without the feature.
macro_rules! seeded {
    ($logs:expr, $bug:ident) => {{
        #[cfg(feature = "seeded-bugs")]
        let active = $logs.seeded.bug == Some(crate::Bug::$bug);
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
    /// A message that was undone is still found as a duplicate.
    UndoneStillFound,
    /// A message that was undone stays in its log.
    UndoneStaysInLog,
    /// What a log looks back to is not in its checkpoints.
    WindowLostInCheckpoint,
    /// A checkpoint shows messages that are not committed.
    CheckpointShowsTail,
    /// Each member looks back to what it happens to have in memory.
    LooksBackInMemory,
    /// A message gets its time when it is executed, by the clock of the member that does.
    TimeByOwnClock,
    /// A retry of the same attempt is appended again.
    RetryAppendedAgain,
    /// A retry of the same attempt is told that somebody else was first.
    RetryToldDuplicate,
    /// A duplicate is told the place of the last message.
    DuplicateNamesLast,
    /// A reader of what is committed sees what is not.
    CommittedShowsTail,
    /// What a log is to forget is gone before that is committed.
    ForgottenBeforeCommit,
    /// Times are those that came, also when they go back.
    TimeGoesBack,
}

#[cfg(feature = "seeded-bugs")]
impl Bug {
    /// All of them.
    pub const ALL: [Bug; 12] = [
        Bug::UndoneStillFound,
        Bug::UndoneStaysInLog,
        Bug::WindowLostInCheckpoint,
        Bug::CheckpointShowsTail,
        Bug::LooksBackInMemory,
        Bug::TimeByOwnClock,
        Bug::RetryAppendedAgain,
        Bug::RetryToldDuplicate,
        Bug::DuplicateNamesLast,
        Bug::CommittedShowsTail,
        Bug::ForgottenBeforeCommit,
        Bug::TimeGoesBack,
    ];
}

/// The mistake that is active, and what it takes to make it.
#[cfg(feature = "seeded-bugs")]
#[derive(Debug, Default)]
pub(crate) struct Seeded {
    pub(crate) bug: Option<Bug>,
    /// How far the member's own clock is ahead.
    pub(crate) ahead_ms: u64,
    /// Messages that were undone.
    pub(crate) undone: std::collections::BTreeMap<(String, crate::MessageHash), (crate::Sequence, u64)>,
}
