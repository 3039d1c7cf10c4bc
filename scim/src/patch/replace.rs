//! `replace` (RFC 7644 §3.5.2.3): a list is replaced, an object merged into, a single value set. What is not there
//! yet is added; but a filter that finds nothing is `noTarget`.

use serde_json::{Map, Value};

use crate::error::ScimError;
use crate::filter::Filter;

use super::{PatchTarget, add, elements, parent_object, stored_list};

pub(super) fn apply_replace(
    tree: &mut Map<String, Value>,
    target: &PatchTarget,
    value: &Value,
) -> Result<(), ScimError> {
    let path = &target.path;
    match (&target.chosen, path.attribute().multi) {
        (Some(filter), _) => replace_chosen(tree, target, filter, value),
        (None, true) if path.sub_attribute().is_some() => add::to_every(tree, target, value),
        (None, true) => {
            parent_object(tree, path)?.insert(path.attribute().name.to_string(), value.clone());
            Ok(())
        }
        (None, false) => add::to_single(tree, path, value),
    }
}

fn replace_chosen(
    tree: &mut Map<String, Value>,
    target: &PatchTarget,
    filter: &Filter,
    value: &Value,
) -> Result<(), ScimError> {
    let path = &target.path;
    let list = stored_list(tree, path)?;
    let touched = elements::chosen_indices(list, filter);
    if touched.is_empty() {
        return Err(ScimError::no_target(format!("{target} finds nothing to replace")));
    }
    for index in &touched {
        match path.sub_attribute() {
            Some(sub) => elements::set_part(&mut list[*index], sub, value)?,
            None => list[*index] = value.clone(),
        }
    }
    elements::settle_primary(list, path, &touched)?;
    elements::keep_once(list, path.attribute());
    Ok(())
}
