//! Promise 2 with an application's own names: what is configured is what it gets, no client says any of it, and a reload
//! says it anew to whoever is there already.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use http::Method;
use serde_json::{Value, json};

use crate::needs;
use crate::rig::application::Seen;
use crate::rig::directory::{ENTERPRISE, GROUP};
use crate::rig::foreign::ForeignApplication;
use crate::rig::settings::Settings;
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;
use crate::rig::wire::{Connection, whole};

const ALICE: &str = "alice@corp.test";
const ACME: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";
const DECLARED: &str = "  extensions:
    urn:ietf:params:scim:schemas:extension:acme:2.0:User:
      badge: { type: complex, attributes: { number: integer } }
";
const LATIN: &str = "headers:
  encoding: latin1
  groups: { only: [\"Admins*\"] }
  templates: { X-Name: \"${user.displayName}\" }
";

const HEADERS: &str = "headers:
  preset: grafana
  names: { user: X-Remote-User, name: { name: X-Name, encoding: utf8 }, email: off }
  templates:
    X-Dept: ${user.department}
    X_Legacy_Id: ${user.externalId}
    X-Badge: { value: 'no ${user.badge.number}', default: none }
    X-Mails: ${user.emails}
    X-Roles: ${user.roles}
    Authorization: Basic ${file:{folder}/app-basic}
  groups: { only: [wiki-*] }
  strip: [X-Old-*]
routes:
  - path: /open/**
    allow: public
  - path: /**
    allow: signed-in
";

/// What the application saw of one request, of which everything that could be told was forged.
async fn seen(stage: &Stage, visitor: &Visitor, path: &str) -> Seen {
    let mut request = visitor.request(Method::GET, path).body(whole("")).unwrap();
    for name in [
        "x-remote-user",
        "X_Remote_User",
        "x-webauth-user",
        "x-webauth-groups",
        "x-name",
        "x.name",
        "x-dept",
        "x_dept",
        "x-legacy-id",
        "x_legacy_id",
        "x-badge",
        "x-mails",
        "authorization",
        "x-old-thing",
        "x_old_thing",
    ] {
        let name = http::HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).unwrap();
        request.headers_mut().append(name, "forged".parse().unwrap());
    }
    let answer = Connection::open(visitor.address).await.unwrap().send(request).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = stage.app.last(path).unwrap();
    for (name, value) in &seen.headers {
        assert!(value != "forged", "{name} at {path}");
    }
    seen
}

async fn fill(stage: &Stage) {
    let id = stage.id(ALICE).to_owned();
    let operations: Value = json!([
        { "op": "add", "path": "displayName", "value": "Alice Ł" },
        { "op": "add", "path": format!("{ENTERPRISE}:department"), "value": "R&D, Süd" },
        { "op": "add", "path": "emails", "value": [{ "value": "a@corp.test" }, { "value": "b@corp.test", "primary": true }] },
        { "op": "add", "path": format!("{ACME}:badge.number"), "value": 7 },
        { "op": "add", "path": "roles", "value": [{ "value": "a,b" }] },
    ]);
    let answer = stage.directory.patch(&id, operations).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for name in ["wiki-owners", "Staff"] {
        let group = json!({ "schemas": [GROUP], "displayName": name, "members": [{ "value": id }] });
        let made = stage.directory.send(Method::POST, "/Groups", Some(&group)).await;
        assert_eq!(made.status, 201, "{}", made.text());
    }
}

fn explained(stage: &Stage, code: i32) -> String {
    let output = stage.program.command(&["explain", "headers", "--as", ALICE]);
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_gets_the_headers_that_it_wants_and_no_others() {
    let mut stage = Stage::seeded(|settings| settings.scim_more = DECLARED, &[ALICE]).await;
    fill(&stage).await;
    let alice = stage.visitor(ALICE);
    let before = seen_plainly(&stage, &alice, "/a").await;
    assert_eq!(before.header("x-forwarded-groups").as_deref(), Some("Staff,wiki-owners"));

    let secret = stage.program.folder().join("app-basic");
    fs::write(&secret, "c2VjcmV0\n").unwrap();
    // Else there is a warning of it, which a reload's own line would be taken for.
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let folder = stage.program.folder().display().to_string();
    stage.program.reload(|settings| settings.more = HEADERS.replace("{folder}", &folder)).await;
    let told = seen(&stage, &alice, "/b").await;
    for (name, value) in [
        ("x-remote-user", Some("alice@corp.test")),
        ("x-webauth-user", None),
        ("x-webauth-email", None),
        ("x-webauth-groups", Some("wiki-owners")),
        ("x-forwarded-user", None),
        ("x-name", Some("Alice Ł")),
        ("x-dept", Some("R&D, S%C3%BCd")),
        ("x_legacy_id", Some("alice@corp.test")),
        ("x-badge", Some("no 7")),
        ("x-mails", Some("b@corp.test,alice@corp.test,a@corp.test")),
        ("x-roles", Some("a%2Cb")),
        ("authorization", Some("Basic c2VjcmV0")),
    ] {
        let found =
            told.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        assert_eq!(found.as_deref(), value, "{name}");
    }
    let open = seen(&stage, &alice, "/open/c").await;
    assert!(open.headers.get("authorization").is_none() && open.headers.get("x-dept").is_none());

    let said = explained(&stage, 0);
    for line in [
        "x-remote-user: alice@corp.test\n",
        "x-name: Alice Ł\n",
        "x-badge: no 7\n",
        "authorization: (a secret)\n",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
    // What changes in the directory is told anew; what is not known any more has its default or no header.
    let id = stage.id(ALICE).to_owned();
    let operations = json!([{ "op": "remove", "path": format!("{ACME}:badge") }, { "op": "remove", "path": format!("{ENTERPRISE}:department") }]);
    assert_eq!(stage.directory.patch(&id, operations).await.status, 200);
    let told = seen(&stage, &alice, "/d").await;
    assert_eq!((told.header("x-badge").as_deref(), told.header("x-dept")), (Some("none"), None));

    // More than the budget lets nobody in, and says so beforehand.
    stage.program.reload(|settings| settings.more = "headers:\n  budget: 1KiB\n".to_owned()).await;
    assert_eq!(alice.status("/e").await, 200);
    for n in 0..60 {
        let name = format!("a-rather-long-name-of-a-group-{n}");
        let group = json!({ "schemas": [GROUP], "displayName": name, "members": [{ "value": id }] });
        assert_eq!(stage.directory.send(Method::POST, "/Groups", Some(&group)).await.status, 201);
    }
    let refused = alice.get("/f").await;
    assert_eq!(refused.status, 403);
    let why = "headers.budget is 1024; most are of x-forwarded-groups";
    let reference = refused.json()["ref"].as_str().unwrap().to_owned();
    let told = crate::refusals::told(&stage, &reference).await;
    assert!(told.contains(why) && told.contains("headers.groups.only"), "{told}");
    stage.program.logged(&["cannot be told who this person is", why]).await;
    let said = explained(&stage, 1);
    assert!(said.contains(why) && said.contains("headers.groups.only"), "{said}");
    let json = stage.program.command(&["explain", "headers", "--json", "--as", ALICE]);
    assert_eq!(json.status.code(), Some(1));
    // As it is written, byte for byte: here in Latin-1. What an application would trim is told to nobody.
    stage.program.reload(|settings| settings.more = LATIN.to_owned()).await;
    let blank = json!({ "schemas": [GROUP], "displayName": "Admins\u{a0}", "members": [{ "value": id }] });
    assert_eq!(stage.directory.send(Method::POST, "/Groups", Some(&blank)).await.status, 201);
    let renamed = json!([{ "op": "replace", "path": "displayName", "value": "Al\u{e9}" }]);
    assert_eq!(stage.directory.patch(&id, renamed).await.status, 200);
    let told = seen_plainly(&stage, &alice, "/latin").await;
    assert_eq!(told.headers["x-name"].as_bytes(), b"Al\xe9");
    assert_eq!(told.header("x-forwarded-groups"), None);
    let said = explained(&stage, 0);
    let untold = "x-forwarded-groups does not say \"Admins\\u{a0}\": its encoding cannot write that.\n";
    assert!(said.contains("x-name: Al\u{e9}\n") && said.contains(untold), "{said}");
    // The session is not over: it is good again where more may be told.
    stage.program.reload(|settings| settings.more = "headers:\n  budget: 8KiB\n".to_owned()).await;
    assert_eq!(alice.status("/g").await, 200);

    // Without a program the file says it.
    stage.program.settings.more = "headers:\n  groups: { only: [Staff] }\n".to_owned();
    stage.program.kill();
    stage.program.write();
    assert!(explained(&stage, 0).contains("x-forwarded-groups: Staff\n"));
}

async fn seen_plainly(stage: &Stage, visitor: &Visitor, path: &str) -> Seen {
    assert_eq!(visitor.status(path).await, 200);
    stage.app.last(path).unwrap()
}

/// The application of a preset, as its own documentation sets it up.
#[tokio::test(flavor = "multi_thread")]
async fn radicale_knows_whose_calendar_it_is() {
    needs!("radicale");
    let radicale = ForeignApplication::start("radicale").await;
    let upstream = format!("http://{}", radicale.address);
    let change = |settings: &mut Settings| {
        settings.upstream = upstream.clone();
        settings.more = "headers:\n  preset: radicale\n".to_owned();
    };
    let stage = Stage::seeded(change, &[ALICE, "bob@corp.test"]).await;
    for (name, other) in [(ALICE, "bob@corp.test"), ("bob@corp.test", ALICE)] {
        let visitor = stage.visitor(name);
        let body = "<?xml version=\"1.0\"?><propfind xmlns=\"DAV:\"><prop><current-user-principal/></prop></propfind>";
        let mut request =
            visitor.request(Method::from_bytes(b"PROPFIND").unwrap(), "/").body(whole(body)).unwrap();
        let headers = request.headers_mut();
        headers.insert("depth", "0".parse().unwrap());
        headers.insert("x-remote-user", other.parse().unwrap());
        let answer = Connection::open(visitor.address).await.unwrap().send(request).await.unwrap();
        assert_eq!(answer.status, 207, "{}", answer.text());
        let principal = format!("<current-user-principal><href>/{}/</href>", name.replace('@', "%40"));
        assert!(answer.text().contains(&principal), "{}", answer.text());
        assert_eq!(visitor.status(&format!("/{other}/")).await, 403, "somebody else's");
    }
    assert_eq!(stage.stranger().status("/").await, 401);
}
