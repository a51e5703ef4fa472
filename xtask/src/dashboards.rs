//! The Grafana dashboards, written down as panels and turned into Grafana's classic JSON (schema version 39).
//!
//! What it refuses to do: name a metric that no member exports (a test compares with the member's own reference), ask for
//! downloads (`__inputs`), or depend on one data source's name.

mod lab;
mod store;

use serde_json::{Value, json};

/// Grafana's grid is 24 columns wide.
const COLUMNS: u32 = 24;

/// What every query about a store selects by; the variables are declared in [`variables`].
const SELECT: &str = r#"namespace=~"$namespace",store=~"$store",pod=~"$pod""#;

/// What every query about experiments selects by: namespace and pod are the lab's own.
const SELECT_LAB: &str = r#"namespace=~"$namespace",pod=~"$pod""#;

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One figure.
    Stat,
    /// Lines over time.
    Lines,
    /// Coloured bars, one per state, over time.
    States,
}

/// One panel: a question, and the queries that answer it.
#[derive(Debug)]
struct Panel {
    title: &'static str,
    /// What the figure means and when to worry.
    description: &'static str,
    kind: Kind,
    /// Grafana's name of the unit.
    unit: &'static str,
    width: u32,
    /// (query with `{}` where the selector goes, legend)
    queries: &'static [(&'static str, &'static str)],
}

/// A named row of panels.
#[derive(Debug)]
struct Row {
    title: &'static str,
    panels: &'static [Panel],
}

/// The store overview: leader, members, lag, latencies, checkpoints, failovers.
pub fn store() -> Value {
    let description =
        "One replicated store: its leader, its members, how far they are apart, and how long its disks take.";
    dashboard("store", "Store", description, variables(), panels(store::ROWS, SELECT))
}

/// Failure experiments: how far they are, how fast stores come back, what is lost.
pub fn lab() -> Value {
    let description = "Failure experiments: how far they are, how fast stores of each strategy come back, and what is lost.";
    dashboard("lab", "Experiments", description, lab_variables(), panels(lab::ROWS, SELECT_LAB))
}

fn dashboard(name: &str, title: &str, description: &str, variables: Value, panels: Vec<Value>) -> Value {
    sorted(json!({
        "uid": format!("holdfast-{name}"),
        "title": format!("Holdfast / {title}"),
        "description": description,
        "tags": ["holdfast"],
        "schemaVersion": 39,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": variables},
        "annotations": {"list": []},
        "links": [],
        "panels": panels,
    }))
}

/// The file's text: pretty, keys sorted, one newline at the end.
pub fn text(dashboard: &Value) -> String {
    let mut text = serde_json::to_string_pretty(dashboard).expect("a JSON value can always be written");
    text.push('\n');
    text
}

/// Every query of a dashboard as (panel title, query), with the variables replaced so that they select everything.
pub fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().into_iter().flatten() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap_or_default();
            let query = ["$namespace", "$store", "$pod"]
                .iter()
                .fold(query.to_owned(), |query, variable| query.replace(variable, ".*"))
                .replace("$__rate_interval", "1m");
            found.push((panel["title"].as_str().unwrap_or_default().to_owned(), query));
        }
    }
    found
}

fn variables() -> Value {
    json!([
        data_source(),
        query("namespace", "Namespace", "label_values(holdfast_member_info, namespace)"),
        query("store", "Store", r#"label_values(holdfast_member_info{namespace=~"$namespace"}, store)"#),
        query(
            "pod",
            "Pod",
            r#"label_values(holdfast_member_info{namespace=~"$namespace",store=~"$store"}, pod)"#,
        ),
    ])
}

fn lab_variables() -> Value {
    json!([
        data_source(),
        query("namespace", "Namespace of the lab", "label_values(holdfast_lab_run_under_way, namespace)"),
        query("pod", "Lab", r#"label_values(holdfast_lab_run_under_way{namespace=~"$namespace"}, pod)"#),
    ])
}

fn data_source() -> Value {
    json!({
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "current": {},
        "hide": 0,
        "includeAll": false,
        "multi": false,
        "options": [],
        "regex": "",
        "skipUrlSync": false,
    })
}

fn query(name: &str, label: &str, query: &str) -> Value {
    json!({
        "name": name,
        "label": label,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": "StandardVariableQuery"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": name == "pod",
        "includeAll": true,
        // `.*` also matches series without the label, so that a Prometheus beside a laptop's store works too.
        "allValue": ".*",
        "current": {"selected": true, "text": "All", "value": "$__all"},
        "hide": 0,
        "options": [],
        "regex": "",
        "skipUrlSync": false,
    })
}

fn panels(rows: &[Row], selector: &str) -> Vec<Value> {
    let mut laid_out = Vec::new();
    let mut y = 0;
    for row in rows {
        laid_out.push(json!({
            "id": laid_out.len() + 1,
            "type": "row",
            "title": row.title,
            "collapsed": false,
            "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            "panels": [],
        }));
        y += 1;
        let mut x = 0;
        for panel in row.panels {
            if x + panel.width > COLUMNS {
                x = 0;
                y += panel.kind.height();
            }
            let mut json = panel.json(laid_out.len() + 1, selector);
            json["gridPos"] = json!({"x": x, "y": y, "w": panel.width, "h": panel.kind.height()});
            laid_out.push(json);
            x += panel.width;
        }
        y += row.panels.last().map_or(0, |panel| panel.kind.height());
    }
    laid_out
}

impl Kind {
    fn height(self) -> u32 {
        match self {
            Kind::Stat => 4,
            Kind::Lines | Kind::States => 8,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Stat => "stat",
            Kind::Lines => "timeseries",
            Kind::States => "state-timeline",
        }
    }

    fn options(self) -> Value {
        match self {
            Kind::Stat => json!({
                "colorMode": "value",
                "graphMode": "none",
                "justifyMode": "auto",
                "orientation": "auto",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
                "textMode": "auto",
            }),
            Kind::Lines => json!({
                "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": true},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }),
            Kind::States => json!({
                "alignValue": "left",
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": false},
                "mergeValues": true,
                "rowHeight": 0.9,
                "showValue": "never",
                "tooltip": {"mode": "single", "sort": "none"},
            }),
        }
    }
}

impl Panel {
    fn json(&self, id: usize, selector: &str) -> Value {
        let source = json!({"type": "prometheus", "uid": "${datasource}"});
        let targets: Vec<Value> = self
            .queries
            .iter()
            .enumerate()
            .map(|(i, (query, legend))| {
                json!({
                    "refId": char::from(b'A' + i as u8).to_string(),
                    "datasource": source,
                    "expr": select(query, selector),
                    "legendFormat": legend,
                    "editorMode": "code",
                    "range": true,
                })
            })
            .collect();
        json!({
            "id": id,
            "type": self.kind.name(),
            "title": self.title,
            "description": self.description,
            "datasource": source,
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit,
                    "mappings": self.mappings(),
                    "thresholds": {"mode": "absolute", "steps": self.thresholds()},
                    "custom": self.custom(),
                },
                "overrides": [],
            },
            "options": self.kind.options(),
            "targets": targets,
        })
    }

    /// Figures that mean "nothing" are shown as that.
    fn mappings(&self) -> Value {
        let none = |value: &str| json!([{"type": "value", "options": {value: {"text": "none", "index": 0}}}]);
        match self.title {
            "Leader" => none("-1"),
            "Last checkpoint" => none("0"),
            _ => json!([]),
        }
    }

    fn thresholds(&self) -> Value {
        match self.title {
            "Leader" => json!([{"color": "red", "value": null}, {"color": "green", "value": 0}]),
            "Space used of the quota" => json!([
                {"color": "green", "value": null},
                {"color": "orange", "value": 0.8},
                {"color": "red", "value": 0.95},
            ]),
            _ if self.kind == Kind::States => {
                json!([{"color": "#4d5b6a", "value": null}, {"color": "green", "value": 1}])
            }
            _ => json!([{"color": "green", "value": null}]),
        }
    }

    fn custom(&self) -> Value {
        match self.kind {
            Kind::Stat => json!({}),
            Kind::Lines => {
                json!({"drawStyle": "line", "fillOpacity": 5, "lineWidth": 1, "showPoints": "never"})
            }
            Kind::States => json!({"fillOpacity": 70, "lineWidth": 0}),
        }
    }
}

/// Puts the selector into every pair of braces that follows a metric's name: `{}` and `{own="label",}`.
fn select(query: &str, selector: &str) -> String {
    query.replace("{}", &format!("{{{selector}}}")).replace(",}", &format!(",{selector}}}"))
}

/// The same value with the keys of every object in order, whatever order the JSON library keeps.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<(String, Value)> = map.into_iter().collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(pairs.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn panels_of(dashboard: &Value) -> Vec<Value> {
        let panels = dashboard["panels"].as_array().unwrap().iter();
        panels.filter(|panel| panel["type"] != "row").cloned().collect()
    }

    fn all_panels() -> Vec<Value> {
        [store(), lab()].iter().flat_map(panels_of).collect()
    }

    #[test]
    fn every_panel_says_what_it_shows_and_asks_the_chosen_data_source() {
        for panel in all_panels() {
            let title = panel["title"].as_str().unwrap();
            assert!(panel["description"].as_str().unwrap().len() > 10, "{title}");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            assert!(!panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap().is_empty(), "{title}");
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{title}");
        }
    }

    #[test]
    fn every_metric_is_selected_by_the_variables() {
        for (dashboard, selector) in [(store(), SELECT), (lab(), SELECT_LAB)] {
            for panel in panels_of(&dashboard) {
                for target in panel["targets"].as_array().unwrap() {
                    let query = target["expr"].as_str().unwrap();
                    let metrics = query.matches("holdfast_").count() + query.matches("process_").count();
                    assert_eq!(query.matches(selector).count(), metrics, "{query}");
                    assert!(!query.contains("rate(") || query.contains("$__rate_interval"), "{query}");
                }
            }
        }
    }

    #[test]
    fn panels_have_distinct_numbers_and_do_not_overlap() {
        [store(), lab()].iter().for_each(check_places);
    }

    fn check_places(dashboard: &Value) {
        let mut numbers = BTreeSet::new();
        let mut cells = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(numbers.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
            let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            assert!(place("x") + place("w") <= u64::from(COLUMNS), "{}", panel["title"]);
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(cells.insert((x, y)), "{} lies on another panel", panel["title"]);
                }
            }
        }
    }

    #[test]
    fn queries_can_be_asked_of_a_prometheus_as_they_are() {
        assert!(queries(&store()).len() > 30 && queries(&lab()).len() > 8);
        for (title, query) in queries(&store()).into_iter().chain(queries(&lab())) {
            assert!(!query.contains('$'), "{title}: {query}");
        }
    }
}
