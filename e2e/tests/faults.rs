//! What Holdfast is for: nothing acknowledged is lost, and nothing is answered that a single register would not have answered,
//! whatever happens to processes, disks and networks. Each test goes through its kinds of faults, alone and with a second
//! one at the same time; `examples/soak.rs` does the same for as long as one likes.

use std::fs;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{bail, ensure};
use holdfast_e2e::faults::disk::{Disk, FileSystem};
use holdfast_e2e::faults::plan::Kind;
use holdfast_e2e::faults::report::Series;
use holdfast_e2e::faults::{self, interrupt, stage};
use holdfast_e2e::programs;
use holdfast_e2e::suite::{self, LeftOut, Test, note};

const TESTS: &[Test<()>] = &[
    ("a_power_cut_forgets_what_was_not_flushed_and_nothing_else", |()| power_cuts()),
    ("members_that_are_killed_or_paused_lose_nothing", |()| runs(PROCESSES)),
    ("members_that_crash_at_any_system_call_or_cannot_flush_lose_nothing", |()| runs(SYSTEM_CALLS)),
    ("disks_that_are_damaged_lost_or_old_lose_nothing", |()| runs(DISKS)),
    ("networks_that_are_cut_lose_nothing", |()| runs(NETWORKS)),
    ("power_cuts_lose_nothing", |()| runs(POWER)),
];

const PROCESSES: &[Kind] = &[
    Kind::KillOne,
    Kind::KillMajority,
    Kind::KillAll,
    Kind::Terminate,
    Kind::PauseLeader,
    Kind::PauseFollower,
];

const SYSTEM_CALLS: &[Kind] =
    &[Kind::CrashAtWrite, Kind::CrashAtStart, Kind::FlushError, Kind::FlushErrorAtStart, Kind::SlowFlush];

const DISKS: &[Kind] = &[Kind::WriteError, Kind::DamageOne, Kind::DamageAll, Kind::LostDisk, Kind::OldDisk];

const NETWORKS: &[Kind] = &[Kind::Reset, Kind::Isolate, Kind::PartialCut, Kind::OneWayCut, Kind::Loss];

const POWER: &[Kind] =
    &[Kind::PowerCutOneExt4, Kind::PowerCutAllExt4, Kind::PowerCutOneXfs, Kind::PowerCutAllXfs];

/// Runs at once: members mostly wait.
const JOBS: usize = 3;

fn main() -> ExitCode {
    let prepare = || {
        faults::prepare().map_err(|error| LeftOut(format!("{error:#}")))?;
        interrupt::listen()
    };
    suite::run(TESTS, prepare, |()| Ok(()))
}

/// Each kind alone, and each with another one at the same time.
fn runs(kinds: &[Kind]) -> anyhow::Result<()> {
    let program = programs::build(&[programs::SIDECAR])?.join(programs::SIDECAR);
    let series = Series {
        seed: 0,
        runs: 2 * kinds.len(),
        time_max: Duration::MAX,
        jobs: JOBS,
        kinds: kinds.to_vec(),
        program,
    };
    let summary = series.run(|_, _| {});
    interrupt::check()?;
    summary.to_string().lines().for_each(|line| note(format_args!("{line}")));
    ensure!(summary.runs() == series.runs, "{} of {} runs", summary.runs(), series.runs);
    let Some(first) = summary.failures.first() else { return Ok(()) };
    let failure = first.failure.as_deref().unwrap_or_default();
    bail!("{} of {} runs failed: {}: {failure}", summary.failures.len(), series.runs, first.plan)
}

/// Without this the other tests would prove nothing: what is not flushed is gone, and what is flushed is there.
fn power_cuts() -> anyhow::Result<()> {
    let folder = stage::folder().join(format!("{}-power", std::process::id()));
    fs::create_dir_all(&folder)?;
    let result = [FileSystem::Ext4, FileSystem::Xfs].into_iter().try_for_each(|file_system| {
        let disk = Disk::create(file_system, &folder, &format!("{file_system:?}"))?;
        fs::create_dir(disk.data())?;
        let path = disk.data().join("file");
        let mut file = fs::File::create(&path)?;
        file.write_all(b"flushed")?;
        file.sync_all()?;
        fs::File::open(disk.data())?.sync_all()?;
        file.write_all(b" and not")?;
        fs::File::create(disk.data().join("never flushed"))?;
        disk.cut_power()?;
        ensure!(file.sync_all().is_err(), "{file_system:?} still flushes");
        drop(file);
        disk.restore()?;
        let kept = fs::read(&path)?;
        ensure!(kept == b"flushed", "{file_system:?} kept {:?}", String::from_utf8_lossy(&kept));
        ensure!(
            !disk.data().join("never flushed").exists(),
            "{file_system:?} kept a name that was not flushed"
        );
        Ok(())
    });
    fs::remove_dir_all(&folder)?;
    result
}
