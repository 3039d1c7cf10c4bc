//! What 1.1 says of the service: `/ServiceProviderConfigs` and `/Schemas/Users`, `/Schemas/Groups`.
//!
//! The rule it protects is that of [`Discovery`]: what is declared is true, of this version.

use serde_json::{Map, Value, json};

use crate::discovery::Discovery;
use crate::limits::MAX_COUNT;
use crate::schema::{Attribute, ENTERPRISE_USER, ResourceKind, Schemas, Type};

use super::names::{self, CORE_ONE, MANAGER_ID};
use super::shape::list_body;

/// The body of the answer.
pub(crate) fn discovery_body(discovery: &Discovery, schemas: &Schemas, base: &str) -> Value {
    let every_schema = || ResourceKind::ALL.map(|kind| schema_document(schemas, kind)).to_vec();
    match discovery {
        Discovery::Config { .. } => config_document(base),
        Discovery::Schemas(Some(urn)) => {
            let kind = ResourceKind::ALL.into_iter().find(|kind| kind.urn() == &**urn);
            kind.map(|kind| schema_document(schemas, kind)).unwrap_or_default()
        }
        Discovery::Schemas(None) | Discovery::ResourceTypes(_) => {
            list_body(ResourceKind::ALL.len() as u64, 1, every_schema())
        }
    }
}

fn config_document(base: &str) -> Value {
    json!({
        "schemas": [CORE_ONE],
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
        "filter": { "supported": true, "maxResults": MAX_COUNT },
        "changePassword": { "supported": false },
        "sort": { "supported": true },
        "etag": { "supported": true },
        "xmlDataFormat": { "supported": false },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "A token that the operator of this service hands out, in the Authorization header",
            "specUrl": "https://www.rfc-editor.org/info/rfc6750",
            "primary": true,
        }],
        "meta": { "location": format!("{base}/ServiceProviderConfigs") },
    })
}

/// One resource with the attributes of all its schemas, as 1.1 describes it.
fn schema_document(schemas: &Schemas, kind: ResourceKind) -> Value {
    let core = schemas.common_attributes().iter().chain(&schemas.base(kind).attributes);
    let core = core.map(|row| attribute_document(row, CORE_ONE));
    let extensions = schemas.extensions(kind).iter().flat_map(|schema| {
        schema.attributes.iter().map(|row| {
            let mut described = attribute_document(row, names::from_urn(&schema.urn));
            if *schema.urn == *ENTERPRISE_USER {
                rename_manager(&mut described);
            }
            described
        })
    });
    json!({
        "schemas": [CORE_ONE],
        "id": format!("{CORE_ONE}:{}", kind.name()),
        "name": kind.name(),
        "description": schemas.base(kind).description,
        "schema": CORE_ONE,
        "endpoint": kind.endpoint(),
        "attributes": core.chain(extensions).collect::<Vec<Value>>(),
    })
}

fn attribute_document(row: &Attribute, urn: &str) -> Value {
    let mut described = described_row(row);
    described.insert("schema".to_owned(), urn.into());
    described.insert("multiValued".to_owned(), row.multi.into());
    if !row.subs.is_empty() {
        // What its resources do not show.
        let is_shown = |name: &str| name != "$ref" && (row.name != "meta" || name != "resourceType");
        let subs = row.subs.iter().filter(|sub| is_shown(&sub.name));
        let subs: Vec<Value> = subs.map(|sub| Value::Object(described_row(sub))).collect();
        described.insert("subAttributes".to_owned(), subs.into());
    }
    Value::Object(described)
}

/// What an attribute and a part of one have in common.
fn described_row(row: &Attribute) -> Map<String, Value> {
    let kind = match row.kind {
        Type::Boolean => "boolean",
        Type::Integer => "integer",
        Type::Decimal => "decimal",
        Type::DateTime => "dateTime",
        Type::Binary => "binary",
        Type::Complex => "complex",
        Type::String | Type::Reference => "string",
    };
    let mut described = Map::from_iter([
        ("name".to_owned(), json!(row.name)),
        ("type".to_owned(), json!(kind)),
        ("description".to_owned(), json!(row.description)),
        ("readOnly".to_owned(), json!(row.is_ours())),
        ("required".to_owned(), json!(row.required)),
        ("caseExact".to_owned(), json!(row.case_exact)),
    ]);
    if !row.canonical.is_empty() {
        described.insert("canonicalValues".to_owned(), json!(row.canonical));
    }
    described
}

fn rename_manager(described: &mut Value) {
    let subs = described.get_mut("subAttributes").and_then(Value::as_array_mut);
    for sub in subs.into_iter().flatten().filter(|sub| sub["name"] == "value") {
        sub["name"] = MANAGER_ID.into();
    }
}
