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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use portcullis_policy::{ENTERPRISE_USER, USER_ATTRIBUTES, USER_LISTS};
    use serde_json::{Map, json};

    use super::*;
    use crate::schema::ResourceKind;
    use crate::schema::extensions::tests::{ACME, every_type};

    /// A value of every attribute, as a client may have given it.
    fn full(schemas: &Schemas) -> Resource {
        let value_of = |attribute: &Attribute| {
            let simple = |kind: Type| match kind {
                Type::Boolean => json!(true),
                Type::Integer => json!(7),
                Type::Decimal => json!(1.5),
                _ => json!("text"),
            };
            let one = match attribute.kind {
                Type::Complex => {
                    let parts = attribute.subs.iter().map(|sub| (sub.name.to_string(), simple(sub.kind)));
                    Value::Object(parts.collect())
                }
                kind => simple(kind),
            };
            if attribute.multi { json!([one]) } else { one }
        };
        let of = |attributes: &[std::sync::Arc<Attribute>]| -> Map<String, Value> {
            let values = attributes.iter().map(|attribute| (attribute.name.to_string(), value_of(attribute)));
            values.collect()
        };
        let mut tree = of(&schemas.base(ResourceKind::User).attributes);
        tree.insert("externalId".to_owned(), json!("x"));
        for Schema { urn, attributes, .. } in schemas.extensions(ResourceKind::User) {
            tree.insert(urn.to_string(), Value::Object(of(attributes)));
        }
        Resource::new(ResourceKind::User, tree)
    }

    /// What a configuration may name is what there is.
    #[test]
    fn the_names_that_templates_know_are_those_that_are_told() {
        let schemas = Schemas::core_schemas();
        let told: BTreeSet<String> =
            full(&schemas).attribute_texts(&schemas).into_iter().map(|(name, _)| name).collect();
        let [core, enterprise] = USER_ATTRIBUTES;
        let mut known: BTreeSet<String> = core.iter().map(|name| (*name).to_owned()).collect();
        known.extend(enterprise.iter().map(|name| format!("{ENTERPRISE_USER}:{name}")));
        let unknown: Vec<&String> = told.difference(&known).collect();
        let missing: Vec<&String> = known.difference(&told).collect();
        assert!(missing.is_empty(), "{missing:?} are never told");
        let not_offered = ["x509Certificates", "groups", "manager.$ref", "manager.displayName", "addresses"];
        assert!(
            unknown.iter().all(|name| not_offered.iter().any(|other| name.ends_with(other))),
            "{unknown:?} cannot be named"
        );
        let of_core = &schemas.base(ResourceKind::User).attributes;
        for name in core {
            let is_list = of_core.iter().any(|attribute| attribute.multi && *attribute.name == **name);
            assert_eq!(USER_LISTS.contains(name), is_list, "{name}");
        }
    }

    #[test]
    fn declared_attributes_are_told_by_their_whole_names() {
        let schemas = Schemas::with_extensions(vec![every_type()]);
        let told = full(&schemas).attribute_texts(&schemas);
        let text = |name: &str| {
            told.iter()
                .find(|(known, _)| *known == format!("{ACME}:{name}"))
                .map(|(_, texts)| texts.join("|"))
        };
        assert_eq!(text("costCenter").as_deref(), Some("text"));
        assert_eq!(text("level").as_deref(), Some("7"));
        assert_eq!(text("contractor").as_deref(), Some("true"));
        assert_eq!(text("badge.number").as_deref(), Some("7"));
        assert_eq!((text("badge"), text("nothing")), (None, None));
    }

    #[test]
    fn the_primary_one_is_first_and_what_is_long_is_left_out() {
        let schemas = Schemas::core_schemas();
        let tree = json!({
            "emails": [{ "value": "a" }, { "type": "home" }, { "value": "b", "primary": true }],
            "title": "x".repeat(LONGEST + 1), "nickName": "y".repeat(LONGEST), "active": true,
        });
        let user = Resource::from_json(ResourceKind::User, &tree.to_string()).unwrap();
        let told = user.attribute_texts(&schemas);
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[1], ("emails".to_owned(), vec!["b".to_owned(), "a".to_owned()]));
    }
}
