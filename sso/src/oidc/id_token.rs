//! What an ID token must say (OIDC Core §3.1.3.7): a text in, claims that may be believed out.
//!
//! Issuer, audience, times, nonce, `azp` and `at_hash` are judged here, each read by itself: a claim that nobody uses
//! may be of any type. A claim that is null is not there.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use portcullis_keys::{Secret, equal_bytes};
use portcullis_policy::Timestamp;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::jwks::KeySet;
use super::jws::{self, Signed, TokenKind};
use crate::{Class, FLOW_MS, LoginRefusal};

/// The values that an ID token is compared with.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// The algorithms that the provider's metadata lists, of those we take.
    pub(super) algorithms: &'a [Algorithm],
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
pub(super) fn verify_id_token(
    token: &Secret,
    keys: &KeySet,
    expected: &Expected<'_>,
) -> Result<Map<String, Value>, LoginRefusal> {
    let malformed = |got: &str| refuse_token("an ID token", got, "The identity provider's answer is broken.");
    let Signed { claims, algorithm } =
        jws::verify_signature(token.expose(), keys, expected.algorithms, TokenKind::Plain, malformed)?;
    if claim_said(&claims, "events").is_some() {
        return Err(logout_token());
    }
    check_parties(&claims, expected)?;
    check_times(&claims, expected)?;
    check_nonce(&claims, expected)?;
    check_at_hash(&claims, algorithm, expected)?;
    Ok(claims)
}

/// Checks who made it, and for whom.
fn check_parties(payload: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), LoginRefusal> {
    if claim_text(payload, "iss") != Some(expected.issuer) {
        let remedy = "Write issuer in the configuration exactly as the provider does.";
        return Err(refuse_token(expected.issuer, claim_shown(payload, "iss"), remedy));
    }
    let (is_ours, audiences) = match claim_said(payload, "aud") {
        Some(Value::String(audience)) => (audience == expected.client_id, 1),
        Some(Value::Array(audiences)) => {
            (audiences.iter().any(|audience| audience == expected.client_id), audiences.len())
        }
        _ => (false, 0),
    };
    if !is_ours {
        let remedy = "Check client_id: the token was made for another client.";
        return Err(refuse_token(expected.client_id, claim_shown(payload, "aud"), remedy));
    }
    match claim_said(payload, "azp") {
        Some(party) if party == expected.client_id => Ok(()),
        Some(_) => Err(refuse_token(
            format_args!("azp {}", expected.client_id),
            claim_shown(payload, "azp"),
            "The token was made for another client of the identity provider. Check client_id.",
        )),
        None if audiences > 1 => Err(refuse_token(
            format_args!("azp {}", expected.client_id),
            format_args!("none, with {audiences} audiences"),
            "The identity provider must say which of the audiences the token was made for.",
        )),
        None => Ok(()),
    }
}

/// Checks that it is valid now, by a clock that may be off by `skew`.
fn check_times(payload: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), LoginRefusal> {
    let time = |name: &str| claim_said(payload, name).map(|value| read_moment(value).ok_or(value));
    let unreadable = |name: &str| {
        let remedy = "The identity provider's answer is broken.";
        refuse_token(format_args!("{name} as seconds since 1970"), claim_shown(payload, name), remedy)
    };
    let need = |name: &str| time(name).and_then(Result::ok).ok_or_else(|| unreadable(name));
    let since = |at: f64| expected.now.0 as f64 - at;
    let (skew, issued) = (expected.skew_ms as f64, need("iat")?);
    if since(need("exp")?) >= skew {
        return Err(refuse_token("a fresh ID token", "one that has expired", CLOCK));
    }
    let age = since(issued);
    if age < -skew {
        let got = format_args!("one issued {} s in the future", (-age / 1000.0) as i64);
        return Err(refuse_token("a fresh ID token", got, CLOCK));
    }
    if age > FLOW_MS as f64 + skew {
        let got = format_args!("one issued {} s ago", (age / 1000.0) as i64);
        return Err(refuse_token("a fresh ID token", got, CLOCK));
    }
    match time("nbf") {
        Some(Ok(not_before)) if since(not_before) < -skew => {
            Err(refuse_token("a token that is valid already", "nbf in the future", CLOCK))
        }
        Some(Err(_)) => Err(unreadable("nbf")),
        _ => Ok(()),
    }
}

pub(super) const CLOCK: &str =
    "Compare the clocks of this machine and of the identity provider; skew allows 60 s by default.";

fn check_nonce(payload: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), LoginRefusal> {
    let got = match claim_said(payload, "nonce") {
        Some(Value::String(nonce)) if equal_bytes(nonce.as_bytes(), expected.nonce.as_bytes()) => {
            return Ok(());
        }
        Some(_) => "another one",
        None => "none",
    };
    Err(LoginRefusal::new(
        Class::OidcNonce,
        "the nonce of this login",
        got,
        "Nothing to set. If it happens often, the identity provider replays old ID tokens.",
    ))
}

/// The access token must be the one this ID token was made with (OIDC Core §3.1.3.8), where the token says which.
fn check_at_hash(
    payload: &Map<String, Value>,
    algorithm: Algorithm,
    expected: &Expected<'_>,
) -> Result<(), LoginRefusal> {
    let (Some(claimed), Some(access_token)) = (claim_said(payload, "at_hash"), expected.access_token) else {
        return Ok(());
    };
    let hash = URL_SAFE_NO_PAD.encode(algorithm.left_half(access_token.expose().as_bytes()));
    let is_same = claimed
        .as_str()
        .is_some_and(|claimed| equal_bytes(hash.as_bytes(), claimed.trim_end_matches('=').as_bytes()));
    if is_same {
        return Ok(());
    }
    Err(refuse_token(
        "at_hash of the access token",
        "another one",
        "The identity provider's answer is mixed up.",
    ))
}

/// A moment in milliseconds: seconds since 1970, or as some providers write it, a date (RFC 3339). `None` for what is
/// no time, or none of the next eight thousand years.
pub(super) fn read_moment(value: &Value) -> Option<f64> {
    const LATEST: f64 = 253_402_300_800.0;
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(date) => DateTime::parse_from_rfc3339(date).ok()?.timestamp_millis() as f64 / 1000.0,
        _ => return None,
    };
    (-LATEST..LATEST).contains(&seconds).then_some(seconds * 1000.0)
}

pub(super) fn claim_said<'a>(payload: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    payload.get(name).filter(|value| !value.is_null())
}

pub(super) fn claim_text<'a>(payload: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claim_said(payload, name).and_then(Value::as_str)
}

pub(super) fn claim_shown(payload: &Map<String, Value>, name: &str) -> String {
    match claim_said(payload, name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => format!("no {name}"),
    }
}

fn logout_token() -> LoginRefusal {
    refuse_token("an ID token", "a logout token", "The identity provider sent another kind of token.")
}

fn refuse_token(
    expected: impl std::fmt::Display,
    got: impl std::fmt::Display,
    remedy: &'static str,
) -> LoginRefusal {
    LoginRefusal::new(Class::OidcIdTokenClaims, expected, got, remedy)
}
