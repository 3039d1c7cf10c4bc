//! PATCH of 1.1 (§3.3.2): a part of a resource, merged; what is to go is named in `meta.attributes` or marked
//! `"operation": "delete"`. It becomes the operations of 2.0 that say the same: removals first, then, attribute by
//! attribute, what is deleted and what is added.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::conform::identifies_by_value;
use crate::error::ScimError;
use crate::patch::{MAX_OPERATIONS, MAX_PATH};
use crate::resource::is_empty;
use crate::schema::{Attribute, AttributePath, NamedPart, ResourceKind, Schemas, Type, shown};

use super::elements::{self, SortedElements, member};
use super::members::{rename_members, translate_key, translate_part};
use super::names;

/// The schema of a PATCH of 2.0.
const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// The PATCH of 2.0 that says the same.
pub(super) fn translate_patch(
    schemas: &Schemas,
    kind: ResourceKind,
    body: Map<String, Value>,
) -> Result<Map<String, Value>, ScimError> {
    let mut translation = Translation::new(schemas, kind);
    translation.read_meta(&body)?;
    for (name, given) in sorted_members(rename_members(body, |name| translate_key(kind, name))?) {
        if name != "schemas" && name != "meta" {
            translation.translate_named(&name, given)?;
        }
    }
    let operations = translation.into_operations();
    if operations.is_empty() {
        return Err(ScimError::invalid_value(
            "the PATCH changes nothing: give attributes, or name those to remove in meta.attributes",
        ));
    }
    let body = [("schemas", json!([PATCH_OP])), ("Operations", Value::Array(operations))];
    Ok(Map::from_iter(body.map(|(name, value)| (name.to_owned(), value))))
}

/// A PATCH being translated.
struct Translation<'a> {
    schemas: &'a Schemas,
    kind: ResourceKind,
    /// What `meta.attributes` names, as 2.0 does, and its canonical path where it has one.
    removed: Vec<(String, Option<String>)>,
    /// Canonical paths of what `meta.attributes` names and the body sets: it is replaced.
    replaced: HashSet<String>,
    /// Canonical paths of what was written already.
    written: HashSet<String>,
    operations: Vec<Value>,
}

impl<'a> Translation<'a> {
    fn new(schemas: &'a Schemas, kind: ResourceKind) -> Self {
        let (removed, replaced, written) = (Vec::new(), HashSet::new(), HashSet::new());
        Self { schemas, kind, removed, replaced, written, operations: Vec::new() }
    }

    /// Reads `meta`: the removals; the rest of it is the service's, but a member that 1.1 does not have may be a
    /// removal misspelt.
    fn read_meta(&mut self, body: &Map<String, Value>) -> Result<(), ScimError> {
        const KNOWN: [&str; 6] =
            ["attributes", "created", "lastModified", "location", "version", "resourceType"];
        let meta = match member(body, "meta") {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Object(meta)) => meta,
            Some(_) => return Err(ScimError::invalid_value("meta must be an object")),
        };
        let unknown = meta.keys().find(|name| !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name)));
        if let Some(unknown) = unknown {
            return Err(ScimError::invalid_value(format!("meta has no attribute \"{}\"", shown(unknown))));
        }
        let named = match member(meta, "attributes") {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(list)) => list.as_slice(),
            Some(single) => std::slice::from_ref(single),
        };
        if named.len() > MAX_OPERATIONS {
            return Err(ScimError::TooLarge { what: "meta.attributes", limit: "1000 names".into() });
        }
        for name in named {
            let Value::String(name) = name else {
                return Err(ScimError::invalid_value("meta.attributes must be a list of names"));
            };
            let name = names::to_name(name.trim()).into_owned();
            let path = self.schemas.resolve_name(self.kind, &name).ok();
            self.removed.push((name, path.map(|path| path.to_string())));
        }
        Ok(())
    }

    /// One member of the body, of that name in 2.0.
    fn translate_named(&mut self, name: &str, given: Value) -> Result<(), ScimError> {
        match self.schemas.resolve_named(self.kind, name) {
            Ok(NamedPart::Attribute(path)) => self.translate_attribute(&path, given),
            Ok(NamedPart::Extension(urn)) => match given {
                Value::Object(part) if !part.is_empty() => {
                    let part = sorted_members(part.into_iter().collect()).into_iter();
                    part.map(|(name, given)| (format!("{urn}:{name}"), given))
                        .try_for_each(|(name, given)| self.translate_named(&name, given))
                }
                other => {
                    self.push_operation("replace", &urn, Some(other));
                    Ok(())
                }
            },
            // Brackets are not of 1.1, and nothing would act on an operation behind them.
            Err(_) if name.contains('[') => {
                Err(ScimError::invalid_path(format!("\"{}\" is not the name of an attribute", shown(name))))
            }
            // A name that means nothing stays as it is: the engine says what is wrong with it.
            Err(_) => {
                self.push_operation("replace", name, Some(given));
                Ok(())
            }
        }
    }

    fn translate_attribute(&mut self, path: &AttributePath, given: Value) -> Result<(), ScimError> {
        if !self.written.insert(path.to_string()) {
            return Err(ScimError::invalid_syntax(format!("{path} stands there twice")));
        }
        let is_removed = self.is_removed(path);
        if is_removed {
            self.replaced.insert(path.to_string());
        }
        let attribute = path.attribute();
        let is_list = attribute.multi && path.sub_attribute().is_none();
        if is_list && !attribute.is_ours() {
            return self.translate_list(path, given, is_removed);
        }
        if path.sub_attribute().is_none() {
            elements::check_no_operation(attribute, &given)?;
        }
        let given = match (path.extension(), path.sub_attribute()) {
            (Some(urn), None) => translate_part(urn, attribute, given)?,
            _ => given,
        };
        // An object is merged into what is there, so what is to be replaced as a whole goes before.
        if is_removed && attribute.kind == Type::Complex {
            self.push_operation("remove", path.as_str(), None);
        }
        self.push_operation("replace", path.as_str(), Some(given));
        Ok(())
    }

    /// A list: merged, element by element, into the one that is there; or put in its place.
    fn translate_list(
        &mut self,
        path: &AttributePath,
        given: Value,
        is_removed: bool,
    ) -> Result<(), ScimError> {
        if is_empty(&given) && !is_removed {
            return Err(ScimError::invalid_value(format!(
                "{path}: nothing is merged by an empty list; to remove all, name it in meta.attributes"
            )));
        }
        let list = match given {
            Value::Null => Vec::new(),
            Value::Array(list) => list,
            single => vec![single],
        };
        let SortedElements { deleted, added } = elements::sort_elements(path.attribute(), list)?;
        if is_removed {
            // What is deleted goes with all the rest.
            match added.is_empty() {
                true => self.push_operation("remove", path.as_str(), None),
                false => self.push_operation("replace", path.as_str(), Some(Value::Array(added))),
            }
            return Ok(());
        }
        if !deleted.is_empty() {
            self.push_operation("remove", path.as_str(), Some(Value::Array(deleted)));
        }
        let mut plain = Vec::new();
        for element in added {
            match chosen_by_value(path, &element) {
                Some(chosen) => self.push_operation("add", &chosen, Some(element)),
                None => plain.push(element),
            }
        }
        if !plain.is_empty() {
            self.push_operation("add", path.as_str(), Some(Value::Array(plain)));
        }
        Ok(())
    }

    /// Tells whether `meta.attributes` names it.
    fn is_removed(&self, path: &AttributePath) -> bool {
        self.removed.iter().any(|(_, removed)| removed.as_deref() == Some(path.as_str()))
    }

    fn push_operation(&mut self, op: &str, path: &str, value: Option<Value>) {
        let mut operation = Map::from_iter([("op".to_owned(), op.into()), ("path".to_owned(), path.into())]);
        operation.extend(value.map(|value| ("value".to_owned(), value)));
        self.operations.push(Value::Object(operation));
    }

    /// All of them, the removals of `meta.attributes` first.
    fn into_operations(mut self) -> Vec<Value> {
        let written = std::mem::take(&mut self.operations);
        for (name, path) in std::mem::take(&mut self.removed) {
            if path.is_none_or(|path| !self.replaced.contains(&path)) {
                self.push_operation("remove", &name, None);
            }
        }
        self.operations.extend(written);
        self.operations
    }
}

/// By name, whatever order the map keeps: a whole comes before its parts.
fn sorted_members(mut members: Vec<(String, Value)>) -> Vec<(String, Value)> {
    members.sort_by_cached_key(|(name, _)| name.to_ascii_lowercase());
    members
}

/// The path of the element that has the value of this one; `None` where elements are not told apart by their value, or
/// the engine does so by itself.
fn chosen_by_value(path: &AttributePath, element: &Value) -> Option<String> {
    let attribute: &Attribute = path.attribute();
    let sub = attribute.sub_attribute("value")?;
    let is_text = matches!(sub.kind, Type::String | Type::Reference);
    if attribute.kind != Type::Complex || !is_text || identifies_by_value(attribute) {
        return None;
    }
    let value = element.as_object().and_then(|parts| member(parts, "value"))?.as_str()?;
    let chosen = format!("{path}[value eq {}]", Value::from(value));
    (chosen.len() <= MAX_PATH).then_some(chosen)
}
