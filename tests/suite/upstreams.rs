//! The ways to the application: over TLS, by a socket in the file system, with a secret that it knows its gate by. What
//! holds on the plain way holds on each, and what is not the application is not spoken to.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::rig::application::Application;
use crate::rig::settings::Settings;
use crate::rig::stage::Stage;
use crate::rig::tls::{authority_pem, pem_files};
use crate::rig::visitor::Held;
use crate::rig::wire::{Connection, Dial, ask, whole};

const ALICE: &str = "alice@corp.test";
const BOB: &str = "bob@corp.test";

/// Something that speaks TLS before an application.
struct TlsFront {
    address: SocketAddr,
    /// The handshakes that came to an end.
    shaken: Arc<AtomicUsize>,
}

impl TlsFront {
    /// Shows a certificate for `name`; where `asks`, only who shows one of the authority of this run is heard.
    async fn start(application: SocketAddr, name: &str, asks: bool) -> Self {
        let (certificate, key) = pem_files(name);
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority_pem().as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let config = builder.with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shaken) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counted = shaken.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, counted) = (acceptor.clone(), counted.clone());
                tokio::spawn(async move {
                    let Ok(mut near) = acceptor.accept(socket).await else { return };
                    counted.fetch_add(1, Ordering::SeqCst);
                    let mut far = TcpStream::connect(application).await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { address, shaken }
    }

    fn upstream(&self, folder: &Path, more: &str) -> String {
        let folder = folder.display();
        format!("\n  url: https://localhost:{}\n  ca_file: {folder}/ca.pem\n{more}", self.address.port())
    }
}

/// An application over TLS that answers the first request of each connection, and then sends the first half of a record in
/// which there is another answer. What it gets from then on is what it was asked, on which connection.
fn half_records() -> (SocketAddr, Arc<AtomicUsize>) {
    let (certificate, key) = pem_files("localhost");
    let chain =
        CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, sent) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let halves = sent.clone();
    std::thread::spawn(move || {
        for socket in listener.incoming().take(8) {
            let (Ok(mut socket), config, halves) = (socket, config.clone(), halves.clone()) else { return };
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut tls = rustls::ServerConnection::new(config).unwrap();
                let mut asked = Vec::new();
                while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
                    tls.complete_io(&mut socket)?;
                    let mut piece = [0; 4096];
                    match tls.reader().read(&mut piece) {
                        Ok(length) => asked.extend_from_slice(&piece[..length]),
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                }
                let answer =
                    |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                tls.writer().write_all(answer("for the one who asked").as_bytes())?;
                while tls.wants_write() {
                    tls.write_tls(&mut socket)?;
                }
                std::thread::sleep(std::time::Duration::from_millis(100));
                tls.writer().write_all(answer("the former person's secret").as_bytes())?;
                let mut record = Vec::new();
                tls.write_tls(&mut record)?;
                let (first, second) = record.split_at(record.len() / 2);
                socket.write_all(first)?;
                halves.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(std::time::Duration::from_millis(1500));
                socket.write_all(second)?;
                std::thread::sleep(std::time::Duration::from_secs(3));
                Ok(())
            });
        }
    });
    (address, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_record_that_nobody_asked_for_is_nobodys_answer() {
    let (address, halves) = half_records();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), authority_pem()).unwrap();
    let upstream = format!(
        "\n  url: https://localhost:{}\n  ca_file: {}/ca.pem\n",
        address.port(),
        folder.path().display()
    );
    let stage = stage(Application::start().await, upstream).await;
    // One connection of a client is one thread, with connections to the application of its own.
    let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
    let mut connection = Connection::open(alice.address).await.unwrap();
    let ask =
        |visitor: &crate::rig::visitor::Visitor| visitor.request(Method::GET, "/").body(whole("")).unwrap();
    assert_eq!(connection.send(ask(&alice)).await.unwrap().text(), "for the one who asked");
    crate::rig::wait_for(|| halves.load(Ordering::SeqCst) == 1).await;
    for _ in 0..2 {
        // Behind the first look, and behind the sweep that looks once a second.
        let answer = connection.send(ask(&bob)).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "for the one who asked"));
        tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    }
}

/// A socket in the file system before an application.
pub(crate) fn listen_at(path: &Path, application: SocketAddr) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = TcpStream::connect(application).await.unwrap();
                let _ = copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
}

async fn stage(app: Application, upstream: String) -> Stage {
    let change = |settings: &mut Settings| settings.upstream = upstream;
    Stage::seeded_before(app, change, &[ALICE, BOB]).await
}

/// Everything that a person may have open, open and gone with the person.
async fn carries_and_cuts(stage: &Stage) {
    let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
    assert_eq!(alice.status("/a").await, 200);
    let seen = stage.app.last("/a").unwrap();
    assert_eq!(seen.header("x-forwarded-user").as_deref(), Some(ALICE));
    let held = Held::open(&alice, &stage.app).await;
    let mut others = bob.socket("/ws").await.unwrap();
    others.echo("hello").await.unwrap();
    assert_eq!(
        stage.directory.send(Method::DELETE, &format!("/Users/{}", stage.id(ALICE)), None).await.status,
        204
    );
    stage.app.mark("after").await;
    held.ends_without("after").await;
    assert_eq!(alice.status("/b").await, 401);
    others.echo("still here").await.unwrap();
    assert_eq!(bob.status("/c").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_everything_is_carried_and_cut() {
    let app = Application::start().await;
    let front = TlsFront::start(app.address, "localhost", false).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), authority_pem()).unwrap();
    let stage = stage(app, front.upstream(folder.path(), "  health: /health\n")).await;

    // Connections are kept, over TLS as they are without.
    let bob = stage.visitor(BOB);
    let mut connection = Connection::open(bob.address).await.unwrap();
    for n in 0..20 {
        let request = bob.request(Method::POST, &format!("/kept/{n}")).body(whole("body")).unwrap();
        assert_eq!(connection.send(request).await.unwrap().status, 200);
    }
    assert_eq!(front.shaken.load(Ordering::SeqCst), 1);
    carries_and_cuts(&stage).await;
    let health = http::Request::get("/app").body(whole("")).unwrap();
    assert_eq!(ask(stage.program.settings.health, health).await.unwrap().status, 200);
}

/// Passes bytes on to an application, and counts the connections.
async fn count_connections(application: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut far = TcpStream::connect(application).await.unwrap();
                let _ = copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    (address, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_h2c_everything_but_websockets_is_carried_and_cut() {
    let app = Application::start().await;
    let (front, connections) = count_connections(app.address).await;
    let stage = stage(app, format!("\n  url: h2c://{front}\n  health: /health\n")).await;
    let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
    let mut connection = Connection::open(bob.address).await.unwrap();
    for n in 0..20 {
        let body = "b".repeat(n * 7_000);
        let request = bob.request(Method::POST, &format!("/kept/{n}")).body(whole(body)).unwrap();
        let answer = connection.send(request).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.json()["body"]), (200, &(n * 7_000).into()));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1, "one after another on one connection");
    let seen = stage.app.last("/kept/19").unwrap();
    assert_eq!(seen.header("x-forwarded-user").as_deref(), Some(BOB));
    assert_eq!(seen.header("te").as_deref(), Some("trailers"));

    let held = Held::open_requests(&alice, &stage.app).await;
    let deleted = stage.directory.send(Method::DELETE, &format!("/Users/{}", stage.id(ALICE)), None).await;
    assert_eq!(deleted.status, 204);
    stage.app.mark("after").await;
    held.ends_without("after").await;
    assert_eq!((alice.status("/b").await, bob.status("/c").await), (401, 200));
    assert_eq!(bob.socket("/ws").await.err(), Some(501));
    let health = http::Request::get("/app").body(whole("")).unwrap();
    assert_eq!(ask(stage.program.settings.health, health).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_no_http2_is_said_to_break_off() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, socket) in listener.incoming().take(3).enumerate() {
            let Ok(mut socket) = socket else { return };
            let _ = socket.read(&mut [0; 4096]);
            // An answer of HTTP/1.1; nothing; and nothing for longer than is waited.
            match number {
                0 => drop(socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")),
                1 => drop(socket),
                _ => std::thread::sleep(std::time::Duration::from_secs(10)),
            }
        }
    });
    let upstream = format!("\n  url: h2c://{address}\n  first_byte_timeout: 1s\n");
    let stage = stage(Application::start().await, upstream).await;
    let bob = stage.visitor(BOB);
    for status in [502, 502, 504] {
        assert_eq!(bob.status("/").await, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_the_application_is_not_spoken_to() {
    let app = Application::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("ca.pem"), authority_pem()).unwrap();
    let (certificate, key) = pem_files("gate.test");
    fs::write(path("gate.crt"), &certificate).unwrap();
    fs::write(path("gate.key"), &key).unwrap();
    fs::set_permissions(path("gate.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(path("other-ca.pem"), stranger.cert.pem()).unwrap();

    let asking = TlsFront::start(app.address, "app.internal", true).await;
    let shows = format!(
        "  server_name: app.internal\n  certificate: {0}/gate.crt\n  key: {0}/gate.key\n",
        folder.path().display()
    );
    let mut stage = stage(app, asking.upstream(folder.path(), &shows)).await;
    let bob = stage.visitor(BOB);
    assert_eq!(bob.status("/a").await, 200);

    // Each by a reload: what was connected before is not used for what is not the application any more.
    let wrongs = [
        (shows.replace("  server_name: app.internal\n", ""), "certificate not valid for name"),
        (shows.replace("app.internal", "other.internal"), "certificate not valid for name"),
        ("  server_name: app.internal\n".to_owned(), "received fatal alert"),
    ];
    for (wrong, why) in wrongs {
        let upstream = asking.upstream(folder.path(), &wrong);
        stage.program.reload(|settings| settings.upstream = upstream).await;
        refused(&stage, why).await;
    }
    let upstream = asking.upstream(folder.path(), &shows).replace("/ca.pem", "/other-ca.pem");
    stage.program.reload(|settings| settings.upstream = upstream).await;
    refused(&stage, "UnknownIssuer").await;
    let plain = format!("http://{}", asking.address);
    stage.program.reload(|settings| settings.upstream = plain).await;
    assert_eq!(bob.status("/b").await, 502, "TLS is spoken there");

    // The same names with other contents count from the next reload on, and a broken one changes nothing.
    let good = asking.upstream(folder.path(), &shows);
    stage.program.reload(|settings| settings.upstream = good).await;
    assert_eq!(bob.status("/c").await, 200);
    fs::write(path("ca.pem"), stranger.cert.pem()).unwrap();
    stage.program.reload(|_| {}).await;
    refused(&stage, "UnknownIssuer").await;
    fs::write(path("ca.pem"), "nothing").unwrap();
    assert!(!stage.program.hang_up().await, "the file is refused");
    stage.program.logged(&["upstream.ca_file", "ca.pem holds no PEM block of a certificate"]).await;
    fs::write(path("ca.pem"), authority_pem()).unwrap();
    stage.program.reload(|_| {}).await;
    assert_eq!(bob.status("/d").await, 200);
}

/// A request that the application does not get, and what the operator is told of it.
async fn refused(stage: &Stage, why: &str) {
    let answer = stage.visitor(BOB).get("/refused").await;
    assert_eq!(answer.status, 502, "{why}");
    assert!(!answer.text().contains("internal") && !answer.text().contains("https://localhost"), "{why}");
    let reference = answer.json()["ref"].as_str().unwrap().to_owned();
    let told = crate::refusals::told(stage, &reference).await;
    assert!(told.contains(why) && told.contains("https://localhost"), "{why}: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_socket_in_the_file_system_everything_is_carried_and_cut() {
    let app = Application::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    listen_at(&path, app.address);
    // Every user's: that is a way around, and told.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let mut stage = stage(app, format!("\n  url: unix:{}\n  health: /health\n", path.display())).await;
    stage.program.logged(&["there is a way around Portcullis", "app.sock"]).await;
    assert_eq!(stage.program.metric("portcullis_upstream_open_beside").await, Some(1.0));
    carries_and_cuts(&stage).await;
    assert_eq!(stage.app.last("/c").unwrap().header("host").unwrap(), stage.program.settings.origin()[7..]);
    let health = || http::Request::get("/app").body(whole("")).unwrap();
    assert_eq!(ask(stage.program.settings.health, health()).await.unwrap().status, 200);

    fs::remove_file(&path).unwrap();
    stage.restart().await;
    let answer = stage.visitor(BOB).get("/gone").await;
    assert_eq!(answer.status, 502);
    assert!(!answer.text().contains("app.sock"), "{}", answer.text());
    let reference = answer.json()["ref"].as_str().unwrap().to_owned();
    let told = crate::refusals::told(&stage, &reference).await;
    assert!(told.contains("app.sock") && told.contains("No such file"), "{told}");
    assert_eq!(ask(stage.program.settings.health, health()).await.unwrap().status, 502);
    assert_eq!(stage.program.metric("portcullis_upstream_open_beside").await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_full_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    // Room for one in the queue, and nobody takes it out for a while.
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let listener = std::os::unix::net::UnixListener::from(socket);
    std::thread::spawn(move || {
        for mut socket in listener.incoming().take(12).flatten() {
            std::thread::sleep(std::time::Duration::from_millis(50));
            let _ = socket.read(&mut [0; 8192]);
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }
    });
    let stage = stage(Application::start().await, format!("unix:{}", path.display())).await;
    let asking: Vec<_> = (0..12)
        .map(|_| {
            let bob = stage.visitor(BOB);
            tokio::spawn(async move { bob.status("/").await })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_knows_its_gate_by_a_secret_that_nobody_else_says() {
    let app = Application::start().await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("gate");
    fs::write(&secret, "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let upstream = format!(
        "\n  url: http://{}\n  health: /health\n  secret_header:\n    name: X-Gate\n    value: ${{file:{}}}\n",
        app.address,
        secret.display()
    );
    let change = |settings: &mut Settings| {
        settings.upstream = upstream;
        settings.more =
            "routes:\n  - path: /open/**\n    allow: public\n  - path: /**\n    allow: signed-in\n"
                .to_owned();
    };
    let mut stage = Stage::seeded_before(app, change, &[BOB]).await;
    let bob = stage.visitor(BOB);
    for (visitor, path) in [(&bob, "/a"), (&bob, "/open/a"), (&stage.stranger(), "/open/b")] {
        let mut request = visitor.request(Method::GET, path).body(whole("")).unwrap();
        for name in ["x-gate", "x_gate"] {
            request.headers_mut().insert(name, "forged".parse().unwrap());
        }
        let answer = Connection::open(visitor.address).await.unwrap().send(request).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        let seen = stage.app.last(path).unwrap();
        let said: Vec<_> = seen.headers.get_all("x-gate").iter().collect();
        assert_eq!(said, ["0123456789abcdef0123456789abcdef"], "{path}");
        assert!(seen.headers.get("x_gate").is_none(), "{path}");
    }
    let mut socket = bob.socket("/ws").await.unwrap();
    socket.echo("hello").await.unwrap();
    let health = http::Request::get("/app").body(whole("")).unwrap();
    assert_eq!(ask(stage.program.settings.health, health).await.unwrap().status, 200);
    assert_eq!(
        stage.app.last("/health").unwrap().header("x-gate").as_deref(),
        Some("0123456789abcdef0123456789abcdef")
    );
    // Another one from a reload on, and none of them in a log.
    fs::write(&secret, "fedcba9876543210fedcba9876543210\n").unwrap();
    stage.program.reload(|_| {}).await;
    assert_eq!(bob.status("/b").await, 200);
    let said = stage.app.last("/b").unwrap().header("x-gate");
    assert_eq!(said.as_deref(), Some("fedcba9876543210fedcba9876543210"));
    let log = stage.program.log();
    assert!(!log.contains("0123456789abcdef") && !log.contains("fedcba9876543210"));
}

const SEVERAL: &str = "routes:
  - path: /open/reports/**
    allow: public
    upstream: reports
  - path: /reports/**
    allow: signed-in
    upstream: reports
  - path: /events
    allow: signed-in
    upstream: reports
  - path: /ghost/**
    allow: signed-in
    upstream: ghost
  - path: /**
    allow: signed-in
upstreams:
  reports:
    url: REPORTS
    host: upstream
    secret_header:
      name: X-Gate
      value: ${file:{folder}/gate}
  ghost: GHOST
";

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_leads_to_its_own_application_and_to_no_other_however_a_path_is_read() {
    let (app, reports) = (Application::start().await, Application::start().await);
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("gate");
    fs::write(&secret, "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let ghost = crate::rig::ports::free();
    let more = SEVERAL
        .replace("{folder}", &folder.path().display().to_string())
        .replace("REPORTS", &format!("http://{}", reports.address))
        .replace("GHOST", &format!("http://{ghost}"));
    let more = more + "headers:\n  assertion: on\n";
    let change = |settings: &mut Settings| settings.more = more.clone();
    let mut stage = Stage::seeded_before(app, change, &[ALICE, BOB]).await;
    let (alice, stranger) = (stage.visitor(ALICE), stage.stranger());

    for path in ["/reports", "/reports/a", "/reports/a%20b?q=/", "/open/reports/c"] {
        assert_eq!(alice.status(path).await, 200, "{path}");
        let path = path.split('?').next().unwrap();
        let seen = reports.last(path).unwrap();
        assert_eq!(seen.header("host").unwrap(), reports.address.to_string(), "{path}");
        assert_eq!(seen.header("x-gate").as_deref(), Some("0123456789abcdef0123456789abcdef"));
        assert_eq!(stage.app.count_of(path), 0, "{path}");
    }
    assert_eq!(stranger.status("/open/reports/d").await, 200);
    assert_eq!(stranger.status("/reports/d").await, 401);
    for path in ["/a", "/report", "/open/a"] {
        assert_eq!(alice.status(path).await, 200, "{path}");
        let seen = stage.app.last(path).unwrap();
        assert_eq!(seen.header("x-gate"), None, "it is the other's");
        assert_eq!(reports.count_of(path), 0, "{path}");
    }
    // What is signed for one is worthless to the other.
    let audience = |seen: Option<crate::rig::application::Seen>| {
        let token = seen.unwrap().header("x-portcullis-assertion").unwrap();
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice::<serde_json::Value>(&claims).unwrap()["aud"].as_str().unwrap().to_owned()
    };
    let origin = stage.program.settings.origin();
    for _ in 0..2 {
        assert_eq!((alice.status("/a").await, alice.status("/reports/a").await), (200, 200));
        assert_eq!(audience(stage.app.last("/a")), origin);
        assert_eq!(audience(reports.last("/reports/a")), format!("{origin}#reports"));
    }
    // A path that one application reads as its own and the other as the other's is nobody's.
    let before = (stage.app.count(), reports.count());
    for path in [
        "/reports/../a",
        "/a/../reports/b",
        "/reports/%2e%2e/a",
        "/Reports/a",
        "//reports/a",
        "/reports%2fa",
        "/report%C5%BF/a",
    ] {
        assert_eq!(alice.status(path).await, 404, "{path}");
    }
    assert_eq!((stage.app.count(), reports.count()), before);

    // What is broken at one is told of that one, and nothing else is.
    let answer = alice.get("/ghost/a").await;
    assert_eq!(answer.status, 502);
    let told = crate::refusals::told(&stage, answer.json()["ref"].as_str().unwrap()).await;
    assert!(told.contains(&format!("http://{ghost}")), "{told}");

    // Streams at both end with the person.
    let mut here = alice.socket("/ws").await.unwrap();
    here.echo("hello").await.unwrap();
    let mut events = alice.stream("/events", Dial::default()).await;
    events.at_least(5).await;
    assert_eq!((stage.app.open(), reports.open()), (1, 1));
    let path = format!("/Users/{}", stage.id(ALICE));
    assert_eq!(stage.directory.send(Method::DELETE, &path, None).await.status, 204);
    stage.app.mark("after").await;
    reports.mark("after").await;
    assert!(!here.read_out().await.iter().any(|text| text == "after"));
    assert!(!events.read_out("after").await);

    // A reload that leads elsewhere does so for what comes; a rule that leads nowhere is refused.
    let elsewhere = more.replace("    upstream: ghost\n", "");
    stage
        .program
        .reload(|settings| settings.more = elsewhere.replace(&format!("  ghost: http://{ghost}\n"), ""))
        .await;
    let bob = stage.visitor(BOB);
    assert_eq!(bob.status("/ghost/b").await, 200);
    assert_eq!(stage.app.count_of("/ghost/b"), 1);
    stage.program.settings.more = more.replace("upstream: ghost", "upstream: gost");
    stage.program.write();
    assert!(!stage.program.hang_up().await);
    stage.program.logged(&["routes[3].upstream", "there is no upstream", "Did you mean ghost?"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_is_taken_off_and_another_put_before_and_no_guarded_page_is_reached_by_it() {
    let (app, shop) = (Application::start().await, Application::start().await);
    let more = format!(
        "upstreams:\n  shop:\n    url: http://{}/tenant/a\n    strip_prefix: /shop/\nroutes:\n  - path: /shop/admin/**\n    \
         allow: [admin]\n    upstream: shop\n  - path: /shop/**\n    allow: signed-in\n    upstream: shop\n  - path: /**\n    \
         allow: signed-in\n",
        shop.address
    );
    let change = |settings: &mut Settings| {
        settings.bindings =
            Some("version: 1\nroles: [admin]\nbindings:\n  - group: Owners\n    role: admin\n".to_owned());
        settings.more = more;
    };
    let mut stage = Stage::seeded_before(app, change, &[ALICE]).await;
    let alice = stage.visitor(ALICE);
    for (path, seen) in [
        ("/shop", "/tenant/a/"),
        ("/shop/", "/tenant/a/"),
        ("/shop/x%2Fy?q=/shop", "/tenant/a/x%2Fy?q=/shop"),
        ("/shop?a=1", "/tenant/a/?a=1"),
    ] {
        let mut request = alice.request(Method::GET, path).body(whole("")).unwrap();
        request.headers_mut().insert("x-forwarded-prefix", "/forged".parse().unwrap());
        let answer = Connection::open(alice.address).await.unwrap().send(request).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        let last = shop.seen().pop().unwrap();
        assert_eq!(last.target, seen, "{path}");
        let told: Vec<_> = last.headers.get_all("x-forwarded-prefix").iter().collect();
        assert_eq!(told, ["/shop"], "{path}");
    }
    let before = shop.count();
    for path in
        ["/shop/admin/a", "/shop//admin/a", "/shop/%61dmin/a", "/shop//evil/admin/a", "/shop/admin;x/a"]
    {
        assert_eq!(alice.status(path).await, 403, "{path}");
    }
    for path in
        ["/shop/../../b/secret", "/shop/..%2f..%2fb", "/shop/./a", "/%73hop/a", "/shop%2fa", "/shop;x/a"]
    {
        assert_eq!(alice.status(path).await, 404, "{path}");
    }
    assert_eq!(shop.count(), before);
    // The app's own sees what was sent, and nothing is said of a prefix.
    assert_eq!(alice.status("/plain/../a").await, 200);
    assert_eq!(stage.app.seen().pop().unwrap().header("x-forwarded-prefix"), None);
    let line = stage.program.logged(&["\"path\":\"/shop/x%2Fy\""]).await;
    assert!(!line.contains("tenant"), "the log has what was asked for: {line}");

    // The app's own too, from a reload on, and it is decided like that.
    let own = format!("\n  url: http://{}\n  strip_prefix: /wiki\n", stage.app.address);
    stage.program.settings.upstream = own;
    stage.program.settings.more = String::new();
    stage.program.write();
    assert!(stage.program.hang_up().await);
    stage.program.logged(&["upstream.strip_prefix", "whatever is not below /wiki is answered 404"]).await;
    assert_eq!(alice.status("/wiki/page").await, 200);
    assert_eq!(stage.app.seen().pop().unwrap().target, "/page");
    for path in ["/page", "/wikipage", "/wiki/../page"] {
        assert_eq!(alice.status(path).await, 404, "{path}");
    }
    let mut socket = alice.socket("/wiki/ws").await.unwrap();
    socket.echo("hello").await.unwrap();
}
