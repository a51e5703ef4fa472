//! Whose folder this is: the store's name, the member, and how the store began.
//!
//! There are two files with the same content, replaced by rename one after the other, so neither is ever torn and one
//! is whole while the other one rots. The first counts; the copy stands in for it when it cannot be read, and whatever
//! the copy is behind by shows: a formation that it lacks in entries without a store, an incarnation in files that are
//! not its own.
//!
//! What it refuses to do: draw an incarnation. Whoever opens the folder has the randomness.

use std::path::Path;

use holdfast_engine::{Formation, Incarnation, MemberId, Ordinal, StoreId};
use serde::{Deserialize, Serialize};

use crate::block::{self, BlockError, Kind};
use crate::files::{FileError, Files};
use crate::{Damage, LogPolicy, OpenError, Owner};

const KIND: Kind = Kind { magic: *b"HOLDFid\n", version: 1 };

/// Longest name of a store, in bytes: a Kubernetes namespace (63) and name (253), with the slash, rounded up.
pub const STORE_NAME_BYTES_MAX: usize = 320;

/// The content of the identity file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) stamp: Stamp,
    pub(crate) policy: LogPolicy,
    /// How the store began, once this life of the member knows.
    pub(crate) formation: Option<Formation>,
    /// An earlier life of this ordinal was part of a formed store, and what it held is gone: there is no log, or nobody
    /// could tell whose it was.
    pub(crate) formed_before: bool,
    /// Earlier incarnations whose log and checkpoints this one goes on with, oldest first: those that lost their vote.
    pub(crate) former: Vec<Incarnation>,
}

/// Most former incarnations that are remembered. Each is a lost vote of a member whose log from before is still here;
/// the files of more than a few have long been released.
const FORMER_MAX: usize = 8;

/// Who wrote a file; in the first bytes of every file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// The store's name.
    pub(crate) store: String,
    pub(crate) member: MemberId,
}

impl Identity {
    pub(crate) fn read(files: &Files, path: &Path) -> Result<Identity, OpenError> {
        let file = match files.open(path) {
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => {
                return Err(OpenError::Damaged { path: path.to_owned(), offset: 0, what: Damage::Missing });
            }
            file => file?,
        };
        let bytes = file.read(file.bytes()?.min(2 * IDENTITY_BYTES_MAX))?;
        let (identity, length) = block::decode(KIND, &bytes).map_err(|error| error.at(path, 0))?;
        if length != bytes.len() {
            let what = Damage::Length { found: bytes.len() as u64, expected: length as u64 };
            return Err(OpenError::Damaged { path: path.to_owned(), offset: length as u64, what });
        }
        Ok(identity)
    }

    /// Write one of the two files.
    pub(crate) fn write(&self, files: &Files, path: &Path) -> Result<usize, FileError> {
        let bytes = block::encode(KIND, self);
        files.replace(path, &bytes)?;
        Ok(bytes.len())
    }

    /// Whether files of this incarnation of the member are this one's own.
    pub(crate) fn goes_on_from(&self, incarnation: Incarnation) -> bool {
        self.stamp.member.incarnation == incarnation || self.former.contains(&incarnation)
    }

    /// The same member in a new life, which keeps what the old one had but its vote.
    pub(crate) fn renewed(&self, fresh: Incarnation) -> Identity {
        let mut renewed = self.clone();
        renewed.former.push(renewed.stamp.member.incarnation);
        let excess = renewed.former.len().saturating_sub(FORMER_MAX);
        renewed.former.drain(..excess);
        renewed.stamp.member.incarnation = fresh;
        renewed
    }

    /// The store that this life of the member is part of.
    pub(crate) fn store(&self) -> Option<StoreId> {
        self.formation.as_ref().map(|formation| formation.store)
    }
}

/// More than an identity file ever has.
const IDENTITY_BYTES_MAX: u64 = 4096;

impl Stamp {
    pub(crate) fn new(owner: &Owner, incarnation: Incarnation) -> Stamp {
        Stamp { store: owner.store.clone(), member: MemberId { ordinal: owner.ordinal, incarnation } }
    }

    /// Whether the file at `path` with this stamp belongs to `owner`, whatever its incarnation.
    pub(crate) fn check_owner(&self, path: &Path, store: &str, ordinal: Ordinal) -> Result<(), OpenError> {
        if self.store != store {
            return Err(OpenError::ForeignStore {
                path: path.to_owned(),
                found: self.store.clone(),
                expected: store.to_owned(),
            });
        }
        if self.member.ordinal != ordinal {
            return Err(OpenError::ForeignMember {
                path: path.to_owned(),
                found: self.member.ordinal.to_string(),
                expected: ordinal.to_string(),
            });
        }
        Ok(())
    }

    /// Whether the file at `path` with this stamp was written by this life of this member, or by one that it goes on
    /// from, for this store.
    pub(crate) fn check(
        &self,
        path: &Path,
        formed: Option<StoreId>,
        identity: &Identity,
    ) -> Result<(), OpenError> {
        let expected = &identity.stamp;
        self.check_owner(path, &expected.store, expected.member.ordinal)?;
        if !identity.goes_on_from(self.member.incarnation) {
            return Err(OpenError::ForeignMember {
                path: path.to_owned(),
                found: self.member.to_string(),
                expected: expected.member.to_string(),
            });
        }
        match (formed, identity.store()) {
            (Some(found), Some(expected)) if found != expected => Err(OpenError::ForeignStore {
                path: path.to_owned(),
                found: found.to_string(),
                expected: expected.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

impl BlockError {
    pub(crate) fn at(self, path: &Path, offset: u64) -> OpenError {
        let path = path.to_owned();
        match self {
            BlockError::Damaged(what) => OpenError::Damaged { path, offset, what },
            BlockError::Version { found, known } => OpenError::Version { path, found, known },
        }
    }
}
