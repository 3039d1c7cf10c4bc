//! The signature algorithms we take (RFC 7518 §3.1, RFC 8037): asymmetric ones only, so that nobody who knows the
//! client secret can sign.
//!
//! Which of them a provider may use is said by its metadata and by the kind of its keys, never by a token alone.

use openidconnect::JsonWebKey as _;
use openidconnect::core::{CoreJsonWebKey, CoreJwsSigningAlgorithm as Core};
use p521::ecdsa::signature::Verifier as _;
use portcullis_keys::{sha256, sha384, sha512};
use serde_json::Value;

/// A signature algorithm, by its name in the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

/// A public key, as far as a signature is verified with it.
#[derive(Clone, Debug)]
pub(super) enum PublicKey {
    /// RSA of 2048 to 4096 bits.
    Rsa(Box<CoreJsonWebKey>),
    /// The curve P-256.
    P256(Box<CoreJsonWebKey>),
    /// The curve P-384.
    P384(Box<CoreJsonWebKey>),
    /// The curve P-521, which openidconnect does not verify with.
    P521(Box<p521::ecdsa::VerifyingKey>),
    /// Ed25519.
    Ed25519(Box<CoreJsonWebKey>),
}

impl Algorithm {
    pub(super) const ALL: [Self; 10] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// The name in a header and in metadata.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of this name, byte for byte.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Lists those that metadata names. A list that is not there, or is none, says nothing: then the keys alone
    /// decide.
    pub(super) fn list_supported(metadata: Option<&Value>) -> Vec<Self> {
        let Some(names) = metadata.and_then(Value::as_array).filter(|names| !names.is_empty()) else {
            return Self::ALL.to_vec();
        };
        names.iter().filter_map(Value::as_str).filter_map(Self::from_name).collect()
    }

    /// Tells whether a key is of the kind that this algorithm signs with.
    pub(super) fn takes_key(self, key: &PublicKey) -> bool {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => {
                matches!(key, PublicKey::Rsa(_))
            }
            Self::Es256 => matches!(key, PublicKey::P256(_)),
            Self::Es384 => matches!(key, PublicKey::P384(_)),
            Self::Es512 => matches!(key, PublicKey::P521(_)),
            Self::EdDsa => matches!(key, PublicKey::Ed25519(_)),
        }
    }

    /// Checks that a signature is that of the key over the message. A key of another kind has signed nothing.
    pub(super) fn verifies(self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        if !self.takes_key(key) {
            return false;
        }
        let with = |key: &CoreJsonWebKey, algorithm: Core| {
            key.verify_signature(&algorithm, message, signature).is_ok()
        };
        match (self, key) {
            (Self::Rs256, PublicKey::Rsa(key)) => with(key, Core::RsaSsaPkcs1V15Sha256),
            (Self::Rs384, PublicKey::Rsa(key)) => with(key, Core::RsaSsaPkcs1V15Sha384),
            (Self::Rs512, PublicKey::Rsa(key)) => with(key, Core::RsaSsaPkcs1V15Sha512),
            (Self::Ps256, PublicKey::Rsa(key)) => with(key, Core::RsaSsaPssSha256),
            (Self::Ps384, PublicKey::Rsa(key)) => with(key, Core::RsaSsaPssSha384),
            (Self::Ps512, PublicKey::Rsa(key)) => with(key, Core::RsaSsaPssSha512),
            (Self::Es256, PublicKey::P256(key)) => with(key, Core::EcdsaP256Sha256),
            (Self::Es384, PublicKey::P384(key)) => with(key, Core::EcdsaP384Sha384),
            (Self::Es512, PublicKey::P521(key)) => p521::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            (Self::EdDsa, PublicKey::Ed25519(key)) => with(key, Core::EdDsa),
            _ => false,
        }
    }

    /// The left half of the hash of a text, as `at_hash` has it (OIDC Core §3.1.3.8). Ed25519 hashes with SHA-512.
    pub(super) fn left_half(self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 => sha256(text)[..16].to_vec(),
            Self::Rs384 | Self::Ps384 | Self::Es384 => sha384(text)[..24].to_vec(),
            Self::Rs512 | Self::Ps512 | Self::Es512 | Self::EdDsa => sha512(text)[..32].to_vec(),
        }
    }
}

/// A list of algorithms for people.
pub(super) fn algorithm_names(algorithms: &[Algorithm]) -> String {
    let names: Vec<&str> = algorithms.iter().map(|algorithm| algorithm.name()).collect();
    if names.is_empty() { "an algorithm that the metadata lists".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_metadata_lists_is_what_is_taken() {
        use Algorithm::*;
        for (said, taken) in [
            (json!(["RS256"]), vec![Rs256]),
            (json!(["none", "HS256", "ES512", "RS1", "rs256"]), vec![Es512]),
            (json!(["HS256"]), vec![]),
            (json!([7, null, "EdDSA"]), vec![EdDsa]),
            (json!([]), Algorithm::ALL.to_vec()),
            (json!("RS256"), Algorithm::ALL.to_vec()),
            (json!(null), Algorithm::ALL.to_vec()),
        ] {
            assert_eq!(Algorithm::list_supported(Some(&said)), taken, "{said}");
        }
        assert_eq!(Algorithm::list_supported(None), Algorithm::ALL);
    }

    #[test]
    fn no_name_is_that_of_a_shared_secret_or_of_nothing() {
        for name in ["none", "None", "", "HS256", "HS384", "HS512", "rs256", "RS256 ", "dir"] {
            assert_eq!(Algorithm::from_name(name), None, "{name}");
        }
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
        }
    }
}
