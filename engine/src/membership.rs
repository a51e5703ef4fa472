//! Who votes. A membership is part of the log: each change of it is an entry, and the last one in the log is in force,
//! committed or not (Raft thesis, 4.1). One change adds or removes one voter, so that every majority of the membership
//! before it shares a member with every majority of the one after it.
//!
//! Learners stand in no membership: whoever has the store's entries sent to it and is no voter is one. Nothing counts
//! on them, so nothing needs to agree on who they are.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{Entry, EntryKind, Formation, Incarnation, Index, MEMBERS_MAX, MemberId, Ordinal};

/// The first byte of an encoded membership.
const VERSION: u8 = 1;

/// The voters of a store, and who was removed last from each ordinal.
///
/// At most one voter has an ordinal: a lost member is removed before its successor is promoted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Membership {
    voters: [Option<Incarnation>; MEMBERS_MAX],
    removed: [Option<Incarnation>; MEMBERS_MAX],
}

impl Membership {
    /// The membership that a store begins with.
    pub fn of(formation: &Formation) -> Membership {
        let mut membership = Membership::default();
        for voter in &formation.voters {
            membership.voters[usize::from(voter.ordinal.0)] = Some(voter.incarnation);
        }
        membership
    }

    /// These voters, and nobody that was ever removed.
    ///
    /// # Panics
    ///
    /// If two of them have the same ordinal.
    pub fn only(voters: impl IntoIterator<Item = MemberId>) -> Membership {
        voters.into_iter().fold(Membership::default(), Membership::with)
    }

    /// The voters, by ordinal.
    pub fn voters(&self) -> impl Iterator<Item = MemberId> + use<> {
        let voters = self.voters;
        (0..).map(Ordinal).zip(voters).filter_map(|(ordinal, incarnation)| {
            incarnation.map(|incarnation| MemberId { ordinal, incarnation })
        })
    }

    /// The voter at `ordinal`.
    pub fn voter(&self, ordinal: Ordinal) -> Option<MemberId> {
        let incarnation = *self.voters.get(usize::from(ordinal.0))?;
        incarnation.map(|incarnation| MemberId { ordinal, incarnation })
    }

    /// Whether `member` votes: this very incarnation, not just its ordinal.
    pub fn is_voter(&self, member: MemberId) -> bool {
        self.voter(member.ordinal) == Some(member)
    }

    /// Whether `member` is the last voter that was removed from its ordinal.
    pub fn was_removed(&self, member: MemberId) -> bool {
        self.removed.get(usize::from(member.ordinal.0)) == Some(&Some(member.incarnation))
    }

    /// Whether a voter was ever removed from `ordinal`.
    pub(crate) fn anybody_removed(&self, ordinal: Ordinal) -> bool {
        self.removed.get(usize::from(ordinal.0)).is_some_and(Option::is_some)
    }

    /// How many vote.
    pub fn len(&self) -> usize {
        self.voters.iter().flatten().count()
    }

    /// Whether nobody votes: the store is not formed, as far as is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many voters make a majority.
    pub fn majority(&self) -> usize {
        self.len() / 2 + 1
    }

    /// With `member` as a voter.
    ///
    /// # Panics
    ///
    /// If its ordinal has a voter: that one is to be removed first, in a change of its own.
    pub fn with(mut self, member: MemberId) -> Membership {
        let slot = &mut self.voters[usize::from(member.ordinal.0)];
        assert!(slot.is_none(), "{member} is added where there is a voter");
        *slot = Some(member.incarnation);
        self
    }

    /// Without the voter at `ordinal`.
    pub fn without(mut self, ordinal: Ordinal) -> Membership {
        let at = usize::from(ordinal.0);
        self.removed[at] = self.voters[at].take().or(self.removed[at]);
        self
    }

    /// The payload of an entry that brings this membership into force: `1 u8 | voters u8 | removed u8 |` incarnations
    /// `u64` little-endian. The two sets have a bit for each ordinal; the incarnations follow in their order.
    pub fn encode(&self) -> Bytes {
        let set = |of: &[Option<Incarnation>]| {
            of.iter().enumerate().map(|(at, one)| u8::from(one.is_some()) << at).sum::<u8>()
        };
        let mut bytes = BytesMut::new();
        bytes.put_u8(VERSION);
        bytes.put_u8(set(&self.voters));
        bytes.put_u8(set(&self.removed));
        for incarnation in self.voters.iter().chain(&self.removed).flatten() {
            bytes.put_u64_le(incarnation.0);
        }
        bytes.freeze()
    }

    /// What [`Membership::encode`] made; `None` for anything else, and for a membership without voters.
    pub fn decode(payload: &[u8]) -> Option<Membership> {
        let (&[VERSION, voters, removed], mut incarnations) = payload.split_first_chunk()? else {
            return None;
        };
        let mut membership = Membership::default();
        for (set, slots) in [(voters, &mut membership.voters), (removed, &mut membership.removed)] {
            if set >> MEMBERS_MAX != 0 {
                return None;
            }
            for (at, slot) in slots.iter_mut().enumerate() {
                if set >> at & 1 == 1 {
                    let (incarnation, rest) = incarnations.split_first_chunk()?;
                    *slot = Some(Incarnation(u64::from_le_bytes(*incarnation)));
                    incarnations = rest;
                }
            }
        }
        (incarnations.is_empty() && !membership.is_empty()).then_some(membership)
    }
}

/// The memberships in a log: the one before its first entry, and the changes in it.
#[derive(Debug, Default)]
pub(crate) struct Memberships {
    first: Membership,
    /// Oldest first. Few: what a checkpoint covers is folded into `first`.
    changes: Vec<(Index, Membership)>,
}

impl Memberships {
    pub(crate) fn starting_with(first: Membership) -> Memberships {
        Memberships { first, changes: Vec::new() }
    }

    /// Take in the changes among the log's `entries`, which follow the first membership.
    ///
    /// # Panics
    ///
    /// If a change cannot be read: what is in the log was read before it got there.
    pub(crate) fn restore<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) {
        for entry in entries.filter(|entry| entry.kind() == EntryKind::Membership) {
            let membership = Membership::decode(&entry.payload()).expect("a membership that was checked");
            self.push(entry.index(), membership);
        }
    }

    /// The one in force.
    pub(crate) fn current(&self) -> &Membership {
        self.changes.last().map_or(&self.first, |(_, membership)| membership)
    }

    /// The one that the log up to `index` says. As far back as the last [`Memberships::cover`].
    pub(crate) fn at(&self, index: Index) -> &Membership {
        let change = self.changes.iter().rev().find(|(at, _)| *at <= index);
        change.map_or(&self.first, |(_, membership)| membership)
    }

    /// Where the one in force stands in the log; zero if before its beginning.
    pub(crate) fn changed_at(&self) -> Index {
        self.changes.last().map_or(Index(0), |(at, _)| *at)
    }

    pub(crate) fn push(&mut self, at: Index, membership: Membership) {
        self.changes.push((at, membership));
    }

    /// The log was cut after `index`.
    pub(crate) fn cut_after(&mut self, index: Index) {
        self.changes.retain(|(at, _)| *at <= index);
    }

    /// A checkpoint covers the log up to `index`.
    pub(crate) fn cover(&mut self, index: Index) {
        self.first = *self.at(index);
        self.changes.retain(|(at, _)| *at > index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(ordinal: u8, incarnation: u64) -> MemberId {
        MemberId { ordinal: Ordinal(ordinal), incarnation: Incarnation(incarnation) }
    }

    fn three() -> Membership {
        Membership::default().with(member(0, 10)).with(member(1, 11)).with(member(2, 12))
    }

    #[test]
    fn a_replaced_member_is_known_as_removed() {
        let replaced = three().without(Ordinal(1)).with(member(1, 21));
        assert!(!replaced.is_voter(member(1, 11)));
        assert!(replaced.was_removed(member(1, 11)));
        assert!(replaced.is_voter(member(1, 21)));
        assert_eq!((replaced.len(), replaced.majority()), (3, 2));
    }

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_else_is() {
        let membership = three().without(Ordinal(0)).without(Ordinal(1)).with(member(1, u64::MAX));
        let bytes = membership.encode();
        assert_eq!(Membership::decode(&bytes), Some(membership));
        for length in 0..bytes.len() {
            assert_eq!(Membership::decode(&bytes[..length]), None, "cut to {length}");
        }
        let mut long = bytes.to_vec();
        long.push(0);
        assert_eq!(Membership::decode(&long), None);
        assert_eq!(Membership::decode(&[VERSION, 0x80, 0, 1, 2, 3, 4, 5, 6, 7, 8]), None, "an eighth member");
        assert_eq!(Membership::decode(&Membership::default().encode()), None, "nobody votes");
    }

    #[test]
    fn the_last_change_in_the_log_is_in_force() {
        let (one, two) = (three().without(Ordinal(1)), three().without(Ordinal(2)));
        let mut memberships = Memberships::starting_with(three());
        memberships.push(Index(5), one);
        memberships.push(Index(9), two);
        assert_eq!(memberships.current(), &two);
        assert_eq!(memberships.at(Index(8)), &one);
        assert_eq!(memberships.at(Index(4)), &three());
        memberships.cut_after(Index(8));
        assert_eq!((memberships.current(), memberships.changed_at()), (&one, Index(5)));
        memberships.cover(Index(6));
        assert_eq!((memberships.current(), memberships.changed_at()), (&one, Index(0)));
    }
}
