//! Whose folder it is: locks, other stores, other members, folders that cannot be written, members without a log.

use std::fs;

use holdfast_engine::{Incarnation, Ordinal, Write};
use holdfast_storage::{LogPolicy, OpenError, Owner, STORE_NAME_BYTES_MAX, open_with};

use crate::member::{LIFE, Member, OPTIONS, copy, entries, formation, owner, position, reopen, state};

#[test]
fn a_folder_is_open_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let opened = reopen(folder.path()).expect("a new folder");
    let locked = |what: &str| {
        let again = reopen(folder.path());
        assert!(
            matches!(&again, Err(OpenError::Locked { path }) if path.ends_with("lock")),
            "{what}: {again:?}"
        );
    };
    locked("opened");
    let member = Member::start(opened);
    locked("started");
    let checkpoints = member.checkpoints.clone();
    drop(member);
    locked("a handle on the checkpoints lives");
    drop(checkpoints);
    reopen(folder.path()).expect("nobody has it");
}

#[test]
fn another_store_or_member_is_kept_out_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    Member::formed(folder.path()).append(entries(1, 3, 1, 30));
    let other = |owner: Owner| open_with(folder.path(), owner, LogPolicy::Kept, Incarnation(1), OPTIONS);
    match other(Owner { store: "default/other".to_owned(), ..owner() }) {
        Err(OpenError::ForeignStore { path, found, expected }) => {
            assert_eq!(path, folder.path().join("identity"));
            assert_eq!((found.as_str(), expected.as_str()), ("default/words", "default/other"));
        }
        opened => panic!("{opened:?}"),
    }
    match other(Owner { ordinal: Ordinal(2), ..owner() }) {
        Err(OpenError::ForeignMember { found, expected, .. }) => {
            assert_eq!((found.as_str(), expected.as_str()), ("1", "2"));
        }
        opened => panic!("{opened:?}"),
    }
    let opened = open_with(folder.path(), owner(), LogPolicy::None, LIFE, OPTIONS);
    assert!(matches!(opened, Err(OpenError::Policy { .. })), "{opened:?}");
    let long = Owner { store: "x".repeat(STORE_NAME_BYTES_MAX + 1), ..owner() };
    assert!(matches!(other(long), Err(OpenError::Name { .. })));
    assert_eq!(reopen(folder.path()).expect("it is ours").restored.entries, entries(1, 3, 1, 30));
}

#[test]
fn single_files_of_another_store_member_or_life_are_found() {
    let mine = tempfile::tempdir().expect("a temporary folder");
    let mut member = Member::formed(mine.path());
    member.append(entries(1, 3, 1, 30));
    member.checkpoint(position(2, 1));
    drop(member);
    let others = [
        (Owner { store: "default/other".to_owned(), ..owner() }, LIFE, 5),
        (Owner { ordinal: Ordinal(2), ..owner() }, LIFE, 5),
        (owner(), Incarnation(8), 5),
    ];
    for (owner, life, store) in others {
        let other = tempfile::tempdir().expect("a temporary folder");
        let opened = open_with(other.path(), owner.clone(), LogPolicy::Kept, life, OPTIONS).expect("new");
        let mut member = Member::start(opened);
        member.write([Write::Formation(formation(store)), Write::HardState(state(1))]);
        member.append(entries(1, 3, 1, 30));
        member.checkpoint(position(2, 1));
        drop(member);
        let segment = format!("log/{:010}-{:020}.segment", 1, 1);
        let checkpoint = format!("checkpoints/{:020}-1.checkpoint", 2);
        for file in ["vote", &segment, &checkpoint] {
            let copied = tempfile::tempdir().expect("a temporary folder");
            copy(mine.path(), copied.path());
            fs::copy(other.path().join(file), copied.path().join(file)).expect("copied");
            let opened = reopen(copied.path());
            let foreign =
                matches!(opened, Err(OpenError::ForeignStore { .. } | OpenError::ForeignMember { .. }));
            assert!(foreign, "{file} of {owner:?} {life}: {opened:?}");
        }
    }
}

#[test]
fn what_is_put_aside_is_kept_and_the_member_begins_anew() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut member = Member::formed(folder.path());
    member.append(entries(1, 3, 1, 30));
    member.checkpoint(position(2, 1));
    let Member { writer, checkpoints, .. } = member;
    drop(checkpoints);
    let aside = writer.put_aside("it counts no more").expect("moved");
    let next = Incarnation(9);
    let open = || open_with(folder.path(), owner(), LogPolicy::Kept, next, OPTIONS).expect("a new folder");
    let opened = open();
    assert_eq!((opened.incarnation, opened.previously_formed), (next, true));
    assert_eq!((&opened.restored.formation, opened.restored.entries.len()), (&None, 0));
    assert!(opened.restored.formed_before, "it never forms a store");
    assert_eq!(opened.put_aside.as_deref(), Some("it counts no more"));
    assert!(aside.join("log").is_dir() && aside.join("checkpoints").is_dir() && aside.join("vote").is_file());
    drop(opened);
    let again = reopen(folder.path()).expect("it is ours");
    assert_eq!((again.incarnation, again.put_aside), (next, None), "it is said once");
}

#[test]
fn a_checkpoint_of_another_store_of_the_same_name_is_found() {
    let folders = [5, 6].map(|store| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut member = Member::start(reopen(folder.path()).expect("a new folder"));
        member.write([Write::Formation(formation(store)), Write::HardState(state(1))]);
        member.append(entries(1, 3, 1, 30));
        member.checkpoint(position(2, 1));
        folder
    });
    let file = format!("checkpoints/{:020}-1.checkpoint", 2);
    fs::copy(folders[0].path().join(&file), folders[1].path().join(&file)).expect("copied");
    assert!(matches!(reopen(folders[1].path()), Err(OpenError::ForeignStore { .. })));
}

#[test]
fn a_folder_that_cannot_be_made_or_written_is_said_to_be() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, b"mine").expect("writable");
    for path in [file.clone(), file.join("below")] {
        let opened = reopen(&path);
        assert!(
            matches!(&opened, Err(OpenError::Create { path: found, .. }) if *found == path),
            "{opened:?}"
        );
    }
    assert_eq!(fs::read(&file).expect("untouched"), b"mine");
    // Tests may run as root, whom no mode keeps out; a folder in the lock's place does.
    let member = folder.path().join("member");
    fs::create_dir_all(member.join("lock")).expect("writable");
    assert!(matches!(reopen(&member), Err(OpenError::Unwritable { path, .. }) if path == member));
    // A file in the place of the log's folder.
    let member = folder.path().join("other");
    fs::create_dir(&member).expect("writable");
    fs::write(member.join("log"), b"").expect("writable");
    assert!(reopen(&member).is_err());
}

#[test]
fn files_of_others_are_left_alone_and_unfinished_ones_are_removed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    drop(Member::formed(folder.path()));
    let kept = ["lost+found", "log/README", "checkpoints/notes.txt"].map(|name| folder.path().join(name));
    let gone = ["identity.tmp", "log/spare.0.tmp", "checkpoints/1.tmp"].map(|name| folder.path().join(name));
    for path in kept.iter().chain(&gone) {
        fs::write(path, b"something").expect("writable");
    }
    reopen(folder.path()).expect("whole");
    assert!(kept.iter().all(|path| path.exists()) && !gone.iter().any(|path| path.exists()));
}

#[test]
fn an_interrupted_first_start_is_begun_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    drop(reopen(folder.path()).expect("a new folder"));
    fs::remove_file(folder.path().join("identity")).expect("removed");
    fs::remove_file(folder.path().join("identity.copy")).expect("removed");
    let opened = open_with(folder.path(), owner(), LogPolicy::Kept, Incarnation(3), OPTIONS);
    assert_eq!(opened.expect("nothing was written yet").incarnation, Incarnation(3));
    assert_eq!(reopen(folder.path()).expect("whole").incarnation, Incarnation(3));
}

#[test]
fn without_a_log_every_start_is_a_new_life_around_the_last_checkpoint() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let open = |life| open_with(folder.path(), owner(), LogPolicy::None, Incarnation(life), OPTIONS);
    let first = open(1).expect("a new folder");
    assert!(!first.previously_formed && first.restored.checkpoint.is_none());
    let again = {
        drop(first);
        open(2).expect("whole")
    };
    assert_eq!((again.incarnation, again.previously_formed), (Incarnation(2), false));
    let mut member = Member::start(again);
    let writes = [
        Write::Formation(formation(5)),
        Write::HardState(state(1)),
        Write::Append(entries(1, 30, 1, 300)),
        Write::Release(holdfast_engine::Index(10)),
    ];
    member.write(writes);
    member.checkpoint(position(20, 1));
    member.checkpoint(position(30, 1));
    drop(member);
    assert!(!folder.path().join("vote").exists());
    assert_eq!(fs::read_dir(folder.path().join("log")).expect("there").count(), 0);
    for life in 3..6 {
        let opened = open(life).expect("whole");
        assert_eq!((opened.incarnation, opened.previously_formed), (Incarnation(life), true));
        assert_eq!(opened.restored.checkpoint.map(|found| found.position), Some(position(30, 1)));
        assert!(opened.restored.formation.is_none() && opened.restored.entries.is_empty());
        let chunks = opened.checkpoint.expect("there").map(|chunk| chunk.expect("whole"));
        assert_eq!(chunks.collect::<Vec<_>>(), ["state at 30@1"]);
    }
    // The newest one is damaged: an older one would lose more than was promised.
    let newest = folder.path().join(format!("checkpoints/{:020}-1.checkpoint", 30));
    let mut bytes = fs::read(&newest).expect("readable");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&newest, bytes).expect("writable");
    assert!(matches!(open(7), Err(OpenError::Damaged { path, .. }) if path == newest));
    fs::remove_file(&newest).expect("removed");
    let opened = open(8).expect("whole");
    assert_eq!(opened.restored.checkpoint.map(|found| found.position), Some(position(20, 1)));
}
