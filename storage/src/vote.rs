//! The term and the vote in it, in two copies that are never written at the same time.
//!
//! A vote is written to the first slot and flushed; then it is acknowledged, and the second slot is written too. That
//! copy is flushed before the first slot is touched again. So whatever a crash tears, the other slot is whole:
//!
//! - first slot bad: either its write was not finished, so it was not acknowledged and the second slot has what was;
//!   or it rotted later, and the second slot has the same vote.
//! - second slot bad or one vote behind: the first one counts.
//! - both bad, or two votes that cannot stand side by side: [`Damage::Vote`]. The member must not vote: it might have
//!   voted otherwise in this term.
//!
//! One case is not told apart: power is lost before the second copy left the page cache (it is handed to the kernel
//! before the vote is acknowledged), *and* the first slot rots before the next start. Then the vote before the last
//! one would be read. Two faults of different kinds within seconds on one sector are left to the checks above it.
//!
//! Slots are a page apart, so that no write of one touches a sector of the other.
//!
//! What it refuses to do: fall back to an older vote because the newer one is unreadable, other than as above.

use std::io;
use std::path::Path;

use holdfast_engine::HardState;
use serde::{Deserialize, Serialize};

use crate::block::{self, BlockError, Kind};
use crate::files::{FileError, Files, OpenFile};
use crate::identity::Stamp;
use crate::{Damage, OpenError};

const KIND: Kind = Kind { magic: *b"HOLDFvt\n", version: 1 };

/// Bytes from the start of one slot to the start of the next: a page.
const SLOT_BYTES: usize = 4096;

/// The whole file.
const FILE_BYTES: usize = 2 * SLOT_BYTES;

/// A slot's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    stamp: Stamp,
    /// Counts votes from 1.
    sequence: u64,
    hard_state: HardState,
}

/// The vote file, open.
#[derive(Debug)]
pub(crate) struct Vote {
    files: Files,
    file: OpenFile,
    /// What the first slot holds.
    slot: Slot,
    /// The second slot was written and not flushed.
    copy_unflushed: bool,
}

impl Vote {
    /// Create the file of a member that has not voted yet.
    pub(crate) fn create(files: &Files, path: &Path, stamp: Stamp) -> Result<Vote, FileError> {
        let slot = Slot { stamp, sequence: 1, hard_state: HardState::default() };
        let mut bytes = vec![0; FILE_BYTES];
        let block = block::encode(KIND, &slot);
        bytes[..block.len()].copy_from_slice(&block);
        bytes[SLOT_BYTES..SLOT_BYTES + block.len()].copy_from_slice(&block);
        let file = files.replace(path, &bytes)?;
        Ok(Vote { files: files.clone(), file, slot, copy_unflushed: false })
    }

    /// Read the file. Changes nothing; [`Vote::repair`] does.
    pub(crate) fn read(files: &Files, path: &Path) -> Result<Vote, OpenError> {
        let damaged = |offset, what| OpenError::Damaged { path: path.to_owned(), offset, what };
        let file = match files.open(path) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(0, Damage::Missing));
            }
            file => file?,
        };
        let bytes = file.bytes()?;
        if bytes != FILE_BYTES as u64 {
            return Err(damaged(0, Damage::Length { found: bytes, expected: FILE_BYTES as u64 }));
        }
        let bytes = file.read(bytes)?;
        let decode = |slot: &[u8]| block::decode::<Slot>(KIND, slot).map(|(slot, _)| slot);
        let slot = match (decode(&bytes[..SLOT_BYTES]), decode(&bytes[SLOT_BYTES..])) {
            (Ok(first), Ok(second)) => {
                let follows = second.sequence.checked_add(1) == Some(first.sequence);
                if first != second && !(follows && first.stamp == second.stamp) {
                    return Err(damaged(0, Damage::Vote));
                }
                first
            }
            (Err(error @ BlockError::Version { .. }), _) => return Err(error.at(path, 0)),
            (_, Err(error @ BlockError::Version { .. })) => return Err(error.at(path, SLOT_BYTES as u64)),
            (Ok(slot), Err(_)) | (Err(_), Ok(slot)) => slot,
            (Err(_), Err(_)) => return Err(damaged(0, Damage::Vote)),
        };
        Ok(Vote { files: files.clone(), file, slot, copy_unflushed: true })
    }

    /// Make both slots whole and durable. They are written even if they are whole: what was read may be in the page
    /// cache only, and if its flush failed, the kernel does not write it again by itself.
    pub(crate) fn repair(&mut self) -> Result<(), FileError> {
        let block = block::encode(KIND, &self.slot);
        for offset in [0, SLOT_BYTES] {
            self.files.write_at(&self.file, offset as u64, &block)?;
            self.files.sync(&self.file)?;
        }
        self.copy_unflushed = false;
        Ok(())
    }

    pub(crate) fn stamp(&self) -> &Stamp {
        &self.slot.stamp
    }

    pub(crate) fn hard_state(&self) -> HardState {
        self.slot.hard_state
    }

    /// Whether nothing was ever written but the empty vote of a new member.
    pub(crate) fn is_untouched(&self) -> bool {
        self.slot.sequence == 1 && self.slot.hard_state == HardState::default()
    }

    /// Make a vote durable. Returns how many bytes that took.
    pub(crate) fn write(&mut self, hard_state: HardState) -> Result<usize, FileError> {
        if self.copy_unflushed {
            self.files.sync(&self.file)?;
        }
        self.slot.hard_state = hard_state;
        self.slot.sequence += 1;
        let block = block::encode(KIND, &self.slot);
        self.files.write_at(&self.file, 0, &block)?;
        self.files.sync(&self.file)?;
        self.files.write_at(&self.file, SLOT_BYTES as u64, &block)?;
        self.copy_unflushed = true;
        Ok(2 * block.len())
    }

    /// Flush the second copy: nothing follows.
    pub(crate) fn close(&mut self) -> Result<(), FileError> {
        if self.copy_unflushed {
            self.files.sync(&self.file)?;
            self.copy_unflushed = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use holdfast_engine::{Incarnation, Ordinal, Term};

    use super::*;
    use crate::Owner;

    fn stamp() -> Stamp {
        Stamp::new(&Owner { store: "default/words".to_owned(), ordinal: Ordinal(2) }, Incarnation(9))
    }

    fn state(term: u64) -> HardState {
        HardState { term: Term(term), voted_for: term.is_multiple_of(2).then(|| stamp().member) }
    }

    fn written(path: &Path, terms: u64) {
        let mut vote = Vote::create(&Files::default(), path, stamp()).expect("a writable folder");
        for term in 1..=terms {
            vote.write(state(term)).expect("a writable folder");
        }
        vote.close().expect("a writable folder");
    }

    #[test]
    fn the_last_vote_reads_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("vote");
        for terms in 0..4 {
            written(&path, terms);
            let read = Vote::read(&Files::default(), &path).expect("whole");
            assert_eq!(
                (read.hard_state(), read.is_untouched()),
                (if terms == 0 { HardState::default() } else { state(terms) }, terms == 0)
            );
            assert_eq!(read.stamp(), &stamp());
        }
    }

    #[test]
    fn no_flipped_bit_brings_an_older_vote_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("vote");
        written(&path, 4);
        let whole = std::fs::read(&path).expect("written");
        let used = block::encode(KIND, &Slot { stamp: stamp(), sequence: 5, hard_state: state(4) }).len();
        for bit in (0..used * 8).chain(SLOT_BYTES * 8..(SLOT_BYTES + used) * 8) {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &flipped).expect("writable");
            let mut read = Vote::read(&Files::default(), &path).expect("one slot is whole");
            assert_eq!(read.hard_state(), state(4), "bit {bit}");
            if bit.is_multiple_of(97) {
                read.repair().expect("writable");
                assert_eq!(std::fs::read(&path).expect("written"), whole, "bit {bit}");
            }
        }
    }

    #[test]
    fn two_bad_slots_are_damage() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("vote");
        written(&path, 4);
        let mut bytes = std::fs::read(&path).expect("written");
        bytes[30] ^= 1;
        bytes[SLOT_BYTES + 30] ^= 1;
        std::fs::write(&path, &bytes).expect("writable");
        let read = Vote::read(&Files::default(), &path);
        assert!(matches!(read, Err(OpenError::Damaged { what: Damage::Vote, .. })), "{read:?}");
    }

    #[test]
    fn a_first_slot_that_fell_back_or_ran_ahead_is_damage() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("vote");
        let slot = |terms| {
            written(&path, terms);
            std::fs::read(&path).expect("written")[..SLOT_BYTES].to_vec()
        };
        let (old, new) = (slot(2), slot(4));
        for (first, second) in [(&old, &new), (&new, &old)] {
            std::fs::write(&path, [&first[..], second].concat()).expect("writable");
            let read = Vote::read(&Files::default(), &path);
            assert!(matches!(read, Err(OpenError::Damaged { what: Damage::Vote, .. })), "{read:?}");
        }
    }

    #[test]
    fn another_length_is_damage() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("vote");
        written(&path, 1);
        for length in [0, SLOT_BYTES, FILE_BYTES - 1, FILE_BYTES + 1] {
            let mut bytes = std::fs::read(&path).expect("written");
            bytes.resize(length, 0);
            std::fs::write(&path, &bytes).expect("writable");
            let read = Vote::read(&Files::default(), &path);
            assert!(matches!(read, Err(OpenError::Damaged { what: Damage::Length { .. }, .. })), "{read:?}");
            written(&path, 1);
        }
    }
}
