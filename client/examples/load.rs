//! Loads a store over the binary protocol and says how fast it was.
//!
//! ```text
//! cargo run --release -p holdfast-client --example load -- 127.0.0.1:7400,127.0.0.1:7410 clients=256 seconds=5
//! ```
//!
//! | word | means | default |
//! |---|---|---|
//! | `clients=N` | callers, each of which waits for its answer before it asks again | 1 |
//! | `depth=N` | requests that each caller has under way | 1 |
//! | `connections=N` | connections that the callers share | 4, at most one per caller |
//! | `batch=N` | puts in one transaction; 1: no transaction | 1 |
//! | `reads` | linearizable reads instead of writes | |
//! | `sessions` | writes that can be sent twice | |
//! | `bytes=N` | length of a value | 256 |
//! | `keys=N` | how many keys there are | 10000 |
//! | `seconds=N` | how long | 5 |
//!
//! Refuses to hide failures: they are counted, and the first is shown.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_client::native::{Txn, TxnOperation};
use holdfast_client::{Error, NativeClient, ReadOptions, WriteOptions};

/// What to do; see the table above.
#[derive(Clone, Debug)]
struct Load {
    endpoints: Vec<String>,
    clients: u64,
    depth: u64,
    connections: u64,
    batch: u64,
    reads: bool,
    sessions: bool,
    bytes: usize,
    keys: u64,
    seconds: u64,
}

impl Load {
    fn parse(words: impl Iterator<Item = String>) -> Result<Load, String> {
        let mut load = Load {
            endpoints: Vec::new(),
            clients: 1,
            depth: 1,
            connections: 4,
            batch: 1,
            reads: false,
            sessions: false,
            bytes: 256,
            keys: 10_000,
            seconds: 5,
        };
        for word in words {
            let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{word}: {error}"));
            match word.split_once('=') {
                Some(("clients", text)) => load.clients = number(text)?.max(1),
                Some(("depth", text)) => load.depth = number(text)?.max(1),
                Some(("connections", text)) => load.connections = number(text)?.max(1),
                Some(("batch", text)) => load.batch = number(text)?.max(1),
                Some(("bytes", text)) => load.bytes = number(text)? as usize,
                Some(("keys", text)) => load.keys = number(text)?.max(1),
                Some(("seconds", text)) => load.seconds = number(text)?.max(1),
                None if word == "reads" => load.reads = true,
                None if word == "sessions" => load.sessions = true,
                _ => load.endpoints = word.split(',').map(str::to_owned).collect(),
            }
        }
        load.connections = load.connections.min(load.clients);
        Ok(load)
    }
}

/// What has come of it so far.
#[derive(Default)]
struct Results {
    done: AtomicU64,
    failed: AtomicU64,
    first_failure: Mutex<Option<String>>,
    took: Mutex<Vec<Duration>>,
}

/// One request of the stream `stream`.
async fn ask(client: &NativeClient, load: &Load, value: &Bytes, number: u64) -> Result<(), Error> {
    let key = |number: u64| Bytes::from(format!("load/{:08}", number % load.keys));
    if load.reads {
        return client.get(key(number), ReadOptions::default()).await.map(drop);
    }
    if load.batch == 1 {
        return client.put(key(number), value.clone(), WriteOptions::default()).await.map(drop);
    }
    let put = |at: u64| TxnOperation::Put { key: key(number * load.batch + at), value: value.clone() };
    let txn = Txn { success: (0..load.batch).map(put).collect(), ..Txn::default() };
    client.txn(txn, None).await.map(drop)
}

async fn run(load: Arc<Load>) -> Arc<Results> {
    let results = Arc::new(Results::default());
    let clients: Vec<NativeClient> = (0..load.connections)
        .map(|_| {
            let client = NativeClient::new(&load.endpoints).expect("addresses");
            if load.sessions { client } else { client.without_sessions() }
        })
        .collect();
    let value = Bytes::from(vec![b'v'; load.bytes]);
    let until = Instant::now() + Duration::from_secs(load.seconds);
    let streams = load.clients * load.depth;
    let mut tasks = Vec::new();
    for stream in 0..streams {
        let client = clients[(stream % load.connections) as usize].clone();
        let (load, value, results) = (load.clone(), value.clone(), results.clone());
        tasks.push(tokio::spawn(async move {
            let mut took = Vec::new();
            // Far apart, so that no two streams write the same key at a time.
            let mut number = stream.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
            let mut now = Instant::now();
            while now < until {
                let result = ask(&client, &load, &value, number).await;
                number += 1;
                let before = std::mem::replace(&mut now, Instant::now());
                took.push(now - before);
                match result {
                    Ok(()) => results.done.fetch_add(load.batch, Relaxed),
                    Err(error) => {
                        results.first_failure.lock().expect("whole").get_or_insert(error.to_string());
                        results.failed.fetch_add(1, Relaxed)
                    }
                };
            }
            results.took.lock().expect("whole").extend(took);
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    results
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to whoever runs it")]
fn main() -> ExitCode {
    let load = match Load::parse(std::env::args().skip(1)) {
        Ok(load) if !load.endpoints.is_empty() => Arc::new(load),
        other => {
            eprintln!(
                "{}",
                other.err().unwrap_or_else(|| "no endpoints; see the example's beginning".to_owned())
            );
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let began = Instant::now();
    let results = runtime.block_on(run(load.clone()));
    let elapsed = began.elapsed().as_secs_f64();
    let mut took = std::mem::take(&mut *results.took.lock().expect("whole"));
    took.sort_unstable();
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or_default();
    let done = results.done.load(Relaxed);
    println!(
        "{done} {} in {elapsed:.2} s: {:.0}/s, p50 {:?}, p99 {:?}, p99.9 {:?}, {} failed",
        if load.reads { "reads" } else { "writes" },
        done as f64 / elapsed,
        at(0.5),
        at(0.99),
        at(0.999),
        results.failed.load(Relaxed),
    );
    if let Some(failure) = &*results.first_failure.lock().expect("whole") {
        println!("first failure: {failure}");
    }
    ExitCode::SUCCESS
}
