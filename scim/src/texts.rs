//! A person's attributes as texts, for whoever tells an application of them.

use serde_json::Value;

use crate::resource::Resource;
use crate::schema::{Attribute, AttributePath, Mutability, Schema, Schemas, Type};

/// The longest text that is told: no application takes a longer header.
const LONGEST: usize = 4 * 1024;

impl Resource {
    /// The texts of every attribute by its canonical name: `title`, `name.givenName`,
    /// `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department`. Of a list of objects it is each `value`,
    /// the primary one first: `emails`. Numbers and truths are as JSON writes them; what is longer than 4 KiB, binary or
    /// empty is left out.
    pub fn attribute_texts(&self, schemas: &Schemas) -> Vec<(String, Vec<String>)> {
        let mut texts = Vec::new();
        let base = schemas.base(self.kind()).attributes.iter();
        for attribute in base.filter(|attribute| is_told(attribute)) {
            let path = AttributePath::new(None, attribute, None);
            add_texts(&mut texts, &path, self.tree.get(attribute.name.as_ref()));
        }
        for Schema { urn, attributes, .. } in schemas.extensions(self.kind()) {
            let part = self.tree.get(urn.as_ref()).and_then(Value::as_object);
            for attribute in attributes {
                let path = AttributePath::new(Some(urn), attribute, None);
                add_texts(&mut texts, &path, part.and_then(|part| part.get(attribute.name.as_ref())));
            }
        }
        texts
    }
}

fn is_told(attribute: &Attribute) -> bool {
    attribute.name != "active" && attribute.mutability != Mutability::WriteOnly
}

fn add_texts(texts: &mut Vec<(String, Vec<String>)>, path: &AttributePath, value: Option<&Value>) {
    let Some(value) = value else { return };
    let attribute = path.attribute();
    let mut add = |path: &AttributePath, found: Vec<String>| {
        if !found.is_empty() {
            texts.push((path.to_string(), found));
        }
    };
    match value {
        Value::Object(parts) => {
            for sub in &attribute.subs {
                let text = parts.get(sub.name.as_ref()).and_then(|value| text_of(sub, value));
                add(&path.with_sub(sub), text.into_iter().collect());
            }
        }
        Value::Array(list) if attribute.kind == Type::Complex => {
            let Some(sub) = attribute.sub_attribute("value") else { return };
            let of = |is_primary: bool| {
                list.iter().filter(move |element| crate::conform::is_primary(element) == is_primary)
            };
            let values = of(true).chain(of(false)).filter_map(|element| element.get("value"));
            add(path, values.filter_map(|value| text_of(sub, value)).collect());
        }
        Value::Array(list) => {
            add(path, list.iter().filter_map(|value| text_of(attribute, value)).collect());
        }
        single => add(path, text_of(attribute, single).into_iter().collect()),
    }
}

fn text_of(attribute: &Attribute, value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) if attribute.kind != Type::Binary => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        _ => return None,
    };
    (!text.is_empty() && text.len() <= LONGEST).then_some(text)
}
