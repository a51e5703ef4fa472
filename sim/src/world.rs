//! The world: members, network, disks, clients and faults around one queue of events in virtual time.

mod ambush;
mod members;
mod nemesis;
mod requests;

use std::time::Duration;

use holdfast_engine::{
    Bug, Checkpoint, Index, Input, MemberId, Membership, Message, Moment, Ordinal, Random,
};

use self::ambush::VoterAmbush;
use crate::clients::Client;
use crate::disk::CheckpointFile;
use crate::faults::Mixture;
use crate::history::{self, Operation};
use crate::invariants::{Broken, Invariants};
use crate::member::{Answer, Member, RequestId};
use crate::network::Network;
use crate::queue::Queue;
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
    Kill { member: usize, life: u64 },
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
    queue: Queue<Event>,
    members: Vec<Member>,
    clients: Vec<Client>,
    network: Network,
    slow: Vec<bool>,
    mixture: Mixture,
    calm: bool,
    voter_ambush: VoterAmbush,
    ambush_leaders: u64,
    fetch_takes_up_to: Duration,
    invariants: Invariants,
    history: Vec<Operation>,
    report: Report,
    trace: bool,
}

impl World {
    pub(crate) fn new(scenario: Scenario, bug: Option<Bug>, trace: bool) -> World {
        let mut random = Random::new(scenario.seed);
        let members = (0..scenario.members)
            .map(|at| Member::new(Ordinal(at), scenario.drift_max, &mut random))
            .collect();
        let mixture = Mixture::draw(&mut random);
        let fetch_takes_up_to = Duration::from_millis([20, 200, 2000][random.below(3) as usize]);
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
            queue: Queue::new(),
            calm: false,
            voter_ambush: VoterAmbush::None,
            ambush_leaders: 0,
            fetch_takes_up_to,
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
        let committed = self.invariants.committed();
        let rest = self.scenario.election_timeout * 20 + Duration::from_secs(2);
        let end = self.now + rest;
        self.run_until(end)?;
        self.check_liveness(committed)?;
        history::check(&self.history, &self.invariants)?;
        history::check_exactly_once(&self.invariants)?;
        self.report.operations = self.history.len() as u64;
        self.report.committed = self.invariants.committed().0;
        self.report.virtual_time = Duration::from_nanos(self.now.0);
        Ok(self.report)
    }

    fn run_until(&mut self, end: Moment) -> Result<(), Broken> {
        while let Some((at, event)) = self.queue.pop_until(end) {
            self.now = at;
            self.order += 1;
            self.report.events += 1;
            self.happen(event)?;
        }
        self.now = end;
        Ok(())
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.queue.push(self.now + delay, event);
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
            Event::Wake { member, life }
                if self.is_this_life(member, life) && self.now >= self.members[member].wakes_at =>
            {
                self.members[member].wakes_at = Moment(u64::MAX);
                self.wake(member)
            }
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
            Event::Kill { member, life } if self.is_this_life(member, life) => {
                let down = self.random.between(Duration::from_millis(1), self.scenario.election_timeout * 2);
                self.crash(member, down);
                Ok(())
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

    fn membership_of(&self, member: usize) -> Membership {
        let process = self.members[member].process.as_ref();
        process.map(|process| process.membership()).unwrap_or_default()
    }

    /// Without faults the store must work again: one leader, everybody equal, every client served.
    fn check_liveness(&mut self, committed_before: Index) -> Result<(), Broken> {
        let Some(leader) = self.leader() else { return Err("liveness: nobody leads".to_owned()) };
        // Not "acknowledged": a client may wait for all members when one has lost its vote with its disk.
        if self.invariants.committed() <= committed_before {
            return Err("liveness: nothing was committed after the faults ended".to_owned());
        }
        let commit_of = |member: &Member| member.process.as_ref().map(|process| process.store.committed());
        let commit = commit_of(&self.members[leader]).unwrap_or_default();
        for member in &self.members {
            let theirs =
                commit_of(member).ok_or_else(|| format!("liveness: {} does not run", member.id()))?;
            if !self.membership_of(leader).is_voter(member.id()) {
                return Err(format!("liveness: {} was not made a voter", member.id()));
            }
            // Clients go on until the end, so what is under way may be missing; a member that hangs lacks far more.
            if theirs.0 + 200 < commit.0 {
                return Err(format!("liveness: {} is at {theirs}, the leader at {commit}", member.id()));
            }
        }
        Ok(())
    }
}
