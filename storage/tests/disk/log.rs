//! What was written is found again: over many segments, cuts, resets and releases.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use holdfast_engine::{Entry, EntryKind, Index, Ticket, Write};
use holdfast_storage::{Flushed, WriteError};

use crate::member::{Member, REPORTS_MAX, copy, entries, formation, position, reopen, segments, state};

/// What an opened folder remembers must be this.
fn check(path: &std::path::Path, term: u64, expected: &[Entry]) {
    let opened = reopen(path).expect("whole");
    assert_eq!(opened.restored.formation, Some(formation(5)));
    assert_eq!(opened.restored.hard_state, state(term));
    assert_eq!(opened.restored.entries, expected);
    assert_eq!((opened.torn, opened.damaged_checkpoints), (None, Vec::new()));
    assert!(opened.previously_formed);
}

#[test]
fn a_new_folder_is_empty_and_stays_the_same_member() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for _ in 0..2 {
        let opened = reopen(folder.path()).expect("a new folder");
        assert_eq!(opened.incarnation, crate::member::LIFE);
        assert!(opened.restored.entries.is_empty() && opened.restored.formation.is_none());
        assert!(!opened.previously_formed && opened.checkpoint.is_none() && opened.torn.is_none());
    }
}

#[test]
fn entries_are_found_again_over_many_segments_and_starts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut member = Member::formed(folder.path());
    let all = entries(1, 120, 1, 300);
    for start in 0..4 {
        for batch in all[start * 30..][..30].chunks(7) {
            member.append(batch.to_vec());
        }
        member.writer.stop();
        drop(member.checkpoints);
        check(folder.path(), 1, &all[..(start + 1) * 30]);
        member = Member::start(reopen(folder.path()).expect("whole"));
    }
    assert!(segments(folder.path()).len() > 8);
}

#[test]
fn records_longer_than_a_segment_and_of_zeros_are_found_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut member = Member::formed(folder.path());
    let sizes = [0, 1, 50_000, 8 * 1024, 3, 2 * 1024 * 1024, 0];
    let all = sizes
        .iter()
        .zip(1..)
        .map(|(&bytes, index)| Entry::new(position(index, 1), EntryKind::Command, &vec![0; bytes]));
    let all = all.collect::<Vec<_>>();
    for entry in &all {
        member.append(vec![entry.clone()]);
        let killed = tempfile::tempdir().expect("a temporary folder");
        copy(folder.path(), killed.path());
        check(killed.path(), 1, &all[..entry.index().0 as usize]);
    }
}

#[test]
fn entries_in_the_place_of_others_replace_them_and_all_that_follow() {
    for first in [1, 2, 25, 26, 59, 60, 61] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut member = Member::formed(folder.path());
        member.append(entries(1, 60, 1, 300));
        let new = entries(first, first + 2, 2, 10);
        member.write([Write::HardState(state(2)), Write::Append(new.clone())]);
        let mut expected = entries(1, first - 1, 1, 300);
        expected.extend(new);
        let killed = tempfile::tempdir().expect("a temporary folder");
        copy(folder.path(), killed.path());
        check(killed.path(), 2, &expected);
        // It goes on from there, now and after a start.
        member.append(entries(first + 3, first + 40, 2, 300));
        expected.extend(entries(first + 3, first + 40, 2, 300));
        member.writer.stop();
        drop(member.checkpoints);
        check(folder.path(), 2, &expected);
    }
}

#[test]
fn a_reset_begins_anew_after_its_checkpoint() {
    for index in [30, 60, 61, 500] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut member = Member::formed(folder.path());
        member.append(entries(1, 60, 1, 300));
        member.checkpoint(position(index, 2));
        member.write([Write::HardState(state(2)), Write::Reset(position(index, 2))]);
        let after = entries(index + 1, index + 50, 2, 300);
        member.append(after.clone());
        member.writer.stop();
        drop(member.checkpoints);
        check(folder.path(), 2, &after);
        let opened = reopen(folder.path()).expect("whole");
        assert_eq!(opened.restored.checkpoint.map(|found| found.position), Some(position(index, 2)));
    }
}

#[test]
fn a_checkpoint_ahead_of_the_log_resets_it_at_the_next_start() {
    // Ahead of its end, and in its middle with another term: what a crash leaves between fetch and reset.
    for index in [61, 30] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut member = Member::formed(folder.path());
        member.append(entries(1, 60, 1, 300));
        member.checkpoint(position(index, 2));
        member.writer.stop();
        drop(member.checkpoints);
        check(folder.path(), 1, &[]);
        let mut member = Member::start(reopen(folder.path()).expect("whole"));
        let after = entries(index + 1, index + 2, 2, 300);
        member.write([Write::HardState(state(2)), Write::Append(after.clone())]);
        member.writer.stop();
        drop(member.checkpoints);
        check(folder.path(), 2, &after);
    }
}

#[test]
fn a_release_removes_whole_segments_and_nothing_that_is_needed() {
    let all = entries(1, 110, 1, 300);
    for released in [0, 1, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 100] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut member = Member::formed(folder.path());
        member.append(all[..100].to_vec());
        let before = segments(folder.path());
        if released > 0 {
            member.checkpoint(position(released, 1));
        }
        member.write([Write::Release(Index(released))]);
        member.append(all[100..].to_vec());
        drop(member);
        let found = reopen(folder.path()).expect("whole").restored.entries;
        let first = found.first().expect("entries").index().0;
        assert!(first <= released + 1, "{released} released, but {first} is the first one");
        assert_eq!(found, all[first as usize - 1..], "{released}");
        let left = segments(folder.path()).iter().filter(|path| before.contains(path)).count();
        let per_segment = 100 / before.len() as u64;
        assert!(left as u64 <= (100 - released) / per_segment + 2, "{released}: {left} of {}", before.len());
    }
}

#[test]
fn an_old_segment_is_used_again_and_holds_nothing_of_what_it_held() {
    use std::os::unix::fs::MetadataExt as _;
    let inode = |path: &std::path::PathBuf| std::fs::metadata(path).expect("it is there").ino();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut member = Member::formed(folder.path());
    let mut all = entries(1, 100, 1, 300);
    member.append(all.clone());
    let before = segments(folder.path());
    let old: Vec<u64> = before.iter().map(inode).collect();
    let again = |folder: &std::path::Path| {
        let new = segments(folder).into_iter().filter(|path| !before.contains(path));
        new.filter(|path| old.contains(&inode(path))).count()
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while again(folder.path()) < 2 {
        assert!(std::time::Instant::now() < deadline, "no old segment was used again");
        let end = all.len() as u64;
        member.checkpoint(position(end, 1));
        member.write([Write::Release(Index(end))]);
        all.extend(entries(end + 1, end + 30, 1, 299));
        member.append(all[end as usize..].to_vec());
    }
    drop(member);
    let found = reopen(folder.path()).expect("whole");
    assert!(found.torn.is_none(), "{:?}", found.torn);
    let found = found.restored.entries;
    assert_eq!(found, all[all.len() - found.len()..]);
}

#[test]
fn a_release_after_cuts_keeps_what_is_needed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut member = Member::formed(folder.path());
    let mut all = entries(1, 100, 1, 300);
    member.append(all.clone());
    for (term, first) in [(2, 40), (3, 45), (4, 41)] {
        all.truncate(first - 1);
        all.extend(entries(first as u64, first as u64 + 30, term, 300));
        member.write([Write::HardState(state(term)), Write::Append(all[first - 1..].to_vec())]);
    }
    member.checkpoint(all[59].position());
    member.write([Write::Release(Index(60))]);
    member.writer.stop();
    drop(member.checkpoints);
    let restored = reopen(folder.path()).expect("whole").restored;
    assert!(restored.entries.len() < all.len(), "nothing was removed");
    assert!(restored.entries.len() >= all.len() - 60);
    assert_eq!(restored.entries, all[all.len() - restored.entries.len()..]);
}

#[test]
fn what_does_not_fit_the_log_breaks_the_writer_and_nothing_is_lost() {
    for (first, term) in [(12, 1), (0, 1), (11, 0)] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut member = Member::formed(folder.path());
        member.append(entries(1, 10, 1, 300));
        member.submit([Write::Append(entries(first, first, term, 1))]);
        assert!(matches!(member.wait(), Err(WriteError::Gap { .. })));
        assert!(member.writer.submit(Vec::new()).is_err());
        drop(member);
        check(folder.path(), 1, &entries(1, 10, 1, 300));
    }
}

#[test]
fn a_store_is_joined_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut member = Member::formed(folder.path());
    member.write([Write::Formation(formation(5))]);
    member.submit([Write::Formation(formation(6))]);
    assert!(matches!(member.wait(), Err(WriteError::Formed { .. })));
    drop(member);
    check(folder.path(), 1, &[]);
}

#[test]
fn what_waits_is_written_at_once_and_observed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    drop(Member::formed(folder.path()));
    let opened = reopen(folder.path()).expect("whole");
    let (flushed, flushes) = sync_channel(REPORTS_MAX);
    let (report, reports) = sync_channel(REPORTS_MAX);
    let disk = opened.disk.on_flush(move |flush| flushed.send(flush).expect("the test listens"));
    let writer = disk.start(move |result| report.send(result.expect("written")).expect("the test listens"));
    let writer = writer.expect("a thread");
    let writes = (1..=20).map(|index| holdfast_engine::Persist {
        ticket: Ticket(index),
        write: Write::Append(entries(index, index, 1, 100)),
    });
    writer.submit(writes.collect()).expect("room");
    writer.stop();
    assert_eq!(reports.iter().collect::<Vec<_>>(), [Ticket(20)]);
    let flushes = flushes.iter().collect::<Vec<_>>();
    assert_eq!(flushes.len(), 1, "{flushes:?}");
    assert_eq!((flushes[0].what, flushes[0].entries), (Flushed::Log, 20));
    assert!(flushes[0].bytes >= 20 * 125 && flushes[0].fsync > Duration::ZERO);
}
