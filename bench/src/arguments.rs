//! What a run is told: how much, of what, and where the results go. It refuses to guess which figures count: a quick run
//! writes elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::contender::Scenario;
use crate::scenario::Part;
use crate::system::System;

/// Holdfast and its peers on this machine, in one run, in turns.
#[derive(Clone, Debug, Parser)]
#[command(name = "holdfast-bench")]
pub(crate) struct Arguments {
    /// Less of everything, to see that it works: the results go to target/bench.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these parts; all by default.
    #[arg(long = "part", value_enum, value_name = "PART")]
    pub(crate) parts: Vec<Part>,
    /// Only these systems; all by default.
    #[arg(long = "system", value_enum, value_name = "SYSTEM")]
    pub(crate) systems: Vec<System>,
    /// Only these loads; all by default.
    #[arg(long = "load", value_enum, value_name = "LOAD")]
    pub(crate) loads: Vec<Scenario>,
    /// Clients of the write loads: 1, 64, 256 and 1024 by default.
    #[arg(long, value_delimiter = ',', value_name = "NUMBER,…")]
    pub(crate) clients: Vec<usize>,
    /// How often each load is repeated: 3 by default.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) repetitions: Option<usize>,
    /// How long each load is counted, in seconds: 2 by default.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) seconds: Option<f64>,
    /// How often the leaders of Holdfast and etcd are killed: 50 by default. Those of NATS a tenth of that.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) kills: Option<usize>,
    /// How many keys there are when a member starts with data: 1,000,000 by default.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) keys: Option<u64>,
    /// How long the files are that are uploaded and downloaded, in MiB: 64 and 1024 by default.
    #[arg(long = "file-mebibytes", value_delimiter = ',', value_name = "NUMBER,…")]
    pub(crate) file_mebibytes: Vec<u64>,
    /// Where the members' data goes: a folder on a disk. A new one in the system's folder for temporary files by default.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Where the results go: docs/performance by default.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Measure nothing; write tables and plots again from this results.json.
    #[arg(long, value_name = "FILE")]
    pub(crate) render: Option<PathBuf>,
}

/// How much is measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Which parts.
    pub(crate) parts: Vec<Part>,
    /// Which systems.
    pub(crate) systems: Vec<System>,
    /// Which loads, with their clients.
    pub(crate) loads: Vec<(Scenario, Vec<usize>)>,
    /// How often each load is repeated.
    pub(crate) repetitions: usize,
    /// Of each load: what is not counted.
    pub(crate) warm_up: Duration,
    /// Of each load: what is counted.
    pub(crate) length: Duration,
    /// How often the leaders of Holdfast and etcd are killed.
    pub(crate) kills: usize,
    /// How often leaders are asked to end, and stopped.
    pub(crate) other_faults: usize,
    /// Keys of a member that starts with data.
    pub(crate) keys: u64,
    /// Keys of a store whose checkpoint is taken under load.
    pub(crate) checkpoint_keys: u64,
    /// Writes before memory is looked at again.
    pub(crate) memory_writes: u64,
    /// Bytes of the files that are uploaded and downloaded.
    pub(crate) file_bytes: Vec<u64>,
}

/// Clients of loads with several writes in flight per client: fewer than of others, because each keeps the members as
/// busy as many.
const CLIENTS_PIPELINED: &[usize] = &[64];

/// Clients that send batches.
const CLIENTS_BATCHED: &[usize] = &[16];

/// Clients that read.
const CLIENTS_READING: &[usize] = &[1, 256];

/// Clients that append to a message log.
const CLIENTS_APPENDING: &[usize] = &[1, 64];

/// Keys whose bytes are a gigabyte.
const CHECKPOINT_KEYS: u64 = 3_700_000;

/// MiB of files: one whose transfer is over in a moment, and one that no cache of a disk takes in.
const FILE_MEBIBYTES: &[u64] = &[64, 1024];

/// Of a quick run.
const FILE_MEBIBYTES_QUICK: &[u64] = &[64];

impl Arguments {
    /// How much is to be measured.
    pub(crate) fn plan(&self) -> Plan {
        let or = |chosen: &[usize], full: &[usize], quick: &[usize]| {
            let usual = if self.quick { quick } else { full };
            if chosen.is_empty() { usual.to_vec() } else { chosen.to_vec() }
        };
        let all = [
            (Scenario::Write, or(&self.clients, &[1, 64, 256, 1024], &[1, 64, 256])),
            (Scenario::Pipelined, CLIENTS_PIPELINED.to_vec()),
            (Scenario::Batched, CLIENTS_BATCHED.to_vec()),
            (Scenario::Read, or(&[], CLIENTS_READING, &[256])),
            (Scenario::Append, CLIENTS_APPENDING.to_vec()),
        ];
        let chosen = |(load, _): &(Scenario, Vec<usize>)| self.loads.is_empty() || self.loads.contains(load);
        let number =
            |asked: Option<usize>, full, quick| asked.unwrap_or(if self.quick { quick } else { full });
        let seconds = self.seconds.unwrap_or(if self.quick { 1.0 } else { 2.0 });
        let usual = if self.quick { FILE_MEBIBYTES_QUICK } else { FILE_MEBIBYTES };
        let mebibytes = if self.file_mebibytes.is_empty() { usual } else { &self.file_mebibytes };
        let kills = number(self.kills, 50, 5);
        Plan {
            parts: if self.parts.is_empty() { Part::ALL.to_vec() } else { self.parts.clone() },
            systems: if self.systems.is_empty() { System::ALL.to_vec() } else { self.systems.clone() },
            loads: all.into_iter().filter(chosen).collect(),
            repetitions: number(self.repetitions, 3, 1).max(1),
            warm_up: Duration::from_secs_f64(seconds / 5.0),
            length: Duration::from_secs_f64(seconds),
            kills,
            other_faults: kills.div_ceil(5),
            keys: self.keys.unwrap_or(if self.quick { 200_000 } else { 1_000_000 }),
            checkpoint_keys: if self.quick { 200_000 } else { CHECKPOINT_KEYS },
            memory_writes: if self.quick { 20_000 } else { 200_000 },
            file_bytes: mebibytes.iter().map(|mebibytes| mebibytes << 20).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(words: &[&str]) -> Plan {
        Arguments::try_parse_from(words).expect("the arguments are right").plan()
    }

    #[test]
    fn a_run_is_whole_unless_it_is_told_otherwise() {
        let whole = plan(&["bench"]);
        assert_eq!((whole.repetitions, whole.kills, whole.other_faults), (3, 50, 10));
        assert_eq!(whole.loads[0], (Scenario::Write, vec![1, 64, 256, 1024]));
        let quick = plan(&["bench", "--quick", "--kills=7"]);
        assert_eq!((quick.repetitions, quick.kills, quick.length), (1, 7, Duration::from_secs(1)));
    }

    #[test]
    fn parts_systems_and_clients_can_be_chosen() {
        let some = plan(&["bench", "--part=loads", "--load=write", "--system=redis", "--clients=1,8"]);
        assert_eq!(some.parts, [Part::Loads]);
        assert_eq!(some.systems, [System::Redis]);
        assert_eq!(some.loads, [(Scenario::Write, vec![1, 8])]);
    }
}
