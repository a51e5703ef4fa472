//! One log: [`Log`], its messages and what it looks back to for duplicates.
//!
//! What a log forgets has two halves, as the keyspace's history has: the *logical* half moves [`Positions`], is a
//! function of the entries alone, and is undone with them. The *physical* half ([`Log::prune`]) gives memory back some
//! time after the commit, and nobody can see whether it did.

use std::sync::Arc;

use crate::blocks::Blocks;
use crate::logs::duplicates::Duplicates;
use crate::logs::record::Record;
use crate::{Append, Deduplication, LogSettings, MESSAGE_BYTES, MessageHash, Sequence};

/// Where a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Positions {
    /// The first message that can be read; `next` if there is none.
    pub(crate) first: Sequence,
    /// The message that comes next.
    pub(crate) next: Sequence,
    /// The first message that is looked at for duplicates; `next` if none is. It never goes back but by an undo.
    pub(crate) window: Sequence,
    /// The time of the last message; 0 before the first.
    pub(crate) time_ms: u64,
    /// Bytes of all messages and keys that were ever added.
    pub(crate) content: u64,
    /// Bytes of all keys that were ever added.
    pub(crate) keys: u64,
    /// Bytes of the messages that can be read, with their keys.
    pub(crate) bytes: u64,
    /// What the log counts towards the quota.
    pub(crate) cost: u64,
}

/// A log after some entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) settings: Arc<LogSettings>,
    pub(crate) at: Positions,
}

/// One log.
///
/// Invariants: `records` has every message from `base` to before `state.at.next`; those before `bare` have lost their
/// bytes; those before `found` are not in `duplicates`. `base <= found <= committed.window`,
/// `bare <= committed.first`, and `base` is at most both of these, as long as something is committed of the log.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// With what is executed.
    pub(crate) state: State,
    /// What is committed; `None` if nobody knows yet that the log exists.
    pub(crate) committed: Option<State>,
    records: Records,
    bare: Sequence,
    duplicates: Duplicates,
    found: Sequence,
}

/// The messages of a log. A copy shares everything.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    /// Shared as a whole until the log changes: a log that is left alone costs a checkpoint one count.
    blocks: Arc<Blocks<Record>>,
    /// The first one.
    base: Sequence,
}

impl Positions {
    const EMPTY: Positions = Positions {
        first: Sequence::FIRST,
        next: Sequence::FIRST,
        window: Sequence::FIRST,
        time_ms: 0,
        content: 0,
        keys: 0,
        bytes: 0,
        cost: 0,
    };

    /// How many messages can be read.
    pub(crate) fn messages(&self) -> u64 {
        self.next.0 - self.first.0
    }

    /// The first message of which anything is remembered.
    pub(crate) fn oldest(&self) -> Sequence {
        self.first.min(self.window)
    }
}

impl State {
    /// Of a log that was just made.
    pub(crate) fn new(settings: LogSettings) -> State {
        State { settings: Arc::new(settings), at: Positions::EMPTY }
    }
}

impl Records {
    /// None yet; the first one will be this.
    pub(crate) fn starting_at(base: Sequence) -> Records {
        Records { blocks: Arc::default(), base }
    }

    fn place(&self, sequence: Sequence) -> Option<usize> {
        sequence.0.checked_sub(self.base.0).map(|place| place as usize)
    }

    /// One of them.
    ///
    /// # Panics
    ///
    /// If there is no such record.
    pub(crate) fn get(&self, sequence: Sequence) -> &Record {
        self.place(sequence).and_then(|place| self.blocks.get(place)).expect("a message that is remembered")
    }

    /// Add one at the end.
    pub(crate) fn push(&mut self, record: Record) {
        Arc::make_mut(&mut self.blocks).push_back(record);
    }

    fn pop(&mut self) -> Record {
        Arc::make_mut(&mut self.blocks).pop_back().expect("the message that is undone is there")
    }

    /// Drop up to so many records, if nobody else shows them; whether some are left.
    pub(crate) fn drop_some(&mut self, records: usize) -> bool {
        let Some(blocks) = Arc::get_mut(&mut self.blocks) else { return false };
        (0..records).for_each(|_| blocks.drop_front());
        !blocks.is_empty()
    }
}

impl Log {
    /// A log without messages.
    pub(crate) fn new(settings: LogSettings) -> Log {
        Log::of(State::new(settings), Records::starting_at(Sequence::FIRST), Duplicates::default())
    }

    fn of(state: State, records: Records, duplicates: Duplicates) -> Log {
        let (bare, found) = (state.at.first, state.at.window);
        Log { state, committed: None, records, bare, duplicates, found }
    }

    /// The log that has these parts, all of it committed. `None` if its settings would have made it forget more.
    pub(crate) fn restored(state: State, records: Records, duplicates: Duplicates) -> Option<Log> {
        let Positions { first, window, .. } = state.at;
        let mut log = Log::of(state, records, duplicates);
        log.settle();
        log.committed = Some(log.state.clone());
        (log.state.at.first == first && log.state.at.window == window).then_some(log)
    }

    /// Its messages, also those that are not committed.
    pub(crate) fn records(&self) -> &Records {
        &self.records
    }

    /// What `append` is found by; `None` if nothing is to find it.
    fn found_by(settings: &LogSettings, hash: MessageHash, key: Option<&[u8]>) -> Option<MessageHash> {
        match settings.deduplication {
            Deduplication::Content => Some(hash),
            Deduplication::Key => key.map(MessageHash::of),
            Deduplication::None => None,
        }
    }

    /// The first message that is looked at for duplicates. `in_memory` is a mistake: a member may still have more.
    pub(crate) fn looks_back_to(&self, in_memory: bool) -> Sequence {
        if in_memory { self.found } else { self.state.at.window }
    }

    /// The message from this one on that is the same one, or has the same key.
    pub(crate) fn find(
        &self,
        from: Sequence,
        hash: MessageHash,
        key: Option<&[u8]>,
    ) -> Option<(Sequence, &Record)> {
        let by = Log::found_by(&self.state.settings, hash, key)?;
        let candidates = self.duplicates.candidates(by).filter(|sequence| *sequence >= from);
        let mut records = candidates.map(|sequence| (sequence, self.records.get(sequence)));
        records.find(|(_, record)| match key {
            Some(key) if self.state.settings.deduplication == Deduplication::Key => record.key() == key,
            _ => record.hash == hash,
        })
    }

    /// Add a message. That time goes back is a mistake.
    pub(crate) fn append(&mut self, append: &Append<&[u8]>, hash: MessageHash, time_goes_back: bool) {
        let Positions { next, time_ms, content, keys, .. } = self.state.at;
        let key = append.key.unwrap_or_default();
        let time_ms = if time_goes_back { append.time_ms } else { time_ms.max(append.time_ms) };
        let mut record = Record::new(time_ms, append.attempt, hash);
        (record.content_before, record.keys_before) = (content, keys);
        record.set_content(key, append.message);
        self.records.push(record);
        if let Some(by) = Log::found_by(&self.state.settings, hash, append.key) {
            self.duplicates.add(by, next);
        }
        self.state.at.next = next.next();
        self.state.at.time_ms = time_ms;
        self.state.at.keys += key.len() as u64;
        self.state.at.content += (key.len() + append.message.len()) as u64;
        self.settle();
    }

    /// Give it other settings.
    pub(crate) fn configure(&mut self, settings: LogSettings) {
        if settings.deduplication != self.state.settings.deduplication {
            // What came before is found by something else, or by nothing.
            self.state.at.window = self.state.at.next;
        }
        self.state.settings = Arc::new(settings);
        self.settle();
    }

    /// Forget messages before this one.
    pub(crate) fn trim(&mut self, before: Sequence) {
        self.state.at.first = self.state.at.first.max(before);
        self.settle();
    }

    /// Forget what the settings say, and count again.
    fn settle(&mut self) {
        let settings = &self.state.settings;
        let mut at = self.state.at;
        at.window = match settings.deduplication {
            Deduplication::None => at.next,
            _ => at.window.max(Sequence(at.next.0.saturating_sub(settings.deduplication_window))),
        };
        at.first = self.retained(at, settings);
        let content = self.before(at, at.first);
        at.bytes = at.content - content.0;
        at.cost = MESSAGE_BYTES * (at.next.0 - at.oldest().0) + at.bytes;
        if settings.deduplication == Deduplication::Key && at.window < at.first {
            at.cost += content.1 - self.before(at, at.window).1;
        }
        self.state.at = at;
    }

    /// Bytes of the messages with their keys, and of the keys alone, that were added before this one.
    fn before(&self, at: Positions, sequence: Sequence) -> (u64, u64) {
        if sequence >= at.next {
            return (at.content, at.keys);
        }
        let record = self.records.get(sequence);
        (record.content_before, record.keys_before)
    }

    /// The first message that the settings keep.
    fn retained(&self, at: Positions, settings: &LogSettings) -> Sequence {
        if at.first >= at.next {
            return at.first;
        }
        let counted = settings.retain_messages.map_or(0, |messages| at.next.0.saturating_sub(messages));
        let goes = |sequence: u64| {
            let record = self.records.get(Sequence(sequence));
            sequence < counted
                || settings.retain_ms.is_some_and(|ms| at.time_ms.saturating_sub(record.time_ms) > ms)
                || settings.retain_bytes.is_some_and(|bytes| at.content - record.content_before > bytes)
        };
        Sequence(first_that_stays(at.first.0, at.next.0 - 1, goes))
    }

    /// What became of the log with the last entry is undone: this is what it was before.
    pub(crate) fn undo(&mut self, before: State) {
        let added = self.state.at.next > before.at.next;
        self.state = before;
        if added {
            let record = self.records.pop();
            self.forget(self.state.at.next, &record);
        }
    }

    /// Let a message not be found any more, whatever it was found by.
    fn forget(&mut self, sequence: Sequence, record: &Record) {
        if !self.duplicates.remove(record.hash, sequence) && !record.key().is_empty() {
            self.duplicates.remove(MessageHash::of(record.key()), sequence);
        }
    }

    /// Whether it holds what nobody can see any more.
    pub(crate) fn is_prunable(&self) -> bool {
        self.committed.as_ref().is_some_and(|State { at, .. }| {
            self.found < at.window || self.bare < at.first || self.records.base < at.oldest()
        })
    }

    /// Give back what one message holds and nobody can see any more; whether there was anything.
    pub(crate) fn prune(&mut self) -> bool {
        let Some(State { settings, at }) = self.committed.clone() else { return false };
        let mut pruned = false;
        if self.found < at.window {
            let record = self.records.get(self.found).clone();
            self.forget(self.found, &record);
            self.found = self.found.next();
            pruned = true;
        }
        let Records { blocks, base } = &mut self.records;
        if self.bare < at.first {
            // What goes as a whole is not taken apart before.
            if self.bare >= at.window {
                let place = (self.bare.0 - base.0) as usize;
                let record = Arc::make_mut(blocks).get_mut(place).expect("a message that is remembered");
                record.strip(settings.deduplication == Deduplication::Key);
            }
            self.bare = self.bare.next();
            pruned = true;
        }
        if *base < at.oldest().min(self.found) {
            Arc::make_mut(blocks).drop_front();
            *base = base.next();
            pruned = true;
        }
        pruned
    }

    /// It looks back to nothing, though it should.
    #[cfg(feature = "seeded-bugs")]
    pub(crate) fn seed_no_window(&mut self) {
        self.duplicates = Duplicates::default();
    }

    /// Its records, to be dropped.
    pub(crate) fn into_records(self) -> Records {
        self.records
    }

    /// How many records, bytes of messages and entries of the window are in memory, also those that nobody can see.
    #[cfg(test)]
    pub(crate) fn in_memory(&self) -> [usize; 3] {
        let records = &self.records;
        let messages =
            (0..records.blocks.len()).map(|place| records.blocks.get(place).expect("one").message().len());
        [records.blocks.len(), messages.sum(), self.duplicates.len()]
    }
}

/// The first of `[start, end]` that stays, where those that go are before those that stay, and the last one stays. Few
/// go at a time, so that it looks at the first ones first.
fn first_that_stays(start: u64, end: u64, goes: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut step) = (start, 1);
    while low < end && goes(low) {
        // `low` goes: the next one is the first that may stay.
        let far = low.saturating_add(step).min(end);
        if far < end && goes(far) {
            low = far;
            step *= 2;
            continue;
        }
        let (mut gone, mut stays) = (low, far);
        while stays - gone > 1 {
            let middle = gone.midpoint(stays);
            if goes(middle) { gone = middle } else { stays = middle }
        }
        return stays;
    }
    low
}
