//! The columns of the CSV file: the protocol's own first, under its names and in its order, because scripts name them and some count
//! them; then what else was measured. Something that was not measured is an empty cell.

use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::{FailureKind, Measurement, Run};

/// How many of the columns are the protocol's.
pub const COLUMNS_OF_THE_PROTOCOL: usize = 8;

/// A column.
pub(super) struct Column {
    /// Its name in the first line.
    pub(super) name: &'static str,
    /// A run's cell.
    pub(super) write: fn(&Run) -> String,
    /// Takes a cell into a run; else says what would be right.
    pub(super) read: fn(&mut Run, &str) -> Result<(), &'static str>,
}

/// The names of the columns, in order.
pub fn header() -> Vec<&'static str> {
    COLUMNS.iter().map(|column| column.name).collect()
}

/// A whole table: the line with the names, and a line for each run.
pub fn to_csv(runs: &[Run]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let lines = runs.iter().map(|run| COLUMNS.iter().map(|column| (column.write)(run)).collect());
    for line in
        std::iter::once(header().iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).chain(lines)
    {
        writer.write_record(line).expect("memory takes everything, and lines are equally long");
    }
    let bytes = writer.into_inner().expect("memory takes everything");
    String::from_utf8(bytes).expect("every cell is text")
}

/// All of them.
pub(super) const COLUMNS: [Column; 20] = [
    Column {
        name: "config_name",
        write: |run| run.config_name.clone(),
        read: |run, cell| put(&mut run.config_name, text(cell)),
    },
    Column {
        name: "strategy",
        write: |run| run.strategy.clone(),
        read: |run, cell| put(&mut run.strategy, text(cell)),
    },
    Column {
        name: "run_id",
        write: |run| run.run_id.to_string(),
        read: |run, cell| put(&mut run.run_id, parsed(cell, "a whole number")),
    },
    Column {
        name: "timestamp",
        write: |run| run.timestamp.to_string(),
        read: |run, cell| put(&mut run.timestamp, timestamp(cell)),
    },
    Column {
        name: "recovery_time_seconds",
        write: |run| run.measurement.recovery_time_seconds.to_string(),
        read: |run, cell| put(&mut run.measurement.recovery_time_seconds, seconds(cell)),
    },
    Column {
        name: "data_recovery_rate",
        write: |run| run.measurement.data_recovery_rate.to_string(),
        read: |run, cell| put(&mut run.measurement.data_recovery_rate, percent(cell)),
    },
    Column {
        name: "items_recovered",
        write: |run| run.measurement.items_recovered.to_string(),
        read: |run, cell| put(&mut run.measurement.items_recovered, count(cell)),
    },
    Column {
        name: "store_time_seconds",
        write: |run| run.measurement.store_time_seconds.to_string(),
        read: |run, cell| put(&mut run.measurement.store_time_seconds, seconds(cell)),
    },
    Column {
        name: "failure_type",
        write: |run| cell(run.measurement.failure_type.as_ref()),
        read: |run, cell| put(&mut run.measurement.failure_type, optional(cell, failure)),
    },
    Column {
        name: "data_items",
        write: |run| cell(run.measurement.data_items.as_ref()),
        read: |run, cell| put(&mut run.measurement.data_items, optional(cell, count)),
    },
    Column {
        name: "checkpoint_triggered",
        write: |run| cell(run.measurement.checkpoint_triggered.as_ref()),
        read: |run, cell| put(&mut run.measurement.checkpoint_triggered, optional(cell, boolean)),
    },
    Column {
        name: "checkpoint_age_seconds",
        write: |run| cell(run.measurement.checkpoint_age_seconds.as_ref()),
        read: |run, cell| put(&mut run.measurement.checkpoint_age_seconds, optional(cell, seconds)),
    },
    Column {
        name: "items_at_risk",
        write: |run| cell(run.measurement.items_at_risk.as_ref()),
        read: |run, cell| put(&mut run.measurement.items_at_risk, optional(cell, count)),
    },
    Column {
        name: "gap_seconds",
        write: |run| cell(run.measurement.gap_seconds.as_ref()),
        read: |run, cell| put(&mut run.measurement.gap_seconds, optional(cell, seconds)),
    },
    Column {
        name: "acknowledged_writes",
        write: |run| cell(run.measurement.acknowledged_writes.as_ref()),
        read: |run, cell| put(&mut run.measurement.acknowledged_writes, optional(cell, count)),
    },
    Column {
        name: "lost_acknowledged_writes",
        write: |run| cell(run.measurement.lost_acknowledged_writes.as_ref()),
        read: |run, cell| put(&mut run.measurement.lost_acknowledged_writes, optional(cell, count)),
    },
    Column {
        name: "write_latency_p50_seconds",
        write: |run| cell(run.measurement.write_latency_p50_seconds.as_ref()),
        read: |run, cell| put(&mut run.measurement.write_latency_p50_seconds, optional(cell, seconds)),
    },
    Column {
        name: "write_latency_p99_seconds",
        write: |run| cell(run.measurement.write_latency_p99_seconds.as_ref()),
        read: |run, cell| put(&mut run.measurement.write_latency_p99_seconds, optional(cell, seconds)),
    },
    Column {
        name: "bytes_per_write",
        write: |run| cell(run.measurement.bytes_per_write.as_ref()),
        read: |run, cell| put(&mut run.measurement.bytes_per_write, optional(cell, seconds)),
    },
    Column {
        name: "note",
        // A row is one line, so that a line that is cut off is the last row and nothing else.
        write: |run| cell(run.measurement.note.as_ref()).replace(char::is_control, " "),
        read: |run, cell| put(&mut run.measurement.note, optional(cell, text)),
    },
];

/// A run of which nothing is known yet.
pub(super) fn blank() -> Run {
    Run {
        config_name: String::new(),
        strategy: String::new(),
        run_id: 0,
        timestamp: Timestamp::UNIX_EPOCH,
        measurement: Measurement::default(),
    }
}

fn put<T>(place: &mut T, value: Result<T, &'static str>) -> Result<(), &'static str> {
    *place = value?;
    Ok(())
}

fn cell<T: Display>(value: Option<&T>) -> String {
    value.map(T::to_string).unwrap_or_default()
}

fn optional<T>(cell: &str, read: fn(&str) -> Result<T, &'static str>) -> Result<Option<T>, &'static str> {
    if cell.is_empty() { Ok(None) } else { read(cell).map(Some) }
}

fn parsed<T: FromStr>(cell: &str, right: &'static str) -> Result<T, &'static str> {
    cell.trim().parse().map_err(|_| right)
}

fn text(cell: &str) -> Result<String, &'static str> {
    if cell.is_empty() { Err("some text") } else { Ok(cell.to_owned()) }
}

fn number(cell: &str, most: f64, right: &'static str) -> Result<f64, &'static str> {
    let value: f64 = parsed(cell, right)?;
    if (0.0..=most).contains(&value) { Ok(value) } else { Err(right) }
}

fn seconds(cell: &str) -> Result<f64, &'static str> {
    number(cell, f64::MAX, "a finite number, 0 or more")
}

fn percent(cell: &str) -> Result<f64, &'static str> {
    number(cell, 100.0, "a percentage from 0 to 100")
}

fn count(cell: &str) -> Result<u64, &'static str> {
    const RIGHT: &str = "a whole number, 0 or more";
    // Programs that have an empty cell in a column make floating point numbers of all others: 100.0.
    parsed(cell.trim().strip_suffix(".0").unwrap_or(cell), RIGHT)
}

fn boolean(cell: &str) -> Result<bool, &'static str> {
    parsed(&cell.to_ascii_lowercase(), "true or false")
}

fn failure(cell: &str) -> Result<FailureKind, &'static str> {
    cell.parse().map_err(|_| "a type of failure, such as default")
}

/// With an offset, or without one as the protocol's scripts write it, which is then taken for UTC.
fn timestamp(cell: &str) -> Result<Timestamp, &'static str> {
    const RIGHT: &str = "a time such as 2026-01-31T12:00:00Z";
    if let Ok(timestamp) = cell.trim().parse() {
        return Ok(timestamp);
    }
    let civil: DateTime = parsed(cell, RIGHT)?;
    civil.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()).map_err(|_| RIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocols_columns_come_first_in_its_order() {
        let expected = [
            "config_name",
            "strategy",
            "run_id",
            "timestamp",
            "recovery_time_seconds",
            "data_recovery_rate",
            "items_recovered",
            "store_time_seconds",
        ];
        assert_eq!(header()[..COLUMNS_OF_THE_PROTOCOL], expected);
    }

    #[test]
    fn cells_that_no_run_can_have_are_refused() {
        let check = |name: &str, cell: &str| {
            let column = COLUMNS.iter().find(|column| column.name == name).expect("a column");
            (column.read)(&mut blank(), cell).expect_err("refused");
        };
        for cell in ["", "nan", "inf", "-0.1", "1e999", "fast"] {
            check("recovery_time_seconds", cell);
        }
        check("data_recovery_rate", "100.1");
        check("items_recovered", "-1");
        check("items_recovered", "1.5");
        check("timestamp", "yesterday");
        check("failure_type", "fire");
        check("config_name", "");
    }

    #[test]
    fn times_without_an_offset_are_utc() {
        assert_eq!(timestamp("2026-01-31T12:00:00.5"), timestamp("2026-01-31T13:00:00.5+01:00"));
    }
}
