//! Bulk through the real program: each operation takes away as it would alone, whatever becomes of the client, the store
//! and the process meanwhile.

use http::Method;
use serde_json::{Value, json};

use crate::rig::directory::{DirectoryClient, okta, patch, user};
use crate::rig::sqlite_lock::WriteLock;
use crate::rig::stage::Stage;
use crate::rig::{must, until};

const MARK: &str = "written-after-the-answer";

fn bulk(operations: impl Into<Value>) -> Value {
    let schemas = ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"];
    json!({ "schemas": schemas, "Operations": operations.into() })
}

async fn carry_out(directory: &DirectoryClient, operations: Vec<Value>) -> Vec<Value> {
    let answer = directory.send(Method::POST, "/Bulk", Some(&bulk(operations))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["Operations"].as_array().unwrap().clone()
}

fn statuses(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["status"].as_str().unwrap()).collect()
}

fn deactivation(id: &str) -> Value {
    json!({ "method": "PATCH", "path": format!("/Users/{id}"), "data": patch(okta::deactivate()) })
}

fn creation(name: &str) -> Value {
    json!({ "method": "POST", "path": "/Users", "bulkId": name, "data": user(name, name), "idempotencyKey": name })
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_it_removes_is_out_before_it_is_answered() {
    let names: Vec<String> = (0..45).map(|n| format!("u{n}@corp.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stage = Stage::seeded(|_| {}, &names).await;
    let mut sockets = Vec::new();
    for name in &names {
        let mut socket = stage.visitor(name).socket("/ws").await.unwrap();
        socket.echo("mine").await.unwrap();
        sockets.push(socket);
    }
    let mut stays = sockets.pop().unwrap();
    // Two kinds of removal, and something else between them: several pieces.
    let mut operations: Vec<Value> = names[..22].iter().map(|name| deactivation(stage.id(name))).collect();
    operations.push(creation("new@corp.test"));
    operations.extend(
        names[22..44]
            .iter()
            .map(|name| json!({ "method": "DELETE", "path": format!("/Users/{}", stage.id(name)) })),
    );
    let results = carry_out(&stage.directory, operations).await;
    stage.app.mark(MARK).await;
    assert!(results.iter().all(|result| ["200", "201", "204"].contains(&result["status"].as_str().unwrap())));
    for socket in sockets {
        assert!(!must("the end of a socket", socket.read_out()).await.iter().any(|text| text == MARK));
    }
    let before = stage.app.count();
    for name in &names[..44] {
        assert_eq!(stage.visitor(name).status("/").await, 401, "{name}");
    }
    assert_eq!(stage.app.count(), before);
    assert_eq!(must("the marker", stays.next()).await.as_deref(), Some(MARK), "nobody else is touched");
    stage.program.logged(&["info", "a Bulk was carried out: 0 of 45"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_is_not_stored_is_a_503_of_its_own_and_the_person_is_out() {
    let stage = Stage::seeded(|_| {}, &["alice@corp.test", "bob@corp.test", "carol@corp.test"]).await;
    let (alice, bob) = (stage.visitor("alice@corp.test"), stage.visitor("bob@corp.test"));
    let carol = stage.visitor("carol@corp.test");
    assert_eq!(carol.status("/").await, 200);
    let socket = alice.socket("/ws").await.unwrap();
    let lock = WriteLock::take(&stage.program.database()).await;
    let removals = vec![deactivation(stage.id("alice@corp.test")), deactivation(stage.id("bob@corp.test"))];
    let results = carry_out(&stage.directory, removals.clone()).await;
    assert_eq!(statuses(&results), ["503", "503"]);
    stage.app.mark(MARK).await;
    assert!(!must("the cut", socket.read_out()).await.iter().any(|text| text == MARK));
    assert_eq!((alice.status("/").await, bob.status("/").await), (503, 503), "on hold");
    assert_eq!(carol.status("/").await, 200);
    lock.release().await;
    until("a success", || async {
        statuses(&carry_out(&stage.directory, removals.clone()).await) == ["200", "200"]
    })
    .await;
    assert_eq!((alice.status("/").await, bob.status("/").await), (401, 401));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_stops_nothing() {
    let stage = Stage::seeded(|_| {}, &["alice@corp.test"]).await;
    let alice = stage.visitor("alice@corp.test");
    assert_eq!(alice.status("/").await, 200);
    let mut operations: Vec<Value> = (0..200).map(|n| creation(&format!("u{n}@corp.test"))).collect();
    operations.push(deactivation(stage.id("alice@corp.test")));
    stage.directory.send_and_hang_up(Method::POST, "/Bulk", Some(&bulk(operations))).await;
    until("the last operation", || async {
        alice.try_get("/").await.is_ok_and(|answer| answer.status == 401)
    })
    .await;
    assert_eq!(stage.directory.send(Method::GET, "/Users?count=0", None).await.json()["totalResults"], 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_repeated_from_its_record_after_a_kill() {
    let mut stage = Stage::start().await;
    let operations: Vec<Value> = (0..300).map(|n| creation(&format!("u{n}@corp.test"))).collect();
    let first = carry_out(&stage.directory, operations.clone()).await;
    assert!(first.iter().all(|result| result["status"] == "201"), "{first:?}");
    stage.program.kill();
    stage.program.assert_sound();
    stage.program.begin().await;
    let directory = stage.program.directory();
    assert_eq!(
        carry_out(&directory, operations.clone()).await,
        first,
        "same ids, same versions, same statuses"
    );
    // Another client's keys are others: its operations are carried out, and the names are taken.
    let (out, _) = {
        let output = stage.program.command(&["token", "new", "--scim", "--name", "other"]);
        (String::from_utf8(output.stdout).unwrap(), output.stderr)
    };
    stage.program.watch.secret("a token", out.trim());
    let other = stage.program.directory().with_token(out.trim());
    assert!(carry_out(&other, operations).await.iter().all(|result| result["status"] == "409"));
}

/// Killed in the middle, at a moment of its own: whatever was stored is whole, and the repeat ends the work.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_leaves_whole_operations_and_a_repeat_finishes() {
    let mut stage = Stage::start().await;
    let operations: Vec<Value> = (0..300).map(|n| creation(&format!("u{n}@corp.test"))).collect();
    let directory = stage.directory.clone();
    let body = bulk(operations.clone());
    let asking =
        tokio::spawn(async move { directory.try_send(Method::POST, "/Bulk", Some(&body)).await.is_ok() });
    let total = async |directory: &DirectoryClient| {
        let answer = directory.send(Method::GET, "/Users?count=0", None).await;
        answer.json()["totalResults"].as_u64().unwrap()
    };
    until("some of it", || async { total(&stage.directory).await > 20 }).await;
    stage.program.kill();
    assert!(!asking.await.unwrap(), "it was answered before the kill: make it longer");
    stage.program.assert_sound();
    stage.program.begin().await;
    let directory = stage.program.directory();
    let stored = total(&directory).await;
    assert!(stored > 20 && stored < 300, "{stored}");
    let results = carry_out(&directory, operations).await;
    assert!(results.iter().all(|result| result["status"] == "201"), "{:?}", statuses(&results));
    assert_eq!(total(&directory).await, 300);
    stage.program.assert_sound();
}

/// A configuration without the token comes into force in the middle: what has not begun by then is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_taken_away_meanwhile_ends_it() {
    let mut stage = Stage::seeded(|_| {}, &["alice@corp.test"]).await;
    let id = stage.id("alice@corp.test").to_owned();
    // One person back and forth: each a piece of its own.
    let change = |active: bool| {
        let operations = json!([{ "op": "replace", "path": "active", "value": active }]);
        json!({ "method": "PATCH", "path": format!("/Users/{id}"), "data": patch(operations) })
    };
    let operations: Vec<Value> = (0..1000).map(|n| change(n % 2 == 1)).collect();
    let directory = stage.directory.clone();
    let asking = tokio::spawn(async move { carry_out(&directory, operations).await });
    until("some of it", || async { stage.directory.read(&id).await.json()["meta"]["version"] != "W/\"1\"" })
        .await;
    stage.program.reload(|settings| settings.scim_token = "another-token-of-this-test".to_owned()).await;
    let results = asking.await.unwrap();
    let statuses = statuses(&results);
    let done = statuses.iter().take_while(|status| **status == "200").count();
    assert!(done > 0 && done < 1000, "{done} were done");
    assert!(statuses[done..].iter().all(|status| *status == "401"), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_limits_are_said_and_kept() {
    let mut stage = Stage::start().await;
    let config = stage.directory.send(Method::GET, "/ServiceProviderConfig", None).await.json();
    let limits = json!({ "supported": true, "maxOperations": 1000, "maxPayloadSize": 4 << 20 });
    assert_eq!(config["bulk"], limits);
    let ours = "urn:ietf:params:scim:schemas:extension:portcullis:2.0:ServiceProviderConfig";
    // What goes beyond the standard is told to who names it: strict clients take no member that they do not know.
    assert!(config.get(ours).is_none() && config["schemas"].as_array().unwrap().len() == 1, "{config}");
    let asked = format!("/ServiceProviderConfig?attributes={ours}");
    let config = stage.directory.send(Method::GET, &asked, None).await.json();
    assert_eq!(config[ours]["bulkIdempotency"]["member"], "idempotencyKey");
    assert!(config["schemas"].as_array().unwrap().contains(&json!(ours)));
    let many: Vec<Value> = (0..1001).map(|n| creation(&n.to_string())).collect();
    let long = json!({ "schemas": ["x"], "Operations": ["x".repeat((4 << 20) + 1)] });
    for (body, word) in [(bulk(many), "maxOperations"), (long, "maxPayloadSize")] {
        let answer = stage.directory.send(Method::POST, "/Bulk", Some(&body)).await;
        assert_eq!(answer.status, 413);
        assert!(answer.json()["detail"].as_str().unwrap().contains(word), "{}", answer.text());
    }
    // A body that a single request may not have is one that a Bulk may.
    let mut wide = user("wide@corp.test", "wide");
    wide["title"] = "x".repeat(2 << 20).into();
    let answer = stage.directory.send(Method::POST, "/Users", Some(&wide)).await;
    assert_eq!(answer.status, 413);
    let wide = json!({ "method": "POST", "path": "/Users", "bulkId": "1", "data": wide });
    assert_eq!(statuses(&carry_out(&stage.directory, vec![wide]).await), ["201"]);

    // Others, from a reload on.
    let other = "  bulk: { operations: 2, body: 64KiB }\n";
    stage.program.reload(|settings| settings.scim_more = other).await;
    let config = stage.directory.send(Method::GET, "/ServiceProviderConfig", None).await.json();
    assert_eq!(config["bulk"], json!({ "supported": true, "maxOperations": 2, "maxPayloadSize": 64 << 10 }));
    let long = json!({ "schemas": ["x"], "Operations": ["x".repeat(64 << 10)] });
    let three: Vec<Value> = (0..3).map(|n| creation(&n.to_string())).collect();
    for (body, limit) in [(bulk(three), "limited to 2"), (long, "limited to 64 KiB")] {
        let answer = stage.directory.send(Method::POST, "/Bulk", Some(&body)).await;
        assert_eq!(answer.status, 413);
        assert!(answer.json()["detail"].as_str().unwrap().contains(limit), "{}", answer.text());
    }
}
