//! Reads the operations of a PATCH whose body the dialect layer has straightened, and refuses what is not allowed.

use serde_json::{Map, Value};

use crate::conform::{self, Nulls};
use crate::error::ScimError;
use crate::resource::is_empty;
use crate::schema::{Mutability, ResourceKind, Schemas, Type};

use super::{Operation, Patch, PatchTarget, PathTarget};

/// The most operations one PATCH holds.
pub const MAX_OPERATIONS: usize = 1_000;

/// The schema of a PATCH body.
const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

impl Patch {
    /// Refuses a body with too many operations, before any of them is looked at.
    pub(crate) fn check_bounds(body: &Map<String, Value>) -> Result<(), ScimError> {
        let operations = body.iter().find(|(name, _)| name.eq_ignore_ascii_case("Operations"));
        match operations.and_then(|(_, list)| list.as_array()) {
            Some(list) if list.is_empty() => Err(ScimError::invalid_syntax("Operations must not be empty")),
            Some(list) if list.len() > MAX_OPERATIONS => {
                Err(ScimError::TooLarge { what: "a PATCH", limit: "1000 operations".into() })
            }
            _ => Ok(()),
        }
    }

    /// Reads a straightened body.
    pub(crate) fn read_body(
        schemas: &Schemas,
        kind: ResourceKind,
        body: &Map<String, Value>,
    ) -> Result<Self, ScimError> {
        conform::check_schemas(body, PATCH_OP)?;
        let Some(Value::Array(list)) = body.get("Operations") else {
            return Err(ScimError::invalid_syntax("Operations must be a list"));
        };
        let mut operations = Vec::with_capacity(list.len());
        for operation in list {
            operations.extend(read_one(schemas, kind, operation)?);
        }
        Ok(Self { operations })
    }
}

/// One operation; none where it is accepted and changes nothing.
fn read_one(schemas: &Schemas, kind: ResourceKind, given: &Value) -> Result<Option<Operation>, ScimError> {
    let verb = match given.get("op").and_then(Value::as_str) {
        Some("add") => PatchOp::Add,
        Some("replace") => PatchOp::Replace,
        Some("remove") => PatchOp::Remove,
        _ => return Err(ScimError::invalid_syntax("op must be add, replace or remove")),
    };
    let value = given.get("value");
    let target = match given.get("path") {
        Some(Value::String(path)) => match PathTarget::parse_path(schemas, kind, path)? {
            PathTarget::Target(target) => target,
            PathTarget::Extension(urn) => {
                return Err(ScimError::invalid_value(format!(
                    "the value of {urn} must be an object that says something"
                )));
            }
        },
        Some(_) => return Err(ScimError::invalid_path("path must be text")),
        None if verb == PatchOp::Remove => return Err(ScimError::no_target("remove needs a path")),
        None => {
            return Err(ScimError::invalid_value("without a path, value must be an object of attributes"));
        }
    };
    if target.path.as_str() == "schemas"
        && verb != PatchOp::Remove
        && value.is_some_and(|named| are_known_schemas(schemas, kind, named))
    {
        return Ok(None); // it follows from what the resource holds; clients repeat the list
    }
    match check_writable(&target, verb)? {
        Writing::Thrown => return Ok(None),
        Writing::Repeated => {
            let value = value.cloned().unwrap_or_default();
            return Ok(Some(Operation::Repeat(target.path, value)));
        }
        Writing::Stored => {}
    }
    match (verb, value) {
        (PatchOp::Remove, None) => Ok(Some(Operation::Remove(target, None))),
        (PatchOp::Remove, Some(_)) if !target.is_list() => Err(ScimError::invalid_value(format!(
            "{target}: say by a filter which ones are meant, not by a value"
        ))),
        (PatchOp::Remove, Some(value)) => {
            let listed = listed_elements(&target, value)?;
            Ok(Some(Operation::Remove(target, Some(listed))))
        }
        (_, None) => Err(ScimError::invalid_value(format!("{target}: a value is due"))),
        (PatchOp::Add, Some(value)) => {
            let value = canonical_value(&target, value)?;
            match (is_empty(&value), target.is_list()) {
                (false, _) => Ok(Some(Operation::Add(target, value))),
                (true, true) => Ok(None),
                (true, false) => Ok(Some(Operation::Remove(target, None))),
            }
        }
        (PatchOp::Replace, Some(value)) => {
            let value = canonical_value(&target, value)?;
            if is_empty(&value) {
                return Ok(Some(Operation::Remove(target, None)));
            }
            Ok(Some(Operation::Replace(target, value)))
        }
    }
}

/// Tells whether a value is a list of schemas that a kind of resource can have, or one of them.
fn are_known_schemas(schemas: &Schemas, kind: ResourceKind, named: &Value) -> bool {
    let is_known = |urn: &Value| {
        urn.as_str()
            .is_some_and(|urn| urn.eq_ignore_ascii_case(kind.urn()) || schemas.extension(kind, urn).is_some())
    };
    match named {
        Value::Array(list) => !list.is_empty() && list.iter().all(is_known),
        one => is_known(one),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PatchOp {
    Add,
    Replace,
    Remove,
}

/// The treatment of a value that is written.
enum Writing {
    Stored,
    /// It must be what it was.
    Repeated,
    /// `password`.
    Thrown,
}

fn check_writable(target: &PatchTarget, verb: PatchOp) -> Result<Writing, ScimError> {
    let path = &target.path;
    match (path.attribute().mutability, path.leaf().mutability) {
        (Mutability::WriteOnly, _) => Ok(Writing::Thrown),
        (Mutability::ReadOnly, _) if target.chosen.is_none() && verb != PatchOp::Remove => {
            Ok(Writing::Repeated)
        }
        (Mutability::ReadOnly | Mutability::Derived, _) | (_, Mutability::ReadOnly | Mutability::Derived) => {
            Err(ScimError::against_mutability(format!("{path} is the service's to set")))
        }
        _ if path.as_str() == "schemas" => {
            Err(ScimError::against_mutability("schemas follows from what the resource holds"))
        }
        _ => Ok(Writing::Stored),
    }
}

/// The value of `add` or `replace` in canonical form; null and empty lists stay, since they say "nothing".
fn canonical_value(target: &PatchTarget, given: &Value) -> Result<Value, ScimError> {
    let path = &target.path;
    let value = if target.is_elements() {
        conform::conform_element(path, given)?
    } else if path.leaf().kind == Type::Complex && !target.is_list() {
        conform::conform_parts(path, given, Nulls::Keep)?
    } else {
        conform::conform_value(path, given)?
    };
    let said_nothing = match given {
        Value::Array(list) => list.is_empty(),
        Value::Object(_) => false,
        _ => given.is_null() || value.is_null(),
    };
    if is_empty(&value) && !said_nothing {
        return Err(ScimError::invalid_value(format!("{target}: the value holds nothing that can be set")));
    }
    Ok(value)
}

/// The elements that a `remove` lists.
fn listed_elements(target: &PatchTarget, given: &Value) -> Result<Vec<Value>, ScimError> {
    let Value::Array(list) = given else {
        return Err(ScimError::invalid_value(format!("{target}: value must be a list of what to remove")));
    };
    let mut listed = Vec::with_capacity(list.len());
    for given in list {
        let element = conform::conform_element(&target.path, given)?;
        if is_empty(&element) {
            return Err(ScimError::invalid_value(format!(
                "{target}: each value to remove must say which one is meant"
            )));
        }
        listed.push(element);
    }
    if listed.is_empty() {
        return Err(ScimError::invalid_value(format!("{target}: an empty list says neither all nor none")));
    }
    Ok(listed)
}
