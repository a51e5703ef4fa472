//! What fails in an experiment, on real processes and real connections, and how it is mended.
//!
//! | kind | does |
//! |---|---|
//! | `default`, `leader`, `pod_kill` | SIGKILL to the member that serves |
//! | `follower` | SIGKILL to one that does not |
//! | `partial`, `node_count`, `majority`, `total` | SIGKILL to one, so many, more than half, all; the one that serves first |
//! | `pause` | SIGSTOP to the member that serves |
//! | `partition`, `latency` | its lines, to members and clients, carry nothing, or everything late |
//! | `disk` | SIGKILL to the member that serves, and its folder is removed |
//! | `disks` | SIGKILL to all, and all their folders are removed; what Hybrid keeps outside of them stays |
//!
//! Who is killed is started again at once by its supervisor, as a kubelet does.

use std::time::{Duration, Instant};

use holdfast_laptop::Signal;
use holdfast_laptop::links::Line;
use holdfast_laptop::store::StoreError;

use crate::testbed::Bed;
use crate::{FailureKind, TestbedError};

/// How much later everything arrives on a slow line, each way, as in the protocol's network chaos.
const LATENCY: Duration = Duration::from_millis(500);

/// How long a pause or a partition lasts if nobody else takes over meanwhile: longer than members wait for a leader, so that those who can
/// do without have their chance.
pub(crate) const LASTS: Duration = Duration::from_secs(5);

/// The step in which it is found out whom a failure hits.
pub(crate) const CHOOSING: &str = "choosing what fails";

/// What is to fail.
#[derive(Debug)]
pub(crate) struct Fault {
    kind: FailureKind,
    /// The one that served when it was chosen.
    serving: u8,
    /// Those that fail, that one first if it does.
    members: Vec<u8>,
}

/// A failure that has happened.
#[derive(Debug)]
pub(crate) struct Injected {
    /// Right before it.
    pub(crate) began: Instant,
    /// The processes that were killed, by member.
    pub(crate) killed: Vec<(u8, Option<u32>)>,
    /// Those that cannot be reached or do not answer until it is mended.
    pub(crate) unreachable: Vec<u8>,
}

impl Fault {
    /// Finds out whom it is to hit. `chance` chooses among those who are alike.
    pub(crate) async fn choose(
        bed: &Bed,
        kind: FailureKind,
        node_count: u8,
        chance: u64,
    ) -> Result<Fault, TestbedError> {
        let serving = bed.leader().await.map(|leader| leader.member);
        let fault = Fault::among(bed.replicas(), serving, kind, node_count, chance)?;
        if super::needs_links(kind) && bed.store.links().is_none() {
            let why = "this store's connections are direct and cannot be cut; configure it again";
            return Err(TestbedError::new(CHOOSING, why));
        }
        Ok(fault)
    }

    /// Whom it is to hit of so many members, of which this one serves.
    pub(crate) fn among(
        replicas: u8,
        serving: Option<u8>,
        kind: FailureKind,
        node_count: u8,
        chance: u64,
    ) -> Result<Fault, TestbedError> {
        let serving = serving.ok_or_else(|| TestbedError::new(CHOOSING, "no member leads"))?;
        let members = chosen(kind, node_count, serving, replicas, chance)
            .map_err(|why| TestbedError::new(CHOOSING, why))?;
        Ok(Fault { kind, serving, members })
    }

    /// The member that served.
    pub(crate) fn serving(&self) -> u8 {
        self.serving
    }

    /// Those that fail.
    pub(crate) fn members(&self) -> &[u8] {
        &self.members
    }

    /// What fails.
    pub(crate) fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Whether those that fail lose their processes.
    pub(crate) fn kills(&self) -> bool {
        !matches!(self.kind, FailureKind::Pause | FailureKind::Partition | FailureKind::Latency)
    }

    /// Has it happen. The clock starts before the first signal.
    pub(crate) async fn inject(&self, bed: &Bed) -> Result<Injected, TestbedError> {
        let pids = self.pids(bed);
        let began = Instant::now();
        let failed = |error: StoreError| TestbedError::new("injecting the failure", error);
        if self.kind == FailureKind::Disks {
            self.kill_and_wipe(bed).await.map_err(failed)?;
            self.restart(bed).await.map_err(failed)?;
            return Ok(self.injected(began, pids));
        }
        for member in &self.members {
            match self.kind {
                FailureKind::Pause => bed.store.signal(*member, Signal::STOP).await.map_err(failed)?,
                FailureKind::Partition | FailureKind::Latency => self.set_lines(bed, *member, true),
                FailureKind::Disk => {
                    bed.store.fail(*member).await.map_err(failed)?;
                    bed.store.wipe(*member).map_err(failed)?;
                    bed.store.restart(*member).await.map_err(failed)?;
                }
                _ => bed.store.signal(*member, Signal::KILL).await.map_err(failed)?,
            }
        }
        Ok(self.injected(began, pids))
    }

    /// Has it happen, and those that were killed stay down until it is mended.
    pub(crate) async fn inject_for_good(&self, bed: &Bed) -> Result<Injected, TestbedError> {
        if !self.kills() {
            return self.inject(bed).await;
        }
        let pids = self.pids(bed);
        let began = Instant::now();
        let failed = |error: StoreError| TestbedError::new("injecting the failure", error);
        if self.kind == FailureKind::Disks {
            self.kill_and_wipe(bed).await.map_err(failed)?;
            return Ok(self.injected(began, pids));
        }
        for member in &self.members {
            bed.store.fail(*member).await.map_err(failed)?;
            if self.kind == FailureKind::Disk {
                bed.store.wipe(*member).map_err(failed)?;
            }
        }
        Ok(self.injected(began, pids))
    }

    /// All die before the first folder goes: who still runs would bring up the ones that lost theirs.
    async fn kill_and_wipe(&self, bed: &Bed) -> Result<(), StoreError> {
        for member in &self.members {
            bed.store.fail(*member).await?;
        }
        self.members.iter().try_for_each(|member| bed.store.wipe(*member))
    }

    async fn restart(&self, bed: &Bed) -> Result<(), StoreError> {
        for member in &self.members {
            bed.store.restart(*member).await?;
        }
        Ok(())
    }

    fn pids(&self, bed: &Bed) -> Vec<(u8, Option<u32>)> {
        let pid = |member: &u8| bed.store.members()[usize::from(*member)].report().pid;
        self.members.iter().map(|member| (*member, pid(member))).collect()
    }

    fn injected(&self, began: Instant, pids: Vec<(u8, Option<u32>)>) -> Injected {
        match self.kind {
            FailureKind::Latency => Injected { began, killed: Vec::new(), unreachable: Vec::new() },
            _ if self.kills() => Injected { began, killed: pids, unreachable: Vec::new() },
            _ => Injected { began, killed: Vec::new(), unreachable: self.members.clone() },
        }
    }

    /// Ends it: what stood still goes on, lines are whole, who is down is started.
    pub(crate) async fn mend(&self, bed: &Bed) -> Result<(), TestbedError> {
        let failed = |error: StoreError| TestbedError::new("mending the failure", error);
        for member in &self.members {
            match self.kind {
                FailureKind::Pause => bed.store.signal(*member, Signal::CONT).await.map_err(failed)?,
                FailureKind::Partition | FailureKind::Latency => self.set_lines(bed, *member, false),
                _ => bed.store.restart(*member).await.map_err(failed)?,
            }
        }
        Ok(())
    }

    fn set_lines(&self, bed: &Bed, member: u8, fails: bool) {
        let line = match self.kind {
            _ if !fails => Line::Whole,
            FailureKind::Latency => Line::Slow(LATENCY),
            _ => Line::Cut,
        };
        if let Some(links) = bed.store.links() {
            links.set(member, line);
        }
    }
}

/// Whom a failure hits in a store of so many members, of which one serves.
fn chosen(
    kind: FailureKind,
    node_count: u8,
    serving: u8,
    replicas: u8,
    chance: u64,
) -> Result<Vec<u8>, &'static str> {
    let others = (0..replicas).filter(|member| *member != serving);
    let first = |count: u8| std::iter::once(serving).chain(others.clone()).take(count.into()).collect();
    match kind {
        FailureKind::Follower => {
            let followers: Vec<u8> = others.collect();
            let at = chance
                .checked_rem(followers.len() as u64)
                .ok_or("a store with one member has no follower")?;
            Ok(vec![followers[at as usize]])
        }
        FailureKind::Majority => Ok(first(replicas / 2 + 1)),
        FailureKind::Total | FailureKind::Disks => Ok(first(replicas)),
        FailureKind::NodeCount => Ok(first(node_count.clamp(1, replicas))),
        _ => Ok(first(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_failure_hits() {
        let check = |kind, replicas, expected: &[u8]| {
            let serving = replicas - 1;
            assert_eq!(chosen(kind, 2, serving, replicas, 5).as_deref(), Ok(expected), "{kind}");
        };
        check(FailureKind::Default, 3, &[2]);
        check(FailureKind::Follower, 3, &[1]);
        check(FailureKind::Partial, 3, &[2]);
        check(FailureKind::NodeCount, 3, &[2, 0]);
        check(FailureKind::NodeCount, 1, &[0]);
        check(FailureKind::Majority, 5, &[4, 0, 1]);
        check(FailureKind::Total, 2, &[1, 0]);
        check(FailureKind::Disks, 3, &[2, 0, 1]);
        chosen(FailureKind::Follower, 1, 0, 1, 5).expect_err("nobody follows");
    }
}
