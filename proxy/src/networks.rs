//! Trusted proxies, and the address a client has through them.
//!
//! A forwarding field is believed only as far as the chain of trusted proxies reaches, from our own peer backwards
//! (design §12). What is behind the first stranger is the stranger's invention.

use std::net::IpAddr;
use std::str::FromStr;

use http::HeaderMap;
use http::HeaderName;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A network: an address and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: u128,
    mask: u128,
}

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is neither an address nor a network like 10.0.0.0/8 or fd00::/8")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.into());
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits: u32 = match bits {
            None => most,
            // `+8` and `08` parse as numbers but are no way to write a length.
            Some(bits) if bits.starts_with('+') || (bits.len() > 1 && bits.starts_with('0')) => {
                return Err(wrong());
            }
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?,
        };
        let mask = u128::MAX.checked_shl(most - bits).unwrap_or(0) | !low(most);
        Ok(Self { address: number(address) & mask, mask })
    }
}

fn low(bits: u32) -> u128 {
    u128::MAX.checked_shr(128 - bits).unwrap_or(0)
}

/// Addresses of both families in one number: IPv4 where IPv6 maps it.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The networks of `trusted_proxies`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// Joins them; none trusts nobody.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whether the address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = number(address);
        self.0.iter().any(|network| address & network.mask == network.address)
    }

    /// The client's address: our peer, or, behind trusted proxies, the last address in `X-Forwarded-For` that is no
    /// trusted proxy. A word that is no address ends the walk: the nearest address that was believed stands.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
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
        networks(trusted).client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.7/32", "::ffff:192.0.2.7", "192.0.2.6"),
            ("fd00::/8", "fdff::1", "fe00::"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::1", "::1", "::2"),
        ] {
            let networks = networks(&[network]);
            assert!(networks.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!networks.contains(outside.parse().unwrap()), "{network} {outside}");
        }
        assert!(networks(&["::/0"]).contains("2001:db8::1".parse().unwrap()));
        assert!(!networks(&[]).contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in
            ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/08", "a", "1/1/1"]
        {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
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
            let _ = text.parse::<Network>();
            let _ = read_address(text.as_bytes());
        }
    }
}
