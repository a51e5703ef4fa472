//! Every flipped bit, every cut and every exchanged file: either it is reported as damage, or nothing acknowledged is
//! missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_engine::{Entry, Write};
use holdfast_storage::{Damage, OpenError};
use tempfile::TempDir;

use crate::member::{Member, copy, entries, formation, position, reopen, segments, state};

/// Bytes of a seal, which ends what a batch wrote.
const SEAL_BYTES: usize = 48;

/// Bytes of a segment's header.
const HEADER_BYTES: usize = 4096;

/// A closed folder with these batches of entries.
fn closed(batches: &[Vec<Entry>]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut member = Member::formed(folder.path());
    for batch in batches {
        member.append(batch.clone());
    }
    member.writer.stop();
    folder
}

/// Where the content of a segment ends: with a seal, whose last seven bytes are zero as its index is small.
fn used(segment: &[u8]) -> usize {
    segment.iter().rposition(|byte| *byte != 0).expect("a header") + 8
}

fn damage(opened: Result<holdfast_storage::Opened, OpenError>, what: &str) -> (PathBuf, u64, Damage) {
    match opened {
        Err(OpenError::Damaged { path, offset, what }) => (path, offset, what),
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn every_flipped_bit_of_an_acknowledged_log_is_damage_or_behind_its_end() {
    let batches = [entries(1, 2, 1, 40), entries(3, 3, 1, 0), entries(4, 6, 1, 20)];
    let folder = closed(&batches);
    let all = batches.concat();
    let path = segments(folder.path()).remove(0);
    let whole = fs::read(&path).expect("readable");
    let end = used(&whole);
    // Every bit of the content, and some of the page of zeros behind the header and of the zeros behind the content.
    let sparse = |range: std::ops::Range<usize>| range.filter(|bit| bit.is_multiple_of(61));
    let bits = (0..200 * 8)
        .chain(sparse(200 * 8..HEADER_BYTES * 8))
        .chain(HEADER_BYTES * 8..end * 8)
        .chain(sparse(end * 8..whole.len() * 8));
    let (mut damaged, mut torn) = (0, 0);
    for bit in bits {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &flipped).expect("writable");
        match reopen(folder.path()) {
            Err(OpenError::Damaged { path: found, .. }) => {
                assert_eq!(found, path);
                assert!(bit / 8 < end - SEAL_BYTES, "bit {bit}: nothing acknowledged is there");
                damaged += 1;
            }
            Ok(opened) => {
                assert!(bit / 8 >= end - SEAL_BYTES, "bit {bit} went unnoticed");
                assert_eq!(opened.restored.entries, all, "bit {bit}");
                assert!(opened.torn.is_some_and(|tail| tail.offset <= bit as u64 / 8), "bit {bit}");
                torn += 1;
            }
            Err(error) => panic!("bit {bit}: {error:?}"),
        }
    }
    assert!(damaged > 4000 && torn > 400, "{damaged} and {torn}");
}

/// A folder as power loss leaves it before the last batch has its seal, the bytes of its segment, and where that
/// batch begins and ends.
fn unsealed(last: &[Entry]) -> (TempDir, PathBuf, Vec<u8>, usize, usize) {
    let folder = closed(&[entries(1, 2, 1, 40), last.to_vec()]);
    let path = segments(folder.path()).remove(0);
    let mut bytes = fs::read(&path).expect("readable");
    let end = used(&bytes) - SEAL_BYTES;
    bytes[end..].fill(0);
    let start = end - last.iter().map(|entry| entry.record().len()).sum::<usize>();
    (folder, path, bytes, start, end)
}

/// Whatever became of the last batch, all before it is there, and what is left of it is a beginning.
fn check_tail(folder: &Path, last: &[Entry], bytes_good: usize, what: &str) {
    let opened = reopen(folder).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let found = opened.restored.entries;
    let mut length = 0;
    let whole = last.iter().take_while(|entry| {
        length += entry.record().len();
        length <= bytes_good
    });
    let mut expected = entries(1, 2, 1, 40);
    expected.extend(whole.cloned());
    assert_eq!(found, expected, "{what}");
    // Cut for good: the next start finds the same and nothing torn.
    drop(opened.disk);
    let again = reopen(folder).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    assert_eq!((again.restored.entries, again.torn), (expected, None), "{what}");
}

#[test]
fn a_tail_that_is_cut_anywhere_loses_only_what_was_not_acknowledged() {
    let last = entries(3, 5, 1, 30);
    let (folder, path, whole, start, end) = unsealed(&last);
    for cut in start..=end {
        for (filling, what) in [(0x00, "zeros"), (0xff, "ones"), (0x5a, "garbage")] {
            let mut bytes = whole.clone();
            bytes[cut..end].fill(filling);
            fs::write(&path, &bytes).expect("writable");
            check_tail(folder.path(), &last, cut - start, &format!("{what} from {cut}"));
        }
    }
}

#[test]
fn a_tail_with_a_hole_ends_at_the_hole() {
    // Sectors of one unfinished write arrive in any order: a whole record behind the hole proves nothing.
    let last = entries(3, 5, 1, 30);
    let (folder, path, whole, start, _) = unsealed(&last);
    let record = last[0].record().len();
    for bit in start * 8..(start + 2 * record) * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).expect("writable");
        let good = (bit / 8 - start) / record * record;
        check_tail(folder.path(), &last, good, &format!("bit {bit}"));
    }
}

#[test]
fn a_sealed_tail_is_never_cut() {
    let folder = closed(&[entries(1, 2, 1, 40), entries(3, 5, 1, 30)]);
    let path = segments(folder.path()).remove(0);
    let whole = fs::read(&path).expect("readable");
    let end = used(&whole) - SEAL_BYTES;
    for cut in HEADER_BYTES..end {
        for filling in [0x00, 0xff] {
            let mut bytes = whole.clone();
            if bytes[cut..end].iter().all(|byte| *byte == filling) {
                continue;
            }
            bytes[cut..end].fill(filling);
            fs::write(&path, &bytes).expect("writable");
            let (found, ..) = damage(reopen(folder.path()), &format!("{filling} from {cut}"));
            assert_eq!(found, path);
        }
    }
}

#[test]
fn what_was_acknowledged_is_sealed_soon() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut member = Member::formed(folder.path());
    for batch in 0..10 {
        member.append(entries(batch * 3 + 1, batch * 3 + 3, 1, 30));
        // The seal follows the acknowledgement.
        let path = segments(folder.path()).pop().expect("a segment");
        let sealed = || {
            let bytes = fs::read(&path).expect("readable");
            bytes[used(&bytes) - SEAL_BYTES..].starts_with(&[0xff; 4])
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !sealed() {
            assert!(Instant::now() < deadline, "no seal");
        }
        let killed = tempfile::tempdir().expect("a temporary folder");
        copy(folder.path(), killed.path());
        let path = segments(killed.path()).pop().expect("a segment");
        let mut bytes = fs::read(&path).expect("readable");
        let last = used(&bytes) - SEAL_BYTES - 1;
        bytes[last] ^= 1;
        fs::write(&path, &bytes).expect("writable");
        damage(reopen(killed.path()), &format!("batch {batch}"));
    }
}

#[test]
fn an_earlier_segment_is_never_shortened() {
    let folder = closed(&[entries(1, 60, 1, 300)]);
    let paths = segments(folder.path());
    assert!(paths.len() > 3);
    for (at, path) in paths.iter().enumerate() {
        let whole = fs::read(path).expect("readable");
        let end = whole.iter().rposition(|byte| *byte != 0).expect("a header") + 1;
        for (offset, what) in [(100, "header"), (HEADER_BYTES + 30, "first record"), (end - 1, "last byte")] {
            let mut bytes = whole.clone();
            bytes[offset] ^= 0x10;
            fs::write(path, &bytes).expect("writable");
            if at + 1 < paths.len() || what != "last byte" {
                damage(reopen(folder.path()), &format!("{what} of segment {at}"));
            }
        }
        if at + 1 < paths.len() {
            // Without its last record, and with something behind it.
            let mut bytes = whole.clone();
            bytes[end - 325..].fill(0);
            fs::write(path, &bytes).expect("writable");
            damage(reopen(folder.path()), &format!("end of segment {at}"));
            let mut bytes = whole.clone();
            bytes[end + 1] = 1;
            fs::write(path, &bytes).expect("writable");
            damage(reopen(folder.path()), &format!("behind segment {at}"));
        }
        fs::write(path, &whole).expect("writable");
    }
    assert_eq!(reopen(folder.path()).expect("whole again").restored.entries, entries(1, 60, 1, 300));
}

#[test]
fn a_stale_block_is_found_even_if_every_record_reads_well() {
    // Two records of the same length exchanged, and a whole batch written over another one.
    let folder = closed(&[entries(1, 1, 1, 30), entries(2, 2, 1, 30), entries(3, 3, 1, 30)]);
    let path = segments(folder.path()).remove(0);
    let whole = fs::read(&path).expect("readable");
    let block = entries(1, 1, 1, 30)[0].record().len() + SEAL_BYTES;
    for (from, to) in [(0, 1), (1, 0), (0, 2), (1, 2)] {
        let mut bytes = whole.clone();
        let (from, to) = (HEADER_BYTES + from * block, HEADER_BYTES + to * block);
        bytes.copy_within(from..from + block, to);
        fs::write(&path, &bytes).expect("writable");
        if to == HEADER_BYTES + 2 * block {
            // In the place of the last batch and its seal nothing tells it from an unfinished write.
            continue;
        }
        damage(reopen(folder.path()), &format!("{from} over {to}"));
    }
    // An entry that reads well and follows well, and is not the one that was written.
    let mut bytes = whole.clone();
    let other = Entry::new(position(2, 1), holdfast_engine::EntryKind::Command, &[9; 30]).record();
    bytes[HEADER_BYTES + block..][..other.len()].copy_from_slice(&other);
    fs::write(&path, &bytes).expect("writable");
    assert_eq!(damage(reopen(folder.path()), "another entry").2, Damage::Digest);
}

#[test]
fn another_entry_at_the_end_of_an_earlier_segment_breaks_the_chain() {
    let folder = closed(&[entries(1, 60, 1, 300)]);
    let path = segments(folder.path()).remove(0);
    let mut bytes = fs::read(&path).expect("readable");
    let (last, record) = entries(1, 60, 1, 300)
        .into_iter()
        .filter_map(|entry| {
            let record = entry.record();
            let at = bytes.windows(record.len()).position(|window| window == &record[..])?;
            Some((at, entry))
        })
        .last()
        .expect("a record");
    let other = Entry::new(record.position(), record.kind(), &[0xee; 300]).record();
    bytes[last..last + other.len()].copy_from_slice(&other);
    fs::write(&path, &bytes).expect("writable");
    let (found, _, what) = damage(reopen(folder.path()), "another entry");
    assert_eq!((found, what), (segments(folder.path()).remove(1), Damage::Digest));
}

#[test]
fn missing_renamed_exchanged_and_shortened_segments_are_damage() {
    let folder = closed(&[entries(1, 60, 1, 300)]);
    let paths = segments(folder.path());
    let case = |change: &dyn Fn(&[PathBuf]), what: &str| {
        let copied = tempfile::tempdir().expect("a temporary folder");
        copy(folder.path(), copied.path());
        change(&segments(copied.path()));
        damage(reopen(copied.path()), what).2
    };
    for at in 0..paths.len() - 1 {
        let what = case(&|paths| fs::remove_file(&paths[at]).expect("removed"), &format!("{at} is missing"));
        assert!(matches!(what, Damage::Gap { .. }), "{what:?}");
    }
    let all = |paths: &[PathBuf]| paths.iter().for_each(|path| fs::remove_file(path).expect("removed"));
    assert_eq!(case(&all, "all are missing"), Damage::Missing);
    let exchange = |paths: &[PathBuf]| {
        let first = fs::read(&paths[0]).expect("readable");
        fs::rename(&paths[1], &paths[0]).expect("renamed");
        fs::write(&paths[1], first).expect("writable");
    };
    assert_eq!(case(&exchange, "exchanged"), Damage::Name);
    for length in [0, 100, HEADER_BYTES as u64, 8191, 8193] {
        let shorten = |paths: &[PathBuf]| {
            let file = fs::OpenOptions::new().write(true).open(&paths[1]).expect("writable");
            file.set_len(length).expect("writable");
        };
        let what = case(&shorten, &format!("{length} bytes"));
        assert!(matches!(what, Damage::Length { .. }), "{what:?}");
    }
}

#[test]
fn flipped_bits_of_the_identity_and_of_the_vote_are_mended() {
    let folder = closed(&[entries(1, 3, 1, 30)]);
    let path = folder.path().join("identity");
    let whole = fs::read(&path).expect("readable");
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &flipped).expect("writable");
        assert_eq!(reopen(folder.path()).expect("the copy is whole").restored.formation, Some(formation(5)));
        assert_eq!(fs::read(&path).expect("readable"), whole, "bit {bit} is mended");
    }
    let copy = folder.path().join("identity.copy");
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).expect("writable");
        fs::write(&copy, &whole[..length]).expect("writable");
        assert_eq!(damage(reopen(folder.path()), &format!("{length} bytes")).0, path);
    }
    fs::write(&path, &whole).expect("writable");
    reopen(folder.path()).expect("one is whole");
    assert_eq!(fs::read(&copy).expect("readable"), whole, "the copy is mended");
    let path = folder.path().join("vote");
    let whole = fs::read(&path).expect("readable");
    for bit in [9, 100, 300, 4096 * 8 + 9, 4096 * 8 + 300] {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &flipped).expect("writable");
        assert_eq!(reopen(folder.path()).expect("one copy is whole").restored.hard_state, state(1));
        assert_eq!(fs::read(&path).expect("readable"), whole, "bit {bit} is mended");
    }
    fs::write(&path, vec![0; whole.len()]).expect("writable");
    assert_eq!(damage(reopen(folder.path()), "no vote").2, Damage::Vote);
    fs::remove_file(&path).expect("removed");
    assert_eq!(damage(reopen(folder.path()), "no vote file").2, Damage::Missing);
}

#[test]
fn an_old_vote_and_an_old_identity_are_found_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    drop(reopen(folder.path()).expect("a new folder"));
    let old = tempfile::tempdir().expect("a temporary folder");
    copy(folder.path(), old.path());
    let mut member = Member::formed(folder.path());
    member.write([Write::HardState(state(4)), Write::Append(entries(1, 3, 4, 30))]);
    drop(member);
    for (file, expected) in [("vote", Damage::StaleVote), ("identity", Damage::Unformed)] {
        let copied = tempfile::tempdir().expect("a temporary folder");
        copy(folder.path(), copied.path());
        fs::copy(old.path().join(file), copied.path().join(file)).expect("copied");
        fs::remove_file(copied.path().join("identity.copy")).expect("removed");
        assert_eq!(damage(reopen(copied.path()), file).2, expected);
    }
    fs::remove_file(folder.path().join("identity")).expect("removed");
    fs::remove_file(folder.path().join("identity.copy")).expect("removed");
    let (path, _, what) = damage(reopen(folder.path()), "no identity");
    assert_eq!((path, what), (folder.path().join("identity"), Damage::Missing));
}
