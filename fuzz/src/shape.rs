//! What a target did with an input, without the particulars: a [`Shape`]. Inputs with a new one are worth keeping.
//!
//! It stands in for the coverage that a stable compiler does not count: which variants came out, in which order, and
//! which error, but no figures and no content.

use std::cell::Cell;
use std::fmt::{self, Debug, Write};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Bytes of a value's text that are looked at: beyond that, long lists would all look new.
const TEXT_BYTES_MAX: usize = 600;

thread_local! {
    static NOTED: Cell<u64> = const { Cell::new(0) };
}

/// Note what was read.
pub(crate) fn note(value: &impl Debug) {
    let mut words =
        Words { hash: DefaultHasher::new(), left: TEXT_BYTES_MAX, quoted: false, before: ' ', word: 0 };
    // It ends early when it has seen enough.
    let _ = write!(words, "{value:?}");
    words.hash.write_u64(words.word);
    note_number(words.hash.finish());
}

/// Note how far something went. Figures are taken by their order of magnitude.
pub(crate) fn note_size(size: usize) {
    note_number(u64::from(usize::BITS - size.leading_zeros()));
}

fn note_number(number: u64) {
    NOTED.with(|noted| {
        let mut hash = DefaultHasher::new();
        (noted.get(), number).hash(&mut hash);
        noted.set(hash.finish());
    });
}

/// All that was noted since it was taken last.
pub(crate) fn take() -> u64 {
    NOTED.take()
}

/// Hashes the words of a text that are no content: not quoted, and not a word twice in a row.
struct Words {
    hash: DefaultHasher,
    left: usize,
    quoted: bool,
    before: char,
    word: u64,
}

impl Write for Words {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            if c == '"' && self.before != '\\' {
                self.quoted = !self.quoted;
            } else if !self.quoted && c.is_ascii_alphabetic() {
                self.word = self.word.wrapping_mul(31).wrapping_add(u64::from(c));
            } else if !self.quoted && self.word != 0 {
                self.hash.write_u64(std::mem::take(&mut self.word));
            }
            self.before = c;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(value: &impl Debug) -> u64 {
        take();
        note(value);
        take()
    }

    #[test]
    fn it_shows_variants_and_neither_figures_nor_content() {
        assert_eq!(shape(&Some(7)), shape(&Some(900)));
        assert_eq!(shape(&Some("text")), shape(&Some("an \"other\" one")));
        assert_ne!(shape(&Some(7)), shape(&None::<u8>));
        assert_ne!(shape(&Ok::<_, ()>(Some(1))), shape(&Some(Ok::<_, ()>(1))));
    }

    #[test]
    fn it_is_taken_once_and_in_order() {
        note(&1);
        assert_ne!(take(), 0);
        assert_eq!(take(), 0);
        let pair = |first: &str, second: &str| {
            [first, second].iter().for_each(|word| note(&format_args!("{word}")));
            take()
        };
        assert_ne!(pair("a", "b"), pair("b", "a"));
    }
}
