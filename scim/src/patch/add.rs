//! `add` (RFC 7644 §3.5.2.1): appends to a list, merges into an object, sets a single value.

use serde_json::{Map, Value};

use crate::conform;
use crate::error::ScimError;
use crate::filter::Filter;
use crate::schema::{AttributePath, Type};

use super::{PatchTarget, elements, parent_object, stored_list};

pub(super) fn apply_add(
    tree: &mut Map<String, Value>,
    target: &PatchTarget,
    value: &Value,
) -> Result<(), ScimError> {
    let path = &target.path;
    match (&target.chosen, path.attribute().multi) {
        (Some(filter), _) => to_chosen(tree, target, filter, value),
        (None, true) => to_list(tree, target, value),
        (None, false) => to_single(tree, path, value),
    }
}

/// One value, or a part of one. `replace` does the same.
pub(super) fn to_single(
    tree: &mut Map<String, Value>,
    path: &AttributePath,
    value: &Value,
) -> Result<(), ScimError> {
    let home = parent_object(tree, path)?;
    let name = path.attribute().name.as_ref();
    if path.attribute().kind != Type::Complex {
        home.insert(name.to_owned(), value.clone());
        return Ok(());
    }
    let whole = home.entry(name).or_insert_with(|| Value::Object(Map::new()));
    match path.sub_attribute() {
        Some(sub) => elements::set_part(whole, sub, value)?,
        None => elements::merge_object(whole, path.attribute(), value)?,
    }
    home.retain(|_, value| !crate::resource::is_empty(value));
    Ok(())
}

fn to_list(tree: &mut Map<String, Value>, target: &PatchTarget, value: &Value) -> Result<(), ScimError> {
    let path = &target.path;
    if path.sub_attribute().is_some() {
        return to_every(tree, target, value);
    }
    let Value::Array(new) = value else { return Err(ScimError::Internal) };
    let list = stored_list(tree, path)?;
    let touched = elements::append_elements(list, path, new)?;
    elements::settle_primary(list, path, &touched)
}

/// `emails.value` without a filter: fine while there is one e-mail at most. `replace` does the same.
pub(super) fn to_every(
    tree: &mut Map<String, Value>,
    target: &PatchTarget,
    value: &Value,
) -> Result<(), ScimError> {
    let path = &target.path;
    let Some(sub) = path.sub_attribute() else { return Err(ScimError::Internal) };
    let list = stored_list(tree, path)?;
    match list.as_mut_slice() {
        [] => list.push(Value::Object(Map::from_iter([(sub.name.to_string(), value.clone())]))),
        [only] => elements::set_part(only, sub, value)?,
        _ => return Err(ScimError::no_target(format!("{target} names several: say which one by a filter"))),
    }
    Ok(())
}

/// Elements that a filter chooses; where there is none, `add` makes the one that is described (rule 6).
fn to_chosen(
    tree: &mut Map<String, Value>,
    target: &PatchTarget,
    filter: &Filter,
    value: &Value,
) -> Result<(), ScimError> {
    let path = &target.path;
    let list = stored_list(tree, path)?;
    let mut touched = elements::chosen_indices(list, filter);
    if touched.is_empty() {
        let mut element = Value::Object(elements::described_element(target, filter)?);
        match path.sub_attribute() {
            // What the filter says of this part, the value says better.
            Some(sub) => element[sub.name.as_ref()] = value.clone(),
            None => elements::merge_object(&mut element, path.attribute(), value)?,
        }
        touched.push(list.len());
        list.push(element);
        conform::check_length(path, list.len())?;
    } else {
        for index in &touched {
            match path.sub_attribute() {
                Some(sub) => elements::set_part(&mut list[*index], sub, value)?,
                None => elements::merge_object(&mut list[*index], path.attribute(), value)?,
            }
        }
    }
    elements::settle_primary(list, path, &touched)?;
    elements::keep_once(list, path.attribute());
    Ok(())
}
