//! Parts of the schema that do not follow from the Rust types, and the transform that makes the rest what Kubernetes
//! wants. Nothing here is checked by us: the API server and [`crate::validate`] do that.

use std::borrow::Cow;

use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::names::REPLICAS_MAX;
use crate::span::{SPAN_BYTES_MAX, SPAN_PATTERN};
use crate::{Span, WriteConcern};

/// Most containers, init containers or volumes of a template. Kubernetes has no bound, but a rule's cost needs one.
const LIST_ITEMS_MAX: usize = 32;

/// Most words of a command, and the longest of them: paths and addresses, not scripts.
const COMMAND_WORDS_MAX: usize = 64;
const COMMAND_WORD_BYTES_MAX: usize = 1024;

/// Most labels or annotations.
const MAP_ITEMS_MAX: usize = 64;

/// Longest value of a label, as Kubernetes has it.
const LABEL_BYTES_MAX: usize = 63;

/// Longest value of an annotation. Kubernetes allows 256 KiB for all of them together.
const ANNOTATION_BYTES_MAX: usize = 16 * 1024;

/// Longest name of a container or volume, as Kubernetes has it.
const NAME_BYTES_MAX: usize = 63;

/// What an image looks like; the container runtime knows better.
pub(crate) const IMAGE_PATTERN: &str = r"^[^\s]+$";

/// What a configuration of an experiment may be called. A first letter or digit: a spreadsheet takes a cell that begins with a hyphen for a formula.
pub(crate) const CONFIGURATION_PATTERN: &str = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$";

/// What a volume's size looks like.
pub(crate) const SIZE_PATTERN: &str = r"^[0-9]{1,9}(\.[0-9]{1,3})?(Ki|Mi|Gi|Ti|k|M|G|T)?$";

/// Make a schema what Kubernetes wants: no `null` (the API server drops nulls of fields that are not nullable, so that
/// rules need not think of them), no integer formats that it does not know, and no line breaks within a paragraph, which
/// `kubectl explain` would keep.
pub(super) fn tidy(schema: &mut Schema) {
    transform_subschemas(&mut tidy, schema);
    let Some(object) = schema.as_object_mut() else { return };
    let null = |value: &Value| value.is_null() || value.as_str() == Some("null");
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|value| !null(value));
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !null(value));
    }
    if let Some(Value::Array(choices)) = object.get("anyOf")
        && let [Value::Object(some), none] = choices.as_slice()
        && none.get("type").is_some_and(null)
    {
        let some = some.clone();
        object.remove("anyOf");
        for (name, value) in some {
            // The field's own description says more than its type's.
            object.entry(name).or_insert(value);
        }
    }
    if let Some(Value::String(description)) = object.get_mut("description") {
        *description =
            description.split("\n\n").map(|text| text.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
    }
    let format = match object.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16" | "int8" | "int16") => "int32",
        Some("uint32" | "uint64" | "uint" | "int") => "int64",
        _ => return,
    };
    object.insert("format".into(), format.into());
}

/// A volume's size. Plain `Quantity` would also allow `-1`, `1n` and numbers without quotes.
pub(super) fn size(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 16,
        "pattern": SIZE_PATTERN,
    })
}

/// What a container requests and may use. The type's own schema describes every amount in sixty lines, and has claims,
/// which a sidecar does not need.
pub(super) fn resources(_: &mut SchemaGenerator) -> Schema {
    let amounts = |description: &str| {
        serde_json::json!({
            "description": description,
            "type": "object",
            "maxProperties": MAP_ITEMS_MAX,
            "additionalProperties": { "x-kubernetes-int-or-string": true },
        })
    };
    json_schema!({
        "type": "object",
        "properties": {
            "limits": amounts("The most that it may use, such as memory: 512Mi."),
            "requests": amounts("What is kept free for it, such as cpu: 250m."),
        },
    })
}

/// Labels of a pod.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    texts(LABEL_BYTES_MAX)
}

/// Annotations of a pod or Service.
pub(super) fn annotations(_: &mut SchemaGenerator) -> Schema {
    texts(ANNOTATION_BYTES_MAX)
}

fn texts(bytes_max: usize) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAP_ITEMS_MAX,
        "additionalProperties": { "type": "string", "maxLength": bytes_max },
    })
}

/// Ports on the machine of `holdfast up`: two for each of the most members.
pub(super) fn laptop_ports(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 2 * REPLICAS_MAX,
        "items": { "type": "integer", "format": "int32", "minimum": 1024, "maximum": 65535 },
    })
}

/// A program and its arguments.
pub(super) fn command(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": COMMAND_WORDS_MAX,
        "items": { "type": "string", "minLength": 1, "maxLength": COMMAND_WORD_BYTES_MAX },
    })
}

/// Delays, by ordinal.
pub(super) fn delays(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": REPLICAS_MAX,
        "additionalProperties": { "type": "string", "maxLength": SPAN_BYTES_MAX, "pattern": SPAN_PATTERN },
    })
}

/// Probabilities, by ordinal.
pub(super) fn failures(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": REPLICAS_MAX,
        "additionalProperties": { "type": "number", "minimum": 0, "maximum": 1 },
    })
}

/// A pod's spec, of which only the names are looked at; see [`super::PodTemplate`] for the reason.
pub(super) fn pod_spec(_: &mut SchemaGenerator) -> Schema {
    let rule = |list: &str, thing: &str| {
        serde_json::json!({
            "rule": format!("!has(self.{list}) || self.{list}.all(item, !item.name.startsWith('holdfast'))"),
            "fieldPath": format!(".{list}"),
            "message": format!("names that begin with holdfast are the sidecar's: give the {thing} another name"),
        })
    };
    json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "required": ["containers"],
        "properties": {
            "containers": named("The application's containers.", 1),
            "initContainers": named("Containers that run before the application's.", 0),
            "volumes": named("Volumes that containers can mount.", 0),
            "restartPolicy": {
                "description": "Members are always restarted.",
                "type": "string",
                "enum": ["Always"],
            },
        },
        "x-kubernetes-validations": [
            rule("containers", "container"),
            rule("initContainers", "container"),
            rule("volumes", "volume"),
        ],
    })
}

/// A list of objects that have a name, and whatever else they have.
fn named(description: &str, items_min: usize) -> Value {
    serde_json::json!({
        "description": description,
        "type": "array",
        "minItems": items_min,
        "maxItems": LIST_ITEMS_MAX,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
            "required": ["name"],
            "properties": {
                "name": { "type": "string", "minLength": 1, "maxLength": NAME_BYTES_MAX },
            },
        },
    })
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": SPAN_BYTES_MAX, "pattern": SPAN_PATTERN })
    }
}

impl JsonSchema for WriteConcern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "WriteConcern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Without `false` kube would allow null, because the field has a default.
        json_schema!({ "x-kubernetes-int-or-string": true, "maxLength": 16, "nullable": false })
    }
}
