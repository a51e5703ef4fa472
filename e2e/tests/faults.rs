//! What Holdfast is for: nothing acknowledged is lost, and nothing is answered that a single register would not have answered,
//! whatever happens to processes, disks and networks. Each test goes through its kinds of faults, alone and with a second
//! one at the same time; `examples/soak.rs` does the same for as long as one likes.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::BytesMut;
use futures::future::join_all;
use holdfast_e2e::faults::disk::{Disk, FileSystem};
use holdfast_e2e::faults::member::{FLUSHES, Injection, Member};
use holdfast_e2e::faults::network::{Network, PEER_PORT};
use holdfast_e2e::faults::plan::{Kind, Plan};
use holdfast_e2e::faults::report::Series;
use holdfast_e2e::faults::stage::Stage;
use holdfast_e2e::faults::{self, interrupt, stage};
use holdfast_e2e::http::{Http, Outcome};
use holdfast_e2e::programs;
use holdfast_e2e::suite::{self, LeftOut, Test, note};
use holdfast_engine::{Incarnation, Index, MemberId, Ordinal, StoreId};
use holdfast_wire::{Fingerprint, Frame, Greeting, Hello, Purpose};

const TESTS: &[Test<()>] = &[
    ("a_power_cut_forgets_what_was_not_flushed_and_nothing_else", |()| power_cuts()),
    ("a_store_that_only_seems_to_flush_is_found_out_by_a_power_cut", |()| unflushed()),
    ("a_member_whose_state_differs_from_most_others_ends", |()| diverged()),
    ("members_with_each_others_disks_do_not_start", |()| swapped()),
    ("members_that_are_killed_or_paused_lose_nothing", |()| runs(PROCESSES)),
    ("members_that_crash_at_any_system_call_or_cannot_flush_lose_nothing", |()| runs(SYSTEM_CALLS)),
    ("disks_that_are_damaged_lost_or_old_lose_nothing", |()| runs(DISKS)),
    ("networks_that_are_cut_lose_nothing", |()| runs(NETWORKS)),
    ("power_cuts_lose_nothing", |()| runs(POWER)),
    ("stores_in_sync_lose_nothing_and_never_have_two_primaries", |()| in_sync_runs(IN_SYNC)),
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

/// What an authority has to be right about: who is gone, who only seems to be, and who comes back.
const IN_SYNC: &[Kind] = &[
    Kind::KillOne,
    Kind::KillMajority,
    Kind::KillAll,
    Kind::PauseLeader,
    Kind::CrashAtWrite,
    Kind::Isolate,
    Kind::PartialCut,
    Kind::OneWayCut,
];

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
    series(kinds, false)
}

/// The same to stores with consensus InSync.
fn in_sync_runs(kinds: &[Kind]) -> anyhow::Result<()> {
    series(kinds, true)
}

fn series(kinds: &[Kind], in_sync: bool) -> anyhow::Result<()> {
    let program = programs::build(&[programs::SIDECAR])?.join(programs::SIDECAR);
    let series = Series {
        seed: 0,
        runs: 2 * kinds.len(),
        time_max: Duration::MAX,
        jobs: JOBS,
        kinds: kinds.to_vec(),
        in_sync,
        program,
        keep: false,
    };
    let summary = series.run(|_, _| {});
    interrupt::check()?;
    summary.to_string().lines().for_each(|line| note(format_args!("{line}")));
    ensure!(summary.runs() == series.runs, "{} of {} runs", summary.runs(), series.runs);
    let Some(first) = summary.failures.first() else { return Ok(()) };
    let failure = first.failure.as_deref().unwrap_or_default();
    bail!("{} of {} runs failed: {}: {failure}", summary.failures.len(), series.runs, first.plan)
}

/// Three members that do not run yet, on a thread that can reach them.
fn on_stage(
    name: &str,
    file_system: FileSystem,
    act: impl FnOnce(&mut Stage) -> anyhow::Result<()> + Send,
) -> anyhow::Result<()> {
    let program = programs::build(&[programs::SIDECAR])?.join(programs::SIDECAR);
    let folder = stage::folder().join(format!("{}-{name}", std::process::id()));
    let plan = Plan {
        seed: 0,
        members: 3,
        in_sync: false,
        checkpoints: false,
        file_system,
        faults: Vec::new(),
        rounds: 0,
    };
    let work = || act(&mut Stage::set(&plan, 0, &folder, &program)?);
    let panicked = |_| Err(anyhow::anyhow!("the test panicked"));
    std::thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(panicked))?;
    // What failed is left to be looked at.
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Writes so many keys; all have to be acknowledged.
fn write(stage: &Stage, keys: std::ops::Range<usize>) -> anyhow::Result<()> {
    let (http, base) = (Http::default(), &stage.bases()[0]);
    let put = async |key: usize| http.put(base, &format!("key-{key}"), "value").await;
    let outcomes = stage.ask(join_all(keys.map(put)));
    let lost = outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Acknowledged { .. }));
    lost.map_or(Ok(()), |outcome| bail!("a write was not acknowledged: {outcome:?}"))
}

fn keys(stage: &Stage, member: usize) -> anyhow::Result<usize> {
    Ok(stage.ask(Http::default().list(&stage.bases()[member], "key-"))?.len())
}

/// Without this the other tests would prove little too: members whose flushes do nothing, though they are told that all went
/// well, lose what they acknowledged when their power is cut, and that is seen.
fn unflushed() -> anyhow::Result<()> {
    on_stage("unflushed", FileSystem::Xfs, |stage| {
        for member in &mut stage.members {
            member.start_under(vec![Injection { calls: FLUSHES, what: "retval=0".to_owned(), nth: None }]);
        }
        stage.tend_until(|stage| stage.settled())?;
        write(stage, 0..100)?;
        for disk in &stage.disks {
            disk.cut_power()?;
        }
        stage.members.iter_mut().for_each(Member::kill);
        stage.disks.iter().try_for_each(Disk::restore)?;
        stage.tend_until(|stage| stage.settled())?;
        ensure!(keys(stage, 0)? < 100, "nothing is lost although nothing was flushed");
        Ok(())
    })
}

/// Nothing in the product makes states differ. So two that claim to be the other members tell one that its state is not
/// theirs.
fn diverged() -> anyhow::Result<()> {
    on_stage("diverged", FileSystem::Host, |stage| {
        stage.tend_until(|stage| stage.settled())?;
        (0..12).try_for_each(|hundred| write(stage, 100 * hundred..100 * (hundred + 1)))?;
        stage.tend_until(|stage| stage.settled())?;
        let statuses = stage.statuses(Duration::from_secs(2));
        let store = statuses[0].as_ref().and_then(|status| status.store_id.clone());
        let store = StoreId(u128::from_str_radix(&store.context("member 0 knows no store")?, 16)?);
        stage.members[0].excuse(Duration::from_secs(60));
        let _claims: Vec<TcpStream> = [1, 2]
            .map(|ordinal| {
                let status = statuses[usize::from(ordinal)].as_ref().context("it does not answer")?;
                let incarnation = Incarnation(u64::from_str_radix(&status.incarnation, 16)?);
                claim(store, MemberId { ordinal: Ordinal(ordinal), incarnation })
            })
            .into_iter()
            .collect::<anyhow::Result<_>>()?;
        stage.tend_until(|stage| {
            let said = stage.members[0].log().contains("is not what it is at most other members");
            ensure!(said && stage.members[0].starts() > 1, "member 0 goes on with a state of its own");
            Ok(())
        })?;
        stage.empty_disk(0)?;
        stage.tend_until(|stage| stage.settled())?;
        ensure!(keys(stage, 0)? == 1200, "the new member has {} keys", keys(stage, 0)?);
        Ok(())
    })
}

/// Tell member 0 as `member` that the state at the first entry that is compared is another.
fn claim(store: StoreId, member: MemberId) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect((Network::address(0), PEER_PORT))?;
    let (purpose, process) = (Purpose::Replication, 1);
    let hello = Hello { store: "default/faults".to_owned(), store_id: Some(store), member, process, purpose };
    let mut bytes = BytesMut::new();
    Greeting::Hello(hello).encode(&mut bytes);
    let fingerprint = Some(Fingerprint { index: Index(1024), hash: 1 });
    Frame::Ping { nonce: 1, fingerprint }.encode(&mut bytes).context("a ping is small")?;
    stream.write_all(&bytes)?;
    Ok(stream)
}

fn swapped() -> anyhow::Result<()> {
    on_stage("swapped", FileSystem::Host, |stage| {
        stage.tend_until(|stage| stage.settled())?;
        write(stage, 0..50)?;
        stage.tend_until(|stage| stage.settled())?;
        let swap = |stage: &mut Stage| {
            let [one, two] = [0, 1].map(|member: usize| stage.disks[member].data());
            let aside = one.with_extension("aside");
            stage.members[..2].iter_mut().for_each(Member::kill);
            fs::rename(&one, &aside)
                .and_then(|()| fs::rename(&two, &one))
                .and_then(|()| fs::rename(&aside, &two))
        };
        swap(stage)?;
        for member in &mut stage.members[..2] {
            member.excuse(Duration::from_secs(60));
        }
        stage.tend_until(|stage| {
            for member in &stage.members[..2] {
                let log = member.log();
                ensure!(member.starts() > 2 && log.contains("belongs to member"), "it starts: {log}");
            }
            Ok(())
        })?;
        swap(stage)?;
        stage.tend_until(|stage| stage.settled())?;
        ensure!((0..3).all(|member| keys(stage, member).is_ok_and(|keys| keys == 50)), "keys are missing");
        Ok(())
    })
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
