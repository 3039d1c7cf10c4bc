//! Verification of an ID token (OIDC Core §3.1.3.7): a text in, claims that may be believed out.
//!
//! The crate openidconnect checks the header, the signature, issuer, audience, expiry and nonce. Around it stands what
//! it leaves open: the list of algorithms (it would take what discovery says, HS256 too), clock skew, `iat`, `nbf`,
//! `azp`, `at_hash`, logout tokens. Keys come from the provider's set alone: `jku`,
//! `jwk` and `x5u` in a header are never looked at.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chrono::{DateTime, Utc};
use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::{
    AccessToken, AccessTokenHash, ClaimsVerificationError, ClientId, IssuerUrl, Nonce,
    SignatureVerificationError,
};
use portcullis_keys::{Secret, equal};
use portcullis_policy::Timestamp;
use serde_json::{Map, Value};

use super::pending::FLOW_MS;
use crate::{Class, Refusal};

/// The signature algorithms we take: asymmetric ones only, so that nobody who knows the client secret can sign.
const ALGORITHMS: [(&str, CoreJwsSigningAlgorithm); 5] = [
    ("RS256", CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256),
    ("PS256", CoreJwsSigningAlgorithm::RsaSsaPssSha256),
    ("ES256", CoreJwsSigningAlgorithm::EcdsaP256Sha256),
    ("ES384", CoreJwsSigningAlgorithm::EcdsaP384Sha384),
    ("EdDSA", CoreJwsSigningAlgorithm::EdDsa),
];

/// Longer tokens are refused unread; a person in a thousand groups has some 50 KiB.
const LIMIT: usize = 256 * 1024;

/// What an ID token is compared with.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// The access token that came with it, for `at_hash`.
    pub(super) access_token: Option<&'a Secret>,
    pub(super) skew_ms: i64,
    pub(super) now: Timestamp,
}

/// Verifies an ID token with the keys of its provider.
///
/// # Errors
/// A refusal of the class that failed first. `id_token_key` and `id_token_signature` may mean that the keys have been
/// rotated.
pub(super) fn verify(
    token: &Secret,
    keys: &CoreJsonWebKeySet,
    expected: &Expected<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let token = token.expose();
    let malformed = |got: &str| claims("an ID token", got, "The identity provider's answer is broken.");
    if token.len() > LIMIT {
        return Err(malformed("one that is too large"));
    }
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed("something else (an encrypted token, perhaps)"));
    };
    check_algorithm(&object(header).ok_or_else(|| malformed("one without a readable header"))?)?;
    let payload = object(payload).ok_or_else(|| malformed("one without readable claims"))?;
    let parsed: CoreIdToken =
        token.parse().map_err(|_| malformed("one that lacks iss, sub, exp or iat, or has them malformed"))?;

    let verifier = verifier(keys, expected)?;
    let nonce = Nonce::new(expected.nonce.to_owned());
    if let Err(error) = parsed.claims(&verifier, &nonce) {
        return Err(refusal(error, &payload, expected));
    }
    check_claims(&payload, expected)?;
    check_at_hash(&parsed, &verifier, &payload, expected)?;
    Ok(payload)
}

fn verifier<'a>(
    keys: &CoreJsonWebKeySet,
    expected: &Expected<'_>,
) -> Result<CoreIdTokenVerifier<'a>, Refusal> {
    let issuer = IssuerUrl::new(expected.issuer.to_owned())
        .map_err(|_| claims("an issuer that is an address", expected.issuer, "Correct issuer."))?;
    let (now, skew) = (expected.now, expected.skew_ms);
    let lenient = utc(now.plus_ms(-skew))
        .ok_or_else(|| claims("a clock that works", now.0, "Set the clock of this machine."))?;
    // A public client knows no secret: no symmetric algorithm can ever verify, whatever the list says.
    Ok(CoreIdTokenVerifier::new_public_client(
        ClientId::new(expected.client_id.to_owned()),
        issuer,
        keys.clone(),
    )
    .set_allowed_algs(ALGORITHMS.map(|(_, algorithm)| algorithm))
    // Other audiences are fine where `azp` says the token is ours; see `check_claims`.
    .set_other_audience_verifier_fn(|_| true)
    .set_time_fn(move || lenient)
    .set_issue_time_verifier_fn(move |issued| {
        let age = now.since_ms(Timestamp(issued.timestamp_millis()));
        if age < -skew {
            Err(format!("issued {} s in the future", -age / 1000))
        } else if age > FLOW_MS + skew {
            Err(format!("issued {} s ago", age / 1000))
        } else {
            Ok(())
        }
    }))
}

fn check_algorithm(header: &Map<String, Value>) -> Result<(), Refusal> {
    let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or("none");
    if !ALGORITHMS.iter().any(|(name, _)| *name == algorithm) {
        return Err(Refusal::new(
            Class::IdTokenAlg,
            ALGORITHMS.map(|(name, _)| name).join(", "),
            algorithm,
            "Have the identity provider sign ID tokens with RS256 or another of these for this client.",
        ));
    }
    Ok(())
}

/// What openidconnect leaves to us; the payload is verified by now.
fn check_claims(payload: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), Refusal> {
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    let audiences = payload.get("aud").and_then(Value::as_array).map_or(1, Vec::len);
    match text("azp") {
        Some(party) if party != expected.client_id => {
            return Err(claims(
                format_args!("azp {}", expected.client_id),
                party,
                "The token was made for another client of the identity provider. Check client_id.",
            ));
        }
        None if audiences > 1 || payload.get("azp").is_some_and(|party| !party.is_null()) => {
            return Err(claims(
                format_args!("azp {}", expected.client_id),
                format_args!("none, with {audiences} audiences"),
                "The identity provider must say which of the audiences the token was made for.",
            ));
        }
        _ => {}
    }
    let not_before = payload.get("nbf").map(|nbf| nbf.as_f64().unwrap_or(f64::INFINITY));
    let latest = expected.now.plus_ms(expected.skew_ms).seconds();
    if not_before.is_some_and(|nbf| nbf > latest as f64) {
        return Err(claims("a token that is valid already", "nbf in the future", CLOCK));
    }
    if payload.contains_key("events") {
        return Err(logout_token());
    }
    Ok(())
}

const CLOCK: &str =
    "Compare the clocks of this machine and of the identity provider; skew allows 60 s by default.";

/// The access token must be the one this ID token was made with (OIDC Core §3.1.3.8), where the token says which.
fn check_at_hash(
    token: &CoreIdToken,
    verifier: &CoreIdTokenVerifier<'_>,
    payload: &Map<String, Value>,
    expected: &Expected<'_>,
) -> Result<(), Refusal> {
    let (Some(claimed), Some(access_token)) = (payload.get("at_hash"), expected.access_token) else {
        return Ok(());
    };
    let hash = token.signing_alg().ok().zip(token.signing_key(verifier).ok()).and_then(|(algorithm, key)| {
        let access_token = AccessToken::new(access_token.expose().to_owned());
        AccessTokenHash::from_token(&access_token, algorithm, key).ok()
    });
    let same = hash
        .zip(claimed.as_str())
        .is_some_and(|(hash, claimed)| equal(hash.as_bytes(), claimed.trim_end_matches('=').as_bytes()));
    if same {
        return Ok(());
    }
    Err(claims("at_hash of the access token", "another one", "The identity provider's answer is mixed up."))
}

/// Puts what openidconnect found into one of our classes.
fn refusal(error: ClaimsVerificationError, payload: &Map<String, Value>, expected: &Expected<'_>) -> Refusal {
    use ClaimsVerificationError as E;
    let got = |name: &str| payload.get(name).map_or("none".into(), Value::to_string);
    match error {
        // A logout token never has a nonce: say what it is.
        E::InvalidNonce(_) if payload.contains_key("events") => logout_token(),
        E::InvalidNonce(_) => Refusal::new(
            Class::Nonce,
            "the nonce of this login",
            if payload.contains_key("nonce") { "another one" } else { "none" },
            "Nothing to set. If it happens often, the identity provider replays old ID tokens.",
        ),
        E::InvalidIssuer(_) => claims(
            expected.issuer,
            got("iss"),
            "Write issuer in the configuration exactly as the provider does.",
        ),
        E::InvalidAudience(_) => {
            claims(expected.client_id, got("aud"), "Check client_id: the token was made for another client.")
        }
        E::Expired(what) => claims("a fresh ID token", what, CLOCK),
        E::SignatureVerification(error) => signature(error),
        other => claims("an ID token", other, "The identity provider's answer cannot be used."),
    }
}

fn signature(error: SignatureVerificationError) -> Refusal {
    use SignatureVerificationError as E;
    let (class, expected) = match error {
        E::NoMatchingKey | E::AmbiguousKeyId(_) | E::InvalidKey(_) => {
            (Class::IdTokenKey, "one key of the identity provider's set")
        }
        E::CryptoError(_) => (Class::IdTokenSignature, "a signature by the identity provider"),
        E::DisallowedAlg(_) | E::UnsupportedAlg(_) | E::NoSignature => {
            (Class::IdTokenAlg, "an allowed algorithm")
        }
        _ => (Class::IdTokenSignature, "a signature by the identity provider"),
    };
    Refusal::new(
        class,
        expected,
        error,
        "If the identity provider has just changed its keys, try again in a minute. If not, somebody else made this token.",
    )
}

fn logout_token() -> Refusal {
    claims("an ID token", "a logout token", "The identity provider sent another kind of token.")
}

fn claims(expected: impl std::fmt::Display, got: impl std::fmt::Display, remedy: &'static str) -> Refusal {
    Refusal::new(Class::IdTokenClaims, expected, got, remedy)
}

/// A part of a token as JSON. As lenient about the last bits as openidconnect, so that both read the same bytes.
fn object(part: &str) -> Option<Map<String, Value>> {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true);
    let bytes = GeneralPurpose::new(&URL_SAFE, lenient).decode(part).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn utc(at: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(at.0)
}
