//! `holdfast experiment run`: measures what a plan asks for, and goes on where an earlier one ended.

use holdfast_figures::Machine;
use holdfast_lab::Testbed;
use holdfast_lab::batch::{self, Ended};
use holdfast_lab::results::Journal;
use tokio::signal::unix::{SignalKind, signal};

use super::planned;
use super::progress::Progress;
use crate::arguments::ExperimentRun;
use crate::exit::{Exit, Failure};
use crate::remark;
use crate::verb::block_on;

/// Measures on stores of this machine.
///
/// # Errors
/// The plan is wrong, the results are another experiment's, or a run could not be kept.
pub fn run(arguments: &ExperimentRun) -> Result<Exit, Failure> {
    let _ = arguments;
    Err(Failure::general("there is no testbed on this machine yet"))
}

/// Measures on a testbed.
///
/// # Errors
/// The plan is wrong, the results are another experiment's, or a run could not be kept.
pub fn on<T: Testbed>(arguments: &ExperimentRun, testbed: &T) -> Result<Exit, Failure> {
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
    let mut progress = Progress::new(all, all - missing);
    let ended = block_on(async {
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
        let batch = batch::run(&plan, &mut journal, testbed, |event| progress.show(&event), stop);
        batch.await.map_err(Failure::general)
    });
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
