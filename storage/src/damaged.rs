//! A member's folder that is damaged and can be repaired: what is lacking, how it is put back, and what becomes of the
//! member then.
//!
//! # What is repaired how
//!
//! - *Entries* of the log that cannot be read come from the peers ([`Need::Entries`], [`Damaged::fill`]), or a
//!   checkpoint of theirs takes their place ([`Damaged::covered_by`]). The log is then written anew, as one segment that voids
//!   all before it by its name, so that a crash leaves the damaged log or the repaired one. It holds what this member acknowledged,
//!   so the member goes on under its identity.
//! - *The vote*, if both copies are lost, cannot come from anybody: the member might vote twice in a term. It goes on
//!   as a new incarnation, with the log and the checkpoints that it has. So does a member that cannot tell where its log
//!   ended. The identity is written before anything that shows less than was there.
//! - *The identity* is worked out from the stamps in the other files, if a checkpoint knows how the store began and all of
//!   them agree. Else everything is moved into a folder of its own, and the member begins anew ([`Need::Identity`]).
//! - *A checkpoint* that is not needed is put aside.
//!
//! What it refuses to do: change anything before [`Damaged::repair`], repair a log with a hole in it, or begin anew
//! under an old name.

use std::path::PathBuf;
use std::sync::Arc;

use holdfast_engine::{Entry, HardState, Incarnation, Index, MemberId, Position, StoreId};

use crate::checkpoint::{self, CheckpointReader, Checkpoints};
use crate::folder::Folder;
use crate::identity::Identity;
use crate::pieces::{Misfit, Pieces};
use crate::rewrite::{self, Rewrite};
use crate::salvage::{self, Fault};
use crate::vote::Vote;
use crate::{CheckpointError, Damage, OpenError, Options};

/// A damaged folder. It stays locked, and as it is, until it is repaired.
#[derive(Debug)]
pub struct Damaged {
    folder: Arc<Folder>,
    options: Options,
    /// The next incarnation, if there has to be one.
    fresh: Incarnation,
    /// Why the folder could not be opened.
    error: OpenError,
    faults: Vec<Fault>,
    /// What there is besides, if it is known whose it is.
    known: Option<Known>,
}

/// What is known of a folder whose identity can be read or worked out.
#[derive(Debug)]
struct Known {
    identity: Identity,
    vote: Option<HardState>,
    pieces: Pieces,
    end_known: bool,
    /// Checkpoints that are whole, newest first.
    good: Vec<Position>,
    /// Files of the log, and a number that is higher than theirs.
    segments: Vec<PathBuf>,
    next_number: u64,
}

/// What has to be fetched before the folder can be repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: all that is needed is here.
    Nothing,
    /// The entries after `after` up to `anchor`, or a checkpoint that covers `anchor`. Both logs may have parted below
    /// `after`; then more is needed when these are here.
    Entries {
        /// The entry at this index is here, or covered by a checkpoint.
        after: Index,
        /// The log held this entry.
        anchor: Position,
    },
    /// Somebody who knows that the store is formed. Nobody can say who this member was, so that it has to begin anew;
    /// it may not if it might be the only one who remembers the store.
    Identity,
}

/// What became of a repaired member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The incarnation that it goes on as.
    pub incarnation: Incarnation,
    /// The one that is gone, if it is another one.
    pub former: Option<MemberId>,
    /// Where the files are that nobody can use.
    pub aside: Option<PathBuf>,
}

impl Damaged {
    /// Look at a folder that was not opened because of `error`.
    pub(crate) fn look(
        folder: Arc<Folder>,
        identity: Option<Identity>,
        fresh: Incarnation,
        options: Options,
        error: OpenError,
    ) -> Result<Damaged, OpenError> {
        let mut faults = Vec::new();
        let known = match identity {
            Some(identity) => {
                folder.know(identity.clone());
                Some(Known::read(&folder, identity, &mut faults)?)
            }
            None => None,
        };
        if faults.is_empty()
            && let OpenError::Damaged { path, offset, what } = &error
        {
            faults.push(Fault { path: path.clone(), offset: *offset, what: *what });
        }
        Ok(Damaged { folder, options, fresh, error, faults, known })
    }

    /// Why the folder could not be opened.
    pub fn into_error(self) -> OpenError {
        self.error
    }

    /// Everything that is not as it was written.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Whose folder it is, if that is known.
    pub fn member(&self) -> Option<MemberId> {
        self.known.as_ref().map(|known| known.identity.stamp.member)
    }

    /// Which store it belongs to, if that is known.
    pub fn store(&self) -> Option<StoreId> {
        self.known.as_ref().and_then(|known| known.identity.store())
    }

    /// The folder's checkpoints, to read, and to write if it is known whose they are. The folder stays locked as long as
    /// a copy of this lives.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(Arc::clone(&self.folder))
    }

    /// The newest checkpoint that can be read.
    pub fn newest_checkpoint(&self) -> Option<Position> {
        self.known.as_ref().and_then(|known| known.good.first().copied())
    }

    /// What has to be fetched next.
    pub fn need(&self) -> Need {
        self.known.as_ref().map_or(Need::Identity, Known::need)
    }

    /// Whether the member cannot go on as who it is, whatever is fetched: its vote is lost, or how far its log went.
    pub fn forgets(&self) -> bool {
        self.known.as_ref().is_none_or(|known| known.vote.is_none() || !known.end_known)
    }

    /// Whether it is known where the log ended.
    pub fn end_known(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.end_known)
    }

    /// Entries that can be vouched for, to repair another member: those after `after` up to `anchor` and the position
    /// before them, from the end, as many as `bytes_max` allows and at least one.
    pub fn give(&self, anchor: Position, after: Index, bytes_max: usize) -> Option<(Position, Vec<Entry>)> {
        self.known.as_ref().and_then(|known| known.pieces.up_to(anchor, after, bytes_max))
    }

    /// Put fetched entries, those after `previous` up to the needed anchor, in their place.
    ///
    /// # Errors
    ///
    /// [`Misfit`] if they are not those; nothing was changed then.
    pub fn fill(&mut self, previous: Position, entries: Vec<Entry>) -> Result<(), Misfit> {
        let Some(known) = &mut self.known else { return Err(Misfit { anchor: previous }) };
        known.pieces.fill(previous, entries)
    }

    /// A checkpoint at `position` was fetched and is durable. Nothing changes if it cannot be read again.
    pub fn covered_by(&mut self, position: Position) -> Result<(), OpenError> {
        if let Some(known) = &mut self.known {
            known.good.clear();
            known.read_checkpoints(&self.folder, &mut Vec::new())?;
            debug_assert!(known.good.contains(&position), "it was just finished");
        }
        Ok(())
    }

    /// The needed entries, and all behind them, were never committed: a majority that has lost nothing does not have
    /// them, and nobody has the first of them. The log goes on before them.
    pub fn void(&mut self) {
        if let Some(known) = &mut self.known {
            known.pieces.drop_top();
        }
    }

    /// Carry the repair out. A crash leaves the folder damaged or repaired. `alone` is whether this member is the only
    /// voter: then its vote binds nobody else, and can be made anew. The folder can be opened when this is dropped.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: the damage itself if the member is alone and does not know where its log ended, or if there is still
    /// a [`Need::Entries`]; else the operating system's.
    pub fn repair(self, alone: bool) -> Result<Repaired, OpenError> {
        let Damaged { folder, options, fresh, error, known, .. } = self;
        let Some(mut known) = known else {
            let aside = folder.put_aside("nobody could tell whose these files are")?;
            return Ok(Repaired { incarnation: fresh, former: None, aside: Some(aside) });
        };
        if known.need() != Need::Nothing || alone && !known.end_known {
            return Err(error);
        }
        folder.settle()?;
        let old = known.identity.stamp.member;
        let mut former = None;
        if !(alone || known.end_known && known.vote.is_some()) {
            known.identity = known.identity.renewed(fresh);
            former = Some(old);
        }
        // From here on nothing that is less than was there stands under the old name.
        folder.mend(&known.identity)?;
        let log = known.log();
        if former.is_some() || known.vote.is_none() {
            let end = log.entries.last().map_or(log.start, Entry::position);
            let term = known.vote.map_or(end.term, |vote| vote.term.max(end.term));
            let mut vote = Vote::create(&folder.files, &folder.vote_path(), known.identity.stamp.clone())?;
            vote.write(HardState { term, voted_for: None })?;
            vote.close()?;
        }
        rewrite::write(&folder, &known.identity, &log, options.segment_bytes)?;
        rewrite::remove(&folder, &known.segments)?;
        Ok(Repaired { incarnation: known.identity.stamp.member.incarnation, former, aside: None })
    }
}

impl Known {
    fn read(folder: &Folder, identity: Identity, faults: &mut Vec<Fault>) -> Result<Known, OpenError> {
        let salvaged = salvage::read(folder, &identity)?;
        faults.extend(salvaged.faults);
        let vote = match Vote::read(&folder.files, &folder.vote_path()) {
            Ok(vote) if vote.stamp().member == identity.stamp.member => Some(vote.hard_state()),
            // One of the life before this one: the new one was not written yet.
            Ok(vote) => {
                vote.stamp().check(&folder.vote_path(), None, &identity)?;
                faults.push(Fault { path: folder.vote_path(), offset: 0, what: Damage::Vote });
                None
            }
            Err(OpenError::Damaged { path, offset, what }) => {
                faults.push(Fault { path, offset, what });
                None
            }
            Err(error) => return Err(error),
        };
        let mut known = Known {
            identity,
            vote,
            pieces: salvaged.pieces,
            end_known: salvaged.end_known,
            good: Vec::new(),
            segments: salvaged.paths,
            next_number: salvaged.next_number,
        };
        let end = known.pieces.end();
        if let (Some(vote), Some(end)) = (known.vote, end)
            && vote.term < end.term
        {
            faults.push(Fault { path: folder.vote_path(), offset: 0, what: Damage::StaleVote });
            known.vote = None;
        }
        known.read_checkpoints(folder, faults)?;
        Ok(known)
    }

    fn read_checkpoints(&mut self, folder: &Folder, faults: &mut Vec<Fault>) -> Result<(), OpenError> {
        for (path, position) in checkpoint::paths(folder)? {
            match CheckpointReader::verified(&folder.files, &path, position) {
                Ok(reader) => {
                    let formed = reader.formation().map(|formation| formation.store);
                    reader.stamp().check(&path, formed, &self.identity)?;
                    self.good.push(position);
                }
                Err(CheckpointError::Damaged { path, offset, what }) => {
                    faults.push(Fault { path, offset, what });
                    // All up to it was committed, and this member had it.
                    if self.good.is_empty() && self.pieces.end().is_none_or(|end| end.index < position.index)
                    {
                        self.pieces.anchor(position);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn need(&self) -> Need {
        let newest = self.good.first();
        let Some(top) = self.pieces.top() else { return Need::Nothing };
        let anchor = top.previous;
        // A checkpoint that the log holds, or that is newer than all of it or parted from it, can be started from.
        let base = self.good.iter().any(|position| top.contains(*position))
            || newest.is_some_and(|newest| newest.index >= anchor.index);
        if base || anchor == Position::ZERO {
            return Need::Nothing;
        }
        let lower = self.pieces.lower().map_or(Index(0), |lower| lower.end().index);
        let below = self.good.iter().find(|position| position.index < anchor.index);
        let after = lower.max(below.map_or(Index(0), |position| position.index));
        Need::Entries { after: after.min(anchor.index.previous()), anchor }
    }

    /// The log to go on with: what there is, unless the newest checkpoint is not in it and covers it.
    fn log(&mut self) -> Rewrite {
        let newest = self.good.first().copied().unwrap_or(Position::ZERO);
        let top = std::mem::take(&mut self.pieces).into_top();
        let (start, entries) = match top {
            Some(top) if newest == Position::ZERO || top.contains(newest) => (top.previous, top.entries),
            _ => (newest, Vec::new()),
        };
        Rewrite { number: self.next_number, start, entries }
    }
}
