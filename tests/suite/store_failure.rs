//! Taking away never waits for the disk (R6). The lever is SQLite's own write lock, held by another process: this one.

use http::Method;

use crate::rig::directory::okta;
use crate::rig::sqlite_lock::WriteLock;
use crate::rig::stage::Stage;
use crate::rig::visitor::Held;
use crate::rig::wire::{Answer, Connection, WireFault, whole};
use crate::rig::{must, until};

const ALICE: &str = "alice@corp.test";
const BOB: &str = "bob@corp.test";
const MARK: &str = "written-after-the-answer";

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_removed_while_the_store_fails_is_out_at_once_and_stays_out() {
    let stage = Stage::seeded(|_| {}, &[ALICE, BOB]).await;
    let (alice, bob, id) = (stage.visitor(ALICE), stage.visitor(BOB), stage.id(ALICE));
    assert_eq!(bob.status("/warm").await, 200);
    let held = Held::open(&alice, &stage.app).await;
    let lock = WriteLock::take(&stage.program.database()).await;

    let answer = stage.directory.patch(id, okta::deactivate()).await;
    assert_eq!(answer.status, 503, "nothing was stored, so nothing is promised: {}", answer.text());
    assert!(answer.header("retry-after").is_some());
    stage.app.mark(MARK).await;
    held.ends_without(MARK).await;
    let before = stage.app.count();
    for _ in 0..3 {
        assert_eq!(alice.status("/").await, 503, "on hold: neither in nor proven out");
        assert_eq!(alice.socket("/ws").await.err(), Some(503));
    }
    // A read brings nobody back.
    assert_eq!(stage.directory.read(id).await.json()["active"], true, "as it is stored");
    assert_eq!(alice.status("/").await, 503);
    assert_eq!(stage.app.count(), before);
    assert_eq!(bob.status("/").await, 200, "warm sessions of others go on");
    stage.program.logged(&["error", "on hold"]).await;

    lock.release().await;
    // The IdP repeats, and now it is stored.
    until("a success", || async { stage.directory.patch(id, okta::deactivate()).await.status == 200 }).await;
    assert_eq!(alice.status("/").await, 401);
    assert_eq!(stage.directory.read(id).await.json()["active"], false);
    assert_eq!(stage.app.count(), before + 1, "only Bob's request reached the application");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_cannot_be_stored_puts_on_hold_as_well() {
    let stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let (alice, id) = (stage.visitor(ALICE), stage.id(ALICE));
    let mut socket = alice.socket("/ws").await.unwrap();
    socket.echo("mine").await.unwrap();
    let lock = WriteLock::take(&stage.program.database()).await;
    let answer = stage.directory.send(Method::DELETE, &format!("/Users/{id}"), None).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    stage.app.mark(MARK).await;
    assert!(!socket.read_out().await.iter().any(|text| text == MARK));
    assert_eq!(alice.status("/").await, 503);
    // A login or a group write does not end it either; only a committed write on this user does.
    lock.release().await;
    until("a success", || async {
        [204, 404].contains(
            &stage.directory.send(Method::DELETE, &format!("/Users/{id}"), None).await.status.as_u16(),
        )
    })
    .await;
    assert_eq!(alice.status("/").await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_whose_client_gave_up_is_stored_when_the_store_is_back() {
    let stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let (alice, id) = (stage.visitor(ALICE), stage.id(ALICE));
    assert_eq!(alice.status("/").await, 200);
    let lock = WriteLock::take(&stage.program.database()).await;
    let path = format!("/Users/{id}");
    let body = crate::rig::directory::patch(okta::deactivate());
    stage.directory.send_and_hang_up(Method::PATCH, &path, Some(&body)).await;
    // The cut may hit the very request that asks.
    let status = || async { alice.try_get("/").await.map_or(0, |answer| answer.status.as_u16()) };
    until("the hold", || async { status().await == 503 }).await;
    lock.release().await;
    // Its own transaction commits late, or it failed and the hold stands: never is she served again.
    for _ in 0..50 {
        assert_ne!(status().await, 200);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// The write belongs to nobody's connection: while it waits for the store its client cancels it, and the hold comes
/// all the same. (A client of HTTP/1.1 that is gone is not noticed before it is answered.)
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_its_client_cancels_is_enforced() {
    let stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let (alice, id) = (stage.visitor(ALICE), stage.id(ALICE));
    let socket = alice.socket("/ws").await.unwrap();
    let lock = WriteLock::take(&stage.program.database()).await;
    let body = crate::rig::directory::patch(okta::deactivate());
    stage.directory.send_and_cancel(Method::PATCH, &format!("/Users/{id}"), &body).await;
    must("the cut", socket.read_out()).await;
    assert_eq!(alice.status("/").await, 503);
    lock.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_write_that_fails_serves_nobody_on_old_roles() {
    let bindings =
        "version: 1\nroles: [app.ops]\nconflicts: []\nbindings:\n  - group: Ops\n    role: app.ops\n";
    let rules = "routes:\n  - path: /ops/**\n    allow: [app.ops]\n  - path: /**\n    allow: signed-in\n";
    let stage = Stage::seeded(
        |settings| {
            settings.bindings = Some(bindings.to_owned());
            settings.more = rules.to_owned();
        },
        &[ALICE],
    )
    .await;
    let (alice, id) = (stage.visitor(ALICE), stage.id(ALICE));
    let group = stage.directory.group("Ops", &[id]).await;
    assert_eq!(alice.status("/ops/panel").await, 200);
    let lock = WriteLock::take(&stage.program.database()).await;
    let answer = stage.directory.patch_group(&group, okta::remove_member(id)).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    lock.release().await;
    until("a success", || async {
        stage.directory.patch_group(&group, okta::remove_member(id)).await.status.is_success()
    })
    .await;
    assert_eq!(alice.status("/ops/panel").await, 403);
}

/// Whoever is not in the group goes on, whatever becomes of the group's write.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_write_that_is_late_concerns_the_group_alone() {
    let stage = Stage::seeded(|_| {}, &[ALICE, BOB]).await;
    let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
    let group = stage.directory.group("Ops", &[stage.id(ALICE)]).await;
    assert_eq!((alice.status("/").await, bob.status("/").await), (200, 200));
    let lock = WriteLock::take(&stage.program.database()).await;
    let answer = stage.directory.patch_group(&group, okta::remove_member(stage.id(ALICE))).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let line = stage.program.logged(&["error", "a group write could not be stored in time"]).await;
    assert!(line.contains("\"accounts\":1"), "{line}");
    lock.release().await;
}

/// What takes nothing away is not answered before it is settled: a 503 would be followed by a repeat, and a repeat of
/// what was stored all the same is a conflict. The lever is a trigger that makes the store slow.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_never_made_and_refused_at_once() {
    let stage = Stage::seeded(|_| {}, &[ALICE]).await;
    stage.directory.person("first@corp.test", "n-0").await;
    slow_down_creation(&stage.program.database()).await;
    let body = crate::rig::directory::user("new@corp.test", "n-1");
    let answer = must("an answer", stage.directory.send(Method::POST, "/Users", Some(&body))).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// Makes each new user or group take some three seconds within its transaction.
async fn slow_down_creation(database: &std::path::Path) {
    let mut other = crate::rig::sqlite_lock::open(database).await;
    let work = "select count(*) from sqlite_schema a, sqlite_schema b, sqlite_schema c";
    let began = std::time::Instant::now();
    sqlx::query(work).fetch_one(&mut other).await.unwrap();
    let times = 3_000 / began.elapsed().as_millis().max(1) + 1;
    let rows: Vec<String> = (0..times).map(|n| format!("({n})")).collect();
    let slow = format!(
        "create table slow (n integer); insert into slow values {}; \
         create trigger slow_resource before insert on resource begin {work}, slow; end",
        rows.join(", ")
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(slow)).execute(&mut other).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_take_writes_is_said_and_reads_go_on() {
    let stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let alice = stage.visitor(ALICE);
    let lock = WriteLock::take(&stage.program.database()).await;
    assert_eq!(alice.status("/").await, 200, "a cold session is read, not written");
    let body = crate::rig::directory::user("new@corp.test", "n-1");
    let answer = must("an answer", stage.directory.send(Method::POST, "/Users", Some(&body))).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.json()["status"], "503");
    lock.release().await;
    until("a success", || async {
        [201, 409].contains(&stage.directory.send(Method::POST, "/Users", Some(&body)).await.status.as_u16())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_that_cannot_be_stored_says_so() {
    let stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let alice = stage.visitor(ALICE);
    assert_eq!(alice.status("/").await, 200);
    let lock = WriteLock::take(&stage.program.database()).await;
    let leaving = alice.request(Method::POST, "/.portcullis/logout").header("origin", &alice.origin);
    let answer =
        Connection::open(alice.address).await.unwrap().send(leaving.body(whole("")).unwrap()).await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("You may still be signed in"), "{}", answer.text());
    lock.release().await;
    // It is carried out all the same; the request that is open at that moment loses its connection.
    let refused = |asked: Result<Answer, WireFault>| asked.is_ok_and(|answer| answer.status == 401);
    until("the end of the session", || async { refused(alice.try_get("/").await) }).await;
}
