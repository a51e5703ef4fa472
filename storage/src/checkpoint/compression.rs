//! How chunks stand in a checkpoint's file: as they are, or compressed: [`Compression`].
//!
//! A compressed chunk has the highest bit of its length set, and begins with the length that it had before:
//!
//! ```text
//! length u32 | checksum u32 | length before u32 | LZ4 block
//! ```
//!
//! What it refuses to do: trust a length. What a chunk claims to become is bounded before any memory is asked for.

use lz4_flex::block;

use super::CHECKPOINT_CHUNK_BYTES_MAX;

/// In the length of a chunk: it is compressed.
const COMPRESSED: u32 = 1 << 31;

/// The length before, at the start of a compressed chunk.
const LENGTH_BYTES: usize = 4;

/// How the chunks of a checkpoint are written. Reading needs no choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they are: the fastest.
    #[default]
    None,
    /// By LZ4, each chunk by itself, unless it would save less than an eighth. Costs the checkpoint's thread some
    /// nanoseconds for each byte, and a start less than one.
    Lz4,
}

/// What a chunk's length says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length {
    /// Bytes in the file.
    pub(super) stored: usize,
    pub(super) compressed: bool,
}

impl Length {
    pub(super) fn of(word: u32) -> Length {
        Length { stored: (word & !COMPRESSED) as usize, compressed: word & COMPRESSED != 0 }
    }
}

/// The chunk as it is to be stored, with the word for its length; `None`: as it is.
pub(super) fn compressed(bytes: &[u8]) -> Option<(u32, Vec<u8>)> {
    let mut stored = vec![0; LENGTH_BYTES + block::get_maximum_output_size(bytes.len())];
    stored[..LENGTH_BYTES].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    let length = block::compress_into(bytes, &mut stored[LENGTH_BYTES..]).ok()?;
    stored.truncate(LENGTH_BYTES + length);
    let worth_it = stored.len() < bytes.len() - bytes.len() / 8;
    worth_it.then_some((stored.len() as u32 | COMPRESSED, stored))
}

/// The reverse; `None` if these bytes are no such chunk.
pub(super) fn decompressed(stored: &[u8]) -> Option<Vec<u8>> {
    let (length, block) = stored.split_first_chunk::<LENGTH_BYTES>()?;
    let length = u32::from_le_bytes(*length) as usize;
    if !(1..=CHECKPOINT_CHUNK_BYTES_MAX).contains(&length) {
        return None;
    }
    let mut bytes = vec![0; length];
    let found = block::decompress_into(block, &mut bytes).ok()?;
    (found == length).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_is_the_same_again_and_nothing_else_is_taken() {
        for bytes in [vec![0; 100], b"some value ".repeat(10_000), vec![7; CHECKPOINT_CHUNK_BYTES_MAX]] {
            let (word, stored) = compressed(&bytes).expect("it has a pattern");
            assert_eq!(Length::of(word), Length { stored: stored.len(), compressed: true });
            assert_eq!(decompressed(&stored).as_ref(), Some(&bytes));
            for length in 0..stored.len().min(200) {
                assert_eq!(decompressed(&stored[..length]), None, "cut to {length}");
            }
            for wrong in [0, bytes.len() as u32 + 1, bytes.len() as u32 - 1, u32::MAX] {
                let forged = [&wrong.to_le_bytes(), &stored[LENGTH_BYTES..]].concat();
                assert_eq!(decompressed(&forged), None, "{wrong} bytes claimed");
            }
        }
    }

    #[test]
    fn what_has_no_pattern_stays_as_it_is() {
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(10_000)
        .collect();
        assert_eq!(compressed(&noise), None);
        assert_eq!(compressed(b"x"), None);
        assert_eq!(Length::of(10_000), Length { stored: 10_000, compressed: false });
    }
}
