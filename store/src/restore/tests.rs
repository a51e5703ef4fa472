//! Forged checkpoints: what no store can have cut is refused for what is wrong with it, and what is let in works.

use holdfast_engine::Random;

use super::*;
use crate::checkpoint::{Item, Raw};
use crate::digest::digest;
use crate::script::{Script, all, delete, put};
use crate::{ITEM_BYTES, View};

const HEADER: Header = Header {
    format: KEYSPACE_VERSION,
    index: Index(9),
    revision: Revision(4),
    compacted: Revision(2),
    hash: 7,
};

fn put_version(created: u64, modified: u64, version: u64) -> Item<'static> {
    let value = Some(Raw(b"v"));
    Item::Version { created: Revision(created), modified: Revision(modified), version, value }
}

fn deletion(modified: u64) -> Item<'static> {
    Item::Version { created: Revision(0), modified: Revision(modified), version: 0, value: None }
}

fn session<'a>(id: u128, sequence: u64, used: u64, outcome: &'a [u8]) -> Item<'a> {
    Item::Session { id: SessionId(id), sequence, used: Index(used), outcome: Raw(outcome) }
}

fn encoded(items: &[Item<'_>]) -> Vec<u8> {
    items.iter().fold(Vec::new(), |bytes, item| postcard::to_extend(item, bytes).expect("an item"))
}

/// Items with the right digest after them, and a footer that says what came.
fn forged(chunk: &[u8], limits: Limits) -> Result<Store, RestoreError> {
    let mut restore = Restore::with_limits(limits);
    restore.chunk(chunk)?;
    restore.end_key().map_err(|fault| fault.at(1))?;
    let footer = Footer {
        sessions: restore.sessions.len() as u64,
        keys: restore.counted.keys,
        versions: restore.counted.versions,
        live_keys: restore.counted.live_keys,
        live_bytes: restore.counted.live_bytes,
        history_bytes: restore.counted.history_bytes,
        digest: restore.digest,
    };
    restore.chunk(&encoded(&[Item::Footer(footer)]))?;
    restore.finish()
}

fn check(items: &[Item<'_>], limits: Limits, expected: &str) {
    let result = forged(&encoded(items), limits);
    let told = result.map_or_else(|error| error.to_string(), |_| "fine".to_owned());
    assert!(told.contains(expected), "{items:?}: {told}, not {expected}");
}

/// a put at 2 and 4, b deleted at 3.
fn sound<'a>() -> Vec<Item<'a>> {
    vec![
        Item::Header(HEADER),
        Item::Key(Raw(b"a")),
        put_version(2, 2, 1),
        put_version(2, 4, 2),
        Item::Key(Raw(b"b")),
        put_version(2, 2, 1),
        deletion(3),
    ]
}

/// The sound items with some of them replaced.
fn but<'a>(place: std::ops::Range<usize>, items: Vec<Item<'a>>) -> Vec<Item<'a>> {
    let mut all = sound();
    all.splice(place, items);
    all
}

fn with_header(header: Header) -> Vec<Item<'static>> {
    but(0..1, vec![Item::Header(header)])
}

#[test]
fn what_a_store_can_hold_is_fine() {
    let limits = Limits::default();
    check(&sound(), limits, "fine");
    check(&but(2..4, vec![put_version(2, 2, 1), put_version(2, 3, 2), deletion(4)]), limits, "fine");
    check(&but(5..6, vec![]), limits, "impossible version");
    check(&but(6..7, vec![put_version(2, 3, 2)]), limits, "fine");
    let empty = Header { index: Index(0), revision: Revision(1), compacted: Revision(0), ..HEADER };
    check(&[Item::Header(empty)], limits, "fine");
    let older = Header { compacted: Revision(3), ..HEADER };
    check(&but(0..1, vec![Item::Header(older)]), limits, "impossible version");
    let compacted = [
        Item::Header(older),
        Item::Key(Raw(b"a")),
        put_version(2, 2, 1),
        put_version(2, 4, 2),
        Item::Key(Raw(b"b")),
        deletion(3),
    ];
    check(&compacted, limits, "fine");
}

#[test]
fn impossible_headers_are_refused() {
    let limits = Limits::default();
    check(&with_header(Header { format: 3, ..HEADER }), limits, "format 3 is not known");
    check(
        &with_header(Header { revision: Revision(0), compacted: Revision(0), ..HEADER }),
        limits,
        "impossible revision",
    );
    check(&with_header(Header { compacted: Revision(5), ..HEADER }), limits, "impossible revision");
    check(&with_header(Header { index: Index(2), ..HEADER }), limits, "impossible revision");
    let last = Header {
        index: Index(u64::MAX),
        revision: Revision(u64::MAX),
        compacted: Revision(u64::MAX),
        ..HEADER
    };
    check(&with_header(last), limits, "impossible index");
    check(
        &with_header(Header { index: INDEX_MAX, revision: Revision(INDEX_MAX.0), ..HEADER }),
        limits,
        "revisions",
    );
    check(&with_header(HEADER), Limits { history_revisions: 1, ..limits }, "revisions");
    check(
        &with_header(Header { revision: Revision(5), ..HEADER }),
        limits,
        "a revision that changes nothing",
    );
}

#[test]
fn items_out_of_their_places_are_refused() {
    let limits = Limits::default();
    let outcome = Outcome::Compacted { revision: Revision(2) }.encode();
    check(&sound()[1..], limits, "before its header");
    check(&but(1..1, vec![Item::Header(HEADER)]), limits, "a second header");
    check(&but(1..2, vec![]), limits, "a version out of its place");
    check(&but(1..2, vec![Item::Key(Raw(b"b"))]), limits, "a key out of its place");
    check(&but(4..5, vec![Item::Key(Raw(b"A"))]), limits, "a key out of its place");
    check(&but(2..4, vec![]), limits, "a key without versions");
    check(&but(5..7, vec![]), limits, "a key without versions");
    check(&but(7..7, vec![session(1, 1, 1, &outcome)]), limits, "a session out of its place");
    check(
        &but(1..1, vec![session(2, 1, 1, &outcome), session(1, 1, 2, &outcome)]),
        limits,
        "a session out of",
    );
    check(
        &but(1..1, vec![session(1, 1, 1, &outcome), session(1, 1, 2, &outcome)]),
        limits,
        "a session out of",
    );
    check(&but(3..4, vec![put_version(2, 2, 2)]), limits, "a version out of its place");
}

#[test]
fn impossible_items_are_refused() {
    let limits = Limits::default();
    let long = vec![b'k'; KEY_BYTES_MAX + 1];
    let large = vec![b'v'; VALUE_BYTES_MAX + 1];
    check(&but(1..2, vec![Item::Key(Raw(b""))]), limits, "a key of an impossible length");
    check(&but(4..5, vec![Item::Key(Raw(&long))]), limits, "a key of an impossible length");
    let value = Some(Raw(&large[..]));
    let version = Item::Version { created: Revision(2), modified: Revision(2), version: 1, value };
    check(&but(2..3, vec![version]), limits, "a value of an impossible length");
    for wrong in [put_version(2, 4, 3), put_version(2, 4, 1), put_version(4, 4, 1), put_version(2, 5, 2)] {
        check(&but(3..4, vec![wrong]), limits, "impossible version");
    }
    for wrong in [put_version(1, 2, 1), put_version(2, 2, 2), put_version(0, 0, 0), put_version(1, 1, 1)] {
        check(&but(2..3, vec![wrong]), limits, "impossible version");
    }
    for wrong in [put_version(3, 3, 2), put_version(2, 3, 1)] {
        check(&but(2..4, vec![wrong]), limits, "impossible version");
    }
    check(&but(6..7, vec![deletion(3), deletion(4)]), limits, "impossible version");
    // A deletion with the figures of a value, and a value with those of a deletion.
    let wrong = |created, version, value| Item::Version {
        created: Revision(created),
        modified: Revision(3),
        version,
        value,
    };
    for wrong in [wrong(2, 0, None), wrong(0, 1, None), wrong(2, 2, None), wrong(0, 0, Some(Raw(b"v")))] {
        check(&but(6..7, vec![wrong]), limits, "impossible version");
    }
}

#[test]
fn impossible_sessions_are_refused() {
    let limits = Limits { sessions: 2, sessions_bytes: 2 * ITEM_BYTES, ..Limits::default() };
    let outcome = Outcome::Compacted { revision: Revision(2) }.encode();
    let with = |sessions: Vec<Item<'_>>, expected| check(&but(1..1, sessions), limits, expected);
    with(vec![session(1, 1, 9, &outcome), session(2, 1, 8, &outcome)], "fine");
    with(vec![session(1, 0, 1, &outcome)], "impossible session");
    with(vec![session(1, 1, 0, &outcome)], "impossible session");
    with(vec![session(1, 1, 10, &outcome)], "impossible session");
    with(vec![session(1, 1, 9, &outcome), session(2, 1, 9, &outcome)], "impossible session");
    with(vec![session(1, 1, 9, b"\x01\xff")], "does not decode");
    let three = [1, 2, 3].map(|id| session(id, 1, id as u64, &outcome));
    with(three.into(), "can hold: sessions");
    let large = vec![0; OUTCOME_BYTES_MAX + 1];
    with(vec![session(1, 1, 1, &large)], "can hold: an outcome");
}

#[test]
fn more_than_the_limits_is_refused() {
    let limits = Limits::default();
    let live = ITEM_BYTES + 2;
    check(&sound(), Limits { quota_bytes: live, ..limits }, "fine");
    check(&sound(), Limits { quota_bytes: live - 1, ..limits }, "more than the limits allow");
    let history = 4 * (ITEM_BYTES + 1) + 2 * live;
    check(&sound(), Limits { history_bytes: history, ..limits }, "fine");
    check(&sound(), Limits { history_bytes: history - 1, ..limits }, "more than the limits allow");
    check(&sound(), Limits { quota_bytes: 1, history_bytes: 1, ..limits }, "can hold: keys and values");
}

#[test]
fn a_footer_with_other_figures_is_refused() {
    let chunk = encoded(&sound());
    let whole = forged(&chunk, Limits::default()).expect("sound");
    assert_eq!(whole.statistics().keys, 1);
    let digest = mix(0, digest(&chunk));
    let figures = Footer {
        sessions: 0,
        keys: 2,
        versions: 4,
        live_keys: 1,
        live_bytes: 130,
        history_bytes: 776,
        digest,
    };
    let with = |footer: Footer| {
        let mut restore = Restore::new();
        restore.chunk(&chunk)?;
        restore.chunk(&encoded(&[Item::Footer(footer)]))?;
        restore.finish()
    };
    assert_eq!(with(figures).map(|store| store.statistics()), Ok(whole.statistics()));
    for wrong in [
        Footer { sessions: 1, ..figures },
        Footer { keys: 1, ..figures },
        Footer { versions: 5, ..figures },
        Footer { live_keys: 2, ..figures },
        Footer { live_bytes: 131, ..figures },
        Footer { history_bytes: 0, ..figures },
    ] {
        assert!(matches!(with(wrong), Err(RestoreError::Invalid { chunk: 2, .. })), "{wrong:?}");
    }
    let wrong = Footer { digest: digest ^ 1, ..figures };
    assert!(matches!(with(wrong), Err(RestoreError::Damaged { chunks: 2 })));
}

/// Whatever is let in despite a forged digest is a store that works.
#[test]
fn what_is_let_in_works() {
    let mut random = Random::new(11);
    let sound = encoded(&sound());
    let (mut let_in, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut chunk = sound.clone();
        for _ in 0..1 + random.below(3) {
            let at = random.below(chunk.len() as u64) as usize;
            chunk[at] = random.below(8) as u8;
        }
        match forged(&chunk, Limits::default()) {
            Ok(store) => {
                let_in += 1;
                exercise(store);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(let_in > 100 && refused > 100, "{let_in} let in, {refused} refused");
}

fn exercise(store: Store) {
    let mut script = Script { store };
    script.run(put("a", "new"));
    script.run(all(vec![crate::TxnOperation::Delete(crate::Keys::Prefix("".into()))]));
    script.run(put("b", "new"));
    script.run(delete("a"));
    let revision = script.store.revision(View::Committed);
    script.store.events(script.store.compacted(View::Committed), b"", 100).expect("not compacted");
    script.run(crate::Operation::Compact { revision });
    script.run(put("a", "newer"));
    let mut cursor = script.store.begin_checkpoint();
    let mut restore = Restore::new();
    while let Some(chunk) = cursor.chunk(100) {
        restore.chunk(&chunk).expect("as it was cut");
    }
    restore.finish().expect("as it was cut");
}
