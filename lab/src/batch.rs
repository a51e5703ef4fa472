//! Measures what a plan asks for and the journal has not yet, run by run, and says how long it will still take.
//!
//! It keeps no state of its own: whoever is killed starts it again.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::results::{FailedRun, Journal, JournalError};
use crate::{Configuration, Plan, Run, Testbed, TestbedError};

/// After so many failed runs in a row a batch ends: one can be chance, and what fails three different configurations one after the
/// other will fail the rest.
pub const FAILED_IN_A_ROW_MAX: usize = 3;

/// What happens in a batch.
#[derive(Debug)]
pub enum Event<'a> {
    /// A run begins.
    Begin {
        /// Whose.
        configuration: &'a Configuration,
        /// Which.
        run_id: u32,
    },
    /// A run was measured and kept.
    Done {
        /// Whose.
        configuration: &'a Configuration,
        /// It.
        run: &'a Run,
        /// How long all others will take, as far as one can tell; `None` before the first is done.
        left: Option<Duration>,
    },
    /// A run measured nothing.
    Failed {
        /// Whose.
        configuration: &'a Configuration,
        /// Which.
        run_id: u32,
        /// Why.
        error: &'a TestbedError,
    },
}

/// How a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The journal has every run.
    Complete,
    /// Somebody wanted it to stop.
    Stopped {
        /// How many runs are missing.
        missing: usize,
    },
    /// Runs failed.
    Incomplete {
        /// How many runs are missing.
        missing: usize,
    },
}

/// How long runs take, by configuration.
#[derive(Debug, Default)]
struct Pace {
    taken: BTreeMap<usize, (Duration, u32)>,
}

impl Pace {
    fn add(&mut self, configuration: usize, taken: Duration) {
        let entry = self.taken.entry(configuration).or_default();
        *entry = (entry.0 + taken, entry.1 + 1);
    }

    /// How long these will take: each as its configuration did on average so far, and those that are still unknown as all others did.
    fn left(&self, missing: &[(usize, u32)]) -> Option<Duration> {
        let mean = |(taken, times): &(Duration, u32)| *taken / (*times).max(1);
        let known = self.taken.values().map(mean).sum::<Duration>();
        let others = known.checked_div(u32::try_from(self.taken.len()).ok()?)?;
        Some(missing.iter().map(|(one, _)| self.taken.get(one).map_or(others, mean)).sum())
    }
}

/// Measures all missing runs. `stop` is whatever ends the batch early: the run that is under way then is given up, and its testbed
/// cleans up.
///
/// # Errors
/// A run could not be kept.
pub async fn run<T: Testbed>(
    plan: &Plan,
    journal: &mut Journal,
    testbed: &T,
    mut watch: impl FnMut(Event<'_>),
    stop: impl Future<Output = ()>,
) -> Result<Ended, JournalError> {
    let mut stop = pin!(stop);
    let (mut pace, mut in_a_row) = (Pace::default(), 0);
    let missing = journal.missing();
    for (at, (index, run_id)) in missing.iter().copied().enumerate() {
        let configuration = &plan.configurations[index];
        watch(Event::Begin { configuration, run_id });
        let begin = Instant::now();
        let measured = tokio::select! {
            biased;
            () = &mut stop => {
                journal.write_record()?;
                return Ok(Ended::Stopped { missing: journal.missing().len() });
            }
            measured = testbed.run(configuration, &plan.protocol, run_id) => measured,
        };
        match measured {
            Ok(measurement) => {
                in_a_row = 0;
                let run = Run::new(configuration, run_id, Timestamp::now(), measurement);
                journal.add(run.clone())?;
                pace.add(index, begin.elapsed());
                watch(Event::Done { configuration, run: &run, left: pace.left(&missing[at + 1..]) });
            }
            Err(error) => {
                in_a_row += 1;
                watch(Event::Failed { configuration, run_id, error: &error });
                journal.add_failed(FailedRun {
                    config_name: configuration.name.clone(),
                    run_id,
                    timestamp: Timestamp::now(),
                    error: chain(&error),
                });
                if in_a_row >= FAILED_IN_A_ROW_MAX {
                    break;
                }
            }
        }
    }
    journal.write_record()?;
    match journal.missing().len() {
        0 => Ok(Ended::Complete),
        missing => Ok(Ended::Incomplete { missing }),
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use holdfast_figures::Machine;

    use super::*;
    use crate::results::Record;
    use crate::{Measurement, Protocol};

    /// Measures nothing; fails where it is told to.
    struct Pretended {
        fails: fn(usize) -> bool,
        calls: Mutex<Vec<(String, u32)>>,
    }

    impl Testbed for Pretended {
        async fn run(
            &self,
            configuration: &Configuration,
            protocol: &Protocol,
            run_id: u32,
        ) -> Result<Measurement, TestbedError> {
            let mut calls = self.calls.lock().expect("not poisoned");
            calls.push((configuration.name.clone(), run_id));
            if (self.fails)(calls.len()) {
                return Err(TestbedError::new("starting the store", "no more processes"));
            }
            Ok(Measurement { items_recovered: protocol.items.into(), ..Measurement::default() })
        }
    }

    fn pretended(fails: fn(usize) -> bool) -> Pretended {
        Pretended { fails, calls: Mutex::default() }
    }

    fn journal(path: &Path, plan: &Plan) -> Journal {
        Journal::open(path, plan, Machine::read(Path::new("/")).expect("a machine"), "0.1.0")
            .expect("a journal")
    }

    /// Runs a batch to its end, or until `calls` runs were begun.
    fn batch(path: &Path, plan: &Plan, testbed: &Pretended, calls: usize) -> Ended {
        let (mut left, (send, stop)) = (Vec::new(), tokio::sync::oneshot::channel());
        let (mut send, mut begun) = (Some(send), 0);
        let watch = |event: Event<'_>| match event {
            Event::Begin { .. } => {
                begun += 1;
                if begun > calls {
                    send.take().map(|send| send.send(()));
                }
            }
            Event::Done { left: time, .. } => left.push(time),
            Event::Failed { .. } => {}
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let stop = async {
            if stop.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let ended =
            runtime.block_on(run(plan, &mut journal(path, plan), testbed, watch, stop)).expect("kept");
        assert!(left.iter().all(Option::is_some));
        ended
    }

    #[test]
    fn a_batch_that_is_stopped_is_completed_by_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, plan) = (folder.path().join("r.csv"), Plan { runs: 2, ..Plan::default() });
        let testbed = pretended(|_| false);
        assert_eq!(batch(&path, &plan, &testbed, 5), Ended::Stopped { missing: 11 });
        assert_eq!(batch(&path, &plan, &testbed, usize::MAX), Ended::Complete);
        let mut calls = testbed.calls.into_inner().expect("not poisoned");
        assert_eq!(calls.len(), 16);
        calls.sort();
        calls.dedup();
        assert_eq!(calls.len(), 16, "each once");
        assert_eq!(batch(&path, &plan, &pretended(|_| panic!("nothing is missing")), 99), Ended::Complete);
        let record = Record::read_beside(&path).expect("readable").expect("there");
        assert_eq!((record.runs.len(), record.sessions.len()), (16, 3));
    }

    #[test]
    fn a_run_that_fails_is_passed_over_and_three_in_a_row_end_the_batch() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, plan) = (folder.path().join("r.csv"), Plan { runs: 1, ..Plan::default() });
        let every_second = pretended(|call| call % 2 == 0);
        assert_eq!(batch(&path, &plan, &every_second, 99), Ended::Incomplete { missing: 4 });
        let never = pretended(|_| true);
        assert_eq!(batch(&path, &plan, &never, 99), Ended::Incomplete { missing: 4 });
        assert_eq!(never.calls.into_inner().expect("not poisoned").len(), FAILED_IN_A_ROW_MAX);
        let record = Record::read_beside(&path).expect("readable").expect("there");
        assert_eq!(record.failed_runs.len(), 7);
        assert_eq!(record.failed_runs[0].error, "starting the store failed: no more processes");
        assert_eq!(batch(&path, &plan, &pretended(|_| false), 99), Ended::Complete);
    }

    #[test]
    fn what_is_left_goes_by_configuration() {
        let mut pace = Pace::default();
        assert_eq!(pace.left(&[(0, 1)]), None);
        pace.add(0, Duration::from_secs(1));
        pace.add(0, Duration::from_secs(3));
        assert_eq!(pace.left(&[(0, 2), (1, 2)]), Some(Duration::from_secs(4)));
        pace.add(1, Duration::from_secs(10));
        assert_eq!(pace.left(&[(0, 2), (1, 2), (2, 2)]), Some(Duration::from_secs(2 + 10 + 6)));
        assert_eq!(pace.left(&[]), Some(Duration::ZERO));
    }
}
