//! Ambushes: faults that wait for a member's worst moment, because chance alone meets it too seldom.

use std::time::Duration;

use holdfast_engine::{MemberId, Role, Term};

use super::{Event, World};

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
            // What it sent is on its way. It must not hear the candidate once that leads.
            self.network.cut_link(at, candidate);
            self.crash(at, Duration::from_micros(100));
        }
        if role.is_some_and(|role| role.is_leader()) && self.ambush_leaders > 0 {
            self.ambush_leaders -= 1;
            let life = self.members[at].life;
            let delay = self.random.between(Duration::ZERO, Duration::from_millis(3));
            self.after(delay, Event::Kill { member: at, life });
        }
    }
}
