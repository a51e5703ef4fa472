//! The JSON file beside the CSV file: everything that it has, and what was asked for, by which version, on which machine.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use holdfast_figures::Machine;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::read::RESULTS_BYTES_MAX;
use super::table_file::sync_folder;
use crate::{Plan, Run};

/// What the file has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What was asked for.
    pub plan: Plan,
    /// The times that somebody measured, one after the other.
    pub sessions: Vec<Session>,
    /// Runs that came to nothing; those that succeeded later are among `runs` too.
    pub failed_runs: Vec<FailedRun>,
    /// The runs.
    pub runs: Vec<Run>,
}

/// From the start of a batch to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// When it began.
    pub began: Timestamp,
    /// Holdfast's version.
    pub version: String,
    /// Where.
    pub machine: Machine,
}

/// A run that measured nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedRun {
    /// Whose.
    pub config_name: String,
    /// Which.
    pub run_id: u32,
    /// When.
    pub timestamp: Timestamp,
    /// Why.
    pub error: String,
}

/// How many failed runs are kept; the newest. More than a reader looks at, and a batch that is resumed for ever stays small.
pub(super) const FAILED_RUNS_MAX: usize = 1000;

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no record.
    #[error("{} is not the record of an experiment; move it away", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl Record {
    /// Where it is, beside which CSV file.
    pub fn path_beside(table: &Path) -> PathBuf {
        table.with_extension("json")
    }

    /// Reads the one beside a CSV file; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub fn read_beside(table: &Path) -> Result<Option<Record>, RecordError> {
        let path = Record::path_beside(table);
        let mut text = String::new();
        let read = File::open(&path)
            // JSON has the names of the columns in every row: four times as much.
            .and_then(|file| file.take(4 * RESULTS_BYTES_MAX as u64).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RecordError::Read { path, source }),
            Ok(_) => {}
        }
        serde_json::from_str(&text).map(Some).map_err(|source| RecordError::Malformed { path, source })
    }

    /// Replaces the file: readers see the old one or the new one.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let draft = path.with_extension("json.new");
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        sync_folder(path)
    }
}
