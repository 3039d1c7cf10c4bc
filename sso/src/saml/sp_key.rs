//! Our own keys: one pair with its certificate, which the identity provider knows from our metadata.
//!
//! A certificate of ours is signed by itself and says nothing but the key: who believes it does so because an operator
//! gave it our metadata. The private half is held by `keys` alone, and never written out after it was made.

use std::fmt;

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, KeyUsage};
use openssl::x509::{X509, X509Name};
use portcullis_keys::{MessageKey, MessageKeyError, Random, Secret, VerifyingKey};
use portcullis_policy::Timestamp;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::signature::decode_base64;

const BITS: u32 = 2048;
const DAY: i64 = 24 * 60 * 60;
/// The life of a certificate: the identity provider's operators replace it by hand.
const DAYS: i64 = 10 * 365;

/// A private key and its certificate, as they are kept.
pub struct SpKey {
    /// The private key, PKCS#8 in PEM.
    pub pkcs8_pem: Secret,
    /// The certificate in PEM.
    pub certificate_pem: String,
}

impl SpKey {
    /// Makes a new RSA key of 2048 bits and a certificate that is good from the day before `now` for ten years. It
    /// takes up to a second of a CPU. The key's randomness is OpenSSL's own, from the system.
    ///
    /// # Errors
    /// What OpenSSL says, which is nothing in the ordinary way.
    pub fn generate(common_name: &str, now: Timestamp, random: &mut Random) -> Result<Self, ErrorStack> {
        let pair = PKey::from_rsa(Rsa::generate(BITS)?)?;
        let certificate = make_certificate(&pair, common_name, now, random)?;
        let private = pair.private_key_to_pem_pkcs8()?;
        Ok(Self {
            pkcs8_pem: Secret::new(String::from_utf8_lossy(&private).into_owned()),
            certificate_pem: String::from_utf8_lossy(&certificate.to_pem()?).into_owned(),
        })
    }
}

impl fmt::Debug for SpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpKey")
    }
}

fn make_certificate(
    pair: &PKey<Private>,
    common_name: &str,
    now: Timestamp,
    random: &mut Random,
) -> Result<X509, ErrorStack> {
    let mut name = X509Name::builder()?;
    // X.520 has no longer ones.
    let common_name: String = common_name.chars().take(64).collect();
    name.append_entry_by_nid(Nid::COMMONNAME, &common_name)?;
    let name = name.build();
    let mut serial = random.draw_bytes::<16>();
    // Positive and never zero (RFC 5280 §4.1.2.2).
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut certificate = X509::builder()?;
    certificate.set_version(2)?;
    let serial = Asn1Integer::from_bn(&*BigNum::from_slice(&serial)?)?;
    certificate.set_serial_number(&serial)?;
    certificate.set_subject_name(&name)?;
    certificate.set_issuer_name(&name)?;
    certificate.set_pubkey(pair)?;
    certificate.set_not_before(&*Asn1Time::from_unix(now.seconds() - DAY)?)?;
    certificate.set_not_after(&*Asn1Time::from_unix(now.seconds() + DAYS * DAY)?)?;
    certificate.append_extension(BasicConstraints::new().critical().build()?)?;
    let usage = KeyUsage::new().critical().digital_signature().key_encipherment().build()?;
    certificate.append_extension(usage)?;
    certificate.sign(pair, MessageDigest::sha256())?;
    Ok(certificate.build())
}

/// A certificate of ours, as metadata and signatures show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SpCertificate {
    der: Vec<u8>,
}

/// A pair of ours that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpKeyError {
    /// The private key is none.
    #[error("the private key: {0}")]
    Key(#[from] MessageKeyError),
    /// The certificate is none.
    #[error("the certificate is not one X.509 certificate in PEM (-----BEGIN CERTIFICATE-----)")]
    Certificate,
    /// The certificate wraps another key.
    #[error("the certificate does not belong to the private key")]
    OtherKey,
}

impl SpCertificate {
    /// Reads a certificate from PEM.
    ///
    /// # Errors
    /// [`SpKeyError::Certificate`].
    pub fn read_pem(pem: &str) -> Result<Self, SpKeyError> {
        let body = pem.trim().strip_prefix("-----BEGIN CERTIFICATE-----");
        let body = body.and_then(|rest| rest.strip_suffix("-----END CERTIFICATE-----"));
        let der = body.and_then(decode_base64).ok_or(SpKeyError::Certificate)?;
        match X509Certificate::from_der(&der) {
            Ok(([], _)) => Ok(Self { der }),
            _ => Err(SpKeyError::Certificate),
        }
    }

    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    fn wraps(&self, key: &VerifyingKey) -> bool {
        let (VerifyingKey::Rsa(bytes) | VerifyingKey::P256(bytes) | VerifyingKey::P384(bytes)) = key;
        X509Certificate::from_der(&self.der)
            .is_ok_and(|(_, certificate)| *certificate.public_key().subject_public_key.data == **bytes)
    }
}

impl fmt::Debug for SpCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpCertificate({} bytes)", self.der.len())
    }
}

/// A private key of ours that signs messages, and its certificate.
#[derive(Debug)]
pub struct SpSigner {
    key: MessageKey,
    certificate: SpCertificate,
}

impl SpSigner {
    /// Reads a pair from PEM: RSA of 2048 to 4096 bits, or EC on P-256.
    ///
    /// # Errors
    /// [`SpKeyError`].
    pub fn read_pem(pkcs8_pem: &Secret, certificate_pem: &str) -> Result<Self, SpKeyError> {
        let key = MessageKey::read_pem(pkcs8_pem)?;
        let certificate = SpCertificate::read_pem(certificate_pem)?;
        if certificate.wraps(&key.public_key()) {
            Ok(Self { key, certificate })
        } else {
            Err(SpKeyError::OtherKey)
        }
    }

    /// The certificate.
    pub fn certificate(&self) -> &SpCertificate {
        &self.certificate
    }

    /// The URI of the signature method.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self.key.public_key() {
            VerifyingKey::Rsa(_) => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
            VerifyingKey::P256(_) | VerifyingKey::P384(_) => {
                "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
            }
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign_sha256(message)
    }
}
