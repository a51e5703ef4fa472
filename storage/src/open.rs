//! Opening a member's folder.
use crate::*;
use holdfast_engine::{Incarnation, Ordinal, Position, Restored};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

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
    /// Neither is: every start is a new incarnation.
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
    /// The member was part of a formed store before.
    pub previously_formed: bool,
    /// The way to write.
    pub disk: Disk,
}

/// Open or create the folder of a member.
pub fn open(path: &Path, owner: Owner, policy: LogPolicy, fresh: Incarnation) -> Result<Opened, OpenError> {
    open_with(path, owner, policy, fresh, Options::default())
}

/// As [`open`], with other sizes.
pub fn open_with(
    _p: &Path,
    _o: Owner,
    _l: LogPolicy,
    _f: Incarnation,
    _s: Options,
) -> Result<Opened, OpenError> {
    unimplemented!()
}

impl fmt::Display for LogPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogPolicy::Kept => "a log",
            LogPolicy::None => "no log",
        })
    }
}
