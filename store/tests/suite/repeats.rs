//! Operations with an idempotency key: answered from their record where nothing else is meant and nothing has changed, and
//! carried out in every other case.

use portcullis_scim::{Bulk, BulkWrite, Outcome, ScimRequest};
use portcullis_store::{Origin, Repeat, ScimAnswer, WriteTerms};
use serde_json::{Value, json};

use crate::support::{HERE, HOUR, NOW, ORG, Rig, user_path};

const TOKEN: [u8; 32] = [1; 32];

fn bulk(rig: &Rig, operations: Value) -> Bulk {
    let schemas = ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"];
    let body = json!({ "schemas": schemas, "Operations": operations });
    match rig.read("POST", "/Bulk", None, &body) {
        ScimRequest::Bulk(bulk) => bulk,
        other => panic!("{other:?}"),
    }
}

/// Carries out a Bulk as a client with that token, at a time: the answers, in the order of the writes.
async fn run(rig: &Rig, token: &[u8; 32], after_ms: i64, operations: Value) -> Vec<ScimAnswer> {
    let mut bulk = bulk(rig, operations);
    let mut answers = Vec::new();
    loop {
        let piece = bulk.next_piece(&rig.schemas);
        if piece.is_empty() {
            return answers;
        }
        for BulkWrite { place, write, repeat } in piece {
            let repeat = repeat.map(|repeat| Repeat::new(token, &repeat));
            let terms = WriteTerms { repeat, ..WriteTerms::default() };
            let (origin, now) = (Origin::of_actor("scim:test"), NOW.plus_ms(after_ms));
            let written = rig.store.write_on_terms(ORG, HERE, &write, terms, &origin, now).await.unwrap();
            let answer = rig.done(written.map(|written| written.answer)).await.value;
            bulk.settle(place, answer.clone());
            answers.push(answer);
        }
    }
}

fn made(name: &str, key: &str) -> Value {
    let data = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name });
    json!({ "method": "POST", "path": "/Users", "bulkId": name, "data": data, "idempotencyKey": key })
}

fn patched(path: &str, operation: Value, key: &str) -> Value {
    let data =
        json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation] });
    json!({ "method": "PATCH", "path": path, "data": data, "idempotencyKey": key })
}

fn status(answer: &ScimAnswer) -> u16 {
    match answer {
        Ok(Outcome::Created(_)) => 201,
        Ok(_) => 200,
        Err(refusal) => refusal.status().as_u16(),
    }
}

#[tokio::test]
async fn a_repeat_is_answered_from_its_record_also_after_a_crash() {
    let rig = Rig::new().await;
    let first = run(&rig, &TOKEN, 0, json!([made("alice", "k1")])).await;
    let Ok(Outcome::Created(alice)) = &first[0] else { panic!("{first:?}") };
    let seq = rig.store.last_seq().await.unwrap();
    let rig = rig.reopened().await;
    assert_eq!(run(&rig, &TOKEN, 1_000, json!([made("alice", "k1")])).await, first);
    assert_eq!(rig.store.last_seq().await.unwrap(), seq, "nothing was written");
    // Another token, another key, other words, no key: each is carried out, and the name is taken.
    for (token, operation) in
        [([2; 32], made("alice", "k1")), (TOKEN, made("alice", "k2")), (TOKEN, made("ALICE", "k1"))]
    {
        assert_eq!(status(&run(&rig, &token, 1_000, json!([operation])).await[0]), 409);
    }
    // The record is as long as it says, and not longer.
    assert_eq!(status(&run(&rig, &TOKEN, 24 * HOUR - 1, json!([made("alice", "k1")])).await[0]), 201);
    assert_eq!(status(&run(&rig, &TOKEN, 24 * HOUR, json!([made("alice", "k1")])).await[0]), 409);
    // Whatever changed the resource meanwhile ends it too.
    rig.patch(&user_path(alice), json!([{ "op": "add", "path": "title", "value": "T" }]))
        .await
        .value
        .unwrap();
    assert_eq!(status(&run(&rig, &TOKEN, 1_000, json!([made("alice", "k1")])).await[0]), 409);
    rig.delete(&user_path(alice)).await.value.unwrap();
    let again = run(&rig, &TOKEN, 1_000, json!([made("alice", "k1")])).await;
    assert_eq!(status(&again[0]), 201, "it was removed: the words are carried out");
}

#[tokio::test]
async fn a_condition_that_its_own_change_made_untrue_is_met_by_the_record() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let retitle = |tag: &str| {
        let mut operation =
            patched(&user_path(&alice), json!({ "op": "replace", "path": "title", "value": "T" }), "t");
        operation["version"] = tag.into();
        operation
    };
    for expected in [200, 200] {
        assert_eq!(status(&run(&rig, &TOKEN, 0, json!([retitle("W/\"1\"")])).await[0]), expected);
    }
    assert_eq!(status(&run(&rig, &TOKEN, 0, json!([retitle("W/\"7\"")])).await[0]), 412);
    // A group's changes are planned before they are written, and met there.
    let group = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "crew" });
    let crew = rig.post("/Groups", group).await;
    let path = format!("/Groups/{}", crew.id.as_str());
    let mut add = patched(
        &path,
        json!({ "op": "add", "path": "members", "value": [{ "value": alice.id.as_str() }] }),
        "g",
    );
    add["version"] = "W/\"1\"".into();
    for _ in 0..2 {
        assert_eq!(status(&run(&rig, &TOKEN, 0, json!([add])).await[0]), 200);
    }
    assert_eq!(rig.get(&path).await.unwrap().meta.version.0, 2);
}

#[tokio::test]
async fn what_takes_access_away_always_runs_again() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let out =
        patched(&user_path(&alice), json!({ "op": "replace", "path": "active", "value": false }), "out");
    let gone = json!({ "method": "DELETE", "path": user_path(&alice), "idempotencyKey": "gone" });
    for _ in 0..2 {
        assert_eq!(status(&run(&rig, &TOKEN, 0, json!([out])).await[0]), 200);
        // Brought back in between: the repeat means it.
        rig.set_active(&alice, true).await.value.unwrap();
    }
    assert_eq!(status(&run(&rig, &TOKEN, 0, json!([out])).await[0]), 200);
    assert_eq!(rig.get(&user_path(&alice)).await.unwrap().resource.active(), Some(false));
    assert_eq!(status(&run(&rig, &TOKEN, 0, json!([gone])).await[0]), 200);
    assert_eq!(status(&run(&rig, &TOKEN, 0, json!([gone])).await[0]), 404);
}

#[tokio::test]
async fn a_circle_that_was_closed_is_repeated_as_a_whole() {
    let rig = Rig::new().await;
    let group = |name: &str, member: &str| {
        let data = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": name,
            "members": [{ "value": format!("bulkId:{member}") }] });
        json!({ "method": "POST", "path": "/Groups", "bulkId": name, "data": data, "idempotencyKey": name })
    };
    let circle = json!([group("a", "b"), group("b", "a")]);
    let first = run(&rig, &TOKEN, 0, circle.clone()).await;
    assert_eq!(first.iter().map(status).collect::<Vec<_>>(), [201, 201, 200]);
    let seq = rig.store.last_seq().await.unwrap();
    let again = run(&rig, &TOKEN, 0, circle).await;
    assert_eq!(again.iter().map(status).collect::<Vec<_>>(), [201, 201, 200]);
    assert_eq!(rig.store.last_seq().await.unwrap(), seq, "nothing was written");
}

#[tokio::test]
async fn records_are_tidied_away() {
    let rig = Rig::new().await;
    run(&rig, &TOKEN, 0, json!([made("alice", "k1"), made("bob", "k2")])).await;
    let kept = portcullis_store::Retention::new(2 * HOUR);
    assert_eq!(rig.store.tidy(NOW.plus_ms(24 * HOUR - 1), kept).await.unwrap(), 0);
    assert_eq!(rig.store.tidy(NOW.plus_ms(24 * HOUR), kept).await.unwrap(), 2);
}
