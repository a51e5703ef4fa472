//! Keys that are the store's own: those that begin with [`RESERVED`].
//!
//! What Holdfast keeps about itself, such as the catalogue of files, is in the same keyspace as the users' keys, so that
//! undo, checkpoints, hashes and watches hold for it too. The state treats these keys as all others, with one exception:
//! the empty prefix, which means "all keys" to users, does not cover them. That users neither read nor write them by name
//! is up to those who take users' requests; [`is_reserved`] tells them.

/// The first byte of every key that is the store's own.
pub const RESERVED: u8 = 0;

/// The first of the keys that are not reserved, if it exists.
pub(crate) const FIRST_OF_USERS: &[u8] = &[RESERVED + 1];

/// Whether a key, or every key that begins so, is the store's own.
pub fn is_reserved(key: &[u8]) -> bool {
    key.first() == Some(&RESERVED)
}

/// Whether `key` is among those that `prefix` means: it begins so, and if the prefix is empty, it is not reserved.
pub fn covers(prefix: &[u8], key: &[u8]) -> bool {
    if prefix.is_empty() { !is_reserved(key) } else { key.starts_with(prefix) }
}

/// Where the keys begin that `prefix` means.
pub(crate) fn start(prefix: &[u8]) -> &[u8] {
    if prefix.is_empty() { FIRST_OF_USERS } else { prefix }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_are_all_keys_of_users() {
        assert!(covers(b"", b"a") && covers(b"", b"\x01") && covers(b"a", b"ab"));
        assert!(!covers(b"", b"\0") && !covers(b"", b"\0files") && !covers(b"a", b"b"));
        assert!(covers(b"\0", b"\0files"), "whoever asks for them gets them");
        assert!(is_reserved(b"\0files") && !is_reserved(b"a\0") && !is_reserved(b""));
    }
}
