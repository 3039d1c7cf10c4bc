//! Attributes that a configuration declares: of every type, alone, in a list, and as a part.

use portcullis_scim::schema::{Attribute, ENTERPRISE_USER as ENTERPRISE, Mutability, Type, USER};
use portcullis_scim::{Filter, Resource, ResourceKind};
use serde_json::{Value, json};

use crate::declared::{ACME, every_type, extension, row};
use crate::model::{Answer, Directory};

fn directory() -> Directory {
    Directory::speaking(extension(every_type()))
}

fn post(at: &mut Directory, custom: Value) -> Answer {
    at.post("/Users", json!({ "schemas": [USER, ACME], "userName": "x", ACME: custom }))
}

#[test]
fn values_are_held_against_their_type() {
    for (name, good, bad) in [
        ("costCenter", vec![json!("A-1"), json!("")], vec![json!(1), json!(true), json!(["A"]), json!({})]),
        ("contractor", vec![json!(true)], vec![json!("yes"), json!(1), json!("null")]),
        (
            "level",
            vec![json!(0), json!(-7), json!(i64::MIN), json!(i64::MAX)],
            vec![json!(1.0), json!(1e3), json!("7"), json!(u64::MAX), json!(true)],
        ),
        ("score", vec![json!(0.5), json!(-1e300)], vec![json!("0.5"), json!(false), json!([1])]),
        (
            "since",
            vec![json!("2027-01-15T08:00:00Z"), json!("2027-01-15T08:00:00.25+01:00")],
            vec![json!("2027-01-15"), json!("yesterday"), json!(1_800_000_000), json!("")],
        ),
        (
            "page",
            vec![json!("https://wiki.example.com/a?b"), json!("../Users/1")],
            vec![json!("two words"), json!(1), json!("")],
        ),
        (
            "skills",
            vec![json!(["rust", "go"]), json!(["other"])],
            vec![json!([1]), json!([["rust"]]), json!([{}])],
        ),
        ("levels", vec![json!([3, 1])], vec![json!(["3"]), json!([1.5])]),
        (
            "badge",
            vec![json!({ "value": 7, "since": "2027-01-15T08:00:00Z", "weight": 1.5, "type": "x" })],
            vec![json!({ "value": "7" }), json!({ "since": "x" }), json!(7), json!([{ "value": 7 }])],
        ),
        (
            "devices",
            vec![json!([{ "value": 7 }, { "value": 8, "primary": true }])],
            vec![json!([7]), json!("x")],
        ),
    ] {
        for value in good {
            let mut at = directory();
            let made = post(&mut at, json!({ name: value }));
            assert_eq!(made.status, 201, "{name} {value}: {}", made.body);
            assert_eq!(made.body[ACME][name], value);
            assert_eq!(made.body["schemas"], json!([USER, ACME]));
            let path = format!("/Users/{}", made.id());
            let operation = json!([{ "op": "replace", "path": format!("{ACME}:{name}"), "value": value }]);
            let patched = at.patch(&path, operation);
            assert_eq!((patched.status, &patched.body[ACME][name]), (200, &value), "{}", patched.body);
            assert_eq!(at.get(&path).body["meta"]["version"], "W/\"1\"", "{name}: the same is no change");
        }
        for value in bad {
            let mut at = directory();
            let refused = post(&mut at, json!({ name: value }));
            assert_eq!((refused.status, refused.scim_type()), (400, Some("invalidValue")), "{name} {value}");
            let said = refused.body["detail"].as_str().expect("a detail").to_owned();
            assert!(said.contains(&format!("{ACME}:{name}")), "{said}");
            let made = post(&mut at, json!({ "costCenter": "a" }));
            let operation = json!([{ "op": "add", "path": format!("{ACME}:{name}"), "value": value }]);
            let refused = at.patch(&format!("/Users/{}", made.id()), operation);
            assert_eq!(refused.status, 400, "{name} {value}: {}", refused.body);
        }
    }
}

#[test]
fn numbers_and_booleans_have_one_form() {
    let mut at = directory();
    let made = post(
        &mut at,
        json!({ "score": 5, "contractor": "True", "levels": 3, "skills": ["Go", "go", "rust"] }),
    );
    assert_eq!(made.status, 201, "{}", made.body);
    let custom = &made.body[ACME];
    assert_eq!(custom, &json!({ "score": 5.0, "contractor": true, "levels": [3], "skills": ["Go", "rust"] }));
    let zero = at.patch(
        &format!("/Users/{}", made.id()),
        json!([{ "op": "replace", "path": format!("{ACME}:score"), "value": -0.0 }]),
    );
    assert_eq!(zero.body[ACME]["score"].to_string(), "0.0");
}

/// The PATCH of the product sheet.
#[test]
fn a_bare_name_of_one_extension_goes_beside_a_whole_one_of_another() {
    let mut at =
        Directory::speaking(extension(vec![row("costCenter", Type::String), row("level", Type::Integer)]));
    let made = post(&mut at, Value::Null);
    let path = format!("/Users/{}", made.id());
    let patched = at.patch(
        &path,
        json!([{ "op": "Replace", "path": "department", "value": "Research" },
               { "op": "Add", "path": format!("{ACME}:costCenter"), "value": "A-1" },
               { "op": "Add", "path": "level", "value": 7 }]),
    );
    assert_eq!(patched.status, 200, "{}", patched.body);
    let seen = at.get(&path).body;
    assert_eq!(seen[ENTERPRISE], json!({ "department": "Research" }));
    assert_eq!(seen[ACME], json!({ "costCenter": "A-1", "level": 7 }));
    assert_eq!(seen["schemas"], json!([USER, ACME, ENTERPRISE]));
    let unclear = at.patch(&path, json!([{ "op": "Add", "path": "costCenter", "value": "B" }]));
    let said = unclear.body["detail"].as_str().expect("a detail").to_owned();
    assert_eq!((unclear.status, unclear.scim_type()), (400, Some("invalidPath")));
    assert!(said.contains(ENTERPRISE) && said.contains(ACME), "{said}");
    let gone = at.patch(&path, json!([{ "op": "remove", "path": ACME }]));
    assert_eq!(gone.body["schemas"], json!([USER, ENTERPRISE]));
}

#[test]
fn lists_of_simple_values_are_patched_by_value() {
    let mut at = directory();
    let made = post(&mut at, json!({ "skills": ["rust"], "devices": [{ "value": 1, "type": "key" }] }));
    let path = format!("/Users/{}", made.id());
    let skills = format!("{ACME}:skills");
    let devices = format!("{ACME}:devices");
    for (operation, name, expected) in [
        (json!({ "op": "add", "path": skills, "value": ["go", "Rust"] }), "skills", json!(["rust", "go"])),
        (json!({ "op": "add", "path": skills, "value": "c" }), "skills", json!(["rust", "go", "c"])),
        (json!({ "op": "remove", "path": skills, "value": ["RUST", "x"] }), "skills", json!(["go", "c"])),
        (json!({ "op": "replace", "path": skills, "value": ["b"] }), "skills", json!(["b"])),
        (json!({ "op": "remove", "path": skills }), "skills", Value::Null),
        (
            json!({ "op": "add", "path": devices, "value": [{ "value": 1, "type": "KEY", "weight": 2 }] }),
            "devices",
            json!([{ "value": 1, "type": "KEY", "weight": 2.0 }]),
        ),
        (
            json!({ "op": "replace", "path": format!("{devices}[value eq 1 and weight gt 1.5].type"), "value": "pc" }),
            "devices",
            json!([{ "value": 1, "type": "pc", "weight": 2.0 }]),
        ),
        (
            json!({ "op": "add", "path": format!("{devices}[value eq 2].since"), "value": "2027-01-15T08:00:00Z" }),
            "devices",
            json!([{ "value": 1, "type": "pc", "weight": 2.0 }, { "value": 2, "since": "2027-01-15T08:00:00Z" }]),
        ),
        (
            json!({ "op": "remove", "path": format!("{devices}[since ge \"2027-01-15T09:00:00+01:00\"]") }),
            "devices",
            json!([{ "value": 1, "type": "pc", "weight": 2.0 }]),
        ),
        (json!({ "op": "remove", "path": devices, "value": [{ "value": 1 }] }), "devices", Value::Null),
    ] {
        let patched = at.patch(&path, json!([operation]));
        assert_eq!(
            (patched.status, &patched.body[ACME][name]),
            (200, &expected),
            "{operation}: {}",
            patched.body
        );
    }
    let no_list = at.patch(&path, json!([{ "op": "remove", "path": format!("{skills}[value eq \"b\"]") }]));
    assert_eq!((no_list.status, no_list.scim_type()), (400, Some("invalidPath")));
}

#[test]
fn required_is_asked_where_anything_of_the_extension_is_there() {
    let required = Attribute { required: true, ..row("badge", Type::String) };
    let mut at = Directory::speaking(extension(vec![required, row("site", Type::String)]));
    let without = at.post("/Users", json!({ "schemas": [USER], "userName": "a" }));
    assert_eq!(without.status, 201);
    let path = format!("/Users/{}", without.id());
    let lacking = post(&mut at, json!({ "site": "B" }));
    assert_eq!((lacking.status, lacking.scim_type()), (400, Some("invalidValue")), "{}", lacking.body);
    for blank in [json!(""), json!(" ")] {
        assert_eq!(post(&mut at, json!({ "badge": blank })).status, 400);
    }
    let site = json!({ "op": "add", "path": "site", "value": "B" });
    assert_eq!(at.patch(&path, json!([site])).status, 400);
    let both = json!([site, { "op": "add", "path": "badge", "value": "7" }]);
    assert_eq!(at.patch(&path, both).status, 200);
    let refused = at.patch(&path, json!([{ "op": "remove", "path": "badge" }]));
    assert_eq!((refused.status, refused.scim_type()), (400, Some("invalidValue")), "{}", refused.body);
    let all = at.patch(&path, json!([{ "op": "remove", "path": ACME }]));
    assert_eq!((all.status, &all.body["schemas"]), (200, &json!([USER])), "{}", all.body);
}

#[test]
fn discovery_lists_what_is_declared() {
    let mut at = directory();
    let schemas = at.get("/Schemas").body;
    let listed = schemas["Resources"].as_array().expect("a list").iter();
    let ours = listed.clone().find(|schema| schema["id"] == ACME).expect("ours");
    assert_eq!(&at.get(&format!("/Schemas/{ACME}")).body, ours);
    let attribute = |name: &str| {
        let all = ours["attributes"].as_array().expect("a list").iter();
        all.clone().find(|attribute| attribute["name"] == name).expect("an attribute").clone()
    };
    let words: Vec<Value> = ["level", "score", "since", "page", "contractor", "badge", "code"]
        .map(|name| attribute(name)["type"].clone())
        .to_vec();
    assert_eq!(words, ["integer", "decimal", "dateTime", "reference", "boolean", "complex", "string"]);
    assert_eq!(attribute("desk")["uniqueness"], "server");
    assert_eq!(attribute("skills")["canonicalValues"], json!(["rust"]));
    assert_eq!(attribute("skills")["multiValued"], true);
    assert_eq!(attribute("badge")["subAttributes"][0]["type"], "integer");
    let users = at.get("/ResourceTypes/User").body;
    assert_eq!(users["schemaExtensions"][1], json!({ "schema": ACME, "required": false }));
}

#[test]
fn filters_are_held_against_the_type() {
    let schemas = extension(every_type());
    for good in [
        "level eq 7",
        "level gt -7",
        "score le 1e3",
        "score eq 5",
        "since gt \"2027-01-15T08:00:00Z\"",
        "skills eq \"rust\"",
        "skills pr",
        "levels eq 3",
        "devices[value eq 1 and (weight lt 2.5 or primary eq true)]",
        "devices.weight ge 0.5 and badge.value ne 3",
        "level eq null",
        "page sw \"https\"",
    ] {
        let filter = Filter::parse_filter(&schemas, ResourceKind::User, good).expect(good);
        let again = Filter::parse_filter(&schemas, ResourceKind::User, &filter.to_string());
        assert_eq!(again.as_ref(), Ok(&filter), "{good} prints as {filter}");
    }
    for wrong in [
        "level eq \"7\"",
        "level eq 7.0",
        "level eq 1e1",
        "level co 7",
        "level eq true",
        "score eq \"x\"",
        "score sw 1",
        "score eq 1e999",
        "since eq 7",
        "since co \"2027\"",
        "skills[value eq \"rust\"]",
        "skills.value eq \"rust\"",
        "costCenter eq \"a\"",
        "userName eq 7",
        "badge eq \"7\"",
        "level eq 07",
        "level eq +7",
        "level eq 7x",
    ] {
        assert!(Filter::parse_filter(&schemas, ResourceKind::User, wrong).is_err(), "{wrong}");
    }
}

/// What a store holds is read by another declaration.
#[test]
fn what_no_longer_fits_is_set_aside_and_stays_in_the_document() {
    let stored = json!({ "userName": "x", ACME: { "level": "seven", "score": 5, "skills": "rust", "gone": 1 },
                         "urn:ietf:params:scim:schemas:extension:old:2.0:User": { "a": 1 } });
    let mut user = Resource::from_json(ResourceKind::User, &stored.to_string()).expect("a tree");
    let schemas = extension(every_type());
    user.set_aside(&schemas);
    let rows: Vec<String> = user.search_rows(&schemas).into_iter().map(|row| row.path).collect();
    assert_eq!(rows, ["schemas", "schemas", "userName", &format!("{ACME}:score")]);
    let kept: Value = serde_json::from_str(&user.to_json()).expect("JSON");
    let mut expected = stored.clone();
    expected[ACME]["score"] = json!(5.0);
    assert_eq!(kept, expected);
    // Under the declaration of before it is all there again.
    let mut again = Resource::from_json(ResourceKind::User, &user.to_json()).expect("a tree");
    again.set_aside(&extension(vec![
        row("LEVEL", Type::String),
        row("score", Type::Decimal),
        row("skills", Type::String),
        row("gone", Type::Integer),
    ]));
    let whole: Value = serde_json::from_str(&again.to_json()).expect("JSON");
    assert_eq!(whole[ACME]["LEVEL"], "seven", "under the name that is declared");
    assert_eq!(whole[ACME]["skills"], "rust");
}

/// Declared otherwise, an attribute puts everybody in another order: a cursor of before goes on nowhere.
#[test]
fn a_cursor_is_one_of_the_declaration_it_came_with() {
    let folded = || extension(vec![row("nick", Type::String)]);
    let mut at = Directory::speaking(folded());
    for name in ["a", "b", "c"] {
        at.post("/Users", json!({ "schemas": [USER, ACME], "userName": name, ACME: { "nick": name } }));
    }
    let first = at.get("/Users?sortBy=nick&count=1&cursor=").body;
    let next = format!("/Users?sortBy=nick&cursor={}", first["nextCursor"].as_str().expect("a cursor"));
    assert_eq!(at.get(&next).status, 200);
    for other in [Attribute { case_exact: true, ..row("nick", Type::String) }, row("nick", Type::Integer)] {
        let refused = Directory::speaking(extension(vec![other])).get(&next);
        assert_eq!((refused.status, refused.scim_type()), (400, Some("invalidCursor")));
    }
}

/// What an operator wrote, clients find and cannot change: a PUT leaves it, a PATCH of it is refused, a POST does not give it.
#[test]
fn what_operators_write_clients_only_read() {
    let app = || Attribute { mutability: Mutability::ReadOnly, ..row("appUserName", Type::String) };
    let site = || Attribute { required: true, ..row("site", Type::String) };
    let mut at = Directory::speaking(extension(vec![app(), row("desk", Type::String), site()]));
    let made = post(&mut at, json!({ "appUserName": "mine", "site": "B" }));
    assert_eq!((made.status, &made.body[ACME]), (201, &json!({ "site": "B" })));
    let path = format!("/Users/{}", made.id());
    let mapped = at.schemas.read_only_attributes().remove(0);
    at.first().set_read_only(&mapped, Some("asmith")).unwrap();
    let is_there = |at: &mut Directory| at.get(&path).body[ACME]["appUserName"] == "asmith";

    let put = |custom: Value| json!({ "schemas": [USER, ACME], "userName": "x", ACME: custom });
    assert_eq!(at.put(&path, put(json!({ "appUserName": "other", "site": "C" }))).status, 200);
    assert_eq!(
        at.put(&path, put(Value::Null)).status,
        200,
        "nobody asks for the site of who has only what is ours"
    );
    assert_eq!(at.get(&path).body[ACME], json!({ "appUserName": "asmith" }));
    for (operation, status) in [
        (json!({ "op": "replace", "path": format!("{ACME}:appUserName"), "value": "other" }), 400),
        (json!({ "op": "add", "path": "appUserName", "value": "other" }), 400),
        (json!({ "op": "remove", "path": format!("{ACME}:appUserName") }), 400),
        (json!({ "op": "remove", "path": ACME }), 400),
        (json!({ "op": "replace", "path": ACME, "value": null }), 400),
        (json!({ "op": "replace", "value": { ACME: { "appUserName": "other" } } }), 400),
        // Repeating what is so is fine, as of every readOnly attribute.
        (json!({ "op": "replace", "value": { ACME: { "appUserName": "asmith", "site": "B" } } }), 200),
        (json!({ "op": "remove", "path": format!("{ACME}:site") }), 200),
    ] {
        let answer = at.patch(&path, json!([operation]));
        assert_eq!(answer.status, status, "{operation}: {}", answer.body);
        if status == 400 {
            assert_eq!(answer.body["scimType"], "mutability", "{operation}");
        }
        assert!(is_there(&mut at), "{operation}");
    }
    // Once an operator took it away, an extension goes as a whole.
    at.first().drop_read_only(&mapped);
    at.patch(&path, json!([{ "op": "add", "path": format!("{ACME}:desk"), "value": "D" }, { "op": "add", "path": format!("{ACME}:site"), "value": "B" }]));
    assert_eq!(at.patch(&path, json!([{ "op": "remove", "path": ACME }])).status, 200);
    assert_eq!(at.get(&path).body.get(ACME), None);

    at.first().set_read_only(&mapped, Some("asmith")).unwrap();
    let rows = at.first().clone().search_rows(&at.schemas);
    assert!(rows.iter().any(|row| row.path == mapped.as_str() && row.value == "asmith"), "{rows:?}");
    assert_eq!(at.get("/Users?filter=appUserName eq \"ASMITH\"").body["totalResults"], 1);
    let schema = at.get(&format!("/Schemas/{ACME}")).body;
    assert_eq!(schema["attributes"][0]["mutability"], "readOnly");
}
