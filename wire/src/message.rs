//! The bodies of frames that carry an engine's [`Message`].
//!
//! Written by hand: the log's records travel as they are, without being copied on arrival, and every length and order
//! that the engine relies on is checked before it sees the message.

use bytes::{BufMut, BytesMut};
use holdfast_engine::{
    AppendOutcome, CampaignCause, Checkpoint, Entry, Formation, Incarnation, Index, MEMBERS_MAX, MemberId,
    Membership, Message, Position, ReadToken, Receipt, StoreId, Term,
};

use crate::FrameError;
use crate::cursor::Cursor;
use crate::frame::kind;

/// Append the body of `message` and return its frame's kind.
pub(crate) fn encode(message: &Message, out: &mut BytesMut) -> u8 {
    match message {
        Message::Announce { formation, answers } => {
            put_formation(out, formation.as_ref());
            out.put_u8(u8::from(answers.is_some()));
            if let Some(asker) = answers {
                put_member(out, *asker);
            }
            kind::ANNOUNCE
        }
        Message::PreVote { term, last, cause } => {
            put_campaign(out, *term, *last, *cause);
            kind::PRE_VOTE
        }
        Message::PreVoteReply { term, granted } => {
            out.put_u64_le(term.0);
            out.put_u8(u8::from(*granted));
            kind::PRE_VOTE_REPLY
        }
        Message::Vote { term, last, cause } => {
            put_campaign(out, *term, *last, *cause);
            kind::VOTE
        }
        Message::VoteReply { term, granted } => {
            out.put_u64_le(term.0);
            out.put_u8(u8::from(*granted));
            kind::VOTE_REPLY
        }
        Message::Append { term, previous, entries, commit, round, receipt, answer } => {
            out.put_u64_le(term.0);
            put_position(out, *previous);
            out.put_u64_le(commit.0);
            out.put_u64_le(*round);
            out.put_u64_le(receipt.by.0);
            out.put_u64_le(receipt.durable.0);
            out.put_u8(u8::from(*answer));
            for entry in entries {
                out.put_slice(entry.as_record());
            }
            kind::APPEND
        }
        Message::AppendReply { term, outcome, round } => {
            out.put_u64_le(term.0);
            out.put_u64_le(*round);
            put_outcome(out, outcome);
            kind::APPEND_REPLY
        }
        Message::CheckpointOffer { term, checkpoint } => {
            out.put_u64_le(term.0);
            put_position(out, checkpoint.position);
            out.put_slice(&checkpoint.membership.encode());
            kind::CHECKPOINT_OFFER
        }
        Message::CampaignNow { term } => {
            out.put_u64_le(term.0);
            kind::CAMPAIGN_NOW
        }
        Message::ReadIndex { term, token } => {
            out.put_u64_le(term.0);
            out.put_u64_le(token.0);
            kind::READ_INDEX
        }
        Message::ReadIndexReply { term, token, index } => {
            out.put_u64_le(term.0);
            out.put_u64_le(token.0);
            out.put_u8(u8::from(index.is_some()));
            out.put_u64_le(index.unwrap_or_default().0);
            kind::READ_INDEX_REPLY
        }
    }
}

/// The message in the body of a frame of this kind; `None` if the kind is not a message's.
pub(crate) fn decode(kind: u8, mut body: Cursor) -> Result<Option<Message>, FrameError> {
    let b = &mut body;
    let message = match kind {
        kind::ANNOUNCE => Message::Announce {
            formation: formation(b)?,
            answers: if b.flag("whether an announcement answers")? { Some(b.member()?) } else { None },
        },
        kind::PRE_VOTE => Message::PreVote { term: b.term()?, last: b.position()?, cause: cause(b)? },
        kind::PRE_VOTE_REPLY => Message::PreVoteReply { term: b.term()?, granted: b.flag("a vote")? },
        kind::VOTE => Message::Vote { term: b.term()?, last: b.position()?, cause: cause(b)? },
        kind::VOTE_REPLY => Message::VoteReply { term: b.term()?, granted: b.flag("a vote")? },
        kind::APPEND => return append(body).map(Some),
        kind::APPEND_REPLY => {
            let (term, round) = (b.term()?, b.u64()?);
            Message::AppendReply { term, outcome: outcome(b)?, round }
        }
        kind::CHECKPOINT_OFFER => return checkpoint_offer(body).map(Some),
        kind::CAMPAIGN_NOW => Message::CampaignNow { term: b.term()? },
        kind::READ_INDEX => Message::ReadIndex { term: b.term()?, token: ReadToken(b.u64()?) },
        kind::READ_INDEX_REPLY => {
            let (term, token) = (b.term()?, ReadToken(b.u64()?));
            let index = match (b.flag("whether a read has an index")?, b.index()?) {
                (true, index) => Some(index),
                (false, Index(0)) => None,
                (false, _) => return Err(FrameError::Value { what: "the index of a read that has none" }),
            };
            Message::ReadIndexReply { term, token, index }
        }
        _ => return Ok(None),
    };
    body.end()?;
    Ok(Some(message))
}

fn put_position(out: &mut BytesMut, position: Position) {
    out.put_u64_le(position.term.0);
    out.put_u64_le(position.index.0);
}

fn put_member(out: &mut BytesMut, member: MemberId) {
    out.put_u8(member.ordinal.0);
    out.put_u64_le(member.incarnation.0);
}

fn put_campaign(out: &mut BytesMut, term: Term, last: Position, cause: CampaignCause) {
    out.put_u64_le(term.0);
    put_position(out, last);
    out.put_u8(match cause {
        CampaignCause::Timeout => 0,
        CampaignCause::ConnectionLost => 1,
        CampaignCause::HandOver => 2,
    });
}

fn cause(body: &mut Cursor) -> Result<CampaignCause, FrameError> {
    match body.u8()? {
        0 => Ok(CampaignCause::Timeout),
        1 => Ok(CampaignCause::ConnectionLost),
        2 => Ok(CampaignCause::HandOver),
        _ => Err(FrameError::Value { what: "a campaign's cause" }),
    }
}

fn put_formation(out: &mut BytesMut, formation: Option<&Formation>) {
    let Some(formation) = formation else { return out.put_u8(0) };
    out.put_u8(formation.voters.len() as u8);
    out.put_u128_le(formation.store.0);
    for &voter in &formation.voters {
        put_member(out, voter);
    }
}

/// A formation has at least one voter, so that a count of 0 says that there is none.
fn formation(body: &mut Cursor) -> Result<Option<Formation>, FrameError> {
    let count = usize::from(body.u8()?);
    if count == 0 {
        return Ok(None);
    }
    if count > MEMBERS_MAX {
        return Err(FrameError::Value { what: "a formation's number of voters" });
    }
    let store = StoreId(body.u128()?);
    let voters = (0..count).map(|_| body.member()).collect::<Result<Vec<_>, _>>()?;
    if !voters.windows(2).all(|pair| pair[0].ordinal < pair[1].ordinal) {
        return Err(FrameError::Value { what: "the order of a formation's voters" });
    }
    // In order, so that the last one is the highest; whoever takes the formation has one place for each ordinal.
    if voters.last().is_some_and(|voter| usize::from(voter.ordinal.0) >= MEMBERS_MAX) {
        return Err(FrameError::Value { what: "the ordinal of a formation's voter" });
    }
    Ok(Some(Formation { store, voters }))
}

fn put_outcome(out: &mut BytesMut, outcome: &AppendOutcome) {
    match *outcome {
        AppendOutcome::Accepted { written, durable } => {
            out.put_u8(0);
            out.put_u64_le(written.0);
            out.put_u64_le(durable.0);
        }
        AppendOutcome::Rejected { previous, hint } => {
            out.put_u8(1);
            out.put_u64_le(previous.0);
            put_position(out, hint);
        }
    }
}

fn outcome(body: &mut Cursor) -> Result<AppendOutcome, FrameError> {
    match body.u8()? {
        0 => match (body.index()?, body.index()?) {
            (written, durable) if durable <= written => Ok(AppendOutcome::Accepted { written, durable }),
            _ => Err(FrameError::Value { what: "a durable index beyond the written one" }),
        },
        1 => Ok(AppendOutcome::Rejected { previous: body.index()?, hint: body.position()? }),
        _ => Err(FrameError::Value { what: "an append's outcome" }),
    }
}

/// The membership takes the rest of the frame.
fn checkpoint_offer(mut body: Cursor) -> Result<Message, FrameError> {
    let (term, position) = (body.term()?, body.position()?);
    let membership = Membership::decode(&body.rest());
    let membership = membership.ok_or(FrameError::Value { what: "a checkpoint's membership" })?;
    Ok(Message::CheckpointOffer { term, checkpoint: Checkpoint { position, membership } })
}

/// The records follow the fixed part up to the frame's end; each is checked, and so is that they are one piece of one
/// log: contiguous after `previous`, in terms that never fall and are not beyond the leader's.
fn append(mut body: Cursor) -> Result<Message, FrameError> {
    let (term, previous, commit, round) = (body.term()?, body.position()?, body.index()?, body.u64()?);
    let receipt = Receipt { by: Incarnation(body.u64()?), durable: body.index()? };
    let answer = body.flag("whether an append is to be answered")?;
    let mut records = body.rest();
    let mut entries = Vec::new();
    let mut last = previous;
    while !records.is_empty() {
        let entry = Entry::decode(&mut records)?;
        let next = last.index.0.checked_add(1).map(Index);
        if next != Some(entry.index()) || entry.term() < last.term || entry.term() > term {
            return Err(FrameError::Value { what: "the order of an append's entries" });
        }
        last = entry.position();
        entries.push(entry);
    }
    Ok(Message::Append { term, previous, entries, commit, round, receipt, answer })
}
