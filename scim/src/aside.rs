//! Stored data of extensions, read by schemas that may be others than those it was written by.
//!
//! The rule it protects: whatever a resource shows is of the type that its attribute has today. What is not stays in the
//! document, since the next declaration may have it again.

use serde_json::{Map, Value};

use crate::conform::conform_value;
use crate::resource::{Resource, is_empty};
use crate::schema::{AttributePath, ENTERPRISE_USER, Schema, Schemas};

impl Resource {
    /// Sets aside what stored data of extensions the schemas in force do not have, or have with a type that it does not
    /// fit: it is neither answered nor found, and stays in the document until the attribute is written anew.
    pub fn set_aside(&mut self, schemas: &Schemas) {
        let is_declared = |urn: &&String| urn.contains(':') && urn.as_str() != ENTERPRISE_USER;
        let urns: Vec<String> = self.tree.keys().filter(is_declared).cloned().collect();
        for urn in urns {
            let Some(stored) = self.tree.remove(&urn) else { continue };
            match (schemas.extension(self.kind(), &urn), stored) {
                (Some(extension), Value::Object(stored)) => {
                    let (fitting, rest) = split_fitting(extension, stored);
                    if !fitting.is_empty() {
                        self.tree.insert(extension.urn.to_string(), Value::Object(fitting));
                    }
                    if !rest.is_empty() {
                        self.aside.insert(extension.urn.to_string(), Value::Object(rest));
                    }
                }
                (_, stored) => drop(self.aside.insert(urn, stored)),
            }
        }
    }
}

/// Splits stored data of an extension into what is of its attributes' types, under their names as they are declared, and
/// the rest.
fn split_fitting(extension: &Schema, stored: Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
    let (mut fitting, mut rest) = (Map::new(), Map::new());
    for (name, value) in stored {
        let path = extension.attribute(&name);
        let path = path.map(|attribute| AttributePath::new(Some(&extension.urn), attribute, None));
        match path.map(|path| (conform_value(&path, &value), path)) {
            Some((Ok(conformed), path)) if !is_empty(&conformed) => {
                fitting.insert(path.attribute().name.to_string(), conformed);
            }
            _ => drop(rest.insert(name, value)),
        }
    }
    (fitting, rest)
}
