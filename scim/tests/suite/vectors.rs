//! What two other implementations make of PATCHes and filters, as data: `tests/vectors/scim`. Where this service answers
//! otherwise it is listed here with the reason; anything new is a failure, and so is anything listed that agrees again.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::model::Directory;

fn vectors(file: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/scim").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("vectors")
}

fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    of[name].as_array().expect("a list")
}

/// What a client wrote of a resource, without what is this service's to say.
fn written(body: &Value) -> Map<String, Value> {
    let mut body = body.as_object().expect("a resource").clone();
    body.retain(|name, value| {
        !["id", "meta", "groups", "schemas"].contains(&name.as_str()) && value != &json!([])
    });
    body
}

/// `agrees`, or what is answered instead: the error, or which attributes are otherwise.
fn judge_patch(before: &Value, vector: &Value) -> String {
    let mut at = Directory::new();
    let made = at.post("/Users", before.clone());
    assert_eq!(made.status, 201, "{}", made.body);
    let answer = at.patch(&format!("/Users/{}", made.id()), vector["operations"].clone());
    if answer.status != 200 {
        let refusal = format!("{} {}", answer.status, answer.scim_type().unwrap_or_default());
        return if vector.get("error").is_some() { "agrees".to_owned() } else { refusal };
    }
    let Some(after) = vector.get("after") else { return "200".to_owned() };
    // Their document is a bare one: what of it our schemas have is what a POST of it gives.
    let expected = Directory::new().post("/Users", after.clone());
    if expected.status != 201 {
        return format!("200, where theirs is {}", expected.scim_type().unwrap_or_default());
    }
    let (ours, theirs) = (written(&answer.body), written(&expected.body));
    let mut names: Vec<&str> = ours.keys().chain(theirs.keys()).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| ours.get(*name) != theirs.get(*name));
    if names.is_empty() { "agrees".to_owned() } else { format!("200 {}", names.join(" ")) }
}

#[test]
fn patches_of_scim_patch() {
    let data = vectors("scim-patch.json");
    let mut others = BTreeMap::new();
    let mut agreed = 0;
    for vector in list(&data, "vectors") {
        let before =
            &data["before"][usize::try_from(vector["before"].as_u64().expect("a number")).expect("small")];
        match judge_patch(before, vector) {
            verdict if verdict == "agrees" => agreed += 1,
            verdict => drop(others.insert(vector["number"].as_u64().expect("a number"), verdict)),
        }
    }
    for (number, verdict) in &others {
        println!(
            "{number} {} -> {verdict}",
            data["vectors"][usize::try_from(*number).expect("small")]["name"]
        );
    }
    // Their documents have no schema: an attribute that none of ours has is refused.
    let unknown = others.iter().filter(|(_, verdict)| *verdict == "400 invalidPath").count();
    others.retain(|_, verdict| verdict != "400 invalidPath");
    let others: Vec<(u64, &str)> =
        others.iter().map(|(number, verdict)| (*number, verdict.as_str())).collect();
    assert_eq!(others, DIFFERENT_PATCHES);
    assert_eq!((agreed, unknown), (42, 37));
}

/// By the number of the vector.
const DIFFERENT_PATCHES: [(u64, &str); 17] = [
    // Theirs by an option: RFC 7644 §3.5.2.3 wants `noTarget` where a value path finds nothing to replace.
    (10, "400 noTarget"),
    // Text where an object is due, or an object where text is.
    (14, "400 invalidValue"),
    // A value of which no part is known would change nothing, and is no success here.
    (26, "400 invalidValue"),
    (28, "400 invalidValue"),
    (29, "400 invalidValue"),
    (30, "400 invalidValue"),
    (34, "400 invalidValue"),
    (36, "400 invalidValue"),
    (38, "400 invalidValue"),
    // Two primary addresses in one value.
    (62, "400 invalidValue"),
    // A new primary one is the only one (RFC 7644 §3.5.2); theirs has two.
    (63, "200, where theirs is invalidValue"),
    (65, "400 invalidValue"),
    (66, "400 invalidValue"),
    // Whoever has lost `active` is inactive, and shown so.
    (68, "200 active"),
    (71, "200 active"),
    (85, "200 active"),
    (88, "200 active"),
];

#[test]
fn filters_of_scim2_parse_filter() {
    let data = vectors("scim2-parse-filter.json");
    let mut at = Directory::new();
    let mut names = Vec::new();
    for user in list(&data, "users") {
        let mut user = user.clone();
        user["schemas"] = json!([portcullis_scim::schema::USER]);
        assert_eq!(at.post("/Users", user.clone()).status, 201, "{user}");
        names.push(user["userName"].as_str().expect("a name").to_owned());
    }
    let mut others = Vec::new();
    let mut agreed = 0;
    for vector in list(&data, "vectors") {
        let search = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": vector["filter"] });
        let answer = at.post("/Users/.search", search);
        let found = if answer.status == 200 {
            let place = |user: &Value| names.iter().position(|name| user["userName"] == name.as_str());
            json!(list(&answer.body, "Resources").iter().map(place).collect::<Vec<_>>())
        } else {
            assert_eq!(answer.scim_type(), Some("invalidFilter"), "{vector}");
            Value::Null
        };
        if found == vector["found"] {
            agreed += 1;
        } else {
            others.push((vector["filter"].as_str().expect("a filter").to_owned(), found.to_string()));
        }
    }
    let others: Vec<(&str, &str)> =
        others.iter().map(|(filter, found)| (filter.as_str(), found.as_str())).collect();
    assert_eq!(others, DIFFERENT_FILTERS);
    assert_eq!(agreed, 39);
}

/// By the filter, with whom it finds here.
const DIFFERENT_FILTERS: [(&str, &str); 14] = [
    // Text is compared as `caseExact` says, which is false of these (RFC 7643 §4.1).
    ("userName eq \"BJENSEN\"", "[0]"),
    ("userName sw \"J\"", "[1,2]"),
    ("userName sw \"j\"", "[1,2]"),
    // A name with the URN of its schema, and `emails` for `emails.value`.
    ("urn:ietf:params:scim:schemas:core:2.0:User:userName sw \"J\"", "[1,2]"),
    ("userType eq \"Employee\" and (emails co \"example.com\" or emails.value co \"example.org\")", "[0]"),
    (
        "userType ne \"Employee\" and not (emails co \"example.com\" or emails.value co \"example.org\")",
        "[3]",
    ),
    // Whoever is made without `active` is active here.
    ("active eq true", "[0,2,3]"),
    ("not (active eq true)", "[1]"),
    ("not(active eq true)", "[1]"),
    // An empty list is none (RFC 7644 §3.4.2.2).
    ("emails pr", "[0,1]"),
    // Text is JSON's, with its escapes.
    ("displayName ew \"\\\\\"", "[2]"),
    ("displayName co \"\\u00f6rg\"", "[2]"),
    ("title eq null", "[1,2,3]"),
    // The grammar wants parentheses behind `not`.
    ("not userName pr", "null"),
];
