//! The provider's key set (RFC 7517): only keys that may verify a signature are kept.
//!
//! Left out are symmetric keys (whoever can read the set could sign), keys for encryption, RSA keys under 2048 bits,
//! and whatever we cannot verify with. Of a key only the members that a verification needs are read, so an odd one
//! beside them spoils nothing. A set without a usable key is refused, and the keys before it stay.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::CoreJsonWebKey;
use p521::ecdsa::VerifyingKey;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, PublicKey};
use crate::{Class, LoginRefusal};

/// The keys of a provider that may verify a signature.
#[derive(Clone, Debug)]
pub(super) struct KeySet(Vec<PublishedKey>);

#[derive(Clone, Debug)]
struct PublishedKey {
    kid: Option<String>,
    /// The one algorithm it is published for, where it says so.
    alg: Option<String>,
    public: PublicKey,
}

/// Reasons why no key can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// None of the set fits.
    Unknown,
    /// Several fit, and the token does not say which: trying them all would let an old one in.
    Ambiguous,
}

impl KeySet {
    /// The one key that a signature of this algorithm under this name is verified with.
    ///
    /// A name picks its key. A set whose only fitting key has no name at all gives that one: there is nothing the
    /// name could tell it from (RFC 7517 §4.5 leaves `kid` to the provider).
    pub(super) fn find_key(&self, algorithm: Algorithm, kid: Option<&str>) -> Result<&PublicKey, NoKey> {
        let fitting: Vec<&PublishedKey> = self.0.iter().filter(|key| key.fits(algorithm)).collect();
        let named: Vec<&PublishedKey> = match kid {
            Some(kid) => fitting.iter().copied().filter(|key| key.kid.as_deref() == Some(kid)).collect(),
            None => fitting.clone(),
        };
        match (named.as_slice(), fitting.as_slice()) {
            ([key], _) => Ok(&key.public),
            ([], [key]) if key.kid.is_none() => Ok(&key.public),
            ([], _) => Err(NoKey::Unknown),
            _ => Err(NoKey::Ambiguous),
        }
    }

    /// The number of keys.
    pub(super) fn count_keys(&self) -> usize {
        self.0.len()
    }

    /// Tells whether a key is there that signs by this algorithm.
    pub(super) fn has_key_for(&self, algorithm: Algorithm) -> bool {
        self.0.iter().any(|key| key.fits(algorithm))
    }
}

impl PublishedKey {
    /// Tells whether it may sign by this algorithm.
    fn fits(&self, algorithm: Algorithm) -> bool {
        algorithm.takes_key(&self.public) && self.alg.as_deref().is_none_or(|alg| alg == algorithm.name())
    }
}

#[derive(Deserialize)]
struct KeySetDocument {
    keys: Vec<Value>,
}

/// Reads a key set.
pub(super) fn read_key_set(body: &[u8]) -> Result<KeySet, LoginRefusal> {
    let refuse = |got: &str| {
        LoginRefusal::new(
            Class::OidcMetadata,
            "a key set with a key for signatures",
            got,
            "The address in jwks_uri of the identity provider's metadata must give its keys: RSA of 2048 to 4096 bits, P-256, P-384, P-521 or Ed25519.",
        )
    };
    let document: KeySetDocument =
        serde_json::from_slice(body).map_err(|error| refuse(&error.to_string()))?;
    let all = document.keys.len();
    let keys: Vec<PublishedKey> =
        document.keys.iter().filter_map(Value::as_object).filter_map(read_key).collect();
    if keys.is_empty() {
        return Err(refuse(&format!("none among {all}")));
    }
    Ok(KeySet(keys))
}

fn read_key(jwk: &Map<String, Value>) -> Option<PublishedKey> {
    let text = |member: &str| jwk.get(member).and_then(Value::as_str);
    let said = |member: &str| jwk.get(member).is_some_and(|value| !value.is_null());
    // A purpose that cannot be read is another purpose.
    if said("use") && text("use") != Some("sig") {
        return None;
    }
    if let Some(operations) = jwk.get("key_ops").and_then(Value::as_array)
        && !operations.iter().any(|operation| operation == "verify")
    {
        return None;
    }
    if said("alg") && text("alg").is_none() {
        return None;
    }
    Some(PublishedKey {
        kid: text("kid").map(str::to_owned),
        alg: text("alg").map(str::to_owned),
        public: read_public_key(jwk)?,
    })
}

fn read_public_key(jwk: &Map<String, Value>) -> Option<PublicKey> {
    let text = |member: &str| jwk.get(member).and_then(Value::as_str);
    let core = |members: &[&str]| {
        let only = members.iter().map(|member| Some(((*member).to_owned(), jwk.get(*member)?.clone())));
        let only: Map<String, Value> = only.collect::<Option<_>>()?;
        serde_json::from_value::<CoreJsonWebKey>(only.into()).ok().map(Box::new)
    };
    let curve = ["kty", "crv", "x", "y"];
    Some(match (text("kty")?, text("crv")) {
        ("RSA", _) if text("n").and_then(count_bits).is_some_and(|bits| (2048..=4096).contains(&bits)) => {
            PublicKey::Rsa(core(&["kty", "n", "e"])?)
        }
        ("EC", Some("P-256")) => PublicKey::P256(core(&curve)?),
        ("EC", Some("P-384")) => PublicKey::P384(core(&curve)?),
        ("EC", Some("P-521")) => {
            let coordinate = |member: &str| URL_SAFE_NO_PAD.decode(text(member)?).ok();
            // Uncompressed, as the standard says it (SEC 1 §2.3.3).
            let point = [vec![4], coordinate("x")?, coordinate("y")?].concat();
            PublicKey::P521(Box::new(VerifyingKey::from_sec1_bytes(&point).ok()?))
        }
        ("OKP", Some("Ed25519")) => PublicKey::Ed25519(core(&["kty", "crv", "x"])?),
        _ => return None,
    })
}

/// The length of a number in base64url; zero bytes in front do not count.
fn count_bits(number: &str) -> Option<usize> {
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

    fn set(keys: &[Value]) -> Result<KeySet, LoginRefusal> {
        read_key_set(json!({"keys": keys}).to_string().as_bytes())
    }

    #[test]
    fn only_keys_that_may_verify_are_kept() {
        let x = URL_SAFE_NO_PAD.encode([7; 32]);
        let mut encrypting = rsa(256);
        encrypting["key_ops"] = json!(["encrypt", "wrapKey"]);
        let mut verifying = rsa(256);
        verifying["key_ops"] = json!(["verify"]);
        for (key, kept) in [
            (rsa(256), true),
            (rsa(512), true),
            (rsa(255), false),
            (rsa(513), false),
            (encrypting, false),
            (verifying, true),
            (json!({"kty": "RSA", "e": "AQAB", "n": "!"}), false),
            (json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 256])}), false),
            (json!({"kty": "oct", "k": x}), false),
            (json!({"kty": "OKP", "crv": "Ed25519", "x": x, "use": "sig"}), true),
            (json!({"kty": "OKP", "crv": "Ed25519", "x": x, "use": "enc"}), false),
            (json!({"kty": "OKP", "crv": "Ed25519", "x": x, "use": ["sig"]}), false),
            (json!({"kty": "OKP", "crv": "X25519", "x": x}), false),
            (json!({"kty": "EC", "crv": "P-256", "x": x, "y": x}), true),
            // Not on the curve, and too short for it.
            (json!({"kty": "EC", "crv": "P-521", "x": x, "y": x}), false),
            (json!({"kty": "AKP"}), false),
            (json!(7), false),
            (json!(null), false),
        ] {
            assert_eq!(set(std::slice::from_ref(&key)).is_ok(), kept, "{key}");
        }
        let padded = URL_SAFE_NO_PAD.encode([&[0][..], &[0xff; 256]].concat());
        assert_eq!(count_bits(&padded), Some(2048));
        assert_eq!(set(&[json!({"kty": "AKP"}), rsa(256), rsa(128)]).unwrap().count_keys(), 1);
    }

    #[test]
    fn odd_members_that_nobody_uses_spoil_no_key() {
        let mut odd = rsa(256);
        for (member, value) in [
            ("x5c", json!("one text")),
            ("x5t", json!(7)),
            ("kid", json!(7)),
            ("use", json!(null)),
            ("alg", json!(null)),
            ("issuer", json!({})),
            ("d", json!([])),
            ("exp", json!("soon")),
        ] {
            odd[member] = value;
        }
        let set = set(&[odd]).unwrap();
        // A name that is none is no name: it is the only key that fits.
        assert!(set.find_key(Algorithm::Rs256, Some("any")).is_ok());
    }

    #[test]
    fn a_key_is_found_by_its_name_or_as_the_only_one_that_fits() {
        let named = |kid: Value| {
            let mut key = rsa(256);
            key["kid"] = kid;
            key
        };
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([7; 32])});
        let found = |keys: &[Value], kid: Option<&str>| {
            set(keys).unwrap().find_key(Algorithm::Rs256, kid).map(|_| ())
        };
        let (a, b, nameless) = (named("a".into()), named("b".into()), named(Value::Null));
        assert_eq!(found(&[a.clone(), b.clone()], Some("a")), Ok(()));
        assert_eq!(found(std::slice::from_ref(&a), Some("b")), Err(NoKey::Unknown));
        assert_eq!(found(std::slice::from_ref(&a), None), Ok(()));
        assert_eq!(found(&[a.clone(), b], None), Err(NoKey::Ambiguous));
        assert_eq!(found(&[a.clone(), a.clone()], Some("a")), Err(NoKey::Ambiguous));
        // One without a name, where it is the only one that fits; a key of another kind is none that fits.
        assert_eq!(found(&[nameless.clone(), ed.clone()], Some("b")), Ok(()));
        assert_eq!(found(&[nameless.clone(), nameless.clone()], Some("b")), Err(NoKey::Unknown));
        assert_eq!(found(&[nameless, a], Some("b")), Err(NoKey::Unknown));
        assert_eq!(found(&[ed], None), Err(NoKey::Unknown));
    }

    proptest! {
        #[test]
        fn junk_is_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read_key_set(&body).is_err());
        }

        /// Whatever stands beside the members that are used, the key is read or left out, and nothing panics.
        #[test]
        fn any_members_beside_a_key_are_no_panic(
            member in "kty|crv|x|y|n|e|use|alg|kid|key_ops|x5c|zz", value in "[ -~]{0,20}", number: i64,
        ) {
            for value in [json!(value), json!(number), json!([value]), json!({"a": value}), Value::Null] {
                let mut key = rsa(256);
                key[&member] = value;
                let _ = set(&[key]);
            }
        }
    }
}
