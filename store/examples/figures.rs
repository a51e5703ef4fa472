//! What the state costs: nanoseconds per put and per message, bytes per key and per message, and how fast a checkpoint
//! is cut and restored.
//!
//! ```text
//! cargo run --release -p holdfast-store --example figures -- [KEYS] [VALUE_BYTES] [PUTS]
//! cargo run --release -p holdfast-store --example figures -- messages [MESSAGES] [MESSAGE_BYTES]
//! ```
//!
//! It refuses to judge: machines differ, and what counts are ratios of one run.

#![expect(clippy::print_stdout, reason = "an example that prints figures")]

use std::fs;
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_engine::{Entry, EntryKind, Index, Position, Random, Term};
use holdfast_store::{Append, Command, Expect, Operation, Restore, Store};

/// As large as a member's own chunks.
const CHUNK_BYTES: usize = 128 * 1024;

/// Entries that are made ahead, so that making them is not measured.
const BATCH: u64 = 10_000;

fn main() {
    let arguments: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    if std::env::args().any(|argument| argument == "messages") {
        return messages(arguments.first().copied(), arguments.get(1).copied());
    }
    let keys = arguments.first().copied().unwrap_or(100_000);
    let value_bytes = arguments.get(1).copied().unwrap_or(256) as usize;
    let before = resident_bytes();
    let mut store = Store::new();
    let took = put(&mut store, keys, |number| number, value_bytes);
    took.report("put, new keys in order", keys);
    let memory = resident_bytes() - before;
    println!("memory: {} bytes for each key and value, with its share of the history", memory / keys);

    let mut random = Random::new(7);
    let puts = arguments.get(2).copied().unwrap_or(keys.max(500_000));
    put(&mut store, puts, |_| random.below(keys), value_bytes).report("put, existing keys at random", puts);

    let start = Spent::start();
    let mut cursor = store.begin_checkpoint();
    start.end().report("begin a checkpoint", 1);
    let start = Spent::start();
    let chunks: Vec<Bytes> = std::iter::from_fn(|| cursor.chunk(CHUNK_BYTES)).collect();
    start.end().report("cut", keys);
    let bytes: usize = chunks.iter().map(Bytes::len).sum();
    drop(cursor);
    let start = Spent::start();
    drop(store);
    start.end().report("drop", keys);

    // The second time is in memory that the process had before: what fresh memory costs is the system's matter.
    for time in ["first", "second"] {
        let before = resident_bytes();
        let start = Spent::start();
        let mut restore = Restore::new();
        for chunk in &chunks {
            restore.chunk(chunk).expect("as it was cut");
        }
        let store = restore.finish().expect("whole");
        let took = start.end();
        took.report(&format!("restore, {time} time"), keys);
        println!("restore: {:.2} GB/s of {bytes} bytes", bytes as f64 / took.wall.as_secs_f64() / 1e9);
        println!("memory: {} bytes more for each key and value", (resident_bytes() - before) / keys);
        assert_eq!(store.statistics().keys, keys);
    }
}

/// Time on the clock, and of the processor in this thread: the second says more on a busy machine.
#[derive(Clone, Copy, Default)]
struct Took {
    wall: Duration,
    processor: Duration,
}

struct Spent {
    wall: Instant,
    processor: Duration,
}

impl Spent {
    fn start() -> Spent {
        let processor = processor_time();
        Spent { processor, wall: Instant::now() }
    }

    fn end(self) -> Took {
        let wall = self.wall.elapsed();
        Took { wall, processor: processor_time() - self.processor }
    }
}

impl Took {
    fn report(self, what: &str, times: u64) {
        let each = |took: Duration| took.as_nanos() / u128::from(times);
        let Took { wall, processor } = self;
        println!(
            "{what}: {times} in {wall:.2?}, {} ns each, {} ns of the processor",
            each(wall),
            each(processor)
        );
    }
}

/// What the scheduler has counted for this thread.
fn processor_time() -> Duration {
    let counted = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = counted.split_whitespace().next().and_then(|figure| figure.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// As many messages as puts of new keys, each of them new.
fn messages(messages: Option<u64>, bytes: Option<u64>) {
    let (messages, bytes) = (messages.unwrap_or(1_000_000), bytes.unwrap_or(256) as usize);
    let before = resident_bytes();
    let mut store = Store::new();
    let took = run(&mut store, messages, |number| {
        let mut message = vec![b'm'; bytes];
        let text = format!("{number:016}");
        message[..text.len().min(bytes)].copy_from_slice(&text.as_bytes()[..text.len().min(bytes)]);
        let (log, message) = (Bytes::from_static(b"messages"), Bytes::from(message));
        Operation::Append(Append { log, message, key: None, time_ms: number, attempt: number })
    });
    took.report("append", messages);
    println!("memory: {} bytes for each message", (resident_bytes() - before) / messages);
    let mut puts = Store::new();
    put(&mut puts, messages, |number| number, bytes).report("put, new keys in order", messages);
}

fn put(store: &mut Store, puts: u64, mut key: impl FnMut(u64) -> u64, value_bytes: usize) -> Took {
    let value = vec![b'v'; value_bytes];
    run(store, puts, |number| {
        let key = Bytes::from(format!("some/path/key-{:08}", key(number)));
        Operation::Put { key, value: Bytes::copy_from_slice(&value), expect: Expect::Any }
    })
}

fn run(store: &mut Store, puts: u64, mut operation: impl FnMut(u64) -> Operation) -> Took {
    let mut took = Took::default();
    let mut number = 0;
    while number < puts {
        let first = store.executed().next();
        let batch: Vec<Entry> = (0..BATCH.min(puts - number))
            .map(|offset| {
                let command = Command::new(operation(number + offset));
                let position = Position::new(Term(1), Index(first.0 + offset));
                Entry::new(position, EntryKind::Command, &command.encode())
            })
            .collect();
        number += batch.len() as u64;
        let start = Spent::start();
        for entry in &batch {
            store.execute(entry);
            store.commit_unwatched(entry.index());
        }
        let batch = start.end();
        took.wall += batch.wall;
        took.processor += batch.processor;
    }
    took
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}
