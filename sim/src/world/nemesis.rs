//! Faults in the world: doing what the mixture draws, and ending it all.

use std::time::Duration;

use holdfast_engine::{Incarnation, Input, MemberId, Membership};

use super::ambush::VoterAmbush;
use super::{Event, World};
use crate::disk::Disk;
use crate::faults::Fault;
use crate::invariants::Broken;
use crate::member::Member;
use crate::network::Network;

impl World {
    pub(super) fn fault(&mut self) -> Result<(), Broken> {
        if self.calm {
            return Ok(());
        }
        let pause = self.random.between(self.mixture.every.0, self.mixture.every.1);
        self.after(pause, Event::Fault);
        let fault = self.mixture.next(&mut self.random);
        self.report.faults += 1;
        let members = self.members.len();
        let any = self.random.below(members as u64) as usize;
        let other = (any + 1 + self.random.below(members.max(2) as u64 - 1) as usize) % members;
        let leader = self.leader().unwrap_or(any);
        self.note(|| format!("fault: {fault:?} (any {any}, other {other}, leader {leader})"));
        let down = self.random.between(Duration::from_millis(1), self.scenario.election_timeout * 4);
        match fault {
            Fault::Crash => self.crash(any, down),
            Fault::CrashLeader => self.crash(leader, down),
            Fault::CrashAll => (0..members).for_each(|member| self.crash(member, down)),
            Fault::Pause => self.pause(any, down),
            Fault::PauseLeader => self.pause(leader, down),
            Fault::CutOneWay => self.network.cut_one_way(any, other),
            Fault::CutLink => self.network.cut_link(any, other),
            Fault::Isolate => self.network.split(|member| member == any),
            Fault::IsolateLeader => self.network.split(|member| member == leader),
            Fault::Split => {
                let side = self.random.draw();
                self.network.split(|member| side >> member & 1 == 1);
            }
            Fault::Heal => self.heal(),
            Fault::Reset => {
                self.disconnect(any, other);
                self.disconnect(other, any);
                self.connect(any, other);
            }
            Fault::Weather => {
                let cuts = self.network.clone();
                self.network = Network::troubled(&mut self.random);
                self.network.keep_cuts_of(&cuts);
            }
            Fault::SlowDisk => self.slow[any] = !self.slow[any],
            Fault::Checkpoint => self.take_checkpoint(any),
            Fault::HandOver => self.step(leader, Input::HandOver { to: None })?,
            Fault::AmbushVoter => self.voter_ambush = VoterAmbush::Armed,
            Fault::AmbushLeaders => self.ambush_leaders += self.random.below(5) + 1,
            Fault::Wipe => self.wipe(any),
        }
        Ok(())
    }

    fn pause(&mut self, member: usize, time: Duration) {
        if self.members[member].process.is_some() && !self.members[member].paused {
            self.members[member].paused = true;
            self.members[member].paused_since = self.now;
            self.after(time, Event::Resume { member });
        }
    }

    fn heal(&mut self) {
        self.network.heal();
        for a in 0..self.members.len() {
            for b in 0..a {
                self.connect(a, b);
            }
        }
    }

    /// A member loses its disk and comes back in another life; never so many that a majority of voters is gone.
    fn wipe(&mut self, member: usize) {
        let id = self.members[member].id();
        let Some(formation) = self.members[member].disk.recover().formation else { return };
        // A voter of a store that not everybody has joined yet may be the only one that knows of it.
        let joined = self
            .members
            .iter_mut()
            .all(|member| member.disk.recover().formation.is_some_and(|theirs| theirs == formation));
        if !joined || !self.can_spare(member) {
            return;
        }
        self.note(|| format!("{id} loses its disk"));
        self.crash(member, Duration::from_millis(100));
        self.invariants.wiped(id);
        self.members[member].disk = Disk::empty(Incarnation(self.random.draw()));
    }

    /// Whether a majority of every membership that any member goes by has its disks, without this member's.
    fn can_spare(&mut self, member: usize) -> bool {
        let ids: Vec<MemberId> = self.members.iter().map(Member::id).collect();
        let memberships: Vec<Membership> =
            self.members.iter_mut().map(|member| member.disk.membership()).collect();
        let running = self.members.iter().filter_map(|member| member.process.as_ref());
        let running = running.map(|process| process.membership());
        memberships.into_iter().chain(running).filter(|membership| !membership.is_empty()).all(|membership| {
            let intact = membership.voters().filter(|voter| {
                let at = usize::from(voter.ordinal.0);
                at != member && ids[at] == *voter
            });
            intact.count() >= membership.majority()
        })
    }

    /// The faults end: everything is mended, everybody runs.
    pub(super) fn calm_down(&mut self) {
        self.calm = true;
        self.note(|| "the faults end".to_owned());
        self.network = Network::calm();
        self.slow.fill(false);
        for member in 0..self.members.len() {
            self.after(Duration::ZERO, Event::Resume { member });
            self.after(Duration::from_millis(1), Event::Start { member });
        }
        self.heal();
    }
}
