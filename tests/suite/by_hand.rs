//! Orders by hand: what they do is told, to whoever gives them, to the log and to the audit, and whoever they take out is
//! out when they come back.

use std::process::Output;

use serde_json::Value;

use crate::rig::application::Application;
use crate::rig::program::Program;
use crate::rig::settings::Settings;
use crate::rig::sqlite_lock::WriteLock;
use crate::rig::stage::Stage;

/// What a command printed; it must end like this.
fn printed(output: &Output, code: i32) -> String {
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

fn order(program: &Program, words: &[&str]) -> String {
    printed(&program.command(words), 0)
}

fn last_of_audit(program: &Program) -> Value {
    let text = order(program, &["audit", "tail", "--json", "-n", "1"]);
    serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// The program's line about an order.
async fn line(program: &Program, what: &str) -> Value {
    serde_json::from_str(&program.logged(&[what, "\"by\":\"operator\""]).await).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ordered_is_told_to_the_log_and_the_audit_and_shown() {
    let roles = |settings: &mut Settings| {
        settings.bindings = Some(
            "version: 1\nroles: [member, admin]\nconflicts: [[member, admin]]\nbindings:\n  - group: Staff\n    \
             role: member\n  - group: Owners\n    role: admin\n"
                .to_owned(),
        );
    };
    let mut stage = Stage::seeded(roles, &["alice@corp.test", "bob@corp.test"]).await;
    let alice = stage.id("alice@corp.test").to_owned();
    stage.directory.group("Owners", &[&alice]).await;
    stage.directory.group("Staff", &[&alice]).await;

    let listed = order(&stage.program, &["user", "list"]);
    assert!(
        listed.lines().any(|line| line.contains("alice@corp.test") && line.contains("  member  ")),
        "{listed}"
    );
    let shown = order(&stage.program, &["user", "show", "alice@corp.test"]);
    for part in
        ["member, by the group Staff", "not admin", "loses to member", "alice@corp.test at op (", "until "]
    {
        assert!(shown.contains(part), "{part} in {shown}");
    }

    let mut socket = stage.visitor("alice@corp.test").socket("/ws").await.unwrap();
    socket.echo("hello").await.unwrap();
    let said = order(&stage.program, &["user", "disable", "alice@corp.test"]);
    assert!(said.contains("their one live session has ended"), "{said}");
    socket.read_out().await;
    let told = line(&stage.program, "put out by hand").await;
    assert_eq!((&told["level"], &told["user"]), (&"info".into(), &Value::from(alice.as_str())));
    assert_eq!((&told["sessions"], &told["exchanges"]), (&1.into(), &1.into()));
    assert!(told["ms"].is_u64() && !told.to_string().contains("corp.test"), "as log.identity says: {told}");
    let audit = last_of_audit(&stage.program);
    assert_eq!((&audit["action"], &audit["actor"]), (&"user.disabled".into(), &"cli".into()));
    let shown: Value =
        serde_json::from_str(&order(&stage.program, &["user", "show", &alice, "--json"])).unwrap();
    assert_eq!((&shown["state"], &shown["sessions"]), (&"disabled".into(), &serde_json::json!([])));

    order(&stage.program, &["user", "enable", "alice@corp.test"]);
    line(&stage.program, "let in again by hand").await;
    let said = order(&stage.program, &["user", "end-sessions", "bob@corp.test"]);
    assert!(said.contains("their one live session has ended"), "{said}");
    assert_eq!(line(&stage.program, "were ended by hand").await["sessions"], 1);
    assert_eq!(stage.visitor("bob@corp.test").status("/").await, 401);

    // Whom a directory would bring back is its own to remove; and all of it is there when nothing runs.
    let refused = printed(&stage.program.command(&["user", "remove", "bob@corp.test"]), 1);
    assert!(refused.contains("at the identity provider") && refused.contains("user disable"), "{refused}");
    stage.stop().await;
    assert_eq!(last_of_audit(&stage.program)["action"], "session.end");
    let table = order(&stage.program, &["audit", "tail", "-n", "2"]);
    assert!(table.lines().count() == 3 && table.contains("user.enabled"), "{table}");
    assert!(order(&stage.program, &["user", "list"]).contains("  member  "));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invited_person_is_sent_an_address_and_can_be_removed() {
    let app = Application::start().await;
    let mut settings = Settings::new(app.address);
    settings.provisioning = "invited";
    settings.idps += "    domains: any\n    link:\n      claim: email\n      to: userName\n";
    let stage = Stage::of(app, settings).await;
    let address = format!("{}/", stage.program.settings.origin());
    let said = order(&stage.program, &["user", "add", "mia@corp.test"]);
    assert!(said.contains(&address), "{said}");
    line(&stage.program, "added by hand").await;
    let said = order(&stage.program, &["user", "remove", "mia@corp.test"]);
    assert!(said.contains("is removed: no session was live"), "{said}");
    line(&stage.program, "removed by hand").await;
    assert_eq!(last_of_audit(&stage.program)["action"], "user.deleted");
    assert!(!order(&stage.program, &["user", "list"]).contains("mia@corp.test"));
    assert!(order(&stage.program, &["user", "list", "--deleted"]).contains("mia@corp.test"));
}

/// The directory's account and the one that her logins made since: the session is the second one's, the name is both's.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_with_two_accounts_is_out_whichever_is_named() {
    const ALICE: &str = "alice@corp.test";
    let mut stage = Stage::seeded(|settings| settings.provisioning = "invited", &[ALICE]).await;
    stage.stop().await;
    stage.program.settings.provisioning = "none";
    crate::rig::program::write_files(stage.program.folder(), &stage.program.settings);
    stage.program.begin().await; // which ends what was made under another provisioning
    let alice = stage.another_session(ALICE).await;
    let mut socket = alice.socket("/ws").await.unwrap();
    socket.echo("hello").await.unwrap();
    let said = order(&stage.program, &["user", "show", "alice@corp.test"]);
    assert!(said.contains("bears the same name") && said.contains("unused: made under another"), "{said}");
    let said = order(&stage.program, &["user", "disable", "alice@corp.test"]);
    assert!(said.contains("their one live session has ended") && said.contains("So is account:"), "{said}");
    socket.read_out().await;
    assert_eq!(alice.status("/").await, 401);
    stage.restart().await;
    assert_eq!(alice.status("/").await, 401);
}

/// An order is given when something is wrong: the person is out before the disk has heard of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_stored_puts_on_hold() {
    let stage = Stage::seeded(|_| {}, &["alice@corp.test", "bob@corp.test"]).await;
    let (alice, bob) = (stage.visitor("alice@corp.test"), stage.visitor("bob@corp.test"));
    assert_eq!((alice.status("/").await, bob.status("/").await), (200, 200));
    let mut socket = alice.socket("/ws").await.unwrap();
    socket.echo("hello").await.unwrap();
    let lock = WriteLock::take(&stage.program.database()).await;
    let began = std::time::Instant::now();
    let said = printed(&stage.program.command(&["user", "disable", "alice@corp.test"]), 1);
    assert!(began.elapsed().as_secs() < 8, "it is told before the store gives up");
    assert!(said.contains("out all the same, on hold") && said.contains("1 exchanges ended"), "{said}");
    socket.read_out().await;
    assert_eq!((alice.status("/").await, bob.status("/").await), (503, 200));
    let listed = order(&stage.program, &["user", "list"]);
    assert!(listed.contains("  active, on hold  ") && listed.contains("  active           "), "{listed}");
    let told = line(&stage.program, "on hold until it is repeated").await;
    assert_eq!((&told["order"], &told["exchanges"]), (&"user disable".into(), &1.into()));
    assert!(told["accounts"].as_str().is_some_and(|accounts| accounts.starts_with("account:")), "{told}");
    lock.release().await;
    // It commits late, or is repeated; either way she is out for good, and the hold has ended.
    let disabled = || async {
        let shown = order(&stage.program, &["user", "show", "alice@corp.test"]);
        shown.contains("state:         disabled") && !shown.contains("on hold")
    };
    crate::rig::until("the late commit", disabled).await;
    assert_eq!(alice.status("/").await, 401);
    let said = order(&stage.program, &["user", "enable", "alice@corp.test"]);
    assert!(said.contains("may sign in again"), "{said}");
    let shown = order(&stage.program, &["user", "show", "alice@corp.test"]);
    assert!(shown.contains("state:         active"), "{shown}");
}

/// What an order that was never stored would have ended does not come back when somebody changes their mind.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_enabled_after_an_order_that_failed_signs_in_anew() {
    let stage = Stage::seeded(|_| {}, &["alice@corp.test"]).await;
    let alice = stage.visitor("alice@corp.test");
    assert_eq!(alice.status("/").await, 200);
    let lock = WriteLock::take(&stage.program.database()).await;
    printed(&stage.program.command(&["user", "disable", "alice@corp.test"]), 1);
    // The store gives the order up; then it answers again.
    stage.program.logged(&["a late order has failed"]).await;
    assert_eq!(alice.status("/").await, 503);
    lock.release().await;
    let said = order(&stage.program, &["user", "enable", "alice@corp.test"]);
    assert!(said.contains("may sign in again"), "{said}");
    assert_eq!(alice.status("/").await, 401);
}
