//! Finds a message by its content or its key: [`Duplicates`].
//!
//! It holds no more of a message than eight bytes of a hash and its place; whoever asks compares the rest. It is made
//! anew from the messages when a checkpoint is restored, and is in none.

use crate::tree::{Builder, Tree};
use crate::{MessageHash, Sequence};

/// Bytes of a hash that an entry begins with. Two messages with the same are both found.
const PREFIX_BYTES: usize = 8;

/// Bytes of an entry: of a hash, and of a place.
const ENTRY_BYTES: usize = 2 * PREFIX_BYTES;

/// The messages that a log looks back to, by what they are found by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Duplicates {
    entries: Tree<()>,
}

fn entry(by: MessageHash, Sequence(sequence): Sequence) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[..PREFIX_BYTES].copy_from_slice(&by.0[..PREFIX_BYTES]);
    entry[PREFIX_BYTES..].copy_from_slice(&sequence.to_be_bytes());
    entry
}

impl Duplicates {
    /// These messages, in order, each with the hash that it is found by.
    pub(crate) fn of_sorted(found_by: Vec<(MessageHash, Sequence)>) -> Duplicates {
        // Hashes that differ only behind what is kept of them leave the places out of order.
        let mut entries: Vec<[u8; ENTRY_BYTES]> =
            found_by.into_iter().map(|(by, sequence)| entry(by, sequence)).collect();
        entries.sort_unstable();
        let mut builder = Builder::default();
        entries.iter().for_each(|entry| builder.push(entry, ()));
        Duplicates { entries: builder.finish() }
    }

    /// Messages that may be found by this hash, the oldest first.
    pub(crate) fn candidates(&self, by: MessageHash) -> impl Iterator<Item = Sequence> {
        let prefix: [u8; PREFIX_BYTES] = by.0[..PREFIX_BYTES].try_into().expect("a hash is longer");
        let walk = self.entries.walk(&prefix, false).map(|(entry, ())| entry);
        walk.take_while(move |entry| entry.starts_with(&prefix)).map(|entry| {
            let sequence = entry[PREFIX_BYTES..].try_into().expect("an entry ends with a place");
            Sequence(u64::from_be_bytes(sequence))
        })
    }

    /// Let a message be found by this hash.
    pub(crate) fn add(&mut self, by: MessageHash, sequence: Sequence) {
        self.entries.insert(&entry(by, sequence), ());
    }

    /// Let it not be found any more; whether it was.
    pub(crate) fn remove(&mut self, by: MessageHash, sequence: Sequence) -> bool {
        self.entries.remove(&entry(by, sequence)).is_some()
    }

    /// How many messages can be found.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
