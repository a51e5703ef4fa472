//! What a person wants to know after a failover: who led since when, and who was lost. The last of it, in memory.
//!
//! It is fed where the core learns of these things, and refuses to decide anything, or to be complete: a member that was not
//! there saw nothing, and what is older than [`HAPPENINGS_MAX`] entries is forgotten.

use std::collections::VecDeque;
use std::time::Duration;

use holdfast_engine::{MEMBERS_MAX, Moment, Ordinal, Term};

/// Entries that are kept. A failover makes four with three members, so that a day with a dozen of them is there.
pub(super) const HAPPENINGS_MAX: usize = 64;

/// Something that happened, as this member saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Happening {
    /// From 1 for the first since the member started, without gaps.
    pub number: u64,
    /// How long ago.
    pub ago: Duration,
    /// This member's term at that moment.
    pub term: Term,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// This member leads.
    Leads(Ordinal),
    /// No leader is known any more.
    NoLeader,
    /// There is a connection to this member.
    Connected(Ordinal),
    /// The connection to this member ended.
    Lost(Ordinal),
}

/// The last happenings, the oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    last: VecDeque<(Moment, Term, What)>,
    /// How many were forgotten.
    forgotten: u64,
    /// Who leads, in which term, as far as it was noted.
    led: Option<(Ordinal, Term)>,
    /// Members that there is a connection to, as far as it was noted.
    connected: [bool; MEMBERS_MAX],
}

impl History {
    /// Somebody leads, or nobody. What is known already is not noted again.
    pub(super) fn leader(&mut self, now: Moment, term: Term, leader: Option<Ordinal>) {
        let led = leader.map(|leader| (leader, term));
        if std::mem::replace(&mut self.led, led) != led {
            self.note(now, term, leader.map_or(What::NoLeader, What::Leads));
        }
    }

    /// There is a connection to a member, or there is none any more. What is known already is not noted again.
    pub(super) fn link(&mut self, now: Moment, term: Term, peer: Ordinal, connected: bool) {
        let before = std::mem::replace(&mut self.connected[usize::from(peer.0)], connected);
        if before != connected {
            self.note(now, term, if connected { What::Connected(peer) } else { What::Lost(peer) });
        }
    }

    /// All that is kept.
    pub(super) fn happenings(&self, now: Moment) -> Vec<Happening> {
        let each = self.last.iter().zip(self.forgotten + 1..);
        each.map(|(&(at, term, what), number)| Happening { number, ago: now - at, term, what }).collect()
    }

    fn note(&mut self, now: Moment, term: Term, what: What) {
        if self.last.len() == HAPPENINGS_MAX {
            self.last.pop_front();
            self.forgotten += 1;
        }
        self.last.push_back((now, term, what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn connections_are_noted_when_they_change() {
        let mut history = History::default();
        for (at, connected) in [(1, false), (2, true), (3, true), (4, false), (5, false), (6, true)] {
            history.link(Moment(at * MS), Term(1), Ordinal(2), connected);
        }
        let seen: Vec<_> =
            history.happenings(Moment(7 * MS)).iter().map(|one| (one.number, one.ago, one.what)).collect();
        let ms = Duration::from_millis;
        let (connected, lost) = (What::Connected(Ordinal(2)), What::Lost(Ordinal(2)));
        assert_eq!(seen, [(1, ms(5), connected), (2, ms(3), lost), (3, ms(1), connected)]);
    }

    #[test]
    fn who_leads_is_noted_when_it_changes() {
        let mut history = History::default();
        let leader = |ordinal, term| (Some(Ordinal(ordinal)), term);
        for (leader, term) in
            [(None, 1), leader(0, 1), leader(0, 1), (None, 1), (None, 2), leader(0, 2), leader(0, 3)]
        {
            history.leader(Moment(0), Term(term), leader);
        }
        let seen: Vec<_> = history.happenings(Moment(0)).iter().map(|one| (one.term.0, one.what)).collect();
        let leads = What::Leads(Ordinal(0));
        assert_eq!(seen, [(1, leads), (1, What::NoLeader), (2, leads), (3, leads)]);
    }

    #[test]
    fn the_oldest_are_forgotten_and_numbers_go_on() {
        let mut history = History::default();
        for term in 1..=HAPPENINGS_MAX as u64 + 2 {
            history.leader(Moment(term), Term(term), Some(Ordinal(0)));
        }
        history.leader(Moment(99), Term(99), None);
        let seen = history.happenings(Moment(99));
        assert_eq!(seen.len(), HAPPENINGS_MAX);
        assert_eq!((seen[0].number, seen[0].term), (4, Term(4)));
        let last = seen[HAPPENINGS_MAX - 1];
        assert_eq!((last.number, last.what), (HAPPENINGS_MAX as u64 + 3, What::NoLeader));
    }
}
