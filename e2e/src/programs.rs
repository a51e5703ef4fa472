//! The product's programs, as they stand in the checkout.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use holdfast_xtask::{checkout, command};

/// The user's command.
pub const HOLDFAST: &str = "holdfast";
/// One member.
pub const SIDECAR: &str = "holdfast-sidecar";
/// The lab of a cluster.
pub const LAB: &str = "holdfast-lab";
/// The operator.
pub const OPERATOR: &str = "holdfast-operator";

/// Bring the programs up to date and return their folder. They are built as the tests are: optimised or not. With
/// `HOLDFAST_PROGRAMS` set, those in that folder are tested as they are.
///
/// # Errors
///
/// If they do not compile.
pub fn build(programs: &[&str]) -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("HOLDFAST_PROGRAMS") {
        return Ok(folder.into());
    }
    let test = std::env::current_exe().context("cannot find this program")?;
    // A test program lies in TARGET/PROFILE/deps.
    let folder = test.parent().and_then(Path::parent).context("this program lies in no build folder")?;
    let mut cargo = command::cargo(["build", "--quiet"]);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    cargo.args(programs.iter().map(|program| format!("--bin={program}"))).current_dir(checkout());
    command::capture(&mut cargo).context("the programs do not compile")?;
    Ok(folder.to_owned())
}
