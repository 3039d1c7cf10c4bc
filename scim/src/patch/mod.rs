//! PATCH (RFC 7644 §3.5.2): a resource and operations make a resource.
//!
//! A [`Patch`] exists only where every operation is understood: known path, right type, allowed to clients. Applying
//! it is pure and atomic: all operations in order on a copy, or an error and nothing. An operation that is accepted
//! is applied; the two that leave everything as it is are one that repeats a readOnly value and one that sets the
//! password, which this service takes and throws away.

mod add;
mod elements;
mod read;
mod references;
mod remove;
mod repeat;
mod replace;
mod target;

use std::collections::HashSet;

use portcullis_policy::ResourceId;
use serde_json::{Map, Value};

use crate::conform;
use crate::error::ScimError;
use crate::resource::{Resource, ResourceRecord, is_empty};
use crate::schema::{AttributePath, Schemas};

use references::References;

pub use read::MAX_OPERATIONS;
pub(crate) use target::{MAX_PATH, PatchTarget, PathTarget};

/// Operations on one resource, checked against the schemas; applied in order, all or none.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    operations: Vec<Operation>,
}

/// One operation; values are in canonical form and say something.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operation {
    Add(PatchTarget, Value),
    Replace(PatchTarget, Value),
    /// With a list: only the elements that are like one of these.
    Remove(PatchTarget, Option<Vec<Value>>),
    /// A readOnly attribute and the value the client believes it has.
    Repeat(AttributePath, Value),
}

impl Patch {
    /// The resource after all operations, in order. `before` is as the store has it: with its members, if it is a
    /// group, and with its groups, if it is a user. Where nothing changes the result equals `before.resource`.
    ///
    /// # Errors
    /// `noTarget` where a path finds nothing to replace, `mutability` where a value may not change, `invalidValue`
    /// where the result is no valid resource. Nothing is applied then.
    pub fn apply_to(&self, schemas: &Schemas, before: &ResourceRecord) -> Result<Resource, ScimError> {
        let mut tree = before.resource.tree.clone();
        let mut references = References::default();
        for operation in &self.operations {
            if references.apply_operation(&mut tree, operation)? {
                continue;
            }
            match operation {
                Operation::Add(target, value) => add::apply_add(&mut tree, target, value)?,
                Operation::Replace(target, value) => replace::apply_replace(&mut tree, target, value)?,
                Operation::Remove(target, listed) => {
                    remove::apply_remove(&mut tree, target, listed.as_deref())?
                }
                Operation::Repeat(path, value) => repeat::check_repeat(before, path, value)?,
            }
        }
        references.put_back(&mut tree);
        tree.retain(|_, value| !is_empty(value));
        let after = before.resource.with_tree(tree);
        conform::check_base(schemas, &after)?;
        conform::check_extensions(schemas, &after, Some(&before.resource))?;
        Ok(after)
    }

    /// Takes what it does to members apart from the rest, where it names each by its id: then nobody has to look at those
    /// the group has. None where it chooses or replaces them in another way.
    pub fn split_members(&self) -> Option<(Patch, MemberChanges)> {
        let mut rest = Vec::new();
        let mut last_word = MemberChanges::default();
        for operation in &self.operations {
            let target = match operation {
                Operation::Add(target, _) | Operation::Replace(target, _) | Operation::Remove(target, _) => {
                    target
                }
                Operation::Repeat(path, _) if is_members(path) => return None,
                Operation::Repeat(..) => {
                    rest.push(operation.clone());
                    continue;
                }
            };
            if is_members(&target.path) {
                last_word.note_operation(references::ReferenceStep::of_operation(target, operation)?);
            } else {
                rest.push(operation.clone());
            }
        }
        Some((Patch { operations: rest }, last_word))
    }

    /// The ids of the members that it adds or sets.
    pub(crate) fn members(&self) -> Vec<ResourceId> {
        let written = self.operations.iter().filter_map(|operation| match operation {
            Operation::Add(target, value) | Operation::Replace(target, value)
                if target.path.extension().is_none() && target.path.attribute().name == "members" =>
            {
                Some(value)
            }
            _ => None,
        });
        let elements = written.flat_map(|value| match value {
            Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        });
        elements.filter_map(|element| element.get("value")?.as_str()).map(ResourceId::new).collect()
    }

    /// Tells whether it may leave a user inactive: some operation sets `active` to anything but true, or removes it.
    pub(crate) fn can_deactivate(&self) -> bool {
        self.operations.iter().any(|operation| match operation {
            Operation::Add(target, value) | Operation::Replace(target, value) => {
                target.path.as_str() == ACTIVE && *value != Value::Bool(true)
            }
            Operation::Remove(target, _) => target.path.as_str() == ACTIVE,
            Operation::Repeat(..) => false,
        })
    }

    /// Tells whether it may take a member out of a group, or give the group another name, to which no role may be
    /// bound.
    pub(crate) fn can_remove_access(&self) -> bool {
        self.operations.iter().any(|operation| match operation {
            Operation::Add(target, _) => target.path.as_str() == "displayName",
            Operation::Replace(target, _) | Operation::Remove(target, _) => {
                let is_base = target.path.extension().is_none();
                is_base && matches!(target.path.attribute().name.as_ref(), "displayName" | "members")
            }
            Operation::Repeat(..) => false,
        })
    }
}

/// The members that are added to a group and those that are taken out: nobody is both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberChanges {
    /// Those who shall be in it.
    pub added: Vec<ResourceId>,
    /// Those who shall not.
    pub removed: Vec<ResourceId>,
}

impl MemberChanges {
    /// Of each member the last word counts.
    fn note_operation(&mut self, step: references::ReferenceStep<'_>) {
        let (ids, is_added): (Vec<ResourceId>, bool) = match step {
            references::ReferenceStep::Add(elements) => {
                let id = |element: &Value| element.get("value").and_then(Value::as_str).map(ResourceId::new);
                (elements.iter().filter_map(id).collect(), true)
            }
            references::ReferenceStep::Remove(keys) => {
                (keys.iter().map(|key| ResourceId::new(key)).collect(), false)
            }
        };
        let named: HashSet<&ResourceId> = ids.iter().collect();
        self.added.retain(|id| !named.contains(id));
        self.removed.retain(|id| !named.contains(id));
        drop(named);
        if is_added { &mut self.added } else { &mut self.removed }.extend(ids);
    }
}

fn is_members(path: &AttributePath) -> bool {
    path.extension().is_none() && path.attribute().name.as_ref() == "members"
}

/// Whoever has none is out, as with false.
const ACTIVE: &str = "active";

/// The object that holds an attribute: the resource, or its part of an extension, made if need be.
fn parent_object<'a>(
    tree: &'a mut Map<String, Value>,
    path: &AttributePath,
) -> Result<&'a mut Map<String, Value>, ScimError> {
    match path.extension() {
        None => Ok(tree),
        Some(urn) => {
            stored_object(tree.entry(urn.as_ref()).or_insert_with(|| Value::Object(Map::new())), path)
        }
    }
}

/// A stored value that must be an object.
fn stored_object<'a>(
    value: &'a mut Value,
    path: &AttributePath,
) -> Result<&'a mut Map<String, Value>, ScimError> {
    value.as_object_mut().ok_or_else(|| misshapen_tree(path))
}

/// A stored value that must be a list; an absent one is made.
fn stored_list<'a>(
    tree: &'a mut Map<String, Value>,
    path: &AttributePath,
) -> Result<&'a mut Vec<Value>, ScimError> {
    let value = parent_object(tree, path)?
        .entry(path.attribute().name.as_ref())
        .or_insert_with(|| Value::Array(Vec::new()));
    value.as_array_mut().ok_or_else(|| misshapen_tree(path))
}

/// The tree in the store is not what the schemas say: a fault of ours, not of the request.
fn misshapen_tree(_: &AttributePath) -> ScimError {
    ScimError::Internal
}
