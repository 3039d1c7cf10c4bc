//! A key that signs: Ed25519, shown to the world as a JWK (RFC 8037) and used for JWTs (RFC 7515, compact form).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use zeroize::Zeroizing;

use crate::{Random, Secret};

/// A signing key. Its public half is known by `kid`.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    kid: String,
}

impl SigningKey {
    /// A new key, named by `kid` (letters, digits, `-` and `_`; anything else is left out of the name).
    pub fn new(kid: &str, random: &mut Random) -> Self {
        let seed = Zeroizing::new(random.draw_bytes::<32>());
        #[allow(clippy::expect_used, reason = "any 32 bytes are an Ed25519 seed (RFC 8032 §5.1.5)")]
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).expect("a seed of 32 bytes");
        let kid = kid.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
        Self { pair, kid }
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":"{}","x":"{x}"}}"#, self.kid)
    }

    /// A signed JWT whose claims are the JSON object in `claims`, as it stands.
    pub fn sign(&self, claims: &str) -> Secret {
        let header = format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{}"}}"#, self.kid);
        let mut token = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Secret::new(token)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ED25519, UnparsedPublicKey};

    #[test]
    fn what_is_signed_verifies_with_the_published_key() {
        let key = SigningKey::new("key \"1\"", &mut Random::from_seed(1));
        let jwk = key.jwk();
        assert!(jwk.contains(r#""kid":"key1""#), "{jwk}");
        let x = jwk.split(r#""x":""#).nth(1).unwrap().trim_end_matches(r#""}"#);
        let public = URL_SAFE_NO_PAD.decode(x).unwrap();

        let token = key.sign(r#"{"sub":"alice"}"#);
        let (signed, signature) = token.expose().rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let public = UnparsedPublicKey::new(&ED25519, public);
        assert!(public.verify(signed.as_bytes(), &signature).is_ok());
        assert!(public.verify(format!("{signed}x").as_bytes(), &signature).is_err());
        let claims = signed.split_once('.').unwrap().1;
        assert_eq!(URL_SAFE_NO_PAD.decode(claims).unwrap(), br#"{"sub":"alice"}"#);
    }
}
