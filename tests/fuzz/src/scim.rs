//! What the SCIM fuzzers hold to be true of any input. The same functions replay the corpora on the stable compiler
//! (`scim/tests/suite/corpus.rs`).

use std::sync::LazyLock;

use bytes::Bytes;
use portcullis_policy::{ResourceId, Timestamp};
use portcullis_scim::{
    Act, Filter, GroupPatch, Meta, Outcome, Resource, ResourceKind, ResourceRecord, Schemas, ScimError,
    ScimRequest, ScimVersion, Service, Version, Wanted, Write, answer_request, read_request,
    read_version_one,
};
use serde_json::{Value, json};

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(Schemas::core_schemas);

/// A filter reads or is refused; what is read prints and reads as itself, and its negation is the opposite.
pub fn filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for kind in ResourceKind::ALL {
        let Ok(filter) = Filter::parse_filter(&SCHEMAS, kind, text) else { continue };
        let printed = filter.to_string();
        // Canonical names are longer than short ones, so the print of a very long filter may be beyond the limit.
        if printed.len() <= portcullis_scim::filter::MAX_LENGTH {
            assert_eq!(Filter::parse_filter(&SCHEMAS, kind, &printed).as_ref(), Ok(&filter), "{printed}");
        }
        let record = record(sample(kind));
        let found = filter.matches(&record);
        assert_eq!(Filter::Not(Box::new(filter)).matches(&record), !found, "{printed}");
    }
}

/// The path of a PATCH, with each operation and several values.
pub fn patch_path(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    for kind in ResourceKind::ALL {
        for op in ["add", "replace", "remove"] {
            for value in
                [json!("x"), json!("True"), json!({ "value": "x", "primary": true }), json!([]), Value::Null]
            {
                let operation = json!({ "op": op, "path": path, "value": value });
                patch(kind, &json!({ "schemas": [PATCH_OP], "Operations": [operation] }).to_string());
            }
        }
    }
}

/// A whole request: the first byte chooses method and place, the rest is the body.
pub fn body(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let (method, path) = match first % 6 {
        0 => ("POST", "/Users"),
        1 => ("PUT", "/Users/u-1"),
        2 => ("PATCH", "/Users/u-1"),
        3 => ("POST", "/Groups"),
        4 => ("PUT", "/Groups/u-1"),
        _ => ("PATCH", "/Groups/u-1"),
    };
    send(ScimVersion::Two, method, path, Bytes::copy_from_slice(body));
}

/// A whole request of SCIM 1.1: the first byte chooses method and place, the rest is the body, a filter, or the path.
pub fn version_one(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let (method, path) = match first % 8 {
        0 => ("POST", "/Users"),
        1 => ("PUT", "/Users/u-1"),
        2 => ("PATCH", "/Users/u-1.json"),
        3 => ("POST", "/Groups"),
        4 => ("PUT", "/Groups/u-1"),
        5 => ("PATCH", "/Groups/u-1"),
        6 => {
            let encoded: String = rest.iter().map(|byte| format!("%{byte:02X}")).collect();
            send(
                ScimVersion::One,
                "GET",
                &format!("/Users?filter={encoded}&attributes={encoded}"),
                Bytes::new(),
            );
            return send(ScimVersion::One, "GET", &format!("/Groups?sortBy={encoded}"), Bytes::new());
        }
        _ => match std::str::from_utf8(rest) {
            Ok(path) => return send(ScimVersion::One, "GET", &format!("/{path}"), Bytes::new()),
            Err(_) => return,
        },
    };
    send(ScimVersion::One, method, path, Bytes::copy_from_slice(rest));
}

const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

fn patch(kind: ResourceKind, body: &str) {
    let path = format!("{}/u-1", kind.endpoint());
    send(ScimVersion::Two, "PATCH", &path, Bytes::from(body.to_owned()));
}

/// Reads a request, applies it where it is a write, and answers.
fn send(version: ScimVersion, method: &str, path: &str, body: Bytes) {
    let Ok(request) = http::Request::builder().method(method).uri(path).body(body) else { return };
    let wanted = Wanted::of_version(version, &SCHEMAS, &request);
    let read = match version {
        ScimVersion::One => read_version_one,
        ScimVersion::Two => read_request,
    };
    let outcome = match read(&SCHEMAS, &request) {
        Ok(ScimRequest::Write(write)) => written(&write),
        Ok(ScimRequest::Discover(what)) => Ok(Outcome::Discovered(what)),
        Ok(_) => return,
        Err(error) => Err(error),
    };
    assert_ne!(outcome, Err(ScimError::Internal), "bad input is never our fault");
    let service = Service::new("https://scim.example.test", GroupPatch::Whole);
    let response = answer_request(&SCHEMAS, &service, &wanted, outcome);
    assert!(!response.status().is_server_error() || response.status() == 501);
}

fn written(write: &Write) -> Result<Outcome, ScimError> {
    let before = record(sample(write.kind()));
    let after = match &write.act {
        Act::Create(resource) => resource.clone(),
        Act::Replace(_, resource) => resource.replacing(&SCHEMAS, &before.resource)?,
        Act::Patch(_, _, patch) => patch.apply_to(&SCHEMAS, &before)?,
        Act::Delete(..) => return Ok(Outcome::Deleted),
    };
    let json = after.to_json();
    assert_eq!(Resource::from_json(after.kind(), &json).as_ref(), Ok(&after));
    assert!(!json.contains("\"password\""));
    // Nobody is put out by a write that was not seen to do so.
    if before.resource.active() == Some(true)
        && after.active() != Some(true)
        && !matches!(write.act, Act::Create(_))
    {
        assert!(write.takes_away() && write.deprovisions().is_some(), "{json}");
    }
    let lost = before.resource.members().any(|member| after.members().all(|other| other != member));
    assert!(!lost || write.takes_away() || matches!(write.act, Act::Create(_)), "{json}");
    // The same write again changes nothing more.
    if let Act::Replace(_, resource) = &write.act {
        assert_eq!(resource.replacing(&SCHEMAS, &after), Ok(after.clone()));
    }
    Ok(Outcome::Changed(record(after)))
}

fn record(resource: Resource) -> ResourceRecord {
    let meta = Meta { created: Timestamp(1_000), modified: Timestamp(2_000), version: Version(3) };
    ResourceRecord { id: ResourceId::new("u-1"), resource, meta, groups: Vec::new() }
}

/// Somebody, and a group, with something of each shape.
fn sample(kind: ResourceKind) -> Resource {
    let json = match kind {
        ResourceKind::User => json!({
            "userName": "a@corp.test", "externalId": "x", "active": true, "title": "a",
            "name": { "givenName": "a", "familyName": "b" },
            "emails": [{ "value": "a", "type": "work", "primary": true }, { "value": "b", "type": "home" }],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "a", "manager": { "value": "b" } },
        }),
        ResourceKind::Group => json!({
            "displayName": "a", "members": [{ "value": "a", "type": "User" }, { "value": "b", "type": "Group", "display": "b" }],
        }),
    };
    Resource::from_json(kind, &json.to_string()).unwrap_or_else(|error| panic!("{error}"))
}
