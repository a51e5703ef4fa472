//! Opening a member's folder: whose it is, what it remembers, and whether that holds together.
//!
//! # What the parts must agree on
//!
//! - Every file carries the store's name, the ordinal and the incarnation of the identity file; checkpoints of a
//!   member without a log may be from earlier incarnations.
//! - The log leads up to the newest checkpoint, or starts right after it. If it ends before it, or holds another term
//!   at its index, then the checkpoint was fetched, or covers entries that were committed by others and not flushed
//!   here, and the process ended before the log was begun anew. What the log holds is then covered by the checkpoint
//!   or was never committed, and it is begun anew now.
//! - The vote is not older than the log's last entry: votes are durable before entries of their term.
//!
//! # Without a log
//!
//! A member without a log forgets its votes and its writes when it stops, so each start is a new incarnation, which
//! has never been part of a store: [`Opened::restored`] has no formation, and a store of one member forms itself anew
//! at once, under a new store identity, around the checkpoint's state. [`Opened::previously_formed`] tells such a start
//! from a first one. A newest checkpoint that is damaged is an error there too: an older one would silently lose more
//! than the interval that the user chose. Whoever wants the older one removes the damaged file.
//!
//! What it refuses to do: repair damage beyond what has a copy in the same folder, start empty where something was, or change anything before all is checked.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_engine::{Entry, Incarnation, Ordinal, Position, Restored};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, CheckpointReader, Nobody, Taker};
use crate::damaged::Damaged;
use crate::files::Files;
use crate::folder::Folder;
use crate::identity::{Identity, STORE_NAME_BYTES_MAX, Stamp};
use crate::log::Resumed;
use crate::recovery;
use crate::span::Span;
use crate::stamps;
use crate::vote::Vote;
use crate::writer::{Disk, Observer};
use crate::{CheckpointError, Damage, OpenError};

/// Whose folder it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The store's name, `namespace/name`; at most [`STORE_NAME_BYTES_MAX`] bytes.
    pub store: String,
    /// Which member of it.
    pub ordinal: Ordinal,
}

/// Whether a member keeps a log. Cannot change during the life of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogPolicy {
    /// The log and the vote are on disk: nothing that was reported durable is ever forgotten.
    Kept,
    /// Neither is; checkpoints may be. Every start is a new incarnation.
    None,
}

/// Sizes. The default is for production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Length of a segment of the log in bytes, at least 8 KiB; a longer record gets a longer segment. A member holds
    /// one to three segments more than its entries need: the last one, the next one, and an old one that will be used again.
    pub segment_bytes: u64,
}

/// The end of the log that was never acknowledged, and that a crash left unreadable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub path: PathBuf,
    /// Where the last good record ends, in bytes from the start of the file.
    pub offset: u64,
    /// How many bytes were there and are cut off.
    pub bytes: u64,
}

/// A checkpoint that cannot be read and is not needed: the log reaches back to an older one, or to its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedCheckpoint {
    /// The file. It is removed: the next reader of all files must not find the same damage again.
    pub path: PathBuf,
    /// What it covers, by its name.
    pub position: Position,
    /// Where in the file, in bytes from its start.
    pub offset: u64,
    /// What is wrong there.
    pub what: Damage,
}

/// An opened folder.
#[derive(Debug)]
pub struct Opened {
    /// The life of the ordinal that goes on, or begins.
    pub incarnation: Incarnation,
    /// What the engine starts from. The entries may begin before the checkpoint.
    pub restored: Restored,
    /// The checkpoint that `restored` names: read once and whole, into the taker if there was one, and at its first chunk.
    pub checkpoint: Option<CheckpointReader>,
    /// What was cut off the log.
    pub torn: Option<TornTail>,
    /// Checkpoints that cannot be read and are not needed.
    pub damaged_checkpoints: Vec<DamagedCheckpoint>,
    /// This ordinal was part of a formed store in some life of this folder.
    pub previously_formed: bool,
    /// A first start, because what was here was moved aside; why.
    pub put_aside: Option<String>,
    /// The way to write, and to the checkpoints.
    pub disk: Disk,
}

/// What a folder turned out to be.
#[derive(Debug)]
pub enum Survey {
    /// All that was durable is there.
    Whole(Box<Opened>),
    /// Some of it is not, and can be put back.
    Damaged(Box<Damaged>),
}

impl Survey {
    fn whole(opened: Opened) -> Survey {
        Survey::Whole(Box::new(opened))
    }

    fn damaged(damaged: Damaged) -> Survey {
        Survey::Damaged(Box::new(damaged))
    }
}

/// Length of a new member's first segment. Its start waits for these zeros; those of the next segment are written
/// beside it.
const FIRST_SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

/// The least length of a segment: a header and as much again.
const SEGMENT_BYTES_MIN: u64 = 8 * 1024;

impl Default for Options {
    fn default() -> Options {
        // At 50 MB/s of writes a new one is needed about every second; a store on the smallest useful volume (1 GiB)
        // spends an eighth of it on the last segment and the next.
        Options { segment_bytes: 64 * 1024 * 1024 }
    }
}

/// Open the folder of a member, or create it for one whose incarnation is `fresh`.
///
/// `fresh` is drawn at random by the caller for every call; it is used if the folder is new or keeps no log.
///
/// # Errors
///
/// [`OpenError`].
pub fn open(path: &Path, owner: Owner, policy: LogPolicy, fresh: Incarnation) -> Result<Opened, OpenError> {
    open_with(path, owner, policy, fresh, Options::default())
}

/// As [`open`], with other sizes.
///
/// # Errors
///
/// [`OpenError`].
pub fn open_with(
    path: &Path,
    owner: Owner,
    policy: LogPolicy,
    fresh: Incarnation,
    options: Options,
) -> Result<Opened, OpenError> {
    open_through(Files::default(), path, &owner, policy, fresh, options)
}

/// As [`open_with`], but a folder that is damaged and can be repaired is no error.
///
/// # Errors
///
/// [`OpenError`].
pub fn survey(
    path: &Path,
    owner: &Owner,
    policy: LogPolicy,
    fresh: Incarnation,
    options: Options,
) -> Result<Survey, OpenError> {
    survey_into(path, owner, policy, fresh, options, &mut Nobody::default())
}

/// As [`survey`]; the chunks of the checkpoint that is found go to `taker` while they are read and checked.
///
/// # Errors
///
/// [`OpenError`].
pub fn survey_into(
    path: &Path,
    owner: &Owner,
    policy: LogPolicy,
    fresh: Incarnation,
    options: Options,
    taker: &mut dyn Taker,
) -> Result<Survey, OpenError> {
    survey_through(Files::default(), path, owner, policy, fresh, options, taker)
}

/// As [`open_with`], through a file system that tests watch.
pub(crate) fn open_through(
    files: Files,
    path: &Path,
    owner: &Owner,
    policy: LogPolicy,
    fresh: Incarnation,
    options: Options,
) -> Result<Opened, OpenError> {
    match survey_through(files, path, owner, policy, fresh, options, &mut Nobody::default())? {
        Survey::Whole(opened) => Ok(*opened),
        Survey::Damaged(damaged) => Err(damaged.into_error()),
    }
}

pub(crate) fn survey_through(
    files: Files,
    path: &Path,
    owner: &Owner,
    policy: LogPolicy,
    fresh: Incarnation,
    options: Options,
    taker: &mut dyn Taker,
) -> Result<Survey, OpenError> {
    let options = Options { segment_bytes: options.segment_bytes.max(SEGMENT_BYTES_MIN) };
    if owner.store.len() > STORE_NAME_BYTES_MAX {
        return Err(OpenError::Name { bytes: owner.store.len() });
    }
    let folder = Arc::new(Folder::lock(path, files)?);
    let identity = match folder.read_identity() {
        Ok(identity) => identity,
        Err(OpenError::Damaged { what: Damage::Missing, .. }) if is_untouched(&folder)? => {
            return create(folder, owner, policy, fresh, options).map(Survey::whole);
        }
        Err(error @ OpenError::Damaged { .. }) if policy == LogPolicy::Kept => {
            let identity = stamps::identity(&folder, owner)?;
            return Damaged::look(folder, identity, fresh, options, error).map(Survey::damaged);
        }
        Err(error) => return Err(error),
    };
    identity.stamp.check_owner(&folder.identity_path(), &owner.store, owner.ordinal)?;
    if identity.policy != policy {
        let path = folder.identity_path();
        return Err(OpenError::Policy { path, found: identity.policy, expected: policy });
    }
    if policy == LogPolicy::None {
        return begin_again(folder, identity, fresh, options, taker).map(Survey::whole);
    }
    match restore(Arc::clone(&folder), identity.clone(), options, taker) {
        Err(error @ OpenError::Damaged { what: Damage::Unformed, .. }) => {
            let identity = stamps::identity(&folder, owner)?;
            Damaged::look(folder, identity, fresh, options, error).map(Survey::damaged)
        }
        Err(error @ OpenError::Damaged { .. }) => {
            Damaged::look(folder, Some(identity), fresh, options, error).map(Survey::damaged)
        }
        opened => opened.map(Survey::whole),
    }
}

/// The first start in a folder. Its identity is written last; a folder without one in which a member has written
/// anything is damaged, not new.
fn create(
    folder: Arc<Folder>,
    owner: &Owner,
    policy: LogPolicy,
    fresh: Incarnation,
    options: Options,
) -> Result<Opened, OpenError> {
    folder.settle()?;
    let identity = Identity {
        stamp: Stamp::new(owner, fresh),
        policy,
        formation: None,
        formed_before: folder.has_put_aside(),
        former: Vec::new(),
    };
    let previously_formed = identity.formed_before;
    let log = match policy {
        LogPolicy::Kept => {
            let bytes = options.segment_bytes.min(FIRST_SEGMENT_BYTES);
            let log = Resumed::begin(&folder, &identity, 1, Position::ZERO, bytes)?;
            Some((log, Vote::create(&folder.files, &folder.vote_path(), identity.stamp.clone())?))
        }
        LogPolicy::None => None,
    };
    folder.identify(identity)?;
    folder.sync_parent();
    Ok(Opened {
        incarnation: fresh,
        put_aside: folder.why_put_aside(),
        restored: Restored { formed_before: previously_formed, ..Restored::default() },
        checkpoint: None,
        torn: None,
        damaged_checkpoints: Vec::new(),
        previously_formed,
        disk: Disk { folder, options, log, observer: Observer::default(), ledger: Arc::default() },
    })
}

/// Whether a folder without identity holds nothing but what an interrupted first start leaves.
fn is_untouched(folder: &Folder) -> Result<bool, OpenError> {
    let vote = match Vote::read(&folder.files, &folder.vote_path()) {
        Ok(vote) => vote.is_untouched(),
        Err(OpenError::Damaged { what, .. }) => what == Damage::Missing,
        Err(error) => return Err(error),
    };
    Ok(vote && recovery::is_untouched(folder)? && checkpoint::paths(folder)?.is_empty())
}

/// A later start of a member with a log.
fn restore(
    folder: Arc<Folder>,
    identity: Identity,
    options: Options,
    taker: &mut dyn Taker,
) -> Result<Opened, OpenError> {
    let mut log = recovery::read(&folder, &identity)?;
    let mut vote = Vote::read(&folder.files, &folder.vote_path())?;
    vote.stamp().check(&folder.vote_path(), None, &identity)?;
    if vote.stamp().member != identity.stamp.member {
        // A life that goes on from another one began, and its vote was not written yet.
        return Err(OpenError::Damaged { path: folder.vote_path(), offset: 0, what: Damage::Vote });
    }
    let span = &log.resumed.span;
    let (checkpoint, damaged_checkpoints) = choose(&folder, &identity, span, taker)?;
    let position = checkpoint.as_ref().map(|reader| reader.checkpoint().position);
    let covered = position.unwrap_or(Position::ZERO);
    let behind = !span.contains(covered);
    let damaged = |path, what| Err(OpenError::Damaged { path, offset: 0, what });
    if behind && span.start().index >= covered.index {
        return damaged(folder.checkpoints(), Damage::Gap { next: span.start().index.next() });
    }
    let last_term = if behind { None } else { log.entries.last().map(Entry::term) };
    if last_term.is_some_and(|term| vote.hard_state().term < term) {
        return damaged(folder.vote_path(), Damage::StaleVote);
    }
    if identity.formation.is_none() && (position.is_some() || span.end() != Position::ZERO) {
        return damaged(folder.identity_path(), Damage::Unformed);
    }

    folder.know(identity.clone());
    folder.settle()?;
    folder.mend(&identity)?;
    for DamagedCheckpoint { path, .. } in &damaged_checkpoints {
        folder.files.remove(path)?;
    }
    log.repair(&folder)?;
    vote.repair()?;
    if behind {
        log.replace(&folder, &identity, covered, options.segment_bytes)?;
    }
    Ok(Opened {
        incarnation: identity.stamp.member.incarnation,
        previously_formed: identity.formation.is_some() || identity.formed_before,
        put_aside: None,
        restored: Restored {
            formation: identity.formation,
            hard_state: vote.hard_state(),
            checkpoint: checkpoint.as_ref().map(CheckpointReader::checkpoint),
            entries: log.entries,
            formed_before: identity.formed_before,
        },
        checkpoint,
        torn: log.torn,
        damaged_checkpoints,
        disk: Disk {
            folder,
            options,
            log: Some((log.resumed, vote)),
            observer: Observer::default(),
            ledger: Arc::default(),
        },
    })
}

/// A later start of a member without a log.
fn begin_again(
    folder: Arc<Folder>,
    mut identity: Identity,
    fresh: Incarnation,
    options: Options,
    taker: &mut dyn Taker,
) -> Result<Opened, OpenError> {
    let checkpoint = match checkpoint::paths(&folder)?.first() {
        Some((path, position)) => Some(CheckpointReader::taken(&folder.files, path, *position, taker)?),
        None => None,
    };
    if let Some(reader) = &checkpoint {
        let expected = &identity.stamp;
        reader.stamp().check_owner(reader.path(), &expected.store, expected.member.ordinal)?;
    }
    identity.stamp.member.incarnation = fresh;
    identity.formed_before |= identity.formation.take().is_some();
    let previously_formed = identity.formed_before;
    folder.settle()?;
    folder.identify(identity)?;
    let covered = checkpoint.as_ref().map(CheckpointReader::checkpoint);
    Ok(Opened {
        incarnation: fresh,
        restored: Restored { checkpoint: covered, formed_before: previously_formed, ..Restored::default() },
        checkpoint,
        torn: None,
        damaged_checkpoints: Vec::new(),
        previously_formed,
        put_aside: None,
        disk: Disk { folder, options, log: None, observer: Observer::default(), ledger: Arc::default() },
    })
}

/// The newest checkpoint that can be read. A damaged one is passed over only if the log holds everything that it
/// covered since the one that is taken instead.
fn choose(
    folder: &Folder,
    identity: &Identity,
    span: &Span,
    taker: &mut dyn Taker,
) -> Result<(Option<CheckpointReader>, Vec<DamagedCheckpoint>), OpenError> {
    let mut damaged = Vec::new();
    let mut newest_error = None;
    for (path, position) in checkpoint::paths(folder)? {
        match CheckpointReader::taken(&folder.files, &path, position, taker) {
            Ok(reader) if newest_error.is_none() || span.contains(position) => {
                let formed = reader.formation().map(|formation| formation.store);
                reader.stamp().check(&path, formed, identity)?;
                return Ok((Some(reader), damaged));
            }
            Ok(_) => break,
            Err(CheckpointError::Damaged { path, offset, what }) if span.contains(position) => {
                damaged.push(DamagedCheckpoint { path: path.clone(), position, offset, what });
                newest_error.get_or_insert(OpenError::Damaged { path, offset, what });
            }
            Err(error) => return Err(newest_error.unwrap_or(error.into())),
        }
    }
    match newest_error {
        Some(error) if span.start() != Position::ZERO => Err(error),
        _ => Ok((None, damaged)),
    }
}

impl From<CheckpointError> for OpenError {
    fn from(error: CheckpointError) -> OpenError {
        match error {
            CheckpointError::Io { action, path, source } => OpenError::Io { action, path, source },
            CheckpointError::Damaged { path, offset, what } => OpenError::Damaged { path, offset, what },
            CheckpointError::Version { path, found, known } => OpenError::Version { path, found, known },
            CheckpointError::NotFound { position } => OpenError::Io {
                action: "find the checkpoint",
                path: PathBuf::from(position.to_string()),
                source: io::ErrorKind::NotFound.into(),
            },
            CheckpointError::Foreign { path, found } => {
                unreachable!("{} of {found} is in a member's own folder", path.display())
            }
            CheckpointError::Chunk { bytes } => unreachable!("a chunk of {bytes} bytes was only read"),
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
