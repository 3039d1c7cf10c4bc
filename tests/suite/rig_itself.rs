//! The rig without the program: a test that waits for a marker proves nothing unless the marker can arrive. Here nobody
//! stands in between, so it does.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;

use crate::needs;
use crate::rig::application::Application;
use crate::rig::chromium::Chromium;
use crate::rig::idp::Op;
use crate::rig::program::Program;
use crate::rig::seed::Seed;
use crate::rig::settings::Settings;
use crate::rig::sqlite_lock::{self, WriteLock};
use crate::rig::websocket::WebSocket;
use crate::rig::wire::{self, Answer, Connection, whole};
use crate::rig::{must, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_marker_arrives_on_every_kind_of_stream() {
    let app = Application::start().await;
    let origin = format!("http://{}", app.address);
    let mut idle = WebSocket::open(app.address, &origin, "/ws", "").await.unwrap();
    idle.echo("are you there").await.unwrap();
    let busy = WebSocket::open(app.address, &origin, "/ws/clock", "").await.unwrap();
    let mut events = Connection::open(app.address).await.unwrap();
    let events = events.begin(request("/events")).await.unwrap();
    let mut download = Connection::open_h2(app.address).await.unwrap();
    let download = download.begin(request("/download")).await.unwrap();
    let mut upload = Connection::open(app.address).await.unwrap();
    let body = StreamBody::new(futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        Some((Ok(Frame::data(Bytes::from_static(&[b'u'; 1024]))), ()))
    }));
    let uploading = Request::post("/upload").header("host", "app").body(BodyExt::boxed(body)).unwrap();
    let uploading = tokio::spawn(async move { upload.send(uploading).await.unwrap().text() });
    let mut held = Connection::open(app.address).await.unwrap();
    let held = tokio::spawn(async move { held.send(request("/hold")).await.unwrap().text() });
    app.has_open(6).await;

    app.mark("the-marker").await;

    let mut read = idle;
    assert_eq!(must("a message", read.next()).await.as_deref(), Some("the-marker"));
    let mut busy = busy;
    while must("a tick", busy.next()).await.unwrap() != "the-marker" {}
    until_read(events, "the-marker").await;
    until_read(download, "the-marker").await;
    assert_eq!(uploading.await.unwrap(), "the-marker");
    assert!(app.uploaded() > 0);
    assert_eq!(held.await.unwrap(), "the-marker");

    // A second one too, and whoever comes behind it is written it as well.
    app.mark("the-second").await;
    assert_eq!(must("a message", read.next()).await.as_deref(), Some("the-second"));
    let mut late = WebSocket::open(app.address, &origin, "/ws", "").await.unwrap();
    assert_eq!(must("a message", late.next()).await.as_deref(), Some("the-second"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_sockets_stay_open_at_the_application() {
    let app = Application::start().await;
    let origin = format!("http://{}", app.address);
    let mut sockets = Vec::new();
    for _ in 0..300 {
        sockets.push(WebSocket::open(app.address, &origin, "/ws", "").await.unwrap());
    }
    app.has_open(300).await;
    for socket in &mut sockets {
        socket.echo("still there").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_shows_what_reached_it() {
    let app = Application::start().await;
    let asked =
        Request::get("/some/where?a=b").header("host", "app").header("x-thing", "1").header("x-thing", "2");
    let answer =
        Connection::open(app.address).await.unwrap().send(asked.body(whole("")).unwrap()).await.unwrap();
    assert_eq!(answer.json()["target"], "/some/where?a=b");
    assert_eq!(app.last("/some/where").unwrap().header("x-thing").as_deref(), Some("1|2"));
    assert_eq!((app.count(), app.count_of("/some/where"), app.count_of("/else")), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_client_reads_nothing_until_it_goes_on() {
    let app = Application::start().await;
    let how = wire::Dial { receive_buffer: Some(16 * 1024), ..wire::Dial::default() };
    let mut line = Connection::dial(app.address, how).await.unwrap();
    let mut download = line.begin(request("/download")).await.unwrap();
    assert!(download.frame().await.is_some());
    line.tap.shut();
    // What was already in the client's hands still comes, then nothing does.
    while tokio::time::timeout(std::time::Duration::from_millis(200), download.frame()).await.is_ok() {}
    line.tap.open();
    assert!(must("more", download.frame()).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_seeded_without_the_program() {
    let program = Program::install(Settings::new(([127, 0, 0, 1], 9).into()));
    let seed = Seed::open(program.folder(), &program.settings).await;
    let names: Vec<String> = (0..30).map(|number| format!("p{number}@corp.test")).collect();
    let people = seed.people(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let another = seed.session(&names[0]).await;
    seed.close().await;
    assert_eq!(people.0.len(), 30);
    let mut cookies: Vec<&String> = people.0.values().map(|(_, cookie)| cookie).collect();
    cookies.push(&another);
    cookies.sort();
    cookies.dedup();
    assert_eq!(cookies.len(), 31, "each session has a cookie of its own");
    // The lever of the store's failures: nobody else writes while it is held.
    let lock = WriteLock::take(&program.database()).await;
    let mut other = sqlite_lock::open(&program.database()).await;
    assert!(sqlx::query("pragma busy_timeout = 50").execute(&mut other).await.is_ok());
    assert!(sqlx::query("begin immediate").execute(&mut other).await.is_err());
    lock.release().await;
    sqlite_lock::multiply_sessions(&mut other, 1000).await;
}

/// The provider of this run signs somebody in: a login by script against a relying party of forty lines.
#[tokio::test(flavor = "multi_thread")]
async fn the_provider_signs_in_and_rotates_its_keys() {
    needs!("op");
    let op = Op::shared();
    for _ in 0..2 {
        let token = relying_party(op, "00u-alice").await;
        assert_eq!(token["sub"], "00u-alice");
        assert_eq!(token["email"], "alice@corp.test");
        op.rotate(true).await;
    }
    assert!(op.asked("/token").await >= 2);
}

async fn relying_party(op: &Op, name: &str) -> serde_json::Value {
    use crate::rig::settings::Settings;
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    let settings = Settings::new(([127, 0, 0, 1], 9).into());
    let client = op.client(&settings).await;
    op.person(name, json!({ "email": "alice@corp.test", "groups": ["staff"] })).await;
    let verifier = "a-verifier-of-at-least-forty-three-characters-in-all";
    // Its S256 (RFC 7636 §4.2).
    let challenge = "RDUzzyZDshWdh1NjEiYbs7cmFE5AV1hxBpr8vrwUqKM";
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("client_id", &client.id)
        .append_pair("redirect_uri", &settings.callback("op"))
        .append_pair("response_type", "code")
        .append_pair("scope", "openid email groups")
        .append_pair("code_challenge", challenge)
        .append_pair("code_challenge_method", "S256")
        .append_pair("state", "some-state")
        .append_pair("nonce", "some-nonce")
        .finish();
    let mut browser = crate::rig::browser::HeadlessBrowser::new(&settings.origin());
    let mut page = browser.look(&format!("{}/auth?{query}", op.issuer)).await;
    let back = loop {
        if let Some(to) = page.location() {
            if to.as_str().starts_with(&settings.callback("op")) {
                break to;
            }
            page = browser.look(to.as_str()).await;
            continue;
        }
        let form = page.form_with("prompt").unwrap_or_else(|| panic!("no form: {}", page.text()));
        let form = if form.has("login") { form.with("login", name).with("password", "any") } else { form };
        page = browser.submit_once(&page, &form).await;
    };
    let code = back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "authorization_code")
        .append_pair("code", &code)
        .append_pair("redirect_uri", &settings.callback("op"))
        .append_pair("code_verifier", verifier)
        .finish();
    let issuer: url::Url = op.issuer.parse().unwrap();
    let asked = Request::builder()
        .method(Method::POST)
        .uri("/token")
        .header("host", issuer.authority())
        .header("content-type", "application/x-www-form-urlencoded")
        .header(
            "authorization",
            format!("Basic {}", STANDARD.encode(format!("{}:{}", client.id, client.secret))),
        )
        .body(whole(body))
        .unwrap();
    let address = ([127, 0, 0, 1], issuer.port().unwrap()).into();
    let answer: Answer = Connection::open(address).await.unwrap().send(asked).await.unwrap();
    let token = answer.json()["id_token"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_opens_a_page_by_its_localhost_name() {
    needs!("chromium");
    let app = Application::start().await;
    let chromium = Chromium::start((800, 600), &[]).await;
    chromium.open(&format!("http://app.localhost:{}/cookie", app.address.port())).await;
    chromium.reads("set").await;
    assert_eq!(
        app.last("/cookie").unwrap().header("host").unwrap(),
        format!("app.localhost:{}", app.address.port())
    );
    let profile = chromium.profile().to_owned();
    assert!(Chromium::processes(&profile) > 0);
    drop(chromium);
    until("the browser's processes to be gone", || async { Chromium::processes(&profile) == 0 }).await;
}

fn request(path: &str) -> Request<wire::RequestBody> {
    Request::get(path).header("host", "app").body(whole("")).unwrap()
}

async fn until_read(response: http::Response<hyper::body::Incoming>, text: &str) {
    let mut body = response.into_body();
    let mut read = String::new();
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            if let Some(bytes) = frame.data_ref() {
                // The tail of what came before is kept, for a text that falls between two frames.
                read =
                    read.split_off(read.len().saturating_sub(text.len())) + &String::from_utf8_lossy(bytes);
            }
            if read.contains(text) {
                return true;
            }
        }
        false
    };
    assert!(must(text, reading).await, "{text} did not come");
}
