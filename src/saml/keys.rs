//! Our own keys for SAML, in the state folder.
//!
//! They are made at the first start that needs them: `saml.pem`, one private key and its certificate. A second pair,
//! `saml-next.pem`, is only published and decrypted with, so that identity providers can learn it before it takes the
//! place of the first.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_config::{File, IdpProtocol};
use portcullis_keys::{Random, Secret};
use portcullis_policy::Timestamp;
use portcullis_sso::{SpKey, SpKeyError, SpKeys};

/// The pair that signs, and the one that will.
const PAIRS: [&str; 2] = ["saml.pem", "saml-next.pem"];

/// Reasons why there are no keys for SAML.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SamlKeysError {
    /// A file that cannot be read or written.
    #[error("the keys for SAML, {}, cannot be used", .path.display())]
    File { path: PathBuf, source: io::Error },
    /// A file that holds something else.
    #[error(
        "{} must hold one private key (-----BEGIN PRIVATE KEY-----) and its certificate, both PEM", .path.display()
    )]
    Pair { path: PathBuf, source: SpKeyError },
    /// The library that makes keys refuses.
    #[error("the keys for SAML cannot be made: {0}")]
    Make(String),
}

/// Reads our keys where the configuration has an identity provider of SAML, and makes them where there are none.
///
/// # Errors
/// [`SamlKeysError`].
pub(super) fn load_keys(file: &File, now: Timestamp) -> Result<Option<Arc<SpKeys>>, SamlKeysError> {
    if !file.idps.iter().any(|idp| matches!(idp.protocol, IdpProtocol::Saml(_))) {
        return Ok(None);
    }
    if let Some(keys) = read_keys(&file.state)? {
        return Ok(Some(Arc::new(keys)));
    }
    make_pair(&file.state.join(PAIRS[0]), file.public_url.host(), now)?;
    Ok(read_keys(&file.state)?.map(Arc::new))
}

/// Reads the keys that are there; `None` where the first pair is not.
///
/// # Errors
/// [`SamlKeysError`].
pub(super) fn read_keys(state: &Path) -> Result<Option<SpKeys>, SamlKeysError> {
    let mut pairs = Vec::new();
    for name in PAIRS {
        let path = state.join(name);
        match read_pair(&path) {
            Ok(text) => pairs.push((path, text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(SamlKeysError::File { path, source }),
        }
    }
    if !state.join(PAIRS[0]).exists() {
        return Ok(None);
    }
    let split: Vec<(Secret, String)> = pairs.iter().map(|(_, text)| split_pair(text)).collect();
    SpKeys::read_pairs(&split).map(Some).map_err(|(nth, source)| {
        let path = pairs.get(nth).map_or_else(PathBuf::new, |(path, _)| path.clone());
        SamlKeysError::Pair { path, source }
    })
}

/// Reads a file that only its owner may read, and that is no device.
fn read_pair(path: &Path) -> io::Result<Secret> {
    let found = fs::metadata(path)?;
    if !found.is_file() || found.len() > MOST_BYTES {
        return Err(io::Error::other("it is not a plain file of 64 KiB at most"));
    }
    if found.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::other("others than its owner may read it: chmod 600"));
    }
    fs::read_to_string(path).map(Secret::new)
}

/// Longer files are refused.
const MOST_BYTES: u64 = 64 * 1024;

/// Reads our keys as a look at a response needs them, and writes nothing: where there are none yet, a pair that nobody
/// encrypts to stands in for them.
///
/// # Errors
/// [`SamlKeysError`].
pub(crate) fn read_kept_keys(state: &Path, host: &str, now: Timestamp) -> Result<Arc<SpKeys>, SamlKeysError> {
    if let Some(keys) = read_keys(state)? {
        return Ok(Arc::new(keys));
    }
    let pair = split_pair(&generate_pair(host, now)?);
    SpKeys::read_pairs(&[pair])
        .map(Arc::new)
        .map_err(|(_, source)| SamlKeysError::Pair { path: state.join(PAIRS[0]), source })
}

/// Tells whether our keys for SAML were made.
pub(crate) fn has_keys(state: &Path) -> bool {
    state.join(PAIRS[0]).exists()
}

fn generate_pair(host: &str, now: Timestamp) -> Result<Secret, SamlKeysError> {
    let made = SpKey::generate(host, now, &mut Random::from_system())
        .map_err(|error| SamlKeysError::Make(error.to_string()))?;
    Ok(Secret::new(format!("{}{}", made.pkcs8_pem.expose(), made.certificate_pem)))
}

fn make_pair(path: &Path, host: &str, now: Timestamp) -> Result<(), SamlKeysError> {
    let text = generate_pair(host, now)?;
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.expose().as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| SamlKeysError::File { path: path.to_owned(), source })?;
    tracing::info!(file = %path.display(), "keys for SAML were made: give the identity providers our metadata");
    Ok(())
}

/// Parts the key from the certificate.
fn split_pair(text: &Secret) -> (Secret, String) {
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
    let text = text.expose();
    let (key, certificate) = text.split_at(text.find(CERTIFICATE).unwrap_or(text.len()));
    (Secret::new(key.trim()), certificate.trim().to_owned())
}
