//! What the authority of in-sync mode holds, and what members ask it.
//!
//! The authority is one object outside the store that changes only by compare-and-set. It decides who leads and who must
//! have a write, so that a store of n members survives n-1 of them (Lin, Yang, Zhang, Zhou: PacificA, 2008). How it is
//! reached is the owner's business; this module refuses to know.

use serde::{Deserialize, Serialize};

use crate::{MemberId, Membership, StoreId, Term};

/// What the authority holds for one store.
///
/// Invariants: `primary` is in sync; every member that is in sync has every committed entry, but for what `forced` has given
/// up; of two configurations of one store the one with the higher version has no lower term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Configuration {
    /// Which store.
    pub store: StoreId,
    /// Counts the changes, from 1.
    pub version: u64,
    /// The term that the primary leads in. Each primary has one of its own, in each of its lives.
    pub term: Term,
    /// Who leads.
    pub primary: MemberId,
    /// Who must have an entry before it is committed, and may lead next.
    pub in_sync: Membership,
    /// The epoch that a person has ended by making a member primary that may lack committed entries; the last time that this
    /// happened. Of what others have committed in that epoch or an earlier one, what the primary lacks counts no more.
    pub forced: Option<Term>,
}

/// Names one question to the authority. Counts up; never reused in one life of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionToken(pub u64);

/// A question to the authority. The owner answers each one with [`crate::Input::Authority`], at the latest when its own
/// patience is over, with [`Verdict::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What does it hold? Answered by the authority itself: no cache, no replica that may be behind.
    Read,
    /// Replace the configuration of the version right before this one; for version 1, only if it holds nothing.
    Change(Box<Configuration>),
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This is what it holds. To a [`Question::Change`] it also says that this very request has changed nothing and will
    /// not: an earlier one of the same content may have.
    Holds(Option<Box<Configuration>>),
    /// It was changed.
    Changed,
    /// Nobody knows. A change may have happened, or may still.
    Unknown,
}
