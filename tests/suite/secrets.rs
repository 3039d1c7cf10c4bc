//! No secret, cookie or token of the run in any log line, page or error, at any level.
//!
//! Every test's program is searched at its end, and every page as it comes; here everything is made to happen on purpose
//! at the level that says most.

use http::Method;
use serde_json::json;

use crate::needs;
use crate::rig::application::Application;
use crate::rig::directory::{self, okta};
use crate::rig::idp::{Op, sign_in};
use crate::rig::inspect::session_of;
use crate::rig::settings::Settings;
use crate::rig::sqlite_lock::WriteLock;
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_stands_in_the_log_at_trace_level() {
    needs!("op");
    let op = Op::start();
    let app = Application::start().await;
    let settings = Settings::new(app.address);
    let client = op.client(&settings).await;
    let mut settings = settings.with_idp(&op.issuer, &client);
    settings.level = "trace";
    let stage = Stage::of(app, settings).await;
    let watch = stage.program.watch.clone();

    let id = stage.directory.create(&okta::create("mira@corp.test", "00u-mira")).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    watch.secret("a password of a resource", "q7-Placeholder");
    let mut browser = stage.program.browser();
    let page = sign_in(&mut browser, "/page?token=query-string-secret", "00u-mira").await;
    assert_eq!(page.status(), 200);
    watch.secret("a query string", "query-string-secret");
    let (name, value) = session_of(&browser).unwrap();
    let visitor = Visitor::new(&stage.program.settings, &format!("{name}={value}"));
    let mut socket = visitor.socket("/ws?ticket=another-query-secret").await.unwrap();
    socket.echo("hello").await.unwrap();
    watch.secret("a query string", "another-query-secret");

    // Faults of every kind: a bent cookie, a wrong token, an answer for no login, a store that does not write.
    let mut bent = visitor.clone();
    bent.cookie.pop();
    assert_eq!(bent.status("/").await, 401);
    let thief = stage.directory.clone().with_token("a-wrong-token-that-is-somebodys-secret");
    watch.secret("a wrong token", "a-wrong-token-that-is-somebodys-secret");
    assert_eq!(thief.send(Method::GET, "/Users", None).await.status, 401);
    let mut other = stage.program.browser();
    other.look("/.portcullis/callback/op?code=code-of-somebody-else&state=state-of-somebody-else").await;
    let broken = json!({ "schemas": [directory::USER], "userName": "x", "password": "password-in-a-bad-body", "active": 7 });
    watch.secret("a password of a bad body", "password-in-a-bad-body");
    assert_eq!(stage.directory.send(Method::POST, "/Users", Some(&broken)).await.status, 400);
    op.mode("nonsense").await;
    let mut late = stage.program.browser();
    late.open("/").await;
    op.mode("up").await;
    let lock = WriteLock::take(&stage.program.database()).await;
    assert_eq!(stage.directory.patch(&id, okta::deactivate()).await.status, 503);
    lock.release().await;
    socket.read_out().await;

    let log = stage.program.log();
    assert!(log.lines().count() > 10, "there is something to search: {} lines", log.lines().count());
    assert!(watch.len() >= 9, "only {} secrets are known", watch.len());
    watch.check("the log", &log);
    let metrics =
        crate::rig::wire::get(stage.program.settings.health, "localhost", "/metrics").await.unwrap();
    watch.check("the metrics", &metrics.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_holds_no_token_cookie_or_password() {
    let stage = Stage::seeded(|_| {}, &["alice@corp.test"]).await;
    let alice = stage.visitor("alice@corp.test");
    assert_eq!(alice.status("/").await, 200);
    stage.directory.create(&okta::create("mira@corp.test", "00u-mira")).await;
    let cookie = alice.cookie.split_once('=').unwrap().1;
    let mut read = 0;
    for entry in std::fs::read_dir(stage.program.folder().join("state")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        read += bytes.len();
        let text = String::from_utf8_lossy(&bytes);
        for secret in [
            cookie,
            &stage.program.settings.scim_token,
            &stage.program.settings.client_secret,
            "q7-Placeholder",
        ] {
            assert!(!text.contains(secret), "{} holds a secret", path.display());
        }
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "{} may be read by others: {mode:o}", path.display());
    }
    assert!(read > 10_000, "there was something to look at");
}
