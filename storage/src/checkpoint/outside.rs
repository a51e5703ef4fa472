//! Checkpoints that are kept outside of the members' folders, so that a store outlives all of them.
//!
//! They are files in a folder that every member can write to: the bytes that a member has on its own disk, read back
//! before the file has its name. Whichever member leads brings them there. When every member is lost, ordinal 0 begins
//! the store anew around the newest of them, alone, under a new identity; the others are taken in as new members.
//!
//! What it refuses to do: pass over a checkpoint that it cannot read without saying so, start from another store's, or
//! put an older history beside a newer one.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use holdfast_engine::{Checkpoint, Formation, Membership, Position, StoreId};

use super::{CheckpointFile, CheckpointReader, Compression, EXTENSION, name, newest_first};
use crate::files::{FileError, Files, OpenFile};
use crate::folder::UNFINISHED;
use crate::{CheckpointError, Opened};

/// Bytes that are copied in one go.
const COPY_BYTES: usize = 256 * 1024;

/// How names of checkpoints end that were passed over because they are damaged.
const DAMAGED: &str = "damaged";

/// The checkpoints of one store outside of its members.
#[derive(Clone, Debug)]
pub struct Outside {
    path: PathBuf,
    store: String,
    files: Files,
}

/// The newest checkpoint that can be read.
#[derive(Debug)]
pub struct Newest {
    reader: CheckpointReader,
    passed_over: Vec<PathBuf>,
}

impl Outside {
    /// Those of the store of this name (`namespace/name`) in the folder at `path`, which need not be there yet.
    pub fn new(path: &Path, store: &str) -> Outside {
        Outside { path: path.to_owned(), store: store.to_owned(), files: Files::default() }
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keep a copy of a member's checkpoint, and of all copies the newest `retain`. Nothing happens if a newer one of the
    /// same history is there.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Foreign`] if the folder is another store's, or holds a newer checkpoint of another history; else
    /// why the copy could not be made or read back.
    pub fn keep(
        &self,
        reader: &CheckpointReader,
        retain: NonZeroUsize,
    ) -> Result<CheckpointFile, CheckpointError> {
        fs::create_dir_all(&self.path).map_err(|error| FileError::new("create", &self.path, error))?;
        let position = reader.checkpoint().position;
        if let Some((path, newest)) = self.list()?.into_iter().next() {
            let there = CheckpointReader::open(&self.files, &path, newest)?;
            let other_history = newest.index > position.index && there.formation() != reader.formation();
            if other_history || there.stamp().store != reader.stamp().store {
                return Err(CheckpointError::Foreign { path, found: there.stamp().store.clone() });
            }
            if newest.index > position.index {
                return Ok(CheckpointFile { position: newest, bytes: there.file_bytes(), modified: None });
            }
        }
        let unfinished = self.path.join(format!("member-{}.{UNFINISHED}", reader.stamp().member.ordinal));
        let copied = self.copy(reader, &unfinished);
        if copied.is_err() {
            let _ = self.files.remove(&unfinished);
        }
        let bytes = copied?;
        for (old, _) in self.list()?.into_iter().skip(retain.get()).rev() {
            self.files.remove(&old)?;
        }
        self.files.sync_folder(&self.path)?;
        Ok(CheckpointFile { position, bytes, modified: None })
    }

    /// Copy a file, read the copy back from the disk, and give it its name. Returns its length.
    fn copy(&self, reader: &CheckpointReader, unfinished: &Path) -> Result<u64, CheckpointError> {
        let position = reader.checkpoint().position;
        let mut copy = self.files.create(unfinished)?;
        let bytes = self.fill(reader, &copy)?;
        self.files.sync(&copy)?;
        copy.give_up_pages();
        CheckpointReader::unnamed(&self.files, unfinished, position)?.check()?;
        self.files.rename(&mut copy, self.path.join(name(position)))?;
        self.files.sync_folder(&self.path)?;
        Ok(bytes)
    }

    fn fill(&self, reader: &CheckpointReader, copy: &OpenFile) -> Result<u64, CheckpointError> {
        let bytes = reader.file_bytes();
        let mut block = vec![0; COPY_BYTES];
        let mut at = 0;
        while at < bytes {
            let length = (bytes - at).min(COPY_BYTES as u64);
            let block = &mut block[..length as usize];
            reader.raw(at, block)?;
            self.files.write_at(copy, at, block)?;
            at += length;
        }
        Ok(bytes)
    }

    /// The newest checkpoint that is whole; read to its end for that. `None` if there is none at all.
    ///
    /// # Errors
    ///
    /// What is wrong with the newest one, if none is whole; [`CheckpointError::Foreign`] if one is of another store.
    pub fn newest(&self) -> Result<Option<Newest>, CheckpointError> {
        let mut passed_over = Vec::new();
        let mut first = None;
        for (path, position) in self.list()? {
            match CheckpointReader::verified(&self.files, &path, position) {
                Ok(reader) if reader.stamp().store != self.store => {
                    return Err(CheckpointError::Foreign { path, found: reader.stamp().store.clone() });
                }
                Ok(reader) => return Ok(Some(Newest { reader, passed_over })),
                Err(error @ CheckpointError::Damaged { .. }) => {
                    tracing::warn!(%error, "a checkpoint outside of the members is passed over");
                    passed_over.push(path);
                    first.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        first.map_or(Ok(None), Err)
    }

    fn list(&self) -> Result<Vec<(PathBuf, Position)>, CheckpointError> {
        let failed = |error| FileError::new("list", &self.path, error);
        let items = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            items => items.map_err(failed)?,
        };
        let paths = items.map(|item| item.map(|item| item.path())).collect::<Result<Vec<_>, _>>();
        let mut paths = paths.map_err(failed)?;
        paths.retain(|path| path.extension().is_some_and(|found| found == EXTENSION));
        Ok(newest_first(paths))
    }
}

impl Newest {
    /// What it covers.
    pub fn position(&self) -> Position {
        self.reader.checkpoint().position
    }

    /// Form the store `store` anew in the empty folder of its ordinal 0, which is its only member then: the next start of
    /// that folder goes on from the checkpoint. Damaged newer checkpoints get another name, so that nobody takes them for
    /// newer than what is written from now on.
    ///
    /// It is done once the checkpoint is in the folder, whose header says how the store began: a crash after that is
    /// mended by the next start.
    ///
    /// # Errors
    ///
    /// Why the checkpoint cannot be read or written. The folder is as empty as before, then.
    ///
    /// # Panics
    ///
    /// If the member is part of a store already.
    pub fn begin(self, opened: Opened, store: StoreId) -> Result<(), CheckpointError> {
        let folder = opened.disk.into_folder();
        let mut identity = folder.identity();
        assert!(identity.formation.is_none(), "member {} is formed", identity.stamp.member);
        let formation = Formation { store, voters: vec![identity.stamp.member] };
        let membership = Membership::of(&formation);
        identity.formation = Some(formation);
        folder.know(identity.clone());
        for path in &self.passed_over {
            let aside = path.with_extension(format!("{EXTENSION}.{DAMAGED}"));
            fs::rename(path, &aside).map_err(|error| FileError::new("rename", path, error))?;
        }
        let checkpoint = Checkpoint { position: self.position(), membership };
        let mut writer = super::CheckpointWriter::create(folder.clone(), checkpoint, Compression::None)?;
        for chunk in self.reader {
            writer.chunk(&chunk?)?;
        }
        writer.finish()?;
        folder.identify(identity)?;
        Ok(())
    }
}
