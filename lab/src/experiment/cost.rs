//! What the members of a store have written to their disks, as they count it themselves: log, votes, identity, checkpoints.
//!
//! The kernel counts more: whole pages, and the zeros that segments of the log are filled with before they are used. That
//! is no write's cost.

use std::time::Duration;

use holdfast_client::Admin;

use crate::testbed::Bed;

/// The counter.
const METRIC: &str = "holdfast_disk_written_bytes_total";
/// How long a member may take to say it.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Bytes written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    bytes: u64,
    writes: u64,
}

impl Cost {
    /// What the members have written so far; `None` if one of them does not say.
    pub(crate) async fn read(bed: &Bed) -> Option<Cost> {
        let mut bytes = 0;
        for member in bed.store.members() {
            let admin = Admin::new(&format!("http://{}", member.admin())).ok()?.with_deadline(ANSWER_MAX);
            bytes += counted(&admin.metrics().await.ok()?)?;
        }
        Some(Cost { bytes, writes: 0 })
    }

    /// What so many writes have cost since.
    pub(crate) fn since(self, before: Cost, writes: u64) -> Cost {
        Cost { bytes: self.bytes.saturating_sub(before.bytes), writes }
    }

    /// What one write cost; `None` if there was none.
    pub(crate) fn bytes_per_write(&self) -> Option<f64> {
        (self.writes > 0).then(|| self.bytes as f64 / self.writes as f64)
    }
}

fn counted(metrics: &str) -> Option<u64> {
    let line = metrics.lines().find(|line| line.starts_with(METRIC))?;
    line.rsplit_once(' ')?.1.parse::<f64>().ok().map(|bytes| bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_found_among_the_others() {
        let metrics = "# TYPE holdfast_disk_written_bytes_total counter\nholdfast_disk_written_bytes_total{member=\"0\"} 4711\n";
        assert_eq!(counted(metrics), Some(4711));
        assert_eq!(counted("holdfast_log_bytes 3\n"), None);
    }
}
