//! Around the resources: places, versions, discovery, answers without a body.

use portcullis_scim::GroupPatch;
use portcullis_scim::schema::{ENTERPRISE_USER as ENTERPRISE, GROUP, USER};
use serde_json::{Value, json};

use crate::model::{BASE, Directory, three};

#[test]
fn group_answers_are_empty_unless_something_was_asked() {
    for (setting, query, status) in [
        (GroupPatch::Empty, "", 204),
        (GroupPatch::Empty, "?attributes=displayName", 200),
        (GroupPatch::Empty, "?excludedAttributes=members", 200),
        (GroupPatch::Whole, "", 200),
    ] {
        let mut at = Directory::answering(setting);
        let group = at.post("/Groups", json!({ "schemas": [GROUP], "displayName": "G" })).id();
        let rename = json!([{ "op": "replace", "path": "displayName", "value": "H" }]);
        let answer = at.patch(&format!("/Groups/{group}{query}"), rename);
        assert_eq!(answer.status, status, "{query}");
        assert_eq!(answer.headers["etag"], "W/\"2\"");
        if status == 200 {
            assert_eq!(answer.body["displayName"], "H");
        }
    }
}

#[test]
fn versions_guard_writes() {
    let (mut at, [a, ..]) = three();
    let path = format!("/Users/{a}");
    let retitle = |at: &mut Directory, tag: &str| {
        let body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                           "Operations": [{ "op": "replace", "path": "title", "value": tag }] });
        at.call("PATCH", &path, &[("if-match", tag)], body).status
    };
    assert_eq!(at.get(&path).headers["etag"], "W/\"1\"");
    for (tag, status) in [
        ("W/\"1\"", 200),
        ("W/\"1\"", 412),
        ("\"2\"", 200),
        ("W/\"9\", W/\"3\"", 200),
        ("*", 200),
        ("W/\"nonsense\"", 412),
        ("5", 412),
        ("", 412),
    ] {
        assert_eq!(retitle(&mut at, tag), status, "{tag}");
    }
    let fresh = at.call("GET", &path, &[("if-none-match", "W/\"5\"")], Value::Null);
    assert_eq!((fresh.status, fresh.headers["etag"].to_str().ok()), (304, Some("W/\"5\"")));
    assert_eq!(at.call("GET", &path, &[("if-none-match", "W/\"4\"")], Value::Null).status, 200);
    assert_eq!(at.call("DELETE", &path, &[("if-match", "W/\"4\"")], Value::Null).status, 412);
    assert_eq!(at.call("DELETE", &path, &[("if-match", "W/\"5\"")], Value::Null).status, 204);
    assert_eq!(at.call("DELETE", &path, &[("if-match", "*")], Value::Null).status, 404);
}

#[test]
fn a_users_etag_changes_with_the_groups_that_are_shown() {
    let (mut at, [a, ..]) = three();
    let path = format!("/Users/{a}");
    let tag = |at: &mut Directory, query: &str| {
        let answer = at.get(&format!("{path}{query}"));
        let tag = answer.headers["etag"].to_str().expect("a tag").to_owned();
        if query.is_empty() {
            assert_eq!(answer.body["meta"]["version"], tag.as_str());
        }
        tag
    };
    let alone = tag(&mut at, "");
    let group = json!({ "schemas": [GROUP], "displayName": "G", "members": [{ "value": a }] });
    let group = at.post("/Groups", group).id();
    let inside = tag(&mut at, "");
    assert_ne!(alone, inside);
    assert_eq!(tag(&mut at, "?excludedAttributes=groups"), alone, "what is not shown changes nothing");
    at.patch(&format!("/Groups/{group}"), json!([{ "op": "replace", "path": "displayName", "value": "H" }]));
    let renamed = tag(&mut at, "");
    assert_ne!(inside, renamed, "the name is shown too");

    let known =
        |at: &mut Directory, tag: &str| at.call("GET", &path, &[("if-none-match", tag)], Value::Null).status;
    assert_eq!((known(&mut at, &renamed), known(&mut at, &inside), known(&mut at, &alone)), (304, 200, 200));
    let body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                       "Operations": [{ "op": "replace", "path": "title", "value": "x" }] });
    let write =
        |at: &mut Directory, tag: &str| at.call("PATCH", &path, &[("if-match", tag)], body.clone()).status;
    assert_eq!(write(&mut at, &inside), 412);
    assert_eq!(write(&mut at, &renamed), 200);
}

#[test]
fn discovery_tells_the_truth() {
    let mut at = Directory::new();
    let config = at.get("/ServiceProviderConfig").body;
    let offers = |feature: &str| config[feature]["supported"].as_bool();
    assert_eq!(
        ["patch", "bulk", "filter", "changePassword", "sort", "etag"].map(offers),
        [true, true, true, false, true, true].map(Some)
    );
    assert_eq!(config["filter"]["maxResults"], 1000);
    assert_eq!(config["meta"]["location"], format!("{BASE}/ServiceProviderConfig"));
    // Strict clients take no member that they do not know: what goes beyond the standard is told to who names it.
    let ours = "urn:ietf:params:scim:schemas:extension:portcullis:2.0:ServiceProviderConfig";
    assert!(config.get(ours).is_none() && config["schemas"].as_array().is_some_and(|urns| urns.len() == 1));
    let asked = at.get(&format!("/ServiceProviderConfig?attributes=patch,{}", ours.to_uppercase())).body;
    assert_eq!(asked[ours]["bulkIdempotency"]["member"], "idempotencyKey");
    assert!(config.get("pagination").is_none() && asked.get("pagination").is_none());
    assert_eq!(at.get("/ServiceProviderConfig?attributes=pagination").body["pagination"]["cursor"], true);

    let types = at.get("/ResourceTypes?startIndex=9&count=0").body;
    assert_eq!(types["totalResults"], 2, "discovery is never paged");
    assert_eq!(
        types["Resources"][0]["schemaExtensions"],
        json!([{ "schema": ENTERPRISE, "required": false }])
    );
    assert_eq!(at.get("/ResourceTypes/user").body, types["Resources"][0]);

    let schemas = at.get("/Schemas").body;
    let list = schemas["Resources"].as_array().expect("a list");
    let urns: Vec<&str> = list.iter().filter_map(|schema| schema["id"].as_str()).collect();
    assert_eq!(urns, [USER, GROUP, ENTERPRISE]);
    for (schema, urn) in list.iter().zip(urns) {
        assert_eq!(&at.get(&format!("/Schemas/{urn}")).body, schema);
        assert_eq!(&at.get(&format!("/Schemas/{}", urn.replace(':', "%3A"))).body, schema);
        assert_eq!(&at.get(&format!("/Schemas/{}", urn.to_uppercase().replace(':', "%3a"))).body, schema);
        for attribute in schema["attributes"].as_array().expect("a list") {
            for said in ["name", "type", "description", "mutability", "returned", "uniqueness"] {
                assert!(attribute[said].is_string(), "{said} of {attribute}");
            }
            for said in ["multiValued", "required", "caseExact"] {
                assert!(attribute[said].is_boolean(), "{said} of {attribute}");
            }
            assert_eq!(attribute["type"] == "complex", attribute["subAttributes"].is_array());
        }
    }
    for place in ["/ServiceProviderConfig", "/ResourceTypes", "/Schemas", "/ResourceTypes/User"] {
        assert_eq!(at.get(&format!("{place}?filter=id pr")).status, 403, "{place}");
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let answer = at.call(method, place, &[], json!({}));
            assert_eq!(
                (answer.status, answer.headers["allow"].to_str().ok()),
                (405, Some("GET, HEAD")),
                "{place}"
            );
        }
    }
    for missing in ["/Schemas/urn:x", "/ResourceTypes/Thing", "/Schemas/User"] {
        assert_eq!(at.get(missing).status, 404, "{missing}");
    }
}

#[test]
fn places_that_are_none_say_where_to_go() {
    let mut at = Directory::new();
    for (method, place, status) in [
        ("GET", "/", 404),
        ("GET", "/users", 404),
        ("GET", "/scim/v2/Users", 404),
        ("GET", "/Users/a/b", 404),
        ("GET", "/Users//", 404),
        ("GET", "/ServiceProviderConfigs", 404),
        ("GET", "/Users/", 200),
        ("HEAD", "/Users", 200),
        ("GET", "/Users/nobody", 404),
        ("GET", "/Users/%00", 404),
        ("GET", "/Users/%FF", 404),
        ("GET", "/Me", 501),
        ("GET", "/Bulk", 405),
        ("POST", "/Bulk/x", 404),
        ("GET", "/.search", 405),
        ("PUT", "/Users/.search", 405),
        ("DELETE", "/Groups/.search", 405),
        ("POST", "/.search", 400),
        ("POST", "/Me/.search", 501),
        ("DELETE", "/Users", 405),
        ("PUT", "/Groups", 405),
        ("POST", "/Users/u", 405),
        ("OPTIONS", "/Users", 405),
    ] {
        let answer = at.call(method, place, &[], Value::Null);
        assert_eq!(answer.status, status, "{method} {place}");
    }
    let lost = at.get("/v2/Users");
    assert!(lost.body["detail"].as_str().is_some_and(|detail| detail.contains(BASE)));
    for (media, status) in [
        ("application/scim+json", 201),
        ("application/json; charset=utf-8", 409),
        ("Application/SCIM+JSON;charset=utf-8", 409),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ] {
        let body = json!({ "schemas": [USER], "userName": "m" });
        assert_eq!(at.call("POST", "/Users", &[("content-type", media)], body).status, status, "{media}");
    }
}
