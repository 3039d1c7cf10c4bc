//! Groups: who is in them through how many others, and whom a change of one touches.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use portcullis_policy::{AccountId, Change};
use portcullis_scim::{Outcome, ResourceKind, ScimError, ScimRequest, ScimType};
use portcullis_store::{NewUser, Origin, WriteTerms};
use serde_json::{Value, json};

use crate::support::{Done, ELSEWHERE, GROUP, HERE, NOW, ORG, Rig, group_path, user, user_path};

async fn account(rig: &Rig, name: &str) -> AccountId {
    let users = rig.store.user_list(ORG, None, 1_000).await.unwrap();
    users.iter().find(|user| user.name == name).unwrap().account
}

fn reconsidered<T>(done: &Done<T>) -> HashSet<AccountId> {
    let account = |change: &Change| match change {
        Change::Reconsider(account) => *account,
        other => panic!("{other:?}"),
    };
    done.changes.iter().map(account).collect()
}

async fn names(rig: &Rig, account: AccountId) -> Vec<String> {
    let described = rig.store.read_description(ORG, account).await.unwrap().unwrap();
    described.facts.groups.iter().map(|group| group.to_string()).collect()
}

#[tokio::test]
async fn nested_membership_gives_every_group_around_it() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let sre = rig.add_group("sre", &[&alice.id]).await;
    let platform = rig.add_group("platform", &[&sre.id]).await;
    let eng = rig.add_group("eng", &[&platform.id]).await;
    let id = account(&rig, "alice").await;
    assert_eq!(names(&rig, id).await, ["eng", "platform", "sre"]);
    let record = rig.get(&user_path(&alice)).await.unwrap();
    let groups: Vec<_> = record.groups.iter().map(|group| (group.display.as_str(), group.direct)).collect();
    assert_eq!(groups, [("sre", true), ("platform", false), ("eng", false)]);
    // In both ways at once it is direct.
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": alice.id.as_str() }] }]);
    rig.patch(&group_path(&eng), add).await.value.unwrap();
    let record = rig.get(&user_path(&alice)).await.unwrap();
    assert!(record.groups.iter().any(|group| group.display == "eng" && group.direct));
    assert_eq!(record.groups.len(), 3);
}

#[tokio::test]
async fn circles_do_no_harm() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let one = rig.add_group("one", &[&alice.id]).await;
    let two = rig.add_group("two", &[&one.id]).await;
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": two.id.as_str() }, { "value": one.id.as_str() }] }]);
    let done = rig.patch(&group_path(&one), add).await;
    let id = account(&rig, "alice").await;
    assert_eq!(reconsidered(&done), HashSet::from([id]));
    assert_eq!(names(&rig, id).await, ["one", "two"]);
    rig.delete(&group_path(&one)).await.value.unwrap();
    assert!(names(&rig, id).await.is_empty());
}

#[tokio::test]
async fn a_change_reconsiders_whom_it_touches_and_nobody_else() {
    let rig = Rig::new().await;
    let (alice, bob) = (rig.add_user("alice").await, rig.add_user("bob").await);
    let (a, b) = (account(&rig, "alice").await, account(&rig, "bob").await);
    let inner = rig.add_group("inner", &[&alice.id]).await;
    let outer = rig.add_group("outer", &[&bob.id]).await;
    let path = group_path(&outer);

    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": inner.id.as_str() }] }]);
    assert_eq!(
        reconsidered(&rig.patch(&path, add.clone()).await),
        HashSet::from([a]),
        "through the inner one"
    );
    let again = rig.patch(&path, add).await;
    assert!(again.changes.is_empty(), "an add of whoever is there is no change");

    let rename = json!([{ "op": "replace", "value": { "displayName": "Outer" } }]);
    let done = rig.patch(&path, rename).await;
    assert_eq!(reconsidered(&done), HashSet::from([a, b]), "a name concerns all");
    assert!(done.takes_away, "the role may have been bound to the old name");

    let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{}\"]", inner.id) }]);
    let done = rig.patch(&path, remove).await;
    assert_eq!(reconsidered(&done), HashSet::from([a]));
    assert!(done.takes_away);
    assert_eq!(names(&rig, a).await, ["inner"]);
    assert_eq!(reconsidered(&rig.delete(&path).await), HashSet::from([b]));
}

#[tokio::test]
async fn more_than_a_hundred_are_the_whole_organization_in_one_row() {
    let rig = Rig::new().await;
    let mut ids = Vec::new();
    for n in 0..101 {
        ids.push(rig.add_user(&format!("user{n}")).await.id);
    }
    let members = |ids: &[portcullis_policy::ResourceId]| -> Value {
        ids.iter().map(|id| json!({ "value": id.as_str() })).collect()
    };
    let body = json!({ "schemas": [GROUP], "displayName": "most", "members": members(&ids[..100]) });
    let done = rig.write("POST", "/Groups", body).await;
    assert_eq!(done.changes.len(), 100);
    let Ok(Outcome::Created(most)) = done.value else { panic!() };
    let body = json!({ "schemas": [GROUP], "displayName": "all", "members": members(&ids) });
    let done = rig.put(&group_path(&most), body).await;
    assert_eq!(done.changes, [Change::ReconsiderAll(ORG)]);
    let rows = rig.store.changes_after(portcullis_policy::Seq(done.seq - 1), 10).await.unwrap();
    assert_eq!(rows.len(), 1);
}

#[tokio::test]
async fn a_remove_with_a_list_takes_only_those_listed() {
    let rig = Rig::new().await;
    let (alice, bob) = (rig.add_user("alice").await, rig.add_user("bob").await);
    let crew = rig.add_group("crew", &[&alice.id, &bob.id]).await;
    let remove = json!([{ "op": "Remove", "path": "members", "value": [{ "$ref": null, "value": alice.id.as_str() }] }]);
    let done = rig.patch(&group_path(&crew), remove.clone()).await;
    let Ok(Outcome::Changed(after)) = &done.value else { panic!("{:?}", done.value) };
    assert_eq!(after.resource.members().collect::<Vec<_>>(), [bob.id.as_str()]);
    let again = rig.patch(&group_path(&crew), remove).await;
    assert!(again.value.is_ok() && again.changes.is_empty());
}

#[tokio::test]
async fn members_must_be_of_the_directory() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let foreign = rig.write_in(ELSEWHERE, "POST", "/Users", None, user("eve")).await;
    let Ok(Outcome::Created(foreign)) = foreign.value else { panic!() };
    let gone = rig.add_user("gone").await;
    rig.delete(&user_path(&gone)).await.value.unwrap();
    let crew = rig.add_group("crew", &[]).await;
    for stranger in [foreign.id.as_str(), gone.id.as_str(), "no-such-id"] {
        let members = json!([{ "value": alice.id.as_str() }, { "value": stranger }]);
        let add = json!([{ "op": "add", "path": "members", "value": members }]);
        let done = rig.patch(&group_path(&crew), add).await;
        assert_eq!(done.value.unwrap_err().scim_type(), Some(ScimType::InvalidValue));
        let body = json!({ "schemas": [GROUP], "displayName": "other", "members": members });
        let done = rig.write("POST", "/Groups", body).await;
        assert!(matches!(done.value, Err(ScimError::Invalid { .. })));
    }
    assert_eq!(rig.get(&group_path(&crew)).await.unwrap().resource.members().count(), 0);
    assert_eq!(rig.list("/Groups").await.total, 1);
}

#[tokio::test]
async fn a_put_of_a_user_does_not_touch_memberships_and_tells_them() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    rig.add_group("crew", &[&alice.id]).await;
    let mut body = user("alice");
    body["groups"] = json!([]);
    body["title"] = json!("x");
    let Ok(Outcome::Changed(after)) = rig.put(&user_path(&alice), body).await.value else { panic!() };
    assert_eq!(after.groups.len(), 1, "clients work out from it what to remove");
}

#[tokio::test]
async fn an_inactive_user_keeps_memberships() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let crew = rig.add_group("crew", &[&alice.id]).await;
    rig.set_active(&alice, false).await.value.unwrap();
    assert_eq!(rig.get(&group_path(&crew)).await.unwrap().resource.members().count(), 1);
}

#[tokio::test]
async fn members_carry_what_they_are() {
    let rig = Rig::new().await;
    let body = json!({ "schemas": [crate::support::USER], "userName": "alice", "displayName": "Alice A." });
    let alice = rig.post("/Users", body).await;
    let inner = rig.add_group("inner", &[]).await;
    let outer = rig.add_group("outer", &[&alice.id, &inner.id]).await;
    let json: Value = serde_json::from_str(&outer.resource.to_json()).unwrap();
    assert_eq!(
        json["members"],
        json!([
            { "value": alice.id.as_str(), "type": "User", "display": "Alice A." },
            { "value": inner.id.as_str(), "type": "Group", "display": "inner" },
        ])
    );
    let page = rig.list(&format!("/Groups?filter=members.value%20eq%20%22{}%22", alice.id)).await;
    assert_eq!(page.records[0].id, outer.id);
    assert_eq!(page.records[0].resource.kind(), ResourceKind::Group);
}

#[tokio::test]
async fn a_write_concerns_the_group_and_whom_it_names_alone() {
    let rig = Rig::new().await;
    let mut people = Vec::new();
    for name in ["alice", "bob", "carol", "dave"] {
        let id = rig.add_user(name).await.id;
        people.push((id, account(&rig, name).await));
    }
    let [(alice, a), (bob, b), (carol, c), _] = people.as_slice() else { panic!() };
    let inner = rig.add_group("inner", &[alice]).await;
    let other = rig.add_group("other", &[bob]).await;
    let crew = rig.add_group("crew", &[&inner.id]).await;
    let concerned = async |operations: Value| {
        let body =
            json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations });
        let ScimRequest::Write(write) = rig.read("PATCH", &group_path(&crew), None, &body) else { panic!() };
        rig.store.concerned_accounts(ORG, HERE, &write).await.unwrap().into_iter().collect::<HashSet<_>>()
    };
    let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{}\"]", inner.id) }]);
    assert_eq!(concerned(remove).await, HashSet::from([*a]));
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": carol.as_str() }, { "value": other.id.as_str() }] }]);
    assert_eq!(concerned(add).await, HashSet::from([*a, *b, *c]), "also through the other group");
}

/// A removal is not sent back to be planned anew, and what others do to the group meanwhile is kept.
#[tokio::test]
async fn removals_and_additions_of_one_group_at_once_are_all_kept() {
    let rig = Rig::new().await;
    let mut ids = Vec::new();
    for n in 0..12 {
        ids.push(rig.add_user(&format!("user{n}")).await.id);
    }
    let crew = rig.add_group("crew", &ids[..6].iter().collect::<Vec<_>>()).await;
    let path = group_path(&crew);
    let change = |n: usize| {
        let operation = if n < 6 {
            json!([{ "op": "remove", "path": format!("members[value eq \"{}\"]", ids[n]) }])
        } else {
            json!([{ "op": "add", "path": "members", "value": [{ "value": ids[n].as_str() }] }])
        };
        let (rig, path) = (&rig, &path);
        async move { rig.patch(path, operation).await.value.map(drop) }
    };
    for done in futures_util::future::join_all((0..12).map(change)).await {
        done.unwrap();
    }
    let left: HashSet<_> = rig.get(&path).await.unwrap().resource.members().map(str::to_owned).collect();
    assert_eq!(left, ids[6..].iter().map(|id| id.to_string()).collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_one_group_at_once_are_all_kept() {
    let rig = Arc::new(Rig::new().await);
    let crew = rig.add_group("crew", &[]).await;
    let mut tasks = Vec::new();
    for n in 0..24 {
        let user = rig.add_user(&format!("user{n}")).await;
        let (rig, path) = (rig.clone(), group_path(&crew));
        tasks.push(tokio::spawn(async move {
            let member = json!([{ "value": user.id.as_str() }]);
            let add = json!([{ "op": "add", "path": "members", "value": member }]);
            rig.patch(&path, add).await.value.unwrap();
            if n % 2 == 0 {
                let remove = json!([{ "op": "remove", "path": "members", "value": member }]);
                rig.patch(&path, remove).await.value.unwrap();
            } else if n % 3 == 0 {
                rig.delete(&user_path(&user)).await.value.unwrap();
            }
            user.id
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let crew = rig.get(&group_path(&crew)).await.unwrap();
    assert_eq!(crew.resource.members().count(), 24 / 2 - 4);
}

/// Two that set the whole list, and know the version they change: one is first, the other is told.
#[tokio::test]
async fn of_two_changes_of_one_version_one_is_refused() {
    let rig = Rig::new().await;
    let (alice, bob) = (rig.add_user("alice").await, rig.add_user("bob").await);
    for round in 0..20 {
        let crew = rig.add_group(&format!("crew{round}"), &[]).await;
        let tag = crew.meta.version.to_string();
        let path = group_path(&crew);
        let put = |member: &str, tag: Option<&str>| {
            let members = json!([{ "value": member }]);
            let body =
                json!({ "schemas": [GROUP], "displayName": format!("crew{round}"), "members": members });
            let tag = tag.map(str::to_owned);
            let (rig, path) = (&rig, &path);
            async move { rig.write_in(HERE, "PUT", path, tag.as_deref(), body).await.value.is_ok() }
        };
        let (one, other) = tokio::join!(put(alice.id.as_str(), Some(&tag)), put(bob.id.as_str(), Some(&tag)));
        assert!(one != other, "round {round}: {one} {other}");
        let members = async || rig.get(&path).await.unwrap().resource.members().count();
        assert_eq!(members().await, 1);
        // Without a version the later one counts, whole.
        let (one, other) = tokio::join!(put(alice.id.as_str(), None), put(bob.id.as_str(), None));
        assert!(one && other);
        assert_eq!(members().await, 1);
    }
}

/// As many as a test may take; the benchmark has 10,000.
const MEMBERS: usize = 2_000;

#[tokio::test]
async fn thousands_of_members_change_in_one_write() {
    let rig = Rig::new().await;
    let members: Vec<Value> = stream::iter(0..MEMBERS)
        .map(|n| {
            let (rig, origin) = (&rig, Origin::of_actor("test"));
            async move {
                let new = NewUser { user_name: format!("user{n}"), ..NewUser::default() };
                let added = rig.store.user_add(ORG, HERE, new, &origin, NOW).await.unwrap();
                json!({ "value": rig.done(added).await.value.as_str() })
            }
        })
        .buffered(64)
        .collect()
        .await;
    let body = |members: &[Value]| json!({ "schemas": [GROUP], "displayName": "all", "members": members });
    let began = std::time::Instant::now();
    let Ok(Outcome::Created(all)) = rig.write("POST", "/Groups", body(&members)).await.value else {
        panic!()
    };
    println!("a group of {MEMBERS} made: {:?}", began.elapsed());
    let began = std::time::Instant::now();
    let one = json!([{ "op": "remove", "path": "members", "value": [members[17]] }]);
    let done = rig.patch(&group_path(&all), one).await;
    println!("one of {MEMBERS} removed: {:?}", began.elapsed());
    assert_eq!(done.changes.len(), 1);
    let began = std::time::Instant::now();
    let done = rig.put(&group_path(&all), body(&members[..10])).await;
    println!("all but ten removed: {:?}", began.elapsed());
    assert_eq!(done.changes, [Change::ReconsiderAll(ORG)]);
    assert_eq!(rig.get(&group_path(&all)).await.unwrap().resource.members().count(), 10);
}

/// A PATCH that names members by their ids is planned without the others where nobody wants to see them. Whatever it says,
/// it comes to the same.
#[tokio::test]
async fn a_patch_planned_without_the_members_comes_to_the_same() {
    let rig = Rig::new().await;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(rig.add_user(&format!("user{n}")).await.id);
    }
    let groups = [rig.add_group("whole", &[&ids[0]]).await, rig.add_group("apart", &[&ids[0]]).await];
    let mut seed = 7_u64;
    let mut pick = |many: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % many
    };
    for round in 0..150 {
        let operations: Vec<Value> = (0..=pick(3))
            .map(|_| {
                let one = || json!({ "value": ids[0].as_str() });
                let any = json!({ "value": if pick(12) == 0 { "nobody" } else { ids[pick(6)].as_str() } });
                let filter = format!("members[value eq {}]", any["value"]);
                match pick(8) {
                    0 | 1 => json!({ "op": "add", "path": "members", "value": [any, one()] }),
                    2 => json!({ "op": "add", "value": { "members": [any], "externalId": format!("x{round}") } }),
                    3 => json!({ "op": "remove", "path": "members", "value": [any] }),
                    4 | 5 => json!({ "op": "remove", "path": filter }),
                    6 => json!({ "op": "replace", "path": "externalId", "value": format!("y{}", pick(2)) }),
                    _ => json!({ "op": "replace", "path": "members", "value": [any] }),
                }
            })
            .collect();
        let body =
            json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations });
        let mut ends = Vec::new();
        for (group, without_members) in groups.iter().zip([false, true]) {
            let target = format!("/Groups/{}", group.id.as_str());
            let ScimRequest::Write(write) = rig.read("PATCH", &target, None, &body) else { panic!() };
            let terms = WriteTerms { without_members, ..Default::default() };
            let origin = Origin::of_actor("scim:test");
            let written = rig.store.write_on_terms(ORG, HERE, &write, terms, &origin, NOW).await.unwrap();
            let answer = rig.done(written.map(|written| written.answer)).await;
            let stored = rig.get(&target).await.unwrap();
            let members: Vec<String> = stored.resource.members().map(str::to_owned).collect();
            let external = stored.resource.external_id().map(str::to_owned);
            let status = answer.value.as_ref().map_err(|refusal| refusal.status()).map(drop);
            ends.push((members, external, stored.meta.version, status, answer.changes));
        }
        assert_eq!(ends[0], ends[1], "{body}");
    }
}
