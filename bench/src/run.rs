//! One run: the programs, the folder, the parts in order, the report.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::arguments::Arguments;
use crate::figure::Results;
use crate::floor::Floor;
use crate::machine;
use crate::scenario::{Bench, Part};
use crate::system::{Programs, System};
use crate::{leftovers, load, report, say};

/// Measure what the arguments ask for, and write the report. It is a success if every figure of Holdfast is there: a goal
/// that is missed is a result, and so is a peer that could not be measured; the report says both.
///
/// # Errors
///
/// If a program is missing and cannot be built, or the report cannot be written. What fails while it is measured is in
/// the report.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let out = out(arguments);
    if let Some(file) = &arguments.render {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        report::write(&serde_json::from_str(&text)?, &out)?;
        return Ok(ExitCode::SUCCESS);
    }
    leftovers::watch()?;
    let begin = Instant::now();
    let plan = arguments.plan();
    let most_clients = plan.loads.iter().flat_map(|(_, clients)| clients).max().copied().unwrap_or(0);
    load::allow_open_files(2 * most_clients)?;
    let programs = programs()?;
    let mut folder = tempfile::Builder::new();
    folder.prefix("holdfast-bench-");
    let folder = match &arguments.data {
        Some(data) => folder.tempdir_in(data),
        None => folder.tempdir(),
    };
    let folder = folder.context("cannot make a folder for the members' data")?;
    leftovers::folder(folder.path());
    let results = Results {
        date: jiff::Zoned::now().strftime("%Y-%m-%d %H:%M %:z").to_string(),
        seconds: 0.0,
        command: command(),
        machine: machine::read(folder.path())?,
        repetitions: plan.repetitions,
        systems: Vec::new(),
        floors: Vec::new(),
        loads: Vec::new(),
        outages: Vec::new(),
        memory: Vec::new(),
        starts: Vec::new(),
        checkpoints: Vec::new(),
        files: Vec::new(),
        rsync: None,
        missing: Vec::new(),
    };
    let mut bench = Bench { plan, programs, data: folder.path().to_owned(), results };
    if !bench.plan.parts.contains(&Part::Loads) {
        // The loads measure it in every repetition.
        bench.results.floors.push(Floor::measure(&bench.data)?);
    }
    for part in bench.plan.parts.clone() {
        let part_begin = Instant::now();
        bench.run(part);
        say(format_args!("part {part:?}: {:.0} s", part_begin.elapsed().as_secs_f64()));
        bench.results.seconds = begin.elapsed().as_secs_f64();
        // What is measured is not lost if something later goes wrong.
        report::write(&bench.results, &out)?;
    }
    say(format_args!("{:.0} s; the report is in {}", bench.results.seconds, out.display()));
    report::say_targets(&bench.results);
    for missing in &bench.results.missing {
        say(format_args!("MISSING: {missing}"));
    }
    let own = System::Holdfast.title();
    if bench.results.missing.iter().any(|missing| missing.starts_with(own)) {
        say(format_args!("figures of {own} are missing"));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// What this program was asked, for the report.
fn command() -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let dashes = if words.is_empty() { "" } else { " -- " };
    format!("cargo run --release -p holdfast-bench{dashes}{}", words.join(" "))
}

/// The folder that this program was built from.
fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate's folder lies in the checkout")
}

fn out(arguments: &Arguments) -> PathBuf {
    let whole = !arguments.quick;
    let usual = checkout().join(if whole { "docs/performance" } else { "target/bench" });
    arguments.out.clone().unwrap_or(usual)
}

/// Cargo, without what it told this program of its crate: build scripts look at that too, and would have everything above them
/// compiled again.
fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments);
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Bring everything up to date that is measured. With `HOLDFAST_PROGRAMS` set, the members of Holdfast in that folder are
/// measured as they are.
fn programs() -> anyhow::Result<Programs> {
    let folder = match std::env::var_os("HOLDFAST_PROGRAMS") {
        Some(folder) => PathBuf::from(folder),
        None => {
            say(format_args!("compiling holdfast-sidecar"));
            let mut build = cargo(&["build", "--quiet", "--release", "--package=holdfast-sidecar"]);
            let status = build.current_dir(checkout()).status().context("cannot start cargo")?;
            if !status.success() {
                bail!("holdfast-sidecar does not compile");
            }
            let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
            target.unwrap_or_else(|| checkout().join("target")).join("release")
        }
    };
    let mut peers = cargo(&["xtask", "bench-tools"]);
    peers.current_dir(checkout()).stderr(Stdio::inherit());
    let peers = peers.output().context("cannot start cargo xtask")?;
    if !peers.status.success() {
        bail!("the systems to compare with are not here; cargo xtask bench-tools says why");
    }
    let tools = String::from_utf8(peers.stdout).context("cargo xtask bench-tools prints a folder")?;
    Ok(Programs {
        sidecar: folder.join("holdfast-sidecar"),
        tools: tools.trim().into(),
        redis: "/usr/bin/redis-server".into(),
        rsync: "/usr/bin/rsync".into(),
    })
}
