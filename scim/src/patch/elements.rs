//! Elements of a list: which are meant, which are the same, which one is primary.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::conform::{self, identifies_by_value, is_primary};
use crate::error::ScimError;
use crate::filter::{CompareOp, Comparison, Filter, Literal, comparable_value};
use crate::schema::{Attribute, AttributePath, Mutability};

use super::PatchTarget;

/// Adds elements to a list; one that is there already takes on what the new one says beyond it.
pub(super) fn append_elements(
    list: &mut Vec<Value>,
    path: &AttributePath,
    new: &[Value],
) -> Result<Vec<usize>, ScimError> {
    let attribute = path.attribute();
    let mut known: HashMap<String, usize> = HashMap::with_capacity(list.len());
    for (index, element) in list.iter().enumerate() {
        known.entry(element_identity(attribute, element)).or_insert(index);
    }
    let mut touched = Vec::with_capacity(new.len());
    for element in new {
        let key = element_identity(attribute, element);
        let index = *known.entry(key).or_insert(list.len());
        match list.get_mut(index) {
            Some(present) if present.is_object() => merge_object(present, attribute, element)?,
            Some(_) => {} // a simple value is there already
            None => list.push(element.clone()),
        }
        touched.push(index);
    }
    conform::check_length(path, list.len())?;
    Ok(touched)
}

/// Gives what two elements of a list have in common when they are the same one: `value` and `type`, or `value` alone
/// where it is a reference, or everything where there is no `value`; of a simple value itself, as it is compared.
pub(super) fn element_identity(attribute: &Attribute, element: &Value) -> String {
    let part = |name: &str| {
        let value = element.get(name)?;
        match attribute.sub_attribute(name) {
            Some(sub) => comparable_value(sub, value),
            None => value.as_str().map(str::to_owned),
        }
    };
    if let Some(simple) = comparable_value(attribute, element) {
        return simple;
    }
    match (part("value"), identifies_by_value(attribute)) {
        (Some(value), true) => value,
        (Some(value), false) => {
            Value::from(vec![Value::from(value), part("type").map_or(Value::Null, Value::from)]).to_string()
        }
        (None, _) => element.to_string(),
    }
}

/// Lays the parts of one object over another.
pub(super) fn merge_object(present: &mut Value, attribute: &Attribute, new: &Value) -> Result<(), ScimError> {
    let (Some(present), Some(new)) = (present.as_object_mut(), new.as_object()) else {
        return Err(ScimError::Internal);
    };
    for (name, value) in new {
        if value.is_null() {
            present.remove(name);
        } else if let Some(sub) = attribute.sub_attribute(name) {
            lay_part(present, sub, value)?;
        }
    }
    Ok(())
}

/// Sets one part of an element.
pub(super) fn set_part(element: &mut Value, sub: &Attribute, value: &Value) -> Result<(), ScimError> {
    lay_part(element.as_object_mut().ok_or(ScimError::Internal)?, sub, value)
}

fn lay_part(parts: &mut Map<String, Value>, sub: &Attribute, value: &Value) -> Result<(), ScimError> {
    let present = parts.get(sub.name.as_ref());
    if sub.mutability == Mutability::Immutable && present.is_some_and(|present| present != value) {
        return Err(ScimError::against_mutability(format!(
            "{} cannot change: replace the element",
            sub.name
        )));
    }
    parts.insert(sub.name.to_string(), value.clone());
    Ok(())
}

/// References are in a list once each, whatever was written into it.
pub(super) fn keep_once(list: &mut Vec<Value>, attribute: &Attribute) {
    if identifies_by_value(attribute) {
        let mut known = HashSet::new();
        list.retain(|element| known.insert(element_identity(attribute, element)));
    }
}

/// Finds the indices of the elements that a filter chooses.
pub(super) fn chosen_indices(list: &[Value], filter: &Filter) -> Vec<usize> {
    let matching = list.iter().enumerate().filter(|(_, element)| filter.matches_element(element));
    matching.map(|(index, _)| index).collect()
}

/// The element that a filter describes: its `eq` terms.
pub(super) fn described_element(
    target: &PatchTarget,
    filter: &Filter,
) -> Result<Map<String, Value>, ScimError> {
    let mut element = Map::new();
    if describe_terms(filter, &mut element) {
        Ok(element)
    } else {
        Err(ScimError::no_target(format!("{target} finds nothing, and its filter does not say what to make")))
    }
}

fn describe_terms(filter: &Filter, element: &mut Map<String, Value>) -> bool {
    match filter {
        Filter::All(parts) => parts.iter().all(|part| describe_terms(part, element)),
        Filter::Compare(Comparison { path, operator: CompareOp::Eq, value }) => {
            let value = match value {
                Literal::Text(text) => Value::from(text.as_str()),
                Literal::Truth(truth) => Value::from(*truth),
                Literal::Number(number) => Value::Number(number.clone()),
                Literal::Moment(_) | Literal::Null => return false,
            };
            describe_part(path.leaf(), value, element)
        }
        Filter::Compare(Comparison { path, operator: CompareOp::Ne, value: Literal::Truth(true) })
            if path.leaf().name.as_ref() == "primary" =>
        {
            describe_part(path.leaf(), Value::Bool(false), element)
        }
        // So is `primary eq false` read.
        Filter::Not(inner) => match &**inner {
            Filter::Compare(Comparison { path, operator: CompareOp::Eq, value: Literal::Truth(true) })
                if path.leaf().name.as_ref() == "primary" =>
            {
                describe_part(path.leaf(), Value::Bool(false), element)
            }
            _ => false,
        },
        _ => false,
    }
}

/// A new primary element is the only one (RFC 7643 §2.4).
pub(super) fn settle_primary(
    list: &mut [Value],
    path: &AttributePath,
    touched: &[usize],
) -> Result<(), ScimError> {
    let mut new = touched.iter().copied().filter(|index| list.get(*index).is_some_and(is_primary));
    let Some(first) = new.next() else { return Ok(()) };
    if new.any(|index| index != first) {
        return Err(ScimError::invalid_value(format!("only one of {path} can be primary")));
    }
    for (index, element) in list.iter_mut().enumerate() {
        if index != first && is_primary(element) {
            element["primary"] = Value::Bool(false);
        }
    }
    Ok(())
}

/// Lays down one part that a filter names; false where another part of it names another value.
fn describe_part(part: &Attribute, value: Value, element: &mut Map<String, Value>) -> bool {
    let said_before = element.insert(part.name.to_string(), value.clone());
    conform::is_kept(part) && said_before.is_none_or(|before| before == value)
}
