//! How much is written about people: `log.identity` and `log.client`, for everything that is written.
//!
//! The access log, the program's log, the record of a refusal and the audit name a person and an address through
//! these functions and in no other way.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use portcullis_policy::{Facts, LogClient, LogIdentity};

/// The detail in which people and addresses are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogDetail {
    /// `log.identity`.
    pub identity: LogIdentity,
    /// `log.client`.
    pub client: LogClient,
}

impl LogDetail {
    /// A person we know; `name` is what the application is told.
    pub fn shown_user<'a>(self, facts: &'a Facts, name: Option<&'a str>) -> Option<Cow<'a, str>> {
        match self.identity {
            LogIdentity::Id => {
                Some(facts.id.as_deref().map_or_else(|| facts.account.0.to_string().into(), Cow::from))
            }
            LogIdentity::Name => name.map(Cow::from),
            LogIdentity::Email => facts.email.as_deref().map(Cow::from),
            LogIdentity::None => None,
        }
    }

    /// Tells whether somebody whom we do not know may be named by what the IdP calls them.
    pub fn names_strangers(self) -> bool {
        self.identity != LogIdentity::None
    }

    /// A client's address. Written by hand for IPv4: it stands in every line.
    pub fn shown_client(self, address: IpAddr) -> Option<String> {
        let dotted = |octets: &[u8], end: &str| {
            let (mut text, mut number) = (String::with_capacity(18), itoa::Buffer::new());
            for octet in octets {
                text.push_str(if text.is_empty() { "" } else { "." });
                text.push_str(number.format(*octet));
            }
            text + end
        };
        match (self.client, address.to_canonical()) {
            (LogClient::None, _) => None,
            (LogClient::Full, IpAddr::V4(v4)) => Some(dotted(&v4.octets(), "")),
            (LogClient::Prefix, IpAddr::V4(v4)) => Some(dotted(&v4.octets()[..3], ".0/24")),
            (LogClient::Full, IpAddr::V6(v6)) => Some(v6.to_string()),
            (LogClient::Prefix, IpAddr::V6(v6)) => {
                let [a, b, c, ..] = v6.segments();
                Some(format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_written_as_far_as_wanted() {
        let written = |address: &str, client| {
            LogDetail { client, ..LogDetail::default() }.shown_client(address.parse().unwrap())
        };
        assert_eq!(written("192.0.2.7", LogClient::Full).as_deref(), Some("192.0.2.7"));
        assert_eq!(written("192.0.2.7", LogClient::Prefix).as_deref(), Some("192.0.2.0/24"));
        // An address of IPv4 that came over a socket of IPv6 (RFC 4291 §2.5.5.2) is one of IPv4.
        assert_eq!(written("::ffff:192.0.2.7", LogClient::Prefix).as_deref(), Some("192.0.2.0/24"));
        assert_eq!(written("2001:db8:1:2::3", LogClient::Prefix).as_deref(), Some("2001:db8:1::/48"));
        assert_eq!(written("192.0.2.7", LogClient::None), None);
    }
}
