//! Rows for a store's search: each value of a resource as filters compare it, and one row for each complex value.
//!
//! The rule it protects: whatever is present has a row, so that `pr`, `ne` and `not` are right, and all rows of one
//! element bear its number, so that `[ ]` is about one element. Not here: what a store keeps in its own way, which
//! are `id`, `meta`, the members of a group and the groups of a user.

use serde_json::{Map, Value};

use crate::resource::Resource;
use crate::schema::{AttributePath, Mutability, ResourceKind, Schema, Schemas, Type, Uniqueness};

use super::comparable::comparable_value;
use super::evaluate::is_present;

/// The longest value, in bytes as compared, that stands in the key of a store's row as a whole. Names that must be
/// unique are no longer; of others a store's key has a hash.
pub const MAX_INDEXED: usize = 1_024;

/// One searchable value of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SearchRow {
    /// The canonical name: `userName`, `emails.value`, `urn:…:User:manager.value`; `emails` for a complex value as
    /// a whole.
    pub path: String,
    /// The index of the element of a list it belongs to, from 0; 0 where there is no list.
    pub element: u32,
    /// The value as it is compared, of any length: text folded by `fold::same_key` unless the attribute is caseExact,
    /// numbers and moments as digits that are in their order, `true`, `false`; empty for a complex value and for Binary,
    /// of which it says that they are there.
    pub value: String,
}

impl Resource {
    /// Makes the rows by which a store finds this resource.
    pub fn search_rows(&self, schemas: &Schemas) -> Vec<SearchRow> {
        let mut rows = Vec::new();
        for (element, urn) in (0u32..).zip(self.schemas()) {
            rows.push(SearchRow { path: "schemas".to_owned(), element, value: urn.to_owned() });
        }
        for attribute in schemas.common_attributes().iter().chain(&schemas.base(self.kind()).attributes) {
            let is_kept_elsewhere = self.kind() == ResourceKind::Group && attribute.name == "members";
            if !is_kept_elsewhere && attribute.name != "schemas" {
                index_attribute(&mut rows, &AttributePath::new(None, attribute, None), &self.tree);
            }
        }
        for Schema { urn, attributes, .. } in schemas.extensions(self.kind()) {
            let Some(tree) = self.tree.get(urn.as_ref()).and_then(Value::as_object) else { continue };
            for attribute in attributes {
                index_attribute(&mut rows, &AttributePath::new(Some(urn), attribute, None), tree);
            }
        }
        rows
    }

    /// Those rows whose value no other resource of the directory may have, as an extension that is declared says.
    pub fn unique_rows(&self, schemas: &Schemas) -> Vec<SearchRow> {
        let mut rows = Vec::new();
        for Schema { urn, attributes, .. } in schemas.extensions(self.kind()) {
            let Some(tree) = self.tree.get(urn.as_ref()).and_then(Value::as_object) else { continue };
            for attribute in attributes.iter().filter(|row| row.uniqueness == Uniqueness::Server) {
                index_attribute(&mut rows, &AttributePath::new(Some(urn), attribute, None), tree);
            }
        }
        rows
    }
}

/// Adds the rows of one attribute.
fn index_attribute(rows: &mut Vec<SearchRow>, path: &AttributePath, tree: &Map<String, Value>) {
    let attribute = path.attribute();
    let Some(value) = tree.get(attribute.name.as_ref()) else { return };
    let elements = match value {
        Value::Array(list) => list.as_slice(),
        single => std::slice::from_ref(single),
    };
    for (element, value) in (0u32..).zip(elements) {
        if attribute.kind != Type::Complex {
            rows.extend(search_row(path, element, value));
            continue;
        }
        if is_present(value) && is_stored(path) {
            rows.push(SearchRow { path: path.to_string(), element, value: String::new() });
        }
        for sub in &attribute.subs {
            let value = value.get(sub.name.as_ref());
            rows.extend(value.and_then(|value| search_row(&path.with_sub(sub), element, value)));
        }
    }
}

fn search_row(path: &AttributePath, element: u32, value: &Value) -> Option<SearchRow> {
    let leaf = path.leaf();
    let value = match value {
        _ if !is_stored(path) => return None,
        Value::String(_) if leaf.kind == Type::Binary => String::new(),
        value => comparable_value(leaf, value)?,
    };
    Some(SearchRow { path: path.to_string(), element, value })
}

/// Tells whether it is kept in the resource's document: clients write it, or an operator does.
fn is_stored(path: &AttributePath) -> bool {
    let kept = |mutability| matches!(mutability, Mutability::ReadWrite | Mutability::Immutable);
    let of_operator = path.extension().is_some() && path.attribute().mutability == Mutability::ReadOnly;
    of_operator || kept(path.attribute().mutability) && kept(path.leaf().mutability)
}
