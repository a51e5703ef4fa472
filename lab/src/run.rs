//! What a run found. Times are in seconds, as the protocol has them; what was not measured is `None` and never a zero.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Configuration, FailureKind};

/// What one experiment on one store found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// From right before the failure was injected to the end of the first verified read of the data; for a store that keeps
    /// nothing, to the first answer of an empty one. Finite, at least 0.
    pub recovery_time_seconds: f64,
    /// How much of the items came back, in percent, [0, 100].
    pub data_recovery_rate: f64,
    /// How many items were read after the recovery with the value that was stored.
    pub items_recovered: u64,
    /// How long it took to store all items.
    pub store_time_seconds: f64,
    /// What failed.
    pub failure_type: Option<FailureKind>,
    /// How many items were stored.
    pub data_items: Option<u64>,
    /// Whether a checkpoint was taken right before the failure because the protocol asked for it.
    pub checkpoint_triggered: Option<bool>,
    /// How old the newest checkpoint was at the failure; `None` if there was none.
    pub checkpoint_age_seconds: Option<f64>,
    /// How many acknowledged items no checkpoint and no other member had at the failure.
    pub items_at_risk: Option<u64>,
    /// Under load: the longest time without an acknowledged write around the failure.
    pub gap_seconds: Option<f64>,
    /// Under load: how many writes were acknowledged besides the items.
    pub acknowledged_writes: Option<u64>,
    /// Under load: how many of them were gone after the recovery.
    pub lost_acknowledged_writes: Option<u64>,
    /// Half of the writes before the failure took no longer.
    pub write_latency_p50_seconds: Option<f64>,
    /// 99 of 100 writes before the failure took no longer.
    pub write_latency_p99_seconds: Option<f64>,
    /// Bytes that all members together wrote to their disks for one write.
    pub bytes_per_write: Option<f64>,
    /// What a reader should know of this run, such as that the data is gone.
    pub note: Option<String>,
}

impl Measurement {
    /// How much of `items` came back, in percent. Of no items, all did.
    pub fn rate(items: u64, recovered: u64) -> f64 {
        if items == 0 { 100.0 } else { recovered as f64 / items as f64 * 100.0 }
    }
}

/// A row of the results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The configuration's name.
    pub config_name: String,
    /// The strategy's name, in small letters.
    pub strategy: String,
    /// From 1, within the configuration.
    pub run_id: u32,
    /// When the run ended.
    pub timestamp: Timestamp,
    /// What it found.
    #[serde(flatten)]
    pub measurement: Measurement,
}

impl Run {
    /// The row of a measurement.
    pub fn new(
        configuration: &Configuration,
        run_id: u32,
        timestamp: Timestamp,
        measurement: Measurement,
    ) -> Run {
        Run {
            config_name: configuration.name.clone(),
            strategy: configuration.strategy_name().to_owned(),
            run_id,
            timestamp,
            measurement,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_in_percent_and_nothing_is_never_divided_by() {
        assert_eq!(Measurement::rate(100, 50), 50.0);
        assert_eq!(Measurement::rate(100, 0), 0.0);
        assert_eq!(Measurement::rate(0, 0), 100.0);
    }
}
