//! What people who are signed in notice of strangers who post responses of SAML.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
/// Responses that cost much before they are refused: signed by the right key, for somebody else; by a wrong one; and large.
const CASES: [&str; 3] = ["response-signed", "both-signed", "attribute-groups-400"];

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
    println!("| | posts/s | p50, ms | p99, ms |\n|---|---|---|---|");
    let bodies: Arc<Vec<Vec<u8>>> = Arc::new(CASES.map(|name| post_of(&corpus, name)).into());
    for (name, posts) in
        [("nobody posts", false), ("64 strangers post", true), ("nobody posts, again", false)]
    {
        let (stop, answered) = (Arc::new(AtomicBool::new(!posts)), Arc::new(AtomicUsize::new(0)));
        let strangers: Vec<_> = (0..AT_ONCE)
            .map(|at| {
                tokio::spawn(post_on(gate.address(), at, bodies.clone(), stop.clone(), answered.clone()))
            })
            .collect();
        let took = load.paced(RATE, LASTS, core).await;
        stop.store(true, Ordering::Relaxed);
        for stranger in strangers {
            stranger.await.unwrap();
        }
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        let rate = answered.load(Ordering::Relaxed) as f64 / LASTS.as_secs_f64();
        println!(
            "| {name} | {rate:.0} | {:.2} | {:.2} |",
            percentile_ms(&took, 50),
            percentile_ms(&took, 99)
        );
    }
}

fn percentile_ms(took: &[Duration], of_hundred: usize) -> f64 {
    took[took.len() * of_hundred / 100].as_secs_f64() * 1e3
}

/// Posts one after the other, on a connection each, until it is told to stop.
async fn post_on(
    address: SocketAddr,
    at: usize,
    bodies: Arc<Vec<Vec<u8>>>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) {
    for post in bodies.iter().cycle().skip(at) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok(mut socket) = TcpStream::connect(address).await else { continue };
        if socket.write_all(post).await.is_err() {
            continue;
        }
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        assert!(answer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer));
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The corpus' own provider, as metadata.
fn metadata_of(corpus: &Path) -> String {
    let idps = read_json(&corpus.join("idps.json"));
    let idp = &idps["acme"];
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

/// A whole POST of one case.
fn post_of(corpus: &Path, name: &str) -> Vec<u8> {
    let cases = read_json(&corpus.join("cases.json"));
    let case = cases.as_array().unwrap().iter().find(|case| case["name"] == name).unwrap();
    let response = STANDARD.encode(std::fs::read(corpus.join(case["file"].as_str().unwrap())).unwrap());
    let body: String = form_urlencoded(&response);
    format!(
        "POST /.portcullis/saml/corp/acs HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn form_urlencoded(response: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new()).append_pair("SAMLResponse", response).finish()
}
