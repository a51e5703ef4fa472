//! The revisions that clients were told, over all keys: each write has one of its own, and they follow real time. It knows
//! nothing about what the keys hold; [`crate::linearizability`] judges that key by key.

use std::collections::BTreeMap;
use std::time::Duration;

/// What one answer said about the store's revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When the request was sent, since the begin of the run.
    pub begin: Duration,
    /// When its answer was there.
    pub end: Duration,
    /// The revision that a write made, or the store's revision when it was read.
    pub revision: u64,
    /// What was asked, for people.
    pub what: String,
    /// Whether it is a write that made the revision.
    pub wrote: bool,
}

/// Check that no two writes made the same revision, that a write's revision is above, and a read's not below,
/// every revision that somebody had been told before it began.
///
/// # Errors
///
/// The first contradiction, in words.
pub fn check(told: &[Told]) -> Result<(), String> {
    let mut writers: BTreeMap<u64, &Told> = BTreeMap::new();
    for write in told.iter().filter(|one| one.wrote) {
        if let Some(other) = writers.insert(write.revision, write) {
            return Err(format!("{} and {} both made revision {}", other.what, write.what, write.revision));
        }
    }
    let mut by_begin: Vec<&Told> = told.iter().collect();
    by_begin.sort_by_key(|one| one.begin);
    let mut by_end = by_begin.clone();
    by_end.sort_by_key(|one| one.end);
    let mut ended = by_end.into_iter().peekable();
    let mut latest: Option<&Told> = None;
    for one in by_begin {
        while let Some(before) = ended.next_if(|before| before.end < one.begin) {
            latest = Some(
                latest
                    .map_or(before, |latest| if before.revision > latest.revision { before } else { latest }),
            );
        }
        let Some(latest) = latest else { continue };
        if one.revision < latest.revision || (one.wrote && one.revision == latest.revision) {
            return Err(format!(
                "{} was told revision {} although {} had been told {} before",
                one.what, one.revision, latest.what, latest.revision
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(begin: u64, end: u64, revision: u64, wrote: bool) -> Told {
        let (begin, end) = (Duration::from_millis(begin), Duration::from_millis(end));
        Told { begin, end, revision, what: format!("the one from {begin:?}"), wrote }
    }

    fn write(begin: u64, end: u64, revision: u64) -> Told {
        told(begin, end, revision, true)
    }

    fn read(begin: u64, end: u64, revision: u64) -> Told {
        told(begin, end, revision, false)
    }

    #[track_caller]
    fn bad(all: &[Told], complaint: &str) {
        let error = check(all).expect_err("they contradict each other");
        assert!(error.contains(complaint), "{error}");
    }

    #[test]
    fn what_follows_real_time_is_fine() {
        let all =
            [write(0, 5, 3), write(0, 5, 2), read(6, 7, 3), read(6, 9, 4), write(8, 9, 4), read(1, 2, 1)];
        assert_eq!(check(&all), Ok(()));
    }

    #[test]
    fn each_contradiction_is_found() {
        bad(&[write(0, 9, 2), write(0, 9, 2)], "both made revision 2");
        bad(&[write(0, 1, 3), write(2, 3, 2)], "although the one from 0ns had been told 3");
        bad(&[write(0, 1, 3), read(2, 3, 2)], "although");
        bad(&[read(0, 1, 3), read(2, 3, 2)], "although");
        // A read saw a revision that a later write claims to have made.
        bad(&[read(0, 1, 3), write(2, 3, 3)], "although");
    }
}
