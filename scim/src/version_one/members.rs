//! The members of a body, whichever the method: their names, and the manager of the enterprise extension.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::error::ScimError;
use crate::schema::{Attribute, ENTERPRISE_USER, ResourceKind, Type, shown};

use super::elements;
use super::names::{self, MANAGER_ID};

/// The name of a member of a resource, as 2.0 has it.
pub(super) fn translate_key(kind: ResourceKind, name: &str) -> String {
    for common in ["schemas", "meta"] {
        if name.eq_ignore_ascii_case(common) {
            return common.to_owned();
        }
    }
    let urn = names::to_urn(kind, name);
    if urn == name { names::to_name(name).into_owned() } else { urn.to_owned() }
}

/// Gives members their names of 2.0. Two names of 1.1 may be one of these; which of the two would count?
pub(super) fn rename_members(
    object: Map<String, Value>,
    rename: impl Fn(&str) -> String,
) -> Result<Vec<(String, Value)>, ScimError> {
    let mut known = HashSet::with_capacity(object.len());
    let renamed = object.into_iter().map(|(name, given)| {
        let name = rename(&name);
        if !known.insert(name.to_ascii_lowercase()) {
            return Err(ScimError::invalid_syntax(format!("{} stands there twice", shown(&name))));
        }
        Ok((name, given))
    });
    renamed.collect()
}

/// The value of an attribute of an extension: a manager's id has another name.
pub(super) fn translate_part(urn: &str, attribute: &Attribute, given: Value) -> Result<Value, ScimError> {
    if urn != ENTERPRISE_USER || attribute.kind != Type::Complex {
        return Ok(elements::plain_value(attribute, given));
    }
    Ok(match given {
        Value::Object(parts) => Value::Object(translate_manager(parts)?),
        Value::Array(list) => {
            let list = list.into_iter().map(|one| match one {
                Value::Object(parts) => translate_manager(parts).map(Value::Object),
                other => Ok(other),
            });
            Value::Array(list.collect::<Result<_, _>>()?)
        }
        other => other,
    })
}

fn translate_manager(parts: Map<String, Value>) -> Result<Map<String, Value>, ScimError> {
    let rename = |name: &str| match name.eq_ignore_ascii_case(MANAGER_ID) {
        true => "value".to_owned(),
        false => name.to_owned(),
    };
    Ok(rename_members(parts, rename)?.into_iter().collect())
}
