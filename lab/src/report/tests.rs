//! Reports of made-up results, compared byte for byte with those in `testdata/`. After a change of how they look:
//! `UPDATE=1 cargo test -p holdfast-lab report`, and read the difference.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::Measurement;
use crate::results;

fn testdata(name: &str) -> std::path::PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata")).join(name)
}

fn report() -> Report {
    let results = results::read(&testdata("results.csv")).expect("results");
    Report::of(results.runs, None).expect("a report")
}

fn check(name: &str, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(testdata(name), text).expect("it is written");
    }
    assert_eq!(text, fs::read_to_string(testdata(name)).expect("testdata"), "{name}");
}

/// As [`check`], but for the last digits of numbers, which are another build's to decide: features of what the workspace
/// shares change how logarithms are computed.
fn check_json(name: &str, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(testdata(name), text).expect("it is written");
    }
    let read = |text: &str| serde_json::from_str(text).expect("JSON");
    let expected: Value = read(&fs::read_to_string(testdata(name)).expect("testdata"));
    same(name, &read(text), &expected);
}

fn same(place: &str, value: &Value, expected: &Value) {
    match (value, expected) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().expect("a number"), b.as_f64().expect("a number"));
            assert!((a - b).abs() <= 1e-9 * a.abs().max(b.abs()), "{place}: {a} was {b}");
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{place}");
            a.iter().zip(b).enumerate().for_each(|(at, (a, b))| same(&format!("{place}[{at}]"), a, b));
        }
        (Value::Object(a), Value::Object(b)) => {
            assert!(a.keys().eq(b.keys()), "{place}: other fields");
            a.iter().for_each(|(key, a)| same(&format!("{place}.{key}"), a, &b[key]));
        }
        _ => assert_eq!(value, expected, "{place}"),
    }
}

#[test]
fn reports_look_as_they_did() {
    let report = report();
    check("report.txt", &report.render(Form::Terminal));
    check("report.md", &report.render(Form::Markdown));
    check("report.html", &report.render(Form::Html));
    check_json("report.json", &format!("{}\n", serde_json::to_string_pretty(&report).expect("JSON")));
}

#[test]
fn the_page_fetches_nothing_and_runs_nothing() {
    let page = report().render(Form::Html);
    for word in ["<script", "src=", "@import", "url(", "<link", "javascript:"] {
        assert!(!page.contains(word), "{word}");
    }
    // The one address is the name of SVG's language, which nobody fetches.
    assert_eq!(page.matches("http://").count(), page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count());
    assert!(page.contains("prefers-color-scheme") && page.contains("width=device-width"));
    assert!(page.matches("<svg").count() >= 2);
}

fn run(name: &str, strategy: &str, run_id: u32, recovery: f64, rate: f64) -> Run {
    let measurement =
        Measurement { recovery_time_seconds: recovery, data_recovery_rate: rate, ..Measurement::default() };
    Run {
        config_name: name.to_owned(),
        strategy: strategy.to_owned(),
        run_id,
        timestamp: Timestamp::UNIX_EPOCH,
        measurement,
    }
}

#[test]
fn names_cannot_get_out_of_their_place() {
    let name = "<img src=x>|`\u{1b}[31m";
    let runs = vec![run(name, "replication", 1, 0.1, 100.0), run("b", "replication", 1, 0.2, 100.0)];
    let report = Report::of(runs, None).expect("a report");
    assert!(!report.render(Form::Html).contains("<img"));
    assert!(!report.render(Form::Terminal).contains('\u{1b}'));
    assert!(report.render(Form::Markdown).contains("\\<img src=x>\\|\\`"));
}

#[test]
fn few_runs_and_equal_ones_are_reported_without_a_panic() {
    let check = |runs: Vec<Run>| {
        let report = Report::of(runs, None).expect("a report");
        for form in [Form::Terminal, Form::Markdown, Form::Html] {
            let text = report.render(form);
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        }
        report
    };
    let one = check(vec![run("a", "replication", 1, 0.1, 100.0)]);
    assert!(one.recommendations.iter().any(|one| one.purpose == Purpose::Caution));
    check((1..=20).map(|at| run("a", "replication", at, 0.0, 100.0)).collect());
    check((1..=20).flat_map(|at| ["a", "b"].map(|name| run(name, "replication", at, 0.5, 0.0))).collect());
    assert!(matches!(Report::of(Vec::new(), None), Err(ReportError::NoRuns)));
    let nan = vec![run("a", "replication", 1, f64::NAN, 100.0)];
    assert!(matches!(Report::of(nan, None), Err(ReportError::NoFigure { .. })));
}

#[test]
fn what_lost_something_is_not_recommended_for_keeping() {
    let choice = |runs: Vec<Run>| {
        let report = Report::of(runs, None).expect("a report");
        let first = report.recommendations.into_iter().next().expect("a recommendation");
        assert_eq!(first.purpose, Purpose::LoseNothing);
        first.choice
    };
    let runs = |rate: f64| {
        let fast = (1..=20).map(move |at| run("fast", "replication", at, 0.001 * f64::from(at), rate));
        fast.chain((1..=20).map(|at| run("slow", "hybrid", at, 1.0 + 0.001 * f64::from(at), 100.0))).collect()
    };
    assert_eq!(choice(runs(100.0)).as_deref(), Some("fast"));
    assert_eq!(choice(runs(99.0)).as_deref(), Some("slow"));
    assert_eq!(choice(vec![run("all", "baseline", 1, 0.1, 0.0)]), None);
    // Two runs cannot tell the slow from the fast, whatever it costs.
    let few = |name: &str, seconds: f64, latency: f64| {
        [1, 2].map(|run_id| {
            let mut run = run(name, "replication", run_id, seconds * f64::from(run_id), 100.0);
            run.measurement.write_latency_p50_seconds = Some(latency);
            run
        })
    };
    let runs = [few("fast", 0.01, 0.002), few("slow", 0.5, 0.001)].concat();
    assert_eq!(choice(runs).as_deref(), Some("fast"));
    // A checkpoint right before the failure keeps everything, but not by the strategy's own doing.
    let mut triggered = run("c", "checkpointing", 1, 0.1, 100.0);
    triggered.measurement.checkpoint_triggered = Some(true);
    assert_eq!(choice(vec![triggered]), None);
}

#[test]
fn other_sizes_and_other_failures_are_not_one_sample() {
    let mut runs = Vec::new();
    for (items, seconds) in [(100, 0.01), (100_000, 1.0)] {
        for (failure, lost) in [(FailureKind::Leader, false), (FailureKind::Total, true)] {
            for run_id in 1..=12 {
                let rate = if lost { 0.0 } else { 100.0 };
                let mut run = run("a", "replication", run_id, seconds + 0.001 * f64::from(run_id), rate);
                run.measurement.data_items = Some(items);
                run.measurement.failure_type = Some(failure);
                runs.push(run);
            }
        }
    }
    let report = Report::of(runs, None).expect("a report");
    let names: Vec<&str> = report.configurations.iter().map(|one| &*one.name).collect();
    let expected =
        ["a, 100 items, leader", "a, 100 items, total", "a, 100000 items, leader", "a, 100000 items, total"];
    assert_eq!(names, expected);
    assert!(report.configurations.iter().all(|one| one.recovery_seconds.count == 12));
    let choices: Vec<Option<&str>> = report.recommendations.iter().map(|one| one.choice.as_deref()).collect();
    assert_eq!(choices[..2], [Some("a, 100000 items, leader"), None]);
    assert!(report.render(Form::Html).contains("<polyline"));
}
