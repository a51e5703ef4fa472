//! What stands between the records of a segment: seals, which prove that everything before them is durable, and cuts.
//!
//! `ffffffff u32 | checksum u32 | kind u32 | digest u32 | segment u64 | offset u64 | term u64 | index u64`,
//! little-endian. No record begins like that: its length cannot be so large. The checksum is CRC-32C over what follows it, seeded with
//! the member's incarnation, so that no bytes of another life, and none that a client chose, pass for a mark. Segment
//! and offset say where the mark belongs; the digest is the CRC-32C of all bytes of the segment before it.
//!
//! What it refuses to do: stand for data. A log without its last seal has lost nothing.

use holdfast_engine::{Incarnation, Index, Position, Term};

/// Bytes of a mark.
pub(crate) const MARK_BYTES: usize = 48;

/// How a mark begins.
const MARKER: [u8; 4] = [0xff; 4];

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Everything before it was flushed before it was written; the log ended here.
    Seal(Position),
    /// The entries after this position are void. What follows was written instead of them.
    Cut(Position),
}

/// Where a mark stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) incarnation: Incarnation,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

impl Mark {
    pub(crate) fn encode(self, place: Place, digest: u32) -> [u8; MARK_BYTES] {
        let (kind, position) = match self {
            Mark::Seal(position) => (1u32, position),
            Mark::Cut(position) => (2u32, position),
        };
        let mut bytes = [0; MARK_BYTES];
        bytes[..4].copy_from_slice(&MARKER);
        bytes[8..12].copy_from_slice(&kind.to_le_bytes());
        bytes[12..16].copy_from_slice(&digest.to_le_bytes());
        bytes[16..24].copy_from_slice(&place.segment.to_le_bytes());
        bytes[24..32].copy_from_slice(&place.offset.to_le_bytes());
        bytes[32..40].copy_from_slice(&position.term.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&position.index.0.to_le_bytes());
        let checksum = checksum(&bytes, place);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The mark at the start of `bytes`, if there is one that belongs at `place`, and its digest.
    pub(crate) fn decode(bytes: &[u8], place: Place) -> Option<(Mark, u32)> {
        if bytes.len() < MARK_BYTES || bytes[..4] != MARKER {
            return None;
        }
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if word(4) != checksum(bytes, place) || long(16) != place.segment || long(24) != place.offset {
            return None;
        }
        let position = Position::new(Term(long(32)), Index(long(40)));
        match word(8) {
            1 => Some((Mark::Seal(position), word(12))),
            2 => Some((Mark::Cut(position), word(12))),
            _ => None,
        }
    }

    /// Whether a seal of this segment stands anywhere in `bytes`, which begin at `place`.
    pub(crate) fn any_seal(bytes: &[u8], place: Place) -> bool {
        Mark::all(bytes, place).any(|(_, mark, _)| matches!(mark, Mark::Seal(_)))
    }

    /// The first mark of this segment in `bytes`, which begin at `place`: where it begins in them, and its digest.
    pub(crate) fn first(bytes: &[u8], place: Place) -> Option<(usize, u32)> {
        Mark::all(bytes, place).next().map(|(at, _, digest)| (at, digest))
    }

    fn all(bytes: &[u8], place: Place) -> impl Iterator<Item = (usize, Mark, u32)> {
        let starts = bytes.windows(MARK_BYTES).enumerate().filter(|(_, window)| window[..4] == MARKER);
        starts.filter_map(move |(at, window)| {
            let place = Place { offset: place.offset + at as u64, ..place };
            Mark::decode(window, place).map(|(mark, digest)| (at, mark, digest))
        })
    }
}

fn checksum(bytes: &[u8], place: Place) -> u32 {
    let seed = crc32c::crc32c(&place.incarnation.0.to_le_bytes());
    crc32c::crc32c_append(seed, &bytes[8..MARK_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Position = Position { term: Term(3), index: Index(12) };
    const PLACE: Place = Place { incarnation: Incarnation(7), segment: 3, offset: 5000 };

    #[test]
    fn a_mark_reads_back_only_where_it_was_written() {
        for mark in [Mark::Seal(AT), Mark::Cut(AT), Mark::Cut(Position::ZERO)] {
            let bytes = mark.encode(PLACE, 0xabcd);
            assert_eq!(Mark::decode(&bytes, PLACE), Some((mark, 0xabcd)));
            for other in [
                Place { incarnation: Incarnation(8), ..PLACE },
                Place { segment: 4, ..PLACE },
                Place { offset: 5001, ..PLACE },
            ] {
                assert_eq!(Mark::decode(&bytes, other), None);
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = Mark::Seal(AT).encode(PLACE, 1);
        for bit in 0..MARK_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Mark::decode(&flipped, PLACE), None, "bit {bit}");
        }
    }

    #[test]
    fn a_seal_is_found_at_any_offset_and_a_cut_is_not_one() {
        for (mark, found) in [(Mark::Seal(AT), true), (Mark::Cut(AT), false)] {
            for before in 0..50 {
                let mut bytes = vec![0xff; before];
                let place = Place { offset: PLACE.offset + before as u64, ..PLACE };
                bytes.extend_from_slice(&mark.encode(place, 0));
                bytes.extend_from_slice(&[0; 9]);
                assert_eq!(Mark::any_seal(&bytes, PLACE), found, "{mark:?} after {before}");
            }
        }
    }
}
