//! Mapping sheets: what an application calls people comes from a file, beside a directory that a SCIM client feeds, and
//! nothing that client sends takes it away.

use std::fs;
use std::process::Output;

use http::Method;
use serde_json::{Value, json};

use crate::rig::directory::{DirectoryClient, USER, patch};
use crate::rig::stage::Stage;

const ACME: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";
const OURS: &str = "  extensions:
    urn:ietf:params:scim:schemas:extension:acme:2.0:User:
      appUserName: { type: string, mutability: readOnly, unique: true }
      site: string
";

fn printed(output: &Output, code: i32) -> String {
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

fn import(stage: &Stage, sheet: &str, more: &[&str], code: i32) -> String {
    let path = stage.program.folder().join("names.csv");
    fs::write(&path, sheet).unwrap();
    let words = [&["import", "--map", path.to_str().unwrap()], more].concat();
    printed(&stage.program.command(&words), code)
}

fn person(name: &str) -> Value {
    let email = format!("{name}@corp.test");
    json!({ "schemas": [USER], "userName": name, "emails": [{ "value": email, "primary": true }] })
}

async fn called(client: &DirectoryClient, app: &str) -> Vec<String> {
    let target = format!("/Users?filter=appUserName%20eq%20%22{app}%22");
    let body = client.send(Method::GET, &target, None).await.json();
    let found = body["Resources"].as_array().unwrap_or_else(|| panic!("{body}"));
    found.iter().map(|user| user["userName"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sheet_names_people_for_the_application_and_no_client_unnames_them() {
    let mut stage = Stage::with(|settings| settings.scim_more = OURS).await;
    let client = stage.directory.clone();
    let mut ids = Vec::new();
    for name in ["alice", "bob", "carl"] {
        ids.push(client.create(&person(name)).await["id"].as_str().unwrap().to_owned());
    }
    let sheet = "Email;appUserName\nALICE@corp.test;asmith\nbob@corp.test;bjones\nzoe@corp.test;z\n";
    let dry = import(&stage, sheet, &["--dry-run"], 0);
    let expected = "alice: appUserName=asmith\nbob: appUserName=bjones\nIn the sheet, and nobody's here:\n  line 4: zoe@corp.test\n\
                    Here, and not in the sheet:\n  carl\nA dry run, and nothing was changed. It would be: rows in the sheet: 3; \
                    people changed: 2; rows that name nobody: 1; active people not named: 1. SHA-256 ";
    assert!(dry.starts_with(expected), "{dry}");
    assert!(called(&client, "asmith").await.is_empty());
    let said = import(&stage, sheet, &[], 0);
    assert!(said.contains("people changed: 2; rows that name nobody: 1"), "{said}");
    assert_eq!(
        (called(&client, "asmith").await, called(&client, "BJONES").await),
        (vec!["alice".into()], vec!["bob".into()])
    );
    let audits = printed(&stage.program.command(&["audit", "tail", "-n", "1", "--json"]), 0);
    assert!(audits.contains("\"import\"") && audits.contains("\"map\":true"), "{audits}");
    stage.program.logged(&["a mapping sheet was imported", "\"changed\":2", "\"by\":\"operator\""]).await;
    assert!(import(&stage, sheet, &[], 0).contains("people changed: 0;"));

    // What the client sends, it may have read before; it takes nothing away and gives nothing.
    let mut echoed = client.read(&ids[0]).await.json();
    echoed[ACME] = json!({ "appUserName": "root", "site": "B" });
    assert_eq!(client.send(Method::PUT, &format!("/Users/{}", ids[0]), Some(&echoed)).await.status, 200);
    assert_eq!(client.read(&ids[0]).await.json()[ACME], json!({ "appUserName": "asmith", "site": "B" }));
    let operations = json!([{ "op": "replace", "path": format!("{ACME}:appUserName"), "value": "root" }]);
    let target = format!("/Users/{}", ids[0]);
    let refused = client.send(Method::PATCH, &target, Some(&patch(operations))).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["scimType"]), (400, &json!("mutability")));

    // Two people change names; then by another column, where no program runs.
    let said = import(&stage, "userName,appUserName\nalice,bjones\nbob,asmith\n", &[], 0);
    assert!(said.contains("people changed: 2;"), "{said}");
    assert_eq!(
        (called(&client, "asmith").await, called(&client, "bjones").await),
        (vec!["bob".into()], vec!["alice".into()])
    );
    let taken = import(&stage, "userName,appUserName\ncarl,ASMITH\n", &[], 1);
    assert!(
        taken.contains("line 2: appUserName: \"ASMITH\" is that of bob too, and must be unique"),
        "{taken}"
    );
    stage.program.kill();
    assert!(import(&stage, "userName,appUserName\ncarl,cc\nbob,\n", &[], 0).contains("people changed: 2;"));
    stage.program.assert_sound();
    stage.program.begin().await;
    let client = stage.program.directory();
    assert_eq!((called(&client, "cc").await, called(&client, "asmith").await), (vec!["carl".into()], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sheet_that_gives_what_nobody_declared_says_what_to_declare() {
    let mut stage = Stage::start().await;
    let said = import(&stage, "email,appUserName\n", &[], 1);
    assert!(said.contains("appUserName: { type: string, mutability: readOnly, unique: true }"), "{said}");
    let both = import(&stage, "email,appUserName\n", &["--full"], 2);
    assert!(both.contains("cannot be used with"), "{both}");
    stage.program.kill();
    // A declaration that no program started with yet is good as well, and nothing is written by half of it.
    stage.program.settings.scim_more = OURS;
    stage.program.write();
    let said = import(&stage, "email,appUserName\nnobody@corp.test,x\n", &[], 0);
    assert!(said.contains("rows that name nobody: 1"), "{said}");
    stage.program.assert_sound();
}
