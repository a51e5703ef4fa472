//! Building a store from a checkpoint: [`Restore`].
//!
//! It takes nothing on trust: whatever the chunks hold, the result is a store that the same version could have cut the
//! checkpoint from, or a [`RestoreError`]. It refuses to take more than such a store can hold.

mod decoded;
mod fault;

use std::fmt;
use std::sync::Arc;

use holdfast_engine::Index;

pub use self::decoded::Decoded;
use self::decoded::{Piece, Pieces, Place};
pub(crate) use self::fault::Fault;
pub use self::fault::RestoreError;
use crate::checkpoint::{Footer, Header, KEYSPACE_VERSION, LOGS_VERSION};
use crate::digest::mix;
use crate::history::{Change, History};
use crate::keyspace::Keyspace;
use crate::limits::cost;
use crate::logs::RestoringLogs;
use crate::sessions::{Session, Sessions};
use crate::tree::Builder;
use crate::undo::Marks;
use crate::version::Version;
use crate::{
    KEY_BYTES_MAX, Limits, Outcome, Revision, SessionId, Store, TXN_RESULT_BYTES_MAX, VALUE_BYTES_MAX,
};

/// Longest encoded outcome: what a transaction may read, and as much again for its framing.
const OUTCOME_BYTES_MAX: usize = 2 * TXN_RESULT_BYTES_MAX;

/// Highest index that is believed: no log gets there, and no sum with it overflows.
const INDEX_MAX: Index = Index(u64::MAX / 2);

/// Builds a store from the chunks of a checkpoint: all of them, whole, in order.
pub struct Restore {
    limits: Limits,
    /// Chunks taken so far.
    chunks: u64,
    /// Over them.
    digest: u64,
    failed: Option<RestoreError>,
    header: Option<Header>,
    footer: Option<Footer>,
    sessions: Sessions,
    keyspace: Builder<Version>,
    /// By revision, from the first one on record.
    changes: Vec<Change>,
    /// The last key that came; empty if none did.
    key: Vec<u8>,
    /// The last version of it that came.
    newest: Version,
    counted: Counted,
    logs: RestoringLogs,
}

/// What came so far.
#[derive(Debug, Default)]
struct Counted {
    keys: u64,
    versions: u64,
    /// By [`cost`], of all versions.
    bytes: u64,
    live_keys: u64,
    live_bytes: u64,
    history_bytes: u64,
}

impl fmt::Debug for Restore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restore").field("chunks", &self.chunks).field("counted", &self.counted).finish()
    }
}

impl Default for Restore {
    fn default() -> Restore {
        Restore::new()
    }
}

impl Restore {
    /// Begin.
    pub fn new() -> Restore {
        Restore::with_limits(Limits::default())
    }

    /// Begin, with the limits that the checkpoint's store had if these were not the usual ones.
    pub fn with_limits(limits: Limits) -> Restore {
        Restore {
            limits,
            chunks: 0,
            digest: 0,
            failed: None,
            header: None,
            footer: None,
            sessions: Sessions::default(),
            keyspace: Builder::default(),
            changes: Vec::new(),
            key: Vec::new(),
            newest: Version::NONE,
            counted: Counted::default(),
            logs: RestoringLogs::default(),
        }
    }

    /// Take the next chunk.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]; nothing can come of this `Restore` any more then, and every later call gives the same error.
    pub fn chunk(&mut self, chunk: &[u8]) -> Result<(), RestoreError> {
        self.next(chunk, Pieces::of(chunk))
    }

    /// Take the next chunk, which was decoded ahead.
    ///
    /// # Errors
    ///
    /// As [`Restore::chunk`].
    pub fn decoded(&mut self, decoded: Decoded) -> Result<(), RestoreError> {
        let (chunk, pieces) = decoded.into_parts();
        self.next(&chunk, pieces)
    }

    fn next(&mut self, chunk: &[u8], pieces: Pieces) -> Result<(), RestoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.chunks += 1;
        let taken = self.take(chunk, pieces);
        self.failed = taken.as_ref().err().cloned();
        taken
    }

    fn take(&mut self, chunk: &[u8], pieces: Pieces) -> Result<(), RestoreError> {
        let number = self.chunks;
        if chunk.is_empty() {
            return Err(RestoreError::Empty { chunk: number });
        }
        let Pieces { pieces, fault, digest } = pieces;
        pieces
            .into_iter()
            .try_for_each(|piece| self.piece(piece, chunk))
            .map_err(|fault| fault.at(number))?;
        if let Some(fault) = fault {
            return Err(fault.at(number));
        }
        match self.footer {
            // It is in a chunk of its own, which the digest does not cover.
            Some(footer) if footer.digest != self.digest => Err(RestoreError::Damaged { chunks: number }),
            Some(_) => Ok(()),
            None => {
                self.digest = mix(self.digest, digest);
                Ok(())
            }
        }
    }

    fn piece(&mut self, piece: Piece, chunk: &[u8]) -> Result<(), Fault> {
        let at = |place: Place| &chunk[place.start as usize..place.end as usize];
        let header = match (self.header, piece) {
            (None, Piece::Header(header)) => return self.begin(header),
            (None, _) => return Err(Fault::Misplaced("an item before its header")),
            (Some(_), _) if self.footer.is_some() => {
                return Err(Fault::Misplaced("an item after its footer"));
            }
            (Some(header), piece) => (header, piece),
        };
        match header {
            (_, Piece::Header(_)) => Err(Fault::Misplaced("a second header")),
            (header, Piece::Session { id, sequence, used, outcome }) => {
                self.session(&header, id, sequence, used, at(outcome))
            }
            (_, Piece::Key(key)) => self.begin_key(at(key)),
            (header, Piece::Version(version)) => self.version(&header, version),
            (header, Piece::Continued(figures, value)) => {
                let version = figures.of(&self.key, value.map(at));
                self.version(&header, version)
            }
            (header, Piece::Log(name, log)) if header.format == LOGS_VERSION => {
                self.end_key()?;
                // The others may all have made a revision.
                let entries = header.index.0 - (header.revision.0 - 1);
                self.logs.begin(at(name), log, entries, &self.limits)
            }
            (_, Piece::Message(message)) => self.logs.message(message, &self.limits),
            (_, Piece::Logs(footer)) => self.logs.end(footer),
            (_, Piece::Log(..)) => Err(Fault::Misplaced("a log")),
            (header, Piece::Footer(footer)) => {
                self.end_key()?;
                if self.logs.is_whole() != (header.format == LOGS_VERSION) {
                    return Err(Fault::Misplaced("a footer"));
                }
                self.footer = Some(footer);
                Ok(())
            }
        }
    }

    fn begin(&mut self, header: Header) -> Result<(), Fault> {
        let Header { format, index, revision, compacted, .. } = header;
        if !(KEYSPACE_VERSION..=LOGS_VERSION).contains(&format) {
            return Err(Fault::Version(format));
        }
        if index > INDEX_MAX {
            return Err(Fault::Invalid("an impossible index"));
        }
        if revision < Revision::EMPTY || compacted > revision || revision.0 - 1 > index.0 {
            return Err(Fault::Invalid("an impossible revision"));
        }
        if revision.0 - compacted.0 > self.limits.history_revisions {
            return Err(Fault::TooLarge("revisions"));
        }
        self.header = Some(header);
        Ok(())
    }

    fn session(
        &mut self,
        header: &Header,
        id: SessionId,
        sequence: u64,
        used: Index,
        outcome: &[u8],
    ) -> Result<(), Fault> {
        if !self.key.is_empty() || self.logs.begun() {
            return Err(Fault::Misplaced("a session"));
        }
        if self.sessions.last() >= Some(id) {
            return Err(Fault::Misplaced("a session"));
        }
        if sequence == 0 || used == Index(0) || used > header.index || self.sessions.used_at(used) {
            return Err(Fault::Invalid("an impossible session"));
        }
        if outcome.len() > OUTCOME_BYTES_MAX {
            return Err(Fault::TooLarge("an outcome"));
        }
        let outcome = Outcome::decode(outcome).map_err(Fault::Encoding)?;
        self.sessions.insert(id, Session { sequence, used, outcome: Arc::new(outcome) });
        let several = self.sessions.len() > 1;
        if self.sessions.len() > self.limits.sessions
            || (several && self.sessions.bytes() > self.limits.sessions_bytes)
        {
            return Err(Fault::TooLarge("sessions"));
        }
        Ok(())
    }

    fn begin_key(&mut self, key: &[u8]) -> Result<(), Fault> {
        if (!self.key.is_empty() && self.key[..] >= *key) || self.logs.begun() {
            return Err(Fault::Misplaced("a key"));
        }
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(Fault::Invalid("a key of an impossible length"));
        }
        self.end_key()?;
        self.counted.keys += 1;
        self.key.extend_from_slice(key);
        Ok(())
    }

    /// Put the key whose versions came last into the keyspace.
    fn end_key(&mut self) -> Result<(), Fault> {
        if self.key.is_empty() {
            return Ok(());
        }
        let newest = std::mem::replace(&mut self.newest, Version::NONE);
        if !newest.is_known() {
            return Err(Fault::Invalid("a key without versions"));
        }
        if newest.is_live() {
            self.counted.live_keys += 1;
            self.counted.live_bytes += newest.cost();
        }
        self.keyspace.push(&self.key, newest);
        self.key.clear();
        Ok(())
    }

    /// Take the next version of the last key.
    fn version(&mut self, header: &Header, version: Version) -> Result<(), Fault> {
        if self.key.is_empty() {
            return Err(Fault::Misplaced("a version"));
        }
        // Both counted without a look at the value, which is in nobody's cache any more.
        let record = cost(&self.key, 0);
        if version.cost() > record + VALUE_BYTES_MAX as u64 {
            return Err(Fault::Invalid("a value of an impossible length"));
        }
        check_version(header, Some(&self.newest).filter(|before| before.is_known()), &version)?;
        self.counted.versions += 1;
        self.counted.bytes += version.cost();
        // Live versions are within the quota, superseded ones within the history's limit; deletions of the last
        // revision were live versions just before it.
        if self.counted.bytes > 2 * self.limits.quota_bytes + self.limits.history_bytes {
            return Err(Fault::TooLarge("keys and values"));
        }
        let before = std::mem::replace(&mut self.newest, version);
        let first = History::starting_at(header.compacted).first();
        if let Some(place) = self.newest.modified.0.checked_sub(first.0) {
            let place = place as usize;
            if self.changes.len() <= place {
                self.changes.resize_with(place + 1, Change::default);
            }
            let superseded = self.changes[place].record(self.newest.clone(), before);
            self.counted.history_bytes += superseded.map_or(0, |superseded| superseded.cost) + record;
        }
        Ok(())
    }

    /// The store.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]
    pub fn finish(self) -> Result<Store, RestoreError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let chunks = self.chunks;
        let (Some(header), Some(footer)) = (self.header, self.footer) else {
            return Err(RestoreError::Incomplete { chunks });
        };
        let invalid = |what| Err(RestoreError::Invalid { chunk: chunks, what });
        let counted = Footer {
            sessions: self.sessions.len() as u64,
            keys: self.counted.keys,
            versions: self.counted.versions,
            live_keys: self.counted.live_keys,
            live_bytes: self.counted.live_bytes,
            history_bytes: self.counted.history_bytes,
            digest: self.digest,
        };
        if counted != footer {
            return invalid("other figures in its footer than came");
        }
        let mut history = History::starting_at(header.compacted);
        let expected = header.revision.next().0.saturating_sub(history.first().0);
        let whole = self.changes.len() as u64 == expected
            && self.changes.iter().all(|change| !change.keys.as_slice().is_empty());
        if !whole {
            return invalid("a revision that changes nothing");
        }
        self.changes.into_iter().for_each(|change| history.push(change));
        let keyspace = Keyspace::of(self.keyspace);
        let mut marks = Marks {
            revision: header.revision,
            compacted: header.compacted,
            history_bytes: counted.history_bytes,
            live_keys: counted.live_keys,
            live_bytes: counted.live_bytes,
            hash: header.hash,
            ..Marks::EMPTY
        };
        let logs = self.logs.finish(&mut marks);
        let within =
            counted.history_bytes <= self.limits.history_bytes || header.compacted == header.revision;
        if !within || marks.quota_bytes() > self.limits.quota_bytes {
            return invalid("more than the limits allow");
        }
        Ok(Store::assemble(self.limits, header.index, marks, keyspace, history, self.sessions, logs))
    }
}

/// Whether a key can have `version` right after `before`, in a checkpoint with this header.
fn check_version(header: &Header, before: Option<&Version>, version: &Version) -> Result<(), Fault> {
    let Version { created, modified, version: number, .. } = *version;
    let impossible = Err(Fault::Invalid("an impossible version"));
    if modified <= Revision::EMPTY || modified > header.revision {
        return impossible;
    }
    match before {
        Some(before) if before.modified >= modified => return Err(Fault::Misplaced("a version")),
        // Only one version can be older than, or as old as, the oldest revision that can be read.
        Some(_) if modified <= header.compacted => return impossible,
        _ => {}
    }
    let possible = match before {
        before if !version.is_live() => before.map_or(modified == header.compacted, Version::is_live),
        Some(before) if before.is_live() => {
            created == before.created && Some(number) == before.version.checked_add(1)
        }
        before => {
            // The versions before the first one of a checkpoint are compacted away.
            let older = before.is_none() && modified <= header.compacted;
            let new = created == modified && number == 1;
            let puts = modified.0.saturating_sub(created.0).saturating_add(1);
            let again = older && Revision::EMPTY < created && (2..=puts).contains(&number);
            new || again
        }
    };
    if possible { Ok(()) } else { impossible }
}

#[cfg(test)]
mod tests;
