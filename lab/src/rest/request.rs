//! Bodies of requests, and what is said of wrong ones: a list in the form that FastAPI has for it. Everything that is wrong is said at once.

use holdfast_api::{Span, Strategy};
use serde_json::{Map, Value, json};

use super::catalogue::STRATEGIES;
use crate::{Configuration, FailureKind, ITEMS_DEFAULT, Protocol};

/// Most items of one experiment: ten times the largest of the plan, and some 100 MB.
const ITEMS_MAX: u64 = 1_000_000;
/// A day, as the settings have it.
const INTERVAL_MAX: u64 = 86_400;
/// Most members of a store.
const REPLICAS_MAX: u64 = holdfast_api::names::REPLICAS_MAX as u64;

/// What is wrong with a request: the `detail` of the answer.
pub(super) type Wrong = Vec<Value>;

/// The fields of a body, and what is wrong with them so far.
struct Fields {
    all: Map<String, Value>,
    wrong: Wrong,
}

impl Fields {
    fn read(body: &[u8]) -> Result<Fields, Wrong> {
        let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
        let value: Value = serde_json::from_slice(body).map_err(|error| {
            vec![json!({
                "type": "json_invalid", "loc": ["body", error.column()], "msg": "JSON decode error", "input": {},
                "ctx": {"error": error.to_string()},
            })]
        })?;
        match value {
            Value::Object(all) => Ok(Fields { all, wrong: Vec::new() }),
            other => Err(vec![json!({
                "type": "model_attributes_type", "loc": ["body"], "msg": "Input should be a valid dictionary or object to extract fields from",
                "input": other,
            })]),
        }
    }

    /// A field that may be left out; `null` is the same.
    fn get(&self, name: &str) -> Option<Value> {
        self.all.get(name).filter(|value| !value.is_null()).cloned()
    }

    fn add(&mut self, kind: &str, name: &str, msg: impl Into<String>, input: Value) {
        self.wrong.push(json!({"type": kind, "loc": ["body", name], "msg": msg.into(), "input": input}));
    }

    fn missing(&mut self, name: &str) {
        let input = Value::Object(self.all.clone());
        self.add("missing", name, "Field required", input);
    }

    fn number(&mut self, name: &str, default: u64, min: u64, max: u64) -> u64 {
        let Some(value) = self.get(name) else { return default };
        // As pydantic has it: 30, 30.0 and "30" are the same number.
        let number = match &value {
            Value::Number(number) => {
                number.as_i64().or_else(|| number.as_f64().filter(|n| n.fract() == 0.0).map(|n| n as i64))
            }
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number {
            None => self.add("int_parsing", name, "Input should be a valid integer", value),
            Some(number) if number < min as i64 => {
                self.add(
                    "greater_than_equal",
                    name,
                    format!("Input should be greater than or equal to {min}"),
                    value,
                );
            }
            Some(number) if number as u64 > max => {
                self.add(
                    "less_than_equal",
                    name,
                    format!("Input should be less than or equal to {max}"),
                    value,
                );
            }
            Some(number) => return number as u64,
        }
        default
    }

    fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.get(name) {
            None => default,
            Some(Value::Bool(flag)) => flag,
            Some(other) => {
                self.add("bool_parsing", name, "Input should be a valid boolean", other);
                default
            }
        }
    }

    fn strategy(&mut self) -> Strategy {
        let names = "Input should be 'baseline', 'checkpointing', 'replication' or 'hybrid'";
        let Some(value) = self.get("strategy") else {
            self.missing("strategy");
            return Strategy::Baseline;
        };
        let found = STRATEGIES.iter().find(|(name, _)| value.as_str() == Some(name));
        match found {
            Some((_, strategy)) => *strategy,
            None => {
                self.add("enum", "strategy", names, value);
                Strategy::Baseline
            }
        }
    }

    fn failure(&mut self, default: FailureKind) -> FailureKind {
        let Some(value) = self.get("failure_type") else { return default };
        match value.as_str().map(str::parse) {
            Some(Ok(kind)) => kind,
            _ => {
                let msg = format!("Input should be one of {}", FailureKind::names());
                self.add("enum", "failure_type", msg, value);
                default
            }
        }
    }

    fn configuration(&mut self) -> Configuration {
        let strategy = self.strategy();
        let interval = self.number("checkpoint_interval", 30, 1, INTERVAL_MAX);
        let replicas = self.number("replication_factor", 3, 1, REPLICAS_MAX) as u8;
        match strategy {
            Strategy::Baseline => Configuration::baseline(),
            Strategy::Checkpointing => Configuration::checkpointing(interval),
            Strategy::Replication => Configuration::replication(replicas),
            Strategy::Hybrid => Configuration {
                checkpoint_interval: Some(Span::from_secs(interval)),
                ..Configuration::hybrid(interval, replicas)
            },
        }
    }

    fn finish<T>(self, value: T) -> Result<T, Wrong> {
        if self.wrong.is_empty() { Ok(value) } else { Err(self.wrong) }
    }
}

/// `POST /configure`.
pub(super) fn configure(body: &[u8]) -> Result<Configuration, Wrong> {
    let mut fields = Fields::read(body)?;
    let configuration = fields.configuration();
    fields.finish(configuration)
}

/// `POST /store`: key and value.
pub(super) fn store(body: &[u8]) -> Result<(String, Value), Wrong> {
    let mut fields = Fields::read(body)?;
    let key = match fields.all.get("key").cloned() {
        Some(Value::String(key)) => key,
        Some(other) => {
            fields.add("string_type", "key", "Input should be a valid string", other);
            String::new()
        }
        None => {
            fields.missing("key");
            String::new()
        }
    };
    let value = fields.all.get("value").cloned();
    if value.is_none() {
        fields.missing("value");
    }
    fields.finish((key, value.unwrap_or_default()))
}

/// `POST /simulate-failure`: which, and of how many members.
pub(super) fn failure(body: &[u8]) -> Result<(FailureKind, u8), Wrong> {
    let mut fields = Fields::read(body)?;
    let kind = fields.failure(FailureKind::Default);
    // More than there are means all, as it always did.
    let count = fields.number("node_count", 1, 1, u64::from(u8::MAX)) as u8;
    // The protocol's scripts say only how many.
    let kind = if kind == FailureKind::Default && count > 1 { FailureKind::NodeCount } else { kind };
    fields.finish((kind, count))
}

/// `POST /run-experiment`.
pub(super) fn experiment(body: &[u8]) -> Result<(Configuration, Protocol), Wrong> {
    let mut fields = Fields::read(body)?;
    let configuration = fields.configuration();
    let protocol = Protocol {
        items: fields.number("data_items", ITEMS_DEFAULT.into(), 0, ITEMS_MAX) as u32,
        failure_type: fields.failure(FailureKind::Default),
        node_count: fields.number("node_count", 1, 1, u64::from(u8::MAX)) as u8,
        trigger_checkpoint: fields.flag("trigger_checkpoint", true),
        writers: fields.number("writers", 0, 0, 64) as u16,
        ..Protocol::default()
    };
    fields.finish((configuration, protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_leave_out_what_has_a_default() {
        let (configuration, protocol) =
            experiment(br#"{"strategy": "hybrid", "data_items": 7, "checkpoint_interval": null}"#)
                .expect("right");
        assert_eq!(configuration, Configuration::hybrid(30, 3));
        assert_eq!((protocol.items, protocol.trigger_checkpoint), (7, true));
        assert_eq!(failure(b"").expect("right"), (FailureKind::Default, 1));
        assert_eq!(failure(br#"{"node_count": 2}"#).expect("right"), (FailureKind::NodeCount, 2));
        assert_eq!(store(br#"{"key": "a", "value": null}"#).expect("right"), ("a".to_owned(), Value::Null));
    }

    #[test]
    fn everything_that_is_wrong_is_said_as_fastapi_says_it() {
        let check = |wrong: Wrong, expected: &[(&str, &str)]| {
            let said: Vec<(&str, &str)> = wrong
                .iter()
                .map(|one| (one["type"].as_str().expect("a type"), one["loc"][1].as_str().unwrap_or("")))
                .collect();
            assert_eq!(said, expected);
            assert!(wrong.iter().all(|one| one["msg"].is_string() && one.get("input").is_some()));
        };
        check(configure(b"{}").expect_err("no strategy"), &[("missing", "strategy")]);
        check(
            experiment(br#"{"strategy": "prayer", "data_items": -1, "replication_factor": 8}"#)
                .expect_err("wrong"),
            &[
                ("enum", "strategy"),
                ("less_than_equal", "replication_factor"),
                ("greater_than_equal", "data_items"),
            ],
        );
        check(failure(br#"{"failure_type": "fire"}"#).expect_err("wrong"), &[("enum", "failure_type")]);
        check(store(b"{}").expect_err("wrong"), &[("missing", "key"), ("missing", "value")]);
        check(store(b"{").expect_err("wrong"), &[("json_invalid", "")]);
        check(store(b"[]").expect_err("wrong"), &[("model_attributes_type", "")]);
    }
}
