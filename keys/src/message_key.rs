//! A key of ours that signs messages for others: RSA (PKCS#1 v1.5) or ECDSA on P-256, each with SHA-256.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use zeroize::Zeroizing;

use crate::{Secret, VerifyingKey};

/// A private key that signs with SHA-256.
pub struct MessageKey(MessageKeyPair);

enum MessageKeyPair {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
}

/// A text that is no private key we can sign with. It says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageKeyError {
    /// The text is not PEM of PKCS#8.
    #[error("not a private key in PEM (-----BEGIN PRIVATE KEY-----), unencrypted")]
    NotPem,
    /// The key is of another kind, or RSA of fewer than 2048 or more than 4096 bits.
    #[error("neither an RSA key of 2048 to 4096 bits nor an EC key of P-256")]
    OtherKind,
}

impl MessageKey {
    /// Reads a key from the PEM of its PKCS#8 (RFC 7468 §10).
    ///
    /// # Errors
    /// [`MessageKeyError`].
    pub fn read_pem(pem: &Secret) -> Result<Self, MessageKeyError> {
        let body = pem.expose().trim();
        let body = body
            .strip_prefix("-----BEGIN PRIVATE KEY-----")
            .and_then(|rest| rest.strip_suffix("-----END PRIVATE KEY-----"))
            .ok_or(MessageKeyError::NotPem)?;
        let letters: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
        let der = STANDARD.decode(letters.as_bytes()).map_err(|_| MessageKeyError::NotPem)?;
        Self::read_der(&Zeroizing::new(der))
    }

    fn read_der(der: &[u8]) -> Result<Self, MessageKeyError> {
        if let Ok(pair) = RsaKeyPair::from_pkcs8(der) {
            return Ok(Self(MessageKeyPair::Rsa(Box::new(pair))));
        }
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new())
            .map(|pair| Self(MessageKeyPair::P256(Box::new(pair))))
            .map_err(|_| MessageKeyError::OtherKind)
    }

    /// The public half.
    pub fn public_key(&self) -> VerifyingKey {
        match &self.0 {
            MessageKeyPair::Rsa(pair) => VerifyingKey::Rsa(pair.public_key().as_ref().to_vec()),
            MessageKeyPair::P256(pair) => VerifyingKey::P256(pair.public_key().as_ref().to_vec()),
        }
    }

    /// Signs a message with SHA-256; a signature by ECDSA is r and s, as XML signatures have them. The randomness of
    /// ECDSA and of RSA's blinding is the system's own: ring takes no other.
    ///
    /// # Panics
    /// Where the system has no randomness to give, as [`crate::Random`].
    pub fn sign_sha256(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let signature = match &self.0 {
            MessageKeyPair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map(|()| signature)
            }
            MessageKeyPair::P256(pair) => {
                pair.sign(&random, message).map(|signature| signature.as_ref().to_vec())
            }
        };
        signature.unwrap_or_else(|_| panic!("the system gives no random bytes; nothing can be signed safely"))
    }
}

impl fmt::Debug for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            MessageKeyPair::Rsa(_) => "MessageKey(RSA)",
            MessageKeyPair::P256(_) => "MessageKey(P-256)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SignedHash;

    fn write_pem(der: &[u8]) -> Secret {
        let letters = STANDARD.encode(der);
        let lines: Vec<_> =
            letters.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        Secret::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")))
    }

    #[test]
    fn what_is_signed_verifies_with_the_public_half() {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let key = MessageKey::read_pem(&write_pem(document.as_ref())).unwrap();
        let signature = key.sign_sha256(b"message");
        assert!(key.public_key().verifies(SignedHash::Sha256, b"message", &signature));
        assert!(!key.public_key().verifies(SignedHash::Sha256, b"massage", &signature));
        assert_eq!(format!("{key:?}"), "MessageKey(P-256)");
    }

    #[test]
    fn what_is_no_key_is_not_read() {
        let read = |pem: &str| MessageKey::read_pem(&Secret::new(pem)).map(|_| ());
        for wrong in [
            "",
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\n*\n-----END PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----",
        ] {
            assert_eq!(read(wrong), Err(MessageKeyError::NotPem), "{wrong}");
        }
        let ed25519 = ring::signature::Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let outcome = MessageKey::read_pem(&write_pem(ed25519.as_ref())).map(|_| ());
        assert_eq!(outcome, Err(MessageKeyError::OtherKind));
        assert_eq!(
            read("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
            Err(MessageKeyError::OtherKind)
        );
    }
}
