//! Three members in in-sync mode: two faults are survived, the last copy is waited for, and a person may say that it is given up.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use holdfast_api::http::{Role, Status};
use holdfast_e2e::http::{Http, Outcome};
use holdfast_e2e::laptop::Laptop;
use holdfast_e2e::load::Load;
use holdfast_e2e::suite::note;
use holdfast_e2e::{runtime, wait};
use holdfast_xtask::command;
use rustix::process::Signal;

use crate::{PATIENCE, WRITERS, acknowledged_after, manifest, verify, wait_for_writes};

/// A store of three members, in sync when it is made.
struct Trio {
    store: Laptop,
    http: Http,
}

impl Trio {
    fn up() -> anyhow::Result<Trio> {
        let store = Laptop::up(&manifest("trio", "{replicas: 3, consensus: InSync}"))?;
        store.wait_until_ready()?;
        let trio = Trio { store, http: Http::default() };
        trio.wait_for(&[0, 1, 2])?;
        Ok(trio)
    }

    /// Waits until exactly these are in sync. Says who leads them, and how long it took.
    fn wait_for(&self, in_sync: &[u8]) -> anyhow::Result<(Status, Duration)> {
        wait::until("members are in sync", 2 * PATIENCE, || {
            let leader = self.store.leader(&self.http)?;
            ensure!(leader.voters == in_sync, "{:?} are in sync", leader.voters);
            Ok(leader)
        })
    }

    fn status(&self, member: u8) -> anyhow::Result<Status> {
        runtime().block_on(self.http.status(&self.store.base(member)))
    }

    fn put(&self, member: u8, key: &str) -> anyhow::Result<()> {
        match runtime().block_on(self.http.put(&self.store.base(member), key, "value")) {
            Outcome::Acknowledged { .. } => Ok(()),
            other => bail!("{key}: {other:?}"),
        }
    }

    fn has(&self, member: u8, key: &str) -> anyhow::Result<bool> {
        Ok(runtime().block_on(self.http.get(&self.store.base(member), key))?.is_some())
    }

    /// Kills a member, and lets it be.
    fn fail(&self, member: u8) -> anyhow::Result<()> {
        command::capture(&mut self.store.cli(&["fail", &member.to_string()])).map(drop)
    }

    fn start(&self, member: u8) -> anyhow::Result<()> {
        command::capture(&mut self.store.cli(&["start", &member.to_string()])).map(drop)
    }

    /// Has the store go on with what a member has, whatever was committed in this epoch.
    fn force_start(&self, member: u8, epoch: u64) -> anyhow::Result<String> {
        let (member, epoch) = (member.to_string(), epoch.to_string());
        command::capture(&mut self.store.cli(&["force-start", &member, "--epoch", &epoch]))
    }
}

/// Members die one after the other, whoever leads; the last one goes on alone, and a store without any stands still.
pub(crate) fn two_faults() -> anyhow::Result<()> {
    let trio = Trio::up()?;
    let load = Load::start(&trio.store.bases(), "load/", WRITERS);
    wait_for_writes(&load, 100)?;
    let mut down = Vec::new();
    let mut gaps = Vec::new();
    for _ in 0..2 {
        let (leader, _) = wait::until("somebody leads", PATIENCE, || trio.store.leader(&trio.http))?;
        let term = leader.term.max(load.term());
        let killed = Instant::now();
        trio.fail(leader.member)?;
        gaps.push(acknowledged_after(&load, term)?.duration_since(killed));
        down.push(leader.member);
    }
    note(format_args!("an order to kill the primary to the next write: {gaps:.1?} (goal: 50ms)"));
    let last = (0..3).find(|member| !down.contains(member)).context("it has another name")?;
    wait_for_writes(&load, load.acknowledged() + 100)?;
    trio.wait_for(&[last])?;
    trio.fail(last)?;
    down.push(last);
    let history = load.stop()?;
    // The first one that died has not seen the end: it waits for one that has.
    trio.start(down[0])?;
    std::thread::sleep(Duration::from_secs(3));
    let alone = trio.status(down[0])?;
    ensure!(alone.role != Role::Leader, "a member that was not in sync leads: {alone:?}");
    for member in &down[1..] {
        trio.start(*member)?;
    }
    let leader = trio.store.wait_until_ready()?;
    trio.wait_for(&[0, 1, 2])?;
    ensure!(leader.member == last, "{} leads, {last} was the last", leader.member);
    verify(&trio.store, history)
}

/// Who has every write does not come back; a person names another member and the epoch, and the store goes on with what that one
/// has.
pub(crate) fn forced_start() -> anyhow::Result<()> {
    let trio = Trio::up()?;
    let last = trio.store.leader(&trio.http)?.member;
    let [first, second] = [1, 2].map(|more| (last + more) % 3);
    trio.put(last, "by-all")?;
    for member in [first, second] {
        trio.fail(member)?;
    }
    trio.wait_for(&[last])?;
    trio.put(last, "by-one")?;
    let epoch = trio.store.leader(&trio.http)?.term;
    trio.start(first)?;
    wait::until("it follows", PATIENCE, || {
        let status = trio.status(first)?;
        ensure!(status.leader == Some(last), "it follows {:?}", status.leader);
        Ok(())
    })?;
    let refused = trio.force_start(first, epoch).expect_err("somebody leads");
    ensure!(format!("{refused:#}").contains("leads, and has every write"), "{refused:#}");
    trio.fail(first)?;
    trio.fail(last)?;
    trio.start(second)?;
    let order = || trio.force_start(second, epoch);
    let (said, _) = wait::until("the order is taken", PATIENCE, order)?;
    note(format_args!("{}", said.trim()));
    let (now, _) = trio.wait_for(&[second])?;
    ensure!(now.member == second && now.term > epoch, "{now:?}");
    ensure!(order().is_err(), "the order works twice");
    ensure!(trio.has(second, "by-all")?, "what all had is gone");
    ensure!(!trio.has(second, "by-one")?, "what one had is there, from nowhere");
    trio.put(second, "after")
}

/// Two members have committed what a third lacks, and hang while a person has the store start from that one. When they wake up, the
/// new primary contradicts what they have: they put it aside, begin anew, and have what it has.
pub(crate) fn overruled() -> anyhow::Result<()> {
    let trio = Trio::up()?;
    let last = trio.store.leader(&trio.http)?.member;
    let [behind, other] = [1, 2].map(|more| (last + more) % 3);
    trio.put(last, "by-all")?;
    trio.fail(behind)?;
    let mut hung = [last, other];
    hung.sort_unstable();
    let epoch = trio.wait_for(&hung)?.0.term;
    trio.put(last, "by-two")?;
    let lives = hung.map(|member| trio.status(member));
    for member in hung {
        trio.store.signal(member, Signal::STOP)?;
    }
    trio.start(behind)?;
    wait::until("the order is taken", PATIENCE, || trio.force_start(behind, epoch))?;
    wait::until("it leads alone", PATIENCE, || {
        // It is asked itself: who hangs leads too, as far as it knows.
        let status = trio.status(behind)?;
        ensure!(status.role == Role::Leader && status.voters == [behind], "{status:?}");
        Ok(())
    })?;
    trio.put(behind, "by-one")?;
    for member in hung {
        trio.store.signal(member, Signal::CONT)?;
    }
    let (_, took) = trio.wait_for(&[0, 1, 2])?;
    note(format_args!("all in sync {took:.1?} after the others woke up"));
    for member in 0..3 {
        for key in ["by-all", "by-one"] {
            ensure!(trio.has(member, key)?, "member {member} lacks {key}");
        }
        ensure!(!trio.has(member, "by-two")?, "member {member} has what was given up");
    }
    for (member, before) in hung.into_iter().zip(lives) {
        let status = trio.status(member)?;
        ensure!(status.incarnation != before?.incarnation, "member {member} goes on as who it was");
        let note = status.note.with_context(|| format!("member {member} does not say what became of it"))?;
        ensure!(note.contains(&format!("a person has ended epoch {epoch}")), "it says: {note}");
    }
    Ok(())
}
