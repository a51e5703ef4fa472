//! Opening a member's folder: lock it, see whose it is, read everything, and find that it is whole.
//!
//! What it refuses to do: open a folder of somebody else, or one that has lost what it acknowledged. It never begins
//! anew over what it cannot read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_engine::{Incarnation, Index, Ordinal, Position, Restored};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{CheckpointReader, Checkpoints};
use crate::files::Files;
use crate::folder::Folder;
use crate::identity::{Identity, Stamp};
use crate::log::Resumed;
use crate::recovery::{self, Recovered};
use crate::vote::Vote;
use crate::writer::{Disk, Observer};
use crate::{CheckpointError, Damage, OpenError};

/// Whose folder it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The store's name, `namespace/name`.
    pub store: String,
    /// Which member of it.
    pub ordinal: Ordinal,
}

/// Whether the member keeps a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogPolicy {
    /// Log and votes are on disk.
    Kept,
    /// Neither is: every start is a new incarnation, which forms its store anew. A store of one member can do that.
    None,
}

/// Sizes; the default is for production.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of a segment.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { segment_bytes: 64 * 1024 * 1024 }
    }
}

/// Bytes after the log's last good record that were never durable and are cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// A checkpoint that cannot be read and is not needed: the log reaches back behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedCheckpoint {
    /// The file.
    pub path: PathBuf,
    /// What its name says that it covers.
    pub position: Position,
    /// Where in the file.
    pub offset: u64,
    /// What is wrong there.
    pub what: Damage,
}

/// What a folder holds.
#[derive(Debug)]
pub struct Opened {
    /// Which life of the ordinal this is.
    pub incarnation: Incarnation,
    /// What the engine starts from.
    pub restored: Restored,
    /// The checkpoint that `restored` names, verified; read from its first chunk.
    pub checkpoint: Option<CheckpointReader>,
    /// What was cut off the log.
    pub torn: Option<TornTail>,
    /// Checkpoints that cannot be read and are not needed.
    pub damaged_checkpoints: Vec<DamagedCheckpoint>,
    /// The member was part of a formed store before. Without a log that was another life of it.
    pub previously_formed: bool,
    /// The way to write.
    pub disk: Disk,
}

/// Open or create the folder of a member. `fresh` becomes its incarnation if it has none.
///
/// # Errors
///
/// [`OpenError`]
pub fn open(path: &Path, owner: Owner, policy: LogPolicy, fresh: Incarnation) -> Result<Opened, OpenError> {
    open_with(path, owner, policy, fresh, Options::default())
}

/// As [`open`], with other sizes.
///
/// # Errors
///
/// [`OpenError`]
pub fn open_with(
    path: &Path,
    owner: Owner,
    policy: LogPolicy,
    fresh: Incarnation,
    options: Options,
) -> Result<Opened, OpenError> {
    let folder = Arc::new(Folder::lock(path, Files::default())?);
    let identity = identify(&folder, &owner, policy, fresh)?;
    folder.tidy()?;
    match policy {
        LogPolicy::Kept => open_with_log(folder, &identity, options),
        LogPolicy::None => open_without_log(folder, &identity, options),
    }
}

/// See whose folder this is; write it down if it is nobody's yet, or if this is a new life.
fn identify(
    folder: &Folder,
    owner: &Owner,
    policy: LogPolicy,
    fresh: Incarnation,
) -> Result<Identity, OpenError> {
    let path = folder.identity_path();
    let new =
        |formed_before| Identity { stamp: Stamp::new(owner, fresh), policy, formation: None, formed_before };
    if !path.exists() {
        if has_content(folder)? {
            return Err(OpenError::Damaged { path, offset: 0, what: Damage::Missing });
        }
        let identity = new(false);
        folder.identify(identity.clone())?;
        return Ok(identity);
    }
    let found = Identity::read(&folder.files, &path)?;
    found.stamp.check_owner(&path, &owner.store, owner.ordinal)?;
    if found.policy != policy {
        return Err(OpenError::Policy { path, found: found.policy, expected: policy });
    }
    let identity = match policy {
        LogPolicy::Kept => found,
        LogPolicy::None => new(found.formed_before || found.formation.is_some()),
    };
    match policy {
        LogPolicy::Kept => folder.know(identity.clone()),
        LogPolicy::None => {
            folder.identify(identity.clone())?;
        }
    }
    Ok(identity)
}

/// Whether there is anything that a member only writes after its identity.
fn has_content(folder: &Folder) -> Result<bool, OpenError> {
    let checkpoints = folder.list(&folder.checkpoints(), crate::checkpoint::EXTENSION)?;
    let segments = folder.list(&folder.log(), crate::segment::EXTENSION)?;
    Ok(folder.vote_path().exists() || !checkpoints.is_empty() || !segments.is_empty())
}

fn open_without_log(folder: Arc<Folder>, identity: &Identity, options: Options) -> Result<Opened, OpenError> {
    let checkpoints = Checkpoints::new(Arc::clone(&folder));
    let (checkpoint, damaged) = newest_whole(&checkpoints, identity)?;
    // Without a log nothing reaches back behind a damaged checkpoint.
    if let Some(damaged) = damaged.into_iter().next() {
        let DamagedCheckpoint { path, offset, what, .. } = damaged;
        return Err(OpenError::Damaged { path, offset, what });
    }
    let covered = checkpoint.as_ref().map(CheckpointReader::checkpoint);
    Ok(Opened {
        incarnation: identity.stamp.member.incarnation,
        restored: Restored { checkpoint: covered, ..Restored::default() },
        checkpoint,
        torn: None,
        damaged_checkpoints: Vec::new(),
        previously_formed: identity.formed_before,
        disk: Disk { folder, options, log: None, observer: Observer::default() },
    })
}

fn open_with_log(folder: Arc<Folder>, identity: &Identity, options: Options) -> Result<Opened, OpenError> {
    let vote = open_vote(&folder, identity)?;
    let recovered = match recovery::recover(&folder, identity)? {
        Some(recovered) => recovered,
        None if identity.formation.is_some() => {
            return Err(OpenError::Damaged { path: folder.log(), offset: 0, what: Damage::Missing });
        }
        None => Recovered {
            resumed: Resumed::begin(&folder, identity, 1, Position::ZERO, options.segment_bytes)?,
            entries: Vec::new(),
            torn: None,
        },
    };
    if vote.hard_state().term < recovered.resumed.span.end().term {
        return Err(OpenError::Damaged { path: folder.vote_path(), offset: 0, what: Damage::StaleVote });
    }
    let checkpoints = Checkpoints::new(Arc::clone(&folder));
    let (checkpoint, damaged_checkpoints) = newest_whole(&checkpoints, identity)?;
    let Recovered { resumed, entries, torn } =
        join(&folder, identity, recovered, checkpoint.as_ref(), &damaged_checkpoints, options)?;
    if identity.formation.is_none() && (!entries.is_empty() || checkpoint.is_some()) {
        return Err(OpenError::Damaged { path: folder.identity_path(), offset: 0, what: Damage::Unformed });
    }
    Ok(Opened {
        incarnation: identity.stamp.member.incarnation,
        restored: Restored {
            formation: identity.formation.clone(),
            hard_state: vote.hard_state(),
            checkpoint: checkpoint.as_ref().map(CheckpointReader::checkpoint),
            entries,
        },
        checkpoint,
        torn,
        damaged_checkpoints,
        previously_formed: identity.formation.is_some(),
        disk: Disk { folder, options, log: Some((resumed, vote)), observer: Observer::default() },
    })
}

/// The vote of this life of the member. One that was never part of a store may have none yet.
fn open_vote(folder: &Folder, identity: &Identity) -> Result<Vote, OpenError> {
    let path = folder.vote_path();
    if !path.exists() {
        if identity.formation.is_some() {
            return Err(OpenError::Damaged { path, offset: 0, what: Damage::Missing });
        }
        return Ok(Vote::create(&folder.files, &path, identity.stamp.clone())?);
    }
    let mut vote = Vote::read(&folder.files, &path)?;
    vote.stamp().check(&path, None, identity)?;
    vote.repair()?;
    Ok(vote)
}

/// The newest checkpoint that reads well, and the newer ones that do not.
fn newest_whole(
    checkpoints: &Checkpoints,
    identity: &Identity,
) -> Result<(Option<CheckpointReader>, Vec<DamagedCheckpoint>), OpenError> {
    let mut damaged = Vec::new();
    for file in checkpoints.list().map_err(open_error)? {
        let position = file.checkpoint.position;
        match verify(checkpoints, position, identity) {
            Ok(reader) => return Ok((Some(reader?), damaged)),
            Err(CheckpointError::Damaged { path, offset, what }) => {
                damaged.push(DamagedCheckpoint { path, position, offset, what });
            }
            Err(error) => return Err(open_error(error)),
        }
    }
    Ok((None, damaged))
}

/// Read a checkpoint to its end, and see that it is this member's. The inner error is one that no older one mends.
fn verify(
    checkpoints: &Checkpoints,
    position: Position,
    identity: &Identity,
) -> Result<Result<CheckpointReader, OpenError>, CheckpointError> {
    let mut reader = checkpoints.open(position)?;
    let header = reader.header();
    let owner = &identity.stamp;
    let owned = match identity.policy {
        LogPolicy::Kept => header.stamp.check(reader.path(), header.formed, identity),
        LogPolicy::None => header.stamp.check_owner(reader.path(), &owner.store, owner.member.ordinal),
    };
    if let Err(error) = owned {
        return Ok(Err(error));
    }
    for chunk in reader.by_ref() {
        chunk?;
    }
    reader.rewind()?;
    Ok(Ok(reader))
}

/// See that log and checkpoint go together. A log that does not go on from a fetched checkpoint is older than it: the
/// crash came before its reset, which is done now.
fn join(
    folder: &Folder,
    identity: &Identity,
    recovered: Recovered,
    checkpoint: Option<&CheckpointReader>,
    damaged: &[DamagedCheckpoint],
    options: Options,
) -> Result<Recovered, OpenError> {
    let span = &recovered.resumed.span;
    let position = checkpoint.map_or(Position::ZERO, |reader| reader.checkpoint().position);
    if span.contains(position) {
        return Ok(recovered);
    }
    if position.index < span.start().index {
        // What the log lacks was in a checkpoint, which is damaged or gone.
        return Err(match damaged.first() {
            Some(DamagedCheckpoint { path, offset, what, .. }) => {
                OpenError::Damaged { path: path.clone(), offset: *offset, what: *what }
            }
            None => {
                let next: Index = span.start().index.next();
                OpenError::Damaged { path: folder.log(), offset: 0, what: Damage::Gap { next } }
            }
        });
    }
    let number = recovered.resumed.current.header.number + 1;
    let resumed = Resumed::begin(folder, identity, number, position, options.segment_bytes)?;
    for void in recovered.resumed.kept {
        folder.files.remove(&void.path)?;
    }
    Ok(Recovered { resumed, entries: Vec::new(), torn: recovered.torn })
}

fn open_error(error: CheckpointError) -> OpenError {
    match error {
        CheckpointError::Io { action, path, source } => OpenError::Io { action, path, source },
        CheckpointError::Damaged { path, offset, what } => OpenError::Damaged { path, offset, what },
        CheckpointError::Version { path, found, known } => OpenError::Version { path, found, known },
        error @ (CheckpointError::NotFound { .. } | CheckpointError::Chunk { .. }) => {
            unreachable!("a listed checkpoint was read: {error}")
        }
    }
}

impl fmt::Display for LogPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogPolicy::Kept => "a log",
            LogPolicy::None => "no log",
        })
    }
}
