//! Promise 5: never a silent 200. The life cycles that Okta, Entra and JumpCloud really send, over real sockets.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::rig::directory::{self, DirectoryClient, ENTERPRISE, entra, jumpcloud, okta, user};
use crate::rig::raw::RawSocket;
use crate::rig::stage::Stage;

async fn active(directory: &DirectoryClient, id: &str) -> Value {
    let read = directory.read(id).await;
    assert_eq!(read.status, 200, "{}", read.text());
    read.json()["active"].clone()
}

fn total(found: &Value) -> u64 {
    found["totalResults"].as_u64().unwrap_or_else(|| panic!("no totalResults in {found}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn okta_runs_its_life_cycle() {
    let stage = Stage::start().await;
    let okta_client = &stage.directory;
    let probe = okta_client.send(Method::GET, "/Users?startIndex=1&count=2", None).await;
    assert_eq!((probe.status.as_u16(), total(&probe.json())), (200, 0));
    assert_eq!(total(&okta_client.find("userName eq \"mira@corp.test\"").await), 0);

    let made = okta_client.create(&okta::create("mira@corp.test", "00u8mira2k")).await;
    let id = made["id"].as_str().unwrap();
    assert_eq!(made["active"], true);
    assert!(made.get("password").is_none(), "a password is never echoed");
    let location = made["meta"]["location"].as_str().unwrap();
    assert_eq!(location, format!("{}/Users/{id}", stage.program.settings.scim_base()));
    let again =
        okta_client.send(Method::POST, "/Users", Some(&okta::create("mira@corp.test", "00u8other"))).await;
    assert_eq!((again.status.as_u16(), again.json()["scimType"].clone()), (409, json!("uniqueness")));
    let found = okta_client.find("userName eq \"MIRA@corp.test\"").await;
    assert_eq!(
        (total(&found), found["Resources"][0]["id"].as_str()),
        (1, Some(id)),
        "found with changed letter case"
    );

    // Update is read-modify-write and sends everything back.
    let mut whole = okta_client.read(id).await.json();
    whole["displayName"] = "Mira S.".into();
    let put = okta_client.send(Method::PUT, &format!("/Users/{id}"), Some(&whole)).await;
    assert_eq!((put.status.as_u16(), put.json()["displayName"].clone()), (200, json!("Mira S.")));

    okta_client.deactivate(id).await;
    assert_eq!(active(okta_client, id).await, false);
    okta_client.reactivate(id).await;
    assert_eq!(active(okta_client, id).await, true);

    // Groups: the readOnly id comes along, removal and addition in one request, an empty list empties.
    let group = okta_client.group("Platform", &[]).await;
    let operations =
        json!([okta::rename_group(&group, "Platform")[0], okta::add_member(id, "mira@corp.test")[0]]);
    let patched = okta_client.patch_group(&group, operations).await;
    assert!(patched.status.is_success(), "{}", patched.text());
    assert_eq!(okta_client.read(id).await.json()["groups"][0]["value"], group.as_str());
    assert!(okta_client.patch_group(&group, okta::remove_member(id)).await.status.is_success());
    let groups = okta_client.read(id).await.json()["groups"].clone();
    assert!(groups.is_null() || groups == json!([]), "{groups}");
    let emptied = json!([{ "op": "replace", "path": "members", "value": [] }]);
    assert!(okta_client.patch_group(&group, emptied).await.status.is_success());
    let unlinked = okta_client.send(Method::DELETE, &format!("/Groups/{group}"), None).await;
    assert_eq!(unlinked.status, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn entra_runs_its_life_cycle_in_both_dialects() {
    let dialects: [(&str, Value, Value, Value); 2] = [
        ("old", entra::old_update(), entra::old_deactivate(), entra::old_reactivate()),
        ("aadOptscim062020", entra::new_update(), entra::new_deactivate(), entra::new_reactivate()),
    ];
    for (dialect, update, deactivate, reactivate) in dialects {
        let stage = Stage::start().await;
        let client = &stage.directory;
        assert_eq!(total(&client.find("userName eq \"2f1c9f0e-0000-4000-8000-000000000000\"").await), 0);
        let made = client.create(&entra::create("joy@corp.test", "joy")).await;
        let id = made["id"].as_str().unwrap();
        assert_eq!(made[ENTERPRISE]["department"], "Ops", "{dialect}");
        let by_mail = client.find("emails[type eq \"work\"].value eq \"joy@corp.test\"").await;
        assert_eq!(total(&by_mail), 1, "{dialect}");

        let patched = client.patch(id, update).await;
        assert_eq!(patched.status, 200, "{dialect}: {}", patched.text());
        let now = patched.json();
        assert_eq!(now["displayName"], "Joy V.", "{dialect}");
        assert_eq!(now["name"]["givenName"], "Joyce", "{dialect}");
        assert_eq!(now["emails"][0]["value"], "joyce@corp.test", "{dialect}");
        assert_eq!(now[ENTERPRISE]["department"], "Finance", "{dialect}");

        let group = client.group("Finance", &[]).await;
        assert!(client.patch_group(&group, entra::old_add_member(id)).await.status.is_success(), "{dialect}");
        assert_eq!(client.read(id).await.json()["groups"][0]["display"], "Finance", "{dialect}");
        assert!(
            client.patch_group(&group, entra::old_remove_member(id)).await.status.is_success(),
            "{dialect}"
        );
        assert!(
            client.read(id).await.json().get("groups").is_none_or(|groups| groups == &json!([])),
            "{dialect}"
        );

        let out = client.patch(id, deactivate).await;
        assert_eq!((out.status.as_u16(), out.json()["active"].clone()), (200, json!(false)), "{dialect}");
        let back = client.patch(id, reactivate).await;
        assert_eq!((back.status.as_u16(), back.json()["active"].clone()), (200, json!(true)), "{dialect}");
        assert_eq!(client.delete(id).await, StatusCode::NO_CONTENT, "{dialect}");
        assert_eq!(client.read(id).await.status, 404, "{dialect}");
        assert_eq!(client.delete(id).await, StatusCode::NOT_FOUND, "{dialect}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jumpcloud_runs_its_life_cycle() {
    let stage = Stage::start().await;
    let client = &stage.directory.clone().speaking("application/json");
    assert_eq!(client.send(Method::GET, "/Users", None).await.status, 200);
    // Its connection test makes a user and a group and removes them again.
    let test = client.person("jc-test@corp.test", "jc-test").await;
    let group = client.group("jc-test-group", &[&test]).await;
    assert_eq!(client.send(Method::DELETE, &format!("/Groups/{group}"), None).await.status, 204);
    assert_eq!(client.delete(&test).await, StatusCode::NO_CONTENT);

    let made = client.create(&jumpcloud::create("una@corp.test", "jc-1")).await;
    let id = made["id"].as_str().unwrap();
    for active in [false, true] {
        let body = jumpcloud::put("una@corp.test", "jc-1", id, active);
        let put = client.send(Method::PUT, &format!("/Users/{id}"), Some(&body)).await;
        assert_eq!((put.status.as_u16(), put.json()["active"].clone()), (200, json!(active)));
    }
    let group = client.group("Readers", &[id]).await;
    assert!(client.patch_group(&group, jumpcloud::remove_member(id)).await.status.is_success());
    assert_eq!(client.delete(id).await, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_deleted_comes_back_as_the_same_person_only_with_the_same_external_id() {
    let stage = Stage::start().await;
    let client = &stage.directory;
    let id = client.person("tess@corp.test", "ext-1").await;
    assert_eq!(client.delete(&id).await, StatusCode::NO_CONTENT);
    let restored = client.person("tess@corp.test", "ext-1").await;
    assert_eq!(restored, id, "the same externalId is the same person");
    assert_eq!(client.delete(&id).await, StatusCode::NO_CONTENT);
    let other = client.person("tess@corp.test", "ext-2").await;
    assert_ne!(other, id, "another externalId is a new person");
    let nothing = client.patch(&id, json!([{ "op": "replace", "path": "displayName", "value": "x" }])).await;
    assert_eq!(nothing.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_takes_effect_or_is_an_error() {
    let stage = Stage::start().await;
    let client = &stage.directory;
    let id = client.person("wren@corp.test", "w-1").await;
    let before = client.read(&id).await.json();
    let cases = [
        (json!([{ "op": "replace", "path": "userNam", "value": "x" }]), "an attribute that is none"),
        (json!([{ "op": "delete", "path": "active" }]), "an operation that is none"),
        (json!([{ "op": "replace", "path": "active", "value": "maybe" }]), "a boolean that is none"),
        (json!([{ "op": "replace", "path": "emails[type eq", "value": "x" }]), "a path that is none"),
        (json!([{ "op": "replace", "path": "id", "value": "x" }]), "a readOnly attribute"),
        (json!([]), "no operation at all"),
        (
            json!([{ "op": "replace", "path": "displayName", "value": "Half" }, { "op": "replace", "path": "nope", "value": 1 }]),
            "half of two operations",
        ),
    ];
    for (operations, what) in cases {
        let answer = client.patch(&id, operations).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        let body = answer.json();
        assert!(body["scimType"].is_string() && body["detail"].is_string(), "{what}: {body}");
        assert_eq!(body["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:Error");
        assert_eq!(body["status"], "400", "{what}");
    }
    let mut after = client.read(&id).await.json();
    assert_eq!(after, before, "nothing of it took effect");
    after["active"] = Value::Null;
    let put = client.send(Method::PUT, &format!("/Users/{id}"), Some(&after)).await;
    assert_eq!(
        (put.status.as_u16(), put.json()["active"].clone()),
        (200, json!(true)),
        "null in a PUT keeps what is stored"
    );

    for (method, path, body, status) in [
        (Method::GET, "/Users/no-such-id".to_owned(), None, 404),
        (Method::PATCH, "/Users/no-such-id".to_owned(), Some(directory::patch(okta::deactivate())), 404),
        (Method::GET, "/Users?filter=userName%20eq".to_owned(), None, 400),
        (Method::GET, "/Nothing".to_owned(), None, 404),
        (Method::POST, "/Users".to_owned(), Some(json!({ "schemas": [directory::USER] })), 400),
    ] {
        let answer = client.send(method.clone(), &path, body.as_ref()).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_list_are_whole_and_in_order() {
    let stage = Stage::start().await;
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(stage.directory.person(&format!("p{number}@corp.test"), &format!("p-{number}")).await);
    }
    let mut read = Vec::new();
    for start in [1, 4, 7] {
        let page = stage
            .directory
            .send(Method::GET, &format!("/Users?startIndex={start}&count=3"), None)
            .await
            .json();
        assert_eq!((total(&page), page["startIndex"].as_u64()), (7, Some(start)));
        read.extend(
            page["Resources"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap().to_owned()),
        );
    }
    assert_eq!(read, ids);
    let none = stage.directory.send(Method::GET, "/Users?count=0", None).await.json();
    assert_eq!(total(&none), 7);
    let both = stage.directory.find("userName eq \"p1@corp.test\" and externalId eq \"p-1\"").await;
    assert_eq!(total(&both), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_directorys_token_is_heard() {
    let stage = Stage::start().await;
    for token in ["", "wrong-token-of-some-length", &stage.program.settings.scim_token.to_uppercase()] {
        let thief = stage.directory.clone().with_token(token);
        let answer = thief.send(Method::POST, "/Users", Some(&directory::user("eve@corp.test", "e"))).await;
        assert_eq!(answer.status, 401, "{}", answer.text());
        assert!(answer.header("www-authenticate").is_some());
    }
    assert_eq!(total(&stage.directory.find("userName eq \"eve@corp.test\"").await), 0);
    for path in ["/ServiceProviderConfig", "/ResourceTypes", "/Schemas"] {
        assert_eq!(stage.directory.send(Method::GET, path, None).await.status, 200, "{path}");
    }
}

/// Who did what to whom, from where, under which number, and how many it put out: in the log and in the audit, and the
/// secret in neither.
#[tokio::test(flavor = "multi_thread")]
async fn a_directorys_writes_are_told_with_token_client_and_number() {
    let stage = Stage::seeded(|_| {}, &["alice@corp.test"]).await;
    let id = stage.id("alice@corp.test");
    let mut socket = stage.visitor("alice@corp.test").socket("/ws").await.unwrap();
    socket.echo("mine").await.unwrap();

    let new = directory::user("new@corp.test", "n-1");
    let made = stage.directory.send(Method::POST, "/Users", Some(&new)).await;
    let number = made.header("x-request-id").unwrap().to_owned();
    let made = made.json()["id"].as_str().unwrap().to_owned();
    let line = stage.program.logged(&["info", "a User was created", &made]).await;
    assert!(
        line.contains(&number) && line.contains("127.0.0.1") && line.contains("\"actor\":\"scim:default/1-"),
        "{line}"
    );
    assert!(!line.contains("new@corp.test"), "an id leads to the name: {line}");

    stage.directory.deactivate(id).await;
    let line = stage.program.logged(&["info", "a User is inactive and out", id]).await;
    assert!(
        line.contains("\"sessions\":1") && line.contains("\"exchanges\":1") && line.contains("\"ms\":"),
        "{line}"
    );
    // Whose `active` is taken away is told as much.
    let unsaid = json!([{ "op": "remove", "path": "active" }]);
    assert_eq!(stage.directory.patch(&made, unsaid).await.status, 200);
    stage.program.logged(&["info", "a User is inactive and out", &made]).await;
    // Nor is anybody back by what was read and is sent back.
    let path = format!("/Users/{made}");
    let read = stage.directory.send(Method::GET, &path, None).await.json();
    let again = stage.directory.send(Method::PUT, &path, Some(&read)).await.json();
    assert!(again["userName"].is_string() && again["active"].is_null(), "{again}");

    let mut database = crate::rig::sqlite_lock::open(&stage.program.database()).await;
    let audit = "select actor, client, reference from audit where action = 'user.created' and reference = $1";
    let (actor, client, reference): (String, String, String) =
        sqlx::query_as(audit).bind(&number).fetch_one(&mut database).await.unwrap();
    assert!(
        actor.starts_with("scim:default/1-") && actor.len() == "scim:default/1-3fa9c1d2".len(),
        "{actor}"
    );
    assert_eq!((client.as_str(), reference), ("127.0.0.1", number));
    assert!(!stage.program.log().contains(&stage.program.settings.scim_token));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_are_a_line_and_not_a_flood() {
    let stage = Stage::start().await;
    let stranger = stage.directory.clone().with_token("not-the-token-of-this-directory");
    for _ in 0..20 {
        assert_eq!(stranger.read("x").await.status, 401);
    }
    let line = stage.program.logged(&["warn", "without a known token"]).await;
    assert!(line.contains("127.0.0.1") && !line.contains("not-the-token"), "{line}");
    assert_eq!(stage.program.lines_with("without a known token").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_a_reload_takes_away_writes_nothing_that_was_half_sent() {
    let mut stage = Stage::start().await;
    let (old, body) = (stage.program.settings.scim_token.clone(), user("late@corp.test", "late").to_string());
    let mut raw = RawSocket::connect(stage.program.settings.scim, "scim").await;
    let (token, length) = (format!("authorization: Bearer {old}"), format!("content-length: {}", body.len()));
    let fields = [&token, "connection: close", "content-type: application/scim+json", &length];
    raw.say("POST /scim/v2/Users", &fields).await;
    raw.send(&body.as_bytes()[..10]).await;
    // Heard: the next request, on a connection of its own, is answered.
    assert_eq!(stage.directory.send(Method::GET, "/Users", None).await.status, 200);
    stage.program.settings.scim_token = "another-token-of-the-same-directory".to_owned();
    stage.program.write();
    assert!(stage.program.hang_up().await);
    raw.send(&body.as_bytes()[10..]).await;
    assert_eq!(raw.head().await.status, 401);
    let now = stage.program.directory();
    assert_eq!(total(&now.find("userName eq \"late@corp.test\"").await), 0);
}
