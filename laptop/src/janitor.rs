//! Removes the folder of a program that was killed, after the members that it left behind have ended.
//!
//! It runs as a process of its own whose standard input only that program holds. Refuses to kill anything: members have their own
//! lifelines. Refuses to remove a folder that is no [`Scratch`](crate::Scratch)'s.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::scratch::LOCK;

/// How long members are waited for. They end within seconds; one that does not is stuck, and its files go all the same.
const MEMBERS_WAIT: Duration = Duration::from_secs(60);
/// How often they are looked at meanwhile.
const MEMBERS_PAUSE: Duration = Duration::from_millis(20);

/// Waits for the end of standard input, and removes `folder` then.
///
/// # Errors
/// It cannot be removed.
pub fn run(folder: &Path) -> io::Result<()> {
    let mut ignored = [0; 64];
    let mut input = io::stdin().lock();
    loop {
        match input.read(&mut ignored) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    remove(folder)
}

/// Removes a scratch folder whose owner is gone, when nothing runs in it any more. That it is gone already is no error.
///
/// # Errors
/// It is none, or cannot be removed.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    if !folder.join(LOCK).is_file() {
        return Err(io::Error::other(format!("{} was not made for experiments", folder.display())));
    }
    let until = Instant::now() + MEMBERS_WAIT;
    while is_lived_in(folder) && Instant::now() < until {
        sleep(MEMBERS_PAUSE);
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a member lives in one of the stores of `folder`: it has its log open and locked.
fn is_lived_in(folder: &Path) -> bool {
    let inside =
        |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    inside(folder).filter(|path| path.is_dir()).flat_map(|store| inside(&store).collect::<Vec<_>>()).any(
        |member| {
            let log = File::open(member.join("log"));
            log.is_ok_and(|log| matches!(log.try_lock(), Err(TryLockError::WouldBlock)))
        },
    )
}
