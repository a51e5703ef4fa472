//! The end of a run: the faults are over, the store must work again, keep its leader, and notice an old disk.

use std::time::Duration;

use holdfast_engine::{Index, Input, MemberId, Position, Term};

use super::{Event, World};
use crate::clients::PATIENCE;
use crate::disk::Disk;
use crate::invariants::Broken;
use crate::member::{Member, Process};
use crate::network::Network;

/// A write that its leader takes longer for, with nothing wrong but one member cut off, stands still.
const WRITE_MAX: Duration = Duration::from_millis(200);

/// A disk that was copied, to be put in its member's place later.
#[derive(Debug)]
pub(super) struct OldDisk {
    member: usize,
    id: MemberId,
    copy: Disk,
    leader: usize,
    term: Term,
    /// It was put back, and lacks what its member has acknowledged since.
    noticeable: bool,
}

/// What is tried when everything works.
#[derive(Clone, Copy, Debug)]
pub(super) enum Probe {
    /// Cut a follower off.
    Isolate,
    /// Note how much is committed.
    Remember,
    /// Let it back; something must have been committed meanwhile.
    Rejoin { leader: usize, term: Term },
    /// The leader must still lead.
    Steady { leader: usize, term: Term },
    /// Copy a follower's disk.
    CopyDisk,
    /// Put the copy in its place.
    PutOldDisk,
    /// Cut a member off until it is not in sync any more.
    FallBehind,
    /// Then the authority forgets what it held, and nobody else is there: nobody may lead any more.
    Tamper { behind: usize },
    /// Or a person has it start from what it has, while the others are away.
    Force { behind: usize },
}

impl World {
    /// The faults end: everything is mended, everybody runs.
    pub(super) fn calm_down(&mut self) {
        self.calm = true;
        self.note(|| "the faults end".to_owned());
        let cuts = self.network.clone();
        self.network = Network::calm();
        self.network.keep_cuts_of(&cuts);
        self.slow.fill(false);
        self.authority.mend();
        for member in 0..self.members.len() {
            let life = self.members[member].life;
            let other = usize::from(self.members[member].disk.ordinal.0);
            self.swap_back(member, other);
            self.after(Duration::ZERO, Event::Resume { member });
            self.members[member].disk.full = false;
            self.after(Duration::ZERO, Event::SpaceBack { member, life });
            self.after(Duration::ZERO, Event::Scrub { member, life });
            self.after(Duration::from_millis(1), Event::Start { member });
        }
        self.heal();
        let timeout = self.scenario.election_timeout;
        if self.has_authority() && !self.scenario.memory && self.random.chance(0.15) {
            return self.after(timeout * 8, Event::Probe(Probe::FallBehind));
        }
        match self.random.below(3) {
            0 => self.after(timeout * 12 + Duration::from_secs(1), Event::Probe(Probe::Isolate)),
            1 if !self.scenario.memory => {
                self.after(timeout * 8 + Duration::from_secs(1), Event::Probe(Probe::CopyDisk))
            }
            _ => {}
        }
    }

    /// The leader and its term, if everybody runs and exactly those vote who should.
    fn settled(&self) -> Option<(usize, Term)> {
        let leader = self.leader()?;
        let process = self.members[leader].process.as_ref()?;
        let membership = process.membership();
        let voters = self.members.iter().filter(|member| member.ordinal.0 < self.wanted);
        let all = voters.clone().all(|member| member.process.is_some() && membership.is_voter(member.id()));
        (all && membership.len() == usize::from(self.wanted)).then(|| (leader, process.engine.term()))
    }

    /// A voter that does not lead.
    fn any_follower(&mut self, leader: usize) -> Option<usize> {
        let wanted = usize::from(self.wanted);
        let step = 1 + self.random.below(wanted as u64 - 1) as usize;
        (wanted >= 3 && leader < wanted).then(|| (leader + step) % wanted)
    }

    pub(super) fn probe(&mut self, probe: Probe) -> Result<(), Broken> {
        self.note(|| format!("probe: {probe:?}"));
        let timeout = self.scenario.election_timeout;
        match probe {
            Probe::Isolate => {
                let Some((leader, term)) = self.settled().filter(|_| self.wanted >= 3) else { return Ok(()) };
                let Some(follower) = self.any_follower(leader) else { return Ok(()) };
                self.network.split(|member| member == follower);
                if self.random.chance(0.5) {
                    // It cannot take over; after an election timeout the leader must go on.
                    let to = Some(self.members[follower].ordinal);
                    self.step(leader, Input::HandOver { to })?;
                }
                self.after(timeout * 3 / 2, Event::Probe(Probe::Remember));
                // By then every client has given up what waits for the missing member.
                let rejoins = timeout * 3 / 2 + PATIENCE * 3 / 2;
                self.after(rejoins, Event::Probe(Probe::Rejoin { leader, term }));
            }
            Probe::Remember => {
                self.committed_then = self.invariants.committed();
                self.write_asked = None;
            }
            Probe::Rejoin { leader, term } => {
                // Nobody may have asked for a write; what was asked just now may be under way.
                let asked = self.write_asked.is_some_and(|asked| self.now - asked >= WRITE_MAX);
                if asked && self.invariants.committed() <= self.committed_then {
                    return Err("liveness: nothing is committed while one member is cut off".to_owned());
                }
                self.heal();
                // Where an authority decides, who was cut off may have taken over before it was taken out.
                if !self.has_authority() {
                    self.after(timeout * 3, Event::Probe(Probe::Steady { leader, term }));
                }
            }
            Probe::Steady { leader, term } => {
                if self.leader() != Some(leader) || self.settled().is_none_or(|(_, now)| now != term) {
                    return Err(format!(
                        "liveness: {leader} led in term {term} until a member that was cut off came back"
                    ));
                }
            }
            Probe::CopyDisk => {
                let Some((leader, term)) = self.settled().filter(|_| self.wanted >= 3) else { return Ok(()) };
                let Some(member) = self.any_follower(leader) else { return Ok(()) };
                let (id, copy) = (self.members[member].id(), self.members[member].disk.clone());
                self.old_disk = Some(OldDisk { member, id, copy, leader, term, noticeable: false });
                self.after(timeout * 4, Event::Probe(Probe::PutOldDisk));
            }
            Probe::PutOldDisk => self.put_old_disk(),
            Probe::FallBehind => {
                let Some((leader, _)) = self.settled().filter(|_| self.wanted >= 3) else { return Ok(()) };
                let Some(behind) = self.any_follower(leader) else { return Ok(()) };
                self.network.split(|member| member == behind);
                self.authority.cut(behind, true);
                let force = self.random.chance(0.5);
                let next = if force { Probe::Force { behind } } else { Probe::Tamper { behind } };
                self.after(timeout * 4, Event::Probe(next));
            }
            Probe::Force { behind } => self.force(behind),
            Probe::Tamper { behind } => {
                self.tampered = true;
                self.authority.tamper(self.random.chance(0.5));
                self.authority.cut(behind, false);
                self.heal();
                let others = (0..self.members.len()).filter(|member| *member != behind);
                others.for_each(|member| self.crash(member, timeout * 3));
            }
        }
        Ok(())
    }

    /// All but one are killed, some after they have made a checkpoint, and a person has the store start from that one: what it lacks
    /// is gone, and whoever has more must give it up.
    fn force(&mut self, behind: usize) {
        if self.members[behind].process.is_none() {
            return;
        }
        self.heal();
        self.authority.cut(behind, false);
        let others: Vec<usize> = (0..self.members.len()).filter(|member| *member != behind).collect();
        for &other in &others {
            let file = self.members[other].process.as_mut().and_then(Process::take_checkpoint);
            if let Some(file) = file.filter(|_| self.random.chance(0.6)) {
                self.members[other].disk.put_checkpoint(file);
            }
            self.crash(other, self.scenario.election_timeout * 3);
        }
        let ids: Vec<MemberId> = others.iter().map(|other| self.members[*other].id()).collect();
        let terms = self.members.iter().map(|member| member.disk.hard_state().term);
        let term = terms.max().unwrap_or_default();
        let me = self.members[behind].id();
        self.authority.force(me, term);
        self.note(|| format!("a person has the store start from {me}"));
        let engine = &self.members[behind].process.as_ref().expect("looked at above").engine;
        let base = engine.status(self.now).commit;
        let has = |position: Position| {
            position.index <= base || engine.position_at(position.index) == Some(position)
        };
        self.invariants.forced(ids, has);
        // What clients were told before is not to be found again.
        self.history.clear();
        self.forced = Some((self.order, self.invariants.committed()));
    }

    /// Give a follower back the disk it once had, if its leader has since been told of more.
    fn put_old_disk(&mut self) {
        let now = self.settled();
        let Some(mut old) = self.old_disk.take() else { return };
        let disk = &self.members[old.member].disk;
        let same = now == Some((old.leader, old.term)) && self.members[old.member].id() == old.id;
        let same_vote = disk.hard_state() == old.copy.hard_state();
        let process = self.members[old.leader].process.as_ref();
        let told = process.and_then(|process| {
            let status = process.engine.status(self.now);
            status.peers.iter().find(|peer| peer.member == Some(old.id)).map(|peer| peer.durable)
        });
        old.copy.crash(&mut self.random);
        if !same || !same_vote || told.unwrap_or(Index(0)) <= World::end_of(&old.copy) {
            return;
        }
        self.note(|| format!("{} is given a disk it once had", old.id));
        self.invariants.exchanged(old.id);
        self.crash(old.member, Duration::from_millis(5));
        self.members[old.member].disk = old.copy.clone();
        old.noticeable = true;
        self.old_disk = Some(old);
    }

    /// Without faults the store must work again: one leader, everybody equal, exactly those vote who should.
    pub(super) fn check_liveness(&mut self, committed_before: Index) -> Result<(), Broken> {
        if self.tampered {
            return Ok(()); // a person has to decide
        }
        let committed_before = self.forced.map_or(committed_before, |(_, kept)| kept);
        let Some(leader) = self.leader() else {
            self.members.iter().for_each(|member| self.note(|| describe(member)));
            return Err("liveness: nobody leads".to_owned());
        };
        // Not "acknowledged": a client may wait for all members when one has lost its vote with its disk.
        if self.invariants.committed() <= committed_before {
            return Err("liveness: nothing was committed after the faults ended".to_owned());
        }
        let commit_of = |member: &Member| member.process.as_ref().map(|process| process.store.committed());
        let commit = commit_of(&self.members[leader]).unwrap_or_default();
        let process = self.members[leader].process.as_ref().expect("it leads");
        let membership = process.membership();
        for member in &self.members {
            let id = member.id();
            let theirs = commit_of(member).ok_or_else(|| format!("liveness: {id} does not run"))?;
            if membership.is_voter(id) != (id.ordinal.0 < self.wanted) {
                return Err(format!("liveness: {id} votes or does not, and {} members are to", self.wanted));
            }
            // Who is not to be a member hears nothing. Clients go on until the end, so what is under way may be missing; a member that hangs lacks far more.
            if id.ordinal.0 < self.wanted && theirs.0 + 200 < commit.0 {
                return Err(format!("liveness: {id} is at {theirs}, the leader at {commit}"));
            }
        }
        if membership.len() != usize::from(self.wanted) {
            return Err(format!("liveness: {} vote, {} are to", membership.len(), self.wanted));
        }
        match &self.old_disk {
            Some(old) if old.noticeable && self.members[old.member].id() == old.id => {
                Err(format!("old disk: {} goes on with less than it acknowledged", old.id))
            }
            _ => Ok(()),
        }
    }
}

fn describe(member: &Member) -> String {
    let Some(process) = &member.process else { return format!("{} does not run", member.id()) };
    let voters: Vec<String> = process.membership().voters().map(|voter| voter.to_string()).collect();
    let (role, end) = (process.engine.role(), World::end_of(&member.disk));
    format!("{} is {role:?}, has {end}, voters {}", member.id(), voters.join(" "))
}
