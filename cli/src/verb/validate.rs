//! `holdfast validate`: a manifest of any kind against the rules of the API server, without one.

use holdfast_api::validate::{ManifestError, Resource};
use serde::Serialize;

use crate::arguments::{Output, Validate};
use crate::exit::{Exit, Failure, chain};
use crate::manifest::{ManifestFileError, experiment_summary, load_any, summary};
use crate::output::print;

#[derive(Serialize)]
struct Data {
    valid: bool,
    violations: Vec<Violation>,
}

#[derive(Serialize)]
struct Violation {
    path: String,
    message: String,
}

/// Says whether a manifest is right, or everything that is wrong with it.
///
/// # Errors
/// It is wrong, or cannot be read.
pub fn run(validate: &Validate) -> Result<Exit, Failure> {
    let output = validate.printed.output;
    match load_any(&validate.file) {
        Ok(resource) => {
            let data = Data { valid: true, violations: Vec::new() };
            let file = validate.file.display();
            let told = match &resource {
                Resource::Store(store) => summary(store),
                Resource::Experiment(experiment) => experiment_summary(experiment),
            };
            print(output, &data, |out| writeln!(out, "{file} is valid: {told}"))?;
            Ok(Exit::Ok)
        }
        // Programs get the list as data; people get it as the error.
        Err(ManifestFileError::Wrong { error, .. }) if output != Output::Table => {
            print(output, &Data { valid: false, violations: list(&error) }, |_| Ok(()))?;
            Ok(Exit::Failure)
        }
        Err(error) => Err(Failure::general(error)),
    }
}

fn list(error: &ManifestError) -> Vec<Violation> {
    match error.violations() {
        [] => vec![Violation { path: String::new(), message: chain(error) }],
        violations => violations
            .iter()
            .map(|violation| Violation { path: violation.path.clone(), message: violation.message.clone() })
            .collect(),
    }
}
