//! Refusals, as each kind of client sees them.

use std::sync::atomic::Ordering;

use portcullis_policy::{Allow, Change, SessionHash};
use portcullis_proxy::RefusalKind;

use crate::client::{empty, h2_get, h2_send, h2c, request};
use crate::rig::{HOST, Rig, Wish, admins};
use crate::streams::UPGRADE;

const NAVIGATE: [&str; 2] = ["Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"];

#[tokio::test(flavor = "multi_thread")]
async fn nobody_signed_in_by_kind() {
    let rig = Rig::new().await;
    let frame = ["Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"];
    for (name, line, fields, status) in [
        ("navigation", "GET /a/b?c=d", &NAVIGATE[..], 303),
        ("old browser", "GET /a/b?c=d", &["Accept: text/html"][..], 303),
        ("head", "HEAD /a/b?c=d", &NAVIGATE[..], 303),
        ("form", "POST /a", &[&NAVIGATE[..], &["Content-Length: 3"]].concat()[..], 401),
        ("frame", "GET /a", &frame[..], 401),
        ("prefetch", "GET /a", &[&NAVIGATE[..], &["Sec-Purpose: prefetch"]].concat()[..], 401),
        ("websocket", "GET /a", &UPGRADE[..], 401),
        ("event stream", "GET /a", &["Accept: text/event-stream"][..], 401),
        ("script", "GET /a", &["Accept: application/json"][..], 401),
        ("preflight", "OPTIONS /a", &["Access-Control-Request-Method: PUT"][..], 401),
        ("program", "DELETE /a", &[][..], 401),
    ] {
        let mut raw = rig.ask(line, fields).await;
        if name == "form" {
            raw.send(b"a=b").await;
        }
        let (head, body) =
            if line.starts_with("HEAD") { (raw.head().await, String::new()) } else { raw.answer().await };
        assert_eq!(head.status, status, "{name}");
        assert_eq!(head.field("cache-control"), Some("no-store"), "{name}");
        assert!(head.field("set-cookie").is_none(), "{name}");
        if status == 303 {
            assert_eq!(head.field("location"), Some("/.portcullis/login?return_to=/a/b%3Fc%3Dd"), "{name}");
            assert_eq!(body, "");
            continue;
        }
        assert_eq!(head.field("www-authenticate"), Some("Portcullis"), "{name}");
        let is_page = matches!(name, "form" | "frame");
        let kind = head.field("content-type").unwrap();
        assert_eq!(kind.starts_with("text/html"), is_page, "{name}: {kind}");
        if !is_page {
            let said: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(said["error"], "login_required", "{name}");
            assert_eq!(said["login_url"], format!("http://{HOST}/.portcullis/login"), "{name}");
            assert_eq!(said["ref"].as_str().unwrap().len(), 9, "{name}");
        }
    }
    let pages: Vec<_> = rig.pages.lock().unwrap().drain(..).map(|seen| seen.refused.unwrap()).collect();
    let kinds: Vec<_> = pages.iter().map(|refused| refused.kind).collect();
    assert_eq!(kinds, [RefusalKind::FormNotSent, RefusalKind::FramedLogin]);
    assert!(rig.upstream.asked().is_empty(), "no byte without a session");
    assert_eq!(rig.store.reads.load(Ordering::SeqCst), 0);
    // The reference on the page is the one in the record.
    let lines = rig.lines("/a", 8).await;
    assert!(lines.iter().any(|line| line["ref"] == pages[0].reference && line["reason"] == "no_session"));
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_is_told_in_its_own_way() {
    let rig = Rig::new().await;
    let mut sender = h2c(&rig).await;
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    let answer = h2_send(&mut sender, request("POST", "/wiki.Pages/Get", &fields, empty())).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["grpc-status"]), (200, &"16".parse().unwrap()));
    assert!(hyper::body::Body::is_end_stream(answer.body()), "the status is the end of the stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_says_no_by_name() {
    let rules = vec![("/admin/**", admins()), ("/app/**", Allow::SignedIn)];
    let rig = Rig::with(Wish { rules, ..Wish::default() }).await;
    let bob = format!("Cookie: {}", rig.bob());
    for (line, status, reason, kind) in [
        ("GET /admin/x", 403, "role", RefusalKind::NotAllowed),
        ("GET /elsewhere", 404, "no_route", RefusalKind::NotFound),
        ("GET /app/%2e%2e/admin", 403, "role", RefusalKind::NotAllowed),
        ("GET /app/../elsewhere", 404, "no_route", RefusalKind::NotFound),
        ("GET /app/%2e%2e/.portcullis/me", 404, "no_route", RefusalKind::NotFound),
        ("GET /app/%zz", 400, "ambiguous_path", RefusalKind::Unreadable),
        ("GET /app/%00", 400, "ambiguous_path", RefusalKind::Unreadable),
        ("TRACE /app/x", 405, "method", RefusalKind::Method),
    ] {
        let (head, body) = rig.ask(line, &[&[bob.as_str()][..], &NAVIGATE].concat()).await.answer().await;
        assert_eq!(head.status, status, "{line}");
        let path = line.split(' ').nth(1).unwrap();
        let record = rig.lines(path, 1).await.pop().unwrap();
        assert_eq!((&record["reason"], &record["status"]), (&reason.into(), &status.into()), "{line}");
        if line.starts_with("GET") {
            assert!(body.contains(record["ref"].as_str().unwrap()), "{line}: {body}");
            assert_eq!(rig.pages.lock().unwrap().pop().unwrap().refused.unwrap().kind, kind, "{line}");
        }
    }
    let (head, body) = rig.ask("GET /admin/x", &[&bob]).await.answer().await;
    assert_eq!((head.status, head.field("www-authenticate")), (403, None));
    assert!(body.contains("\"not_allowed\""), "{body}");
    assert!(rig.upstream.asked().is_empty());
    let alice = format!("Cookie: {}", rig.alice());
    assert_eq!(rig.ask("GET /admin/x", &[&alice]).await.answer().await.0.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_is_nobody() {
    let rig = Rig::new().await;
    let cookie = rig.alice();
    for host in ["evil.test", "wiki.localhost.", "localhost", "wiki.localhost.evil.test", "127.0.0.1"] {
        let mut raw = rig.connect().await;
        raw.send(
            format!("GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nAccept: text/html\r\n\r\n")
                .as_bytes(),
        )
        .await;
        let (head, _) = raw.answer().await;
        assert_eq!(head.status, 421, "{host}");
        assert!(head.field("location").is_none() && head.field("set-cookie").is_none());
    }
    let mut raw = rig.connect().await;
    raw.send(b"GET /without-a-host-at-all HTTP/1.0\r\n\r\n").await;
    assert_eq!(raw.head().await.status, 421);
    assert!(rig.upstream.asked().is_empty() && rig.pages.lock().unwrap().is_empty());
    assert_eq!(rig.store.reads.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_is_refused_on_both_protocols() {
    let rig = Rig::new().await;
    let mut raw = rig.connect().await;
    raw.send(format!("CONNECT {HOST} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await;
    assert_eq!(raw.head().await.status, 405);
    assert!(rig.upstream.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_of_another_site_is_refused() {
    let rig = Rig::new().await;
    let cookie = format!("Cookie: {}", rig.alice());
    let own = format!("Origin: http://{HOST}");
    for (origin, status) in [
        (Some("Origin: http://evil.test"), 403),
        (Some("Origin: https://wiki.localhost:8080"), 403),
        (Some("Origin: http://wiki.localhost"), 403),
        (Some("Origin: null"), 403),
        (Some(own.as_str()), 101),
        (None, 101),
    ] {
        let fields: Vec<&str> = [cookie.as_str()].into_iter().chain(UPGRADE).chain(origin).collect();
        assert_eq!(rig.ask("GET /socket", &fields).await.head().await.status, status, "{origin:?}");
    }
    assert_eq!(rig.upstream.asked().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_is_not_ours_never_causes_a_read() {
    let rig = Rig::new().await;
    let good = rig.alice();
    let (name, value) = good.split_once('=').unwrap();
    let flipped = format!("{}{}", &value[..20], value[20..].replace(|c: char| c.is_ascii_lowercase(), "A"));
    for (cookie, reads) in [
        (format!("{name}={flipped}"), 0),
        (format!("{name}="), 0),
        (format!("{name}=\"{value}\""), 0),
        (format!("{good}; {good}"), 0),
        (format!("{}={value}", name.to_lowercase()), 0),
    ] {
        let (head, _) = rig.ask("GET /headers", &[&format!("Cookie: {cookie}")]).await.answer().await;
        assert_eq!(head.status, 401, "{cookie}");
        assert_eq!(rig.store.reads.load(Ordering::SeqCst), reads, "{cookie}");
    }
    let (parts, _) = h2_get(&mut h2c(&rig).await, "/headers", &[("cookie", &good), ("cookie", &good)]).await;
    assert_eq!(parts.status, 401, "ours twice is no session, in crumbs too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_read_once_and_then_known() {
    let rig = Rig::new().await;
    let cookie = format!("Cookie: {}", rig.alice());
    for _ in 0..5 {
        assert_eq!(rig.ask("GET /headers", &[&cookie]).await.answer().await.0.status, 200);
    }
    assert_eq!(rig.store.reads.load(Ordering::SeqCst), 1);
    // Losing it is harmless: it is read again.
    rig.sessions.forget();
    assert_eq!(rig.ask("GET /headers", &[&cookie]).await.answer().await.0.status, 200);
    assert_eq!(rig.store.reads.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_account_is_read_again_before_it_is_served() {
    let rig = Rig::with(Wish { rules: vec![("/**", admins())], ..Wish::default() }).await;
    let cookie = format!("Cookie: {}", rig.alice());
    assert_eq!(rig.ask("GET /headers", &[&cookie]).await.answer().await.0.status, 200);
    rig.regroup(1, &[]);
    let _ = rig.sessions.apply_changes(&[Change::Reconsider(portcullis_policy::AccountId(1))]);
    assert_eq!(rig.ask("GET /headers", &[&cookie]).await.answer().await.0.status, 403);
    assert_eq!(rig.upstream.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_and_not_guessed() {
    let rig = Rig::new().await;
    let cookie = format!("Cookie: {}", rig.alice());
    rig.store.fails.store(true, Ordering::SeqCst);
    let (head, body) = rig.ask("GET /headers", &[&cookie]).await.answer().await;
    assert_eq!((head.status, head.field("retry-after")), (503, Some("1")));
    assert!(body.contains("\"unproven\""), "{body}");
    rig.store.fails.store(false, Ordering::SeqCst);
    rig.store.hangs.store(true, Ordering::SeqCst);
    let (head, _) = rig.ask("GET /headers", &[&cookie]).await.answer().await;
    assert_eq!(head.status, 503, "a read is waited for a second, not longer");
    rig.store.hangs.store(false, Ordering::SeqCst);
    assert_eq!(rig.ask("GET /headers", &[&cookie]).await.answer().await.0.status, 200);
    // Who is known needs no store.
    rig.store.fails.store(true, Ordering::SeqCst);
    assert_eq!(rig.ask("GET /headers", &[&cookie]).await.answer().await.0.status, 200);
    let lines = rig.lines("/headers", 4).await;
    let said: Vec<_> = lines.iter().map(|line| line["decision"].as_str().unwrap()).collect();
    assert_eq!(said, ["fault", "fault", "allow", "allow"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_pages_are_asked_whole_and_never_forwarded() {
    let rig = Rig::new().await;
    let (hash, cookie) = rig.sign_in(1, "alice", &[]);
    let fields = [
        format!("Cookie: {cookie}; __Host-pcflow-1=x"),
        "X-Forwarded-User: mallory".into(),
        "Content-Length: 5".into(),
        format!("Origin: http://{HOST}"),
    ];
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let mut raw = rig.ask("POST /.portcullis/logout?x=1", &fields).await;
    raw.send(b"a=b&c").await;
    let (head, body) = raw.answer().await;
    assert_eq!((head.status, body.as_str()), (200, "<p>/.portcullis/logout</p>"));
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(head.field(name), Some(value));
    }
    assert!(head.field("content-security-policy").unwrap().starts_with("default-src 'none'"));
    {
        let seen = &rig.pages.lock().unwrap()[0];
        assert_eq!(seen.request.body(), "a=b&c");
        assert_eq!(seen.request.uri(), "/.portcullis/logout?x=1");
        assert_eq!(seen.request.headers()["host"], HOST);
        assert!(seen.request.headers()["cookie"].to_str().unwrap().contains("__Host-pcflow-1=x"));
        assert!(!seen.request.headers().contains_key("x-forwarded-user"));
        assert_eq!(seen.visitor.session, Some(hash));
        assert_eq!(seen.visitor.client.to_string(), "127.0.0.1");
        assert_eq!(seen.visitor.request_id.len(), 32);
    }
    let (parts, _) = h2_get(&mut h2c(&rig).await, "/.portcullis/none-such", &[]).await;
    assert_eq!(parts.status, 200, "the page says what it is");
    assert_eq!(rig.pages.lock().unwrap()[1].visitor.session, None::<SessionHash>);
    assert!(rig.upstream.asked().is_empty());
    assert_eq!(rig.lines("/.portcullis/logout", 1).await[0]["decision"], "own");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_pages_take_little_and_from_this_site_only() {
    let rig = Rig::new().await;
    let mut raw = rig.ask("POST /.portcullis/logout", &["Content-Length: 65537"]).await;
    raw.send(&vec![b'x'; 65537]).await;
    assert_eq!(raw.answer().await.0.status, 413);
    let fields = ["Content-Length: 0", "Origin: http://evil.test"];
    let (head, _) = rig.ask("POST /.portcullis/logout", &fields).await.answer().await;
    assert_eq!(head.status, 403);
    assert!(rig.pages.lock().unwrap().is_empty());
    let (head, _) = rig.ask("POST /.portcullis/callback/okta", &fields).await.answer().await;
    assert_eq!(head.status, 200, "an IdP's answer comes from elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_takes_no_more_than_its_share_of_a_head() {
    let rig = Rig::new().await;
    let long = format!("X-Long: {}", "x".repeat(70_000));
    assert_eq!(rig.ask("GET /", &[&long]).await.answer().await.0.status, 431);
    let many: Vec<String> = (0..210).map(|n| format!("X-{n}: x")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(rig.ask("GET /", &many).await.answer().await.0.status, 431);
    let target = format!("GET /{}", "x".repeat(17_000));
    assert_eq!(rig.ask(&target, &[]).await.answer().await.0.status, 414);
    let mut sender = h2c(&rig).await;
    let answer = h2_send(&mut sender, request("GET", "/", &[("x-long", &"x".repeat(70_000))], empty())).await;
    assert_eq!(answer.status(), 431);
}

/// What the operator finds under the number that somebody was shown.
#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_a_refusal_says_by_what_and_what_would_help() {
    let roles = |names: &[&str]| Allow::Roles(names.iter().map(|name| std::sync::Arc::from(*name)).collect());
    let rules =
        vec![("/admin/**", roles(&["admin"])), ("/ops/**", roles(&["ops"])), ("/app/**", Allow::SignedIn)];
    let rig = Rig::with(Wish { rules, ..Wish::default() }).await;
    let bob = format!("Cookie: {}", rig.sign_in(2, "bob", &["Sales", "Engineering"]).1);
    let told = async |line: &str, fields: &[&str]| {
        let (_, body) = rig.ask(line, fields).await.answer().await;
        let said: serde_json::Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{body}"));
        rig.record(said["ref"].as_str().unwrap()).await
    };

    let role = told("GET /admin/x?secret=1", &[&bob]).await;
    assert_eq!((&role["rule"], &role["asks_for"]), (&"/admin/**".into(), &["admin"].into()));
    assert_eq!((&role["roles"], &role["groups"]), (&serde_json::json!([]), &["Sales", "Engineering"].into()));
    assert_eq!(role["detail"], "the rule /admin/** asks for admin, and the person has no role");
    assert_eq!(role["help"], "the person needs admin by the group Owners");
    assert_eq!((&role["user"], &role["idp"]), (&"id-bob".into(), &"okta".into()));
    assert!(!role.to_string().contains("secret"), "{role}");
    assert_eq!(rig.lines("/admin/x", 1).await[0]["rule"], "/admin/**", "the access log has the rule too");
    let unbound = told("GET /ops/x", &[&bob]).await;
    assert_eq!(unbound["help"], "nothing gives any of these roles: bind one in the bindings file");

    let nobody = told("GET /app/x", &[]).await;
    assert_eq!(nobody["detail"], "no session cookie came with the request");
    let lost = told("GET /elsewhere", &[&bob]).await;
    assert!(lost["help"].as_str().unwrap().contains("/**"), "{lost}");
    let elsewhere: Vec<&str> =
        [bob.as_str(), "Origin: http://evil.test"].into_iter().chain(UPGRADE).collect();
    let elsewhere = told("GET /app/socket", &elsewhere).await;
    assert_eq!(elsewhere["origin"], "http://evil.test");
    assert_eq!(elsewhere["expected"], serde_json::json!([format!("http://{HOST}")]));

    rig.take_out(2).await;
    let out = told("GET /app/x", &[&bob]).await;
    assert!(out["detail"].as_str().unwrap().contains("revoked"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_another_host_names_both_and_the_proxy_in_front() {
    let rig = Rig::new().await;
    for (fields, came, help) in [
        ("Host: 10.0.0.7:8080\r\n", "10.0.0.7:8080", "let the proxy in front pass the Host"),
        (
            "Host: app\r\nX-Forwarded-Host: wiki.localhost\r\n",
            "app",
            "X-Forwarded-Host, which says wiki.localhost",
        ),
    ] {
        let mut raw = rig.connect().await;
        raw.send(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes()).await;
        let (head, body) = raw.answer().await;
        assert_eq!(head.status, 421);
        assert!(!body.contains(HOST), "a stranger learns no name of ours: {body}");
        let record = rig.record(body.trim().rsplit(' ').next().unwrap()).await;
        assert_eq!((&record["host"], &record["expected"]), (&came.into(), &[HOST].into()));
        assert!(record["help"].as_str().unwrap().contains(help), "{record}");
        assert!(record["detail"].as_str().unwrap().contains(came), "{record}");
    }
}
