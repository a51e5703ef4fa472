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

mod logs {
    //! Forged message logs.

    use super::*;
    use crate::logs::checkpoint::{Content, LogItem, LogsFooter, MessageItem};
    use crate::{Deduplication, LogSettings, MESSAGE_BYTES, MESSAGE_KEY_BYTES_MAX, MessageHash, Sequence};

    const SETTINGS: LogSettings = LogSettings {
        deduplication: Deduplication::Content,
        deduplication_window: 3,
        retain_messages: None,
        retain_ms: None,
        retain_bytes: None,
    };

    fn header() -> Item<'static> {
        Item::Header(Header { format: LOGS_VERSION, index: Index(9), ..HEADER })
    }

    fn log(
        name: &'static str,
        settings: LogSettings,
        [first, next, window, time_ms]: [u64; 4],
    ) -> Item<'static> {
        let (first, next, window) = (Sequence(first), Sequence(next), Sequence(window));
        Item::Log(LogItem { settings, first, next, window, time_ms, name: Raw(name.as_bytes()) })
    }

    fn message(time_ms: u64, text: &'static str) -> Item<'static> {
        let content = Content::Message(Raw(text.as_bytes()));
        Item::Message(MessageItem { time_ms, attempt: 1, key: None, content })
    }

    fn keyed<'a>(key: &'a [u8], content: Content<'static>) -> Item<'a> {
        Item::Message(MessageItem { time_ms: 1, attempt: 1, key: Some(Raw(key)), content })
    }

    fn hash(time_ms: u64, text: &str) -> Item<'static> {
        let content = Content::Hash(MessageHash::of(text.as_bytes()));
        Item::Message(MessageItem { time_ms, attempt: 1, key: None, content })
    }

    fn end(logs: u64, messages: u64, bytes: u64) -> Item<'static> {
        Item::Logs(LogsFooter { logs, messages, bytes: messages * MESSAGE_BYTES + bytes })
    }

    /// The keys of the sound checkpoint, then these items.
    fn check_logs(items: Vec<Item<'_>>, expected: &str) {
        let mut all = but(0..1, vec![header()]);
        all.extend(items);
        check(&all, Limits::default(), expected);
    }

    #[test]
    fn what_a_store_can_hold_is_fine() {
        let sound = || {
            vec![
                log("a", SETTINGS, [3, 5, 2, 9]),
                hash(5, "x"),
                message(5, "y"),
                message(9, "z"),
                log("b", SETTINGS, [1, 1, 1, 0]),
                end(2, 3, 2),
            ]
        };
        let with = |place: std::ops::Range<usize>, items: Vec<Item<'static>>, expected| {
            let mut all = sound();
            all.splice(place, items);
            check_logs(all, expected);
        };
        with(0..0, vec![], "fine");
        // The log.
        with(4..5, vec![log("a", SETTINGS, [1, 1, 1, 0])], "a log out of its place");
        with(4..5, vec![log("b/c", SETTINGS, [1, 1, 1, 0])], "an impossible name");
        with(4..5, vec![log("b", SETTINGS, [1, 1, 1, 7])], "an impossible log");
        with(4..5, vec![log("b", SETTINGS, [1, 0, 1, 0])], "an impossible log");
        with(4..5, vec![log("b", SETTINGS, [0, 1, 1, 0])], "an impossible log");
        with(4..5, vec![log("b", SETTINGS, [1, 1, 2, 0])], "an impossible log");
        with(
            4..5,
            vec![log("b", LogSettings { retain_ms: Some(0), ..SETTINGS }, [1, 1, 1, 0])],
            "an impossible log",
        );
        with(4..5, vec![log("b", SETTINGS, [8, 8, 8, 7])], "an impossible log");
        // Nine entries: three made a revision, four may have added messages, the others made logs.
        with(4..5, vec![log("b", SETTINGS, [3, 3, 3, 7])], "fine");
        with(4..5, vec![log("b", SETTINGS, [4, 4, 4, 7])], "an impossible log");
        with(
            5..6,
            vec![log("c", SETTINGS, [1, 1, 1, 0]), log("d", SETTINGS, [1, 1, 1, 0])],
            "an impossible log",
        );
        // Its messages.
        with(3..4, vec![], "a log without all of its messages");
        with(1..2, vec![message(5, "x")], "an impossible message");
        with(2..3, vec![hash(5, "y")], "an impossible message");
        with(2..3, vec![message(4, "y")], "an impossible message");
        with(3..4, vec![message(8, "z")], "another time than its last message");
        with(3..4, vec![message(10, "z")], "an impossible message");
        with(4..4, vec![message(9, "more")], "a message out of its place");
        with(0..1, vec![], "a message out of its place");
        with(2..3, vec![message(5, "z")], "a message twice in one window");
        with(1..2, vec![keyed(b"k", Content::Hash(MessageHash::of(b"x")))], "an impossible message");
        // What its settings say.
        with(
            0..1,
            vec![log("a", LogSettings { deduplication_window: 2, ..SETTINGS }, [3, 5, 2, 9])],
            "settings say",
        );
        with(
            0..1,
            vec![log("a", LogSettings { retain_messages: Some(1), ..SETTINGS }, [3, 5, 2, 9])],
            "settings say",
        );
        with(
            0..1,
            vec![log("a", LogSettings { retain_ms: Some(3), ..SETTINGS }, [3, 5, 2, 9])],
            "settings say",
        );
        with(
            0..1,
            vec![log("a", LogSettings { retain_bytes: Some(1), ..SETTINGS }, [3, 5, 2, 9])],
            "settings say",
        );
        // What stands behind them.
        with(5..6, vec![], "a footer out of its place");
        with(5..6, vec![end(1, 3, 2)], "other figures behind its logs");
        with(5..6, vec![end(2, 4, 2)], "other figures behind its logs");
        with(5..6, vec![end(2, 3, 1)], "other figures behind its logs");
        with(6..6, vec![end(2, 3, 2)], "the end of the logs out of its place");
        with(6..6, vec![log("c", SETTINGS, [1, 1, 1, 0])], "a log out of its place");
        with(6..6, vec![Item::Key(Raw(b"z"))], "a key out of its place");
        let outcome = Outcome::Compacted { revision: Revision(2) }.encode();
        let mut all = sound();
        all.push(session(1, 1, 1, &outcome));
        check_logs(all, "a session out of its place");
        check_logs(vec![end(0, 0, 0)], "the end of the logs out of its place");
        let mut older = super::sound();
        older.extend(sound());
        check(&older, Limits::default(), "a log out of its place");
    }

    #[test]
    fn keys_and_sizes_are_looked_at() {
        let keys = LogSettings { deduplication: Deduplication::Key, ..SETTINGS };
        let one = |item| vec![log("a", keys, [1, 2, 1, 1]), item, end(1, 1, 4)];
        check_logs(one(keyed(b"key", Content::Message(Raw(b"m")))), "fine");
        check_logs(one(keyed(b"", Content::Message(Raw(b"m")))), "a message's key of an impossible length");
        let long = vec![b'k'; MESSAGE_KEY_BYTES_MAX + 1];
        check_logs(one(keyed(&long, Content::Message(Raw(b"m")))), "a message's key of an impossible length");
        let large: &'static [u8] = vec![0; crate::MESSAGE_BYTES_MAX + 1].leak();
        check_logs(one(keyed(b"key", Content::Message(Raw(large)))), "a message of an impossible length");
        let pair = |other: &'static [u8]| {
            let message = |key| keyed(key, Content::Message(Raw(b"m")));
            vec![log("a", keys, [1, 3, 1, 1]), message(b"key"), message(other), end(1, 2, 8)]
        };
        check_logs(pair(b"kex"), "fine");
        check_logs(pair(b"key"), "a message twice in one window");
        let mut all = but(0..1, vec![header()]);
        all.extend(pair(b"kex"));
        let live = ITEM_BYTES + 2;
        let quota = live + 2 * MESSAGE_BYTES + 8;
        check(&all, Limits { quota_bytes: quota, ..Limits::default() }, "fine");
        check(&all, Limits { quota_bytes: quota - 1, ..Limits::default() }, "more than the limits allow");
        check(
            &all,
            Limits { quota_bytes: 200, history_bytes: 1 << 20, ..Limits::default() },
            "can hold: messages",
        );
        check(&all, Limits { logs: 0, ..Limits::default() }, "can hold: logs");
    }

    /// The bytes are a format: stores of other versions read them.
    #[test]
    fn the_bytes_stay_what_they_are() {
        let limits = LogSettings { retain_messages: Some(2), retain_ms: Some(300), ..SETTINGS };
        let bytes = encoded(&[log("ab", limits, [3, 5, 2, 9]), message(5, "y"), end(1, 3, 4)]);
        let figures =
            [&[5, 0, 3, 1, 2, 1, 0xac, 2, 0, 3, 5, 2, 9, 2, b'a', b'b'][..], &[6, 5, 1, 0, 0, 1, b'y']];
        assert_eq!(bytes, [figures[0], figures[1], &[7, 1, 3, 0xc4, 4]].concat());
        let hash = encoded(&[hash(5, "")]);
        assert_eq!(hash[..5], [6, 5, 1, 0, 1]);
        assert_eq!(hash[5..], MessageHash::of(b"").0);
        assert!(MessageHash::of(b"").to_string().starts_with("e3b0c44298fc1c14"));
    }
}
