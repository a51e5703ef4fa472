//! What the operator counts, and what it knows of the stores. Label values come from closed sets or are names of stores;
//! an error's text is never a label.
//!
//! What it does not have: the depth of the work queue, which the runtime keeps to itself; reconciles under way stand in for it.

use std::sync::OnceLock;
use std::time::Duration;

use holdfast_api::ReplicatedStore;
use kube::ResourceExt as _;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::caches::Stores;
use crate::error::Error;

/// Reconciles take milliseconds when nothing changed and end at their own limit of half a minute.
const RECONCILE_BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The counters and gauges of one operator process.
pub struct Metrics {
    registry: Registry,
    /// 1 while this process holds the lease.
    pub leader: IntGauge,
    /// Reconciles that are under way.
    pub in_flight: IntGauge,
    /// How long reconciles take.
    duration: Histogram,
    reconciles: IntCounterVec,
    errors: IntCounterVec,
    asked: IntCounterVec,
    restarts: IntCounterVec,
    conditions: IntGaugeVec,
    info: IntGaugeVec,
    members_ready: IntGaugeVec,
    stores: OnceLock<Stores>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// All families, at 0.
    ///
    /// # Errors
    /// When two families have the same name, which is a defect of this file.
    pub fn new() -> prometheus::Result<Metrics> {
        let counters =
            |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let gauges =
            |name: &str, help: &str, labels: &[&str]| IntGaugeVec::new(Opts::new(name, help), labels);
        let metrics = Metrics {
            registry: Registry::new(),
            leader: IntGauge::new(
                "holdfast_operator_leader",
                "1 while this process holds the operator's lease.",
            )?,
            in_flight: IntGauge::new(
                "holdfast_operator_reconciles_in_flight",
                "Reconciles that are under way.",
            )?,
            duration: Histogram::with_opts(
                HistogramOpts::new("holdfast_operator_reconcile_seconds", "How long reconciles take.")
                    .buckets(RECONCILE_BUCKETS.to_vec()),
            )?,
            reconciles: counters(
                "holdfast_operator_reconciles_total",
                "Reconciles that ended, by result.",
                &["result"],
            )?,
            errors: counters(
                "holdfast_operator_reconcile_errors_total",
                "Reconciles that failed, by the step that did.",
                &["reason"],
            )?,
            asked: counters(
                "holdfast_operator_members_asked_total",
                "Members that were asked for their status, by result.",
                &["result"],
            )?,
            restarts: counters(
                "holdfast_operator_disruptions_total",
                "Pods that were deleted for a restart, and hand-overs that were asked for.",
                &["kind"],
            )?,
            conditions: gauges(
                "holdfast_store_status_condition",
                "1 for the status that each of a store's conditions has, 0 for the others.",
                &["namespace", "store", "condition", "status"],
            )?,
            info: gauges(
                "holdfast_store_info",
                "Always 1; the labels say what a store is.",
                &["namespace", "store", "strategy", "version", "leader"],
            )?,
            members_ready: gauges(
                "holdfast_store_ready_members",
                "Members of a store that are ready.",
                &["namespace", "store"],
            )?,
            stores: OnceLock::new(),
        };
        metrics.register()?;
        metrics.show_closed_sets();
        Ok(metrics)
    }

    fn register(&self) -> prometheus::Result<()> {
        let build = IntGaugeVec::new(
            Opts::new("holdfast_operator_build_info", "Always 1; the label says which version runs."),
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let registry = &self.registry;
        registry.register(Box::new(build))?;
        registry.register(Box::new(self.leader.clone()))?;
        registry.register(Box::new(self.in_flight.clone()))?;
        registry.register(Box::new(self.duration.clone()))?;
        for family in [&self.reconciles, &self.errors, &self.asked, &self.restarts] {
            registry.register(Box::new(family.clone()))?;
        }
        for family in [&self.conditions, &self.info, &self.members_ready] {
            registry.register(Box::new(family.clone()))?;
        }
        registry.register(Box::new(ProcessCollector::for_self()))
    }

    /// A series that appears only with its first event is missed by `rate()`, so all of them start at 0.
    fn show_closed_sets(&self) {
        for result in ["ok", "error"] {
            self.reconciles.with_label_values(&[result]);
            self.asked.with_label_values(&[result]);
        }
        for reason in Error::REASONS {
            self.errors.with_label_values(&[reason]);
        }
        for kind in ["restart", "hand_over"] {
            self.restarts.with_label_values(&[kind]);
        }
    }

    /// A reconcile ended; `failed` is the reason if it failed.
    pub fn reconciled(&self, took: Duration, failed: Option<&'static str>) {
        self.duration.observe(took.as_secs_f64());
        self.reconciles.with_label_values(&[if failed.is_some() { "error" } else { "ok" }]).inc();
        if let Some(reason) = failed {
            self.errors.with_label_values(&[reason]).inc();
        }
    }

    /// A member was asked for its status.
    pub fn asked(&self, answered: bool) {
        self.asked.with_label_values(&[if answered { "ok" } else { "error" }]).inc();
    }

    /// A pod was deleted, or a hand-over asked for.
    pub fn disrupted(&self, hand_over: bool) {
        self.restarts.with_label_values(&[if hand_over { "hand_over" } else { "restart" }]).inc();
    }

    /// From now on a scrape reports these stores.
    pub fn report(&self, stores: Stores) {
        // Set once per process; a second controller in one process would be a defect, and the first one goes on reporting.
        let _ = self.stores.set(stores);
    }

    /// Everything in Prometheus' text format 0.0.4.
    ///
    /// # Errors
    /// Never in practice: the families are registered with what the format allows.
    pub fn render(&self) -> prometheus::Result<String> {
        // Made anew at every scrape, so that a store that is gone leaves no series behind.
        self.conditions.reset();
        self.info.reset();
        self.members_ready.reset();
        for store in self.stores.get().map(Stores::all).unwrap_or_default() {
            self.describe(&store);
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

impl Metrics {
    /// The names of all families of the operator's own.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        // A family without a series is not gathered.
        self.conditions.with_label_values(&["", "", "", ""]);
        self.info.with_label_values(&["", "", "", "", ""]);
        self.members_ready.with_label_values(&["", ""]);
        let names = self.registry.gather().into_iter().map(|family| family.name().to_owned());
        names.filter(|name| name.starts_with("holdfast_")).collect()
    }

    /// The page of every family of the operator's own, for the documents.
    #[must_use]
    pub fn reference(&self) -> String {
        let mut page = String::from(
            "# Metrics of the operator\n\nServed at `/metrics` on port 8080. Written by `cargo xtask codegen` from what the operator \
             registers; edits are lost.\n\n| name | kind | labels | meaning |\n|---|---|---|---|\n",
        );
        // A family without a series is not gathered.
        let names = self.names();
        for family in self.registry.gather() {
            if !names.iter().any(|name| name == family.name()) {
                continue;
            }
            let kind = format!("{:?}", family.get_field_type()).to_lowercase();
            let series = family.get_metric().first();
            let labels: Vec<_> = series
                .map(|s| s.get_label().iter().map(|l| format!("`{}`", l.name())).collect())
                .unwrap_or_default();
            page +=
                &format!("| `{}` | {kind} | {} | {} |\n", family.name(), labels.join(", "), family.help());
        }
        page
    }

    /// What a store's own status says, as series.
    fn describe(&self, store: &ReplicatedStore) {
        let namespace = store.namespace().unwrap_or_default();
        let name = store.name_any();
        let Some(status) = &store.status else { return };
        for condition in &status.conditions {
            for value in ["True", "False", "Unknown"] {
                let labels = [namespace.as_str(), &name, &condition.type_, value];
                self.conditions.with_label_values(&labels).set((condition.status == value).into());
            }
        }
        self.members_ready.with_label_values(&[namespace.as_str(), &name]).set(status.ready_replicas.into());
        let leader = status.leader.as_deref().unwrap_or_default();
        let version = status.members.iter().find_map(|member| member.version.as_deref()).unwrap_or_default();
        let strategy = store.spec.strategy.name();
        self.info.with_label_values(&[namespace.as_str(), &name, strategy, version, leader]).set(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_a_sentence_and_a_known_prefix() {
        let metrics = Metrics::new().unwrap();
        metrics.reconciled(Duration::from_millis(3), Some("Apply"));
        metrics.asked(true);
        let text = metrics.render().unwrap();
        for line in text.lines().filter(|line| line.starts_with("# HELP ")) {
            let (name, help) = line["# HELP ".len()..].split_once(' ').unwrap();
            assert!(name.starts_with("holdfast_") || name.starts_with("process_"), "{line}");
            assert!(help.ends_with('.'), "{line}");
        }
        assert!(text.contains(r#"holdfast_operator_reconcile_errors_total{reason="Apply"} 1"#), "{text}");
        assert!(text.contains(r#"holdfast_operator_reconcile_errors_total{reason="Status"} 0"#), "{text}");
    }

    #[test]
    fn a_store_is_reported_by_what_its_status_says() {
        let store: ReplicatedStore = serde_json::from_value(serde_json::json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "ReplicatedStore",
            "metadata": {"name": "orders", "namespace": "shop"},
            "spec": {},
            "status": {
                "leader": "orders-1", "readyReplicas": 2, "replicas": 3,
                "conditions": [{
                    "type": "Degraded", "status": "True", "reason": "MembersNotReady", "message": "m",
                    "lastTransitionTime": "2026-11-21T10:00:00Z",
                }],
            },
        }))
        .unwrap();
        let metrics = Metrics::new().unwrap();
        metrics.describe(&store);
        let gathered = TextEncoder::new().encode_to_string(&metrics.registry.gather()).unwrap();
        for line in [
            r#"holdfast_store_status_condition{condition="Degraded",namespace="shop",status="True",store="orders"} 1"#,
            r#"holdfast_store_status_condition{condition="Degraded",namespace="shop",status="False",store="orders"} 0"#,
            r#"holdfast_store_ready_members{namespace="shop",store="orders"} 2"#,
            r#"leader="orders-1""#,
        ] {
            assert!(gathered.contains(line), "{line} is not in {gathered}");
        }
    }
}
