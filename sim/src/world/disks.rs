//! Disks in the world: flushes, checkpoints, damage and its repair, exchanged and lost disks.

use std::time::Duration;

use holdfast_engine::{Incarnation, Index, Input, MemberId, Membership, Moment};

use super::{Event, World};
use crate::damage::{Condition, Damage, Need};
use crate::disk::{CheckpointFile, Disk};
use crate::flaw::ShellBug;
use crate::invariants::Broken;
use crate::member::Member;

/// After so long a damaged process finds by itself what a start would find: its scrub reads everything again.
const SCRUB_MAX: Duration = Duration::from_secs(2);

impl World {
    /// The disk begins to write what is pending.
    pub(super) fn begin_writing(&mut self, at: usize) {
        let Some(ticket) = self.members[at].disk.begin() else { return };
        let to = if self.slow[at] { Duration::from_millis(80) } else { Duration::from_micros(500) };
        let delay = self.random.between(Duration::from_micros(20), to);
        let life = self.members[at].life;
        self.after(delay, Event::DiskDone { member: at, life });
        if self.has(ShellBug::ReportsBeforeFlush) {
            let input = Input::Durable { ticket };
            self.after(Duration::from_micros(10), Event::Happen { member: at, life, input });
        }
    }

    pub(super) fn disk_done(&mut self, at: usize) -> Result<(), Broken> {
        let life = self.members[at].life;
        if self.members[at].disk.full {
            // The write waits for space, and the member with it.
            self.after(Duration::from_millis(10), Event::DiskDone { member: at, life });
            return Ok(());
        }
        let Some(ticket) = self.members[at].disk.finish() else {
            let down = self.random.between(Duration::from_millis(1), self.scenario.election_timeout);
            self.crash(at, down);
            return Ok(());
        };
        self.begin_writing(at);
        self.check_formation(at)?;
        if self.has(ShellBug::ReportsBeforeFlush) {
            return Ok(());
        }
        self.step(at, Input::Durable { ticket })
    }

    /// Formation: what is durable of it is one store everywhere.
    pub(super) fn check_formation(&mut self, at: usize) -> Result<(), Broken> {
        let Some(formation) = self.members[at].disk.formation() else { return Ok(()) };
        self.invariants.formed(self.members[at].id(), formation)
    }

    /// A member copies what it has committed; its disk has the copy a while later.
    pub(super) fn take_checkpoint(&mut self, at: usize) -> Result<(), Broken> {
        let Some(process) = &mut self.members[at].process else { return Ok(()) };
        let Some(file) = process.take_checkpoint() else { return Ok(()) };
        let life = self.members[at].life;
        let delay = self.random.between(Duration::from_millis(1), Duration::from_millis(40));
        if self.has(ShellBug::ReleasesBeforeCheckpoint) {
            let checkpoint = file.checkpoint;
            self.members[at].disk.cache_checkpoint(file.clone());
            self.after(delay, Event::CheckpointWritten { member: at, life, file });
            return self.step(at, Input::CheckpointTaken { checkpoint });
        }
        self.after(delay, Event::CheckpointWritten { member: at, life, file });
        Ok(())
    }

    pub(super) fn checkpoint_written(&mut self, at: usize, file: CheckpointFile) -> Result<(), Broken> {
        let checkpoint = file.checkpoint;
        self.members[at].disk.put_checkpoint(file);
        self.report.checkpoints += 1;
        self.step(at, Input::CheckpointTaken { checkpoint })
    }

    /// Look at the disk of a member that is to start. True if its engine may run on it.
    pub(super) fn prepare_disk(&mut self, at: usize) -> bool {
        let member = &mut self.members[at];
        if member.disk.ordinal != member.ordinal {
            if !self.has(ShellBug::ForeignDiskTaken) {
                self.note(|| format!("{at} refuses a disk that is not its own"));
                return false;
            }
            let member = &mut self.members[at];
            (member.disk.ordinal, member.disk.incarnation) = (member.ordinal, member.known_as);
        }
        loop {
            let condition = self.members[at].disk.condition();
            let id = self.members[at].id();
            if condition != Condition::Whole {
                self.note(|| format!("{id} finds its disk {condition:?}"));
            }
            match condition {
                Condition::Whole => return true,
                Condition::Lacking(_) => {
                    let member = &mut self.members[at];
                    member.life += 1;
                    member.repairing = true;
                    let life = member.life;
                    self.after(Duration::from_millis(1), Event::AskForRepair { member: at, life });
                    return false;
                }
                Condition::NotItself => {
                    let incarnation = Incarnation(self.random.draw());
                    self.lost_at = self.now;
                    self.members[at].disk.become_another(incarnation);
                }
                Condition::Nobodys => self.replace_disk(at),
            }
        }
    }

    fn is_repairing(&self, member: usize, life: u64) -> bool {
        self.members[member].repairing && self.members[member].life == life
    }

    /// Ask somebody who can be reached for what is missing.
    pub(super) fn ask_for_repair(&mut self, at: usize, life: u64) {
        if !self.is_repairing(at, life) {
            return;
        }
        let reachable: Vec<usize> = (0..self.members.len())
            .filter(|&other| {
                other != at && !self.network.is_cut(at, other) && !self.network.is_cut(other, at)
            })
            .filter(|&other| self.members[other].process.is_some() || self.members[other].repairing)
            .collect();
        if reachable.is_empty() {
            let pause = self.random.between(Duration::from_millis(5), Duration::from_millis(50));
            return self.after(pause, Event::AskForRepair { member: at, life });
        }
        let source = reachable[self.random.below(reachable.len() as u64) as usize];
        let delay = self.random.between(Duration::from_micros(200), Duration::from_millis(20));
        self.after(delay, Event::RepairAnswer { member: at, life, source });
    }

    /// What `source` can read, in whatever state it is now, is here.
    pub(super) fn repair_answer(&mut self, at: usize, life: u64, source: usize) -> Result<(), Broken> {
        if !self.is_repairing(at, life) {
            return Ok(());
        }
        let Condition::Lacking(need) = self.members[at].disk.condition() else {
            return self.end_repair(at);
        };
        let runs = self.members[source].process.is_some();
        let answers = (runs || self.members[source].repairing) && !self.members[source].paused;
        let offer = self.members[source].disk.offer(runs);
        let mut pause = self.random.between(Duration::from_millis(5), Duration::from_millis(50));
        if answers && self.members[at].disk.repair(need, &offer) {
            pause = Duration::from_millis(1);
            let id = self.members[at].id();
            self.note(|| format!("{id} gets {need:?} from {source}"));
            if self.members[at].disk.condition() == Condition::Whole {
                self.report.repaired += 1;
                return self.end_repair(at);
            }
        } else if answers {
            // What is missing here may have been replaced there. What is committed covers it.
            let index = match need {
                Need::Entries { anchor } => anchor.index,
                Need::Checkpoint { at_least } => at_least,
            };
            let process = self.members[source].process.as_ref();
            if process.is_some_and(|process| process.store.committed() >= index) {
                self.take_checkpoint(source)?;
            }
        }
        self.after(pause, Event::AskForRepair { member: at, life });
        Ok(())
    }

    fn end_repair(&mut self, at: usize) -> Result<(), Broken> {
        self.members[at].repairing = false;
        self.start(at)
    }

    /// A process finds that its disk is damaged: it ends, and its restart repairs.
    pub(super) fn scrub(&mut self, at: usize) {
        if self.members[at].disk.is_damaged() {
            self.crash(at, Duration::from_millis(1));
        }
    }

    /// Make something on a member's disk unreadable, unless it is the last good copy of anything.
    pub(super) fn damage(&mut self, at: usize) {
        let disk = &self.members[at].disk;
        let blocks = disk.journal().blocks();
        let block = self.random.below(blocks.max(1) as u64) as usize;
        let damage = match self.random.below(10) {
            0..=2 => Damage::Blocks { first: block, count: 1 },
            3 | 4 => Damage::Blocks { first: block, count: 1 + self.random.below(20) as usize },
            5 => Damage::End,
            6 => Damage::Misdirected { over: block },
            7 => Damage::Checkpoint,
            8 => Damage::Vote,
            _ => Damage::Identity,
        };
        if disk.formation().is_none() || blocks == 0 || !self.may_be_damaged(at, damage) {
            return;
        }
        let id = self.members[at].id();
        self.note(|| format!("{id}: damage to {damage:?}"));
        self.report.damaged += 1;
        self.members[at].disk.damage(damage);
        let delay = self.random.between(Duration::ZERO, SCRUB_MAX);
        let life = self.members[at].life;
        self.after(delay, Event::Scrub { member: at, life });
    }

    /// Whether every damaged disk, with this damage too, could be repaired from what is good on the others.
    pub(super) fn may_be_damaged(&mut self, at: usize, damage: Damage) -> bool {
        let membership = *self.invariants.membership();
        let settled = membership.len() == usize::from(self.wanted) && self.old_disk.is_none();
        if !settled || self.is_swapped() || self.members[at].disk.is_damaged() {
            return false;
        }
        let loses_name = matches!(damage, Damage::Vote | Damage::Identity | Damage::End);
        if loses_name && (self.is_damaged() || !self.may_lose(at)) {
            return false;
        }
        let mut disks: Vec<Disk> = self.members.iter().map(|member| member.disk.clone()).collect();
        for disk in &mut disks {
            disk.flaw = None;
        }
        disks[at].damage(damage);
        let offers: Vec<_> = disks.iter().map(|disk| disk.offer(false)).collect();
        // Who is to find that it lost its name drops the rest, too.
        let nobody: Vec<bool> = disks
            .iter_mut()
            .map(|disk| matches!(disk.condition(), Condition::NotItself | Condition::Nobodys))
            .collect();
        let good = |other: usize| membership.is_voter(self.members[other].id()) && !nobody[other];
        for (member, disk) in disks.iter_mut().enumerate() {
            while let Condition::Lacking(need) = disk.condition() {
                let mut others = (0..offers.len()).filter(|&other| other != member && good(other));
                if !others.any(|other| disk.repair(need, &offers[other])) {
                    return false;
                }
            }
        }
        true
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.members.iter().any(|member| member.disk.is_damaged() || member.repairing)
    }

    fn is_swapped(&self) -> bool {
        self.members.iter().any(|member| member.disk.ordinal != member.ordinal)
    }

    /// Another, empty disk, and with it another name.
    pub(super) fn replace_disk(&mut self, at: usize) {
        self.lost_at = self.now;
        let incarnation = Incarnation(self.random.draw());
        let member = &mut self.members[at];
        let keeps = self.flaw == Some(crate::Flaw::Shell(ShellBug::WipedKeepsName));
        let incarnation = if keeps { member.disk.incarnation } else { incarnation };
        member.disk = Disk::empty(member.ordinal, incarnation, member.disk.flaw);
    }

    /// A member loses its disk and comes back in another life.
    pub(super) fn wipe(&mut self, member: usize) {
        if self.has_authority() && !self.may_forget(member) {
            return;
        }
        if self.is_damaged() || !self.may_lose(member) {
            return;
        }
        let id = self.members[member].id();
        self.note(|| format!("{id} loses its disk"));
        self.crash(member, Duration::from_millis(100));
        self.replace_disk(member);
    }

    /// Whether a member may forget what it was: everybody has joined the store, and a majority stays intact.
    fn may_lose(&self, member: usize) -> bool {
        // A voter of a store that not everybody has joined yet may be the only one that knows of it.
        let formation = self.members[member].disk.formation();
        let joined = self.members.iter().all(|member| member.disk.formation() == formation);
        let changing =
            self.resized_at > Moment(0) && self.now - self.resized_at < self.scenario.election_timeout * 6;
        let spared = self.has_authority() || self.can_spare(member);
        formation.is_some() && joined && !changing && !self.is_swapped() && spared
    }

    /// Whether a majority of every membership that any member goes by has its disks, without this member's.
    fn can_spare(&self, member: usize) -> bool {
        let ids: Vec<MemberId> = self.members.iter().map(Member::id).collect();
        let memberships = self.members.iter().map(|member| member.disk.membership());
        let running = self.members.iter().filter_map(|member| member.process.as_ref());
        let running = running.map(|process| process.membership());
        memberships.chain(running).filter(|membership| !membership.is_empty()).all(
            |membership: Membership| {
                let intact = membership.voters().filter(|voter| {
                    let at = usize::from(voter.ordinal.0);
                    at != member && ids[at] == *voter
                });
                intact.count() >= membership.majority()
            },
        )
    }

    /// Somebody plugs two disks in the wrong way round, and notices after a while.
    pub(super) fn swap_disks(&mut self, a: usize, b: usize) {
        if a == b || self.is_swapped() || self.is_damaged() {
            return;
        }
        let down = Duration::from_millis(5);
        self.crash(a, down);
        self.crash(b, down);
        self.exchange(a, b);
        let delay = self.random.between(Duration::from_millis(20), self.scenario.election_timeout * 3);
        self.after(delay, Event::SwapBack { a, b });
    }

    pub(super) fn swap_back(&mut self, a: usize, b: usize) {
        if self.members[a].disk.ordinal == self.members[a].ordinal {
            return;
        }
        self.exchange(a, b);
        for member in [a, b] {
            self.after(Duration::from_millis(1), Event::Start { member });
        }
    }

    fn exchange(&mut self, a: usize, b: usize) {
        self.note(|| format!("the disks of {a} and {b} are exchanged"));
        let disk = self.members[a].disk.clone();
        self.members[a].disk = std::mem::replace(&mut self.members[b].disk, disk);
    }

    /// The disk of this very voter, wherever it is; `None` if it is gone.
    pub(super) fn disk_of(&self, voter: MemberId) -> Option<&Disk> {
        let is_its = |disk: &&Disk| (disk.ordinal, disk.incarnation) == (voter.ordinal, voter.incarnation);
        self.members.iter().map(|member| &member.disk).find(is_its)
    }

    /// How far a disk's log and checkpoint go.
    pub(super) fn end_of(disk: &Disk) -> Index {
        let covered = disk.checkpoint().map_or(Index(0), |file| file.checkpoint.position.index);
        disk.journal().log().back().map_or(covered, |last| last.index().max(covered))
    }
}
