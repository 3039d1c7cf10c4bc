//! The keys and names of `tests/vectors/saml`, for tests that make their own messages.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_keys::Secret;
use portcullis_policy::Timestamp;
use portcullis_sso::{IdpKey, SpSigner};

/// A moment within the life of every certificate of the corpus but the expired one.
pub(crate) const NOW: Timestamp = Timestamp(1_780_000_000_000);
pub(crate) const IDP: &str = "https://idp.example.test/saml/metadata";
pub(crate) const SP: &str = "https://app.example.test/.portcullis/saml/idp/metadata";
pub(crate) const ACS: &str = "https://app.example.test/.portcullis/saml/idp/acs";
pub(crate) const SLO: &str = "https://app.example.test/.portcullis/saml/idp/slo";

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/saml")
}

pub(crate) fn read_json(name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(folder().join(name)).unwrap()).unwrap()
}

pub(crate) fn read_pem(file: &str) -> String {
    std::fs::read_to_string(folder().join(file)).unwrap()
}

/// The base64 of a certificate, as metadata has it, from its file: `keys/idp-rsa2048.cert.pem`.
pub(crate) fn certificate_text(file: &str) -> String {
    read_pem(file).lines().filter(|line| !line.starts_with("-----")).collect()
}

pub(crate) fn idp_key(file: &str) -> IdpKey {
    IdpKey::from_certificate(&STANDARD.decode(certificate_text(file)).unwrap()).unwrap()
}

/// A key of the corpus that signs: of the SP, or of an IdP that sends something.
pub(crate) fn signer(name: &str) -> SpSigner {
    let key = Secret::new(read_pem(&format!("keys/{name}.key.pem")));
    SpSigner::read_pem(&key, &read_pem(&format!("keys/{name}.cert.pem"))).unwrap()
}
