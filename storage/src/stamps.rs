//! Working out whose folder it is when neither identity file can be read: from the stamps in all other files.
//!
//! What it refuses to do: choose. If two files disagree, or none knows how the store began, nobody knows.

use std::path::Path;

use holdfast_engine::Formation;

use crate::checkpoint::{self, CheckpointReader};
use crate::folder::Folder;
use crate::identity::{Identity, Stamp};
use crate::segment::{EXTENSION, Header};
use crate::vote::Vote;
use crate::{CheckpointError, LogPolicy, OpenError, Owner};

/// The identity of a member with a log that all its files agree on, if they do and it is `owner`'s.
///
/// # Errors
///
/// The operating system's, and what is not damage: other versions, and files of somebody else.
pub(crate) fn identity(folder: &Folder, owner: &Owner) -> Result<Option<Identity>, OpenError> {
    let mut stamps: Vec<Stamp> = Vec::new();
    let mut formations = Vec::new();
    match Vote::read(&folder.files, &folder.vote_path()) {
        Ok(vote) => stamps.push(vote.stamp().of(&folder.vote_path(), owner)?),
        Err(OpenError::Damaged { .. }) => {}
        Err(error) => return Err(error),
    }
    for path in folder.list(&folder.log(), EXTENSION)? {
        let file = folder.files.open(&path)?;
        match Header::read(folder, &file) {
            Ok((header, _)) => stamps.push(header.stamp.of(&path, owner)?),
            Err(OpenError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    for (path, position) in checkpoint::paths(folder)? {
        match CheckpointReader::verified(&folder.files, &path, position) {
            Ok(reader) => {
                stamps.push(reader.stamp().of(&path, owner)?);
                formations.extend(reader.formation().cloned());
            }
            Err(CheckpointError::Damaged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(agreed(&stamps, &formations))
}

impl Stamp {
    /// The stamp of the file at `path`, if it is of the member that the folder shall be of.
    fn of(&self, path: &Path, owner: &Owner) -> Result<Stamp, OpenError> {
        self.check_owner(path, &owner.store, owner.ordinal)?;
        Ok(self.clone())
    }
}

fn agreed(stamps: &[Stamp], formations: &[Formation]) -> Option<Identity> {
    let (stamp, formation) = (stamps.first()?, formations.first()?);
    let agree =
        stamps.iter().all(|other| other == stamp) && formations.iter().all(|other| other == formation);
    agree.then(|| Identity {
        stamp: stamp.clone(),
        policy: LogPolicy::Kept,
        formation: Some(formation.clone()),
        formed_before: false,
        former: Vec::new(),
    })
}
