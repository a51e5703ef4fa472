//! What a run's clients were told, held against itself and against what every member has in the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use holdfast_api::http::KeyValue;

use super::clients::{Event, KEYS, SHARED};
use crate::history::History;
use crate::http::Outcome;
use crate::linearizability::{self, Call, Operation, Return, Verdict};
use crate::revisions::{self, Told};

/// What one member has in the end, read through it.
#[derive(Clone, Debug)]
pub struct Last {
    /// The member.
    pub member: usize,
    /// When the read began and ended, since the begin of the run.
    pub time: (Duration, Duration),
    /// The shared keys.
    pub shared: Vec<KeyValue>,
    /// The keys that were written once.
    pub once: Vec<KeyValue>,
}

/// How many requests had which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Reads with an answer.
    pub reads: usize,
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Writes whose condition did not hold.
    pub mismatched: usize,
    /// Requests that were refused, and reads without an answer.
    pub refused: usize,
    /// Writes of unknown outcome.
    pub unknown: usize,
}

impl Tally {
    /// Count.
    pub fn of(events: &[Event]) -> Tally {
        let mut tally = Tally::default();
        for event in events {
            let place = match event {
                Event::Refused => &mut tally.refused,
                Event::Once(attempt) => match attempt.outcome {
                    Outcome::Acknowledged { .. } => &mut tally.acknowledged,
                    Outcome::Refused(_) => &mut tally.refused,
                    Outcome::Unknown(_) => &mut tally.unknown,
                },
                Event::Shared { operation, .. } => match operation.result {
                    _ if operation.call == Call::Get => &mut tally.reads,
                    Return::Done(_) | Return::Found(..) | Return::Absent => &mut tally.acknowledged,
                    Return::Mismatch(_) => &mut tally.mismatched,
                    Return::Unknown => &mut tally.unknown,
                },
            };
            *place += 1;
        }
        tally
    }

    /// Add another run's.
    pub fn add(&mut self, other: Tally) {
        self.reads += other.reads;
        self.acknowledged += other.acknowledged;
        self.mismatched += other.mismatched;
        self.refused += other.refused;
        self.unknown += other.unknown;
    }

    /// All requests.
    pub fn operations(&self) -> usize {
        self.reads + self.acknowledged + self.mismatched + self.refused + self.unknown
    }
}

/// Judge what was told in a run that began at `zero`.
///
/// # Errors
///
/// What is wrong, with what shows it.
pub fn judge(events: &[Event], last: &[Last], zero: Instant) -> anyhow::Result<()> {
    let first = last.first().context("no member was read in the end")?;
    for one in last {
        ensure!(
            (&one.shared, &one.once) == (&first.shared, &first.once),
            "members {} and {} have different keys",
            first.member,
            one.member
        );
    }
    let once = events.iter().filter_map(|event| match event {
        Event::Once(attempt) => Some(attempt.clone()),
        _ => None,
    });
    History(once.collect()).check(&first.once).context("of the keys that are written once")?;
    let histories = histories(events, last)?;
    same_value_everywhere(&histories)?;
    if let Err(contradiction) = revisions::check(&told(events, zero)) {
        bail!("revisions: {contradiction}");
    }
    for (key, history) in histories.iter().enumerate() {
        match linearizability::check(history) {
            Verdict::Linearizable => {}
            Verdict::Violation(text) => bail!("{SHARED}{key} is not linearizable: {text}"),
            Verdict::TooHard => {
                bail!("{SHARED}{key}: the search for an order was given up; nothing is known")
            }
        }
    }
    Ok(())
}

/// By key: what was asked and answered, with the last reads.
fn histories(events: &[Event], last: &[Last]) -> anyhow::Result<Vec<Vec<Operation>>> {
    let mut histories = vec![Vec::new(); KEYS];
    for event in events {
        if let Event::Shared { key, operation, .. } = event {
            histories[*key].push(*operation);
        }
    }
    for one in last {
        for (key, history) in histories.iter_mut().enumerate() {
            let name = format!("{SHARED}{key}");
            let result = match one.shared.iter().find(|item| item.key == name) {
                None => Return::Absent,
                Some(item) => {
                    let value = item.value.as_ref().and_then(|value| value.parse().ok());
                    Return::Found(
                        value.with_context(|| format!("{item:?} is no value of ours"))?,
                        item.mod_revision,
                    )
                }
            };
            let (begin, end) = one.time;
            history.push(Operation { client: 100 + one.member, begin, end, call: Call::Get, result });
        }
    }
    Ok(histories)
}

/// A revision wrote one value to one key, whoever reads it.
fn same_value_everywhere(histories: &[Vec<Operation>]) -> anyhow::Result<()> {
    let mut written: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
    for (key, history) in histories.iter().enumerate() {
        for operation in history {
            let (value, revision) = match (operation.call, operation.result) {
                (Call::Put(value, _), Return::Done(revision)) | (_, Return::Found(value, revision)) => {
                    (value, revision)
                }
                _ => continue,
            };
            let before = *written.entry(revision).or_insert((key, value));
            ensure!(
                before == (key, value),
                "revision {revision} wrote {before:?} (key, value) and also {:?}",
                (key, value)
            );
        }
    }
    Ok(())
}

/// What was told about the store's revision.
fn told(events: &[Event], zero: Instant) -> Vec<Told> {
    let told = |event: &Event| match event {
        Event::Shared { operation, revision, .. } => {
            let (begin, end) = (operation.begin, operation.end);
            let (revision, wrote) = match (operation.result, revision) {
                (Return::Done(revision), _) => (revision, true),
                (_, Some(revision)) => (*revision, false),
                _ => return None,
            };
            Some(Told { begin, end, revision, what: operation.to_string(), wrote })
        }
        Event::Once(attempt) => {
            let Outcome::Acknowledged { revision, .. } = attempt.outcome else { return None };
            let (begin, end) = (attempt.begin - zero, attempt.end - zero);
            Some(Told { begin, end, revision, what: attempt.key.clone(), wrote: true })
        }
        Event::Refused => None,
    };
    events.iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Attempt;
    use crate::linearizability::Expect;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A put of 7 to the first shared key by revision 2, a key that was written once by revision 3, and what a member
    /// has after that.
    fn run() -> (Instant, Vec<Event>, Last) {
        let zero = Instant::now();
        let call = Call::Put(7, Expect::Any);
        let operation = Operation { client: 0, begin: ms(0), end: ms(1), call, result: Return::Done(2) };
        let (begin, end) = (zero + ms(2), zero + ms(3));
        let outcome = Outcome::Acknowledged { revision: 3, term: 1 };
        let events = vec![
            Event::Shared { key: 0, operation, revision: Some(2) },
            Event::Once(Attempt { key: "once/0-1".to_owned(), begin, end, outcome }),
            Event::Refused,
        ];
        let shared = vec![KeyValue::new("shared/0".to_owned(), b"7".to_vec(), 2, 2, 1)];
        let once = vec![KeyValue::new("once/0-1".to_owned(), b"once/0-1".to_vec(), 3, 3, 1)];
        (zero, events, Last { member: 0, time: (ms(10), ms(11)), shared, once })
    }

    #[track_caller]
    fn wrong(change: impl FnOnce(&mut Vec<Event>, &mut Last), complaint: &str) {
        let (zero, mut events, mut last) = run();
        change(&mut events, &mut last);
        let error = judge(&events, &[last], zero).expect_err("it is wrong");
        assert!(format!("{error:#}").contains(complaint), "{error:#}");
    }

    #[test]
    fn a_run_in_order_has_no_complaint() {
        let (zero, events, last) = run();
        judge(&events, &[last.clone(), last], zero).expect("all is well");
        let tally = Tally::of(&events);
        assert_eq!(tally, Tally { acknowledged: 2, refused: 1, ..Tally::default() });
        assert_eq!(tally.operations(), 3);
    }

    #[test]
    fn everything_that_can_be_wrong_is_said() {
        wrong(|_, last| last.once.clear(), "lost");
        wrong(|_, last| last.shared.clear(), "not linearizable");
        wrong(|_, last| last.shared[0].mod_revision = 4, "twice");
        let second = |events: &mut Vec<Event>| {
            let Event::Shared { operation, .. } = &mut events[0] else { panic!("the first event") };
            operation.result = Return::Done(3);
        };
        wrong(
            |events, last| {
                second(events);
                last.shared[0].mod_revision = 3;
            },
            "both made revision 3",
        );
        let (zero, events, last) = run();
        let other = Last { member: 1, once: Vec::new(), ..last.clone() };
        assert!(
            judge(&events, &[last, other], zero)
                .is_err_and(|error| error.to_string().contains("different keys"))
        );
    }
}
