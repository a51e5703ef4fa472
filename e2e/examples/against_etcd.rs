//! A first comparison: writes to three members of Holdfast and to three of etcd, on this machine, in one run, in turns.
//!
//! `cargo run --release -p holdfast-e2e --example against_etcd -- [ROUNDS]` prints the table that stands in
//! `docs/internals/performance.md`. It needs etcd and its `benchmark`, which `cargo xtask cluster build` makes. Values have 256 bytes,
//! every acknowledgement means that a majority has the write on disk, and clients of both talk to the leader.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use holdfast_e2e::http::Http;
use holdfast_e2e::laptop::Laptop;
use holdfast_e2e::{runtime, wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Concurrent clients, and writes of each round with them.
const LOADS: [(usize, usize); 3] = [(1, 5_000), (64, 60_000), (256, 100_000)];

/// Bytes of a value.
const VALUE_BYTES: usize = 256;

/// The three members of the store that is measured.
const STORE: &str = include_str!("../../manifests/store-three-members.yaml");

/// One figure of one round.
#[derive(Clone, Copy)]
struct Figure {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

fn main() -> anyhow::Result<()> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(3), |rounds| rounds.parse())?;
    holdfast_xtask::tools::ensure()?;
    let tools = holdfast_xtask::tools::folder();
    let folder = tempfile::tempdir()?;
    let etcd = Etcd::start(&tools, folder.path())?;
    let store = Laptop::up(STORE)?;
    let leader = store.wait_until_ready()?.leader.context("nobody leads")?;
    let mut figures: BTreeMap<(usize, &str), Vec<Figure>> = BTreeMap::new();
    let mut times = String::new();
    for round in 0..rounds {
        for (clients, writes) in LOADS {
            let before = Times::read(&store, leader)?;
            let ours = runtime().block_on(load(store.port(leader), clients, writes, round))?;
            figures.entry((clients, "holdfast")).or_default().push(ours);
            times += &format!("{clients} clients: {}\n", before.until(&Times::read(&store, leader)?));
            figures.entry((clients, "etcd")).or_default().push(etcd.load(&tools, clients, writes)?);
        }
    }
    print(&figures)?;
    writeln!(std::io::stdout().lock(), "\nWhere the time goes at the leader, means per round:\n{times}")?;
    Ok(())
}

/// Sums and counts of the leader's own histograms, in seconds: HTTP, commit, flush.
struct Times([(f64, f64); 3]);

impl Times {
    fn read(store: &Laptop, leader: u8) -> anyhow::Result<Times> {
        let url = format!("http://127.0.0.1:{}/metrics", store.port(leader) + 2);
        let text = runtime().block_on(Http::default().text(&url))?;
        let number = |series: &str| -> f64 {
            let lines = text.lines().filter(|line| line.starts_with(series));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        let names = ["holdfast_http_request_seconds", "holdfast_commit_seconds", "holdfast_fsync_seconds"];
        Ok(Times(names.map(|name| (number(&format!("{name}_sum")), number(&format!("{name}_count"))))))
    }

    fn until(&self, after: &Times) -> String {
        let mean = |at: usize| {
            let (before, after) = (self.0[at], after.0[at]);
            (after.0 - before.0) / (after.1 - before.1).max(1.0) * 1e6
        };
        let flushes = after.0[2].1 - self.0[2].1;
        let batch = (after.0[1].1 - self.0[1].1) / flushes.max(1.0);
        let (http, commit, flush) = (mean(0), mean(1), mean(2));
        format!(
            "request {http:.0} us, of that append to commit {commit:.0} us; a flush {flush:.0} us of {batch:.1} writes"
        )
    }
}

fn print(figures: &BTreeMap<(usize, &str), Vec<Figure>>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "| clients | | writes/s: median (min – max) | p50 | p99 |\n|---|---|---|---|---|")?;
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let mut rates = BTreeMap::new();
    for ((clients, who), rounds) in figures {
        let mut rate: Vec<f64> = rounds.iter().map(|figure| figure.per_second).collect();
        let middle = median(&mut rate);
        let p50 = median(&mut rounds.iter().map(|figure| figure.p50_ms).collect());
        let p99 = median(&mut rounds.iter().map(|figure| figure.p99_ms).collect());
        let (least, most) = (rate[0], rate[rate.len() - 1]);
        writeln!(
            out,
            "| {clients} | {who} | {middle:.0} ({least:.0} – {most:.0}) | {p50:.2} ms | {p99:.2} ms |"
        )?;
        rates.insert((*clients, *who), middle);
    }
    for (clients, _) in LOADS {
        let ratio = rates[&(clients, "holdfast")] / rates[&(clients, "etcd")];
        writeln!(out, "{clients} clients: {ratio:.2} times etcd")?;
    }
    Ok(())
}

/// So many clients, each with a connection of its own, write until `writes` are done.
async fn load(port: u16, clients: usize, writes: usize, round: usize) -> anyhow::Result<Figure> {
    let start = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| tokio::spawn(client_writes(port, client, writes / clients, round)))
        .collect();
    let mut latencies = Vec::with_capacity(writes);
    for task in tasks {
        latencies.extend(task.await??);
    }
    let took = start.elapsed();
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    Ok(Figure { per_second: latencies.len() as f64 / took.as_secs_f64(), p50_ms: at(0.5), p99_ms: at(0.99) })
}

/// One client's writes, one after the other. It speaks just enough HTTP not to take the cores from the members.
async fn client_writes(
    port: u16,
    client: usize,
    writes: usize,
    round: usize,
) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.context("cannot connect to the leader")?;
    stream.set_nodelay(true)?;
    let mut latencies = Vec::with_capacity(writes);
    let mut buffer = vec![0; 4096];
    for number in 0..writes {
        let mut request = format!(
            "PUT /v1/kv/{round:02}-{client:04}-{number:08} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {VALUE_BYTES}\r\n\r\n"
        )
        .into_bytes();
        request.resize(request.len() + VALUE_BYTES, b'x');
        let start = Instant::now();
        stream.write_all(&request).await?;
        let mut filled = 0;
        while !is_whole(&buffer[..filled])? {
            let read = stream.read(&mut buffer[filled..]).await?;
            ensure!(read > 0, "the leader closed the connection");
            filled += read;
        }
        latencies.push(start.elapsed());
    }
    Ok(latencies)
}

/// Whether the bytes are a whole response; an error unless it says that the write is done.
fn is_whole(bytes: &[u8]) -> anyhow::Result<bool> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    let head_text = std::str::from_utf8(&bytes[..head])?.to_ascii_lowercase();
    let length = head_text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.context("a response without a length")?.trim().parse()?;
    if bytes.len() < head + 4 + length {
        return Ok(false);
    }
    ensure!(head_text.starts_with("http/1.1 200"), "not acknowledged: {}", String::from_utf8_lossy(bytes));
    Ok(true)
}

/// Three members of etcd as processes on loopback, with etcd's own defaults. Dropping it kills them.
struct Etcd {
    members: Vec<Child>,
    endpoints: String,
}

impl Etcd {
    fn start(tools: &Path, folder: &Path) -> anyhow::Result<Etcd> {
        let client = |at: usize| format!("http://127.0.0.1:{}", 9_790 + 10 * at);
        let peer = |at: usize| format!("http://127.0.0.1:{}", 9_791 + 10 * at);
        let cluster = (0..3).map(|at| format!("m{at}={}", peer(at))).collect::<Vec<_>>().join(",");
        let mut etcd =
            Etcd { members: Vec::new(), endpoints: (0..3).map(client).collect::<Vec<_>>().join(",") };
        for at in 0..3 {
            let mut command = Command::new(tools.join("etcd"));
            command.arg(format!("--name=m{at}")).arg("--data-dir").arg(folder.join(format!("m{at}")));
            command
                .arg(format!("--listen-client-urls={0}", client(at)))
                .arg(format!("--advertise-client-urls={0}", client(at)));
            command.arg(format!("--listen-peer-urls={0}", peer(at)));
            command.arg(format!("--initial-advertise-peer-urls={0}", peer(at)));
            command.arg(format!("--initial-cluster={cluster}")).arg("--log-level=error").stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(File::create(folder.join(format!("m{at}.log")))?);
            etcd.members.push(command.spawn().context("cannot start etcd")?);
        }
        wait::until("etcd serves", Duration::from_secs(30), || {
            let mut health = Command::new(tools.join("etcdctl"));
            health.arg(format!("--endpoints={}", etcd.endpoints)).args(["endpoint", "health"]);
            ensure!(
                health.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success(),
                "it is not healthy"
            );
            Ok(())
        })?;
        Ok(etcd)
    }

    /// etcd's own load tool, against the leader.
    fn load(&self, tools: &Path, clients: usize, writes: usize) -> anyhow::Result<Figure> {
        let mut benchmark = Command::new(tools.join("benchmark"));
        benchmark.arg(format!("--endpoints={}", self.endpoints)).arg("--target-leader");
        benchmark.arg(format!("--conns={clients}")).arg(format!("--clients={clients}"));
        benchmark.args(["put", "--sequential-keys", "--key-size=16", "--key-space-size=1000000"]);
        benchmark.arg(format!("--total={writes}")).arg(format!("--val-size={VALUE_BYTES}"));
        let output = benchmark.output().context("cannot run etcd's benchmark")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = |mark: &str| -> anyhow::Result<f64> {
            let Some(line) = text.lines().find(|line| line.contains(mark)) else {
                bail!(
                    "etcd's benchmark printed no {mark}: {text}{}",
                    String::from_utf8_lossy(&output.stderr)
                );
            };
            let rest = line.split(mark).nth(1).unwrap_or_default();
            rest.split_whitespace().find_map(|word| word.parse().ok()).context("a number")
        };
        Ok(Figure {
            per_second: number("Requests/sec:")?,
            p50_ms: number("50% in")? * 1e3,
            p99_ms: number("99% in")? * 1e3,
        })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}
