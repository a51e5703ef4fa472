//! One log entry and its record: the bytes that stand on disk are the bytes that travel to the other members.
//!
//! A record is `length u32 | checksum u32 | term u64 | index u64 | kind u8 | payload`, integers little-endian.
//! `length` counts from `term` to the end of the payload; `checksum` is CRC-32C over the same bytes. An all-zero
//! header is no record: segments are filled with zeros before use.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{Index, Position, Term};

/// Bytes before a record's payload.
pub const RECORD_HEADER_BYTES: usize = 25;

/// Bytes of a record that its length does not count: length and checksum.
const RECORD_PREFIX_BYTES: usize = 8;

/// Longest payload of one entry: a transaction of [etcd's default request size](https://etcd.io/docs/v3.6/dev-guide/limit/)
/// (1.5 MiB) with room for its session and its framing.
pub const ENTRY_PAYLOAD_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// A new leader's first entry: by committing it the leader commits what earlier terms left (Raft, 5.4.2).
    Noop = 0,
    /// A command of the replicated state; the engine does not look inside.
    Command = 1,
    /// A change of who votes: an encoded [`crate::Membership`].
    Membership = 2,
}

/// One entry of the log, encoded once when it is made or received.
///
/// Invariant: `record` is exactly one valid record, and position and kind are what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    position: Position,
    kind: EntryKind,
    record: Bytes,
}

/// Why some bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end before the record does.
    #[error("the record needs {needed} bytes and {present} are there")]
    Short {
        /// Bytes that the whole record needs, as far as is known.
        needed: usize,
        /// Bytes that are there.
        present: usize,
    },
    /// The header is all zeros: nothing was written here.
    #[error("nothing was written here")]
    Unwritten,
    /// The length lies outside what a record can have.
    #[error("a record cannot be {length} bytes long")]
    Length {
        /// The length that the header says.
        length: usize,
    },
    /// The bytes are not those that were written.
    #[error("the checksum is {actual:08x}, the record says {expected:08x}")]
    Checksum {
        /// What the record says.
        expected: u32,
        /// What its bytes give.
        actual: u32,
    },
    /// A kind that this version does not know.
    #[error("entry kind {0} is not known to this version")]
    Kind(u8),
}

impl Entry {
    /// Make and encode an entry.
    ///
    /// # Panics
    ///
    /// If `payload` is longer than [`ENTRY_PAYLOAD_BYTES_MAX`]; callers check what users send before this.
    pub fn new(position: Position, kind: EntryKind, payload: &[u8]) -> Entry {
        let mut records = Records::with_room(RECORD_HEADER_BYTES + payload.len());
        records.add(position, kind, payload);
        records.into_entries().pop().expect("it was added")
    }

    /// Take the record at the start of `bytes` off it, without copying.
    ///
    /// # Errors
    ///
    /// [`RecordError`]; `bytes` is unchanged then.
    pub fn decode(bytes: &mut Bytes) -> Result<Entry, RecordError> {
        let present = bytes.len();
        if present < RECORD_HEADER_BYTES {
            return Err(RecordError::Short { needed: RECORD_HEADER_BYTES, present });
        }
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let (length, expected) = (word(0) as usize, word(4));
        if length == 0 && expected == 0 {
            return Err(RecordError::Unwritten);
        }
        let smallest = RECORD_HEADER_BYTES - RECORD_PREFIX_BYTES;
        if !(smallest..=smallest + ENTRY_PAYLOAD_BYTES_MAX).contains(&length) {
            return Err(RecordError::Length { length });
        }
        let whole = RECORD_PREFIX_BYTES + length;
        if present < whole {
            return Err(RecordError::Short { needed: whole, present });
        }
        let actual = crc32c::crc32c(&bytes[RECORD_PREFIX_BYTES..whole]);
        if actual != expected {
            return Err(RecordError::Checksum { expected, actual });
        }
        let kind = match bytes[24] {
            0 => EntryKind::Noop,
            1 => EntryKind::Command,
            2 => EntryKind::Membership,
            other => return Err(RecordError::Kind(other)),
        };
        let position = Position::new(Term(long(8)), Index(long(16)));
        Ok(Entry { position, kind, record: bytes.split_to(whole) })
    }

    /// Where the entry stands.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Its place in the log.
    pub fn index(&self) -> Index {
        self.position.index
    }

    /// The term of the leader that wrote it.
    pub fn term(&self) -> Term {
        self.position.term
    }

    /// What it is for.
    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    /// What the proposer put in. Shares the record's memory.
    pub fn payload(&self) -> Bytes {
        self.record.slice(RECORD_HEADER_BYTES..)
    }

    /// How long the record is.
    pub fn record_bytes(&self) -> usize {
        self.record.len()
    }

    /// The whole record, as it stands on disk and on the wire. Shares the entry's memory.
    pub fn record(&self) -> Bytes {
        self.record.clone()
    }

    /// The same, for who only looks at it.
    pub fn as_record(&self) -> &[u8] {
        &self.record
    }
}

/// Entries that are made together and share one piece of memory, which goes when the last of them does: asking for
/// memory costs more than encoding a small entry.
#[derive(Debug, Default)]
pub(crate) struct Records {
    bytes: BytesMut,
    /// What each record is, and where it ends.
    made: Vec<(Position, EntryKind, usize)>,
}

impl Records {
    /// None yet, with room for so many bytes.
    pub(crate) fn with_room(bytes: usize) -> Records {
        Records { bytes: BytesMut::with_capacity(bytes), made: Vec::new() }
    }

    /// How many bytes they have together.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Encode one more.
    ///
    /// # Panics
    ///
    /// If `payload` is longer than [`ENTRY_PAYLOAD_BYTES_MAX`].
    pub(crate) fn add(&mut self, position: Position, kind: EntryKind, payload: &[u8]) {
        assert!(payload.len() <= ENTRY_PAYLOAD_BYTES_MAX, "payload of {} bytes", payload.len());
        let out = &mut self.bytes;
        let start = out.len();
        out.put_u64(0); // length and checksum, filled in below
        out.put_u64_le(position.term.0);
        out.put_u64_le(position.index.0);
        out.put_u8(kind as u8);
        out.put_slice(payload);
        let record = &mut out[start..];
        let length = (record.len() - RECORD_PREFIX_BYTES) as u32;
        let checksum = crc32c::crc32c(&record[RECORD_PREFIX_BYTES..]);
        record[..4].copy_from_slice(&length.to_le_bytes());
        record[4..8].copy_from_slice(&checksum.to_le_bytes());
        self.made.push((position, kind, self.bytes.len()));
    }

    /// The entries, in the order in which they were added.
    pub(crate) fn into_entries(self) -> Vec<Entry> {
        let bytes = self.bytes.freeze();
        let mut start = 0;
        let entry = |(position, kind, end)| {
            let record = bytes.slice(std::mem::replace(&mut start, end)..end);
            Entry { position, kind, record }
        };
        self.made.into_iter().map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(payload: &[u8]) -> Entry {
        Entry::new(Position::new(Term(7), Index(42)), EntryKind::Command, payload)
    }

    #[test]
    fn a_record_reads_back_as_the_entry_it_was_made_from() {
        for payload in [&b""[..], b"x", &[0; 1000]] {
            let made = entry(payload);
            let mut bytes = BytesMut::from(&made.record()[..]);
            bytes.put_slice(b"next");
            let mut bytes = bytes.freeze();
            let read = Entry::decode(&mut bytes).expect("a valid record");
            assert_eq!(read, made);
            assert_eq!(&read.payload()[..], payload);
            assert_eq!(&bytes[..], b"next", "only the record is taken");
        }
    }

    #[test]
    fn entries_that_are_made_together_are_those_that_are_made_alone() {
        let payloads = [&b"one"[..], b"", &[7; 300]];
        let position = |at: usize| Position::new(Term(7), Index(42 + at as u64));
        let mut records = Records::default();
        for (at, payload) in payloads.iter().enumerate() {
            records.add(position(at), EntryKind::Command, payload);
        }
        let bytes = records.bytes();
        let entries = records.into_entries();
        assert_eq!(entries.iter().map(Entry::record_bytes).sum::<usize>(), bytes);
        for (at, payload) in payloads.iter().enumerate() {
            assert_eq!(entries[at], Entry::new(position(at), EntryKind::Command, payload));
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let record = entry(b"payload").record();
        for bit in 0..record.len() * 8 {
            let mut damaged = BytesMut::from(&record[..]);
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Entry::decode(&mut damaged.freeze()).is_err(), "bit {bit} went unnoticed");
        }
    }

    #[test]
    fn every_cut_is_found() {
        let record = entry(b"payload").record();
        for length in 0..record.len() {
            let cut = Entry::decode(&mut record.slice(..length));
            assert!(matches!(cut, Err(RecordError::Short { .. })), "{length}: {cut:?}");
        }
    }

    #[test]
    fn zeros_are_nothing_written() {
        assert_eq!(Entry::decode(&mut Bytes::from_static(&[0; 64])), Err(RecordError::Unwritten));
    }
}
