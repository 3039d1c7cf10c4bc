//! What people who are signed in notice of strangers who post responses of SAML.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Options;
use crate::gate::Gate;
use crate::load::{AT_ONCE, HOST, Load, Protocol};
use crate::rig::settings::Settings;
use crate::server::{Setup, Under};

/// The requests a second of those who are signed in, and how long each measurement lasts.
const RATE: f64 = 2_000.0;
const LASTS: Duration = Duration::from_secs(10);
/// A response that costs as much as any before it is refused: the right key has signed its assertion, for another service.
const CASE: &str = "idp-initiated-assertion-signed";

/// Measures with nobody posting, with strangers, and with nobody again; prints a table.
pub(crate) async fn measure(app: SocketAddr, options: &Options) {
    let Some(core) = options.load_core else {
        println!("SKIPPED: strangers that post, which needs a core for the load");
        return;
    };
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/saml");
    let folder = tempfile::tempdir().unwrap();
    let metadata = folder.path().join("idp.xml");
    std::fs::write(&metadata, metadata_of(&corpus)).unwrap();
    let mut settings = Settings::new(app);
    "off".clone_into(&mut settings.access);
    // Each stranger comes from an address of its own: what one client may take is bounded.
    "trusted_proxies: [127.0.0.1]\n".clone_into(&mut settings.more);
    settings.idps = settings.idps.replacen(":\n", ":\n    domains: [corp.test]\n", 1);
    settings.idps += &format!(
        "  corp:\n    domains: [other.test]\n    saml:\n      metadata: {}\n      idp_initiated: accept\n      \
         trust_email: true\n",
        metadata.display()
    );
    let setup = Setup { app, protocol: Protocol::H1, cores: options.cores, under: Under::Nothing };
    let gate = Gate::with_settings(setup, settings, None).await;
    let mut load = Load::open(gate.address(), Protocol::H1, &gate.cookies).await;
    load.run(5_000).await;
    println!("\n### Strangers that post responses of SAML\n");
    println!(
        "{AT_ONCE} connections, each posting again as soon as it has its answer; those who are signed in ask {RATE} times a second.\n"
    );
    println!("| | answers to posts in {} s | p50, ms | p99, ms |\n|---|---|---|---|", LASTS.as_secs());
    let response: Arc<str> = read_response(&corpus).into();
    for (name, posts) in
        [("nobody posts", false), ("64 strangers post", true), ("nobody posts, again", false)]
    {
        let (stop, answered) = (Arc::new(AtomicBool::new(!posts)), Arc::new(Mutex::new(BTreeMap::new())));
        let strangers: Vec<_> = (0..AT_ONCE)
            .map(|at| {
                tokio::spawn(post_on(gate.address(), at, response.clone(), stop.clone(), answered.clone()))
            })
            .collect();
        let took = load.paced(RATE, LASTS, core).await;
        stop.store(true, Ordering::Relaxed);
        for stranger in strangers {
            stranger.await.unwrap();
        }
        let answered: Vec<String> = answered
            .lock()
            .unwrap()
            .iter()
            .map(|(status, count)| format!("{count} times {status}"))
            .collect();
        let (p50, p99) = (percentile_ms(&took, 50), percentile_ms(&took, 99));
        println!("| {name} | {} | {p50:.2} | {p99:.2} |", answered.join(", "));
    }
}

fn percentile_ms(took: &[Duration], of_hundred: usize) -> f64 {
    took[took.len() * of_hundred / 100].as_secs_f64() * 1e3
}

/// Posts one after the other, on a connection each, until it is told to stop.
async fn post_on(
    address: SocketAddr,
    at: usize,
    response: Arc<str>,
    stop: Arc<AtomicBool>,
    answered: Arc<Mutex<BTreeMap<String, usize>>>,
) {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        // The same message would not be looked at more than a few times; what nobody signed of it is free to change.
        let post = post_of(at, &response.replacen(" ID=\"", &format!(" ID=\"_{at}-{number}"), 1));
        let Ok(mut socket) = TcpStream::connect(address).await else { continue };
        if socket.write_all(&post).await.is_err() {
            continue;
        }
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        assert!(answer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer));
        let status = String::from_utf8_lossy(&answer[9..12]).into_owned();
        *answered.lock().unwrap().entry(status).or_default() += 1;
    }
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The corpus' own provider, as metadata.
fn metadata_of(corpus: &Path) -> String {
    let idps = read_json(&corpus.join("idps.json"));
    let idp = &idps["acme-open"];
    let certificate: String =
        idp["certificates"][0].as_str().unwrap().lines().filter(|line| !line.starts_with("-----")).collect();
    format!(
        "<EntityDescriptor xmlns=\"urn:oasis:names:tc:SAML:2.0:metadata\" entityID=\"{}\">\
         <IDPSSODescriptor protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\">\
         <KeyDescriptor use=\"signing\"><KeyInfo xmlns=\"http://www.w3.org/2000/09/xmldsig#\"><X509Data>\
         <X509Certificate>{certificate}</X509Certificate></X509Data></KeyInfo></KeyDescriptor>\
         <SingleSignOnService Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" \
         Location=\"https://idp.example/sso\"/></IDPSSODescriptor></EntityDescriptor>",
        idp["entity_id"].as_str().unwrap()
    )
}

fn read_response(corpus: &Path) -> String {
    let cases = read_json(&corpus.join("cases.json"));
    let case = cases.as_array().unwrap().iter().find(|case| case["name"] == CASE).unwrap();
    std::fs::read_to_string(corpus.join(case["file"].as_str().unwrap())).unwrap()
}

/// A whole POST of a response.
fn post_of(at: usize, response: &str) -> Vec<u8> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    let body = form.append_pair("SAMLResponse", &STANDARD.encode(response)).finish();
    format!(
        "POST /.portcullis/saml/corp/acs HTTP/1.1\r\nhost: {HOST}\r\nx-forwarded-for: 203.0.113.{at}\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
