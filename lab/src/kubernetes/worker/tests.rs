//! Whose turn it is, as the API server sees it.

use prometheus::Registry;
use serde_json::{Value, json};

use super::*;
use crate::kubernetes::fake;

fn experiment() -> Value {
    json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "FaultExperiment", "spec": {"runs": 1},
        "metadata": {"name": "strategies", "namespace": "shop", "uid": "mine"},
    })
}

/// The requests of a worker that looks once, while somebody uses the lab's own store.
#[tokio::test]
async fn an_experiment_is_told_that_requests_go_first_and_nothing_is_made_for_it() {
    let (asked, client) = fake::server(|line| match line.split('/').next_back() {
        Some("faultexperiments") => {
            Some(json!({"kind": "FaultExperimentList", "metadata": {}, "items": [experiment()]}))
        }
        Some("status") => Some(experiment()),
        _ => None,
    });
    let turns = Turns::default();
    let turn = turns.request().expect("nobody else is there");
    let worker = Worker {
        client,
        namespace: None,
        image: "lab:test".to_owned(),
        scratch: PathBuf::from("/nonexistent"),
        instance: "holdfast-lab-0".to_owned(),
        metrics: RunMetrics::register(&Registry::new()).expect("metrics"),
        turns: turns.clone(),
    };
    // It is to stop, which it hears when it has looked.
    let (_stop, stopping) = watch::channel(true);
    worker.work(stopping).await;
    drop(turn);
    let lines = asked.lines();
    let expected = ["GET /apis/holdfast.dev/v1alpha1/faultexperiments", "PATCH "];
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{lines:?}");
    }
    assert!(lines[1].ends_with("/namespaces/shop/faultexperiments/strategies/status"), "{lines:?}");
}
