//! Draws commands that meet each other: few keys, few sessions, edges of the byte order, and now and then nonsense.

use bytes::Bytes;
use holdfast_engine::{ENTRY_PAYLOAD_BYTES_MAX, Entry, EntryKind, Index, Position, Random, Term};
use holdfast_store::{
    Append, Command, Compare, Deduplication, Expect, KEY_BYTES_MAX, Keys, LogSettings, MESSAGE_KEY_BYTES_MAX,
    Operation, Relation, Revision, Sequence, SessionId, Stamp, TXN_OPERATIONS_MAX, Target, Txn, TxnOperation,
    VALUE_BYTES_MAX,
};

use crate::entry;

/// A log of commands.
pub(crate) struct Commands {
    random: Random,
    /// About where the revision is.
    revision: u64,
}

impl Commands {
    pub(crate) fn new(seed: u64) -> Commands {
        Commands { random: Random::new(seed), revision: 1 }
    }

    /// The next entry of a log.
    pub(crate) fn entry(&mut self, index: u64) -> Entry {
        if self.random.chance(0.03) {
            return Entry::new(Position::new(Term(1), Index(index)), EntryKind::Noop, b"");
        }
        loop {
            let payload = self.payload();
            // The log takes nothing longer.
            if payload.len() <= ENTRY_PAYLOAD_BYTES_MAX {
                return entry(index, &payload);
            }
        }
    }

    /// What the store says its revision is, so that commands can name ones that exist.
    pub(crate) fn revision_is(&mut self, revision: Revision) {
        self.revision = revision.0;
    }

    fn payload(&mut self) -> Bytes {
        let operation = self.operation();
        let session = self.random.chance(0.4).then(|| Stamp {
            session: SessionId(u128::from(self.random.below(7)) << 60),
            sequence: 1 + self.random.below(4),
        });
        let payload = Command { session, operation }.encode();
        match self.random.below(60) {
            0 => payload.slice(..self.random.below(payload.len() as u64) as usize),
            1 => {
                let mut mutated = payload.to_vec();
                let at = self.random.below(mutated.len() as u64) as usize;
                mutated[at] ^= 1 << self.random.below(8);
                Bytes::from(mutated)
            }
            _ => payload,
        }
    }

    fn operation(&mut self) -> Operation {
        if self.random.chance(0.4) {
            return self.log_operation();
        }
        match self.random.below(20) {
            0..8 => Operation::Put { key: self.key(), value: self.value(), expect: self.expect() },
            8..11 => Operation::Delete { key: self.key(), expect: self.expect() },
            11..18 => Operation::Txn(self.txn()),
            _ => Operation::Compact { revision: self.a_revision() },
        }
    }

    fn log_operation(&mut self) -> Operation {
        match self.random.below(20) {
            0..14 => Operation::Append(self.append()),
            14..17 => Operation::ConfigureLog { log: self.log(), settings: self.settings() },
            17..19 => Operation::TrimLog { log: self.log(), before: Sequence(self.random.below(20)) },
            _ => Operation::DeleteLog { log: self.log() },
        }
    }

    fn log(&mut self) -> Bytes {
        let names: [&[u8]; 6] = [b"a", b"a", b"a", b"b", b"b.c", b"d"];
        let odd: [&[u8]; 5] = [b"", b".", b"..", b"a/b", b"\xff"];
        let name = if self.random.chance(0.02) {
            odd[self.random.below(5) as usize]
        } else {
            names[self.random.below(6) as usize]
        };
        Bytes::from_static(name)
    }

    fn append(&mut self) -> Append {
        let message = if self.random.chance(0.9) {
            Bytes::from(format!("{}", self.random.below(25)))
        } else {
            self.value()
        };
        let key = self.random.chance(0.5).then(|| match self.random.below(60) {
            0 => Bytes::from(vec![b'k'; MESSAGE_KEY_BYTES_MAX + 1]),
            1 => Bytes::new(),
            draw => Bytes::from(format!("key-{}", draw % 15)),
        });
        let time_ms = self.random.below(1_000);
        Append { log: self.log(), message, key, time_ms, attempt: self.random.below(3) }
    }

    fn settings(&mut self) -> LogSettings {
        let mut limit = |most: u64| {
            self.random.chance(0.3).then(|| self.random.below(most) + u64::from(!self.random.chance(0.03)))
        };
        let (retain_messages, retain_ms, retain_bytes) = (limit(12), limit(500), limit(60));
        let deduplication = match self.random.below(5) {
            0 | 1 => Deduplication::Content,
            2 | 3 => Deduplication::Key,
            _ => Deduplication::None,
        };
        let deduplication_window = match self.random.below(16) {
            0 => 0,
            draw => [1, 3, 8, 20, 1_000_000][draw as usize % 5],
        };
        LogSettings { deduplication, deduplication_window, retain_messages, retain_ms, retain_bytes }
    }

    pub(crate) fn key(&mut self) -> Bytes {
        if self.random.chance(0.01) {
            return Bytes::from(vec![b'k'; KEY_BYTES_MAX + self.random.below(2) as usize]);
        }
        if self.random.chance(0.01) {
            return Bytes::new();
        }
        let length = 1 + self.random.below(3);
        (0..length).map(|_| [0x00, b'a', b'b', 0xff][self.random.below(4) as usize]).collect()
    }

    pub(crate) fn prefix(&mut self) -> Bytes {
        let key = self.key();
        key.slice(..self.random.below(3).min(key.len() as u64) as usize)
    }

    fn value(&mut self) -> Bytes {
        let length = match self.random.below(400) {
            0 => VALUE_BYTES_MAX as u64 + 1,
            1..40 => self.random.below(3_000),
            _ => self.random.below(20),
        };
        Bytes::from(vec![self.random.below(256) as u8; length as usize])
    }

    /// A revision that exists, is compacted, or is to come.
    pub(crate) fn a_revision(&mut self) -> Revision {
        let back = self.random.below(50);
        Revision((self.revision + 2).saturating_sub(back))
    }

    fn expect(&mut self) -> Expect {
        match self.random.below(6) {
            0 => Expect::Absent,
            1 => Expect::Revision(self.a_revision()),
            _ => Expect::Any,
        }
    }

    fn txn(&mut self) -> Txn {
        let compare = (0..self.random.below(3)).map(|_| self.compare()).collect();
        let mut branch = || {
            let operations =
                if self.random.chance(0.01) { TXN_OPERATIONS_MAX as u64 + 1 } else { self.random.below(5) };
            (0..operations).map(|_| self.txn_operation()).collect()
        };
        Txn { compare, success: branch(), failure: branch() }
    }

    fn compare(&mut self) -> Compare {
        let relation = [Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater]
            [self.random.below(4) as usize];
        let target = match self.random.below(4) {
            0 => Target::Version(self.random.below(4)),
            1 => Target::Created(self.a_revision()),
            2 => Target::Modified(self.a_revision()),
            _ => Target::Value(self.value()),
        };
        Compare { key: self.key(), relation, target }
    }

    fn txn_operation(&mut self) -> TxnOperation {
        match self.random.below(6) {
            0..3 => TxnOperation::Put { key: self.key(), value: self.value() },
            3 => TxnOperation::Delete(self.keys()),
            _ => TxnOperation::Get { keys: self.keys(), limit: self.random.below(6) },
        }
    }

    fn keys(&mut self) -> Keys {
        if self.random.chance(0.5) { Keys::Key(self.key()) } else { Keys::Prefix(self.prefix()) }
    }
}
