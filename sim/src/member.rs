//! One simulated member: engine and state in a process, a disk that outlives it, and the requests that wait.
//!
//! It does what the sidecar's core does around the engine, without sockets and threads.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_engine::{
    Apply, Config, Effects, Engine, Incarnation, Index, Input, MemberId, Membership, Moment, Ordinal,
    Position, Progress, ProposalToken, Random, ReadToken, Term, WriteConcern,
};
use holdfast_store::{Bug as LogBug, MessagesQuery, Outcome, Restore, Sequence, Store, View};

use crate::clock::Clock;
use crate::disk::{CheckpointFile, Disk};
use crate::flaw::{Flaw, ShellBug};
use crate::invariants::{Broken, Invariants};
use crate::messages::Checked;

/// Names a client's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequestId {
    pub(crate) client: usize,
    pub(crate) number: u64,
}

/// What a member tells a client.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The write reached its concern.
    Written { position: Position, outcome: Outcome, committed: bool },
    /// Nothing of the write is anywhere.
    Refused,
    /// Nobody knows.
    Unknown,
    /// A linearizable read: the revision it was served at, and the key's revision and value there.
    Read { revision: u64, found: Option<(u64, Bytes)> },
    /// Messages of a log, as far as this.
    Listed { next: Sequence },
}

/// One member and its disk.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) ordinal: Ordinal,
    pub(crate) disk: Disk,
    pub(crate) process: Option<Process>,
    /// It runs no engine: it asks the others for what its disk lacks.
    pub(crate) repairing: bool,
    /// Under which name it ran last.
    pub(crate) known_as: Incarnation,
    flaw: Option<ShellBug>,
    log_bug: Option<LogBug>,
    /// Counts the starts, so that what was meant for an earlier process does not reach a later one.
    pub(crate) life: u64,
    pub(crate) paused: bool,
    pub(crate) paused_since: Moment,
    /// What arrived while it was paused.
    pub(crate) held: Vec<Input>,
    pub(crate) clock: Clock,
    /// When its process will be woken next; the end of time if nothing is arranged.
    pub(crate) wakes_at: Moment,
}

/// What a crash takes away.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    writes: BTreeMap<Index, WaitingWrite>,
    proposed: BTreeMap<ProposalToken, (RequestId, WriteConcern)>,
    asked: BTreeMap<ReadToken, (RequestId, Bytes)>,
    /// Reads that wait for their index to be committed here.
    reads: Vec<(Index, RequestId, Bytes)>,
    tokens: u64,
    commit: Index,
    /// It was elected and is to die when it commits for the first time.
    pub(crate) dies_at_commit: bool,
    /// By its own clock, since when it leads without hearing a majority.
    pub(crate) unheard_since: Option<Moment>,
    flaw: Option<ShellBug>,
    log_bug: Option<LogBug>,
    /// Up to where its messages were compared with what is committed.
    checked: Checked,
}

#[derive(Debug)]
struct WaitingWrite {
    request: RequestId,
    term: Term,
    concern: WriteConcern,
    payload: Bytes,
    outcome: Outcome,
}

impl Member {
    pub(crate) fn new(ordinal: Ordinal, drift_max: u64, flaw: Option<Flaw>, random: &mut Random) -> Member {
        let (flaw, log_bug) = (flaw.and_then(Flaw::shell), flaw.and_then(Flaw::logs));
        let incarnation = Incarnation(random.draw());
        Member {
            ordinal,
            disk: Disk::empty(ordinal, incarnation, flaw),
            process: None,
            repairing: false,
            known_as: incarnation,
            flaw,
            log_bug,
            life: 0,
            paused: false,
            paused_since: Moment(0),
            held: Vec::new(),
            clock: Clock::draw(drift_max, random),
            wakes_at: Moment(u64::MAX),
        }
    }

    pub(crate) fn id(&self) -> MemberId {
        MemberId { ordinal: self.ordinal, incarnation: self.disk.incarnation }
    }

    /// Start a process on what the disk has.
    pub(crate) fn start(&mut self, config: Config, now: Moment) {
        self.known_as = self.disk.incarnation;
        let restored = self.disk.recover();
        let mut store = self.disk.checkpoint().map_or_else(Store::new, restore);
        store.seed_bug(self.log_bug, self.ordinal.0.into());
        let engine = Engine::new(config, restored, self.clock.at(now));
        self.life += 1;
        self.wakes_at = Moment(u64::MAX);
        self.process = Some(Process {
            commit: store.committed(),
            engine,
            store,
            writes: BTreeMap::new(),
            proposed: BTreeMap::new(),
            asked: BTreeMap::new(),
            reads: Vec::new(),
            tokens: self.life << 40,
            dies_at_commit: false,
            unheard_since: None,
            flaw: self.flaw,
            log_bug: self.log_bug,
            checked: Checked::new(),
        });
    }

    /// Kill the process; `random` decides what the disk still got.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        self.process = None;
        self.repairing = false;
        self.paused = false;
        self.held.clear();
        self.disk.crash(random);
    }
}

fn restore(file: &CheckpointFile) -> Store {
    let mut restore = Restore::new();
    for chunk in &file.chunks {
        restore.chunk(chunk).expect("a checkpoint that was written whole");
    }
    restore.finish().expect("a checkpoint that was written whole")
}

/// What was committed stays so.
fn invariant_commit_never_falls(me: MemberId, commit: &mut Index, changes: &[Apply]) -> Result<(), Broken> {
    for change in changes {
        let next = match change {
            Apply::Commit(index) => *index,
            Apply::Restore(checkpoint) => checkpoint.position.index,
            _ => continue,
        };
        if next < *commit {
            return Err(format!("commit never falls: {me} goes back from {commit} to {next}"));
        }
        *commit = next;
    }
    Ok(())
}

impl Process {
    /// Who votes, by the last change in this member's log.
    pub(crate) fn membership(&self) -> Membership {
        self.engine.membership_at(Index(u64::MAX))
    }

    fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }

    /// The input that proposes a client's write.
    pub(crate) fn propose(&mut self, request: RequestId, concern: WriteConcern, payload: Bytes) -> Input {
        let token = ProposalToken(self.token());
        self.proposed.insert(token, (request, concern));
        Input::Propose { token, payload }
    }

    /// The input that asks for a client's read.
    pub(crate) fn ask(&mut self, request: RequestId, key: Bytes) -> Input {
        let token = ReadToken(self.token());
        self.asked.insert(token, (request, key));
        Input::Read { token }
    }

    /// Messages of a log as this member has them now: nobody is asked.
    pub(crate) fn list(&self, query: &MessagesQuery, invariants: &Invariants) -> Result<Answer, Broken> {
        let next = invariants.messages().check_list(&self.store, query)?;
        Ok(Answer::Listed { next })
    }

    /// A consistent copy of what is committed; `None` if that is nothing.
    pub(crate) fn take_checkpoint(&mut self) -> Option<CheckpointFile> {
        let position = self.engine.position_at(self.store.committed()).filter(|at| at.index > Index(0))?;
        let membership = self.engine.membership_at(position.index);
        let mut cursor = self.store.begin_checkpoint();
        let mut chunks = Vec::new();
        while let Some(chunk) = cursor.chunk(512) {
            chunks.push(chunk);
        }
        Some(CheckpointFile { checkpoint: holdfast_engine::Checkpoint { position, membership }, chunks })
    }

    /// Carry out what concerns state and clients; disk and network are the world's.
    pub(crate) fn carry_out(
        &mut self,
        me: MemberId,
        effects: &mut Effects,
        checkpoint: Option<&CheckpointFile>,
        invariants: &mut Invariants,
        answers: &mut Vec<(RequestId, Answer)>,
    ) -> Result<(), Broken> {
        invariant_commit_never_falls(me, &mut self.commit, &effects.apply)?;
        let mut accepted: BTreeMap<Index, (RequestId, WriteConcern, Term)> = BTreeMap::new();
        for (token, position) in effects.accepted.drain(..) {
            let (request, concern) = self.proposed.remove(&token).expect("a proposal of this process");
            accepted.insert(position.index, (request, concern, position.term));
        }
        for (token, _refusal) in effects.refused.drain(..) {
            let (request, _) = self.proposed.remove(&token).expect("a proposal of this process");
            answers.push((request, Answer::Refused));
        }
        for apply in effects.apply.drain(..) {
            self.apply(me, apply, checkpoint, &accepted, invariants, answers)?;
        }
        for (token, index) in effects.reads.drain(..) {
            let Some((request, key)) = self.asked.remove(&token) else { continue };
            match index {
                Some(index) => self.reads.push((index, request, key)),
                None => answers.push((request, Answer::Refused)),
            }
        }
        self.answer_reads(answers);
        if let Some(progress) = effects.progress {
            self.answer_writes(&progress, invariants, answers)?;
        }
        let deposed = effects.role.is_some_and(|role| !role.is_leader());
        if deposed && self.flaw != Some(ShellBug::AnswersAfterDemotion) {
            // What becomes of these is no longer this member's to say.
            let lost = std::mem::take(&mut self.writes);
            answers.extend(lost.into_values().map(|write| (write.request, Answer::Unknown)));
        }
        Ok(())
    }

    fn apply(
        &mut self,
        me: MemberId,
        apply: Apply,
        checkpoint: Option<&CheckpointFile>,
        accepted: &BTreeMap<Index, (RequestId, WriteConcern, Term)>,
        invariants: &mut Invariants,
        answers: &mut Vec<(RequestId, Answer)>,
    ) -> Result<(), Broken> {
        match apply {
            Apply::Rollback(index) => {
                self.store.rollback(index);
                if self.flaw == Some(ShellBug::AnswersAfterDemotion) {
                    return Ok(());
                }
                let lost = self.writes.split_off(&index.next());
                answers.extend(lost.into_values().map(|write| (write.request, Answer::Unknown)));
            }
            Apply::Execute(entry) => {
                let outcome = self.store.execute(&entry);
                if let (Some(outcome), Some(&(request, concern, term))) =
                    (outcome, accepted.get(&entry.index()))
                    && term == entry.term()
                {
                    let waiting = WaitingWrite { request, term, concern, payload: entry.payload(), outcome };
                    self.writes.insert(entry.index(), waiting);
                }
            }
            Apply::Commit(index) => {
                let mut next = self.store.committed().next();
                while next <= index {
                    let entry =
                        self.engine.entry(next).ok_or_else(|| format!("{me} commits {next} without it"))?;
                    invariants.executing_committed(me, &entry, self.engine.term())?;
                    next = next.next();
                }
                self.store.commit(index);
                invariants.messages().check(&self.store, &mut self.checked)?;
                invariants.state(me, &self.store)?;
                invariants.voters(me, index, &self.engine.membership_at(index))?;
            }
            Apply::Restore(wanted) => {
                let file = checkpoint.filter(|file| file.checkpoint == wanted);
                self.store =
                    restore(file.ok_or_else(|| format!("{me} restores a checkpoint that it lacks"))?);
                self.store.seed_bug(self.log_bug, me.ordinal.0.into());
                self.checked.clear();
                invariants.messages().check(&self.store, &mut self.checked)?;
                invariants.state(me, &self.store)?;
                let index = self.store.committed();
                invariants.voters(me, index, &self.engine.membership_at(index))?;
            }
        }
        Ok(())
    }

    fn answer_reads(&mut self, answers: &mut Vec<(RequestId, Answer)>) {
        let hasty = self.flaw == Some(ShellBug::ReadsWithoutWaiting);
        let dirty = self.flaw == Some(ShellBug::ReadsUncommitted);
        let view = if dirty { View::Executed } else { View::Committed };
        let committed = self.store.committed();
        let (ready, waiting) =
            std::mem::take(&mut self.reads).into_iter().partition(|(index, ..)| *index <= committed || hasty);
        self.reads = waiting;
        let ready: Vec<(Index, RequestId, Bytes)> = ready;
        for (_, request, key) in ready {
            let revision = self.store.revision(view);
            let found = self.store.get(&key, None, view).expect("the present is never compacted");
            let found = found.map(|found| (found.mod_revision.0, found.value));
            answers.push((request, Answer::Read { revision: revision.0, found }));
        }
    }

    fn answer_writes(
        &mut self,
        progress: &Progress,
        invariants: &Invariants,
        answers: &mut Vec<(RequestId, Answer)>,
    ) -> Result<(), Broken> {
        let done: Vec<Index> = self
            .writes
            .iter()
            .filter(|(index, write)| {
                let own = write.term == progress.term || self.flaw == Some(ShellBug::AnswersAfterDemotion);
                own && progress.satisfies(write.concern, **index)
            })
            .map(|(index, _)| *index)
            .collect();
        for index in done {
            let WaitingWrite { request, term, payload, outcome, .. } =
                self.writes.remove(&index).expect("just found");
            let position = Position::new(term, index);
            if progress.satisfies(WriteConcern::Majority, index) {
                invariants.acknowledged(position, &payload, &outcome)?;
            }
            let committed = progress.satisfies(WriteConcern::Majority, index);
            answers.push((request, Answer::Written { position, outcome, committed }));
        }
        Ok(())
    }
}
