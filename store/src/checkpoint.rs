//! Cutting a checkpoint beside running writes: [`CheckpointCursor`], and the items that a checkpoint is made of.
//!
//! A checkpoint is the whole committed state at one index, with its history: what is restored from it answers every
//! question as the original does. Versions never change once written, so pinning the revision and holding pruning back
//! is all that a consistent cut needs; writers go on in between. It refuses to know where the chunks go: writing,
//! checksums per chunk and sending are the caller's.
//!
//! The stream is [`Item`]s, by postcard: one header, sessions by id, keys in order, each followed by its versions from
//! the oldest on, one footer. Items never span chunks; the footer has a chunk of its own, and its digest is over all
//! chunks before it.

use std::fmt;

use bytes::Bytes;
use holdfast_engine::Index;
use serde::de::{Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::chain::{Chain, Version};
use crate::digest::{digest, mix};
use crate::keyspace::Keyspace;
use crate::sessions::Session;
use crate::undo::Marks;
use crate::{Revision, SessionId};

/// The first figure of every checkpoint.
pub(crate) const CHECKPOINT_VERSION: u8 = 1;

/// What an item takes beside keys, values and outcomes, at most: a tag and four figures of up to 19 bytes each.
const ITEM_OVERHEAD_BYTES: usize = 80;

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

/// Where the cutting of one checkpoint has come to. Made by [`crate::Store::begin_checkpoint`]; it belongs to that
/// store, and holds it from pruning its history until it has given its last chunk or is abandoned.
pub struct CheckpointCursor {
    /// Which pin of the store it goes with.
    pub(crate) pin: u64,
    index: Index,
    marks: Marks,
    /// Those that are to come; the next one first.
    sessions: std::iter::Peekable<std::vec::IntoIter<(SessionId, Session)>>,
    stage: Stage,
    /// So far; all figures.
    footer: Footer,
}

/// What comes next.
#[derive(Debug)]
enum Stage {
    Header,
    Sessions,
    /// The versions of this key after this revision.
    Keys(Bytes, Revision),
    Footer,
    Done,
}

impl fmt::Debug for CheckpointCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointCursor").field("index", &self.index).field("stage", &self.stage).finish()
    }
}

/// A chunk in the making.
struct Chunk {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Chunk {
    /// Whether an item with so many bytes of content goes in. One always does.
    fn takes(&self, content: usize) -> bool {
        self.bytes.is_empty() || self.bytes.len() + content + ITEM_OVERHEAD_BYTES <= self.bytes_max
    }

    fn add(&mut self, item: &Item<'_>) {
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes = postcard::to_extend(item, bytes).expect("items have nothing that postcard refuses");
    }
}

/// Which versions of a key belong into a checkpoint of the state at `marks`: what can be read or watched in
/// `[compacted, revision]`, whatever else is still in memory.
fn kept<'a>(chain: &'a Chain, marks: &Marks) -> impl Iterator<Item = &'a Version> {
    let Marks { revision, compacted, .. } = *marks;
    let oldest =
        chain.at(compacted).filter(|version| version.is_live()).map_or(compacted, |version| version.modified);
    chain.versions().filter(move |version| oldest <= version.modified && version.modified <= revision)
}

impl CheckpointCursor {
    pub(crate) fn new(pin: u64, index: Index, marks: Marks, sessions: Vec<(SessionId, Session)>) -> Self {
        let footer = Footer {
            sessions: 0,
            keys: 0,
            versions: 0,
            live_keys: marks.live_keys,
            live_bytes: marks.live_bytes,
            history_bytes: marks.history_bytes,
            digest: 0,
        };
        CheckpointCursor {
            pin,
            index,
            marks,
            sessions: sessions.into_iter().peekable(),
            stage: Stage::Header,
            footer,
        }
    }

    /// The last entry that the checkpoint covers.
    pub fn index(&self) -> Index {
        self.index
    }

    /// The revision that it shows.
    pub fn revision(&self) -> Revision {
        self.marks.revision
    }

    /// Whether the last chunk was given.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// The next chunk; `None` after the last one.
    pub(crate) fn chunk(&mut self, keyspace: &Keyspace, bytes_max: usize) -> Option<Bytes> {
        let mut chunk = Chunk { bytes: Vec::new(), bytes_max };
        if matches!(self.stage, Stage::Header) {
            let Marks { revision, compacted, hash, .. } = self.marks;
            let index = self.index;
            chunk.add(&Item::Header(Header { format: CHECKPOINT_VERSION, index, revision, compacted, hash }));
            self.stage = Stage::Sessions;
        }
        if matches!(self.stage, Stage::Sessions) && self.add_sessions(&mut chunk) {
            self.stage = Stage::Keys(Bytes::new(), Revision(0));
        }
        if let Stage::Keys(key, after) = &self.stage {
            let (key, after) = (key.clone(), *after);
            self.stage = match self.add_keys(&mut chunk, keyspace, &key, after) {
                Some((key, after)) => Stage::Keys(key, after),
                None => Stage::Footer,
            };
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

    /// Add sessions; whether these were all.
    fn add_sessions(&mut self, chunk: &mut Chunk) -> bool {
        while let Some((id, session)) = self.sessions.peek() {
            let outcome = session.outcome.encode();
            if !chunk.takes(outcome.len()) {
                return false;
            }
            let (sequence, used) = (session.sequence, session.used);
            chunk.add(&Item::Session { id: *id, sequence, used, outcome: Raw(&outcome) });
            self.footer.sessions += 1;
            self.sessions.next();
        }
        true
    }

    /// Add versions, from those of `start` after `after` on; where to go on, if these were not all.
    fn add_keys(
        &mut self,
        chunk: &mut Chunk,
        keyspace: &Keyspace,
        start: &[u8],
        after: Revision,
    ) -> Option<(Bytes, Revision)> {
        for (key, chain) in keyspace.scan_from(start) {
            let resumed = &key[..] == start;
            let mut last = if resumed { after } else { Revision(0) };
            for version in kept(chain, &self.marks) {
                if version.modified <= last {
                    continue;
                }
                let value = version.value.as_deref();
                let bytes = value.map_or(0, <[u8]>::len);
                // A key goes with its first version, so that no chunk ends in between.
                let first = last == Revision(0);
                if !chunk.takes(bytes + if first { key.len() + ITEM_OVERHEAD_BYTES } else { 0 }) {
                    return Some((key.clone(), last));
                }
                if first {
                    chunk.add(&Item::Key(Raw(key)));
                    self.footer.keys += 1;
                }
                let Version { created, modified, version: number, .. } = *version;
                chunk.add(&Item::Version { created, modified, version: number, value: value.map(Raw) });
                self.footer.versions += 1;
                last = modified;
            }
        }
        None
    }
}
