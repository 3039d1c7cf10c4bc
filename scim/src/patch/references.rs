//! A list of references under work: `members`. What several operations do to it costs what they name, not what the
//! list holds, since each element is found by its key.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::conform::identifies_by_value;
use crate::error::ScimError;
use crate::filter::{CompareOp, Comparison, Filter, Literal, comparable_text};
use crate::schema::AttributePath;

use super::{Operation, PatchTarget, elements};

/// As many elements of such lists one PATCH looks at by operations that do not go by keys.
const LOOKED_AT: usize = 1_000_000;

/// The one list of references that was worked on last.
#[derive(Default)]
pub(super) struct References {
    open: Option<KeyedList>,
    looked_at: usize,
}

/// Elements by key; what was taken out leaves a hole, so that the others keep their places.
struct KeyedList {
    path: AttributePath,
    elements: Vec<Option<Value>>,
    places: HashMap<String, usize>,
}

/// One change of an operation, where it goes by keys.
pub(super) enum ReferenceStep<'a> {
    Add(&'a [Value]),
    Remove(Vec<String>),
}

impl References {
    /// Does the operation, if it is one that goes by keys; else false.
    pub(super) fn apply_operation(
        &mut self,
        tree: &mut Map<String, Value>,
        operation: &Operation,
    ) -> Result<bool, ScimError> {
        let (Operation::Add(target, _) | Operation::Replace(target, _) | Operation::Remove(target, _)) =
            operation
        else {
            return Ok(false);
        };
        if !is_list_of_references(target) {
            return Ok(false);
        }
        let Some(step) = ReferenceStep::of_operation(target, operation) else {
            self.put_back(tree);
            let held = super::stored_list(tree, &target.path)?.len();
            self.looked_at = self.looked_at.saturating_add(held);
            let is_too_much = self.looked_at > LOOKED_AT;
            return if is_too_much {
                Err(ScimError::TooLarge {
                    what: "what the operations of a PATCH look at, one after another,",
                    limit: "1000000 members".into(),
                })
            } else {
                Ok(false)
            };
        };
        if self.open.as_ref().is_none_or(|open| open.path.whole_attribute() != target.path.whole_attribute())
        {
            self.put_back(tree);
            self.open = Some(KeyedList::take_target(tree, target)?);
        }
        let Some(list) = &mut self.open else { return Err(ScimError::Internal) };
        list.apply_step(step)?;
        Ok(true)
    }

    /// Puts the list back into the tree.
    pub(super) fn put_back(&mut self, tree: &mut Map<String, Value>) {
        if let Some(list) = self.open.take() {
            let elements = list.elements.into_iter().flatten().collect();
            tree.insert(list.path.attribute().name.to_string(), Value::Array(elements));
        }
    }
}

impl KeyedList {
    fn take_target(tree: &mut Map<String, Value>, target: &PatchTarget) -> Result<Self, ScimError> {
        let held = std::mem::take(super::stored_list(tree, &target.path)?);
        let mut places = HashMap::with_capacity(held.len());
        for (place, element) in held.iter().enumerate() {
            places.entry(elements::element_identity(target.path.attribute(), element)).or_insert(place);
        }
        Ok(Self { path: target.path.clone(), elements: held.into_iter().map(Some).collect(), places })
    }

    fn apply_step(&mut self, step: ReferenceStep<'_>) -> Result<(), ScimError> {
        let attribute = self.path.attribute();
        match step {
            ReferenceStep::Add(new) => {
                for element in new {
                    let key = elements::element_identity(attribute, element);
                    let place = *self.places.entry(key).or_insert(self.elements.len());
                    match self.elements.get_mut(place) {
                        Some(Some(present)) => elements::merge_object(present, attribute, element)?,
                        _ => self.elements.push(Some(element.clone())),
                    }
                }
            }
            ReferenceStep::Remove(keys) => {
                for key in keys {
                    if let Some(place) = self.places.remove(&key) {
                        self.elements[place] = None;
                    }
                }
            }
        }
        Ok(())
    }
}

impl<'a> ReferenceStep<'a> {
    pub(super) fn of_operation(target: &PatchTarget, operation: &'a Operation) -> Option<Self> {
        if target.path.sub_attribute().is_some() {
            return None;
        }
        let attribute = target.path.attribute();
        match (operation, &target.chosen) {
            (Operation::Add(_, Value::Array(new)), None) => Some(Self::Add(new)),
            (Operation::Remove(_, Some(listed)), None) => Some(Self::Remove(
                listed.iter().map(|element| elements::element_identity(attribute, element)).collect(),
            )),
            (Operation::Remove(_, None), Some(filter)) => {
                let mut keys = Vec::new();
                collect_keys(filter, &mut keys).then_some(Self::Remove(keys))
            }
            _ => None,
        }
    }
}

/// Tells whether a filter names elements by their `value` and by nothing else: `value eq "x"`, several with `or`.
fn collect_keys(filter: &Filter, keys: &mut Vec<String>) -> bool {
    match filter {
        Filter::Any(parts) => parts.iter().all(|part| collect_keys(part, keys)),
        Filter::Compare(Comparison { path, operator: CompareOp::Eq, value: Literal::Text(text) })
            if path.leaf().name.as_ref() == "value" =>
        {
            keys.push(comparable_text(path.leaf(), text));
            true
        }
        _ => false,
    }
}

/// Tells whether it is a list whose elements are told apart by their `value` alone, none of them before the others.
fn is_list_of_references(target: &PatchTarget) -> bool {
    let attribute = target.path.attribute();
    attribute.multi
        && target.path.extension().is_none()
        && identifies_by_value(attribute)
        && attribute.sub_attribute("primary").is_none()
}
