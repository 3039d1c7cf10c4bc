//! Keys of the provider, and what it signs with them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use ring::{hmac, signature::RsaEncoding};
use serde_json::{Value, json};

/// A signing key and the name it is published under.
#[derive(Clone)]
pub struct Signer {
    pub kid: String,
    pair: Arc<Pair>,
}

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    /// ring has no such curve.
    P521(Box<p521::ecdsa::SigningKey>),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    /// One of two fixed RSA keys: ring makes none.
    pub fn rsa(kid: &str, which: u8) -> Self {
        let pkcs8: &[u8] =
            if which == 1 { include_bytes!("keys/rsa-1.pk8") } else { include_bytes!("keys/rsa-2.pk8") };
        Self::new(kid, Pair::Rsa(RsaKeyPair::from_pkcs8(pkcs8).unwrap()))
    }

    pub fn p256(kid: &str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::new(kid, Pair::P256(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()))
    }

    pub fn p384(kid: &str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &signature::ECDSA_P384_SHA384_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::new(kid, Pair::P384(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()))
    }

    pub fn p521(kid: &str) -> Self {
        let mut secret = [7; 66];
        secret[0] = 0; // below the order of the curve
        Self::new(kid, Pair::P521(Box::new(p521::ecdsa::SigningKey::from_slice(&secret).unwrap())))
    }

    pub fn ed25519(kid: &str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::new(kid, Pair::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()))
    }

    fn new(kid: &str, pair: Pair) -> Self {
        Self { kid: kid.into(), pair: Arc::new(pair) }
    }

    /// The algorithm the key is used with unless a test says otherwise.
    pub fn algorithm(&self) -> &'static str {
        match &*self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::P384(_) => "ES384",
            Pair::P521(_) => "ES512",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = |crv: &str, public: &[u8]| {
            let (x, y) = public[1..].split_at(public.len() / 2);
            json!({"kty": "EC", "crv": crv, "kid": self.kid, "use": "sig", "x": text(x), "y": text(y)})
        };
        match &*self.pair {
            Pair::Rsa(pair) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "kid": self.kid, "use": "sig", "n": text(&public.n), "e": text(&public.e)})
            }
            Pair::P256(pair) => point("P-256", pair.public_key().as_ref()),
            Pair::P384(pair) => point("P-384", pair.public_key().as_ref()),
            Pair::P521(pair) => point("P-521", pair.verifying_key().to_sec1_point(false).as_bytes()),
            Pair::Ed25519(pair) => {
                let x = text(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "use": "sig", "x": x})
            }
        }
    }

    /// The public key as published in files: SubjectPublicKeyInfo is PKCS#1 in a wrapper; PKCS#1 is enough to try a
    /// confusion of keys with.
    pub fn public_der(&self) -> Vec<u8> {
        match &*self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::P256(pair) | Pair::P384(pair) => pair.public_key().as_ref().to_vec(),
            Pair::P521(pair) => pair.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    pub fn public_pem(&self) -> Vec<u8> {
        let body = STANDARD.encode(self.public_der());
        format!("-----BEGIN RSA PUBLIC KEY-----\n{body}\n-----END RSA PUBLIC KEY-----\n").into_bytes()
    }

    /// Signs for the algorithm, or with the key's own where the algorithm is none of its.
    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Rsa(pair) => {
                let padding: &dyn RsaEncoding = match algorithm {
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut out = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, message, &mut out).unwrap();
                out
            }
            Pair::P256(pair) | Pair::P384(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::P521(pair) => {
                use p521::ecdsa::signature::Signer as _;
                let signature: p521::ecdsa::Signature = pair.sign(message);
                signature.to_bytes().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// A token of these parts with this signature.
pub fn sign_token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

pub fn hs256(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}
