//! What the members of a store have written to their disks, as the system counts it. Only Linux does.

use holdfast_laptop::Store;

/// How often the members' figures are read until they stand still; with the pause two seconds, more than a segment takes.
const SETTLE_TRIES: u32 = 40;
/// How long they have to stand still.
const SETTLE_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// Bytes written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    bytes: u64,
    writes: u64,
}

impl Cost {
    /// What the members have written so far; `None` where the system does not say.
    pub(crate) fn read(store: &Store) -> Option<Cost> {
        let of = |pid: u32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
            text.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse::<u64>().ok()
        };
        let bytes = store.members().iter().map(|member| of(member.report().pid?)).sum::<Option<u64>>()?;
        Some(Cost { bytes, writes: 0 })
    }

    /// The same when members have made the files that they begin with: a segment of the log is filled with zeros before it is used, and
    /// that is no write's cost.
    pub(crate) async fn settled(store: &Store) -> Option<Cost> {
        let mut cost = Cost::read(store)?;
        for _ in 0..SETTLE_TRIES {
            tokio::time::sleep(SETTLE_PAUSE).await;
            let now = Cost::read(store)?;
            if now == cost {
                break;
            }
            cost = now;
        }
        Some(cost)
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
