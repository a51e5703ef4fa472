//! What the lab counts: requests by the names that the protocol's server had, experiments, and its own process.

use std::time::Duration;

use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};

/// Recoveries take from a millisecond to half a minute.
const RECOVERY_BUCKETS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 30.0];

/// The lab's metrics.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    recoveries: HistogramVec,
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
        let recoveries =
            HistogramOpts::new("holdfast_lab_recovery_seconds", "How long stores took to recover.");
        let recoveries = HistogramVec::new(recoveries.buckets(RECOVERY_BUCKETS.to_vec()), &["strategy"]);
        let names = "names and labels are constant and right";
        let metrics = Metrics {
            requests: requests.expect(names),
            durations: durations.expect(names),
            recoveries: recoveries.expect(names),
            registry,
        };
        let registered = [
            metrics.registry.register(Box::new(metrics.requests.clone())),
            metrics.registry.register(Box::new(metrics.durations.clone())),
            metrics.registry.register(Box::new(metrics.recoveries.clone())),
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

    /// A store recovered.
    pub(super) fn recovered(&self, strategy: &str, seconds: f64) {
        self.recoveries.with_label_values(&[strategy]).observe(seconds);
    }

    /// All of them, in Prometheus' text format.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("memory takes everything");
        text
    }
}
