//! Elements of lists, as 1.1 writes them: `"operation": "delete"` beside a value in a PATCH, and simple values that may
//! stand in an object of their own.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::conform::identifies_by_value;
use crate::error::ScimError;
use crate::schema::{Attribute, Type};

/// The word by which an element of a PATCH says what is done with it.
const OPERATION: &str = "operation";

/// A list of a PATCH, taken apart.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SortedElements {
    /// Those to take out.
    pub(super) deleted: Vec<Value>,
    /// Those to add, or to merge into the one of the same value.
    pub(super) added: Vec<Value>,
}

/// The member of an object of that name, in any case.
pub(super) fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Takes a list of a PATCH apart.
///
/// # Errors
/// 400 for an operation that is not `delete`, and where a reference is both added and deleted.
pub(super) fn sort_elements(attribute: &Attribute, list: Vec<Value>) -> Result<SortedElements, ScimError> {
    let mut sorted = SortedElements::default();
    for element in list {
        match take_operation(attribute, element)? {
            (element, true) => sorted.deleted.push(deleted_element(attribute, element)),
            (element, false) => sorted.added.push(plain_element(attribute, element)),
        }
    }
    if identifies_by_value(attribute) {
        let id = |element: &Value| element.as_object().and_then(|parts| member(parts, "value")).cloned();
        let deleted: HashSet<String> =
            sorted.deleted.iter().filter_map(id).map(|id| id.to_string()).collect();
        let is_both = |element: &Value| id(element).is_some_and(|id| deleted.contains(&id.to_string()));
        if sorted.added.iter().any(is_both) {
            return Err(ScimError::invalid_value(format!(
                "one of {} is both added and deleted",
                attribute.name
            )));
        }
    }
    Ok(sorted)
}

/// Takes the operation out of an element, and tells whether it is to be deleted.
fn take_operation(attribute: &Attribute, element: Value) -> Result<(Value, bool), ScimError> {
    let Value::Object(mut parts) = element else { return Ok((element, false)) };
    if attribute.sub_attribute(OPERATION).is_some() {
        return Ok((Value::Object(parts), false));
    }
    let Some(key) = parts.keys().find(|key| key.eq_ignore_ascii_case(OPERATION)).cloned() else {
        return Ok((Value::Object(parts), false));
    };
    match parts.remove(&key) {
        None | Some(Value::Null) => Ok((Value::Object(parts), false)),
        Some(Value::String(word)) if word.eq_ignore_ascii_case("delete") => Ok((Value::Object(parts), true)),
        Some(_) => Err(ScimError::invalid_value(format!(
            "{}: the operation of an element can only be delete",
            attribute.name
        ))),
    }
}

/// Which element is meant: by its `value` where it has one, else by everything it says (§3.3.2).
fn deleted_element(attribute: &Attribute, element: Value) -> Value {
    let element = plain_element(attribute, element);
    let value = element.as_object().and_then(|parts| member(parts, "value"));
    match (value, attribute.kind) {
        (Some(value), Type::Complex) if attribute.sub_attribute("value").is_some() && !value.is_null() => {
            Value::Object(Map::from_iter([("value".to_owned(), value.clone())]))
        }
        _ => element,
    }
}

/// A simple value in an object of its own is that value.
fn plain_element(attribute: &Attribute, element: Value) -> Value {
    let Value::Object(parts) = &element else { return element };
    match (attribute.kind, parts.len(), member(parts, "value")) {
        (Type::Complex, ..) => element,
        (_, 1, Some(value)) => value.clone(),
        _ => element,
    }
}

/// The value of an attribute of a POST or PUT.
pub(super) fn plain_value(attribute: &Attribute, given: Value) -> Value {
    match given {
        Value::Array(list) if attribute.multi => {
            list.into_iter().map(|element| plain_element(attribute, element)).collect()
        }
        Value::Object(_) if attribute.multi => plain_element(attribute, given),
        other => other,
    }
}

/// Refuses an operation where nothing would act on it: in a POST or PUT, and in what is no list.
pub(super) fn check_no_operation(attribute: &Attribute, given: &Value) -> Result<(), ScimError> {
    if attribute.kind == Type::Complex && attribute.sub_attribute(OPERATION).is_some() {
        return Ok(());
    }
    let says_operation = |element: &Value| {
        let operation = element.as_object().and_then(|parts| member(parts, OPERATION));
        operation.is_some_and(|operation| !operation.is_null())
    };
    let is_there = match given {
        Value::Array(list) => list.iter().any(says_operation),
        single => says_operation(single),
    };
    if !is_there {
        return Ok(());
    }
    Err(ScimError::invalid_value(format!(
        "{}: an operation is for the elements of a list in a PATCH; to remove the whole, name it in meta.attributes",
        attribute.name
    )))
}
