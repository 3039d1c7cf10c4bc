//! Rules about values: 3 (booleans as text), 5 (the shape of a manager), 7 (one object where a list is due).

use serde_json::{Map, Value};

use crate::filter::parse_truth;
use crate::schema::{Attribute, Type};

use super::{Dialect, Rewrite};

impl Dialect<'_> {
    /// Rewrites the value of a whole attribute or sub-attribute.
    pub(super) fn rewrite_value(&mut self, attribute: &Attribute, given: Value) -> Value {
        if attribute.multi {
            return match given {
                Value::Array(list) => {
                    list.into_iter().map(|given| self.rewrite_element(attribute, given)).collect()
                }
                Value::Object(_) | Value::String(_) | Value::Bool(_) | Value::Number(_)
                    if given.is_object() || attribute.kind != Type::Complex =>
                {
                    self.note_rule(Rewrite::LooseShape);
                    Value::Array(vec![self.rewrite_element(attribute, given)])
                }
                other => other,
            };
        }
        if is_reference(attribute) {
            self.rewrite_manager(attribute, given)
        } else {
            self.rewrite_element(attribute, given)
        }
    }

    /// Rewrites one value, of a list or by itself.
    pub(super) fn rewrite_element(&mut self, attribute: &Attribute, given: Value) -> Value {
        match (attribute.kind, given) {
            (Type::Complex, Value::Object(parts)) => Value::Object(self.rewrite_parts(attribute, parts)),
            (Type::Boolean, Value::String(text)) => match parse_truth(&text) {
                Some(truth) => {
                    self.note_rule(Rewrite::BooleanText);
                    Value::Bool(truth)
                }
                None => Value::String(text),
            },
            (_, other) => other,
        }
    }

    fn rewrite_parts(&mut self, attribute: &Attribute, parts: Map<String, Value>) -> Map<String, Value> {
        let rewrite = |(name, given): (String, Value)| match attribute.sub_attribute(&name) {
            Some(sub) => (name, self.rewrite_value(sub, given)),
            None => (name, given),
        };
        parts.into_iter().map(rewrite).collect()
    }

    fn rewrite_manager(&mut self, attribute: &Attribute, given: Value) -> Value {
        match given {
            Value::String(id) if id.is_empty() => {
                self.note_rule(Rewrite::ManagerShape);
                Value::Null
            }
            Value::String(id) => {
                self.note_rule(Rewrite::ManagerShape);
                Value::Object(Map::from_iter([("value".to_owned(), Value::String(id))]))
            }
            Value::Array(list) if matches!(list.as_slice(), [only] if !only.is_array()) => {
                self.note_rule(Rewrite::ManagerShape);
                let only = list.into_iter().next().unwrap_or_default();
                self.rewrite_manager(attribute, only)
            }
            Value::Object(parts) => {
                let value = parts.iter().find(|(name, _)| name.eq_ignore_ascii_case("value"));
                if value.is_some_and(|(_, value)| value.is_null() || value == "") {
                    self.note_rule(Rewrite::ManagerShape);
                    return Value::Null;
                }
                Value::Object(self.rewrite_parts(attribute, parts))
            }
            other => other,
        }
    }
}

/// Tells whether it is one reference to another resource, as `manager` is.
pub(super) fn is_reference(attribute: &Attribute) -> bool {
    let has = |name| attribute.sub_attribute(name).is_some();
    attribute.kind == Type::Complex && !attribute.multi && has("value") && has("$ref")
}
