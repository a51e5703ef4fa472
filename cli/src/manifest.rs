//! The file that a user gives: one resource, in most cases a ReplicatedStore, checked by the rules that the API server has.
//!
//! Refuses to run what a cluster would refuse.

use std::fmt::Write;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use holdfast_api::validate::{self, MANIFEST_BYTES_MAX, ManifestError, Resource};
use holdfast_api::{FaultExperiment, ReplicatedStore};

/// A manifest that was read and is right.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// What it says.
    pub store: ReplicatedStore,
    /// Its text.
    pub text: String,
}

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFileError {
    /// The file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what was asked for, or breaks rules.
    #[error("{}", Wrong { path, error })]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong; its own words are in ours.
        error: ManifestError,
    },
}

impl Manifest {
    /// Reads a file; `-` is standard input.
    ///
    /// # Errors
    /// It cannot be read, or is no valid store. All violations are named.
    pub fn load(path: &Path) -> Result<Manifest, ManifestFileError> {
        let text = read(path)?;
        match validate::read(&text) {
            Ok(store) => Ok(Manifest { store, text }),
            Err(error) => Err(ManifestFileError::Wrong { path: path.to_path_buf(), error }),
        }
    }
}

/// Reads a file with a resource of any kind; `-` is standard input.
///
/// # Errors
/// It cannot be read, or is no valid resource. All violations are named.
pub(crate) fn load_any(path: &Path) -> Result<Resource, ManifestFileError> {
    let wrong = |error| ManifestFileError::Wrong { path: path.to_path_buf(), error };
    validate::read_any(&read(path)?).map_err(wrong)
}

fn read(path: &Path) -> Result<String, ManifestFileError> {
    read_text(path).map_err(|source| ManifestFileError::Read { path: path.to_path_buf(), source })
}

fn read_text(path: &Path) -> io::Result<String> {
    // A byte more than the rules allow, so that they see a file that is too large.
    let limit = MANIFEST_BYTES_MAX as u64 + 1;
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    }
    Ok(text)
}

/// A manifest's faults, a line each if there are several.
struct Wrong<'a> {
    path: &'a Path,
    error: &'a ManifestError,
}

impl std::fmt::Display for Wrong<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Wrong { path, error } = self;
        let violations = error.violations();
        if violations.is_empty() {
            return write!(f, "{}: {}", path.display(), crate::exit::chain(*error));
        }
        write!(f, "{} is not valid:", path.display())?;
        violations.iter().try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}

/// What a change is refused for, a line each.
pub(crate) fn reasons(error: &ManifestError) -> Vec<String> {
    match error.violations() {
        [] => vec![crate::exit::chain(error)],
        violations => violations.iter().map(ToString::to_string).collect(),
    }
}

/// One line for a store: who it is, and what it does.
pub(crate) fn summary(store: &ReplicatedStore) -> String {
    let (name, spec) = (store.store_name(), &store.spec);
    let mut text = format!("{name}, strategy {}, {} member", spec.strategy.name(), spec.replicas);
    if spec.replicas != 1 {
        text.push('s');
    }
    write!(text, ", durability {:?}", spec.durability()).expect("a string takes everything");
    text
}

/// One line for an experiment: who it is, and what it measures.
pub(crate) fn experiment_summary(experiment: &FaultExperiment) -> String {
    let (metadata, spec) = (&experiment.metadata, &experiment.spec);
    let namespace = metadata.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let configurations: Vec<&str> = spec.configurations.iter().map(|one| one.name.as_str()).collect();
    let (each, items, all) = (spec.runs, spec.items, configurations.join(", "));
    format!("{namespace}{name}, an experiment: {each} runs with {items} items of each of {all}")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A valid manifest.
    pub(crate) const ORDERS: &str = "\
apiVersion: holdfast.dev/v1alpha1
kind: ReplicatedStore
metadata:
  name: orders
spec:
  replicas: 3
";

    fn check(text: &str, parts: &[&str]) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("store.yaml");
        std::fs::write(&path, text).expect("writable");
        let error = Manifest::load(&path).expect_err(text).to_string();
        for part in parts {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_listed_with_its_path() {
        let wrong = ORDERS.replace("replicas: 3", "replicas: 9\n  strategi: Hybrid");
        check(&wrong, &["store.yaml is not valid:\n  ", "spec.replicas", "strategi"]);
        check("a: [", &["store.yaml: the manifest is not YAML"]);
        check("", &["store.yaml: the manifest is empty"]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Manifest::load(Path::new("/no/such/file")).expect_err("missing");
        assert_eq!(
            crate::exit::chain(&error),
            "cannot read /no/such/file: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn an_experiment_is_read_where_any_kind_will_do_and_told_in_one_line() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("experiment.yaml");
        let check = |spec: &str| {
            let head = "apiVersion: holdfast.dev/v1alpha1\nkind: FaultExperiment\nmetadata: {name: two}\n";
            std::fs::write(&path, format!("{head}spec: {spec}\n")).expect("writable");
            load_any(&path)
        };
        let two = "{runs: 3, configurations: [{name: a, strategy: Baseline}, {name: b, strategy: Replication, replicas: 3}]}";
        match check(two).expect("valid") {
            Resource::Experiment(experiment) => assert_eq!(
                experiment_summary(&experiment),
                "two, an experiment: 3 runs with 100 items of each of a, b"
            ),
            Resource::Store(_) => panic!("it is an experiment"),
        }
        let error = check("{items: 0, failureTyp: leader}").expect_err("wrong").to_string();
        for part in
            ["experiment.yaml is not valid:\n  ", "spec.items: 0 is less than 1", "spec.failureTyp: unknown"]
        {
            assert!(error.contains(part), "{error}");
        }
        let error = Manifest::load(&path).expect_err("no store").to_string();
        assert!(
            error.contains("kind: FaultExperiment; write") && error.contains("kind: ReplicatedStore"),
            "{error}"
        );
    }

    #[test]
    fn a_store_is_told_in_one_line() {
        let store = validate::read(ORDERS).expect("valid");
        assert_eq!(summary(&store), "default/orders, strategy Replication, 3 members, durability Disk");
    }
}
