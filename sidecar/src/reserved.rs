//! Keys that are the store's own, kept from those who ask for keys by name: the one check for all protocols.

use holdfast_store::is_reserved;

use crate::problem::{Code, Problem};

/// Refuse a key, a prefix, or the last key of a page that lies among the store's own.
pub(crate) fn check(key: &[u8]) -> Result<(), Problem> {
    if is_reserved(key) {
        let detail = "keys that begin with a NUL byte are the store's own: nobody else reads or writes them";
        return Err(Problem::new(Code::InvalidKey, detail));
    }
    Ok(())
}
