//! A readOnly attribute in a PATCH: fine while it repeats what is so (Okta and authentik repeat `id` with each
//! group), `mutability` otherwise (RFC 7644 §3.5.2).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::error::ScimError;
use crate::resource::{ResourceRecord, is_empty};
use crate::schema::AttributePath;

pub(super) fn check_repeat(
    before: &ResourceRecord,
    path: &AttributePath,
    given: &Value,
) -> Result<(), ScimError> {
    let facts = before.facts();
    let home = match path.extension() {
        Some(urn) => facts.get(urn.as_ref()).and_then(Value::as_object),
        None => Some(&facts),
    };
    let present = home.and_then(|home| home.get(path.attribute().name.as_ref()));
    let present = match path.sub_attribute() {
        Some(sub) => present.and_then(|whole| whole.get(sub.name.as_ref())),
        None => present,
    };
    let is_so = match (present, given) {
        (None, given) => is_empty(given),
        (Some(Value::Array(present)), Value::Array(given)) => reference_ids(present) == reference_ids(given),
        // Addresses are made for each answer, so a repeated one is not looked at.
        (Some(Value::Object(present)), Value::Object(given)) => {
            given.iter().all(|(name, value)| name == "location" || present.get(name) == Some(value))
        }
        (Some(present), given) => present == given,
    };
    if is_so { Ok(()) } else { Err(ScimError::against_mutability(format!("{path} is the service's to set"))) }
}

fn reference_ids(list: &[Value]) -> BTreeSet<Option<&str>> {
    list.iter().map(|element| element.get("value").and_then(Value::as_str)).collect()
}
