//! The message logs: [`Logs`], each a sequence of messages that is only added to at its end.
//!
//! It refuses to know the time and the keyspace. What a log forgets, and what it takes for a duplicate, is decided from
//! the entries alone.

pub(crate) mod checkpoint;
mod duplicates;
mod log;
mod message;
mod read;
mod record;
mod restoring;
mod settings;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use holdfast_engine::Index;

use self::log::{Log, Records, State};
pub use self::message::{Append, Message, MessageHash, Sequence};
pub use self::read::{LogError, LogState, MessagesPage, MessagesQuery};
pub(crate) use self::restoring::{Begun, Restored, RestoringLogs};
pub use self::settings::{Deduplication, LogSettings, Setting};
use crate::bug::seeded;
use crate::undo::Marks;
use crate::{LOG_NAME_BYTES_MAX, Limits, MESSAGE_BYTES_MAX, MESSAGE_KEY_BYTES_MAX, Outcome, Reason};

/// Records of a deleted log that are dropped in one step.
const RECORDS_PER_STEP: usize = 4;

/// What one entry did to a log.
#[derive(Debug)]
struct Change {
    entry: Index,
    log: Arc<str>,
    /// `None`: it did not exist.
    before: Option<State>,
    /// `None`: it does not exist any more, and is the first in `deleted` when this is committed.
    after: Option<State>,
}

/// All message logs.
///
/// Invariants: `changes` are those of the entries that are not committed, in their order; `deleted` has one log for each
/// of them that deletes one, in the same order.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    logs: BTreeMap<Arc<str>, Log>,
    /// Deleted by entries that are not committed. Readers of the committed state still see them.
    deleted: VecDeque<(Arc<str>, Log)>,
    changes: VecDeque<Change>,
    /// Logs that hold what nobody can see any more.
    pruning: BTreeSet<Arc<str>>,
    /// What is left of logs that are deleted for good.
    garbage: VecDeque<Records>,
    #[cfg(feature = "seeded-bugs")]
    seeded: crate::bug::Seeded,
}

/// The name that these bytes are.
pub(crate) fn checked_name(bytes: &[u8]) -> Result<&str, Reason> {
    let named = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let possible = (1..=LOG_NAME_BYTES_MAX).contains(&bytes.len())
        && bytes.iter().all(named)
        // Clients and proxies take these out of paths.
        && bytes != b"."
        && bytes != b"..";
    let name = str::from_utf8(bytes).ok().filter(|_| possible);
    name.ok_or(Reason::LogNameInvalid)
}

fn check_message(append: &Append<&[u8]>) -> Result<(), Reason> {
    let bytes = append.message.len();
    if bytes > MESSAGE_BYTES_MAX {
        return Err(Reason::MessageTooLarge { bytes: bytes as u64 });
    }
    match append.key.map(<[u8]>::len) {
        Some(bytes) if !(1..=MESSAGE_KEY_BYTES_MAX).contains(&bytes) => {
            Err(Reason::MessageKeyInvalid { bytes: bytes as u64 })
        }
        _ => Ok(()),
    }
}

impl Logs {
    /// Add a message, unless it is there already.
    pub(crate) fn append(
        &mut self,
        entry: Index,
        marks: &mut Marks,
        limits: &Limits,
        append: &Append<&[u8]>,
    ) -> Result<Outcome, Reason> {
        let name = checked_name(append.log)?;
        check_message(append)?;
        let hash = MessageHash::of(append.message);
        #[cfg(feature = "seeded-bugs")]
        let append = &self.seeded_time(name, append);
        if let Some(known) = self.known(name, append, hash) {
            return known;
        }
        let settings = LogSettings::default();
        let goes_back = seeded!(self, TimeGoesBack);
        let add = |log: &mut Log| log.append(append, hash, goes_back);
        let after = self.change(entry, marks, limits, name, Some(settings), add)?;
        Ok(Outcome::Appended { sequence: Sequence(after.at.next.0 - 1), time_ms: after.at.time_ms, hash })
    }

    /// What to say of a message that is there already.
    fn known(
        &self,
        name: &str,
        append: &Append<&[u8]>,
        hash: MessageHash,
    ) -> Option<Result<Outcome, Reason>> {
        #[cfg(feature = "seeded-bugs")]
        if let Some((sequence, time_ms)) = self.seeded_undone(name, hash) {
            return Some(Ok(Outcome::Duplicate { sequence, time_ms, hash }));
        }
        let log = self.logs.get(name)?;
        let from = log.looks_back_to(seeded!(self, LooksBackInMemory));
        let (sequence, record) = log.find(from, hash, append.key)?;
        let time_ms = record.time_ms;
        if record.hash != hash {
            return Some(Err(Reason::KeyReused { sequence }));
        }
        if record.attempt == append.attempt && !seeded!(self, RetryToldDuplicate) {
            let again = seeded!(self, RetryAppendedAgain);
            return (!again).then_some(Ok(Outcome::Appended { sequence, time_ms, hash }));
        }
        let last = Sequence(log.state.at.next.0 - 1);
        let sequence = if seeded!(self, DuplicateNamesLast) { last } else { sequence };
        Some(Ok(Outcome::Duplicate { sequence, time_ms, hash }))
    }

    /// Give a log other settings.
    pub(crate) fn configure(
        &mut self,
        entry: Index,
        marks: &mut Marks,
        limits: &Limits,
        log: &[u8],
        settings: LogSettings,
    ) -> Result<Outcome, Reason> {
        let name = checked_name(log)?;
        settings.check()?;
        let created = !self.logs.contains_key(name);
        let after = self.change(entry, marks, limits, name, Some(settings), |log| log.configure(settings))?;
        Ok(Outcome::LogConfigured { created, first: after.at.first, next: after.at.next })
    }

    /// Forget messages.
    pub(crate) fn trim(
        &mut self,
        entry: Index,
        marks: &mut Marks,
        limits: &Limits,
        log: &[u8],
        before: Sequence,
    ) -> Result<Outcome, Reason> {
        let name = checked_name(log)?;
        let at = self.logs.get(name).ok_or(Reason::LogNotFound)?.state.at;
        if before > at.next {
            return Err(Reason::FutureSequence { next: at.next });
        }
        if before <= at.first {
            return Ok(Outcome::LogTrimmed { first: at.first });
        }
        let after = self.change(entry, marks, limits, name, None, |log| log.trim(before))?;
        Ok(Outcome::LogTrimmed { first: after.at.first })
    }

    /// Forget a log.
    pub(crate) fn delete(&mut self, entry: Index, marks: &mut Marks, log: &[u8]) -> Result<Outcome, Reason> {
        let name = checked_name(log)?;
        let (name, log) = self.logs.remove_entry(name).ok_or(Reason::LogNotFound)?;
        let State { at, .. } = log.state;
        marks.logs -= 1;
        marks.messages -= at.messages();
        marks.log_bytes -= at.cost;
        let before = Some(log.state.clone());
        self.deleted.push_back((Arc::clone(&name), log));
        self.changes.push_back(Change { entry, log: name, before, after: None });
        Ok(Outcome::LogDeleted { messages: at.messages() })
    }

    /// Change a log, or one that is made with these settings; nothing is changed if that would be beyond the limits.
    fn change(
        &mut self,
        entry: Index,
        marks: &mut Marks,
        limits: &Limits,
        name: &str,
        settings: Option<LogSettings>,
        change: impl FnOnce(&mut Log),
    ) -> Result<State, Reason> {
        let mut made = None;
        let (log, before) = match (self.logs.get_mut(name), settings) {
            (Some(log), _) => {
                let before = log.state.clone();
                (log, Some(before))
            }
            (None, None) => return Err(Reason::LogNotFound),
            (None, Some(settings)) if marks.logs < limits.logs as u64 => {
                (made.insert(Log::new(settings)), None)
            }
            (None, Some(_)) => return Err(Reason::TooManyLogs { logs: marks.logs }),
        };
        change(log);
        let after = log.state.clone();
        let counted = before.as_ref().map_or((0, 0), |before| (before.at.messages(), before.at.cost));
        let mut changed = *marks;
        changed.messages = changed.messages - counted.0 + after.at.messages();
        changed.log_bytes = changed.log_bytes - counted.1 + after.at.cost;
        let quota = limits.quota_bytes;
        if changed.quota_bytes() > quota && after.at.cost > counted.1 {
            if let Some(before) = before {
                log.undo(before);
            }
            return Err(Reason::QuotaExceeded { quota });
        }
        let name = match made {
            Some(log) => {
                changed.logs += 1;
                let name: Arc<str> = Arc::from(name);
                self.logs.insert(Arc::clone(&name), log);
                name
            }
            None => self.name(name),
        };
        *marks = changed;
        self.changes.push_back(Change { entry, log: name, before, after: Some(after.clone()) });
        Ok(after)
    }

    /// The name of a log that is there, without a copy.
    fn name(&self, name: &str) -> Arc<str> {
        let (name, _) = self.logs.get_key_value(name).expect("a log that was just changed");
        Arc::clone(name)
    }

    /// Where the log is that `entry` changed, if it changed one: what later outcomes depend on.
    pub(crate) fn figures(&self, entry: Index) -> Option<[u64; 4]> {
        let change = self.changes.back().filter(|change| change.entry == entry)?;
        let at = change.after.as_ref().map(|after| after.at);
        Some(at.map_or([0; 4], |at| [at.first.0, at.next.0, at.window.0, at.time_ms]))
    }

    /// Entries up to this one are committed.
    pub(crate) fn commit(&mut self, index: Index) {
        while let Some(change) = self.changes.pop_front_if(|change| change.entry <= index) {
            let Change { log: name, after, .. } = change;
            let Some(after) = after else {
                let (_, log) = self.deleted.pop_front().expect("a log for every deletion");
                self.pruning.remove(&name);
                self.garbage.push_back(log.into_records());
                continue;
            };
            // Deleted by a later entry, or there still.
            let deleted = self.deleted.iter_mut().find(|(deleted, _)| *deleted == name).map(|(_, log)| log);
            let Some(log) = deleted.or_else(|| self.logs.get_mut(&name)) else { continue };
            log.committed = Some(after);
            if log.is_prunable() {
                self.pruning.insert(name);
            }
        }
    }

    /// Entries after this one are undone.
    pub(crate) fn rollback(&mut self, index: Index) {
        while let Some(change) = self.changes.pop_back_if(|change| change.entry > index) {
            let Change { log: name, before, after, .. } = change;
            match (before, after) {
                (Some(_), None) => {
                    let (_, log) = self.deleted.pop_back().expect("a log for every deletion");
                    self.logs.insert(name, log);
                }
                (Some(before), Some(after)) => {
                    if seeded!(self, UndoneStaysInLog) && after.at.next > before.at.next {
                        continue;
                    }
                    #[cfg(feature = "seeded-bugs")]
                    self.seeded_undo(&name, &before, &after);
                    self.logs.get_mut(&name).expect("a log that was changed").undo(before);
                }
                (None, _) => {
                    self.logs.remove(&name);
                }
            }
        }
    }

    /// Give back memory of what nobody can see any more, in up to so many steps.
    pub(crate) fn prune(&mut self, steps: usize) {
        for _ in 0..steps {
            if let Some(records) = self.garbage.front_mut() {
                if !records.drop_some(RECORDS_PER_STEP) {
                    self.garbage.pop_front();
                }
                continue;
            }
            let Some(name) = self.pruning.first() else { return };
            if !self.logs.get_mut(name).is_some_and(Log::prune) {
                self.pruning.pop_first();
            }
        }
    }

    /// All logs of the committed state.
    fn all_committed(&self) -> BTreeMap<&Arc<str>, (&Log, &State)> {
        let there = self.logs.iter().chain(self.deleted.iter().map(|(name, log)| (name, log)));
        there.filter_map(|(name, log)| Some((name, (log, log.committed.as_ref()?)))).collect()
    }

    /// The log as a reader of the committed state finds it.
    fn committed(&self, name: &str) -> Option<(&Log, &State)> {
        let deleted = self.deleted.iter().find(|(deleted, _)| **deleted == *name).map(|(_, log)| log);
        let log = deleted.or_else(|| self.logs.get(name))?;
        Some((log, log.committed.as_ref()?))
    }
}

#[cfg(feature = "seeded-bugs")]
impl Logs {
    /// Behave by a bug from now on; the clock of this member is so far ahead.
    pub(crate) fn seed_bug(&mut self, bug: Option<crate::Bug>, ahead_ms: u64) {
        (self.seeded.bug, self.seeded.ahead_ms) = (bug, ahead_ms);
        if bug == Some(crate::Bug::WindowLostInCheckpoint) {
            self.logs.values_mut().for_each(Log::seed_no_window);
        }
    }

    fn seeded_time<'a>(&self, name: &str, append: &Append<&'a [u8]>) -> Append<&'a [u8]> {
        let last = self.logs.get(name).map_or(0, |log| log.state.at.time_ms);
        let time_ms = match self.seeded.bug {
            Some(crate::Bug::TimeByOwnClock) => append.time_ms.max(last) + self.seeded.ahead_ms,
            _ => append.time_ms,
        };
        Append { time_ms, ..append.clone() }
    }

    fn seeded_undone(&self, name: &str, hash: MessageHash) -> Option<(Sequence, u64)> {
        self.seeded.undone.get(&(name.to_owned(), hash)).copied()
    }

    fn seeded_undo(&mut self, name: &str, before: &State, after: &State) {
        if seeded!(self, UndoneStillFound) && after.at.next > before.at.next {
            let sequence = before.at.next;
            let hash = self.logs[name].records().get(sequence).hash;
            self.seeded.undone.insert((name.to_owned(), hash), (sequence, after.at.time_ms));
        }
    }
}

#[cfg(test)]
mod tests;
