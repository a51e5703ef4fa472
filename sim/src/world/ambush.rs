//! Ambushes: faults that wait for a member's worst moment, because chance alone meets it too seldom.

use std::time::Duration;

use holdfast_engine::{MemberId, Persist, Role, Term, Write};

use super::{Event, World};
use crate::damage::Damage;

/// Two candidates of one term, who do not know of each other, and voters that both need.
///
/// The voters are killed when they have voted for the first candidate, before their disks are done, and are back when
/// the second one asks. Whoever lets a vote out before it is durable, or forgets one, makes both of them leaders.
#[derive(Clone, Debug, Default)]
pub(super) enum VoterAmbush {
    /// Nothing is planned.
    #[default]
    None,
    /// The next candidacy will do.
    Armed,
    /// The candidate is cut off from its rivals.
    Sprung {
        /// The first candidate.
        candidate: MemberId,
        /// Its term.
        term: Term,
        /// Those whose votes it needs, and who have not given theirs yet.
        voters: Vec<usize>,
    },
}

impl World {
    /// `at` campaigns in `term`: if this is what was waited for, hide it from those that it can win without.
    pub(super) fn spring_voter_ambush(&mut self, at: usize, term: Term) {
        let members = self.members.len();
        if self.calm || members < 3 || !matches!(self.voter_ambush, VoterAmbush::Armed) {
            return;
        }
        let mut others: Vec<usize> = (0..members).filter(|&other| other != at).collect();
        for last in (1..others.len()).rev() {
            others.swap(last, self.random.below(last as u64 + 1) as usize);
        }
        let voters = others.drain(..members / 2).collect();
        for &rival in &others {
            self.network.cut_link(at, rival);
        }
        let candidate = self.members[at].id();
        self.note(|| {
            format!(
                "ambush: {candidate} campaigns in {term}, {voters:?} may vote, {others:?} do not hear of it"
            )
        });
        self.voter_ambush = VoterAmbush::Sprung { candidate, term, voters };
    }

    /// A member's vote cannot be read any more, and it starts anew.
    pub(super) fn rot_vote(&mut self, at: usize) {
        if self.may_be_damaged(at, Damage::Vote) {
            let id = self.members[at].id();
            self.note(|| format!("ambush: {id} forgets its vote"));
            self.report.damaged += 1;
            self.crash(at, Duration::from_micros(100));
            self.members[at].disk.damage(Damage::Vote);
        }
    }

    /// Kill a member that replaces some of its log, if such a fault lies in wait.
    pub(super) fn spring_cut_ambush(&mut self, at: usize, writes: &[Persist]) -> bool {
        let Some(last) = self.members[at].disk.journal().log().back() else { return false };
        let cuts = writes.iter().any(|persist| match &persist.write {
            Write::Append(entries) => entries.len() > 1 && entries[0].index() <= last.index(),
            _ => false,
        });
        cuts && !self.calm && std::mem::take(&mut self.ambush_cut)
    }

    /// Kill the member at its worst moment, if such a fault lies in wait.
    pub(super) fn ambush(&mut self, at: usize, vote: Option<(Term, MemberId)>, role: Option<Role>) {
        if self.calm {
            return;
        }
        if let (VoterAmbush::Sprung { candidate, term, voters }, Some(vote)) = (&mut self.voter_ambush, vote)
            && vote == (*term, *candidate)
            && voters.contains(&at)
        {
            voters.retain(|&voter| voter != at);
            let candidate = usize::from(candidate.ordinal.0);
            if voters.is_empty() {
                self.voter_ambush = VoterAmbush::None;
            }
            // It must not hear the candidate once that leads.
            if self.random.chance(0.4) {
                // Its word gets out, and then it forgets that it gave it.
                self.network.cut_one_way(candidate, at);
                let life = self.members[at].life;
                self.after(Duration::from_millis(1), Event::RotVote { member: at, life });
            } else {
                self.network.cut_link(at, candidate);
                self.crash(at, Duration::from_micros(100));
            }
        }
        if role.is_some_and(|role| role.is_leader()) && self.ambush_leaders > 0 {
            self.ambush_leaders -= 1;
            if let Some(process) = self.members[at].process.as_mut().filter(|_| self.random.chance(0.5)) {
                process.dies_at_commit = true;
                return;
            }
            let life = self.members[at].life;
            let delay = self.random.between(Duration::ZERO, Duration::from_millis(3));
            self.after(delay, Event::Kill { member: at, life });
        }
    }
}
