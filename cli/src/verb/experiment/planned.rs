//! The plan that a command line means.

use std::io::{self, Read as _};
use std::path::Path;

use holdfast_lab::Plan;
use holdfast_lab::plan::PLAN_BYTES_MAX;

use crate::arguments::Planned;
use crate::exit::Failure;

/// The file's plan, or the default one, with what the options say instead.
///
/// # Errors
/// The file cannot be read or is no plan, or an option breaks a rule.
pub(super) fn of(planned: &Planned) -> Result<Plan, Failure> {
    let mut plan = match &planned.file {
        None => Plan::default(),
        Some(file) => read(file)?,
    };
    let Planned { runs, items, failure, writers, only, .. } = planned;
    plan.runs = runs.unwrap_or(plan.runs);
    let protocol = &mut plan.protocol;
    protocol.items = items.unwrap_or(protocol.items);
    protocol.failure_type = failure.unwrap_or(protocol.failure_type);
    protocol.writers = writers.unwrap_or(protocol.writers);
    if !only.is_empty() {
        let names = || plan.configurations.iter().map(|one| one.name.as_str());
        if let Some(unknown) = only.iter().find(|name| !names().any(|known| known == *name)) {
            let known = names().collect::<Vec<_>>().join(", ");
            return Err(Failure::usage(format!("the plan has no configuration {unknown:?}; it has {known}")));
        }
        plan.configurations.retain(|one| only.contains(&one.name));
    }
    plan.check().map_err(Failure::usage)?;
    Ok(plan)
}

fn read(path: &Path) -> Result<Plan, Failure> {
    let name = path.display();
    // A byte more than the rules allow, so that they see a file that is too large.
    let limit = PLAN_BYTES_MAX as u64 + 1;
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::usage(format!("cannot read {name}: {error}")))?;
    Plan::parse(&text).map_err(|error| Failure::usage(format!("{name}: {}", crate::exit::chain(&error))))
}

#[cfg(test)]
mod tests {
    use holdfast_lab::FailureKind;

    use super::*;

    fn planned() -> Planned {
        Planned {
            file: None,
            runs: None,
            items: None,
            failure: None,
            writers: None,
            only: Vec::new(),
            results: "results.csv".into(),
        }
    }

    #[test]
    fn options_stand_above_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("experiment.yaml");
        std::fs::write(&file, "runs: 5\nitems: 7\n").expect("written");
        let options = Planned {
            file: Some(file),
            runs: Some(3),
            failure: Some(FailureKind::Total),
            only: vec!["Replication_F3".to_owned()],
            ..planned()
        };
        let plan = of(&options).expect("a plan");
        assert_eq!((plan.runs, plan.protocol.items, plan.configurations.len()), (3, 7, 1));
        assert_eq!(plan.protocol.failure_type, FailureKind::Total);
        assert_eq!(of(&planned()).expect("a plan"), Plan::default());
    }

    #[test]
    fn what_is_wrong_is_said_before_anything_is_measured() {
        let check = |planned: Planned, words: &str| {
            let error = of(&planned).expect_err("wrong").to_string();
            assert!(error.contains(words), "{error}");
        };
        check(Planned { runs: Some(0), ..planned() }, "runs: 0 is not from 1 to 1000");
        check(Planned { only: vec!["Magic".to_owned()], ..planned() }, "it has Baseline, Checkpoint_15s");
        check(Planned { file: Some("/no/such/file".into()), ..planned() }, "cannot read /no/such/file");
    }
}
