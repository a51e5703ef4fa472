//! Which checkpoint a member with a log starts from.

use std::fs;
use std::path::{Path, PathBuf};

use holdfast_engine::{Index, Write};
use holdfast_storage::{Damage, OpenError};
use tempfile::TempDir;

use crate::member::{Member, entries, position, reopen};

fn file(folder: &Path, index: u64) -> PathBuf {
    folder.join(format!("checkpoints/{index:020}-1.checkpoint"))
}

fn break_file(path: &Path) {
    let mut bytes = fs::read(path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("writable");
}

/// Checkpoints at 40 and 80 of a log up to 100, released up to `released`.
fn member(released: u64) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut member = Member::formed(folder.path());
    member.append(entries(1, 100, 1, 300));
    member.checkpoint(position(40, 1));
    member.checkpoint(position(80, 1));
    member.write([Write::Release(Index(released))]);
    drop(member);
    folder
}

fn restored(folder: &Path) -> (Option<u64>, usize, u64) {
    let opened = reopen(folder).expect("enough is whole");
    let entries = &opened.restored.entries;
    assert_eq!(opened.checkpoint.map(|reader| reader.checkpoint()), opened.restored.checkpoint);
    let checkpoint = opened.restored.checkpoint.map(|found| found.position.index.0);
    (checkpoint, opened.damaged_checkpoints.len(), entries.last().expect("entries").index().0)
}

#[test]
fn the_newest_one_is_taken() {
    for released in [0, 40, 80] {
        let folder = member(released);
        assert_eq!(restored(folder.path()), (Some(80), 0, 100));
    }
}

#[test]
fn a_damaged_one_is_passed_over_only_if_the_log_reaches_back() {
    for (released, expected) in [(0, Some(Some(40))), (40, Some(Some(40))), (80, None)] {
        let folder = member(released);
        break_file(&file(folder.path(), 80));
        match expected {
            Some(checkpoint) => assert_eq!(restored(folder.path()), (checkpoint, 1, 100)),
            None => {
                let opened = reopen(folder.path());
                let newest = file(folder.path(), 80);
                assert!(
                    matches!(&opened, Err(OpenError::Damaged { path, .. }) if *path == newest),
                    "{opened:?}"
                );
            }
        }
        break_file(&file(folder.path(), 40));
        match released {
            // The damaged one of before is gone.
            0 => assert_eq!(restored(folder.path()), (None, 1, 100)),
            _ => assert!(matches!(reopen(folder.path()), Err(OpenError::Damaged { .. }))),
        }
    }
}

#[test]
fn a_missing_one_is_found_out_by_the_log() {
    let folder = member(80);
    fs::remove_file(file(folder.path(), 80)).expect("removed");
    let opened = reopen(folder.path());
    assert!(matches!(opened, Err(OpenError::Damaged { what: Damage::Gap { .. }, .. })), "{opened:?}");
    fs::remove_file(file(folder.path(), 40)).expect("removed");
    assert!(matches!(reopen(folder.path()), Err(OpenError::Damaged { what: Damage::Gap { .. }, .. })));
}

#[test]
fn a_damaged_one_ahead_of_the_log_is_damage() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut member = Member::formed(folder.path());
    member.append(entries(1, 10, 1, 300));
    member.checkpoint(position(40, 1));
    drop(member);
    break_file(&file(folder.path(), 40));
    assert!(matches!(reopen(folder.path()), Err(OpenError::Damaged { .. })));
}

#[test]
fn what_is_not_finished_at_a_crash_is_removed() {
    let folder = member(0);
    let unfinished = file(folder.path(), 90).with_extension("0.tmp");
    fs::copy(file(folder.path(), 80), &unfinished).expect("copied");
    assert_eq!(restored(folder.path()), (Some(80), 0, 100));
    assert!(!unfinished.exists());
}
