//! Reading again in the background: damage of every kind is found, and what is in use is never taken for damage.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use holdfast_engine::Write;
use holdfast_storage::{Damage, Fault, Pace, Scrubbed, Scrubber};
use tempfile::TempDir;

use crate::member::{Member, REPORTS_MAX, entries, position, reopen, segments, state};

/// Longest wait for the thread.
const PATIENCE: Duration = Duration::from_secs(60);

/// As fast as the disk is, and again and again.
const PACE: Pace = Pace { bytes_per_second: u64::MAX, pause: Duration::from_millis(1) };

/// A member with several segments and a checkpoint, and what its scrubber says.
fn member() -> (TempDir, Member, Scrubber, Receiver<Scrubbed>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut member = Member::formed(folder.path());
    member.append(entries(1, 60, 1, 300));
    member.checkpoint(position(20, 1));
    drop(member);
    let (member, scrubber, reports) = scrubbed(folder.path(), PACE);
    (folder, member, scrubber, reports)
}

fn scrubbed(path: &Path, pace: Pace) -> (Member, Scrubber, Receiver<Scrubbed>) {
    let opened = reopen(path).expect("whole");
    let scrub = opened.disk.scrub();
    let mut member = Member::start(opened);
    member.append(entries(61, 63, 1, 30));
    let (report, reports) = sync_channel(REPORTS_MAX);
    let scrubber = scrub.start(pace, move |scrubbed| {
        let _ = report.send(scrubbed);
    });
    (member, scrubber.expect("a thread"), reports)
}

fn next_pass(reports: &Receiver<Scrubbed>) -> u64 {
    let mut bytes = 0;
    loop {
        match reports.recv_timeout(PATIENCE).expect("it goes on") {
            Scrubbed::Read(more) => bytes += more,
            Scrubbed::Pass(_) => return bytes,
            other => panic!("{other:?}"),
        }
    }
}

fn fault(reports: &Receiver<Scrubbed>) -> Fault {
    loop {
        match reports.recv_timeout(PATIENCE).expect("it finds it") {
            Scrubbed::Damaged(fault) => return fault,
            Scrubbed::Failed { path, source } => panic!("{}: {source}", path.display()),
            Scrubbed::Read(_) | Scrubbed::Pass(_) => {}
        }
    }
}

fn flip(path: &Path, at: usize) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().read(true).write(true).open(path).expect("there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).expect("readable");
    file.write_all_at(&[byte[0] ^ 8], at as u64).expect("writable");
}

fn checkpoint(path: &Path) -> PathBuf {
    let file = fs::read_dir(path.join("checkpoints")).expect("a folder").next();
    file.expect("a checkpoint").expect("an item").path()
}

#[test]
fn everything_is_read_and_damage_of_every_kind_is_found() {
    type Change = fn(&Path) -> PathBuf;
    let changes: [(&str, Change); 8] = [
        ("a header", |folder| {
            let path = segments(folder).remove(0);
            flip(&path, 10);
            path
        }),
        ("a record", |folder| {
            let path = segments(folder).remove(1);
            flip(&path, 4200);
            path
        }),
        ("what is behind a segment's end", |folder| {
            let path = segments(folder).remove(0);
            flip(&path, 8191);
            path
        }),
        ("the segment that is written", |folder| {
            let path = segments(folder).pop().expect("one");
            flip(&path, 4100);
            path
        }),
        ("a missing segment", |folder| {
            let path = segments(folder).remove(1);
            fs::remove_file(&path).expect("removed");
            path
        }),
        ("a checkpoint", |folder| {
            let path = checkpoint(folder);
            flip(&path, 60);
            path
        }),
        ("the identity", |folder| {
            flip(&folder.join("identity"), 30);
            folder.join("identity")
        }),
        ("its copy", |folder| {
            flip(&folder.join("identity.copy"), 30);
            folder.join("identity.copy")
        }),
    ];
    for (what, change) in changes {
        let (folder, member, scrubber, reports) = member();
        assert!(next_pass(&reports) > 20_000, "{what}");
        let path = change(folder.path());
        let found = fault(&reports);
        assert_eq!(found.path, path, "{what}");
        if what == "a missing segment" {
            assert_eq!(found.what, Damage::Missing);
        }
        drop((scrubber, member));
    }
}

#[test]
fn what_is_written_released_and_begun_anew_meanwhile_is_no_damage() {
    let (_folder, mut member, scrubber, reports) = member();
    let mut passes = 0;
    let mut next = 64;
    while passes < 10 || next < 800 {
        member.append(entries(next, next + 9, 1, 200));
        next += 10;
        if next % 50 == 4 {
            member.checkpoint(position(next - 1, 1));
            member.checkpoints.retain(std::num::NonZeroUsize::MIN).expect("removed");
            member.write([Write::Release(position(next - 1, 1).index)]);
        }
        if next % 300 == 4 {
            let ahead = position(next + 99, 1);
            member.checkpoint(ahead);
            member.write([Write::Reset(ahead)]);
            next += 100;
        }
        if next % 70 == 4 {
            member.write([Write::HardState(state(1))]);
        }
        for report in reports.try_iter() {
            match report {
                Scrubbed::Pass(_) => passes += 1,
                Scrubbed::Read(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    drop(scrubber);
    drop(member);
}

#[test]
fn it_keeps_its_pace_and_ends_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    Member::formed(folder.path()).append(entries(1, 60, 1, 300));
    let pace = Pace { bytes_per_second: 64 * 1024, pause: Duration::ZERO };
    let (member, scrubber, reports) = scrubbed(folder.path(), pace);
    let started = std::time::Instant::now();
    let mut bytes = 0;
    while bytes < 24 * 1024 {
        if let Scrubbed::Read(more) = reports.recv_timeout(PATIENCE).expect("it goes on") {
            bytes += more;
        }
    }
    // The last piece's pause has not begun.
    assert!(started.elapsed() >= Duration::from_millis(100), "{:?}", started.elapsed());
    let slow = Pace { bytes_per_second: 1, pause: Duration::from_secs(3600) };
    drop(scrubber);
    drop(member);
    let (member, scrubber, _reports) = scrubbed(folder.path(), slow);
    let started = std::time::Instant::now();
    drop(scrubber);
    assert!(started.elapsed() < Duration::from_secs(60));
    drop(member);
}
