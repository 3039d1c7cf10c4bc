//! What this service says about itself: `/ServiceProviderConfig`, `/ResourceTypes`, `/Schemas` (RFC 7644 §4).
//!
//! The rule it protects: what is declared is true. A client that believes these answers is never surprised.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::limits::{BulkLimits, MAX_COUNT, REPEAT_SECONDS};
use crate::list::list_response;
use crate::schema::{Attribute, Mutability, ResourceKind, Returned, Schema, Schemas, Type, Uniqueness};

const CONFIG: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";
/// The schema of what this service offers beyond the standard. Told to who names it, as an attribute whose `returned` is
/// `request` (RFC 7643 §7): strict clients take no member of this document that they do not know.
const OUR_CONFIG: &str = "urn:ietf:params:scim:schemas:extension:portcullis:2.0:ServiceProviderConfig";
const RESOURCE_TYPE: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";
const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";

/// The documents of discovery that a client may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// The features that are offered: those of the standard, and ours where they are named.
    Config {
        /// True where the request names our schema among its `attributes`.
        with_ours: bool,
        /// True where it names `pagination` (RFC 9865), which clients of before do not take.
        with_pagination: bool,
    },
    /// The kinds of resources, or the one named.
    ResourceTypes(Option<ResourceKind>),
    /// The schemas, or the one with that URN.
    Schemas(Option<Arc<str>>),
}

impl Discovery {
    /// Reads which features a request for them names.
    pub(crate) fn config_with(attributes: Option<&str>) -> Self {
        let names = |wanted: &str| {
            attributes.unwrap_or_default().split(',').any(|name| name.trim().eq_ignore_ascii_case(wanted))
        };
        Discovery::Config { with_ours: names(OUR_CONFIG), with_pagination: names("pagination") }
    }

    /// The body of the answer.
    pub(crate) fn body(&self, schemas: &Schemas, base: &str, limits: BulkLimits) -> Value {
        match self {
            Discovery::Config { with_ours, with_pagination } => {
                config_document(base, limits, *with_ours, *with_pagination)
            }
            Discovery::ResourceTypes(Some(kind)) => resource_type(schemas, base, *kind),
            Discovery::ResourceTypes(None) => {
                unpaged_list(ResourceKind::ALL.map(|kind| resource_type(schemas, base, kind)).to_vec())
            }
            Discovery::Schemas(Some(urn)) => schemas
                .all_schemas()
                .find(|schema| schema.urn == *urn)
                .map(|found| schema_document(base, found))
                .unwrap_or_default(),
            Discovery::Schemas(None) => {
                unpaged_list(schemas.all_schemas().map(|found| schema_document(base, found)).collect())
            }
        }
    }
}

/// A list that is never paged.
fn unpaged_list(items: Vec<Value>) -> Value {
    list_response(items.len() as u64, 1, items)
}

fn config_document(base: &str, limits: BulkLimits, with_ours: bool, with_pagination: bool) -> Value {
    let BulkLimits { operations, body } = limits;
    let mut document = json!({
        "schemas": [CONFIG],
        "patch": { "supported": true },
        "bulk": { "supported": true, "maxOperations": operations, "maxPayloadSize": body },
        "filter": { "supported": true, "maxResults": MAX_COUNT },
        "changePassword": { "supported": false },
        "sort": { "supported": true },
        "etag": { "supported": true },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "A token that the operator of this service hands out, in the Authorization header",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
            "primary": true,
        }],
        "meta": { "resourceType": "ServiceProviderConfig", "location": format!("{base}/ServiceProviderConfig") },
    });
    if with_pagination {
        document["pagination"] = json!({
            "cursor": true,
            "index": true,
            "defaultPaginationMethod": "index",
            "defaultPageSize": MAX_COUNT,
            "maxPageSize": MAX_COUNT,
        });
    }
    if with_ours {
        document["schemas"] = json!([CONFIG, OUR_CONFIG]);
        // A repeat of an operation of a Bulk with the same key and the same words is answered from its record.
        let keys = json!({ "supported": true, "member": "idempotencyKey", "seconds": REPEAT_SECONDS });
        document[OUR_CONFIG] = json!({ "bulkIdempotency": keys });
    }
    document
}

fn resource_type(schemas: &Schemas, base: &str, kind: ResourceKind) -> Value {
    let extensions = schemas.extensions(kind).iter();
    json!({
        "schemas": [RESOURCE_TYPE],
        "id": kind.name(),
        "name": kind.name(),
        "description": schemas.base(kind).description,
        "endpoint": kind.endpoint(),
        "schema": kind.urn(),
        "schemaExtensions": extensions
            .map(|schema| json!({ "schema": &*schema.urn, "required": false }))
            .collect::<Vec<Value>>(),
        "meta": { "resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{}", kind.name()) },
    })
}

fn schema_document(base: &str, schema: &Schema) -> Value {
    json!({
        "schemas": [SCHEMA],
        "id": &*schema.urn,
        "name": schema.name,
        "description": schema.description,
        "attributes": attribute_documents(&schema.attributes),
        "meta": { "resourceType": "Schema", "location": format!("{base}/Schemas/{}", schema.urn) },
    })
}

fn attribute_documents(attributes: &[Arc<Attribute>]) -> Vec<Value> {
    attributes.iter().map(|row| attribute_document(row)).collect()
}

fn attribute_document(row: &Attribute) -> Value {
    let mut described = Map::from_iter([
        ("name".to_owned(), json!(row.name)),
        ("type".to_owned(), json!(type_word(row.kind))),
        ("multiValued".to_owned(), json!(row.multi)),
        ("description".to_owned(), json!(row.description)),
        ("required".to_owned(), json!(row.required)),
        ("caseExact".to_owned(), json!(row.case_exact)),
        ("mutability".to_owned(), json!(mutability_word(row.mutability))),
        ("returned".to_owned(), json!(returned_word(row.returned))),
        ("uniqueness".to_owned(), json!(uniqueness_word(row.uniqueness))),
    ]);
    if !row.canonical.is_empty() {
        described.insert("canonicalValues".to_owned(), json!(row.canonical));
    }
    if !row.references.is_empty() {
        described.insert("referenceTypes".to_owned(), json!(row.references));
    }
    if !row.subs.is_empty() {
        described.insert("subAttributes".to_owned(), attribute_documents(&row.subs).into());
    }
    Value::Object(described)
}

fn type_word(kind: Type) -> &'static str {
    match kind {
        Type::String => "string",
        Type::Boolean => "boolean",
        Type::Integer => "integer",
        Type::Decimal => "decimal",
        Type::DateTime => "dateTime",
        Type::Reference => "reference",
        Type::Binary => "binary",
        Type::Complex => "complex",
    }
}

fn mutability_word(mutability: Mutability) -> &'static str {
    match mutability {
        Mutability::ReadOnly => "readOnly",
        Mutability::ReadWrite => "readWrite",
        Mutability::Immutable | Mutability::Derived => "immutable",
        Mutability::WriteOnly => "writeOnly",
    }
}

fn returned_word(returned: Returned) -> &'static str {
    match returned {
        Returned::Always => "always",
        Returned::Never => "never",
        Returned::Default => "default",
        Returned::Request => "request",
    }
}

fn uniqueness_word(uniqueness: Uniqueness) -> &'static str {
    match uniqueness {
        Uniqueness::None => "none",
        Uniqueness::Server => "server",
    }
}
