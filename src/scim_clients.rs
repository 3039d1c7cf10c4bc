//! The clients that may write to a directory, and how each is known: by a token of the store, or by one of `scim.token`.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, header};
use portcullis_keys::{Keyring, Purpose, equal_bytes};
use portcullis_policy::{DirectoryId, OrgId, Timestamp};
use portcullis_proxy::{LogDetail, Networks};
use portcullis_scim::{ScimError, Service};

use crate::person::format_rfc3339;
use crate::scim_rate::ScimRateLimit;
use crate::tokens::{TAKES_AWAY_MS, TokenBook};

/// The directories that may write, and how they are answered: `scim`.
pub(crate) struct ScimClients {
    /// The tokens of `scim.token`, in that order.
    pub(crate) tokens: Vec<ScimToken>,
    /// The base URL and how it answers.
    pub(crate) service: Service,
    /// `scim.rate`.
    pub(crate) rate: ScimRateLimit,
    /// `scim.allow`.
    pub(crate) allow: Option<Networks>,
    /// `trusted_proxies`.
    pub(crate) trusted: Networks,
    /// `log.client`.
    pub(crate) detail: LogDetail,
}

/// A token of the configuration that is known; the token itself is not kept.
pub(crate) struct ScimToken {
    hash: [u8; 32],
    /// `scim:default/1-3fa9c1d2`: its place in the list and a part of its keyed hash, which stays when the list changes.
    actor: Arc<str>,
}

/// The client that a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScimClient {
    pub(crate) org: OrgId,
    /// The only directory that it reads and writes.
    pub(crate) directory: DirectoryId,
    /// The name of its token in the audit and the log.
    pub(crate) name: Arc<str>,
    /// The end of its token; none where the configuration has it.
    pub(crate) expires: Option<Timestamp>,
    /// True from that end on: then it reads, and takes access away.
    pub(crate) is_expired: bool,
    /// The hash of its token, by which its requests are counted.
    pub(crate) hash: [u8; 32],
}

impl ScimToken {
    /// The token at a place of the list, counted from 0.
    pub(crate) fn new(place: usize, hash: [u8; 32]) -> Self {
        let [a, b, c, d, ..] = hash;
        Self { hash, actor: format!("scim:default/{}-{a:02x}{b:02x}{c:02x}{d:02x}", place + 1).into() }
    }
}

impl ScimClients {
    /// Admits the client whose token a request bears (RFC 6750 §2.1), from an address that may write. Which addresses
    /// may is told to nobody without a token.
    ///
    /// # Errors
    /// [`ScimError::Unauthorized`], [`ScimError::Forbidden`].
    pub(crate) fn admit_client(
        &self,
        book: &TokenBook,
        keys: &Keyring,
        headers: &HeaderMap,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<ScimClient, ScimError> {
        let client = self.find_client(book, keys, headers, now).map_err(ScimError::Unauthorized)?;
        let is_allowed = |networks: &Networks| address.is_some_and(|address| networks.contains(address));
        if !self.allow.as_ref().is_none_or(is_allowed) {
            return Err(ScimError::Forbidden("this address may not write here: see scim.allow".to_owned()));
        }
        book.note_use(&client.hash, now);
        Ok(client)
    }

    /// Gives the address of whoever asks: our peer, or whom a trusted proxy names.
    pub(crate) fn client_address(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        peer.map(|peer| self.trusted.client_address(peer, headers))
    }

    fn find_client(
        &self,
        book: &TokenBook,
        keys: &Keyring,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<ScimClient, String> {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (given.next(), given.next()) else {
            return Err("send one header Authorization: Bearer <the SCIM token>".to_owned());
        };
        let token = value.to_str().ok().and_then(|value| value.split_once(' '));
        let Some((_, token)) = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
            return Err("send the header Authorization: Bearer <the SCIM token>".to_owned());
        };
        let token = token.trim();
        let client = |name: &Arc<str>, hash, expires: Option<Timestamp>| ScimClient {
            org: OrgId::ONLY,
            directory: DirectoryId::ONLY,
            name: name.clone(),
            expires,
            is_expired: expires.is_some_and(|expires| expires <= now),
            hash,
        };
        if let Some(known) = book.find_token(token) {
            let expires = known.expires();
            if now.since_ms(expires) >= TAKES_AWAY_MS {
                let expired = format_rfc3339(expires);
                return Err(format!(
                    "the token expired at {expired}, more than 30 days ago: enter a new one"
                ));
            }
            return Ok(client(&known.actor, known.hash, Some(expires)));
        }
        let hash = keys.hash(Purpose::ScimToken, token.as_bytes());
        // Every known token is compared, so the time says nothing about which one was nearly right.
        let known = self
            .tokens
            .iter()
            .fold(None, |known, one| if equal_bytes(&one.hash, &hash) { Some(one) } else { known });
        let known = known.ok_or_else(|| "the token is not one of this directory".to_owned())?;
        Ok(client(&known.actor, known.hash, None))
    }
}

impl ScimClient {
    /// The refusal of whatever an expired token may not do; none where it has not expired.
    pub(crate) fn refusal_of_additions(&self) -> Option<String> {
        let expired = format_rfc3339(self.expires.filter(|_| self.is_expired)?);
        Some(format!(
            "the token expired at {expired}: it still reads and takes access away, and does nothing else. Enter a new one"
        ))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use portcullis_keys::sha256;
    use portcullis_policy::GroupPatch;
    use portcullis_store::TokenRow;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn a_token_is_named_without_being_told() {
        let token = ScimToken::new(1, [0xab; 32]);
        assert_eq!(&*token.actor, "scim:default/2-abababab");
    }

    fn admit(book: &TokenBook, values: &[&str], now: Timestamp) -> Result<ScimClient, ScimError> {
        admit_from("192.0.2.7", book, values, now)
    }

    fn admit_from(
        address: &str,
        book: &TokenBook,
        values: &[&str],
        now: Timestamp,
    ) -> Result<ScimClient, ScimError> {
        let keys = Keyring::from_master(&[7; 32]);
        let clients = ScimClients {
            tokens: vec![ScimToken::new(0, keys.hash(Purpose::ScimToken, b"configured"))],
            service: Service::new("https://scim.example.com", GroupPatch::Empty),
            rate: ScimRateLimit { per_second: 1, burst: 1 },
            allow: Some(Networks::new(vec!["192.0.2.0/24".parse().unwrap()])),
            trusted: Networks::new(Vec::new()),
            detail: LogDetail::default(),
        };
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        clients.admit_client(book, &keys, &headers, address.parse().ok(), now)
    }

    fn book(expires: Timestamp) -> TokenBook {
        TokenBook::of_rows(vec![TokenRow {
            id: 7,
            name: "okta".to_owned(),
            hash: sha256(b"pcs_one"),
            created: NOW,
            expires,
            used: None,
            revoked: None,
            warned: None,
        }])
    }

    #[test]
    fn one_bearer_of_one_whole_token_is_admitted() {
        let book = book(NOW.plus_ms(1));
        let admitted = admit(&book, &["bearer pcs_one"], NOW).unwrap();
        assert_eq!((&*admitted.name, admitted.expires), ("scim:default/okta-7", Some(NOW.plus_ms(1))));
        assert!(admitted.refusal_of_additions().is_none());
        assert_eq!(book.list_tokens()[0].used(), Some(NOW));
        assert!(admit(&book, &["BEARER  pcs_one "], NOW).is_ok(), "blanks around it are nobody's mistake");
        assert_eq!(admit(&book, &["Bearer configured"], NOW).unwrap().expires, None);
        for wrong in [
            &[][..],
            &["Bearer pcs_one", "Bearer pcs_one"],
            &["Bearer"],
            &["Bearer "],
            &["pcs_one"],
            &["Basic pcs_one"],
            &["Bearer pcs_ one"],
            &["Bearer pcs_one,pcs_one"],
            &["Bearer PCS_ONE"],
            &["Bearer pcs_one\t x"],
            &["Bearer pcs_on"],
        ] {
            assert!(admit(&book, wrong, NOW).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_token_counts_from_the_networks_that_may_write_alone() {
        let book = book(NOW.plus_ms(1));
        for address in ["192.0.3.7", "::1", "no address"] {
            let refused = admit_from(address, &book, &["Bearer pcs_one"], NOW);
            assert!(matches!(refused, Err(ScimError::Forbidden(_))), "{address}");
            let stranger = admit_from(address, &book, &["Bearer pcs_two"], NOW);
            assert!(matches!(stranger, Err(ScimError::Unauthorized(_))), "{address}");
        }
        assert_eq!(book.list_tokens()[0].used(), None, "a refusal is no use of it");
    }

    #[test]
    fn an_expired_token_has_thirty_days_for_removals() {
        let book = book(NOW);
        let refusal = admit(&book, &["Bearer pcs_one"], NOW).unwrap().refusal_of_additions().unwrap();
        assert!(refusal.contains("2027-01-15T08:00:00Z"), "{refusal}");
        let last = NOW.plus_ms(TAKES_AWAY_MS - 1);
        assert!(admit(&book, &["Bearer pcs_one"], last).unwrap().is_expired);
        let over = admit(&book, &["Bearer pcs_one"], last.plus_ms(1)).unwrap_err().to_string();
        assert!(over.contains("2027-01-15T08:00:00Z"), "{over}");
    }
}
