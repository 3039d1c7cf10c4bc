//! Promise: attributes that the configuration declares are as good as those of the standard, and what is found by them is
//! what the declaration in force says, also after another one.

use http::Method;
use serde_json::{Value, json};

use crate::rig::directory::{DirectoryClient, ENTERPRISE, USER};
use crate::rig::stage::Stage;

const ACME: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";

const FIRST: &str = "  extensions:
    urn:ietf:params:scim:schemas:extension:acme:2.0:User:
      costCenter: string
      desk: { type: string, unique: true }
      level: integer
      since: dateTime
      badge: { type: complex, attributes: { number: integer, site: string } }
      skills: { type: string, multi_valued: true, canonical: [rust, go] }
";

/// The level is text now, the desk is gone, and there is something new.
const SECOND: &str = "  extensions:
    urn:ietf:params:scim:schemas:extension:acme:2.0:User:
      costCenter: { type: string, case_exact: true }
      level: string
      score: decimal
";

async fn add(client: &DirectoryClient, name: &str, custom: Value) -> String {
    let made = client.create(&json!({ "schemas": [USER, ACME], "userName": name, ACME: custom })).await;
    made["id"].as_str().unwrap().to_owned()
}

/// The names of those whom a filter finds, in the order in which they are answered.
async fn names(client: &DirectoryClient, query: &str) -> Vec<String> {
    let body = client.send(Method::GET, &format!("/Users?{query}"), None).await.json();
    let found = body["Resources"].as_array().unwrap_or_else(|| panic!("{query}: {body}"));
    found.iter().map(|user| user["userName"].as_str().unwrap().to_owned()).collect()
}

fn filter(text: &str) -> String {
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("filter={encoded}")
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_attributes_are_written_found_sorted_by_and_listed() {
    let stage = Stage::with(|settings| settings.scim_more = FIRST).await;
    let client = &stage.directory;
    let schema = client.send(Method::GET, &format!("/Schemas/{ACME}"), None).await.json();
    let listed = schema["attributes"].as_array().unwrap().iter();
    let types: Vec<&str> = listed.map(|attribute| attribute["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["string", "string", "integer", "dateTime", "complex", "string"]);
    let kinds = client.send(Method::GET, "/ResourceTypes/User", None).await.json();
    assert_eq!(kinds["schemaExtensions"][1], json!({ "schema": ACME, "required": false }));

    // The product sheet's own PATCH.
    let ada = add(client, "ada", json!({ "desk": "D-1", "level": 10 })).await;
    let cost_center = format!("{ACME}:costCenter");
    let operations = json!([{ "op": "Replace", "path": "department", "value": "Research" },
                            { "op": "Add", "path": cost_center, "value": "A-1" }]);
    assert_eq!(client.patch(&ada, operations).await.status, 200);
    let seen = client.read(&ada).await.json();
    assert_eq!(
        (&seen[ENTERPRISE]["department"], &seen[ACME]["costCenter"]),
        (&json!("Research"), &json!("A-1"))
    );
    assert_eq!(seen["schemas"], json!([USER, ACME, ENTERPRISE]));
    let both = format!("department eq \"research\" and {cost_center} eq \"a-1\"");
    assert_eq!(names(client, &filter(&both)).await, ["ada"]);
    let unclear =
        client.patch(&ada, json!([{ "op": "Add", "path": "costCenter", "value": "B" }])).await.json();
    let said = unclear["detail"].as_str().unwrap();
    assert_eq!(unclear["scimType"], "invalidPath");
    assert!(said.contains(ENTERPRISE) && said.contains(ACME), "{said}");

    add(client, "bob", json!({ "level": 9, "since": "2027-01-15T09:00:00+01:00", "skills": ["Go"] })).await;
    add(client, "cleo", json!({ "level": -3, "badge": { "number": 7, "site": "B" } })).await;
    add(client, "dan", json!({})).await;
    for (asked, found) in [
        (filter("level gt 9"), vec!["ada"]),
        (filter("level lt 0 or skills eq \"go\""), vec!["bob", "cleo"]),
        (filter("since ge \"2027-01-15T08:00:00Z\""), vec!["bob"]),
        (filter("badge.number eq 7"), vec!["cleo"]),
        (format!("sortBy={ACME}:level"), vec!["cleo", "bob", "ada", "dan"]),
        ("sortBy=level&sortOrder=descending".to_owned(), vec!["dan", "ada", "bob", "cleo"]),
    ] {
        assert_eq!(names(client, &asked).await, found, "{asked}");
    }
    let wrong = json!({ "schemas": [USER], "userName": "eve", ACME: { "level": "10" } });
    let refused = client.send(Method::POST, "/Users", Some(&wrong)).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["scimType"]), (400, &json!("invalidValue")));
    let taken = json!({ "schemas": [USER], "userName": "eve", ACME: { "desk": "d-1" } });
    let refused = client.send(Method::POST, "/Users", Some(&taken)).await;
    let said = refused.json()["detail"].as_str().unwrap().to_owned();
    assert_eq!((refused.status.as_u16(), &refused.json()["scimType"]), (409, &json!("uniqueness")));
    assert!(said.contains(&format!("{ACME}:desk")) && said.contains("ada"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_declaration_takes_a_restart_and_finds_by_what_it_says() {
    let mut stage = Stage::with(|settings| settings.scim_more = FIRST).await;
    let client = stage.directory.clone();
    let custom = json!({ "costCenter": "A-1", "desk": "D-1", "level": 10 });
    let ada = add(&client, "ada", custom).await;

    stage.program.settings.scim_more = SECOND;
    stage.program.write();
    assert!(!stage.program.hang_up().await);
    stage.program.logged(&["scim.extensions", "restart"]).await;
    assert_eq!(names(&client, &filter("level eq 10")).await, ["ada"], "nothing of the file is in force");

    stage.restart().await;
    stage.program.logged(&["scim.extensions have changed"]).await;
    let seen = client.read(&ada).await.json();
    assert_eq!(seen[ACME], json!({ "costCenter": "A-1" }));
    let cost_center = format!("{ACME}:costCenter");
    assert!(names(&client, &filter("level pr")).await.is_empty());
    assert!(names(&client, &filter(&format!("{cost_center} eq \"a-1\""))).await.is_empty());
    assert_eq!(names(&client, &filter(&format!("{cost_center} eq \"A-1\""))).await, ["ada"]);
    let unknown = client.send(Method::GET, &format!("/Users?{}", filter("desk eq \"D-1\"")), None).await;
    assert_eq!((unknown.status.as_u16(), &unknown.json()["scimType"]), (400, &json!("invalidFilter")));
    client.patch(&ada, json!([{ "op": "add", "path": "score", "value": 2 }])).await;

    // The former declaration again: what was not written anew is there as it was.
    stage.stop().await;
    stage.program.settings.scim_more = FIRST;
    stage.program.write();
    stage.program.begin().await;
    let seen = client.read(&ada).await.json();
    assert_eq!(seen[ACME], json!({ "costCenter": "A-1", "desk": "D-1", "level": 10 }));
    assert_eq!(names(&client, &filter("level eq 10 and desk eq \"d-1\"")).await, ["ada"]);
}
