//! A small checksummed piece of a file: identity, vote, the headers of segments and checkpoints.
//!
//! `magic [8] | checksum u32 | version u32 | length u32 | body`, integers little-endian; the checksum is CRC-32C over
//! magic and everything after itself. This frame never changes, so that every version can tell a damaged file from
//! one of another version.
//!
//! What it refuses to do: guess. A block reads back as exactly what was written, or not at all.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Damage;

/// Bytes before the body.
pub(crate) const BLOCK_HEADER_BYTES: usize = 20;

/// Longest body: a store's name of a few hundred bytes and seven voters are far below it.
const BODY_BYTES_MAX: usize = 3 * 1024;

/// What a block is for: the first bytes of its file, and the version of its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
}

/// Why some bytes are not such a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockError {
    Damaged(Damage),
    Version { found: u32, known: u32 },
}

/// Encode `body` as a block of this kind.
///
/// # Panics
///
/// If it is longer than a block may be; names are checked before they get here.
pub(crate) fn encode<T: Serialize>(kind: Kind, body: &T) -> Vec<u8> {
    let body = postcard::to_allocvec(body).expect("a value of this crate can be encoded");
    assert!(body.len() <= BODY_BYTES_MAX, "a block of {} bytes", body.len());
    let mut block = Vec::with_capacity(BLOCK_HEADER_BYTES + body.len());
    block.extend_from_slice(&kind.magic);
    block.extend_from_slice(&[0; 4]);
    block.extend_from_slice(&kind.version.to_le_bytes());
    block.extend_from_slice(&(body.len() as u32).to_le_bytes());
    block.extend_from_slice(&body);
    let checksum = checksum(&block);
    block[8..12].copy_from_slice(&checksum.to_le_bytes());
    block
}

/// Decode the block at the start of `bytes`; also says how long it is.
pub(crate) fn decode<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<(T, usize), BlockError> {
    if bytes.len() < BLOCK_HEADER_BYTES || bytes[..8] != kind.magic {
        return Err(BlockError::Damaged(Damage::Magic));
    }
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let length = word(16) as usize;
    if length > BODY_BYTES_MAX || bytes.len() < BLOCK_HEADER_BYTES + length {
        return Err(BlockError::Damaged(Damage::Checksum));
    }
    let whole = BLOCK_HEADER_BYTES + length;
    if checksum(&bytes[..whole]) != word(8) {
        return Err(BlockError::Damaged(Damage::Checksum));
    }
    let version = word(12);
    if version != kind.version {
        return Err(BlockError::Version { found: version, known: kind.version });
    }
    let body = postcard::from_bytes(&bytes[BLOCK_HEADER_BYTES..whole])
        .map_err(|_| BlockError::Damaged(Damage::Content))?;
    Ok((body, whole))
}

fn checksum(block: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&block[..8]), &block[12..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { magic: *b"HOLDtest", version: 3 };

    #[test]
    fn a_block_reads_back_whatever_follows_it() {
        let mut bytes = encode(KIND, &("name".to_owned(), 7u64));
        let length = bytes.len();
        bytes.extend_from_slice(b"next");
        assert_eq!(decode(KIND, &bytes), Ok((("name".to_owned(), 7u64), length)));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_damage() {
        let bytes = encode(KIND, &("name".to_owned(), 7u64));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = decode::<(String, u64)>(KIND, &flipped);
            assert!(matches!(read, Err(BlockError::Damaged(_))), "bit {bit}: {read:?}");
        }
        for length in 0..bytes.len() {
            let read = decode::<(String, u64)>(KIND, &bytes[..length]);
            assert!(matches!(read, Err(BlockError::Damaged(_))), "{length}: {read:?}");
        }
    }

    #[test]
    fn another_version_is_not_damage() {
        let newer = encode(Kind { version: 4, ..KIND }, &1u8);
        assert_eq!(decode::<u8>(KIND, &newer), Err(BlockError::Version { found: 4, known: 3 }));
    }
}
