//! Our own keys for SAML, in the state folder.
//!
//! They are made at the first start that needs them: `saml.pem`, one private key and its certificate. A second pair,
//! `saml-next.pem`, is only published and decrypted with, so that identity providers can learn it before it takes the
//! place of the first.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
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
pub(crate) fn load_keys(file: &File, now: Timestamp) -> Result<Option<Arc<SpKeys>>, SamlKeysError> {
    if !file.idps.iter().any(|idp| matches!(idp.protocol, IdpProtocol::Saml(_))) {
        return Ok(None);
    }
    read_keys(&file.state, |path| make_pair(path, file.public_url.host(), now)).map(Some)
}

/// Reads our keys as a look at a response needs them, and writes nothing: where there are none yet, a pair that nobody
/// encrypts to stands in for them.
///
/// # Errors
/// [`SamlKeysError`].
pub(crate) fn read_kept_keys(state: &Path, host: &str, now: Timestamp) -> Result<Arc<SpKeys>, SamlKeysError> {
    read_keys(state, |_| generate_pair(host, now))
}

/// Tells whether our keys for SAML were made.
pub(crate) fn has_keys(state: &Path) -> bool {
    state.join(PAIRS[0]).exists()
}

fn read_keys(
    state: &Path,
    make_first: impl Fn(&Path) -> Result<Secret, SamlKeysError>,
) -> Result<Arc<SpKeys>, SamlKeysError> {
    let mut pairs = Vec::new();
    for name in PAIRS {
        let path = state.join(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => Secret::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && name == PAIRS[0] => make_first(&path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(SamlKeysError::File { path, source }),
        };
        pairs.push((path, text));
    }
    let split: Vec<(Secret, String)> = pairs.iter().map(|(_, text)| split_pair(text)).collect();
    let keys = SpKeys::read_pairs(&split).map_err(|(nth, source)| {
        let path = pairs.get(nth).map_or_else(PathBuf::new, |(path, _)| path.clone());
        SamlKeysError::Pair { path, source }
    })?;
    Ok(Arc::new(keys))
}

fn generate_pair(host: &str, now: Timestamp) -> Result<Secret, SamlKeysError> {
    let made = SpKey::generate(host, now, &mut Random::from_system())
        .map_err(|error| SamlKeysError::Make(error.to_string()))?;
    Ok(Secret::new(format!("{}{}", made.pkcs8_pem.expose(), made.certificate_pem)))
}

fn make_pair(path: &Path, host: &str, now: Timestamp) -> Result<Secret, SamlKeysError> {
    let text = generate_pair(host, now)?;
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.expose().as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| SamlKeysError::File { path: path.to_owned(), source })?;
    tracing::info!(file = %path.display(), "keys for SAML were made: give the identity providers our metadata");
    Ok(text)
}

/// Parts the key from the certificate.
fn split_pair(text: &Secret) -> (Secret, String) {
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
    let text = text.expose();
    let (key, certificate) = text.split_at(text.find(CERTIFICATE).unwrap_or(text.len()));
    (Secret::new(key.trim()), certificate.trim().to_owned())
}
