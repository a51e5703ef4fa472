//! Message logs from the items of a checkpoint: [`RestoringLogs`].
//!
//! It takes nothing on trust but what nobody can check: the hash of a message that is forgotten, and its attempt.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::checkpoint::Raw;
use crate::logs::checkpoint::{Content, LogsFooter, MessageItem};
use crate::logs::duplicates::Duplicates;
use crate::logs::log::{Log, Positions, Records, State};
use crate::logs::record::Record;
use crate::logs::{Logs, checked_name};
use crate::restore::Fault;
use crate::undo::Marks;
use crate::{
    Deduplication, Limits, LogSettings, MESSAGE_BYTES, MESSAGE_BYTES_MAX, MESSAGE_KEY_BYTES_MAX, MessageHash,
    Sequence,
};

/// A message as it is in a checkpoint, without its place.
#[derive(Debug)]
pub(crate) struct Restored {
    record: Record,
    /// Whether its bytes are there.
    readable: bool,
}

/// A log as a checkpoint says that it is.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) settings: LogSettings,
    pub(crate) first: Sequence,
    pub(crate) next: Sequence,
    pub(crate) window: Sequence,
    pub(crate) time_ms: u64,
}

/// The log whose messages come.
#[derive(Debug)]
struct Current {
    name: Arc<str>,
    log: Begun,
    records: Records,
    /// The next message.
    next: Sequence,
    /// Time of the last one, and what all of them have.
    time_ms: u64,
    content: u64,
    keys: u64,
    /// What messages of the window are found by.
    found_by: Vec<(MessageHash, Sequence)>,
}

/// Logs that are being put together.
#[derive(Debug, Default)]
pub(crate) struct RestoringLogs {
    logs: BTreeMap<Arc<str>, Log>,
    current: Option<Current>,
    /// Entries that it takes to make these logs, at least.
    entries: u64,
    /// What came; its bytes are counted when a log ends.
    counted: LogsFooter,
    /// What came, by what it counts at least.
    bytes: u64,
    readable: u64,
    footer: Option<LogsFooter>,
}

impl Restored {
    /// The message; whatever can be said about it alone is checked.
    pub(crate) fn new(item: MessageItem<'_>) -> Result<Restored, Fault> {
        let MessageItem { time_ms, attempt, key, content } = item;
        let key = key.map(|Raw(key)| key);
        if key.is_some_and(|key| !(1..=MESSAGE_KEY_BYTES_MAX).contains(&key.len())) {
            return Err(Fault::Invalid("a message's key of an impossible length"));
        }
        let key = key.unwrap_or_default();
        let mut record = Record::new(time_ms, attempt, MessageHash::default());
        let readable = match content {
            Content::Message(Raw(message)) if message.len() > MESSAGE_BYTES_MAX => {
                return Err(Fault::Invalid("a message of an impossible length"));
            }
            Content::Message(Raw(message)) => {
                record.hash = MessageHash::of(message);
                record.set_content(key, message);
                true
            }
            Content::Hash(hash) => {
                record.hash = hash;
                if !key.is_empty() {
                    record.set_content(key, b"");
                }
                false
            }
        };
        Ok(Restored { record, readable })
    }
}

impl RestoringLogs {
    /// Whether one came.
    pub(crate) fn begun(&self) -> bool {
        self.current.is_some() || self.counted.logs > 0
    }

    /// A log begins, in a checkpoint of so many entries that did nothing else.
    pub(crate) fn begin(
        &mut self,
        name: &[u8],
        log: Begun,
        entries: u64,
        limits: &Limits,
    ) -> Result<(), Fault> {
        self.end_log()?;
        let ordered = self.logs.last_key_value().is_none_or(|(last, _)| last.as_bytes() < name);
        if !ordered || self.footer.is_some() {
            return Err(Fault::Misplaced("a log"));
        }
        let name = Arc::from(checked_name(name).map_err(|_| Fault::Invalid("an impossible name of a log"))?);
        self.counted.logs += 1;
        if self.counted.logs > limits.logs as u64 {
            return Err(Fault::TooLarge("logs"));
        }
        let Begun { first, next, window, time_ms, .. } = log;
        let within = |sequence| (Sequence::FIRST..=next).contains(&sequence);
        let possible = log.settings.check().is_ok()
            && within(first)
            && within(window)
            && (next > Sequence::FIRST || time_ms == 0);
        // Every message came in an entry of its own, and an empty log was made by one.
        let made_by = next.0.saturating_sub(1).max(1);
        self.entries = self.entries.saturating_add(made_by);
        if !possible || self.entries > entries {
            return Err(Fault::Invalid("an impossible log"));
        }
        let start = first.min(window);
        let records = Records::starting_at(start);
        let found_by = Vec::new();
        self.current =
            Some(Current { name, log, records, next: start, time_ms: 0, content: 0, keys: 0, found_by });
        Ok(())
    }

    /// The next message of the log that began.
    pub(crate) fn message(&mut self, message: Restored, limits: &Limits) -> Result<(), Fault> {
        let Restored { mut record, readable } = message;
        let current = self.current.as_mut().filter(|current| current.next < current.log.next);
        let Some(current) = current else { return Err(Fault::Misplaced("a message")) };
        let Begun { settings, first, window, time_ms, .. } = &current.log;
        let sequence = current.next;
        let by_key = settings.deduplication == Deduplication::Key;
        let possible = readable == (sequence >= *first)
            && (readable || by_key || record.key().is_empty())
            && (current.time_ms..=*time_ms).contains(&record.time_ms);
        if !possible {
            return Err(Fault::Invalid("an impossible message"));
        }
        if sequence >= *window {
            let by = match settings.deduplication {
                Deduplication::Content => Some(record.hash),
                Deduplication::Key => Some(record.key()).filter(|key| !key.is_empty()).map(MessageHash::of),
                Deduplication::None => None,
            };
            current.found_by.extend(by.map(|by| (by, sequence)));
        }
        let (key, message) = (record.key().len() as u64, record.message().len() as u64);
        self.bytes += MESSAGE_BYTES + key + message;
        if self.bytes > limits.quota_bytes {
            return Err(Fault::TooLarge("messages"));
        }
        (record.content_before, record.keys_before) = (current.content, current.keys);
        current.time_ms = record.time_ms;
        current.content += key + message;
        current.keys += key;
        current.next = sequence.next();
        current.records.push(record);
        self.counted.messages += 1;
        Ok(())
    }

    /// The log that began has all of its messages.
    fn end_log(&mut self) -> Result<(), Fault> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let Current { name, log, records, next, time_ms, content, keys, mut found_by } = current;
        let Begun { settings, first, window, .. } = log;
        if next < log.next {
            return Err(Fault::Invalid("a log without all of its messages"));
        }
        if next > first.min(window) && time_ms != log.time_ms {
            return Err(Fault::Invalid("a log with another time than its last message"));
        }
        found_by.sort_unstable();
        if found_by.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Fault::Invalid("a message twice in one window"));
        }
        let at = Positions { first, next, window, time_ms: log.time_ms, content, keys, bytes: 0, cost: 0 };
        let state = State { settings: Arc::new(settings), at };
        let duplicates = Duplicates::of_sorted(found_by);
        let Some(log) = Log::restored(state, records, duplicates) else {
            return Err(Fault::Invalid("a log that is not as its settings say"));
        };
        self.counted.bytes += log.state.at.cost;
        self.readable += log.state.at.messages();
        self.logs.insert(name, log);
        Ok(())
    }

    /// What stands behind the last log.
    pub(crate) fn end(&mut self, footer: LogsFooter) -> Result<(), Fault> {
        self.end_log()?;
        if self.footer.is_some() || self.logs.is_empty() {
            return Err(Fault::Misplaced("the end of the logs"));
        }
        if self.counted != footer {
            return Err(Fault::Invalid("other figures behind its logs than came"));
        }
        self.footer = Some(footer);
        Ok(())
    }

    /// Whether the end came.
    pub(crate) fn is_whole(&self) -> bool {
        self.footer.is_some()
    }

    /// The logs, and what they count, in `marks`.
    pub(crate) fn finish(self, marks: &mut Marks) -> Logs {
        marks.logs = self.counted.logs;
        marks.messages = self.readable;
        marks.log_bytes = self.counted.bytes;
        Logs { logs: self.logs, ..Logs::default() }
    }
}
