//! Lists: paging, filters, and which attributes are answered.

use portcullis_scim::schema::{ENTERPRISE_USER as ENTERPRISE, GROUP, USER};
use serde_json::json;

use crate::model::{Answer, three};

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
        ("?cursor=&count=2", 200, 2),
        ("?cursor", 200, 3),
        ("?cursor=x", 400, 0),
        ("?cursor=&startIndex=1", 400, 0),
        ("?cursor=&count=0", 400, 0),
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
            let types = ["invalidValue", "invalidSyntax", "invalidCursor", "invalidCount"];
            assert!(types.contains(&answer.scim_type().expect("a type")), "{query}");
        }
    }
    // By cursor there is no index, and the last page has no next one.
    let first = at.get("/Users?cursor=&count=2").body;
    assert!(first.get("startIndex").is_none());
    let next = first["nextCursor"].as_str().expect("a next page");
    let last = at.get(&format!("/Users?cursor={next}&count=2"));
    assert_eq!((names(&last), last.body.get("nextCursor")), (vec!["c@corp.test"], None));
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
        ("Users", r#"userName ne "a@corp.test""#, 2),
        ("Users", r#"userName co "CORP""#, 3),
        ("Users", "userName pr", 3),
        ("Users", r#"not(userName eq "a@corp.test")"#, 2),
        ("Users", r#"userName eq "x" or title eq "b""#, 1),
        ("Users", r#"emails[not (type eq "work")].value eq "a@home.test""#, 1),
        ("Users", "title eq null", 0),
        ("Users", r#"meta.created gt "2026-01-01T00:00:00Z""#, 0),
        ("Users", r#"meta.resourceType eq "User""#, 3),
        ("Users", "groups pr", 1),
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
    let nested = format!("{}userName eq \"x\"{}", "(".repeat(17), ")".repeat(17));
    let answer = at.get(&format!("/Users?filter={nested}"));
    assert!(
        answer.body["detail"].as_str().is_some_and(|detail| detail.contains("16 levels")),
        "{}",
        answer.body
    );
    assert_eq!(at.get(&format!("/Users?filter={}", &nested[2..nested.len() - 2])).status, 200);
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

/// The parameters of a search stand in its body; the answer is that of a list.
#[test]
fn a_search_by_post_is_a_list() {
    let (mut at, [a, ..]) = three();
    at.post("/Groups", json!({ "schemas": [GROUP], "displayName": "b", "members": [{ "value": a }] }));
    let urn = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";
    let mut search = |place: &str, mut body: serde_json::Value| {
        body["schemas"] = json!([urn]);
        at.post(place, body)
    };
    let found = search(
        "/Users/.search",
        json!({ "filter": "title pr", "sortBy": "userName", "sortOrder": "descending", "startIndex": 2, "count": 1,
                "attributes": ["userName", "meta.version"] }),
    );
    assert_eq!((found.status, &found.body["totalResults"]), (200, &json!(3)), "{}", found.body);
    assert_eq!(names(&found), ["b@corp.test"]);
    let keys: Vec<&String> = found.body["Resources"][0].as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["id", "meta", "schemas", "userName"]);
    let found = search("/Groups/.search", json!({ "FILTER": "members pr", "excludedAttributes": "members" }));
    assert_eq!(found.body["totalResults"], 1);
    assert!(found.body["Resources"][0].get("members").is_none());

    // Both kinds: users first. What only one kind has is absent from the other.
    for (body, total, first) in [
        (json!({}), 4, 4),
        (json!({ "filter": "title eq \"b\" or displayName eq \"b\"" }), 2, 2),
        (json!({ "filter": "title ne \"b\"" }), 3, 3),
        (json!({ "filter": "members pr" }), 1, 1),
        (json!({ "filter": "groups pr", "count": 0 }), 1, 0),
        (json!({ "filter": null, "startIndex": 4, "count": 5 }), 4, 1),
    ] {
        let found = search("/.search", body.clone());
        assert_eq!(
            (found.status, &found.body["totalResults"]),
            (200, &json!(total)),
            "{body}: {}",
            found.body
        );
        assert_eq!(found.body["itemsPerPage"], json!(first), "{body}");
    }
    for (place, body) in [
        ("/.search", json!({ "filter": "nobody pr" })),
        ("/.search", json!({ "sortBy": "displayName" })),
        ("/Users/.search", json!({ "filter": "members pr" })),
        ("/Users/.search", json!({ "filter": 5 })),
        ("/Users/.search", json!({ "filter": "title pr", "Filter": "userName pr" })),
        ("/Users/.search", json!({ "count": "ten" })),
        ("/Users/.search", json!({ "count": 1.5 })),
        ("/Users/.search", json!({ "count": true })),
        ("/Users/.search", json!({ "attributes": [1] })),
        ("/Users/.search", json!({ "cursor": "x" })),
        ("/Users/.search", json!({ "sortBy": "password" })),
        ("/Users/.search", json!({ "sortBy": "userName", "sortOrder": "up" })),
    ] {
        assert_eq!(search(place, body.clone()).status, 400, "{place} {body}");
    }
    assert_eq!(at.post("/Users/.search", json!({ "filter": "title pr" })).status, 400, "no schema");
    assert_eq!(at.call("POST", "/Users/.search", &[("content-type", "text/plain")], json!({})).status, 415);
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
        // Of elements of which nothing is left nothing is told.
        ("attributes=emails.type&excludedAttributes=emails.type", &["id", "schemas"]),
        ("attributes=emails.display", &["id", "schemas"]),
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
