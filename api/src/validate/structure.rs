//! The part of OpenAPI that structural schemas use: types, bounds, patterns, required and unknown fields. The rules
//! of two fields are CEL's.

use regex::Regex;
use serde_json::Value;

use super::suggestion;
use crate::kind::{CONFIGURATION_PATTERN, IMAGE_PATTERN, SIZE_PATTERN};
use crate::span::SPAN_PATTERN;
use crate::violation::Violations;

/// What is wrong.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) violations: Violations,
    /// Something has the wrong type, is missing or no value at all, so that rules about it would only add noise. The API
    /// server leaves them out then, too.
    pub(super) blocks_rules: bool,
}

impl Found {
    pub(super) fn add(&mut self, path: &str, message: impl Into<String>) {
        self.violations.add(path, message);
    }

    fn block(&mut self, path: &str, message: impl Into<String>) {
        self.blocks_rules = true;
        self.add(path, message);
    }
}

/// Remove nulls where no null may be, as the API server does: they mean the same as nothing.
pub(super) fn drop_nulls(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, field| {
                let Some(schema) = field_schema(schema, name) else { return true };
                drop_nulls(schema, field);
                !field.is_null() || schema["nullable"] == true
            });
        }
        Value::Array(items) => items.iter_mut().for_each(|item| drop_nulls(&schema["items"], item)),
        _ => {}
    }
}

/// Check a whole object, but for what every kind has: `apiVersion`, `kind`, `metadata`.
pub(super) fn check(schema: &Value, object: &Value) -> Found {
    let mut found = Found::default();
    let Value::Object(fields) = object else { return found };
    let fields =
        fields.iter().filter(|(name, _)| !["apiVersion", "kind", "metadata"].contains(&name.as_str()));
    let rest = Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect());
    check_value(schema, &rest, "", &mut found);
    found
}

fn check_value(schema: &Value, value: &Value, path: &str, found: &mut Found) {
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    if !has_type(schema, value) {
        let expected = match schema["type"].as_str() {
            Some(name @ ("array" | "integer" | "object")) => format!("an {name}"),
            Some(name) => format!("a {name}"),
            None => "an integer or a string".to_owned(),
        };
        found.block(path, format!("{} is not {expected}", shown(value)));
        return;
    }
    if let Value::Array(choices) = &schema["enum"]
        && !choices.contains(value)
    {
        let choices: Vec<_> = choices.iter().filter_map(Value::as_str).collect();
        found.block(path, format!("{} is not one of {}", shown(value), choices.join(", ")));
    }
    match value {
        Value::Object(fields) => check_fields(schema, fields, path, found),
        Value::Array(items) => check_items(schema, items, path, found),
        Value::String(text) => check_text(schema, text, path, found),
        Value::Number(number) => check_number(schema, number.as_f64().unwrap_or(f64::NAN), path, found),
        Value::Bool(_) | Value::Null => {}
    }
}

fn has_type(schema: &Value, value: &Value) -> bool {
    let whole = |number: &serde_json::Number| {
        number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
    };
    if schema["x-kubernetes-int-or-string"] == true {
        return value.is_string() || value.as_number().is_some_and(whole);
    }
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.as_number().is_some_and(whole),
        Some("number") => value.is_number(),
        // Anything goes: a part that unknown fields are kept in.
        _ => true,
    }
}

fn check_fields(schema: &Value, fields: &serde_json::Map<String, Value>, path: &str, found: &mut Found) {
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            found.block(&join(name), "is missing");
        }
    }
    at_most(schema, "maxProperties", fields.len(), "fields", path, found);
    for (name, value) in fields {
        if let Some(schema) = field_schema(schema, name) {
            check_value(schema, value, &join(name), found);
        } else if schema["x-kubernetes-preserve-unknown-fields"] != true {
            let known = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
            found.add(&join(name), suggestion::unknown_field(name, known));
        }
    }
}

fn field_schema<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema["properties"].get(name).or_else(|| schema.get("additionalProperties"))
}

fn check_items(schema: &Value, items: &[Value], path: &str, found: &mut Found) {
    at_most(schema, "maxItems", items.len(), "items", path, found);
    at_least(schema, "minItems", items.len(), "items", path, found);
    for (i, item) in items.iter().enumerate() {
        check_value(&schema["items"], item, &format!("{path}[{i}]"), found);
    }
    let Some(keys) = schema["x-kubernetes-list-map-keys"].as_array() else { return };
    let key =
        |item: &Value| keys.iter().filter_map(Value::as_str).map(|key| item[key].clone()).collect::<Vec<_>>();
    for (i, item) in items.iter().enumerate() {
        if items[..i].iter().any(|earlier| key(earlier) == key(item)) {
            let names: Vec<_> = key(item).iter().map(shown).collect();
            found.add(&format!("{path}[{i}]"), format!("{} is there twice", names.join(", ")));
        }
    }
}

fn check_text(schema: &Value, text: &str, path: &str, found: &mut Found) {
    let length = text.chars().count();
    at_most(schema, "maxLength", length, "characters", path, found);
    at_least(schema, "minLength", length, "characters", path, found);
    if let Some(pattern) = schema["pattern"].as_str() {
        let regex = Regex::new(pattern).expect("a case of the rules meets every pattern of the definition");
        if !regex.is_match(text) {
            found.block(path, format!("{} {}", shown(&text.into()), meaning(pattern)));
        }
    }
}

/// What a text is not that does not match; people do not read patterns.
fn meaning(pattern: &str) -> String {
    match pattern {
        SPAN_PATTERN => {
            "is not a length of time; write whole numbers with units, such as 100ms, 30s or 1m30s".to_owned()
        }
        SIZE_PATTERN => "is not a size; write a number with a unit, such as 512Mi or 10Gi".to_owned(),
        CONFIGURATION_PATTERN => {
            "is not a configuration's name; write letters, digits, hyphens, underscores and dots, a letter or digit first"
                .to_owned()
        }
        IMAGE_PATTERN => "is not an image; write its name without spaces".to_owned(),
        _ => format!("does not match {pattern}"),
    }
}

fn check_number(schema: &Value, number: f64, path: &str, found: &mut Found) {
    if let Some(least) = schema["minimum"].as_f64().filter(|&least| number < least) {
        found.add(path, format!("{number} is less than {least}"));
    }
    if let Some(most) = schema["maximum"].as_f64().filter(|&most| number > most) {
        found.add(path, format!("{number} is more than {most}"));
    }
}

fn at_most(schema: &Value, bound: &str, length: usize, what: &str, path: &str, found: &mut Found) {
    if let Some(most) = schema[bound].as_u64().filter(|&most| length as u64 > most) {
        found.block(path, format!("has {length} {what}; {most} is the most"));
    }
}

fn at_least(schema: &Value, bound: &str, length: usize, what: &str, path: &str, found: &mut Found) {
    if let Some(least) = schema[bound].as_u64().filter(|&least| (length as u64) < least) {
        found.block(path, format!("has {length} {what}; {least} is the least"));
    }
}

/// The value as it was written, or the beginning of it.
fn shown(value: &Value) -> String {
    /// Enough to recognise it.
    const CHARACTERS_MAX: usize = 40;
    let text = value.to_string();
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: Value, value: Value, expected: &[&str]) {
        let mut found = Found::default();
        check_value(&schema, &value, "f", &mut found);
        let violations = found.violations.into_result().err().unwrap_or_default();
        let violations: Vec<_> = violations.iter().map(ToString::to_string).collect();
        assert_eq!(violations, expected);
    }

    #[test]
    fn types_are_checked() {
        for (name, right, wrong, message) in [
            ("object", json!({}), json!([]), "f: [] is not an object"),
            ("array", json!([]), json!({}), "f: {} is not an array"),
            ("string", json!(""), json!(1), "f: 1 is not a string"),
            ("boolean", json!(true), json!("true"), "f: \"true\" is not a boolean"),
            ("integer", json!(3), json!(3.5), "f: 3.5 is not an integer"),
            ("integer", json!(3.0), json!("3"), "f: \"3\" is not an integer"),
            ("number", json!(3.5), json!(null), "f: null is not a number"),
        ] {
            check(json!({ "type": name }), right, &[]);
            check(json!({ "type": name }), wrong, &[message]);
        }
        let either = json!({ "x-kubernetes-int-or-string": true });
        check(either.clone(), json!(1), &[]);
        check(either.clone(), json!("1"), &[]);
        check(either, json!(1.5), &["f: 1.5 is not an integer or a string"]);
        check(json!({ "type": "string", "nullable": true }), json!(null), &[]);
    }

    #[test]
    fn bounds_are_checked() {
        let text = json!({ "type": "string", "minLength": 2, "maxLength": 3, "pattern": "^[ä-ü]*$" });
        check(text.clone(), json!("äöü"), &[]);
        check(text.clone(), json!("ä"), &["f: has 1 characters; 2 is the least"]);
        check(text.clone(), json!("ääää"), &["f: has 4 characters; 3 is the most"]);
        check(text, json!("ab"), &["f: \"ab\" does not match ^[ä-ü]*$"]);
        let number = json!({ "type": "integer", "minimum": 1.0, "maximum": 7.0 });
        check(number.clone(), json!(0), &["f: 0 is less than 1"]);
        check(number.clone(), json!(7), &[]);
        check(number, json!(8), &["f: 8 is more than 7"]);
        let list = json!({ "type": "array", "minItems": 1, "maxItems": 2, "items": { "type": "integer" } });
        check(list.clone(), json!([]), &["f: has 0 items; 1 is the least"]);
        check(list.clone(), json!([1, 2, 3]), &["f: has 3 items; 2 is the most"]);
        check(list, json!([1, "2"]), &["f[1]: \"2\" is not an integer"]);
        let map =
            json!({ "type": "object", "maxProperties": 1, "additionalProperties": { "type": "string" } });
        check(map.clone(), json!({ "a": 1 }), &["f.a: 1 is not a string"]);
        check(map, json!({ "a": "", "b": "" }), &["f: has 2 fields; 1 is the most"]);
        let choice = json!({ "type": "string", "enum": ["A", "B"] });
        check(choice, json!("a"), &["f: \"a\" is not one of A, B"]);
    }

    #[test]
    fn fields_are_checked() {
        let schema = json!({
            "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } },
        });
        check(schema.clone(), json!({ "name": "a" }), &[]);
        check(schema.clone(), json!({}), &["f.name: is missing"]);
        check(schema, json!({ "name": "a", "nam": 1 }), &["f.nam: unknown field; did you mean name?"]);
        let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        check(open, json!({ "any": [1, "2", null] }), &[]);
        let list = json!({ "type": "array", "x-kubernetes-list-map-keys": ["name"], "items": { "type": "object",
            "x-kubernetes-preserve-unknown-fields": true } });
        check(
            list,
            json!([{ "name": "a" }, { "name": "b" }, { "name": "a" }]),
            &["f[2]: \"a\" is there twice"],
        );
    }

    #[test]
    fn a_long_value_is_not_repeated() {
        check(
            json!({ "type": "integer" }),
            json!("x".repeat(1000)),
            &[&format!("f: \"{}… is not an integer", "x".repeat(39))],
        );
    }

    #[test]
    fn nulls_mean_nothing() {
        let schema = json!({ "properties": {
            "a": { "type": "string" },
            "b": { "nullable": true },
            "c": { "properties": { "d": {} }, "x-kubernetes-preserve-unknown-fields": true },
            "e": { "items": { "properties": { "f": {} } } },
        } });
        let mut value =
            json!({ "a": null, "b": null, "c": { "d": null, "x": null }, "e": [{ "f": null }, null] });
        drop_nulls(&schema, &mut value);
        assert_eq!(value, json!({ "b": null, "c": { "x": null }, "e": [{}, null] }));
    }
}
