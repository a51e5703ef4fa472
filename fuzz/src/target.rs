//! What a fuzz target is: [`Target`].

/// One reader of bytes that somebody else made, and what has to hold for it.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is read, and where it comes from.
    pub about: &'static str,
    /// Real inputs, the same at every call; at least one.
    pub samples: fn() -> Vec<Vec<u8>>,
    /// Words that inputs are made of, beside what the samples have.
    pub words: &'static [&'static str],
    /// Sets the lengths and checksums in an input right, so that a mutation gets past them. Never changes a sample.
    pub mend: Option<fn(&mut Vec<u8>)>,
    /// Panics if a property does not hold. Does the same whenever it is given the same.
    pub run: fn(&[u8]),
    /// How much memory it may use at a time.
    pub memory: Memory,
}

/// How much memory a target may use at a time, beside what was in use before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes for an input of whatever length.
    pub base: usize,
    /// Bytes more for each byte of the input.
    pub per_byte: usize,
}

impl Memory {
    /// What an input of so many bytes may use.
    pub fn limit(self, input_bytes: usize) -> usize {
        self.base + self.per_byte * input_bytes
    }
}
