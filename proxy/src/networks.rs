//! Trusted proxies, and the address a client has through them.
//!
//! A forwarding field is believed only as far as the chain of trusted proxies reaches, from our own peer backwards.
//! What is behind the first stranger is the stranger's invention.

use std::net::IpAddr;

use http::HeaderMap;
use http::HeaderName;
use portcullis_policy::Network;

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks of `trusted_proxies`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// Joins them; none trusts nobody.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Tells whether the address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The client's address: our peer, or, behind trusted proxies, the last address in `X-Forwarded-For` that is no
    /// trusted proxy. A word that is no address ends the walk: the nearest address that was believed stands.
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.contains(client) {
            return client;
        }
        let fields = headers.get_all(X_FORWARDED_FOR).into_iter().rev();
        for word in fields.flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b',')) {
            let Some(address) = read_address(word) else { break };
            client = address;
            if !self.contains(client) {
                break;
            }
        }
        client
    }
}

/// One entry of the list: an address, with a port or brackets where the proxy before wrote them.
fn read_address(word: &[u8]) -> Option<IpAddr> {
    let word = std::str::from_utf8(word).ok()?.trim_matches([' ', '\t']);
    let address = word
        .parse::<IpAddr>()
        .ok()
        .or_else(|| word.parse::<std::net::SocketAddr>().ok().map(|with_port| with_port.ip()))
        .or_else(|| word.strip_prefix('[')?.strip_suffix(']')?.parse().ok())?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn networks(list: &[&str]) -> Networks {
        Networks::new(list.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn client(trusted: &[&str], peer: &str, fields: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(field).unwrap());
        }
        networks(trusted).client_address(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn none_trusts_nobody_and_one_of_ipv6_nobody_of_ipv4() {
        assert!(!networks(&[]).contains("127.0.0.1".parse().unwrap()));
        let short = networks(&["::/1", "10.0.0.0/8"]);
        assert!(short.contains("10.1.1.1".parse().unwrap()));
        assert!(short.contains("::ffff:10.1.1.1".parse().unwrap()));
        assert!(!short.contains("198.51.100.1".parse().unwrap()));
    }

    #[test]
    fn a_stranger_is_believed_nothing() {
        assert_eq!(client(&[], "198.51.100.1", &["127.0.0.1"]), "198.51.100.1");
        assert_eq!(client(&["10.0.0.0/8"], "198.51.100.1", &["10.0.0.1"]), "198.51.100.1");
    }

    #[test]
    fn the_walk_goes_back_to_the_first_stranger() {
        let trusted = ["10.0.0.0/8", "192.0.2.1"];
        for (fields, expected) in [
            (&["203.0.113.9"][..], "203.0.113.9"),
            (&["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            (&["1.1.1.1", "203.0.113.9,192.0.2.1"], "203.0.113.9"),
            (&["10.0.0.5, 10.0.0.6"], "10.0.0.5"),
            (&["1.1.1.1, unknown, 10.0.0.6"], "10.0.0.6"),
            (&["203.0.113.9:4711"], "203.0.113.9"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["::ffff:203.0.113.9"], "203.0.113.9"),
            (&[""], "10.1.1.1"),
            (&[], "10.1.1.1"),
        ] {
            assert_eq!(client(&trusted, "10.1.1.1", fields), expected, "{fields:?}");
            assert_eq!(client(&trusted, "::ffff:10.1.1.1", fields), expected, "{fields:?}");
        }
    }

    proptest! {
        /// Whatever a client writes in front, the entry of the trusted proxy counts.
        #[test]
        fn a_forged_beginning_changes_nothing(forged in "[ -~]{0,60}", real in any::<[u8; 4]>()) {
            let real = IpAddr::from(real);
            prop_assume!(real.to_string() != "10.1.1.1");
            let seen = client(&["10.1.1.1"], "10.1.1.1", &[&forged, &real.to_string()]);
            prop_assert_eq!(seen, real.to_string());
            let joined = format!("{forged}, {real}");
            prop_assert_eq!(client(&["10.1.1.1"], "10.1.1.1", &[&joined]), real.to_string());
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,30}") {
            let _ = read_address(text.as_bytes());
        }
    }
}
