//! SCIM writes: versions, uniqueness, nothing by halves; and what three identity providers really send, in a row.

use portcullis_policy::ResourceId;
use portcullis_scim::{Outcome, ResourceRecord, ScimError};
use serde_json::{Value, json};

use crate::support::{Done, ELSEWHERE, HERE, Rig, USER, group_path, user, user_path};

fn changed(answer: portcullis_store::ScimAnswer) -> ResourceRecord {
    match answer {
        Ok(Outcome::Changed(record)) => record,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_condition_on_the_version_is_kept() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let crew = rig.add_group("crew", &[]).await;
    let stale = alice.meta.version.to_string();
    let title = |title: &str| {
        let mut body = user("alice");
        body["title"] = json!(title);
        body
    };
    let fresh = changed(rig.put(&user_path(&alice), title("x")).await.value).meta.version.to_string();
    assert_ne!(stale, fresh);
    for (method, body) in [("PUT", title("y")), ("DELETE", Value::Null)] {
        let done = rig.write_in(HERE, method, &user_path(&alice), Some(&stale), body).await;
        assert_eq!(done.value, Err(ScimError::PreconditionFailed { version: fresh.clone() }), "{method}");
        assert!(done.changes.is_empty());
    }
    let done = rig.write_in(HERE, "DELETE", &group_path(&crew), Some("W/\"9\""), Value::Null).await;
    assert!(matches!(done.value, Err(ScimError::PreconditionFailed { .. })));
    let done = rig.write_in(HERE, "PUT", &user_path(&alice), Some(&fresh), title("y")).await;
    changed(done.value);
    let done = rig.write_in(HERE, "DELETE", &user_path(&alice), Some("*"), Value::Null).await;
    assert_eq!(done.value, Ok(Outcome::Deleted));
}

#[tokio::test]
async fn a_refused_write_has_changed_nothing() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    rig.add_user("bob").await;
    let before = rig.store.last_seq().await.unwrap();
    let operations = json!([
        { "op": "replace", "path": "displayName", "value": "changed" },
        { "op": "replace", "path": "emails[type eq \"home\"]", "value": { "value": "x@y.test" } },
    ]);
    let refused: [Done<_>; 4] = [
        rig.patch(&user_path(&alice), operations).await,
        rig.put(&user_path(&alice), user("bob")).await,
        rig.write("POST", "/Users", user("bob")).await,
        rig.put("/Users/unknown", user("carol")).await,
    ];
    for done in refused {
        assert!(done.value.is_err() && done.changes.is_empty(), "{:?}", done.value);
    }
    assert_eq!(rig.store.last_seq().await.unwrap(), before);
    assert_eq!(rig.get(&user_path(&alice)).await.unwrap(), alice);
}

#[tokio::test]
async fn another_directorys_id_is_404() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let crew = rig.add_group("crew", &[&alice.id]).await;
    for path in [user_path(&alice), group_path(&crew)] {
        assert!(matches!(rig.find_in(ELSEWHERE, &path).await, Err(ScimError::NotFound { .. })));
        let done = rig.write_in(ELSEWHERE, "DELETE", &path, None, Value::Null).await;
        assert!(matches!(done.value, Err(ScimError::NotFound { .. })) && done.changes.is_empty());
    }
    // And a user is no group.
    let wrong = format!("/Groups/{}", alice.id);
    assert!(matches!(rig.delete(&wrong).await.value, Err(ScimError::NotFound { .. })));
    assert!(matches!(rig.get(&wrong).await, Err(ScimError::NotFound { .. })));
    let same_name = rig.write_in(ELSEWHERE, "POST", "/Users", None, user("alice")).await;
    assert!(matches!(same_name.value, Ok(Outcome::Created(_))), "names are a directory's own");
}

#[tokio::test]
async fn a_password_is_nowhere_in_the_file() {
    let rig = Rig::new().await;
    let mut body = user("alice");
    body["password"] = json!("q7-Placeholder");
    let alice = rig.post("/Users", body).await;
    let operations = json!([{ "op": "replace", "value": { "password": "q7-Placeholder", "active": true } }]);
    rig.patch(&user_path(&alice), operations).await.value.unwrap();
    rig.store.close().await;
    for entry in std::fs::read_dir(rig.path.parent().unwrap()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(14).any(|window| window == b"q7-Placeholder"));
    }
}

/// One life of a user at an IdP: the id must stay, and what each step left must be what the IdP expects.
async fn is_active(rig: &Rig, id: &ResourceId) -> bool {
    rig.get(&format!("/Users/{id}")).await.unwrap().resource.active().unwrap()
}

#[tokio::test]
async fn okta_creates_updates_deactivates_and_reactivates() {
    let rig = Rig::new().await;
    assert_eq!(rig.list("/Users?startIndex=1&count=2").await.total, 0);
    let look_up = "/Users?filter=userName%20eq%20%22MIRA@corp.test%22&startIndex=1&count=100";
    assert_eq!(rig.list(look_up).await.total, 0);
    let body = json!({
        "schemas": [USER], "userName": "mira@corp.test",
        "name": { "givenName": "Mira", "familyName": "Sand" },
        "emails": [{ "primary": true, "value": "mira@corp.test", "type": "work" }],
        "displayName": "Mira Sand", "locale": "en-US", "externalId": "00u8mira2k", "groups": [],
        "password": "q7-Placeholder", "active": true,
    });
    let mira = rig.post("/Users", body.clone()).await;
    assert_eq!(rig.list(look_up).await.records[0].id, mira.id, "letter case does not matter");
    let path = user_path(&mira);
    let mut update = body.clone();
    update["title"] = json!("Engineer");
    update["id"] = json!(mira.id.as_str());
    assert_eq!(changed(rig.put(&path, update).await.value).resource.text_at("title"), Some("Engineer"));
    let (hash, _) = rig.sign_in("00u8mira2k", "mira@corp.test").await;
    let done = rig.patch(&path, json!([{ "op": "replace", "value": { "active": false } }])).await;
    assert!(done.takes_away && !rig.is_in(&hash).await);
    rig.patch(&path, json!([{ "op": "replace", "value": { "active": true } }])).await.value.unwrap();
    assert!(is_active(&rig, &mira.id).await);

    // Group push: the readOnly id repeated, removal and addition in one request, then the whole list.
    let crew = rig.add_group("Platform", &[]).await;
    let operations = json!([
        { "op": "replace", "value": { "id": crew.id.as_str(), "displayName": "Platform" } },
        { "op": "add", "path": "members", "value": [{ "value": mira.id.as_str(), "display": "mira@corp.test" }] },
    ]);
    assert_eq!(changed(rig.patch(&group_path(&crew), operations).await.value).resource.members().count(), 1);
    let operations = json!([{ "op": "replace", "path": "members", "value": [] }]);
    assert_eq!(changed(rig.patch(&group_path(&crew), operations).await.value).resource.members().count(), 0);
}

#[tokio::test]
async fn entra_in_both_dialects() {
    for optimised in [false, true] {
        let rig = Rig::new().await;
        assert_eq!(rig.list("/Users?filter=userName+eq+%22b5f1%22").await.total, 0);
        let body = json!({
            "schemas": [USER, "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
            "userName": "joy@corp.test", "externalId": "joy", "active": true,
            "emails": [{ "primary": true, "type": "work", "value": "joy@corp.test" }],
            "meta": { "resourceType": "User" }, "title": null, "roles": [],
        });
        let joy = rig.post("/Users", body).await;
        let path = user_path(&joy);
        let by_mail = "/Users?filter=emails%5Btype%20eq%20%22work%22%5D.value%20eq%20%22joy@corp.test%22";
        assert_eq!(rig.list(by_mail).await.records[0].id, joy.id);
        let update = if optimised {
            json!([{ "op": "replace", "value": { "displayName": "Joy Young", "name.givenName": "Joyce",
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber": "E-78" } }])
        } else {
            json!([
                { "op": "Replace", "path": "displayName", "value": "Joy Young" },
                { "op": "Add", "path": "name.givenName", "value": "Joyce" },
                { "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "joy.y@corp.test" },
                { "op": "Add", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber", "value": "E-78" },
            ])
        };
        let after = changed(rig.patch(&path, update).await.value);
        assert_eq!(after.resource.text_at("name.givenName"), Some("Joyce"));
        let number = "/Users?filter=urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber%20eq%20%22E-78%22";
        assert_eq!(rig.list(number).await.total, 1);
        let off = if optimised {
            json!([{ "op": "replace", "path": "active", "value": false }])
        } else {
            json!([{ "op": "Replace", "path": "active", "value": "False" }])
        };
        assert!(rig.patch(&path, off).await.takes_away);
        assert!(!is_active(&rig, &joy.id).await);
        let on = json!([{ "op": "Replace", "path": "active", "value": "True" }]);
        rig.patch(&path, on).await.value.unwrap();
        assert!(is_active(&rig, &joy.id).await);

        let crew = rig.add_group("crew", &[]).await;
        let add = json!([{ "op": "Add", "path": "members", "value": [{ "$ref": null, "value": joy.id.as_str() }] }]);
        rig.patch(&group_path(&crew), add).await.value.unwrap();
        let check = format!(
            "/Groups?filter=id%20eq%20%22{}%22%20and%20members.value%20eq%20%22{}%22&attributes=id",
            crew.id, joy.id
        );
        assert_eq!(rig.list(&check).await.total, 1);
        let remove = if optimised {
            json!([{ "op": "remove", "path": format!("members[value eq \"{}\"]", joy.id) }])
        } else {
            json!([{ "op": "Remove", "path": "members", "value": [{ "$ref": null, "value": joy.id.as_str() }] }])
        };
        rig.patch(&group_path(&crew), remove).await.value.unwrap();
        assert_eq!(rig.list(&check).await.total, 0);

        assert_eq!(rig.delete(&path).await.value, Ok(Outcome::Deleted));
        assert!(matches!(rig.delete(&path).await.value, Err(ScimError::NotFound { .. })));
    }
}

#[tokio::test]
async fn jumpcloud_makes_and_deletes_its_test_user_and_group() {
    let rig = Rig::new().await;
    assert_eq!(rig.list("/Users").await.total, 0);
    let test = rig.add_user("jc-test@corp.test").await;
    let group = rig.add_group("jc-test", &[&test.id]).await;
    let remove = json!([{ "op": "remove", "path": "members", "value": [{ "value": test.id.as_str() }] }]);
    rig.patch(&group_path(&group), remove).await.value.unwrap();
    rig.put(
        &user_path(&test),
        json!({ "schemas": [USER], "userName": "jc-test@corp.test", "active": false }),
    )
    .await
    .value
    .unwrap();
    assert_eq!(rig.delete(&user_path(&test)).await.value, Ok(Outcome::Deleted));
    assert_eq!(rig.delete(&group_path(&group)).await.value, Ok(Outcome::Deleted));
    assert_eq!(rig.list("/Users").await.total, 0);
    // And again on the next test of the connection.
    rig.add_user("jc-test@corp.test").await;
}
