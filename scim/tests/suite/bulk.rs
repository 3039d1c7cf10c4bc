//! Bulk: the order of operations, references between them, errors of one and of all.

use portcullis_scim::schema::{ENTERPRISE_USER, GROUP, USER};
use serde_json::{Value, json};

use crate::model::{Answer, BASE, Directory, three};

const REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

fn bulk(at: &mut Directory, operations: Value) -> Answer {
    at.post("/Bulk", json!({ "schemas": [REQUEST], "Operations": operations }))
}

fn user(name: &str) -> Value {
    json!({ "schemas": [USER], "userName": name })
}

fn group(name: &str, members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
    json!({ "schemas": [GROUP], "displayName": name, "members": members })
}

fn post(bulk_id: &str, path: &str, data: Value) -> Value {
    json!({ "method": "POST", "path": path, "bulkId": bulk_id, "data": data })
}

fn statuses(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let operations = answer.body["Operations"].as_array().expect("operations");
    operations.iter().map(|one| one["status"].as_str().expect("a status as text").to_owned()).collect()
}

fn id_at(answer: &Answer, place: usize) -> String {
    let location = answer.body["Operations"][place]["location"].as_str().expect("a location");
    location.rsplit('/').next().expect("an id").to_owned()
}

#[test]
fn each_kind_of_operation_is_answered_as_it_would_be_alone() {
    let (mut at, [a, b, c]) = three();
    let answer = bulk(
        &mut at,
        json!([
            { "method": "post", "path": "/Users", "bulkId": "new", "data": user("new@corp.test") },
            { "method": "PUT", "path": format!("/Users/{a}"), "bulkId": "kept", "data": user("a2@corp.test") },
            { "METHOD": "PATCH", "path": format!("/Users/{b}"), "version": "W/\"1\"", "data": { "schemas": [PATCH],
                "Operations": [{ "op": "Replace", "path": "active", "value": "False" }] } },
            { "method": "DELETE", "path": format!("/Users/{c}") },
            { "method": "DELETE", "path": format!("/Users/{c}") },
            { "method": "PATCH", "path": format!("/Users/{b}"), "version": "W/\"1\"", "data": { "schemas": [PATCH],
                "Operations": [{ "op": "replace", "path": "title", "value": "T" }] } },
            { "method": "POST", "path": "/Users", "bulkId": "again", "data": user("NEW@corp.test") },
        ]),
    );
    assert_eq!(statuses(&answer), ["201", "200", "200", "204", "404", "412", "409"]);
    let operations = &answer.body["Operations"];
    let made = at.get(&format!("/Users/{}", id_at(&answer, 0)));
    assert_eq!(made.body["userName"], "new@corp.test");
    assert_eq!(
        operations[0],
        json!({ "method": "POST", "bulkId": "new", "version": "W/\"1\"", "status": "201",
            "location": made.body["meta"]["location"] })
    );
    assert_eq!((&operations[1]["bulkId"], &operations[1]["version"]), (&json!("kept"), &json!("W/\"2\"")));
    assert!(!at.is_active(&b));
    assert_eq!(operations[4]["location"], format!("{BASE}/Users/{c}"));
    assert_eq!(operations[4]["response"]["status"], "404");
    assert_eq!(operations[6]["response"]["scimType"], "uniqueness");
    assert!(operations[6].get("location").is_none(), "a POST that failed has no place");
    assert_eq!(answer.body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:BulkResponse"]));
}

#[test]
fn references_are_resolved_in_paths_values_extensions_and_filters_forward_and_backward() {
    let mut at = Directory::new();
    let answer = bulk(
        &mut at,
        json!([
            // Forward: whoever it names is made first.
            post("crew", "/Groups", group("crew", &["bulkId:ann", "bulkId:bob"])),
            post("ann", "/Users", user("ann")),
            post("bob", "/Users", json!({ "schemas": [USER, ENTERPRISE_USER], "userName": "bob",
                ENTERPRISE_USER: { "manager": { "value": "bulkId:ann" } } })),
            post("cyd", "/Users", json!({ "schemas": [USER], "userName": "cyd",
                ENTERPRISE_USER: { "manager": "bulkId:bob" } })),
            { "method": "PATCH", "path": "/Groups/bulkId:crew", "data": { "schemas": [PATCH], "Operations": [
                { "op": "remove", "path": "members[value eq \"bulkId:ann\"]" },
                { "op": "add", "path": "members", "value": [{ "value": "bulkId:cyd" }] },
            ] } },
            { "method": "DELETE", "path": "/Users/bulkId:ann" },
        ]),
    );
    assert_eq!(statuses(&answer), ["201", "201", "201", "201", "200", "204"]);
    let [crew, ann, bob, cyd] = [0, 1, 2, 3].map(|place| id_at(&answer, place));
    assert_eq!(at.members(&crew), [bob.clone(), cyd.clone()]);
    assert_eq!(at.get(&format!("/Users/{bob}")).body[ENTERPRISE_USER]["manager"]["value"], ann);
    assert_eq!(at.get(&format!("/Users/{cyd}")).body[ENTERPRISE_USER]["manager"]["value"], bob);
}

#[test]
fn circles_are_made_and_then_closed() {
    let mut at = Directory::new();
    let managed = |name: &str, by: &str| json!({ "schemas": [USER], "userName": name, ENTERPRISE_USER: { "manager": { "value": by } } });
    let answer = bulk(
        &mut at,
        json!([
            post("a", "/Groups", group("a", &["bulkId:b", "bulkId:eve"])),
            post("b", "/Groups", group("b", &["bulkId:a"])),
            post("eve", "/Users", managed("eve", "bulkId:eve")),
        ]),
    );
    assert_eq!(statuses(&answer), ["201", "201", "201"]);
    let [a, b, eve] = [0, 1, 2].map(|place| id_at(&answer, place));
    let mut in_a = at.members(&a);
    in_a.sort();
    let mut due = vec![b.clone(), eve.clone()];
    due.sort();
    assert_eq!((in_a, at.members(&b)), (due, vec![a]));
    assert_eq!(at.get(&format!("/Users/{eve}")).body[ENTERPRISE_USER]["manager"]["value"], eve);
    assert!(
        answer.body["Operations"][2]["version"].as_str().unwrap_or_default().starts_with("W/\"2"),
        "as it is in the end"
    );
}

#[test]
fn what_refers_to_nothing_is_an_error_and_never_half_a_success() {
    let mut at = Directory::new();
    let answer = bulk(
        &mut at,
        json!([
            post("bad", "/Users", json!({ "schemas": [USER] })),
            post("crew", "/Groups", group("crew", &["bulkId:bad"])),
            post("lost", "/Groups", group("lost", &["bulkId:nobody"])),
            post("name", "/Users", user("bulkId:nobody")),
            { "method": "DELETE", "path": "/Users/bulkId:bad" },
            { "method": "DELETE", "path": "/Users/bulkId:nobody" },
            post("x", "/Groups", group("x", &["bulkId:y"])),
            post("y", "/Groups", json!({ "schemas": [GROUP], "members": [{ "value": "bulkId:x" }] })),
        ]),
    );
    assert_eq!(statuses(&answer), ["400", "409", "400", "400", "409", "400", "409", "400"]);
    let operations = &answer.body["Operations"];
    assert!(operations[1]["response"]["detail"].as_str().unwrap_or_default().contains("bulkId:bad"));
    assert!(operations[1]["response"].get("scimType").is_none());
    assert!(operations[4].get("location").is_none() && operations[5].get("location").is_none());
    assert_eq!(at.get("/Groups?count=0").body["totalResults"], 0);
    assert_eq!(at.get("/Users?count=0").body["totalResults"], 0);
    // x waits for y, which refers to x: y is made first, without, and fails.
    assert!(operations[6].get("location").is_none());
}

#[test]
fn a_circle_that_cannot_be_closed_is_an_error_with_the_place_of_what_was_made() {
    let mut at = Directory::new();
    // y is made first, x refers to it and fails: y is there, without what it should refer to.
    let answer = bulk(
        &mut at,
        json!([
            post("x", "/Groups", json!({ "schemas": [GROUP], "members": [{ "value": "bulkId:y" }] })),
            post("y", "/Groups", group("y", &["bulkId:x"])),
        ]),
    );
    assert_eq!(statuses(&answer), ["400", "409"]);
    let y = id_at(&answer, 1);
    assert_eq!(at.get(&format!("/Groups/{y}")).body["displayName"], "y");
    // The same where failOnErrors ends it before.
    let mut at = Directory::new();
    let body = json!({ "schemas": [REQUEST], "failOnErrors": 1, "Operations": [
        post("x", "/Groups", json!({ "schemas": [GROUP], "members": [{ "value": "bulkId:y" }] })),
        post("y", "/Groups", group("y", &["bulkId:x"])),
        post("z", "/Users", user("z")),
    ] });
    let answer = at.post("/Bulk", body);
    assert_eq!(statuses(&answer), ["400", "409"]);
    assert_eq!(at.get("/Users?count=0").body["totalResults"], 0, "nothing is begun after it");
}

#[test]
fn a_reference_where_no_text_belongs_makes_nothing() {
    let mut at = Directory::new();
    let body = json!({ "schemas": [USER], "userName": "sneak", "active": "bulkId:x" });
    assert_eq!(statuses(&bulk(&mut at, json!([post("x", "/Users", body)]))), ["400"]);
    assert_eq!(at.get("/Users?count=0").body["totalResults"], 0);
    let body = json!({ "schemas": [USER], "userName": "odd", "shoeSize": "bulkId:x" });
    assert_eq!(statuses(&bulk(&mut at, json!([post("x", "/Users", body)]))), ["201"], "nobody knows it");
}

#[test]
fn it_ends_after_as_many_errors_as_it_may_have() {
    let broken = json!({ "schemas": [USER] });
    let operations: Vec<Value> = (0..200)
        .map(|n| {
            post(&n.to_string(), "/Users", if n % 3 == 1 { broken.clone() } else { user(&format!("u{n}")) })
        })
        .collect();
    for (most, ran, made) in [
        (json!(1), 2, 1),
        (json!(2), 5, 3),
        (json!(20), 59, 39),
        (json!(0), 200, 133),
        (Value::Null, 200, 133),
    ] {
        let mut at = Directory::new();
        let body = json!({ "schemas": [REQUEST], "failOnErrors": most, "Operations": operations });
        assert_eq!(statuses(&at.post("/Bulk", body)).len(), ran, "{most}");
        assert_eq!(at.get("/Users?count=0").body["totalResults"], made, "{most}");
    }
    // One that is seen while others are under way, each of which may be one too, leaves them that much less.
    let mut at = Directory::new();
    at.post("/Users", user("a"));
    let mixed = json!([
        post("0", "/Users", user("a")),
        post("1", "/Users", user("a")),
        post("2", "/Users", broken),
        post("3", "/Users", user("a")),
        post("4", "/Users", user("b"))
    ]);
    let body = json!({ "schemas": [REQUEST], "failOnErrors": 3, "Operations": mixed });
    assert_eq!(statuses(&at.post("/Bulk", body)), ["409", "409", "400"]);
    // Errors that only the store can see count as well, and nothing after them is begun.
    let mut at = Directory::new();
    let names = ["a", "a", "b", "a", "c"];
    let twice: Vec<Value> =
        names.iter().enumerate().map(|(n, name)| post(&n.to_string(), "/Users", user(name))).collect();
    let body = json!({ "schemas": [REQUEST], "failOnErrors": 2, "Operations": twice });
    assert_eq!(statuses(&at.post("/Bulk", body)), ["201", "409", "201", "409"]);
}

#[test]
fn a_piece_is_of_one_kind_and_nothing_overtakes() {
    let (mut at, [a, ..]) = three();
    let mut operations: Vec<Value> =
        (0..150).map(|n| post(&n.to_string(), "/Users", user(&format!("u{n}")))).collect();
    let patch = |value: bool| json!({ "schemas": [PATCH], "Operations": [{ "op": "replace", "path": "active", "value": value }] });
    let on_a = |value| json!({ "method": "PATCH", "path": format!("/Users/{a}"), "data": patch(value) });
    operations.extend([on_a(false), on_a(true), on_a(false)]);
    operations.extend((0..40).map(|n| json!({ "method": "DELETE", "path": format!("/Users/bulkId:{n}") })));
    operations.push(post("g", "/Groups", group("g", &["bulkId:149"])));
    operations.push(json!({ "method": "PUT", "path": "/Groups/bulkId:g", "data": group("h", &[]) }));
    operations
        .push(json!({ "method": "PUT", "path": "/Groups/bulkId:g", "data": group("i", &["bulkId:148"]) }));
    let answer = bulk(&mut at, operations.into());
    assert!(statuses(&answer).iter().all(|status| ["201", "200", "204"].contains(&status.as_str())));
    assert!(!at.is_active(&a));
    // Creations by 64, the three of one person each for itself, removals by 8, changes of a group alone.
    assert_eq!(at.pieces, [64, 64, 22, 1, 1, 8, 8, 8, 8, 8, 1, 1, 1, 1]);
}

#[test]
fn what_is_wrong_with_the_whole_is_refused_before_anything_is_done() {
    let fine = post("1", "/Users", user("fine"));
    let whole = |operations: Value| json!({ "schemas": [REQUEST], "Operations": operations });
    let many = vec![fine.clone(); 1_001];
    for (body, status, word) in [
        (json!({ "Operations": [fine] }), 400, "schemas"),
        (json!({ "schemas": [REQUEST] }), 400, "Operations"),
        (whole(json!([])), 400, "empty"),
        (whole(json!({})), 400, "Operations"),
        (whole(json!([fine, fine])), 400, "bulkId"),
        (whole(json!(many)), 413, "1000"),
        (json!({ "schemas": [REQUEST], "failOnErrors": "1", "Operations": [fine] }), 400, "failOnErrors"),
        (json!({ "schemas": [REQUEST], "failOnErrors": -1, "Operations": [fine] }), 400, "failOnErrors"),
        (whole(json!([{ "path": "x".repeat(4 << 20) }])), 413, "4 MiB"),
    ] {
        let mut at = Directory::new();
        let answer = at.post("/Bulk", body);
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.body["detail"].as_str().unwrap_or_default().contains(word), "{}", answer.body);
        assert_eq!(at.get("/Users?count=0").body["totalResults"], 0);
    }
}

#[test]
fn what_is_wrong_with_one_operation_is_its_own_error() {
    let data = user("x");
    for (operation, status) in [
        (json!(7), "400"),
        (json!({}), "400"),
        (json!({ "method": "GET", "path": "/Users/1" }), "400"),
        (json!({ "method": 7, "path": "/Users" }), "400"),
        (json!({ "method": "POST", "path": "/Users", "data": data }), "400"),
        (json!({ "method": "POST", "path": "/Users", "bulkId": "", "data": data }), "400"),
        (json!({ "method": "POST", "path": "/Users", "bulkId": "1" }), "400"),
        (json!({ "method": "POST", "path": "/Users", "bulkId": "1", "data": [data] }), "400"),
        (json!({ "method": "POST", "path": "Users", "bulkId": "1", "data": data }), "404"),
        (json!({ "method": "POST", "path": "/Bulk", "bulkId": "1", "data": data }), "400"),
        (json!({ "method": "POST", "path": "/Me", "bulkId": "1", "data": data }), "400"),
        (json!({ "method": "POST", "path": "/Users/.search", "bulkId": "1", "data": data }), "400"),
        (json!({ "method": "POST", "path": "/Users/7", "bulkId": "1", "data": data }), "405"),
        (json!({ "method": "PUT", "path": "/Users", "data": data }), "405"),
        (json!({ "method": "DELETE", "path": "/Groups" }), "405"),
        (
            json!({ "method": "PATCH", "path": "/Users/7", "data": { "schemas": [PATCH], "Operations": [] } }),
            "400",
        ),
        (
            json!({ "method": "POST", "path": "/Users", "bulkId": "1", "idempotencyKey": 1, "data": data }),
            "400",
        ),
        (
            json!({ "method": "POST", "path": "/Users", "bulkId": "1", "idempotencyKey": "", "data": data }),
            "400",
        ),
    ] {
        let mut at = Directory::new();
        let answer = bulk(&mut at, json!([operation, post("fine", "/Users", user("fine"))]));
        assert_eq!(statuses(&answer), [status, "201"], "{operation}");
    }
}
