//! The certificates that are served: read at a start and a reload, and within seconds where a file becomes another one,
//! a link that points elsewhere included.
//!
//! The same rule on every road: what is served is a whole list that was read and whose keys fit. A file that is being
//! written is left alone until it has rested, and where one cannot be read what was served before is served still.

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use portcullis_config::{Expiry, File, Tls, read_expiry};
use portcullis_proxy::{CertificateError, Certificates, TlsFiles};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::log::error_chain;
use crate::person::format_rfc3339;

/// The interval between two looks at the files.
const LOOK: Duration = Duration::from_secs(2);

/// The certificates of every listener that speaks TLS.
pub(crate) struct ServedCertificates {
    proxy: Option<Arc<Certificates>>,
    scim: Option<Arc<Certificates>>,
    state: Mutex<Served>,
}

/// What is served, as far as is known.
struct Served {
    /// Of each listener the key of the configuration, and the files.
    listed: Vec<Listed>,
    expires: Vec<Expiry>,
}

struct Listed {
    key: &'static str,
    files: Vec<TlsFiles>,
    served: Arc<Certificates>,
    /// The files that were read last, or that could not be.
    read: Vec<FileMark>,
    /// Others that were seen at the last look: they are read once they have rested.
    seen: Vec<FileMark>,
}

/// Tells one file, and one state of it, from another: device, inode, length, times of the last change.
type FileMark = Option<(u64, u64, u64, i64, i64, i64)>;

impl ServedCertificates {
    /// Reads the certificates of a configuration.
    ///
    /// # Errors
    /// [`CertificateError`] with the file.
    pub(crate) fn open(file: &File) -> Result<Arc<Self>, CertificateError> {
        let mut listed = Vec::new();
        let mut open = |key, tls: Option<&Tls>| -> Result<Option<Arc<Certificates>>, CertificateError> {
            let Some(files) = tls.map(tls_files) else { return Ok(None) };
            let served = Certificates::load(&files)?;
            let read = file_marks(&files);
            listed.push(Listed { key, read: read.clone(), seen: read, files, served: served.clone() });
            Ok(Some(served))
        };
        let proxy = open("listen.proxy.tls", file.listen.proxy.tls.as_ref())?;
        let scim = open("listen.scim.tls", file.listen.scim.tls.as_ref())?;
        let state = Mutex::new(Served { listed, expires: file.expires.clone() });
        Ok(Arc::new(Self { proxy, scim, state }))
    }

    /// Those of the application's listener.
    pub(crate) fn proxy(&self) -> Option<Arc<Certificates>> {
        self.proxy.clone()
    }

    /// Those of the directory's.
    pub(crate) fn scim(&self) -> Option<Arc<Certificates>> {
        self.scim.clone()
    }

    /// The certificates that are served, and when each ends.
    pub(crate) fn expires(&self) -> Vec<Expiry> {
        self.state.lock().expires.clone()
    }

    /// Serves what another configuration names. Whether a listener speaks TLS is settled by a start.
    pub(crate) fn take_file(&self, file: &File) {
        let mut state = self.state.lock();
        for listed in &mut state.listed {
            let named = match listed.key {
                "listen.proxy.tls" => &file.listen.proxy.tls,
                _ => &file.listen.scim.tls,
            };
            let Some(files) = named.as_ref().map(tls_files) else { continue };
            listed.seen = file_marks(&files);
            listed.files = files;
            listed.read_again();
        }
        state.expires.clone_from(&file.expires);
    }

    /// Looks whether a file is another one, and serves it.
    fn look(&self) {
        let mut state = self.state.lock();
        let mut renewed = Vec::new();
        for listed in &mut state.listed {
            let marks = file_marks(&listed.files);
            let has_rested = marks == listed.seen;
            listed.seen = marks;
            if listed.seen != listed.read && has_rested && listed.read_again() {
                renewed.push((listed.key, listed.files.clone()));
            }
        }
        for (key, files) in renewed {
            state.expires.retain(|expiry| !expiry.name.starts_with(key));
            for (nth, TlsFiles { certificate, key: secret }) in files.iter().enumerate() {
                match read_expiry(certificate, secret) {
                    Ok(at) => {
                        let name = format!("{key}[{nth}]");
                        let until = format_rfc3339(portcullis_policy::Timestamp(at.saturating_mul(1000)));
                        tracing::info!(key = name, until, "another certificate is served from now on");
                        state.expires.push(Expiry { kind: "certificate", name, at });
                    }
                    Err(error) => tracing::warn!(key, error, "when a certificate ends is not known"),
                }
            }
        }
    }
}

impl Listed {
    /// Reads the files as they are; true where they are served now.
    fn read_again(&mut self) -> bool {
        self.read.clone_from(&self.seen);
        match self.served.replace(&self.files) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(
                    key = self.key,
                    error = %error_chain(&error),
                    "a certificate has changed and cannot be served: the one before is served still"
                );
                false
            }
        }
    }
}

/// Looks at the files until the program ends.
pub(crate) fn watch_files(served: Arc<ServedCertificates>, mut stop: watch::Receiver<bool>) {
    if served.proxy.is_none() && served.scim.is_none() {
        return;
    }
    tokio::spawn(async move {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                _ = ticks.tick() => {}
            }
            let served = served.clone();
            // The disk may not answer, and a fault of ours is not the last look.
            if let Err(error) = tokio::task::spawn_blocking(move || served.look()).await {
                tracing::error!(%error, "the certificates could not be looked at");
            }
        }
    });
}

fn tls_files(tls: &Tls) -> Vec<TlsFiles> {
    let pairs = tls.certificates.iter();
    pairs.map(|pair| TlsFiles { certificate: pair.certificate.clone(), key: pair.key.clone() }).collect()
}

fn file_marks(files: &[TlsFiles]) -> Vec<FileMark> {
    let paths = files.iter().flat_map(|TlsFiles { certificate, key }| [certificate, key]);
    paths
        .map(|path| {
            let of = std::fs::metadata(path).ok()?;
            Some((of.dev(), of.ino(), of.len(), of.mtime(), of.mtime_nsec(), of.ctime_nsec()))
        })
        .collect()
}
