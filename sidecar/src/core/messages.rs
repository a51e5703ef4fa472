//! Message logs at the core: which writes append, which of them may be asked for twice, and when none is taken.

use std::time::Duration;

use holdfast_engine::Moment;
use holdfast_store::{Append, Command, Deduplication, LogSettings, Operation, Outcome, Reason, View};

use super::Core;
use super::asking::{Asker, Write};
use super::handle::Written;

/// Whether the outcome is that of an append.
pub(crate) fn is_append(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Appended { .. }) || appends_nothing(outcome)
}

/// Whether the outcome is about a message that was there before.
pub(super) fn appends_nothing(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Duplicate { .. } | Outcome::Refused(Reason::KeyReused { .. }))
}

/// The append in a command, if it is one.
pub(super) fn append_in(command: &[u8]) -> Option<Append> {
    match Command::decode(command) {
        Ok(Command { operation: Operation::Append(append), .. }) => Some(append),
        _ => None,
    }
}

/// Without a leader for so long, the store is read-only: messages are refused at once instead of when their time, half a
/// minute by default, is up. As long as any other request waits by default: several elections at the default heartbeat
/// timeout.
const READ_ONLY_AFTER: Duration = Duration::from_secs(5);

/// With less time than this left nobody is asked again: the leader answers up to 50 ms early, so that its answer comes
/// in time.
const WORTH_ASKING: Duration = Duration::from_millis(100);

/// Since when nobody leads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaderless {
    since: Option<Moment>,
    /// Whether it has lasted, and those who waited were told.
    read_only: bool,
}

impl Leaderless {
    /// Nobody leads when a member starts.
    pub(super) fn since(now: Moment) -> Leaderless {
        Leaderless { since: Some(now), read_only: false }
    }

    /// Whether somebody leads has been looked at.
    pub(super) fn look(&mut self, leads: bool, now: Moment) {
        if leads {
            *self = Leaderless { since: None, read_only: false };
        } else {
            self.since.get_or_insert(now);
        }
    }

    /// When there is something to do at the earliest.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.since.filter(|_| !self.read_only).map(|since| since + READ_ONLY_AFTER)
    }

    /// Whether it becomes read-only now.
    fn turns(&mut self, now: Moment) -> bool {
        let turns = self.deadline().is_some_and(|deadline| deadline <= now);
        self.read_only |= turns;
        turns
    }
}

impl Core {
    /// If nobody has led for long: tell those that wait with a message, and say so.
    pub(super) fn turn_read_only(&mut self) {
        if !self.leaderless.turns(self.now) {
            return;
        }
        tracing::warn!("no leader is known: messages are refused until there is one; local reads go on");
        for write in self.held.take() {
            // It goes back if it is nothing to refuse.
            self.hold(write);
        }
    }

    /// Whether a write that found no leader is refused now. What was asked before without an answer is not: it may
    /// have been done, and a new leader will know.
    pub(super) fn is_refused_as_read_only(&self, write: &Write) -> bool {
        self.leaderless.read_only && !write.uncertain && append_in(&write.command).is_some()
    }

    /// Whether asking for a write twice is harmless: it has a session, or appends to a log that tells by itself that it
    /// has the message of this attempt already. The settings are those that this member knows of; should they change
    /// between two attempts, the log's rule is the one that was in force when the first came.
    pub(super) fn may_repeat(&self, write: &Write) -> bool {
        let appends_once = || append_in(&write.command).is_some_and(|append| self.deduplicates(&append));
        // Of what another member passed on, that one decides: it knows its client, and that an answer was lost.
        matches!(write.asker, Asker::Client(_)) && (write.retryable || appends_once())
    }

    /// Whether to ask again for a message that is stored where a former leader put it, with less than its concern: the
    /// leader of now finds it by its attempt, and waits for the rest.
    pub(super) fn waits_on(&self, write: &Write, written: &Written) -> bool {
        !written.satisfied
            && is_append(&written.outcome)
            && write.deadline > self.now + WORTH_ASKING
            && self.stopping.is_none()
            && self.may_repeat(write)
    }

    fn deduplicates(&self, append: &Append) -> bool {
        let settings = match self.store.log(&append.log, View::Executed) {
            Some(log) => log.settings,
            None => LogSettings::default(),
        };
        match settings.deduplication {
            Deduplication::Content => true,
            Deduplication::Key => append.key.is_some(),
            Deduplication::None => false,
        }
    }
}
