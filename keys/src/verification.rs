//! Signatures of others, verified by their public key: RSA (PKCS#1 v1.5) and ECDSA, as XML signatures have them
//! (RFC 6931 §2.3).
//!
//! An RSA key is of 2048 to 8192 bits, or nothing verifies. SHA-1 is here for who must take it; who may not decides
//! that before.

use ring::signature as algorithms;
use ring::signature::{UnparsedPublicKey, VerificationAlgorithm};

/// The hash that is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedHash {
    /// SHA-1: broken for signatures of what others write.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl SignedHash {
    /// Hashes `bytes`.
    pub fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => crate::digest::legacy_sha1(bytes).to_vec(),
            Self::Sha256 => crate::sha256(bytes).to_vec(),
            Self::Sha384 => crate::sha384(bytes).to_vec(),
            Self::Sha512 => crate::sha512(bytes).to_vec(),
        }
    }
}

/// A public key that signatures are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyingKey {
    /// RSA: the DER of an `RSAPublicKey` (RFC 8017 §A.1.1).
    Rsa(Vec<u8>),
    /// A point of P-256, uncompressed (SEC 1 §2.3.3).
    P256(Vec<u8>),
    /// A point of P-384, uncompressed.
    P384(Vec<u8>),
}

impl VerifyingKey {
    /// Tells whether the key made `signature` over `message`. That of ECDSA is r and s, each as long as the curve's
    /// order; with SHA-1 and SHA-512 none of ECDSA verifies.
    pub fn verifies(&self, hash: SignedHash, message: &[u8], signature: &[u8]) -> bool {
        let verify = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8], signature: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
        };
        match (self, hash) {
            (Self::Rsa(key), SignedHash::Sha1) => {
                verify(&algorithms::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, key, signature)
            }
            (Self::Rsa(key), SignedHash::Sha256) => {
                verify(&algorithms::RSA_PKCS1_2048_8192_SHA256, key, signature)
            }
            (Self::Rsa(key), SignedHash::Sha384) => {
                verify(&algorithms::RSA_PKCS1_2048_8192_SHA384, key, signature)
            }
            (Self::Rsa(key), SignedHash::Sha512) => {
                verify(&algorithms::RSA_PKCS1_2048_8192_SHA512, key, signature)
            }
            (Self::P256(key), SignedHash::Sha256) => {
                verify(&algorithms::ECDSA_P256_SHA256_FIXED, key, signature)
            }
            (Self::P256(key), SignedHash::Sha384) => write_der_signature(signature, 32)
                .is_some_and(|signature| verify(&algorithms::ECDSA_P256_SHA384_ASN1, key, &signature)),
            (Self::P384(key), SignedHash::Sha256) => write_der_signature(signature, 48)
                .is_some_and(|signature| verify(&algorithms::ECDSA_P384_SHA256_ASN1, key, &signature)),
            (Self::P384(key), SignedHash::Sha384) => {
                verify(&algorithms::ECDSA_P384_SHA384_FIXED, key, signature)
            }
            (Self::P256(_) | Self::P384(_), SignedHash::Sha1 | SignedHash::Sha512) => false,
        }
    }
}

/// Writes r and s, each of `length` bytes, as the DER of an `Ecdsa-Sig-Value` (RFC 3279 §2.2.3). Both fit the short
/// form of a length.
fn write_der_signature(signature: &[u8], length: usize) -> Option<Vec<u8>> {
    if signature.len() != 2 * length {
        return None;
    }
    let (r, s) = signature.split_at(length);
    let mut body = Vec::with_capacity(2 * length + 6);
    for number in [r, s] {
        let first = number.iter().position(|byte| *byte != 0)?;
        let digits = &number[first..];
        let sign = usize::from(digits[0] & 0x80 != 0);
        body.extend([0x02, u8::try_from(digits.len() + sign).ok()?]);
        body.extend(std::iter::repeat_n(0, sign));
        body.extend(digits);
    }
    let mut der = vec![0x30, u8::try_from(body.len()).ok().filter(|length| *length < 0x80)?];
    der.extend(body);
    Some(der)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    };

    #[test]
    fn a_key_verifies_its_own_signature_over_its_own_message_alone() {
        let random = SystemRandom::new();
        for (algorithm, hash, other) in [
            (&ECDSA_P256_SHA256_FIXED_SIGNING, SignedHash::Sha256, SignedHash::Sha384),
            (&ECDSA_P384_SHA384_FIXED_SIGNING, SignedHash::Sha384, SignedHash::Sha256),
        ] {
            let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
            let point = pair.public_key().as_ref().to_vec();
            let key = match hash {
                SignedHash::Sha256 => VerifyingKey::P256(point),
                _ => VerifyingKey::P384(point),
            };
            let signature = pair.sign(&random, b"message").unwrap();
            assert!(key.verifies(hash, b"message", signature.as_ref()));
            assert!(!key.verifies(hash, b"massage", signature.as_ref()));
            for other in [other, SignedHash::Sha1, SignedHash::Sha512] {
                assert!(!key.verifies(other, b"message", signature.as_ref()));
            }
            assert!(!key.verifies(hash, b"message", &vec![0; signature.as_ref().len()]));
            assert!(!key.verifies(other, b"message", &vec![0; signature.as_ref().len()]));
            assert!(!key.verifies(other, b"message", b""));
        }
    }

    #[test]
    fn numbers_are_written_as_der_says() {
        let random = SystemRandom::new();
        // High bits and leading zeros come by chance among so many.
        for (signing, length) in
            [(&ECDSA_P256_SHA256_FIXED_SIGNING, 32), (&ECDSA_P384_SHA384_FIXED_SIGNING, 48)]
        {
            let document = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(signing, document.as_ref(), &random).unwrap();
            for message in 0..200_u8 {
                let signature = pair.sign(&random, &[message]).unwrap();
                let der = write_der_signature(signature.as_ref(), length).unwrap();
                let verification: &dyn VerificationAlgorithm = match length {
                    32 => &algorithms::ECDSA_P256_SHA256_ASN1,
                    _ => &algorithms::ECDSA_P384_SHA384_ASN1,
                };
                let key = UnparsedPublicKey::new(verification, pair.public_key().as_ref());
                key.verify(&[message], &der).unwrap();
            }
        }
        assert_eq!(write_der_signature(&[0, 0x80, 0, 1], 2).unwrap(), [0x30, 7, 2, 2, 0, 0x80, 2, 1, 1]);
        assert_eq!(write_der_signature(&[0, 0, 0, 1], 2), None, "no number of a signature is zero");
    }
}
