//! What the application is told, and what it cannot be told by anybody else.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use http::HeaderValue;
use portcullis_policy::Allow;
use portcullis_proxy::{HeaderCase, HostSent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{h2_get, h2c, h2s};
use crate::rig::{HOST, PUBLIC, Rig, Wish, application};
use crate::streams::UPGRADE;

/// Identity in every spelling we could think of, a session cookie of ours and one of a sibling, and what a proxy
/// would say of the way.
const FORGED: &[(&str, &str)] = &[
    ("x-forwarded-user", "mallory"),
    ("x_forwarded_user", "mallory"),
    ("x-forwarded_user", "mallory"),
    ("x.forwarded.user", "mallory"),
    ("x~forwarded~user", "mallory"),
    ("x-forwarded-email", "mallory@evil.test"),
    ("x_forwarded_groups", "Owners"),
    ("x-forwarded-roles", "admin"),
    ("x-forwarded-preferred-username", "mallory"),
    ("remote-user", "mallory"),
    ("remote_user", "mallory"),
    ("x-remote-user", "mallory"),
    ("x_auth_request_user", "mallory"),
    ("x-authenticated-user", "mallory"),
    ("x-webauth-user", "mallory"),
    ("x-forwarded-client-cert", "mallory"),
    ("x-client-cert", "mallory"),
    ("x-ssl-client-s-dn", "mallory"),
    ("ssl-client-s-dn", "mallory"),
    ("proxy", "mallory"),
    ("x-portcullis-user", "mallory"),
    ("x-forwarded-for", "127.6.6.6"),
    ("x-forwarded-proto", "gopher"),
    ("x-forwarded-host", "evil.test"),
    ("forwarded", "for=127.6.6.6"),
    ("x-real-ip", "127.6.6.6"),
    ("x-original-url", "/evil"),
    ("x-rewrite-url", "/evil"),
    ("cookie", "__Host-portcullis-00000000=sibling; __HOST-PORTCULLIS-x=y; __Host-pcflow-1=flow"),
];

/// The names of everything that an application may see of the requests below.
const EXPECTED: &[&str] = &[
    "cookie",
    "host",
    "traceparent",
    "x-forwarded-email",
    "x-forwarded-for",
    "x-forwarded-groups",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-roles",
    "x-forwarded-user",
    "x-honest",
    "x-request-id",
];

fn check(seen: &str) {
    let (line, fields) = seen.split_once('\n').unwrap();
    assert!(line == "GET /headers/a%2Fb?q=1", "{line}");
    for forged in ["mallory", "127.6.6.6", "evil", "gopher", "sibling", "flow", "portcullis-"] {
        assert!(!seen.to_lowercase().contains(forged), "{forged} in {seen}");
    }
    let mut names: Vec<&str> = fields.lines().map(|line| line.split_once(": ").unwrap().0).collect();
    names.sort_unstable();
    assert_eq!(names, EXPECTED, "{seen}");
    for field in [
        "x-forwarded-user: alice",
        "x-forwarded-email: alice@wiki.test",
        "x-forwarded-groups: Owners",
        "x-forwarded-roles: admin",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: wiki.localhost:8080",
        "host: wiki.localhost:8080",
        "x-honest: kept",
        "cookie: a=1; b=2",
    ] {
        assert!(fields.lines().any(|line| line == field), "no {field} in {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_identity_never_arrives_over_http1() {
    let rig = Rig::new().await;
    let cookie = rig.alice();
    let mut fields = vec![format!("Cookie: a=1; {cookie}"), "Cookie: b=2".into(), "X-Honest: kept".into()];
    for (name, value) in FORGED {
        let titled: String =
            name.split('-').map(|part| part[..1].to_uppercase() + &part[1..] + "-").collect();
        fields.push(format!("{}: {value}", titled.trim_end_matches('-')));
    }
    // A client nominates fields as belonging to this hop.
    fields.push("Connection: X-Dropped, keep-alive".into());
    fields.push("X-Dropped: 1".into());
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let mut raw = rig.ask("GET /headers/a%2Fb?q=1", &fields).await;
    let (head, body) = raw.answer().await;
    assert_eq!(head.status, 200, "{body}");
    check(&body);
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_identity_never_arrives_over_http2() {
    let rig = Rig::new().await;
    let cookie = rig.alice();
    let mut fields =
        vec![("cookie", "a=1"), ("cookie", cookie.as_str()), ("cookie", "b=2"), ("x-honest", "kept")];
    fields.extend(FORGED);
    for mut sender in [h2c(&rig).await, h2s(&rig).await] {
        let (parts, body) = h2_get(&mut sender, "/headers/a%2Fb?q=1", &fields).await;
        assert_eq!(parts.status, 200, "{body}");
        check(&body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_identity_never_arrives_over_a_websocket_or_a_public_rule() {
    let rules = vec![("/headers/**", Allow::Public), ("/**", Allow::SignedIn)];
    let rig = Rig::with(Wish { rules, ..Wish::default() }).await;
    let forged: Vec<String> = FORGED.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let cookie = format!("Cookie: {}", rig.alice());
    let mut fields: Vec<&str> = forged.iter().map(String::as_str).collect();
    fields.push(&cookie);

    let mut raw = rig.ask("GET /headers", &fields).await;
    let (head, body) = raw.answer().await;
    assert_eq!(head.status, 200);
    assert_eq!(rig.store.reads.load(Ordering::SeqCst), 0, "a public rule asks nobody");
    for forged in ["mallory", "127.6.6.6", "evil", "portcullis", "x-forwarded-user", "cookie"] {
        assert!(!body.contains(forged), "{forged} in {body}");
    }

    fields.extend(UPGRADE);
    let mut raw = rig.ask("GET /socket", &fields).await;
    assert_eq!(raw.head().await.status, 101);
    let names = raw.until("\n").await;
    let mut names: Vec<&str> = names.trim().split(',').collect();
    names.sort_unstable();
    let mut expected: Vec<&str> =
        EXPECTED.iter().copied().filter(|name| *name != "cookie" && *name != "x-honest").collect();
    expected.extend(["connection", "upgrade", "sec-websocket-key", "sec-websocket-version"]);
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_cannot_set_our_cookies_or_share_answers() {
    let rig = Rig::new().await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut raw = rig.ask("GET /tricks", &[&cookie]).await;
    let head = raw.head().await;
    assert_eq!(head.fields("set-cookie").collect::<Vec<_>>(), ["sid=1; Path=/"]);
    assert_eq!(head.field("cache-control"), Some("private, max-age=600"));
    assert_eq!(head.field("vary"), Some("Cookie"));
    assert_eq!(head.field("alt-svc"), None);
    assert_eq!(head.field("strict-transport-security"), None, "this app is plain http");
    assert!((rig.metric("portcullis_set_cookies_refused_total") - 2.0).abs() < f64::EPSILON);

    let rig = Rig::with(Wish { public: "https://wiki.localhost", ..Wish::default() }).await;
    let cookie = rig.alice();
    let (parts, _) = h2_get(&mut h2s(&rig).await, "/headers", &[("cookie", &cookie)]).await;
    assert_eq!(parts.headers["strict-transport-security"], "max-age=31536000");
    assert_eq!(parts.headers["cache-control"], "private, no-cache");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_sent_is_the_configured_one() {
    for (host, expected) in [
        (HostSent::Public, HOST.to_owned()),
        (HostSent::Named(HeaderValue::from_static("app.internal")), "app.internal".into()),
        (HostSent::Upstream, "127.0.0.1".into()),
    ] {
        let rig = Rig::with(Wish { host: host.clone(), ..Wish::default() }).await;
        let cookie = rig.alice();
        for body in [
            rig.ask("GET /headers", &[&format!("Cookie: {cookie}")]).await.answer().await.1,
            h2_get(&mut h2c(&rig).await, "/headers", &[("cookie", &cookie)]).await.1,
        ] {
            let sent = body.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
            assert!(sent.starts_with(&expected), "{host:?}: {sent}");
            assert!(body.contains("x-forwarded-host: wiki.localhost:8080"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_who_the_client_is() {
    let rig = Rig::with(Wish { trusted: vec!["127.0.0.0/8"], ..Wish::default() }).await;
    let cookie = format!("Cookie: {}", rig.alice());
    let fields = [
        cookie.as_str(),
        "X-Forwarded-For: 6.6.6.6, 203.0.113.9",
        "X-Request-Id: abc",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ];
    let (_, body) = rig.ask("GET /headers", &fields).await.answer().await;
    assert!(body.contains("x-forwarded-for: 6.6.6.6, 203.0.113.9, 127.0.0.1\n"), "{body}");
    assert!(body.contains("x-request-id: abc\n"));
    assert!(body.contains("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n"));
    let line = &rig.lines("/headers", 1).await[0];
    assert_eq!(line["client"], "203.0.113.9");
    assert_eq!(line["trace"], "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_goes_up_byte_for_byte() {
    let rig = Rig::new().await;
    let cookie = rig.alice();
    let field = format!("Cookie: {cookie}");
    for path in ["/headers/%2e%2E/a%2Fb;x=1//c/?a=%20&b=../..", "/headers?", "/headers/'\"|{}^"] {
        let (head, body) = rig.ask(&format!("GET {path}"), &[&field]).await.answer().await;
        assert_eq!(head.status, 200, "{path}");
        assert_eq!(body.lines().next(), Some(format!("GET {path}").as_str()));
    }
    let (_, body) = rig.ask(&format!("GET {PUBLIC}/headers/absolute"), &[&field]).await.answer().await;
    assert_eq!(body.lines().next(), Some("GET /headers/absolute"));
    let mut sender = h2c(&rig).await;
    let fields = [("cookie", cookie.as_str())];
    let (parts, body) = h2_get(&mut sender, "/headers/%2e%2E/a%2Fb;x=1//c/?a=%20", &fields).await;
    assert_eq!(parts.status, 200);
    assert_eq!(body.lines().next(), Some("GET /headers/%2e%2E/a%2Fb;x=1//c/?a=%20"));
}

/// A proxy before us may carry many people's requests over one socket: what one of them showed is nothing to the next.
#[tokio::test(flavor = "multi_thread")]
async fn people_who_share_a_socket_are_told_apart() {
    let rig = Rig::new().await;
    let (alice, bob) = (format!("Cookie: {}", rig.alice()), format!("Cookie: {}", rig.bob()));
    let reads = || rig.store.reads.load(Ordering::SeqCst);
    let mut raw = rig.connect().await;
    for (cookie, name) in
        [(&alice, "alice"), (&alice, "alice"), (&bob, "bob"), (&alice, "alice"), (&bob, "bob")]
    {
        raw.say("GET /headers", &[cookie]).await;
        let (head, body) = raw.answer().await;
        assert_eq!(head.status, 200);
        assert!(body.contains(&format!("x-forwarded-user: {name}\n")), "{name}: {body}");
    }
    assert_eq!(reads(), 2, "each was read once");
    // Nobody, somebody with one character changed, and two cookies at once.
    let mut changed = alice.clone();
    changed.replace_range(alice.len() - 1.., if alice.ends_with('A') { "B" } else { "A" });
    for fields in [vec![], vec![changed.as_str()], vec![alice.as_str(), bob.as_str()]] {
        raw.say("GET /headers", &fields).await;
        assert_eq!(raw.answer().await.0.status, 401, "{fields:?}");
        raw.say("GET /headers", &[&alice]).await;
        assert_eq!(raw.answer().await.0.status, 200);
    }
    // What the socket remembers of her does not keep her in.
    rig.take_out(1).await;
    raw.say("GET /headers", &[&alice]).await;
    assert_eq!(raw.answer().await.0.status, 401);
    raw.say("GET /headers", &[&bob]).await;
    assert_eq!(raw.answer().await.0.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_minds_the_case_of_names_is_told_them_in_its_own() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    let app = application(move |_, mut socket| {
        let seen = seen.clone();
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && socket.read_buf(&mut head).await.unwrap_or(0) > 0 {}
            seen.lock().unwrap().push(String::from_utf8(head).unwrap());
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    for (header_case, names) in [
        (HeaderCase::Lower, ["\r\nhost: ", "\r\nx-forwarded-user: alice", "\r\nx-own: 1"]),
        (HeaderCase::Title, ["\r\nHost: ", "\r\nX-Forwarded-User: alice", "\r\nX-Own: 1"]),
    ] {
        let rig = Rig::with(Wish { upstream: Some(app), header_case, ..Wish::default() }).await;
        // In whatever case a client claims to be somebody, or says something of its own.
        let fields = [&*format!("Cookie: {}", rig.alice()), "x-forWARDED-user: mallory", "x-OWN: 1"];
        assert_eq!(rig.ask("GET /", &fields).await.answer().await.0.status, 200);
        let head = heads.lock().unwrap().pop().unwrap();
        assert!(names.iter().all(|name| head.contains(name)) && !head.contains("mallory"), "{head}");
    }
}
