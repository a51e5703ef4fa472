//! The instruments that the rest of the sidecar uses, and the registry they hang in.
//!
//! The `prometheus` crate is named here and nowhere else, so that it can be exchanged in one place. What this file
//! refuses to do: take a label value that is not from a closed set. Every family remembers its definition, which is
//! what the metric reference is written from.

use std::collections::HashMap;
use std::time::Duration;

use prometheus::core::{Collector, Metric};
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};

/// A number that only grows.
#[derive(Clone, Debug)]
pub struct Counter(prometheus::IntCounter);

/// A number that goes up and down.
#[derive(Clone, Debug)]
pub struct Gauge(prometheus::Gauge);

/// How long something took, in buckets of seconds.
#[derive(Clone, Debug)]
pub struct Timing(prometheus::Histogram);

/// What a [`Timing`] has come to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    /// How often it was observed.
    pub(crate) count: u64,
    /// All of it together, in seconds.
    pub(crate) sum_seconds: f64,
    /// By upper bound in seconds: how often it took at most so long.
    pub(crate) buckets: Vec<(f64, u64)>,
}

/// Observations of a [`Timing`] that are not written down yet.
#[derive(Debug)]
pub(crate) struct Many(prometheus::local::LocalHistogram);

/// What kind of family a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

/// One metric family, as the reference shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// The name that is scraped; of a histogram without `_bucket`, `_sum` and `_count`.
    pub name: String,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// One sentence.
    pub help: String,
    /// Names of the labels beside those that every series carries.
    pub labels: Vec<String>,
    /// Upper bounds of a histogram's buckets in seconds, without `+Inf`.
    pub buckets: Vec<f64>,
}

/// All families of one member, and how to write them down for a scrape.
#[derive(Clone, Debug)]
pub(super) struct Families {
    registry: Registry,
    definitions: Vec<Definition>,
}

impl Counter {
    /// One that belongs to no family.
    pub(crate) fn apart() -> Counter {
        Counter(prometheus::IntCounter::new("apart", "Shown nowhere.").expect("a name"))
    }

    /// One more.
    pub fn increment(&self) {
        self.0.inc();
    }

    /// `count` more.
    pub fn add(&self, count: u64) {
        self.0.inc_by(count);
    }

    /// How many so far.
    pub fn value(&self) -> u64 {
        self.0.get()
    }

    /// Follow a count that somebody else keeps and that never falls: what it has grown since the last call is added.
    pub fn follow(&self, total: u64) {
        self.0.inc_by(total.saturating_sub(self.0.get()));
    }
}

impl Gauge {
    /// One that belongs to no family.
    pub(crate) fn apart() -> Gauge {
        Gauge(prometheus::Gauge::new("apart", "Shown nowhere.").expect("a name"))
    }

    /// It is `value` now.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }

    /// One more.
    pub fn increment(&self) {
        self.0.inc();
    }

    /// One less.
    pub fn decrement(&self) {
        self.0.dec();
    }

    /// What it is now.
    pub fn value(&self) -> f64 {
        self.0.get()
    }
}

impl Timing {
    /// It took so long this time.
    pub fn observe(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }

    /// Observe many times in a row, written down together when what this gives is dropped.
    pub(crate) fn many(&self) -> Many {
        Many(self.0.local())
    }

    /// How many times it was observed.
    pub fn count(&self) -> u64 {
        self.0.get_sample_count()
    }

    /// Everything that was observed.
    pub(crate) fn reading(&self) -> Reading {
        let metric = self.0.metric();
        let histogram = metric.get_histogram();
        Reading {
            count: histogram.get_sample_count(),
            sum_seconds: histogram.get_sample_sum(),
            buckets: histogram
                .get_bucket()
                .iter()
                .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()))
                .collect(),
        }
    }
}

impl Many {
    /// It took so long this time.
    pub(crate) fn observe(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }
}

impl Families {
    /// An empty registry whose every series carries `labels`.
    pub(super) fn new(labels: HashMap<String, String>) -> Families {
        let registry = Registry::new_custom(None, Some(labels)).expect("a registry without a prefix");
        Families { registry, definitions: Vec::new() }
    }

    /// A counter family with these label names.
    pub(super) fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        assert!(name.ends_with("_total"), "counter {name} does not end in _total");
        let family = IntCounterVec::new(Opts::new(name, help), labels).expect("a valid counter");
        self.add(Kind::Counter, &[], family)
    }

    /// A counter without labels.
    pub(super) fn counter(&mut self, name: &str, help: &str) -> Counter {
        counter(&self.counters(name, help, &[]), &[])
    }

    /// A gauge family with these label names.
    pub(super) fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        let family = GaugeVec::new(Opts::new(name, help), labels).expect("a valid gauge");
        self.add(Kind::Gauge, &[], family)
    }

    /// A gauge without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        gauge(&self.gauges(name, help, &[]), &[])
    }

    /// A histogram family of seconds with these label names and bucket bounds.
    pub(super) fn timings(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> HistogramVec {
        assert!(name.ends_with("_seconds"), "histogram {name} does not end in _seconds");
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let family = HistogramVec::new(options, labels).expect("a valid histogram");
        self.add(Kind::Histogram, buckets, family)
    }

    /// A histogram of seconds without labels.
    pub(super) fn timing(&mut self, name: &str, help: &str, buckets: &[f64]) -> Timing {
        timing(&self.timings(name, help, &[], buckets), &[])
    }

    /// The process's own figures, spelled as everywhere (`process_*`).
    #[cfg(target_os = "linux")]
    pub(super) fn process(&mut self) {
        let collector = prometheus::process_collector::ProcessCollector::for_self();
        for described in collector.desc() {
            let kind = if described.fq_name.ends_with("_total") { Kind::Counter } else { Kind::Gauge };
            self.definitions.push(Definition {
                name: described.fq_name.clone(),
                kind,
                help: described.help.clone(),
                labels: Vec::new(),
                buckets: Vec::new(),
            });
        }
        self.registry.register(Box::new(collector)).expect("names that are not taken");
    }

    /// The process's own figures are read from `/proc`, which only Linux has.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn process(&mut self) {}

    /// Every family in the order in which it was made.
    pub(super) fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// Everything in Prometheus' text format 0.0.4, without the series whose `label` has a value that is not `shown`.
    pub(super) fn text(&self, label: &str, shown: impl Fn(&str) -> bool) -> String {
        let mut families = self.registry.gather();
        for family in &mut families {
            family.mut_metric().retain(|series| {
                series.get_label().iter().all(|pair| pair.name() != label || shown(pair.value()))
            });
        }
        families.retain(|family| !family.get_metric().is_empty());
        TextEncoder::new().encode_to_string(&families).expect("families with names and values")
    }

    fn add<F: Collector + Clone + 'static>(&mut self, kind: Kind, buckets: &[f64], family: F) -> F {
        for described in family.desc() {
            self.definitions.push(Definition {
                name: described.fq_name.clone(),
                kind,
                help: described.help.clone(),
                labels: described.variable_labels.clone(),
                buckets: buckets.to_vec(),
            });
        }
        self.registry.register(Box::new(family.clone())).expect("a name that is not taken");
        family
    }
}

/// The counter of `family` with these label values.
pub(super) fn counter(family: &IntCounterVec, values: &[&str]) -> Counter {
    Counter(family.with_label_values(values))
}

/// The gauge of `family` with these label values.
pub(super) fn gauge(family: &GaugeVec, values: &[&str]) -> Gauge {
    Gauge(family.with_label_values(values))
}

/// The histogram of `family` with these label values.
pub(super) fn timing(family: &HistogramVec, values: &[&str]) -> Timing {
    Timing(family.with_label_values(values))
}
