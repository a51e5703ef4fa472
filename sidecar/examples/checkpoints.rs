//! What a checkpoint costs writers, how fast a member starts from one, and how much memory it takes.
//!
//! ```text
//! cargo run --release -p holdfast-sidecar --example checkpoints -- FOLDER fill [KEYS] [VALUE_BYTES]
//! cargo run --release -p holdfast-sidecar --example checkpoints -- FOLDER start
//! ```
//!
//! `fill` fills the store of one member, measures how long puts take without, during and after a checkpoint, three
//! times over, and stops; `start` starts it again. Percentiles of one run are to be compared with each other only. It
//! refuses to judge.

#![expect(clippy::print_stdout, reason = "an example that prints figures")]

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use holdfast_engine::{Ordinal, Random, WriteConcern};
use holdfast_sidecar::core::{Handle, Timing, WriteRequest};
use holdfast_sidecar::member::{Member, MemberOptions};
use holdfast_sidecar::metrics::Metrics;
use holdfast_storage::LogPolicy;
use holdfast_store::{Command, Expect, Operation, Txn, TxnOperation};

/// Keys of one transaction while the store is filled.
const KEYS_AT_ONCE: u64 = 128;

/// Clients whose puts are measured.
const CLIENTS: u64 = 16;

/// Bytes of a measured put's value.
const PUT_BYTES: usize = 256;

/// How long puts are measured without a checkpoint.
const QUIET: Duration = Duration::from_secs(2);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, verb, rest @ ..] = &arguments[..] else {
        return Err(anyhow!("which folder, and fill or start?"));
    };
    let figures: Vec<u64> = rest.iter().filter_map(|figure| figure.parse().ok()).collect();
    let keys = figures.first().copied().unwrap_or(1_000_000);
    let value_bytes = figures.get(1).copied().unwrap_or(1024) as usize;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let folder = PathBuf::from(folder);
        let member = start(&folder).await?;
        if verb == "fill" {
            fill(member.handle(), keys, value_bytes).await?;
            measure(member.handle(), keys).await?;
            println!("resident: {:.1} MiB", resident_bytes()? as f64 / 1024.0 / 1024.0);
        }
        member.handle().shut_down().await;
        Ok(())
    })
}

async fn start(folder: &Path) -> anyhow::Result<Member> {
    let begin = Instant::now();
    let options = MemberOptions {
        store: "example/checkpoints".to_owned(),
        ordinal: Ordinal(0),
        members: 1,
        peers: vec!["127.0.0.1:1".to_owned()],
        data: folder.to_owned(),
        log: LogPolicy::Kept,
        log_options: holdfast_storage::Options::default(),
        timing: Timing {
            heartbeat_interval: Duration::from_millis(50),
            heartbeat_timeout: Duration::from_millis(500),
            checkpoint_interval: None,
            checkpoint_retain: NonZeroUsize::MIN,
            checkpoint_compression: holdfast_storage::Compression::None,
        },
        faults: holdfast_sidecar::core::Faults::default(),
        in_sync: None,
        checkpoints_outside: None,
        metrics: Metrics::example(),
        peer_listener: tokio::net::TcpListener::bind("127.0.0.1:0").await?,
    };
    let member = Member::start(options).await?;
    let took = begin.elapsed();
    let figures = member.handle().figures().await.map_err(|failure| anyhow!("{failure:?}"))?;
    let bytes = checkpoint_bytes(folder).unwrap_or(0);
    let (keys, seconds) = (figures.statistics.keys as f64, took.as_secs_f64());
    println!(
        "started in {took:.2?} from a checkpoint of {bytes} bytes: {:.2} GB/s, {:.2} million keys/s; resident: {:.1} MiB",
        bytes as f64 / seconds / 1e9,
        keys / seconds / 1e6,
        resident_bytes()? as f64 / 1024.0 / 1024.0
    );
    Ok(member)
}

fn checkpoint_bytes(folder: &Path) -> io::Result<u64> {
    fs::read_dir(folder.join("checkpoints"))?.map(|file| Ok(file?.metadata()?.len())).sum()
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("some/path/key-{number:08}"))
}

async fn write(handle: &Handle, operation: Operation) -> anyhow::Result<()> {
    let request = WriteRequest {
        command: Command::new(operation).encode(),
        concern: WriteConcern::Majority,
        timeout: Duration::from_secs(60),
        retryable: false,
    };
    handle.write(request).await.map(drop).map_err(|failure| anyhow!("{failure:?}"))
}

async fn fill(handle: &Handle, keys: u64, value_bytes: usize) -> anyhow::Result<()> {
    let begin = Instant::now();
    let value = Bytes::from(vec![b'v'; value_bytes]);
    for first in (0..keys).step_by(KEYS_AT_ONCE as usize) {
        let numbers = first..keys.min(first + KEYS_AT_ONCE);
        let put = |number| TxnOperation::Put { key: key(number), value: value.clone() };
        let txn = Txn { success: numbers.map(put).collect(), ..Txn::default() };
        write(handle, Operation::Txn(txn)).await?;
    }
    println!("filled with {keys} keys of {value_bytes} bytes in {:.2?}", begin.elapsed());
    Ok(())
}

async fn measure(handle: &Handle, keys: u64) -> anyhow::Result<()> {
    // What the filling has begun is over after this.
    handle.checkpoint().await.map_err(|failure| anyhow!("{failure:?}"))?;
    for _ in 0..3 {
        clients(handle, keys, tokio::time::sleep(QUIET)).await?.report("without a checkpoint");
        let checkpoint = async {
            let taken = handle.checkpoint().await;
            if let Ok(taken) = taken {
                println!("a checkpoint of {} bytes in {:.2?}", taken.bytes, taken.took);
            }
        };
        clients(handle, keys, checkpoint).await?.report("during a checkpoint");
    }
    Ok(())
}

/// How long puts take until `until` is over.
async fn clients(handle: &Handle, keys: u64, until: impl Future<Output = ()>) -> anyhow::Result<Latencies> {
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (handle, over) = (handle.clone(), over.clone());
            tokio::spawn(async move {
                let mut random = Random::new(client);
                let value = Bytes::from(vec![b'n'; PUT_BYTES]);
                let mut took = Vec::new();
                while !over.load(Relaxed) {
                    let key = key(random.below(keys));
                    let begin = Instant::now();
                    write(&handle, Operation::Put { key, value: value.clone(), expect: Expect::Any }).await?;
                    took.push(begin.elapsed());
                }
                anyhow::Ok(took)
            })
        })
        .collect();
    let begin = Instant::now();
    until.await;
    over.store(true, Relaxed);
    let lasted = begin.elapsed();
    let mut all = Vec::new();
    for client in clients {
        all.extend(client.await.context("a client")??);
    }
    all.sort_unstable();
    Ok(Latencies { all, lasted })
}

/// How long each put took, in order of that.
struct Latencies {
    all: Vec<Duration>,
    lasted: Duration,
}

impl Latencies {
    fn report(&self, what: &str) {
        let at = |share: f64| self.all[((self.all.len() - 1) as f64 * share) as usize];
        println!(
            "{what}: {:.0} puts/s, p50 {:.0?}, p90 {:.0?}, p99 {:.0?}, p99.9 {:.0?}, longest {:.1?}",
            self.all.len() as f64 / self.lasted.as_secs_f64(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            at(1.0),
        );
    }
}

fn resident_bytes() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
