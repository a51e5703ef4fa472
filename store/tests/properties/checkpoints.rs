//! Checkpoints: what is restored from one is the store that it was cut from, and chunk sizes do not matter to it.

use bytes::Bytes;
use holdfast_engine::Index;
use holdfast_store::{Decoded, Limits, Restore, RestoreError, Store, View};

use crate::commands::Commands;
use crate::{SMALL, for_seeds};

/// Small, so that keys and their versions are spread over many chunks.
pub(crate) const CHUNK_BYTES: usize = 300;

/// Cut a checkpoint at once.
pub(crate) fn cut(store: &Store) -> Vec<Bytes> {
    cut_in(store, CHUNK_BYTES)
}

fn cut_in(store: &Store, bytes_max: usize) -> Vec<Bytes> {
    let mut cursor = store.begin_checkpoint();
    let chunks = std::iter::from_fn(|| cursor.chunk(bytes_max)).collect();
    assert!(cursor.chunk(bytes_max).is_none(), "the end is the end");
    chunks
}

/// Restore a store from its chunks: the same, whether they are decoded one by one or all ahead.
pub(crate) fn restore(chunks: &[Bytes], limits: Limits) -> Result<Store, RestoreError> {
    let mut restore = Restore::with_limits(limits);
    let restored = chunks.iter().try_for_each(|chunk| restore.chunk(chunk)).and_then(|()| restore.finish());
    let mut restore = Restore::with_limits(limits);
    let decoded: Vec<Decoded> = chunks.iter().cloned().map(Decoded::new).collect();
    let ahead =
        decoded.into_iter().try_for_each(|chunk| restore.decoded(chunk)).and_then(|()| restore.finish());
    match (&restored, &ahead) {
        (Ok(one), Ok(other)) => {
            assert_eq!((one.hash(), one.statistics()), (other.hash(), other.statistics()))
        }
        (one, other) => assert_eq!(one.as_ref().err(), other.as_ref().err()),
    }
    ahead.and(restored)
}

/// A store that has executed a random log, some of it ahead of its commit.
pub(crate) fn grown(seed: u64, limits: Limits, committed: u64, ahead: u64) -> (Store, Commands) {
    let mut commands = Commands::new(seed);
    let mut store = Store::with_limits(limits);
    for index in 1..=committed + ahead {
        commands.revision_is(store.revision(View::Executed));
        store.execute(&commands.entry(index));
        if index <= committed {
            store.commit(Index(index));
        }
    }
    (store, commands)
}

#[test]
fn what_is_restored_goes_on_as_the_original() {
    for_seeds(40, |seed| {
        let (mut store, mut commands) = grown(seed, SMALL, 150, seed % 10);
        let chunks = cut(&store);
        let mut restored = restore(&chunks, SMALL).expect("a whole checkpoint");
        assert_eq!(restored.executed(), store.committed());
        assert_eq!(restored.hash(), store.hash());
        assert_eq!(cut(&restored), chunks);
        store.rollback(store.committed());
        assert_eq!(restored.statistics(), store.statistics());
        for index in store.executed().0 + 1..store.executed().0 + 100 {
            commands.revision_is(store.revision(View::Executed));
            let entry = commands.entry(index);
            assert_eq!(restored.execute(&entry), store.execute(&entry), "index {index}: {entry:?}");
            assert_eq!(restored.commit(Index(index)), store.commit(Index(index)));
            assert_eq!(restored.hash(), store.hash());
        }
        assert_eq!(cut(&restored), cut(&store));
    });
}

#[test]
fn chunks_of_any_size_hold_the_same() {
    for_seeds(10, |seed| {
        let (store, _) = grown(seed, SMALL, 120, 5);
        let reference = cut(&store);
        for bytes_max in [0, 1, 50, 1_000, 5_000, 1_000_000] {
            let chunks = cut_in(&store, bytes_max);
            assert!(chunks.len() == 2 || bytes_max < 1_000_000, "all in one, and a footer");
            let restored = restore(&chunks, SMALL).expect("a whole checkpoint");
            assert_eq!(cut(&restored), reference, "chunks of {bytes_max}");
        }
    });
}

#[test]
fn a_chunk_is_longer_than_asked_for_only_for_one_value() {
    let (store, _) = grown(3, SMALL, 200, 0);
    // A key of 4096 bytes goes with its first version; values are up to 3000 bytes, outcomes hold several.
    for chunk in cut_in(&store, 20_000) {
        assert!(chunk.len() <= 20_000, "{} bytes", chunk.len());
    }
}
