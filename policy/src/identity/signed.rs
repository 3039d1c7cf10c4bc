//! The signed header: what it says of a person. Whoever signs it adds what is of one session and one moment.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::json;

use super::source::{HeaderSource, ToldPerson};

/// The settings of the signed header, `X-Portcullis-Assertion`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHeader {
    /// `iss`: the public address of the app, under which the keys are published.
    pub issuer: Arc<str>,
    /// `aud`: whom it is meant for.
    pub audience: Arc<str>,
    /// `organization`.
    pub organization: Arc<str>,
}

/// The name of the header.
pub const SIGNED_HEADER: &str = "x-portcullis-assertion";

/// The claims of a person, as the beginning of a JSON object: without its closing brace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedClaims(pub(crate) Arc<str>);

impl SignedClaims {
    /// The claims of the person alone, for people who look.
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::from_str(&format!("{}}}", self.0)).unwrap_or_default()
    }

    /// The whole object of one session at one moment: `sid`, `iat` and `exp` (in seconds), `jti`. The names are
    /// those of OIDC Core §2 and RFC 7519 §4.1; the two texts are base64url.
    pub fn complete(&self, session: &str, issued: i64, expires: i64, id: &str) -> String {
        let mut whole = String::with_capacity(self.0.len() + TAIL);
        let _ =
            write!(whole, r#"{},"sid":"{session}","iat":{issued},"exp":{expires},"jti":"{id}"}}"#, self.0);
        whole
    }

    /// The bytes of the whole line, from its name to its end.
    pub(crate) fn line_size(&self) -> usize {
        AROUND + ((self.0.len() + TAIL) * 4).div_ceil(3)
    }
}

/// What [`SignedClaims::complete`] adds: a hash, two times of ten digits, an id of 128 bits.
const TAIL: usize = r#","sid":"","iat":,"exp":,"jti":""}"#.len() + 43 + 10 + 10 + 22;
/// Name, colon and blank, the first part of a token, two dots, a signature of 64 bytes, the end of the line.
const AROUND: usize = SIGNED_HEADER.len()
    + 2
    + ((r#"{"alg":"ES256","typ":"JWT","kid":""}"#.len() + 43) * 4).div_ceil(3)
    + 2
    + 86
    + 2;

impl SignedHeader {
    /// Says of a person what it always says, and of what headers tell anyway the address.
    pub(super) fn claims_of(&self, person: &ToldPerson<'_>, tells_email: bool) -> SignedClaims {
        let Self { issuer, audience, organization } = self;
        let mut claims = json!({
            "iss": issuer, "aud": audience, "sub": person.facts.stable_id, "preferred_username": person.name,
            "organization": organization, "roles": person.texts(&HeaderSource::Roles),
        });
        if let Some(email) = person.facts.email.as_ref().filter(|_| tells_email) {
            claims["email"] = json!(email);
        }
        let mut text = claims.to_string();
        text.pop(); // the closing brace
        SignedClaims(text.into())
    }
}
