//! Chunks of a checkpoint, from a peer or a file, on their way into a store.
//!
//! An input is a list of chunks, each with its length in front. What a restored store counts on is checked by using it:
//! it answers every read, executes commands, and cuts a checkpoint that gives the same store again.

use bytes::Bytes;
use holdfast_engine::Index;
use holdfast_store::{Decoded, Expect, Operation, Restore, Store};
use serde::{Deserialize, Serialize};

use super::command::{SMALL_LIMITS, chunks, commands, entry, everything, joined, pieces};
use super::{POSTCARD, memory};
use crate::{Target, shape};

/// A checkpoint, chunk by chunk.
pub(super) const CHECKPOINT: Target = Target {
    name: "checkpoint",
    about: "chunks of a checkpoint, and the store that they give",
    samples: checkpoints,
    words: &[],
    mend: Some(mend),
    run: restore,
    // Items are a few bytes and become versions with keys, twice: in the tree and in the history; and all that can be
    // read is put down as text.
    memory: memory(POSTCARD, 4000),
};

fn executed(count: usize) -> Store {
    let mut store = Store::with_limits(SMALL_LIMITS);
    for (index, command) in (1..).zip(commands()).take(count) {
        store.execute(&entry(index, &command.encode()));
        store.commit_unwatched(Index(index));
    }
    store
}

fn checkpoints() -> Vec<Vec<u8>> {
    let cases =
        [(0, 1000), (3, 1000), (7, 60), (7, 1000), (10, 1000), (10, 30), (16, 1000), (17, 40), (20, 1000)];
    cases.map(|(count, bytes_max)| joined(chunks(&executed(count), bytes_max))).to_vec()
}

/// What a checkpoint is made of: `holdfast-store`'s items as they are encoded.
#[derive(Serialize, Deserialize)]
enum Item<'a> {
    Header {
        format: u8,
        index: u64,
        revision: u64,
        compacted: u64,
        hash: u64,
    },
    Session {
        id: u128,
        sequence: u64,
        used: u64,
        #[serde(borrow)]
        outcome: &'a [u8],
    },
    Key(#[serde(borrow)] &'a [u8]),
    Version {
        created: u64,
        modified: u64,
        version: u64,
        #[serde(borrow)]
        value: Option<&'a [u8]>,
    },
    Footer(Footer),
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Footer {
    sessions: u64,
    keys: u64,
    versions: u64,
    live_keys: u64,
    live_bytes: u64,
    history_bytes: u64,
    digest: u64,
}

/// Makes a footer as a store would, for whatever stands before it.
#[derive(Default)]
struct Counting<'a> {
    footer: Footer,
    /// The oldest revision whose change is on record.
    first: u64,
    key: &'a [u8],
    /// The value's length of the last version of the key, if it had one.
    newest: Option<usize>,
}

/// What one version counts.
fn cost(key: &[u8], value_bytes: usize) -> u64 {
    (key.len() + value_bytes) as u64 + holdfast_store::ITEM_BYTES
}

impl<'a> Counting<'a> {
    /// Count the items of a chunk; false from the first one on that cannot be read.
    fn chunk(&mut self, mut chunk: &'a [u8]) -> bool {
        self.footer.digest = mix(self.footer.digest, digest(chunk));
        while !chunk.is_empty() {
            let Ok((item, rest)) = postcard::take_from_bytes::<Item<'a>>(chunk) else { return false };
            chunk = rest;
            self.item(item);
        }
        true
    }

    fn item(&mut self, item: Item<'a>) {
        match item {
            Item::Header { compacted, .. } => self.first = compacted.max(2),
            Item::Session { .. } => self.footer.sessions += 1,
            Item::Key(key) => {
                self.end_key();
                self.footer.keys += 1;
                self.key = key;
            }
            Item::Version { modified, value, .. } => {
                self.footer.versions += 1;
                let before = std::mem::replace(&mut self.newest, value.map(<[u8]>::len));
                if modified >= self.first {
                    let superseded = before.map_or(0, |bytes| cost(self.key, bytes));
                    self.footer.history_bytes += superseded + cost(self.key, 0);
                }
            }
            Item::Footer(_) => {}
        }
    }

    fn end_key(&mut self) {
        if let Some(bytes) = self.newest.take() {
            self.footer.live_keys += 1;
            self.footer.live_bytes += cost(self.key, bytes);
        }
    }
}

/// `holdfast-store`'s digest, which is part of the format.
fn digest(bytes: &[u8]) -> u64 {
    let mut lanes = [1u64, 2, 3, 4];
    let (blocks, rest) = bytes.as_chunks::<32>();
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
            *lane = mix(*lane, u64::from_le_bytes(*word));
        }
    }
    let state = lanes.into_iter().fold(bytes.len() as u64, mix);
    let (words, tail) = rest.as_chunks::<8>();
    let state = words.iter().fold(state, |state, word| mix(state, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..tail.len()].copy_from_slice(tail);
    mix(state, u64::from_le_bytes(last))
}

fn mix(state: u64, word: u64) -> u64 {
    let product = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

/// Replace the last chunk by a footer with the figures and the digest of those before it.
fn mend(bytes: &mut Vec<u8>) {
    let mut chunks = pieces(bytes);
    if chunks.pop().is_none() {
        return;
    }
    let mut counting = Counting::default();
    for chunk in &chunks {
        counting.chunk(chunk);
    }
    counting.end_key();
    let footer = postcard::to_allocvec(&Item::Footer(counting.footer)).expect("a footer can be written");
    let mended = joined(chunks.into_iter().chain([&footer[..]]));
    *bytes = mended;
}

fn restore(bytes: &[u8]) {
    let mut restore = Restore::with_limits(SMALL_LIMITS);
    let mut apart = Restore::with_limits(SMALL_LIMITS);
    for chunk in pieces(bytes) {
        let taken = restore.chunk(chunk);
        assert_eq!(
            apart.decoded(Decoded::new(Bytes::copy_from_slice(chunk))),
            taken,
            "decoded by another thread"
        );
        if let Err(error) = taken {
            shape::note(&error);
            assert_eq!(restore.chunk(b"more"), Err(error), "an error stays");
            return;
        }
    }
    match (restore.finish(), apart.finish()) {
        (Ok(store), Ok(apart)) => {
            assert_eq!((apart.hash(), apart.statistics()), (store.hash(), store.statistics()));
            check(store);
        }
        (Err(error), Err(apart)) => {
            assert_eq!(apart, error);
            shape::note(&error);
        }
        both => panic!("decoded by another thread it is another one: {both:?}"),
    }
}

/// A restored store does all that one does which came to its state by itself.
fn check(mut store: Store) {
    let statistics = store.statistics();
    assert!(statistics.live_bytes <= SMALL_LIMITS.quota_bytes, "{statistics:?}");
    assert!(statistics.sessions <= SMALL_LIMITS.sessions as u64, "{statistics:?}");
    let before = everything(&store);
    for bytes_max in [1, 300, 100_000] {
        let again = super::command::restored(&store, bytes_max);
        assert_eq!((again.hash(), again.committed()), (store.hash(), store.committed()));
        assert_eq!(again.statistics(), statistics);
        assert_eq!(everything(&again), before);
        assert_eq!(chunks(&again, 300), chunks(&store, 300), "one store gives one checkpoint");
    }
    use_store(&mut store);
    shape::note(&statistics);
    shape::note_size(statistics.keys as usize);
    shape::note_size(statistics.history_bytes as usize);
    shape::note(&before);
}

/// Execute, undo, and execute again; then read all there is.
fn use_store(store: &mut Store) {
    let first = store.executed();
    let mut outcomes = Vec::new();
    for round in 0..2 {
        for (index, command) in (first.0 + 1..).zip(commands()) {
            // Once as it is and once without its condition, so that it does something.
            let mut command = command;
            if round == 1
                && let Operation::Put { expect, .. } | Operation::Delete { expect, .. } =
                    &mut command.operation
            {
                *expect = Expect::Any;
            }
            outcomes.push(store.execute(&entry(index, &command.encode())));
        }
        if round == 0 {
            store.rollback(first);
            assert_eq!(store.executed(), first);
        }
    }
    store.commit(store.executed());
    shape::note(&outcomes);
    everything(store);
}
