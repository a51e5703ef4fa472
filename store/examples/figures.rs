//! What the state costs: nanoseconds per put, bytes per key, and how fast a checkpoint is cut and restored.
//!
//! ```text
//! cargo run --release -p holdfast-store --example figures -- [KEYS] [VALUE_BYTES]
//! ```
//!
//! It refuses to judge: machines differ, and what counts are ratios of one run.

#![expect(clippy::print_stdout, reason = "an example that prints figures")]

use std::fs;
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_engine::{Entry, EntryKind, Index, Position, Random, Term};
use holdfast_store::{Command, Expect, Operation, Restore, Store};

/// As large as a member's own chunks.
const CHUNK_BYTES: usize = 128 * 1024;

/// Entries that are made ahead, so that making them is not measured.
const BATCH: u64 = 10_000;

fn main() {
    let arguments: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let keys = arguments.first().copied().unwrap_or(100_000);
    let value_bytes = arguments.get(1).copied().unwrap_or(256) as usize;
    let before = resident_bytes();
    let mut store = Store::new();
    let took = put(&mut store, keys, |number| number, value_bytes);
    report("put, new keys in order", took, keys, value_bytes);
    let memory = resident_bytes() - before;
    println!("memory: {} bytes per key and value with its share of the history", memory / keys);

    let mut random = Random::new(7);
    let puts = keys.max(500_000);
    let took = put(&mut store, puts, |_| random.below(keys), value_bytes);
    report("put, existing keys at random", took, puts, value_bytes);

    let begin = Instant::now();
    let mut cursor = store.begin_checkpoint();
    println!("checkpoint begun in {:?}", begin.elapsed());
    let mut chunks = Vec::new();
    while let Some(chunk) = cursor.chunk(CHUNK_BYTES) {
        chunks.push(chunk);
    }
    report("cut", begin.elapsed(), keys, value_bytes);
    let bytes: usize = chunks.iter().map(Bytes::len).sum();
    let begin = Instant::now();
    drop(store);
    println!("dropped in {:?}", begin.elapsed());

    let before = resident_bytes();
    let begin = Instant::now();
    let mut restore = Restore::new();
    for chunk in &chunks {
        restore.chunk(chunk).expect("as it was cut");
    }
    let store = restore.finish().expect("whole");
    let took = begin.elapsed();
    report("restore", took, keys, value_bytes);
    println!("restore: {:.2} GB/s of {bytes} bytes", bytes as f64 / took.as_secs_f64() / 1e9);
    println!("memory: {} bytes per key and value, restored", resident_bytes().saturating_sub(before) / keys);
    assert_eq!(store.statistics().keys, keys);
}

fn put(store: &mut Store, puts: u64, mut key: impl FnMut(u64) -> u64, value_bytes: usize) -> Duration {
    let mut took = Duration::ZERO;
    let value = vec![b'v'; value_bytes];
    let mut number = 0;
    while number < puts {
        let first = store.executed().next();
        let batch: Vec<Entry> = (0..BATCH.min(puts - number))
            .map(|offset| {
                let key = Bytes::from(format!("some/path/key-{:08}", key(number + offset)));
                let value = Bytes::copy_from_slice(&value);
                let command = Command::new(Operation::Put { key, value, expect: Expect::Any });
                let position = Position::new(Term(1), Index(first.0 + offset));
                Entry::new(position, EntryKind::Command, &command.encode())
            })
            .collect();
        number += batch.len() as u64;
        let begin = Instant::now();
        for entry in &batch {
            store.execute(entry);
            store.commit_unwatched(entry.index());
        }
        took += begin.elapsed();
    }
    took
}

fn report(what: &str, took: Duration, keys: u64, value_bytes: usize) {
    let (each, rate) = (took.as_nanos() / u128::from(keys), keys as f64 / took.as_secs_f64() / 1e6);
    println!("{what}: {keys} of {value_bytes} bytes in {took:.2?}, {each} ns each, {rate:.2} M/s");
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}
