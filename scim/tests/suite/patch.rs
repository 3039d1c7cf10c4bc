//! PATCH: every kind of operation, applied or refused whole.

use portcullis_scim::MAX_OPERATIONS;
use portcullis_scim::schema::{ENTERPRISE_USER as ENTERPRISE, GROUP, USER};
use serde_json::{Value, json};

use crate::model::{Answer, Directory, three};

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
    let extension = format!("/{ENTERPRISE}");
    let (department, cost_center) = (format!("{extension}/department"), format!("{extension}/costCenter"));
    let table: Vec<(Value, &str, Value)> = vec![
        (json!({ "op": "add", "path": "nickName", "value": "N" }), "/nickName", json!("N")),
        (json!({ "op": "add", "path": "title", "value": "U" }), "/title", json!("U")),
        (json!({ "op": "replace", "path": "nickName", "value": "N" }), "/nickName", json!("N")),
        (json!({ "op": "replace", "path": "title", "value": null }), "/title", Value::Null),
        (json!({ "op": "remove", "path": "title" }), "/title", Value::Null),
        (json!({ "op": "remove", "path": "nickName" }), "/nickName", Value::Null),
        (json!({ "op": "remove", "path": "active" }), "/active", Value::Null),
        (json!({ "op": "replace", "path": "active", "value": null }), "/active", Value::Null),
        // An extension that names itself (scim2-models) says nothing by that.
        (
            json!({ "op": "add", "path": ENTERPRISE, "value": { "schemas": [ENTERPRISE], "department": "F" } }),
            &department,
            json!("F"),
        ),
        // Complex: merged.
        (
            json!({ "op": "replace", "path": "name", "value": { "givenName": "R" } }),
            "/name",
            json!({ "givenName": "R", "familyName": "Q" }),
        ),
        (
            json!({ "op": "add", "path": "name", "value": { "givenName": null } }),
            "/name",
            json!({ "familyName": "Q" }),
        ),
        (json!({ "op": "replace", "path": "name.familyName", "value": "S" }), "/name/familyName", json!("S")),
        (json!({ "op": "remove", "path": "name.familyName" }), "/name", json!({ "givenName": "P" })),
        (json!({ "op": "replace", "path": "name", "value": null }), "/name", Value::Null),
        // Lists.
        (json!({ "op": "add", "path": "emails", "value": [other] }), "/emails", json!([work, home, other])),
        (json!({ "op": "add", "path": "emails", "value": [home] }), "/emails", json!([work, home])),
        (
            json!({ "op": "add", "path": "emails", "value": [{ "type": "HOME", "value": "H@x.test", "display": "H" }] }),
            "/emails/1",
            json!({ "type": "HOME", "value": "H@x.test", "display": "H" }),
        ),
        (json!({ "op": "add", "path": "emails", "value": [] }), "/emails", json!([work, home])),
        (json!({ "op": "replace", "path": "emails", "value": [other] }), "/emails", json!([other])),
        (json!({ "op": "replace", "path": "emails", "value": [] }), "/emails", Value::Null),
        (json!({ "op": "remove", "path": "emails" }), "/emails", Value::Null),
        (json!({ "op": "remove", "path": "emails", "value": null }), "/emails", Value::Null),
        (
            json!({ "op": "remove", "path": "emails", "value": [{ "value": "W@x.test" }] }),
            "/emails",
            json!([home]),
        ),
        (
            json!({ "op": "remove", "path": "emails", "value": [{ "value": "w@x.test", "type": "home" }] }),
            "/emails",
            json!([work, home]),
        ),
        // A new primary is the only one.
        (
            json!({ "op": "add", "path": "emails", "value": [{ "value": "o@x.test", "primary": true }] }),
            "/emails",
            json!([not_primary, home, { "value": "o@x.test", "primary": true }]),
        ),
        (
            json!({ "op": "replace", "path": "emails[type eq \"home\"].primary", "value": "True" }),
            "/emails/0",
            not_primary.clone(),
        ),
        // Value paths.
        (
            json!({ "op": "replace", "path": "emails[type eq \"work\"].value", "value": "n@x.test" }),
            "/emails/0/value",
            json!("n@x.test"),
        ),
        (
            json!({ "op": "replace", "path": "emails[type eq \"home\"]", "value": other }),
            "/emails/1",
            other.clone(),
        ),
        (
            json!({ "op": "replace", "path": "emails[type eq \"home\"]", "value": [other] }),
            "/emails/1",
            other.clone(),
        ),
        (
            json!({ "op": "add", "path": "emails[type eq \"home\"]", "value": { "display": "H" } }),
            "/emails/1",
            json!({ "type": "home", "value": "h@x.test", "display": "H" }),
        ),
        (
            json!({ "op": "add", "path": "emails[type eq \"other\"].value", "value": "o@x.test" }),
            "/emails/2",
            other.clone(),
        ),
        (
            json!({ "op": "add", "path": "emails[value eq \"h@x.test\" and type eq \"home\"].display", "value": "H" }),
            "/emails/1/display",
            json!("H"),
        ),
        (json!({ "op": "remove", "path": "emails[type eq \"work\"]" }), "/emails", json!([home])),
        (json!({ "op": "remove", "path": "emails[type eq \"fax\"]" }), "/emails", json!([work, home])),
        (json!({ "op": "remove", "path": "emails[not (type eq \"work\")]" }), "/emails", json!([work])),
        (
            json!({ "op": "remove", "path": "emails[value sw \"W@\" or value ew \".org\"]" }),
            "/emails",
            json!([home]),
        ),
        (
            json!({ "op": "remove", "path": "emails[type eq \"work\"].primary" }),
            "/emails/0",
            json!({ "type": "work", "value": "w@x.test" }),
        ),
        (json!({ "op": "remove", "path": "emails.type" }), "/emails/1", json!({ "value": "h@x.test" })),
        // An element that does not say it is not the primary one (RFC 7643 §2.4).
        (json!({ "op": "remove", "path": "emails[primary eq false]" }), "/emails", json!([work])),
        (json!({ "op": "remove", "path": "emails[primary ne false]" }), "/emails", json!([home])),
        (
            json!({ "op": "add", "path": "emails[primary eq false].display", "value": "H" }),
            "/emails",
            json!([work, { "type": "home", "value": "h@x.test", "display": "H" }]),
        ),
        (
            json!({ "op": "add", "path": "emails[type eq \"other\" and primary eq false].value", "value": "o@x.test" }),
            "/emails/2",
            json!({ "type": "other", "value": "o@x.test", "primary": false }),
        ),
        (json!({ "op": "add", "path": "ims.value", "value": "i" }), "/ims", json!([{ "value": "i" }])),
        // Extensions.
        (
            json!({ "op": "replace", "path": format!("{ENTERPRISE}:department"), "value": "E" }),
            &department,
            json!("E"),
        ),
        (
            json!({ "op": "replace", "path": ENTERPRISE, "value": { "department": "E" } }),
            &extension,
            json!({ "department": "E", "manager": { "value": "m" } }),
        ),
        (json!({ "op": "add", "value": { ENTERPRISE: { "costCenter": "C" } } }), &cost_center, json!("C")),
        (
            json!({ "op": "replace", "value": { "emails[type eq \"home\"].display": "H", USER: { "emails": [work, home] } } }),
            "/emails/1/display",
            json!("H"),
        ),
        (json!({ "op": "remove", "path": ENTERPRISE }), "/schemas", json!([USER])),
        (json!({ "op": "replace", "value": { ENTERPRISE: null } }), "/schemas", json!([USER])),
        // Repeated and thrown away.
        (
            json!({ "op": "replace", "value": { "schemas": [USER], "groups": [], "title": "U" } }),
            "/title",
            json!("U"),
        ),
        (json!({ "op": "replace", "path": "schemas", "value": [USER, ENTERPRISE] }), "/title", json!("T")),
        (json!({ "op": "add", "path": "schemas", "value": ENTERPRISE }), "/title", json!("T")),
        (json!({ "op": "add", "path": "password", "value": "correct horse" }), "/title", json!("T")),
    ];
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
        (json!({ "op": "replace", "path": "userName", "value": "a@corp.test " }), "invalidValue"),
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
fn operations_on_members_mean_the_same_one_by_one_and_in_a_row() {
    let member = |n: usize| json!([{ "value": format!("${n}") }]);
    let add = |n| json!({ "op": "add", "path": "members", "value": member(n) });
    let remove = |n: usize| json!({ "op": "remove", "path": format!("members[value eq \"${n}\"]") });
    let rows: [(Value, &[usize]); 6] = [
        (json!([add(2), remove(0), add(0)]), &[0, 1, 2]),
        (json!([remove(0), remove(0), remove(2)]), &[1]),
        (json!([add(0), add(0), add(1)]), &[0, 1]),
        (json!([remove(0), remove(1)]), &[]),
        (json!([{ "op": "remove", "path": "members[value eq \"$0\" or value eq \"$1\"]" }, add(2)]), &[2]),
        // Between them what goes by no key, and what is of another attribute.
        (
            json!([
                add(2),
                { "op": "remove", "path": "members[value ne \"$2\"]" },
                add(1),
                { "op": "replace", "path": "displayName", "value": "H" },
                remove(2),
                { "op": "remove", "path": "members", "value": [{ "value": "$0" }] },
            ]),
            &[1],
        ),
    ];
    for (operations, left) in rows {
        let (mut at, ids) = three();
        let group = json!({ "schemas": [GROUP], "displayName": "G", "members": [{ "value": ids[0] }, { "value": ids[1] }] });
        let group = at.post("/Groups", group).id();
        let mut text = operations.to_string();
        for (index, id) in ids.iter().enumerate() {
            text = text.replace(&format!("${index}"), id);
        }
        let operations: Value = serde_json::from_str(&text).expect("JSON");
        let answer = at.patch(&format!("/Groups/{group}"), operations.clone());
        assert_eq!(answer.status, 204, "{operations}: {}", answer.body);
        let mut left: Vec<&str> = left.iter().map(|index| ids[*index].as_str()).collect();
        let mut members = at.members(&group);
        left.sort_unstable();
        members.sort_unstable();
        assert_eq!(members, left, "{operations}");
    }
}

#[test]
fn a_thousand_operations_cost_what_they_name_and_not_what_the_group_holds() {
    // By keys: linear, or this takes minutes with a hundred thousand members.
    let mut at = Directory::new();
    let many = |from: usize, to: usize| -> Vec<Value> {
        (from..to).map(|n| json!({ "value": format!("m-{n}") })).collect()
    };
    let group = at.post("/Groups", json!({ "schemas": [GROUP], "displayName": "G" })).id();
    let mut operations = vec![json!({ "op": "add", "path": "members", "value": many(0, 30_000) })];
    for n in 0..499 {
        operations.push(json!({ "op": "add", "path": "members", "value": many(40_000 + n, 40_001 + n) }));
        operations.push(json!({ "op": "remove", "path": format!("members[value eq \"m-{n}\"]") }));
    }
    let started = std::time::Instant::now();
    let answer = at.patch(&format!("/Groups/{group}"), operations.into());
    assert_eq!(answer.scim_type(), Some("invalidValue"), "the directory knows none of them: {}", answer.body);
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());

    // By any other filter each operation looks at every member; how often is bounded.
    let odd = json!({ "op": "remove", "path": "members[display eq \"x\"]" });
    let mut operations = vec![json!({ "op": "add", "path": "members", "value": many(0, 10_000) })];
    operations.extend(std::iter::repeat_n(odd, 101));
    let answer = at.patch(&format!("/Groups/{group}"), operations.into());
    assert_eq!(answer.status, 413, "{}", answer.body);
    assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains("1000000 members")));
}
