//! The world: members, network, disks, clients and faults around one queue of events in virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use holdfast_engine::{
    Bug, Checkpoint, Config, Effects, Incarnation, Input, MemberId, Message, Moment, Ordinal, Random, Role,
};

use crate::clients::{self, Client, Next, PATIENCE, What};
use crate::disk::CheckpointFile;
use crate::faults::{Fault, Mixture};
use crate::history::{self, Operation};
use crate::invariants::{Broken, Invariants};
use crate::member::{Answer, Member, RequestId};
use crate::network::Network;
use crate::{Report, Scenario};

/// What happens next, and to whom.
#[derive(Debug)]
enum Event {
    Deliver { to: usize, from: MemberId, message: Message },
    Wake { member: usize, life: u64 },
    DiskDone { member: usize, life: u64 },
    Happen { member: usize, life: u64, input: Input },
    CheckpointWritten { member: usize, life: u64, file: CheckpointFile },
    Fetched { member: usize, life: u64, source: usize, checkpoint: Checkpoint },
    Start { member: usize },
    Resume { member: usize },
    ClientActs { client: usize },
    ClientGivesUp { request: RequestId },
    Answered { request: RequestId, answer: Answer },
    Fault,
}

/// One run.
pub(crate) struct World {
    scenario: Scenario,
    bug: Option<Bug>,
    random: Random,
    now: Moment,
    order: u64,
    queue: BinaryHeap<Reverse<(Moment, u64)>>,
    events: BTreeMap<u64, Event>,
    members: Vec<Member>,
    clients: Vec<Client>,
    network: Network,
    slow: Vec<bool>,
    mixture: Mixture,
    calm: bool,
    wipes: usize,
    invariants: Invariants,
    history: Vec<Operation>,
    report: Report,
    trace: bool,
}

impl World {
    pub(crate) fn new(scenario: Scenario, bug: Option<Bug>, trace: bool) -> World {
        let mut random = Random::new(scenario.seed);
        let members = (0..scenario.members).map(|at| Member::new(Ordinal(at), &mut random)).collect();
        let mixture = Mixture::draw(&mut random);
        World {
            clients: (0..scenario.clients).map(Client::new).collect(),
            slow: vec![false; usize::from(scenario.members)],
            network: Network::calm(),
            members,
            mixture,
            bug,
            random,
            now: Moment(0),
            order: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            calm: false,
            wipes: 0,
            invariants: Invariants::new(),
            history: Vec::new(),
            report: Report::default(),
            trace,
            scenario,
        }
    }

    /// The safety phase with faults, then the liveness phase without, then the checks over the whole history.
    pub(crate) fn run(mut self) -> Result<Report, Broken> {
        for member in 0..self.members.len() {
            let delay = self.random.between(Duration::ZERO, Duration::from_millis(50));
            self.after(delay, Event::Start { member });
        }
        for client in 0..self.clients.len() {
            self.after(Duration::from_millis(1), Event::ClientActs { client });
        }
        self.after(Duration::from_millis(100), Event::Fault);
        self.run_until(Moment(0) + self.scenario.faults_for)?;
        self.calm_down();
        let acknowledged = self.history.len();
        let rest = self.scenario.election_timeout * 20 + Duration::from_secs(2);
        let end = self.now + rest;
        self.run_until(end)?;
        self.check_liveness(acknowledged)?;
        history::check(&self.history, &self.invariants)?;
        history::check_exactly_once(&self.invariants)?;
        self.report.operations = self.history.len() as u64;
        self.report.committed = self.invariants.committed().0;
        self.report.virtual_time = Duration::from_nanos(self.now.0);
        Ok(self.report)
    }

    fn run_until(&mut self, end: Moment) -> Result<(), Broken> {
        while let Some(&Reverse((at, key))) = self.queue.peek() {
            if at > end {
                break;
            }
            self.queue.pop();
            self.now = at;
            self.order += 1;
            let event = self.events.remove(&key).expect("every key has its event");
            self.report.events += 1;
            self.happen(event)?;
        }
        self.now = end;
        Ok(())
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    fn at(&mut self, at: Moment, event: Event) {
        self.order += 1;
        self.queue.push(Reverse((at, self.order)));
        self.events.insert(self.order, event);
    }

    fn note(&self, line: impl FnOnce() -> String) {
        if self.trace {
            #[expect(clippy::print_stderr, reason = "a trace was asked for")]
            {
                eprintln!("{:>12.6} {}", self.now.0 as f64 / 1e9, line());
            }
        }
    }

    fn is_this_life(&self, member: usize, life: u64) -> bool {
        self.members[member].process.is_some() && self.members[member].life == life
    }

    fn happen(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Deliver { to, from, message } => self.step(to, Input::Receive { from, message }),
            Event::Happen { member, life, input } if self.is_this_life(member, life) => {
                self.step(member, input)
            }
            Event::Wake { member, life } if self.is_this_life(member, life) => self.wake(member),
            Event::DiskDone { member, life } if self.is_this_life(member, life) => {
                let ticket = self.members[member].disk.finish();
                self.begin_writing(member);
                self.step(member, Input::Durable { ticket })
            }
            Event::CheckpointWritten { member, life, file } if self.is_this_life(member, life) => {
                let checkpoint = file.checkpoint;
                self.members[member].disk.put_checkpoint(file);
                self.report.checkpoints += 1;
                self.step(member, Input::CheckpointTaken { checkpoint })
            }
            Event::Fetched { member, life, source, checkpoint } if self.is_this_life(member, life) => {
                self.fetched(member, source, checkpoint)
            }
            Event::Start { member } => self.start(member),
            Event::Resume { member } => self.resume(member),
            Event::ClientActs { client } => self.client_acts(client),
            Event::ClientGivesUp { request } => self.client_hears(request, None),
            Event::Answered { request, answer } => self.client_hears(request, Some(answer)),
            Event::Fault => self.fault(),
            _ => Ok(()), // it was meant for a process that is gone
        }
    }

    // ---- members

    fn config(&mut self, member: usize) -> Config {
        let scenario = &self.scenario;
        Config {
            me: self.members[member].id(),
            members: scenario.members,
            heartbeat_interval: scenario.election_timeout / 6,
            election_timeout: scenario.election_timeout,
            campaign_stagger: Duration::from_millis(1),
            append_bytes_max: scenario.append_bytes_max,
            appends_in_flight_max: scenario.appends_in_flight_max,
            uncommitted_bytes_max: scenario.uncommitted_bytes_max,
            log_bytes_kept: scenario.log_bytes_kept,
            seed: self.random.draw(),
            bug: self.bug,
        }
    }

    fn start(&mut self, member: usize) -> Result<(), Broken> {
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
    fn connect(&mut self, a: usize, b: usize) {
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
    fn disconnect(&mut self, to: usize, from: usize) {
        let (life, peer) = (self.members[to].life, self.members[from].id());
        let delay = self.random.between(Duration::from_micros(20), Duration::from_millis(2));
        self.after(delay, Event::Happen { member: to, life, input: Input::ConnectionLost { peer } });
    }

    fn crash(&mut self, member: usize, stays_down: Duration) {
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

    fn resume(&mut self, member: usize) -> Result<(), Broken> {
        if !self.members[member].paused {
            return Ok(());
        }
        self.members[member].paused = false;
        for input in std::mem::take(&mut self.members[member].held) {
            self.step(member, input)?;
        }
        self.wake(member)
    }

    fn wake(&mut self, member: usize) -> Result<(), Broken> {
        let now = self.members[member].clock(self.now);
        let due =
            self.members[member].process.as_ref().is_some_and(|process| process.engine.deadline() <= now);
        if due { self.step(member, Input::Tick) } else { Ok(()) }
    }

    /// Step one member and carry out what follows.
    fn step(&mut self, at: usize, input: Input) -> Result<(), Broken> {
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
        member.disk.submit(effects.persist.drain(..));
        self.begin_writing(at);
        for (to, message) in std::mem::take(&mut effects.send) {
            let to = usize::from(to.0);
            for delay in self.network.transit(at, to, &mut self.random) {
                self.after(delay, Event::Deliver { to, from: me, message: message.clone() });
            }
        }
        if let Some((source, checkpoint)) = effects.fetch.take() {
            let delay = self.random.between(Duration::from_millis(1), Duration::from_millis(60));
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
        Ok(())
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
        let formation = process.engine.status(self.now).formation.expect("a leader knows its voters");
        let voters: Vec<_> = formation
            .voters
            .iter()
            .map(|voter| (*voter, &self.members[usize::from(voter.ordinal.0)].disk))
            .collect();
        self.invariants.progress(member.id(), progress, |index| process.engine.position_at(index), &voters)
    }

    fn begin_writing(&mut self, at: usize) {
        if self.members[at].disk.begin().is_some() {
            let slow = self.slow[at];
            let to = if slow { Duration::from_millis(80) } else { Duration::from_micros(500) };
            let delay = self.random.between(Duration::from_micros(20), to);
            let life = self.members[at].life;
            self.after(delay, Event::DiskDone { member: at, life });
        }
    }

    // ---- checkpoints

    fn take_checkpoint(&mut self, at: usize) {
        let member = &mut self.members[at];
        let Some(process) = &mut member.process else { return };
        let Some(file) = process.take_checkpoint() else { return };
        let life = member.life;
        let delay = self.random.between(Duration::from_millis(1), Duration::from_millis(40));
        self.after(delay, Event::CheckpointWritten { member: at, life, file });
    }

    fn fetched(&mut self, at: usize, source: usize, checkpoint: Checkpoint) -> Result<(), Broken> {
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

    // ---- clients

    fn client_acts(&mut self, client: usize) -> Result<(), Broken> {
        if !self.clients[client].is_busy() {
            self.order += 1;
            let (order, members) = (self.order, self.scenario.members);
            self.clients[client].invent(order, members, &mut self.random);
        }
        let Some((request, what)) = self.clients[client].attempt(client) else { return Ok(()) };
        self.after(PATIENCE, Event::ClientGivesUp { request });
        let to = match self.leader() {
            Some(leader) if self.random.chance(0.7) => leader,
            _ => self.random.below(self.members.len() as u64) as usize,
        };
        let member = &mut self.members[to];
        let Some(process) = &mut member.process else { return Ok(()) };
        let input = match what {
            What::Write { payload, concern, .. } => process.propose(request, concern, payload),
            What::Read { key } => process.ask(request, key),
        };
        self.step(to, input)
    }

    fn client_hears(&mut self, request: RequestId, answer: Option<Answer>) -> Result<(), Broken> {
        let client = request.client;
        if !self.clients[client].awaits(request) {
            return Ok(());
        }
        self.order += 1;
        match self.clients[client].hear(answer, self.order, self.scenario.members) {
            Next::Again => {}
            Next::New(operation) => self.history.extend(operation),
        }
        let pause = clients::pause(&mut self.random);
        self.after(pause, Event::ClientActs { client });
        Ok(())
    }

    /// Who leads in the highest term, seen from outside.
    fn leader(&self) -> Option<usize> {
        let leading = |(at, member): (usize, &Member)| match member.process.as_ref()?.engine.role() {
            Role::Leader { term } => Some((term, at)),
            _ => None,
        };
        self.members.iter().enumerate().filter_map(leading).max().map(|(_, at)| at)
    }

    // ---- faults

    fn fault(&mut self) -> Result<(), Broken> {
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
            Fault::Wipe => self.wipe(any),
        }
        Ok(())
    }

    fn pause(&mut self, member: usize, time: Duration) {
        if self.members[member].process.is_some() && !self.members[member].paused {
            self.members[member].paused = true;
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
        let tolerated = (self.members.len() - 1) / 2;
        let id = self.members[member].id();
        let formed = self.members[member].disk.recover().formation;
        let Some(formation) = formed.filter(|formation| formation.is_voter(id)) else { return };
        // A voter of a store that not everybody has joined yet may be the only one that knows of it.
        let joined = self
            .members
            .iter_mut()
            .all(|member| member.disk.recover().formation.is_some_and(|theirs| theirs == formation));
        if !joined || self.wipes >= tolerated {
            return;
        }
        self.wipes += 1;
        self.note(|| format!("{id} loses its disk"));
        self.crash(member, Duration::from_millis(100));
        self.invariants.wiped(id);
        self.members[member].disk = crate::disk::Disk::empty(Incarnation(self.random.draw()));
    }

    /// The faults end: everything is mended, everybody runs.
    fn calm_down(&mut self) {
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

    /// Without faults the store must work again: one leader, everybody equal, every client served.
    fn check_liveness(&mut self, acknowledged_before: usize) -> Result<(), Broken> {
        let Some(leader) = self.leader() else { return Err("liveness: nobody leads".to_owned()) };
        if self.history.len() <= acknowledged_before {
            return Err("liveness: nothing was acknowledged after the faults ended".to_owned());
        }
        let commit_of = |member: &Member| member.process.as_ref().map(|process| process.store.committed());
        let commit = commit_of(&self.members[leader]).unwrap_or_default();
        for member in &self.members {
            let theirs =
                commit_of(member).ok_or_else(|| format!("liveness: {} does not run", member.id()))?;
            // Clients go on until the end, so what is under way may be missing; a member that hangs lacks far more.
            if theirs.0 + 200 < commit.0 {
                return Err(format!("liveness: {} is at {theirs}, the leader at {commit}", member.id()));
            }
        }
        Ok(())
    }
}
