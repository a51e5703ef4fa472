//! Files in the checkout that follow from the code: they are written by `cargo xtask codegen`, and a test fails when one
//! is stale. Nothing here reads a file to decide what another should hold.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::manifests;

/// What `cargo xtask codegen` is told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write nothing; fail if a file is stale.
    #[arg(long)]
    check: bool,
}

/// A file, by its path in the checkout, and what belongs into it.
struct Generated {
    path: &'static str,
    content: fn() -> anyhow::Result<String>,
}

/// Every file that is written.
const FILES: &[Generated] = &[
    Generated { path: "crds/replicatedstores.yaml", content: definition },
    Generated { path: "crds/faultexperiments.yaml", content: experiment_definition },
    Generated { path: "docs/reference/metrics.md", content: metric_reference },
    Generated { path: "docs/reference/operator-metrics.md", content: manifests::operator_metrics },
    Generated { path: "manifests/operator.yaml", content: manifests::operator },
    Generated { path: "manifests/lab.yaml", content: manifests::lab },
    Generated { path: "dashboards/holdfast-store.json", content: manifests::dashboard },
    Generated { path: "dashboards/holdfast-lab.json", content: manifests::lab_dashboard },
    Generated { path: "charts/holdfast/files/holdfast-lab.json", content: manifests::lab_dashboard },
    Generated { path: "charts/holdfast/files/crds/replicatedstores.yaml", content: manifests::definition },
    Generated {
        path: "charts/holdfast/files/crds/faultexperiments.yaml",
        content: manifests::experiment_definition,
    },
    Generated { path: "charts/holdfast/files/rules.yaml", content: manifests::rules },
    Generated { path: "charts/holdfast/files/holdfast-store.json", content: manifests::dashboard },
    Generated { path: "charts/holdfast/files/alerts.yaml", content: manifests::alerts },
];

/// Write every file that is stale, or say which are.
///
/// # Errors
///
/// If a file cannot be made or written.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for file in stale(crate::checkout())? {
        if arguments.check {
            crate::say(format_args!("{} is stale; run: cargo xtask codegen", file.path));
            code = ExitCode::FAILURE;
        } else {
            write(&crate::checkout().join(file.path), &(file.content)()?)?;
            crate::say(format_args!("wrote {}", file.path));
        }
    }
    Ok(code)
}

fn stale(checkout: &Path) -> anyhow::Result<Vec<&'static Generated>> {
    let mut stale = Vec::new();
    for file in FILES {
        let wanted = (file.content)().with_context(|| format!("cannot make {}", file.path))?;
        // A file that cannot be read is stale; writing it says what is wrong.
        if fs::read_to_string(checkout.join(file.path)).ok().as_ref() != Some(&wanted) {
            stale.push(file);
        }
    }
    Ok(stale)
}

fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// The definition of the stores' kind, for `kubectl apply`.
fn definition() -> anyhow::Result<String> {
    for_kubectl(&holdfast_api::kind::definition())
}

/// The definition of the experiments' kind, for `kubectl apply`.
fn experiment_definition() -> anyhow::Result<String> {
    for_kubectl(&holdfast_api::kind::experiment_definition())
}

fn for_kubectl(definition: &impl serde::Serialize) -> anyhow::Result<String> {
    let yaml = serde_yaml::to_string(definition)?;
    Ok(format!("# Written by `cargo xtask codegen` from api/src/kind; edits are lost.\n{yaml}"))
}

/// The page of every metric that a member serves.
fn metric_reference() -> anyhow::Result<String> {
    Ok(holdfast_sidecar::metrics::reference())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_generated_file_is_fresh() {
        let stale = stale(crate::checkout()).expect("every file can be made");
        let stale: Vec<_> = stale.iter().map(|file| file.path).collect();
        assert!(
            stale.is_empty(),
            "run `cargo xtask codegen`: {stale:?} do not follow from the code any more"
        );
    }

    #[test]
    fn a_file_that_is_missing_or_edited_is_stale() {
        let folder = std::env::temp_dir().join(format!("holdfast-codegen-{}", std::process::id()));
        assert_eq!(stale(&folder).expect("every file can be made").len(), FILES.len());
        for file in FILES {
            let content = (file.content)().expect("every file can be made");
            write(&folder.join(file.path), &content).expect("a temporary file");
        }
        assert_eq!(stale(&folder).expect("every file can be made").len(), 0);
        write(&folder.join(FILES[0].path), "edited").expect("a temporary file");
        assert_eq!(stale(&folder).expect("every file can be made").len(), 1);
        fs::remove_dir_all(&folder).expect("a temporary folder");
    }
}
