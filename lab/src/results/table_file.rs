//! The CSV file while it is written: one writer at a time, whole rows, each flushed to disk before the next run begins.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use super::column::{COLUMNS, header};
use super::read::{RESULTS_BYTES_MAX, Results, parse, whole_lines};
use super::{JournalError, ResultsError};
use crate::Run;

/// An open CSV file that nobody else writes to.
#[derive(Debug)]
pub(super) struct TableFile {
    file: File,
}

impl TableFile {
    /// Opens a file, or makes one with the first line. A last line that was cut off is removed: its run is not among the results.
    pub(super) fn open(path: &Path) -> Result<(TableFile, Results), JournalError> {
        let of_path = |source| JournalError::Io { path: path.to_path_buf(), source };
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(of_path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::Busy { path: path.to_path_buf() }),
            Err(TryLockError::Error(source)) => return Err(of_path(source)),
        }
        let mut bytes = Vec::new();
        (&file).take(RESULTS_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(of_path)?;
        let of_results = |source| JournalError::Results { path: path.to_path_buf(), source };
        let whole = whole_lines(&bytes);
        if bytes.len() > RESULTS_BYTES_MAX {
            return Err(of_results(ResultsError::TooLarge));
        }
        let torn = whole < bytes.len();
        if torn {
            file.set_len(whole as u64).map_err(of_path)?;
            file.seek(io::SeekFrom::End(0)).map_err(of_path)?;
        }
        let mut table = TableFile { file };
        if whole == 0 {
            table.append_line(header().iter().map(|name| (*name).to_owned())).map_err(of_path)?;
            sync_folder(path).map_err(of_path)?;
            return Ok((table, Results { runs: Vec::new(), torn_line: torn.then_some(1) }));
        }
        let results = parse(&bytes).map_err(of_results)?;
        let first = bytes[..whole].split(|byte| *byte == b'\n').next().unwrap_or_default();
        if first.trim_ascii_end() != header().join(",").as_bytes() {
            return Err(JournalError::OtherColumns { path: path.to_path_buf() });
        }
        Ok((table, results))
    }

    /// Adds a row and flushes it.
    pub(super) fn append(&mut self, run: &Run) -> io::Result<()> {
        self.append_line(COLUMNS.iter().map(|column| (column.write)(run)))
    }

    fn append_line(&mut self, cells: impl Iterator<Item = String>) -> io::Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(cells)?;
        let line = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
        self.file.write_all(&line)?;
        self.file.sync_data()
    }
}

/// Makes a new name last.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
