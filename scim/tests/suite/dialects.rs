//! Each identity provider's own words, replayed as one life: probe, match, create, update, groups, deactivate,
//! re-activate, delete. Shapes are those of vendors' documentation and captured traffic; people are invented.

use crate::model::{self, Answer, Directory};
use portcullis_scim::dialect::Rewrite;
use portcullis_scim::schema::{ENTERPRISE_USER as ENTERPRISE, GROUP, USER};
use serde_json::{Value, json};

fn total(answer: &Answer) -> u64 {
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body["Resources"].is_array());
    answer.body["totalResults"].as_u64().expect("an integer")
}

/// The rules that were needed, once each, in order.
fn rules(directory: &Directory) -> Vec<Rewrite> {
    let mut rules = directory.rules.clone();
    rules.sort_unstable();
    rules.dedup();
    rules
}

fn user(directory: &mut Directory, name: &str) -> String {
    let made = directory.post("/Users", json!({ "schemas": [USER], "userName": name }));
    assert_eq!(made.status, 201);
    made.id()
}

#[test]
fn okta_catalogue_template() {
    let mut at = Directory::new();
    assert_eq!(total(&at.get("/Users?startIndex=1&count=2")), 0);
    assert_eq!(total(&at.get("/Groups?startIndex=1&count=100")), 0);
    assert_eq!(total(&at.get(r#"/Users?filter=userName eq "mira@corp.test"&startIndex=1&count=100"#)), 0);
    let mira = json!({
        "schemas": [USER], "userName": "mira@corp.test", "name": { "givenName": "Mira", "familyName": "Sand" },
        "emails": [{ "primary": true, "value": "mira@corp.test", "type": "work" }],
        "displayName": "Mira Sand", "locale": "en-US", "externalId": "00u8mira2k", "groups": [],
        "password": "q7-Placeholder", "active": true,
    });
    let made = at.post("/Users", mira.clone());
    assert_eq!(made.status, 201);
    assert_eq!(made.body["externalId"], "00u8mira2k");
    assert_eq!(made.body["groups"], json!([]));
    assert!(made.body.get("password").is_none());
    let id = made.id();
    let path = format!("/Users/{id}");
    assert_eq!(at.post("/Users", mira).scim_type(), Some("uniqueness"));
    assert_eq!(total(&at.get(r#"/Users?filter=userName eq "MIRA@Corp.test"&startIndex=1&count=100"#)), 1);

    // The profile by PUT: read, modify, write; `id`, `meta` and `groups` come back to us.
    let mut profile = at.get(&path).body;
    profile["name"]["familyName"] = json!("Strand");
    let put = at.put(&path, profile);
    assert_eq!((put.status, &put.body["name"]["familyName"]), (200, &json!("Strand")));
    assert_eq!(put.body["id"], id);

    let set = |active: bool| json!([{ "op": "replace", "value": { "active": active } }]);
    let off = at.patch(&path, set(false));
    assert_eq!((off.status, &off.body["active"]), (200, &json!(false)));
    assert!(!at.is_active(&id));
    assert_eq!(
        total(&at.get(r#"/Users?filter=userName eq "mira@corp.test""#)),
        1,
        "the disabled stay visible"
    );
    let version = off.body["meta"]["version"].clone();
    assert_eq!(at.patch(&path, set(false)).body["meta"]["version"], version, "a repeat changes nothing");
    assert_eq!(at.patch(&path, set(true)).body["active"], true);
    assert!(at.is_active(&id));
    let password = json!([{ "op": "replace", "value": { "password": "correct horse" } }]);
    assert_eq!(at.patch(&path, password).status, 200);

    // Group push.
    assert_eq!(total(&at.get(r#"/Groups?filter=displayName eq "Platform"&startIndex=1&count=100"#)), 0);
    let group = at.post("/Groups", json!({ "schemas": [GROUP], "displayName": "Platform", "members": [] }));
    assert_eq!((group.status, &group.body["members"]), (201, &json!([])));
    let (group, other) = (group.id(), user(&mut at, "second@corp.test"));
    let path_of_group = format!("/Groups/{group}");
    let add = json!([
        { "op": "replace", "value": { "id": group, "displayName": "Platform" } },
        { "op": "add", "path": "members", "value": [{ "value": id, "display": "mira@corp.test" }] },
    ]);
    assert_eq!(at.patch(&path_of_group, add.clone()).status, 204);
    assert_eq!(at.patch(&path_of_group, add).status, 204);
    assert_eq!(at.members(&group), [id.as_str()]);
    assert_eq!(at.get(&path).body["groups"][0]["display"], "Platform");
    let swap = json!([
        { "op": "remove", "path": format!("members[value eq \"{id}\"]") },
        { "op": "add", "path": "members", "value": [{ "value": other, "display": "second@corp.test" }] },
    ]);
    assert_eq!(at.patch(&path_of_group, swap).status, 204);
    assert_eq!(at.members(&group), [other.as_str()]);
    let renamed = json!([{ "op": "replace", "value": { "id": group, "displayName": "Platforms" } }]);
    assert_eq!(at.patch(&path_of_group, renamed).status, 204);
    assert_eq!(at.members(&group), [other.as_str()], "a new name leaves the members");
    assert_eq!(
        at.patch(&path_of_group, json!([{ "op": "replace", "path": "members", "value": [] }])).status,
        204
    );
    assert!(at.members(&group).is_empty());
    assert_eq!(at.delete(&path_of_group).status, 204);
    assert_eq!(at.get(&path_of_group).status, 404);
    assert_eq!(rules(&at), [], "Okta speaks the standard");
}

#[test]
fn okta_wizard() {
    let mut at = Directory::new();
    let body = |active: Value, name: &str| {
        json!({ "schemas": [USER], "userName": "ines@corp.test", "name": { "givenName": name }, "active": active,
                "emails": [{ "primary": true, "value": "ines@corp.test", "type": "work" }], "groups": [],
                "password": "q7-Placeholder", "externalId": "00u8ines" })
    };
    let id = at.post("/Users", body(json!(true), "Ines")).id();
    let path = format!("/Users/{id}");
    let group = at.post("/Groups", json!({ "schemas": [GROUP], "displayName": "Ops" })).id();
    let members =
        |list: Value| json!({ "schemas": [GROUP], "id": group, "displayName": "Ops", "members": list });
    let whole = at.put(&format!("/Groups/{group}"), members(json!([{ "value": id, "display": "Ines" }])));
    // The name is ours, whatever was said, and told to who asks for it.
    assert_eq!((whole.status, &whole.body["members"][0]["display"]), (200, &Value::Null));
    let named = at.get(&format!("/Groups/{group}?attributes=members.value,members.display"));
    assert_eq!(named.body["members"], json!([{ "value": id, "display": "ines@corp.test" }]));
    assert_eq!(at.put(&path, body(json!(true), "Inés")).body["name"]["givenName"], "Inés");
    assert_eq!(at.put(&path, body(json!(false), "Inés")).body["active"], false);
    assert!(!at.is_active(&id));
    assert_eq!(at.members(&group), [id.as_str()], "a PUT of the user leaves the groups");
    assert_eq!(at.put(&path, body(Value::Null, "Ines")).body["active"], false, "null brings nobody back");
    assert_eq!(at.put(&path, body(json!(true), "Ines")).body["active"], true);
    assert_eq!(at.put(&path, body(Value::Null, "Ines")).body["active"], true, "nor does it put anybody out");
    assert_eq!(at.put(&format!("/Groups/{group}"), members(json!([]))).status, 200);
    assert!(at.members(&group).is_empty());
    assert_eq!(at.delete(&path).status, 204);
    assert_eq!((at.delete(&path).status, at.put(&path, body(json!(true), "Ines")).status), (404, 404));
}

fn entra_create(at: &mut Directory) -> String {
    let probe = r#"/Users?filter=userName+eq+"2f1c8a52-0b1e-4f5e-9a57-5d2b1c3e4f60""#;
    assert_eq!(total(&at.get(probe)), 0);
    let made = at.post(
        "/Users?aadOptscim062020",
        json!({
            "schemas": [USER, "urn:ietf:params:scim:schemas:extension:enterprise:2.0User", ENTERPRISE],
            "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef", "userName": "joy@corp.test", "active": true,
            "emails": [{ "primary": true, "type": "work", "value": "joy@corp.test" }],
            "meta": { "resourceType": "User" }, "displayName": "Joy Young", "title": null,
            "name": { "formatted": "Joy Young", "familyName": "Young", "givenName": "Joy" }, "roles": [],
            ENTERPRISE: { "department": "Sales", "manager": null },
        }),
    );
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["schemas"], json!([USER, ENTERPRISE]));
    made.id()
}

#[test]
fn entra_without_the_flag() {
    let mut at = Directory::new();
    let id = entra_create(&mut at);
    let path = format!("/Users/{id}");
    let boss = user(&mut at, "boss@corp.test");
    for filter in [
        r#"emails[type eq "work"].value eq "joy@corp.test""#,
        r#"EMAILS[Type EQ "Work"].Value eQ "JOY@corp.test""#,
        r#"externalId eq "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef""#,
        r#"userName eq "joy@corp.test""#,
    ] {
        assert_eq!(total(&at.get(&format!("/Users?filter={filter}"))), 1, "{filter}");
    }
    assert_eq!(total(&at.get(r#"/Users?filter=emails[type eq "home"].value eq "joy@corp.test""#)), 0);

    let role = r#"{"id":"827f","value":"Doc-Admin","displayName":"Doc Admin"}"#;
    let manager = format!("{ENTERPRISE}:manager");
    let changed = at.patch(
        &path,
        json!([
            { "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "joy.y@corp.test" },
            { "op": "Add", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "+49 40 5550177" },
            { "op": "Add", "path": "addresses[type eq \"work\"].postalCode", "value": "20457" },
            { "op": "Add", "path": "addresses[type eq \"work\"].locality", "value": "Hamburg" },
            { "op": "Add", "path": "name.givenName", "value": "Joyce" },
            { "op": "Add", "path": manager, "value": boss },
            { "op": "Add", "path": "roles", "value": [{ "value": role }] },
        ]),
    );
    assert_eq!(changed.status, 200, "{}", changed.body);
    let body = &changed.body;
    assert_eq!(body["emails"], json!([{ "primary": true, "type": "work", "value": "joy.y@corp.test" }]));
    assert_eq!(body["phoneNumbers"], json!([{ "type": "mobile", "value": "+49 40 5550177" }]));
    assert_eq!(body["addresses"], json!([{ "type": "work", "postalCode": "20457", "locality": "Hamburg" }]));
    assert_eq!(body["name"]["givenName"], "Joyce");
    assert_eq!(body[ENTERPRISE]["manager"], json!({ "value": boss }));
    assert_eq!(body["roles"], json!([{ "value": role }]), "an app role is opaque");
    let reference =
        |id: &str| format!(r#"/Users?filter=id eq "{id}" and {manager}.value eq "{boss}"&attributes=id"#);
    let found = at.get(&reference(&id));
    assert_eq!(total(&found), 1);
    assert_eq!(found.body["Resources"][0], json!({ "id": id, "schemas": [USER, ENTERPRISE] }));
    assert_eq!(total(&at.get(&reference("nobody"))), 0);

    for (path_of_manager, value, left) in [
        (
            "manager",
            json!([{ "$ref": "https://elsewhere.test/Users/x", "value": boss }]),
            json!({ "value": boss }),
        ),
        (&*manager, json!({ "value": "" }), Value::Null),
        (&*manager, json!({ "value": boss, "displayName": "Boss" }), json!({ "value": boss })),
        (&*manager, json!(""), Value::Null),
        ("MANAGER", json!(boss), json!({ "value": boss })),
        ("manager.value", json!(""), Value::Null),
    ] {
        let set = json!([{ "op": "Replace", "path": path_of_manager, "value": value }]);
        let changed = at.patch(&path, set);
        assert_eq!((changed.status, &changed.body[ENTERPRISE]["manager"]), (200, &left), "{value}");
    }

    for (said, is_in) in [("False", false), ("True", true), ("FALSE", false), ("true", true)] {
        let set = json!([{ "op": "Replace", "path": "active", "value": said }]);
        assert_eq!(at.patch(&path, set).body["active"], is_in);
        assert_eq!(at.is_active(&id), is_in);
    }
    let odd = json!([{ "op": "Replace", "path": "active", "value": "no" }]);
    assert_eq!(at.patch(&path, odd).scim_type(), Some("invalidValue"));
    let missing = json!([{ "op": "Replace", "path": "emails[type eq \"other\"].value", "value": "x" }]);
    assert_eq!(at.patch(&path, missing).scim_type(), Some("noTarget"));

    let group = at.post(
        "/Groups",
        json!({
            "schemas": [GROUP, "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
            "externalId": "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159", "displayName": "Sales", "members": [],
            "meta": { "resourceType": "Group" },
        }),
    );
    assert_eq!((group.status, &group.body["schemas"]), (201, &json!([GROUP])));
    let group = group.id();
    let path_of_group = format!("/Groups/{group}");
    let found = at.get(r#"/Groups?excludedAttributes=members&filter=displayName eq "SALES""#);
    assert_eq!(total(&found), 1);
    assert!(found.body["Resources"][0].get("members").is_none());
    assert!(at.get(&format!("{path_of_group}?excludedAttributes=members")).body.get("members").is_none());
    let add = json!([{ "op": "Add", "path": "members", "value": [{ "$ref": null, "value": id }, { "value": boss }] }]);
    assert_eq!(at.patch(&path_of_group, add.clone()).status, 204);
    assert_eq!(at.patch(&path_of_group, add).status, 204, "Entra repeats");
    let member = format!(r#"/Groups?filter=id eq "{group}" and members.value eq "{id}"&attributes=id"#);
    assert_eq!(total(&at.get(&member)), 1);
    let remove = json!([{ "op": "Remove", "path": "members", "value": [{ "$ref": null, "value": id }] }]);
    assert_eq!(at.patch(&path_of_group, remove.clone()).status, 204);
    assert_eq!(at.members(&group), [boss.as_str()], "only the listed one goes");
    assert_eq!(at.patch(&path_of_group, remove).status, 204);
    assert_eq!(total(&at.get(&member)), 0);

    assert_eq!(at.delete(&path).status, 204);
    assert_eq!(at.delete(&path).status, 404);
    assert_eq!(
        rules(&at),
        [
            Rewrite::OperationCase,
            Rewrite::RemoveListed,
            Rewrite::BooleanText,
            Rewrite::ManagerShape,
            Rewrite::AddToElement,
            Rewrite::LooseShape,
            Rewrite::BareExtension,
        ]
    );
}

#[test]
fn entra_with_the_flag() {
    let mut at = Directory::new();
    let id = entra_create(&mut at);
    let path = format!("/Users/{id}?aadOptscim062020");
    let changed = at.patch(
        &path,
        json!([
            { "op": "replace", "value": {
                "displayName": "Joy Young", "name.givenName": "Joyce",
                format!("{ENTERPRISE}:employeeNumber"): "E-78", format!("{ENTERPRISE}:manager"): "u-9" } },
            { "op": "add", "path": "phoneNumbers[type eq \"work\"].value", "value": "+49 40 1" },
        ]),
    );
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(
        changed.body["name"],
        json!({ "formatted": "Joy Young", "familyName": "Young", "givenName": "Joyce" })
    );
    let extension = json!({ "department": "Sales", "employeeNumber": "E-78", "manager": { "value": "u-9" } });
    assert_eq!(changed.body[ENTERPRISE], extension);
    for active in [false, true, false, true] {
        let set = json!([{ "op": "replace", "value": { "active": active, "displayName": "Joy" } }]);
        assert_eq!(at.patch(&path, set).body["active"], active);
        assert_eq!(at.is_active(&id), active);
    }
    // All or nothing: one key that is no path leaves the others undone.
    let broken = json!([{ "op": "replace", "value": { "active": false, "favouriteColour": "red" } }]);
    assert_eq!(at.patch(&path, broken).scim_type(), Some("invalidPath"));
    assert!(at.is_active(&id));
    let twice =
        json!([{ "op": "replace", "value": { "manager": "u-1", format!("{ENTERPRISE}:manager"): "u-2" } }]);
    assert_eq!(at.patch(&path, twice).scim_type(), Some("invalidSyntax"));
    let group = at.post("/Groups", json!({ "schemas": [GROUP], "displayName": "Sales" })).id();
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }]);
    assert_eq!(at.patch(&format!("/Groups/{group}"), add).status, 204);
    let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{id}\"]") }]);
    assert_eq!(at.patch(&format!("/Groups/{group}"), remove).status, 204);
    assert!(at.members(&group).is_empty());
    assert_eq!(at.delete(&path).status, 204);
    assert!(rules(&at).contains(&Rewrite::KeysAsPaths));
}

#[test]
fn jumpcloud() {
    let mut at = Directory::new();
    assert_eq!(total(&at.get("/Users")), 0);
    let test = user(&mut at, "jumpcloud-test@corp.test");
    let test_group = at.post("/Groups", json!({ "schemas": [GROUP], "displayName": "test" })).id();
    assert_eq!(at.delete(&format!("/Groups/{test_group}")).status, 204);
    assert_eq!(at.delete(&format!("/Users/{test}")).status, 204);

    let june = json!({
        "active": true, "userName": "june@corp.test", "externalId": "66e2a1f09c4d7b0012ab34cd",
        "displayName": "June Doe", "name": { "givenName": "June", "familyName": "Doe" },
        "emails": [{ "primary": true, "type": "work", "value": "june@corp.test" }],
        "phoneNumbers": [{ "primary": true, "type": "work", "value": "tel:+1-555-0100" }],
        "schemas": [USER, ENTERPRISE],
    });
    let made = at.post("/Users", june.clone());
    assert_eq!((made.status, &made.body["schemas"]), (201, &json!([USER])), "no data, no schema");
    let id = made.id();
    let path = format!("/Users/{id}");
    let mut put = june;
    put["id"] = json!(id);
    put["schemas"] = json!([ENTERPRISE, USER]);
    put["addresses"] = json!([]);
    put["emails"] = Value::Null;
    let changed = at.put(&path, put.clone());
    assert_eq!(changed.status, 200);
    assert!(changed.body.get("emails").is_none(), "null unassigns");
    let group = at
        .post("/Groups", json!({ "schemas": [GROUP], "displayName": "Dev", "members": [{ "value": id }] }))
        .id();
    let remove = json!([{ "op": "remove", "path": "members", "value": [{ "value": id }] }]);
    assert_eq!(at.patch(&format!("/Groups/{group}"), remove).status, 204);
    assert!(at.members(&group).is_empty());
    for active in [false, true] {
        put["active"] = json!(active);
        assert_eq!(at.put(&path, put.clone()).body["active"], active);
        assert_eq!(at.is_active(&id), active);
    }
    let off = json!([{ "op": "replace", "path": "active", "value": false }]);
    assert_eq!(at.patch(&path, off).body["active"], false);
    assert_eq!(at.delete(&path).status, 204);
    assert_eq!(rules(&at), [Rewrite::RemoveListed]);
}

#[test]
fn canaille() {
    let mut at = Directory::new();
    for path in ["/ServiceProviderConfig", "/ResourceTypes", "/Schemas"] {
        let said = at.call("GET", path, &[("accept", "*/*")], Value::Null);
        assert_eq!(
            (said.status, said.headers["content-type"].to_str().ok()),
            (200, Some("application/scim+json"))
        );
    }
    let body = |active: Value| {
        json!({ "schemas": [USER, ENTERPRISE], "externalId": "can", "userName": "can", "displayName": "Can Ary",
                "name": { "familyName": "Ary", "formatted": "Can Ary" }, "active": active,
                "emails": [{ "value": "can@corp.test", "primary": true }], "preferredLanguage": "fr",
                ENTERPRISE: { "organization": "Birds" } })
    };
    assert_eq!(total(&at.get(r#"/Users?filter=externalId+eq+%22can%22"#)), 0);
    let id = at.post("/Users", body(json!(true))).id();
    let path = format!("/Users/{id}");
    assert_eq!(total(&at.get(r#"/Users?filter=externalId+eq+%22can%22"#)), 1);
    let member = json!([{ "value": id, "$ref": format!("{}/Users/{id}", model::BASE), "type": "User", "display": "Can" }]);
    let group = at.post(
        "/Groups",
        json!({ "schemas": [GROUP], "externalId": "birds", "displayName": "birds", "members": member }),
    );
    assert_eq!(group.status, 201);
    let shown = &group.body["members"][0];
    assert_eq!((&shown["type"], &shown["display"]), (&json!("User"), &Value::Null));
    assert_eq!(shown["$ref"], format!("{}/Users/{id}", model::BASE));
    let group = group.id();
    // Said with a new member it is taken; of one that is there it is ours.
    let path_of_reference = format!("members[value eq \"{id}\"].$ref");
    let elsewhere =
        json!([{ "op": "replace", "path": path_of_reference, "value": "https://elsewhere.test/Users/x" }]);
    assert_eq!(at.patch(&format!("/Groups/{group}"), elsewhere).scim_type(), Some("mutability"));
    let whole = json!({ "schemas": [GROUP], "externalId": "birds", "displayName": "birds", "id": group });
    assert_eq!(at.put(&format!("/Groups/{group}"), whole).status, 200);
    assert!(at.members(&group).is_empty(), "a PUT without members has none");
    assert_eq!(at.put(&path, body(json!(false))).body["active"], false);
    assert!(!at.is_active(&id));
    assert_eq!(at.put(&path, body(json!(true))).body["active"], true);
    assert_eq!((at.delete(&path).status, at.delete(&format!("/Groups/{group}")).status), (204, 204));
    assert_eq!(rules(&at), []);
}

#[test]
fn onelogin() {
    let mut at = Directory::new();
    let headers =
        [("content-type", "application/scim+json"), ("accept", "application/json"), ("user-agent", "")];
    let probe = at.call("GET", r#"/Users?filter=userName eq "does-not-exist""#, &headers, Value::Null);
    assert_eq!((probe.status, probe.headers["content-type"].to_str().ok()), (200, Some("application/json")));
    let body = |active: bool| {
        json!({ "schemas": [USER], "userName": "ona@corp.test", "name": { "givenName": "Ona", "familyName": "Lind" },
                "displayName": "Ona Lind", "emails": { "value": "ona@corp.test", "type": "work", "primary": true },
                "active": active })
    };
    let made = at.call("POST", "/Users", &headers, body(true));
    assert_eq!((made.status, made.body["emails"].as_array().map(Vec::len)), (201, Some(1)));
    let id = made.id();
    let path = format!("/Users/{id}");
    let group = at.post("/Groups", json!({ "schemas": [GROUP], "displayName": "Ops" })).id();
    let path_of_group = format!("/Groups/{group}");
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }]);
    assert_eq!(at.patch(&path_of_group, add).status, 204);
    let single = json!([{ "op": "replace", "path": "emails",
                          "value": { "value": "ona2@corp.test", "type": "work", "primary": true } }]);
    assert_eq!(at.patch(&path, single).body["emails"][0]["value"], "ona2@corp.test");
    assert_eq!(at.put(&path, body(false)).body["active"], false);
    assert!(!at.is_active(&id));
    assert_eq!(at.members(&group), [id.as_str()]);
    let minimal = json!({ "schemas": [USER], "userName": "ona@corp.test" });
    assert_eq!(at.put(&path, minimal).body["active"], false, "left out is not true");
    assert_eq!(at.put(&path, body(true)).body["active"], true);
    let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{id}\"]") }]);
    assert_eq!(at.patch(&path_of_group, remove).status, 204);
    assert_eq!(at.delete(&path).status, 204);
    assert_eq!(rules(&at), [Rewrite::LooseShape]);
}

#[test]
fn the_others_in_what_they_do_differently() {
    let mut at = Directory::new();
    // PingFederate asks for an address without saying `.value`, and creates people who are not active.
    let made = at.post(
        "/Users",
        json!({ "schemas": [USER], "userName": "pam", "active": false,
                "emails": [{ "type": "work", "value": "pam@corp.test", "primary": true }] }),
    );
    let pam = made.id();
    assert!(!at.is_active(&pam));
    assert_eq!(total(&at.get(r#"/Users?filter=emails eq "pam@corp.test""#)), 1);
    // Rippling.
    assert_eq!(total(&at.get(r#"/Users?filter=emails[primary eq true].value eq "pam@corp.test""#)), 1);
    // SailPoint disables by `add`, PingOne adds members without a path or one without a list.
    let path = format!("/Users/{pam}");
    assert_eq!(at.patch(&path, json!([{ "op": "add", "value": { "active": true } }])).body["active"], true);
    assert_eq!(at.patch(&path, json!([{ "op": "add", "value": { "active": false } }])).body["active"], false);
    let group = at.post("/Groups", json!({ "schemas": [GROUP], "displayName": "Ops" })).id();
    let path_of_group = format!("/Groups/{group}");
    let whole = json!([{ "op": "add", "value": { "members": [{ "value": pam }] } }]);
    assert_eq!(at.patch(&path_of_group, whole).status, 204);
    let single = json!([{ "op": "add", "path": "members", "value": { "value": pam } }]);
    assert_eq!(at.patch(&path_of_group, single).status, 204);
    assert_eq!(at.members(&group), [pam.as_str()]);
    // authentik repeats `schemas` and `id`; rauthy unlinks with null and sends a role that says nothing.
    let repeat =
        json!([{ "op": "replace", "value": { "schemas": [GROUP], "id": group, "displayName": "Ops 2" } }]);
    assert_eq!(at.patch(&path_of_group, repeat).status, 204);
    let unlink = json!([{ "op": "replace", "value": { "displayName": "Ops 3", "externalId": null } }]);
    assert_eq!(at.patch(&path_of_group, unlink).status, 204);
    assert_eq!(at.members(&group), [pam.as_str()]);
    let put = at.put(
        &path,
        json!({ "schemas": [USER], "userName": "pam", "externalId": "r1", "roles": [{ "value": "" }] }),
    );
    assert_eq!((put.status, &put.body["externalId"]), (200, &json!("r1")));
    assert_eq!(put.body["groups"][0]["value"], group, "rauthy reads removals from the answer to PUT");
    // CyberArk asks for one item of discovery at a time, and probes with count.
    assert_eq!(total(&at.get("/Users?count=1")), 1);
    for item in
        ["/ResourceTypes/User", "/ResourceTypes/Group", &format!("/Schemas/{USER}"), "/ServiceProviderConfig"]
    {
        assert_eq!(at.get(item).status, 200, "{item}");
    }
}
