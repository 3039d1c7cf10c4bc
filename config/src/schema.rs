//! The JSON Schema of the configuration, from the same types that read it, and the list of its keys.

use std::fmt::Write as _;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use crate::bindings::BindingsFile;
use crate::document::RootBlock;

/// The JSON Schema (draft 2020-12) of `portcullis.yaml`.
pub fn json_schema() -> Json {
    schema_of::<RootBlock>("Portcullis configuration")
}

/// The JSON Schema of the bindings file.
pub fn bindings_schema() -> Json {
    schema_of::<BindingsFile>("Portcullis role bindings")
}

fn schema_of<T: JsonSchema>(title: &str) -> Json {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".into(), title.into());
    let mut schema = schema.to_value();
    unwrap_lines(&mut schema);
    schema
}

/// Descriptions come from comments, which are wrapped; an editor wraps for itself.
fn unwrap_lines(schema: &mut Json) {
    match schema {
        Json::Object(entries) => {
            for (name, value) in entries {
                match value {
                    Json::String(text) if name == "description" => *text = text.replace('\n', " "),
                    value => unwrap_lines(value),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(unwrap_lines),
        _ => {}
    }
}

/// One key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyInfo {
    /// `idps.*.oidc.issuer`, `routes[].path`.
    pub(crate) path: String,
    /// Its default as YAML, where it has one.
    pub(crate) default: Option<String>,
    /// True where its block cannot do without it.
    pub(crate) required: bool,
}

/// Every key of the configuration.
pub(crate) fn list_keys() -> Vec<KeyInfo> {
    let mut keys = Vec::new();
    collect_keys(&json_schema(), "", &mut keys);
    keys
}

/// The paths of every key of the configuration.
pub(crate) fn list_paths() -> Vec<String> {
    list_keys().into_iter().map(|key| key.path).collect()
}

/// Every key of the bindings file.
#[cfg(test)]
pub(crate) fn bindings_keys() -> Vec<KeyInfo> {
    let mut keys = Vec::new();
    collect_keys(&bindings_schema(), "", &mut keys);
    keys
}

fn collect_keys(schema: &Json, path: &str, keys: &mut Vec<KeyInfo>) {
    for alternative in schema["anyOf"].as_array().into_iter().flatten() {
        collect_keys(alternative, path, keys);
    }
    if let Some(items) = schema.get("items") {
        collect_keys(items, &format!("{path}[]"), keys);
    }
    if let Some(values @ Json::Object(_)) = schema.get("additionalProperties") {
        collect_keys(values, &format!("{path}.*"), keys);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let required =
            schema["required"].as_array().is_some_and(|names| names.iter().any(|known| known == name));
        keys.push(KeyInfo { path: path.clone(), default: property.get("default").map(as_yaml), required });
        collect_keys(property, &path, keys);
    }
}

/// A default as one writes it.
fn as_yaml(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Array(items) => {
            let mut text = String::from("[");
            for (nth, item) in items.iter().enumerate() {
                let _ = write!(text, "{}{}", if nth == 0 { "" } else { ", " }, as_yaml(item));
            }
            text + "]"
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_schema_describes_every_key() {
        fn described(schema: &Json, path: &str) {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                assert!(property["description"].is_string(), "{path}.{name} has no description: {property}");
                described(property, &format!("{path}.{name}"));
            }
            for inner in ["items", "additionalProperties"] {
                if let Some(inner) = schema.get(inner) {
                    described(inner, path);
                }
            }
            for alternative in schema["anyOf"].as_array().into_iter().flatten() {
                described(alternative, path);
            }
        }
        described(&json_schema(), "");
        described(&bindings_schema(), "");
        let text = json_schema().to_string();
        assert!(!text.contains("null") && !text.contains("$ref") && !text.contains("\\n"), "{text}");
        assert_eq!(json_schema()["additionalProperties"], false);
    }

    #[test]
    fn keys_know_their_default_and_whether_they_are_required() {
        let key = |path: &str| list_keys().into_iter().find(|key| key.path == path).unwrap();
        assert_eq!(
            (key("session.idle").default.as_deref(), key("session.idle").required),
            (Some("2h"), false)
        );
        assert!(key("public_url").required && key("idps.*.oidc.client_secret").required);
        assert!(!key("scim").required && key("routes[].path").required);
        assert_eq!(key("idps.*.oidc.scopes").default.as_deref(), Some("[openid, profile, email]"));
    }

    /// Every key that holds a value itself is in docs/configuration.md with its default, and nothing else is.
    #[test]
    fn the_documentation_names_every_key_and_its_default() {
        let text = include_str!("../../docs/configuration.md");
        let cells = |line: &str| -> Option<(String, String)> {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            let key = cells.next()?.strip_suffix('`')?.to_owned();
            Some((key, cells.next()?.replace('`', "")))
        };
        let documented: Vec<(String, String)> = text.lines().filter_map(cells).collect();
        let mut wrong = Vec::new();
        let mut known: Vec<String> = Vec::new();
        for all in [list_keys(), bindings_keys()] {
            let is_block = |path: &str| {
                let inside = |rest: &str| rest.starts_with(['.', '[']);
                path != "store" && all.iter().any(|key| key.path.strip_prefix(path).is_some_and(inside))
            };
            for key in all.iter().filter(|key| !is_block(&key.path)) {
                known.push(key.path.clone());
                let Some((_, default)) = documented.iter().find(|(path, _)| *path == key.path) else {
                    wrong.push(format!("{} is not documented", key.path));
                    continue;
                };
                // Where the short form of a block is its default, it is that of its address.
                let block = key.path.strip_suffix(".address");
                let short = block.and_then(|block| all.iter().find(|key| key.path == block)?.default.clone());
                let expected = key.default.clone().or(short).or(key.required.then(|| "required".into()));
                if let Some(expected) = expected.filter(|expected| expected != default) {
                    wrong.push(format!("{}: documented {default}, is {expected}", key.path));
                }
            }
        }
        for (path, _) in documented.iter().filter(|(path, _)| !path.starts_with("${")) {
            if !known.contains(path) {
                wrong.push(format!("{path} is documented and not known"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn a_short_form_is_one_of_two() {
        let upstream = &json_schema()["properties"]["upstream"];
        assert_eq!(upstream["anyOf"][0]["type"], "string");
        assert_eq!(upstream["anyOf"][1]["required"], json!(["url"]));
    }
}
