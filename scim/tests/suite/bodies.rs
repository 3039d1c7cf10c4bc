//! POST and PUT: what a body may hold, and what is done with one that may not.

use bytes::Bytes;
use portcullis_scim::schema::{ENTERPRISE_USER as ENTERPRISE, GROUP, USER};
use portcullis_scim::{Schemas, ScimRequest, read_request};
use serde_json::{Value, json};

use crate::model::{BASE, Directory};

#[test]
fn bodies_are_read_by_the_tables() {
    let mut at = Directory::new();
    let made = at.post(
        "/Users",
        json!({ "SCHEMAS": [USER.to_lowercase()], "USERNAME": "x@corp.test", "ID": "mine", "Meta": { "version": "9" },
                "ACTIVE": "TRUE", "groups": [{ "value": "g" }], "unknown": { "a": [1, { "b": null }] },
                "name": { "GIVENNAME": "X", "middleName": null, "unknown": 1 }, "title": "", "addresses": [],
                "emails": [{ "VALUE": "x@corp.test", "Primary": "True" }, {}, { "unknown": 1 }],
                ENTERPRISE.to_uppercase(): { "DEPARTMENT": "D", "manager": "" } }),
    );
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.id();
    assert_ne!(id, "mine");
    let mut expected = json!({
        "schemas": [USER, ENTERPRISE], "id": id, "userName": "x@corp.test", "active": true, "groups": [],
        "name": { "givenName": "X" }, "title": "", "emails": [{ "value": "x@corp.test", "primary": true }],
        ENTERPRISE: { "department": "D" },
    });
    expected["meta"] = made.body["meta"].clone();
    assert_eq!(made.body, expected);
    let meta = json!({ "resourceType": "User", "created": "1970-01-01T00:00:01.000Z", "version": "W/\"1\"",
                       "lastModified": "1970-01-01T00:00:01.000Z", "location": format!("{BASE}/Users/{id}") });
    assert_eq!(made.body["meta"], meta);

    let blank = json!({ "schemas": [USER], "userName": "w@corp.test", "externalId": "" });
    let made = at.post("/Users", blank);
    assert!(
        made.body.get("externalId").is_none(),
        "two people without an externalId are not the same person"
    );
    assert_eq!(at.delete(&format!("/Users/{}", made.id())).status, 204);
    let user = |fields: Value| {
        let mut body = json!({ "schemas": [USER], "userName": "y@corp.test" });
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        body
    };
    let many: Vec<Value> = (0..501).map(|n| json!({ "value": n.to_string() })).collect();
    for (body, scim_type) in [
        (json!({ "userName": "y" }), "invalidSyntax"),
        (json!({ "schemas": [], "userName": "y" }), "invalidSyntax"),
        (json!({ "schemas": USER, "userName": "y" }), "invalidSyntax"),
        (json!({ "schemas": [GROUP], "userName": "y" }), "invalidSyntax"),
        (json!({ "schemas": ["urn:scim:schemas:core:1.0"], "userName": "y" }), "invalidSyntax"),
        (json!({ "schemas": [USER] }), "invalidValue"),
        (user(json!({ "userName": null })), "invalidValue"),
        (user(json!({ "userName": "  " })), "invalidValue"),
        (user(json!({ "userName": " y" })), "invalidValue"),
        (user(json!({ "userName": "y\u{a0}" })), "invalidValue"),
        (user(json!({ "userName": "y\u{200b}" })), "invalidValue"),
        (user(json!({ "userName": "\u{feff}y" })), "invalidValue"),
        (user(json!({ "x509Certificates": [{ "value": "***" }] })), "invalidValue"),
        (user(json!({ "x509Certificates": [{ "value": "AQI" }, { "value": "AQIDB" }] })), "invalidValue"),
        (
            user(
                json!({ "x509Certificates": [{ "value": "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----" }] }),
            ),
            "invalidValue",
        ),
        (user(json!({ "userName": "account:18" })), "invalidValue"),
        (user(json!({ "active": true, format!("{USER}:active"): false })), "invalidSyntax"),
        (user(json!({ "userName": "y\u{7}z" })), "invalidValue"),
        (user(json!({ "userName": "y\u{85}z" })), "invalidValue"),
        (user(json!({ "userName": 7 })), "invalidValue"),
        (user(json!({ "userName": "y".repeat(1_025) })), "invalidValue"),
        (user(json!({ "externalId": "\u{1d160}".repeat(250) })), "invalidValue"),
        (user(json!({ "active": 1 })), "invalidValue"),
        (user(json!({ "active": "yes" })), "invalidValue"),
        (user(json!({ "active": [false] })), "invalidValue"),
        (user(json!({ "emails": "y@corp.test" })), "invalidValue"),
        (user(json!({ "emails": ["y@corp.test"] })), "invalidValue"),
        (user(json!({ "emails": [{ "value": ["y"] }] })), "invalidValue"),
        (
            user(
                json!({ "emails": [{ "value": "a", "primary": true }, { "value": "b", "primary": "true" }] }),
            ),
            "invalidValue",
        ),
        (user(json!({ "roles": many })), "invalidValue"),
        (user(json!({ "name": "Y" })), "invalidValue"),
        (user(json!({ "name": [{ "givenName": "Y" }] })), "invalidValue"),
        (user(json!({ ENTERPRISE: "x" })), "invalidValue"),
        (user(json!({ ENTERPRISE: { "manager": [{ "value": "a" }, { "value": "b" }] } })), "invalidValue"),
        (user(json!({ "username": "z" })), "invalidSyntax"),
    ] {
        let answer = at.post("/Users", body.clone());
        assert_eq!(
            (answer.status, answer.scim_type()),
            (400, Some(scim_type)),
            "{body:.200}: {}",
            answer.body
        );
    }
    assert_eq!(at.get("/Users").body["totalResults"], 1);
    for (body, scim_type) in [
        (json!({ "schemas": [GROUP] }), "invalidValue"),
        (json!({ "schemas": [GROUP], "displayName": "" }), "invalidValue"),
        (json!({ "schemas": [GROUP], "displayName": "G", "members": [{ "display": "x" }] }), "invalidValue"),
        (json!({ "schemas": [GROUP], "displayName": "G", "members": [{ "value": "" }] }), "invalidValue"),
        (
            json!({ "schemas": [GROUP], "displayName": "G", "members": [{ "value": "nobody" }] }),
            "invalidValue",
        ),
        (json!({ "schemas": [GROUP], "displayName": "G", "members": ["u"] }), "invalidValue"),
    ] {
        let answer = at.post("/Groups", body.clone());
        assert_eq!((answer.status, answer.scim_type()), (400, Some(scim_type)), "{body}");
    }
    assert_eq!(at.post("/Groups", json!({ "schemas": [GROUP], "displayName": "ops" })).status, 201);
    let same = at.post("/Groups", json!({ "schemas": [GROUP], "displayName": "OPS" }));
    assert_eq!((same.status, same.scim_type()), (409, Some("uniqueness")));
    assert!(
        same.body["detail"].as_str().is_some_and(|detail| detail.contains("ops")),
        "it names the other one"
    );
}

#[test]
fn evil_bodies_end_in_an_error() {
    let mut at = Directory::new();
    let deep = format!(
        "{{\"schemas\":[\"{USER}\"],\"userName\":\"x\",\"a\":{}{}}}",
        "[".repeat(90_000),
        "]".repeat(90_000)
    );
    let twice = format!("{{\"schemas\":[\"{USER}\"],\"userName\":\"x\",\"UserName\":\"y\"}}");
    let huge = format!("{{\"schemas\":[\"{USER}\"],\"userName\":\"x\",\"a\":1e999}}");
    let large = format!("{{\"schemas\":[\"{USER}\"],\"userName\":\"x\",\"a\":\"{}\"}}", "x".repeat(1 << 20));
    for (body, status) in [
        (&*deep, 400),
        (&*twice, 400),
        (&*huge, 400),
        (&*large, 413),
        ("", 400),
        ("[]", 400),
        ("\u{feff}{}", 400),
        ("{", 400),
    ] {
        for method in ["POST", "PUT", "PATCH"] {
            let place = if method == "POST" { "/Users" } else { "/Users/u" };
            let request =
                http::Request::builder().method(method).uri(place).body(Bytes::from(body.to_owned()));
            let answer = at.send(&request.expect("a request"));
            assert_eq!(answer.status, status, "{method} {body:.60}");
        }
    }
}

#[test]
fn what_takes_access_away_is_known_by_its_shape() {
    let schemas = Schemas::core_schemas();
    let patch = |operation: Value| json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation] });
    let user = |active: Value| json!({ "schemas": [USER], "userName": "x", "active": active });
    let group = json!({ "schemas": [GROUP], "displayName": "G", "members": [{ "value": "u" }] });
    let member = json!([{ "value": "u" }]);
    let table: Vec<(&str, &str, Value, bool, bool)> = vec![
        ("DELETE", "/Users/u", Value::Null, true, true),
        ("DELETE", "/Groups/g", Value::Null, true, false),
        ("POST", "/Users", user(json!(false)), false, false),
        ("PUT", "/Users/u", user(json!(false)), true, true),
        ("PUT", "/Users/u", user(json!("FALSE")), true, true),
        ("PUT", "/Users/u", user(json!(true)), false, false),
        ("PUT", "/Users/u", user(Value::Null), false, false),
        ("PUT", "/Groups/g", group.clone(), true, false),
        ("POST", "/Groups", group, false, false),
        ("PATCH", "/Users/u", patch(json!({ "op": "replace", "value": { "active": false } })), true, true),
        ("PATCH", "/Users/u", patch(json!({ "op": "Add", "value": { "Active": "False" } })), true, true),
        (
            "PATCH",
            "/Users/u",
            patch(json!({ "op": "replace", "value": { format!("{USER}:active"): false } })),
            true,
            true,
        ),
        ("PATCH", "/Users/u", patch(json!({ "op": "replace", "path": "active", "value": null })), true, true),
        ("PATCH", "/Users/u", patch(json!({ "op": "add", "path": "active", "value": null })), true, true),
        ("PATCH", "/Users/u", patch(json!({ "op": "remove", "path": "active" })), true, true),
        (
            "PATCH",
            "/Users/u",
            patch(json!({ "op": "replace", "path": "active", "value": "True" })),
            false,
            false,
        ),
        ("PATCH", "/Users/u", patch(json!({ "op": "remove", "path": "title" })), false, false),
        (
            "PATCH",
            "/Groups/g",
            patch(json!({ "op": "add", "path": "members", "value": member })),
            false,
            false,
        ),
        (
            "PATCH",
            "/Groups/g",
            patch(json!({ "op": "remove", "path": "members", "value": member })),
            true,
            false,
        ),
        (
            "PATCH",
            "/Groups/g",
            patch(json!({ "op": "remove", "path": "members[value eq \"u\"]" })),
            true,
            false,
        ),
        ("PATCH", "/Groups/g", patch(json!({ "op": "replace", "value": { "members": [] } })), true, false),
        (
            "PATCH",
            "/Groups/g",
            patch(json!({ "op": "replace", "value": { "id": "g", "displayName": "H" } })),
            true,
            false,
        ),
        (
            "PATCH",
            "/Groups/g",
            patch(json!({ "op": "replace", "path": "externalId", "value": "x" })),
            false,
            false,
        ),
    ];
    for (method, path, body, takes_away, deprovisions) in table {
        let request = http::Request::builder().method(method).uri(path).body(Bytes::from(body.to_string()));
        let Ok(ScimRequest::Write(write)) = read_request(&schemas, &request.expect("a request")) else {
            panic!("{method} {path} {body} is a write")
        };
        assert_eq!(write.takes_away(), takes_away, "{method} {path} {body}");
        assert_eq!(write.deprovisions().is_some(), deprovisions, "{method} {path} {body}");
    }
}
