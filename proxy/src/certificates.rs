//! Certificates: what a listener shows, by the name that is asked for, and how others take their place while it listens.
//!
//! The rule it protects: what is served is always a whole list that was read and whose keys fit; where a file cannot be
//! read, what was served before is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A certificate chain and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The fault of a certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The certificate cannot be read.
    #[error("the certificate {} cannot be read", .0.display())]
    Certificate(PathBuf, #[source] pem::Error),
    /// There is no certificate in the file.
    #[error("there is no certificate in {}", .0.display())]
    NoCertificate(PathBuf),
    /// The key cannot be read.
    #[error("the key {} cannot be read", .0.display())]
    Key(PathBuf, #[source] pem::Error),
    /// The key is of no kind we know, or another certificate's.
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
}

/// The certificates of one listener; at least one. Each handshake asks for the one of that moment.
pub struct Certificates(ArcSwap<Vec<Arc<CertifiedKey>>>);

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// [`CertificateError`] with the first file that is wrong.
    pub fn load(files: &[TlsFiles]) -> Result<Arc<Self>, CertificateError> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(read_files(files)?))))
    }

    /// Reads the files and serves what is in them from now on. Connections that are there keep what they were shown.
    ///
    /// # Errors
    /// [`CertificateError`]; then what was served is served still.
    pub fn replace(&self, files: &[TlsFiles]) -> Result<(), CertificateError> {
        self.0.store(Arc::new(read_files(files)?));
        Ok(())
    }

    /// The first that is for a name; where none is, or no name is asked for, the first of all.
    fn of_name(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let all = self.0.load();
        let name = name.filter(|_| all.len() > 1).and_then(|name| ServerName::try_from(name).ok());
        let is_for = |certified: &&Arc<CertifiedKey>| {
            let leaf = certified.cert.first().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
            name.as_ref().zip(leaf).is_some_and(|(name, leaf)| verify_server_name(&leaf, name).is_ok())
        };
        all.iter().find(is_for).or(all.first()).cloned()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificates({})", self.0.load().len())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.of_name(hello.server_name())
    }
}

fn read_files(files: &[TlsFiles]) -> Result<Vec<Arc<CertifiedKey>>, CertificateError> {
    let provider = rustls::crypto::ring::default_provider();
    let read = |files: &TlsFiles| {
        let TlsFiles { certificate, key } = files;
        let pair =
            |cause| CertificateError::Pair { certificate: certificate.clone(), key: key.clone(), cause };
        let secret =
            PrivateKeyDer::from_pem_file(key).map_err(|cause| CertificateError::Key(key.clone(), cause))?;
        CertifiedKey::from_der(read_chain(certificate)?, secret, &provider).map(Arc::new).map_err(pair)
    };
    files.iter().map(read).collect()
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let fault = |cause| CertificateError::Certificate(path.into(), cause);
    let chain =
        CertificateDer::pem_file_iter(path).map_err(fault)?.collect::<Result<Vec<_>, _>>().map_err(fault)?;
    if chain.is_empty() { Err(CertificateError::NoCertificate(path.into())) } else { Ok(chain) }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }

        fn pair(&self, names: &[&str]) -> TlsFiles {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let file = names[0].replace('*', "any");
            let made = rcgen::generate_simple_self_signed(names).unwrap();
            TlsFiles {
                certificate: self.write(&format!("{file}.crt"), &made.cert.pem()),
                key: self.write(&format!("{file}.key"), &made.signing_key.serialize_pem()),
            }
        }
    }

    #[test]
    fn files_are_whole_and_go_together() {
        let folder = Folder(tempfile::tempdir().unwrap());
        let (good, other) = (folder.pair(&["wiki.test"]), folder.pair(&["other.test"]));
        let empty = folder.write("empty.pem", "");
        let load = |certificate: &Path, key: &Path| {
            Certificates::load(&[TlsFiles { certificate: certificate.into(), key: key.into() }])
        };
        let served = load(&good.certificate, &good.key).unwrap();
        let before = served.of_name(None).unwrap();
        assert!(matches!(load(&good.certificate, &other.key), Err(CertificateError::Pair { .. })));
        assert!(matches!(load(&empty, &good.key), Err(CertificateError::NoCertificate(_))));
        assert!(matches!(load(&good.certificate, &empty), Err(CertificateError::Key(..))));
        assert!(matches!(load(Path::new("/nonexistent"), &good.key), Err(CertificateError::Certificate(..))));
        // One that cannot be read changes nothing.
        let torn = TlsFiles { certificate: empty, key: good.key };
        assert!(served.replace(&[other.clone(), torn]).is_err());
        assert!(Arc::ptr_eq(&before, &served.of_name(None).unwrap()));
        served.replace(&[other]).unwrap();
        assert!(!Arc::ptr_eq(&before, &served.of_name(None).unwrap()));
    }

    #[test]
    fn the_first_that_is_for_a_name_is_shown_and_else_the_first() {
        let folder = Folder(tempfile::tempdir().unwrap());
        let files =
            [folder.pair(&["wiki.test"]), folder.pair(&["*.corp.test"]), folder.pair(&["a.corp.test"])];
        let served = Certificates::load(&files).unwrap();
        let shown = |name: Option<&str>| {
            let shown = served.of_name(name).unwrap();
            served.0.load().iter().position(|one| Arc::ptr_eq(one, &shown)).unwrap()
        };
        for (name, nth) in [
            (None, 0),
            (Some("wiki.test"), 0),
            (Some("b.corp.test"), 1),
            (Some("A.CORP.test"), 1),
            (Some("x.b.corp.test"), 0),
            (Some("unknown.test"), 0),
            (Some("not a name"), 0),
        ] {
            assert_eq!(shown(name), nth, "{name:?}");
        }
    }
}
