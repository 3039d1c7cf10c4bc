//! The client of the provider, and how it shows that it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use portcullis_keys::{Secret, equal_bytes};

use super::pairs::{Pairs, single_value};

/// The one client this provider knows.
pub struct OidcClient {
    pub id: String,
    pub secret: Secret,
    /// Compared byte for byte.
    pub redirect_uri: String,
    /// The address that a logout may send the browser back to; compared byte for byte.
    pub post_logout_uri: String,
}

impl OidcClient {
    /// Client authentication by `client_secret_basic` or `client_secret_post`, and never by both (RFC 6749 §2.3).
    pub(super) fn is_shown(&self, authorization: Option<&str>, form: &Pairs) -> bool {
        let (Ok(id), Ok(secret)) = (single_value(form, "client_id"), single_value(form, "client_secret"))
        else {
            return false;
        };
        let is_ours = id.is_none_or(|id| id == self.id);
        match (authorization, secret) {
            (Some(header), None) => is_ours && self.is_basic(header),
            (None, Some(secret)) => id.is_some() && is_ours && self.is_secret(secret.as_bytes()),
            (Some(_), Some(_)) | (None, None) => false,
        }
    }

    /// Both halves are form-encoded (RFC 6749 §2.3.1).
    fn is_basic(&self, authorization: &str) -> bool {
        let Some(encoded) = credentials_of(authorization, "Basic") else { return false };
        let Some(pair) = STANDARD.decode(encoded).ok().and_then(|pair| String::from_utf8(pair).ok()) else {
            return false;
        };
        let Some((id, secret)) = pair.split_once(':') else { return false };
        let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).collect::<Vec<u8>>();
        let right_id = equal_bytes(&decoded(id), self.id.as_bytes());
        right_id & self.is_secret(&decoded(secret))
    }

    fn is_secret(&self, given: &[u8]) -> bool {
        equal_bytes(given, self.secret.expose().as_bytes())
    }
}

/// The credentials of an `Authorization` header of this scheme; the scheme's case does not matter (RFC 9110 §11.1).
pub(super) fn credentials_of<'a>(authorization: &'a str, scheme: &str) -> Option<&'a str> {
    let (named, credentials) = authorization.split_once(' ')?;
    named.eq_ignore_ascii_case(scheme).then(|| credentials.trim_start_matches(' '))
}
