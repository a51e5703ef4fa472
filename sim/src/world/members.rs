//! Members in the world: starting, stepping, killing them, and carrying out what their engines ask for.

use std::time::Duration;

use holdfast_engine::{
    Apply, Checkpoint, Config, Effects, HardState, Input, Message, Moment, Outcast, Role, Write,
};

use super::{Event, World};
use crate::flaw::Flaw;
use crate::invariants::Broken;
use crate::member::Member;

impl World {
    pub(super) fn config(&mut self, member: usize) -> Config {
        let scenario = &self.scenario;
        Config {
            me: self.members[member].id(),
            members: self.wanted,
            consensus: scenario.consensus,
            heartbeat_interval: scenario.election_timeout / 6,
            election_timeout: scenario.election_timeout,
            campaign_stagger: Duration::from_millis(1),
            disk_stall_max: scenario.election_timeout * 4,
            append_bytes_max: scenario.append_bytes_max,
            appends_in_flight_max: scenario.appends_in_flight_max,
            uncommitted_bytes_max: scenario.uncommitted_bytes_max,
            log_bytes_kept: scenario.log_bytes_kept,
            seed: self.random.draw(),
            bug: self.flaw.and_then(Flaw::engine),
        }
    }

    pub(super) fn start(&mut self, member: usize) -> Result<(), Broken> {
        let busy = self.members[member].process.is_some() || self.members[member].repairing;
        if busy || !self.prepare_disk(member) {
            return Ok(());
        }
        self.check_formation(member)?;
        let config = self.config(member);
        let now = self.now;
        self.members[member].start(config, now);
        let id = self.members[member].id();
        self.note(|| format!("{id} starts"));
        self.report.starts += 1;
        for other in 0..self.members.len() {
            self.connect(member, other);
        }
        let life = self.members[member].life;
        self.after(Duration::ZERO, Event::Wake { member, life });
        Ok(())
    }

    /// A connection between two members is established, if both live and the link carries.
    pub(super) fn connect(&mut self, a: usize, b: usize) {
        let alive = |member: usize| self.members[member].process.is_some();
        if a == b || !alive(a) || !alive(b) || self.network.is_cut(a, b) || self.network.is_cut(b, a) {
            return;
        }
        for (to, from) in [(a, b), (b, a)] {
            let (life, peer) = (self.members[to].life, self.members[from].id());
            let delay = self.random.between(Duration::from_micros(100), Duration::from_millis(5));
            self.after(delay, Event::Happen { member: to, life, input: Input::Connected { peer } });
        }
    }

    /// `to` notices that its connection from `from` ended.
    pub(super) fn disconnect(&mut self, to: usize, from: usize) {
        let (life, peer) = (self.members[to].life, self.members[from].id());
        let delay = self.random.between(Duration::from_micros(20), Duration::from_millis(2));
        // What a member says before it ends is a hint that may be wrong.
        let left = self.random.chance(0.25);
        self.after(delay, Event::Happen { member: to, life, input: Input::ConnectionLost { peer, left } });
    }

    pub(super) fn crash(&mut self, member: usize, stays_down: Duration) {
        let Member { process, repairing, .. } = &self.members[member];
        if process.is_none() && !repairing {
            return;
        }
        if self.scenario.memory && !self.may_forget(member) {
            return; // it keeps the last copy
        }
        let id = self.members[member].id();
        self.note(|| format!("{id} is killed"));
        self.members[member].crash(&mut self.random);
        if self.scenario.memory {
            self.replace_disk(member);
        }
        // After a power cut nobody closes the connections.
        if self.random.chance(0.8) {
            for other in 0..self.members.len() {
                if other != member && !self.network.is_cut(member, other) {
                    self.disconnect(other, member);
                }
            }
        }
        self.after(stays_down, Event::Start { member });
    }

    pub(super) fn resume(&mut self, member: usize) -> Result<(), Broken> {
        if !self.members[member].paused {
            return Ok(());
        }
        self.members[member].paused = false;
        self.clock_after_pause(member);
        let mut held = std::mem::take(&mut self.members[member].held);
        if self.random.chance(0.5) {
            // Each connection keeps its order, but who is read from first is chance: clients may come before peers.
            held.sort_by_key(|input| matches!(input, Input::Receive { .. }));
        }
        for input in held {
            self.step(member, input)?;
        }
        self.wake(member)
    }

    /// What a clock makes of a pause: it counted it, did not, or was set right and beyond by a jump.
    fn clock_after_pause(&mut self, member: usize) {
        let (now, timeout) = (self.now, self.scenario.election_timeout);
        let jump = self.random.between(Duration::ZERO, timeout * 3);
        let kind = self.random.below(3);
        let member = &mut self.members[member];
        match kind {
            0 => member.clock.stood_still(member.paused_since, now),
            1 => member.clock.jump(now, jump),
            _ => {}
        }
        // A clock that stood still is due later than was arranged, one that jumped earlier.
        member.wakes_at = Moment(u64::MAX);
    }

    pub(super) fn wake(&mut self, member: usize) -> Result<(), Broken> {
        let now = self.members[member].clock.at(self.now);
        let due =
            self.members[member].process.as_ref().is_some_and(|process| process.engine.deadline() <= now);
        if due {
            self.step(member, Input::Tick)?;
            return self.check_quorum(member);
        }
        self.schedule_wakeup(member);
        Ok(())
    }

    /// Step one member and carry out what follows.
    pub(super) fn step(&mut self, at: usize, input: Input) -> Result<(), Broken> {
        let member = &mut self.members[at];
        if member.process.is_none() {
            return Ok(());
        }
        if member.paused {
            if !matches!(input, Input::Tick) {
                member.held.push(input);
            }
            return Ok(());
        }
        if self.trace {
            let text = format!("{} <- {input:?}", member.ordinal);
            self.note(|| text);
        }
        let member = &mut self.members[at];
        let process = member.process.as_mut().expect("looked at above");
        let now = member.clock.at(self.now);
        let reads = matches!(input, Input::Read { .. }) && process.engine.role().is_leader();
        let mut effects = Effects::default();
        process.engine.step(now, input, &mut effects);
        self.carry_out(at, effects)?;
        if reads && !self.calm && std::mem::take(&mut self.ambush_reader) {
            let timeout = self.scenario.election_timeout;
            let time = self.random.between(timeout, timeout * 4);
            self.pause(at, time);
        }
        Ok(())
    }

    fn carry_out(&mut self, at: usize, mut effects: Effects) -> Result<(), Broken> {
        let me = self.members[at].id();
        let member = &mut self.members[at];
        let process = member.process.as_mut().expect("the member was just stepped");
        self.invariants.persisting(me, &effects.persist, |index| process.engine.position_at(index))?;
        let vote = effects.persist.iter().rev().find_map(|persist| match persist.write {
            Write::HardState(HardState { term, voted_for: Some(voted_for) }) => Some((term, voted_for)),
            _ => None,
        });
        if let Some((term, voted_for)) = vote
            && voted_for == me
        {
            self.spring_voter_ambush(at, term);
        }
        let cut = self.spring_cut_ambush(at, &effects.persist);
        let member = &mut self.members[at];
        member.disk.submit(effects.persist.drain(..));
        self.begin_writing(at);
        let process = self.members[at].process.as_ref().expect("the member was just stepped");
        let commits = effects.apply.iter().any(|apply| matches!(apply, Apply::Commit(_)));
        let dies = process.dies_at_commit && commits && !self.calm;
        if dies {
            // It commits, and dies before anybody hears of it.
            effects.send.clear();
        }
        for (to, message) in std::mem::take(&mut effects.send) {
            let to = usize::from(to.0);
            for arrives in self.network.transit(at, to, self.now, &mut self.random) {
                let vote = matches!(message, Message::VoteReply { granted: true, .. });
                let arrives = if vote { arrives + self.network.votes_late } else { arrives };
                for (arrives, message) in self.network.hold(at, to, arrives, &message) {
                    self.queue.push(arrives, Event::Deliver { to, from: me, message });
                }
            }
        }
        if let Some((source, checkpoint)) = effects.fetch.take() {
            let delay = self.random.between(Duration::from_millis(1), self.fetch_takes_up_to);
            let (life, source) = (self.members[at].life, usize::from(source.ordinal.0));
            self.after(delay, Event::Fetched { member: at, life, source, checkpoint });
        }
        for (token, question) in std::mem::take(&mut effects.questions) {
            self.ask_authority(at, token, question);
        }
        let role = effects.role;
        let mut answers = Vec::new();
        let member = &mut self.members[at];
        let process = member.process.as_mut().expect("the member was just stepped");
        process.carry_out(me, &mut effects, member.disk.checkpoint(), &mut self.invariants, &mut answers)?;
        self.schedule_wakeup(at);
        self.check_progress(at, &effects)?;
        if let Some(role) = role {
            let process = self.members[at].process.as_mut().expect("the member was just stepped");
            process.unheard_since = None;
            self.note(|| format!("{me} is {role:?}"));
            self.check_role(at, role)?;
        }
        for (request, answer) in answers {
            let delay = self.random.between(Duration::from_micros(10), Duration::from_millis(1));
            self.after(delay, Event::Answered { request, answer });
        }
        if let Some(outcast) = effects.outcast {
            return self.cast_out(at, outcast);
        }
        self.ambush(at, vote, role);
        if cut || dies {
            let long = self.random.between(Duration::from_millis(1), self.scenario.election_timeout * 3);
            self.crash(at, if dies { long } else { Duration::from_micros(100) });
        }
        Ok(())
    }

    /// The member must not go on as who it is: it comes back empty, in another life.
    fn cast_out(&mut self, at: usize, outcast: Outcast) -> Result<(), Broken> {
        let id = self.members[at].id();
        self.invariants.outcast(id, outcast)?;
        self.note(|| format!("{id} must not go on: {outcast:?}"));
        self.crash(at, Duration::from_millis(100));
        self.replace_disk(at);
        Ok(())
    }

    /// A leader that hears no majority does not go on leading for two election timeouts of its own.
    fn check_quorum(&mut self, at: usize) -> Result<(), Broken> {
        let timeout = self.scenario.election_timeout;
        let member = &mut self.members[at];
        let now = member.clock.at(self.now);
        let decides = self.scenario.consensus == holdfast_engine::Consensus::Majority;
        let Some(process) = member.process.as_mut().filter(|_| !member.paused && decides) else {
            return Ok(());
        };
        let status = process.engine.status(now);
        let heard = status.membership.voters().filter(|voter| {
            let peer = status.peers.iter().find(|peer| peer.member == Some(*voter));
            *voter == status.me || peer.and_then(|peer| peer.silent_for).is_some_and(|time| time < timeout)
        });
        if !status.role.is_leader() || heard.count() >= status.membership.majority() {
            process.unheard_since = None;
            return Ok(());
        }
        let since = *process.unheard_since.get_or_insert(now);
        if now - since > timeout * 2 {
            return Err(format!("liveness: {} leads on and has not heard a majority for long", status.me));
        }
        Ok(())
    }

    /// Arrange to be woken at the engine's deadline. A deadline that moves away is met by waking too early once, so that
    /// a follower's heartbeats do not fill the queue with wakings.
    fn schedule_wakeup(&mut self, at: usize) {
        let member = &mut self.members[at];
        let Some(process) = &member.process else { return };
        let due = member.clock.when(process.engine.deadline()).max(self.now);
        if due < member.wakes_at {
            member.wakes_at = due;
            let life = member.life;
            self.queue.push(due, Event::Wake { member: at, life });
        }
    }

    fn check_role(&mut self, at: usize, role: Role) -> Result<(), Broken> {
        let member = &self.members[at];
        let process = member.process.as_ref().expect("the member was just stepped");
        if role.is_leader() {
            self.report.elections += 1;
        }
        let base = process.store.committed();
        self.invariants.role(member.id(), role, base, |position| {
            process.engine.position_at(position.index) == Some(position)
        })
    }

    fn check_progress(&self, at: usize, effects: &Effects) -> Result<(), Broken> {
        let Some(progress) = &effects.progress else { return Ok(()) };
        let member = &self.members[at];
        let process = member.process.as_ref().expect("the member was just stepped");
        // A leader that is deposed and does not know it counts what others may have replaced since.
        let running = self.members.iter().filter_map(|member| member.process.as_ref());
        if running.map(|process| process.engine.term()).any(|term| term > progress.term) {
            return Ok(());
        }
        // Where an authority decides, everybody's copy counts for a write concern.
        let counted: Vec<_> = if self.has_authority() {
            let peers = process.engine.status(self.now).peers;
            peers.iter().filter_map(|peer| peer.member).chain([member.id()]).collect()
        } else {
            process.membership().voters().collect()
        };
        let voters: Vec<_> = counted.into_iter().map(|voter| (voter, self.disk_of(voter))).collect();
        self.invariants.progress(member.id(), progress, |index| process.engine.position_at(index), &voters)
    }

    pub(super) fn fetched(&mut self, at: usize, source: usize, checkpoint: Checkpoint) -> Result<(), Broken> {
        let unreachable = self.network.is_cut(source, at) || self.members[source].process.is_none();
        // A connection may end at any time, as long as there are faults.
        let unreachable = unreachable || (!self.calm && self.random.chance(0.2));
        let file = self.members[source].disk.checkpoint().cloned();
        match file.filter(|file| !unreachable && file.checkpoint.position >= checkpoint.position) {
            Some(file) => {
                let checkpoint = file.checkpoint;
                self.members[at].disk.put_checkpoint(file);
                self.report.checkpoints_fetched += 1;
                self.step(at, Input::CheckpointFetched { checkpoint })
            }
            None => self.step(at, Input::CheckpointFailed),
        }
    }
}
