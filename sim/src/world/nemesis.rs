//! Faults in the world: doing what the mixture draws, and ending it all.

use std::time::Duration;

use holdfast_engine::Input;

use super::ambush::VoterAmbush;
use super::{Event, World};
use crate::faults::Fault;
use crate::invariants::Broken;
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
            Fault::PauseLeader if self.random.chance(0.5) => self.ambush_reader = true,
            Fault::PauseLeader => self.pause(leader, down),
            Fault::CutOneWay => self.network.cut_one_way(any, other),
            Fault::CutLink => self.network.cut_link(any, other),
            Fault::Isolate => self.network.split(|member| member == any),
            Fault::IsolateLeader => self.isolate_leader(leader),
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
                self.network.keep_delays_of(&cuts);
            }
            Fault::SlowDisk => self.slow[any] = !self.slow[any],
            Fault::Checkpoint => self.checkpoint_at_risk(any)?,
            Fault::HandOver => self.step(leader, Input::HandOver { to: None })?,
            Fault::AmbushVoter => self.voter_ambush = VoterAmbush::Armed,
            Fault::AmbushCut => self.ambush_cut = true,
            Fault::AmbushLeaders => self.ambush_leaders += self.random.below(5) + 1,
            Fault::Wipe => self.wipe(any),
            Fault::Damage => self.damage(any),
            Fault::FailWrite => self.members[any].disk.fails_next = true,
            Fault::FillDisk => self.fill_disk(any, down),
            Fault::SwapDisks => self.swap_disks(any, other),
            Fault::Resize => self.resize(),
            Fault::CutAuthority => {
                let cut = self.random.chance(0.6);
                let member = if self.random.chance(0.5) { leader } else { any };
                self.authority.cut(member, cut);
            }
            Fault::Coup => {
                self.authority.cut(leader, true);
                self.network.split(|member| member == other && member != leader);
                // It may be told at once that it is alone.
                let told = self.random.chance(0.7);
                for member in (0..members).filter(|member| told && *member != other) {
                    self.disconnect(other, member);
                }
            }
            Fault::AuthorityDown => {
                self.authority.take_down(true);
                self.after(down, Event::AuthorityBack);
            }
            Fault::HoldBack => {
                let delay = if self.random.chance(0.3) { 0 } else { self.random.below(3_000) };
                self.network.hold_back(any, Duration::from_millis(delay));
            }
            Fault::AuthorityWeather => self.authority.change_weather(&mut self.random),
        }
        Ok(())
    }

    /// Cut the leader off; the others may be told at once, and elect another one while it still leads.
    fn isolate_leader(&mut self, leader: usize) {
        let told = self.random.chance(0.5);
        self.network.split(|member| member == leader);
        for member in 0..self.members.len() {
            if told && member != leader {
                self.disconnect(member, leader);
            }
        }
    }

    /// A member takes a checkpoint, and may be killed before it has it.
    fn checkpoint_at_risk(&mut self, member: usize) -> Result<(), Broken> {
        if self.random.chance(0.2) {
            let life = self.members[member].life;
            let delay = self.random.between(Duration::ZERO, Duration::from_millis(30));
            self.after(delay, Event::Kill { member, life });
        }
        self.take_checkpoint(member)
    }

    pub(super) fn pause(&mut self, member: usize, time: Duration) {
        if self.members[member].process.is_some() && !self.members[member].paused {
            self.members[member].paused = true;
            self.members[member].paused_since = self.now;
            self.after(time, Event::Resume { member });
        }
    }

    pub(super) fn heal(&mut self) {
        let before = self.network.clone();
        self.network.heal();
        for a in 0..self.members.len() {
            for b in 0..a {
                if before.is_cut(a, b) || before.is_cut(b, a) {
                    self.connect(a, b);
                }
            }
        }
    }

    /// The store is to have another number of members from now on.
    fn resize(&mut self) {
        let (first, other) = (self.scenario.members, self.scenario.other_size);
        let settled = self.invariants.membership().len() == usize::from(self.wanted);
        // A leader may take who is lost for a member that it can add, as long as it remembers it: two losses at once.
        let remembers = self.now - self.lost_at < self.scenario.election_timeout * 6;
        if first == other || !settled || self.is_damaged() || remembers {
            return;
        }
        self.wanted = if self.wanted == first { other } else { first };
        self.report.resized += 1;
        self.resized_at = self.now;
        for member in 0..self.members.len() {
            let delay = self.random.between(Duration::ZERO, Duration::from_millis(50));
            let life = self.members[member].life;
            self.after(delay, Event::Resized { member, life });
        }
        if let Some(leader) = self.leader().filter(|_| self.random.chance(0.5)) {
            // Its first change, or its second one, meets a network in two parts.
            let delay = self.random.between(Duration::ZERO, self.scenario.election_timeout / 2);
            self.after(delay, Event::Part { leader });
        }
    }

    /// Split the members: less than a half of those wanted go with the leader.
    pub(super) fn part(&mut self, leader: usize) {
        if self.calm {
            return;
        }
        let places = self.members.len() as u64;
        let with = (0..usize::from(self.wanted) / 2).map(|_| self.random.below(places) as usize);
        let with: Vec<usize> = with.collect();
        self.network.split(|member| member == leader || with.contains(&member));
    }

    /// A disk has no space for a while.
    fn fill_disk(&mut self, member: usize, time: Duration) {
        self.members[member].disk.full = self.members[member].process.is_some();
        let life = self.members[member].life;
        self.after(time, Event::SpaceBack { member, life });
    }
}
