//! The provider's key set (RFC 7517): only keys that may verify a signature are kept.
//!
//! Left out are symmetric keys (whoever can read the set could sign), keys for encryption, RSA keys under 2048 bits,
//! and whatever the verifier cannot use. A set without a usable key is refused, and the keys before it stay.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreJsonWebKey, CoreJsonWebKeySet};
use serde::Deserialize;
use serde_json::Value;

use crate::{Class, Refusal};

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// Reads a key set.
pub(super) fn read(body: &[u8]) -> Result<CoreJsonWebKeySet, Refusal> {
    let refuse = |got: &str| {
        Refusal::new(
            Class::Metadata,
            "a key set with a key for signatures",
            got,
            "The address in jwks_uri of the identity provider's metadata must give its keys: RSA of 2048 to 4096 bits, P-256, P-384 or Ed25519.",
        )
    };
    let document: Document = serde_json::from_slice(body).map_err(|error| refuse(&error.to_string()))?;
    let all = document.keys.len();
    let keys: Vec<CoreJsonWebKey> = document
        .keys
        .into_iter()
        .filter(verifies)
        .filter_map(|key| serde_json::from_value(key).ok())
        .collect();
    if keys.is_empty() {
        return Err(refuse(&format!("none among {all}")));
    }
    Ok(CoreJsonWebKeySet::new(keys))
}

/// Whether a key is of a kind we verify with.
fn verifies(key: &Value) -> bool {
    let text = |member: &str| key.get(member).and_then(Value::as_str);
    if text("use").is_some_and(|use_| use_ != "sig") {
        return false;
    }
    match text("kty") {
        Some("RSA") => text("n").and_then(bits).is_some_and(|bits| (2048..=4096).contains(&bits)),
        Some("EC") => matches!(text("crv"), Some("P-256" | "P-384")),
        Some("OKP") => text("crv") == Some("Ed25519"),
        _ => false,
    }
}

/// The length of a number in base64url; zero bytes in front do not count.
fn bits(number: &str) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(number).ok()?;
    let significant = bytes.iter().skip_while(|byte| **byte == 0);
    let first = significant.clone().next()?;
    Some(significant.count() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn rsa(bytes: usize) -> Value {
        json!({"kty": "RSA", "kid": "1", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode(vec![0xff; bytes])})
    }

    #[test]
    fn only_keys_that_may_verify_are_kept() {
        let x = URL_SAFE_NO_PAD.encode([7; 32]);
        for (key, kept) in [
            (rsa(256), true),
            (rsa(512), true),
            (rsa(255), false),
            (rsa(513), false),
            (json!({"kty": "RSA", "e": "AQAB", "n": "!"}), false),
            (json!({"kty": "oct", "k": x}), false),
            (json!({"kty": "OKP", "crv": "Ed25519", "x": x, "use": "sig"}), true),
            (json!({"kty": "OKP", "crv": "Ed25519", "x": x, "use": "enc"}), false),
            (json!({"kty": "OKP", "crv": "X25519", "x": x}), false),
            (json!({"kty": "EC", "crv": "P-256", "x": x, "y": x}), true),
            (json!({"kty": "EC", "crv": "P-521", "x": x, "y": x}), false),
            (json!({"kty": "AKP"}), false),
            (json!(7), false),
            (json!(null), false),
        ] {
            let set = read(json!({"keys": [key]}).to_string().as_bytes());
            assert_eq!(set.is_ok(), kept, "{key}");
        }
        let padded = URL_SAFE_NO_PAD.encode([&[0][..], &[0xff; 256]].concat());
        assert_eq!(bits(&padded), Some(2048));
        let mixed = json!({"keys": [{"kty": "AKP"}, rsa(256), rsa(128)]});
        assert_eq!(read(mixed.to_string().as_bytes()).unwrap().keys().len(), 1);
    }

    proptest! {
        #[test]
        fn junk_is_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&body).is_err());
        }
    }
}
