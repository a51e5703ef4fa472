//! Frames read back as they were written; whatever else comes is refused without harm.

use holdfast_engine::{
    AppendOutcome, CampaignCause, Checkpoint, Entry, EntryKind, Formation, Incarnation, MemberId, Membership,
    Position, ReadToken, Receipt, StoreId, Term,
};

use super::*;

fn at(term: u64, index: u64) -> Position {
    Position::new(Term(term), Index(index))
}

fn member(ordinal: u8) -> MemberId {
    MemberId { ordinal: Ordinal(ordinal), incarnation: Incarnation(0x1234 + u64::from(ordinal)) }
}

fn entry(term: u64, index: u64, payload: &[u8]) -> Entry {
    Entry::new(at(term, index), EntryKind::Command, payload)
}

fn append(previous: Position, entries: Vec<Entry>) -> Frame {
    let (term, commit, round) = (Term(5), Index(3), 77);
    let receipt = Receipt { by: Incarnation(9), durable: Index(2) };
    Frame::Message(Message::Append { term, previous, entries, commit, round, receipt, answer: true })
}

fn messages() -> Vec<Message> {
    let formation =
        Formation { store: StoreId(u128::MAX - 5), voters: vec![member(0), member(1), member(2)] };
    let checkpoint = Checkpoint { position: at(5, 100), membership: Membership::of(&formation) };
    vec![
        Message::Announce { formation: None, answers: None },
        Message::Announce { formation: Some(formation), answers: Some(member(2)) },
        Message::PreVote { term: Term(4), last: at(3, 9), cause: CampaignCause::Timeout },
        Message::PreVoteReply { term: Term(4), granted: true },
        Message::Vote { term: Term(4), last: at(3, 9), cause: CampaignCause::ConnectionLost },
        Message::Vote { term: Term(4), last: at(3, 9), cause: CampaignCause::HandOver },
        Message::VoteReply { term: Term(4), granted: false },
        Message::AppendReply {
            term: Term(5),
            outcome: AppendOutcome::Accepted { written: Index(8), durable: Index(7) },
            round: 1,
        },
        Message::AppendReply {
            term: Term(5),
            outcome: AppendOutcome::Rejected { previous: Index(8), hint: at(2, 6) },
            round: 2,
        },
        Message::CheckpointOffer { term: Term(6), checkpoint },
        Message::CampaignNow { term: Term(6) },
        Message::ReadIndex { term: Term(6), token: ReadToken(11) },
        Message::ReadIndexReply { term: Term(6), token: ReadToken(11), index: Some(Index(12)) },
        Message::ReadIndexReply { term: Term(6), token: ReadToken(11), index: None },
    ]
}

fn samples() -> Vec<Frame> {
    let mut frames: Vec<Frame> = messages().into_iter().map(Frame::Message).collect();
    let concerns =
        [WriteConcern::Majority, WriteConcern::All, WriteConcern::Members(1), WriteConcern::Members(7)];
    frames.extend(concerns.map(|concern| Frame::Forward {
        id: 17,
        concern,
        timeout_ms: 5000,
        command: Bytes::from_static(b"command"),
    }));
    frames.extend([
        append(Position::ZERO, Vec::new()),
        append(at(4, 3), vec![entry(4, 4, b""), entry(5, 5, b"payload"), entry(5, 6, &[7; 300])]),
        Frame::ForwardReply { id: 17, body: Bytes::from_static(b"answer") },
        Frame::ForwardReply { id: 18, body: Bytes::new() },
        Frame::HandOver { id: 3, to: None, timeout_ms: 1 },
        Frame::HandOver { id: 3, to: Some(Ordinal(6)), timeout_ms: u32::MAX },
        Frame::Leaving,
        Frame::Farewell,
        Frame::CheckpointChunk { bytes: Bytes::from_static(b"piece") },
        Frame::CheckpointEnd { chunks: 3, bytes: 12 },
        Frame::Ping { nonce: 5, fingerprint: None },
        Frame::Ping { nonce: 6, fingerprint: Some(Fingerprint { index: Index(1024), hash: 42 }) },
        Frame::Pong { nonce: 5 },
    ]);
    frames
}

fn encoded(frame: &Frame) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes).expect("a frame of ordinary size");
    bytes
}

#[test]
fn a_frame_reads_back_and_leaves_what_follows() {
    for frame in samples() {
        let mut bytes = encoded(&frame);
        for length in 0..bytes.len() {
            let mut cut = BytesMut::from(&bytes[..length]);
            assert_eq!(Frame::decode(&mut cut), Ok(None), "{length} bytes of {frame:?}");
            assert_eq!(cut.len(), length, "nothing is taken from what is not complete");
        }
        bytes.put_slice(b"next");
        assert_eq!(Frame::decode(&mut bytes), Ok(Some(frame)));
        assert_eq!(&bytes[..], b"next");
    }
}

#[test]
fn a_batch_is_its_frames_one_after_the_other() {
    let mut bytes = BytesMut::new();
    for frame in samples() {
        frame.encode(&mut bytes).expect("a frame of ordinary size");
    }
    for frame in samples() {
        assert_eq!(Frame::decode(&mut bytes), Ok(Some(frame)));
    }
    assert_eq!(Frame::decode(&mut bytes), Ok(None));
}

#[test]
fn a_claimed_length_is_checked_before_it_is_waited_for() {
    for length in [0, FRAME_BYTES_MAX as u32 + 1, u32::MAX] {
        let read = Frame::decode(&mut BytesMut::from(&length.to_le_bytes()[..]));
        assert_eq!(read, Err(FrameError::Length { length: length as usize }));
    }
    let mut largest = BytesMut::from(&(FRAME_BYTES_MAX as u32).to_le_bytes()[..]);
    let before = largest.capacity();
    assert_eq!(Frame::decode(&mut largest), Ok(None));
    assert_eq!(largest.capacity(), before, "nothing is allocated by what a peer claims");
}

#[test]
fn what_is_too_large_is_not_sent() {
    let mut bytes = BytesMut::from(&b"before"[..]);
    let body = Bytes::from(vec![0; FRAME_BYTES_MAX]);
    let frame = Frame::ForwardReply { id: 1, body: body.clone() };
    assert_eq!(frame.encode(&mut bytes), Err(TooLarge { bytes: FRAME_BYTES_MAX + 9 }));
    assert_eq!(&bytes[..], b"before");
    let frame = Frame::ForwardReply { id: 1, body: body.slice(..FORWARD_BYTES_MAX) };
    assert_eq!(frame.encode(&mut bytes), Ok(()));
}

#[test]
fn the_largest_entry_fits() {
    let frame = append(at(5, 1), vec![entry(5, 2, &vec![1; ENTRY_PAYLOAD_BYTES_MAX])]);
    assert_eq!(Frame::decode(&mut encoded(&frame)), Ok(Some(frame)));
}

#[test]
fn entries_that_are_not_one_piece_of_a_log_are_refused() {
    let out_of_order = FrameError::Value { what: "the order of an append's entries" };
    for (previous, entries) in [
        (at(4, 3), vec![entry(4, 5, b"a gap")]),
        (at(4, 3), vec![entry(4, 3, b"not after previous")]),
        (at(4, 3), vec![entry(4, 4, b""), entry(4, 6, b"a gap")]),
        (at(4, 3), vec![entry(3, 4, b"a term that falls")]),
        (at(4, 3), vec![entry(5, 4, b""), entry(4, 5, b"a term that falls")]),
        (at(4, 3), vec![entry(6, 4, b"a term beyond the leader's")]),
        (at(4, u64::MAX), vec![entry(4, 0, b"an index that wraps")]),
    ] {
        let frame = append(previous, entries);
        assert_eq!(Frame::decode(&mut encoded(&frame)), Err(out_of_order.clone()), "{frame:?}");
    }
}

#[test]
fn a_damaged_record_is_refused() {
    let mut bytes = encoded(&append(at(4, 3), vec![entry(4, 4, b"payload")]));
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert!(matches!(Frame::decode(&mut bytes), Err(FrameError::Record(RecordError::Checksum { .. }))));
}

#[test]
fn a_damaged_checkpoint_piece_is_refused() {
    let mut bytes = encoded(&Frame::CheckpointChunk { bytes: Bytes::from_static(b"piece") });
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert_eq!(Frame::decode(&mut bytes), Err(FrameError::Value { what: "a checkpoint piece's checksum" }));
}

#[test]
fn values_out_of_range_are_refused() {
    let refused = |frame: &Frame, at: usize, value: u8, what: &'static str| {
        let mut bytes = encoded(frame);
        bytes[at] = value;
        assert_eq!(Frame::decode(&mut bytes), Err(FrameError::Value { what }), "{frame:?}");
    };
    let reply = Message::AppendReply {
        term: Term(5),
        outcome: AppendOutcome::Accepted { written: Index(7), durable: Index(7) },
        round: 0,
    };
    refused(&Frame::Message(reply), 5 + 8 + 8 + 1, 6, "a durable index beyond the written one");
    let formation = Formation { store: StoreId(1), voters: vec![member(0), member(1)] };
    let announce = Frame::Message(Message::Announce { formation: Some(formation), answers: None });
    refused(&announce, 5, MEMBERS_MAX as u8 + 1, "a formation's number of voters");
    refused(&announce, 5 + 1 + 16, 1, "the order of a formation's voters");
    refused(&announce, 5 + 1 + 16 + 9, MEMBERS_MAX as u8, "the ordinal of a formation's voter");
    let nobody = Message::ReadIndexReply { term: Term(5), token: ReadToken(1), index: None };
    refused(&Frame::Message(nobody), 5 + 8 + 8 + 1, 1, "the index of a read that has none");
    refused(&Frame::HandOver { id: 1, to: None, timeout_ms: 1 }, 5 + 8, 7, "an ordinal");
    let forward = Frame::Forward {
        id: 1,
        concern: WriteConcern::All,
        timeout_ms: 1,
        command: Bytes::from_static(b"c"),
    };
    refused(&forward, 5 + 8, MEMBERS_MAX as u8 + 1, "a write concern");
}

#[test]
fn unknown_kinds_and_wrong_lengths_are_refused() {
    let mut unknown = encoded(&Frame::Pong { nonce: 1 });
    unknown[4] = 0;
    assert_eq!(Frame::decode(&mut unknown), Err(FrameError::Kind(0)));
    let mut long = BytesMut::new();
    long.put_u32_le(10);
    long.put_u8(kind::PONG);
    long.put_slice(&[0; 9]);
    assert_eq!(Frame::decode(&mut long), Err(FrameError::Trailing { bytes: 1 }));
    let mut short = BytesMut::new();
    short.put_u32_le(4);
    short.put_u8(kind::PONG);
    short.put_slice(&[0; 3]);
    assert_eq!(Frame::decode(&mut short), Err(FrameError::Short { needed: 8, present: 3 }));
}

#[test]
fn no_mutation_panics_or_gives_more_than_it_has() {
    for frame in samples() {
        let bytes = encoded(&frame);
        for place in 0..bytes.len() {
            for value in 0..=u8::MAX {
                let mut mutated = bytes.clone();
                mutated[place] = value;
                let length = mutated.len();
                if let Ok(Some(Frame::Message(Message::Append { entries, .. }))) = Frame::decode(&mut mutated)
                {
                    let held: usize = entries.iter().map(|entry| entry.record().len()).sum();
                    assert!(held <= length, "entries of {held} bytes out of {length}");
                }
            }
        }
    }
}

/// Frames cut, joined and overwritten at random places: whatever comes out is an answer, not a panic, and each whole
/// frame takes at least its header off.
#[test]
fn random_streams_end_in_an_answer() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let pool: Vec<BytesMut> = samples().iter().map(encoded).collect();
    for _ in 0..20_000 {
        let mut stream = BytesMut::new();
        for _ in 0..1 + random(4) {
            let piece = &pool[random(pool.len())];
            let end = if random(4) == 0 { random(piece.len() + 1) } else { piece.len() };
            stream.put_slice(&piece[..end]);
        }
        for _ in 0..random(4) {
            let place = random(stream.len());
            if let Some(byte) = stream.get_mut(place) {
                *byte = random(256) as u8;
            }
        }
        loop {
            let before = stream.len();
            match Frame::decode(&mut stream) {
                Ok(Some(_)) => assert!(before - stream.len() > LENGTH_BYTES),
                Ok(None) | Err(_) => break,
            }
        }
    }
}
