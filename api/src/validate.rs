//! A manifest checked as the API server would check it, without one: the schema and the rules of the very definitions
//! that are installed in a cluster, and everything that is wrong at once.
//!
//! Stricter than the API server in two things, as `kubectl apply --validate=strict` is: fields that nobody knows are
//! errors, and so is what no pod can hold in the application's template. It refuses to repair anything.

mod structure;
mod suggestion;

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::cel::{ErrorKind, Validator};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::kind::{self, FaultExperiment, ReplicatedStore};
use crate::names::{API_VERSION, EXPERIMENT_KIND, KIND};
use crate::violation::{self, Violation, Violations};

/// Largest manifest. A store with the largest application template is far smaller; the API server takes 3 MiB.
pub const MANIFEST_BYTES_MAX: usize = 1024 * 1024;

/// What a manifest can hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// A store.
    Store(Box<ReplicatedStore>),
    /// An experiment.
    Experiment(Box<FaultExperiment>),
}

/// Either kind, in an error's words.
const ANY_KIND: &str = "ReplicatedStore or FaultExperiment";

/// Why a manifest is not what was asked for. `wanted` is the kind, or the kinds, that would have been.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// More than [`MANIFEST_BYTES_MAX`].
    #[error("the manifest has {bytes} bytes; {MANIFEST_BYTES_MAX} is the most")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// No YAML.
    #[error("the manifest is not YAML")]
    Malformed(#[source] serde_yaml::Error),
    /// Nothing in it.
    #[error("the manifest is empty; write one {wanted}")]
    Empty {
        /// See the type.
        wanted: &'static str,
    },
    /// Several documents.
    #[error("the manifest has {count} documents; put the {wanted} into a file of its own")]
    SeveralDocuments {
        /// How many.
        count: usize,
        /// See the type.
        wanted: &'static str,
    },
    /// Something else.
    #[error("the manifest has {found}; write apiVersion: {API_VERSION} and kind: {wanted}")]
    OtherKind {
        /// What it says that it is.
        found: String,
        /// See the type.
        wanted: &'static str,
    },
    /// The right kind, which breaks rules.
    #[error("the {kind} is invalid: {}", violation::joined(.violations))]
    Invalid {
        /// Its kind.
        kind: &'static str,
        /// Everything that is wrong.
        violations: Vec<Violation>,
    },
}

impl ManifestError {
    /// Everything that is wrong, one by one; empty if the manifest did not come so far.
    pub fn violations(&self) -> &[Violation] {
        match self {
            ManifestError::Invalid { violations, .. } => violations,
            _ => &[],
        }
    }
}

/// Read a manifest that is to be created.
///
/// # Errors
///
/// [`ManifestError`]; if the text holds a store, with everything that is wrong with it.
pub fn read(text: &str) -> Result<ReplicatedStore, ManifestError> {
    check_document(&parse(text, KIND)?, None)
}

/// Read a manifest of any kind that is to be created.
///
/// # Errors
///
/// [`ManifestError`]; if the text holds a store or an experiment, with everything that is wrong with it.
pub fn read_any(text: &str) -> Result<Resource, ManifestError> {
    let document = parse(text, ANY_KIND)?;
    if document.get("kind").and_then(Value::as_str) == Some(EXPERIMENT_KIND) {
        return read_experiment(document).map(|experiment| Resource::Experiment(Box::new(experiment)));
    }
    match check_document(&document, None) {
        Ok(store) => Ok(Resource::Store(Box::new(store))),
        Err(ManifestError::OtherKind { found, .. }) => {
            Err(ManifestError::OtherKind { found, wanted: ANY_KIND })
        }
        Err(error) => Err(error),
    }
}

/// Read a manifest that is to replace that of a store that runs: also the rules for changes apply.
///
/// # Errors
///
/// [`ManifestError`]; if the text holds a store, with everything that is wrong with it.
pub fn read_change(text: &str, running: &ReplicatedStore) -> Result<ReplicatedStore, ManifestError> {
    check_document(&parse(text, KIND)?, Some(running))
}

/// Check a store that somebody else has read. The API server has done the same, but perhaps by the rules of an older
/// definition.
///
/// # Errors
///
/// [`ManifestError::Invalid`] with everything that is wrong.
pub fn check(store: &ReplicatedStore) -> Result<(), ManifestError> {
    let document = serde_json::to_value(store).expect("a store can always be written");
    check_document(&document, None).map(drop)
}

/// Check an experiment, as JSON; with `running`, also by the rules for changes. The API server has done the same, but perhaps by the rules
/// of an older definition.
///
/// # Errors
///
/// Everything that is wrong.
pub fn check_experiment(document: &Value, running: Option<&Value>) -> Result<(), Vec<Violation>> {
    let mut document = document.clone();
    let schema = &*EXPERIMENT_SCHEMA;
    structure::drop_nulls(schema, &mut document);
    experiment_violations(&document, running).into_result()
}

/// What the schema and the rules say of an experiment without needless nulls.
fn experiment_violations(document: &Value, running: Option<&Value>) -> Violations {
    let schema = &*EXPERIMENT_SCHEMA;
    let mut found = structure::check(schema, document);
    if !found.blocks_rules {
        // The API server fills in what was left out before it asks the rules.
        let filled = |document: &Value| {
            let experiment: Option<FaultExperiment> = serde_json::from_value(document.clone()).ok();
            let written = experiment.and_then(|experiment| serde_json::to_value(experiment).ok());
            written.unwrap_or_else(|| document.clone())
        };
        let running = running.map(filled);
        check_rules(schema, &filled(document), running.as_ref(), &mut found.violations);
    }
    found.violations
}

fn read_experiment(mut document: Value) -> Result<FaultExperiment, ManifestError> {
    check_kind(&document, EXPERIMENT_KIND)?;
    structure::drop_nulls(&EXPERIMENT_SCHEMA, &mut document);
    let mut violations = experiment_violations(&document, None);
    check_metadata(&document, "experiment", &mut violations);
    finish(EXPERIMENT_KIND, violations, serde_path_to_error::deserialize(document))
}

/// The only document in the text.
fn parse(text: &str, wanted: &'static str) -> Result<Value, ManifestError> {
    if text.len() > MANIFEST_BYTES_MAX {
        return Err(ManifestError::TooLarge { bytes: text.len() });
    }
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        // By way of YAML's own values, which refuse a key that is there twice; JSON's keep the last.
        let document = serde_yaml::Value::deserialize(document).map_err(ManifestError::Malformed)?;
        if !document.is_null() {
            documents.push(document);
        }
    }
    match documents.as_slice() {
        [] => Err(ManifestError::Empty { wanted }),
        [document] => serde_yaml::from_value(document.clone()).map_err(ManifestError::Malformed),
        several => Err(ManifestError::SeveralDocuments { count: several.len(), wanted }),
    }
}

fn check_document(
    document: &Value,
    running: Option<&ReplicatedStore>,
) -> Result<ReplicatedStore, ManifestError> {
    check_kind(document, KIND)?;
    let mut document = document.clone();
    let schema = &*SCHEMA;
    structure::drop_nulls(schema, &mut document);
    let mut found = structure::check(schema, &document);
    if let Some(metadata) = check_metadata(&document, "store", &mut found.violations)
        && let Some(running) = running
    {
        check_identity(metadata, running, &mut found.violations);
    }
    if !found.blocks_rules {
        let running =
            running.map(|running| serde_json::to_value(running).expect("a store can always be written"));
        check_rules(schema, &document, running.as_ref(), &mut found.violations);
    }
    let store = serde_path_to_error::deserialize::<_, ReplicatedStore>(document);
    if let Some(template) = store.as_ref().ok().and_then(|store| store.spec.template.as_ref())
        && let Err(error) = template.pod_spec()
    {
        for Violation { path, message } in error.0 {
            found.violations.add(&format!("spec.template.{path}"), message);
        }
    }
    finish(KIND, found.violations, store)
}

/// What was read, if nothing is wrong with it.
fn finish<T>(
    kind: &'static str,
    violations: Violations,
    read: Result<T, serde_path_to_error::Error<serde_json::Error>>,
) -> Result<T, ManifestError> {
    violations.into_result().map_err(|violations| ManifestError::Invalid { kind, violations })?;
    // What the types refuse, the schema has refused before, and in better words; unless it has a gap.
    read.map_err(|error| {
        let (path, message) = (error.path().to_string(), error.inner().to_string());
        ManifestError::Invalid { kind, violations: vec![Violation { path, message }] }
    })
}

/// The schema of the stores' definition, as JSON.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| schema_of(&kind::definition()));

/// That of the experiments' definition.
static EXPERIMENT_SCHEMA: LazyLock<Value> = LazyLock::new(|| schema_of(&kind::experiment_definition()));

fn schema_of(definition: &CustomResourceDefinition) -> Value {
    let definition = serde_json::to_value(definition).expect("a definition can always be written");
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

fn check_kind(document: &Value, wanted: &'static str) -> Result<(), ManifestError> {
    let Value::Object(fields) = document else {
        return Err(ManifestError::OtherKind { found: "no fields".to_owned(), wanted });
    };
    let text = |name| fields.get(name).and_then(Value::as_str);
    if (text("apiVersion"), text("kind")) == (Some(API_VERSION), Some(wanted)) {
        return Ok(());
    }
    let said = |name| match fields.get(name) {
        Some(Value::String(text)) => format!("{name}: {text}"),
        Some(other) => format!("{name}: {other}"),
        None => format!("no {name}"),
    };
    let found = format!("{} and {}", said("apiVersion"), said("kind"));
    Err(ManifestError::OtherKind { found, wanted })
}

/// The definition's schema says nothing about metadata, because the API server knows it. `what` has them: a store. They are returned if they can be
/// read.
fn check_metadata(document: &Value, what: &str, violations: &mut Violations) -> Option<ObjectMeta> {
    let mut add = |path: &str, message: String| violations.add(path, message);
    let written = document.get("metadata").cloned().unwrap_or_else(|| json!({}));
    let metadata: ObjectMeta = match serde_path_to_error::deserialize(&written) {
        Ok(metadata) => metadata,
        Err(error) => {
            add(&kind::path_under("metadata", error.path()), error.inner().to_string());
            return None;
        }
    };
    let known = serde_json::to_value(&metadata).expect("metadata can always be written");
    if let (Value::Object(written), Value::Object(known)) = (&written, &known) {
        for name in written.keys().filter(|&name| !written[name].is_null() && !known.contains_key(name)) {
            let names = ["name", "namespace", "labels", "annotations"].into_iter();
            add(&format!("metadata.{name}"), suggestion::unknown_field(name, names));
        }
    }
    if metadata.name.as_deref().unwrap_or_default().is_empty() {
        add("metadata.name", format!("is missing; write the {what}'s name"));
    }
    if let Some(namespace) = &metadata.namespace
        && !crate::settings::is_label(namespace, 63)
    {
        add("metadata.namespace", "write at most 63 lower-case letters, digits and hyphens".to_owned());
    }
    Some(metadata)
}

fn check_identity(metadata: ObjectMeta, running: &ReplicatedStore, violations: &mut Violations) {
    let running = running.store_name();
    let namespace = metadata.namespace.unwrap_or_else(|| kind::NAMESPACE_DEFAULT.to_owned());
    let name = metadata.name.unwrap_or_default();
    if (&namespace, &name) != (&running.namespace, &running.name) {
        let message = format!("this is {namespace}/{name}, but {running} runs; it cannot be renamed");
        violations.add("metadata", message);
    }
}

/// The definition's CEL rules; those for changes only if there is something to change.
fn check_rules(schema: &Value, document: &Value, running: Option<&Value>, violations: &mut Violations) {
    let mut document = document.clone();
    let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        // Said already, in better words than those of the rule about names.
        document["metadata"] = json!({ "name": "name" });
    }
    let Err(errors) = Validator::new().validate(schema, &document, running) else { return };
    for error in errors {
        let message = match error.kind {
            ErrorKind::ValidationFailure => error.message,
            _ => format!("the rule {:?} cannot be evaluated: {}", error.rule, error.message),
        };
        violations.add(&error.field_path, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: holdfast.dev/v1alpha1\nkind: ReplicatedStore\n";

    fn check(text: &str, expected: &str) {
        match read(text) {
            Ok(store) => assert_eq!(store.store_name().to_string(), expected),
            Err(error) => assert_eq!(error.to_string(), expected),
        }
    }

    #[test]
    fn one_store_is_wanted() {
        check(&format!("---\n{HEAD}metadata: {{ name: a }}\nspec: {{}}\n---\n"), "default/a");
        check("", "the manifest is empty; write one ReplicatedStore");
        check("---\n# nothing\n---\n", "the manifest is empty; write one ReplicatedStore");
        let two = format!("{HEAD}metadata: {{ name: a }}\nspec: {{}}\n---\n").repeat(2);
        check(&two, "the manifest has 2 documents; put the ReplicatedStore into a file of its own");
        let write = "write apiVersion: holdfast.dev/v1alpha1 and kind: ReplicatedStore";
        check(
            "kind: Pod\napiVersion: v1\n",
            &format!("the manifest has apiVersion: v1 and kind: Pod; {write}"),
        );
        check("kind: 1\n", &format!("the manifest has no apiVersion and kind: 1; {write}"));
        check("- a\n", &format!("the manifest has no fields; {write}"));
        check("a: [\n", "the manifest is not YAML");
        check(&format!("{HEAD}kind: ReplicatedStore\n"), "the manifest is not YAML");
        check(&"x".repeat(MANIFEST_BYTES_MAX + 1), "the manifest has 1048577 bytes; 1048576 is the most");
    }

    #[test]
    fn metadata_is_checked_too() {
        let check =
            |metadata: &str, expected: &str| check(&format!("{HEAD}{metadata}\nspec: {{}}\n"), expected);
        let invalid = |what: &str| format!("the ReplicatedStore is invalid: {what}");
        check("metadata: { name: a, namespace: shop, labels: { a: b } }", "shop/a");
        check("metadata: []", &invalid("metadata: invalid type: sequence, expected ObjectMeta"));
        check(
            "metadata: { name: 1 }",
            &invalid("metadata.name: invalid type: integer `1`, expected a string"),
        );
        check("metadata: {}", &invalid("metadata.name: is missing; write the store's name"));
        check("metadata: { name: '' }", &invalid("metadata.name: is missing; write the store's name"));
        let unknown = "metadata.labls: unknown field; did you mean labels?";
        check("metadata: { name: a, labls: {} }", &invalid(unknown));
        let namespace = "metadata.namespace: write at most 63 lower-case letters, digits and hyphens";
        check("metadata: { name: a, namespace: A }", &invalid(namespace));
        let label = "metadata.labels.a: invalid type: integer `1`, expected a string";
        check("metadata: { name: a, labels: { a: 1 } }", &invalid(label));
    }

    #[test]
    fn what_no_pod_has_is_refused_although_the_api_server_takes_it() {
        let spec = "spec: { template: { spec: { containers: [{ name: a, imag: b }] } } }";
        let unknown = "spec.template.spec.containers[0].imag: unknown field";
        check(
            &format!("{HEAD}metadata: {{ name: a }}\n{spec}\n"),
            &format!("the ReplicatedStore is invalid: {unknown}"),
        );
    }

    #[test]
    fn a_spec_is_needed() {
        let missing = "the ReplicatedStore is invalid: spec: is missing";
        check(&format!("{HEAD}metadata: {{ name: a }}\n"), missing);
        check(&format!("{HEAD}metadata: {{ name: a }}\nspec:\n"), missing);
    }

    #[test]
    fn a_running_store_keeps_its_name() {
        let text = |name| format!("{HEAD}metadata: {{ name: {name} }}\nspec: {{}}\n");
        let running = read(&text("a")).expect("valid");
        assert!(read_change(&text("a"), &running).is_ok());
        let error = read_change(&text("b"), &running).expect_err("another name");
        let message = "this is default/b, but default/a runs; it cannot be renamed";
        assert_eq!(
            error.violations(),
            [Violation { path: "metadata".to_owned(), message: message.to_owned() }]
        );
    }

    #[test]
    fn either_kind_is_read_where_either_will_do() {
        let check = |text: &str, expected: &str| match read_any(text) {
            Ok(Resource::Store(store)) => assert_eq!(format!("store {}", store.store_name()), expected),
            Ok(Resource::Experiment(experiment)) => {
                let name = experiment.metadata.name.clone().unwrap_or_default();
                assert_eq!(format!("experiment {name} {}", experiment.spec.runs), expected);
            }
            Err(error) => assert_eq!(error.to_string(), expected),
        };
        let experiment = "apiVersion: holdfast.dev/v1alpha1\nkind: FaultExperiment\n";
        check(&format!("{HEAD}metadata: {{ name: a }}\nspec: {{}}\n"), "store default/a");
        check(&format!("{experiment}metadata: {{ name: a }}\nspec: {{ runs: 3 }}\n"), "experiment a 3");
        let invalid = |what: &str| format!("the FaultExperiment is invalid: {what}");
        check(
            &format!("{experiment}metadata: {{ nam: a }}\nspec: {{ runs: 0 }}\n"),
            &invalid(
                "metadata.nam: unknown field; did you mean name?; metadata.name: is missing; write the experiment's name; spec.runs: 0 is less than 1",
            ),
        );
        check(
            &format!("{experiment}metadata: {{ name: a }}\nspec: {{ nodeCount: 2 }}\n"),
            &invalid(
                "spec.nodeCount: only failureType node_count has a number of members: write it, or remove nodeCount",
            ),
        );
        let write = "write apiVersion: holdfast.dev/v1alpha1 and kind: ";
        check(
            "kind: FaultExperiment\n",
            &format!("the manifest has no apiVersion and kind: FaultExperiment; {write}FaultExperiment"),
        );
        check(
            "kind: Pod\napiVersion: v1\n",
            &format!(
                "the manifest has apiVersion: v1 and kind: Pod; {write}ReplicatedStore or FaultExperiment"
            ),
        );
        check("", "the manifest is empty; write one ReplicatedStore or FaultExperiment");
    }
}
