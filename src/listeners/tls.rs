//! TLS of a core listener: its certificate, and the authorities of the clients that are heard.
//!
//! The files were judged when the configuration was read; here they are read once more and served with. A client that
//! shows no certificate of a named authority is refused in the handshake, before a byte of it is taken for HTTP.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// The files of a listener that speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenerTls {
    /// The chain, PEM, the server's own certificate first.
    pub(crate) certificate: PathBuf,
    /// Its key, PEM.
    pub(crate) key: PathBuf,
    /// The authorities of clients, PEM; without it every client is heard.
    pub(crate) client_ca: Option<PathBuf>,
}

/// Reasons why a listener cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFault {
    #[error("{} cannot be read as PEM: {cause}", file.display())]
    Unreadable { file: PathBuf, cause: pem::Error },
    #[error("the key {} does not go with the certificate {}: {cause}", key.display(), certificate.display())]
    Pair { certificate: PathBuf, key: PathBuf, cause: rustls::Error },
    #[error("{} holds no certificate of an authority that clients could be known by: {why}", file.display())]
    Authorities { file: PathBuf, why: String },
}

impl ListenerTls {
    /// Reads the files: HTTP/2 and HTTP/1.1, TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// [`TlsFault`] with the file.
    pub(crate) fn read_files(&self) -> Result<TlsAcceptor, TlsFault> {
        let pair =
            |cause| TlsFault::Pair { certificate: self.certificate.clone(), key: self.key.clone(), cause };
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(pair)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let refused = |why: String| TlsFault::Authorities { file: file.clone(), why };
                let mut roots = RootCertStore::empty();
                for certificate in read_certificates(file)? {
                    roots.add(certificate).map_err(|error| refused(error.to_string()))?;
                }
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder
                    .with_client_cert_verifier(verifier.build().map_err(|error| refused(error.to_string()))?)
            }
        };
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|cause| TlsFault::Unreadable { file: self.key.clone(), cause })?;
        let mut config =
            builder.with_single_cert(read_certificates(&self.certificate)?, key).map_err(pair)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|cause| TlsFault::Unreadable { file: file.to_owned(), cause })
}
