//! Searching and paging: what filters find, in which order pages come.

use portcullis_policy::ResourceId;
use portcullis_scim::{PagePlace, ScimError};
use serde_json::json;

use crate::support::{ELSEWHERE, Rig, USER, user, user_path};

fn query(filter: &str) -> String {
    let encoded: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("/Users?filter={encoded}")
}

async fn found(rig: &Rig, filter: &str) -> Vec<String> {
    let page = rig.list(&query(filter)).await;
    assert_eq!(usize::try_from(page.total).unwrap(), page.records.len(), "{filter}");
    page.records.iter().map(|record| record.resource.user_name().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn filters_find_by_any_attribute_in_the_order_of_creation() {
    let rig = Rig::new().await;
    let people = [
        (
            "zoe",
            json!([{ "type": "work", "value": "z@corp.test" }, { "type": "home", "value": "z@home.test" }]),
            "Sand",
        ),
        (
            "adam",
            json!([{ "type": "home", "value": "z@corp.test" }, { "type": "work", "value": "a@corp.test" }]),
            "SAND",
        ),
        ("mia", json!([{ "type": "work", "value": "m@corp.test" }]), "Lind"),
    ];
    for (name, emails, family) in people {
        let body = json!({
            "schemas": [USER], "userName": name, "emails": emails, "name": { "familyName": family },
            "externalId": format!("Ext-{name}"), "active": name != "mia",
        });
        rig.post("/Users", body).await;
    }
    assert_eq!(found(&rig, "name.familyName eq \"sand\"").await, ["zoe", "adam"]);
    assert_eq!(found(&rig, "USERNAME EQ \"ZOE\"").await, ["zoe"]);
    assert_eq!(found(&rig, "externalId eq \"Ext-zoe\"").await, ["zoe"]);
    assert!(found(&rig, "externalId eq \"ext-zoe\"").await.is_empty(), "externalId is caseExact");
    assert_eq!(found(&rig, "active eq true").await, ["zoe", "adam"]);
    assert_eq!(found(&rig, "active eq false").await, ["mia"]);
    // A filter in brackets is about one element; two conditions beside each other are not.
    assert_eq!(found(&rig, "emails[type eq \"work\" and value eq \"z@corp.test\"]").await, ["zoe"]);
    assert_eq!(found(&rig, "emails[type eq \"work\"].value eq \"z@corp.test\"").await, ["zoe"]);
    assert_eq!(
        found(&rig, "emails.type eq \"work\" and emails.value eq \"z@corp.test\"").await,
        ["zoe", "adam"]
    );
    assert_eq!(found(&rig, "emails eq \"m@corp.test\"").await, ["mia"]);
    assert_eq!(found(&rig, "userName eq \"zoe\" and active eq false").await, Vec::<String>::new());
    let zoe = rig.list(&query("userName eq \"zoe\"")).await.records[0].id.clone();
    assert_eq!(found(&rig, &format!("id eq \"{zoe}\" and name.familyName eq \"Sand\"")).await, ["zoe"]);
}

#[tokio::test]
async fn searches_stay_in_their_directory_and_kind() {
    let rig = Rig::new().await;
    rig.write_in(ELSEWHERE, "POST", "/Users", None, user("alice")).await.value.unwrap();
    rig.add_group("alice", &[]).await;
    assert!(found(&rig, "userName eq \"alice\"").await.is_empty());
    assert!(found(&rig, "displayName eq \"alice\"").await.is_empty());
    assert_eq!(rig.list("/Groups?filter=displayName%20eq%20%22ALICE%22").await.total, 1);
}

#[tokio::test]
async fn values_are_values_whatever_they_hold() {
    let rig = Rig::new().await;
    let names = ["o'brien", "a%b_c", "x\" or \"1\" eq \"1", "\\", "né", "z'); drop table resource; --"];
    for name in names {
        rig.add_user(name).await;
    }
    for name in names {
        let filter = format!("userName eq {}", json!(name));
        assert_eq!(found(&rig, &filter).await, [name]);
    }
    assert!(found(&rig, "userName eq \"%\"").await.is_empty());
    assert!(found(&rig, "userName eq \"_____\"").await.is_empty());
}

#[tokio::test]
async fn what_changed_is_found_by_its_new_value_only() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let operations = json!([{ "op": "replace", "path": "userName", "value": "alina" }]);
    rig.patch(&user_path(&alice), operations).await.value.unwrap();
    assert!(found(&rig, "userName eq \"alice\"").await.is_empty());
    assert_eq!(found(&rig, "userName eq \"alina\"").await, ["alina"]);
}

#[tokio::test]
async fn pages_are_stable_and_whole() {
    let rig = Rig::new().await;
    let mut made: Vec<ResourceId> = Vec::new();
    for n in 0..25 {
        // Names in an order that is not that of creation.
        made.push(rig.add_user(&format!("user{:02}", (n * 7) % 25)).await.id);
    }
    let mut seen = Vec::new();
    for start in [1, 11, 21] {
        let page = rig.list(&format!("/Users?startIndex={start}&count=10")).await;
        assert_eq!((page.total, page.place), (25, PagePlace::Index(start)));
        seen.extend(page.records.into_iter().map(|record| record.id));
    }
    assert_eq!(seen, made);
    let ends =
        [("startIndex=26", 0), ("startIndex=999999999999", 0), ("count=0", 0), ("startIndex=25&count=9", 1)];
    for (parameters, length) in ends {
        let page = rig.list(&format!("/Users?{parameters}")).await;
        assert_eq!((page.total, page.records.len()), (25, length), "{parameters}");
    }
}

/// A page ends where its groups have 20,000 members in all, long before as many groups as were asked for.
#[tokio::test]
async fn a_page_is_bounded_by_what_its_groups_hold() {
    let rig = Rig::new().await;
    let mut ids = Vec::new();
    for n in 0..250 {
        ids.push(rig.add_user(&format!("user{n}")).await.id);
    }
    let everybody: Vec<&ResourceId> = ids.iter().collect();
    for n in 0..82 {
        rig.add_group(&format!("crew{n}"), &everybody).await;
    }
    let page = rig.list("/Groups?count=200").await;
    assert_eq!((page.records.len(), page.total), (80, 82));
    let rest = rig.list("/Groups?startIndex=81&count=200").await;
    assert_eq!(rest.records.len(), 2);
    assert_eq!(rig.list("/Groups?count=200&excludedAttributes=members").await.records.len(), 82);
}

#[tokio::test]
async fn one_is_404_by_any_other_id() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    for id in ["x", "%27%20or%201=1", "00000000-0000-7000-8000-000000000000"] {
        assert!(matches!(rig.get(&format!("/Users/{id}")).await, Err(ScimError::NotFound { .. })));
    }
}
