//! The world: members, network, disks, clients and faults around one queue of events in virtual time.

mod ambush;
mod authority;
mod calm;
mod disks;
mod members;
mod nemesis;
mod requests;

use std::time::Duration;

use holdfast_engine::{
    Checkpoint, Consensus, Index, Input, MemberId, Message, Moment, Ordinal, Question, QuestionToken, Random,
};

use self::ambush::VoterAmbush;
use self::calm::{OldDisk, Probe};
use crate::authority::Authority;
use crate::clients::Client;
use crate::disk::CheckpointFile;
use crate::faults::Mixture;
use crate::flaw::{Flaw, ShellBug};
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
    Scrub { member: usize, life: u64 },
    SpaceBack { member: usize, life: u64 },
    SwapBack { a: usize, b: usize },
    Resized { member: usize, life: u64 },
    Part { leader: usize },
    RotVote { member: usize, life: u64 },
    AskForRepair { member: usize, life: u64 },
    RepairAnswer { member: usize, life: u64, source: usize },
    Probe(Probe),
    AuthorityAsked { member: usize, life: u64, token: QuestionToken, question: Question },
    AuthorityBack,
}

/// One run.
pub(crate) struct World {
    scenario: Scenario,
    flaw: Option<Flaw>,
    /// How many members the store is to have now.
    wanted: u8,
    random: Random,
    now: Moment,
    order: u64,
    queue: Queue<Event>,
    members: Vec<Member>,
    clients: Vec<Client>,
    network: Network,
    authority: Authority,
    slow: Vec<bool>,
    mixture: Mixture,
    calm: bool,
    /// Somebody has tampered with the authority.
    tampered: bool,
    /// When a person had the store start from a member that lacked something, on the scale that counts events, and what was
    /// committed then and still counts.
    forced: Option<(u64, Index)>,
    /// The disk that a member is given back at the end, and who it was.
    old_disk: Option<OldDisk>,
    voter_ambush: VoterAmbush,
    ambush_leaders: u64,
    ambush_cut: bool,
    /// The next leader that is asked for a read is paused while it asks whether it still leads.
    ambush_reader: bool,
    fetch_takes_up_to: Duration,
    /// When a member was lost last.
    lost_at: Moment,
    /// When the wanted number of members changed last.
    resized_at: Moment,
    /// When a client asked the leader for a write, the first time since that is of interest.
    write_asked: Option<Moment>,
    /// What was committed when a hand-over to nobody should have been given up.
    committed_then: Index,
    invariants: Invariants,
    history: Vec<Operation>,
    report: Report,
    trace: bool,
}

impl World {
    pub(crate) fn new(scenario: Scenario, flaw: Option<Flaw>, trace: bool) -> World {
        let mut random = Random::new(scenario.seed);
        let shell = flaw.and_then(Flaw::shell);
        let places = scenario.members.max(scenario.other_size);
        let members: Vec<Member> =
            (0..places).map(|at| Member::new(Ordinal(at), scenario.drift_max, flaw, &mut random)).collect();
        let mixture = Mixture::draw(scenario.theme, &mut random);
        let fetch_takes_up_to = Duration::from_millis([20, 200, 2000][random.below(3) as usize]);
        let one_change = scenario.consensus == Consensus::Majority;
        World {
            clients: (0..scenario.clients)
                .map(|number| Client::new(number, shell, scenario.has_messages()))
                .collect(),
            slow: vec![false; members.len()],
            network: Network::calm(),
            authority: Authority::calm(),
            members,
            mixture,
            flaw,
            wanted: scenario.members,
            tampered: false,
            forced: None,
            old_disk: None,
            random,
            now: Moment(0),
            order: 0,
            queue: Queue::new(),
            calm: false,
            voter_ambush: VoterAmbush::None,
            ambush_leaders: 0,
            ambush_cut: false,
            ambush_reader: false,
            fetch_takes_up_to,
            lost_at: Moment(0),
            resized_at: Moment(0),
            write_asked: None,
            committed_then: Index(0),
            invariants: Invariants::new(one_change, flaw.and_then(Flaw::logs)),
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
        while self.invariants.messages().messages < self.scenario.messages_min {
            let end = self.now + Duration::from_secs(1);
            self.run_until(end)?;
        }
        self.calm_down();
        let committed = self.invariants.committed();
        let rest = self.scenario.election_timeout * 20 + Duration::from_secs(2);
        let end = self.now + rest;
        self.run_until(end)?;
        if self.old_disk.is_some() || self.forced.is_some() {
            // Its member has to fetch everything anew.
            self.run_until(end + Duration::from_secs(4))?;
        }
        self.check_liveness(committed)?;
        history::check(&self.history, &self.invariants)?;
        history::check_exactly_once(&self.invariants)?;
        self.report.operations = self.history.len() as u64;
        self.report.messages = self.invariants.messages().messages;
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
            Event::DiskDone { member, life } if self.is_this_life(member, life) => self.disk_done(member),
            Event::CheckpointWritten { member, life, file } if self.is_this_life(member, life) => {
                self.checkpoint_written(member, file)
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
            Event::Probe(probe) => self.probe(probe),
            Event::AuthorityAsked { member, life, token, question } => {
                self.authority_asked(member, life, token, question)
            }
            Event::AuthorityBack => {
                self.authority.take_down(false);
                Ok(())
            }
            event => self.happen_on_disk(event),
        }
    }

    /// What happens around disks; the rest was meant for a process that is gone.
    fn happen_on_disk(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Scrub { member, life } if self.is_this_life(member, life) => self.scrub(member),
            Event::SpaceBack { member, life } if self.is_this_life(member, life) => {
                self.members[member].disk.full = false;
                self.begin_writing(member);
            }
            Event::SwapBack { a, b } => self.swap_back(a, b),
            Event::Resized { member, life } if self.is_this_life(member, life) => {
                let process = self.members[member].process.as_mut().expect("it lives");
                process.engine.resize(self.wanted);
            }
            Event::Part { leader } => self.part(leader),
            Event::RotVote { member, life } if self.is_this_life(member, life) => self.rot_vote(member),
            Event::AskForRepair { member, life } => self.ask_for_repair(member, life),
            Event::RepairAnswer { member, life, source } => return self.repair_answer(member, life, source),
            _ => {}
        }
        Ok(())
    }

    fn has_authority(&self) -> bool {
        self.scenario.consensus != Consensus::Majority
    }

    fn has(&self, flaw: ShellBug) -> bool {
        self.flaw == Some(Flaw::Shell(flaw))
    }
}
