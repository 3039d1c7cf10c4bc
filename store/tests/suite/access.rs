//! What a write means for access: the changes it states, which `session` enforces (rules R2 and R5).

use portcullis_policy::{AccountId, Change, Generation};
use portcullis_scim::{Outcome, ResourceRecord};
use serde_json::{Value, json};

use crate::support::{Done, ORG, Rig, USER, user, user_path};

async fn account(rig: &Rig, name: &str) -> AccountId {
    let users = rig.store.user_list(ORG, None, 100).await.unwrap();
    users.iter().find(|user| user.name == name).unwrap().account
}

fn out<T>(done: &Done<T>) -> Option<(AccountId, Generation)> {
    done.changes.iter().find_map(|change| match change {
        Change::Out(account, generation) => Some((*account, *generation)),
        _ => None,
    })
}

#[tokio::test]
async fn every_shape_of_inactive_puts_out() {
    let put = json!({ "schemas": [USER], "userName": "alice", "active": false });
    let shapes = [
        ("PUT", put),
        ("PATCH", json!([{ "op": "replace", "value": { "active": false } }])),
        ("PATCH", json!([{ "op": "Replace", "path": "active", "value": "False" }])),
        ("PATCH", json!([{ "op": "add", "path": "active", "value": false }])),
        ("PATCH", json!([{ "op": "remove", "path": "active" }])),
    ];
    for (method, shape) in shapes {
        let rig = Rig::new().await;
        let alice = rig.add_user("alice").await;
        let (hash, signed_in) = rig.sign_in("s1", "alice").await;
        let path = user_path(&alice);
        let done = match method {
            "PUT" => rig.put(&path, shape.clone()).await,
            _ => rig.patch(&path, shape.clone()).await,
        };
        let Ok(Outcome::Changed(after)) = &done.value else { panic!("{shape}: {:?}", done.value) };
        let is_removed = shape[0]["op"] == "remove";
        assert_eq!(after.resource.active(), (!is_removed).then_some(false), "{shape}");
        assert_eq!(out(&done), Some((signed_in.account, Generation(1))), "{shape}");
        assert!(done.takes_away && !rig.is_in(&hash).await, "{shape}");
        rig.get(&path).await.unwrap(); // still visible
    }
}

#[tokio::test]
async fn who_has_no_active_is_out_until_somebody_says_true() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let (hash, signed_in) = rig.sign_in("s1", "alice").await;
    let path = user_path(&alice);
    let removed = rig.patch(&path, json!([{ "op": "remove", "path": "active" }])).await;
    assert_eq!(out(&removed), Some((signed_in.account, Generation(1))));
    // Neither what is sent back as it was read nor any other change lets anybody in, and each puts out like the first.
    let read: Value = serde_json::from_str(&rig.get(&path).await.unwrap().resource.to_json()).unwrap();
    let mut echoed = read.clone();
    echoed["schemas"] = json!([USER]);
    let retitled = json!([{ "op": "add", "path": "title", "value": "Clerk" }]);
    for done in
        [rig.put(&path, echoed.clone()).await, rig.patch(&path, retitled).await, rig.put(&path, echoed).await]
    {
        assert!(matches!(done.value, Ok(Outcome::Changed(_))), "{:?}", done.value);
        assert_eq!(out(&done), Some((signed_in.account, Generation(1))));
    }
    assert!(!rig.is_in(&hash).await && rig.get(&path).await.unwrap().resource.active().is_none());
    for (filter, is_found) in
        [("active eq true", false), ("active eq false", false), ("not (active pr)", true)]
    {
        let page = rig.list(&format!("/Users?filter={}", filter.replace(' ', "%20"))).await;
        assert_eq!(page.records.len(), usize::from(is_found), "{filter}");
    }
    rig.set_active(&alice, true).await.value.unwrap();
    assert!(!rig.is_in(&hash).await, "sessions of before stay dead");
    rig.sign_in("s1", "alice").await;
}

#[tokio::test]
async fn a_repeat_changes_nothing_and_puts_out_like_the_first() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let first = rig.set_active(&alice, false).await;
    let again = rig.set_active(&alice, false).await;
    assert_eq!(out(&first), out(&again));
    assert!(again.takes_away);
    assert_eq!(first.seq, again.seq, "nothing was written");
    let (Ok(Outcome::Changed(first)), Ok(Outcome::Changed(again))) = (first.value, again.value) else {
        panic!()
    };
    assert_eq!(first.meta, again.meta);
}

#[tokio::test]
async fn a_late_repeat_leaves_a_fresh_session_alone() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let (old, _) = rig.sign_in("s1", "alice").await;
    let first = rig.set_active(&alice, false).await;
    rig.set_active(&alice, true).await.value.unwrap();
    let (fresh, signed_in) = rig.sign_in("s1", "alice").await;
    assert!(!rig.is_in(&old).await, "old sessions stay dead");
    assert!(rig.is_in(&fresh).await);
    let (_, generation) = out(&first).unwrap();
    assert!(signed_in.generation >= generation, "the change, brought again, does not touch it");
}

#[tokio::test]
async fn re_activation_keeps_the_id_and_says_nothing() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    rig.set_active(&alice, false).await.value.unwrap();
    let done = rig.set_active(&alice, true).await;
    assert!(done.changes.is_empty() && !done.takes_away, "{:?}", done.changes);
    let Ok(Outcome::Changed(back)) = done.value else { panic!() };
    assert_eq!(back.id, alice.id);
}

#[tokio::test]
async fn any_write_that_leaves_the_user_inactive_names_them() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    rig.set_active(&alice, false).await.value.unwrap();
    let path = user_path(&alice);
    let rename = json!([{ "op": "replace", "path": "displayName", "value": "A" }]);
    assert!(out(&rig.patch(&path, rename).await).is_some());
    // A PUT without `active` neither puts out nor brings back.
    let done = rig.put(&path, json!({ "schemas": [USER], "userName": "alice" })).await;
    assert!(out(&done).is_some());
    let Ok(Outcome::Changed(after)) = &done.value else { panic!() };
    assert_eq!(after.resource.active(), Some(false));
    // A refused write too.
    rig.add_user("bob").await;
    let done = rig.put(&path, json!({ "schemas": [USER], "userName": "bob" })).await;
    assert!(done.value.is_err() && out(&done).is_some());
}

#[tokio::test]
async fn a_put_without_active_leaves_an_active_user_in() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let (hash, _) = rig.sign_in("s1", "alice").await;
    let done =
        rig.put(&user_path(&alice), json!({ "schemas": [USER], "userName": "alice", "title": "x" })).await;
    assert_eq!(out(&done), None);
    assert!(rig.is_in(&hash).await);
}

#[tokio::test]
async fn what_describes_is_reconsidered_and_nothing_is_said_where_nothing_changes() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let id = account(&rig, "alice").await;
    let rename = json!([{ "op": "replace", "path": "displayName", "value": "A" }]);
    let done = rig.patch(&user_path(&alice), rename.clone()).await;
    assert_eq!(done.changes, [Change::Reconsider(id)]);
    let again = rig.patch(&user_path(&alice), rename).await;
    assert!(again.changes.is_empty() && !again.takes_away);
    let (Ok(Outcome::Changed(one)), Ok(Outcome::Changed(two))) = (done.value, again.value) else { panic!() };
    assert_eq!(one.meta, two.meta, "version and lastModified stay");
}

#[tokio::test]
async fn a_new_user_concerns_nobody() {
    let rig = Rig::new().await;
    let done = rig.write("POST", "/Users", user("alice")).await;
    assert!(done.changes.is_empty() && !done.takes_away);
}

#[tokio::test]
async fn an_account_in_memory_hears_what_the_rows_say() {
    let rig = Rig::new().await;
    let alice: ResourceRecord = rig.add_user("alice").await;
    let id = account(&rig, "alice").await;
    let before = rig.store.read_description(ORG, id).await.unwrap().unwrap();
    assert!(before.active);
    assert_eq!(before.resource, Some((crate::support::HERE, alice.id.clone())), "what holds are set on (R6)");
    let done = rig.set_active(&alice, false).await;
    let after = rig.store.read_description(ORG, id).await.unwrap().unwrap();
    assert!(!after.active && after.at.0 == done.seq && after.at > before.at);
    assert_eq!(after.generation, out(&done).unwrap().1);
    rig.delete(&user_path(&alice)).await.value.unwrap();
    let gone = rig.store.read_description(ORG, id).await.unwrap().unwrap();
    assert!(!gone.active && gone.generation > after.generation);
}
