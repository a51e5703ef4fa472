//! What is counted of experiments, whoever carries them out. Labels come from closed sets: strategies, and numbers of members.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::{Configuration, Measurement};

/// Recoveries take from a millisecond to half a minute.
const RECOVERY_BUCKETS: [f64; 15] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// A hundred items take milliseconds, a hundred thousand some seconds.
const STORE_BUCKETS: [f64; 12] = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 20.0, 100.0];

/// The metrics of experiments.
#[derive(Clone, Debug)]
pub struct RunMetrics {
    recoveries: HistogramVec,
    stores: HistogramVec,
    runs: IntCounterVec,
    items: IntCounterVec,
    under_way: IntGauge,
    missing: IntGauge,
    experiments: IntGaugeVec,
}

/// The phases of experiments on a cluster, so that each has a series.
const PHASES: [&str; 4] = ["Pending", "Running", "Complete", "Failed"];

impl RunMetrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// One is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<RunMetrics> {
        let by = ["strategy", "replicas"];
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), &by)
        };
        let metrics = RunMetrics {
            recoveries: histogram(
                "holdfast_lab_recovery_seconds",
                "Time from a failure to the first verified read.",
                &RECOVERY_BUCKETS,
            )?,
            stores: histogram(
                "holdfast_lab_store_seconds",
                "Time to store all items of a run.",
                &STORE_BUCKETS,
            )?,
            runs: IntCounterVec::new(
                Opts::new(
                    "holdfast_lab_runs_total",
                    "Runs that ended, by result: ok, or error if nothing was measured.",
                ),
                &["strategy", "replicas", "result"],
            )?,
            items: IntCounterVec::new(
                Opts::new(
                    "holdfast_lab_items_total",
                    "Items that were stored before a failure, by fate: recovered or lost.",
                ),
                &["strategy", "replicas", "fate"],
            )?,
            under_way: IntGauge::new("holdfast_lab_run_under_way", "1 while a run is measured.")?,
            missing: IntGauge::new(
                "holdfast_lab_missing_runs",
                "Runs of the experiment under way that are not measured yet.",
            )?,
            experiments: IntGaugeVec::new(
                Opts::new(
                    "holdfast_lab_experiments",
                    "FaultExperiments that there are, by phase; 0 where there is no cluster.",
                ),
                &["phase"],
            )?,
        };
        registry.register(Box::new(metrics.recoveries.clone()))?;
        registry.register(Box::new(metrics.stores.clone()))?;
        registry.register(Box::new(metrics.runs.clone()))?;
        registry.register(Box::new(metrics.items.clone()))?;
        registry.register(Box::new(metrics.under_way.clone()))?;
        registry.register(Box::new(metrics.missing.clone()))?;
        registry.register(Box::new(metrics.experiments.clone()))?;
        for phase in PHASES {
            metrics.experiments.with_label_values(&[phase]);
        }
        Ok(metrics)
    }

    /// The names of all of them.
    ///
    /// # Errors
    /// Two have one name, which is a defect of this file.
    pub fn names() -> prometheus::Result<Vec<String>> {
        let registry = Registry::new();
        let metrics = RunMetrics::register(&registry)?;
        // A family without a series is not gathered.
        metrics.measured(&Configuration::baseline(), &Measurement::default());
        Ok(registry.gather().into_iter().map(|family| family.name().to_owned()).collect())
    }

    /// A run was measured.
    pub fn measured(&self, configuration: &Configuration, found: &Measurement) {
        let (strategy, replicas) = labels(configuration);
        self.recovered(configuration, found.recovery_time_seconds);
        self.stores.with_label_values(&[strategy, &replicas]).observe(found.store_time_seconds);
        self.runs.with_label_values(&[strategy, &replicas, "ok"]).inc();
        // A counter that appears with its first event is missed by `rate()`.
        self.runs.with_label_values(&[strategy, &replicas, "error"]);
        let lost = found.data_items.unwrap_or_default().saturating_sub(found.items_recovered);
        self.items.with_label_values(&[strategy, &replicas, "recovered"]).inc_by(found.items_recovered);
        self.items.with_label_values(&[strategy, &replicas, "lost"]).inc_by(lost);
    }

    /// A run measured nothing.
    pub fn failed(&self, configuration: &Configuration) {
        let (strategy, replicas) = labels(configuration);
        self.runs.with_label_values(&[strategy, &replicas, "error"]).inc();
    }

    /// A store recovered outside of a run.
    pub fn recovered(&self, configuration: &Configuration, seconds: f64) {
        let (strategy, replicas) = labels(configuration);
        self.recoveries.with_label_values(&[strategy, &replicas]).observe(seconds);
    }

    /// A run begins or ended.
    pub fn set_under_way(&self, under_way: bool) {
        self.under_way.set(under_way.into());
    }

    /// So many runs of the experiment under way are missing.
    pub fn set_missing(&self, runs: usize) {
        self.missing.set(i64::try_from(runs).unwrap_or(i64::MAX));
    }

    /// So many experiments there are, by phase.
    pub fn set_experiments(&self, count: impl Fn(&str) -> usize) {
        for phase in PHASES {
            let count = i64::try_from(count(phase)).unwrap_or(i64::MAX);
            self.experiments.with_label_values(&[phase]).set(count);
        }
    }
}

fn labels(configuration: &Configuration) -> (&'static str, String) {
    (configuration.strategy_name(), configuration.replicas.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_counted() {
        let registry = Registry::new();
        let metrics = RunMetrics::register(&registry).expect("registered");
        let found = Measurement { data_items: Some(100), items_recovered: 40, ..Measurement::default() };
        metrics.measured(&Configuration::checkpointing(15), &found);
        metrics.failed(&Configuration::replication(3));
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
        for line in [
            r#"holdfast_lab_items_total{fate="lost",replicas="1",strategy="checkpointing"} 60"#,
            r#"holdfast_lab_items_total{fate="recovered",replicas="1",strategy="checkpointing"} 40"#,
            r#"holdfast_lab_runs_total{replicas="3",result="error",strategy="replication"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert_eq!(RunMetrics::names().expect("names").len(), 7);
    }
}
