//! Inputs on which a target failed once, as text, with what was wrong.
//!
//! A failing input is printed as a byte string; it is pasted here when what it found is mended. Every session begins
//! with these.

/// Target, input.
const INPUTS: &[(&str, &[u8])] = &[
    // An index that a reply says is not there, and a count of keys that a page says it does not have.
    ("peer-frame", b"\x1a\x00\x00\x00\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00"),
    ("client-reply", b"\x1f\x00\x00\x00D\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xf7\x00\x00\x00\x00\x00\x00\x00\x00"),
    // Whoever lost its identity knew that it had been somebody, and forgot it with the next start.
    ("folder", b"\x00\x11\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
    // An identity file was missing, its copy rotten and the vote missing too: the member began anew as if it had never been.
    ("folder", b"\x03\x00\x0a\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x03\x0a\x00\x00\x00\x00\x00\x00"),
    // A span that was too long to be read when it was written with all its units.
    ("words", b"999999h99250ms"),
];

/// The inputs on which this target failed once.
pub fn of(target: &str) -> impl Iterator<Item = Vec<u8>> {
    INPUTS.iter().filter(move |(name, _)| *name == target).map(|(_, input)| input.to_vec())
}
