//! What a filter means: the reference that a store's search agrees with, and what value paths of PATCH run.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::moment::Moment;
use crate::resource::{ResourceRecord, is_empty};
use crate::schema::{Attribute, AttributePath};

use super::comparable::{comparable_number, comparable_text, same_text};
use super::{CompareOp, Comparison, Filter, Literal};

impl Filter {
    /// Tells whether a resource meets the filter.
    pub fn matches(&self, record: &ResourceRecord) -> bool {
        self.holds_in(&NameScope::Resource(&record.facts()))
    }

    /// Tells whether one element of a list meets a filter that was written inside `[ ]`.
    pub(crate) fn matches_element(&self, element: &Value) -> bool {
        element.as_object().is_some_and(|element| self.holds_in(&NameScope::Element(element)))
    }

    fn holds_in<'a>(&'a self, scope: &NameScope<'a>) -> bool {
        match self {
            Filter::All(parts) => parts.iter().all(|part| part.holds_in(scope)),
            Filter::Any(parts) => parts.iter().any(|part| part.holds_in(scope)),
            Filter::Not(inner) => !inner.holds_in(scope),
            Filter::Compare(comparison) => comparison.holds_in(scope),
            Filter::Present(path) => scope.values_at(path).any(is_present),
            Filter::Element(path, inner) => scope.values_at(path).any(|value| inner.matches_element(value)),
        }
    }
}

impl Comparison {
    fn holds_in<'a>(&'a self, scope: &NameScope<'a>) -> bool {
        let mut values = scope.values_at(&self.path);
        if self.value == Literal::Null {
            let absent = !values.any(is_present);
            return absent == (self.operator == CompareOp::Eq);
        }
        let leaf = self.path.leaf();
        match self.operator {
            CompareOp::Ne => !values.any(|value| self.compares(leaf, value, CompareOp::Eq)),
            operator => values.any(|value| self.compares(leaf, value, operator)),
        }
    }

    fn compares(&self, leaf: &Attribute, value: &Value, operator: CompareOp) -> bool {
        match (&self.value, value) {
            (Literal::Truth(wanted), Value::Bool(found)) => wanted == found,
            (Literal::Number(wanted), Value::Number(found)) => {
                let (found, wanted) = (comparable_number(leaf, found), comparable_number(leaf, wanted));
                found.zip(wanted).is_some_and(|(found, wanted)| is_ordered(found.cmp(&wanted), operator))
            }
            (Literal::Moment(wanted), Value::String(found)) => {
                Moment::parse(found).is_some_and(|found| is_ordered(found.cmp(wanted), operator))
            }
            (Literal::Text(wanted), Value::String(found)) => {
                if operator == CompareOp::Eq {
                    return same_text(leaf, found, wanted);
                }
                let (found, wanted) = (comparable_text(leaf, found), comparable_text(leaf, wanted));
                match operator {
                    CompareOp::Co => found.contains(&wanted),
                    CompareOp::Sw => found.starts_with(&wanted),
                    CompareOp::Ew => found.ends_with(&wanted),
                    _ => is_ordered(found.cmp(&wanted), operator),
                }
            }
            _ => false,
        }
    }
}

fn is_ordered(ordering: Ordering, operator: CompareOp) -> bool {
    match operator {
        CompareOp::Eq => ordering == Ordering::Equal,
        CompareOp::Gt => ordering == Ordering::Greater,
        CompareOp::Ge => ordering != Ordering::Less,
        CompareOp::Lt => ordering == Ordering::Less,
        CompareOp::Le => ordering != Ordering::Greater,
        _ => false,
    }
}

/// A value that says something: not null, not empty, and of a complex one some part does.
pub(super) fn is_present(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().any(is_present),
        Value::Array(list) => list.iter().any(is_present),
        other => !is_empty(other),
    }
}

/// The level at which names are looked up.
pub(super) enum NameScope<'a> {
    Resource(&'a Map<String, Value>),
    Element(&'a Map<String, Value>),
}

impl<'a> NameScope<'a> {
    /// The values at a path; those of all elements of a list.
    pub(super) fn values_at(&self, path: &'a AttributePath) -> impl Iterator<Item = &'a Value> {
        let (whole, part) = match self {
            NameScope::Element(element) => (element.get(path.leaf().name.as_ref()), None),
            NameScope::Resource(tree) => {
                let home = match path.extension() {
                    None => Some(*tree),
                    Some(urn) => tree.get(urn.as_ref()).and_then(Value::as_object),
                };
                (home.and_then(|home| home.get(path.attribute().name.as_ref())), path.sub_attribute())
            }
        };
        let elements = match whole {
            Some(Value::Array(list)) => list.as_slice(),
            Some(value) => std::slice::from_ref(value),
            None => &[],
        };
        elements.iter().filter_map(move |element| match part {
            None => Some(element),
            Some(sub) => element.get(sub.name.as_ref()),
        })
    }
}
