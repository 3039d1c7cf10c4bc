//! Promise: `store check` finds what is wrong with a database, beside a program and without one, names nobody, and changes
//! nothing.

use std::process::Output;

use serde_json::{Value, json};

use crate::rig::directory::USER;
use crate::rig::program::{binary, bounded};
use crate::rig::sqlite_lock;
use crate::rig::stage::Stage;

const ACME: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";
const EXTENSIONS: &str = "  extensions:
    urn:ietf:params:scim:schemas:extension:acme:2.0:User: { desk: string }
";

fn printed(output: &Output, code: i32) -> String {
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_checked_beside_the_program_and_behind_its_end() {
    let mut stage =
        Stage::seeded(|settings| settings.scim_more = EXTENSIONS, &["alice@corp.test", "bob@corp.test"])
            .await;
    stage
        .directory
        .create(&json!({ "schemas": [USER, ACME], "userName": "carl@corp.test", ACME: { "desk": "desk-7" } }))
        .await;
    let said = printed(&stage.program.command(&["store", "check"]), 0);
    assert_eq!(said.lines().count(), 13, "a line a rule, and one for all:\n{said}");
    assert!(said.lines().take(12).all(|line| line.starts_with("ok ")) && said.contains("sound"), "{said}");
    let state = stage.program.folder().join("state");

    // Killed, and then a change is half undone.
    stage.program.kill();
    assert!(printed(&stage.program.command(&["store", "check"]), 0).contains("sound"));
    let mut database = sqlite_lock::open(&stage.program.database()).await;
    let half = "update resource set doc = replace(doc, 'desk-7', 'desk-8') where name = 'carl@corp.test'; \
                update account set active = 0 where id = (select account from resource where name = 'bob@corp.test')";
    sqlx::raw_sql(half).execute(&mut database).await.unwrap();
    let said = printed(&stage.program.command(&["store", "check"]), 1);
    let bob = stage.id("bob@corp.test");
    assert!(said.contains(&format!("accounts: {bob}: the document says active")), "{said}");
    assert!(said.contains("search: ") && said.contains("1 rows that should find it are missing"), "{said}");
    assert!(!said.contains("corp.test") && !said.contains("desk-8"), "{said}");
    let output = stage.program.command(&["store", "check", "--json"]);
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &read["sound"]), (Some(1), &json!(false)));
    let broken = |rule: &str| {
        let rules = read["rules"].as_array().unwrap();
        rules.iter().find(|row| row["rule"] == rule).unwrap()["broken"].as_u64().unwrap()
    };
    assert_eq!((broken("search"), broken("accounts"), broken("members")), (1, 1, 0));
    // Without the configuration the extensions are not known, and the rest is looked at.
    let mut command = binary();
    command.args(["store", "check", "--state"]).arg(state);
    let unknown = printed(&bounded(command), 1);
    assert!(unknown.contains("-c FILE") && !unknown.contains("1 rows that should"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_checked_is_said_and_nothing_is_made() {
    let mut stage = Stage::start().await;
    stage.program.kill();
    let place = stage.program.folder().join("elsewhere");
    let missing = printed(&stage.program.command(&["store", "check", "--state", place.to_str().unwrap()]), 1);
    assert!(missing.contains("there is no database"), "{missing}");
    assert!(!place.exists());
    // Not in this version.
    for verb in ["backup", "restore", "compact"] {
        printed(&stage.program.command(&["store", verb]), 2);
    }
    let file = stage.program.folder().join("portcullis.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + "\nstate: [no]\n").unwrap();
    assert!(printed(&stage.program.command(&["store", "check"]), 78).contains("state"));
}
