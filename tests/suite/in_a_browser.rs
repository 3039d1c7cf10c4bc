//! What a person sees, in headless Chromium: the rehearsal from signing in to being refused, and the same over TLS and
//! HTTP/2. Pictures go to `target/pictures`, to be looked at.

use std::path::{Path, PathBuf};

use http::Version;
use rustix::process::Signal;

use crate::needs;
use crate::rig::application::Application;
use crate::rig::chromium::Chromium;
use crate::rig::idp::Op;
use crate::rig::rehearsal::Rehearsal;
use crate::rig::settings::Settings;
use crate::rig::stage::Stage;
use crate::rig::wire::Dial;
use crate::rig::{tls, until};

pub(crate) fn picture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("pictures");
    folder.join(format!("{name}.png"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rehearsal_from_signing_in_to_being_refused() {
    needs!("chromium");
    let mut rehearsal = Rehearsal::start(&["--stay"]);
    rehearsal.says("Ctrl-C").await;
    let (app, idp) = (rehearsal.address("app.localhost"), rehearsal.address("idp.localhost"));
    let chromium = Chromium::start((1100, 900), &[]).await;

    chromium.open(&app).await;
    chromium.reads("Who are you today").await;
    chromium.picture(&picture("rehearsal-1-sign-in")).await;
    chromium.click("button[value=alice]").await;
    chromium.reads("What this server was told about your visit").await;
    chromium.reads("x-forwarded-user").await;
    chromium.picture(&picture("rehearsal-2-headers")).await;
    chromium.click("a[href='/clock']").await;
    chromium.reads("connected").await;
    chromium.picture(&picture("rehearsal-3-clock")).await;

    let clock = chromium.here().await;
    chromium.window().await;
    chromium.open(&idp).await;
    chromium.reads("Deactivate alice").await;
    chromium.picture(&picture("rehearsal-4-directory")).await;
    chromium.click("button[formaction='/directory/alice/deactivate']").await;
    chromium.reads("deactivated").await;
    chromium.picture(&picture("rehearsal-5-deactivated")).await;

    // The push was answered before that page came: the clock has stopped.
    chromium.switch(&clock).await;
    chromium.reads("connection closed").await;
    chromium.picture(&picture("rehearsal-6-clock-closed")).await;
    chromium.open(&app).await;
    chromium.reads("Who are you today").await;
    chromium.click("button[value=alice]").await;
    chromium.reads("could not be signed in").await;
    chromium.picture(&picture("rehearsal-7-refused")).await;

    // Others are not touched, and Alice comes back when the directory says so.
    chromium.open(&idp).await;
    chromium.click("button[formaction='/directory/alice/reactivate']").await;
    // The click's own page first: it would come over the next one.
    chromium.reads("Re-activate Alice Archer").await;
    until("the whole of the click's own page", || async {
        chromium.run("return document.readyState + location.hash").await == "complete#calls"
    })
    .await;
    chromium.open(&app).await;
    chromium.click("button[value=alice]").await;
    chromium.reads("What this server was told about your visit").await;
    chromium.open(&format!("{}/.portcullis/logout", app.trim_end_matches('/'))).await;
    chromium.reads("Sign out").await;
    chromium.picture(&picture("rehearsal-8-logout")).await;
    chromium.click("form button").await;
    chromium.reads("You are signed out").await;
    chromium.picture(&picture("rehearsal-9-signed-out")).await;

    rehearsal.signal(Signal::INT);
    assert_eq!(rehearsal.ended().await.code(), Some(0), "{}", rehearsal.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_over_tls_and_http_2() {
    needs!("chromium");
    needs!("op");
    let op = Op::shared();
    let app = Application::start().await;
    let mut settings = Settings::new(app.address);
    settings.scheme = "https";
    let client = op.client(&settings).await;
    let stage = Stage::of(app, settings.with_idp(&op.issuer, &client)).await;
    let id = stage.directory.person("mira@corp.test", "00u-mira-tls").await;
    // The authority of this run signed the certificate; Chromium is told which key to believe.
    let trust = format!("--ignore-certificate-errors-spki-list={}", tls::leaf_key_hash());
    let chromium = Chromium::start((900, 700), &[trust]).await;
    let origin = stage.program.settings.origin();

    chromium.open(&format!("{origin}/page")).await;
    chromium.fill("input[name=login]", "00u-mira-tls").await;
    chromium.fill("input[name=password]", "any").await;
    chromium.click("button[type=submit]").await;
    chromium.reads("Authorize").await;
    chromium.click("button[type=submit]").await;
    chromium.reads("socket open").await;
    let protocol = chromium.run("return performance.getEntriesByType('navigation')[0].nextHopProtocol").await;
    assert_eq!(protocol, "h2");
    let seen = stage.app.last("/page").unwrap();
    assert_eq!(seen.header("x-forwarded-user").as_deref(), Some("mira@corp.test"));
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("https"));

    stage.directory.deactivate(&id).await;
    chromium.reads("socket closed").await;
    chromium.open(&format!("{origin}/page")).await;
    chromium.reads("could not be signed in").await;
    chromium.picture(&picture("tls-refused")).await;
    assert_eq!(stage.app.count_of("/page"), 1);
}

/// The words that the operator has for people, from a reload on; and on a small screen.
#[tokio::test(flavor = "multi_thread")]
async fn pages_call_the_application_by_its_name_and_say_where_help_is() {
    needs!("chromium");
    let mut stage = Stage::seeded(|_| {}, &["alice@corp.test"]).await;
    let origin = stage.program.settings.origin();
    let chromium = Chromium::start((600, 640), &[]).await;
    let refused = format!("{origin}/.portcullis/callback/op?code=x&state=x");
    chromium.open(&refused).await;
    assert!(!chromium.text().await.contains("Help:"));
    let words = "app: { name: Team Wiki – Köln }\nsupport: https://help.corp.test/desk/wiki\n";
    stage.program.reload(|settings| settings.more = words.to_owned()).await;
    chromium.narrow(320).await;
    chromium.open(&refused).await;
    chromium.reads("Help: help.corp.test/desk/wiki").await;
    chromium.reads("Team Wiki – Köln").await;
    assert!(chromium.title().await.ends_with(" – Team Wiki – Köln"));
    let leads = chromium.run("return document.querySelector('.support a').href").await;
    assert_eq!(leads, "https://help.corp.test/desk/wiki");
    let width = chromium.run("return document.documentElement.scrollWidth").await;
    assert!(width.as_u64() <= Some(320), "{width}");
    chromium.picture(&picture("help")).await;
    chromium.open(&format!("{origin}/.portcullis/logged-out")).await;
    assert!(!chromium.text().await.contains("Help:"), "nothing went wrong");
}

/// Our pages in the language that somebody asks for, made by us or for the data plane.
#[tokio::test(flavor = "multi_thread")]
async fn pages_speak_the_language_that_is_asked_for() {
    needs!("chromium");
    let change = |settings: &mut Settings| {
        settings.more =
            "app: { name: Team Wiki }\nsupport: Call 4711\nroutes:\n  - path: /open/**\n    allow: public\n"
                .to_owned();
        settings.upstream = "http://127.0.0.1:9".to_owned();
    };
    let stage = Stage::seeded(change, &["alice@corp.test"]).await;
    let origin = stage.program.settings.origin();
    for (language, title, down) in [
        ("de-CH", "Sie sind abgemeldet", "Die Anwendung antwortet nicht"),
        ("fr", "Vous êtes déconnecté", "L’application ne répond pas"),
        ("es-MX", "Ha cerrado la sesión", "La aplicación no responde"),
        ("ja", "サインアウトしました", "アプリケーションが応答しません"),
        ("pl", "You are signed out", "The application does not answer"),
    ] {
        let chromium = Chromium::start((600, 640), &[format!("--accept-lang={language}")]).await;
        for (path, wanted) in [("/.portcullis/logged-out", title), ("/open/x", down)] {
            chromium.open(&format!("{origin}{path}")).await;
            chromium.reads(wanted).await;
            let said = chromium.run("return document.documentElement.lang").await;
            let tag = if language == "pl" { "en" } else { &language[..2] };
            assert_eq!(said, tag, "{language} {path}");
        }
        chromium.reads("Call 4711").await;
        chromium.picture(&picture(&format!("language-{}", &language[..2]))).await;
    }
}

/// RFC 8441: a browser that has an HTTP/2 connection to the app opens a page's WebSocket on it, as a stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_of_a_page_is_a_stream_of_http_2_and_is_cut() {
    const ALICE: &str = "alice@corp.test";
    const BOB: &str = "bob@corp.test";
    const MARK: &str = "written-after-the-answer";
    needs!("chromium");
    let stage = Stage::seeded(|settings| settings.scheme = "https", &[ALICE, BOB]).await;
    let trust = format!("--ignore-certificate-errors-spki-list={}", tls::leaf_key_hash());
    let chromium = Chromium::start((900, 700), &[trust]).await;
    let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
    chromium.open(&format!("{}/.portcullis/logged-out", alice.origin)).await;
    chromium.run(&format!("document.cookie = '{}; Secure; Path=/'", alice.cookie)).await;
    chromium.open(&format!("{}/page", alice.origin)).await;
    chromium.reads("socket open").await;
    let protocol = chromium.run("return performance.getEntriesByType('navigation')[0].nextHopProtocol").await;
    assert_eq!(protocol, "h2");
    chromium.run("window.heard = []; w.onmessage = e => heard.push(e.data); w.send('from the page')").await;
    until("the echo on the page", || async { chromium.run("return heard.join()").await == "from the page" })
        .await;
    let host = stage.program.settings.host.clone();
    let how = Dial { version: Version::HTTP_2, tls: Some(&host), ..Dial::default() };
    let mut bobs = bob.stream("/events", how).await;

    stage.directory.deactivate(stage.id(ALICE)).await;
    stage.app.mark(MARK).await;

    chromium.reads("socket closed").await;
    assert_eq!(chromium.run("return heard.join()").await, "from the page");
    bobs.until(MARK).await;
    // One of HTTP/1.1 would have been answered with a 101.
    let line = stage.program.logged(&["\"path\":\"/ws\""]).await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&line["status"], &line["ended"], &line["reason"]),
        (&200.into(), &"cut".into(), &"revoked".into())
    );
    assert_eq!(stage.app.count_of("/ws"), 1, "and it did not come again");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_pages_are_readable_on_a_small_screen() {
    needs!("chromium");
    let stage = Stage::start().await;
    let origin = stage.program.settings.origin();
    let chromium = Chromium::start((600, 640), &[]).await;
    chromium.narrow(320).await;
    for (name, path) in
        [("signed-out", "/.portcullis/logged-out"), ("not-found", "/.portcullis/nothing"), ("idp-down", "/")]
    {
        chromium.open(&format!("{origin}{path}")).await;
        let width = chromium.run("return document.documentElement.scrollWidth").await;
        let window = chromium.run("return window.innerWidth").await;
        assert!(
            width.as_u64() <= Some(320) && window == 320,
            "{name} is wider than 320: {width} of {window}"
        );
        let title = chromium.title().await;
        assert!(!title.is_empty() && !chromium.text().await.is_empty(), "{name}");
        let language = chromium.run("return document.documentElement.lang").await;
        assert_eq!(language, "en", "{name}");
        chromium.picture(&picture(&format!("small-{name}"))).await;
    }
}
