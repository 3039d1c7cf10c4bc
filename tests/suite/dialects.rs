//! Promise 3 in every provider's own words: each client of `clients` lives its whole life with one person, and at each step
//! that takes access away that person holds a WebSocket. When the answer was read they are out.
//!
//! Asserted by order: the application writes a marker after the answer, and the socket never reads it. What a body means to
//! the resource is `scim/tests/suite/dialects.rs`'s; here it is what a body does to whoever is signed in.

mod calls;
mod clients;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::rig::directory::{DirectoryClient, GROUP, USER};
use crate::rig::must;
use crate::rig::settings::Settings;
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;

/// One request of a client; the answer must be one of these.
pub struct Call {
    method: Method,
    path: String,
    body: Option<Value>,
    statuses: &'static [u16],
}

/// The people and groups of a life, as a client knows them.
pub struct Cast {
    /// The name, which is also the address.
    name: String,
    external_id: String,
    user: String,
    group: String,
    /// The user as it was last read, for those who write the whole of it back.
    whole: Value,
}

/// Makes the request of a step.
type Step = fn(&Cast) -> Call;

/// One client: how it looks before it writes, and what it sends at each step of a life.
pub struct Client {
    kind: &'static str,
    /// Asked before there is anybody.
    probes: &'static [&'static str],
    /// Makes a test user and a test group first, and deletes both.
    makes_test_pair: bool,
    /// The searches by which it finds the person: none before, one after.
    matches: fn(&Cast) -> Vec<String>,
    create: Step,
    /// Writes the title; every client here can.
    update: Step,
    create_group: Step,
    join: Step,
    leave: Step,
    deactivate: Step,
    reactivate: Step,
    /// The last thing it does to the person or to the group.
    end: Step,
    ends_in: Ending,
}

/// Where the last request of a life leaves the person.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// In, without the group.
    WithoutGroup,
    /// Out, and still a user.
    Inactive,
    /// Out, and no user any more.
    Deleted,
}

/// The route of the WebSocket asks for the role that the group gives.
fn guarded(settings: &mut Settings) {
    settings.bindings = Some(
        "version: 1\nroles: [app.ops]\nconflicts: []\nbindings:\n  - group: Ops\n    role: app.ops\n"
            .to_owned(),
    );
    settings.more =
        "routes:\n  - path: /ws\n    allow: [app.ops]\n  - path: /**\n    allow: signed-in\n".to_owned();
}

/// One life, from the probe to the end.
async fn live(client: &Client, name: &str) {
    let mut stage = Stage::seeded(guarded, &[]).await;
    let directory = stage.directory.clone().speaking(client.kind);
    let mut cast = Cast {
        name: format!("{name}@corp.test"),
        external_id: format!("ext-{name}"),
        user: String::new(),
        group: String::new(),
        whole: Value::Null,
    };
    for probe in client.probes {
        assert_eq!(directory.send(Method::GET, probe, None).await.status, 200, "{probe}");
    }
    if client.makes_test_pair {
        make_and_delete_test_pair(&directory).await;
    }
    are_found(&directory, &(client.matches)(&cast), 0).await;
    let made = send(&directory, (client.create)(&cast)).await;
    made["id"].as_str().unwrap().clone_into(&mut cast.user);
    assert_eq!((&made["active"], &made["externalId"]), (&json!(true), &json!(cast.external_id)));
    are_found(&directory, &(client.matches)(&cast), 1).await;
    read(&directory, &mut cast).await;
    let again = send_any(&directory, (client.create)(&cast)).await;
    assert_eq!(again, StatusCode::CONFLICT, "who is made twice is told so");

    let visitor = stage.another_session(&cast.external_id).await;
    assert_eq!(visitor.status("/").await, 200);
    assert_eq!(visitor.socket("/ws").await.err(), Some(403), "no role yet");
    send(&directory, (client.update)(&cast)).await;
    read(&directory, &mut cast).await;
    assert_eq!(cast.whole["title"], "Boss", "{}", cast.whole);

    let group = send(&directory, (client.create_group)(&cast)).await;
    group["id"].as_str().unwrap().clone_into(&mut cast.group);
    send(&directory, (client.join)(&cast)).await;
    read(&directory, &mut cast).await;
    assert_eq!(cast.whole["groups"][0]["value"], json!(cast.group), "rauthy reads what to remove from this");

    cuts(&stage, &directory, &visitor, (client.leave)(&cast), "leave").await;
    assert_eq!(visitor.socket("/ws").await.err(), Some(403), "the role is gone");
    assert_eq!(visitor.status("/").await, 200, "the session is not");
    send(&directory, (client.join)(&cast)).await;
    read(&directory, &mut cast).await;

    cuts(&stage, &directory, &visitor, (client.deactivate)(&cast), "deactivate").await;
    is_out(&stage, &visitor).await;
    are_found(&directory, &(client.matches)(&cast), 1).await;
    read(&directory, &mut cast).await;
    assert_eq!(cast.whole["active"], false);
    // Providers repeat.
    send(&directory, (client.deactivate)(&cast)).await;

    send(&directory, (client.reactivate)(&cast)).await;
    read(&directory, &mut cast).await;
    assert_eq!(cast.whole["active"], true);
    is_out(&stage, &visitor).await;
    let visitor = stage.another_session(&cast.external_id).await;
    // Whoever was inactive has kept their groups.
    cuts(&stage, &directory, &visitor, (client.end)(&cast), "end").await;
    if client.ends_in == Ending::WithoutGroup {
        assert_eq!(visitor.socket("/ws").await.err(), Some(403), "the group is gone");
        assert_eq!(visitor.status("/").await, 200);
    } else {
        is_out(&stage, &visitor).await;
    }
    let wanted = if client.ends_in == Ending::Deleted { 404 } else { 200 };
    assert_eq!(directory.read(&cast.user).await.status, wanted);
}

/// Holds a WebSocket while a request is made: when its answer was read, the socket is cut.
async fn cuts(stage: &Stage, directory: &DirectoryClient, visitor: &Visitor, call: Call, step: &str) {
    let mut socket = visitor.socket("/ws").await.unwrap_or_else(|status| panic!("{step}: a {status}"));
    socket.echo("mine").await.unwrap();
    send(directory, call).await;
    let mark = format!("written-after-{step}");
    stage.app.mark(&mark).await;
    let read = must("the end of the socket", socket.read_out()).await;
    assert!(!read.contains(&mark), "{step}: the WebSocket read what was written after the answer");
}

/// Nothing of this person is served, and the application does not hear of it.
async fn is_out(stage: &Stage, visitor: &Visitor) {
    let before = stage.app.count();
    assert_eq!(visitor.status("/").await, 401);
    assert_eq!(visitor.socket("/ws").await.err(), Some(401));
    assert_eq!(stage.app.count(), before);
}

/// Sends a step, and gives the body of its answer. Of a Bulk each operation must have succeeded.
async fn send(directory: &DirectoryClient, call: Call) -> Value {
    let answer = directory.send(call.method.clone(), &call.path, call.body.as_ref()).await;
    let told = format!("{} {}: {} {}", call.method, call.path, answer.status, answer.text());
    assert!(call.statuses.contains(&answer.status.as_u16()), "{told}");
    let body = if answer.text().is_empty() { Value::Null } else { answer.json() };
    if call.path == "/Bulk" {
        let results = body["Operations"].as_array().unwrap();
        assert!(results.iter().all(|result| result["status"].as_str().unwrap().starts_with('2')), "{told}");
        // What the first of them made, as a client reads it from `location`.
        let location = results[0]["location"].as_str().unwrap();
        let path = &location[location.find("/scim/v2").unwrap() + "/scim/v2".len()..];
        let read = directory.send(Method::GET, path, None).await;
        return if read.status == 200 { read.json() } else { Value::Null };
    }
    body
}

/// Sends a step and gives the status, of a Bulk that of its first operation.
async fn send_any(directory: &DirectoryClient, call: Call) -> StatusCode {
    let answer = directory.send(call.method, &call.path, call.body.as_ref()).await;
    match answer.status {
        StatusCode::OK => answer.json()["Operations"][0]["status"].as_str().unwrap().parse().unwrap(),
        status => status,
    }
}

async fn read(directory: &DirectoryClient, cast: &mut Cast) {
    let answer = directory.read(&cast.user).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    cast.whole = answer.json();
}

async fn are_found(directory: &DirectoryClient, searches: &[String], wanted: u64) {
    for path in searches {
        let path = path.replace(' ', "+").replace('"', "%22").replace('[', "%5B").replace(']', "%5D");
        let answer = directory.send(Method::GET, &path, None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let found = answer.json();
        assert!(found["Resources"].is_array(), "{path}: {found}");
        assert_eq!(found["totalResults"], wanted, "{path}");
    }
}

async fn make_and_delete_test_pair(directory: &DirectoryClient) {
    let test = json!({ "schemas": [USER], "userName": "connection-test@corp.test", "active": true });
    let user = directory.create(&test).await["id"].as_str().unwrap().to_owned();
    let group = json!({ "schemas": [GROUP], "displayName": "connection-test" });
    let group = directory.send(Method::POST, "/Groups", Some(&group)).await.json();
    let path = format!("/Groups/{}", group["id"].as_str().unwrap());
    assert_eq!(directory.send(Method::DELETE, &path, None).await.status, 204);
    assert_eq!(directory.delete(&user).await, StatusCode::NO_CONTENT);
}
