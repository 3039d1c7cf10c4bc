//! Attributes of declared extensions that are `readOnly` (RFC 7643 §2.2): an operator writes them, and clients read,
//! filter and sort by them.
//!
//! The rule it protects: whatever a client sends, what an operator wrote stays. A PUT does not take it away, nor does a
//! POST that brings somebody back.

use serde_json::{Map, Value};

use crate::conform::conform_value;
use crate::error::ScimError;
use crate::resource::{Resource, is_empty};
use crate::schema::{Attribute, AttributePath, Mutability, ResourceKind, Schema, Schemas};

impl Schemas {
    /// The attributes of users that operators write, in the order in which they are declared.
    pub fn read_only_attributes(&self) -> Vec<AttributePath> {
        let of_schema = |schema: &Schema| -> Vec<AttributePath> {
            let mut paths = Vec::new();
            for attribute in schema.attributes.iter().filter(|attribute| is_read_only(attribute)) {
                paths.push(AttributePath::new(Some(&schema.urn), attribute, None));
            }
            paths
        };
        self.extensions(ResourceKind::User).iter().flat_map(of_schema).collect()
    }
}

impl Resource {
    /// The text of an attribute that operators write.
    pub fn read_only_text(&self, path: &AttributePath) -> Option<&str> {
        self.tree.get(path.extension()?.as_ref())?.get(path.attribute().name.as_ref())?.as_str()
    }

    /// Gives an attribute that operators write its value, or takes it away.
    ///
    /// # Errors
    /// `invalidValue` for a text that the attribute cannot have.
    pub fn set_read_only(&mut self, path: &AttributePath, to: Option<&str>) -> Result<(), ScimError> {
        let value = conform_value(path, &to.map_or(Value::Null, Value::from))?;
        if is_empty(&value) {
            self.drop_read_only(path);
            return Ok(());
        }
        let Some(urn) = path.extension() else { return Err(ScimError::Internal) };
        let part = self.tree.entry(urn.as_ref()).or_insert_with(|| Value::Object(Map::new()));
        let Some(part) = part.as_object_mut() else { return Err(ScimError::Internal) };
        part.insert(path.attribute().name.to_string(), value);
        Ok(())
    }

    /// Takes the value of an attribute that operators write away.
    pub fn drop_read_only(&mut self, path: &AttributePath) {
        let part = path.extension().and_then(|urn| self.tree.get_mut(urn.as_ref()));
        if let Some(part) = part.and_then(Value::as_object_mut) {
            part.remove(path.attribute().name.as_ref());
            self.tree.retain(|_, value| !is_empty(value));
        }
    }

    /// Takes over what an operator wrote of the resource before.
    pub(crate) fn keep_read_only(&mut self, schemas: &Schemas, before: &Resource) {
        for Schema { urn, attributes, .. } in schemas.extensions(self.kind()) {
            let Some(was) = before.tree.get(urn.as_ref()).and_then(Value::as_object) else { continue };
            for attribute in attributes.iter().filter(|attribute| is_read_only(attribute)) {
                let Some(value) = was.get(attribute.name.as_ref()) else { continue };
                let part = self.tree.entry(urn.as_ref()).or_insert_with(|| Value::Object(Map::new()));
                if let Some(part) = part.as_object_mut() {
                    part.insert(attribute.name.to_string(), value.clone());
                }
            }
        }
    }
}

fn is_read_only(attribute: &Attribute) -> bool {
    attribute.mutability == Mutability::ReadOnly
}
