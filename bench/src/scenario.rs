//! What is measured, one module for each part; each part can be left out.

mod checkpoint;
mod faults;
mod files;
mod loads;
mod memory;
mod start;

use std::path::{Path, PathBuf};

use crate::arguments::Plan;
use crate::figure::{Results, SystemNote};
use crate::say;
use crate::system::{Cluster, Programs, System};

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Writes and reads by many clients.
    Loads,
    /// Leaders killed, asked to end, and stopped.
    Faults,
    /// What a member occupies.
    Memory,
    /// Writes during a checkpoint.
    Checkpoint,
    /// A member that starts with data.
    Start,
    /// Large files, up and down.
    Files,
}

impl Part {
    /// All of them, in the order in which they run: the machine is quietest at the beginning.
    pub(crate) const ALL: [Part; 6] =
        [Part::Loads, Part::Faults, Part::Memory, Part::Checkpoint, Part::Start, Part::Files];
}

/// What every part needs.
pub(crate) struct Bench {
    /// How much.
    pub(crate) plan: Plan,
    /// Where the programs are.
    pub(crate) programs: Programs,
    /// Where members write; on the disk that is measured.
    pub(crate) data: PathBuf,
    /// What was found so far.
    pub(crate) results: Results,
}

impl Bench {
    /// Measure one part. What fails is noted among the results, so that one system cannot spoil the others' figures.
    pub(crate) fn run(&mut self, part: Part) {
        match part {
            Part::Loads => loads::run(self),
            Part::Faults => faults::run(self),
            Part::Memory => memory::run(self),
            Part::Checkpoint => checkpoint::run(self),
            Part::Start => start::run(self),
            Part::Files => files::run(self),
        }
    }

    /// The systems that take part, of these.
    fn systems(&self, of: &[System]) -> Vec<System> {
        of.iter().copied().filter(|system| self.plan.systems.contains(system)).collect()
    }

    /// Start a system on empty disks, do something with it, and take everything away. An error is noted, and becomes
    /// `None`.
    fn with<T>(
        &mut self,
        system: System,
        what: &str,
        act: impl FnOnce(&mut Bench, &mut dyn Cluster) -> anyhow::Result<T>,
    ) -> Option<T> {
        let folder = self.data.join("members");
        let done = self.with_cluster(system, &folder, act);
        // What is left is taken away with the whole folder.
        let _ = std::fs::remove_dir_all(&folder);
        done.map_err(|error| self.note_missing(system, what, &error)).ok()
    }

    fn with_cluster<T>(
        &mut self,
        system: System,
        folder: &Path,
        act: impl FnOnce(&mut Bench, &mut dyn Cluster) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut cluster = system.start(&self.programs, folder)?;
        self.note_system(system, &*cluster)?;
        act(self, &mut *cluster)
    }

    fn note_system(&mut self, system: System, cluster: &dyn Cluster) -> anyhow::Result<()> {
        if self.results.systems.iter().all(|note| note.system != system) {
            let version = system.version(&self.programs)?;
            self.results.systems.push(SystemNote { system, version, settings: cluster.settings() });
        }
        Ok(())
    }

    fn note_missing(&mut self, system: System, what: &str, error: &anyhow::Error) {
        let missing = format!("{}, {what}: {error:#}", system.title());
        say(format_args!("MISSING: {missing}"));
        self.results.missing.push(missing);
    }
}
