//! Tokens of a directory: a hash and no more, kept over a restart, ended early and never late, revoked for ever; and what
//! one that has expired still does.

use portcullis_scim::{ScimError, ScimRequest};
use portcullis_store::{AddedToken, NewToken, Origin, TokenRow, TokenWarning, WriteTerms, tokens_in};

use serde_json::{Value, json};

use crate::support::{ELSEWHERE, HERE, HOUR, NOW, ORG, Rig, user, user_path};

fn new(name: &str, number: u8) -> NewToken {
    NewToken { name: name.to_owned(), hash: [number; 32], expires: NOW.plus_ms(90 * 24 * HOUR) }
}

fn cli() -> Origin {
    Origin::of_actor("cli")
}

async fn add(rig: &Rig, name: &str, number: u8) -> AddedToken {
    rig.done(rig.store.add_token(ORG, HERE, new(name, number), &cli(), NOW).await.unwrap()).await.value
}

async fn added(rig: &Rig, name: &str, number: u8) -> TokenRow {
    match add(rig, name, number).await {
        AddedToken::Added(row) => row,
        other => panic!("{other:?}"),
    }
}

async fn revoke(rig: &Rig, ids: &[i64]) -> Vec<i64> {
    rig.done(rig.store.revoke_tokens(ORG, HERE, ids.to_vec(), &cli(), NOW).await.unwrap()).await.value
}

#[tokio::test]
async fn a_token_is_kept_and_belongs_to_one_directory() {
    let rig = Rig::new().await;
    let okta = added(&rig, "okta", 1).await;
    assert_eq!(add(&rig, "okta", 2).await, AddedToken::NameTaken);
    let entra = added(&rig, "entra", 2).await;
    let rig = rig.reopened().await;
    let kept = rig.store.read_tokens(ORG, HERE).await.unwrap();
    assert_eq!(kept, [okta.clone(), entra]);
    assert_eq!(tokens_in(&rig.path, ORG, HERE).await.unwrap(), kept, "and by whoever only looks");
    assert!(rig.store.read_tokens(ORG, ELSEWHERE).await.unwrap().is_empty());
    let other = rig.store.revoke_tokens(ORG, ELSEWHERE, vec![okta.id], &cli(), NOW).await.unwrap();
    assert!(rig.done(other).await.value.is_empty(), "another directory's order");
}

#[tokio::test]
async fn a_revoked_token_stays_revoked_and_its_name_is_free() {
    let rig = Rig::new().await;
    let first = added(&rig, "okta", 1).await;
    assert_eq!(revoke(&rig, &[first.id]).await, [first.id]);
    assert!(revoke(&rig, &[first.id, 77]).await.is_empty(), "a repeat says nothing");
    let late = rig
        .store
        .rotate_token(ORG, HERE, vec![first.id], new("okta", 2), NOW.plus_ms(HOUR), &cli(), NOW)
        .await
        .unwrap();
    assert!(rig.done(late).await.value.is_none(), "what is revoked is not rotated");
    let second = added(&rig, "okta", 3).await;
    assert!(second.id > first.id);
    let kept = rig.store.read_tokens(ORG, HERE).await.unwrap();
    assert_eq!(kept[0].revoked, Some(NOW));
    let audits = rig.store.list_audits(ORG, 10).await.unwrap();
    let done: Vec<_> =
        audits.iter().rev().map(|audit| (audit.action.as_str(), audit.actor.as_str())).collect();
    assert_eq!(done, [("token.created", "cli"), ("token.revoked", "cli"), ("token.created", "cli")]);
    let text = format!("{audits:?} {:?}", rig.store.list_events(ORG, 10).await.unwrap());
    assert!(!text.contains("0101") && text.contains("token:1"), "no hash in it: {text}");
}

#[tokio::test]
async fn a_rotation_ends_those_before_it_and_never_later_than_they_would() {
    let rig = Rig::new().await;
    let first = added(&rig, "okta", 1).await;
    for (number, until, ends) in [(2, HOUR, HOUR), (3, 5 * HOUR, HOUR)] {
        let until = NOW.plus_ms(until);
        let former = vec![first.id];
        let done =
            rig.store.rotate_token(ORG, HERE, former, new("okta", number), until, &cli(), NOW).await.unwrap();
        let rotated = rig.done(done).await.value.unwrap();
        assert_eq!(rotated.former[0].expires, NOW.plus_ms(ends));
        assert_eq!(rotated.made.expires, NOW.plus_ms(90 * 24 * HOUR));
    }
    assert_eq!(rig.store.read_tokens(ORG, HERE).await.unwrap()[0].expires, NOW.plus_ms(HOUR));
}

#[tokio::test]
async fn uses_and_warnings_are_kept() {
    let rig = Rig::new().await;
    let id = added(&rig, "okta", 1).await.id;
    let later = NOW.plus_ms(HOUR);
    rig.store.save_token_uses(vec![(id, later)]).await.unwrap();
    rig.store.save_token_uses(vec![(id, NOW)]).await.unwrap();
    let warned = rig.store.warn_of_token(ORG, HERE, id, TokenWarning::Expiring, later).await.unwrap();
    rig.done(warned).await;
    let rig = rig.reopened().await;
    let kept = rig.store.read_tokens(ORG, HERE).await.unwrap();
    assert_eq!((kept[0].used, kept[0].warned), (Some(later), Some(later)));
    let events = rig.store.list_events(ORG, 1).await.unwrap();
    assert_eq!((events[0].kind.as_str(), events[0].subject.as_str()), ("token.expiring", "token:1"));
}

#[tokio::test]
async fn there_are_only_so_many() {
    let rig = Rig::new().await;
    for number in 0..100 {
        added(&rig, &format!("t{number}"), number).await;
    }
    assert_eq!(add(&rig, "more", 200).await, AddedToken::TooMany(100));
    revoke(&rig, &[1]).await;
    added(&rig, "more", 200).await;
}

fn group(name: &str, members: &[&str]) -> Value {
    let members: Vec<_> = members.iter().map(|id| json!({ "value": id })).collect();
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": name, "members": members
    })
}

/// A write of somebody who may only take away: the status of its answer.
async fn removal(rig: &Rig, method: &str, target: &str, body: Value) -> u16 {
    let ScimRequest::Write(write) = rig.read(method, target, None, &body) else {
        panic!("{method} {target} is no write")
    };
    let otherwise = ScimError::Unauthorized("expired".to_owned());
    let terms = WriteTerms { otherwise: Some(otherwise), ..WriteTerms::default() };
    let written = rig.store.write_on_terms(ORG, HERE, &write, terms, &cli(), NOW).await.unwrap();
    match rig.done(written.map(|written| written.answer)).await.value {
        Ok(_) => 200,
        Err(refusal) => refusal.status().as_u16(),
    }
}

fn operations(list: Value) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": list })
}

#[tokio::test]
async fn whoever_may_only_take_away_lets_nobody_in() {
    let rig = Rig::new().await;
    let alice = rig.post("/Users", user("alice")).await;
    let bob = rig.post("/Users", user("bob")).await;
    let at = user_path(&alice);
    assert_eq!(removal(&rig, "POST", "/Users", user("eve")).await, 401);
    assert_eq!(removal(&rig, "POST", "/Groups", group("Admins", &[])).await, 401);
    let set = |active: bool| json!({ "op": "replace", "path": "active", "value": active });
    for (list, status) in [
        (json!([{ "op": "replace", "path": "userName", "value": "alice2" }]), 401),
        (json!([{ "op": "replace", "path": "externalId", "value": "another" }]), 401),
        (json!([set(false), set(true)]), 401),
        (json!([set(true)]), 401),
        (json!([set(true), set(false), { "op": "replace", "path": "title", "value": "left" }]), 200),
        (json!([set(false)]), 200),
        (json!([set(true)]), 401),
        // The user is inactive: whom a login would find once somebody makes them active again is not theirs to say.
        (json!([{ "op": "replace", "path": "userName", "value": "alice2" }]), 401),
        (json!([set(false), { "op": "add", "path": "externalId", "value": "mallory" }]), 401),
        (json!([{ "op": "add", "path": "emails", "value": [{ "value": "mallory@corp.test" }] }]), 401),
        (json!([{ "op": "replace", "path": "title", "value": "gone" }]), 200),
    ] {
        assert_eq!(removal(&rig, "PATCH", &at, operations(list.clone())).await, status, "{list}");
    }
    let mut whole = user("alice");
    whole["active"] = true.into();
    assert_eq!(removal(&rig, "PUT", &at, whole.clone()).await, 401);
    whole["active"] = false.into();
    assert_eq!(removal(&rig, "PUT", &at, whole).await, 200);
    assert_eq!(rig.get(&at).await.unwrap().resource.active(), Some(false));
    assert_eq!(removal(&rig, "DELETE", &at, Value::Null).await, 200);
    assert_eq!(removal(&rig, "PATCH", &at, operations(json!([set(true)]))).await, 401, "nor back again");
    assert!(rig.get(&at).await.is_err());
    assert_eq!(removal(&rig, "DELETE", "/Users/nobody", Value::Null).await, 404);
    assert_eq!(removal(&rig, "PUT", &user_path(&bob), user("bob")).await, 401, "active as it was");
}

#[tokio::test]
async fn whoever_may_only_take_away_makes_a_group_smaller_and_nothing_else() {
    let rig = Rig::new().await;
    let [alice, bob, eve] = [
        rig.post("/Users", user("alice")).await,
        rig.post("/Users", user("bob")).await,
        rig.post("/Users", user("eve")).await,
    ];
    let [alice, bob, eve] = [&alice, &bob, &eve].map(|one| one.id.as_str());
    let crew = rig.post("/Groups", group("Crew", &[alice, bob])).await;
    let at = format!("/Groups/{}", crew.id.as_str());
    let member = |op: &str, id: &str| json!({ "op": op, "path": "members", "value": [{ "value": id }] });
    let named = |name: &str| json!({ "op": "replace", "path": "displayName", "value": name });
    for (list, status) in [
        (json!([member("add", eve)]), 401),
        (json!([member("remove", alice), member("add", eve)]), 401),
        (json!([member("remove", alice), named("Admins")]), 401),
        (json!([member("replace", eve)]), 401),
        (json!([{ "op": "remove", "path": format!("members[value eq \"{alice}\"]") }]), 200),
        (json!([member("remove", bob), member("add", bob)]), 200),
    ] {
        assert_eq!(removal(&rig, "PATCH", &at, operations(list.clone())).await, status, "{list}");
    }
    for (body, status) in [
        (group("Admins", &[]), 401),
        (group("Crew", &[bob, eve]), 401),
        (group("Crew", &[alice]), 401),
        (group("Crew", &[bob]), 200),
        (group("Crew", &[]), 200),
    ] {
        assert_eq!(removal(&rig, "PUT", &at, body.clone()).await, status, "{body}");
    }
    assert_eq!(removal(&rig, "DELETE", &at, Value::Null).await, 200);
}
