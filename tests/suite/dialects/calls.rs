//! The words that clients have in common: requests, and the bodies in them.

use http::Method;
use serde_json::{Value, json};

use super::{Call, Cast};
use crate::rig::directory::{GROUP, USER, patch};

pub fn call(method: Method, path: impl Into<String>, body: Option<Value>, statuses: &'static [u16]) -> Call {
    Call { method, path: path.into(), body, statuses }
}

pub fn post(path: &str, body: Value) -> Call {
    call(Method::POST, path, Some(body), &[201])
}

pub fn delete(path: String) -> Call {
    call(Method::DELETE, path, None, &[204])
}

pub fn put_user(cast: &Cast, body: Value) -> Call {
    call(Method::PUT, format!("/Users/{}", cast.user), Some(body), &[200])
}

pub fn put_group(cast: &Cast, body: Value) -> Call {
    call(Method::PUT, format!("/Groups/{}", cast.group), Some(body), &[200])
}

pub fn patch_user(cast: &Cast, operations: Value) -> Call {
    call(Method::PATCH, format!("/Users/{}", cast.user), Some(patch(operations)), &[200])
}

pub fn patch_group(cast: &Cast, operations: Value) -> Call {
    call(Method::PATCH, format!("/Groups/{}", cast.group), Some(patch(operations)), &[204])
}

pub fn by(attribute: &str, value: &str) -> String {
    format!("/Users?filter={attribute} eq \"{value}\"")
}

/// A user as most clients write one whole; those who are updated have a title.
pub fn person(cast: &Cast, active: bool) -> Value {
    let mut body = json!({
        "schemas": [USER], "userName": cast.name, "externalId": cast.external_id, "displayName": "Ona Lind",
        "name": { "givenName": "Ona", "familyName": "Lind" }, "active": active,
        "emails": [{ "value": cast.name, "type": "work", "primary": true }],
    });
    if !cast.user.is_empty() {
        body["title"] = "Boss".into();
    }
    body
}

/// What was read, with something else in it.
pub fn changed(cast: &Cast, name: &str, value: impl Into<Value>) -> Value {
    let mut whole = cast.whole.clone();
    whole[name] = value.into();
    whole
}

pub fn group_of(members: Value) -> Value {
    json!({ "schemas": [GROUP], "displayName": "Ops", "members": members })
}

pub fn add_members(members: Value) -> Value {
    json!({ "op": "add", "path": "members", "value": members })
}

pub fn remove_chosen(cast: &Cast) -> Value {
    json!({ "op": "remove", "path": format!("members[value eq \"{}\"]", cast.user) })
}

pub fn remove_listed(cast: &Cast) -> Value {
    json!({ "op": "remove", "path": "members", "value": [{ "value": cast.user }] })
}

/// A PATCH without a path, as Okta and Rippling write it, and SailPoint with another verb.
pub fn set_active(cast: &Cast, op: &str, active: bool) -> Call {
    patch_user(cast, json!([{ "op": op, "value": { "active": active } }]))
}

/// Sent with each membership change: the `id` is ours, and repeated.
pub fn rename(cast: &Cast) -> Value {
    json!({ "op": "replace", "value": { "id": cast.group, "displayName": "Ops" } })
}

/// A Bulk of one operation.
pub fn bulk(method: &str, path: String, data: Option<Value>) -> Call {
    let mut operation = json!({ "method": method, "path": path, "bulkId": "one" });
    if let Some(data) = data {
        operation["data"] = data;
    }
    let schemas = ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"];
    let body = json!({ "schemas": schemas, "Operations": [operation] });
    call(Method::POST, "/Bulk", Some(body), &[200])
}
