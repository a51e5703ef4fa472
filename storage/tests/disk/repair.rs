//! Every flipped bit and every lost page of a log is repaired from a good copy, or was nothing that counts; lost votes
//! and lost identities become new incarnations; and what nobody has is named.

use std::fs;
use std::path::{Path, PathBuf};

use holdfast_engine::Incarnation;
use holdfast_engine::{Entry, Index, Position, Restored, Write};
use holdfast_storage::{Damaged, LogPolicy, Need, OpenError, Repaired, STORE_NAME_BYTES_MAX, Survey, survey};
use tempfile::TempDir;

use crate::member::{
    LIFE, Member, OPTIONS, copy, entries, formation, owner, position, reopen, segments, state,
};

/// The life that a member goes on as when it has forgotten.
const NEXT: Incarnation = Incarnation(0xbeef);

/// Bytes of a segment's header.
const HEADER_BYTES: usize = 4096;

/// More bytes than a peer gives at once, so that a hole takes several answers.
const ANSWER_BYTES: usize = 200;

/// In memory where there is one: tens of thousands of repairs flush hundreds of thousands of times.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

fn look(path: &Path) -> Survey {
    survey(path, &owner(), LogPolicy::Kept, NEXT, OPTIONS).unwrap_or_else(|error| panic!("{error:?}"))
}

fn damaged(path: &Path) -> Damaged {
    match look(path) {
        Survey::Damaged(damaged) => *damaged,
        Survey::Whole(opened) => panic!("nothing is damaged: {:?}", opened.restored),
    }
}

/// A peer with this log, which begins after index 0.
fn given(log: &[Entry], anchor: Position, after: Index) -> Option<(Position, Vec<Entry>)> {
    let end = usize::try_from(anchor.index.0).expect("small");
    (end > 0 && log.get(end - 1).map(Entry::position) == Some(anchor)).then(|| {
        let mut first = end - 1;
        let mut bytes = log[first].record().len();
        while first > after.0 as usize && bytes + log[first - 1].record().len() <= ANSWER_BYTES {
            first -= 1;
            bytes += log[first].record().len();
        }
        let previous = first.checked_sub(1).map_or(Position::ZERO, |at| log[at].position());
        (previous, log[first..end].to_vec())
    })
}

/// Fetch what is lacking from a peer with this log, and repair.
fn repaired(mut damaged: Damaged, log: &[Entry], what: &str) -> Repaired {
    while let Need::Entries { after, anchor } = damaged.need() {
        let (previous, entries) =
            given(log, anchor, after).unwrap_or_else(|| panic!("{what}: {anchor} was never in the log"));
        damaged.fill(previous, entries).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    damaged.repair(false).unwrap_or_else(|error| panic!("{what}: {error:?}"))
}

fn opened(path: &Path, what: &str) -> Restored {
    reopen(path).unwrap_or_else(|error| panic!("{what}: {error:?}")).restored
}

/// Look at a folder whose log should hold `log`, repair it if it is damaged, and find everything. Whether it was.
fn check(path: &Path, log: &[Entry], what: &str) -> bool {
    match look(path) {
        Survey::Whole(opened) => {
            assert_eq!(opened.restored.entries, log, "{what} went unnoticed");
            false
        }
        Survey::Damaged(damaged) => {
            assert!(!damaged.faults().is_empty(), "{what}");
            let repaired = repaired(*damaged, log, what);
            assert_eq!(repaired.incarnation, LIFE, "{what}: it forgets nothing");
            let restored = opened(path, what);
            assert_eq!(restored.entries, log, "{what}");
            assert_eq!(restored.hard_state.term.0, log.last().map_or(1, |entry| entry.term().0), "{what}");
            true
        }
    }
}

/// A closed folder with these batches, which follow each other or replace what is there.
fn closed(batches: &[Vec<Entry>]) -> (TempDir, Vec<Entry>) {
    let folder = folder();
    let mut member = Member::formed(folder.path());
    let mut log: Vec<Entry> = Vec::new();
    for batch in batches {
        if batch[0].term() > log.last().map_or(state(1).term, Entry::term) {
            member.write([Write::HardState(state(batch[0].term().0))]);
        }
        log.truncate((batch[0].index().0 - 1) as usize);
        log.extend(batch.iter().cloned());
        member.append(batch.clone());
    }
    member.writer.stop();
    (folder, log)
}

/// Batches of all shapes, with entries that are replaced, in a segment with 4 KiB of records and marks.
fn history() -> Vec<Vec<Entry>> {
    let mut batches = vec![entries(1, 2, 1, 40), entries(3, 3, 1, 0), entries(4, 9, 1, 20)];
    batches.push(entries(8, 12, 2, 60));
    batches.extend((13..40).map(|index| entries(index, index, 2, 10)));
    batches.push(entries(37, 38, 4, 40));
    batches.push(entries(39, 44, 4, 10));
    batches
}

/// Where the content of a segment ends, with its seal.
fn used(segment: &[u8]) -> usize {
    segment.iter().rposition(|byte| *byte != 0).expect("a header") + 8
}

/// Try every change of one file in a copy of a folder. How many of them had to be repaired.
fn all(folder: &Path, path: &Path, log: &[Entry], changes: impl Iterator<Item = (Vec<u8>, String)>) -> usize {
    let relative = path.strip_prefix(folder).expect("in the folder");
    let mut found = 0;
    let scratch = self::folder();
    copy(folder, scratch.path());
    for (bytes, what) in changes {
        fs::write(scratch.path().join(relative), bytes).expect("writable");
        if check(scratch.path(), log, &what) {
            found += 1;
            fs::remove_dir_all(scratch.path().join("log")).expect("removed");
            copy(folder, scratch.path());
        }
    }
    found
}

#[test]
fn every_flipped_bit_of_a_segment_is_repaired_or_harmless() {
    let (folder, log) = closed(&history());
    let paths = segments(folder.path());
    assert_eq!(paths.len(), 1, "all of it is in one segment");
    let whole = fs::read(&paths[0]).expect("readable");
    let end = used(&whole);
    assert!(end > HEADER_BYTES + 3800, "{end}");
    // All of the content, all of the header, and some of the zeros behind each.
    let sparse = |range: std::ops::Range<usize>| range.filter(|bit| bit.is_multiple_of(499));
    let bits = (0..200 * 8)
        .chain(sparse(200 * 8..HEADER_BYTES * 8))
        .chain(HEADER_BYTES * 8..end * 8)
        .chain(sparse(end * 8..whole.len() * 8))
        .collect::<Vec<_>>();
    let flipped = |bit: usize| {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        (bytes, format!("bit {} of byte {}", bit % 8, bit / 8))
    };
    // Two halves at a time: this is the longest test of the crate.
    let (one, two) = bits.split_at(bits.len() / 2);
    let found = std::thread::scope(|scope| {
        let halves = [one, two].map(|half| {
            scope.spawn(|| all(folder.path(), &paths[0], &log, half.iter().map(|bit| flipped(*bit))))
        });
        halves.map(|half| half.join().expect("no half failed")).iter().sum::<usize>()
    });
    assert!(found > 3700 * 8, "{found} of {} had to be repaired", bits.len());
}

/// A log over several segments.
fn long() -> (TempDir, Vec<Entry>) {
    let mut batches = (0..20).map(|at| entries(at * 3 + 1, at * 3 + 3, 1, 300)).collect::<Vec<_>>();
    batches.push(entries(50, 70, 3, 250));
    closed(&batches)
}

#[test]
fn every_lost_misdirected_or_stale_page_is_repaired() {
    const PAGE: usize = 512;
    let (folder, log) = long();
    let paths = segments(folder.path());
    assert!(paths.len() > 3);
    let contents = paths.iter().map(|path| fs::read(path).expect("readable")).collect::<Vec<_>>();
    // The last segment's end is another matter: nothing tells a lost last page from one that was never written.
    for at in 0..paths.len() - 1 {
        let mut changes = Vec::new();
        for page in (0..contents[at].len()).step_by(PAGE) {
            let mut replace = |with: &[u8], what: &str| {
                let mut bytes = contents[at].clone();
                bytes[page..page + PAGE].copy_from_slice(with);
                if bytes != contents[at] {
                    changes.push((bytes, format!("{what} at {page} of segment {at}")));
                }
            };
            replace(&[0; PAGE], "zeros");
            replace(&[0xff; PAGE], "ones");
            for (other, content) in contents.iter().enumerate() {
                let from = if other == at { (page + PAGE) % content.len() } else { page };
                replace(&content[from..from + PAGE], &format!("what belongs to {from} of segment {other}"));
            }
        }
        let tried = changes.len();
        assert_eq!(all(folder.path(), &paths[at], &log, changes.into_iter()), tried, "segment {at}");
    }
}

#[test]
fn a_segment_that_is_cut_anywhere_missing_exchanged_or_empty_is_repaired() {
    let (folder, log) = long();
    let paths = segments(folder.path());
    for (at, path) in paths.iter().enumerate().take(paths.len() - 1) {
        let whole = fs::read(path).expect("readable");
        let lengths = (0..whole.len()).filter(|length| length % 97 == 0 || *length > whole.len() - 64);
        let cut = lengths.map(|length| (whole[..length].to_vec(), format!("{at} cut to {length}")));
        let changes = cut.chain([(vec![0; whole.len()], format!("{at} zeroed"))]).collect::<Vec<_>>();
        let tried = changes.len();
        assert_eq!(all(folder.path(), path, &log, changes.into_iter()), tried, "segment {at}");
    }
    let case = |what: &str, change: &dyn Fn(&[PathBuf])| {
        let copied = self::folder();
        copy(folder.path(), copied.path());
        change(&segments(copied.path()));
        assert!(check(copied.path(), &log, what), "{what}");
    };
    for at in 0..paths.len() - 1 {
        case(&format!("{at} missing"), &|paths| fs::remove_file(&paths[at]).expect("removed"));
    }
    case("two missing", &|paths| paths[1..3].iter().for_each(|path| fs::remove_file(path).expect("removed")));
    case("exchanged", &|paths| {
        let first = fs::read(&paths[0]).expect("readable");
        fs::rename(&paths[1], &paths[0]).expect("renamed");
        fs::write(&paths[1], first).expect("writable");
    });
}

#[test]
fn entries_that_read_well_and_are_not_those_that_were_written_are_repaired() {
    let (folder, log) = closed(&[entries(1, 2, 1, 30), entries(3, 3, 1, 30), entries(4, 5, 1, 30)]);
    let path = segments(folder.path()).remove(0);
    let whole = fs::read(&path).expect("readable");
    let changes = log[..3].iter().map(|entry| {
        let record = entry.record();
        let at = whole.windows(record.len()).position(|window| window == &record[..]).expect("it is there");
        let other = Entry::new(entry.position(), entry.kind(), &[0xee; 30]).record();
        let mut bytes = whole.clone();
        bytes[at..at + other.len()].copy_from_slice(&other);
        (bytes, format!("another entry {}", entry.index()))
    });
    let changes = changes.collect::<Vec<_>>();
    assert_eq!(all(folder.path(), &path, &log, changes.into_iter()), 3);
}

#[test]
fn several_places_are_repaired_at_once() {
    let (folder, log) = long();
    for path in segments(folder.path()) {
        let mut bytes = fs::read(&path).expect("readable");
        for at in [20, HEADER_BYTES + 100] {
            bytes[at] ^= 1;
        }
        fs::write(&path, bytes).expect("writable");
    }
    assert!(damaged(folder.path()).faults().len() > 3);
    assert!(check(folder.path(), &log, "every segment"));
    assert_eq!(segments(folder.path()).len(), 1, "the repaired log is one segment");
    let mut member = Member::start(reopen(folder.path()).expect("repaired"));
    member.append(entries(71, 90, 3, 300));
    drop(member);
    assert_eq!(opened(folder.path(), "gone on").entries.len(), 90);
}

#[test]
fn what_a_peer_with_other_entries_gives_is_not_taken() {
    let (folder, log) = long();
    let path = segments(folder.path()).remove(1);
    let mut bytes = fs::read(&path).expect("readable");
    bytes[HEADER_BYTES + 100] ^= 1;
    fs::write(&path, bytes).expect("writable");
    let mut damaged = damaged(folder.path());
    let Need::Entries { after, anchor } = damaged.need() else { panic!("entries are lacking") };
    let (previous, good) = given(&log, anchor, after).expect("it has them");
    let other = entries(anchor.index.0, anchor.index.0, anchor.term.0 + 1, 10);
    for (previous, wrong) in [(previous, other), (position(0, 0), good.clone()), (previous, Vec::new())] {
        assert!(damaged.fill(previous, wrong).is_err());
    }
    damaged.fill(previous, good).expect("these are right");
}

#[test]
fn a_member_in_repair_gives_what_it_can_vouch_for_and_nothing_else() {
    let (folder, log) = long();
    let path = segments(folder.path()).remove(1);
    let mut bytes = fs::read(&path).expect("readable");
    bytes[HEADER_BYTES + 100] ^= 1;
    fs::write(&path, bytes).expect("writable");
    let damaged = damaged(folder.path());
    let Need::Entries { after, anchor } = damaged.need() else { panic!("entries are lacking") };
    let mut vouched = 0;
    for entry in &log {
        let given = damaged.give(entry.position(), Index(0), usize::MAX);
        assert_eq!(given.is_none(), entry.index() > after && entry.index() <= anchor.index);
        if let Some((previous, given)) = given {
            assert_eq!(given, log[previous.index.0 as usize..entry.index().0 as usize]);
            vouched += 1;
        }
    }
    assert!(vouched > 40 && vouched < log.len(), "{vouched}");
    assert!(damaged.give(position(1, 9), Index(0), usize::MAX).is_none());
}

#[test]
fn a_checkpoint_takes_the_place_of_entries_that_nobody_has() {
    let (folder, log) = long();
    let path = segments(folder.path()).remove(1);
    let mut bytes = fs::read(&path).expect("readable");
    bytes[HEADER_BYTES + 100] ^= 1;
    fs::write(&path, bytes).expect("writable");
    let mut damaged = damaged(folder.path());
    let Need::Entries { anchor, .. } = damaged.need() else { panic!("entries are lacking") };
    let fetched = log[anchor.index.0 as usize + 4].position();
    let files = damaged.checkpoints();
    let checkpoint = holdfast_engine::Checkpoint { position: fetched, membership: Default::default() };
    let mut writer = files.create(checkpoint).expect("created");
    writer.chunk(b"state").expect("written");
    writer.finish().expect("finished");
    drop(files);
    damaged.covered_by(fetched).expect("whole");
    assert_eq!(damaged.need(), Need::Nothing);
    assert_eq!(damaged.repair(false).expect("all is here").incarnation, LIFE);
    let restored = opened(folder.path(), "repaired");
    assert_eq!(restored.checkpoint.map(|checkpoint| checkpoint.position), Some(fetched));
    assert_eq!(restored.entries, log[anchor.index.0 as usize..]);
}

#[test]
fn damage_below_a_checkpoint_needs_nobody() {
    let (folder, log) = long();
    let member = Member::start(reopen(folder.path()).expect("whole"));
    member.checkpoint(log[60].position());
    drop(member);
    let path = segments(folder.path()).remove(1);
    let mut bytes = fs::read(&path).expect("readable");
    bytes[HEADER_BYTES + 100] ^= 1;
    fs::write(&path, bytes).expect("writable");
    let damaged = damaged(folder.path());
    assert_eq!((damaged.need(), damaged.forgets()), (Need::Nothing, false));
    damaged.repair(false).expect("all is here");
    let restored = opened(folder.path(), "repaired");
    let first = restored.entries.first().expect("some").index();
    assert!(first.0 > 1 && first <= log[61].index(), "{first}");
    assert_eq!(restored.entries, log[first.0 as usize - 1..]);
}

#[test]
fn a_checkpoint_that_the_log_needs_is_fetched_or_replaced_by_the_entries() {
    let (folder, log) = long();
    let mut member = Member::start(reopen(folder.path()).expect("whole"));
    member.checkpoint(log[60].position());
    member.write([Write::Release(log[60].index())]);
    drop(member);
    let file =
        fs::read_dir(folder.path().join("checkpoints")).expect("there").next().expect("one").expect("one");
    let mut bytes = fs::read(file.path()).expect("readable");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(file.path(), bytes).expect("writable");
    let damaged = damaged(folder.path());
    assert!(matches!(damaged.need(), Need::Entries { after: Index(0), .. }), "{:?}", damaged.need());
    repaired(damaged, &log, "a checkpoint");
    assert_eq!(opened(folder.path(), "repaired").entries, log);
}

#[test]
fn entries_that_were_never_committed_can_be_given_up() {
    let (folder, log) = long();
    let path = segments(folder.path()).pop().expect("one");
    let mut bytes = fs::read(&path).expect("readable");
    bytes[HEADER_BYTES + 100] ^= 1;
    fs::write(&path, bytes).expect("writable");
    let mut damaged = damaged(folder.path());
    let Need::Entries { after, .. } = damaged.need() else { panic!("entries are lacking") };
    damaged.void();
    assert_eq!(damaged.need(), Need::Nothing);
    assert_eq!(damaged.repair(false).expect("all is here").incarnation, LIFE);
    assert_eq!(opened(folder.path(), "repaired").entries, log[..after.0 as usize]);
}

#[test]
fn without_its_votes_a_member_goes_on_as_another_one_with_its_log() {
    let (folder, log) = long();
    fs::write(folder.path().join("vote"), vec![0; 8192]).expect("writable");
    let damaged = damaged(folder.path());
    assert_eq!((damaged.need(), damaged.forgets()), (Need::Nothing, true));
    let repaired = damaged.repair(false).expect("all is here");
    assert_eq!((repaired.incarnation, repaired.former.map(|former| former.incarnation)), (NEXT, Some(LIFE)));
    let restored = reopen(folder.path()).expect("repaired");
    assert_eq!(restored.incarnation, NEXT);
    assert_eq!((restored.restored.formation, restored.restored.entries), (Some(formation(5)), log));
    assert_eq!(restored.restored.hard_state, state(3));
}

#[test]
fn a_member_that_is_alone_makes_its_vote_anew() {
    let (folder, log) = long();
    fs::remove_file(folder.path().join("vote")).expect("removed");
    let repaired = damaged(folder.path()).repair(true).expect("all is here");
    assert_eq!((repaired.incarnation, repaired.former), (LIFE, None));
    assert_eq!(opened(folder.path(), "repaired").entries, log);
    // Where its log ended nobody else can say.
    for path in segments(folder.path()) {
        fs::write(&path, vec![0; fs::metadata(&path).expect("there").len() as usize]).expect("writable");
    }
    let refused = damaged(folder.path()).repair(true);
    assert!(matches!(refused, Err(OpenError::Damaged { .. })), "{refused:?}");
}

#[test]
fn a_member_that_cannot_tell_where_its_log_ended_goes_on_as_another_one() {
    let (folder, log) = long();
    let paths = segments(folder.path());
    let (last, before) = paths.split_last().expect("some");
    fs::write(last, vec![0; fs::metadata(last).expect("there").len() as usize]).expect("writable");
    let damaged = damaged(folder.path());
    assert!(damaged.forgets() && !damaged.end_known());
    let repaired = repaired(damaged, &log, "the last segment");
    assert_eq!(repaired.incarnation, NEXT);
    let restored = opened(folder.path(), "repaired");
    assert!(restored.entries.len() > before.len() && restored.entries[..] == log[..restored.entries.len()]);
}

#[test]
fn a_lost_identity_is_worked_out_if_all_files_agree() {
    let (folder, log) = long();
    let member = Member::start(reopen(folder.path()).expect("whole"));
    member.checkpoint(log[60].position());
    drop(member);
    for name in ["identity", "identity.copy"] {
        fs::write(folder.path().join(name), b"").expect("writable");
    }
    let damaged = damaged(folder.path());
    assert_eq!((damaged.need(), damaged.forgets()), (Need::Nothing, false));
    damaged.repair(false).expect("all is here");
    let restored = reopen(folder.path()).expect("repaired");
    assert_eq!((restored.incarnation, restored.restored.formation), (LIFE, Some(formation(5))));
    assert_eq!(restored.restored.entries, log);
}

#[test]
fn a_member_whose_identity_nobody_knows_begins_anew_and_keeps_the_old_files_aside() {
    let (folder, _) = long();
    for name in ["identity", "identity.copy"] {
        fs::remove_file(folder.path().join(name)).expect("removed");
    }
    let damaged = damaged(folder.path());
    assert_eq!((damaged.need(), damaged.member(), damaged.forgets()), (Need::Identity, None, true));
    let aside = damaged.repair(false).expect("moved").aside.expect("a folder");
    assert!(segments(&aside).len() > 3 && aside.join("vote").exists());
    match look(folder.path()) {
        Survey::Whole(opened) => {
            assert_eq!(opened.incarnation, NEXT);
            assert!(opened.restored.formed_before && opened.restored.formation.is_none());
        }
        Survey::Damaged(damaged) => panic!("{damaged:?}"),
    }
    // The files of another member are no damage.
    let (folder, _) = long();
    for name in ["identity", "identity.copy"] {
        fs::remove_file(folder.path().join(name)).expect("removed");
    }
    let owner = holdfast_storage::Owner { store: "x".repeat(STORE_NAME_BYTES_MAX), ..owner() };
    let other = survey(folder.path(), &owner, LogPolicy::Kept, NEXT, OPTIONS);
    assert!(matches!(other, Err(OpenError::ForeignStore { .. })), "{other:?}");
}
