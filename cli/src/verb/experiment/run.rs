//! `holdfast experiment run`: measures what a plan asks for, and goes on where an earlier one ended.

use std::time::Duration;

use holdfast_figures::Machine;
use holdfast_lab::batch::{self, Ended};
use holdfast_lab::results::Journal;
use holdfast_lab::{Processes, Testbed, TestbedError};
use tokio::signal::unix::{SignalKind, signal};

use super::planned;
use super::progress::Progress;
use crate::arguments::ExperimentRun;
use crate::exit::{Exit, Failure};
use crate::remark;

/// How long the end may take.
const END_MAX: Duration = Duration::from_secs(5);

/// Measures on stores of this machine.
///
/// # Errors
/// The plan is wrong, the results are another experiment's, or a run could not be kept.
pub fn run(arguments: &ExperimentRun) -> Result<Exit, Failure> {
    on(arguments, || Processes::new(&arguments.data))
}

/// Measures on a testbed, which is made when there is something to measure.
///
/// # Errors
/// The plan is wrong, the results are another experiment's, or a run could not be kept.
pub fn on<T: Testbed>(
    arguments: &ExperimentRun,
    testbed: impl FnOnce() -> Result<T, TestbedError>,
) -> Result<Exit, Failure> {
    let plan = planned::of(&arguments.planned)?;
    let (path, data) = (&arguments.planned.results, &arguments.data);
    let unusable = |error| Failure::general(format!("cannot use {}: {error}", data.display()));
    std::fs::create_dir_all(data).map_err(unusable)?;
    let machine = Machine::read(data).map_err(unusable)?;
    if machine.is_in_memory() {
        remark(&format!(
            "{} is in memory, where a flush costs nothing: figures of strategies that write to disk will flatter; give a \
             folder on a disk by --data",
            data.display()
        ));
    }
    let version = env!("CARGO_PKG_VERSION");
    let mut journal = Journal::open(path, &plan, machine, version).map_err(Failure::general)?;
    journal.remarks().iter().for_each(|words| remark(words));
    let (missing, all) = (journal.missing().len(), plan.order().len());
    if missing == 0 {
        remark(&format!("nothing is missing in {}", path.display()));
        return Ok(Exit::Ok);
    }
    let testbed = testbed().map_err(Failure::general)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::general(format!("cannot start: {error}")))?;
    let mut progress = Progress::new(all, all - missing);
    let ended = runtime.block_on(async {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::general(format!("cannot listen for signals: {error}")))
        };
        let (mut interrupt, mut terminate) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let stop = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        let batch = batch::run(&plan, &mut journal, &testbed, |event| progress.show(&event), stop);
        batch.await.map_err(Failure::general)
    });
    // What is under way at the end and cannot be cut off, such as a file that is being removed, has so long.
    runtime.shutdown_timeout(END_MAX);
    progress.end();
    let path = path.display();
    match ended? {
        Ended::Complete => {
            remark(&format!(
                "all {all} runs are in {path}; `holdfast experiment report {path}` says what they mean"
            ));
            Ok(Exit::Ok)
        }
        Ended::Stopped { missing } => Err(Failure::general(format!(
            "stopped with {missing} of {all} runs missing in {path}; the same command goes on there"
        ))),
        Ended::Incomplete { missing } => Err(Failure::general(format!(
            "{missing} of {all} runs are missing in {path} because runs failed; the same command tries these again"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use holdfast_lab::{Configuration, Measurement, Protocol};

    use super::*;
    use crate::arguments::Planned;

    /// Measures nothing, or fails.
    struct Pretended {
        fails: bool,
    }

    impl Testbed for Pretended {
        async fn run(&self, _: &Configuration, _: &Protocol, _: u32) -> Result<Measurement, TestbedError> {
            if self.fails { Err(TestbedError::new("starting", "no")) } else { Ok(Measurement::default()) }
        }
    }

    fn arguments(folder: &Path, runs: u32) -> ExperimentRun {
        let planned = Planned {
            file: None,
            runs: Some(runs),
            items: None,
            failure: None,
            writers: None,
            only: Vec::new(),
            results: folder.join("results.csv"),
        };
        ExperimentRun { planned, data: folder.join("data") }
    }

    #[test]
    fn a_batch_ends_as_its_runs_did() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = |runs, fails| on(&arguments(folder.path(), runs), || Ok(Pretended { fails }));
        let failure = run(1, true).expect_err("no run");
        assert_eq!(failure.exit(), Exit::Failure);
        assert!(failure.to_string().contains("8 of 8 runs are missing"), "{failure}");
        assert_eq!(run(1, false).expect("complete"), Exit::Ok);
        // Nothing is missing, so nothing is made to measure with.
        let unused = || -> Result<Pretended, TestbedError> { panic!("nothing is missing") };
        assert_eq!(on(&arguments(folder.path(), 1), unused).expect("complete"), Exit::Ok);
        assert_eq!(run(2, false).expect("eight more"), Exit::Ok);
    }
}
