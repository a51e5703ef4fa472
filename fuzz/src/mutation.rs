//! Making inputs from inputs: [`Mutator`].
//!
//! What it refuses to do: know what the bytes mean. A target's `mend` and words are the only hints.

use holdfast_engine::Random;

/// Longest input. Real frames and files are longer, but only by more of the same.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Most changes of one input.
const CHANGES_MAX: u64 = 6;

/// Longest piece that is moved, doubled or dropped at once.
const PIECE_BYTES_MAX: u64 = 128;

/// Numbers at which readers go wrong.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    7,
    8,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 63,
    u64::MAX,
];

/// Makes inputs from a seed and from other inputs.
#[derive(Debug)]
pub struct Mutator {
    random: Random,
    words: &'static [&'static str],
}

impl Mutator {
    /// One that draws by this seed and knows these words.
    pub fn new(seed: u64, words: &'static [&'static str]) -> Mutator {
        Mutator { random: Random::new(seed), words }
    }

    /// A number in `[0, bound)`; 0 if the bound is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    /// A changed copy of one of `inputs`, of at most [`INPUT_BYTES_MAX`] bytes.
    ///
    /// # Panics
    ///
    /// If there are no inputs.
    pub fn mutated(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut input = inputs[self.below(inputs.len())].clone();
        // Most bugs are one step from what is real.
        let changes = 1 + self.random.below(CHANGES_MAX).min(self.random.below(CHANGES_MAX));
        for _ in 0..changes {
            let other = &inputs[self.below(inputs.len())];
            self.change(&mut input, other);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(input.len());
        let piece = self.piece(input, at);
        match self.random.below(16) {
            0..3 if !input.is_empty() => input[at] ^= 1 << self.below(8),
            3 if !input.is_empty() => input[at] = self.random.draw() as u8,
            4 if !input.is_empty() => input[at] = self.edge() as u8,
            5..8 => self.number(input, at),
            8 => drop(input.drain(piece)),
            9 => input.truncate(at),
            10 => {
                let copy = input[piece].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            11 => {
                let copy = input[piece].to_vec();
                let to = self.below(input.len().saturating_sub(copy.len()));
                input[to..to + copy.len()].copy_from_slice(&copy);
            }
            12 => {
                let word = self.word();
                input.splice(at..at, word);
            }
            13 => {
                let word = self.word();
                let end = (at + word.len()).min(input.len());
                input.splice(at..end, word);
            }
            14 => {
                let from = self.below(other.len());
                let piece = self.piece(other, from);
                let end = (at + self.below(piece.len() + 1)).min(input.len());
                input.splice(at..end, other[piece].iter().copied());
            }
            _ => input.extend_from_slice(other),
        }
    }

    /// Some bytes from `at` on.
    fn piece(&mut self, input: &[u8], at: usize) -> std::ops::Range<usize> {
        let longest = PIECE_BYTES_MAX.min((input.len() - at) as u64);
        at..at + 1.max(self.random.below(longest + 1) as usize).min(input.len() - at)
    }

    fn edge(&mut self) -> u64 {
        EDGES[self.below(EDGES.len())]
    }

    /// Overwrite a little-endian number, or move it by a little.
    fn number(&mut self, input: &mut [u8], at: usize) {
        let length = [1, 2, 4, 8][self.below(4)].min(input.len() - at);
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(&input[at..at + length]);
        let number = match self.random.below(3) {
            0 => self.edge(),
            1 => u64::from_le_bytes(bytes).wrapping_add(1 + self.random.below(4)),
            _ => u64::from_le_bytes(bytes).wrapping_sub(1 + self.random.below(4)),
        };
        input[at..at + length].copy_from_slice(&number.to_le_bytes()[..length]);
    }

    fn word(&mut self) -> Vec<u8> {
        if self.words.is_empty() || self.random.chance(0.3) {
            let length = 1 + self.below(8);
            return (0..length).map(|_| self.random.draw() as u8).collect();
        }
        self.words[self.below(self.words.len())].as_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_no_input_is_too_small() {
        let inputs = [vec![], vec![7], b"some text".to_vec(), vec![1; 3000]];
        let made = |seed| {
            let mut mutator = Mutator::new(seed, &["word"]);
            (0..5000).map(|_| mutator.mutated(&inputs)).collect::<Vec<_>>()
        };
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
        assert!(made(3).into_iter().collect::<BTreeSet<_>>().len() > 3000, "few are made twice");
    }

    #[test]
    fn inputs_stay_within_their_bound() {
        let mut mutator = Mutator::new(5, &[]);
        let longest = [vec![0; INPUT_BYTES_MAX]];
        assert!((0..500).all(|_| mutator.mutated(&longest).len() <= INPUT_BYTES_MAX));
    }
}
