//! What the lab counts: requests by the names that the protocol's server had, experiments, and its own process.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};

use crate::run_metrics::RunMetrics;

/// The lab's metrics.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Arc<Registry>,
    requests: IntCounterVec,
    durations: HistogramVec,
    /// Of experiments.
    pub(super) runs: RunMetrics,
}

impl Metrics {
    /// Registers what is counted of requests, beside what is counted of experiments already.
    pub(super) fn beside(registry: Arc<Registry>, runs: RunMetrics) -> prometheus::Result<Metrics> {
        let requests = IntCounterVec::new(
            Opts::new("http_requests_total", "Requests."),
            &["handler", "method", "status"],
        )?;
        let durations = HistogramOpts::new("http_request_duration_seconds", "How long requests took.");
        let durations = HistogramVec::new(durations, &["handler", "method"])?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        Ok(Metrics { registry, requests, durations, runs })
    }

    /// A registry of their own, with the process in it.
    pub(super) fn alone() -> prometheus::Result<Metrics> {
        let registry = Arc::new(Registry::new());
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let runs = RunMetrics::register(&registry)?;
        Metrics::beside(registry, runs)
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
