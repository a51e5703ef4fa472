//! Results on disk: a CSV file with a row per run, and a JSON file beside it with the same runs, what was asked for, by which version and
//! on which machine.
//!
//! The CSV file is the truth and is only ever appended to, a flushed row at a time; whoever is killed loses the run that was being
//! measured and no other. The JSON file is written anew from it. It refuses to compute: see [`crate::statistics`].

mod column;
mod journal;
mod read;
mod record;
mod table_file;

pub use column::{COLUMNS_OF_THE_PROTOCOL, header, to_csv};
pub use journal::{Journal, JournalError};
pub use read::{RESULTS_BYTES_MAX, Results, ResultsError, parse, read};
pub use record::{FailedRun, Record, RecordError, Session};
