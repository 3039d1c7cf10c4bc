//! Certificates change while the program runs: a file that is replaced, a link that points elsewhere, a list that a reload
//! names; and nobody is left without one because a file is torn.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use tokio::net::TcpStream;

use crate::rig::application::Application;
use crate::rig::program::Program;
use crate::rig::settings::Settings;
use crate::rig::stage::Stage;
use crate::rig::{ports, tls, until, wire};

const LISTENER: &str =
    "    tls:\n      - certificate: {folder}/live/scim.crt\n        key: {folder}/live/scim.key\n";
const TWO: &str = "    tls:\n      - certificate: {folder}/live/scim.crt\n        key: {folder}/live/scim.key\n      \
                   - certificate: {folder}/second/scim.crt\n        key: {folder}/second/scim.key\n";

/// Puts a certificate for a name into a folder, each file in one step.
fn write_pair(folder: &Path, file: &str, name: &str) {
    fs::create_dir_all(folder).unwrap();
    let (certificate, key) = tls::pem_files(name);
    for (ending, text) in [("key", key), ("crt", certificate)] {
        let fresh = folder.join(format!("{file}.{ending}.new"));
        fs::write(&fresh, text).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(fresh, folder.join(format!("{file}.{ending}"))).unwrap();
    }
}

/// The certificate that is shown to whoever asks for a name.
async fn shown(address: SocketAddr, name: &str) -> Vec<u8> {
    let socket = TcpStream::connect(address).await.unwrap();
    let stream = tls::connect(socket, name, &[b"http/1.1"]).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// Waits until another certificate is shown than this one, and gives it.
async fn another(address: SocketAddr, name: &str, before: &[u8]) -> Vec<u8> {
    until("another certificate", || async { shown(address, name).await != before }).await;
    shown(address, name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_another_one_within_seconds_and_nobody_is_cut() {
    let app = Application::start().await;
    let mut settings = Settings::new(app.address);
    settings.scheme = "https";
    settings.scim_listener = LISTENER;
    settings.redirect = Some(ports::free());
    let mut program = Program::install(settings);
    let folder = program.folder().to_owned();
    write_pair(&folder.join("one"), "scim", "scim.localhost");
    write_pair(&folder.join("two"), "scim", "scim.localhost");
    write_pair(&folder.join("second"), "scim", "other.localhost");
    symlink(folder.join("one"), folder.join("live")).unwrap();
    program.begin().await;
    let (proxy, scim) = (program.settings.proxy, program.settings.scim);
    let (host, first, first_scim) = (
        program.settings.host.clone(),
        shown(proxy, "app.localhost").await,
        shown(scim, "scim.localhost").await,
    );

    // Whoever is there keeps the connection that they have.
    let socket = TcpStream::connect(proxy).await.unwrap();
    let mut there = tls::connect(socket, &host, &[b"http/1.1"]).await.unwrap();
    write_pair(&folder, "tls", &host);
    let second = another(proxy, &host, &first).await;
    program.logged(&["another certificate is served from now on", "listen.proxy.tls[0]"]).await;
    assert!(program.metric("portcullis_expires_seconds").await.unwrap() > 0.0);
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let request = format!(
        "GET /.portcullis/login HTTP/1.1\r\nHost: {host}:{}\r\nConnection: close\r\n\r\n",
        proxy.port()
    );
    there.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = there.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer));

    // A link that points elsewhere, as renewals in the field do it.
    symlink(folder.join("two"), folder.join("next")).unwrap();
    fs::rename(folder.join("next"), folder.join("live")).unwrap();
    let second_scim = another(scim, "scim.localhost", &first_scim).await;

    // A torn file changes nothing but the log.
    fs::write(folder.join("tls.crt"), "-----BEGIN CERTIFICATE-----\ntorn").unwrap();
    program.logged(&["a certificate has changed and cannot be served", "listen.proxy.tls"]).await;
    assert_eq!(shown(proxy, &host).await, second);

    // Several, by the name that is asked for, from a reload on.
    assert_eq!(shown_to(scim, "other.localhost").await, None);
    write_pair(&folder, "tls", &host);
    program.reload(|settings| settings.scim_listener = TWO).await;
    until("the other name", || async { shown_to(scim, "other.localhost").await.is_some() }).await;
    assert_eq!(shown(scim, "scim.localhost").await, second_scim);
    assert!(shown_to(scim, "unknown.localhost").await.is_none());

    // Plain http is sent on, and nothing else.
    let answer = wire::get(program.settings.redirect.unwrap(), "evil.test", "/a/b?c=d").await.unwrap();
    assert_eq!(answer.status, 308);
    assert_eq!(answer.header("location"), Some(format!("https://{host}:{}/a/b?c=d", proxy.port()).as_str()));
}

/// The same for a name that may not be the certificate's.
async fn shown_to(address: SocketAddr, name: &str) -> Option<Vec<u8>> {
    let socket = TcpStream::connect(address).await.unwrap();
    let stream = tls::connect(socket, name, &[b"http/1.1"]).await.ok()?;
    Some(stream.get_ref().1.peer_certificates()?[0].to_vec())
}

/// Asks the application over TLS; what a client shows, and whether it has a session.
async fn ask(stage: &Stage, shows: Shown, cookie: &str) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (settings, protocols) = (&stage.program.settings, &[b"http/1.1".as_slice()]);
    let socket = TcpStream::connect(settings.proxy).await?;
    let mut stream = match shows {
        Shown::Nothing => tls::connect(socket, &settings.host, protocols).await?,
        Shown::OfAuthority => {
            tls::connect_as(socket, &settings.host, protocols, Some("laptop.localhost")).await?
        }
        Shown::OfItself => tls::connect_as_stranger(socket, &settings.host, protocols).await?,
    };
    let authority = format!("{}:{}", settings.host, settings.proxy.port());
    let request =
        format!("GET /page HTTP/1.1\r\nHost: {authority}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer).await {
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

#[derive(Clone, Copy, Debug)]
enum Shown {
    Nothing,
    OfAuthority,
    OfItself,
}

/// A certificate opens the connection and says nothing of who it is.
#[tokio::test(flavor = "multi_thread")]
async fn browsers_show_a_certificate_and_have_a_session_all_the_same() {
    let change = |settings: &mut Settings| {
        settings.scheme = "https";
        settings.asks_browsers = true;
    };
    let stage = Stage::seeded(change, &["alice@corp.test"]).await;
    let alice = stage.visitor("alice@corp.test");
    let answer = ask(&stage, Shown::OfAuthority, &alice.cookie).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = stage.app.last("/page").unwrap();
    assert_eq!(seen.header("x-forwarded-user").as_deref(), Some("alice@corp.test"));
    assert!(seen.headers.iter().all(|(_, value)| !value.as_bytes().starts_with(b"laptop")));
    let nobody = ask(&stage, Shown::OfAuthority, "").await.unwrap();
    assert!(!nobody.starts_with("HTTP/1.1 200"), "{nobody}");
    for shows in [Shown::Nothing, Shown::OfItself] {
        let refused = ask(&stage, shows, &alice.cookie).await;
        assert!(refused.is_err(), "{shows:?}: {refused:?}");
    }
    until("the count", || async {
        let failed = stage.program.metric("portcullis_tls_handshakes_failed_total").await;
        failed.is_some_and(|count| count >= 2.0)
    })
    .await;
}

/// One that is taken up again shows no certificate: it would outlive the end of the first one's.
#[tokio::test(flavor = "multi_thread")]
async fn where_a_certificate_is_asked_for_no_session_is_taken_up_again() {
    for asks in [false, true] {
        let app = Application::start().await;
        let mut settings = Settings::new(app.address);
        settings.scheme = "https";
        settings.asks_browsers = asks;
        let program = Program::start(settings).await;
        let (proxy, host) = (program.settings.proxy, &program.settings.host);
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            assert_eq!(tls::takes_up_a_session(proxy, host, version).await, !asks, "{version:?}");
        }
    }
}

/// Authorities are read at a start, so a reload does not say that others are in force.
#[tokio::test(flavor = "multi_thread")]
async fn other_authorities_of_clients_take_a_restart() {
    let app = Application::start().await;
    let mut settings = Settings::new(app.address);
    settings.scheme = "https";
    settings.asks_browsers = true;
    let program = Program::start(settings).await;
    let file = program.folder().join("clients.pem");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, before.clone() + &before).unwrap();
    program.signal(rustix::process::Signal::HUP);
    program.logged(&["a restart", "client_ca"]).await;

    // One that the authority has made is none, and whoever has its key could make others.
    let (leaf, _) = tls::pem_files("laptop.localhost");
    fs::write(&file, leaf).unwrap();
    let check = program.command(&["check"]);
    let said = String::from_utf8_lossy(&check.stderr).into_owned() + &String::from_utf8_lossy(&check.stdout);
    assert_eq!(check.status.code(), Some(78), "{said}");
    assert!(said.contains("listen.proxy.client_ca: ") && said.contains("none of an authority"), "{said}");
}
