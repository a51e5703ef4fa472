//! The kinds' rules without a cluster, as `rules.yaml` has them.

use std::collections::BTreeSet;

use holdfast_api::ReplicatedStore;
use holdfast_api::validate::{self, ManifestError};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    #[serde(default)]
    kind: Kind,
    #[serde(default = "name")]
    name: String,
    old: Option<Value>,
    new: Value,
    #[serde(default)]
    refused: Vec<String>,
}

/// What a case is about.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum Kind {
    #[default]
    ReplicatedStore,
    FaultExperiment,
}

fn name() -> String {
    "orders".to_owned()
}

fn cases() -> Vec<Case> {
    serde_yaml::from_str(include_str!("rules.yaml")).expect("the cases are right")
}

fn manifest(name: &str, spec: &Value) -> String {
    let manifest = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "ReplicatedStore", "metadata": { "name": name }, "spec": spec,
    });
    serde_yaml::to_string(&manifest).expect("a manifest can be written")
}

fn said(result: Result<ReplicatedStore, ManifestError>) -> Vec<String> {
    match result {
        Ok(_) => Vec::new(),
        Err(ManifestError::Invalid { violations, .. }) => {
            violations.iter().map(ToString::to_string).collect()
        }
        Err(other) => panic!("{other}"),
    }
}

fn store(case: &Case) -> Vec<String> {
    let new = manifest(&case.name, &case.new);
    said(match &case.old {
        None => validate::read(&new),
        Some(old) => {
            let running = validate::read(&manifest(&case.name, old)).expect("what runs is valid");
            validate::read_change(&new, &running)
        }
    })
}

fn experiment(case: &Case) -> Vec<String> {
    let document = |spec: &Value| json!({ "metadata": { "name": case.name }, "spec": spec });
    let old = case.old.as_ref().map(document);
    let wrong = validate::check_experiment(&document(&case.new), old.as_ref()).err().unwrap_or_default();
    wrong.iter().map(ToString::to_string).collect()
}

#[test]
fn every_case_is_taken_or_refused_as_it_says() {
    let mut wrong = Vec::new();
    for case in cases() {
        let said = match case.kind {
            Kind::ReplicatedStore => store(&case),
            Kind::FaultExperiment => experiment(&case),
        };
        if said != case.refused {
            wrong.push(format!("{}:\n  expected {:#?}\n  found {said:#?}", case.what, case.refused));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_a_case() {
    for (kind, definition) in [
        (Kind::ReplicatedStore, holdfast_api::kind::definition()),
        (Kind::FaultExperiment, holdfast_api::kind::experiment_definition()),
    ] {
        let mut messages = BTreeSet::new();
        collect_messages(&serde_json::to_value(definition).expect("serializable"), &mut messages);
        assert!(messages.len() > 9, "the rules were not found");
        let cases: Vec<Case> = cases().into_iter().filter(|case| case.kind == kind).collect();
        messages.retain(|message| {
            !cases.iter().flat_map(|case| &case.refused).any(|refused| refused.ends_with(message.as_str()))
        });
        assert!(messages.is_empty(), "no case shows what these refuse: {messages:#?}");
    }
}

fn collect_messages(schema: &Value, messages: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            for rule in fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten()
            {
                let message = rule["message"].as_str().expect("every rule says what to write instead");
                messages.insert(message.to_owned());
            }
            fields.values().for_each(|value| collect_messages(value, messages));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_messages(item, messages)),
        _ => {}
    }
}

#[test]
fn what_is_taken_is_what_was_meant() {
    let store = validate::read(&manifest("orders", &json!({}))).expect("valid");
    assert_eq!(store.spec, holdfast_api::ReplicatedStoreSpec::default());
    assert!(validate::check(&store).is_ok());
}
