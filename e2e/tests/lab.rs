//! What a user of `holdfast lab` is promised: the research protocol's client runs unchanged, nobody waits for an experiment who only asks, and
//! nothing is left, however the lab or a batch ends.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use holdfast_e2e::http::Http;
use holdfast_e2e::suite::{self, Test, note};
use holdfast_e2e::{files, programs, runtime, wait};
use holdfast_xtask::checkout;
use serde_json::Value;

const TESTS: &[Test<()>] = &[
    ("a_client_written_for_the_protocol_runs_unchanged", |()| protocol()),
    ("an_experiment_outlives_the_client_that_asked_for_it", |()| abandoned()),
    ("a_killed_lab_leaves_nothing", |()| killed()),
    ("a_terminated_lab_leaves_nothing", |()| terminated()),
    ("hybrid_alone_outlives_the_loss_of_all_disks", |()| disks()),
    ("a_batch_that_is_killed_leaves_nothing_and_is_completed", |()| batch()),
];

/// How long something may take that takes a second, on a machine that may be compiling.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    suite::run(TESTS, || Ok(()), |()| Ok(()))
}

/// A lab; killed when it is dropped.
struct Lab {
    process: Child,
    url: String,
    data: tempfile::TempDir,
}

impl Lab {
    fn start() -> anyhow::Result<Lab> {
        let data = tempfile::tempdir()?;
        let mut process = holdfast()?
            .args(["lab", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().context("it is a pipe")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let url = line.split_whitespace().last().context("the lab did not start")?;
        let url = url.strip_suffix("/api/fault-tolerance").context("it says where it is")?.to_owned();
        Ok(Lab { process, url, data })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = nothing_left(self.data.path());
    }
}

fn holdfast() -> anyhow::Result<Command> {
    Ok(Command::new(programs::build(&[programs::HOLDFAST])?.join(programs::HOLDFAST)))
}

/// Waits until no process names the folder and nothing is in it.
fn nothing_left(data: &Path) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let processes = processes_of(data)?;
        let files: Vec<_> =
            std::fs::read_dir(data)?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        if processes.is_empty() && files.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < until, "left behind: processes {processes:?}, files {files:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Processes whose command line names the folder: members and janitors.
fn processes_of(data: &Path) -> anyhow::Result<Vec<String>> {
    let data = format!("{}/", data.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path().join("cmdline");
        // Processes end while they are looked at.
        let line = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).replace('\0', " ");
        if line.contains(&data) {
            found.push(line);
        }
    }
    Ok(found)
}

fn protocol() -> anyhow::Result<()> {
    let lab = Lab::start()?;
    let client = checkout().join("e2e/tests/lab/client.py");
    let output =
        Command::new("python3").arg(client).arg(&lab.url).output().context("python3 cannot be run")?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        note(format_args!("{line}"));
    }
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Starts an experiment in which a member stands still, and returns when it does.
fn paused(lab: &Lab) -> anyhow::Result<Child> {
    let url = format!("{}/api/fault-tolerance/simulate-failure", lab.url);
    let configure = url.replace("simulate-failure", "configure");
    let ask =
        "import sys,urllib.request as u; u.urlopen(u.Request(sys.argv[1], sys.argv[2].encode()), timeout=60)";
    for (url, body) in
        [(&configure, r#"{"strategy": "replication"}"#), (&url, r#"{"failure_type": "pause"}"#)]
    {
        let status = Command::new("python3").args(["-c", ask, url, body]).status()?;
        ensure!(status.success(), "{url} failed");
    }
    // And an experiment is under way while it is killed.
    let run = configure.replace("configure", "run-experiment");
    let body = r#"{"strategy": "hybrid", "data_items": 20000}"#;
    Ok(Command::new("python3").args(["-c", ask, &run, body]).stderr(Stdio::null()).spawn()?)
}

/// One experiment, by a client of its own.
async fn experiment(url: String, body: &'static str) -> anyhow::Result<Value> {
    let answer = Http::default().raw().post(url).body(body).send().await?.error_for_status()?;
    Ok(serde_json::from_str(&answer.text().await?)?)
}

/// A client that goes away while its experiment is under way: the experiment is carried out, and the next finds a lab like any other.
fn abandoned() -> anyhow::Result<()> {
    let lab = Lab::start()?;
    let url = format!("{}/api/fault-tolerance", lab.url);
    let http = Http::default();
    let recoveries = || -> anyhow::Result<u64> {
        let status: Value = runtime().block_on(files::json(&http, &format!("{url}/status")))?;
        ensure!(status["strategy"] == "replication" && status["store"] == "ready", "{status}");
        status["stats"]["recoveries"].as_u64().context("no recoveries")
    };
    let run = |body| experiment(format!("{url}/run-experiment"), body);
    let asked = runtime().spawn(run(r#"{"strategy": "replication", "data_items": 20000}"#));
    let (before, _) = wait::until("the experiment is under way", PATIENCE, recoveries)?;
    asked.abort();
    ensure!(before == 0 && recoveries()? == 0, "it was over before its client went away");
    wait::until("the experiment is carried out", PATIENCE, || {
        ensure!(recoveries()? == 1, "it is not");
        Ok(())
    })?;
    let next = runtime().block_on(run(r#"{"strategy": "hybrid", "data_items": 50}"#))?;
    ensure!(next["items_recovered"] == 50, "{next}");
    Ok(())
}

fn killed() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    let mut client = paused(&lab)?;
    ensure!(!processes_of(lab.data.path())?.is_empty(), "members run");
    lab.process.kill()?;
    lab.process.wait()?;
    client.wait()?;
    nothing_left(lab.data.path())
}

fn terminated() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    let pid = rustix::process::Pid::from_child(&lab.process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    ensure!(lab.process.wait()?.success(), "it ends in order");
    nothing_left(lab.data.path())
}

fn disks() -> anyhow::Result<()> {
    const PLAN: &str = "configurations:
- {name: Replication, strategy: Replication, replicas: 3}
- {name: Hybrid, strategy: Hybrid, replicas: 3, checkpointInterval: 15s}
runs: 2
items: 50
failureType: disks
";
    let folder = tempfile::tempdir()?;
    let (plan, results, data) =
        (folder.path().join("plan.yaml"), folder.path().join("results.csv"), folder.path().join("data"));
    std::fs::write(&plan, PLAN)?;
    std::fs::create_dir(&data)?;
    let mut command = holdfast()?;
    command.args(["experiment", "run", "--file"]).arg(&plan).arg("--data").arg(&data);
    let ran = command.arg("--results").arg(&results).output()?;
    ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    nothing_left(&data)?;
    let table = std::fs::read_to_string(&results)?;
    let mut rows = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = rows.next().context("a head")?;
    let column = |name: &str| head.iter().position(|column| *column == name).context("a column");
    let (name, items, time) =
        (column("config_name")?, column("items_recovered")?, column("recovery_time_seconds")?);
    let mut seen = 0;
    for row in rows {
        note(format_args!("{}: {} of 50 items after {} s", row[name], row[items], row[time]));
        ensure!(row[items] == if row[name] == "Hybrid" { "50" } else { "0" }, "{table}");
        seen += 1;
    }
    ensure!(seen == 4, "{table}");
    Ok(())
}

fn batch() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (results, data) = (folder.path().join("results.csv"), folder.path().join("data"));
    std::fs::create_dir(&data)?;
    let run = || -> anyhow::Result<Child> {
        let mut command = holdfast()?;
        command.args(["experiment", "run", "--runs", "2", "--data"]).arg(&data);
        command.arg("--results").arg(&results).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(command.spawn()?)
    };
    let rows = || std::fs::read_to_string(&results).map_or(0, |text| text.lines().count().saturating_sub(1));
    let mut first = run()?;
    let until = Instant::now() + PATIENCE;
    while rows() < 3 {
        ensure!(Instant::now() < until, "runs are kept as they are done");
        std::thread::sleep(Duration::from_millis(20));
    }
    first.kill()?;
    first.wait()?;
    nothing_left(&data)?;
    let kept = rows();
    ensure!(run()?.wait()?.success(), "the second completes what the first began");
    nothing_left(&data)?;
    note(format_args!("{kept} rows before, {} after", rows()));
    ensure!(rows() == 16, "every run once, and not {}", rows());
    Ok(())
}
