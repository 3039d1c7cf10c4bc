//! `remove` (RFC 7644 §3.5.2.2): an attribute, a part of one, elements that a filter chooses or that are listed.
//!
//! What is not there is removed already: identity providers repeat. What is required cannot be removed, and a user
//! whose `active` is removed has none, which is as good as false.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::conform::identifies_by_value;
use crate::error::ScimError;
use crate::resource::is_empty;
use crate::schema::{Attribute, Mutability, Type};

use super::{PatchTarget, elements, parent_object, stored_object};

pub(super) fn apply_remove(
    tree: &mut Map<String, Value>,
    target: &PatchTarget,
    listed: Option<&[Value]>,
) -> Result<(), ScimError> {
    let path = &target.path;
    let attribute = path.attribute();
    // Of an extension it may go with all the rest of it: that is looked at when every operation is done.
    if path.leaf().required && path.sub_attribute().is_none() && path.extension().is_none() {
        return Err(ScimError::against_mutability(format!("{path} is required and cannot be removed")));
    }
    let home = parent_object(tree, path)?;
    let name = attribute.name.as_ref();
    match home.get_mut(name) {
        None => {}
        Some(Value::Array(list)) => match (listed, path.sub_attribute()) {
            (Some(listed), _) => remove_listed(list, attribute, listed),
            (None, Some(sub)) => remove_parts(list, target, sub)?,
            (None, None) => match &target.chosen {
                Some(filter) => list.retain(|element| !filter.matches_element(element)),
                None => list.clear(),
            },
        },
        Some(whole) => match path.sub_attribute() {
            Some(sub) => {
                stored_object(whole, path)?.remove(sub.name.as_ref());
            }
            None => *whole = Value::Null,
        },
    }
    home.retain(|_, value| !is_empty(value));
    Ok(())
}

/// One part of the elements that are meant; an element of which nothing is left goes.
fn remove_parts(list: &mut Vec<Value>, target: &PatchTarget, sub: &Attribute) -> Result<(), ScimError> {
    for element in list.iter_mut() {
        if target.chosen.as_ref().is_some_and(|filter| !filter.matches_element(element)) {
            continue;
        }
        let parts = stored_object(element, &target.path)?;
        if sub.mutability == Mutability::Immutable && parts.contains_key(sub.name.as_ref()) {
            return Err(ScimError::against_mutability(format!("{target} cannot change: remove the element")));
        }
        parts.remove(sub.name.as_ref());
    }
    list.retain(|element| !is_empty(element));
    Ok(())
}

/// The elements that are like one of those listed: in `value` where that identifies them, else in everything that
/// the listed one says.
fn remove_listed(list: &mut Vec<Value>, attribute: &Attribute, listed: &[Value]) {
    if identifies_by_value(attribute) {
        let ids: HashSet<String> =
            listed.iter().map(|element| elements::element_identity(attribute, element)).collect();
        list.retain(|element| !ids.contains(&elements::element_identity(attribute, element)));
        return;
    }
    list.retain(|element| !listed.iter().any(|like| says_all_of(attribute, element, like)));
}

fn says_all_of(attribute: &Attribute, element: &Value, like: &Value) -> bool {
    if attribute.kind != Type::Complex {
        return elements::element_identity(attribute, element) == elements::element_identity(attribute, like);
    }
    like.as_object().is_some_and(|like| {
        like.iter().all(|(name, wanted)| match (element.get(name), wanted, attribute.sub_attribute(name)) {
            (Some(Value::String(found)), Value::String(wanted), Some(sub)) => {
                crate::filter::same_text(sub, found, wanted)
            }
            (found, wanted, _) => found == Some(wanted),
        })
    })
}
