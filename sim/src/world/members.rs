//! Members in the world: starting, stepping, killing them, and carrying out what their engines ask for.

use std::time::Duration;

use holdfast_engine::{
    Checkpoint, Config, Effects, HardState, Incarnation, Input, Moment, Outcast, Role, Write,
};

use super::{Event, World};
use crate::disk::Disk;
use crate::invariants::Broken;

impl World {
    pub(super) fn config(&mut self, member: usize) -> Config {
        let scenario = &self.scenario;
        Config {
            me: self.members[member].id(),
            members: scenario.members,
            heartbeat_interval: scenario.election_timeout / 6,
            election_timeout: scenario.election_timeout,
            campaign_stagger: Duration::from_millis(1),
            disk_stall_max: scenario.election_timeout * 4,
            append_bytes_max: scenario.append_bytes_max,
            appends_in_flight_max: scenario.appends_in_flight_max,
            uncommitted_bytes_max: scenario.uncommitted_bytes_max,
            log_bytes_kept: scenario.log_bytes_kept,
            seed: self.random.draw(),
            bug: self.bug,
        }
    }

    pub(super) fn start(&mut self, member: usize) -> Result<(), Broken> {
        if self.members[member].process.is_some() {
            return Ok(());
        }
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
        self.after(delay, Event::Happen { member: to, life, input: Input::ConnectionLost { peer } });
    }

    pub(super) fn crash(&mut self, member: usize, stays_down: Duration) {
        if self.members[member].process.is_none() {
            return;
        }
        let id = self.members[member].id();
        self.note(|| format!("{id} is killed"));
        self.members[member].crash(&mut self.random);
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
        for input in std::mem::take(&mut self.members[member].held) {
            self.step(member, input)?;
        }
        self.wake(member)
    }

    pub(super) fn wake(&mut self, member: usize) -> Result<(), Broken> {
        let now = self.members[member].clock(self.now);
        let due =
            self.members[member].process.as_ref().is_some_and(|process| process.engine.deadline() <= now);
        if due { self.step(member, Input::Tick) } else { Ok(()) }
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
        let now = Moment(self.now.0 + member.clock_ahead);
        let mut effects = Effects::default();
        process.engine.step(now, input, &mut effects);
        self.carry_out(at, effects)
    }

    fn carry_out(&mut self, at: usize, mut effects: Effects) -> Result<(), Broken> {
        let me = self.members[at].id();
        let member = &mut self.members[at];
        let process = member.process.as_mut().expect("the member was just stepped");
        self.invariants.persisting(me, &effects.persist, |index| process.engine.position_at(index))?;
        let votes = effects.persist.iter().any(|persist| {
            matches!(persist.write, Write::HardState(HardState { voted_for: Some(voted_for), .. }) if voted_for != me)
        });
        member.disk.submit(effects.persist.drain(..));
        self.begin_writing(at);
        for (to, message) in std::mem::take(&mut effects.send) {
            let to = usize::from(to.0);
            for delay in self.network.transit(at, to, &mut self.random) {
                self.after(delay, Event::Deliver { to, from: me, message: message.clone() });
            }
        }
        if let Some((source, checkpoint)) = effects.fetch.take() {
            let delay = self.random.between(Duration::from_millis(1), self.fetch_takes_up_to);
            let (life, source) = (self.members[at].life, usize::from(source.ordinal.0));
            self.after(delay, Event::Fetched { member: at, life, source, checkpoint });
        }
        let role = effects.role;
        let mut answers = Vec::new();
        let member = &mut self.members[at];
        let process = member.process.as_mut().expect("the member was just stepped");
        process.carry_out(me, &mut effects, member.disk.checkpoint(), &mut self.invariants, &mut answers)?;
        self.schedule_wakeup(at);
        self.check_progress(at, &effects)?;
        if let Some(role) = role {
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
        self.ambush(at, votes, role);
        Ok(())
    }

    /// The member must not go on as who it is: it comes back empty, in another life.
    fn cast_out(&mut self, at: usize, outcast: Outcast) -> Result<(), Broken> {
        let id = self.members[at].id();
        self.invariants.outcast(id, outcast)?;
        self.note(|| format!("{id} must not go on: {outcast:?}"));
        self.crash(at, Duration::from_millis(100));
        self.members[at].disk = Disk::empty(Incarnation(self.random.draw()));
        Ok(())
    }

    /// Kill the member at its worst moment, if such a fault lies in wait.
    fn ambush(&mut self, at: usize, votes: bool, role: Option<Role>) {
        if self.calm {
            return;
        }
        if votes && self.ambush_voter {
            self.ambush_voter = false;
            self.crash(at, Duration::from_micros(100));
        }
        if role.is_some_and(|role| role.is_leader()) && self.ambush_leaders > 0 {
            self.ambush_leaders -= 1;
            let life = self.members[at].life;
            let delay = self.random.between(Duration::ZERO, Duration::from_millis(3));
            self.after(delay, Event::Kill { member: at, life });
        }
    }

    fn schedule_wakeup(&mut self, at: usize) {
        let member = &mut self.members[at];
        let (life, ahead) = (member.life, member.clock_ahead);
        let Some(process) = &mut member.process else { return };
        let deadline = process.engine.deadline();
        if deadline != process.wakeup {
            process.wakeup = deadline;
            let due = Moment(deadline.0.saturating_sub(ahead)).max(self.now);
            self.at(due, Event::Wake { member: at, life });
        }
    }

    fn check_role(&mut self, at: usize, role: Role) -> Result<(), Broken> {
        let member = &self.members[at];
        let process = member.process.as_ref().expect("the member was just stepped");
        if role.is_leader() {
            self.report.elections += 1;
        }
        let base = process.store.committed().min(process.engine.status(self.now).commit);
        self.invariants.role(member.id(), role, base, |position| {
            process.engine.position_at(position.index) == Some(position)
        })
    }

    fn check_progress(&self, at: usize, effects: &Effects) -> Result<(), Broken> {
        let Some(progress) = &effects.progress else { return Ok(()) };
        let member = &self.members[at];
        let process = member.process.as_ref().expect("the member was just stepped");
        let membership = process.engine.status(self.now).membership;
        let voters: Vec<_> = membership
            .voters()
            .map(|voter| (voter, &self.members[usize::from(voter.ordinal.0)].disk))
            .collect();
        self.invariants.progress(member.id(), progress, |index| process.engine.position_at(index), &voters)
    }

    pub(super) fn begin_writing(&mut self, at: usize) {
        if self.members[at].disk.begin().is_some() {
            let slow = self.slow[at];
            let to = if slow { Duration::from_millis(80) } else { Duration::from_micros(500) };
            let delay = self.random.between(Duration::from_micros(20), to);
            let life = self.members[at].life;
            self.after(delay, Event::DiskDone { member: at, life });
        }
    }

    pub(super) fn take_checkpoint(&mut self, at: usize) {
        let member = &mut self.members[at];
        let Some(process) = &mut member.process else { return };
        let Some(file) = process.take_checkpoint() else { return };
        let life = member.life;
        let delay = self.random.between(Duration::from_millis(1), Duration::from_millis(40));
        self.after(delay, Event::CheckpointWritten { member: at, life, file });
    }

    pub(super) fn fetched(&mut self, at: usize, source: usize, checkpoint: Checkpoint) -> Result<(), Broken> {
        let unreachable = self.network.is_cut(source, at) || self.members[source].process.is_none();
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
