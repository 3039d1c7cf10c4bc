//! The authorities of the clients that a listener hears.
//!
//! A client that shows no certificate of one of them is refused in the handshake, before a byte of it is taken for HTTP.
//! Whoever shows one is heard, and known by nothing that is in it: a session, or a token, is asked for all the same.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, pem};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

/// The fault of a file of authorities.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// It cannot be read.
    #[error("{} cannot be read as PEM", .0.display())]
    Unreadable(PathBuf, #[source] pem::Error),
    /// There is a certificate in it that nobody could be known by, or none.
    #[error("{} holds no certificate of an authority that clients could be known by: {why}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// The library's words.
        why: String,
    },
}

/// Authorities; a client has to show a certificate of one of them.
#[derive(Clone)]
pub struct ClientAuthorities(Arc<dyn ClientCertVerifier>);

impl ClientAuthorities {
    /// Reads a file of PEM.
    ///
    /// # Errors
    /// [`AuthoritiesError`].
    pub fn load(file: &Path) -> Result<Self, AuthoritiesError> {
        let unreadable = |cause| AuthoritiesError::Unreadable(file.to_owned(), cause);
        let unusable = |why: String| AuthoritiesError::Unusable { file: file.to_owned(), why };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
            roots.add(certificate.map_err(unreadable)?).map_err(|error| unusable(error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Self(verifier.map_err(|error| unusable(error.to_string()))?))
    }

    /// What looks at a client's certificate.
    pub fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        self.0.clone()
    }

    /// Has every connection shake hands in full: one that is taken up again shows no certificate, so it would outlive the
    /// end of the one it began with.
    pub fn forget_sessions(&self, config: &mut ServerConfig) {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
}

impl fmt::Debug for ClientAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientAuthorities")
    }
}
