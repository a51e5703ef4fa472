//! What members say to each other about the bytes of files, on connections of their own ([`Purpose::Files`]).
//!
//! One [`Parcel`] is `length u32 | kind u8 | body`, integers little-endian; `length` counts kind and body. A piece of a
//! file is `crc32c u32 | bytes`, so that a bit that was flipped on the way is found before anybody is given it; what is
//! said beside the pieces is postcard. Decoding refuses a length before it keeps anything, so that a connection never
//! holds more than one parcel.
//!
//! [`Purpose::Files`]: crate::Purpose::Files

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// Longest piece of a file: a block, which is checked as a whole before it is sent. Long enough that what is done once
/// for each piece does not count, short enough that dozens of transfers fit into a few MiB.
pub const PIECE_BYTES_MAX: usize = 256 * 1024;

/// Longest of the other parcels: two names of 4 KiB each, with room.
const WORDS_BYTES_MAX: usize = 16 * 1024;

/// Longest reason in words: what fits beside the numbers of [`Words::Refused`], so that whatever was read can be said again.
const TEXT_BYTES_MAX: usize = WORDS_BYTES_MAX - 4;

/// Bytes of a parcel's length.
const LENGTH_BYTES: usize = 4;

const KIND_WORDS: u8 = 1;
const KIND_PIECE: u8 = 2;

/// A file's SHA-256.
pub type Digest = [u8; 32];

/// One thing that is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parcel {
    /// A piece of a file, in order.
    Piece(Piece),
    /// Everything else.
    Words(Words),
}

/// Some bytes of a file, `[1, PIECE_BYTES_MAX]` of them, and their checksum, which is computed once however often they are
/// sent and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    bytes: Bytes,
    sum: u32,
}

/// What is asked and answered. A connection asks one thing at a time; the connection's end takes everything back that
/// was not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Words {
    /// "Keep what follows": pieces, then [`Words::End`]. Answered by [`Words::Kept`].
    Keep {
        /// Names the upload that they are of.
        upload: u128,
        /// How long it will be, if that is known.
        size: Option<u64>,
    },
    /// The pieces are complete.
    End {
        /// How many bytes they were.
        size: u64,
        /// SHA-256 over them.
        digest: Digest,
    },
    /// It is durable, and its digest is the one that was named.
    Kept,
    /// "Send me the bytes `[from, to)` of this file." Answered by [`Words::Here`], pieces, and [`Words::Done`].
    Send {
        /// Which file.
        digest: Digest,
        /// The first byte.
        from: u64,
        /// The byte after the last one; [`u64::MAX`] is the end.
        to: u64,
    },
    /// The file is here.
    Here {
        /// How long it is, all of it.
        size: u64,
    },
    /// "Read this file from its beginning to its end: is it whole?" Answered by [`Words::Here`].
    Verify {
        /// Which file.
        digest: Digest,
    },
    /// "Nothing refers to this file any more": remove it unless something does. Answered by [`Words::Done`].
    Forget {
        /// Which file.
        digest: Digest,
        /// The upload that nothing refers to any more. Others of the same bytes may be on their way.
        upload: u128,
    },
    /// "Get everything now that you should have and have not." Answered by [`Words::Recovered`].
    Recover,
    /// What came of it.
    Recovered {
        /// Copies that were missing.
        total: u64,
        /// How many of them are there now.
        success: u64,
        /// How many are not.
        failed: u64,
    },
    /// "How are you?" Answered by [`Words::Am`].
    Ask,
    /// How this member is.
    Am {
        /// The port where clients reach it.
        client_port: u16,
        /// Transfers that are under way at it.
        transfers: u32,
        /// Bytes that are free where it keeps files.
        free_bytes: u64,
    },
    /// It is done.
    Done,
    /// It is not done.
    Refused {
        /// Why, for programs.
        why: Refusal,
        /// Why, for people; cut to what fits.
        text: String,
    },
    /// "Take an upload that a client sent to me": answered by [`Words::Ready`] before any of it is sent, then pieces,
    /// [`Words::Taken`] answers [`Words::TakeEnd`].
    Take(Box<Upload>),
    /// There is room for it; the pieces may come.
    Ready,
    /// The pieces of an upload are complete.
    TakeEnd,
    /// It is a file now, as the concern asks.
    Taken {
        /// How long it is.
        size: u64,
        /// SHA-256 over it.
        digest: Digest,
        /// Of every member that was to have it: whether it has, or why not.
        copies: Vec<Copied>,
    },
}

/// An upload as a client wants it. Names and texts are checked by whoever takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// What it is to be called.
    pub name: String,
    /// What it was called where it comes from.
    pub original: String,
    /// How long it is, if the client says so.
    pub size: Option<u64>,
    /// On how many members it is to be; `None` for all.
    pub replicas: Option<u8>,
    /// How many must have it before it is acknowledged, as clients write it; `None` for the store's own concern.
    pub concern: Option<String>,
    /// What it is, if the client says so.
    pub digest: Option<Digest>,
    /// Only if there is no such file.
    pub only_if_absent: bool,
}

/// What became of one copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Of which member, by its ordinal.
    pub ordinal: u8,
    /// Why it has none; `None`: it has it, checked and durable.
    pub why_not: Option<String>,
}

/// Why something about a file is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The file is not here.
    Missing,
    /// The file is here and is not what it was.
    Damaged,
    /// The disk is full.
    DiskFull,
    /// The file is larger than files may be.
    TooLarge,
    /// What came is not what was named.
    Mismatch,
    /// Too much is under way.
    Busy,
    /// Something else; the text says what.
    Failed,
    /// There is a file of this name.
    Exists,
    /// Fewer members have it than were asked for.
    TooFewCopies,
    /// The store has as many files as it may have.
    TooMany,
    /// It is asked for what cannot be.
    Invalid,
    /// Nobody can tell what became of it.
    Unknown,
}

/// Why some bytes are not a parcel. The connection has to be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParcelError {
    /// The length lies outside what a parcel can have.
    #[error("a parcel cannot be {length} bytes long")]
    Length {
        /// What the peer claims.
        length: usize,
    },
    /// A kind or word that this version does not know, or not all of it.
    #[error("the parcel is not known to this version")]
    Malformed,
    /// The piece is not what was sent.
    #[error("a piece was changed on its way")]
    Changed,
}

impl Parcel {
    /// Append the parcel to `out`; a piece's bytes are copied.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Parcel::Piece(piece) => {
                out.put_slice(&piece.head());
                out.put_slice(&piece.bytes);
            }
            Parcel::Words(words) => words.encode(out),
        }
    }

    /// Take the parcel at the start of `read` off it; `None` while it is not complete.
    ///
    /// # Errors
    ///
    /// [`ParcelError`], as soon as the bytes that are there cannot become a parcel.
    pub fn decode(read: &mut BytesMut) -> Result<Option<Parcel>, ParcelError> {
        let Some(length) = read.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if !(2..=1 + 4 + PIECE_BYTES_MAX).contains(&length) {
            return Err(ParcelError::Length { length });
        }
        if read.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        read.advance(LENGTH_BYTES);
        let mut body = read.split_to(length).freeze();
        match body.get_u8() {
            KIND_PIECE if body.len() > 4 => {
                let sum = body.get_u32_le();
                let piece = Piece::new(body);
                if piece.sum == sum { Ok(Some(Parcel::Piece(piece))) } else { Err(ParcelError::Changed) }
            }
            KIND_WORDS if body.len() <= WORDS_BYTES_MAX => match postcard::take_from_bytes(&body) {
                Ok((words, [])) => Ok(Some(Parcel::Words(words))),
                _ => Err(ParcelError::Malformed),
            },
            _ => Err(ParcelError::Malformed),
        }
    }
}

impl Words {
    /// Append the words to `out`. A refusal's text that is too long is cut.
    ///
    /// # Panics
    ///
    /// If names or reasons are so long that nobody would read them: more than 16 KiB together.
    pub fn encode(&self, out: &mut BytesMut) {
        let body = match self {
            Words::Refused { why, text } if text.len() > TEXT_BYTES_MAX => {
                let end = text.floor_char_boundary(TEXT_BYTES_MAX);
                postcard::to_allocvec(&Words::Refused { why: *why, text: text[..end].to_owned() })
            }
            words => postcard::to_allocvec(words),
        };
        let body = body.expect("words are plain data");
        assert!(
            body.len() <= WORDS_BYTES_MAX,
            "whoever speaks keeps names and reasons short: {} bytes",
            body.len()
        );
        out.put_u32_le(1 + body.len() as u32);
        out.put_u8(KIND_WORDS);
        out.put_slice(&body);
    }
}

impl Piece {
    /// Some bytes of a file.
    ///
    /// # Panics
    ///
    /// If they are none, or more than [`PIECE_BYTES_MAX`].
    pub fn new(bytes: Bytes) -> Piece {
        let sum = crc32c::crc32c(&bytes);
        Piece::with_sum(bytes, sum)
    }

    /// Bytes that were checked against their CRC32C just now.
    ///
    /// # Panics
    ///
    /// As [`Piece::new`].
    pub fn with_sum(bytes: Bytes, sum: u32) -> Piece {
        assert!((1..=PIECE_BYTES_MAX).contains(&bytes.len()), "a piece of {} bytes", bytes.len());
        Piece { bytes, sum }
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Their CRC32C.
    pub fn sum(&self) -> u32 {
        self.sum
    }

    /// The bytes alone.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// What goes before the bytes: whoever sends many writes both at once, without copying.
    pub fn head(&self) -> [u8; 9] {
        let mut head = [0; 9];
        head[..4].copy_from_slice(&(5 + self.bytes.len() as u32).to_le_bytes());
        head[4] = KIND_PIECE;
        head[5..].copy_from_slice(&self.sum.to_le_bytes());
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcels() -> Vec<Parcel> {
        let digest = [7; 32];
        let words = [
            Words::Keep { upload: 5, size: Some(9) },
            Words::End { size: 9, digest },
            Words::Send { digest, from: 1, to: u64::MAX },
            Words::Recovered { total: 3, success: 2, failed: 1 },
            Words::Am { client_port: 8001, transfers: 2, free_bytes: 1 << 40 },
            Words::Take(Box::new(Upload {
                name: "n".repeat(4096),
                original: "o".repeat(4096),
                size: Some(u64::MAX),
                replicas: Some(2),
                concern: Some("majority".to_owned()),
                digest: Some(digest),
                only_if_absent: true,
            })),
            Words::Taken {
                size: 9,
                digest,
                copies: vec![Copied { ordinal: 6, why_not: Some("it is down".to_owned()) }],
            },
            Words::Refused { why: Refusal::DiskFull, text: "full".to_owned() },
            Words::Refused { why: Refusal::Failed, text: "w".repeat(TEXT_BYTES_MAX) },
        ];
        let pieces = [Bytes::from_static(b"x"), Bytes::from(vec![3; PIECE_BYTES_MAX])];
        words.map(Parcel::Words).into_iter().chain(pieces.map(Piece::new).map(Parcel::Piece)).collect()
    }

    #[test]
    fn what_was_said_is_heard_and_no_part_of_it_before() {
        let mut all = BytesMut::new();
        parcels().iter().for_each(|parcel| parcel.encode(&mut all));
        let mut read = BytesMut::new();
        let mut heard = Vec::new();
        for chunk in all.chunks(1000) {
            read.extend_from_slice(chunk);
            while let Some(parcel) = Parcel::decode(&mut read).expect("a parcel") {
                heard.push(parcel);
            }
        }
        assert_eq!((heard, read.len()), (parcels(), 0));
    }

    #[test]
    fn a_flipped_bit_of_a_piece_is_found() {
        let mut sent = BytesMut::new();
        Parcel::Piece(Piece::new(Bytes::from_static(b"some bytes"))).encode(&mut sent);
        for at in LENGTH_BYTES + 1..sent.len() {
            let mut flipped = sent.clone();
            flipped[at] ^= 4;
            assert_eq!(Parcel::decode(&mut flipped), Err(ParcelError::Changed), "byte {at}");
        }
    }

    #[test]
    fn nothing_else_is_a_parcel_and_a_claimed_length_costs_nothing() {
        for (bytes, error) in [
            (&b"\xff\xff\xff\xff"[..], ParcelError::Length { length: u32::MAX as usize }),
            (b"\x01\0\0\0\x01", ParcelError::Length { length: 1 }),
            (b"\x02\0\0\0\x09a", ParcelError::Malformed),
            (b"\x02\0\0\0\x01\xff", ParcelError::Malformed),
            (b"\x05\0\0\0\x02abcd", ParcelError::Malformed),
        ] {
            assert_eq!(Parcel::decode(&mut BytesMut::from(bytes)), Err(error));
        }
    }

    #[test]
    fn a_long_reason_is_cut() {
        let mut out = BytesMut::new();
        Words::Refused { why: Refusal::Failed, text: "ö".repeat(10_000) }.encode(&mut out);
        let Ok(Some(Parcel::Words(Words::Refused { text, .. }))) = Parcel::decode(&mut out) else {
            panic!("it is said")
        };
        assert!((TEXT_BYTES_MAX - 1..=TEXT_BYTES_MAX).contains(&text.len()), "{}", text.len());
        assert!(text.starts_with('ö'));
    }
}
