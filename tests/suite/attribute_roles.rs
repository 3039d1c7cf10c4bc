//! Roles by attributes of the directory: given with the write that states the value, and gone, with every stream, before the
//! write that takes it is answered.

use serde_json::{Value, json};

use crate::rig::directory::ENTERPRISE;
use crate::rig::settings::Settings;
use crate::rig::stage::Stage;
use crate::rig::wire::Dial;

const ALICE: &str = "alice@corp.test";
const ACME: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";

const BINDINGS: &str = "version: 1
roles: [member, billing, admin]
conflicts:
  - [member, admin]
bindings:
  - group: Staff
    role: member
  - attribute: department
    equals: Finance
    role: billing
  - attribute: badges
    equals: Gold
    role: admin
";

const MORE: &str = "routes:
  - path: /billing/**
    allow: [billing]
  - path: /events
    allow: [billing]
  - path: /admin/**
    allow: [admin]
  - path: /**
    allow: signed-in
";

fn settings(settings: &mut Settings) {
    settings.bindings = Some(BINDINGS.to_owned());
    settings.scim_more = "  extensions:
    urn:ietf:params:scim:schemas:extension:acme:2.0:User:
      badges: { type: string, multi_valued: true, case_exact: true }
";
    settings.more = MORE.to_owned();
}

async fn patch(stage: &Stage, operations: Value) {
    let answer = stage.directory.patch(stage.id(ALICE), operations).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn said(stage: &Stage, words: &[&str]) -> String {
    let output = stage.program.command(words);
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_gives_a_role_and_its_end_takes_every_stream_with_it() {
    let mut stage = Stage::seeded(settings, &[ALICE]).await;
    let alice = stage.visitor(ALICE);
    let refused = alice.get("/billing/a").await;
    assert_eq!(refused.status, 403);
    let told = crate::refusals::told(&stage, refused.json()["ref"].as_str().unwrap()).await;
    assert!(told.contains("the person needs billing by department \"Finance\""), "{told}");

    // As groups are compared: ASCII letters may differ in case.
    let department = format!("{ENTERPRISE}:department");
    patch(&stage, json!([{ "op": "add", "path": department, "value": "FINANCE" }])).await;
    assert_eq!(alice.status("/billing/b").await, 200);
    let seen = stage.app.last("/billing/b").unwrap();
    assert_eq!(seen.header("x-forwarded-roles").as_deref(), Some("billing"));
    let shown = said(&stage, &["user", "show", ALICE]);
    assert!(shown.contains("billing, by department \"Finance\""), "{shown}");
    assert!(said(&stage, &["user", "list"]).contains("billing"));

    // The whole value, and no part of it.
    let mut events = alice.stream("/events", Dial::default()).await;
    events.at_least(5).await;
    patch(&stage, json!([{ "op": "replace", "path": department, "value": "Finance and more" }])).await;
    stage.app.mark("after").await;
    assert!(!events.read_out("after").await, "the stream read what was written after the answer");
    assert_eq!(alice.status("/billing/c").await, 403);

    // One value of a list is enough; of an attribute where case counts it has to be the very one.
    let badges = format!("{ACME}:badges");
    for (values, status) in [(json!(["Silver", "gold"]), 403), (json!(["Silver", "Gold"]), 200)] {
        patch(&stage, json!([{ "op": "replace", "path": badges, "value": values }])).await;
        assert_eq!(alice.status("/admin/a").await, status, "{values}");
    }
    // Conflicts hold whatever gives a role.
    stage.directory.group("Staff", &[stage.id(ALICE)]).await;
    assert_eq!(alice.status("/admin/b").await, 403);
    let shown = said(&stage, &["user", "show", ALICE]);
    assert!(shown.contains("not admin: it is given, but it loses to member"), "{shown}");

    // A reload and a restart come to the same.
    let without = BINDINGS.replace("Gold", "Iron").replace("  - [member, admin]\n", "  - [admin, member]\n");
    stage.program.reload(|settings| settings.bindings = Some(without)).await;
    assert_eq!(alice.status("/admin/c").await, 403);
    stage
        .program
        .reload(|settings| settings.bindings = Some(BINDINGS.replace("[member, admin]", "[admin, member]")))
        .await;
    assert_eq!(alice.status("/admin/d").await, 200);
    stage.restart().await;
    assert_eq!(stage.visitor(ALICE).status("/admin/e").await, 200);
}
