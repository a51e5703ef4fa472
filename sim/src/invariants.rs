//! What must hold after every step of every member, whatever the faults: the safety properties of Raft (figure 3 of the
//! paper) and what Holdfast adds, checked from outside with a view of all members at once.

use std::collections::BTreeMap;

use holdfast_engine::{
    Entry, EntryKind, Formation, Index, MemberId, Membership, Outcast, Persist, Position, Progress, Role,
    Term, Write,
};
use holdfast_store::{Bug as LogBug, Outcome, Store};

use crate::disk::Disk;
use crate::messages::Ledger;

/// A broken invariant, in words.
pub(crate) type Broken = String;

/// What all members together have shown so far.
#[derive(Debug)]
pub(crate) struct Invariants {
    /// Voters change one at a time, because majorities must overlap.
    one_change: bool,
    leaders: BTreeMap<Term, MemberId>,
    formation: Option<Formation>,
    /// By position: the position before it, and the entry.
    written: BTreeMap<Position, (Position, Entry)>,
    /// What is committed, from index 1 on, as the first member said that committed it, and the term it was in then.
    committed: Vec<(Entry, Term)>,
    /// The reference: executes what is committed, once.
    reference: Store,
    /// By index, from 1 on: the reference's outcome and hash.
    outcomes: Vec<(Option<Outcome>, u64)>,
    /// Members whose disks were exchanged for older ones: what they once had durable cannot be looked up any more.
    exchanged: Vec<MemberId>,
    /// Members that may have committed what a forced start gave up.
    overruled: Vec<MemberId>,
    /// The last committed membership.
    membership: Membership,
    /// The committed memberships, and the index from which each is in force.
    memberships: Vec<(Index, Membership)>,
    /// Voters that a committed membership removed.
    removed: Vec<MemberId>,
    messages: Ledger,
}

impl Invariants {
    pub(crate) fn new(one_change: bool, bug: Option<LogBug>) -> Invariants {
        let mut reference = Store::new();
        reference.seed_bug(bug, 0);
        Invariants {
            one_change,
            leaders: BTreeMap::new(),
            formation: None,
            written: BTreeMap::new(),
            committed: Vec::new(),
            reference,
            outcomes: Vec::new(),
            exchanged: Vec::new(),
            overruled: Vec::new(),
            membership: Membership::default(),
            memberships: Vec::new(),
            removed: Vec::new(),
            messages: Ledger::default(),
        }
    }

    pub(crate) fn exchanged(&mut self, member: MemberId) {
        self.exchanged.push(member);
    }

    /// The last committed membership.
    pub(crate) fn membership(&self) -> &Membership {
        &self.membership
    }

    /// A person has the store start from a member that `has` these positions: what is committed and not there counts no more, and of
    /// the `others` some may have more.
    pub(crate) fn forced(&mut self, others: Vec<MemberId>, has: impl Fn(Position) -> bool) {
        let kept = self.committed.iter().take_while(|(entry, _)| has(entry.position())).count();
        self.committed.truncate(kept);
        self.outcomes.truncate(kept);
        self.reference = Store::new();
        for (entry, _) in &self.committed {
            self.reference.execute(entry);
            self.reference.commit(entry.index());
        }
        self.memberships.retain(|(from, _)| from.0 <= kept as u64);
        if let Some((_, last)) = self.memberships.last() {
            self.membership = *last;
        }
        self.overruled = others;
    }

    /// Only who is not in the last committed membership is told to go, or whose disk was exchanged, or who has what a forced
    /// start gave up. Where an authority decides nobody is told that it was removed.
    pub(crate) fn outcast(&self, member: MemberId, outcast: Outcast) -> Result<(), Broken> {
        match outcast {
            Outcast::Removed if self.one_change && !self.membership.is_voter(member) => Ok(()),
            Outcast::Removed => Err(format!("membership: {member} is told that it was removed, and was not")),
            Outcast::OldDisk { .. } if self.exchanged.contains(&member) => Ok(()),
            Outcast::Overruled { .. } if self.overruled.contains(&member) => Ok(()),
            Outcast::Overruled { ended, commit } => Err(format!(
                "forced start: {member} is to give up what it committed up to {commit} by epoch {ended}, and nobody ordered that"
            )),
            Outcast::OldDisk { acknowledged, last } => Err(format!(
                "durability: {member} acknowledged {acknowledged} and has {last}, though its disk is its own"
            )),
        }
    }

    /// One voter at a time, and nobody comes back who was removed.
    fn invariant_one_change(&mut self, entry: &Entry) -> Result<(), Broken> {
        let Some(next) = Membership::decode(&entry.payload()) else {
            return Err(format!("membership: {} cannot be read", entry.position()));
        };
        let before = self.membership;
        if !self.one_change {
            self.membership = next;
            self.memberships.push((entry.index(), next));
            return Ok(());
        }
        let added: Vec<_> = next.voters().filter(|voter| !before.is_voter(*voter)).collect();
        let gone = before.voters().filter(|voter| !next.is_voter(*voter)).count();
        if added.len() + gone != 1 {
            return Err(format!(
                "membership: {} changes {} voters at once",
                entry.position(),
                added.len() + gone
            ));
        }
        if let Some(back) = added.iter().find(|voter| self.removed.contains(voter)) {
            return Err(format!("membership: {back} votes again after it was removed"));
        }
        self.removed.extend(before.voters().filter(|voter| !next.is_voter(*voter)));
        self.membership = next;
        self.memberships.push((entry.index(), next));
        Ok(())
    }

    /// What is committed up to now.
    pub(crate) fn committed(&self) -> Index {
        Index(self.committed.len() as u64)
    }

    /// The committed entry at `index`.
    pub(crate) fn entry(&self, index: Index) -> Option<&Entry> {
        self.committed.get(index.0.checked_sub(1)? as usize).map(|(entry, _)| entry)
    }

    /// The outcome of the committed entry at `index`.
    pub(crate) fn outcome(&self, index: Index) -> Option<&Outcome> {
        self.outcomes.get(index.0.checked_sub(1)? as usize)?.0.as_ref()
    }

    /// The reference state: everything committed, executed once.
    pub(crate) fn reference(&self) -> &Store {
        &self.reference
    }

    /// Every message that is committed.
    pub(crate) fn messages(&self) -> &Ledger {
        &self.messages
    }

    /// Log matching: a position names one entry, and one position before it.
    pub(crate) fn persisting(
        &mut self,
        member: MemberId,
        writes: &[Persist],
        position_at: impl Fn(Index) -> Option<Position>,
    ) -> Result<(), Broken> {
        for persist in writes {
            let Write::Append(entries) = &persist.write else { continue };
            for entry in entries {
                // Of several appends of one step, an earlier one may be cut again by now.
                let Some(before) = position_at(entry.index().previous()) else { continue };
                if position_at(entry.index()) == Some(entry.position()) {
                    self.invariant_log_matching(member, before, entry)?;
                }
            }
        }
        Ok(())
    }

    fn invariant_log_matching(
        &mut self,
        member: MemberId,
        before: Position,
        entry: &Entry,
    ) -> Result<(), Broken> {
        let position = entry.position();
        let (known_before, known) = self.written.entry(position).or_insert_with(|| (before, entry.clone()));
        if known != entry || *known_before != before {
            return Err(format!(
                "log matching: {member} has {position} after {before}, elsewhere it is after {known_before}, or another"
            ));
        }
        Ok(())
    }

    /// One store: a formation that is durable anywhere is the only one.
    pub(crate) fn formed(&mut self, member: MemberId, formation: &Formation) -> Result<(), Broken> {
        let Some(known) = &self.formation else {
            self.formation = Some(formation.clone());
            self.membership = Membership::of(formation);
            self.memberships.push((Index(0), self.membership));
            return Ok(());
        };
        if known != formation {
            return Err(format!(
                "one store: member {member} forms or adopts a second store {}",
                formation.store
            ));
        }
        Ok(())
    }

    /// One leader per term, and its log holds everything that was committed in earlier terms (leader completeness).
    /// `has` looks up the leader's log; `base` is where it begins.
    pub(crate) fn role(
        &mut self,
        member: MemberId,
        role: Role,
        base: Index,
        has: impl Fn(Position) -> bool,
    ) -> Result<(), Broken> {
        if let Role::Follower { term, leader: Some(followed) } = role
            && let Some(elected) = self.leaders.get(&term)
            && *elected != followed
        {
            return Err(format!(
                "one leader per term: {member} follows {followed} in term {term}, {elected} leads"
            ));
        }
        let Role::Leader { term } = role else { return Ok(()) };
        let leader = *self.leaders.entry(term).or_insert(member);
        if leader != member {
            return Err(format!("one leader per term: {leader} and {member} both lead in term {term}"));
        }
        // A leader may learn late that it was elected, when later terms have already committed more.
        let missing = self
            .committed
            .iter()
            .rev()
            .take_while(|(entry, _)| entry.index() > base)
            .find(|(entry, committed_in)| *committed_in < term && !has(entry.position()));
        match missing {
            Some((entry, _)) => Err(format!(
                "leader completeness: {member} leads in term {term} without the committed entry {}",
                entry.position()
            )),
            None => Ok(()),
        }
    }

    /// State machine safety: every member commits the same entry at the same index.
    pub(crate) fn executing_committed(
        &mut self,
        member: MemberId,
        entry: &Entry,
        committed_in: Term,
    ) -> Result<(), Broken> {
        let index = entry.index();
        if let Some(known) = self.entry(index) {
            if known != entry {
                return Err(format!(
                    "state machine safety: {member} commits {} where {} is committed",
                    entry.position(),
                    known.position()
                ));
            }
            return Ok(());
        }
        if index != self.committed().next() {
            return Err(format!("{member} commits {index} right after {}", self.committed()));
        }
        if entry.kind() == EntryKind::Membership {
            self.invariant_one_change(entry)?;
        }
        let outcome = self.reference.execute(entry);
        self.reference.commit(index);
        self.messages.committed(entry, outcome.as_ref())?;
        self.committed.push((entry.clone(), committed_in));
        self.outcomes.push((outcome, self.reference.hash()));
        Ok(())
    }

    /// Equal voters at equal index.
    pub(crate) fn voters(
        &self,
        member: MemberId,
        index: Index,
        membership: &Membership,
    ) -> Result<(), Broken> {
        let known = self.memberships.iter().rev().find(|(from, _)| *from <= index);
        match known {
            Some((from, known)) if known != membership => Err(format!(
                "equal voters: {member} differs from the others at index {index}, changed at {from}"
            )),
            _ => Ok(()),
        }
    }

    /// Equal state at equal index.
    pub(crate) fn state(&self, member: MemberId, store: &Store) -> Result<(), Broken> {
        let index = store.committed();
        let Some((_, hash)) = index.0.checked_sub(1).and_then(|at| self.outcomes.get(at as usize)) else {
            return Ok(());
        };
        if store.hash() != *hash {
            return Err(format!("equal state: {member} differs from the others at index {index}"));
        }
        Ok(())
    }

    /// What a leader says is durable on so many voters is durable on so many disks.
    pub(crate) fn progress(
        &self,
        member: MemberId,
        progress: &Progress,
        position_at: impl Fn(Index) -> Option<Position>,
        voters: &[(MemberId, Option<&Disk>)],
    ) -> Result<(), Broken> {
        for k in 1..=usize::from(progress.voters) {
            let Some(position) = position_at(progress.durable_on[k - 1]) else { continue };
            let holders = voters
                .iter()
                .filter(|(voter, disk)| {
                    // What is gone for good cannot be looked up.
                    let disk = disk.filter(|_| !self.exchanged.contains(voter));
                    disk.is_none_or(|disk| disk.is_durable(position))
                })
                .count();
            if position.index > Index(0) && holders < k {
                return Err(format!(
                    "durability: leader {member} counts {position} durable on {k} voters, it is on {holders}"
                ));
            }
        }
        Ok(())
    }

    /// An acknowledged write at a majority or more is committed, with the outcome that was acknowledged.
    pub(crate) fn acknowledged(
        &self,
        position: Position,
        payload: &[u8],
        outcome: &Outcome,
    ) -> Result<(), Broken> {
        match self.entry(position.index) {
            Some(entry) if entry.position() == position && entry.kind() == EntryKind::Command => {
                if entry.payload() != payload {
                    return Err(format!("acknowledged write: another command is committed at {position}"));
                }
                if self.outcome(position.index) != Some(outcome) {
                    return Err(format!("acknowledged write: {position} was answered with another outcome"));
                }
                Ok(())
            }
            _ => Err(format!("acknowledged write: nothing of it is committed at {position}")),
        }
    }
}
