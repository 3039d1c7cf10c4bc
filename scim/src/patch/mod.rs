//! PATCH (RFC 7644 §3.5.2): a resource and operations make a resource.

use serde_json::Value;

use crate::filter::Filter;
use crate::schema::AttributePath;

/// Operations on one resource, checked against the schemas; applied in order, all or none.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    pub(crate) operations: Vec<Operation>,
}

/// One operation; values are in canonical form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operation {
    Add(Target, Value),
    Replace(Target, Value),
    /// With a list: only the elements that are like one of these.
    Remove(Target, Option<Vec<Value>>),
}

/// What an operation changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    /// The attribute, or one sub-attribute of it.
    pub(crate) path: AttributePath,
    /// Which elements of a list; `None` for all.
    pub(crate) chosen: Option<Filter>,
}

impl Operation {
    pub(crate) fn target(&self) -> &Target {
        match self {
            Operation::Add(target, _) | Operation::Replace(target, _) | Operation::Remove(target, _) => {
                target
            }
        }
    }
}

impl Patch {
    /// Whether it may leave a user inactive: some operation sets `active` to anything but true, or removes it.
    pub(crate) fn can_deactivate(&self) -> bool {
        self.operations.iter().any(|operation| {
            operation.target().path.as_str() == "active"
                && match operation {
                    Operation::Add(_, value) | Operation::Replace(_, value) => *value != Value::Bool(true),
                    Operation::Remove(..) => true,
                }
        })
    }

    /// Whether it may take a member out of a group, or give the group another name, to which no role may be bound.
    pub(crate) fn can_remove_access(&self) -> bool {
        self.operations.iter().any(|operation| match operation.target().path.attribute().name.as_ref() {
            "members" => !matches!(operation, Operation::Add(..)),
            "displayName" => true,
            _ => false,
        })
    }
}
