//! The keys that the signed header is signed by: ES256 (RFC 7518 §3.4), shown to applications as JWKs (RFC 7517) and kept
//! in the database, sealed by the master key.
//!
//! A key's name is its thumbprint (RFC 7638), so that no two keys have one name, and the same key has it everywhere.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use zeroize::Zeroizing;

use crate::{Keyring, Purpose, Random, sha256};

/// A key that signs assertions.
pub struct AssertionKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: EcdsaKeyPair,
    system: SystemRandom,
    kid: String,
    jwk: String,
    /// The first part of every token by it, with its dot.
    header: String,
}

/// The length of a coordinate on P-256, and of each half of a signature.
const COORDINATE: usize = 32;
/// The length of a signature in base64url.
const SIGNATURE: usize = (2 * COORDINATE * 4).div_ceil(3);

impl AssertionKey {
    /// A key nobody has had before. Its randomness is the system's own: the library takes no other.
    ///
    /// # Panics
    /// Where the system has no randomness to give, as [`Random::fill_bytes`].
    pub fn new() -> Self {
        #[allow(clippy::expect_used, reason = "there is nothing safe to do without randomness")]
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .expect("the system gives random bytes");
        #[allow(clippy::expect_used, reason = "the library reads what it has just written")]
        Self::from_pkcs8(Zeroizing::new(pkcs8.as_ref().to_vec())).expect("a key that was just made")
    }

    fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Option<Self> {
        let system = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &system).ok()?;
        // An uncompressed point: 4, x, y (SEC 1 §2.3.3).
        let point = pair.public_key().as_ref().get(1..).filter(|point| point.len() == 2 * COORDINATE)?;
        let (x, y) = point.split_at(COORDINATE);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // RFC 7638 §3.2: these members, in this order.
        let thumbprint = sha256(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes());
        let kid = URL_SAFE_NO_PAD.encode(thumbprint);
        let jwk = format!(
            r#"{{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":"{kid}","x":"{x}","y":"{y}"}}"#
        );
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"ES256","typ":"JWT","kid":"{kid}"}}"#)) + ".";
        Some(Self { pkcs8, pair, system, kid, jwk, header })
    }

    /// Its name: the thumbprint of its public half.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its public half as a JWK.
    pub fn jwk(&self) -> &str {
        &self.jwk
    }

    /// Writes a signed JWT (RFC 7515, compact form) behind `out`; `claims` is the JSON object, as it stands.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn sign_into(&self, claims: &str, out: &mut String) {
        let begin = out.len();
        out.reserve(Self::token_size(claims.len()));
        out.push_str(&self.header);
        URL_SAFE_NO_PAD.encode_string(claims, out);
        #[allow(clippy::expect_used, reason = "there is nothing safe to do without randomness")]
        let signature =
            self.pair.sign(&self.system, &out.as_bytes()[begin..]).expect("the system gives random bytes");
        out.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, out);
    }

    /// The length of a token with so many bytes of claims; it is the same for every key.
    const fn token_size(claims: usize) -> usize {
        HEADER + (claims * 4).div_ceil(3) + 1 + SIGNATURE
    }

    /// The key as the database keeps it, under its name.
    pub fn seal(&self, keys: &Keyring, random: &mut Random) -> Vec<u8> {
        keys.seal(Purpose::Assertion, self.kid.as_bytes(), &self.pkcs8, random)
    }

    /// Opens what [`seal`](Self::seal) made. `None` where another master key sealed it, or it is another key's.
    pub fn open(kid: &str, sealed: &[u8], keys: &Keyring) -> Option<Self> {
        Self::from_pkcs8(Zeroizing::new(keys.open(Purpose::Assertion, kid.as_bytes(), sealed)?))
    }
}

/// The length of the first part of a token, with its dot: a thumbprint has always 43 characters.
const HEADER: usize = ((r#"{"alg":"ES256","typ":"JWT","kid":""}"#.len() + 43) * 4).div_ceil(3) + 1;

impl Default for AssertionKey {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AssertionKey({})", self.kid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    fn member<'t>(json: &'t str, name: &str) -> &'t str {
        json.split(&format!(r#""{name}":""#)).nth(1).unwrap().split('"').next().unwrap()
    }

    #[test]
    fn what_is_signed_verifies_with_the_published_key() {
        let (key, other) = (AssertionKey::new(), AssertionKey::new());
        assert_ne!(key.kid(), other.kid());
        assert_eq!(member(key.jwk(), "kid"), key.kid());
        let mut token = "x: ".to_owned();
        key.sign_into(r#"{"sub":"alice"}"#, &mut token);
        let token = token.strip_prefix("x: ").unwrap();
        assert_eq!(token.len(), AssertionKey::token_size(r#"{"sub":"alice"}"#.len()));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(claims).unwrap(), br#"{"sub":"alice"}"#);
        let header = String::from_utf8(URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        assert_eq!((member(&header, "alg"), member(&header, "kid")), ("ES256", key.kid()));
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let verify = |key: &AssertionKey, signed: &str| {
            let half = |name| URL_SAFE_NO_PAD.decode(member(key.jwk(), name)).unwrap();
            let point = [vec![4], half("x"), half("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &signature)
        };
        assert!(verify(&key, signed).is_ok());
        assert!(verify(&key, &format!("{signed}x")).is_err());
        assert!(verify(&other, signed).is_err());
    }

    #[test]
    fn it_opens_with_its_own_master_key_and_name_only() {
        let ring = |seed| Keyring::from_master(&[seed; 32]);
        let (key, mut random) = (AssertionKey::new(), Random::from_seed(1));
        let sealed = key.seal(&ring(7), &mut random);
        assert_eq!(AssertionKey::open(key.kid(), &sealed, &ring(7)).unwrap().jwk(), key.jwk());
        assert!(AssertionKey::open(key.kid(), &sealed, &ring(8)).is_none());
        assert!(AssertionKey::open(AssertionKey::new().kid(), &sealed, &ring(7)).is_none());
        assert!(AssertionKey::open(key.kid(), &sealed[1..], &ring(7)).is_none());
        assert_eq!(format!("{key:?}"), format!("AssertionKey({})", key.kid()));
    }
}
