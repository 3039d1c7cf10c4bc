//! The SCIM listener over TLS: a token alone is not enough where clients are asked for a certificate.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::application::Application;
use crate::rig::program::Program;
use crate::rig::settings::Settings;
use crate::rig::{tls, until};

const NAME: &str = "scim.localhost";
const LISTENER: &str = "    tls:\n      - certificate: {folder}/scim.crt\n        key: {folder}/scim.key\n";
const ASKING: &str = "    tls:\n      - certificate: {folder}/scim.crt\n        key: {folder}/scim.key\n    \
                      client_ca: {folder}/clients.pem\n";

async fn start(listener: &'static str) -> (Program, Application) {
    let app = Application::start().await;
    let mut settings = Settings::new(app.address);
    settings.scim_listener = listener;
    let mut program = Program::install(settings);
    let (certificate, key) = tls::pem_files(NAME);
    for (name, text) in [("scim.crt", certificate), ("scim.key", key), ("clients.pem", tls::authority_pem())]
    {
        let file = program.folder().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    program.begin().await;
    (program, app)
}

/// Asks over TLS, with or without a certificate of one's own: the whole answer, or why there is none.
async fn ask(program: &Program, client: Option<&str>, token: &str) -> io::Result<String> {
    let socket = TcpStream::connect(program.settings.scim).await?;
    let mut stream = tls::connect_as(socket, NAME, &[b"http/1.1"], client).await?;
    let request = format!(
        "GET /scim/v2/Users HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer).await {
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_nothing_is_served_in_the_clear() {
    let (program, _app) = start(LISTENER).await;
    let token = program.settings.scim_token.clone();
    assert!(ask(&program, None, &token).await.unwrap().starts_with("HTTP/1.1 200"));
    assert!(ask(&program, None, "another").await.unwrap().starts_with("HTTP/1.1 401"));
    let socket = TcpStream::connect(program.settings.scim).await.unwrap();
    let stream = tls::connect(socket, NAME, &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(tls::chosen_protocol(&stream), Some(b"h2".as_slice()));
    let mut plain = TcpStream::connect(program.settings.scim).await.unwrap();
    plain.write_all(b"GET /scim/v2/Users HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut read = Vec::new();
    let _ = plain.read_to_end(&mut read).await;
    assert!(!String::from_utf8_lossy(&read).contains("HTTP/"), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_clients_with_a_certificate_are_heard_and_their_token_still_counts() {
    let (program, _app) = start(ASKING).await;
    let token = program.settings.scim_token.clone();
    assert!(ask(&program, Some("okta.localhost"), &token).await.unwrap().starts_with("HTTP/1.1 200"));
    assert!(ask(&program, Some("okta.localhost"), "another").await.unwrap().starts_with("HTTP/1.1 401"));
    let refused = ask(&program, None, &token).await;
    assert!(refused.is_err(), "{refused:?}");
    until("the count", || async {
        let name = "portcullis_listener_turned_away_total{listener=\"scim\",why=\"handshake\"}";
        program.metric(name).await.is_some_and(|count| count >= 1.0)
    })
    .await;
}
