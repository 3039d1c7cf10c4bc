//! A key that an identity provider signs with, out of its certificate.
//!
//! The certificate is a wrapper only: trusted because an operator or the metadata names it, whoever signed it. Its end
//! is shown and warned of, and decides nothing (SAML Metadata Interoperability Profile §2.6.1).

use std::fmt;

use p521::ecdsa::signature::Verifier as _;
use portcullis_keys::{SignedHash, VerifyingKey, sha256};
use portcullis_policy::Timestamp;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::signature::KeyFamily;
use crate::{Class, LoginRefusal};

/// The curve P-521, as a certificate names it.
const SECP521R1: &str = "1.3.132.0.35";
const SECP384R1: &str = "1.3.132.0.34";
const SECP256R1: &str = "1.2.840.10045.3.1.7";

/// A key that an identity provider signs with, and its certificate.
#[derive(Clone)]
pub struct IdpKey {
    certificate: Vec<u8>,
    key: PublicIdpKey,
    fingerprint: [u8; 32],
    not_after: Timestamp,
}

#[derive(Clone)]
enum PublicIdpKey {
    Ring(VerifyingKey),
    P521(Box<p521::ecdsa::VerifyingKey>),
}

impl IdpKey {
    /// Reads a key out of the DER of an X.509 certificate.
    ///
    /// # Errors
    /// `metadata`: no certificate, an RSA key of fewer than 2048 or more than 8192 bits, a key of another kind.
    pub fn from_certificate(der: &[u8]) -> Result<Self, LoginRefusal> {
        let (rest, certificate) = X509Certificate::from_der(der)
            .map_err(|_| refuse_certificate("an X.509 certificate", "other bytes"))?;
        if !rest.is_empty() {
            return Err(refuse_certificate("an X.509 certificate", "bytes behind it"));
        }
        Ok(Self {
            key: read_key(&certificate)?,
            fingerprint: sha256(der),
            not_after: Timestamp(certificate.validity().not_after.timestamp().saturating_mul(1000)),
            certificate: der.to_vec(),
        })
    }

    /// The certificate, as it was given.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The SHA-256 of the certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// The end of the certificate.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    pub(crate) fn family(&self) -> KeyFamily {
        match self.key {
            PublicIdpKey::Ring(VerifyingKey::Rsa(_)) => KeyFamily::Rsa,
            PublicIdpKey::Ring(_) | PublicIdpKey::P521(_) => KeyFamily::Ecdsa,
        }
    }

    /// Tells whether the key made a signature, as XML Signature writes it.
    pub(crate) fn verifies(&self, hash: SignedHash, message: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            PublicIdpKey::Ring(key) => key.verifies(hash, message, signature),
            PublicIdpKey::P521(key) if hash == SignedHash::Sha512 => {
                p521::ecdsa::Signature::from_slice(signature)
                    .is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }
            PublicIdpKey::P521(_) => false,
        }
    }
}

impl PartialEq for IdpKey {
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate
    }
}

impl Eq for IdpKey {}

impl fmt::Debug for IdpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdpKey({})", show_fingerprint(&self.fingerprint))
    }
}

fn read_key(certificate: &X509Certificate<'_>) -> Result<PublicIdpKey, LoginRefusal> {
    const EXPECTED: &str = "an RSA key of 2048 to 8192 bits, or one of P-256, P-384 or P-521";
    let info = certificate.public_key();
    let bytes = info.subject_public_key.data.to_vec();
    match info.parsed() {
        Ok(PublicKey::RSA(key)) if (2048..=8192).contains(&count_bits(key.modulus)) => {
            Ok(PublicIdpKey::Ring(VerifyingKey::Rsa(bytes)))
        }
        Ok(PublicKey::RSA(key)) => {
            Err(refuse_certificate(EXPECTED, format!("an RSA key of {} bits", count_bits(key.modulus))))
        }
        Ok(PublicKey::EC(_)) => {
            let parameters = info.algorithm.parameters.as_ref();
            let curve = parameters.and_then(|curve| curve.as_oid().ok()).map(|oid| oid.to_id_string());
            match curve.as_deref() {
                Some(SECP256R1) => Ok(PublicIdpKey::Ring(VerifyingKey::P256(bytes))),
                Some(SECP384R1) => Ok(PublicIdpKey::Ring(VerifyingKey::P384(bytes))),
                Some(SECP521R1) => p521::ecdsa::VerifyingKey::from_sec1_bytes(&bytes)
                    .map(|key| PublicIdpKey::P521(Box::new(key)))
                    .map_err(|_| refuse_certificate(EXPECTED, "no point of P-521")),
                other => Err(refuse_certificate(
                    EXPECTED,
                    format!("a key of the curve {}", other.unwrap_or("(unnamed)")),
                )),
            }
        }
        _ => Err(refuse_certificate(EXPECTED, "a key of another kind")),
    }
}

fn count_bits(modulus: &[u8]) -> usize {
    let first = modulus.iter().position(|byte| *byte != 0).unwrap_or(modulus.len());
    let digits = &modulus[first..];
    digits.first().map_or(0, |byte| digits.len() * 8 - byte.leading_zeros() as usize)
}

/// The beginning of a fingerprint, for people.
pub(crate) fn show_fingerprint(fingerprint: &[u8; 32]) -> String {
    fingerprint[..8].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn refuse_certificate(expected: &str, got: impl fmt::Display) -> LoginRefusal {
    LoginRefusal::new(
        Class::SamlMetadata,
        expected,
        got,
        "Download the identity provider's metadata or its signing certificate again; let it make a new key where this \
         one is too short.",
    )
}
