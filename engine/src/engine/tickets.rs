//! What waits for the disk: each write gets a ticket, and what must not happen before it is durable waits behind it.

use std::collections::VecDeque;

use super::{Engine, State};
use crate::bug::seeded;
use crate::{
    Effects, Entry, HardState, Index, MemberId, Message, Moment, Persist, Position, Term, Ticket, Write,
};

/// What becomes true, or may be said, when a write is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Nothing waits for it.
    Nothing,
    /// The log is durable up to here.
    Log(Position),
    /// This member may be told that it has our vote.
    Vote { to: MemberId, term: Term },
    /// Our own vote counts.
    OwnVote { term: Term },
    /// This member leads, as the authority has it.
    Primary { term: Term },
    /// The store is formed, as far as this member is concerned.
    Formation,
}

/// Writes that are under way, oldest first.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    last: Ticket,
    waiting: VecDeque<(Ticket, Wait, Moment)>,
}

impl Tickets {
    fn issue(&mut self, wait: Wait, now: Moment) -> Ticket {
        self.last = Ticket(self.last.0 + 1);
        self.waiting.push_back((self.last, wait, now));
        self.last
    }

    /// The log was cut after `end`: what waits for entries beyond it waits for `end` at most. Without this, a ticket
    /// from before the cut could vouch for the same entry written again after it.
    pub(super) fn cut_after(&mut self, end: Position) {
        for (_, wait, _) in &mut self.waiting {
            if let Wait::Log(position) = wait
                && position.index > end.index
            {
                *position = end;
            }
        }
    }

    fn take_done(&mut self, done: Ticket) -> Option<Wait> {
        let &(ticket, wait, _) = self.waiting.front()?;
        if ticket > done {
            return None;
        }
        self.waiting.pop_front();
        Some(wait)
    }

    /// Since when the oldest write that is not done has been asked for.
    pub(super) fn oldest(&self) -> Option<Moment> {
        self.waiting.front().map(|&(_, _, asked)| asked)
    }
}

impl Engine {
    /// Ask for a write; `wait` happens when it is durable. Of two terms or votes right after each other only the later
    /// is written: nothing could tell that the earlier one was there.
    pub(super) fn persist(&mut self, write: Write, wait: Wait, effects: &mut Effects) {
        let ticket = self.tickets.issue(wait, self.now);
        if let (Some(Persist { write: Write::HardState(_), .. }), Write::HardState(_)) =
            (effects.persist.last(), &write)
        {
            effects.persist.pop();
        }
        effects.persist.push(Persist { ticket, write });
    }

    /// Ask for entries to be written after what was asked for before. Several such writes of one step become one.
    pub(super) fn persist_entries(&mut self, entries: Vec<Entry>, effects: &mut Effects) {
        let Some(last) = entries.last().map(Entry::position) else { return };
        let ticket = self.tickets.issue(Wait::Log(last), self.now);
        if let Some(Persist { ticket: joined, write: Write::Append(before) }) = effects.persist.last_mut()
            && before.last().map(|entry| entry.index().next()) == entries.first().map(Entry::index)
        {
            *joined = ticket;
            before.extend(entries);
        } else {
            effects.persist.push(Persist { ticket, write: Write::Append(entries) });
        }
    }

    pub(super) fn set_hard_state(&mut self, hard_state: HardState, wait: Wait, effects: &mut Effects) {
        assert!(hard_state.term >= self.hard_state.term, "terms never fall");
        self.hard_state = hard_state;
        self.persist(Write::HardState(hard_state), wait, effects);
    }

    pub(super) fn became_durable(&mut self, now: Moment, ticket: Ticket, effects: &mut Effects) {
        let before = self.durable;
        let ticket = if seeded!(self, OneFlushCompletesAll) { self.tickets.last } else { ticket };
        while let Some(wait) = self.tickets.take_done(ticket) {
            match wait {
                Wait::Nothing => {}
                Wait::Log(position) => {
                    if self.log.contains(position) {
                        self.durable = self.durable.max(position.index);
                    }
                }
                Wait::Vote { to, term } => {
                    if self.hard_state == (HardState { term, voted_for: Some(to) }) {
                        effects.send.push((to.ordinal, Message::VoteReply { term, granted: true }));
                    }
                }
                Wait::OwnVote { term } => self.own_vote_counts(now, term, effects),
                Wait::Primary { term } => self.lead_in(now, term, effects),
                Wait::Formation => self.formed(now, effects),
            }
        }
        if self.durable > before {
            self.report_durable(effects);
        }
    }

    /// More of the log is durable: a leader counts itself, a follower says so.
    fn report_durable(&mut self, effects: &mut Effects) {
        if matches!(self.state, State::Leading(_)) {
            self.advance_commit(effects);
        } else {
            self.acknowledge(effects);
        }
    }

    /// Cut the log, and everything that counted on what is gone.
    pub(super) fn cut_log_after(&mut self, index: Index, effects: &mut Effects) {
        assert!(index >= self.commit, "a committed entry would be cut: {index} < {}", self.commit);
        self.log.cut_after(index);
        self.tickets.cut_after(self.log.last());
        if !seeded!(self, MembershipSurvivesCut) {
            self.memberships.cut_after(index);
        }
        if !seeded!(self, DurableSurvivesCut) {
            self.durable = self.durable.min(index);
        }
        self.matched = self.matched.min(index);
        if self.executed > index {
            self.executed = index;
            if !seeded!(self, RollbackForgotten) {
                effects.apply.push(crate::Apply::Rollback(index));
            }
        }
    }
}
