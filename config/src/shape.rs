//! The shape of a block in the JSON Schema, where it differs from what the derive makes of its struct. It knows no key
//! of the configuration: the blocks name it, and [`json_schema`](crate::json_schema) asks the blocks.

use schemars::transform::Transform;
use schemars::{Schema, json_schema};
use serde_json::{Value as Json, json};

use crate::node::{YamlNode, YamlValue};

/// Mends the schema of a block: a key with a default is not required, its default is YAML, and nothing may be null.
pub(crate) fn mend_block(schema: &mut Schema) {
    let mut optional = Vec::new();
    if let Some(properties) = schema.get_mut("properties").and_then(Json::as_object_mut) {
        for (name, property) in properties {
            without_null(property);
            if let Some(default) = property.get_mut("default") {
                *default = default
                    .as_str()
                    .and_then(|yaml| YamlNode::parse_document(yaml).ok())
                    .map_or(json!(null), as_json);
                optional.push(name.clone());
            }
        }
    }
    if let Some(required) = schema.get_mut("required").and_then(Json::as_array_mut) {
        required.retain(|name| !optional.iter().any(|optional| name == optional));
    }
}

/// Says that a plain value is short for a block with only this key.
pub(crate) struct ShortForm(pub(crate) &'static str);

impl Transform for ShortForm {
    fn transform(&mut self, schema: &mut Schema) {
        let mut long = std::mem::take(schema);
        let mut short = long.get("properties").map_or(json!(true), |properties| properties[self.0].clone());
        if let Some(short) = short.as_object_mut() {
            short.remove("description");
            short.remove("default");
        }
        if let Some(description) = long.remove("description") {
            schema.insert("description".into(), description);
        }
        schema.insert("anyOf".into(), json!([short, long]));
    }
}

/// The schema of a set of words, each with what it means.
pub(crate) fn words_schema(words: &[(&str, &str)]) -> Schema {
    let one = |(word, doc): &(&str, &str)| {
        let lines: Vec<&str> = doc.lines().map(str::trim).collect();
        json!({ "type": "string", "const": word, "description": lines.join("\n") })
    };
    json_schema!({ "oneOf": words.iter().map(one).collect::<Vec<_>>() })
}

fn without_null(property: &mut Json) {
    if let Some(types) = property.get_mut("type").and_then(Json::as_array_mut) {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            property["type"] = only.clone();
        }
    }
    if let Some(words) = property.get_mut("enum").and_then(Json::as_array_mut) {
        words.retain(|word| !word.is_null());
    }
    let Some(alternatives) = property.get_mut("anyOf").and_then(Json::as_array_mut) else { return };
    alternatives.retain(|alternative| alternative["type"] != "null");
    if let [only] = alternatives.as_slice()
        && let (Json::Object(only), Some(whole)) = (only.clone(), property.as_object_mut())
    {
        whole.remove("anyOf");
        for (name, value) in only {
            whole.entry(name).or_insert(value);
        }
    }
}

fn as_json(node: YamlNode) -> Json {
    match node.value {
        YamlValue::Nothing => Json::Null,
        YamlValue::List(items) => items.into_iter().map(as_json).collect(),
        YamlValue::Map(entries) => {
            entries.into_iter().map(|(key, value)| (key.name, as_json(value))).collect()
        }
        YamlValue::Text(text) => match text.as_str() {
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            number => number.parse::<u64>().map_or_else(|_| Json::String(text.clone()), Json::from),
        },
    }
}
