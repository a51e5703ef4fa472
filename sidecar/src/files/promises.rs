//! Bytes that this member has said it keeps, although no record refers to them yet: [`Promises`].
//!
//! A record follows its bytes, so that for a moment nothing says that they are wanted. Removing asks here, under the same
//! lock: bytes go only when nobody relies on them. A promise is kept for [`PROMISE_TIME`], or until the very upload that
//! it was given to is deleted. Promises of the process before are known by the files' times alone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use holdfast_wire::files::Digest;

use super::blobs::{BlobError, Blobs};
use super::limits::PROMISE_TIME;

/// The kernel's clock for files lags behind by up to a tick. No process begins so soon after the one before has ended.
const TICK: Duration = Duration::from_millis(20);

/// What was promised, and to whom.
#[derive(Debug)]
pub(crate) struct Promises {
    began: SystemTime,
    given: Mutex<HashMap<Digest, Vec<Promise>>>,
}

#[derive(Clone, Copy, Debug)]
struct Promise {
    upload: u128,
    until: Instant,
}

impl Promises {
    pub(crate) fn new() -> Promises {
        Promises { began: SystemTime::now() - TICK, given: Mutex::default() }
    }

    /// These bytes are kept for an upload, from before it is looked whether they are here.
    pub(crate) fn give(&self, digest: Digest, upload: u128, time: Duration) {
        let until = Instant::now() + time;
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.retain(|_, promises| {
            promises.retain(|promise| promise.until > Instant::now());
            !promises.is_empty()
        });
        let promises = given.entry(digest).or_default();
        promises.retain(|promise| promise.upload != upload);
        promises.push(Promise { upload, until });
    }

    /// Nothing refers to these bytes of this upload any more, for certain.
    pub(crate) fn release(&self, digest: &Digest, upload: u128) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(promises) = given.get_mut(digest) {
            promises.retain(|promise| promise.upload != upload);
        }
    }

    /// Remove these bytes unless they are promised; whether they are gone. Reads the disk.
    pub(crate) fn remove(&self, blobs: &Blobs, digest: &Digest) -> Result<bool, BlobError> {
        // Whoever promises waits until this is done, and sees then whether the bytes are there.
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let promised =
            given.get(digest).is_some_and(|promises| promises.iter().any(|promise| promise.until > now));
        if promised || self.was_promised_before(blobs.promised_at(digest)) {
            return Ok(false);
        }
        blobs.remove(digest).map(|()| true)
    }

    /// Whether the process before may have promised a file that was written or asked for last at `time`.
    fn was_promised_before(&self, time: Option<SystemTime>) -> bool {
        let Some(time) = time.filter(|time| *time < self.began) else { return false };
        SystemTime::now().duration_since(time).is_ok_and(|since| since < PROMISE_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_when_nobody_relies_on_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = Blobs::open(folder.path().join("files")).expect("a folder");
        let promises = Promises::new();
        let complete = blobs.begin(None).expect("room").complete();
        let digest = complete.digest();
        promises.give(digest, 1, PROMISE_TIME);
        promises.give(digest, 2, PROMISE_TIME);
        complete.keep(&digest, 0).expect("kept");
        promises.release(&digest, 1);
        assert!(!promises.remove(&blobs, &digest).expect("a disk"), "another upload relies on them");
        assert!(blobs.has(&digest));
        promises.release(&digest, 2);
        assert!(promises.remove(&blobs, &digest).expect("a disk"));
        assert!(!blobs.has(&digest));
    }

    #[test]
    fn promises_of_the_process_before_are_kept_too() {
        let promises =
            Promises { began: SystemTime::now() + Duration::from_secs(1), given: Mutex::default() };
        assert!(promises.was_promised_before(Some(SystemTime::now())));
        assert!(!promises.was_promised_before(Some(SystemTime::now() - PROMISE_TIME)));
        assert!(!promises.was_promised_before(None));
        assert!(!Promises::new().was_promised_before(Some(SystemTime::now() + Duration::from_secs(1))));
    }
}
