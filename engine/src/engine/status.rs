//! What a member shows of itself.

use std::time::Duration;

use super::leading::Flow;
use super::{Engine, State};
use crate::{Checkpoint, Formation, Index, MemberId, Membership, Moment, Ordinal, Position, Role};

/// A member's view of itself and, at a leader, of the others.
#[derive(Clone, Debug)]
pub struct Status {
    /// Who it is.
    pub me: MemberId,
    /// How the store began, as far as it knows.
    pub formation: Option<Formation>,
    /// Who votes, by the last change in its log.
    pub membership: Membership,
    /// Its role, term and leader.
    pub role: Role,
    /// The end of its log, at least in memory.
    pub written: Position,
    /// Durable up to here.
    pub durable: Index,
    /// Committed up to here.
    pub commit: Index,
    /// Executed up to here.
    pub executed: Index,
    /// The newest durable checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// Bytes of log in memory.
    pub log_bytes: usize,
    /// The others, by ordinal; empty unless this member leads.
    pub peers: Vec<Peer>,
}

/// Another member, as the leader knows it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its ordinal.
    pub ordinal: Ordinal,
    /// Who answers there, once it was heard of.
    pub member: Option<MemberId>,
    /// It has the leader's log up to here, at least in memory.
    pub written: Index,
    /// It has it durable up to here.
    pub durable: Index,
    /// Since its last answer; `None`: not heard of in this term.
    pub silent_for: Option<Duration>,
    /// Whether it is being brought up by a checkpoint.
    pub fetching_checkpoint: bool,
}

impl Engine {
    /// This member's role, term and leader.
    pub fn role(&self) -> Role {
        let term = self.hard_state.term;
        match &self.state {
            State::Unformed(_) => Role::Unformed,
            State::Following { .. } | State::Claiming(_) if !self.membership().is_voter(self.config.me) => {
                Role::Learner { term, leader: self.leader }
            }
            State::Following { .. } => Role::Follower { term, leader: self.leader },
            State::Campaigning(_) | State::Claiming(_) => Role::Candidate { term },
            State::Leading(_) => Role::Leader { term },
        }
    }

    /// This member's view of itself, as of `now`.
    pub fn status(&self, now: Moment) -> Status {
        let peers = match &self.state {
            State::Leading(leading) => self
                .others()
                .map(|ordinal| {
                    let follower = &leading.followers[usize::from(ordinal.0)];
                    Peer {
                        ordinal,
                        member: follower.incarnation.map(|incarnation| MemberId { ordinal, incarnation }),
                        written: follower.written,
                        durable: follower.durable,
                        silent_for: follower.heard.map(|heard| now - heard),
                        fetching_checkpoint: matches!(follower.flow, Flow::Checkpoint),
                    }
                })
                .collect(),
            _ => Vec::new(),
        };
        Status {
            me: self.config.me,
            formation: self.formation.clone(),
            membership: *self.membership(),
            role: self.role(),
            written: self.log.last(),
            durable: self.durable,
            commit: self.commit,
            executed: self.executed,
            checkpoint: self.checkpoint,
            log_bytes: self.log.bytes(),
            peers,
        }
    }
}
