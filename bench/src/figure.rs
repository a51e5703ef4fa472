//! What a run measured: raw figures, as they go into `results.json`, and how several become one line of a table.

use holdfast_figures::Machine;
pub(crate) use holdfast_figures::Spread;
use serde::{Deserialize, Serialize};

use crate::floor::Floor;
use crate::system::System;

/// Everything of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    /// When it began, with the offset from UTC.
    pub(crate) date: String,
    /// How long it took.
    pub(crate) seconds: f64,
    /// How it was asked for.
    pub(crate) command: String,
    /// Where.
    pub(crate) machine: Machine,
    /// How often each load was repeated.
    pub(crate) repetitions: usize,
    /// Which versions, and how they were set.
    pub(crate) systems: Vec<SystemNote>,
    /// The floor, before every contender of every repetition.
    pub(crate) floors: Vec<Floor>,
    /// Loads.
    pub(crate) loads: Vec<Cell>,
    /// Faults.
    pub(crate) outages: Vec<Outages>,
    /// Memory.
    pub(crate) memory: Vec<Memory>,
    /// Starts with data.
    pub(crate) starts: Vec<Start>,
    /// Writes during a checkpoint.
    pub(crate) checkpoints: Vec<Checkpoint>,
    /// Large files.
    #[serde(default)]
    pub(crate) files: Vec<Transfer>,
    /// What `rsync` says of itself, if it was measured.
    #[serde(default)]
    pub(crate) rsync: Option<String>,
    /// What could not be measured, and why.
    pub(crate) missing: Vec<String>,
}

/// What is measured of a system.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SystemNote {
    /// Which.
    pub(crate) system: System,
    /// What its program says of itself.
    pub(crate) version: String,
    /// What was set.
    pub(crate) settings: String,
}

/// One load on one system, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// What was done.
    pub(crate) scenario: String,
    /// By whom, and how: a name of `contender.rs`.
    pub(crate) contender: String,
    /// Clients.
    pub(crate) clients: usize,
    /// Which repetition, from 0.
    pub(crate) repetition: usize,
    /// What was measured.
    pub(crate) figures: Figures,
    /// Processors that the members kept busy, on average over the whole load, its warm-up included.
    pub(crate) members_processors: f64,
    /// Processors that the load tool kept busy, likewise.
    pub(crate) clients_processors: f64,
    /// The machine's load average over the last minute.
    pub(crate) load_average: f64,
}

/// What a load tool measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Writes or reads per second.
    pub(crate) per_second: f64,
    /// Latencies of requests, in microseconds.
    pub(crate) p50_us: f64,
    /// The 99th percentile.
    pub(crate) p99_us: f64,
    /// The longest; 0 if the load tool does not say.
    pub(crate) max_us: f64,
    /// Writes or reads that were done.
    pub(crate) done: u64,
    /// Requests that failed.
    pub(crate) failed: u64,
    /// What the first of them was answered.
    pub(crate) first_failure: Option<String>,
    /// How long it was counted.
    pub(crate) seconds: f64,
}

/// A fault, many times.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outages {
    /// Whose.
    pub(crate) system: System,
    /// Which fault: `kill`, `term` or `stop`.
    pub(crate) fault: String,
    /// How long no write was acknowledged, each time, in milliseconds.
    pub(crate) ms: Vec<f64>,
    /// Requests that failed, over all times; counted only where a client could have been spared.
    pub(crate) failed: Option<usize>,
}

/// What a member occupies.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Whose.
    pub(crate) system: System,
    /// Which repetition, from 0.
    pub(crate) repetition: usize,
    /// Resident bytes of each member of an empty store.
    pub(crate) empty: Vec<u64>,
    /// Resident bytes of each member after the writes.
    pub(crate) written: Vec<u64>,
    /// How many writes.
    pub(crate) writes: u64,
}

/// A member's start with data on its disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    /// Whose.
    pub(crate) system: System,
    /// Which repetition, from 0.
    pub(crate) repetition: usize,
    /// Keys.
    pub(crate) keys: u64,
    /// Bytes of keys and values.
    pub(crate) bytes: u64,
    /// From the start of its process until it had everything.
    pub(crate) seconds: f64,
}

/// Writes while the leader takes a checkpoint, and as long without.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Which repetition, from 0.
    pub(crate) repetition: usize,
    /// Bytes of keys and values in the store.
    pub(crate) bytes: u64,
    /// How long the checkpoint took.
    pub(crate) seconds: f64,
    /// Clients.
    pub(crate) clients: usize,
    /// Without a checkpoint.
    pub(crate) without: Figures,
    /// During it.
    pub(crate) during: Figures,
}

/// How a large file was carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// Plain copies, flushed: the floor.
    Copy,
    /// `rsync`.
    Rsync,
    /// To one member of Holdfast, and by it to all.
    Holdfast,
}

impl Way {
    /// All of them.
    pub(crate) const ALL: [Way; 3] = [Way::Copy, Way::Rsync, Way::Holdfast];

    /// Its name in tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Way::Copy => "plain copy (the floor)",
            Way::Rsync => "rsync",
            Way::Holdfast => "Holdfast",
        }
    }
}

/// Which way a large file went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Direction {
    /// Onto three disks; of `rsync` two, because the third is where the file is.
    There,
    /// Into one file of the client's.
    Back,
}

impl Direction {
    /// Both.
    pub(crate) const ALL: [Direction; 2] = [Direction::There, Direction::Back];

    /// Its name in tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Direction::There => "upload",
            Direction::Back => "download",
        }
    }
}

/// One transfer of a large file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Transfer {
    /// How.
    pub(crate) way: Way,
    /// Which way.
    pub(crate) direction: Direction,
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// Which repetition, from 0.
    pub(crate) repetition: usize,
    /// Until everything was on the disk.
    pub(crate) seconds: f64,
    /// The most that each member has occupied so far, in bytes; none if there are no members.
    pub(crate) memory: Vec<u64>,
}

/// The figure that a share of all, in `[0, 1]`, do not exceed. `None` if there are none.
pub(crate) fn percentile(figures: &[f64], share: f64) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = ((sorted.len() as f64 * share).ceil() as usize).max(1);
    sorted.get(rank - 1).copied()
}

impl Results {
    /// The cells of one line of a table.
    pub(crate) fn cells(&self, scenario: &str, contender: &str, clients: usize) -> Vec<&Cell> {
        let same = |cell: &&Cell| {
            (cell.scenario.as_str(), cell.contender.as_str(), cell.clients) == (scenario, contender, clients)
        };
        self.loads.iter().filter(same).collect()
    }

    /// One figure of these cells over the repetitions.
    pub(crate) fn spread(
        &self,
        scenario: &str,
        contender: &str,
        clients: usize,
        figure: fn(&Figures) -> f64,
    ) -> Option<Spread> {
        Spread::of(self.cells(scenario, contender, clients).into_iter().map(|cell| figure(&cell.figures)))
    }

    /// Bytes of a file per second over the repetitions.
    pub(crate) fn file_rate(&self, way: Way, direction: Direction, bytes: u64) -> Option<Spread> {
        let same = |transfer: &&Transfer| {
            (transfer.way, transfer.direction, transfer.bytes) == (way, direction, bytes)
        };
        Spread::of(self.files.iter().filter(same).map(|transfer| transfer.bytes as f64 / transfer.seconds))
    }

    /// The most memory that a member occupied while files of this size were carried, and before.
    pub(crate) fn file_memory(&self, bytes: u64) -> Option<u64> {
        let same = self.files.iter().filter(|transfer| transfer.bytes == bytes);
        same.flat_map(|transfer| transfer.memory.iter().copied()).max()
    }

    /// The sizes of files that were carried.
    pub(crate) fn file_sizes(&self) -> Vec<u64> {
        let mut sizes: Vec<u64> = self.files.iter().map(|transfer| transfer.bytes).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// The floor of one durable majority write over the repetitions, in microseconds.
    pub(crate) fn write_floor(&self) -> Option<Spread> {
        Spread::of(self.floors.iter().map(Floor::write_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_figures_that_were_measured() {
        let figures: Vec<f64> = (1..=50).map(f64::from).collect();
        assert_eq!(percentile(&figures, 0.5), Some(25.0));
        assert_eq!(percentile(&figures, 0.99), Some(50.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
