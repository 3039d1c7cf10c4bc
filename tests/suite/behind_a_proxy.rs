//! Behind nginx and Caddy, as `examples/` has them: everything that holds in front of the program holds in front of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::needs;
use crate::rig::application::Application;
use crate::rig::browser::HeadlessBrowser;
use crate::rig::front::{APP, Front, FrontKind, SCIM};
use crate::rig::idp::sign_in;
use crate::rig::program::Program;
use crate::rig::shape::{DirectoryOverTls, client_of, install_text, read_example, settings_at};
use crate::rig::stream::AnswerStream;
use crate::rig::websocket::WebSocket;
use crate::rig::wire::{Connection, Dial, RequestBody, whole};
use crate::rig::{must, ports, tls};

const MIRA: &str = "mira@corp.test";

/// A program, an application behind it, and what stands in front of it. A person is in the directory, which speaks through
/// the front too.
struct Scene {
    front: SocketAddr,
    program: Program,
    app: Application,
    directory: DirectoryOverTls,
    mira: String,
    // In this order: the front ends before its folder goes.
    _running: Front,
    _folder: TempDir,
}

impl Scene {
    async fn start(kind: FrontKind) -> Self {
        let (front, proxy, app) = (ports::free(), ports::free(), Application::start().await);
        let settings = settings_at(front, app.address);
        let client = client_of(&settings).await;
        let (scim, health) = (settings.scim, settings.health);
        let example = match kind {
            FrontKind::Nginx => "nginx/portcullis.yaml",
            FrontKind::Caddy => "caddy/portcullis.yaml",
        };
        let changes = [
            ("https://scim.wiki.example.com", &*format!("https://{SCIM}:{}", front.port())),
            ("https://wiki.example.com", &format!("https://{APP}:{}", front.port())),
            ("http://127.0.0.1:3000", &format!("http://{}", app.address)),
            ("127.0.0.1:8080", &proxy.to_string()),
            ("127.0.0.1:8081", &scim.to_string()),
            ("127.0.0.1:8082", &health.to_string()),
        ];
        let token = settings.scim_token.clone();
        let mut program = install_text(
            &read_example(example),
            settings,
            &client,
            "/run/credentials/portcullis.service",
            &changes,
        );
        program.begin().await;
        let folder = tempfile::Builder::new().prefix("portcullis-front-").tempdir().unwrap();
        let running = Front::start(kind, folder.path(), front, proxy, scim).await;
        let directory = DirectoryOverTls { address: front, name: SCIM, token };
        let mira = directory.person(MIRA, "00u-mira").await;
        Self { front, program, app, directory, mira, _running: running, _folder: folder }
    }

    /// Somebody who has signed in through the front.
    async fn signed_in(&self) -> HeadlessBrowser {
        let mut browser = self.program.browser();
        let page = sign_in(&mut browser, "/", "00u-mira").await;
        assert_eq!(page.status(), 200, "{}", page.text());
        browser
    }

    /// The origin that people see.
    fn origin(&self) -> String {
        self.program.settings.origin()
    }

    /// A request of somebody's browser that is written by hand.
    fn request(&self, browser: &HeadlessBrowser, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", format!("{APP}:{}", self.front.port()))
            .header("origin", self.origin())
            .header("cookie", browser.cookies())
    }
}

async fn a_login_passes(kind: FrontKind) {
    let scene = Scene::start(kind).await;
    let mut browser = scene.program.browser();
    let page = sign_in(&mut browser, "/deep/page?with=query&and=%20more", "00u-mira").await;
    assert_eq!(page.status(), 200, "{}", page.text());
    let seen = scene.app.last("/deep/page").unwrap();
    assert_eq!(seen.target, "/deep/page?with=query&and=%20more");
    assert_eq!(seen.header("x-forwarded-user").as_deref(), Some(MIRA));
    let host = format!("{APP}:{}", scene.front.port());
    assert_eq!(seen.header("host").as_deref(), Some(&*host));
    assert_eq!(seen.header("x-forwarded-host").as_deref(), Some(&*host));
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(scene.app.count(), 1, "nothing reached the application before");
    // Rules are for the path as it was sent, so nobody in between may tidy it.
    for path in ["/a//b", "/a/%2Fb;v=1", "/a/%C3%A4%20b", "/a/./b", "/a/x/../b"] {
        let status = raw_get(&scene, &browser, path, "", Ipv4Addr::LOCALHOST).await;
        assert_eq!(status, 200, "{path}");
        assert_eq!(scene.app.seen().last().unwrap().target, path);
    }
    let mut stranger = scene.program.browser();
    assert_eq!(stranger.fetch(Method::GET, "/", &[]).await.status(), 401);
    let out = browser.open("/.portcullis/logout").await;
    assert_eq!(out.status(), 200);
    browser.submit(&out, &out.form()).await;
    assert_eq!(browser.fetch(Method::GET, "/", &[]).await.status(), 401);
}

/// Sends a GET from an address of this machine with more lines in its head, and gives the status.
async fn raw_get(scene: &Scene, browser: &HeadlessBrowser, path: &str, fields: &str, from: Ipv4Addr) -> u16 {
    let asked = async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let mut stream = tls::connect(socket.connect(scene.front).await?, APP, &[b"http/1.1"]).await?;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {APP}:{}\r\nCookie: {}\r\n{fields}Connection: close\r\n\r\n",
            scene.front.port(),
            browser.cookies()
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        // Some end without the last word of TLS.
        let _ = stream.read_to_end(&mut answer).await;
        std::io::Result::Ok(answer)
    };
    let answer = must(path, asked).await.unwrap();
    let text = String::from_utf8_lossy(&answer);
    text.strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .unwrap_or_else(|| panic!("{text}"))
}

/// What a client may try to be taken for. The first part is identity, the second the way it came.
const FORGED: &str = "\
    X-Forwarded-User: mallory\r\nX_Forwarded_User: mallory\r\nX-Forwarded-Email: mallory@evil.test\r\n\
    X-Forwarded-Groups: mallory\r\nX-Forwarded-Roles: mallory\r\nRemote-User: mallory\r\nX-Remote-User: mallory\r\n\
    X-WEBAUTH-USER: mallory\r\nX-Auth-Request-User: mallory\r\nX-User: mallory\r\nX-SSL-Client-Cn: mallory\r\n\
    X-Forwarded-For: 203.0.113.9\r\nX_Forwarded_For: 203.0.113.9\r\nX-Forwarded-Host: evil.test\r\n\
    X-Forwarded-Proto: evil.test\r\nX-Forwarded-Port: evil.test\r\nX-Forwarded-Prefix: /evil.test\r\n\
    X-Forwarded-Server: evil.test\r\nX-Forwarded-Uri: /evil.test\r\nX-Forwarded-Method: evil.test\r\n\
    Forwarded: for=203.0.113.9;host=evil.test\r\nX-Real-IP: 203.0.113.9\r\nX_Real_IP: 203.0.113.9\r\n\
    X-Client-IP: 203.0.113.9\r\nX-Cluster-Client-IP: 203.0.113.9\r\nClient-IP: 203.0.113.9\r\n\
    True-Client-IP: 203.0.113.9\r\nCF-Connecting-IP: 203.0.113.9\r\nFastly-Client-IP: 203.0.113.9\r\n\
    X-Original-URL: /evil.test\r\nX-Original-Host: evil.test\r\nX-Rewrite-URL: /evil.test\r\n\
    traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\ntracestate: evil.test=1\r\n";

async fn nothing_forged_passes(kind: FrontKind) {
    let scene = Scene::start(kind).await;
    let browser = scene.signed_in().await;
    let from = Ipv4Addr::new(127, 0, 0, 2);
    assert_eq!(raw_get(&scene, &browser, "/forged", FORGED, from).await, 200);
    let seen = scene.app.last("/forged").unwrap();
    for (name, value) in &seen.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        for forged in ["mallory", "203.0.113.9", "evil.test", "4bf92f3577b34da6"] {
            assert!(!value.contains(forged), "{name}: {value}");
        }
    }
    assert_eq!(seen.header("x-forwarded-user").as_deref(), Some(MIRA));
    assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.2, 127.0.0.1"));
    scene.program.logged(&["\"path\":\"/forged\"", "\"client\":\"127.0.0.2\""]).await;
    // A name that is not ours is refused there, whatever the front makes of it.
    let mut socket = must("TLS", async {
        tls::connect(tokio::net::TcpStream::connect(scene.front).await.unwrap(), APP, &[b"http/1.1"]).await
    })
    .await
    .unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: evil.test\r\nCookie: {}\r\nConnection: close\r\n\r\n",
        browser.cookies()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = must("an answer", socket.read_to_end(&mut answer)).await;
    assert!(!String::from_utf8_lossy(&answer).contains("x-forwarded-user"));
    assert_eq!(scene.app.count(), 2, "the application saw no request under another name");
}

/// A body that comes in pieces and never ends.
fn trickle() -> RequestBody {
    let pieces = futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        Some((Ok(Frame::data(Bytes::from_static(&[b'u'; 4096]))), ()))
    });
    BodyExt::boxed(StreamBody::new(pieces))
}

async fn streams_flow_and_are_cut(kind: FrontKind) {
    const MARK: &str = "said after the removal";
    let scene = Scene::start(kind).await;
    let mut browser = scene.signed_in().await;
    let (origin, cookie) = (scene.origin(), browser.cookies());

    // Whoever goes away is gone at the application too.
    let mut left = browser.try_stream("/events", &[("accept", "text/event-stream")]).await.unwrap();
    left.until("hello").await;
    scene.app.has_open(1).await;
    drop(left);
    scene.app.has_open(0).await;

    // Every piece is there before the next one is written: nothing waits for a buffer to be full.
    let mut events = browser.try_stream("/events", &[("accept", "text/event-stream")]).await.unwrap();
    events.until("hello").await;
    let mut lines = browser.try_stream("/stream", &[]).await.unwrap();
    lines.until("hello").await;
    let request = scene.request(&browser, Method::GET, &format!("{origin}/events"));
    let mut request = request.body(whole("")).unwrap();
    request.headers_mut().remove("host");
    let how = Dial { version: Version::HTTP_2, tls: Some(APP), ..Dial::default() };
    let mut events_h2 = AnswerStream::begin(scene.front, how, request).await.unwrap();
    assert_eq!(events_h2.status, 200);
    events_h2.until("hello").await;
    let mut socket = WebSocket::open(scene.front, &origin, "/ws", &cookie).await.unwrap();
    socket.echo("hello").await.unwrap();
    let request = scene.request(&browser, Method::POST, "/count").body(trickle()).unwrap();
    let dialled = Connection::dial(scene.front, Dial { tls: Some(APP), ..Dial::default() }).await;
    let mut line = dialled.unwrap();
    let upload = tokio::spawn(async move { line.send(request).await });
    scene.app.has_taken(4096).await;
    scene.app.has_open(4).await;
    for news in ["first news", "second news"] {
        scene.app.mark(news).await;
        events.until(news).await;
        lines.until(news).await;
        events_h2.until(news).await;
        assert_eq!(must(news, socket.next()).await.as_deref(), Some(news));
    }

    scene.directory.deactivate(&scene.mira).await;
    scene.app.mark(MARK).await;
    assert!(!events.read_out(MARK).await, "the event stream read the mark");
    assert!(!lines.read_out(MARK).await, "the stream read the mark");
    assert!(!events_h2.read_out(MARK).await, "the event stream over HTTP/2 read the mark");
    assert!(!socket.read_out().await.iter().any(|text| text == MARK), "the WebSocket read the mark");
    let uploaded = must("the end of an upload", upload).await.unwrap();
    // Broken off, or answered by the front in the program's place.
    assert!(!uploaded.is_ok_and(|answer| answer.status == 200), "the upload was taken");
    scene.app.has_open(0).await;
    let count = scene.app.count();
    assert_eq!(browser.fetch(Method::GET, "/", &[]).await.status(), 401);
    let refused = WebSocket::open(scene.front, &origin, "/ws", &cookie).await;
    assert_eq!(refused.map(|_| ()).map_err(|fault| fault.refusal()), Err(401));
    assert_eq!(scene.app.count(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_passes_nginx() {
    needs!("op");
    needs!("nginx");
    a_login_passes(FrontKind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_passes_caddy() {
    needs!("op");
    needs!("caddy");
    a_login_passes(FrontKind::Caddy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_forged_passes_nginx() {
    needs!("op");
    needs!("nginx");
    nothing_forged_passes(FrontKind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_forged_passes_caddy() {
    needs!("op");
    needs!("caddy");
    nothing_forged_passes(FrontKind::Caddy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_flow_through_nginx_and_are_cut() {
    needs!("op");
    needs!("nginx");
    streams_flow_and_are_cut(FrontKind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_flow_through_caddy_and_are_cut() {
    needs!("op");
    needs!("caddy");
    streams_flow_and_are_cut(FrontKind::Caddy).await;
}
