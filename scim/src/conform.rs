//! Holds a body against the schema tables and brings it into canonical form.
//!
//! The strict half of reading: names get their canonical case, null and empty become absent, what is readOnly or
//! unknown is passed over (RFC 7644 §3.3, §3.5.1), a value of the wrong type is `invalidValue`. `password` ends
//! here: it is in no tree this module returns. What vendors bend has been straightened by the dialect layer before.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use portcullis_policy::{AccountId, fold, has_hidden_end};
use serde_json::{Map, Value};

use crate::error::ScimError;
use crate::filter::{MAX_INDEXED, as_double, comparable_value};
use crate::moment::Moment;
use crate::resource::{Resource, is_empty};
use crate::schema::{
    Attribute, AttributePath, Mutability, ResourceKind, Schema, Schemas, Type, Uniqueness, is_uri_text,
};

/// The most values one list of a user holds. Members of a group are bounded by the size of a body alone.
pub(crate) const MAX_VALUES: usize = 500;

/// Reads the body of a POST or PUT. What extensions require is asked of what comes of it: [`check_extensions`].
pub(crate) fn read_resource(
    schemas: &Schemas,
    kind: ResourceKind,
    body: &Map<String, Value>,
) -> Result<Resource, ScimError> {
    check_schemas(body, kind.urn())?;
    let mut tree = Map::new();
    for (name, given) in body {
        if let Some(attribute) = schemas.attribute(kind, name) {
            keep_attribute(&mut tree, &AttributePath::new(None, attribute, None), given)?;
        } else if let Some(extension) = schemas.extension(kind, name) {
            let mut part = Map::new();
            match given {
                Value::Object(given) => {
                    for (name, given) in given {
                        let Some(attribute) = extension.attribute(name) else { continue };
                        keep_attribute(
                            &mut part,
                            &AttributePath::new(Some(&extension.urn), attribute, None),
                            given,
                        )?;
                    }
                }
                Value::Null => {}
                _ => return Err(ScimError::invalid_value(format!("{} must be an object", extension.urn))),
            }
            if !part.is_empty() {
                tree.insert(extension.urn.to_string(), Value::Object(part));
            }
        }
    }
    let resource = Resource::new(kind, tree);
    check_base(schemas, &resource)?;
    Ok(resource)
}

/// Checks that `schemas` names the one that is due (RFC 7643 §3).
pub(crate) fn check_schemas(body: &Map<String, Value>, urn: &str) -> Result<(), ScimError> {
    let named = body.iter().find(|(name, _)| name.eq_ignore_ascii_case("schemas"));
    let Some(Value::Array(list)) = named.map(|(_, value)| value) else {
        return Err(ScimError::invalid_syntax(format!("schemas must be a list that contains {urn}")));
    };
    if list.iter().filter_map(Value::as_str).any(|name| name.eq_ignore_ascii_case(urn)) {
        Ok(())
    } else {
        Err(ScimError::invalid_syntax(format!("schemas must contain {urn}")))
    }
}

/// Checks that everything is there that the base schema requires.
pub(crate) fn check_base(schemas: &Schemas, resource: &Resource) -> Result<(), ScimError> {
    let mut attributes = schemas.base(resource.kind()).attributes.iter();
    let missing = attributes
        .find(|attribute| attribute.required && !resource.tree.contains_key(attribute.name.as_ref()));
    match missing {
        Some(attribute) => Err(ScimError::invalid_value(format!("{} is required", attribute.name))),
        None => Ok(()),
    }
}

/// Checks that everything is there that an extension requires, where the resource has anything of it (RFC 7643 §7). What a
/// write leaves as it was before is not asked again, nor is anything of who is inactive then: a new declaration keeps nobody
/// in.
pub(crate) fn check_extensions(
    schemas: &Schemas,
    resource: &Resource,
    before: Option<&Resource>,
) -> Result<(), ScimError> {
    if resource.kind() == ResourceKind::User && resource.active() != Some(true) {
        return Ok(()); // nobody stays in because something is missing
    }
    for Schema { urn, attributes, .. } in schemas.extensions(resource.kind()) {
        let Some(part) = resource.tree.get(urn.as_ref()).and_then(Value::as_object) else { continue };
        let was = before.and_then(|before| before.tree.get(urn.as_ref())?.as_object());
        let missing = |attribute: &&Arc<Attribute>| {
            attribute.required && part.get(attribute.name.as_ref()).is_none_or(is_empty)
        };
        // What an operator wrote is nobody's to complete.
        let says_something = attributes
            .iter()
            .any(|attribute| is_kept(attribute) && part.contains_key(attribute.name.as_ref()));
        if !says_something || was == Some(part) {
            continue;
        }
        if let Some(attribute) = attributes.iter().find(missing) {
            let path = AttributePath::new(Some(urn), attribute, None);
            return Err(ScimError::invalid_value(format!(
                "{path} is required where anything of that extension is there"
            )));
        }
    }
    Ok(())
}

/// Puts one attribute of a body into the tree, if it says something and is the client's to say.
fn keep_attribute(
    tree: &mut Map<String, Value>,
    path: &AttributePath,
    given: &Value,
) -> Result<(), ScimError> {
    if !is_kept(path.leaf()) || path.as_str() == "schemas" {
        return Ok(());
    }
    let value = conform_value(path, given)?;
    if !is_empty(&value) {
        tree.insert(path.attribute().name.to_string(), value);
    }
    Ok(())
}

/// Tells whether a tree may hold it.
pub(crate) fn is_kept(attribute: &Attribute) -> bool {
    matches!(attribute.mutability, Mutability::ReadWrite | Mutability::Immutable)
}

/// The value of a whole attribute or sub-attribute in canonical form; null where it says nothing.
pub(crate) fn conform_value(path: &AttributePath, given: &Value) -> Result<Value, ScimError> {
    let leaf = path.leaf();
    if !leaf.multi || path.sub_attribute().is_some() {
        return conform_single(path, given);
    }
    let list = match given {
        Value::Null => return Ok(Value::Null),
        Value::Array(list) => list,
        _ => return Err(ScimError::invalid_value(format!("{path} must be a list"))),
    };
    let is_reference = identifies_by_value(leaf);
    let mut kept = Vec::with_capacity(list.len());
    let mut known = HashSet::new();
    for given in list {
        let element = conform_element(path, given)?;
        if is_empty(&element) && !(is_reference && given.is_object()) {
            continue;
        }
        if is_reference {
            let Some(id) = element.get("value").and_then(Value::as_str).filter(|id| !id.is_empty()) else {
                return Err(ScimError::invalid_value(format!("each of {path} must have a value")));
            };
            if !known.insert(id.to_owned()) {
                continue;
            }
        }
        // Of simple values each is there once, as a filter compares them.
        if comparable_value(leaf, &element).is_some_and(|text| !known.insert(text)) {
            continue;
        }
        kept.push(element);
    }
    check_length(path, kept.len())?;
    if kept.iter().filter(|element| is_primary(element)).count() > 1 {
        return Err(ScimError::invalid_value(format!("only one of {path} can be primary")));
    }
    Ok(Value::Array(kept))
}

/// One element of a list in canonical form.
pub(crate) fn conform_element(path: &AttributePath, given: &Value) -> Result<Value, ScimError> {
    conform_single(path, given)
}

/// A list must not grow beyond its bound.
pub(crate) fn check_length(path: &AttributePath, length: usize) -> Result<(), ScimError> {
    if length > MAX_VALUES && !identifies_by_value(path.attribute()) {
        return Err(ScimError::invalid_value(format!("{path} is limited to {MAX_VALUES} values")));
    }
    Ok(())
}

/// Tells whether elements of a list are the same as soon as their `value` is: references to other resources.
pub(crate) fn identifies_by_value(attribute: &Attribute) -> bool {
    attribute.sub_attribute("value").is_some_and(|value| value.mutability == Mutability::Immutable)
}

pub(crate) fn is_primary(element: &Value) -> bool {
    element.get("primary") == Some(&Value::Bool(true))
}

fn conform_single(path: &AttributePath, given: &Value) -> Result<Value, ScimError> {
    if path.leaf().kind == Type::Complex {
        conform_parts(path, given, Nulls::Drop)
    } else {
        conform_simple(path, given)
    }
}

/// The treatment of a sub-attribute that is null.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nulls {
    /// It is as if it were not there.
    Drop,
    /// It says that the sub-attribute shall go.
    Keep,
}

/// A complex value in canonical form.
pub(crate) fn conform_parts(path: &AttributePath, given: &Value, nulls: Nulls) -> Result<Value, ScimError> {
    let given = match given {
        Value::Null => return Ok(Value::Null),
        Value::Object(given) => given,
        _ => return Err(ScimError::invalid_value(format!("{path} must be an object"))),
    };
    let mut kept = Map::new();
    for (name, given) in given {
        let Some(sub) = path.attribute().sub_attribute(name).filter(|sub| is_kept(sub)) else { continue };
        let value = conform_simple(&path.with_sub(sub), given)?;
        if nulls == Nulls::Keep || !is_empty(&value) {
            kept.insert(sub.name.to_string(), value);
        }
    }
    Ok(Value::Object(kept))
}

/// A value without parts.
fn conform_simple(path: &AttributePath, given: &Value) -> Result<Value, ScimError> {
    let leaf = path.leaf();
    match (leaf.kind, given) {
        (_, Value::Null) => Ok(Value::Null),
        (Type::Boolean, Value::Bool(_)) => Ok(given.clone()),
        (Type::Boolean, _) => Err(ScimError::invalid_value(format!("{path} must be true or false"))),
        (Type::Integer, Value::Number(number)) if number.as_i64().is_some() => Ok(given.clone()),
        (Type::Integer, _) => Err(ScimError::invalid_value(format!(
            "{path} must be a whole number of 64 bits, without quotes, fraction and exponent"
        ))),
        (Type::Decimal, Value::Number(number)) if as_double(number).is_some() => {
            Ok(as_double(number).map_or(Value::Null, Value::Number))
        }
        (Type::Decimal, _) => {
            Err(ScimError::invalid_value(format!("{path} must be a number, without quotes")))
        }
        (Type::DateTime, Value::String(text)) if Moment::parse_rfc3339(text).is_none() => {
            Err(ScimError::invalid_value(format!("{path} must be a moment such as 2027-01-15T08:00:00Z")))
        }
        (Type::Binary, Value::String(text)) if !is_base64(text) => {
            Err(ScimError::invalid_value(format!("{path} must be base64")))
        }
        (Type::Reference, Value::String(text)) if leaf.references.contains(&"uri") && !is_uri_text(text) => {
            Err(ScimError::invalid_value(format!("{path} must be a URI: ASCII, without blanks")))
        }
        (_, Value::String(text)) => check_name(path, text).map(|()| as_said(path, given)),
        _ => Err(ScimError::invalid_value(format!("{path} must be text"))),
    }
}

/// Tells whether a text is base64, in one alphabet or the other (RFC 7643 §2.3.6), with its padding or without; lines may be
/// broken.
fn is_base64(text: &str) -> bool {
    const TOLERANT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = |alphabet| GeneralPurpose::new(alphabet, TOLERANT);
    let digits: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    // The lines around a certificate in PEM are of one alphabet.
    !digits.contains("-----")
        && [&STANDARD, &URL_SAFE].into_iter().any(|alphabet| engine(alphabet).decode(&digits).is_ok())
}

/// An empty `externalId` is none: two people without one are not the same person. So is an empty text of an extension
/// that must be unique.
fn as_said(path: &AttributePath, given: &Value) -> Value {
    let is_unique = path.extension().is_some() && path.leaf().uniqueness == Uniqueness::Server;
    if (is_unique || path.as_str() == "externalId") && given == "" { Value::Null } else { given.clone() }
}

/// Names that resources are found by are neither blank nor longer than what is indexed.
fn check_name(path: &AttributePath, text: &str) -> Result<(), ScimError> {
    let leaf = path.leaf();
    if leaf.required && text.trim().is_empty() {
        return Err(ScimError::invalid_value(format!("{path} must not be blank")));
    }
    // Two names that look alike are two people, of whom one may be let in as the other.
    if path.as_str() == "userName" && (has_hidden_end(text) || text.chars().any(char::is_control)) {
        return Err(ScimError::invalid_value(
            "userName must have no blank and nothing unseen at an end, and no control character",
        ));
    }
    if path.as_str() == "userName" && AccountId::of_name(text).is_some() {
        return Err(ScimError::invalid_value("userName is written as the number of an account"));
    }
    let is_name = leaf.uniqueness == Uniqueness::Server || path.as_str() == "externalId";
    if is_name && (text.len() > MAX_INDEXED || fold::same_key(text).len() > MAX_INDEXED) {
        return Err(ScimError::invalid_value(format!("{path} is limited to {MAX_INDEXED} bytes")));
    }
    Ok(())
}
