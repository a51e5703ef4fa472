//! A target that fails in every way in which one can, to see that each is found. It is in no list.

use super::{SMALL, memory};
use crate::Target;

/// Panics, overflows its stack, or uses more memory than it may.
pub(super) const BROKEN: Target = Target {
    name: "broken",
    about: "nothing; it fails on purpose",
    samples: || vec![b"some harmless text".to_vec()],
    words: &["panic", "overflow", "memory"],
    mend: None,
    run: fail,
    memory: memory(SMALL, 0),
};

fn fail(bytes: &[u8]) {
    let has = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    assert!(!has(b"panic"), "the panic that was asked for");
    if has(b"overflow") {
        assert!(deeper(0) > 0, "it does not come back");
    }
    if has(b"memory") {
        assert!(!vec![1u8; 2 * SMALL].contains(&2));
    }
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn deeper(depth: u64) -> u64 {
    let here = std::hint::black_box([depth; 64]);
    deeper(depth + 1) + here[0]
}
