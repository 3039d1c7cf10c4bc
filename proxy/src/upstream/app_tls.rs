//! TLS towards an application: by which authorities it is known, under which name, and by what it knows us.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::certificates::TlsFiles;

/// The files and the name by which an application is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppTlsFiles {
    /// Its authorities, PEM; those of the system where there are none.
    pub ca_file: Option<PathBuf>,
    /// The certificate that we show, and its key.
    pub client: Option<TlsFiles>,
    /// The name, or the address, that its certificate must be for.
    pub server_name: String,
}

/// The fault of one of them.
#[derive(Debug, thiserror::Error)]
pub enum AppTlsError {
    /// A file that cannot be read.
    #[error("{} cannot be read as PEM", .0.display())]
    Unreadable(PathBuf, #[source] pem::Error),
    /// A certificate nobody could be known by.
    #[error("{} holds a certificate that nobody could be known by", .0.display())]
    Authority(PathBuf, #[source] rustls::Error),
    /// No certificate at all.
    #[error("{} holds no certificate", .0.display())]
    Empty(PathBuf),
    /// This machine has none of the usual authorities.
    #[error(
        "this machine has no certificate authorities (Debian's package ca-certificates): name them in ca_file"
    )]
    NoSystem,
    /// A key that is of no kind we know, or another certificate's.
    #[error("the key {} does not go with the certificate {}", key.display(), certificate.display())]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// The fault of the two.
        #[source]
        cause: rustls::Error,
    },
    /// A name that is none.
    #[error("{name:?} is no name that a certificate could be for")]
    Name {
        /// As it is written.
        name: String,
        /// The reason.
        #[source]
        cause: InvalidDnsNameError,
    },
}

/// TLS towards one application. Connections are kept for as long as this very value is in force.
pub struct AppTls {
    pub(super) connector: TlsConnector,
    pub(super) name: ServerName<'static>,
}

impl AppTls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`AppTlsError`] with the first that is wrong.
    pub fn load(files: &AppTlsFiles) -> Result<Arc<Self>, AppTlsError> {
        let roots = match &files.ca_file {
            Some(file) => read_roots(file)?,
            None => system_roots()?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        #[allow(clippy::expect_used, reason = "the library's own provider speaks the library's own versions")]
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the usual versions")
            .with_root_certificates(roots);
        let mut config = match &files.client {
            None => builder.with_no_client_auth(),
            Some(TlsFiles { certificate, key }) => {
                let unreadable = |path: &Path| {
                    let path = path.to_owned();
                    move |cause| AppTlsError::Unreadable(path, cause)
                };
                let chain = read_certificates(certificate)?;
                let secret = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
                builder.with_client_auth_cert(chain, secret).map_err(|cause| AppTlsError::Pair {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    cause,
                })?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from(files.server_name.trim_matches(['[', ']']).to_owned())
            .map_err(|cause| AppTlsError::Name { name: files.server_name.clone(), cause })?;
        Ok(Arc::new(Self { connector: TlsConnector::from(Arc::new(config)), name }))
    }
}

impl fmt::Debug for AppTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppTls({:?})", self.name)
    }
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, AppTlsError> {
    let unreadable = |cause| AppTlsError::Unreadable(file.to_owned(), cause);
    let found = CertificateDer::pem_file_iter(file).map_err(unreadable)?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(unreadable)?;
    if found.is_empty() { Err(AppTlsError::Empty(file.to_owned())) } else { Ok(found) }
}

fn read_roots(file: &Path) -> Result<RootCertStore, AppTlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(file)? {
        roots.add(certificate).map_err(|cause| AppTlsError::Authority(file.to_owned(), cause))?;
    }
    Ok(roots)
}

/// Those of the system. One that the library does not understand is none that an application is known by.
fn system_roots() -> Result<RootCertStore, AppTlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(AppTlsError::NoSystem) } else { Ok(roots) }
}
