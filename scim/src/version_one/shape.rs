//! Answers in the shape of 1.1: resources, lists, errors (§3.2, §3.9 of the protocol 1.1).

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::schema::{ENTERPRISE_USER, GROUP, ResourceKind, USER};

use super::names::{self, CORE_ONE, ENTERPRISE_ONE, MANAGER_ID};

/// A resource as 1.1 shows it: its URNs, `managerId`, no `meta.resourceType` and no `$ref`, which it does not have.
pub(crate) fn resource_body(kind: ResourceKind, tree: Map<String, Value>) -> Map<String, Value> {
    let lists = match kind {
        ResourceKind::User => ["groups"],
        ResourceKind::Group => ["members"],
    };
    let mut shown = Map::new();
    for (name, mut value) in tree {
        match name.as_str() {
            "schemas" => value = shown_schemas(&value),
            "meta" => drop(value.as_object_mut().map(|meta| meta.remove("resourceType"))),
            ENTERPRISE_USER => rename_manager(&mut value),
            list if lists.contains(&list) => drop_references(&mut value),
            _ => {}
        }
        shown.insert(names::from_urn(&name).to_owned(), value);
    }
    shown
}

fn shown_schemas(schemas: &Value) -> Value {
    let listed = schemas.as_array().into_iter().flatten().filter_map(Value::as_str);
    listed.map(|urn| Value::from(names::from_urn(urn))).collect()
}

fn rename_manager(part: &mut Value) {
    let Some(manager) = part.get_mut("manager").and_then(Value::as_object_mut) else { return };
    manager.remove("$ref");
    if let Some(id) = manager.remove("value") {
        manager.insert(MANAGER_ID.to_owned(), id);
    }
}

fn drop_references(list: &mut Value) {
    for element in list.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        element.remove("$ref");
    }
}

/// A page of a list.
pub(crate) fn list_body(total: u64, start_index: u64, resources: Vec<Value>) -> Value {
    json!({
        "schemas": [CORE_ONE],
        "totalResults": total,
        "startIndex": start_index,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

/// An error. What it says names schemas as 1.1 does.
pub(crate) fn error_body(status: StatusCode, detail: &str) -> Value {
    let detail =
        detail.replace(ENTERPRISE_USER, ENTERPRISE_ONE).replace(USER, CORE_ONE).replace(GROUP, CORE_ONE);
    json!({ "Errors": [{ "description": detail, "code": status.as_str() }] })
}
