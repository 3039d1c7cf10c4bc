//! Promise 2: headers are true. What a client sends in any spelling never reaches the application; what the application
//! reads is what the directory says.

use http::{HeaderMap, Method};
use serde_json::json;

use crate::rig::application::Seen;
use crate::rig::directory::okta;
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;
use crate::rig::websocket::WebSocket;
use crate::rig::wire::{Connection, whole};

/// Identity headers as an attacker spells them: the names of all presets, odd separators, odd case.
const FORGED: [&str; 30] = [
    "X-Forwarded-User",
    "x-forwarded-user",
    "X_Forwarded_User",
    "X-Forwarded_User",
    "x.forwarded.user",
    "X-FORWARDED-EMAIL",
    "X_Forwarded_Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Roles",
    "X_FORWARDED_ROLES",
    "X-Forwarded-Preferred-Username",
    "Remote-User",
    "REMOTE_USER",
    "Remote_User",
    "X-Remote-User",
    "X-Remote-Group",
    "X_Remote_User",
    "X-Auth-Request-User",
    "X_Auth_Request_Email",
    "X-Auth-User",
    "X-Authenticated-User",
    "X_Authenticated_Userid",
    "X-WebAuth-User",
    "X-Forwarded-Client-Cert",
    "X-Client-Cert-Dn",
    "X-SSL-Client-Cert",
    "SSL-Client-Verify",
    "Proxy",
    "X-Portcullis-Anything",
    "x!forwarded~user",
];

/// What must hold of whatever reached the application: under no spelling is there a value of the attacker's.
fn nothing_forged(seen: &Seen) {
    for (name, value) in &seen.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        assert!(!value.contains("forged"), "{name}: {value} reached the application at {}", seen.target);
    }
}

fn forged() -> HeaderMap {
    FORGED
        .iter()
        .map(|name| (http::HeaderName::from_bytes(name.as_bytes()).unwrap(), "forged".parse().unwrap()))
        .collect()
}

async fn send(visitor: &Visitor, method: Method, path: &str, headers: HeaderMap) -> u16 {
    let mut request = visitor.request(method, path).body(whole("")).unwrap();
    request.headers_mut().extend(headers);
    Connection::open(visitor.address).await.unwrap().send(request).await.unwrap().status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_identity_never_reaches_the_application() {
    let rules = "routes:\n  - path: /open/**\n    allow: public\n  - path: /**\n    allow: signed-in\n";
    let stage = Stage::seeded(|settings| settings.more = rules.to_owned(), &["alice@corp.test"]).await;
    let alice = stage.visitor("alice@corp.test");

    assert_eq!(send(&alice, Method::GET, "/a", forged()).await, 200);
    assert_eq!(send(&alice, Method::POST, "/a", forged()).await, 200);
    assert_eq!(send(&alice, Method::GET, "/open/a", forged()).await, 200);
    assert_eq!(send(&stage.stranger(), Method::GET, "/open/b", forged()).await, 200);
    // Over HTTP/2, where names are lower case and cookies come as crumbs.
    let mut request = alice.request_h2(Method::GET, "/h2").body(whole("")).unwrap();
    for name in FORGED.iter().filter(|name| **name == name.to_ascii_lowercase()) {
        request.headers_mut().insert(*name, "forged".parse().unwrap());
    }
    request.headers_mut().insert("x-forwarded-user", "forged".parse().unwrap());
    request.headers_mut().insert("remote-user", "forged".parse().unwrap());
    assert_eq!(Connection::open_h2(alice.address).await.unwrap().send(request).await.unwrap().status, 200);
    // On an upgrade.
    let headers =
        [("cookie", alice.cookie.as_str()), ("x-forwarded-user", "forged"), ("x_forwarded_user", "forged")];
    let mut socket = WebSocket::open_with(alice.address, &alice.origin, "/ws", &headers).await.unwrap();
    socket.echo("hello").await.unwrap();

    let seen = stage.app.seen();
    assert_eq!(seen.len(), 6);
    seen.iter().for_each(nothing_forged);
    for seen in seen.iter().filter(|seen| !seen.target.starts_with("/open/")) {
        assert_eq!(seen.header("x-forwarded-user").as_deref(), Some("alice@corp.test"), "{}", seen.target);
    }
    let stranger = stage.app.last("/open/b").unwrap();
    assert_eq!(stranger.header("x-forwarded-user"), None, "on a public path nobody is named");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_reads_what_the_directory_says() {
    let bindings = "version: 1\nroles: [app.reader, app.admin]\nconflicts: []\nbindings:\n  - group: Eng, Platform\n    \
                    role: app.reader\n  - group: Ops 100%\n    role: app.admin\n";
    let stage =
        Stage::seeded(|settings| settings.bindings = Some(bindings.to_owned()), &["zoë@corp.test"]).await;
    let (zoe, id) = (stage.visitor("zoë@corp.test"), stage.id("zoë@corp.test"));
    stage.directory.group("Eng, Platform", &[id]).await;
    let ops = stage.directory.group("Ops 100%", &[id]).await;

    assert_eq!(zoe.status("/one").await, 200);
    let seen = stage.app.last("/one").unwrap();
    assert_eq!(seen.header("x-forwarded-user").as_deref(), Some("zo%C3%AB@corp.test"));
    assert_eq!(seen.header("x-forwarded-email").as_deref(), Some("zo%C3%AB@corp.test"));
    assert_eq!(seen.header("x-forwarded-groups").as_deref(), Some("Eng%2C Platform,Ops 100%25"));
    assert_eq!(seen.header("x-forwarded-roles").as_deref(), Some("app.reader,app.admin"));

    let removed = stage.directory.patch_group(&ops, okta::remove_member(id)).await;
    assert!(removed.status.is_success(), "{}", removed.text());
    assert_eq!(zoe.status("/two").await, 200);
    let seen = stage.app.last("/two").unwrap();
    assert_eq!(seen.header("x-forwarded-groups").as_deref(), Some("Eng%2C Platform"), "true at once");
    assert_eq!(seen.header("x-forwarded-roles").as_deref(), Some("app.reader"));
    let emptied = stage.directory.patch(id, json!([{ "op": "remove", "path": "emails" }])).await;
    assert!(emptied.status.is_success(), "{}", emptied.text());
    assert_eq!(zoe.status("/three").await, 200);
    assert_eq!(
        stage.app.last("/three").unwrap().header("x-forwarded-email"),
        None,
        "what is not known is no header"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn our_cookie_never_reaches_the_application_and_its_own_pass() {
    let stage = Stage::seeded(|_| {}, &["alice@corp.test"]).await;
    let alice = stage.visitor("alice@corp.test");
    let mut mixed = alice.clone();
    mixed.cookie = format!("legacy=1; {}; __Host-portcullis-deadbeef=sibling; theme=dark", alice.cookie);
    assert_eq!(mixed.status("/mixed").await, 200);
    let seen = stage.app.last("/mixed").unwrap();
    assert_eq!(seen.header("cookie").as_deref(), Some("legacy=1; theme=dark"));

    // Crumbs of HTTP/2: several fields are one.
    let mut request = alice.request_h2(Method::GET, "/crumbs").body(whole("")).unwrap();
    request.headers_mut().append("cookie", "legacy=1".parse().unwrap());
    request.headers_mut().append("cookie", "theme=dark".parse().unwrap());
    assert_eq!(Connection::open_h2(alice.address).await.unwrap().send(request).await.unwrap().status, 200);
    assert_eq!(stage.app.last("/crumbs").unwrap().header("cookie").as_deref(), Some("legacy=1; theme=dark"));

    // Ours twice is no session: one of them was planted.
    let before = stage.app.count();
    mixed.cookie = format!("{0}; {0}", alice.cookie);
    assert_eq!(mixed.status("/twice").await, 401);
    mixed.cookie = format!("{}x", alice.cookie);
    assert_eq!(mixed.status("/bent").await, 401);
    assert_eq!(stage.app.count(), before);

    // The application's cookies reach the browser; one that names ours does not.
    let answer = alice.get("/cookie").await;
    let set: Vec<_> =
        answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap()).collect();
    assert_eq!(set, ["legacy=1; Path=/", "other=2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarding_headers_are_ours_unless_the_peer_is_trusted() {
    let spoofed = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "gopher"),
        ("x-real-ip", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
        ("x-forwarded-host", "evil.example"),
        ("x-original-url", "/admin"),
    ];
    let headers: HeaderMap = spoofed
        .iter()
        .map(|(name, value)| (http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap()))
        .collect();

    let stage = Stage::seeded(|_| {}, &["alice@corp.test"]).await;
    let alice = stage.visitor("alice@corp.test");
    assert_eq!(send(&alice, Method::GET, "/untrusted", headers.clone()).await, 200);
    let seen = stage.app.last("/untrusted").unwrap();
    for (name, value) in &seen.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let foreign =
            ["203.0.113.9", "gopher", "evil.example", "/admin"].iter().any(|bad| value.contains(bad));
        assert!(!foreign, "{name}: {value}");
    }
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));

    let trusting = "trusted_proxies: [127.0.0.0/8]\n";
    let stage = Stage::seeded(|settings| settings.more = trusting.to_owned(), &["alice@corp.test"]).await;
    let alice = stage.visitor("alice@corp.test");
    assert_eq!(send(&alice, Method::GET, "/trusted", headers).await, 200);
    let seen = stage.app.last("/trusted").unwrap();
    assert!(seen.header("x-forwarded-for").unwrap().contains("203.0.113.9"));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_the_application_are_kept_from_shared_caches() {
    let stage = Stage::seeded(|_| {}, &["alice@corp.test"]).await;
    let answer = stage.visitor("alice@corp.test").get("/page").await;
    assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
    let vary = answer.header("vary").unwrap_or_default().to_ascii_lowercase();
    assert!(vary.contains("cookie"), "{vary}");
}
