//! What a logout token must say (OIDC Back-Channel Logout 1.0 §2.4, §2.6): a text in, the sessions that the provider
//! has ended out.
//!
//! Providers differ in what they say: one sends no `sub`, another no `exp`. Each claim is read by itself, and what is not
//! said is not missed, but for what tells a logout token from every other one: `events`, `jti`, and no `nonce`.

use portcullis_keys::Secret;
use portcullis_policy::Timestamp;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::id_token::{CLOCK, claim_said, claim_shown, claim_text, read_moment};
use super::jwks::KeySet;
use super::jws::{self, TokenKind};
use crate::{Class, FLOW_MS, LoginRefusal};

/// The member of `events` that makes it a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Longer names are no names that a login of ours was given.
const LONGEST: usize = 1024;

/// A provider's word that sessions have ended: all of a person, or one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutNotice {
    /// The number of the token, which counts once.
    pub jti: String,
    /// The person, as the `sub` of their ID tokens had it.
    pub subject: Option<String>,
    /// The session, as `sid` had it.
    pub session: Option<String>,
    /// The time from which the token is refused for its age.
    pub until: Timestamp,
}

/// The values that a logout token is compared with.
pub(super) struct ExpectedLogout<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) algorithms: &'a [Algorithm],
    pub(super) skew_ms: i64,
    pub(super) now: Timestamp,
}

/// Verifies a logout token with the keys of its provider.
///
/// # Errors
/// A refusal of the class that failed first.
pub(super) fn verify_logout_token(
    token: &Secret,
    keys: &KeySet,
    expected: &ExpectedLogout<'_>,
) -> Result<LogoutNotice, LoginRefusal> {
    let malformed = |got: &str| refuse_logout("a logout token", got, SENDER);
    let claims =
        jws::verify_signature(token.expose(), keys, expected.algorithms, TokenKind::Logout, malformed)?
            .claims;
    check_purpose(&claims)?;
    check_parties(&claims, expected)?;
    let until = check_times(&claims, expected)?;
    let name = |name: &str| match claim_said(&claims, name) {
        Some(Value::String(text)) if (1..=LONGEST).contains(&text.len()) => Ok(Some(text.clone())),
        Some(_) => Err(refuse_logout(format_args!("{name} as a text"), "something else", SENDER)),
        None => Ok(None),
    };
    let (subject, session) = (name("sub")?, name("sid")?);
    if subject.is_none() && session.is_none() {
        return Err(refuse_logout("sub or sid", "neither", SENDER));
    }
    let jti = name("jti")?.ok_or_else(|| refuse_logout("jti", "none", SENDER))?;
    Ok(LogoutNotice { jti, subject, session, until })
}

/// Checks that it is a logout token and nothing else.
fn check_purpose(claims: &Map<String, Value>) -> Result<(), LoginRefusal> {
    let is_logout = claim_said(claims, "events")
        .and_then(Value::as_object)
        .and_then(|events| events.get(EVENT))
        .is_some_and(Value::is_object);
    if !is_logout {
        return Err(refuse_logout("the event of a back-channel logout", "a token without it", SENDER));
    }
    // With one it could be an ID token.
    if claims.contains_key("nonce") {
        return Err(refuse_logout("no nonce", "a nonce", SENDER));
    }
    Ok(())
}

fn check_parties(claims: &Map<String, Value>, expected: &ExpectedLogout<'_>) -> Result<(), LoginRefusal> {
    if claim_text(claims, "iss") != Some(expected.issuer) {
        return Err(refuse_logout(expected.issuer, claim_shown(claims, "iss"), SENDER));
    }
    let is_ours = match claim_said(claims, "aud") {
        Some(Value::Array(audiences)) => audiences.iter().any(|audience| audience == expected.client_id),
        Some(audience) => audience == expected.client_id,
        None => false,
    };
    if is_ours {
        return Ok(());
    }
    let remedy =
        "The token was made for another client: check the back-channel logout URI at the identity provider.";
    Err(refuse_logout(expected.client_id, claim_shown(claims, "aud"), remedy))
}

/// Checks that it is fresh; the time from which it is not any more.
fn check_times(
    claims: &Map<String, Value>,
    expected: &ExpectedLogout<'_>,
) -> Result<Timestamp, LoginRefusal> {
    let time = |name: &str| match claim_said(claims, name).map(read_moment) {
        Some(None) => {
            let wanted = format!("{name} as seconds since 1970");
            Err(refuse_logout(wanted, claim_shown(claims, name), SENDER))
        }
        Some(at) => Ok(at),
        None => Ok(None),
    };
    let (now, skew) = (expected.now.0 as f64, expected.skew_ms as f64);
    let issued = time("iat")?.ok_or_else(|| refuse_logout("iat", "none", SENDER))?;
    if issued > now + skew {
        return Err(refuse_logout("a fresh logout token", "one of the future", CLOCK));
    }
    let latest = issued + FLOW_MS as f64 + skew;
    let until = time("exp")?.map_or(latest, |expires| latest.min(expires + skew));
    if now >= until {
        return Err(refuse_logout("a fresh logout token", "one that is over", CLOCK));
    }
    Ok(Timestamp(until as i64))
}

const SENDER: &str = "The identity provider's logout token is broken, or somebody else made it.";

fn refuse_logout(
    expected: impl std::fmt::Display,
    got: impl std::fmt::Display,
    remedy: &'static str,
) -> LoginRefusal {
    LoginRefusal::new(Class::OidcLogoutToken, expected, got, remedy)
}
