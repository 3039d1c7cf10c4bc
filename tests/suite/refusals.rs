//! Promise 1: no session, no byte. Whoever is not signed in gets a refusal in a form that what asked understands, and
//! the application does not hear of it.

use http::{Method, Request};

use crate::rig::raw::RawSocket;
use crate::rig::stage::Stage;
use crate::rig::until;
use crate::rig::websocket::WebSocket;
use crate::rig::wire::{self, Answer, Connection, whole};

/// A request without a session, with exactly these headers.
async fn ask(stage: &Stage, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let host = format!("app.localhost:{}", stage.program.proxy().port());
    let mut request = Request::builder().method(method).uri(path).header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let asked = wire::ask(stage.program.proxy(), request.body(whole("")).unwrap()).await;
    asked.unwrap_or_else(|fault| panic!("{method} {path} {headers:?}: {fault:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_request_is_refused_in_its_own_form() {
    let stage = Stage::start().await;
    let navigate = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("accept", "text/html")];

    for method in ["GET", "HEAD"] {
        let page = ask(&stage, method, "/deep/page?q=1", &navigate).await;
        assert!(page.status.is_redirection(), "{method}: {}", page.status);
        let to = page.header("location").unwrap();
        assert!(to.contains("/.portcullis/login") && to.contains("return_to="), "{to}");
        assert!(page.header("cache-control").unwrap().contains("no-store"));
        assert!(page.header("set-cookie").is_none(), "a refusal keeps no state");
    }
    let old = ask(&stage, "GET", "/", &[("accept", "text/html,*/*")]).await;
    assert!(old.status.is_redirection(), "a browser that sends no Sec-Fetch-* still gets to the login");

    let prefetch = [&navigate[..], &[("sec-purpose", "prefetch")]].concat();
    let event_stream =
        [("accept", "text/event-stream"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];
    let socket = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];
    let script = [("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty"), ("accept", "*/*")];
    let cases: [(&str, &[(&str, &str)]); 7] = [
        ("GET", &prefetch),
        ("GET", &event_stream),
        ("GET", &socket),
        ("GET", &script),
        ("POST", &script),
        ("OPTIONS", &script),
        ("GET", &[]),
    ];
    for (method, headers) in cases {
        let refused = ask(&stage, method, "/data", headers).await;
        assert_eq!(refused.status, 401, "{method} {headers:?}");
        assert_eq!(refused.header("www-authenticate"), Some("Portcullis"), "a scheme that opens no dialog");
        assert!(refused.header("cache-control").unwrap().contains("no-store"));
        let said = refused.json();
        assert_eq!(said["error"], "login_required", "{said}");
        assert!(said["login_url"].as_str().unwrap().contains("/.portcullis/login"), "{said}");
        assert!(said["ref"].as_str().is_some_and(|reference| reference.len() == 9), "{said}");
    }

    for dest in ["iframe", "frame", "embed", "object"] {
        let frame =
            ask(&stage, "GET", "/", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", dest)]).await;
        assert_eq!(frame.status, 401, "{dest}");
        assert!(frame.text().contains("_top"), "its link opens the top window: {}", frame.text());
    }
    let form = ask(&stage, "POST", "/save", &navigate).await;
    assert_eq!(form.status, 401);
    assert!(
        form.header("content-type").unwrap().starts_with("text/html"),
        "a page that says the form was not sent"
    );

    assert_eq!(stage.app.count(), 0, "the application heard of none of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_without_a_session_is_told_so_in_grpc() {
    let stage = Stage::start().await;
    let request = stage
        .stranger()
        .request_h2(Method::POST, "/pkg.Service/Call")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(whole(vec![0; 5]))
        .unwrap();
    let answer = Connection::open_h2(stage.program.proxy()).await.unwrap().send(request).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some("16")));
    assert_eq!(stage.app.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_a_client_says_of_itself_lets_it_in() {
    let stage = Stage::start().await;
    let claims: [(&str, &str); 12] = [
        ("user-agent", "kube-probe/1.31"),
        ("user-agent", "GoogleHC/1.0"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-user", "root"),
        ("x-forwarded-uri", "/healthz"),
        ("x-original-url", "/public"),
        ("x-rewrite-url", "/public"),
        ("x-forwarded-method", "OPTIONS"),
        ("x-http-method-override", "OPTIONS"),
        ("authorization", "Bearer anything"),
        ("forwarded", "for=127.0.0.1;host=localhost"),
        ("cookie", "__Host-portcullis-00000000=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    ];
    for (name, value) in claims {
        for path in ["/", "/healthz", "/ping", "/favicon.ico", "/robots.txt", "/.well-known/security.txt"] {
            let refused = ask(&stage, "GET", path, &[(name, value)]).await;
            assert_eq!(refused.status, 401, "{name}: {value} at {path}");
        }
    }
    assert_eq!(stage.app.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_no_name_of_ours_gets_nothing() {
    let stage = Stage::start().await;
    let port = stage.program.proxy().port();
    for host in [
        "127.0.0.1",
        "localhost",
        "other.localhost",
        "app.localhost.",
        "evil-app.localhost",
        "app.localhost.evil",
    ] {
        let request =
            Request::get("/").header("host", format!("{host}:{port}")).header("accept", "text/html");
        let asked = request.body(whole("")).unwrap();
        let answer = Connection::open(stage.program.proxy()).await.unwrap().send(asked).await.unwrap();
        assert_eq!(answer.status, 421, "{host}");
        assert!(answer.header("location").is_none() && answer.header("set-cookie").is_none(), "{host}");
    }
    for host in [format!("APP.localhost:{port}"), "app.localhost".to_owned()] {
        let request =
            Request::get("/").header("host", &host).header("accept", "text/html").body(whole("")).unwrap();
        let answer = Connection::open(stage.program.proxy()).await.unwrap().send(request).await.unwrap();
        assert!(answer.status.is_redirection(), "{host} is our name: {}", answer.status);
    }
    assert_eq!(stage.app.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_prefix_never_reaches_the_application() {
    let stage = Stage::with(|settings| settings.more = public_everywhere()).await;
    let paths = [
        "/.portcullis",
        "/.portcullis/",
        "/.portcullis/nothing",
        "/.portcullis/login/x",
        "/.portcullis/scim/v2/Users",
        "/.portcullis/verify",
        "/.portcullis/callback/nobody",
        "/.portcullis/jwks.json",
        "/.portcullis/metrics",
    ];
    for path in paths {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let answer = ask(&stage, method, path, &[]).await;
            assert!(answer.status.is_client_error(), "{method} {path}: {}", answer.status);
        }
    }
    let ping = ask(&stage, "GET", "/.portcullis/ping", &[]).await;
    assert_eq!((ping.status.as_u16(), ping.body.len()), (204, 0));
    assert_eq!(stage.app.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_rules_exist_every_reading_of_a_path_has_to_be_open() {
    let rules = "routes:\n  - path: /open/**\n    allow: public\n  - path: /**\n    allow: signed-in\n";
    let stage = Stage::with(|settings| settings.more = rules.to_owned()).await;
    assert_eq!(ask(&stage, "GET", "/open/page", &[]).await.status, 200);
    let before = stage.app.count();
    let closed_by_a_reading = [
        "/open/%2e%2e/secret",
        "/open/../secret",
        "/open%2F..%2Fsecret",
        "/open/%5c..%5csecret",
        "/open/..\\secret",
        "/open/..;/secret",
        "/open/%252e%252e/secret",
        "/open/%2E%2E%2Fsecret",
        "//open/page",
        "//open/secret",
        "/%6Fpen/page",
        "/%73ecret",
        "/Open/page",
        "/open;/page",
    ];
    for path in closed_by_a_reading {
        assert_eq!(raw_status(&stage, path).await, 401, "{path}");
    }
    let not_to_be_read = [
        "/open/%",
        "/open/%u0070age",
        "/open/%00",
        "/open/%250A",
        "/open/%c0%ae%c0%ae/secret",
        "/open//a;b\\c/../%2F/%252F;/.//%5c%3F/..//d",
    ];
    for path in not_to_be_read {
        assert_eq!(raw_status(&stage, path).await, 400, "{path}");
    }
    for path in ["/%2eportcullis/me", "/open/../.portcullis/me", "/.Portcullis/login"] {
        assert_eq!(raw_status(&stage, path).await, 404, "{path}");
    }
    assert_eq!(stage.app.count(), before);
    // Where all readings are open it passes, and the application is told so byte for byte.
    let open = [
        "/open/a%20b",
        "/open/r%C3%A4ume",
        "/open/What%3F",
        "/open/./page",
        "/open//page",
        "/open/page;x=1",
        "/open/%3Bx",
        "/open/group%2Fproject/%61",
        "/open/x\\y/../z",
        "/open/100%25",
        "/open/a/",
    ];
    for path in open {
        assert_eq!(raw_status(&stage, path).await, 200, "{path}");
        assert_eq!(stage.app.seen().last().unwrap().target, path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_reading_that_asks_who_is_there_makes_a_request_somebodys() {
    let rules = "routes:\n  - path: /open/**\n    allow: public\n  - path: /**\n    allow: signed-in\n";
    let stage = Stage::seeded(|settings| settings.more = rules.to_owned(), &["alice"]).await;
    let alice = stage.visitor("alice");
    for (path, user) in [("/open/page", None), ("/open/..%2Fpage", Some("alice"))] {
        let answer = alice.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(stage.app.seen().last().unwrap().header("x-forwarded-user").as_deref(), user, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_of_another_page_is_refused_even_with_the_cookie() {
    let stage = Stage::with(|settings| settings.more = public_everywhere()).await;
    let (address, origin) = (stage.program.proxy(), stage.program.settings.origin());
    for foreign in ["http://evil.localhost", "null", "http://app.localhost:1", "https://app.localhost"] {
        let refused = WebSocket::open_with(address, &origin, "/ws", &[("origin", foreign)]).await.err();
        assert_eq!(refused.map(|fault| fault.refusal()), Some(403), "{foreign}");
    }
    assert_eq!(stage.app.count(), 0);
    assert!(WebSocket::open_with(address, &origin, "/ws", &[("origin", &origin)]).await.is_ok());
    assert!(
        WebSocket::open_with(address, &origin, "/ws", &[]).await.is_ok(),
        "without Origin it is no browser's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn our_pages_are_complete_without_a_session() {
    let stage = Stage::start().await;
    let mut browser = stage.program.browser();
    let page = browser.open("/.portcullis/logged-out").await;
    assert_eq!(page.status(), 200);
    assert!(page.text().contains("signed out"), "{}", page.text());
    let style = page.text().split('"').find(|part| part.contains("style.css")).map(str::to_owned);
    let style = browser.look(&style.expect("a style sheet")).await;
    assert_eq!(style.status(), 200);
    assert!(style.header("content-type").unwrap().starts_with("text/css"));
    assert_eq!(browser.look("/.portcullis/me").await.status(), 401);
    assert_eq!(browser.look("/.portcullis/nothing-here").await.status(), 404);
    assert_eq!(stage.app.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_listeners_serve_their_own_things_only() {
    let stage = Stage::start().await;
    let settings = &stage.program.settings;
    let get = |address, path: &'static str| async move {
        crate::rig::wire::get(address, "localhost", path).await.unwrap()
    };
    assert_eq!(get(settings.health, "/livez").await.status, 200);
    assert_eq!(get(settings.health, "/readyz").await.status, 200);
    assert_eq!(get(settings.health, "/").await.status, 404);
    assert_eq!(get(settings.health, "/scim/v2/Users").await.status, 404);
    assert_eq!(get(settings.health, "/app").await.status, 404, "no upstream.health is set");
    let lost = get(settings.scim, "/v2/Users").await;
    assert!([401, 404].contains(&lost.status.as_u16()), "{}", lost.status);
    assert_eq!(get(settings.scim, "/scim/v2/Users").await.status, 401, "no token");
    assert_eq!(stage.app.count(), 0);
}

/// What `portcullis ref` prints. Refusals are written in batches, without a hurry.
pub(crate) async fn told(stage: &Stage, reference: &str) -> String {
    let mut told = String::new();
    until("the refusal under its number", || {
        let output = stage.program.command(&["ref", reference]);
        told = String::from_utf8_lossy(&output.stdout).into_owned();
        async move { output.status.success() }
    })
    .await;
    told
}

/// The line of the access log with a number.
async fn line_of(stage: &Stage, reference: &str) -> serde_json::Value {
    let line = stage.program.logged(&[&format!("\"ref\":\"{reference}\""), "\"decision\""]).await;
    serde_json::from_str(&line).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_leads_the_operator_to_the_rule_the_host_and_the_limit() {
    let upstream = crate::rig::application::Application::start().await;
    let change = |settings: &mut crate::rig::settings::Settings| {
        settings.more =
            "routes:\n  - path: /admin/**\n    allow: [admin]\n  - path: /**\n    allow: signed-in\n"
                .to_owned();
        settings.bindings =
            Some("version: 1\nroles: [admin]\nbindings:\n  - group: Owners\n    role: admin\n".to_owned());
        settings.upstream = format!("\n  url: http://{}\n  first_byte_timeout: 1s", upstream.address);
    };
    let stage = Stage::seeded(change, &["alice@corp.test"]).await;
    stage.directory.group("Sales", &[stage.id("alice@corp.test")]).await;
    let alice = stage.visitor("alice@corp.test");

    let refused = alice.get("/admin/x").await;
    assert_eq!(refused.status, 403);
    let reference = refused.json()["ref"].as_str().unwrap().to_owned();
    assert_eq!(line_of(&stage, &reference).await["rule"], "/admin/**");
    let role = told(&stage, &reference).await;
    for part in ["/admin/** asks for admin", "Sales", "by the group Owners", stage.id("alice@corp.test")] {
        assert!(role.contains(part), "{part} in {role}");
    }
    assert!(!refused.text().contains("Owners"), "the browser sees the number alone: {}", refused.text());

    let port = stage.program.proxy().port();
    let request = Request::get("/").header("host", format!("10.1.2.3:{port}")).body(whole("")).unwrap();
    let answer = Connection::open(stage.program.proxy()).await.unwrap().send(request).await.unwrap();
    assert_eq!(answer.status, 421);
    let host = told(&stage, answer.text().trim().rsplit(' ').next().unwrap()).await;
    for part in [
        format!("10.1.2.3:{port}"),
        format!("app.localhost:{port}"),
        "let the proxy in front pass the Host".into(),
    ] {
        assert!(host.contains(&part), "{part} in {host}");
    }

    let slow = alice.get("/slow").await;
    assert_eq!(slow.status, 504);
    let reference = slow.json()["ref"].as_str().unwrap().to_owned();
    let line = stage.program.logged(&[&format!("\"ref\":\"{reference}\""), "did not begin to answer"]).await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["upstream"], format!("http://{}", upstream.address));
    assert_eq!(line["cause"], "no answer began within 1s");
    assert_eq!(line["limit"], "upstream.first_byte_timeout: 1s");
    assert_eq!(line_of(&stage, &reference).await["status"], 504);
    let record = told(&stage, &reference).await;
    assert!(
        record.contains("no answer began within 1s") && record.contains("first_byte_timeout"),
        "{record}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_a_refused_login_stands_in_the_access_log_too() {
    let stage = Stage::start().await; // its IdP does not answer
    let page = ask(&stage, "GET", "/.portcullis/login", &[("accept", "text/html")]).await;
    assert_eq!(page.status, 503);
    let line = stage.program.logged(&["login refused", "\"ref\""]).await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let reference = line["ref"].as_str().unwrap();
    assert!(page.text().contains(reference), "{}", page.text());
    let access = line_of(&stage, reference).await;
    assert_eq!((&access["path"], &access["decision"]), (&"/.portcullis/login".into(), &"own".into()));
    assert_eq!(access["trace"], line["trace"]);
    let record = told(&stage, reference).await;
    assert!(
        record.contains("login refused") && record.contains("metadata"),
        "one record, the login's: {record}"
    );
}

fn public_everywhere() -> String {
    "routes:\n  - path: /**\n    allow: public\n".to_owned()
}

/// A request whose target goes out byte for byte.
async fn raw_status(stage: &Stage, target: &str) -> u16 {
    let proxy = stage.program.proxy();
    let mut raw = RawSocket::connect(proxy, format!("app.localhost:{}", proxy.port())).await;
    raw.say(&format!("GET {target}"), &["connection: close"]).await;
    raw.head().await.status
}
