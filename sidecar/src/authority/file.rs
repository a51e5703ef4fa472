//! An authority on a laptop: a file that all members of the store reach, changed under a lock.
//!
//! The lock is the operating system's and ends with the process that holds it. A change is written to another file,
//! flushed, and renamed over the old one, so that the file is whole after any crash. It refuses to guess: a file that
//! cannot be read is no empty one, and neither is one that was there before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::document::{self, Held};
use super::known::Known;
use super::{Authority, AuthorityError, Consulted, Seen};

/// The file, and the files beside it: `NAME.lock`, `NAME.new`.
#[derive(Debug)]
pub(super) struct FileAuthority {
    path: PathBuf,
    known: Known,
}

impl FileAuthority {
    pub(super) fn at(path: PathBuf, known: Known) -> FileAuthority {
        FileAuthority { path, known }
    }

    fn read(&self) -> Result<Option<Held>, AuthorityError> {
        match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("read", &self.path)(source)),
            Ok(text) => document::read(&text)
                .map(Some)
                .map_err(|source| AuthorityError::Document { name: self.name(), source }),
        }
    }

    /// One file is told from another by the store that it is about.
    fn remember(&mut self, held: &Held) -> Result<(), AuthorityError> {
        let identity = held.configuration.store.to_string();
        self.known.remember(&identity).map_err(AuthorityError::Remember)
    }

    fn beside(&self, extension: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(extension);
        name.into()
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AuthorityError + use<> {
    let path = path.to_path_buf();
    move |source| AuthorityError::File { what, path, source }
}

impl Authority for FileAuthority {
    fn name(&self) -> String {
        format!("the file {}", self.path.display())
    }

    fn consult(
        &mut self,
        by_force: bool,
        decide: &mut dyn FnMut(&Seen<'_>) -> Option<Held>,
    ) -> Result<Consulted, AuthorityError> {
        let lock = self.beside("lock");
        let locked = OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
        let locked = locked.map_err(failed("open", &lock))?;
        locked.lock().map_err(failed("lock", &lock))?;
        let holds = self.read()?;
        match &holds {
            Some(held) => self.remember(held)?,
            None if self.known.identity().is_some() && !by_force => {
                return Err(AuthorityError::Gone { name: self.name() });
            }
            None => {}
        }
        let Some(to) = decide(&Seen { held: holds.as_ref(), replaces: None }) else {
            return Ok(Consulted::Holds(holds.map(Box::new)));
        };
        let new = self.beside("new");
        let mut file = File::create(&new).map_err(failed("create", &new))?;
        file.write_all(document::write(&to).as_bytes()).map_err(failed("write", &new))?;
        file.sync_all().map_err(failed("flush", &new))?;
        fs::rename(&new, &self.path).map_err(failed("replace", &self.path))?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("flush", folder))?;
        self.remember(&to)?;
        Ok(Consulted::Replaced)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use holdfast_engine::{Question, Verdict};

    use super::super::answer;
    use super::super::document::tests::configuration;
    use super::*;

    fn change(version: u64) -> Question {
        Question::Change(Box::new(configuration(version)))
    }

    /// The authority in this file, for a member that has a folder of its own and has seen nothing yet.
    fn at(path: &Path) -> (tempfile::TempDir, FileAuthority) {
        let folder = tempfile::tempdir().expect("a folder");
        let known = Known::load(folder.path()).expect("readable");
        (folder, FileAuthority::at(path.to_path_buf(), known))
    }

    fn ask(authority: &mut FileAuthority, question: &Question) -> Verdict {
        answer(authority, question).unwrap_or(Verdict::Unknown)
    }

    #[test]
    fn it_changes_only_by_one_version() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_member, mut authority) = at(&folder.path().join("authority"));
        let mut answer = |question: &Question| ask(&mut authority, question);
        assert_eq!(answer(&Question::Read), Verdict::Holds(None));
        assert_eq!(answer(&change(2)), Verdict::Holds(None));
        assert_eq!(answer(&change(1)), Verdict::Changed);
        let first = Verdict::Holds(Some(Box::new(configuration(1))));
        assert_eq!(answer(&change(1)), first);
        assert_eq!(answer(&change(3)), first);
        assert_eq!(answer(&Question::Read), first);
        assert_eq!(answer(&change(2)), Verdict::Changed);
    }

    #[test]
    fn of_many_that_ask_for_the_same_version_one_gets_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("authority");
        for version in 1..=20 {
            let askers: Vec<_> = (0..4)
                .map(|_| {
                    let (member, mut authority) = at(&path);
                    thread::spawn(move || (ask(&mut authority, &change(version)), member).0)
                })
                .collect();
            let verdicts = askers.into_iter().map(|asker| asker.join().expect("it does not panic"));
            assert_eq!(
                verdicts.filter(|verdict| *verdict == Verdict::Changed).count(),
                1,
                "version {version}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("authority");
        let (_member, mut authority) = at(&path);
        assert_eq!(ask(&mut authority, &change(1)), Verdict::Changed);
        fs::write(&path, "{").expect("writable");
        assert_eq!(ask(&mut authority, &Question::Read), Verdict::Unknown);
        assert_eq!(ask(&mut authority, &change(2)), Verdict::Unknown);
        let (_other, mut nowhere) = at(&folder.path().join("missing/authority"));
        assert_eq!(ask(&mut nowhere, &change(1)), Verdict::Unknown);
    }

    #[test]
    fn a_file_that_was_there_and_is_gone_is_not_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("authority");
        let (_member, mut authority) = at(&path);
        assert_eq!(ask(&mut authority, &change(1)), Verdict::Changed);
        fs::remove_file(&path).expect("it is there");
        let gone = answer(&mut authority, &Question::Read).expect_err("it is gone");
        assert!(gone.is_lost(), "{gone}");
        assert!(answer(&mut authority, &change(1)).is_err());
        assert!(!path.exists(), "it is not made up again");
        let by_force = authority.consult(true, &mut |_| None).expect("a person may");
        assert!(matches!(by_force, Consulted::Holds(None)));
    }
}
