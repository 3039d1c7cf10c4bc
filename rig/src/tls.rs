//! TLS with certificates of this run: one authority signs them, and the clients here trust no other.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The certificate authority of this run.
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    certificate: CertificateDer<'static>,
}

fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Portcullis test run");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Authority { certificate: certificate.der().clone(), issuer: rcgen::Issuer::new(params, key) }
    })
}

/// The key of every certificate of this run.
fn leaf_key() -> &'static rcgen::KeyPair {
    static KEY: OnceLock<rcgen::KeyPair> = OnceLock::new();
    KEY.get_or_init(|| rcgen::KeyPair::generate().unwrap())
}

/// Gives what Chromium takes to believe in that key: SHA-256 of the public key, in base64.
pub fn leaf_key_hash() -> String {
    use base64::Engine;
    let hash = portcullis_keys::sha256(&rcgen::PublicKeyData::subject_public_key_info(leaf_key()));
    base64::engine::general_purpose::STANDARD.encode(hash)
}

/// Makes a certificate for a name, signed by the authority of this run: it and its key, both in PEM.
pub fn pem_files(host: &str) -> (String, String) {
    let params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
    let certificate = params.signed_by(leaf_key(), &authority().issuer).unwrap();
    (certificate.pem(), leaf_key().serialize_pem())
}

/// Gives the certificate of the authority of this run, in PEM.
pub fn authority_pem() -> String {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.encode(&authority().certificate);
    let lines: Vec<&str> =
        bytes.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// Shakes hands over a socket as a client that asks for a name and offers these protocols.
pub async fn connect<S>(socket: S, name: &str, offered: &[&[u8]]) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    connect_as(socket, name, offered, None).await
}

/// The same as a client that shows a certificate of the authority of this run, made for that name.
pub async fn connect_as<S>(
    socket: S,
    name: &str,
    offered: &[&[u8]],
    client: Option<&str>,
) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let shown = client.map(|client| {
        let params = rcgen::CertificateParams::new(vec![client.to_owned()]).unwrap();
        params.signed_by(leaf_key(), &authority().issuer).unwrap()
    });
    connect_showing(socket, name, offered, shown).await
}

/// The same as a client that shows a certificate of its own making.
pub async fn connect_as_stranger<S>(socket: S, name: &str, offered: &[&[u8]]) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let params = rcgen::CertificateParams::new(vec!["anybody.localhost".to_owned()]).unwrap();
    connect_showing(socket, name, offered, Some(params.self_signed(leaf_key()).unwrap())).await
}

async fn connect_showing<S>(
    socket: S,
    name: &str,
    offered: &[&[u8]],
    shown: Option<rcgen::Certificate>,
) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut config = client_config(shown, rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

fn client_config(
    shown: Option<rcgen::Certificate>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority().certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
    match shown {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let key = rustls::pki_types::PrivateKeyDer::try_from(leaf_key().serialize_der()).unwrap();
            builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
        }
    }
}

/// Connects a few times as one client that remembers, with a certificate of the authority of this run, and tells whether any
/// connection took up an earlier one's session: a listener may have several memories.
pub async fn takes_up_a_session(
    address: SocketAddr,
    name: &str,
    version: &'static rustls::SupportedProtocolVersion,
) -> bool {
    let params = rcgen::CertificateParams::new(vec!["laptop.localhost".to_owned()]).unwrap();
    let shown = params.signed_by(leaf_key(), &authority().issuer).unwrap();
    let config = Arc::new(client_config(Some(shown), &[version]));
    let mut is_taken_up = false;
    for _ in 0..12 {
        let socket = TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(config.clone());
        let mut stream =
            connector.connect(ServerName::try_from(name.to_owned()).unwrap(), socket).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        // Tickets come behind the handshake.
        let _ = stream.read_to_end(&mut Vec::new()).await;
        is_taken_up |= stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    }
    is_taken_up
}

/// Tells which protocol was chosen.
pub fn chosen_protocol<S>(stream: &TlsStream<S>) -> Option<&[u8]> {
    stream.get_ref().1.alpn_protocol()
}
