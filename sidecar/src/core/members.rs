//! How many members there are to be and where, by the settings; who votes is the log's business.
//!
//! It refuses to add or remove anybody: the engine of whoever leads does that, one voter at a time.

use std::time::Duration;

use holdfast_engine::{MEMBERS_MAX, Membership, Moment, Ordinal};

use super::Core;

/// How long a store that is not formed yet waits for members that are to go. One of them may be left from a former life of
/// the store and know better than to form it anew; they answer within a second of their start, if they start at all.
const LEAVERS_WAIT: Duration = Duration::from_secs(30);

impl Core {
    /// The settings want so many members, or some are elsewhere. `peers` has at least `members` addresses; further ones
    /// are of members that are to be removed.
    pub(super) fn resize(&mut self, members: u8, peers: Vec<String>) {
        if members != self.members {
            tracing::info!(
                from = self.members,
                to = members,
                "the store is to have another number of members"
            );
        }
        self.members = members;
        let addressed = peers.len();
        self.metrics.show_peers(addressed);
        self.peers.readdress(peers);
        let formed = self.formation.is_some();
        self.engine.resize(wanted(formed, members, addressed));
        self.leavers_until = leavers_until(formed, self.now);
    }

    /// The store is formed now, or this member has learned that it is, or it has waited long enough for those who are to
    /// go.
    pub(super) fn wait_for_no_leavers(&mut self) {
        self.leavers_until = None;
        self.engine.resize(self.members);
    }

    /// The most members that a write concern may name. One that wants more than vote just now waits for them.
    pub(super) fn concern_max(&self) -> u8 {
        self.members.max(self.voters.len() as u8)
    }

    /// Whether there is another member at `ordinal`, or is to be one.
    pub(super) fn is_peer(&self, ordinal: Ordinal) -> bool {
        ordinal != self.me.ordinal && (ordinal.0 < self.members || self.voters.voter(ordinal).is_some())
    }

    /// Whoever has a vote, by what is committed or by the last change in the log, `in_force`. What is not committed can be
    /// undone, and what this member knows to be committed can be old: who deletes a volume must go by both.
    pub(super) fn all_voters(&self, in_force: &Membership) -> Vec<u8> {
        let votes =
            |&ordinal: &Ordinal| self.voters.voter(ordinal).is_some() || in_force.voter(ordinal).is_some();
        (0..MEMBERS_MAX as u8).map(Ordinal).filter(votes).map(|ordinal| ordinal.0).collect()
    }

    /// Everybody but this member.
    pub(super) fn other_ordinals(&self) -> impl Iterator<Item = Ordinal> {
        (0..MEMBERS_MAX as u8).map(Ordinal).filter(|&ordinal| self.is_peer(ordinal))
    }
}

/// How many members the engine sees to. A store that is not formed yet waits for everybody who has an address, for a
/// while.
pub(crate) fn wanted(formed: bool, members: u8, addressed: usize) -> u8 {
    if formed { members } else { addressed as u8 }
}

/// Until when a member that has just started waits for those who are to go.
pub(super) fn leavers_until(formed: bool, now: Moment) -> Option<Moment> {
    (!formed).then(|| now + LEAVERS_WAIT)
}
