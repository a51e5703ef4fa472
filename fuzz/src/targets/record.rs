//! Records of the log, from disks and peers, and the memberships in them.

use bytes::{Bytes, BytesMut};
use holdfast_engine::{
    Entry, EntryKind, Formation, Incarnation, Index, MemberId, Membership, Ordinal, Position,
    RECORD_HEADER_BYTES, StoreId, Term,
};

use super::{SMALL, memory};
use crate::property::check_stream;
use crate::{Target, shape};

/// One record after the other.
pub(super) const RECORD: Target = Target {
    name: "log-record",
    about: "records of the log, one after the other",
    samples: records,
    words: &[],
    mend: Some(|bytes| mend_records(bytes)),
    run: read_records,
    // An entry is a few words beside its record, which may be as short as 25 bytes; `Vec` doubles.
    memory: memory(SMALL, 12),
};

/// The payload of an entry that says who votes.
pub(super) const MEMBERSHIP: Target = Target {
    name: "membership",
    about: "who votes, as entries of the log say it",
    samples: memberships,
    words: &["\u{1}\u{7}\u{0}", "\u{1}\u{0}\u{1}"],
    mend: None,
    run: read_membership,
    memory: memory(SMALL, 4),
};

/// Bytes of a record that its length does not count: length and checksum.
const PREFIX_BYTES: usize = 8;

pub(super) fn entry(term: u64, index: u64, kind: EntryKind, payload: &[u8]) -> Entry {
    Entry::new(Position::new(Term(term), Index(index)), kind, payload)
}

pub(super) fn formation() -> Formation {
    let voter = |ordinal: u8| MemberId {
        ordinal: Ordinal(ordinal),
        incarnation: Incarnation(0x1234 + u64::from(ordinal)),
    };
    Formation { store: StoreId(u128::MAX - 5), voters: (0..3).map(voter).collect() }
}

/// Memberships of all sizes.
pub(super) fn membership_samples() -> Vec<Membership> {
    let three = Membership::of(&formation());
    let one = three.without(Ordinal(0)).without(Ordinal(2));
    let seven = (0..7).fold(Membership::default(), |membership, ordinal| {
        membership.with(MemberId {
            ordinal: Ordinal(ordinal),
            incarnation: Incarnation(u64::MAX - u64::from(ordinal)),
        })
    });
    vec![three, one, seven, seven.without(Ordinal(6))]
}

/// A log.
pub(super) fn entries() -> Vec<Entry> {
    let membership = membership_samples()[1].encode();
    vec![
        entry(4, 4, EntryKind::Noop, b""),
        entry(5, 5, EntryKind::Command, b"payload"),
        entry(5, 6, EntryKind::Membership, &membership),
        entry(5, 7, EntryKind::Command, &[7; 300]),
    ]
}

fn records() -> Vec<Vec<u8>> {
    let each = entries().iter().map(|entry| entry.record().to_vec()).collect::<Vec<_>>();
    let all = each.concat();
    [each, vec![all.clone(), [&all[..], &[0; 64]].concat()]].concat()
}

fn memberships() -> Vec<Vec<u8>> {
    membership_samples().iter().map(|membership| membership.encode().to_vec()).collect()
}

/// Set the lengths and checksums of one record after the other right.
pub(super) fn mend_records(mut bytes: &mut [u8]) {
    while bytes.len() >= RECORD_HEADER_BYTES && bytes[..PREFIX_BYTES] != [0; PREFIX_BYTES] {
        let word = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")) as usize;
        let fits = (RECORD_HEADER_BYTES..=bytes.len()).contains(&(word.saturating_add(PREFIX_BYTES)));
        let whole = if fits { word + PREFIX_BYTES } else { bytes.len() };
        let (record, rest) = bytes.split_at_mut(whole);
        record[..4].copy_from_slice(&((whole - PREFIX_BYTES) as u32).to_le_bytes());
        let checksum = crc32c::crc32c(&record[PREFIX_BYTES..]);
        record[4..8].copy_from_slice(&checksum.to_le_bytes());
        bytes = rest;
    }
}

fn read_records(bytes: &[u8]) {
    let decode = |read: &mut BytesMut| {
        let mut shared = Bytes::copy_from_slice(read);
        let entry = Entry::decode(&mut shared)?;
        bytes::Buf::advance(read, entry.record().len());
        assert_eq!(read.len(), shared.len(), "only the record is taken");
        Ok::<_, holdfast_engine::RecordError>(Some(entry))
    };
    let encode = |entry: &Entry, out: &mut BytesMut| {
        out.extend_from_slice(&Entry::new(entry.position(), entry.kind(), &entry.payload()).record());
    };
    check_stream(bytes, decode, encode, true);
}

fn read_membership(bytes: &[u8]) {
    let Some(membership) = Membership::decode(bytes) else { return };
    assert_eq!(&membership.encode()[..], bytes, "there is one way to write a membership");
    assert!((1..=holdfast_engine::MEMBERS_MAX).contains(&membership.len()));
    assert!(membership.majority() * 2 > membership.len());
    assert_eq!(membership.voters().count(), membership.len());
    for voter in membership.voters() {
        assert!(membership.is_voter(voter));
        assert!(!membership.without(voter.ordinal).is_voter(voter));
        assert!(membership.without(voter.ordinal).was_removed(voter));
    }
    shape::note(&membership);
}
