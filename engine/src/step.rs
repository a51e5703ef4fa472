//! What goes into the engine and what comes out: [`Input`], and [`Effects`] with the order to carry them out in.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    Entry, Formation, Index, MEMBERS_MAX, MemberId, Membership, Message, Ordinal, OrdinalSet, Position,
    Question, QuestionToken, Term, Verdict,
};

/// Names one proposal between its owner and the engine. The owner draws them and never reuses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProposalToken(pub u64);

/// Names one read between its owner and the engine. The owner draws them and never reuses one, not even after a
/// restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReadToken(pub u64);

/// Counts the writes that the engine has asked for, from 1. [`Input::Durable`] names the last that is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What an acknowledgement of one write waits for. The default is a majority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteConcern {
    /// So many members have it durable, the leader among them. From 1; 1 may be undone by a failover.
    Members(u8),
    /// It is committed: no failover can undo it.
    #[default]
    Majority,
    /// Every member has it durable.
    All,
}

/// One thing that happened to a member.
#[derive(Clone, Debug)]
pub enum Input {
    /// [`crate::Engine::deadline`] has come.
    Tick,
    /// A message arrived. `from` is who the connection proved to be, not what the message says.
    Receive {
        /// The sender.
        from: MemberId,
        /// What it said.
        message: Message,
    },
    /// A connection to this peer was established and it proved to be `peer`.
    Connected {
        /// The peer.
        peer: MemberId,
    },
    /// An established connection *from* this peer ended (FIN or RST): its process died, or the link did.
    ConnectionLost {
        /// The peer.
        peer: MemberId,
        /// It said before that it ends: nobody need wait for it to come back.
        left: bool,
    },
    /// Append a command. Answered in [`Effects::accepted`] or [`Effects::refused`] of the same step.
    Propose {
        /// Names the proposal.
        token: ProposalToken,
        /// The command, at most [`crate::ENTRY_PAYLOAD_BYTES_MAX`] bytes.
        payload: Bytes,
    },
    /// Append commands in this order, as if each were proposed by itself; they reach the followers together. Some may be
    /// accepted and later ones refused.
    ProposeAll {
        /// Names the first proposal; each next one has the next higher number.
        first: ProposalToken,
        /// The commands, each at most [`crate::ENTRY_PAYLOAD_BYTES_MAX`] bytes.
        payloads: Vec<Bytes>,
    },
    /// Ask for the index from which a read is linearizable. Answered in [`Effects::reads`], now or later; a lost
    /// message means no answer, so the owner gives up after a time of its own and may ask again with a new token.
    Read {
        /// Names the read.
        token: ReadToken,
    },
    /// Every write up to and including this ticket survives power loss.
    Durable {
        /// The last ticket that is done.
        ticket: Ticket,
    },
    /// The owner has a durable checkpoint of its own state: the log behind it may be released, and members that are
    /// too far behind may be offered it.
    CheckpointTaken {
        /// What it covers.
        checkpoint: Checkpoint,
    },
    /// The checkpoint that [`Effects::fetch`] asked for is here, verified and durable.
    CheckpointFetched {
        /// What it covers.
        checkpoint: Checkpoint,
    },
    /// Fetching the checkpoint failed; the leader will offer it again.
    CheckpointFailed,
    /// The authority has answered, or nobody waits for it any longer; in-sync mode only.
    Authority {
        /// The question.
        token: QuestionToken,
        /// The answer.
        verdict: Verdict,
    },
    /// Hand leadership over: to `to`, or to the member that has most of the log. Nothing happens at a follower.
    /// If nobody takes over within an election timeout the leader goes on leading.
    HandOver {
        /// Who should lead next.
        to: Option<Ordinal>,
    },
}

/// What a checkpoint covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last entry in it.
    pub position: Position,
    /// Who votes by the log up to there; [`crate::Engine::membership_at`].
    pub membership: Membership,
}

/// What a step asks of the engine's owner. Steps add to it; the owner carries it out and clears it, and may step
/// several times in between.
///
/// Order: hand every `persist` to the disk, in this order, without waiting; then `send`; then `apply`, in this order;
/// then answer from `accepted`, `refused`, `reads` and `progress`. Nothing in `send` needs to wait for the disk: the
/// engine holds back what does, until [`Input::Durable`].
#[derive(Debug, Default)]
pub struct Effects {
    /// Writes, in the order in which they must become durable.
    pub persist: Vec<Persist>,
    /// Messages. The network may lose, delay, repeat and reorder them.
    pub send: Vec<(Ordinal, Message)>,
    /// Changes to the replicated state, in order.
    pub apply: Vec<Apply>,
    /// Proposals that are in the leader's log now, and where. They may still be lost with the leader.
    pub accepted: Vec<(ProposalToken, Position)>,
    /// Proposals that are in no log and never will be.
    pub refused: Vec<(ProposalToken, Refusal)>,
    /// Reads: linearizable as soon as the index is committed in the owner's state; `None`: nobody could be asked.
    pub reads: Vec<(ReadToken, Option<Index>)>,
    /// Fetch this checkpoint from this member, beside the log. A newer request replaces an older one.
    pub fetch: Option<(MemberId, Checkpoint)>,
    /// Questions to the authority; in-sync mode only. They need not wait for the disk.
    pub questions: Vec<(QuestionToken, Question)>,
    /// How far the entries of this leader have come; only at a leader, only when something moved.
    pub progress: Option<Progress>,
    /// The member's role, term or leader changed.
    pub role: Option<Role>,
    /// The member must not go on as who it is; why.
    pub outcast: Option<Outcast>,
}

/// Why a member must not go on under its identity. It may come back as a new incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcast {
    /// The store has removed it, or replaced it by a newer incarnation; this is committed.
    Removed,
    /// Its disk has forgotten what it acknowledged: an older copy was put in its place.
    OldDisk {
        /// The leader remembers that it had the log durable up to here.
        acknowledged: Index,
        /// Its log ends here.
        last: Index,
    },
    /// A person has made a member primary that lacks what is committed here: all of it counts no more. It has to be put
    /// aside, for the same disk would be contradicted again.
    Overruled {
        /// The epoch that the person has ended.
        ended: Term,
        /// Committed here, in that epoch or an earlier one, up to this entry.
        commit: Index,
    },
}

impl Effects {
    /// Forget everything that was carried out; keeps the memory for the next step.
    pub fn clear(&mut self) {
        self.persist.clear();
        self.send.clear();
        self.apply.clear();
        self.accepted.clear();
        self.refused.clear();
        self.reads.clear();
        self.fetch = None;
        self.questions.clear();
        self.progress = None;
        self.role = None;
        self.outcast = None;
    }
}

/// One write and the ticket that says when it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// Higher than that of every write before it.
    pub ticket: Ticket,
    /// What to write.
    pub write: Write,
}

/// What to make durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// How the store began. Once in a member's life.
    Formation(Formation),
    /// The term and the vote in it.
    HardState(HardState),
    /// Entries, contiguous. If the first one's index is not right after the log's end, the log is cut before it first.
    Append(Vec<Entry>),
    /// The checkpoint at this position replaces the whole log, which goes on after it.
    Reset(Position),
    /// Entries up to and including this index are covered by a durable checkpoint and may be deleted.
    Release(Index),
}

/// What a member must never forget about its votes (Raft, figure 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardState {
    /// The highest term the member has seen.
    pub term: Term,
    /// Whom it voted for in that term.
    pub voted_for: Option<MemberId>,
}

/// One change to the replicated state.
///
/// A leader executes entries as it appends them, so that it can answer before they are committed; the effect of those
/// is undone if a failover drops them. A follower executes what is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Apply {
    /// Undo everything executed after this index.
    Rollback(Index),
    /// Execute the next entry.
    Execute(Entry),
    /// Everything up to here is committed: watchers may see it, and its undo record may go.
    Commit(Index),
    /// Replace the whole state by this checkpoint, which the owner has on its disk.
    Restore(Checkpoint),
}

/// How far the leader's log has come on the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The leader's term. Indexes count only entries that the leader has; those of its own term can be acknowledged.
    pub term: Term,
    /// Committed up to here.
    pub commit: Index,
    /// `durable_on[k - 1]`: durable on at least `k` voters up to here. Zero beyond the number of voters.
    pub durable_on: [Index; MEMBERS_MAX],
    /// By ordinal: durable on this voter up to here. Zero for who does not vote.
    pub durable_by: [Index; MEMBERS_MAX],
    /// How many voters there are.
    pub voters: u8,
    /// A concern of so many members or more also waits for the commit: with fewer a failover may undo it.
    pub commit_from: u8,
}

/// Who a member is in its term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// The store is not formed yet, or this member does not know it.
    #[default]
    Unformed,
    /// Not a voter: it learns, but its word does not count.
    Learner {
        /// The highest term it has seen.
        term: Term,
        /// Who leads, if it knows.
        leader: Option<MemberId>,
    },
    /// A voter that follows, or would if it knew whom.
    Follower {
        /// Its term.
        term: Term,
        /// Who leads, if it knows.
        leader: Option<MemberId>,
    },
    /// A voter that asks for (pre-)votes.
    Candidate {
        /// Its term; while it asks for pre-votes, the one before the one it would campaign in.
        term: Term,
    },
    /// The one that orders writes in this term.
    Leader {
        /// Its term.
        term: Term,
    },
}

/// Why a proposal was refused. Nothing of it is left anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This member does not lead; who does, if it knows.
    NotLeader {
        /// The leader to ask.
        leader: Option<MemberId>,
    },
    /// The leader is handing over and takes nothing new.
    HandingOver,
    /// More is under way than the log may hold uncommitted: `Config::uncommitted_bytes_max`.
    Overloaded,
}

impl Role {
    /// Who leads in this member's term, if it knows; `me` if it does itself.
    pub fn leader(&self, me: MemberId) -> Option<MemberId> {
        match *self {
            Role::Learner { leader, .. } | Role::Follower { leader, .. } => leader,
            Role::Leader { .. } => Some(me),
            Role::Unformed | Role::Candidate { .. } => None,
        }
    }

    /// Whether this member leads.
    pub fn is_leader(&self) -> bool {
        matches!(self, Role::Leader { .. })
    }

    /// The name used in statuses and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Role::Unformed => "unformed",
            Role::Learner { .. } => "learner",
            Role::Follower { .. } => "follower",
            Role::Candidate { .. } => "candidate",
            Role::Leader { .. } => "leader",
        }
    }
}

impl Progress {
    /// Whether the entry at `index`, written in this term, satisfies `concern`.
    ///
    /// A concern of as many members as a failover leaves nothing undone of also waits for the commit.
    pub fn satisfies(&self, concern: WriteConcern, index: Index) -> bool {
        index <= self.satisfied(concern)
    }

    /// Up to which index entries of this term satisfy `concern`. A concern of more members than there are is never
    /// satisfied; whoever takes requests refuses it first.
    pub fn satisfied(&self, concern: WriteConcern) -> Index {
        let on = |members: u8| match members {
            0 => Index(u64::MAX),
            k => self.durable_on.get(usize::from(k) - 1).copied().unwrap_or_default(),
        };
        match concern {
            WriteConcern::Majority => self.commit,
            WriteConcern::All => on(self.voters).min(self.commit),
            WriteConcern::Members(k) if k >= self.commit_from => on(k).min(self.commit),
            WriteConcern::Members(k) => on(k),
        }
    }

    /// On how many voters the entry at `index` is durable.
    pub fn reached(&self, index: Index) -> u8 {
        self.durable_on[..usize::from(self.voters)].iter().filter(|&&on| index <= on).count() as u8
    }

    /// Which voters have the entry at `index` durable.
    pub fn holders(&self, index: Index) -> OrdinalSet {
        let mut holders = OrdinalSet::default();
        for (_, ordinal) in self.durable_by.iter().zip(0..).filter(|&(&by, _)| index <= by) {
            holders.insert(Ordinal(ordinal));
        }
        holders
    }
}

impl fmt::Display for WriteConcern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteConcern::Members(k) => k.fmt(f),
            WriteConcern::Majority => f.write_str("majority"),
            WriteConcern::All => f.write_str("all"),
        }
    }
}

impl FromStr for WriteConcern {
    type Err = String;

    /// `majority`, `all`, or a number of members from 1 to [`MEMBERS_MAX`].
    fn from_str(text: &str) -> Result<WriteConcern, String> {
        match text {
            "majority" => Ok(WriteConcern::Majority),
            "all" => Ok(WriteConcern::All),
            number => match number.parse::<u8>() {
                Ok(k) if (1..=MEMBERS_MAX as u8).contains(&k) => Ok(WriteConcern::Members(k)),
                _ => Err(format!(
                    "write concern \"{number}\" is neither \"majority\", \"all\" nor a number from 1 to {MEMBERS_MAX}"
                )),
            },
        }
    }
}
