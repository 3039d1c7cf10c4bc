//! TLS with certificates of this run: one authority signs them, and the clients here trust no other.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
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
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority().certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let key = rustls::pki_types::PrivateKeyDer::try_from(leaf_key().serialize_der()).unwrap();
            builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
        }
    };
    config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

/// Tells which protocol was chosen.
pub fn chosen_protocol<S>(stream: &TlsStream<S>) -> Option<&[u8]> {
    stream.get_ref().1.alpn_protocol()
}
