//! What was measured so far: both files, which runs they have, and which are missing.

use std::io;
use std::path::{Path, PathBuf};

use holdfast_figures::Machine;
use jiff::Timestamp;

use super::column::{COLUMNS, blank};
use super::record::FAILED_RUNS_MAX;
use super::table_file::TableFile;
use super::{FailedRun, Record, RecordError, ResultsError, Session};
use crate::{Plan, Run};

/// An experiment's files, open for its next runs.
#[derive(Debug)]
pub struct Journal {
    table: TableFile,
    table_path: PathBuf,
    record: Record,
    record_path: PathBuf,
    /// What to tell whoever resumes.
    remarks: Vec<String>,
}

/// Why results cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file cannot be read or written.
    #[error("cannot read or write {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else is writing.
    #[error("another batch is writing to {}; wait for it, or give another file by --results", .path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The file has something else.
    #[error("{} has no results that could be continued", .path.display())]
    Results {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ResultsError,
    },
    /// The file was written by another version, or by somebody else.
    #[error("{} has other columns than this version writes; give another file by --results", .path.display())]
    OtherColumns {
        /// The file.
        path: PathBuf,
    },
    /// The file's runs are of another experiment.
    #[error("{} was measured by another plan: {what}; give another file by --results, or the plan it was begun with", .path.display())]
    OtherPlan {
        /// The file.
        path: PathBuf,
        /// The difference.
        what: String,
    },
    /// A testbed says what cannot be.
    #[error("the run of {config_name} is not kept: its {column} is {found}, which is not {right}")]
    NotAMeasurement {
        /// Whose run.
        config_name: String,
        /// The figure.
        column: &'static str,
        /// What it is.
        found: String,
        /// What would be right.
        right: &'static str,
    },
    /// The two files would be one.
    #[error("{} is the name of the JSON file beside the results; give a name that ends with .csv by --results", .path.display())]
    NameOfRecord {
        /// The file.
        path: PathBuf,
    },
    /// The JSON file is something else.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Journal {
    /// Opens the files of an experiment, or makes them. The plan may have more runs and more configurations than when it was begun;
    /// everything else must be the same.
    ///
    /// # Errors
    /// The files cannot be written, are being written, or are those of another experiment.
    pub fn open(path: &Path, plan: &Plan, machine: Machine, version: &str) -> Result<Journal, JournalError> {
        if Record::path_beside(path) == path {
            return Err(JournalError::NameOfRecord { path: path.to_path_buf() });
        }
        let known = Record::read_beside(path)?;
        let (table, results) = TableFile::open(path)?;
        let mut remarks = Vec::new();
        if let Some(line) = results.torn_line {
            remarks.push(format!(
                "line {line} of {} was cut off while it was written; that run is measured again",
                path.display()
            ));
        }
        let (mut sessions, mut failed_runs) = (Vec::new(), Vec::new());
        // Without rows there is nothing that another plan could have measured.
        if !results.runs.is_empty() {
            let other = |what| JournalError::OtherPlan { path: path.to_path_buf(), what };
            match known {
                Some(known) => {
                    plan.continues(&known.plan).map_err(other)?;
                    (sessions, failed_runs) = (known.sessions, known.failed_runs);
                }
                None => remarks.push(format!(
                    "there is no {} that says how {} was measured; it is taken for measured by this plan",
                    Record::path_beside(path).display(),
                    path.display()
                )),
            }
            foreign(&results.runs, plan).map_or(Ok(()), |what| Err(other(what)))?;
        }
        let session = Session { began: Timestamp::now(), version: version.to_owned(), machine };
        if let Some(last) = sessions.last() {
            remarks.extend(moved(last, &session));
        }
        sessions.push(session);
        let record = Record { plan: plan.clone(), sessions, failed_runs, runs: results.runs };
        let (table_path, record_path) = (path.to_path_buf(), Record::path_beside(path));
        let journal = Journal { table, table_path, record, record_path, remarks };
        journal.write_record()?;
        Ok(journal)
    }

    /// What to tell whoever resumes: a line that was cut off, another machine.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The runs so far.
    pub fn runs(&self) -> &[Run] {
        &self.record.runs
    }

    /// The runs that the plan has and the files have not, in the plan's order.
    pub fn missing(&self) -> Vec<(usize, u32)> {
        let plan = &self.record.plan;
        let done = |configuration: usize, run_id| {
            let name = &plan.configurations[configuration].name;
            self.record.runs.iter().any(|run| run.run_id == run_id && run.config_name == *name)
        };
        plan.order().into_iter().filter(|(configuration, run_id)| !done(*configuration, *run_id)).collect()
    }

    /// Keeps a run. When this returns, it survives a power cut.
    ///
    /// # Errors
    /// It could not be read again, such as NaN for a time; or not be written, and then the file may end in a part of it, which the
    /// next batch finds.
    pub fn add(&mut self, run: Run) -> Result<(), JournalError> {
        for column in &COLUMNS {
            let found = (column.write)(&run);
            (column.read)(&mut blank(), &found).map_err(|right| JournalError::NotAMeasurement {
                config_name: run.config_name.clone(),
                column: column.name,
                found,
                right,
            })?;
        }
        let path = &self.table_path;
        self.table.append(&run).map_err(|source| JournalError::Io { path: path.clone(), source })?;
        self.record.runs.push(run);
        Ok(())
    }

    /// Keeps a run that measured nothing, for the JSON file.
    pub fn add_failed(&mut self, failed: FailedRun) {
        let failed_runs = &mut self.record.failed_runs;
        failed_runs.push(failed);
        failed_runs.drain(..failed_runs.len().saturating_sub(FAILED_RUNS_MAX));
    }

    /// Writes the JSON file, from everything so far.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_record(&self) -> Result<(), JournalError> {
        let path = &self.record_path;
        self.record.write(path).map_err(|source| JournalError::Io { path: path.clone(), source })
    }
}

/// A row that the plan knows nothing of.
fn foreign(runs: &[Run], plan: &Plan) -> Option<String> {
    runs.iter().find_map(|run| {
        let Run { config_name, strategy, .. } = run;
        let configuration = plan.configurations.iter().find(|one| one.name == *config_name);
        match configuration {
            None => Some(format!("it has runs of {config_name}, which the plan has not")),
            Some(one) if one.strategy_name() != strategy => {
                Some(format!("its {config_name} is {strategy}, and the plan's is {}", one.strategy_name()))
            }
            Some(_) => None,
        }
    })
}

/// What makes two sessions' figures hard to compare.
fn moved(last: &Session, now: &Session) -> Vec<String> {
    let mut remarks = Vec::new();
    if last.version != now.version {
        remarks.push(format!(
            "the runs so far were measured by version {}, this is {}",
            last.version, now.version
        ));
    }
    let (was, is) = (last.machine.line(), now.machine.line());
    if was != is {
        remarks.push(format!("the runs so far were measured on another machine ({was}); this is {is}"));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Configuration, Measurement};

    fn machine() -> Machine {
        Machine::read(Path::new("/")).expect("a machine")
    }

    fn plan(runs: u32) -> Plan {
        Plan { runs, ..Plan::default() }
    }

    fn run(plan: &Plan, (configuration, run_id): (usize, u32)) -> Run {
        let measurement = Measurement {
            recovery_time_seconds: 0.003,
            note: Some("two\nlines, and a \"comma\"".to_owned()),
            ..Measurement::default()
        };
        Run::new(&plan.configurations[configuration], run_id, Timestamp::now(), measurement)
    }

    fn open(path: &Path, plan: &Plan) -> Result<Journal, JournalError> {
        Journal::open(path, plan, machine(), "0.1.0")
    }

    #[test]
    fn a_batch_that_ends_anywhere_is_completed_by_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, plan) = (folder.path().join("results.csv"), plan(2));
        let mut journal = open(&path, &plan).expect("a journal");
        assert_eq!(journal.missing().len(), 16);
        for missing in journal.missing().into_iter().take(3) {
            journal.add(run(&plan, missing)).expect("kept");
        }
        drop(journal);
        let bytes = fs::read(&path).expect("a file");
        let begin = bytes.iter().position(|byte| *byte == b'\n').expect("a header") + 1;
        let row = bytes.iter().rposition(|byte| *byte == b'\n').expect("rows");
        let last = bytes[..row].iter().rposition(|byte| *byte == b'\n').expect("rows") + 1;
        // Whatever of the last row reached the disk, the two before it count, and the files are whole again.
        for end in (last + 1..bytes.len()).step_by(11) {
            fs::write(&path, &bytes[..end]).expect("cut");
            let mut journal = open(&path, &plan).expect("a journal");
            assert_eq!((journal.runs().len(), journal.missing().len()), (2, 14), "{end}");
            assert!(journal.remarks()[0].contains("line 4"), "{:?}", journal.remarks());
            let missing = journal.missing()[0];
            journal.add(run(&plan, missing)).expect("kept");
            drop(journal);
            assert_eq!(open(&path, &plan).expect("a journal").runs().len(), 3);
        }
        // Not even the first line was written.
        fs::write(&path, &bytes[..begin / 2]).expect("cut");
        assert_eq!(open(&path, &plan).expect("a journal").missing().len(), 16);
        // Everything was.
        fs::write(&path, &bytes).expect("whole");
        let journal = open(&path, &plan).expect("a journal");
        assert_eq!((journal.missing().len(), journal.remarks().len()), (13, 0));
        let note = journal.runs()[0].measurement.note.as_deref();
        assert_eq!(note, Some("two lines, and a \"comma\""));
    }

    #[test]
    fn another_plan_is_refused_and_more_of_the_same_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, first) = (folder.path().join("r.csv"), plan(1));
        let mut journal = open(&path, &first).expect("a journal");
        let missing = journal.missing()[0];
        journal.add(run(&first, missing)).expect("kept");
        drop(journal);
        assert_eq!(open(&path, &plan(3)).expect("more runs").missing().len(), 23);
        let mut more = first.clone();
        more.configurations.push(Configuration::replication(4));
        assert_eq!(open(&path, &more).expect("more configurations").missing().len(), 8);
        let mut other = more.clone();
        other.protocol.items = 7;
        let error = open(&path, &other).expect_err("other items").to_string();
        assert!(error.contains("items"), "{error}");
        let mut other = more.clone();
        other.configurations[missing.0].name = "Other".to_owned();
        open(&path, &other).expect_err("its run is foreign");
        fs::remove_file(Record::path_beside(&path)).expect("removed");
        let journal = open(&path, &more).expect("without the record");
        assert!(journal.remarks()[0].contains("taken for"), "{:?}", journal.remarks());
    }

    #[test]
    fn one_writes_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("r.csv");
        let journal = open(&path, &plan(1)).expect("a journal");
        let error = open(&path, &plan(1)).expect_err("busy");
        assert!(matches!(error, JournalError::Busy { .. }), "{error}");
        drop(journal);
        open(&path, &plan(1)).expect("free again");
    }

    #[test]
    fn what_could_not_be_read_again_is_not_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, plan) = (folder.path().join("r.csv"), plan(1));
        let mut journal = open(&path, &plan).expect("a journal");
        let mut wrong = run(&plan, (0, 1));
        wrong.measurement.recovery_time_seconds = f64::NAN;
        let error = journal.add(wrong).expect_err("no measurement").to_string();
        assert!(error.contains("recovery_time_seconds is NaN"), "{error}");
        assert_eq!(journal.runs().len(), 0);
    }

    #[test]
    fn files_of_others_are_not_touched() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("r.csv");
        let protocols = "config_name,strategy,run_id,timestamp,recovery_time_seconds,data_recovery_rate,\
                         items_recovered,store_time_seconds\n";
        for text in ["name,age\nx,1\n", protocols, "\n\n\n"] {
            fs::write(&path, text).expect("written");
            open(&path, &plan(1)).expect_err("refused");
            assert_eq!(fs::read_to_string(&path).expect("there"), text);
        }
        let error = open(&folder.path().join("r.json"), &plan(1)).expect_err("one file for two");
        assert!(error.to_string().contains("--results"), "{error}");
    }
}
