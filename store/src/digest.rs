//! A 64-bit digest that finds differences: between members' states, and in checkpoints. Not for secrets, and no
//! defence against somebody who wants a collision.
//!
//! The figures are part of the format: members of different versions compare them.

/// Odd, with well-mixed bits: 2⁶⁴ divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Lanes that a long input is read by at once, so that the multiplications overlap.
const LANES: usize = 4;

/// Add one word. For a given `state` different words give different results, and the other way round.
pub(crate) fn mix(state: u64, word: u64) -> u64 {
    let product = (state ^ word).wrapping_mul(MULTIPLIER);
    product ^ (product >> 32)
}

/// The digest of some bytes. Inputs of different lengths that only differ in zeros at the end differ.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let mut lanes = [1u64, 2, 3, 4];
    let (blocks, rest) = bytes.as_chunks::<{ 8 * LANES }>();
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = mix(*lane, u64::from_le_bytes(*word));
        }
    }
    let mut state = lanes.into_iter().fold(bytes.len() as u64, mix);
    let (words, tail) = rest.as_chunks::<8>();
    for word in words {
        state = mix(state, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..tail.len()].copy_from_slice(tail);
    mix(state, u64::from_le_bytes(last))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_changes_the_digest() {
        let bytes: Vec<u8> = (0..100u8).map(|i| i.wrapping_mul(7)).collect();
        let mut seen = BTreeSet::from([digest(&bytes)]);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(digest(&flipped)), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(seen.insert(digest(&bytes[..length])), "length {length}");
        }
    }

    #[test]
    fn zeros_at_the_end_count() {
        let digests: BTreeSet<u64> = (0..100).map(|length| digest(&vec![0; length])).collect();
        assert_eq!(digests.len(), 100);
    }

    #[test]
    fn the_figures_stay_what_they_are() {
        assert_eq!(digest(b""), 0xec28_d0e0_7696_5dfd);
        assert_eq!(digest(b"the same figure on every member, in every version"), 0x6d5f_4b6e_23ca_3b50);
    }
}
