//! What comes from other members: the greeting and the frames.

use bytes::{Bytes, BytesMut};
use holdfast_engine::{
    AppendOutcome, CampaignCause, Checkpoint, Entry, Incarnation, Index, MemberId, Membership, Message,
    Ordinal, Position, ReadToken, Receipt, StoreId, Term, WriteConcern,
};
use holdfast_wire::{Fingerprint, Frame, Greeting, Hello, Lack, Purpose, Repair, TurnedAway};

use super::record::{entries, formation, membership_samples, mend_records};
use super::{SMALL, memory};
use crate::Target;
use crate::property::check_stream;

/// Frames on an open connection.
pub(super) const FRAME: Target = Target {
    name: "peer-frame",
    about: "frames between members",
    samples: frames,
    words: &[],
    mend: Some(|bytes| mend_frames(bytes)),
    run: read_frames,
    // An entry is a few words beside its record, which may be as short as 25 bytes; `Vec` doubles; what was read is
    // read twice here, and written once.
    memory: memory(SMALL, 24),
};

/// The beginning of a connection.
pub(super) const GREETING: Target = Target {
    name: "peer-greeting",
    about: "what members say first to each other",
    samples: greetings,
    words: &["HOLDFAS\n", "default/orders"],
    mend: Some(|bytes| super::client::mend_greeting(bytes)),
    run: read_greetings,
    memory: memory(SMALL, 12),
};

/// Bytes before the records in the body of an append: terms, positions, indexes, the round and a flag.
const APPEND_FIXED_BYTES: usize = 57;

/// Bytes before the records in the body of a repair's answer: one position.
const REPAIR_FIXED_BYTES: usize = 16;

const KIND_APPEND: u8 = 6;
const KIND_REPAIR_ENTRIES: u8 = 81;
const KIND_CHUNK: u8 = 48;

fn at(term: u64, index: u64) -> Position {
    Position::new(Term(term), Index(index))
}

fn member(ordinal: u8) -> MemberId {
    MemberId { ordinal: Ordinal(ordinal), incarnation: Incarnation(9) }
}

fn messages() -> Vec<Message> {
    let checkpoint = |membership| Checkpoint { position: at(5, 100), membership };
    let receipt = Receipt { by: Incarnation(9), durable: Index(2) };
    let mut messages = vec![
        Message::Announce { formation: None, answers: None },
        Message::Announce { formation: Some(formation()), answers: Some(member(2)) },
        Message::PreVote { term: Term(4), last: at(3, 9), cause: CampaignCause::Timeout },
        Message::PreVoteReply { term: Term(4), granted: true },
        Message::Vote { term: Term(4), last: at(3, 9), cause: CampaignCause::HandOver },
        Message::VoteReply { term: Term(4), granted: false },
        Message::Append {
            term: Term(5),
            previous: at(0, 0),
            entries: vec![],
            commit: Index(3),
            round: 7,
            answer: true,
            receipt,
        },
        Message::Append {
            term: Term(5),
            previous: at(4, 3),
            entries: entries(),
            commit: Index(3),
            round: 7,
            answer: true,
            receipt,
        },
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
        Message::CampaignNow { term: Term(6) },
        Message::ReadIndex { term: Term(6), token: ReadToken(11) },
        Message::ReadIndexReply { term: Term(6), token: ReadToken(11), index: Some(Index(12)) },
        Message::ReadIndexReply { term: Term(6), token: ReadToken(11), index: None },
    ];
    messages.extend(
        membership_samples()
            .into_iter()
            .map(|membership| Message::CheckpointOffer { term: Term(6), checkpoint: checkpoint(membership) }),
    );
    messages
}

fn frames() -> Vec<Vec<u8>> {
    let mut frames: Vec<Frame> = messages().into_iter().map(Frame::Message).collect();
    let forward = |concern| Frame::Forward {
        id: 17,
        concern,
        timeout_ms: 5000,
        command: Bytes::from_static(b"command"),
    };
    frames.extend([WriteConcern::Majority, WriteConcern::All, WriteConcern::Members(7)].map(forward));
    frames.extend([
        Frame::ForwardReply { id: 17, body: Bytes::from_static(b"answer") },
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
    let checkpoint = Checkpoint { position: at(5, 100), membership: membership_samples()[0] };
    frames.extend(
        [
            Repair::Ask { anchor: at(5, 9), after: Index(3) },
            Repair::Entries { previous: at(4, 3), entries: entries() },
            Repair::Lacking { lack: Lack::Unsure, checkpoint: None },
            Repair::Lacking { lack: Lack::Released, checkpoint: Some(Box::new(checkpoint)) },
        ]
        .map(Frame::Repair),
    );
    let mut samples = frames.iter().map(|frame| written(|out| encode(frame, out))).collect::<Vec<_>>();
    samples.push(samples.concat());
    samples
}

fn greetings() -> Vec<Vec<u8>> {
    let position = at(3, 9);
    let hello = |purpose| {
        Greeting::Hello(Hello {
            store: "default/orders".to_owned(),
            store_id: Some(StoreId(7)),
            member: member(2),
            process: 99,
            purpose,
        })
    };
    let greetings = [
        hello(Purpose::Replication),
        hello(Purpose::CheckpointFetch { position }),
        Greeting::TurnedAway(TurnedAway::OtherStore { store: "a/b".to_owned() }),
        Greeting::TurnedAway(TurnedAway::OtherFormation { store: StoreId(u128::MAX) }),
        Greeting::TurnedAway(TurnedAway::NoSuchOrdinal { ordinal: Ordinal(9), members: 3 }),
        Greeting::TurnedAway(TurnedAway::OwnOrdinal { ordinal: Ordinal(1) }),
        Greeting::TurnedAway(TurnedAway::Version { min: 1, max: 9 }),
        Greeting::TurnedAway(TurnedAway::NoCheckpoint { position }),
        Greeting::TurnedAway(TurnedAway::Busy),
    ];
    greetings.iter().map(|greeting| written(|out| greeting.encode(out))).collect()
}

/// What something appends to an empty buffer.
pub(super) fn written(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    write(&mut out);
    out.to_vec()
}

fn encode(frame: &Frame, out: &mut BytesMut) {
    frame.encode(out).expect("what was read is not too large to be written");
}

/// Give each frame the length that is there, and what is in it its checksums.
fn mend_frames(bytes: &mut [u8]) {
    super::client::mend_lengths(bytes, |body| match body.split_first_mut() {
        Some((&mut KIND_APPEND, rest)) if rest.len() > APPEND_FIXED_BYTES => {
            mend_records(&mut rest[APPEND_FIXED_BYTES..]);
        }
        Some((&mut KIND_REPAIR_ENTRIES, rest)) if rest.len() > REPAIR_FIXED_BYTES => {
            mend_records(&mut rest[REPAIR_FIXED_BYTES..]);
        }
        Some((&mut KIND_CHUNK, rest)) if rest.len() > 4 => {
            let checksum = crc32c::crc32c(&rest[4..]);
            rest[..4].copy_from_slice(&checksum.to_le_bytes());
        }
        _ => {}
    });
}

fn read_frames(bytes: &[u8]) {
    let decode =
        |read: &mut BytesMut| Frame::decode(read).inspect(|frame| frame.iter().for_each(check_frame));
    check_stream(bytes, decode, encode, true);
}

/// What the engine counts on.
fn check_frame(frame: &Frame) {
    match frame {
        Frame::Message(Message::Announce { formation: Some(formation), .. }) => {
            let membership = Membership::of(formation);
            assert_eq!(membership.len(), formation.voters.len(), "every voter has a place of its own");
            assert!(!membership.is_empty(), "a store has a voter");
        }
        Frame::Message(Message::Append { term, previous, entries, .. }) => {
            check_piece(*previous, entries);
            assert!(entries.iter().all(|entry| entry.term() <= *term));
        }
        Frame::Message(Message::AppendReply {
            outcome: AppendOutcome::Accepted { written, durable },
            ..
        }) => {
            assert!(durable <= written);
        }
        _ => {}
    }
}

/// They are one piece of one log.
fn check_piece(previous: Position, entries: &[Entry]) {
    let all = std::iter::once(previous).chain(entries.iter().map(Entry::position)).collect::<Vec<_>>();
    let follows = |pair: &[Position]| pair[0].index.next() == pair[1].index && pair[0].term <= pair[1].term;
    assert!(all.windows(2).all(follows), "{all:?}");
}

fn read_greetings(bytes: &[u8]) {
    // Later versions add fields at the end, and numbers of variable length can be written in several ways.
    check_stream(bytes, Greeting::decode, |greeting, out| greeting.encode(out), false);
}
