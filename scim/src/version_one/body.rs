//! Bodies of POST and PUT, and which translation a body takes.

use serde_json::{Map, Value};

use crate::error::ScimError;
use crate::read_write::WriteVerb;
use crate::schema::{ResourceKind, Schemas};

use super::elements::{self, member};
use super::members::{rename_members, translate_key, translate_part};
use super::names::{self, CORE_ONE};
use super::patch::translate_patch;

/// The body of 2.0 that says the same.
pub(super) fn translate_body(
    schemas: &Schemas,
    kind: ResourceKind,
    verb: WriteVerb<'_>,
    body: Map<String, Value>,
) -> Result<Map<String, Value>, ScimError> {
    check_schemas(kind, &body)?;
    match verb {
        WriteVerb::Patch(_) => translate_patch(schemas, kind, body),
        WriteVerb::Create | WriteVerb::Replace(_) | WriteVerb::Delete(_) => {
            translate_resource(schemas, kind, body)
        }
    }
}

/// Checks that the core schema is named, by the URN of 1.1 or of 2.0.
fn check_schemas(kind: ResourceKind, body: &Map<String, Value>) -> Result<(), ScimError> {
    if member(body, "Operations").is_some() {
        return Err(ScimError::invalid_syntax(
            "Operations are a PATCH of SCIM 2.0, whose base URL ends in /scim/v2",
        ));
    }
    let listed = member(body, "schemas").and_then(Value::as_array).into_iter().flatten();
    let mut named = listed.filter_map(Value::as_str).map(|urn| names::to_urn(kind, urn));
    if named.any(|urn| urn.eq_ignore_ascii_case(kind.urn())) {
        Ok(())
    } else {
        Err(ScimError::invalid_syntax(format!("schemas must be a list that contains {CORE_ONE}")))
    }
}

fn translate_resource(
    schemas: &Schemas,
    kind: ResourceKind,
    body: Map<String, Value>,
) -> Result<Map<String, Value>, ScimError> {
    let renamed = rename_members(body, |name| translate_key(kind, name))?;
    let translated = renamed.into_iter().map(|(name, given)| {
        let given = match name.as_str() {
            "schemas" => translate_urns(kind, given),
            "meta" => {
                check_no_removals(&given)?;
                given
            }
            _ => translate_member(schemas, kind, &name, given)?,
        };
        Ok((name, given))
    });
    translated.collect()
}

fn translate_urns(kind: ResourceKind, given: Value) -> Value {
    match given {
        Value::Array(list) => list
            .into_iter()
            .map(|urn| match urn.as_str() {
                Some(name) => names::to_urn(kind, name).into(),
                None => urn,
            })
            .collect(),
        other => other,
    }
}

/// `meta.attributes` names what a PATCH removes; another write that has it wants what it does not say.
fn check_no_removals(meta: &Value) -> Result<(), ScimError> {
    let named = meta.as_object().and_then(|meta| member(meta, "attributes"));
    if named.is_some_and(|named| !crate::resource::is_empty(named)) {
        return Err(ScimError::invalid_syntax(
            "meta.attributes is for PATCH: a PUT removes what it leaves out, a POST has nothing to remove",
        ));
    }
    Ok(())
}

fn translate_member(
    schemas: &Schemas,
    kind: ResourceKind,
    name: &str,
    given: Value,
) -> Result<Value, ScimError> {
    if let Some(attribute) = schemas.attribute(kind, name) {
        elements::check_no_operation(attribute, &given)?;
        return Ok(elements::plain_value(attribute, given));
    }
    let Some(extension) = schemas.extension(kind, name) else { return Ok(given) };
    let Value::Object(part) = given else { return Ok(given) };
    let translated = part.into_iter().map(|(name, given)| {
        let given = match extension.attribute(&name) {
            Some(attribute) => {
                elements::check_no_operation(attribute, &given)?;
                translate_part(&extension.urn, attribute, given)?
            }
            None => given,
        };
        Ok((name, given))
    });
    translated.collect::<Result<_, ScimError>>().map(Value::Object)
}
