//! What the lab counts: requests by the names that the protocol's server had, experiments, and its own process.

use std::time::Duration;

use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};

use crate::run_metrics::RunMetrics;

/// The lab's metrics.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    /// Of experiments.
    pub(super) runs: RunMetrics,
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        let registry = Registry::new();
        let requests = IntCounterVec::new(
            Opts::new("http_requests_total", "Requests."),
            &["handler", "method", "status"],
        );
        let durations = HistogramOpts::new("http_request_duration_seconds", "How long requests took.");
        let durations = HistogramVec::new(durations, &["handler", "method"]);
        let names = "names and labels are constant and right";
        let metrics = Metrics {
            requests: requests.expect(names),
            durations: durations.expect(names),
            runs: RunMetrics::register(&registry).expect(names),
            registry,
        };
        let registered = [
            metrics.registry.register(Box::new(metrics.requests.clone())),
            metrics.registry.register(Box::new(metrics.durations.clone())),
            #[cfg(target_os = "linux")]
            metrics.registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self())),
        ];
        registered.into_iter().for_each(|registered| registered.expect("no two have one name"));
        metrics
    }

    /// A request was answered. `handler` is one of the routes, so that there are as many series as routes.
    pub(super) fn answered(&self, handler: &str, method: &str, status: u16, took: Duration) {
        let status = format!("{}xx", status / 100);
        self.requests.with_label_values(&[handler, method, &status]).inc();
        self.durations.with_label_values(&[handler, method]).observe(took.as_secs_f64());
    }

    /// All of them, in Prometheus' text format.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("memory takes everything");
        text
    }
}
