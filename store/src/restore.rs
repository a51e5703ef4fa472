//! Building a store from a checkpoint: [`Restore`].
//!
//! It takes nothing on trust: whatever the chunks hold, the result is a store that the same version could have cut the
//! checkpoint from, or a [`RestoreError`]. It refuses to take more than such a store can hold.

mod fault;

use std::fmt;
use std::sync::Arc;

use holdfast_engine::Index;

use self::fault::Fault;
pub use self::fault::RestoreError;
use crate::checkpoint::{CHECKPOINT_VERSION, Footer, Header, Item, Raw};
use crate::digest::{digest, mix};
use crate::history::{Change, History};
use crate::keyspace::Keyspace;
use crate::limits::cost;
use crate::sessions::{Session, Sessions};
use crate::tree::Builder;
use crate::undo::Marks;
use crate::version::Version;
use crate::{
    CodecError, KEY_BYTES_MAX, Limits, Outcome, Revision, SessionId, Store, TXN_RESULT_BYTES_MAX,
    VALUE_BYTES_MAX,
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
    /// The key whose versions come at the moment, and the last one that came.
    key: Option<(Vec<u8>, Version)>,
    counted: Counted,
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
            key: None,
            counted: Counted::default(),
        }
    }

    /// Take the next chunk.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]; nothing can come of this `Restore` any more then, and every later call gives the same error.
    pub fn chunk(&mut self, chunk: &[u8]) -> Result<(), RestoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.chunks += 1;
        let taken = self.take(chunk);
        self.failed = taken.as_ref().err().cloned();
        taken
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), RestoreError> {
        let number = self.chunks;
        if chunk.is_empty() {
            return Err(RestoreError::Empty { chunk: number });
        }
        let mut rest = chunk;
        while !rest.is_empty() {
            let (item, after) = postcard::take_from_bytes::<Item<'_>>(rest).map_err(|error| {
                RestoreError::Encoding { chunk: number, source: CodecError::Encoding(error) }
            })?;
            rest = after;
            self.item(item).map_err(|fault| fault.at(number))?;
        }
        match self.footer {
            // It is in a chunk of its own, which the digest does not cover.
            Some(footer) if footer.digest != self.digest => Err(RestoreError::Damaged { chunks: number }),
            Some(_) => Ok(()),
            None => {
                self.digest = mix(self.digest, digest(chunk));
                Ok(())
            }
        }
    }

    fn item(&mut self, item: Item<'_>) -> Result<(), Fault> {
        match (self.header, item) {
            (None, Item::Header(header)) => self.begin(header),
            (None, _) => Err(Fault::Misplaced("an item before its header")),
            (Some(_), _) if self.footer.is_some() => Err(Fault::Misplaced("an item after its footer")),
            (Some(_), Item::Header(_)) => Err(Fault::Misplaced("a second header")),
            (Some(header), Item::Session { id, sequence, used, outcome }) => {
                self.session(&header, id, sequence, used, outcome)
            }
            (Some(_), Item::Key(key)) => self.begin_key(key),
            (Some(header), Item::Version { created, modified, version, value }) => {
                let value = value.map(|Raw(value)| value);
                self.version(&header, &Figures { created, modified, version, value })
            }
            (Some(_), Item::Footer(footer)) => {
                self.end_key()?;
                self.footer = Some(footer);
                Ok(())
            }
        }
    }

    fn begin(&mut self, header: Header) -> Result<(), Fault> {
        let Header { format, index, revision, compacted, .. } = header;
        if format != CHECKPOINT_VERSION {
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
        Raw(outcome): Raw<'_>,
    ) -> Result<(), Fault> {
        if self.key.is_some() {
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

    fn begin_key(&mut self, Raw(key): Raw<'_>) -> Result<(), Fault> {
        if self.key.as_ref().is_some_and(|(before, _)| &before[..] >= key) {
            return Err(Fault::Misplaced("a key"));
        }
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(Fault::Invalid("a key of an impossible length"));
        }
        self.end_key()?;
        self.counted.keys += 1;
        self.key = Some((key.to_vec(), Version::NONE));
        Ok(())
    }

    /// Put the key whose versions came last into the keyspace.
    fn end_key(&mut self) -> Result<(), Fault> {
        let Some((key, newest)) = self.key.take() else { return Ok(()) };
        if !newest.is_known() {
            return Err(Fault::Invalid("a key without versions"));
        }
        if newest.is_live() {
            self.counted.live_keys += 1;
            self.counted.live_bytes += newest.cost();
        }
        self.keyspace.push(&key, newest);
        Ok(())
    }

    fn version(&mut self, header: &Header, figures: &Figures<'_>) -> Result<(), Fault> {
        let (key, newest) = self.key.as_mut().ok_or(Fault::Misplaced("a version"))?;
        check_version(header, Some(&*newest).filter(|before| before.is_known()), figures)?;
        self.counted.versions += 1;
        self.counted.bytes += cost(key, figures.value.map_or(0, <[u8]>::len));
        // Live versions are within the quota, superseded ones within the history's limit; deletions of the last
        // revision were live versions just before it.
        if self.counted.bytes > 2 * self.limits.quota_bytes + self.limits.history_bytes {
            return Err(Fault::TooLarge("keys and values"));
        }
        let before = std::mem::replace(newest, figures.of(key));
        let first = History::starting_at(header.compacted).first();
        if let Some(place) = newest.modified.0.checked_sub(first.0) {
            let place = place as usize;
            if self.changes.len() <= place {
                self.changes.resize_with(place + 1, Change::default);
            }
            let superseded = self.changes[place].record(newest.clone(), before);
            self.counted.history_bytes += superseded.map_or(0, |superseded| superseded.cost) + cost(key, 0);
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
        let within =
            counted.history_bytes <= self.limits.history_bytes || header.compacted == header.revision;
        if !within || counted.live_bytes > self.limits.quota_bytes {
            return invalid("more than the limits allow");
        }
        self.changes.into_iter().for_each(|change| history.push(change));
        let keyspace = Keyspace::of(self.keyspace);
        let marks = Marks {
            revision: header.revision,
            compacted: header.compacted,
            history_bytes: counted.history_bytes,
            live_keys: counted.live_keys,
            live_bytes: counted.live_bytes,
            hash: header.hash,
        };
        Ok(Store::assemble(self.limits, header.index, marks, keyspace, history, self.sessions))
    }
}

/// A version as it stands in a checkpoint.
struct Figures<'a> {
    created: Revision,
    modified: Revision,
    version: u64,
    value: Option<&'a [u8]>,
}

impl Figures<'_> {
    /// The version, of this key.
    fn of(&self, key: &[u8]) -> Version {
        let Figures { created, modified, version, value } = *self;
        match value {
            Some(value) => Version::with_value(created, modified, version, key, value),
            None => Version::deleted(key, modified),
        }
    }
}

/// Whether a key can have `version` right after `before`, in a checkpoint with this header.
fn check_version(header: &Header, before: Option<&Version>, version: &Figures<'_>) -> Result<(), Fault> {
    let Figures { created, modified, version: number, value } = version;
    let impossible = Err(Fault::Invalid("an impossible version"));
    if *modified <= Revision::EMPTY || *modified > header.revision {
        return impossible;
    }
    if value.as_ref().is_some_and(|value| value.len() > VALUE_BYTES_MAX) {
        return Err(Fault::Invalid("a value of an impossible length"));
    }
    match before {
        Some(before) if before.modified >= *modified => return Err(Fault::Misplaced("a version")),
        // Only one version can be older than, or as old as, the oldest revision that can be read.
        Some(_) if *modified <= header.compacted => return impossible,
        _ => {}
    }
    let possible = match (value, before) {
        (None, before) => {
            let deletes = before.map_or(*modified == header.compacted, Version::is_live);
            deletes && *created == Revision(0) && *number == 0
        }
        (Some(_), Some(before)) if before.is_live() => {
            *created == before.created && Some(*number) == before.version.checked_add(1)
        }
        (Some(_), before) => {
            // The versions before the first one of a checkpoint are compacted away.
            let older = before.is_none() && *modified <= header.compacted;
            let new = *created == *modified && *number == 1;
            let puts = modified.0.saturating_sub(created.0).saturating_add(1);
            let again = older && Revision::EMPTY < *created && (2..=puts).contains(number);
            new || again
        }
    };
    if possible { Ok(()) } else { impossible }
}

#[cfg(test)]
mod tests;
