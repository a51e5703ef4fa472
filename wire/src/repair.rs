//! What a member that repairs its log asks the others, and what they answer, on a connection of its own.
//!
//! The caller knows a position that its log held, the anchor, and wants the entries before it. Whoever holds the anchor
//! holds the same entries before it, so the answer is given from the anchor downwards, as much as fits.
//!
//! What it refuses to do: pass on records that are not one piece of one log.

use bytes::{BufMut, BytesMut};
use holdfast_engine::{Checkpoint, Entry, Index, Membership, Position};

use crate::FrameError;
use crate::cursor::Cursor;
use crate::frame::kind;

/// Most bytes of records in one answer, unless the last of them alone has more: what a repairing member holds in memory
/// per peer, and far below what a frame takes.
pub const REPAIR_BYTES_MAX: usize = 2 * 1024 * 1024;

/// One thing that is said on such a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// "My log held `anchor`; give me the entries up to it, if you can down to the one after `after`."
    Ask {
        /// The last of the entries that are wanted.
        anchor: Position,
        /// The caller has what is up to here.
        after: Index,
    },
    /// Entries that end with the anchor; at least one.
    Entries {
        /// The position before the first of them.
        previous: Position,
        /// In the order of the log.
        entries: Vec<Entry>,
    },
    /// "I cannot give the entry at the anchor."
    Lacking {
        /// Why.
        lack: Lack,
        /// A checkpoint that the sender has, the newest. It can be fetched from it.
        checkpoint: Option<Box<Checkpoint>>,
    },
}

/// Why a member does not give an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It votes, its log is whole, and it holds no such entry: another one in its place, or none.
    Never,
    /// A checkpoint took the entry's place.
    Released,
    /// It cannot tell: its own log is damaged, or it may have forgotten.
    Unsure,
}

/// Append the body of `repair` and return its frame's kind.
pub(crate) fn encode(repair: &Repair, out: &mut BytesMut) -> u8 {
    match repair {
        Repair::Ask { anchor, after } => {
            put_position(out, *anchor);
            out.put_u64_le(after.0);
            kind::REPAIR_ASK
        }
        Repair::Entries { previous, entries } => {
            put_position(out, *previous);
            for entry in entries {
                out.put_slice(&entry.record());
            }
            kind::REPAIR_ENTRIES
        }
        Repair::Lacking { lack, checkpoint } => {
            out.put_u8(match lack {
                Lack::Never => 0,
                Lack::Released => 1,
                Lack::Unsure => 2,
            });
            out.put_u8(u8::from(checkpoint.is_some()));
            if let Some(checkpoint) = checkpoint {
                put_position(out, checkpoint.position);
                out.put_slice(&checkpoint.membership.encode());
            }
            kind::REPAIR_LACKING
        }
    }
}

/// What is in the body of a frame of this kind; `None` if the kind is none of these.
pub(crate) fn decode(kind: u8, mut body: Cursor) -> Result<Option<Repair>, FrameError> {
    let repair = match kind {
        kind::REPAIR_ASK => {
            let repair = Repair::Ask { anchor: body.position()?, after: body.index()? };
            body.end()?;
            repair
        }
        kind::REPAIR_ENTRIES => entries(body)?,
        kind::REPAIR_LACKING => lacking(body)?,
        _ => return Ok(None),
    };
    Ok(Some(repair))
}

fn entries(mut body: Cursor) -> Result<Repair, FrameError> {
    let previous = body.position()?;
    let mut records = body.rest();
    let (mut entries, mut last) = (Vec::new(), previous);
    while !records.is_empty() {
        let entry = Entry::decode(&mut records)?;
        let next = last.index.0.checked_add(1).map(Index);
        if next != Some(entry.index()) || entry.term() < last.term {
            return Err(FrameError::Value { what: "the order of a repair's entries" });
        }
        last = entry.position();
        entries.push(entry);
    }
    if entries.is_empty() {
        return Err(FrameError::Value { what: "the number of a repair's entries" });
    }
    Ok(Repair::Entries { previous, entries })
}

fn lacking(mut body: Cursor) -> Result<Repair, FrameError> {
    let lack = match body.u8()? {
        0 => Lack::Never,
        1 => Lack::Released,
        2 => Lack::Unsure,
        _ => return Err(FrameError::Value { what: "why an entry is lacking" }),
    };
    if !body.flag("whether there is a checkpoint")? {
        body.end()?;
        return Ok(Repair::Lacking { lack, checkpoint: None });
    }
    let position = body.position()?;
    let membership = Membership::decode(&body.rest());
    let membership = membership.ok_or(FrameError::Value { what: "a checkpoint's membership" })?;
    Ok(Repair::Lacking { lack, checkpoint: Some(Box::new(Checkpoint { position, membership })) })
}

fn put_position(out: &mut BytesMut, position: Position) {
    out.put_u64_le(position.term.0);
    out.put_u64_le(position.index.0);
}

#[cfg(test)]
mod tests {
    use holdfast_engine::{EntryKind, Formation, MemberId, StoreId, Term};

    use super::*;
    use crate::Frame;

    fn position(index: u64, term: u64) -> Position {
        Position::new(Term(term), Index(index))
    }

    fn entry(index: u64, term: u64) -> Entry {
        Entry::new(position(index, term), EntryKind::Command, b"payload")
    }

    fn samples() -> Vec<Repair> {
        let formation = Formation { store: StoreId(5), voters: vec![MemberId::default()] };
        let membership = Membership::of(&formation);
        let checkpoint = Box::new(Checkpoint { position: position(7, 2), membership });
        vec![
            Repair::Ask { anchor: position(9, 3), after: Index(4) },
            Repair::Entries { previous: position(4, 1), entries: vec![entry(5, 1), entry(6, 3)] },
            Repair::Lacking { lack: Lack::Never, checkpoint: None },
            Repair::Lacking { lack: Lack::Released, checkpoint: Some(checkpoint) },
            Repair::Lacking { lack: Lack::Unsure, checkpoint: None },
        ]
    }

    fn encoded(repair: Repair) -> BytesMut {
        let mut bytes = BytesMut::new();
        Frame::Repair(repair).encode(&mut bytes).expect("small");
        bytes
    }

    #[test]
    fn what_is_said_is_heard() {
        for repair in samples() {
            let read = Frame::decode(&mut encoded(repair.clone()));
            assert_eq!(read, Ok(Some(Frame::Repair(repair))));
        }
    }

    #[test]
    fn entries_that_are_not_one_piece_are_refused() {
        for entries in
            [vec![entry(6, 1)], vec![entry(5, 1), entry(7, 1)], vec![entry(5, 3), entry(6, 2)], vec![]]
        {
            let read = Frame::decode(&mut encoded(Repair::Entries { previous: position(4, 1), entries }));
            assert!(matches!(read, Err(FrameError::Value { .. })), "{read:?}");
        }
    }

    #[test]
    fn no_mutation_panics() {
        for repair in samples() {
            let bytes = encoded(repair);
            for at in 4..bytes.len() {
                for value in [0, 1, 3, 0x7f, 0xff] {
                    let mut mutated = bytes.clone();
                    mutated[at] = value;
                    let _ = Frame::decode(&mut mutated);
                }
                let mut cut = bytes.clone();
                cut.truncate(at);
                cut[..4].copy_from_slice(&(at as u32 - 4).to_le_bytes());
                let _ = Frame::decode(&mut cut);
            }
        }
    }
}
