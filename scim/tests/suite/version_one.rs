//! SCIM 1.1: what older connectors send, what they are answered, and that a PATCH of 1.1 is the one of 2.0 that says the
//! same. The bodies are of the shapes that the documents of 1.1 show, with other people in them.

use bytes::Bytes;
use http::Method;
use portcullis_scim::schema::{ENTERPRISE_USER, GROUP, Type, USER};
use portcullis_scim::{Schemas, ScimVersion};
use serde_json::{Value, json};

use crate::declared::{ACME, extension, row};
use crate::model::{Answer, BASE_ONE, Directory};

const CORE: &str = "urn:scim:schemas:core:1.0";
const ENTERPRISE: &str = "urn:scim:schemas:extension:enterprise:1.0";

fn directory() -> Directory {
    Directory::new().of_version(ScimVersion::One)
}

fn person(name: &str) -> Value {
    json!({ "schemas": [CORE], "userName": name, "externalId": name, "active": true, "title": "Clerk",
            "name": { "givenName": "Una", "familyName": "Berg" },
            "emails": [{ "value": name, "type": "work", "primary": true }, { "value": "una@home.test", "type": "home" }] })
}

fn group(name: &str, members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
    json!({ "schemas": [CORE], "displayName": name, "members": members })
}

/// A PATCH of 1.1 with the schemas it must have.
fn patch(at: &mut Directory, path: &str, mut body: Value) -> Answer {
    body["schemas"] = json!([CORE]);
    at.call("PATCH", path, &[], body)
}

fn description(answer: &Answer) -> &str {
    answer.body["Errors"][0]["description"].as_str().expect("a description")
}

#[test]
fn a_user_is_made_read_and_found_in_the_words_of_1_1() {
    let mut at = directory();
    let mut body = person("una@corp.test");
    body["schemas"] = json!([CORE, ENTERPRISE]);
    body[ENTERPRISE] =
        json!({ "department": "Finance", "manager": { "managerId": "boss-1", "displayName": "Bo" } });
    let made = at.post("/Users", body);
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.id();
    assert_eq!(made.headers["location"], format!("{BASE_ONE}/Users/{id}"));
    assert_eq!(made.headers["content-type"], "application/json");
    assert_eq!(made.body["schemas"], json!([CORE, ENTERPRISE]));
    assert_eq!(made.body["meta"]["location"], format!("{BASE_ONE}/Users/{id}"));
    assert!(made.body["meta"].get("resourceType").is_none() && made.body["meta"]["created"].is_string());
    assert_eq!(
        made.body[ENTERPRISE],
        json!({ "department": "Finance", "manager": { "managerId": "boss-1" } })
    );

    let read = at.get(&format!("/Users/{id}.json"));
    assert_eq!((read.status, &read.body), (200, &made.body));
    for filter in [
        "userName eq \"UNA@corp.test\"",
        "urn:scim:schemas:core:1.0:userName eq \"una@corp.test\"",
        "urn:scim:schemas:extension:enterprise:1.0:department sw \"Fin\"",
        "manager.managerId eq \"boss-1\"",
        "meta.lastModified gt \"1969-05-13T04:42:34Z\" and title pr",
    ] {
        let found = at.get(&format!("/Users?filter={filter}&startIndex=1&count=10"));
        assert_eq!(found.status, 200, "{filter}: {}", found.body);
        assert_eq!(found.body["schemas"], json!([CORE]));
        let page = ["totalResults", "itemsPerPage", "startIndex"].map(|name| found.body[name].clone());
        assert_eq!(page, [1, 1, 1], "{filter}");
        assert_eq!(found.body["Resources"][0], made.body);
    }
    let projected = at.get(&format!("/Users/{id}?attributes=userName,{ENTERPRISE}:department"));
    let expected = json!({ "schemas": [CORE, ENTERPRISE], "id": id, "userName": "una@corp.test", ENTERPRISE: { "department": "Finance" } });
    assert_eq!(projected.body, expected);

    let known = made.headers["etag"].to_str().expect("text").to_owned();
    let not_modified = at.call("GET", &format!("/Users/{id}"), &[("if-none-match", &known)], Value::Null);
    assert_eq!(not_modified.status, 304);
    let again = at.post("/Users", person("una@corp.test"));
    assert_eq!(again.status, 409);
    assert!(description(&again).contains("userName must be unique"), "{}", again.body);

    let gone = at.delete(&format!("/Users/{id}"));
    assert_eq!((gone.status, gone.body), (200, Value::Null));
    let gone = at.get(&format!("/Users/{id}"));
    assert_eq!(
        gone.body,
        json!({ "Errors": [{ "description": format!("there is no User {id}"), "code": "404" }] })
    );
}

#[test]
fn sorting_and_the_order_of_pages() {
    let mut at = directory();
    for name in ["c", "a", "b"] {
        assert_eq!(at.post("/Users", person(&format!("{name}@corp.test"))).status, 201);
    }
    let sorted = at.get(&format!("/Users?sortBy={CORE}:userName&sortOrder=descending&attributes=userName"));
    let names: Vec<&Value> =
        sorted.body["Resources"].as_array().expect("a list").iter().map(|one| &one["userName"]).collect();
    assert_eq!(names, ["c@corp.test", "b@corp.test", "a@corp.test"]);
    assert_eq!(at.get("/Users?cursor=").status, 400);
    assert_eq!(at.get("/Users?filter=userName like \"a\"").status, 400);
}

/// Who a PATCH leaves, over and over from the same user: the body of 1.1, and what of the user differs then.
#[test]
fn a_patch_merges_and_removes_what_meta_attributes_names() {
    let work = json!({ "value": "a@corp.test", "type": "work", "primary": true });
    let home = json!({ "value": "una@home.test", "type": "home" });
    let table = [
        (json!({ "title": "Lead" }), json!({ "title": "Lead" })),
        (json!({ "Title": "Lead", "meta": { "attributes": ["title"] } }), json!({ "title": "Lead" })),
        (json!({ "meta": { "attributes": ["title"] } }), json!({ "title": null })),
        (json!({ "meta": { "Attributes": "title" } }), json!({ "title": null })),
        (
            json!({ "meta": { "attributes": [format!("{CORE}:title"), "name.familyName"] } }),
            json!({ "title": null, "name": { "givenName": "Una" } }),
        ),
        // A part of a complex attribute is merged; named as a whole it is replaced.
        (
            json!({ "name": { "givenName": "Ute" } }),
            json!({ "name": { "givenName": "Ute", "familyName": "Berg" } }),
        ),
        (
            json!({ "name": { "givenName": "Ute" }, "meta": { "attributes": ["name"] } }),
            json!({ "name": { "givenName": "Ute" } }),
        ),
        (
            json!({ "name": { "givenName": "Ute" }, "meta": { "attributes": ["name.familyName"] } }),
            json!({ "name": { "givenName": "Ute" } }),
        ),
        // A list: added, merged into the one of the same value, deleted, replaced, removed.
        (
            json!({ "emails": [{ "value": "new@corp.test", "type": "other" }] }),
            json!({ "emails": [work, home, { "value": "new@corp.test", "type": "other" }] }),
        ),
        (
            json!({ "emails": [{ "value": "una@home.test", "type": "other", "display": "U" }] }),
            json!({ "emails": [work, { "value": "una@home.test", "type": "other", "display": "U" }] }),
        ),
        (
            json!({ "emails": [{ "value": "una@home.test", "primary": "True" }] }),
            json!({ "emails": [{ "value": "a@corp.test", "type": "work", "primary": false }, { "value": "una@home.test", "type": "home", "primary": true }] }),
        ),
        (
            json!({ "emails": [{ "value": "UNA@home.test", "type": "another", "operation": "delete" }] }),
            json!({ "emails": [work] }),
        ),
        (
            json!({ "emails": { "value": "una@home.test", "Operation": "Delete" } }),
            json!({ "emails": [work] }),
        ),
        (
            json!({ "emails": [{ "value": "una@home.test", "operation": "delete" }, { "value": "x@home.test", "operation": null }] }),
            json!({ "emails": [work, { "value": "x@home.test" }] }),
        ),
        (
            json!({ "emails": [{ "value": "only@corp.test" }], "meta": { "attributes": ["emails"] } }),
            json!({ "emails": [{ "value": "only@corp.test" }] }),
        ),
        (
            json!({ "emails": [{ "value": "a@corp.test", "operation": "delete" }], "meta": { "attributes": ["emails"] } }),
            json!({ "emails": null }),
        ),
        (json!({ "emails": [], "meta": { "attributes": ["emails"] } }), json!({ "emails": null })),
        (
            json!({ "photos": [{ "value": "https://a.test/p.png", "type": "photo" }], "x509Certificates": [{ "value": "AQID" }] }),
            json!({ "photos": [{ "value": "https://a.test/p.png", "type": "photo" }], "x509Certificates": [{ "value": "AQID" }] }),
        ),
        (
            json!({ "addresses": [{ "type": "work", "country": "DE" }] }),
            json!({ "addresses": [{ "type": "work", "country": "DE" }] }),
        ),
        // Extensions, by either URN; a manager by either name.
        (
            json!({ ENTERPRISE: { "department": "Ops" } }),
            json!({ ENTERPRISE: { "department": "Ops" }, "schemas": [CORE, ENTERPRISE] }),
        ),
        (
            json!({ ENTERPRISE_USER: { "manager": { "managerId": "m" } } }),
            json!({ ENTERPRISE: { "manager": { "managerId": "m" } }, "schemas": [CORE, ENTERPRISE] }),
        ),
        (
            json!({ ENTERPRISE: { "manager": [{ "managerId": "m" }] } }),
            json!({ ENTERPRISE: { "manager": { "managerId": "m" } }, "schemas": [CORE, ENTERPRISE] }),
        ),
        (
            json!({ "department": "Ops" }),
            json!({ ENTERPRISE: { "department": "Ops" }, "schemas": [CORE, ENTERPRISE] }),
        ),
        // What was read is sent back with a change.
        (
            json!({ "title": "Lead", "groups": [], "meta": { "location": "x", "version": "y", "created": "z", "attributes": [] } }),
            json!({ "title": "Lead" }),
        ),
        (json!({ "active": "False" }), json!({ "active": false })),
        (json!({ "active": true, "meta": { "attributes": ["active"] } }), json!({})),
        (json!({ "meta": { "attributes": ["active"] } }), json!({ "active": null })),
    ];
    for (body, difference) in table {
        let mut at = directory();
        let before = at.post("/Users", person("a@corp.test")).body;
        let patched =
            patch(&mut at, &format!("/Users/{}", before["id"].as_str().expect("an id")), body.clone());
        assert_eq!(patched.status, 200, "{body}: {}", patched.body);
        let mut expected = before;
        for (name, value) in difference.as_object().expect("an object") {
            expected[name] = value.clone();
        }
        expected["meta"] = patched.body["meta"].clone();
        let expected: Value = expected
            .as_object()
            .expect("an object")
            .clone()
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .collect();
        assert_eq!(patched.body, expected, "{body}");
        assert!(!at.rules.contains(&portcullis_scim::dialect::Rewrite::AddToElement));
    }
}

#[test]
fn what_is_not_understood_is_refused_and_changes_nothing() {
    let deleted = json!([{ "value": "a@corp.test", "operation": "delete" }]);
    let table = [
        ("PATCH", json!({})),
        ("PATCH", json!({ "meta": { "version": "W/\"1\"" } })),
        ("PATCH", json!({ "nobody": 1 })),
        ("PATCH", json!({ "meta": { "attributes": ["nobody"] } })),
        ("PATCH", json!({ "meta": { "attributes": ["userName"] } })),
        ("PATCH", json!({ "meta": { "attributes": ["groups"] } })),
        ("PATCH", json!({ "meta": { "attributes": ["id"] } })),
        ("PATCH", json!({ "meta": { "attributes": ["title, name"] } })),
        ("PATCH", json!({ "meta": { "attributes": [7] } })),
        ("PATCH", json!({ "meta": { "attributes": { "title": true } } })),
        ("PATCH", json!({ "meta": { "attribute": ["title"] } })),
        ("PATCH", json!({ "meta": ["title"] })),
        ("PATCH", json!({ "emails": [] })),
        ("PATCH", json!({ "emails": null })),
        ("PATCH", json!({ "title": "x", "emails": [] })),
        ("PATCH", json!({ "title": "x", "emails": null })),
        ("PATCH", json!({ "emails": [{ "value": "a@corp.test", "operation": "remove" }] })),
        ("PATCH", json!({ "emails": [{ "operation": "delete" }] })),
        ("PATCH", json!({ "emails": [{ "operation": true, "value": "a@corp.test" }] })),
        ("PATCH", json!({ "emails[type eq \"work\"]": { "value": "x", "operation": "delete" } })),
        ("PATCH", json!({ "name": { "givenName": "Ute", "operation": "delete" } })),
        ("PATCH", json!({ "groups": [{ "value": "g", "operation": "delete" }] })),
        ("PATCH", json!({ "groups": [{ "value": "g" }] })),
        ("PATCH", json!({ "id": "another" })),
        ("PATCH", json!({ "active": "no" })),
        ("PATCH", json!({ "department": "a", ENTERPRISE: { "department": "b" } })),
        ("PATCH", json!({ ENTERPRISE: { "department": "a" }, ENTERPRISE_USER: { "title": "b" } })),
        ("PATCH", json!({ ENTERPRISE: { "manager": { "managerId": "a", "value": "b" } } })),
        ("PATCH", json!({ ENTERPRISE: { "manager": { "managerId": "a", "operation": "delete" } } })),
        ("PATCH", json!({ "Operations": [{ "op": "replace", "path": "active", "value": false }] })),
        ("PUT", json!({ "userName": "a@corp.test", "emails": deleted })),
        ("PUT", json!({ "userName": "a@corp.test", "title": "x", "meta": { "attributes": ["title"] } })),
        ("PUT", json!({ "userName": "a@corp.test", "Operations": [] })),
        ("PUT", json!({ "userName": "a@corp.test", ENTERPRISE: {}, ENTERPRISE_USER: {} })),
        ("PUT", json!({ "title": "no name" })),
    ];
    let mut at = directory();
    let before = at.post("/Users", person("a@corp.test")).body;
    let path = format!("/Users/{}", before["id"].as_str().expect("an id"));
    for (method, mut body) in table {
        body["schemas"] = json!([CORE]);
        let refused = at.call(method, &path, &[], body.clone());
        assert_eq!(refused.status, 400, "{method} {body}: {}", refused.body);
        assert_eq!(at.get(&path).body, before, "{method} {body}");
    }
    for schemas in [
        json!(null),
        json!([]),
        json!(CORE),
        json!([ENTERPRISE]),
        json!(["urn:ietf:params:scim:api:messages:2.0:PatchOp"]),
    ] {
        let refused = at.call("PATCH", &path, &[], json!({ "schemas": schemas, "title": "x" }));
        assert_eq!(description(&refused), format!("schemas must be a list that contains {CORE}"));
    }
    let named: Vec<Value> = (0..1_001).map(|_| json!("title")).collect();
    assert_eq!(patch(&mut at, &path, json!({ "meta": { "attributes": named } })).status, 413);
    let unknown =
        patch(&mut at, &path, json!({ "meta": { "attributes": [format!("{ENTERPRISE}:nobody")] } }));
    assert!(description(&unknown).contains(&format!("{ENTERPRISE}:nobody")), "{}", unknown.body);
}

#[test]
fn members_are_added_and_deleted_one_by_one() {
    let mut at = directory();
    let ids = ["a", "b", "c"].map(|name| at.post("/Users", person(&format!("{name}@corp.test"))).id());
    let made = at.post("/Groups", group("Readers", &[&ids[0], &ids[1]]));
    let path = format!("/Groups/{}", made.id());
    assert_eq!(made.body["members"][0], json!({ "value": ids[0], "type": "User", "display": "a@corp.test" }));
    let (a, b, c) = (ids[0].as_str(), ids[1].as_str(), ids[2].as_str());
    let deleted = |id: &str| json!({ "display": "x", "value": id, "operation": "delete" });
    for (body, due) in [
        (json!({ "members": [deleted(b)] }), vec![a]),
        (json!({ "members": [deleted(b)] }), vec![a]),
        (json!({ "members": [{ "value": b }, deleted(a)] }), vec![b]),
        (json!({ "members": [{ "value": b }, { "value": c }] }), vec![b, c]),
        (json!({ "members": { "value": a } }), vec![b, c, a]),
        (json!({ "members": [{ "value": c }], "meta": { "attributes": ["members"] } }), vec![c]),
        (json!({ "displayName": "Writers" }), vec![c]),
        (json!({ "displayName": "Readers", "meta": { "attributes": ["displayName", "members"] } }), vec![]),
        (json!({ "members": [{ "value": a }] }), vec![a]),
    ] {
        let patched = patch(&mut at, &path, body.clone());
        assert_eq!(patched.status, 204, "{body}: {}", patched.body);
        assert_eq!(at.members(&made.id()), due, "{body}");
    }
    for refused in [
        json!({ "members": [] }),
        json!({ "displayName": "Else", "members": [] }),
        json!({ "members": [{ "value": a }, deleted(a)] }),
        json!({ "members": [{ "valeu": a, "operation": "delete" }] }),
        json!({ "members": ["a"] }),
        json!({ "meta": { "attributes": ["displayName"] } }),
    ] {
        assert_eq!(patch(&mut at, &path, refused.clone()).status, 400, "{refused}");
        assert_eq!(at.members(&made.id()), [a], "{refused}");
    }
    let asked = patch(&mut at, &format!("{path}?attributes=members"), json!({ "members": [deleted(a)] }));
    assert_eq!((asked.status, &asked.body["schemas"]), (200, &json!([CORE])));
    let mut put = group("Readers", &[]);
    put["members"] = json!([{ "value": a, "operation": "delete" }]);
    assert_eq!(at.put(&path, put).status, 400);
    assert_eq!(at.put(&path, group("Readers", &[c])).status, 200);
    assert_eq!(at.members(&made.id()), [c]);
}

#[test]
fn a_post_may_say_that_it_is_another_method() {
    let mut at = directory();
    let id = at.post("/Users", person("a@corp.test")).id();
    let path = format!("/Users/{id}");
    let patched = at.call(
        "POST",
        &path,
        &[("x-http-method-override", "PATCH")],
        json!({ "schemas": [CORE], "active": false }),
    );
    assert_eq!((patched.status, &patched.body["active"]), (200, &json!(false)));
    assert_eq!(at.call("POST", &path, &[], person("a@corp.test")).status, 405);
    assert_eq!(
        at.call("PUT", &path, &[("x-http-method-override", "DELETE")], person("a@corp.test")).status,
        400
    );
    assert_eq!(
        at.call("POST", "/Users", &[("x-http-method-override", "PUT")], person("b@corp.test")).status,
        400
    );
    assert_eq!(at.call("POST", &path, &[("x-http-method-override", "DELETE")], Value::Null).status, 200);
    assert_eq!(at.get(&path).status, 404);
}

#[test]
fn what_1_1_does_not_have_is_no_place_and_xml_is_refused() {
    let mut at = directory();
    for (method, path, status) in [
        ("GET", "/ServiceProviderConfig", 404),
        ("GET", "/ResourceTypes", 404),
        ("GET", "/Schemas/People", 404),
        ("GET", "/Nothing", 404),
        ("POST", "/.search", 404),
        ("POST", "/Bulk", 501),
        ("GET", "/Users.xml", 406),
        ("DELETE", "/ServiceProviderConfigs", 405),
        ("GET", "/ServiceProviderConfigs?filter=patch pr", 403),
    ] {
        let refused = at.call(method, path, &[], Value::Null);
        assert_eq!(refused.status, status, "{method} {path}: {}", refused.body);
    }
    assert!(description(&at.get("/Nothing")).ends_with(&format!("the base URL is {BASE_ONE}")));
    assert_eq!(at.call("GET", "/Users", &[("accept", "application/xml")], Value::Null).status, 406);
    let xml =
        http::Request::post("/Users").header("content-type", "application/xml").body(Bytes::from("<User/>"));
    assert_eq!(at.send(&xml.expect("a request")).status, 415);
    // The other way round: what 1.1 says means nothing to 2.0.
    at.version = ScimVersion::Two;
    assert_eq!(at.get("/ServiceProviderConfigs").status, 404);
    assert_eq!(at.post("/Users", person("a@corp.test")).status, 400);
}

#[test]
fn the_service_says_what_it_offers_of_1_1() {
    let mut at = directory();
    let config = at.get("/ServiceProviderConfigs").body;
    assert_eq!(config["schemas"], json!([CORE]));
    for (name, is_supported) in [
        ("patch", true),
        ("bulk", false),
        ("filter", true),
        ("sort", true),
        ("etag", true),
        ("changePassword", false),
        ("xmlDataFormat", false),
    ] {
        assert_eq!(config[name]["supported"], is_supported, "{name}");
    }
    assert!(config["authenticationSchemes"][0]["specUrl"].is_string());
    let schemas = at.get("/Schemas").body;
    assert_eq!(
        (&schemas["totalResults"], &schemas["Resources"][1]["id"]),
        (&json!(2), &json!("urn:scim:schemas:core:1.0:Group"))
    );
    let users = at.get("/Schemas/Users").body;
    assert_eq!(
        (&users["id"], &users["endpoint"], &users["schema"]),
        (&json!("urn:scim:schemas:core:1.0:User"), &json!("/Users"), &json!(CORE))
    );
    let attribute = |name: &str| {
        let list = users["attributes"].as_array().expect("a list");
        list.iter().find(|row| row["name"] == name).cloned().unwrap_or_default()
    };
    assert_eq!(attribute("userName")["required"], true);
    assert_eq!(
        (attribute("groups")["readOnly"].clone(), attribute("groups")["multiValued"].clone()),
        (json!(true), json!(true))
    );
    assert_eq!(attribute("manager")["schema"], ENTERPRISE);
    assert_eq!(attribute("manager")["subAttributes"][0]["name"], "managerId");
    assert!(!users.to_string().contains("$ref"));
}

#[test]
fn declared_extensions_keep_their_urn() {
    let skills = portcullis_scim::schema::Attribute { multi: true, ..row("skills", Type::String) };
    let schemas: Schemas = extension(vec![row("desk", Type::String), skills]);
    let mut at = Directory::speaking(schemas).of_version(ScimVersion::One);
    let mut body = person("a@corp.test");
    body["schemas"] = json!([CORE, ACME]);
    body[ACME] = json!({ "desk": "4.02", "skills": ["rust", { "value": "go" }] });
    let made = at.post("/Users", body);
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(
        (&made.body["schemas"], &made.body[ACME]),
        (&json!([CORE, ACME]), &json!({ "desk": "4.02", "skills": ["rust", "go"] }))
    );
    let path = format!("/Users/{}", made.id());
    let patched = patch(
        &mut at,
        &path,
        json!({ ACME: { "skills": [{ "value": "rust", "operation": "delete" }, "c"] }, "meta": { "attributes": [format!("{ACME}:desk")] } }),
    );
    assert_eq!(patched.body[ACME], json!({ "skills": ["go", "c"] }));
    assert_eq!(at.get(&format!("/Users?filter={ACME}:skills eq \"go\"")).body["totalResults"], 1);
    let whole = patch(&mut at, &path, json!({ "meta": { "attributes": [ACME] } }));
    assert!(whole.body.get(ACME).is_none(), "{}", whole.body);
    let schema = at.get("/Schemas/Users").body.to_string();
    assert!(schema.contains(&format!("\"schema\":\"{ACME}\"")), "{schema}");
}

/// The bodies of older clients are bent as those of newer ones are.
#[test]
fn the_rules_of_the_dialects_apply() {
    let mut at = directory();
    let bent = json!({ "SCHEMAS": [CORE, "urn:example:unknown"], "USERNAME": "a@corp.test", "Active": "TRUE",
                       "emails": { "Value": "a@corp.test", "primary": "true" }, ENTERPRISE: { "manager": "m" }, "password": "placeholder" });
    let made = at.post("/Users", bent);
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!((&made.body["active"], &made.body["emails"][0]["primary"]), (&json!(true), &json!(true)));
    assert_eq!(made.body[ENTERPRISE]["manager"]["managerId"], "m");
    let known = ["boolean-text", "manager-shape", "loose-shape"];
    assert_eq!(at.rules.iter().map(|rule| rule.name()).collect::<Vec<_>>(), known);
    let put = at.put(
        &format!("/Users/{}", made.id()),
        json!({ "schemas": [USER], "userName": "a@corp.test", "active": "false" }),
    );
    assert_eq!((put.status, &put.body["active"]), (200, &json!(false)));
    let renamed = at.post("/Groups", json!({ "schemas": [GROUP], "displayName": "G" }));
    assert_eq!((renamed.status, &renamed.body["schemas"]), (201, &json!([CORE])));
    assert_eq!(at.call(Method::HEAD.as_str(), "/Users", &[], Value::Null).status, 200);
}
