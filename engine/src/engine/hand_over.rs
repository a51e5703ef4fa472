//! Handing leadership over (Raft thesis, 3.10): stop taking proposals, let one follower catch up, have it campaign.

use super::replication::Send;
use super::{Engine, State};
use crate::bug::seeded;
use crate::{Effects, MemberId, Message, Moment, Ordinal};

/// A hand-over that is under way.
#[derive(Debug)]
pub(super) struct HandOver {
    to: Ordinal,
    told: bool,
    /// When to give up and go on leading.
    pub(super) deadline: Moment,
}

impl super::leading::Leading {
    pub(super) fn is_handing_over(&self) -> bool {
        self.hand_over.is_some()
    }
}

impl Engine {
    pub(super) fn hand_over(&mut self, now: Moment, to: Option<Ordinal>, effects: &mut Effects) {
        let Some(to) = self.successor(now, to) else { return };
        let never = seeded!(self, HandOverNeverEnds);
        let deadline = if never { Moment(u64::MAX) } else { now + self.config.election_timeout };
        let State::Leading(leading) = &mut self.state else { return };
        leading.hand_over = Some(HandOver { to, told: false, deadline });
        self.send_entries(to, Send::Question, effects);
        self.hand_over_when_caught_up(to, effects);
    }

    /// A leader that cannot write holds the store up wherever its own disk is needed, and may never come back.
    pub(super) fn leave_if_disk_stalls(&mut self, now: Moment, effects: &mut Effects) {
        let State::Leading(leading) = &self.state else { return };
        let stalls = self.tickets.oldest().is_some_and(|asked| now - asked >= self.config.disk_stall_max);
        if stalls && !leading.is_handing_over() {
            self.hand_over(now, None, effects);
        }
    }

    /// The voter that was asked for, or of those that are well the one that has most of the log.
    fn successor(&self, now: Moment, to: Option<Ordinal>) -> Option<Ordinal> {
        let State::Leading(leading) = &self.state else { return None };
        let may_lead = leading.in_sync.as_ref().map_or(self.membership(), |in_sync| &in_sync.known().in_sync);
        let known = |voter: &MemberId| {
            let follower = &leading.followers[usize::from(voter.ordinal.0)];
            *voter != self.config.me && follower.incarnation == Some(voter.incarnation)
        };
        let fits = |voter: &MemberId| match (to, &leading.in_sync) {
            (Some(to), _) => voter.ordinal == to,
            (None, Some(_)) => self.is_in_touch(*voter, now),
            (None, None) => self.lives(*voter, now),
        };
        let written = |voter: &MemberId| leading.followers[usize::from(voter.ordinal.0)].written;
        let successor = may_lead.voters().filter(known).filter(fits).max_by_key(written);
        successor.map(|voter| voter.ordinal)
    }

    pub(super) fn hand_over_when_caught_up(&mut self, ordinal: Ordinal, effects: &mut Effects) {
        let last = self.log.last().index;
        let State::Leading(leading) = &mut self.state else { return };
        let caught_up = leading.followers[usize::from(ordinal.0)].written == last;
        if let Some(hand_over) = &mut leading.hand_over
            && hand_over.to == ordinal
            && !hand_over.told
            && caught_up
        {
            hand_over.told = true;
            effects.send.push((ordinal, Message::CampaignNow { term: self.hard_state.term }));
        }
    }
}
