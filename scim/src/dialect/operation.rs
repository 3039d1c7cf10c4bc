//! Rules about PATCH: 1 (case of `op`), 2 (remove the listed), 4 (keys as paths), 6 (add to an element), 8 (bare
//! names of an extension).
//!
//! Every operation without a path, or at an extension as a whole, is spelled out as one operation for each
//! attribute, which is what the standard says it means; so the engine behind knows operations with a path alone.
//! Keys apply in the order of their names, so that a whole comes before its parts; JSON itself has no order.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::error::ScimError;
use crate::patch::{PatchTarget, PathTarget};
use crate::schema::shown;

use super::value::is_reference;
use super::{Dialect, Rewrite, corrected_urn};

impl Dialect<'_> {
    /// Rewrites the body of a PATCH.
    ///
    /// # Errors
    /// `invalidSyntax` where there is no list of operations, 413 where it is too long.
    pub(crate) fn rewrite_patch(
        &mut self,
        mut body: Map<String, Value>,
    ) -> Result<Map<String, Value>, ScimError> {
        let Some(Value::Array(operations)) = take_member(&mut body, "Operations") else {
            return Err(ScimError::invalid_syntax("Operations must be a list"));
        };
        let mut rewritten = Vec::with_capacity(operations.len());
        for operation in operations {
            match operation {
                Value::Object(operation) => self.rewrite_operation(operation, &mut rewritten)?,
                _ => return Err(ScimError::invalid_syntax("each operation must be an object")),
            }
        }
        let schemas = take_member(&mut body, "schemas").unwrap_or_default();
        Ok(Map::from_iter([
            ("schemas".to_owned(), schemas),
            ("Operations".to_owned(), Value::Array(rewritten)),
        ]))
    }

    fn rewrite_operation(
        &mut self,
        mut given: Map<String, Value>,
        rewritten: &mut Vec<Value>,
    ) -> Result<(), ScimError> {
        let op = match take_member(&mut given, "op") {
            Some(Value::String(op)) if op.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                self.note_rule(Rewrite::OperationCase);
                Value::String(op.to_ascii_lowercase())
            }
            Some(op) => op,
            None => Value::Null,
        };
        let path = take_member(&mut given, "path").filter(|path| !path.is_null());
        let value = take_member(&mut given, "value");
        match (path, value) {
            (None, Some(Value::Object(keys))) if op != "remove" => {
                let from = rewritten.len();
                let keys = self.spread_base(keys)?;
                self.spell_out(&op, keys, rewritten);
                return no_path_twice(&rewritten[from..]);
            }
            (Some(Value::String(path)), value) => self.at_path(&op, &path, value, rewritten),
            (path, value) => rewritten.push(operation_body(&op, path, value)),
        }
        Ok(())
    }

    /// A value without a path: rule 4.
    fn spell_out(&mut self, op: &Value, keys: Map<String, Value>, rewritten: &mut Vec<Value>) {
        if keys.is_empty() {
            rewritten.push(operation_body(op, None, Some(Value::Object(keys))));
            return;
        }
        for (key, value) in sorted_members(keys) {
            // Which schemas a resource has follows from what it holds; clients repeat the list (authentik).
            if key.eq_ignore_ascii_case("schemas") {
                continue;
            }
            let is_path =
                key.contains(['.', '[']) && self.schemas.extension(self.kind, corrected_urn(&key)).is_none();
            if is_path {
                self.note_rule(Rewrite::KeysAsPaths);
            }
            self.at_path(op, &key, Some(value), rewritten);
        }
    }

    fn at_path(&mut self, op: &Value, path: &str, value: Option<Value>, rewritten: &mut Vec<Value>) {
        if corrected_urn(path) != path {
            self.note_rule(Rewrite::LooseShape);
        }
        match PathTarget::parse_path(self.schemas, self.kind, corrected_urn(path)) {
            Ok(PathTarget::Target(target)) => {
                if target.path.extension().is_some() && !path.contains(':') {
                    self.note_rule(Rewrite::BareExtension);
                }
                let value = value.and_then(|value| self.at_target(op, &target, value));
                rewritten.push(operation_body(op, Some(Value::String(target.to_string())), value));
            }
            Ok(PathTarget::Extension(urn)) => self.at_extension(op, &urn, value, rewritten),
            // A path that means nothing stays as it is: the engine says what is wrong with it.
            Err(_) => rewritten.push(operation_body(op, Some(path.into()), value)),
        }
    }

    /// An extension as a whole: one operation for each attribute named, or for every one where it is to go.
    fn at_extension(&mut self, op: &Value, urn: &str, value: Option<Value>, rewritten: &mut Vec<Value>) {
        match value {
            Some(Value::Object(keys)) if op != "remove" && !keys.is_empty() => {
                for (key, value) in sorted_members(keys) {
                    if key.eq_ignore_ascii_case("schemas") {
                        continue; // as above: an extension that names itself (scim2-models)
                    }
                    self.at_path(op, &format!("{urn}:{key}"), Some(value), rewritten);
                }
            }
            None | Some(Value::Null) if op == "remove" || (op == "replace" && value.is_some()) => {
                let Some(extension) = self.schemas.extension(self.kind, urn) else { return };
                for attribute in &extension.attributes {
                    let path = format!("{urn}:{}", attribute.name).into();
                    if attribute.is_ours() {
                        // No client takes it away: that there is none is all it can say.
                        rewritten.push(operation_body(&"replace".into(), Some(path), Some(Value::Null)));
                        continue;
                    }
                    let value = if op == "remove" { None } else { Some(Value::Null) };
                    rewritten.push(operation_body(op, Some(path), value));
                }
            }
            value => rewritten.push(operation_body(op, Some(urn.into()), value)),
        }
    }

    /// The value of an operation at a known place; `None` where it means nothing there.
    fn at_target(&mut self, op: &Value, target: &PatchTarget, value: Value) -> Option<Value> {
        if op == "remove" {
            if value.is_null() {
                return None;
            }
            if !target.is_list() {
                // The path says it all; but which of several parts a value means, nothing says: the engine refuses.
                let is_unclear = target.path.attribute().multi && target.chosen.is_none();
                return is_unclear.then_some(value);
            }
            self.note_rule(Rewrite::RemoveListed);
            return Some(self.rewrite_value(target.path.leaf(), value));
        }
        if op == "add" && target.chosen.is_some() {
            self.note_rule(Rewrite::AddToElement);
        }
        if !target.is_elements() {
            let is_part = target.path.sub_attribute().is_some_and(|sub| sub.name == "value");
            if is_part && is_reference(target.path.attribute()) && value == "" {
                self.note_rule(Rewrite::ManagerShape);
                return Some(Value::Null);
            }
            return Some(self.rewrite_value(target.path.leaf(), value));
        }
        let only = match value {
            Value::Array(list) if matches!(list.as_slice(), [Value::Object(_)]) => {
                self.note_rule(Rewrite::LooseShape);
                list.into_iter().next().unwrap_or_default()
            }
            other => other,
        };
        Some(self.rewrite_element(target.path.attribute(), only))
    }
}

/// Keys that are two spellings of one path contradict each other.
fn no_path_twice(operations: &[Value]) -> Result<(), ScimError> {
    let mut known = HashSet::new();
    for path in operations.iter().filter_map(|operation| operation.get("path")?.as_str()) {
        if !known.insert(path) {
            return Err(ScimError::invalid_syntax(format!("{} stands twice in one value", shown(path))));
        }
    }
    Ok(())
}

/// Takes a member of an object out, by its name in any case.
fn take_member(object: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let found = object.keys().find(|key| key.eq_ignore_ascii_case(name))?.clone();
    object.remove(&found)
}

/// By name, whatever order the map keeps.
fn sorted_members(keys: Map<String, Value>) -> Vec<(String, Value)> {
    let mut keys: Vec<(String, Value)> = keys.into_iter().collect();
    keys.sort_by_cached_key(|(name, _)| name.to_ascii_lowercase());
    keys
}

fn operation_body(op: &Value, path: Option<Value>, value: Option<Value>) -> Value {
    let mut operation = Map::from_iter([("op".to_owned(), op.clone())]);
    operation.extend(path.map(|path| ("path".to_owned(), path)));
    operation.extend(value.map(|value| ("value".to_owned(), value)));
    Value::Object(operation)
}
