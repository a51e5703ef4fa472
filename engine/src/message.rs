//! What members say to each other. How it travels is the `wire` crate's business.

use serde::{Deserialize, Serialize};

use crate::{Checkpoint, Entry, Formation, Incarnation, Index, MemberId, Position, ReadToken, Term};

/// Why a member campaigns. Safety never rests on it: it decides only who may be asked to forget a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CampaignCause {
    /// No word from a leader for an election timeout.
    Timeout,
    /// The established connection from the leader ended: its process died, or one link did.
    ConnectionLost,
    /// The leader asked for it by [`Message::CampaignNow`].
    HandOver,
}

/// One message between members. `term` is the sender's unless the variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// "Here is how I see the store's beginning." Sent by unformed members to every ordinal, and as the answer.
    Announce {
        /// The formation that the sender made durable, or `None` while it has none.
        formation: Option<Formation>,
        /// Whose question this answers; `None` in a question. Only an answer to this very incarnation proves that
        /// the sender is empty now: an older message may have waited in the network.
        answers: Option<MemberId>,
    },
    /// "Would you vote for me in `term`?" Changes nothing at the receiver (Raft thesis, 9.6).
    PreVote {
        /// The term that the sender would campaign in: one more than its own.
        term: Term,
        /// The end of the sender's log.
        last: Position,
        /// Why it would.
        cause: CampaignCause,
    },
    /// The answer to [`Message::PreVote`].
    PreVoteReply {
        /// If granted, the term that was asked about; else the receiver's own.
        term: Term,
        /// Whether the receiver would vote for the sender.
        granted: bool,
    },
    /// "Vote for me in `term`."
    Vote {
        /// The term that the sender campaigns in.
        term: Term,
        /// The end of the sender's log.
        last: Position,
        /// Why it campaigns.
        cause: CampaignCause,
    },
    /// The answer to [`Message::Vote`]; sent only when the vote is durable.
    VoteReply {
        /// The receiver's term.
        term: Term,
        /// Whether it voted for the sender.
        granted: bool,
    },
    /// New entries, and with none of them a heartbeat.
    Append {
        /// The leader's term.
        term: Term,
        /// The entry right before `entries`.
        previous: Position,
        /// Entries, contiguous after `previous`.
        entries: Vec<Entry>,
        /// How far the leader has committed.
        commit: Index,
        /// Counts the leader's rounds of asking "am I still the leader?"; echoed in the answer.
        round: u64,
        /// What the receiver has told this leader. A receiver that has less was given an old disk.
        receipt: Receipt,
        /// Whether the leader waits for an answer at once. Else what is new is answered when it is durable, and what
        /// only tells of a commit is not answered at all.
        answer: bool,
    },
    /// The answer to [`Message::Append`]; also sent unasked when more became durable.
    AppendReply {
        /// The receiver's term. A higher one than the leader's deposes it.
        term: Term,
        /// What became of the entries.
        outcome: AppendOutcome,
        /// The highest round that the receiver has seen from this leader.
        round: u64,
    },
    /// "You are too far behind for my log: fetch this checkpoint from me." The receiver fetches it beside the log
    /// and answers with an [`Message::AppendReply`] when it has it.
    CheckpointOffer {
        /// The leader's term.
        term: Term,
        /// The checkpoint.
        checkpoint: Checkpoint,
    },
    /// "I am handing over to you: campaign at once." (Raft thesis, 3.10)
    CampaignNow {
        /// The leader's term.
        term: Term,
    },
    /// "From which index on would a read be linearizable?" From a follower to its leader.
    ReadIndex {
        /// The sender's term.
        term: Term,
        /// Names the read in the answer.
        token: ReadToken,
    },
    /// The answer to [`Message::ReadIndex`], sent once a majority has confirmed the leader.
    ReadIndexReply {
        /// The leader's term.
        term: Term,
        /// The read that was asked for.
        token: ReadToken,
        /// The index to wait for, or `None` if the receiver does not lead.
        index: Option<Index>,
    },
}

/// What a leader remembers that a follower has acknowledged, to it and in its term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Which life of the follower; what an earlier one had is nothing to a later one.
    pub by: Incarnation,
    /// It has the log durable up to here.
    pub durable: Index,
}

/// What became of an [`Message::Append`] at the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppendOutcome {
    /// The receiver's log is the leader's up to `written`. Cumulative: it covers all earlier ones.
    Accepted {
        /// Up to here the receiver has the leader's entries, at least in memory.
        written: Index,
        /// Up to here they survive power loss; never beyond `written`.
        durable: Index,
    },
    /// The receiver does not have `previous`.
    Rejected {
        /// The index of the `previous` that it lacks.
        previous: Index,
        /// The last position of its log that may match: the leader goes on from there.
        hint: Position,
    },
}

impl Message {
    /// The sender's term, or the term it asks about; `None` for what carries none.
    pub fn term(&self) -> Option<Term> {
        match *self {
            Message::Announce { .. } => None,
            Message::PreVote { term, .. }
            | Message::PreVoteReply { term, .. }
            | Message::Vote { term, .. }
            | Message::VoteReply { term, .. }
            | Message::Append { term, .. }
            | Message::AppendReply { term, .. }
            | Message::CheckpointOffer { term, .. }
            | Message::CampaignNow { term }
            | Message::ReadIndex { term, .. }
            | Message::ReadIndexReply { term, .. } => Some(term),
        }
    }
}
