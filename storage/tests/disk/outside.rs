//! Checkpoints outside of the members' folders: what is kept there is whole and of one history, and a store begins from it.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use holdfast_engine::{Incarnation, Membership, StoreId, Write};
use holdfast_storage::{CheckpointError, LogPolicy, Outside, open};

use crate::member::{Member, entries, formation, owner, position, reopen, state};

const STORE: StoreId = StoreId(77);

fn retain(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).expect("not zero")
}

/// A member with checkpoints at each of these, all of them kept outside too.
fn kept(member: &Path, outside: &Outside, indexes: &[u64]) -> Member {
    let mut member = Member::formed(member);
    member.append(entries(1, 100, 1, 300));
    for &index in indexes {
        member.checkpoint(position(index, 1));
        let reader = member.checkpoints.open(position(index, 1)).expect("there");
        outside.keep(&reader, retain(2)).expect("kept");
    }
    member
}

fn names(folder: &Path) -> Vec<String> {
    let name = |item: fs::DirEntry| item.file_name().into_string().expect("UTF-8");
    let mut names: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|item| name(item.expect("an item"))).collect();
    names.sort();
    names
}

fn file(folder: &Path, index: u64) -> PathBuf {
    folder.join(format!("{index:020}-1.checkpoint"))
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("writable");
}

#[test]
fn the_newest_are_kept_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let (own, path) = (folder.path().join("member"), folder.path().join("outside"));
    let outside = Outside::new(&path, &owner().store);
    assert!(outside.newest().expect("no folder yet").is_none());
    let member = kept(&own, &outside, &[10, 20, 30]);
    assert_eq!(names(&path).len(), 2, "{:?}", names(&path));
    let bytes = |folder: &Path| fs::read(file(folder, 30)).expect("a file");
    assert_eq!(bytes(&path), bytes(&own.join("checkpoints")));
    assert_eq!(outside.newest().expect("readable").expect("there").position(), position(30, 1));
    // An older one, of a leader that does not know that it is none any more.
    let old = member.checkpoints.open(position(20, 1)).expect("there");
    assert_eq!(outside.keep(&old, retain(1)).expect("nothing to do").position, position(30, 1));
}

#[test]
fn a_store_begins_from_the_newest_one_that_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let (own, path) = (folder.path().join("member"), folder.path().join("outside"));
    let outside = Outside::new(&path, &owner().store);
    drop(kept(&own, &outside, &[10, 20]));
    flip(&file(&path, 20));
    let newest = outside.newest().expect("one is whole").expect("there");
    assert_eq!(newest.position(), position(10, 1));

    let again = folder.path().join("again");
    let opened = open(&again, owner(), LogPolicy::Kept, Incarnation(9)).expect("a new folder");
    newest.begin(opened, STORE).expect("begun");
    let opened = open(&again, owner(), LogPolicy::Kept, Incarnation(10)).expect("a member");
    assert_eq!(opened.incarnation, Incarnation(9), "it is in its folder who it is");
    let formation = opened.restored.formation.expect("formed");
    assert_eq!((formation.store, formation.voters.len()), (STORE, 1));
    let checkpoint = opened.restored.checkpoint.expect("from the checkpoint");
    assert_eq!((checkpoint.position, checkpoint.membership), (position(10, 1), Membership::of(&formation)));
    assert!(opened.checkpoint.expect("read").count() > 0);
    // What is written from now on is the newest.
    assert!(names(&path).iter().any(|name| name.ends_with(".damaged")), "{:?}", names(&path));
    let reader = opened.disk.checkpoints().open(position(10, 1)).expect("there");
    outside.keep(&reader, retain(1)).expect("kept in place of the one of the same position");
    assert_eq!(outside.newest().expect("readable").expect("there").position(), position(10, 1));
}

#[test]
fn a_crash_after_the_checkpoint_is_in_the_folder_is_mended() {
    let folder = tempfile::tempdir().expect("a folder");
    let (own, path) = (folder.path().join("member"), folder.path().join("outside"));
    let outside = Outside::new(&path, &owner().store);
    drop(kept(&own, &outside, &[10]));
    let again = folder.path().join("again");
    let opened = open(&again, owner(), LogPolicy::Kept, Incarnation(9)).expect("a new folder");
    let before = ["identity", "identity.copy"].map(|name| fs::read(again.join(name)).expect("a file"));
    outside.newest().expect("readable").expect("there").begin(opened, STORE).expect("begun");
    for (name, bytes) in ["identity", "identity.copy"].into_iter().zip(before) {
        fs::write(again.join(name), bytes).expect("writable");
    }
    let found =
        holdfast_storage::survey(&again, &owner(), LogPolicy::Kept, Incarnation(10), Default::default());
    let holdfast_storage::Survey::Damaged(damaged) = found.expect("readable") else {
        panic!("an identity that does not know its store")
    };
    assert!(matches!(damaged.need(), holdfast_storage::Need::Nothing), "{:?}", damaged.need());
    damaged.repair(true).expect("repaired");
    let opened = open(&again, owner(), LogPolicy::Kept, Incarnation(11)).expect("a member");
    assert_eq!(opened.restored.formation.expect("formed").store, STORE);
    assert_eq!(opened.restored.checkpoint.expect("there").position, position(10, 1));
}

#[test]
fn nothing_is_begun_from_what_cannot_be_read_or_is_somebody_elses() {
    let folder = tempfile::tempdir().expect("a folder");
    let (own, path) = (folder.path().join("member"), folder.path().join("outside"));
    let outside = Outside::new(&path, &owner().store);
    let member = kept(&own, &outside, &[10, 20]);
    let other = Outside::new(&path, "default/other").newest();
    assert!(matches!(other, Err(CheckpointError::Foreign { .. })), "{other:?}");

    // A store of the same name that was formed apart, and is not as far.
    let mut apart = Member::start(reopen(&folder.path().join("apart")).expect("a new folder"));
    apart.write([Write::Formation(formation(6)), Write::HardState(state(1))]);
    apart.append(entries(1, 20, 1, 300));
    apart.checkpoint(position(15, 1));
    let reader = apart.checkpoints.open(position(15, 1)).expect("there");
    let refused = outside.keep(&reader, retain(2));
    assert!(matches!(refused, Err(CheckpointError::Foreign { .. })), "{refused:?}");
    drop(member);

    for index in [10, 20] {
        flip(&file(&path, index));
    }
    let newest = outside.newest();
    assert!(
        matches!(&newest, Err(CheckpointError::Damaged { path: damaged, .. }) if *damaged == file(&path, 20)),
        "{newest:?}"
    );
}
