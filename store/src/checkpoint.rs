//! Cutting a checkpoint beside running writes: [`CheckpointCursor`], and the items that a checkpoint is made of.
//!
//! A checkpoint is the whole committed state at one index, with its history: what is restored from it answers every
//! question as the original does. It is cut from a copy of the state that shares everything with it, by whichever
//! thread has time; writers go on and never wait. It refuses to know where the chunks go: writing, checksums per chunk
//! and sending are the caller's.
//!
//! The stream is [`Item`]s, by postcard: one header, sessions by id, keys in order, each followed by its versions from
//! the oldest on, message logs by name, each followed by its messages, one footer. A store without message logs cuts the
//! same bytes as before there were any. Items never span chunks; the footer has a chunk of its own, and its digest is over all
//! chunks before it.

use std::fmt;

use bytes::Bytes;
use holdfast_engine::Index;
use serde::de::{Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::digest::{digest, mix};
use crate::history::History;
use crate::keyspace::Keyspace;
use crate::logs::checkpoint::{LogItem, LogsFooter, LogsPlace, LogsSnapshot, MessageItem};
use crate::sessions::Table;
use crate::undo::Marks;
use crate::version::Version;
use crate::{Revision, SessionId};

/// The first figure of a checkpoint without message logs.
pub(crate) const KEYSPACE_VERSION: u8 = 1;

/// The first figure of a checkpoint with message logs.
pub(crate) const LOGS_VERSION: u8 = 2;

/// What an item takes beside keys, values and outcomes, at most: a tag and four figures of up to 19 bytes each.
const ITEM_OVERHEAD_BYTES: usize = 80;

/// Memory that a chunk has from the beginning, so that it does not grow in many steps.
const CHUNK_BYTES_AHEAD: usize = 256 * 1024;

/// One piece of a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Item<'a> {
    Header(Header),
    Session {
        id: SessionId,
        sequence: u64,
        used: Index,
        #[serde(borrow)]
        outcome: Raw<'a>,
    },
    Key(#[serde(borrow)] Raw<'a>),
    Version {
        created: Revision,
        modified: Revision,
        version: u64,
        #[serde(borrow)]
        value: Option<Raw<'a>>,
    },
    Footer(Footer),
    Log(#[serde(borrow)] LogItem<'a>),
    Message(#[serde(borrow)] MessageItem<'a>),
    Logs(LogsFooter),
}

/// What a checkpoint begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) format: u8,
    pub(crate) index: Index,
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    pub(crate) hash: u64,
}

/// What a checkpoint ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Footer {
    pub(crate) sessions: u64,
    pub(crate) keys: u64,
    pub(crate) versions: u64,
    pub(crate) live_keys: u64,
    pub(crate) live_bytes: u64,
    pub(crate) history_bytes: u64,
    pub(crate) digest: u64,
}

/// Bytes that are encoded as a whole, and decoded without copying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raw<'a>(pub(crate) &'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw<'a>, D::Error> {
        struct Borrowed;
        impl<'de> Visitor<'de> for Borrowed {
            type Value = Raw<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Raw<'de>, E> {
                Ok(Raw(bytes))
            }
        }
        deserializer.deserialize_bytes(Borrowed)
    }
}

/// The committed state at one index; it does not change.
pub(crate) struct Snapshot {
    pub(crate) index: Index,
    pub(crate) marks: Marks,
    pub(crate) sessions: Table,
    /// These two with what is executed and not committed, which is after `marks`.
    pub(crate) keyspace: Keyspace,
    pub(crate) history: History,
    pub(crate) logs: LogsSnapshot,
}

/// Where the cutting of one checkpoint has come to. Made by [`crate::Store::begin_checkpoint`]; whatever the store does
/// afterwards does not show in it.
pub struct CheckpointCursor {
    snapshot: Snapshot,
    stage: Stage,
    /// So far; all figures.
    footer: Footer,
}

/// What comes next.
#[derive(Debug)]
enum Stage {
    Header,
    /// The sessions after this one.
    Sessions(Option<SessionId>),
    /// The versions of this key after this revision.
    Keys(Vec<u8>, Revision),
    Logs(LogsPlace),
    Footer,
    Done,
}

impl fmt::Debug for CheckpointCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, stage) = (self.snapshot.index, &self.stage);
        f.debug_struct("CheckpointCursor").field("index", &index).field("stage", stage).finish()
    }
}

/// A chunk in the making.
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Chunk {
    /// Whether an item with so many bytes of content goes in. One always does.
    pub(crate) fn takes(&self, content: usize) -> bool {
        self.bytes.is_empty() || self.bytes.len() + content + ITEM_OVERHEAD_BYTES <= self.bytes_max
    }

    /// Add it.
    pub(crate) fn add(&mut self, item: &Item<'_>) {
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes = postcard::to_extend(item, bytes).expect("items have nothing that postcard refuses");
    }
}

impl Snapshot {
    /// The versions of a key that belong into the checkpoint, newest first: what can be read or watched in
    /// `[compacted, revision]`, whatever else is still in memory.
    fn kept<'a>(&'a self, key: &'a [u8], newest: &'a Version, kept: &mut Vec<&'a Version>) {
        let Marks { revision, compacted, .. } = self.marks;
        kept.clear();
        for version in self.history.versions(key, newest).skip_while(|version| version.modified > revision) {
            if version.modified >= compacted || version.is_live() {
                kept.push(version);
            }
            if version.modified <= compacted {
                break;
            }
        }
    }
}

impl CheckpointCursor {
    pub(crate) fn new(snapshot: Snapshot) -> CheckpointCursor {
        let Marks { live_keys, live_bytes, history_bytes, .. } = snapshot.marks;
        let footer =
            Footer { sessions: 0, keys: 0, versions: 0, live_keys, live_bytes, history_bytes, digest: 0 };
        CheckpointCursor { snapshot, stage: Stage::Header, footer }
    }

    /// The last entry that the checkpoint covers.
    pub fn index(&self) -> Index {
        self.snapshot.index
    }

    /// The revision that it shows.
    pub fn revision(&self) -> Revision {
        self.snapshot.marks.revision
    }

    /// The next chunk, of up to `bytes_max` bytes, or more if a single key and value are; `None` after the last one.
    ///
    /// The bytes depend on the committed log and on the `bytes_max` of all calls alone.
    pub fn chunk(&mut self, bytes_max: usize) -> Option<Bytes> {
        let mut chunk = Chunk { bytes: Vec::with_capacity(bytes_max.min(CHUNK_BYTES_AHEAD)), bytes_max };
        if matches!(self.stage, Stage::Header) {
            let Marks { revision, compacted, hash, .. } = self.snapshot.marks;
            let index = self.snapshot.index;
            let format = if self.snapshot.logs.is_empty() { KEYSPACE_VERSION } else { LOGS_VERSION };
            chunk.add(&Item::Header(Header { format, index, revision, compacted, hash }));
            self.stage = Stage::Sessions(None);
        }
        if let Stage::Sessions(after) = self.stage {
            self.stage = match self.add_sessions(&mut chunk, after) {
                Some(after) => Stage::Sessions(after),
                None => Stage::Keys(Vec::new(), Revision(0)),
            };
        }
        if let Stage::Keys(key, after) = &mut self.stage {
            let (key, after) = (std::mem::take(key), *after);
            self.stage = match self.add_keys(&mut chunk, &key, after) {
                Some((key, after)) => Stage::Keys(key, after),
                None => Stage::Logs(LogsPlace::default()),
            };
        }
        if let Stage::Logs(place) = self.stage {
            self.stage = self.snapshot.logs.add(&mut chunk, place).map_or(Stage::Footer, Stage::Logs);
        }
        if !chunk.bytes.is_empty() {
            self.footer.digest = mix(self.footer.digest, digest(&chunk.bytes));
        } else if matches!(self.stage, Stage::Footer) {
            chunk.add(&Item::Footer(self.footer));
            self.stage = Stage::Done;
        } else {
            return None;
        }
        Some(Bytes::from(chunk.bytes))
    }

    /// Add sessions, from those after `after` on; after which one to go on, if these were not all.
    fn add_sessions(&mut self, chunk: &mut Chunk, after: Option<SessionId>) -> Option<Option<SessionId>> {
        let mut last = after;
        for (id, session) in self.snapshot.sessions.after(after) {
            let outcome = session.outcome.encode();
            if !chunk.takes(outcome.len()) {
                return Some(last);
            }
            let (sequence, used) = (session.sequence, session.used);
            chunk.add(&Item::Session { id, sequence, used, outcome: Raw(&outcome) });
            self.footer.sessions += 1;
            last = Some(id);
        }
        None
    }

    /// Add versions, from those of `start` after `after` on; where to go on, if these were not all.
    fn add_keys(&mut self, chunk: &mut Chunk, start: &[u8], after: Revision) -> Option<(Vec<u8>, Revision)> {
        let CheckpointCursor { snapshot, footer, .. } = self;
        let mut kept = Vec::new();
        for (key, newest) in snapshot.keyspace.scan_from(start) {
            snapshot.kept(key, newest, &mut kept);
            let mut last = if key == start { after } else { Revision(0) };
            for version in kept.iter().copied().rev() {
                if version.modified <= last {
                    continue;
                }
                let value = version.value();
                let bytes = value.map_or(0, <[u8]>::len);
                // A key goes with its first version, so that no chunk ends in between.
                let first = last == Revision(0);
                if !chunk.takes(bytes + if first { key.len() + ITEM_OVERHEAD_BYTES } else { 0 }) {
                    return Some((key.to_vec(), last));
                }
                if first {
                    chunk.add(&Item::Key(Raw(key)));
                    footer.keys += 1;
                }
                let Version { created, modified, version: number, .. } = *version;
                chunk.add(&Item::Version { created, modified, version: number, value: value.map(Raw) });
                footer.versions += 1;
                last = modified;
            }
        }
        None
    }
}
