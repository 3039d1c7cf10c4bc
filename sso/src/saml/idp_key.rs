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
    key_print: [u8; 32],
    not_after: Timestamp,
    standing: KeyStanding,
}

/// The word on a key: whether what it signs is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStanding {
    /// It is believed.
    InForce,
    /// It is new, and waits for an operator.
    Waiting,
    /// An operator has distrusted it, for ever.
    Distrusted,
}

#[derive(Clone)]
enum PublicIdpKey {
    Ring(VerifyingKey),
    P521(Box<p521::ecdsa::VerifyingKey>),
}

/// The AlgorithmIdentifiers of the keys that are read (RFC 3279 §2.3.1, RFC 5480 §2.1.1), in DER.
const RSA_ALGORITHM: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
const P256_ALGORITHM: &[u8] =
    b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384_ALGORITHM: &[u8] = b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
const P521_ALGORITHM: &[u8] = b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23";

impl PublicIdpKey {
    /// Writes the key in the one way that names it: certificates may leave parameters out or press a point together, and it is
    /// the same key.
    fn subject_public_key_info(&self) -> Vec<u8> {
        let point;
        let (algorithm, key): (&[u8], &[u8]) = match self {
            Self::Ring(VerifyingKey::Rsa(key)) => (RSA_ALGORITHM, key),
            Self::Ring(VerifyingKey::P256(key)) => (P256_ALGORITHM, key),
            Self::Ring(VerifyingKey::P384(key)) => (P384_ALGORITHM, key),
            Self::P521(key) => {
                point = key.to_sec1_point(false);
                (P521_ALGORITHM, point.as_ref())
            }
        };
        let bits = write_der(0x03, &[&[0], key].concat());
        write_der(0x30, &[algorithm, &bits].concat())
    }
}

/// Writes one element of DER (X.690 §8.1).
fn write_der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut out = vec![tag];
    if content.len() < 0x80 {
        out.push(digits[0]);
    } else {
        out.push(0x80 | u8::try_from(digits.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(digits);
    }
    out.extend_from_slice(content);
    out
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
        let key = read_key(&certificate)?;
        Ok(Self {
            fingerprint: sha256(der),
            key_print: sha256(&key.subject_public_key_info()),
            key,
            not_after: Timestamp(certificate.validity().not_after.timestamp().saturating_mul(1000)),
            certificate: der.to_vec(),
            standing: KeyStanding::InForce,
        })
    }

    /// The same key under another word.
    #[must_use]
    pub fn with_standing(self, standing: KeyStanding) -> Self {
        Self { standing, ..self }
    }

    /// The word on it; in force unless [`Self::with_standing`] says otherwise.
    pub fn standing(&self) -> KeyStanding {
        self.standing
    }

    /// The certificate, as it was given.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The SHA-256 of the certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// The SHA-256 of the key itself: of its SubjectPublicKeyInfo as RFC 3279 and RFC 5480 write it, however this certificate
    /// has it. The same in whatever certificate it comes.
    pub fn key_print(&self) -> [u8; 32] {
        self.key_print
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

/// Finds the key that made a signature, among those in force.
///
/// # Errors
/// `key_waiting` or `key_distrusted`, where another known key made it; `None` where none did.
pub(crate) fn find_signer<'a>(
    keys: &'a [IdpKey],
    family: KeyFamily,
    hash: SignedHash,
    message: &[u8],
    signature: &[u8],
) -> Result<&'a IdpKey, Option<LoginRefusal>> {
    let made_it = |key: &&IdpKey| key.family() == family && key.verifies(hash, message, signature);
    let is_in_force = |key: &&IdpKey| key.standing == KeyStanding::InForce;
    if let Some(key) = keys.iter().filter(is_in_force).find(made_it) {
        return Ok(key);
    }
    let others = keys.iter().filter(|key| !is_in_force(key));
    Err(others.clone().find(made_it).map(refuse_standing))
}

/// Refuses what a key has signed that is not in force: the class says why, and the line names the whole fingerprint.
pub(crate) fn refuse_standing(key: &IdpKey) -> LoginRefusal {
    let print = to_hex(&key.fingerprint);
    match key.standing {
        KeyStanding::Distrusted => LoginRefusal::new(
            Class::SamlKeyDistrusted,
            "a signature by a key that is trusted",
            format!("one by the key that was distrusted, its certificate by SHA-256 {print}"),
            "An operator has distrusted this key with `portcullis idp distrust`, for ever. Let the identity provider sign \
             with another key; if it has one already, somebody has a copy of the old key.",
        ),
        KeyStanding::Waiting | KeyStanding::InForce => LoginRefusal::new(
            Class::SamlKeyWaiting,
            "a signature by a key in force",
            format!("one by a new key that waits for an operator, its certificate by SHA-256 {print}"),
            "Compare the fingerprint with the one that the identity provider shows on a screen of its own. If it is the \
             same: `portcullis idp approve`, followed by this fingerprint.",
        ),
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

/// A fingerprint as commands take it: 64 hexadecimal digits.
pub(crate) fn to_hex(fingerprint: &[u8; 32]) -> String {
    fingerprint.iter().map(|byte| format!("{byte:02x}")).collect()
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

#[cfg(test)]
mod tests {
    use super::super::forge::{P256, RSA};
    use super::*;

    #[test]
    fn a_key_is_the_same_however_its_certificate_writes_it() {
        let plain = RSA.certificate().to_vec();
        let before = IdpKey::from_certificate(&plain).unwrap();
        // Without the parameter that RFC 3279 asks for, two bytes shorter.
        let at = plain.windows(RSA_ALGORITHM.len()).position(|bytes| bytes == RSA_ALGORITHM).unwrap();
        let mut bare = plain.clone();
        bare.drain(at + 13..at + 15);
        bare[at + 1] -= 2;
        for length in [2, 6, at - 2] {
            let shorter = u16::from_be_bytes([bare[length], bare[length + 1]]) - 2;
            bare[length..length + 2].copy_from_slice(&shorter.to_be_bytes());
        }
        let after = IdpKey::from_certificate(&bare).unwrap();
        assert_ne!(before.fingerprint(), after.fingerprint());
        assert_eq!(before.key_print(), after.key_print());
    }

    #[test]
    fn an_ordinary_certificate_has_the_key_as_it_is_hashed() {
        for forger in [&*RSA, &*P256] {
            let der = forger.certificate();
            let (_, certificate) = X509Certificate::from_der(der).unwrap();
            let key = IdpKey::from_certificate(der).unwrap();
            assert_eq!(key.key_print(), sha256(certificate.public_key().raw));
        }
        let mut secret = [7; 66];
        secret[0] = 0; // below the order of the curve
        let secret = p521::ecdsa::SigningKey::from_slice(&secret).unwrap();
        let short =
            p521::ecdsa::VerifyingKey::from_sec1_bytes(secret.verifying_key().to_sec1_point(true).as_ref());
        let info =
            |key: &p521::ecdsa::VerifyingKey| PublicIdpKey::P521(Box::new(*key)).subject_public_key_info();
        assert_eq!(info(&short.unwrap()), info(secret.verifying_key()));
    }
}
