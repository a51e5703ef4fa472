//! The naive model of the message logs: every message that was ever added to a log, and how many of them can be read
//! or are looked back to.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_store::{
    Append, DEDUPLICATION_WINDOW_MAX, Deduplication, LogSettings, MESSAGE_BYTES, MESSAGE_BYTES_MAX,
    MESSAGE_KEY_BYTES_MAX, Message, MessageHash, MessagesQuery, Operation, Outcome, Reason, Sequence,
    Setting, Store, View,
};

/// One log.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModelLog {
    settings: LogSettings,
    /// From sequence 1 on.
    all: Vec<Append>,
    /// How many are forgotten, and how many are not looked at any more.
    forgotten: usize,
    unseen: usize,
}

/// All logs.
pub(crate) type ModelLogs = BTreeMap<Bytes, ModelLog>;

impl ModelLog {
    fn size(append: &Append) -> u64 {
        (append.message.len() + append.key.as_ref().map_or(0, Bytes::len)) as u64
    }

    fn kept(&self) -> &[Append] {
        &self.all[self.forgotten..]
    }

    fn bytes(&self) -> u64 {
        self.kept().iter().map(ModelLog::size).sum()
    }

    fn cost(&self) -> u64 {
        let remembered = &self.all[self.forgotten.min(self.unseen)..];
        let stripped = &self.all[self.forgotten.min(self.unseen)..self.forgotten];
        let keys = match self.settings.deduplication {
            Deduplication::Key => {
                stripped.iter().filter_map(|append| append.key.as_ref()).map(Bytes::len).sum()
            }
            _ => 0,
        };
        remembered.len() as u64 * MESSAGE_BYTES + self.bytes() + keys as u64
    }

    fn forget(&mut self) {
        let LogSettings { deduplication, deduplication_window, .. } = self.settings;
        let window = if deduplication == Deduplication::None { 0 } else { deduplication_window };
        self.unseen = self.unseen.max(self.all.len().saturating_sub(window as usize));
        while self.kept().len() > 1 && self.keeps_too_much() {
            self.forgotten += 1;
        }
    }

    fn keeps_too_much(&self) -> bool {
        let LogSettings { retain_messages, retain_ms, retain_bytes, .. } = self.settings;
        let (kept, last) = (self.kept(), self.all.last().map_or(0, |last| last.time_ms));
        retain_messages.is_some_and(|most| kept.len() as u64 > most)
            || retain_ms.is_some_and(|most| last - kept[0].time_ms > most)
            || retain_bytes.is_some_and(|most| self.bytes() > most)
    }

    fn find(&self, append: &Append) -> Option<usize> {
        let same = |other: &Append| match self.settings.deduplication {
            Deduplication::Content => other.message == append.message,
            Deduplication::Key => append.key.is_some() && other.key == append.key,
            Deduplication::None => false,
        };
        (self.unseen..self.all.len()).find(|at| same(&self.all[*at]))
    }

    fn message(&self, at: usize, committed: usize) -> Message {
        let Append { message, key, time_ms, .. } = self.all[at].clone();
        let (sequence, hash) = (Sequence(at as u64 + 1), MessageHash::of(&message));
        Message { sequence, time_ms, hash, key, message, committed: at < committed }
    }
}

/// What the logs count.
pub(crate) fn cost(logs: &ModelLogs) -> u64 {
    logs.values().map(ModelLog::cost).sum()
}

fn check_name(name: &Bytes) -> Result<(), Reason> {
    let text = std::str::from_utf8(name).unwrap_or("/");
    let letters = text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
    if letters && !["", ".", ".."].contains(&text) && text.len() <= 128 {
        Ok(())
    } else {
        Err(Reason::LogNameInvalid)
    }
}

fn check_settings(settings: &LogSettings) -> Result<(), Reason> {
    let refused = |setting| Err(Reason::LogSettingInvalid { setting });
    let LogSettings { deduplication_window, retain_messages, retain_ms, retain_bytes, .. } = *settings;
    match () {
        () if deduplication_window == 0 || deduplication_window > DEDUPLICATION_WINDOW_MAX => {
            refused(Setting::DeduplicationWindow)
        }
        () if retain_messages == Some(0) => refused(Setting::RetainMessages),
        () if retain_ms == Some(0) => refused(Setting::RetainMs),
        () if retain_bytes == Some(0) => refused(Setting::RetainBytes),
        () => Ok(()),
    }
}

fn appended(log: &ModelLog, at: usize) -> Outcome {
    let Message { sequence, time_ms, hash, .. } = log.message(at, 0);
    Outcome::Appended { sequence, time_ms, hash }
}

/// Do what the operation says to a copy of the logs; the copy, if they may have that much.
pub(crate) fn perform(
    logs: &ModelLogs,
    operation: Operation,
    logs_max: usize,
    room: u64,
    quota: u64,
) -> Result<(ModelLogs, Outcome), Reason> {
    let mut next = logs.clone();
    let outcome = match operation {
        Operation::Append(append) => {
            check_name(&append.log)?;
            if append.message.len() > MESSAGE_BYTES_MAX {
                return Err(Reason::MessageTooLarge { bytes: append.message.len() as u64 });
            }
            if let Some(key) = &append.key
                && !(1..=MESSAGE_KEY_BYTES_MAX).contains(&key.len())
            {
                return Err(Reason::MessageKeyInvalid { bytes: key.len() as u64 });
            }
            let log = next.entry(append.log.clone()).or_default();
            if let Some(at) = log.find(&append) {
                let Message { sequence, time_ms, hash, .. } = log.message(at, 0);
                return match &log.all[at] {
                    other if other.message != append.message => Err(Reason::KeyReused { sequence }),
                    other if other.attempt == append.attempt => Ok((logs.clone(), appended(log, at))),
                    _ => Ok((logs.clone(), Outcome::Duplicate { sequence, time_ms, hash })),
                };
            }
            let last = log.all.last().map_or(0, |last| last.time_ms);
            log.all.push(Append { time_ms: append.time_ms.max(last), ..append });
            log.forget();
            appended(log, log.all.len() - 1)
        }
        Operation::ConfigureLog { log, settings } => {
            check_name(&log)?;
            check_settings(&settings)?;
            let created = !next.contains_key(&log);
            let log = next.entry(log).or_default();
            if settings.deduplication != log.settings.deduplication {
                log.unseen = log.all.len();
            }
            log.settings = settings;
            log.forget();
            let (first, next) = (Sequence(log.forgotten as u64 + 1), Sequence(log.all.len() as u64 + 1));
            Outcome::LogConfigured { created, first, next }
        }
        Operation::DeleteLog { log } => {
            check_name(&log)?;
            let log = next.remove(&log).ok_or(Reason::LogNotFound)?;
            Outcome::LogDeleted { messages: log.kept().len() as u64 }
        }
        Operation::TrimLog { log, before } => {
            check_name(&log)?;
            let log = next.get_mut(&log).ok_or(Reason::LogNotFound)?;
            let end = Sequence(log.all.len() as u64 + 1);
            if before > end {
                return Err(Reason::FutureSequence { next: end });
            }
            log.forgotten = log.forgotten.max(before.0.saturating_sub(1) as usize);
            log.forget();
            Outcome::LogTrimmed { first: Sequence(log.forgotten as u64 + 1) }
        }
        other => unreachable!("not of the logs: {other:?}"),
    };
    if next.len() > logs_max && next.len() > logs.len() {
        return Err(Reason::TooManyLogs { logs: logs.len() as u64 });
    }
    if cost(&next) > room && cost(&next) > cost(logs) {
        return Err(Reason::QuotaExceeded { quota });
    }
    Ok((next, outcome))
}

/// What the store shows of its logs is what the model has. `committed` is the model of what is committed.
pub(crate) fn check(store: &Store, view: View, logs: &ModelLogs, committed: Option<&ModelLogs>) {
    let names: Vec<String> = store.logs(view).iter().map(|log| log.name.to_string()).collect();
    let expected: Vec<String> = logs.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!(names, expected, "{view:?}");
    for (name, model) in logs {
        let log = store.log(name, view).expect("it is in the list");
        let end = model.all.len() as u64 + 1;
        assert_eq!((log.first.0, log.next.0), (model.forgotten as u64 + 1, end), "{name:?}");
        assert_eq!((log.settings, log.bytes), (model.settings, model.bytes()));
        assert_eq!(log.time_ms, model.all.last().map_or(0, |last| last.time_ms));
        // Where an uncommitted entry deleted it and another made it anew, nothing of it is committed.
        let sure = log.committed_next.0 as usize - 1;
        let known = committed.and_then(|committed| committed.get(name)).map_or(0, |log| log.all.len());
        assert!(view == View::Executed && (sure == 0 || sure == known) || sure == model.all.len());
        let mut read = Vec::new();
        let mut from = Sequence(0);
        loop {
            let (log, limit, bytes_max) = (name.clone(), 1 + read.len() % 5, 700);
            let page = store.messages(&MessagesQuery { log, from, limit, bytes_max, view }).expect("a log");
            read.extend(page.messages);
            if !page.more {
                break;
            }
            from = read.last().expect("a page has a message").sequence.next();
        }
        let expected: Vec<Message> =
            (model.forgotten..model.all.len()).map(|at| model.message(at, sure)).collect();
        assert_eq!(read, expected, "{name:?}");
    }
}
