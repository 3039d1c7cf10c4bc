//! The rules of RFC 7643 and 7644 that servers break most, one table after the other.

use crate::model::{Answer, BASE, Directory};
use bytes::Bytes;
use portcullis_scim::{GroupPatch, MAX_OPERATIONS, Request, Schemas, read};
use serde_json::{Value, json};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// A directory with three users `a`, `b`, `c` and their ids.
fn three() -> (Directory, [String; 3]) {
    let mut at = Directory::new();
    let ids = ["a", "b", "c"].map(|name| {
        let user = json!({ "schemas": [USER], "userName": format!("{name}@corp.test"), "title": name,
                           "emails": [{ "type": "work", "value": format!("{name}@corp.test"), "primary": true },
                                      { "type": "home", "value": format!("{name}@home.test") }] });
        at.post("/Users", user).id()
    });
    (at, ids)
}

fn names(answer: &Answer) -> Vec<&str> {
    let list = answer.body["Resources"].as_array().expect("a list");
    list.iter().filter_map(|user| user["userName"].as_str()).collect()
}

#[test]
fn paging_holds_at_every_edge() {
    let (mut at, _) = three();
    let table: &[(&str, u16, usize)] = &[
        ("", 200, 3),
        ("?startIndex=1&count=2", 200, 2),
        ("?startIndex=3&count=2", 200, 1),
        ("?startIndex=4", 200, 0),
        ("?startIndex=99999999999999999999999", 200, 0),
        ("?startIndex=0", 200, 3),
        ("?startIndex=-7", 200, 3),
        ("?count=0", 200, 0),
        ("?count=-1", 200, 0),
        ("?count=100000", 200, 3),
        ("?startIndex=2&COUNT=1", 200, 1),
        ("?count=ten", 400, 0),
        ("?count=", 400, 0),
        ("?startIndex=1.5", 400, 0),
        ("?count=1&count=2", 400, 0),
        ("?cursor=", 400, 0),
        ("?aadOptscim062020&sortBy=userName&%FF=1&x", 200, 3),
        ("?attributes=%FF", 400, 0),
    ];
    for (query, status, length) in table {
        let answer = at.get(&format!("/Users{query}"));
        assert_eq!(answer.status, *status, "{query}");
        if *status == 200 {
            assert_eq!(answer.body["totalResults"], 3, "{query}");
            assert_eq!(answer.body["itemsPerPage"], *length, "{query}");
            assert_eq!(names(&answer).len(), *length, "{query}");
        } else {
            assert!(["invalidValue", "invalidSyntax"].contains(&answer.scim_type().expect("a type")));
        }
    }
    assert_eq!(names(&at.get("/Users?startIndex=2&count=1")), ["b@corp.test"]);
}

#[test]
fn filters_find_or_are_refused() {
    let (mut at, [a, b, _]) = three();
    at.patch(
        &format!("/Users/{a}"),
        json!([{ "op": "replace", "path": "active", "value": false },
                                            { "op": "add", "path": "manager", "value": { "value": b } }]),
    );
    let group =
        json!({ "schemas": [GROUP], "displayName": "Ops", "externalId": "X1", "members": [{ "value": a }] });
    at.post("/Groups", group);
    let urn = format!("{USER}:userName");
    let found: &[(&str, &str, u64)] = &[
        ("Users", r#"userName eq "a@corp.test""#, 1),
        ("Users", r#"USERNAME EQ "A@Corp.Test""#, 1),
        ("Users", &format!(r#"{urn} eq "a@corp.test""#), 1),
        ("Users", &format!(r#"{} eq "a@corp.test""#, urn.to_uppercase()), 1),
        ("Users", r#"userName eq "a\u0040corp.test""#, 1),
        ("Users", r#"(userName eq "a@corp.test")"#, 1),
        ("Users", r#"userName eq "a%""#, 0),
        ("Users", r#"userName eq "' or 1=1 --""#, 0),
        ("Users", r#"userName eq "\u212a""#, 0),
        ("Users", "active eq true", 2),
        ("Users", "active eq FALSE", 1),
        ("Users", r#"active eq "False""#, 1),
        ("Users", r#"emails eq "a@home.test""#, 1),
        ("Users", r#"emails.type eq "work" and emails.value eq "a@home.test""#, 1),
        ("Users", r#"emails[type eq "work" and value eq "a@home.test"]"#, 0),
        ("Users", r#"emails[type eq "work"].value eq "a@home.test""#, 0),
        ("Users", r#"emails[type eq "HOME"].value eq "A@home.test""#, 1),
        ("Users", r#"emails[type eq "home" and primary eq true]"#, 0),
        ("Users", r#"title eq "a" and emails[type eq "home"].value eq "a@home.test""#, 1),
        ("Users", &format!(r#"manager eq "{b}""#), 1),
        ("Users", &format!(r#"{ENTERPRISE}:manager.value eq "{b}""#), 1),
        ("Users", &format!(r#"id eq "{a}" and manager eq "{b}""#), 1),
        ("Users", &format!(r#"id eq "{b}" and manager eq "{b}""#), 0),
        ("Users", &format!(r#"id eq "{}""#, a.to_uppercase()), 0),
        ("Groups", r#"displayName eq "OPS""#, 1),
        ("Groups", r#"externalId eq "X1""#, 1),
        ("Groups", r#"externalId eq "x1""#, 0),
        ("Groups", &format!(r#"members eq "{a}""#), 1),
        ("Groups", &format!(r#"members[value eq "{a}"]"#), 1),
        ("Groups", &format!(r#"members.value eq "{b}""#), 0),
    ];
    for (kind, filter, total) in found {
        let answer = at.get(&format!("/{kind}?filter={}", filter.replace('%', "%25").replace('\\', "%5C")));
        assert_eq!(
            (answer.status, &answer.body["totalResults"]),
            (200, &json!(total)),
            "{filter}: {}",
            answer.body
        );
    }
    let deep = format!("{}userName eq \"x\"{}", "(".repeat(5_000), ")".repeat(5_000));
    let long = format!("userName eq \"{}\"", "x".repeat(5_000));
    let wide = vec!["userName eq \"x\""; 40].join(" and ");
    let refused: &[&str] = &[
        "",
        " ",
        "userName",
        "userName eq",
        "userName eq x",
        "userName eq 'x'",
        r#"userName eq "x"#,
        r#"userName eq "\q""#,
        r#"userName eq "\u0000""#,
        r#"userName eq "x" and"#,
        r#"userName eq "x" userName"#,
        r#"userName eq"x""#,
        r#"(userName eq "x""#,
        r#"userName eq "x")"#,
        r#"userName xx "x""#,
        r#"userName eq 5"#,
        r#"active eq "maybe""#,
        "active gt true",
        r#"nobody eq "x""#,
        r#"password eq "x""#,
        "password pr",
        r#"urn:x:y eq "x""#,
        r#"emails[type eq "work""#,
        r#"emails[] eq "x""#,
        r#"emails[type eq "work"].nobody eq "x""#,
        r#"emails[type eq "work"].value"#,
        r#"emails[emails[type eq "x"]]"#,
        r#"userName[value eq "x"]"#,
        r#"name eq "x""#,
        r#"x509Certificates eq "x""#,
        r#"meta.location eq "x""#,
        // Understood, and not what this service searches by.
        r#"userName ne "x""#,
        r#"userName co "x""#,
        "userName pr",
        r#"not (userName eq "x")"#,
        r#"not(userName eq "x")"#,
        r#"userName eq "x" or userName eq "y""#,
        r#"emails[type eq "work" or type eq "home"]"#,
        r#"emails[not (type eq "work")].value eq "x""#,
        "title eq null",
        r#"meta.created gt "2026-01-01T00:00:00Z""#,
        r#"meta.resourceType eq "User""#,
        r#"groups.value eq "x""#,
        &deep,
        &long,
        &wide,
    ];
    for filter in refused {
        let answer = at.get(&format!("/Users?filter={}", filter.replace('\\', "%5C")));
        assert_eq!(
            (answer.status, answer.scim_type()),
            (400, Some("invalidFilter")),
            "{filter:.80}: {}",
            answer.body
        );
    }
}

#[test]
fn projection_keeps_what_is_always_there() {
    let (mut at, [a, ..]) = three();
    let keys = |answer: &Answer| -> Vec<String> {
        answer.body.as_object().expect("an object").keys().cloned().collect()
    };
    let table: &[(&str, &[&str])] = &[
        ("attributes=userName", &["id", "schemas", "userName"]),
        ("attributes=USERNAME,%20name", &["id", "schemas", "userName"]),
        ("attributes=nobody", &["id", "schemas"]),
        ("attributes=password", &["id", "schemas"]),
        ("attributes=meta.version", &["id", "meta", "schemas"]),
        ("attributes=urn:ietf:params:scim:schemas:core:2.0:User:title", &["id", "schemas", "title"]),
        ("attributes=groups", &["groups", "id", "schemas"]),
        ("attributes=userName,title&excludedAttributes=title", &["id", "schemas", "userName"]),
        (
            "excludedAttributes=id,schemas,emails,meta,groups",
            &["active", "id", "schemas", "title", "userName"],
        ),
        ("attributes=", &["active", "emails", "groups", "id", "meta", "schemas", "title", "userName"]),
    ];
    for (query, expected) in table {
        assert_eq!(keys(&at.get(&format!("/Users/{a}?{query}"))), *expected, "{query}");
    }
    let types = at.get(&format!("/Users/{a}?attributes=emails.type"));
    assert_eq!(types.body["emails"], json!([{ "type": "work" }, { "type": "home" }]));
    let without = at.get(&format!("/Users/{a}?excludedAttributes=emails.value,emails.primary"));
    assert_eq!(without.body["emails"], json!([{ "type": "work" }, { "type": "home" }]));

    // The same for answers to writes.
    let minimal = json!({ "schemas": [USER], "userName": "d@corp.test", "department": "x" });
    assert_eq!(keys(&at.post("/Users?attributes=title", minimal.clone())), ["id", "schemas"]);
    let changed = at.patch(
        &format!("/Users/{a}?attributes=title"),
        json!([{ "op": "add", "path": "title", "value": "T" }]),
    );
    assert_eq!(changed.body["title"], "T");
    assert_eq!(keys(&changed), ["id", "schemas", "title"]);
    let extension = json!([{ "op": "add", "path": "department", "value": "Sales" }]);
    let changed = at.patch(&format!("/Users/{a}?attributes={ENTERPRISE}"), extension);
    assert_eq!(changed.body[ENTERPRISE], json!({ "department": "Sales" }));
}

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

/// A user with two e-mails and a manager, and what one PATCH makes of it.
fn patched(operations: Value) -> (Answer, Value, Value) {
    let mut at = Directory::new();
    let user = json!({ "schemas": [USER], "userName": "p@corp.test", "title": "T", "active": true,
                       "name": { "givenName": "P", "familyName": "Q" },
                       "emails": [{ "type": "work", "value": "w@x.test", "primary": true },
                                  { "type": "home", "value": "h@x.test" }],
                       ENTERPRISE: { "department": "D", "manager": { "value": "m" } } });
    let path = format!("/Users/{}", at.post("/Users", user).id());
    let before = at.get(&path).body;
    let answer = at.patch(&path, operations);
    let after = at.get(&path).body;
    (answer, before, after)
}

#[test]
fn patch_applies() {
    let work = json!({ "type": "work", "value": "w@x.test", "primary": true });
    let home = json!({ "type": "home", "value": "h@x.test" });
    let other = json!({ "type": "other", "value": "o@x.test" });
    let not_primary = json!({ "type": "work", "value": "w@x.test", "primary": false });
    let table: Vec<(Value, &str, Value)> = vec![
        (json!({ "op": "add", "path": "nickName", "value": "N" }), "/nickName", json!("N")),
        (json!({ "op": "add", "path": "title", "value": "U" }), "/title", json!("U")),
        (json!({ "op": "replace", "path": "nickName", "value": "N" }), "/nickName", json!("N")),
        (json!({ "op": "replace", "path": "title", "value": null }), "/title", Value::Null),
        (json!({ "op": "remove", "path": "title" }), "/title", Value::Null),
        (json!({ "op": "remove", "path": "nickName" }), "/nickName", Value::Null),
        (json!({ "op": "remove", "path": "active" }), "/active", json!(false)),
        (json!({ "op": "replace", "path": "active", "value": null }), "/active", json!(false)),
        // Complex: merged.
        (json!({ "op": "replace", "path": "name", "value": { "givenName": "R" } }), "/name",
         json!({ "givenName": "R", "familyName": "Q" })),
        (json!({ "op": "add", "path": "name", "value": { "givenName": null } }), "/name", json!({ "familyName": "Q" })),
        (json!({ "op": "replace", "path": "name.familyName", "value": "S" }), "/name/familyName", json!("S")),
        (json!({ "op": "remove", "path": "name.familyName" }), "/name", json!({ "givenName": "P" })),
        (json!({ "op": "replace", "path": "name", "value": null }), "/name", Value::Null),
        // Lists.
        (json!({ "op": "add", "path": "emails", "value": [other] }), "/emails", json!([work, home, other])),
        (json!({ "op": "add", "path": "emails", "value": [home] }), "/emails", json!([work, home])),
        (json!({ "op": "add", "path": "emails", "value": [{ "type": "HOME", "value": "H@x.test", "display": "H" }] }), "/emails/1",
         json!({ "type": "HOME", "value": "H@x.test", "display": "H" })),
        (json!({ "op": "add", "path": "emails", "value": [] }), "/emails", json!([work, home])),
        (json!({ "op": "replace", "path": "emails", "value": [other] }), "/emails", json!([other])),
        (json!({ "op": "replace", "path": "emails", "value": [] }), "/emails", Value::Null),
        (json!({ "op": "remove", "path": "emails" }), "/emails", Value::Null),
        (json!({ "op": "remove", "path": "emails", "value": null }), "/emails", Value::Null),
        (json!({ "op": "remove", "path": "emails", "value": [{ "value": "W@x.test" }] }), "/emails", json!([home])),
        (json!({ "op": "remove", "path": "emails", "value": [{ "value": "w@x.test", "type": "home" }] }), "/emails",
         json!([work, home])),
        // A new primary is the only one.
        (json!({ "op": "add", "path": "emails", "value": [{ "value": "o@x.test", "primary": true }] }), "/emails",
         json!([not_primary, home, { "value": "o@x.test", "primary": true }])),
        (json!({ "op": "replace", "path": "emails[type eq \"home\"].primary", "value": "True" }), "/emails/0", not_primary.clone()),
        // Value paths.
        (json!({ "op": "replace", "path": "emails[type eq \"work\"].value", "value": "n@x.test" }), "/emails/0/value", json!("n@x.test")),
        (json!({ "op": "replace", "path": "emails[type eq \"home\"]", "value": other }), "/emails/1", other.clone()),
        (json!({ "op": "replace", "path": "emails[type eq \"home\"]", "value": [other] }), "/emails/1", other.clone()),
        (json!({ "op": "add", "path": "emails[type eq \"home\"]", "value": { "display": "H" } }), "/emails/1",
         json!({ "type": "home", "value": "h@x.test", "display": "H" })),
        (json!({ "op": "add", "path": "emails[type eq \"other\"].value", "value": "o@x.test" }), "/emails/2", other.clone()),
        (json!({ "op": "add", "path": "emails[value eq \"h@x.test\" and type eq \"home\"].display", "value": "H" }), "/emails/1/display",
         json!("H")),
        (json!({ "op": "remove", "path": "emails[type eq \"work\"]" }), "/emails", json!([home])),
        (json!({ "op": "remove", "path": "emails[type eq \"fax\"]" }), "/emails", json!([work, home])),
        (json!({ "op": "remove", "path": "emails[not (type eq \"work\")]" }), "/emails", json!([work])),
        (json!({ "op": "remove", "path": "emails[value sw \"W@\" or value ew \".org\"]" }), "/emails", json!([home])),
        (json!({ "op": "remove", "path": "emails[type eq \"work\"].primary" }), "/emails/0",
         json!({ "type": "work", "value": "w@x.test" })),
        (json!({ "op": "remove", "path": "emails.type" }), "/emails/1", json!({ "value": "h@x.test" })),
        (json!({ "op": "add", "path": "ims.value", "value": "i" }), "/ims", json!([{ "value": "i" }])),
        // Extensions.
        (json!({ "op": "replace", "path": format!("{ENTERPRISE}:department"), "value": "E" }), &*format!("/{ENTERPRISE}/department"), json!("E")),
        (json!({ "op": "replace", "path": ENTERPRISE, "value": { "department": "E" } }), &*format!("/{ENTERPRISE}"),
         json!({ "department": "E", "manager": { "value": "m" } })),
        (json!({ "op": "add", "value": { ENTERPRISE: { "costCenter": "C" } } }), &*format!("/{ENTERPRISE}/costCenter"), json!("C")),
        (json!({ "op": "remove", "path": ENTERPRISE }), "/schemas", json!([USER])),
        (json!({ "op": "replace", "value": { ENTERPRISE: null } }), "/schemas", json!([USER])),
        // Repeated and thrown away.
        (json!({ "op": "replace", "value": { "schemas": [USER], "groups": [], "title": "U" } }), "/title", json!("U")),
        (json!({ "op": "add", "path": "password", "value": "correct horse" }), "/title", json!("T")),
    ]
    .into_iter()
    .map(|(operation, at, expected)| (operation, Box::leak(at.to_owned().into_boxed_str()) as &str, expected))
    .collect();
    for (operation, pointer, expected) in table {
        let (answer, before, after) = patched(json!([operation]));
        assert_eq!(answer.status, 200, "{operation}: {}", answer.body);
        let found = after.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(found, expected, "{operation}");
        let is_same = before == after;
        assert_eq!(before["meta"]["version"] == after["meta"]["version"], is_same, "{operation}");
        assert_eq!(answer.body, after);
    }
}

#[test]
fn patch_is_refused_whole() {
    let first = json!({ "op": "replace", "path": "title", "value": "changed" });
    let table: Vec<(Value, &str)> = vec![
        (json!({ "op": "replace", "path": "emails[type eq \"fax\"].value", "value": "x" }), "noTarget"),
        (
            json!({ "op": "replace", "path": "emails[type eq \"fax\"]", "value": { "value": "x" } }),
            "noTarget",
        ),
        (
            json!({ "op": "add", "path": "emails[type eq \"a\" or type eq \"b\"].value", "value": "x" }),
            "noTarget",
        ),
        (
            json!({ "op": "add", "path": "emails[type eq \"a\" and type eq \"b\"].value", "value": "x" }),
            "noTarget",
        ),
        (json!({ "op": "replace", "path": "emails.value", "value": "x" }), "noTarget"),
        (json!({ "op": "remove" }), "noTarget"),
        (json!({ "op": "remove", "value": { "active": true } }), "noTarget"),
        (json!({ "op": "remove", "path": "userName" }), "mutability"),
        (json!({ "op": "replace", "path": "userName", "value": null }), "mutability"),
        (json!({ "op": "replace", "path": "id", "value": "other" }), "mutability"),
        (json!({ "op": "replace", "path": "groups", "value": [{ "value": "g" }] }), "mutability"),
        (json!({ "op": "remove", "path": "groups" }), "mutability"),
        (json!({ "op": "remove", "path": "groups[value eq \"g\"]" }), "mutability"),
        (json!({ "op": "replace", "path": "meta.version", "value": "W/\"7\"" }), "mutability"),
        (json!({ "op": "add", "path": "schemas", "value": ["urn:x"] }), "mutability"),
        (json!({ "op": "add", "path": "manager.displayName", "value": "x" }), "mutability"),
        (json!({ "op": "add", "path": "nobody", "value": "x" }), "invalidPath"),
        (json!({ "op": "add", "path": "", "value": "x" }), "invalidPath"),
        (json!({ "op": "add", "path": 7, "value": "x" }), "invalidPath"),
        (json!({ "op": "add", "path": "title x", "value": "x" }), "invalidPath"),
        (json!({ "op": "add", "path": "emails[type eq \"work\"]x", "value": "x" }), "invalidPath"),
        (json!({ "op": "add", "path": "emails[type eq \"work\"].x", "value": "x" }), "invalidPath"),
        (json!({ "op": "add", "path": "title[value eq \"x\"]", "value": "x" }), "invalidPath"),
        (json!({ "op": "add", "path": "name[givenName eq \"x\"]", "value": "x" }), "invalidPath"),
        (
            json!({ "op": "add", "path": format!("emails[value eq \"{}\"]", "x".repeat(2_000)), "value": "x" }),
            "invalidPath",
        ),
        (json!({ "op": "add", "path": "emails[type xx \"work\"]", "value": "x" }), "invalidFilter"),
        (json!({ "op": "add", "path": "emails[nobody eq \"work\"]", "value": "x" }), "invalidFilter"),
        (json!({ "op": "add", "path": "emails[type eq \"work\"", "value": "x" }), "invalidFilter"),
        (json!({ "op": "add", "path": "title" }), "invalidValue"),
        (json!({ "op": "add", "path": "title", "value": 1 }), "invalidValue"),
        (json!({ "op": "add", "path": "title", "value": ["x"] }), "invalidValue"),
        (json!({ "op": "add", "path": "name", "value": {} }), "invalidValue"),
        (json!({ "op": "add", "path": "name", "value": { "nobody": "x" } }), "invalidValue"),
        (json!({ "op": "add", "path": "manager", "value": { "displayName": "x" } }), "invalidValue"),
        (json!({ "op": "add", "path": "emails", "value": [{}] }), "invalidValue"),
        (json!({ "op": "add", "path": "emails", "value": ["x"] }), "invalidValue"),
        (
            json!({ "op": "add", "path": "emails", "value": [{ "value": "a", "primary": true }, { "value": "b", "primary": true }] }),
            "invalidValue",
        ),
        (json!({ "op": "add", "path": "emails[value pr].primary", "value": true }), "invalidValue"),
        (json!({ "op": "remove", "path": "emails", "value": [] }), "invalidValue"),
        (json!({ "op": "remove", "path": "emails", "value": [{}] }), "invalidValue"),
        (json!({ "op": "remove", "path": "emails", "value": "w@x.test" }), "invalidValue"),
        (json!({ "op": "remove", "path": "emails.value", "value": "w@x.test" }), "invalidValue"),
        (json!({ "op": "add" }), "invalidValue"),
        (json!({ "op": "add", "value": {} }), "invalidValue"),
        (json!({ "op": "add", "value": "x" }), "invalidValue"),
        (json!({ "op": "add", "value": [{ "active": false }] }), "invalidValue"),
        (json!({ "op": "add", "path": ENTERPRISE, "value": {} }), "invalidValue"),
        (json!({ "op": "add", "path": ENTERPRISE, "value": "x" }), "invalidValue"),
        (json!({ "op": "move", "path": "title" }), "invalidSyntax"),
        (json!({ "path": "title", "value": "x" }), "invalidSyntax"),
        (json!({ "op": true, "path": "title", "value": "x" }), "invalidSyntax"),
        (json!("op"), "invalidSyntax"),
    ];
    for (operation, scim_type) in table {
        let (answer, before, after) = patched(json!([first, operation]));
        assert_eq!(
            (answer.status, answer.scim_type()),
            (400, Some(scim_type)),
            "{operation}: {}",
            answer.body
        );
        assert_eq!(before, after, "{operation}");
    }
    assert_eq!(patched(json!([])).0.scim_type(), Some("invalidSyntax"));
    assert_eq!(patched(json!({})).0.scim_type(), Some("invalidSyntax"));
    assert_eq!(patched(Value::Null).0.scim_type(), Some("invalidSyntax"));
    let many = vec![first; MAX_OPERATIONS + 1];
    let (answer, before, after) = patched(many.into());
    assert_eq!((answer.status, before), (413, after));
    assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains("1000")));
    let mut at = Directory::new();
    let bare =
        at.call("PATCH", "/Users/u", &[], json!({ "Operations": [{ "op": "remove", "path": "title" }] }));
    assert_eq!(bare.scim_type(), Some("invalidSyntax"));
}

#[test]
fn members_change_one_by_one_or_not_at_all() {
    let table: Vec<(Value, u16, &[usize])> = vec![
        (json!({ "op": "remove", "path": "members[value eq \"$0\"]" }), 204, &[1]),
        (json!({ "op": "remove", "path": "members[value eq \"$2\"]" }), 204, &[0, 1]),
        (
            json!({ "op": "remove", "path": "members", "value": [{ "value": "$0" }, { "value": "$2" }] }),
            204,
            &[1],
        ),
        (
            json!({ "op": "remove", "path": "members", "value": { "value": "$0", "display": "whoever" } }),
            204,
            &[1],
        ),
        (json!({ "op": "remove", "path": "members", "value": [] }), 400, &[0, 1]),
        (json!({ "op": "remove", "path": "members", "value": ["$0"] }), 400, &[0, 1]),
        (json!({ "op": "remove", "path": "members", "value": [{ "display": "a" }] }), 400, &[0, 1]),
        (json!({ "op": "remove", "path": "members" }), 204, &[]),
        (json!({ "op": "remove", "path": "members[type eq \"User\"]" }), 204, &[]),
        (json!({ "op": "remove", "path": "members.value" }), 400, &[0, 1]),
        (
            json!({ "op": "replace", "path": "members", "value": [{ "value": "$2" }, { "value": "$2" }] }),
            204,
            &[2],
        ),
        (
            json!({ "op": "replace", "path": "members[value eq \"$0\"]", "value": { "value": "$1" } }),
            204,
            &[1],
        ),
        (json!({ "op": "replace", "path": "members[value eq \"$0\"].value", "value": "$2" }), 400, &[0, 1]),
        (
            json!({ "op": "add", "path": "members[value eq \"$0\"]", "value": { "value": "$2" } }),
            400,
            &[0, 1],
        ),
        (json!({ "op": "add", "path": "members[value eq \"$0\"].display", "value": "x" }), 400, &[0, 1]),
        (
            json!({ "op": "add", "path": "members", "value": [{ "value": "$2" }, { "value": "$0" }] }),
            204,
            &[0, 1, 2],
        ),
        (json!({ "op": "add", "path": "members", "value": [{ "value": "nobody" }] }), 400, &[0, 1]),
        (json!({ "op": "add", "path": "members", "value": [] }), 204, &[0, 1]),
        (json!({ "op": "replace", "value": { "displayName": "H" } }), 204, &[0, 1]),
        (json!({ "op": "replace", "path": "displayName", "value": null }), 400, &[0, 1]),
    ];
    for (operation, status, left) in table {
        let (mut at, ids) = three();
        let group = json!({ "schemas": [GROUP], "displayName": "G", "members": [{ "value": ids[0] }, { "value": ids[1] }] });
        let group = at.post("/Groups", group).id();
        let mut text = operation.to_string();
        for (index, id) in ids.iter().enumerate() {
            text = text.replace(&format!("${index}"), id);
        }
        let operation: Value = serde_json::from_str(&text).expect("JSON");
        let answer = at.patch(&format!("/Groups/{group}"), json!([operation]));
        assert_eq!(answer.status, status, "{operation}: {}", answer.body);
        let left: Vec<&str> = left.iter().map(|index| ids[*index].as_str()).collect();
        assert_eq!(at.members(&group), left, "{operation}");
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
fn discovery_tells_the_truth() {
    let mut at = Directory::new();
    let config = at.get("/ServiceProviderConfig").body;
    let offers = |feature: &str| config[feature]["supported"].as_bool();
    assert_eq!(
        ["patch", "bulk", "filter", "changePassword", "sort", "etag"].map(offers),
        [true, false, true, false, false, true].map(Some)
    );
    assert_eq!(config["filter"]["maxResults"], 1000);
    assert_eq!(config["meta"]["location"], format!("{BASE}/ServiceProviderConfig"));

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
            assert_eq!((answer.status, answer.headers["allow"].to_str().ok()), (405, Some("GET")), "{place}");
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
        ("POST", "/Bulk", 501),
        ("POST", "/.search", 501),
        ("POST", "/Users/.search", 501),
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
fn a_large_group_is_patched_in_bounded_time() {
    // 10,000 listed additions and removals, and 400 filtered ones: linear each, or this test takes minutes.
    let mut at = Directory::new();
    let listed: Vec<Value> = (0..10_000).map(|n| json!({ "value": format!("m-{n}") })).collect();
    let mut operations = vec![
        json!({ "op": "add", "path": "members", "value": listed }),
        json!({ "op": "add", "path": "members", "value": listed }),
    ];
    for n in 0..400 {
        operations.push(json!({ "op": "remove", "path": format!("members[value eq \"m-{n}\"]") }));
    }
    operations.push(json!({ "op": "remove", "path": "members", "value": listed[..9_999] }));
    let group = at.post("/Groups", json!({ "schemas": [GROUP], "displayName": "G" })).id();
    let started = std::time::Instant::now();
    let answer = at.patch(&format!("/Groups/{group}"), operations.into());
    assert_eq!(answer.scim_type(), Some("invalidValue"), "one is left, and the directory does not know it");
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

#[test]
fn what_takes_access_away_is_known_by_its_shape() {
    let schemas = Schemas::core();
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
        let Ok(Request::Write(write)) = read(&schemas, &request.expect("a request")) else {
            panic!("{method} {path} {body} is a write")
        };
        assert_eq!(write.takes_away(), takes_away, "{method} {path} {body}");
        assert_eq!(write.deprovisions().is_some(), deprovisions, "{method} {path} {body}");
    }
}
