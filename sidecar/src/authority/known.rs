//! Which authority this member has been formed with: a small file in its folder.
//!
//! An authority that was deleted and made again is another one: it knows nothing of what was committed, and whoever believed
//! it could lead without having everything. So a member remembers the first one that it saw, and believes no other, unless
//! a person's order says in it that it takes the first one's place.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The file's name in the member's folder.
const FILE: &str = "authority-seen";

/// Longest identity that is believed; a uid of Kubernetes has 36 bytes, a store's identity 32.
const IDENTITY_BYTES_MAX: usize = 128;

/// The authority that a member remembers.
#[derive(Debug)]
pub(super) struct Known {
    path: PathBuf,
    identity: Option<String>,
}

impl Known {
    /// What the member in `folder` remembers.
    ///
    /// # Errors
    ///
    /// The file is there and cannot be read.
    pub(super) fn load(folder: &Path) -> io::Result<Known> {
        let path = folder.join(FILE);
        let identity = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
            Ok(text) => {
                let text = text.trim_end();
                if text.is_empty() || text.len() > IDENTITY_BYTES_MAX {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "it names no authority"));
                }
                Some(text.to_owned())
            }
        };
        Ok(Known { path, identity })
    }

    /// The authority's identity, if one was ever seen.
    pub(super) fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// Remember this one from now on. It is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// The disk refuses. What is remembered is as it was.
    pub(super) fn remember(&mut self, identity: &str) -> io::Result<()> {
        if self.identity.as_deref() == Some(identity) {
            return Ok(());
        }
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(identity.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        self.identity = Some(identity.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_there_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let load = || Known::load(folder.path());
        assert_eq!(load().expect("readable").identity(), None);
        load().expect("readable").remember("one").expect("writable");
        assert_eq!(load().expect("readable").identity(), Some("one"));
        load().expect("readable").remember("another").expect("writable");
        assert_eq!(load().expect("readable").identity(), Some("another"));
        for nothing in ["", "\n", &"x".repeat(1000)] {
            fs::write(folder.path().join(FILE), nothing).expect("writable");
            assert!(load().is_err(), "{nothing:?}");
        }
    }
}
