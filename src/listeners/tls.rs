//! TLS of a core listener: its certificates, and the authorities of the clients that are heard.
//!
//! A client that shows no certificate of a named authority is refused in the handshake, before a byte of it is taken for
//! HTTP.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_proxy::Certificates;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, pem};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// Reasons why a listener cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFault {
    #[error("{} cannot be read as PEM: {cause}", file.display())]
    Unreadable { file: PathBuf, cause: pem::Error },
    #[error("{} holds no certificate of an authority that clients could be known by: {why}", file.display())]
    Authorities { file: PathBuf, why: String },
    #[error("the library refuses its own settings: {0}")]
    Library(rustls::Error),
}

/// Makes what shakes hands: HTTP/2 and HTTP/1.1, TLS 1.2 and 1.3. Without `client_ca`, a file of authorities in PEM, every
/// client is heard.
///
/// # Errors
/// [`TlsFault`] with the file.
pub(crate) fn acceptor(
    certificates: Arc<Certificates>,
    client_ca: Option<&Path>,
) -> Result<TlsAcceptor, TlsFault> {
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsFault::Library)?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let refused = |why: String| TlsFault::Authorities { file: file.to_owned(), why };
            let mut roots = RootCertStore::empty();
            for certificate in read_certificates(file)? {
                roots.add(certificate).map_err(|error| refused(error.to_string()))?;
            }
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| refused(error.to_string()))?)
        }
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|cause| TlsFault::Unreadable { file: file.to_owned(), cause })
}
