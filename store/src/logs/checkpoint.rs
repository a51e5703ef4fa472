//! Message logs in a checkpoint: what they are cut from, [`LogsSnapshot`], and the items that they are cut into.
//!
//! Of a message that can be read its bytes are in the checkpoint, and its hash is not; of one that only the window of
//! duplicates remembers it is the other way round.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bug::seeded;
use crate::checkpoint::{Chunk, Item, Raw};
use crate::logs::Logs;
use crate::logs::log::{Records, State};
use crate::{Deduplication, LogSettings, MessageHash, Sequence};

/// What a log's item takes beyond its name and what every item takes.
const LOG_BYTES: usize = 32;

/// What a message leaves at most, without its key: its hash.
const HASH_BYTES: usize = size_of::<MessageHash>();

/// What a log begins with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LogItem<'a> {
    pub(crate) settings: LogSettings,
    pub(crate) first: Sequence,
    pub(crate) next: Sequence,
    pub(crate) window: Sequence,
    pub(crate) time_ms: u64,
    /// At the end, so that who decodes it knows where it is.
    #[serde(borrow)]
    pub(crate) name: Raw<'a>,
}

/// One message; its place follows from the one before.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MessageItem<'a> {
    pub(crate) time_ms: u64,
    pub(crate) attempt: u64,
    #[serde(borrow)]
    pub(crate) key: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) content: Content<'a>,
}

/// What there is of a message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Content<'a> {
    /// All of it.
    Message(#[serde(borrow)] Raw<'a>),
    /// Its hash, for the window of duplicates.
    Hash(MessageHash),
}

/// What stands behind the last log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogsFooter {
    pub(crate) logs: u64,
    /// Also those of which only the window knows.
    pub(crate) messages: u64,
    /// What they count towards the quota.
    pub(crate) bytes: u64,
}

/// The committed message logs at one index.
#[derive(Debug)]
pub(crate) struct LogsSnapshot {
    logs: Vec<(Arc<str>, State, Records)>,
    /// What all of them count.
    bytes: u64,
}

/// Where the cutting has come to: the log, and the next message of it, if its beginning is cut.
#[derive(Clone, Copy, Default)]
pub(crate) struct LogsPlace {
    log: usize,
    message: Option<Sequence>,
    messages: u64,
}

impl fmt::Debug for LogsPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of log {}", self.message.unwrap_or_default(), self.log)
    }
}

impl Logs {
    /// What is committed. It shares everything, and shows for ever what was there.
    pub(crate) fn snapshot(&self) -> LogsSnapshot {
        let logs = self.all_committed().into_iter();
        let logs: Vec<_> = logs
            .map(|(name, (log, state))| {
                let state = if seeded!(self, CheckpointShowsTail) { &log.state } else { state };
                (Arc::clone(name), state.clone(), log.records().clone())
            })
            .collect();
        let bytes = logs.iter().map(|(_, state, _)| state.at.cost).sum();
        LogsSnapshot { logs, bytes }
    }
}

impl LogsSnapshot {
    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// Add logs and messages from `place` on, and what stands behind them; where to go on, if these were not all.
    pub(crate) fn add(&self, chunk: &mut Chunk, mut place: LogsPlace) -> Option<LogsPlace> {
        if self.is_empty() {
            return None;
        }
        while let Some((name, State { settings, at }, records)) = self.logs.get(place.log) {
            let start = match place.message {
                Some(message) => message,
                None if chunk.takes(name.len() + LOG_BYTES) => {
                    let (settings, name) = (**settings, Raw(name.as_bytes()));
                    let (first, next, window, time_ms) = (at.first, at.next, at.window, at.time_ms);
                    chunk.add(&Item::Log(LogItem { name, settings, first, next, window, time_ms }));
                    at.oldest()
                }
                None => return Some(place),
            };
            for sequence in (start.0..at.next.0).map(Sequence) {
                let record = records.get(sequence);
                let readable = sequence >= at.first;
                let keyed = readable || settings.deduplication == Deduplication::Key;
                let key = Some(record.key()).filter(|key| keyed && !key.is_empty()).map(Raw);
                let bytes = if readable { record.message().len() } else { HASH_BYTES };
                if !chunk.takes(bytes + key.map_or(0, |Raw(key)| key.len())) {
                    return Some(LogsPlace { message: Some(sequence), ..place });
                }
                let content = match readable {
                    true => Content::Message(Raw(record.message())),
                    false => Content::Hash(record.hash),
                };
                let (time_ms, attempt) = (record.time_ms, record.attempt);
                chunk.add(&Item::Message(MessageItem { time_ms, attempt, key, content }));
                place.messages += 1;
            }
            place = LogsPlace { log: place.log + 1, message: None, ..place };
        }
        if !chunk.takes(0) {
            return Some(place);
        }
        let (logs, messages) = (self.logs.len() as u64, place.messages);
        chunk.add(&Item::Logs(LogsFooter { logs, messages, bytes: self.bytes }));
        None
    }
}
