//! `bulkId:` in paths and values (RFC 7644 §3.7.2): where an operation refers to what another one makes.
//!
//! A text is a reference where all of it is one, and within the quotes of a PATCH's path. Nothing else begins like that:
//! a reference that names nothing is refused, not stored.

use portcullis_policy::ResourceId;
use serde_json::{Map, Value, json};

use crate::error::ScimError;
use crate::schema::{ResourceKind, Schemas, Type};

/// The state of what a `bulkId` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BulkReference {
    /// A resource that was made.
    Made(ResourceId),
    /// One that could not be made.
    Failed,
    /// One that is still to be made.
    Later,
    /// Nothing of this request.
    Unknown,
}

/// A value that an operation was made without, since what it refers to was not there yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LeftOut {
    /// The attribute, as the path of a PATCH.
    path: String,
    value: Value,
    /// The reference that was missing.
    pub(super) bulk_id: String,
}

const PREFIX: &str = "bulkId:";

/// The `bulkId` that a text refers to.
fn referred(text: &str) -> Option<&str> {
    let (prefix, bulk_id) = text.split_at_checked(PREFIX.len())?;
    prefix.eq_ignore_ascii_case(PREFIX).then_some(bulk_id)
}

/// Tells whether a text is a reference.
pub(super) fn is_reference(text: &str) -> bool {
    referred(text).is_some()
}

/// Calls `found` with each `bulkId` that a path or data refers to.
pub(super) fn each_reference(path: &str, data: &Map<String, Value>, mut found: impl FnMut(&str)) {
    if let Some(bulk_id) = path.rsplit('/').next().and_then(referred) {
        found(bulk_id);
    }
    each_of_object(data, &mut found);
}

fn each_of_object(object: &Map<String, Value>, found: &mut dyn FnMut(&str)) {
    for (name, value) in object {
        match value {
            Value::String(path) if name.eq_ignore_ascii_case("path") => {
                for bulk_id in path.split('"').skip(1).step_by(2).filter_map(referred) {
                    found(bulk_id);
                }
            }
            other => each_of_value(other, found),
        }
    }
}

fn each_of_value(value: &Value, found: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => {
            if let Some(bulk_id) = referred(text) {
                found(bulk_id);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| each_of_value(value, found)),
        Value::Object(object) => each_of_object(object, found),
        _ => {}
    }
}

/// The first reference in a value that is to be left out.
fn late_reference(value: &Value, is_late: &impl Fn(&str) -> bool) -> Option<String> {
    let mut late = None;
    each_of_value(value, &mut |bulk_id| {
        if late.is_none() && is_late(bulk_id) {
            late = Some(bulk_id.to_owned());
        }
    });
    late
}

/// Takes out of the data of a POST what refers to something that is not made yet: elements of lists one by one, else the
/// whole attribute.
pub(super) fn leave_out(data: &mut Map<String, Value>, is_late: impl Fn(&str) -> bool) -> Vec<LeftOut> {
    let mut left_out = Vec::new();
    leave_out_below(data, "", &is_late, &mut left_out);
    left_out
}

fn leave_out_below(
    object: &mut Map<String, Value>,
    prefix: &str,
    is_late: &impl Fn(&str) -> bool,
    left_out: &mut Vec<LeftOut>,
) {
    let mut emptied = Vec::new();
    for (name, value) in object.iter_mut() {
        let path = format!("{prefix}{name}");
        match value {
            Value::Array(list) => list.retain_mut(|element| match late_reference(element, is_late) {
                Some(bulk_id) => {
                    let value = Value::Array(vec![element.take()]);
                    left_out.push(LeftOut { path: path.clone(), value, bulk_id });
                    false
                }
                None => true,
            }),
            // What an extension says are attributes of their own.
            Value::Object(part) if prefix.is_empty() && name.contains(':') => {
                leave_out_below(part, &format!("{name}:"), is_late, left_out);
            }
            other => {
                if let Some(bulk_id) = late_reference(other, is_late) {
                    left_out.push(LeftOut { path, value: other.take(), bulk_id });
                    emptied.push(name.clone());
                }
            }
        }
    }
    for name in emptied {
        object.remove(&name);
    }
}

/// Checks that what was left out can be added when it is known: that its attribute holds text, or has parts that may. What no
/// schema here has is passed over, as it is without a reference.
pub(super) fn check_types(
    schemas: &Schemas,
    kind: ResourceKind,
    left_out: &mut Vec<LeftOut>,
) -> Result<(), ScimError> {
    left_out.retain(|left| schemas.resolve_name(kind, &left.path).is_ok());
    for left in left_out {
        if let Ok(path) = schemas.resolve_name(kind, &left.path)
            && !matches!(path.leaf().kind, Type::String | Type::Reference | Type::Complex)
        {
            return Err(ScimError::invalid_value(format!("{path} refers to no resource")));
        }
    }
    Ok(())
}

/// The body of the PATCH that adds what was left out.
pub(super) fn completing_patch(left_out: Vec<LeftOut>) -> Map<String, Value> {
    let operations: Vec<Value> = left_out
        .into_iter()
        .map(|left| json!({ "op": "add", "path": left.path, "value": left.value }))
        .collect();
    let schemas = json!(["urn:ietf:params:scim:api:messages:2.0:PatchOp"]);
    Map::from_iter([("schemas".to_owned(), schemas), ("Operations".to_owned(), operations.into())])
}

/// The path with the id of what it refers to.
pub(super) fn resolve_path(
    path: &str,
    resolve: impl Fn(&str) -> Result<ResourceId, ScimError>,
) -> Result<String, ScimError> {
    let Some((collection, bulk_id)) =
        path.rsplit_once('/').and_then(|(collection, last)| Some((collection, referred(last)?)))
    else {
        return Ok(path.to_owned());
    };
    Ok(format!("{collection}/{}", resolve(bulk_id)?.as_str()))
}

/// Puts ids in the place of all references.
pub(super) fn resolve_data(
    data: &mut Map<String, Value>,
    resolve: impl Fn(&str) -> Result<ResourceId, ScimError>,
) -> Result<(), ScimError> {
    resolve_object(data, &resolve)
}

type Resolve<'a> = &'a dyn Fn(&str) -> Result<ResourceId, ScimError>;

fn resolve_object(object: &mut Map<String, Value>, resolve: Resolve<'_>) -> Result<(), ScimError> {
    for (name, value) in object.iter_mut() {
        match value {
            Value::String(path) if name.eq_ignore_ascii_case("path") => {
                let mut parts: Vec<String> = path.split('"').map(str::to_owned).collect();
                for quoted in parts.iter_mut().skip(1).step_by(2) {
                    if let Some(bulk_id) = referred(quoted) {
                        *quoted = resolve(bulk_id)?.as_str().to_owned();
                    }
                }
                *path = parts.join("\"");
            }
            other => resolve_value(other, resolve)?,
        }
    }
    Ok(())
}

fn resolve_value(value: &mut Value, resolve: Resolve<'_>) -> Result<(), ScimError> {
    match value {
        Value::String(text) => {
            if let Some(bulk_id) = referred(text) {
                *text = resolve(bulk_id)?.as_str().to_owned();
            }
            Ok(())
        }
        Value::Array(list) => list.iter_mut().try_for_each(|value| resolve_value(value, resolve)),
        Value::Object(object) => resolve_object(object, resolve),
        _ => Ok(()),
    }
}
