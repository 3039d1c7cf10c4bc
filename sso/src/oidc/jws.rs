//! The signature of a token (RFC 7515): a text in, the claims that the provider signed out.
//!
//! The header is read for what picks the key and the algorithm, and for what would change the token's meaning; `jku`,
//! `jwk` and `x5u` are never looked at. Both the algorithm must be one that the caller allows and the key one of the
//! provider's set. What the claims say is for others to judge.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, algorithm_names};
use super::jwks::{KeySet, NoKey};
use crate::{Class, LoginRefusal};

/// Longer tokens are refused unread; a person in a thousand groups has some 50 KiB.
const LIMIT: usize = 256 * 1024;

/// A token whose signature was verified.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) claims: Map<String, Value>,
    pub(super) algorithm: Algorithm,
}

/// The kind of token that is expected, where its header says one (`typ`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// An ID token, or an answer of userinfo.
    Plain,
    /// A logout token (OIDC Back-Channel Logout 1.0 §2.4).
    Logout,
}

impl TokenKind {
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &["JWT", "JOSE"],
            Self::Logout => &["logout+jwt", "application/logout+jwt", "JWT", "JOSE"],
        }
    }
}

/// Verifies the signature of a token.
///
/// # Errors
/// `malformed` for what is no token; `id_token_alg`, `id_token_key` and `id_token_signature` as they say. The last two
/// may mean that the keys have been rotated.
pub(super) fn verify_signature(
    token: &str,
    keys: &KeySet,
    allowed: &[Algorithm],
    kind: TokenKind,
    malformed: impl Fn(&str) -> LoginRefusal,
) -> Result<Signed, LoginRefusal> {
    if token.len() > LIMIT {
        return Err(malformed("one that is too large"));
    }
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed("something else (an encrypted token, perhaps)"));
    };
    let head = decode_object(header).ok_or_else(|| malformed("one without a readable header"))?;
    let said = |name: &str| head.get(name).filter(|value| !value.is_null());
    let name = said("alg").and_then(Value::as_str).unwrap_or("none");
    let Some(algorithm) = Algorithm::from_name(name).filter(|algorithm| allowed.contains(algorithm)) else {
        return Err(LoginRefusal::new(
            Class::OidcIdTokenAlg,
            algorithm_names(allowed),
            name,
            "Have the identity provider sign ID tokens with an algorithm that its metadata lists; RS256 always does.",
        ));
    };
    // An access token or a logout token says so here (RFC 9068 §2.1).
    let is_expected = |said: &Value| {
        let said = said.as_str().unwrap_or_default();
        kind.words().iter().any(|word| said.eq_ignore_ascii_case(word))
    };
    if said("typ").is_some_and(|kind| !is_expected(kind)) {
        return Err(malformed("a token of another type"));
    }
    if said("crit").is_some() || said("cty").is_some() {
        return Err(malformed("one that asks for more than a signature (crit or cty)"));
    }
    let kid = match said("kid") {
        Some(Value::String(kid)) => Some(kid.as_str()),
        Some(_) => return Err(malformed("one whose kid is no text")),
        None => None,
    };
    let key = keys.find_key(algorithm, kid).map_err(|why| {
        let got = match why {
            NoKey::Unknown => "no key for it in the set",
            NoKey::Ambiguous => "several keys, and no kid that says which",
        };
        refuse_signature(Class::OidcIdTokenKey, "one key of the identity provider's set", got)
    })?;
    let signed = &token[..header.len() + 1 + payload.len()];
    let is_genuine = URL_SAFE_NO_PAD
        .decode(signature)
        .is_ok_and(|signature| algorithm.verifies(key, signed.as_bytes(), &signature));
    if !is_genuine {
        return Err(refuse_signature(
            Class::OidcIdTokenSignature,
            "a signature by the identity provider",
            "another one",
        ));
    }
    let claims = decode_object(payload).ok_or_else(|| malformed("one without readable claims"))?;
    Ok(Signed { claims, algorithm })
}

fn refuse_signature(class: Class, expected: &str, got: &str) -> LoginRefusal {
    LoginRefusal::new(
        class,
        expected,
        got,
        "If the identity provider has just changed its keys, try again in a minute. If not, somebody else made this token.",
    )
}

/// A part of a token as JSON.
fn decode_object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
