//! Removed and restored users: the name is free at once, the id comes back only to the same person.

use portcullis_policy::{Change, Generation};
use portcullis_scim::{Outcome, ResourceRecord, ScimError};
use portcullis_store::AdmissionRefusal;
use serde_json::{Value, json};

use crate::support::{Done, ELSEWHERE, ORG, Rig, USER, user, user_path};

fn with_external_id(name: &str, external_id: &str) -> Value {
    json!({ "schemas": [USER], "userName": name, "externalId": external_id, "active": true })
}

fn is_out<T>(done: &Done<T>) -> bool {
    done.takes_away && done.changes.iter().any(|change| matches!(change, Change::Out(..)))
}

fn generation<T>(done: &Done<T>) -> Generation {
    let out = |change: &Change| match change {
        Change::Out(_, generation) => Some(*generation),
        _ => None,
    };
    done.changes.iter().find_map(out).unwrap()
}

fn created(answer: Result<Outcome, ScimError>) -> ResourceRecord {
    match answer {
        Ok(Outcome::Created(record)) => record,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_removed_user_is_gone_from_every_reading_and_the_name_is_free() {
    let rig = Rig::new().await;
    let alice = rig.post("/Users", with_external_id("alice", "x1")).await;
    let group = rig.add_group("crew", &[&alice.id]).await;
    let (hash, _) = rig.sign_in("s1", "alice").await;
    let done = rig.delete(&user_path(&alice)).await;
    assert!(is_out(&done));
    assert_eq!(done.value, Ok(Outcome::Deleted));
    assert!(!rig.is_in(&hash).await);
    assert!(matches!(rig.get(&user_path(&alice)).await, Err(ScimError::NotFound { .. })));
    assert_eq!(rig.list("/Users").await.total, 0);
    assert_eq!(rig.list("/Users?filter=userName%20eq%20%22alice%22").await.total, 0);
    let after = rig.get(&crate::support::group_path(&group)).await.unwrap();
    assert_eq!(after.resource.members().count(), 0);
    assert!(after.meta.version > group.meta.version, "the group has changed too");
    let other = rig.post("/Users", with_external_id("alice", "x2")).await;
    assert_ne!(other.id, alice.id, "an equal name with another externalId is a new person");
}

#[tokio::test]
async fn whatever_is_said_to_a_tombstone_is_404_and_still_puts_out() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    rig.delete(&user_path(&alice)).await.value.unwrap();
    let path = user_path(&alice);
    let rename = json!([{ "op": "replace", "path": "displayName", "value": "A" }]);
    let more = json!([{ "op": "replace", "value": { "active": true, "displayName": "A" } }]);
    let off = json!([{ "op": "replace", "value": { "active": false } }]);
    let answers = [
        rig.delete(&path).await,
        rig.delete(&path).await,
        rig.put(&path, user("alice")).await,
        rig.patch(&path, rename).await,
        rig.patch(&path, more).await,
        rig.patch(&path, off).await,
    ];
    for done in answers {
        assert!(is_out(&done), "{:?}", done.changes);
        assert!(matches!(done.value, Err(ScimError::NotFound { .. })));
    }
}

#[tokio::test]
async fn a_repeat_does_not_raise_the_generation() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let first = rig.delete(&user_path(&alice)).await;
    let again = rig.delete(&user_path(&alice)).await;
    let out = |done: &Done<_>| done.changes.iter().find(|change| matches!(change, Change::Out(..))).cloned();
    assert_eq!(out(&first), out(&again));
    assert_eq!(first.seq, again.seq, "nothing was written");
}

#[tokio::test]
async fn the_same_external_id_brings_the_person_back() {
    let rig = Rig::new().await;
    let alice = rig.post("/Users", with_external_id("alice", "x1")).await;
    rig.add_group("crew", &[&alice.id]).await;
    let (hash, before) = rig.sign_in("s1", "alice").await;
    let removed = rig.delete(&user_path(&alice)).await;
    let done = rig.write("POST", "/Users", with_external_id("alice.b", "x1")).await;
    assert!(is_out(&done));
    assert!(generation(&done) > generation(&removed), "restoring raises the generation");
    let back = created(done.value);
    assert_eq!(back.id, alice.id);
    assert_eq!(back.resource.user_name(), Some("alice.b"));
    assert!(back.groups.is_empty(), "memberships are given anew");
    assert!(back.meta.version > alice.meta.version);
    assert!(!rig.is_in(&hash).await, "old sessions stay dead");
    assert_eq!(rig.list("/Users?filter=userName%20eq%20%22alice.b%22").await.total, 1);
    let (_, again) = rig.sign_in("s2", "alice.b").await;
    assert_eq!(again.account, before.account);
    assert!(again.is_first, "the links went with the removal");
    let kinds: Vec<_> = rig.store.list_events(crate::support::ORG, 20).await.unwrap();
    assert!(kinds.iter().any(|event| event.kind == "user.restored"));
}

#[tokio::test]
async fn without_any_external_id_the_name_brings_the_person_back() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    rig.delete(&user_path(&alice)).await.value.unwrap();
    assert_eq!(rig.add_user("ALICE").await.id, alice.id);
}

#[tokio::test]
async fn a_look_alike_of_a_removed_name_is_a_new_person() {
    let rig = Rig::new().await;
    let kim = rig.add_user("kim").await;
    rig.delete(&user_path(&kim)).await.value.unwrap();
    assert_ne!(rig.add_user("\u{212a}im").await.id, kim.id);
}

#[tokio::test]
async fn a_name_does_not_bring_back_who_ever_had_an_external_id() {
    let rig = Rig::new().await;
    let alice = rig.post("/Users", with_external_id("alice", "x1")).await;
    // It was taken away before the removal; that it was there once is remembered.
    let operations = json!([{ "op": "remove", "path": "externalId" }]);
    rig.patch(&user_path(&alice), operations).await.value.unwrap();
    rig.delete(&user_path(&alice)).await.value.unwrap();
    let named = rig.add_user("alice").await;
    assert_ne!(named.id, alice.id);
    rig.delete(&user_path(&named)).await.value.unwrap();
    // And a new externalId does not fit a tombstone that never had one.
    assert_ne!(rig.post("/Users", with_external_id("alice", "x9")).await.id, named.id);
}

#[tokio::test]
async fn a_name_that_somebody_removed_had_is_told_when_it_is_used_again() {
    let rig = Rig::new().await;
    let reused = async || {
        let events = rig.store.list_events(ORG, 50).await.unwrap().into_iter();
        let told = events.filter(|event| event.kind == "user.name_reused");
        told.map(|event| (event.subject, event.detail)).collect::<Vec<_>>()
    };
    let alice = rig.post("/Users", with_external_id("alice", "x1")).await;
    rig.delete(&user_path(&alice)).await.value.unwrap();
    let other = rig.post("/Users", with_external_id("alice", "x2")).await;
    let former = json!({ "former": alice.id.as_str() }).to_string();
    let mut due = vec![(other.id.as_str().to_owned(), former.clone())];
    assert_eq!(reused().await, due);
    // By another name it is told too; who is brought back has their own.
    rig.delete(&user_path(&other)).await.value.unwrap();
    rig.post("/Users", with_external_id("alice", "x2")).await;
    assert_eq!(reused().await, due);
    rig.delete(&user_path(&other)).await.value.unwrap();
    let bob = rig.add_user("bob").await;
    rig.patch(&user_path(&bob), json!([{ "op": "replace", "path": "userName", "value": "ALICE" }]))
        .await
        .value
        .unwrap();
    due.insert(0, (bob.id.as_str().to_owned(), json!({ "former": other.id.as_str() }).to_string()));
    assert_eq!(reused().await, due);
    // The same name in another case is not another one.
    let rename = |name: &str| json!([{ "op": "replace", "path": "userName", "value": name }]);
    rig.patch(&user_path(&bob), rename("Alice")).await.value.unwrap();
    assert_eq!(reused().await, due);
    // Somebody who is brought back under somebody else's name.
    let carl = rig.post("/Users", with_external_id("carl", "x3")).await;
    rig.delete(&user_path(&bob)).await.value.unwrap();
    rig.delete(&user_path(&carl)).await.value.unwrap();
    assert_eq!(rig.post("/Users", with_external_id("alice", "x3")).await.id, carl.id);
    due.insert(0, (carl.id.as_str().to_owned(), json!({ "former": bob.id.as_str() }).to_string()));
    assert_eq!(reused().await, due);
}

#[tokio::test]
async fn restoring_is_within_one_directory() {
    let rig = Rig::new().await;
    let alice = rig.post("/Users", with_external_id("alice", "x1")).await;
    rig.delete(&user_path(&alice)).await.value.unwrap();
    let done = rig.write_in(ELSEWHERE, "POST", "/Users", None, with_external_id("alice", "x1")).await;
    assert_ne!(created(done.value).id, alice.id);
    let done = rig.write_in(ELSEWHERE, "DELETE", &user_path(&alice), None, Value::Null).await;
    assert!(matches!(done.value, Err(ScimError::NotFound { .. })));
    assert!(done.changes.is_empty(), "another directory's id says nothing");
}

#[tokio::test]
async fn a_patch_to_active_alone_brings_back() {
    let rig = Rig::new().await;
    let alice = rig.post("/Users", with_external_id("alice", "x1")).await;
    let (hash, _) = rig.sign_in("s1", "alice").await;
    rig.delete(&user_path(&alice)).await.value.unwrap();
    let done = rig.set_active(&alice, true).await;
    assert!(is_out(&done));
    let Ok(Outcome::Changed(back)) = done.value else { panic!("{:?}", done.value) };
    assert_eq!((back.id, back.resource.active()), (alice.id.clone(), Some(true)));
    assert!(!rig.is_in(&hash).await);
    rig.get(&user_path(&alice)).await.unwrap();
    rig.sign_in("s1", "alice").await;
}

#[tokio::test]
async fn a_patch_does_not_bring_back_who_lost_the_name() {
    let rig = Rig::new().await;
    let alice = rig.post("/Users", with_external_id("alice", "x1")).await;
    rig.delete(&user_path(&alice)).await.value.unwrap();
    rig.post("/Users", with_external_id("alice", "x2")).await;
    let done = rig.set_active(&alice, true).await;
    assert!(is_out(&done));
    assert!(matches!(done.value, Err(ScimError::Uniqueness { .. })));
    assert!(rig.get(&user_path(&alice)).await.is_err());
}

#[tokio::test]
async fn restored_inactive_is_still_out() {
    let rig = Rig::new().await;
    let alice = rig.post("/Users", with_external_id("alice", "x1")).await;
    rig.delete(&user_path(&alice)).await.value.unwrap();
    let mut body = with_external_id("alice", "x1");
    body["active"] = json!(false);
    let done = rig.write("POST", "/Users", body).await;
    assert_eq!(created(done.value).resource.active(), Some(false));
    assert_eq!(rig.try_sign_in(rig.login("s1", "alice")).await.err(), Some(AdmissionRefusal::Inactive));
}

#[tokio::test]
async fn groups_go_for_good() {
    let rig = Rig::new().await;
    let group = rig.add_group("crew", &[]).await;
    let path = crate::support::group_path(&group);
    assert_eq!(rig.delete(&path).await.value, Ok(Outcome::Deleted));
    assert!(matches!(rig.delete(&path).await.value, Err(ScimError::NotFound { .. })));
    assert_ne!(rig.add_group("crew", &[]).await.id, group.id);
}
