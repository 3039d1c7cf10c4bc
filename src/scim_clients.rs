//! Who may write to the directory: the tokens of `scim.token`, and how a token is known.

use std::sync::Arc;

use http::{HeaderMap, header};
use portcullis_keys::{Keyring, Purpose, equal_bytes};
use portcullis_proxy::LogDetail;
use portcullis_scim::Service;

/// The directories that may write, and how they are answered: `scim`.
pub(crate) struct ScimClients {
    /// The tokens of `scim.token`, in that order.
    pub(crate) tokens: Vec<ScimToken>,
    /// The base URL and how it answers.
    pub(crate) service: Service,
    /// `log.client`.
    pub(crate) detail: LogDetail,
}

/// A token that is known; the token itself is not kept.
pub(crate) struct ScimToken {
    hash: [u8; 32],
    /// `scim:default/1-3fa9c1d2`: its place in the list and a part of its keyed hash, which stays when the list changes.
    actor: Arc<str>,
}

impl ScimToken {
    /// The token at a place of the list, counted from 0.
    pub(crate) fn new(place: usize, hash: [u8; 32]) -> Self {
        let [a, b, c, d, ..] = hash;
        Self { hash, actor: format!("scim:default/{}-{a:02x}{b:02x}{c:02x}{d:02x}", place + 1).into() }
    }

    /// Its name in the audit and the log.
    pub(crate) fn actor(&self) -> &Arc<str> {
        &self.actor
    }
}

impl ScimClients {
    /// Finds the token that a request bears (RFC 6750 §2.1).
    ///
    /// # Errors
    /// A sentence for who asks.
    pub(crate) fn find_token(&self, keys: &Keyring, headers: &HeaderMap) -> Result<&ScimToken, &'static str> {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (given.next(), given.next()) else {
            return Err("send one header Authorization: Bearer <the SCIM token>");
        };
        let token = value.to_str().ok().and_then(|value| value.split_once(' '));
        let Some((_, token)) = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
            return Err("send the header Authorization: Bearer <the SCIM token>");
        };
        let hash = keys.hash(Purpose::ScimToken, token.trim().as_bytes());
        // Every known token is compared, so the time says nothing about which one was nearly right.
        let known = self
            .tokens
            .iter()
            .fold(None, |known, one| if equal_bytes(&one.hash, &hash) { Some(one) } else { known });
        known.ok_or("the token is not one of this directory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_named_without_being_told() {
        let token = ScimToken::new(1, [0xab; 32]);
        assert_eq!(&*token.actor, "scim:default/2-abababab");
    }
}
