//! An authority on a laptop: a file that all members of the store reach, changed under a lock.
//!
//! The lock is the operating system's and ends with the process that holds it. A change is written to another file,
//! flushed, and renamed over the old one, so that the file is whole after any crash. It refuses to guess: a file that
//! cannot be read is no empty one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use holdfast_engine::{Configuration, Question, Verdict};

use super::Authority;
use super::document::{self, DocumentError};

/// The file, and the files beside it: `NAME.lock`, `NAME.new`.
#[derive(Debug)]
pub(super) struct FileAuthority {
    path: PathBuf,
}

/// Why nobody knows what a file holds, or whether it was changed.
#[derive(Debug, thiserror::Error)]
enum FileError {
    /// The system refuses something.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} is damaged, or was edited; bring back the file as it was, or a copy", path.display())]
    Document {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: DocumentError,
    },
}

impl FileAuthority {
    pub(super) fn at(path: PathBuf) -> FileAuthority {
        FileAuthority { path }
    }

    fn try_answer(&self, question: &Question) -> Result<Verdict, FileError> {
        let lock = self.beside("lock");
        let at = |what, path: &Path| {
            let path = path.to_path_buf();
            move |source| FileError::Io { what, path, source }
        };
        let locked = OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
        let locked = locked.map_err(at("open", &lock))?;
        locked.lock().map_err(at("lock", &lock))?;
        let holds = self.read()?;
        let Question::Change(to) = question else { return Ok(Verdict::Holds(holds.map(Box::new))) };
        if holds.map_or(0, |holds| holds.version) + 1 != to.version {
            return Ok(Verdict::Holds(holds.map(Box::new)));
        }
        let new = self.beside("new");
        let mut file = File::create(&new).map_err(at("create", &new))?;
        file.write_all(document::write(to).as_bytes()).map_err(at("write", &new))?;
        file.sync_all().map_err(at("flush", &new))?;
        fs::rename(&new, &self.path).map_err(at("replace", &self.path))?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(at("flush", folder))?;
        Ok(Verdict::Changed)
    }

    fn read(&self) -> Result<Option<Configuration>, FileError> {
        let path = self.path.clone();
        match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FileError::Io { what: "read", path, source }),
            Ok(text) => match document::read(&text) {
                Ok(configuration) => Ok(Some(configuration)),
                Err(source) => Err(FileError::Document { path, source }),
            },
        }
    }

    fn beside(&self, extension: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(extension);
        name.into()
    }
}

impl Authority for FileAuthority {
    fn answer(&mut self, question: &Question) -> Verdict {
        self.try_answer(question).unwrap_or_else(|error| {
            tracing::warn!(reason = crate::listener::chain(&error), "the authority cannot be asked");
            Verdict::Unknown
        })
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::document::tests::configuration;
    use super::*;

    fn change(version: u64) -> Question {
        Question::Change(Box::new(configuration(version)))
    }

    #[test]
    fn it_changes_only_by_one_version() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut authority = FileAuthority::at(folder.path().join("authority"));
        assert_eq!(authority.answer(&Question::Read), Verdict::Holds(None));
        assert_eq!(authority.answer(&change(2)), Verdict::Holds(None));
        assert_eq!(authority.answer(&change(1)), Verdict::Changed);
        let first = Verdict::Holds(Some(Box::new(configuration(1))));
        assert_eq!(authority.answer(&change(1)), first);
        assert_eq!(authority.answer(&change(3)), first);
        assert_eq!(authority.answer(&Question::Read), first);
        assert_eq!(authority.answer(&change(2)), Verdict::Changed);
    }

    #[test]
    fn of_many_that_ask_for_the_same_version_one_gets_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("authority");
        for version in 1..=20 {
            let askers: Vec<_> = (0..4)
                .map(|_| {
                    let mut authority = FileAuthority::at(path.clone());
                    thread::spawn(move || authority.answer(&change(version)))
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
        let mut authority = FileAuthority::at(path.clone());
        assert_eq!(authority.answer(&change(1)), Verdict::Changed);
        fs::write(&path, "{").expect("writable");
        assert_eq!(authority.answer(&Question::Read), Verdict::Unknown);
        assert_eq!(authority.answer(&change(2)), Verdict::Unknown);
        let mut nowhere = FileAuthority::at(folder.path().join("missing/authority"));
        assert_eq!(nowhere.answer(&change(1)), Verdict::Unknown);
    }
}
