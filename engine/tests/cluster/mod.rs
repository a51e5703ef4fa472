//! A cluster of engines for the scripts: messages and writes wait until a script lets them go.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use holdfast_engine::{
    AppendOutcome, Apply, Checkpoint, Config, Configuration, Consensus, Effects, Engine, Entry, EntryKind,
    Incarnation, Input, MemberId, Membership, Message, Moment, Ordinal, Persist, ProposalToken, Question,
    QuestionToken, ReadToken, Restored, Verdict, Write,
};

/// Engines, what they sent, and what they asked to be written.
#[derive(Default)]
pub(crate) struct Cluster {
    now: Moment,
    members: Vec<Member>,
    messages: VecDeque<(MemberId, Ordinal, Message)>,
    tokens: u64,
    /// Nothing goes to these members or comes from them.
    cut_off: Vec<usize>,
    consensus: Consensus,
    /// What the authority holds, and who asked it what.
    authority: Option<Configuration>,
    questions: VecDeque<(usize, QuestionToken, Question)>,
    silent: bool,
    /// A copy of a disk, and whose it was.
    kept: Option<(MemberId, Restored)>,
    out: Vec<String>,
}

struct Member {
    id: MemberId,
    engine: Option<Engine>,
    pending: VecDeque<Persist>,
    disk: Restored,
}

impl Cluster {
    /// Run one command and return what it prints.
    ///
    /// `members N` starts N empty members · `in-sync [MIN]`: those that start from now on are in in-sync mode · `answer A`: the
    /// authority answers A · `apply A`: it hears A, and its answer is lost · `unknown A`: neither · `run` delivers and writes until nothing is left · `silently COMMAND` prints
    /// nothing · `wait MILLISECONDS` · `deliver A B`, `drop A B`: what A sent to B · `write A`: A's disk is done ·
    /// `propose A TEXT…`: several are proposed together · `read A` · `lose A B`: A's connection from B ends · `leave A B`: the same, and B has said that it ends · `cut A`: nothing comes from A or goes to
    /// it, or from it to the authority, until `mend` · `connect A B` · `hand-over A [B]` ·
    /// `kill A`, `start A` · `force A`: a person has A start from what it has · `wipe A`: A loses its disk and starts in another life · `keep A`, `put-back A`: copy A's disk,
    /// and put the copy in the place of what A has then · `resize N`: N members are wanted · `checkpoint A` · `fetched A`: the checkpoint of A's leader is there · `status`
    pub(crate) fn command(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<usize>().expect("a number");
        let token = self.tokens + 1;
        match words[0] {
            "silently" => {
                self.silent = true;
                self.command(&line["silently ".len()..]);
                self.silent = false;
                self.out.clear();
            }
            "members" => (0..number(1)).for_each(|_| self.add(number(1))),
            "in-sync" => {
                let min = words.get(1).map_or(1, |min| min.parse().expect("a number"));
                self.consensus = Consensus::InSync { min };
            }
            "answer" => self.ask_authority(number(1), true, true),
            "apply" => self.ask_authority(number(1), true, false),
            "unknown" => self.ask_authority(number(1), false, false),
            "run" => self.run(),
            "wait" => self.wait(Duration::from_millis(number(1) as u64)),
            "deliver" => self.link(number(1), number(2), true),
            "drop" => self.link(number(1), number(2), false),
            "write" => self.write(number(1)),
            "propose" => {
                let mut payloads: Vec<Bytes> =
                    words[2..].iter().map(|text| text.as_bytes().to_vec().into()).collect();
                self.tokens += payloads.len() as u64;
                let first = ProposalToken(token);
                let input = match payloads.len() {
                    1 => Input::Propose { token: first, payload: payloads.remove(0) },
                    _ => Input::ProposeAll { first, payloads },
                };
                self.step(number(1), input);
            }
            "read" => {
                self.tokens = token;
                self.step(number(1), Input::Read { token: ReadToken(token) });
            }
            "cut" => self.cut_off.push(number(1)),
            "mend" => self.cut_off.clear(),
            "lose" | "leave" => {
                let (peer, left) = (self.members[number(2)].id, words[0] == "leave");
                self.step(number(1), Input::ConnectionLost { peer, left });
            }
            "connect" => self.step(number(1), Input::Connected { peer: self.members[number(2)].id }),
            "hand-over" => {
                let to = words.get(2).map(|to| Ordinal(to.parse().expect("an ordinal")));
                self.step(number(1), Input::HandOver { to });
            }
            "kill" => {
                self.members[number(1)].engine = None;
                self.members[number(1)].pending.clear();
            }
            "start" => self.start(number(1)),
            "force" => {
                let (me, holds) = (self.members[number(1)].id, self.authority.expect("it holds something"));
                let (version, term) = (holds.version + 1, holds.term.next());
                let in_sync = Membership::only([me]);
                let forced = Some(holds.term);
                self.authority = Some(Configuration { version, term, primary: me, in_sync, forced, ..holds });
            }
            "wipe" => {
                let member = &mut self.members[number(1)];
                member.id.incarnation.0 += 0x100;
                member.disk = Restored::default();
                member.pending.clear();
                self.start(number(1));
            }
            "keep" => self.kept = Some((self.members[number(1)].id, self.members[number(1)].disk.clone())),
            "put-back" => {
                let (id, disk) = self.kept.clone().expect("a copy");
                (self.members[number(1)].id, self.members[number(1)].disk) = (id, disk);
                self.members[number(1)].pending.clear();
                self.start(number(1));
            }
            "resize" => {
                (self.members.len()..number(1)).for_each(|_| self.add(number(1)));
                self.members
                    .iter_mut()
                    .filter_map(|it| it.engine.as_mut())
                    .for_each(|it| it.resize(number(1) as u8));
            }
            "checkpoint" => {
                let member = &mut self.members[number(1)];
                let engine = member.engine.as_ref().expect("a running member");
                let commit = engine.status(self.now).commit;
                let position = engine.position_at(commit).expect("it is in the log");
                let checkpoint = Checkpoint { position, membership: engine.membership_at(commit) };
                member.disk.checkpoint = Some(checkpoint);
                self.step(number(1), Input::CheckpointTaken { checkpoint });
            }
            "fetched" => {
                let leader = self.members.iter().find_map(|member| {
                    let engine = member.engine.as_ref()?;
                    engine.role().is_leader().then(|| engine.status(self.now).checkpoint)
                });
                let checkpoint = leader.flatten().expect("a leader with a checkpoint");
                self.members[number(1)].disk.checkpoint = Some(checkpoint);
                self.step(number(1), Input::CheckpointFetched { checkpoint });
            }
            "status" => self.status(),
            other => panic!("no command {other:?}"),
        }
        std::mem::take(&mut self.out)
    }

    fn add(&mut self, members: usize) {
        let ordinal = Ordinal(self.members.len() as u8);
        let id = MemberId { ordinal, incarnation: Incarnation(0x100 + u64::from(ordinal.0)) };
        self.members.push(Member { id, engine: None, pending: VecDeque::new(), disk: Restored::default() });
        if self.members.len() == members {
            (0..members)
                .filter(|&member| self.members[member].engine.is_none())
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|member| self.start(member));
        }
    }

    fn start(&mut self, at: usize) {
        let config = Config {
            me: self.members[at].id,
            members: self.members.len() as u8,
            consensus: self.consensus,
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_millis(1000),
            campaign_stagger: Duration::from_millis(1),
            disk_stall_max: Duration::from_secs(10),
            append_bytes_max: 1 << 20,
            appends_in_flight_max: 64,
            uncommitted_bytes_max: 1 << 20,
            log_bytes_kept: 0,
            seed: at as u64,
            bug: None,
        };
        self.members[at].engine = Some(Engine::new(config, self.members[at].disk.clone(), self.now));
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        for at in 0..self.members.len() {
            if self.members[at].engine.as_ref().is_some_and(|engine| engine.deadline() <= self.now) {
                self.step(at, Input::Tick);
            }
        }
    }

    fn link(&mut self, from: usize, to: usize, deliver: bool) {
        let mut kept = VecDeque::new();
        for (sender, receiver, message) in std::mem::take(&mut self.messages) {
            if usize::from(sender.ordinal.0) != from || usize::from(receiver.0) != to {
                kept.push_back((sender, receiver, message));
            } else if deliver {
                self.step(to, Input::Receive { from: sender, message });
            }
        }
        kept.append(&mut self.messages);
        self.messages = kept;
    }

    fn write(&mut self, at: usize) {
        let member = &mut self.members[at];
        let Some(ticket) = member.pending.back().map(|persist| persist.ticket) else { return };
        for persist in std::mem::take(&mut member.pending) {
            let disk = &mut member.disk;
            match persist.write {
                Write::Formation(formation) => disk.formation = Some(formation),
                Write::HardState(hard_state) => disk.hard_state = hard_state,
                Write::Append(entries) => {
                    disk.entries.retain(|entry| entry.index() < entries[0].index());
                    disk.entries.extend(entries);
                }
                Write::Reset(_) => disk.entries.clear(),
                Write::Release(index) => disk.entries.retain(|entry| entry.index() > index),
            }
        }
        self.step(at, Input::Durable { ticket });
    }

    fn run(&mut self) {
        loop {
            for at in 0..self.members.len() {
                self.write(at);
            }
            let mut askers = self.questions.iter().map(|(asker, ..)| *asker);
            let asker = askers.find(|asker| !self.cut_off.contains(asker));
            match (self.messages.pop_front(), asker) {
                (Some((from, to, message)), _) => {
                    self.step(usize::from(to.0), Input::Receive { from, message });
                }
                (None, Some(asker)) => self.ask_authority(asker, true, true),
                _ if self.members.iter().all(|member| member.pending.is_empty()) => break,
                _ => {}
            }
        }
    }

    /// The oldest question of a member comes to its end.
    fn ask_authority(&mut self, asker: usize, heard: bool, answered: bool) {
        let Some(at) = self.questions.iter().position(|(member, ..)| *member == asker) else { return };
        let (_, token, question) = self.questions.remove(at).expect("it was found");
        let version = self.authority.map_or(0, |holds| holds.version);
        let verdict = match question {
            Question::Change(to) if heard && to.version == version + 1 => {
                self.authority = Some(*to);
                Verdict::Changed
            }
            _ => Verdict::Holds(self.authority.map(Box::new)),
        };
        let verdict = if answered { verdict } else { Verdict::Unknown };
        self.step(asker, Input::Authority { token, verdict });
    }

    fn step(&mut self, at: usize, input: Input) {
        let member = &mut self.members[at];
        let Some(engine) = &mut member.engine else { return };
        let mut effects = Effects::default();
        engine.step(self.now, input, &mut effects);
        let id = member.id;
        self.questions
            .extend(effects.questions.iter().map(|(token, question)| (at, *token, question.clone())));
        member.pending.extend(effects.persist.iter().cloned());
        let cut = |member: Ordinal| self.cut_off.contains(&usize::from(member.0));
        let sent = effects.send.iter().filter(|(to, _)| !cut(*to) && !cut(id.ordinal));
        self.messages.extend(sent.map(|(to, message)| (id, *to, message.clone())));
        if !self.silent {
            self.print(at, &effects);
        }
    }

    fn print(&mut self, at: usize, effects: &Effects) {
        for persist in &effects.persist {
            self.out.push(format!("{at} writes #{} {}", persist.ticket.0, write(&persist.write)));
        }
        for (to, message) in &effects.send {
            self.out.push(format!("{at} -> {to} {}", text(message)));
        }
        for (_, question) in &effects.questions {
            self.out.push(format!("{at} asks the authority: {}", asked(question)));
        }
        for apply in &effects.apply {
            self.out.push(format!("{at} {}", applied(apply)));
        }
        for (_, position) in &effects.accepted {
            self.out.push(format!("{at} accepts {position}"));
        }
        for (_, refusal) in &effects.refused {
            self.out.push(format!("{at} refuses: {refusal:?}"));
        }
        for (_, index) in &effects.reads {
            self.out.push(format!(
                "{at} read: {}",
                index.map_or("nobody can say".to_owned(), |at| format!("from {at}"))
            ));
        }
        if let Some((from, checkpoint)) = &effects.fetch {
            self.out.push(format!(
                "{at} fetches the checkpoint at {} from {}",
                checkpoint.position, from.ordinal
            ));
        }
        if let Some(role) = &effects.role {
            self.out.push(format!("{at} is {role:?}"));
        }
        if let Some(outcast) = &effects.outcast {
            self.out.push(format!("{at} must not go on: {outcast:?}"));
        }
    }

    fn status(&mut self) {
        for (at, member) in self.members.iter().enumerate() {
            let line = match &member.engine {
                None => format!("{at} down"),
                Some(engine) => {
                    let status = engine.status(self.now);
                    format!(
                        "{at} {} of {} written {} durable {} commit {} executed {}",
                        status.role.name(),
                        voters(&status.membership),
                        status.written,
                        status.durable,
                        status.commit,
                        status.executed
                    )
                }
            };
            self.out.push(line);
        }
    }
}

/// The voters' ordinals, each with a tick for every earlier life.
fn voters(membership: &Membership) -> String {
    let lives = |voter: &MemberId| (voter.incarnation.0 >> 8) as usize - 1;
    let voters = membership.voters().map(|voter| format!("{}{}", voter.ordinal, "'".repeat(lives(&voter))));
    format!("{{{}}}", voters.collect::<Vec<_>>().join(" "))
}

fn asked(question: &Question) -> String {
    match question {
        Question::Read => "what does it hold".to_owned(),
        Question::Change(to) => format!(
            "version {} be primary {} in term {}, in sync {}",
            to.version,
            to.primary.ordinal,
            to.term,
            voters(&to.in_sync)
        ),
    }
}

fn entries(entries: &[Entry]) -> String {
    let entry = |entry: &Entry| match Membership::decode(&entry.payload()) {
        Some(membership) if entry.kind() == EntryKind::Membership => {
            format!("{}:{}", entry.position(), voters(&membership))
        }
        _ => entry.position().to_string(),
    };
    let entries: Vec<String> = entries.iter().map(entry).collect();
    format!("[{}]", entries.join(" "))
}

fn write(write: &Write) -> String {
    match write {
        Write::Formation(formation) => format!("formation of {} voters", formation.voters.len()),
        Write::HardState(state) => match state.voted_for {
            Some(voted_for) => format!("term {} and the vote for {}", state.term, voted_for.ordinal),
            None => format!("term {}", state.term),
        },
        Write::Append(appended) => format!("entries {}", entries(appended)),
        Write::Reset(position) => format!("a new log after {position}"),
        Write::Release(index) => format!("the release of the log up to {index}"),
    }
}

fn applied(apply: &Apply) -> String {
    match apply {
        Apply::Rollback(index) => format!("rolls back to {index}"),
        Apply::Execute(entry) => format!("executes {}", entry.position()),
        Apply::Commit(index) => format!("commits {index}"),
        Apply::Restore(checkpoint) => format!("restores {}", checkpoint.position),
    }
}

fn text(message: &Message) -> String {
    let yes = |granted: bool| if granted { "granted" } else { "refused" };
    match message {
        Message::Announce { formation, answers } => {
            let what =
                formation.as_ref().map_or("unformed".to_owned(), |it| format!("{} voters", it.voters.len()));
            format!("{} {what}", if answers.is_some() { "announcement" } else { "question" })
        }
        Message::PreVote { term, last, cause } => format!("pre-vote? term {term} last {last} ({cause:?})"),
        Message::PreVoteReply { term, granted } => format!("pre-vote {} term {term}", yes(*granted)),
        Message::Vote { term, last, cause } => format!("vote? term {term} last {last} ({cause:?})"),
        Message::VoteReply { term, granted } => format!("vote {} term {term}", yes(*granted)),
        Message::Append { term, previous, entries: appended, commit, round, .. } => {
            format!("append term {term} after {previous} {} commit {commit} round {round}", entries(appended))
        }
        Message::AppendReply { term, outcome, round } => match outcome {
            AppendOutcome::Accepted { written, durable } => {
                format!("accepted term {term} written {written} durable {durable} round {round}")
            }
            AppendOutcome::Rejected { previous, hint } => {
                format!("rejected term {term} lacks {previous}, try {hint} round {round}")
            }
        },
        Message::CheckpointOffer { term, checkpoint } => {
            format!("offers the checkpoint at {} term {term}", checkpoint.position)
        }
        Message::CampaignNow { term } => format!("campaign now term {term}"),
        Message::ReadIndex { term, .. } => format!("read? term {term}"),
        Message::ReadIndexReply { index, .. } => format!("read at {:?}", index.map(|index| index.0)),
    }
}
