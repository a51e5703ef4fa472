//! A full disk: the log lives on its reserve, waits when that is used up, and goes on by itself when there is space.
//! On a small file system of its own in memory, which this test mounts for itself alone and which goes with it.

use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_engine::Write;
use holdfast_storage::{CheckpointError, LogPolicy, Options, open_with};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::member::{LIFE, Member, entries, formation, owner, position, state};

/// Longest wait.
const PATIENCE: Duration = Duration::from_secs(60);

const SEGMENT_BYTES: u64 = 256 * 1024;

/// Room for a few segments.
const DISK_BYTES: u64 = 2 * 1024 * 1024;

/// A file system that ends with the mount.
struct Small(tempfile::TempDir);

impl Small {
    /// Nothing if this process may not mount.
    fn mount() -> Option<Small> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let size = CString::new(format!("size={DISK_BYTES}")).expect("no zero");
        // Not by a program: its fork would hold the locks of the tests beside this one for an instant.
        let mounted = mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), size.as_c_str());
        if let Err(error) = mounted {
            assert!(std::env::var_os("CI").is_none(), "left out, because nothing can be mounted: {error}");
            return None;
        }
        Some(Small(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Take all space that is left.
    fn fill(&self) {
        let path = self.path().join("ballast");
        let mut bytes = DISK_BYTES;
        while bytes >= 4096 {
            let grown = fs::read(&path).unwrap_or_default().len() as u64 + bytes;
            if fs::write(&path, vec![1; grown as usize]).is_err() {
                fs::write(&path, vec![1; (grown - bytes) as usize]).expect("it had so much");
                bytes /= 2;
            }
        }
    }

    fn free(&self) {
        fs::remove_file(self.path().join("ballast")).expect("removed");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_full_disk_is_lived_through() {
    let Some(disk) = Small::mount() else { return };
    let options = Options { segment_bytes: SEGMENT_BYTES };
    let open =
        || open_with(&disk.path().join("data"), owner(), LogPolicy::Kept, LIFE, options).expect("whole");
    let mut member = Member::start(open());
    member.write([Write::Formation(formation(5)), Write::HardState(state(1))]);
    member.append(entries(1, 10, 1, 1000));
    let reserve = disk.path().join("data/log/reserve");
    until("a reserve", || reserve.exists());
    assert!(!member.writer.space().is_full());

    disk.fill();
    // The segment that is written and the reserve take this, and the disk is said to be full.
    let mut next = 11;
    while reserve.exists() {
        member.append(entries(next, next + 9, 1, 1000));
        next += 10;
    }
    assert!(member.writer.space().is_full() && member.writer.space().full_for().is_some());
    let refused = member
        .checkpoints
        .create(holdfast_engine::Checkpoint { position: position(5, 1), membership: Default::default() });
    let refused = refused.and_then(|mut writer| (0..64).try_for_each(|_| writer.chunk(&[1; 64 * 1024])));
    assert!(matches!(refused, Err(CheckpointError::Io { .. })), "{refused:?}");

    // More than the reserve: it waits, and nothing is lost.
    let asked = next + 299;
    member.submit([Write::Append(entries(next, asked, 1, 1000))]);
    until("waiting", || member.writer.waiting_for() > Duration::from_millis(500));
    assert!(member.writer.space().is_full());
    disk.free();
    member.wait().expect("it goes on");
    until("space", || !member.writer.space().is_full());
    assert!(reserve.exists(), "there is a new one");
    member.append(entries(asked + 1, asked + 5, 1, 1000));

    drop(member);
    let again = open();
    assert_eq!(again.restored.entries.len() as u64, asked + 5);
    drop(again);

    // A start on a full disk is one too.
    fs::remove_file(&reserve).expect("removed");
    disk.fill();
    let mut member = Member::start(open());
    until("full", || member.writer.space().is_full());
    member.append(entries(asked + 6, asked + 6, 1, 10));
    // A writer that waits for space can be stopped.
    member.submit([Write::Append(entries(asked + 7, asked + 800, 1, 1000))]);
    until("waiting", || member.writer.waiting_for() > Duration::from_millis(500));
    drop(member);
    disk.free();
    assert!(open().restored.entries.len() as u64 >= asked + 6);
}
