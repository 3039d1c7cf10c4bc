//! The order of a list (RFC 7644 §3.4.2.3): by one value of each resource.
//!
//! Of a list that value is the primary element's, or else the first one's. Missing values come last in ascending
//! order and first in descending; equal ones stay in the order of creation, in either direction.

use std::cmp::Ordering;

use serde_json::Value;

use crate::error::{ScimError, ScimType};
use crate::resource::ResourceRecord;
use crate::schema::{AttributePath, ResourceKind, Returned, Schemas, Type, shown};

use super::comparable::comparable_value;
use super::evaluate::NameScope;

/// An order that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The attribute; never complex: `emails` has been read as `emails.value`.
    pub by: AttributePath,
    /// The direction.
    pub order: SortOrder,
}

/// A direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// The least first, what is missing last.
    #[default]
    Ascending,
    /// The largest first, what is missing before it.
    Descending,
}

impl Sort {
    /// Reads `sortBy` and `sortOrder`.
    ///
    /// # Errors
    /// `invalidValue` for an attribute that is unknown, never told or of no order, and for a word that is no direction.
    pub fn parse_sort(
        schemas: &Schemas,
        kind: ResourceKind,
        by: &str,
        order: Option<&str>,
    ) -> Result<Self, ScimError> {
        let refused = |why: String| ScimError::of_type(ScimType::InvalidValue, format!("sortBy: {why}"));
        let path = schemas.resolve_name(kind, by.trim()).map_err(|error| refused(error.to_string()))?;
        let Some(path) = path.to_value() else {
            return Err(refused(format!("{path} has parts: say which one to sort by")));
        };
        let leaf = path.leaf();
        let is_made = leaf.kind == Type::Reference && leaf.is_ours();
        if leaf.returned == Returned::Never || leaf.kind == Type::Binary || is_made {
            return Err(refused(format!("nothing is sorted by {path}")));
        }
        if path.extension().is_none() && ["groups", "members"].contains(&path.attribute().name.as_ref()) {
            return Err(refused(format!("nothing is sorted by {path}: its elements have no order")));
        }
        let order = match order.map(str::trim) {
            None => SortOrder::default(),
            Some(word) if word.eq_ignore_ascii_case("ascending") => SortOrder::Ascending,
            Some(word) if word.eq_ignore_ascii_case("descending") => SortOrder::Descending,
            Some(word) => {
                let detail = format!("sortOrder: ascending or descending is due, not \"{}\"", shown(word));
                return Err(ScimError::of_type(ScimType::InvalidValue, detail));
            }
        };
        Ok(Self { by: path, order })
    }

    /// Compares two resources: the reference that a store's order agrees with. The order of creation is the caller's.
    pub fn compare(&self, left: &ResourceRecord, right: &ResourceRecord) -> Ordering {
        let ascending = match (self.sort_key(left), self.sort_key(right)) {
            (Some(left), Some(right)) => left.cmp(&right),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        match self.order {
            SortOrder::Ascending => ascending,
            SortOrder::Descending => ascending.reverse(),
        }
    }

    /// The value that a resource is sorted by.
    fn sort_key(&self, record: &ResourceRecord) -> Option<String> {
        let facts = record.facts();
        let whole = self.by.whole_attribute();
        let elements: Vec<&Value> = NameScope::Resource(&facts).values_at(&whole).collect();
        let value_of = |element: &&&Value| match self.by.sub_attribute() {
            Some(sub) => element.get(sub.name.as_ref()).is_some(),
            None => true,
        };
        let is_primary = |element: &&&Value| element.get("primary") == Some(&Value::Bool(true));
        let chosen =
            elements.iter().filter(value_of).find(is_primary).or_else(|| elements.iter().find(value_of))?;
        let value = match self.by.sub_attribute() {
            Some(sub) => chosen.get(sub.name.as_ref())?,
            None => chosen,
        };
        comparable_value(self.by.leaf(), value)
    }
}
