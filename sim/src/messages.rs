//! What must hold for message logs: [`Ledger`], which follows the committed entries with a model of its own, as simple as
//! can be, and checks what members show and what clients were told against it.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_engine::{Entry, EntryKind};
use holdfast_store::{
    Append, Command, Deduplication, LogSettings, Message, MessageHash, MessagesPage, MessagesQuery,
    Operation, Outcome, Reason, Sequence, Store, View,
};

use crate::invariants::Broken;

/// Messages of one page.
const PAGE: usize = 100;

/// One log, as the committed entries made it.
#[derive(Debug, Default)]
struct Lines {
    settings: LogSettings,
    /// From sequence 1 on, also what the log has forgotten.
    lines: Vec<(Append, MessageHash)>,
    /// How many of them the log does not look back to any more.
    unseen: usize,
    /// Where each content, or each key, came last.
    last: BTreeMap<Bytes, usize>,
}

/// All messages that were ever committed.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    logs: BTreeMap<Bytes, Lines>,
    /// How many.
    pub(crate) messages: u64,
}

/// Up to where the messages of one process are known to be those of the ledger.
pub(crate) type Checked = BTreeMap<Bytes, Sequence>;

impl Lines {
    fn look_back(&mut self) {
        let window = self.settings.deduplication_window as usize;
        self.unseen = self.unseen.max(self.lines.len().saturating_sub(window));
    }

    fn at(&self, Sequence(sequence): Sequence) -> Option<&(Append, MessageHash)> {
        self.lines.get(sequence.checked_sub(1)? as usize)
    }

    /// What tells this message from others, if anything does.
    fn identity<'a>(&self, append: &'a Append) -> Option<&'a Bytes> {
        match self.settings.deduplication {
            Deduplication::Content => Some(&append.message),
            Deduplication::Key => append.key.as_ref(),
            Deduplication::None => None,
        }
    }

    /// The message that is the same one by the log's settings, as far as it looks back.
    fn same_as(&self, append: &Append) -> Option<Sequence> {
        let at = *self.last.get(self.identity(append)?)?;
        (at >= self.unseen).then_some(Sequence(at as u64 + 1))
    }

    fn add(&mut self, append: Append, hash: MessageHash) {
        if let Some(identity) = self.identity(&append).cloned() {
            self.last.insert(identity, self.lines.len());
        }
        self.lines.push((append, hash));
        self.look_back();
    }
}

impl Ledger {
    /// This entry is committed, and this came of it.
    pub(crate) fn committed(&mut self, entry: &Entry, outcome: Option<&Outcome>) -> Result<(), Broken> {
        if entry.kind() != EntryKind::Command {
            return Ok(());
        }
        let Ok(Command { operation, .. }) = Command::decode(&entry.payload()) else { return Ok(()) };
        match (operation, outcome) {
            (Operation::Append(append), Some(outcome)) => self.appended(append, outcome),
            (Operation::ConfigureLog { log, settings }, Some(Outcome::LogConfigured { .. })) => {
                let lines = self.logs.entry(log).or_default();
                if lines.settings.deduplication != settings.deduplication {
                    lines.unseen = lines.lines.len();
                    lines.last.clear();
                }
                lines.settings = settings;
                lines.look_back();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn appended(&mut self, append: Append, outcome: &Outcome) -> Result<(), Broken> {
        let hash = MessageHash::of(&append.message);
        let lines = self.logs.entry(append.log.clone()).or_default();
        let (log, next) = (&append.log, Sequence(lines.lines.len() as u64 + 1));
        match *outcome {
            Outcome::Appended { hash: told, .. } | Outcome::Duplicate { hash: told, .. } if told != hash => {
                Err(format!("messages: {log:?} tells another hash than that of the message"))
            }
            Outcome::Appended { sequence, time_ms, .. } if sequence == next => {
                if let Some(before) = lines.same_as(&append) {
                    return Err(format!(
                        "messages: {log:?} has one message twice, at {before} and at {next}"
                    ));
                }
                if lines.lines.last().is_some_and(|(last, _)| last.time_ms > time_ms) {
                    return Err(format!("messages: time goes back in {log:?} at {next}"));
                }
                lines.add(Append { time_ms, ..append }, hash);
                self.messages += 1;
                Ok(())
            }
            Outcome::Appended { sequence, .. } => match lines.at(sequence) {
                Some((line, known)) if (line.attempt, *known) == (append.attempt, hash) => Ok(()),
                Some(_) => {
                    Err(format!("messages: {log:?} took a message for a retry of {sequence}, and it is none"))
                }
                None => Err(format!("messages: {log:?} has a gap: {sequence} comes where {next} should")),
            },
            Outcome::Duplicate { sequence, .. } => match lines.at(sequence) {
                Some((line, known)) if *known == hash && line.attempt != append.attempt => Ok(()),
                Some((_, known)) if *known == hash => {
                    Err(format!("messages: a retry of {sequence} in {log:?} is told that it is a duplicate"))
                }
                _ => Err(format!("messages: a duplicate in {log:?} is told {sequence}, where it is not")),
            },
            Outcome::Refused(Reason::KeyReused { sequence }) => match lines.at(sequence) {
                Some((line, known)) if line.key == append.key && *known != hash => Ok(()),
                _ => Err(format!("messages: a key in {log:?} was not used at {sequence}")),
            },
            _ => Ok(()),
        }
    }

    /// A member has committed more: its messages are those of the ledger, each in its place.
    pub(crate) fn check(&self, store: &Store, checked: &mut Checked) -> Result<(), Broken> {
        for log in store.logs(View::Committed) {
            let name = Bytes::copy_from_slice(log.name.as_bytes());
            let from = checked.entry(name.clone()).or_default();
            while *from < log.next {
                let query = MessagesQuery {
                    log: name.clone(),
                    from: *from,
                    limit: PAGE,
                    bytes_max: usize::MAX,
                    view: View::Committed,
                };
                *from = self.check_list(store, &query)?;
            }
        }
        Ok(())
    }

    /// What a list shows is in order, without gaps, and what is committed of it is in the ledger; where it goes on.
    pub(crate) fn check_list(&self, store: &Store, query: &MessagesQuery) -> Result<Sequence, Broken> {
        let Ok(page) = store.messages(query) else { return Ok(Sequence(u64::MAX)) };
        let MessagesPage { messages, more, first, next, .. } = page;
        let (log, start) = (&query.log, query.from.max(first));
        let none = Lines::default();
        let lines = self.logs.get(log).unwrap_or(&none);
        let mut expected = start;
        let mut time_ms = 0;
        for Message { sequence, time_ms: time, hash, message, committed, .. } in messages {
            if sequence != expected {
                return Err(format!(
                    "messages: a list of {log:?} shows {sequence} where {expected} should be"
                ));
            }
            if time < time_ms {
                return Err(format!("messages: time goes back in a list of {log:?} at {sequence}"));
            }
            if query.view == View::Committed && !committed {
                return Err(format!("messages: a list of what is committed in {log:?} shows {sequence}"));
            }
            let known = lines.at(sequence).map(|(line, known)| (&line.message, line.time_ms, *known));
            if committed && known != Some((&message, time, hash)) {
                return Err(format!(
                    "messages: {log:?} has another message at {sequence} than is committed there"
                ));
            }
            (expected, time_ms) = (sequence.next(), time);
        }
        if expected < next && (!more || expected == start) {
            return Err(format!("messages: a list of {log:?} ends before {expected}, and {next} comes next"));
        }
        Ok(expected)
    }
}
