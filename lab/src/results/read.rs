//! Reads results, also those of the protocol's own scripts, which have its eight columns alone. Says line and column of what is
//! wrong.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::column::{COLUMNS, COLUMNS_OF_THE_PROTOCOL, blank};
use crate::Run;

/// Largest file that is read. A row has some 200 bytes, so this is a quarter of a million runs.
pub const RESULTS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// As much of a wrong cell as an error repeats.
const CELL_CHARS_SHOWN: usize = 40;

/// What a file has.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// The runs, in the order of the file.
    pub runs: Vec<Run>,
    /// The number, from 1, of a last line that does not end: it was cut off while it was written, and is not among the runs.
    pub torn_line: Option<usize>,
}

/// Why a file has no results.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// It cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// More than [`RESULTS_BYTES_MAX`].
    #[error("there are more than {RESULTS_BYTES_MAX} bytes; split the file")]
    TooLarge,
    /// No text.
    #[error("line {line} is not text (UTF-8)")]
    NotText {
        /// Where it stops to be text, from 1.
        line: usize,
    },
    /// Nothing in it.
    #[error("there is no first line with the names of the columns")]
    Empty,
    /// Columns that must be there are not.
    #[error("line 1: these columns are missing: {}", names.join(", "))]
    MissingColumns {
        /// Which.
        names: Vec<&'static str>,
    },
    /// A name stands there twice.
    #[error("line 1: there are two columns {name:?}")]
    RepeatedColumn {
        /// Which.
        name: String,
    },
    /// A line is longer or shorter than the first.
    #[error("line {line} has {cells} columns, and line 1 has {expected}")]
    Columns {
        /// Where, from 1.
        line: usize,
        /// How many there are.
        cells: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A cell that no run can have.
    #[error("line {line}, column {column} ({name}): {found:?} is not {right}")]
    Cell {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
        /// The column's name.
        name: &'static str,
        /// The beginning of what is there.
        found: String,
        /// What would be right.
        right: &'static str,
    },
    /// The same run twice.
    #[error("line {line}: run {run_id} of {config_name} is on line {first} already")]
    Repeated {
        /// Where, from 1.
        line: usize,
        /// Where it is too, from 1.
        first: usize,
        /// Whose run.
        config_name: String,
        /// Which.
        run_id: u32,
    },
    /// It is no CSV.
    #[error("line {line} cannot be read as CSV")]
    Malformed {
        /// Where, from 1.
        line: usize,
        /// Why.
        source: csv::Error,
    },
}

/// Reads a file.
///
/// # Errors
/// It cannot be read, or something in it is wrong.
pub fn read(path: &Path) -> Result<Results, ResultsError> {
    let of_path = |source| ResultsError::Read { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(of_path)?;
    file.take(RESULTS_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(of_path)?;
    parse(&bytes)
}

/// Reads what a file has.
///
/// # Errors
/// Something in it is wrong.
pub fn parse(bytes: &[u8]) -> Result<Results, ResultsError> {
    if bytes.len() > RESULTS_BYTES_MAX {
        return Err(ResultsError::TooLarge);
    }
    let (whole, rest) = bytes.split_at(whole_lines(bytes));
    let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
    let text = str::from_utf8(whole)
        .map_err(|error| ResultsError::NotText { line: lines(&whole[..error.valid_up_to()]) + 1 })?;
    let runs = rows(text.trim_start_matches('\u{feff}'))?;
    Ok(Results { runs, torn_line: (!rest.is_empty()).then(|| lines(whole) + 1) })
}

/// How many of the bytes are lines that end. What comes after was cut off while it was written, or is the zeros that a file system
/// has where it knew a file's length and not yet what is in it.
pub(super) fn whole_lines(bytes: &[u8]) -> usize {
    let zeros = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes[..zeros].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

fn rows(text: &str) -> Result<Vec<Run>, ResultsError> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut records = reader.records();
    let malformed = |source: csv::Error| ResultsError::Malformed {
        line: source.position().map_or(1, |position| position.line() as usize),
        source,
    };
    let header = records.next().ok_or(ResultsError::Empty)?.map_err(malformed)?;
    let known = known_columns(&header)?;
    let (mut runs, mut seen) = (Vec::new(), BTreeMap::new());
    for record in records {
        let record = record.map_err(malformed)?;
        let line = record.position().map_or(0, |position| position.line() as usize);
        if record.len() != header.len() {
            return Err(ResultsError::Columns { line, cells: record.len(), expected: header.len() });
        }
        let run = row(&record, &known, line)?;
        if let Some(first) =
            seen.insert((run.config_name.clone(), run.run_id, run.measurement.data_items), line)
        {
            let Run { config_name, run_id, .. } = run;
            return Err(ResultsError::Repeated { line, first, config_name, run_id });
        }
        runs.push(run);
    }
    Ok(runs)
}

/// Which of our columns each column of the file is; what is not ours is passed over.
fn known_columns(header: &csv::StringRecord) -> Result<Vec<Option<usize>>, ResultsError> {
    let known: Vec<Option<usize>> =
        header.iter().map(|name| COLUMNS.iter().position(|column| column.name == name.trim())).collect();
    for (at, column) in known.iter().enumerate() {
        if column.is_some() && known[..at].contains(column) {
            return Err(ResultsError::RepeatedColumn { name: header[at].trim().to_owned() });
        }
    }
    let names: Vec<&'static str> = (0..COLUMNS_OF_THE_PROTOCOL)
        .filter(|at| !known.contains(&Some(*at)))
        .map(|at| COLUMNS[at].name)
        .collect();
    if names.is_empty() { Ok(known) } else { Err(ResultsError::MissingColumns { names }) }
}

fn row(record: &csv::StringRecord, known: &[Option<usize>], line: usize) -> Result<Run, ResultsError> {
    let mut run = blank();
    for (at, (cell, column)) in record.iter().zip(known).enumerate() {
        let Some(column) = column.map(|column| &COLUMNS[column]) else { continue };
        (column.read)(&mut run, cell).map_err(|right| ResultsError::Cell {
            line,
            column: at + 1,
            name: column.name,
            found: cell.chars().take(CELL_CHARS_SHOWN).collect(),
            right,
        })?;
    }
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "config_name,strategy,run_id,timestamp,recovery_time_seconds,data_recovery_rate,\
                          items_recovered,store_time_seconds\n";
    const ROW: &str = "Baseline,baseline,1,2026-01-31T12:00:00.123456,0.25,0.0,0,0.001\n";

    fn check(text: &str, error: &str) {
        assert_eq!(parse(text.as_bytes()).expect_err("refused").to_string(), error);
    }

    #[test]
    fn the_protocols_own_files_are_read() {
        let results = parse(format!("{HEADER}{ROW}").as_bytes()).expect("results");
        assert_eq!(results.torn_line, None);
        let [run] = &results.runs[..] else { panic!("{results:?}") };
        assert_eq!((&*run.config_name, run.run_id), ("Baseline", 1));
        assert_eq!(run.measurement.recovery_time_seconds, 0.25);
        assert_eq!(run.measurement.data_items, None);
    }

    #[test]
    fn columns_may_be_in_another_order_and_strange_ones_among_them() {
        let text =
            HEADER.replace("config_name,", "").replace("time_seconds\n", "time_seconds,colour,config_name\n");
        let row = ROW.replace("Baseline,", "").replace("0.001", "0.001,blue,Baseline");
        let results = parse(format!("{text}{row}").as_bytes()).expect("results");
        assert_eq!(results.runs[0].config_name, "Baseline");
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_column() {
        check("", "there is no first line with the names of the columns");
        check(
            "a,b\n",
            &format!("line 1: these columns are missing: {}", HEADER.trim_end().replace(',', ", ")),
        );
        check(
            &format!("{HEADER}{}", ROW.replace("0.25", "quick")),
            "line 2, column 5 (recovery_time_seconds): \"quick\" is not a finite number, 0 or more",
        );
        check(&format!("{HEADER}{ROW}{ROW}"), "line 3: run 1 of Baseline is on line 2 already");
        check(&format!("{HEADER}{}", ROW.replace(",0.001", "")), "line 2 has 7 columns, and line 1 has 8");
        check(
            &format!("{}\n", HEADER.trim_end().replace("run_id", "strategy")),
            "line 1: there are two columns \"strategy\"",
        );
    }

    #[test]
    fn a_line_that_was_cut_off_is_found_and_left_out() {
        let whole = format!("{HEADER}{ROW}");
        for cut in 1..ROW.len() {
            let bytes = [whole.as_bytes(), &ROW.replace(",1,", ",2,").as_bytes()[..cut]].concat();
            let results = parse(&bytes).expect("results");
            assert_eq!((results.runs.len(), results.torn_line), (1, Some(3)), "{cut}");
        }
        let zeros = [whole.as_bytes(), &[0; 512]].concat();
        let results = parse(&zeros).expect("results");
        assert_eq!((results.runs.len(), results.torn_line), (1, Some(3)));
        check(&HEADER[..20], "there is no first line with the names of the columns");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_line() {
        let bytes = [HEADER.as_bytes(), b"\xff\n"].concat();
        assert_eq!(parse(&bytes).expect_err("refused").to_string(), "line 2 is not text (UTF-8)");
    }
}
