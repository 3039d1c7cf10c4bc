//! Which attributes an answer holds (RFC 7644 §3.9): all, those of `attributes`, or all but `excludedAttributes`.
//!
//! What is `returned: always` cannot be excluded, what is `never` cannot be asked for, and what is `request` is there only
//! where it is named. A name that no schema knows asks for nothing and is passed over.

use serde_json::{Map, Value};

use crate::schema::{AttributePath, NamedPart, ResourceKind, Returned, Schemas};

/// The parts of a resource that the client wants to see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Projection {
    /// Only these, and what is always there; `None` for everything.
    only: Option<Vec<AttributePath>>,
    without: Vec<AttributePath>,
}

impl Projection {
    /// Reads the two lists, names separated by commas. An empty list is as good as none.
    pub(crate) fn read_names(
        schemas: &Schemas,
        kind: ResourceKind,
        attributes: Option<&str>,
        excluded: Option<&str>,
    ) -> Self {
        let asked = attributes.filter(|names| !names.trim().is_empty());
        Self {
            only: asked.map(|names| attribute_paths(schemas, kind, names)),
            without: attribute_paths(schemas, kind, excluded.unwrap_or_default()),
        }
    }

    /// What either of two wants: of resources of one kind and of the other.
    pub(crate) fn joined_with(mut self, other: Self) -> Self {
        self.only = match (self.only, other.only) {
            (Some(mut only), Some(more)) => {
                only.extend(more);
                Some(only)
            }
            _ => None,
        };
        self.without.extend(other.without);
        self
    }

    /// Tells whether the client asked for anything but the usual, so that even an answer that has no body must have one
    /// (RFC 7644 §3.5.2).
    pub fn is_asked(&self) -> bool {
        self.only.is_some() || !self.without.is_empty()
    }

    /// Tells whether some part of the attribute of that canonical name is wanted: `members`, `groups`. What is not
    /// wanted a store need not read.
    pub fn wants(&self, attribute: &str) -> bool {
        let named = |path: &AttributePath| path.extension().is_none() && path.attribute().name == attribute;
        let asked = self.only.as_ref().is_none_or(|only| only.iter().any(named));
        asked && !self.without.iter().any(|path| named(path) && path.sub_attribute().is_none())
    }

    /// Leaves out what is told on request and was not named.
    pub(crate) fn leave_out_unnamed(
        &self,
        schemas: &Schemas,
        kind: ResourceKind,
        tree: &mut Map<String, Value>,
    ) {
        for attribute in &schemas.base(kind).attributes {
            for sub in attribute.subs.iter().filter(|sub| sub.returned == Returned::Request) {
                let path = AttributePath::new(None, attribute, Some(sub));
                if !self.only.as_ref().is_some_and(|only| only.contains(&path)) {
                    leave_out(tree, &path);
                }
            }
        }
    }

    /// Leaves of a whole resource what is wanted.
    pub(crate) fn project_tree(&self, schemas: &Schemas, mut tree: Map<String, Value>) -> Map<String, Value> {
        for path in &self.without {
            if path.leaf().returned != Returned::Always {
                leave_out(&mut tree, path);
            }
        }
        let Some(only) = &self.only else { return tree };
        let mut kept = Map::new();
        for attribute in
            schemas.common_attributes().iter().filter(|attribute| attribute.returned == Returned::Always)
        {
            if let Some(value) = tree.get(attribute.name.as_ref()) {
                kept.insert(attribute.name.to_string(), value.clone());
            }
        }
        for path in only {
            match path.extension() {
                None => take_over(&mut kept, &tree, path),
                Some(urn) => {
                    let Some(Value::Object(from)) = tree.get(urn.as_ref()) else { continue };
                    let part = kept.entry(urn.as_ref()).or_insert_with(|| Value::Object(Map::new()));
                    if let Value::Object(part) = part {
                        take_over(part, from, path);
                    }
                }
            }
        }
        drop_bare(&mut kept);
        kept
    }
}

/// Takes out the objects of which nothing is left, and the lists that had nothing else. A list that was empty stays.
fn drop_bare(tree: &mut Map<String, Value>) {
    let is_bare = |value: &Value| value.as_object().is_some_and(Map::is_empty);
    tree.retain(|_, value| {
        match value {
            Value::Object(part) => drop_bare(part),
            Value::Array(list) if !list.is_empty() => {
                list.retain(|element| !is_bare(element));
                return !list.is_empty();
            }
            _ => {}
        }
        !is_bare(value)
    });
}

fn attribute_paths(schemas: &Schemas, kind: ResourceKind, names: &str) -> Vec<AttributePath> {
    let mut paths = Vec::new();
    for name in names.split(',').map(str::trim) {
        match schemas.resolve_named(kind, name) {
            Ok(NamedPart::Attribute(path)) => paths.push(path),
            Ok(NamedPart::Extension(urn)) => {
                let attributes = schemas.extension(kind, &urn).map(|schema| schema.attributes.as_slice());
                let whole = attributes.unwrap_or_default().iter();
                paths.extend(whole.map(|attribute| AttributePath::new(Some(&urn), attribute, None)));
            }
            Err(_) => {}
        }
    }
    paths
}

/// Takes one attribute, or one part of it, out of a tree.
fn leave_out(tree: &mut Map<String, Value>, path: &AttributePath) {
    let home = match path.extension() {
        None => Some(&mut *tree),
        Some(urn) => tree.get_mut(urn.as_ref()).and_then(Value::as_object_mut),
    };
    let Some(home) = home else { return };
    let name = path.attribute().name.as_ref();
    match path.sub_attribute() {
        None => {
            home.remove(name);
        }
        Some(sub) => {
            let whole = home.get_mut(name).into_iter();
            for element in whole.flat_map(|whole| match whole {
                Value::Array(list) => list.as_mut_slice(),
                single => std::slice::from_mut(single),
            }) {
                element.as_object_mut().map(|parts| parts.remove(sub.name.as_ref()));
            }
        }
    }
    tree.retain(|_, value| value.as_object().is_none_or(|part| !part.is_empty()));
}

/// Copies one attribute, or one part of each of its elements, beside what is there.
fn take_over(kept: &mut Map<String, Value>, from: &Map<String, Value>, path: &AttributePath) {
    let name = path.attribute().name.as_ref();
    let Some(whole) = from.get(name) else { return };
    let Some(sub) = path.sub_attribute() else {
        kept.insert(name.to_owned(), whole.clone());
        return;
    };
    let sub = sub.name.as_ref();
    match whole {
        Value::Array(list) => {
            let empty = || Value::Array(vec![Value::Object(Map::new()); list.len()]);
            let Value::Array(parts) = kept.entry(name).or_insert_with(empty) else { return };
            parts.iter_mut().zip(list).for_each(|(part, element)| copy_part(part, element, sub));
        }
        single => copy_part(kept.entry(name).or_insert_with(|| Value::Object(Map::new())), single, sub),
    }
}

fn copy_part(to: &mut Value, from: &Value, sub: &str) {
    if let (Some(to), Some(value)) = (to.as_object_mut(), from.get(sub)) {
        to.insert(sub.to_owned(), value.clone());
    }
}
