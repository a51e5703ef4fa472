//! What of `manifests/`, `charts/` and `dashboards/` follows from the code: the plain manifest of an installation, and the pieces
//! that the chart has a copy of, because a chart must hold everything that it installs.
//!
//! It refuses to template: the chart's own templates are written by hand.

use holdfast_operator::install::{self, lab};
use serde::Serialize;

use crate::dashboards;

/// The alerts, written by hand; the chart has a copy.
const ALERTS: &str = include_str!("../../dashboards/alerts.yaml");

/// At the head of every YAML file that is written here.
const HEAD: &str = "# Written by `cargo xtask codegen` from the code; edits are lost.\n";

/// `manifests/operator.yaml`: everything that an installation needs, for one `kubectl apply`.
pub(crate) fn operator() -> anyhow::Result<String> {
    let mut text = HEAD.to_owned();
    text += &serde_yaml::to_string(&holdfast_api::kind::definition())?;
    text += "---\n";
    text += &serde_yaml::to_string(&holdfast_api::kind::experiment_definition())?;
    for object in install::objects(env!("CARGO_PKG_VERSION")) {
        text += "---\n";
        text += &serde_yaml::to_string(&object)?;
    }
    Ok(text)
}

/// `manifests/lab.yaml`: the lab beside an operator that is installed.
pub(crate) fn lab() -> anyhow::Result<String> {
    let objects = lab::objects(env!("CARGO_PKG_VERSION"));
    let objects = objects.iter().map(serde_yaml::to_string).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("{HEAD}{}", objects.join("---\n")))
}

/// The definition of the experiments' kind, as the chart has it.
pub(crate) fn experiment_definition() -> anyhow::Result<String> {
    Ok(format!("{HEAD}{}", serde_yaml::to_string(&holdfast_api::kind::experiment_definition())?))
}

/// The definition of the stores' kind, as the chart has it.
pub(crate) fn definition() -> anyhow::Result<String> {
    Ok(format!("{HEAD}{}", serde_yaml::to_string(&holdfast_api::kind::definition())?))
}

/// The rights of the operator and of the lab, and of those who may look at or edit a namespace, by what they are for.
pub(crate) fn rules() -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Rules<T> {
        stores: T,
        lease: T,
        view: T,
        edit: T,
        lab: T,
    }
    let rules = Rules {
        stores: install::store_rules(),
        lease: install::lease_rules(),
        view: install::view_rules(),
        edit: install::edit_rules(),
        lab: lab::rules(),
    };
    Ok(format!("{HEAD}{}", serde_yaml::to_string(&rules)?))
}

/// The dashboard of one store.
pub(crate) fn dashboard() -> anyhow::Result<String> {
    Ok(dashboards::text(&dashboards::store()))
}

/// The dashboard of failure experiments.
pub(crate) fn lab_dashboard() -> anyhow::Result<String> {
    Ok(dashboards::text(&dashboards::lab()))
}

/// The page of every metric that the operator serves.
pub(crate) fn operator_metrics() -> anyhow::Result<String> {
    Ok(holdfast_operator::metrics::Metrics::new()?.reference())
}

/// The alerts, as the chart has them.
pub(crate) fn alerts() -> anyhow::Result<String> {
    Ok(ALERTS.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use serde_yaml::Value;

    use super::*;

    fn read(path: &str) -> String {
        let path = crate::checkout().join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[test]
    fn the_samples_are_valid_stores() {
        for sample in [
            "store-three-members",
            "store-checkpointing",
            "store-with-application",
            "message-log",
            "files",
            "chat",
            "chat-primary-backup",
        ] {
            let text = read(&format!("manifests/{sample}.yaml"));
            if let Err(error) = holdfast_api::validate::read(&text) {
                panic!("{sample}.yaml: {error}");
            }
        }
    }

    #[test]
    fn the_sample_of_an_experiment_is_valid() {
        let text = read("manifests/fault-experiment.yaml");
        match holdfast_api::validate::read_any(&text) {
            Ok(holdfast_api::validate::Resource::Experiment(_)) => {}
            other => panic!("fault-experiment.yaml: {other:?}"),
        }
    }

    #[test]
    fn the_chart_is_of_the_version_that_it_installs() {
        let chart: Value = serde_yaml::from_str(&read("charts/holdfast/Chart.yaml")).expect("YAML");
        for field in ["version", "appVersion"] {
            assert_eq!(chart[field].as_str(), Some(env!("CARGO_PKG_VERSION")), "{field}");
        }
    }

    /// What everything that is installed may do in its pod, and how it is asked whether it lives.
    const CONFINED: [&str; 5] = [
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "allowPrivilegeEscalation: false",
        "type: RuntimeDefault",
        "path: /livez",
    ];

    /// The chart's Deployments and the plain manifests' are written in two languages; what matters must be in both.
    fn check_alike(template: &str, manifest: anyhow::Result<String>, lines: &[&str]) {
        let chart = read(&format!("charts/holdfast/templates/{template}"));
        let manifest = manifest.expect("the manifest can be made");
        for line in CONFINED.iter().chain(lines) {
            assert!(chart.contains(line), "the chart's {template} has no {line:?}");
            assert!(manifest.contains(line), "the manifest beside {template} has no {line:?}");
        }
    }

    #[test]
    fn chart_and_manifest_run_the_operator_alike() {
        let lines = [
            "path: /readyz",
            "fieldPath: metadata.namespace",
            "containerPort: 8080",
            "whenUnsatisfiable: ScheduleAnyway",
        ];
        check_alike("deployment.yaml", operator(), &lines);
    }

    #[test]
    fn chart_and_manifest_run_the_lab_alike() {
        let lines = [
            "containerPort: 8000",
            "type: Recreate",
            "name: HOLDFAST_LAB_IMAGE",
            "- --rest",
            "fieldPath: metadata.namespace",
            "fieldPath: metadata.uid",
            "mountPath: /var/lib/holdfast-lab",
        ];
        check_alike("lab.yaml", lab(), &lines);
    }

    /// Every name in `text` that looks like one of our metrics, without the endings that a histogram's series have.
    fn metrics(text: &str) -> BTreeSet<String> {
        let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = text.split(|c: char| !name(c)).filter(|word| word.starts_with("holdfast_"));
        let base = |word: &str| {
            let ends = ["_bucket", "_sum", "_count"];
            ends.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
        };
        words.map(base).collect()
    }

    #[test]
    fn dashboard_and_alerts_name_only_metrics_that_exist() {
        let members = holdfast_sidecar::metrics::reference();
        let operator = holdfast_operator::metrics::Metrics::new().expect("metrics").names();
        let lab = holdfast_lab::RunMetrics::names().expect("metrics");
        let known: BTreeSet<String> = metrics(&members).into_iter().chain(operator).chain(lab).collect();
        for (file, text) in [
            ("dashboard", dashboard().expect("made")),
            ("lab's dashboard", lab_dashboard().expect("made")),
            ("alerts", ALERTS.to_owned()),
        ] {
            let unknown: Vec<_> =
                metrics(&text).into_iter().filter(|name| !known.contains(name) && !is_rule(name)).collect();
            assert!(unknown.is_empty(), "the {file} asks for {unknown:?}, which nobody exports");
        }
    }

    /// Words that begin like a metric and are none.
    fn is_rule(name: &str) -> bool {
        name == "holdfast_"
    }

    #[test]
    fn every_alert_has_a_page_and_a_sentence() {
        let alerts: Value = serde_yaml::from_str(ALERTS).expect("YAML");
        let page = read("docs/operating/alerts.md");
        let mut rules = 0;
        for group in alerts["groups"].as_sequence().expect("groups") {
            for rule in group["rules"].as_sequence().expect("rules") {
                let name = rule["alert"].as_str().expect("a name");
                let text = |field: &str| rule["annotations"][field].as_str().unwrap_or_default().to_owned();
                assert!(
                    page.contains(&format!("## {name}\n")),
                    "docs/operating/alerts.md has no page for {name}"
                );
                let link = format!("docs/operating/alerts.md#{}", name.to_lowercase());
                assert!(text("runbook_url").ends_with(&link), "{name}: {}", text("runbook_url"));
                assert!(text("summary").ends_with('.'), "{name}");
                assert!(text("description").ends_with('.'), "{name}");
                let severity = rule["labels"]["severity"].as_str();
                assert!(matches!(severity, Some("critical" | "warning" | "info")), "{name}");
                rules += 1;
            }
        }
        assert!(rules > 20, "{rules}");
    }
}
