//! The statistics against SciPy's, on the same file. It needs Python; SciPy is installed once, below the target folder, unless Python
//! has it. Where that cannot be done the test is left out, and fails in CI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use holdfast_lab::Run;
use holdfast_lab::results;
use holdfast_lab::statistics::{Comparison, Sample};
use serde_json::Value;

/// The one that is installed. Another one may be there; its figures are the same.
const SCIPY: &str = "scipy==1.16.3";

/// Longest wait for an installation: 100 MB over a slow line.
const INSTALLATION_MAX: Duration = Duration::from_secs(400);

/// Digits that are the same. Ours and SciPy's sums are rounded in another order.
const TOLERANCE: f64 = 1e-9;
/// The same for probabilities: both approximate the distributions, and far out in their tails the digits run out.
const TOLERANCE_P: f64 = 1e-6;

/// Runs a program to its end, or says why it did not get there. What it printed is the value.
fn capture(command: &mut Command, patience: Duration) -> Result<String, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = |name: &str| fs::File::create(folder.path().join(name)).map_err(|error| error.to_string());
    let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file("out")?)
        .stderr(file("err")?)
        .spawn()
        .map_err(|error| format!("cannot start {command:?}: {error}"))?;
    let begin = Instant::now();
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(text("out")),
            Some(status) => return Err(format!("{command:?} ended with {status}: {}", text("err"))),
            None if begin.elapsed() > patience => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{command:?} took more than {patience:?}"));
            }
            None => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// A Python that has SciPy.
fn python() -> Result<PathBuf, String> {
    let has_scipy = |python: &Path| {
        capture(Command::new(python).args(["-c", "import scipy.stats"]), Duration::from_secs(120)).is_ok()
    };
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scipy");
    let python = installed.join("bin/python");
    for python in [Path::new("python3"), &python] {
        if has_scipy(python) {
            return Ok(python.to_path_buf());
        }
    }
    // Whatever is there is what an interrupted installation left.
    let _ = fs::remove_dir_all(&installed);
    capture(Command::new("python3").args(["-m", "venv"]).arg(&installed), INSTALLATION_MAX)?;
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries=2", "--timeout=20"];
    capture(Command::new(&python).args(pip).arg(SCIPY), INSTALLATION_MAX)?;
    if has_scipy(&python) { Ok(python) } else { Err("SciPy is installed and cannot be imported".to_owned()) }
}

fn groups(runs: &[Run], by: fn(&Run) -> &String, figure: fn(&Run) -> f64) -> Vec<(String, Sample)> {
    let mut groups: Vec<(String, Vec<f64>)> = Vec::new();
    for run in runs {
        match groups.iter_mut().find(|(name, _)| name == by(run)) {
            Some((_, values)) => values.push(figure(run)),
            None => groups.push((by(run).clone(), vec![figure(run)])),
        }
    }
    groups.into_iter().map(|(name, values)| (name, Sample::new(values).expect("finite"))).collect()
}

fn close(what: &str, found: f64, expected: &Value, tolerance: f64) {
    let expected = expected.as_f64().unwrap_or_else(|| panic!("{what}: SciPy has {expected}"));
    let error = (found - expected).abs();
    assert!(error <= tolerance * expected.abs().max(1e-12), "{what}: {found}, and SciPy has {expected}");
}

fn check(name: &str, groups: &[(String, Sample)], scipy: &Value) {
    let ours = Comparison::of(groups);
    let names: Vec<&str> = ours.groups.iter().map(|group| &*group.name).collect();
    assert_eq!(scipy["names"], serde_json::json!(names));
    for (group, scipy) in ours.groups.iter().zip(scipy["groups"].as_array().expect("groups")) {
        let what = |figure: &str| format!("{figure} of {name} of {}", group.name);
        let summary = &group.summary;
        let interval = summary.interval.expect("several runs");
        let normality = group.normality.found().expect("it varies");
        for (figure, found) in [
            ("count", summary.count as f64),
            ("mean", summary.mean),
            ("std", summary.std.expect("several runs")),
            ("min", summary.min),
            ("median", summary.median),
            ("p95", summary.p95),
            ("max", summary.max),
        ] {
            close(&what(figure), found, &scipy[figure], TOLERANCE);
        }
        close(&what("low"), interval.low, &scipy["low"], 1e-7);
        close(&what("high"), interval.high, &scipy["high"], 1e-7);
        // Both follow Royston; SciPy takes the normal scores from a shorter table.
        close(&what("w"), normality.w, &scipy["w"], 1e-6);
        close(&what("normal_p"), normality.p, &scipy["normal_p"], 1e-4);
    }
    let anova = ours.anova.found().expect("it varies");
    close("F", anova.f, &scipy["f"], TOLERANCE);
    close("p of F", anova.p, &scipy["f_p"], TOLERANCE_P);
    close("eta squared", anova.eta_squared, &scipy["eta_squared"], TOLERANCE);
    let ranks = ours.kruskal_wallis.found().expect("it varies");
    close("H", ranks.h, &scipy["h"], TOLERANCE);
    close("p of H", ranks.p, &scipy["h_p"], TOLERANCE_P);
    let variances = ours.variances.found().expect("it varies");
    close("F of the spreads", variances.f, &scipy["variances_f"], TOLERANCE);
    close("p of the spreads", variances.p, &scipy["variances_p"], TOLERANCE_P);
    let pairs = scipy["pairs"].as_array().expect("pairs");
    assert_eq!(ours.pairs.len(), pairs.len());
    for (pair, scipy) in ours.pairs.iter().zip(pairs) {
        let what = |figure: &str| format!("{figure} of {name} of {} and {}", pair.first, pair.second);
        let welch = pair.welch.found().expect("they vary");
        let ranks = pair.mann_whitney.found().expect("they vary");
        for (figure, found, tolerance) in [
            ("t", welch.t, 1e-8),
            ("freedom", welch.freedom, TOLERANCE),
            ("cohen_d", welch.cohen_d, 1e-8),
            ("u", ranks.u, TOLERANCE),
            ("welch_p", welch.p, TOLERANCE_P),
            ("ranks_p", ranks.p, TOLERANCE_P),
            ("welch_holm", pair.welch_holm.expect("tested"), TOLERANCE_P),
            ("ranks_holm", pair.mann_whitney_holm.expect("tested"), TOLERANCE_P),
        ] {
            close(&what(figure), found, &scipy[figure], tolerance);
        }
    }
}

#[test]
fn figures_are_those_of_scipy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = match python() {
        Ok(python) => python,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "left out, because there is no SciPy: {error}");
            return;
        }
    };
    let table = folder.join("testdata/results.csv");
    let mut script = Command::new(python);
    script.arg(folder.join("tests/reference.py")).arg(&table);
    let printed = capture(&mut script, Duration::from_secs(120)).expect("SciPy's figures");
    let scipy: Value = serde_json::from_str(&printed).expect("JSON");
    let runs = results::read(&table).expect("results").runs;
    let few: Vec<Run> = runs.iter().filter(|run| run.run_id <= 5).cloned().collect();
    let recovery = |run: &Run| run.measurement.recovery_time_seconds;
    check("recovery", &groups(&runs, |run| &run.config_name, recovery), &scipy["recovery"]);
    check("recovery", &groups(&runs, |run| &run.strategy, recovery), &scipy["recovery_by_strategy"]);
    check("recovery", &groups(&few, |run| &run.config_name, recovery), &scipy["recovery_of_five"]);
    let store = |run: &Run| run.measurement.store_time_seconds;
    check("storing", &groups(&runs, |run| &run.config_name, store), &scipy["store"]);
}
