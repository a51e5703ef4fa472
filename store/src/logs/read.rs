//! What can be asked of the message logs, and the answers: [`LogState`], [`MessagesQuery`], [`MessagesPage`].

use std::sync::Arc;

use bytes::Bytes;

use crate::bug::seeded;
use crate::logs::log::{Log, Positions, State};
use crate::logs::{Logs, Message};
use crate::{LogSettings, MESSAGES_BYTES_MAX, Sequence, View};

/// A log in one view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// Its name.
    pub name: Arc<str>,
    /// Its settings.
    pub settings: LogSettings,
    /// The first message that can be read; `next` if there is none.
    pub first: Sequence,
    /// The message that comes next.
    pub next: Sequence,
    /// Messages before this one are committed.
    pub committed_next: Sequence,
    /// Bytes of the messages that can be read, with their keys.
    pub bytes: u64,
    /// When the last message was taken, in milliseconds since 1970; 0 before the first.
    pub time_ms: u64,
}

/// Asks for messages of a log in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessagesQuery {
    /// The log's name.
    pub log: Bytes,
    /// The first one wanted. Those that the log has forgotten are skipped: the page says from where on it can be read.
    pub from: Sequence,
    /// Most messages in the answer.
    pub limit: usize,
    /// Most bytes of them with their keys; never more than [`MESSAGES_BYTES_MAX`].
    pub bytes_max: usize,
    /// Which state.
    pub view: View,
}

/// One page of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessagesPage {
    /// In order, without gaps. Not many more bytes than asked for: one message always fits, if the limit allows one.
    pub messages: Vec<Message>,
    /// Whether the view has messages after the last of these: ask again from the one after it.
    pub more: bool,
    /// The first message that can be read. If it is after the one asked for, those in between are forgotten.
    pub first: Sequence,
    /// The message that comes next in the view.
    pub next: Sequence,
    /// Messages before this one are committed.
    pub committed_next: Sequence,
}

/// Why a read of a log has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// There is no such log in the view.
    #[error("there is no such log")]
    NotFound,
}

/// A log as one view shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    log: &'a Log,
    state: &'a State,
    committed_next: Sequence,
}

impl<'a> Shown<'a> {
    fn executed(log: &'a Log) -> Shown<'a> {
        let committed_next = log.committed.as_ref().map_or(Sequence::FIRST, |committed| committed.at.next);
        Shown { log, state: &log.state, committed_next }
    }

    fn committed((log, state): (&'a Log, &'a State)) -> Shown<'a> {
        Shown { log, state, committed_next: state.at.next }
    }

    fn describe(self, name: &Arc<str>) -> LogState {
        let Positions { first, next, bytes, time_ms, .. } = self.state.at;
        let (settings, committed_next) = (*self.state.settings, self.committed_next);
        LogState { name: Arc::clone(name), settings, first, next, committed_next, bytes, time_ms }
    }

    fn message(self, sequence: Sequence) -> Option<Message> {
        let Positions { first, next, .. } = self.state.at;
        let record = (first..next).contains(&sequence).then(|| self.log.records().get(sequence))?;
        Some(record.read(sequence, sequence < self.committed_next))
    }
}

impl Logs {
    fn shown(&self, name: &[u8], view: View) -> Option<Shown<'_>> {
        let name = str::from_utf8(name).ok()?;
        match view {
            View::Committed if seeded!(self, CommittedShowsTail) => {
                let shown = Shown::executed(self.logs.get(name)?);
                Some(Shown { committed_next: shown.state.at.next, ..shown })
            }
            View::Committed => self.committed(name).map(Shown::committed),
            View::Executed => self.logs.get(name).map(Shown::executed),
        }
    }

    /// All logs of a view, by name.
    pub(crate) fn list(&self, view: View) -> Vec<LogState> {
        match view {
            View::Committed => self
                .all_committed()
                .into_iter()
                .map(|(name, log)| Shown::committed(log).describe(name))
                .collect(),
            View::Executed => {
                self.logs.iter().map(|(name, log)| Shown::executed(log).describe(name)).collect()
            }
        }
    }

    /// One log.
    pub(crate) fn describe(&self, name: &[u8], view: View) -> Option<LogState> {
        let shown = self.shown(name, view)?;
        Some(shown.describe(&Arc::from(str::from_utf8(name).ok()?)))
    }

    /// One message; `None` if it is forgotten or yet to come.
    pub(crate) fn message(
        &self,
        name: &[u8],
        sequence: Sequence,
        view: View,
    ) -> Result<Option<Message>, LogError> {
        Ok(self.shown(name, view).ok_or(LogError::NotFound)?.message(sequence))
    }

    /// A page of messages.
    pub(crate) fn messages(&self, query: &MessagesQuery) -> Result<MessagesPage, LogError> {
        let shown = self.shown(&query.log, query.view).ok_or(LogError::NotFound)?;
        let Positions { first, next, .. } = shown.state.at;
        let from = query.from.max(first);
        let gone = if seeded!(self, ForgottenBeforeCommit) { shown.log.state.at.first } else { first };
        let mut room = query.bytes_max.min(MESSAGES_BYTES_MAX);
        let mut messages = Vec::new();
        for sequence in (from.max(gone).0..next.0).map(Sequence).take(query.limit) {
            let Some(message) = shown.message(sequence) else { break };
            let bytes = message.message.len() + message.key.as_ref().map_or(0, Bytes::len);
            if bytes > room && !messages.is_empty() {
                break;
            }
            room = room.saturating_sub(bytes);
            messages.push(message);
        }
        let more = from.0 + (messages.len() as u64) < next.0;
        let committed_next = shown.committed_next;
        Ok(MessagesPage { messages, more, first, next, committed_next })
    }
}
