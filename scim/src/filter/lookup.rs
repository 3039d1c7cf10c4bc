//! What a store can search by: rows of one narrow table, and look-ups over them.
//!
//! Each value a client wrote is a row (path, element, value as compared). A look-up finds the resources of which
//! one element has all its rows, which is what `emails[type eq "work"].value eq "x"` asks for; a filter is a list
//! of look-ups that must all find. Whatever cannot be said like this is refused, never answered wrong.

use serde_json::{Map, Value};

use crate::error::ScimError;
use crate::resource::Resource;
use crate::schema::{Attribute, AttributePath, Mutability, Schema, Schemas, Type};

use super::evaluate::comparable_text;
use super::{CompareOp, Comparison, Filter, Literal};

/// The longest value that is searched by, in bytes as compared. Longer values are kept and answered, not indexed.
pub const MAX_INDEXED: usize = 1_024;

/// One searchable value of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SearchRow {
    /// The canonical name: `userName`, `emails.value`, `urn:…:User:manager.value`.
    pub path: String,
    /// The index of the element of a list it belongs to, from 0; 0 where there is no list.
    pub element: u32,
    /// The value as it is compared: folded by `fold::same_key` unless the attribute is caseExact; `true`, `false`.
    pub value: String,
}

/// One condition of a search: there is an element of the resource that has every one of `rows`.
///
/// All rows of one look-up are of the same attribute. Two paths are not made by [`Resource::search_rows`] where the
/// store keeps them itself: `id`, and `members.value` once [`Resource::take_members`] was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// (path, value as compared); one at least.
    pub rows: Vec<(String, String)>,
}

impl Lookup {
    /// Tells whether these rows of one resource meet it: what the store's search must agree with.
    pub fn is_met_by(&self, rows: &[SearchRow]) -> bool {
        let Some((path, value)) = self.rows.first() else { return false };
        let has = |element: u32, path: &str, value: &str| {
            rows.iter().any(|row| row.element == element && row.path == path && row.value == value)
        };
        rows.iter()
            .filter(|row| row.path == *path && row.value == *value)
            .any(|first| self.rows.iter().all(|(path, value)| has(first.element, path, value)))
    }
}

impl Filter {
    /// The look-ups that must all find a resource for it to match.
    ///
    /// # Errors
    /// `invalidFilter` for a filter that is more than `eq` and `and`, or on something no row holds.
    pub fn lookups(&self) -> Result<Vec<Lookup>, ScimError> {
        match self {
            Filter::All(parts) => {
                let mut lookups = Vec::with_capacity(parts.len());
                for part in parts {
                    lookups.append(&mut part.lookups()?);
                }
                Ok(lookups)
            }
            Filter::Compare(comparison) => Ok(vec![Lookup { rows: vec![comparison.lookup_row()?] }]),
            Filter::Element(_, inner) => {
                let mut rows = Vec::new();
                inner.element_rows(&mut rows)?;
                Ok(vec![Lookup { rows }])
            }
            Filter::Any(_) => Err(not_searchable("or")),
            Filter::Not(_) => Err(not_searchable("not")),
            Filter::Present(_) => Err(not_searchable("pr")),
        }
    }

    fn element_rows(&self, rows: &mut Vec<(String, String)>) -> Result<(), ScimError> {
        match self {
            Filter::All(parts) => parts.iter().try_for_each(|part| part.element_rows(rows)),
            Filter::Compare(comparison) => {
                rows.push(comparison.lookup_row()?);
                Ok(())
            }
            Filter::Any(_) => Err(not_searchable("or")),
            Filter::Not(_) => Err(not_searchable("not")),
            Filter::Present(_) | Filter::Element(..) => Err(not_searchable("pr")),
        }
    }
}

impl Comparison {
    fn lookup_row(&self) -> Result<(String, String), ScimError> {
        let path = &self.path;
        if self.operator != CompareOp::Eq {
            return Err(not_searchable(self.operator.as_str()));
        }
        if path.as_str() != "id" && !is_indexed(path) {
            return Err(ScimError::invalid_filter(format!("{path} cannot be searched by")));
        }
        let value = match &self.value {
            Literal::Text(text) => comparable_text(path.leaf(), text),
            Literal::Truth(truth) => truth.to_string(),
            Literal::Moment(_) => {
                return Err(ScimError::invalid_filter(format!("{path} cannot be searched by")));
            }
            Literal::Null => {
                return Err(ScimError::invalid_filter("a search for what is absent is not offered"));
            }
        };
        if value.len() > MAX_INDEXED {
            return Err(ScimError::invalid_filter(format!(
                "a value to search by is limited to {MAX_INDEXED} bytes"
            )));
        }
        Ok((path.to_string(), value))
    }
}

fn not_searchable(word: &str) -> ScimError {
    ScimError::invalid_filter(format!("this service searches by eq and and; \"{word}\" is not offered"))
}

/// Tells whether rows hold the values of this path.
fn is_indexed(path: &AttributePath) -> bool {
    let open =
        |attribute: &Attribute| matches!(attribute.mutability, Mutability::ReadWrite | Mutability::Immutable);
    open(path.attribute())
        && open(path.leaf())
        && path.as_str() != "schemas"
        && matches!(path.leaf().kind, Type::String | Type::Reference | Type::Boolean)
}

impl Resource {
    /// The rows by which a store finds this resource.
    pub fn search_rows(&self, schemas: &Schemas) -> Vec<SearchRow> {
        let mut rows = Vec::new();
        for attribute in schemas.common_attributes().iter().chain(&schemas.base(self.kind()).attributes) {
            index_attribute(&mut rows, &AttributePath::new(None, attribute, None), &self.tree);
        }
        for Schema { urn, attributes, .. } in schemas.extensions(self.kind()) {
            let Some(tree) = self.tree.get(urn.as_ref()).and_then(Value::as_object) else { continue };
            for attribute in attributes {
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
    let parts: Vec<AttributePath> = match attribute.kind {
        Type::Complex => attribute.subs.iter().map(|sub| path.with_sub(sub)).collect(),
        _ => vec![path.clone()],
    };
    for part in parts.iter().filter(|part| is_indexed(part)) {
        for (element, value) in (0u32..).zip(elements) {
            let value = match part.sub_attribute() {
                Some(sub) => value.get(sub.name.as_ref()),
                None => Some(value),
            };
            let value = match value {
                Some(Value::String(text)) => comparable_text(part.leaf(), text),
                Some(Value::Bool(truth)) => truth.to_string(),
                _ => continue,
            };
            if value.len() <= MAX_INDEXED {
                rows.push(SearchRow { path: part.to_string(), element, value });
            }
        }
    }
}
