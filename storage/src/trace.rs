//! For tests: the changes to a disk in their order, and what a crash after any of them leaves.
//!
//! When a process is killed, everything it did is there. When power is lost, only what was flushed is sure: of every
//! other write each sector arrives or not, and of the names that were not flushed any may be the old or the new ones.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_engine::Random;

use crate::files::Change;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// Something that happened, in the order in which it did.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Create(PathBuf),
    Write {
        path: PathBuf,
        offset: u64,
        bytes: Vec<u8>,
    },
    Sync(PathBuf),
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove(PathBuf),
    SyncFolder(PathBuf),
    /// A change was made to fail; the file, if it was its flush.
    Failed(Option<PathBuf>),
    /// The writer reported that this ticket is durable.
    Done(u64),
    /// The writer reported an error.
    Broken,
    /// A checkpoint of this index was reported durable.
    Checkpointed(u64),
}

/// Records what happens.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    events: Mutex<Vec<Event>>,
    /// Which change fails, from 0.
    fail_at: Option<usize>,
}

impl Trace {
    pub(crate) fn failing_at(change: usize) -> Trace {
        Trace { fail_at: Some(change), ..Trace::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn record(&self, change: Change<'_>) -> io::Result<()> {
        let event = match change {
            Change::Create(path) => Event::Create(path.to_owned()),
            Change::Write { path, offset, bytes } => {
                Event::Write { path: path.to_owned(), offset, bytes: bytes.to_vec() }
            }
            Change::Sync(path) => Event::Sync(path.to_owned()),
            Change::Rename { from, to } => Event::Rename { from: from.to_owned(), to: to.to_owned() },
            Change::Remove(path) => Event::Remove(path.to_owned()),
            Change::SyncFolder(path) => Event::SyncFolder(path.to_owned()),
        };
        let mut events = self.lock();
        let changes = events.iter().filter(|event| event.is_change()).count();
        if self.fail_at == Some(changes) {
            let flushed = if let Event::Sync(path) = event { Some(path) } else { None };
            events.push(Event::Failed(flushed));
            return Err(io::Error::other("made to fail"));
        }
        events.push(event);
        Ok(())
    }

    pub(crate) fn note(&self, event: Event) {
        self.lock().push(event);
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.lock().clone()
    }
}

impl Event {
    /// Whether it is a change to the disk, made or made to fail.
    pub(crate) fn is_change(&self) -> bool {
        !matches!(self, Event::Done(_) | Event::Broken | Event::Checkpointed(_))
    }
}

/// A file: what is flushed, what whoever reads it sees, and the writes that are not flushed.
#[derive(Clone, Debug, Default)]
struct File {
    flushed: Vec<u8>,
    cached: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
}

/// A change of names that is not flushed: what the path names after it.
type Naming = (PathBuf, Option<usize>);

/// What is on a disk and in its page cache after some events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    files: Vec<File>,
    names: BTreeMap<PathBuf, usize>,
    flushed_names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<Vec<Naming>>,
}

impl Model {
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Create(path) => {
                self.files.push(File::default());
                self.name(vec![(path.clone(), Some(self.files.len() - 1))]);
            }
            Event::Write { path, offset, bytes } => {
                let file = self.names[path];
                let file = &mut self.files[file];
                write(&mut file.cached, *offset as usize, bytes);
                file.pending.push((*offset as usize, bytes.clone()));
            }
            Event::Sync(path) => {
                let file = &mut self.files[self.names[path]];
                for (offset, bytes) in std::mem::take(&mut file.pending) {
                    write(&mut file.flushed, offset, &bytes);
                }
            }
            Event::Rename { from, to } => {
                let file = self.names[from];
                self.name(vec![(from.clone(), None), (to.clone(), Some(file))]);
            }
            Event::Remove(path) => self.name(vec![(path.clone(), None)]),
            Event::SyncFolder(folder) => {
                let (here, elsewhere) = std::mem::take(&mut self.pending_names)
                    .into_iter()
                    .partition::<Vec<_>, _>(|change| change[0].0.parent() == Some(folder));
                self.pending_names = elsewhere;
                here.iter().for_each(|change| rename(&mut self.flushed_names, change));
            }
            // What a flush did not write counts as clean from then on: it can be read, and no later flush writes it.
            Event::Failed(Some(path)) => {
                let file = self.names[path];
                self.files[file].pending.clear();
            }
            Event::Failed(None) | Event::Done(_) | Event::Broken | Event::Checkpointed(_) => {}
        }
    }

    fn name(&mut self, change: Vec<Naming>) {
        rename(&mut self.names, &change);
        self.pending_names.push(change);
    }

    /// A disk on which everything is flushed.
    pub(crate) fn flushed(contents: &BTreeMap<PathBuf, Vec<u8>>) -> Model {
        let file = |content: &Vec<u8>| File {
            flushed: content.clone(),
            cached: content.clone(),
            pending: Vec::new(),
        };
        let names = contents.keys().cloned().zip(0..).collect::<BTreeMap<_, _>>();
        Model {
            files: contents.values().map(file).collect(),
            names: names.clone(),
            flushed_names: names,
            pending_names: Vec::new(),
        }
    }

    /// The same disk with its folder `from` called `to`.
    pub(crate) fn moved(&self, from: &Path, to: &Path) -> Model {
        let path = |path: &PathBuf| to.join(path.strip_prefix(from).expect("everything is in the folder"));
        let names =
            |names: &BTreeMap<PathBuf, usize>| names.iter().map(|(name, file)| (path(name), *file)).collect();
        let naming = |change: &Vec<Naming>| change.iter().map(|(name, file)| (path(name), *file)).collect();
        Model {
            files: self.files.clone(),
            names: names(&self.names),
            flushed_names: names(&self.flushed_names),
            pending_names: self.pending_names.iter().map(naming).collect(),
        }
    }

    /// What a killed process leaves.
    pub(crate) fn killed(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.names.iter().map(|(path, &file)| (path.clone(), self.files[file].cached.clone())).collect()
    }

    /// What power loss leaves. Each thing that was not flushed is there with probability `likely / 4`.
    pub(crate) fn cut_off(&self, random: &mut Random, likely: u64) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut names = self.flushed_names.clone();
        for change in &self.pending_names {
            if random.below(4) < likely {
                rename(&mut names, change);
            }
        }
        self.contents(&names, |_| random.below(4) < likely)
    }

    fn contents(
        &self,
        names: &BTreeMap<PathBuf, usize>,
        mut arrived: impl FnMut(usize) -> bool,
    ) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut contents = BTreeMap::new();
        for (path, &file) in names {
            let mut content = self.files[file].flushed.clone();
            for (offset, bytes) in &self.files[file].pending {
                let mut at = 0;
                while at < bytes.len() {
                    let sector = SECTOR_BYTES - (offset + at) % SECTOR_BYTES;
                    let end = bytes.len().min(at + sector);
                    if arrived(offset + at) {
                        write(&mut content, offset + at, &bytes[at..end]);
                    }
                    at = end;
                }
            }
            contents.insert(path.clone(), content);
        }
        contents
    }
}

fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

fn rename(names: &mut BTreeMap<PathBuf, usize>, change: &[Naming]) {
    for (path, file) in change {
        match file {
            Some(file) => names.insert(path.clone(), *file),
            None => names.remove(path),
        };
    }
}

/// Put contents that were under `from` on a real disk under `to`.
pub(crate) fn lay_out(contents: &BTreeMap<PathBuf, Vec<u8>>, from: &Path, to: &Path) {
    for part in ["log", "checkpoints"] {
        std::fs::create_dir_all(to.join(part)).expect("a temporary folder");
    }
    for (path, content) in contents {
        let path = to.join(path.strip_prefix(from).expect("everything is in the folder"));
        std::fs::write(path, content).expect("a temporary folder");
    }
}
