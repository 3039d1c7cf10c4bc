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

/// The claims of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedClaims {
    /// The beginning of a JSON object: without its closing brace.
    begun: Arc<str>,
    audience: Arc<str>,
}

impl SignedClaims {
    /// The claims of the person alone, as the app's own upstream gets them, for people who look.
    pub fn to_value(&self) -> serde_json::Value {
        let mut claims: serde_json::Value =
            serde_json::from_str(&format!("{}}}", self.begun)).unwrap_or_default();
        claims["aud"] = json!(self.audience);
        claims
    }

    /// The whole object for one upstream, `None` for the app's own, of one session at one moment: `aud`, `sid`, `iat` and
    /// `exp` (in seconds), `jti`. The names are those of OIDC Core §2 and RFC 7519 §4.1; the texts are base64url. No upstream
    /// can pass on to another what was signed for it: the audience of one that has a name ends in `#` and that name.
    pub fn complete(
        &self,
        upstream: Option<&str>,
        session: &str,
        issued: i64,
        expires: i64,
        id: &str,
    ) -> String {
        let audience = match upstream {
            Some(name) => json!(format!("{}#{name}", self.audience)),
            None => json!(self.audience),
        };
        let mut whole = String::with_capacity(self.begun.len() + TAIL + self.audience.len());
        let _ = write!(
            whole,
            r#"{},"aud":{audience},"sid":"{session}","iat":{issued},"exp":{expires},"jti":"{id}"}}"#,
            self.begun
        );
        whole
    }

    /// The bytes of the whole line, from its name to its end, as the app's own upstream gets it. The name of another is not
    /// counted: it has 40 letters at most.
    pub(crate) fn line_size(&self) -> usize {
        let audience = json!(self.audience).to_string().len();
        AROUND + ((self.begun.len() + TAIL + audience) * 4).div_ceil(3)
    }
}

/// What [`SignedClaims::complete`] adds beside the audience: a hash, two times of ten digits, an id of 128 bits.
const TAIL: usize = r#","aud":,"sid":"","iat":,"exp":,"jti":""}"#.len() + 43 + 10 + 10 + 22;
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
            "iss": issuer, "sub": person.facts.stable_id, "preferred_username": person.name,
            "organization": organization, "roles": person.texts(&HeaderSource::Roles),
        });
        if let Some(email) = person.facts.email.as_ref().filter(|_| tells_email) {
            claims["email"] = json!(email);
        }
        let mut text = claims.to_string();
        text.pop(); // the closing brace
        SignedClaims { begun: text.into(), audience: audience.clone() }
    }
}
