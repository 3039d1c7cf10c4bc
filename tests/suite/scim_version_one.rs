//! Promises 3 and 5 for connectors that speak SCIM 1.1: never a silent 200, and success means out. Asserted by order, as in
//! `revocation`.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::rig::directory::DirectoryClient;
use crate::rig::must;
use crate::rig::settings::Settings;
use crate::rig::stage::Stage;
use crate::rig::visitor::Held;

const CORE: &str = "urn:scim:schemas:core:1.0";
const ENTERPRISE: &str = "urn:scim:schemas:extension:enterprise:1.0";
const ALICE: &str = "alice@corp.test";
const BOB: &str = "bob@corp.test";
const MARK: &str = "written-after-the-answer";

fn old(stage: &Stage) -> DirectoryClient {
    stage.directory.clone().below("/scim/v1").speaking("application/json")
}

fn person(name: &str) -> Value {
    json!({ "schemas": [CORE], "userName": name, "externalId": name, "active": true, "title": "Clerk",
            "emails": [{ "value": name, "type": "work", "primary": true }] })
}

/// A PATCH of 1.1.
fn partial(mut body: Value) -> Value {
    body["schemas"] = json!([CORE]);
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_connector_runs_its_life_cycle() {
    let stage = Stage::start().await;
    let client = old(&stage);
    let config = client.send(Method::GET, "/ServiceProviderConfigs", None).await;
    assert_eq!((config.status.as_u16(), config.json()["patch"]["supported"].clone()), (200, json!(true)));
    let schema = client.send(Method::GET, "/Schemas/Users", None).await.json();
    assert_eq!(schema["id"], format!("{CORE}:User"));

    let made = client.create(&person("una@corp.test")).await;
    let id = made["id"].as_str().unwrap();
    let base = stage.program.settings.scim_base().replace("/scim/v2", "/scim/v1");
    assert_eq!(made["meta"]["location"], format!("{base}/Users/{id}"));
    assert_eq!(made["schemas"], json!([CORE]));
    let found = client.find("userName eq \"UNA@corp.test\"").await;
    assert_eq!((found["totalResults"].clone(), found["schemas"].clone()), (json!(1), json!([CORE])));
    assert_eq!(found["Resources"][0]["id"], id);
    assert_eq!(client.read(&format!("{id}.json")).await.json(), made);
    let again = client.send(Method::POST, "/Users", Some(&person("una@corp.test"))).await;
    assert_eq!((again.status.as_u16(), again.json()["Errors"][0]["code"].clone()), (409, json!("409")));

    let path = format!("/Users/{id}");
    let mut whole = client.read(id).await.json();
    whole[ENTERPRISE] = json!({ "department": "Finance", "manager": { "managerId": "m-1" } });
    let put = client.send(Method::PUT, &path, Some(&whole)).await;
    assert_eq!((put.status.as_u16(), put.json()[ENTERPRISE].clone()), (200, whole[ENTERPRISE].clone()));
    let removal = partial(
        json!({ "displayName": "Una", "meta": { "attributes": ["title", format!("{ENTERPRISE}:manager")] } }),
    );
    let patched = client.send(Method::PATCH, &path, Some(&removal)).await;
    assert_eq!(patched.status, 200, "{}", patched.text());
    let patched = patched.json();
    assert_eq!((&patched["displayName"], patched.get("title")), (&json!("Una"), None));
    assert_eq!(patched[ENTERPRISE], json!({ "department": "Finance" }));

    let group = json!({ "schemas": [CORE], "displayName": "Finance", "members": [{ "value": id }] });
    let group = client.send(Method::POST, "/Groups", Some(&group)).await.json();
    let group = format!("/Groups/{}", group["id"].as_str().unwrap());
    assert_eq!(client.read(id).await.json()["groups"][0]["display"], "Finance");
    let left = partial(json!({ "members": [{ "value": id, "operation": "delete" }] }));
    let answer = client.send(Method::PATCH, &group, Some(&left)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
    assert_eq!(client.read(id).await.json()["groups"], json!([]));
    let emptied = client.send(Method::PATCH, &group, Some(&partial(json!({ "members": [] })))).await;
    assert_eq!(emptied.status, 400, "an empty list says nothing in 1.1");

    let out = client.send(Method::PATCH, &path, Some(&partial(json!({ "active": "False" })))).await;
    assert_eq!((out.status.as_u16(), out.json()["active"].clone()), (200, json!(false)));
    // Both versions are one directory.
    assert_eq!(stage.directory.read(id).await.json()["active"], false);
    let back = client.send(Method::PATCH, &path, Some(&partial(json!({ "active": true })))).await;
    assert_eq!(back.json()["active"], true);
    assert_eq!(client.delete(id).await, StatusCode::OK);
    let gone = client.read(id).await;
    assert_eq!(
        gone.json(),
        json!({ "Errors": [{ "description": format!("there is no User {id}"), "code": "404" }] })
    );
}

/// A way to take somebody out: what of it is a header, and the body.
type Removal = (&'static str, Method, Option<&'static str>, fn() -> Option<Value>);

const REMOVALS: [Removal; 5] = [
    ("PATCH", Method::PATCH, None, || Some(partial(json!({ "active": false })))),
    ("PATCH without active", Method::PATCH, None, || {
        Some(partial(json!({ "meta": { "attributes": ["active"] } })))
    }),
    ("PATCH by way of POST", Method::POST, Some("PATCH"), || Some(partial(json!({ "Active": "false" })))),
    ("PUT", Method::PUT, None, || {
        let mut gone = person(ALICE);
        gone["active"] = false.into();
        Some(gone)
    }),
    ("DELETE", Method::DELETE, None, || None),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_exchange_is_gone_before_an_older_connector_has_its_answer() {
    for (name, method, overridden, body) in REMOVALS {
        let stage = Stage::seeded(|_| {}, &[ALICE, BOB]).await;
        let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
        let held = Held::open(&alice, &stage.app).await;
        let mut other = bob.socket("/ws").await.unwrap();
        other.echo("mine").await.unwrap();

        let mut client = old(&stage);
        if let Some(meant) = overridden {
            client = client.overriding(meant);
        }
        let answer = client.send(method, &format!("/Users/{}", stage.id(ALICE)), body().as_ref()).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}: {}", answer.text());
        stage.app.mark(MARK).await;

        held.ends_without(MARK).await;
        let before = stage.app.count();
        assert_eq!(alice.status("/").await, 401, "{name}");
        assert_eq!(alice.socket("/ws").await.err(), Some(401), "{name}");
        assert_eq!(
            stage.app.count(),
            before,
            "{name}: a request of somebody who is out reached the application"
        );
        // Nobody else is touched: the very marker arrives at Bob's socket.
        assert_eq!(must("the marker at Bob's", other.next()).await.as_deref(), Some(MARK), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_the_shape_of_the_version_that_is_asked() {
    let stage = Stage::start().await;
    let client = old(&stage);
    let code = |answer: &Value| answer["Errors"][0]["code"].as_str().unwrap_or_default().to_owned();
    for (method, path, due) in [
        (Method::GET, "/Nothing", "404"),
        (Method::GET, "/ResourceTypes", "404"),
        (Method::GET, "/Users.xml", "406"),
        (Method::GET, "/Users?filter=userName", "400"),
        (Method::POST, "/Bulk", "501"),
        (Method::PUT, "/Users", "405"),
        (Method::POST, "/Users", "400"),
    ] {
        let refused = client.send(method, path, None).await;
        assert_eq!((refused.status.as_str(), code(&refused.json()).as_str()), (due, due), "{path}");
    }
    let nowhere = client.send(Method::GET, "/Nothing", None).await.text();
    assert!(nowhere.contains("/scim/v1\""), "it names the base URL: {nowhere}");
    let xml =
        client.clone().speaking("application/xml").send(Method::POST, "/Users", Some(&person("x"))).await;
    assert_eq!((xml.status.as_u16(), code(&xml.json()).as_str()), (415, "415"));

    let stranger = client.clone().with_token("nobodys").send(Method::GET, "/Users", None).await;
    assert_eq!((stranger.status.as_u16(), code(&stranger.json()).as_str()), (401, "401"));
    assert_eq!(stranger.headers["www-authenticate"], "Bearer realm=\"scim\"");
    // What is below neither is told of 2.0, in its shape.
    let other = client.below("/scim/v11").send(Method::GET, "/Users", None).await;
    assert!(other.status == 404 && other.json()["detail"].as_str().unwrap().ends_with("/scim/v2"));
}

/// Bindings: the one group that matters, and a route that asks for its role.
fn guarded(settings: &mut Settings) {
    let bindings =
        "version: 1\nroles: [app.ops]\nconflicts: []\nbindings:\n  - group: Ops\n    role: app.ops\n";
    settings.bindings = Some(bindings.to_owned());
    settings.more =
        "routes:\n  - path: /ws\n    allow: [app.ops]\n  - path: /**\n    allow: signed-in\n".to_owned();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_an_older_connector_deletes_loses_what_stood_on_the_group() {
    for way in ["the member", "all members"] {
        let stage = Stage::seeded(guarded, &[ALICE]).await;
        let (alice, id) = (stage.visitor(ALICE), stage.id(ALICE));
        let group = stage.directory.group("Ops", &[id]).await;
        let mut socket = alice.socket("/ws").await.unwrap();
        socket.echo("mine").await.unwrap();
        let body = match way {
            "the member" => json!({ "members": [{ "value": id, "operation": "delete" }] }),
            _ => json!({ "meta": { "attributes": ["members"] } }),
        };
        let answer = old(&stage).send(Method::PATCH, &format!("/Groups/{group}"), Some(&partial(body))).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{way}: {}", answer.text());
        stage.app.mark(MARK).await;
        assert!(!socket.read_out().await.iter().any(|text| text == MARK), "{way}");
        assert_eq!(alice.socket("/ws").await.err(), Some(403), "{way}");
        assert_eq!(alice.status("/elsewhere").await, 200, "{way}: the session itself lives on");
    }
}
