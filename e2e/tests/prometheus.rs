//! What an operator of stores looks at: a real Prometheus watches a real store, every panel of every dashboard shows
//! something, and every alert is a rule that Prometheus can evaluate on metrics that exist.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use holdfast_e2e::http::Http;
use holdfast_e2e::laptop::{Laptop, free_ports};
use holdfast_e2e::load::Load;
use holdfast_e2e::suite::{self, LeftOut, Test, note};
use holdfast_e2e::{programs, runtime, wait};
use holdfast_xtask::{checkout, command, packages};
use reqwest::Url;
use rustix::process::Signal;
use serde_json::{Value, json};

const TESTS: &[Test<Watched>] = &[
    ("alerts_are_valid_and_fire_when_they_should", |_| alerts_pass_promtool()),
    ("every_panel_shows_data_of_a_running_store", panels_show_data),
    ("every_alert_is_evaluated_on_metrics_that_exist", alerts_are_evaluated),
];

/// A store that does everything that is drawn: it replicates and takes checkpoints.
const MANIFEST: &str = "apiVersion: holdfast.dev/v1alpha1
kind: ReplicatedStore
metadata: {name: orders}
spec: {replicas: 3, strategy: Hybrid, checkpoint: {interval: 10s, retain: 2}}
";

/// How long it may take until a rate over several scrapes can be computed for everything.
const DATA_WAIT_MAX: Duration = Duration::from_secs(90);

/// Metrics of the operator, which does not run here; the tests on Kubernetes look at them.
const OPERATORS_METRICS: [&str; 2] = ["holdfast_operator_", "holdfast_store_"];

fn main() -> ExitCode {
    suite::run(TESTS, Watched::start, |_| Ok(()))
}

/// A store under load, and a Prometheus that scrapes its members every second.
struct Watched {
    prometheus: Child,
    url: String,
    http: Http,
    _load: Load,
    _store: Laptop,
    lab: Lab,
    _folder: tempfile::TempDir,
}

/// A lab that experiments on stores of its own.
struct Lab {
    process: Child,
    url: String,
}

impl Watched {
    fn start() -> anyhow::Result<Watched> {
        packages::ensure(packages::PROMETHEUS).map_err(|error| LeftOut(format!("{error:#}")))?;
        let store = Laptop::up(MANIFEST)?;
        let folder = tempfile::tempdir()?;
        let port = free_ports(1)?;
        let lab = Lab::start(folder.path())?;
        fs::write(folder.path().join("prometheus.yaml"), settings(&store, &lab))?;
        let log = fs::File::create(folder.path().join("log"))?;
        let mut prometheus = Command::new("prometheus");
        prometheus
            .arg("--config.file=prometheus.yaml")
            .arg("--storage.tsdb.path=data")
            .current_dir(folder.path());
        prometheus.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let prometheus = prometheus.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let load = Load::start(&store.bases(), "load/", 4);
        let http = Http::default();
        let watched = Watched {
            prometheus,
            url: format!("http://127.0.0.1:{port}"),
            http,
            _load: load,
            _store: store,
            lab,
            _folder: folder,
        };
        watched.give_it_something_to_show()?;
        Ok(watched)
    }

    /// A failover, a checkpoint, and an experiment; the load does the rest.
    fn give_it_something_to_show(&self) -> anyhow::Result<()> {
        let store = &self._store;
        wait::until("Prometheus answers", DATA_WAIT_MAX, || {
            runtime().block_on(self.http.text(&format!("{}/-/ready", self.url)))
        })?;
        let leader = store.wait_until_ready()?;
        store.signal(leader.member, Signal::KILL)?;
        let leader = store.wait_until_ready()?;
        let checkpoint = format!("http://127.0.0.1:{}/v1/checkpoint", store.port(leader.member) + 2);
        runtime().block_on(async { self.http.raw().post(checkpoint).send().await?.error_for_status() })?;
        let run = format!("{}/api/fault-tolerance/run-experiment", self.lab.url);
        let body = json!({"strategy": "replication", "data_items": 100}).to_string();
        runtime()
            .block_on(async { self.http.raw().post(run).body(body).send().await?.error_for_status() })?;
        Ok(())
    }

    /// Upload a file and read it.
    fn keep_a_file(&self) -> anyhow::Result<()> {
        let url = format!("{}/files/note", self._store.base(0));
        runtime().block_on(async {
            self.http.raw().put(&url).body("text").send().await?.error_for_status()?;
            self.http.raw().get(&url).send().await?.error_for_status()?.bytes().await?;
            Ok(())
        })
    }

    /// What Prometheus answers to a query: the series with a value that is a number.
    fn query(&self, expression: &str) -> anyhow::Result<Vec<Value>> {
        let url = Url::parse_with_params(&format!("{}/api/v1/query", self.url), [("query", expression)])?;
        let body = runtime().block_on(async { self.http.raw().get(url).send().await?.text().await })?;
        let answer: Value = serde_json::from_str(&body).with_context(|| format!("{expression}: {body}"))?;
        ensure!(answer["status"] == "success", "{expression}: {body}");
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        Ok(series
            .into_iter()
            .filter(|one| one["value"][1].as_str().is_some_and(|value| value != "NaN"))
            .collect())
    }
}

impl Lab {
    fn start(folder: &Path) -> anyhow::Result<Lab> {
        let program = programs::build(&[programs::HOLDFAST])?.join(programs::HOLDFAST);
        let mut process = Command::new(program)
            .args(["lab", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.join("lab"))
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("it is a pipe")?).read_line(&mut line)?;
        let url = line.split_whitespace().last().context("the lab did not start")?;
        let url = url.strip_suffix("/api/fault-tolerance").context("it says where it is")?.to_owned();
        Ok(Lab { process, url })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.prometheus.kill();
        let _ = self.prometheus.wait();
    }
}

fn alerts_pass_promtool() -> anyhow::Result<()> {
    let folder = checkout().join("dashboards");
    let said = command::capture(
        Command::new("promtool").args(["check", "rules", "alerts.yaml"]).current_dir(&folder),
    )?;
    note(format_args!("{}", said.trim().replace('\n', "; ")));
    command::capture(
        Command::new("promtool").args(["test", "rules", "alerts_test.yaml"]).current_dir(&folder),
    )?;
    Ok(())
}

fn panels_show_data(watched: &mut Watched) -> anyhow::Result<()> {
    let mut queries = Vec::new();
    for dashboard in dashboards()? {
        let text = fs::read_to_string(&dashboard)?;
        let value: Value = serde_json::from_str(&text).with_context(|| dashboard.display().to_string())?;
        collect_queries(&value, "", &mut queries);
    }
    let all = queries.len();
    queries.retain(|(_, query)| !OPERATORS_METRICS.iter().any(|metric| query.contains(metric)));
    ensure!(queries.len() > 20, "only {} of {all} queries are about stores", queries.len());
    let mut missing = queries.clone();
    let (_, took) = wait::until("every panel shows data", DATA_WAIT_MAX, || {
        // Some rates are of what happens now and then.
        watched.keep_a_file()?;
        let mut still = Vec::new();
        for (panel, query) in &missing {
            if watched.query(query)?.is_empty() {
                still.push((panel.clone(), query.clone()));
            }
        }
        missing = still;
        ensure!(
            missing.is_empty(),
            "{} of {} queries return nothing: {missing:#?}",
            missing.len(),
            queries.len()
        );
        Ok(())
    })?;
    note(format_args!("{} queries return data, the last after {took:.0?}", queries.len()));
    Ok(())
}

fn alerts_are_evaluated(watched: &mut Watched) -> anyhow::Result<()> {
    let url = format!("{}/api/v1/rules", watched.url);
    let rules = || -> anyhow::Result<Vec<Value>> {
        let answer: Value = serde_json::from_str(&runtime().block_on(watched.http.text(&url))?)?;
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        Ok(groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect())
    };
    let (rules, _) = wait::until("every alert is evaluated", DATA_WAIT_MAX, || {
        let rules = rules()?;
        ensure!(!rules.is_empty(), "there are no rules");
        let sick: Vec<&Value> = rules.iter().filter(|rule| rule["health"] != "ok").collect();
        ensure!(sick.is_empty(), "rules that are not well: {sick:?}");
        Ok(rules)
    })?;
    let mut unknown = BTreeSet::new();
    for rule in &rules {
        for metric in metrics(rule["query"].as_str().unwrap_or_default()) {
            if !OPERATORS_METRICS.iter().any(|prefix| metric.starts_with(prefix))
                && watched.query(&metric)?.is_empty()
            {
                unknown.insert(metric);
            }
        }
    }
    ensure!(unknown.is_empty(), "alerts ask for metrics that no member has: {unknown:?}");
    note(format_args!("{} alerts are evaluated", rules.len()));
    Ok(())
}

/// The settings of Prometheus: every member with the labels that it would have as a pod, the lab too, and the alerts.
fn settings(store: &Laptop, lab: &Lab) -> String {
    let targets: Vec<Value> = (0..3)
        .map(|member| {
            let pod = format!("{}-{member}", store.store());
            let address = format!("127.0.0.1:{}", store.port(member) + 2);
            json!({"targets": [address], "labels": {"namespace": "default", "pod": pod, "container": "holdfast"}})
        })
        .collect();
    let lab = json!({
        "targets": [lab.url.trim_start_matches("http://")], "labels": {"namespace": "holdfast-system", "pod": "holdfast-lab-0"},
    });
    json!({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [checkout().join("dashboards/alerts.yaml")],
        "scrape_configs": [
            {"job_name": "holdfast", "static_configs": targets},
            {"job_name": "lab", "static_configs": [lab]},
        ],
    })
    .to_string()
}

fn dashboards() -> anyhow::Result<Vec<PathBuf>> {
    let folder = checkout().join("dashboards");
    let paths = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    let is_json = |path: &PathBuf| Path::extension(path).is_some_and(|extension| extension == "json");
    let dashboards: Vec<PathBuf> = paths.into_iter().filter(is_json).collect();
    ensure!(!dashboards.is_empty(), "there is no dashboard in {}", folder.display());
    Ok(dashboards)
}

/// All queries below a value, each with the title of the panel that it is for, and its variables filled in as Grafana
/// does when everything is selected.
fn collect_queries(value: &Value, panel: &str, queries: &mut Vec<(String, String)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_queries(item, panel, queries)),
        Value::Object(fields) => {
            let panel = fields.get("title").and_then(Value::as_str).unwrap_or(panel);
            if let Some(query) = fields.get("expr").and_then(Value::as_str) {
                let query = query.replace("$__rate_interval", "1m").replace("$__range", "1m");
                let query = ["$namespace", "$store", "$pod"]
                    .iter()
                    .fold(query, |query, name| query.replace(name, ".*"));
                queries.push((panel.to_owned(), query));
            }
            fields.values().for_each(|field| collect_queries(field, panel, queries));
        }
        _ => {}
    }
}

/// The metrics of ours that an expression names.
fn metrics(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("holdfast_")).map(str::to_owned).collect()
}
