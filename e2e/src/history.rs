//! What a load's writers were told, held against what the store has afterwards: nothing acknowledged may be missing,
//! nothing refused may be there, and revisions must follow real time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use holdfast_api::http::KeyValue;

use crate::http::Outcome;

/// One write, to a key that no other write has.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The key; also the value.
    pub key: String,
    /// When it was sent.
    pub begin: Instant,
    /// When its outcome was known.
    pub end: Instant,
    /// Its outcome.
    pub outcome: Outcome,
}

/// All writes of a load.
#[derive(Clone, Debug, Default)]
pub struct History(pub Vec<Attempt>);

/// How many writes had which outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Done.
    pub acknowledged: usize,
    /// Not done.
    pub refused: usize,
    /// Nobody can say.
    pub unknown: usize,
}

impl History {
    /// How many writes had which outcome.
    pub fn counts(&self) -> Counts {
        let count =
            |wanted: fn(&Outcome) -> bool| self.0.iter().filter(|attempt| wanted(&attempt.outcome)).count();
        Counts {
            acknowledged: count(|outcome| matches!(outcome, Outcome::Acknowledged { .. })),
            refused: count(|outcome| matches!(outcome, Outcome::Refused(_))),
            unknown: count(|outcome| matches!(outcome, Outcome::Unknown(_))),
        }
    }

    /// Hold it against everything that the store has under the load's prefix.
    ///
    /// # Errors
    ///
    /// If they contradict each other; the error names examples.
    pub fn check(&self, stored: &[KeyValue]) -> anyhow::Result<()> {
        let mut stored: BTreeMap<&str, &KeyValue> =
            stored.iter().map(|item| (item.key.as_str(), item)).collect();
        let (mut lost, mut changed, mut risen) = (Vec::new(), Vec::new(), Vec::new());
        for attempt in &self.0 {
            match (&attempt.outcome, stored.remove(attempt.key.as_str())) {
                (Outcome::Acknowledged { .. }, None) => lost.push(attempt),
                (Outcome::Acknowledged { revision, .. }, Some(item)) => {
                    let value = item.bytes().ok() == Some(attempt.key.as_bytes());
                    if !value || item.mod_revision != *revision || item.version != 1 {
                        changed.push((attempt, item));
                    }
                }
                (Outcome::Refused(_), Some(_)) => risen.push(attempt),
                (Outcome::Refused(_), None) | (Outcome::Unknown(_), _) => {}
            }
        }
        let examples = 3;
        ensure!(
            lost.is_empty(),
            "{} acknowledged writes are lost, such as {:?}",
            lost.len(),
            first(&lost, examples)
        );
        ensure!(
            changed.is_empty(),
            "{} acknowledged writes are stored otherwise, such as {:?}",
            changed.len(),
            first(&changed, examples)
        );
        ensure!(
            risen.is_empty(),
            "{} refused writes are stored, such as {:?}",
            risen.len(),
            first(&risen, examples)
        );
        ensure!(
            stored.is_empty(),
            "{} keys that nobody wrote, such as {:?}",
            stored.len(),
            stored.keys().next()
        );
        self.check_order()
    }

    /// A write that began after another was acknowledged must have a later revision, and no two share one.
    fn check_order(&self) -> anyhow::Result<()> {
        let mut acknowledged: Vec<(&Attempt, u64)> = Vec::new();
        let mut revisions = BTreeSet::new();
        for attempt in &self.0 {
            if let Outcome::Acknowledged { revision, .. } = attempt.outcome {
                ensure!(revisions.insert(revision), "two writes were acknowledged with revision {revision}");
                acknowledged.push((attempt, revision));
            }
        }
        let mut by_end = acknowledged.clone();
        by_end.sort_by_key(|(attempt, _)| attempt.end);
        acknowledged.sort_by_key(|(attempt, _)| attempt.begin);
        let mut ended = by_end.into_iter().peekable();
        let mut latest = 0;
        for (attempt, revision) in acknowledged {
            while let Some((_, before)) = ended.next_if(|(before, _)| before.end < attempt.begin) {
                latest = latest.max(before);
            }
            if revision <= latest {
                bail!(
                    "{} got revision {revision} although {latest} was acknowledged before it began",
                    attempt.key
                );
            }
        }
        Ok(())
    }
}

/// Times in order, to read percentiles from.
#[derive(Clone, Debug)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Put times in order.
    pub fn new(mut times: Vec<Duration>) -> Times {
        times.sort_unstable();
        Times(times)
    }

    /// The time that `percent` of all do not exceed; zero if there are none.
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank = (percent / 100.0 * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).or(self.0.last()).copied().unwrap_or_default()
    }
}

fn first<T>(all: &[T], examples: usize) -> &[T] {
    &all[..all.len().min(examples)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(key: &str, revision: u64) -> KeyValue {
        KeyValue::new(key.to_owned(), key.as_bytes().to_vec(), revision, revision, 1)
    }

    /// Attempts one millisecond apart, each taking half of one.
    fn history(outcomes: Vec<(&str, Outcome)>) -> History {
        let zero = Instant::now();
        let attempt = |(number, (key, outcome)): (usize, (&str, Outcome))| {
            let begin = zero + Duration::from_millis(number as u64);
            Attempt { key: key.to_owned(), begin, end: begin + Duration::from_micros(500), outcome }
        };
        History(outcomes.into_iter().enumerate().map(attempt).collect())
    }

    fn acknowledged(revision: u64) -> Outcome {
        Outcome::Acknowledged { revision, term: 1 }
    }

    #[track_caller]
    fn check(outcomes: Vec<(&str, Outcome)>, stored: &[KeyValue], complaint: &str) {
        let result = history(outcomes).check(stored).map_err(|error| error.to_string());
        let said = result.err().unwrap_or_default();
        assert!(said.contains(complaint) && said.is_empty() == complaint.is_empty(), "{said:?}");
    }

    #[test]
    fn a_true_history_has_no_complaint() {
        let outcomes = vec![
            ("a", acknowledged(2)),
            ("b", Outcome::Refused(String::new())),
            ("c", Outcome::Unknown(String::new())),
            ("d", Outcome::Unknown(String::new())),
            ("e", acknowledged(4)),
        ];
        check(outcomes, &[item("a", 2), item("c", 3), item("e", 4)], "");
    }

    #[test]
    fn each_lie_is_found() {
        check(vec![("a", acknowledged(2))], &[], "lost");
        check(vec![("a", acknowledged(2))], &[item("a", 3)], "stored otherwise");
        let mut other_value = item("a", 2);
        other_value.value = Some("b".to_owned());
        check(vec![("a", acknowledged(2))], &[other_value], "stored otherwise");
        let mut twice = item("a", 2);
        twice.version = 2;
        check(vec![("a", acknowledged(2))], &[twice], "stored otherwise");
        check(vec![("a", Outcome::Refused(String::new()))], &[item("a", 2)], "refused writes are stored");
        check(vec![], &[item("a", 2)], "nobody wrote");
        check(
            vec![("a", acknowledged(2)), ("b", acknowledged(2))],
            &[item("a", 2), item("b", 2)],
            "two writes",
        );
        check(
            vec![("a", acknowledged(3)), ("b", acknowledged(2))],
            &[item("a", 3), item("b", 2)],
            "although 3",
        );
    }

    #[test]
    fn writes_at_the_same_time_may_come_in_any_order() {
        let mut history = history(vec![("a", acknowledged(3)), ("b", acknowledged(2))]);
        history.0[0].end += Duration::from_millis(1);
        history.check(&[item("a", 3), item("b", 2)]).expect("they overlapped");
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times = Times::new((1..=100).rev().map(Duration::from_millis).collect());
        for (percent, ms) in [(50.0, 50), (99.0, 99), (100.0, 100), (1.0, 1)] {
            assert_eq!(times.percentile(percent), Duration::from_millis(ms));
        }
        assert_eq!(Times::new(vec![]).percentile(50.0), Duration::ZERO);
    }
}
