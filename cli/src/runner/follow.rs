//! Notices that the manifest was edited, by reading it again and again.
//!
//! Reading a small file a few times a second costs nothing and works on every file system and with every editor.
//! Refuses to judge the content.

use std::io;
use std::path::{Path, PathBuf};

/// The manifest as it was last acted on, and as it was last seen.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    acted_on: String,
    seen: Option<String>,
    missing: bool,
}

/// What a look at the manifest found.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing new.
    Same,
    /// This content, twice in a row: an editor that is half way through is not caught in the act.
    Edited(String),
    /// It cannot be read any more. Said once.
    Unreadable(String),
}

impl Follower {
    /// Follows `path`, whose present content is known.
    pub fn new(path: &Path, content: String) -> Follower {
        Follower { path: path.to_path_buf(), acted_on: content, seen: None, missing: false }
    }

    /// Looks at the file.
    pub fn look(&mut self) -> Look {
        let content = match std::fs::read(&self.path).and_then(|bytes| {
            String::from_utf8(bytes)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
        }) {
            Ok(content) => content,
            Err(_) if std::mem::replace(&mut self.missing, true) => return Look::Same,
            Err(error) => return Look::Unreadable(error.to_string()),
        };
        self.missing = false;
        if content == self.acted_on {
            self.seen = None;
            return Look::Same;
        }
        if self.seen.as_ref() == Some(&content) {
            self.acted_on.clone_from(&content);
            self.seen = None;
            return Look::Edited(content);
        }
        self.seen = Some(content);
        Look::Same
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_edit_is_reported_once_and_only_when_it_is_whole() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("store.yaml");
        fs::write(&path, "one").expect("writable");
        let mut follower = Follower::new(&path, "one".into());
        assert_eq!(follower.look(), Look::Same);
        fs::write(&path, "tw").expect("writable");
        assert_eq!(follower.look(), Look::Same);
        fs::write(&path, "two").expect("writable");
        assert_eq!(follower.look(), Look::Same);
        assert_eq!(follower.look(), Look::Edited("two".into()));
        assert_eq!(follower.look(), Look::Same);
    }

    #[test]
    fn a_missing_file_is_said_once_and_coming_back_is_no_edit() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("store.yaml");
        let mut follower = Follower::new(&path, "one".into());
        assert!(matches!(follower.look(), Look::Unreadable(_)));
        assert_eq!(follower.look(), Look::Same);
        fs::write(&path, "one").expect("writable");
        assert_eq!((follower.look(), follower.look()), (Look::Same, Look::Same));
        fs::remove_file(&path).expect("ours");
        assert!(matches!(follower.look(), Look::Unreadable(_)));
    }
}
