//! Networks and hosts: whose word is believed about somebody else's address, and where requests of our own may go
//! besides. There is one reading of them, for the file that names them and for the requests that are judged by them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network in CIDR form, or one address. Bits behind its length may be set; they count for nothing.
///
/// An IPv4 address in IPv6 clothes (RFC 4291 §2.5.5.2) is the IPv4 address, in a network's name and in what is compared
/// with it; a network of IPv6 holds no address of IPv4, however short it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is neither an address nor a network like 10.0.0.0/8 or fd00::/8")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        read_network(text).ok_or_else(|| NetworkError(text.into()))
    }
}

fn read_network(text: &str) -> Option<Network> {
    let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length: u8 = match length {
        None => most,
        // `+8` and `08` parse as numbers but are no way to write a length.
        Some(digits) if digits.starts_with('+') || (digits.len() > 1 && digits.starts_with('0')) => {
            return None;
        }
        Some(digits) => digits.parse().ok().filter(|length| *length <= most)?,
    };
    Some(match (address, address.to_canonical()) {
        (IpAddr::V6(_), mapped @ IpAddr::V4(_)) if length >= 96 => {
            Network { address: mapped, length: length - 96 }
        }
        _ => Network { address, length },
    })
}

impl Network {
    /// The address as it was written.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The length of its prefix, in bits.
    pub fn prefix_length(&self) -> u8 {
        self.length
    }

    /// Tells whether an address is of this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.length);
                (own.to_bits() ^ other.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.length);
                (own.to_bits() ^ other.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// The address with every bit behind the length cleared.
    pub fn first_address(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// A host that requests of our own may reach although it is not public or speaks no https: an entry of
/// `http_client.allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    /// The name in A-form and lower case, or the address; an IPv6 address without brackets.
    pub host: String,
    /// The one port; every port where none is said.
    pub port: Option<u16>,
}

impl AllowedHost {
    /// Tells whether a host and port, as a URL writes them, are these.
    pub fn covers(&self, host: &str, port: Option<u16>) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        self.host.eq_ignore_ascii_case(host) && (self.port.is_none() || self.port == port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::ffff:11.1.1.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.128/25", "192.0.2.255", "192.0.2.127"),
            ("192.0.2.7/32", "::ffff:192.0.2.7", "192.0.2.6"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::1", "::1", "::2"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network} {outside}");
        }
    }

    #[test]
    fn a_network_of_ipv6_holds_no_address_of_ipv4() {
        for short in ["::/0", "::/1", "::/64", "::/80", "::ffff:0:0/90"] {
            let network: Network = short.parse().unwrap();
            for stranger in ["198.51.100.1", "::ffff:198.51.100.1"] {
                assert!(!network.contains(stranger.parse().unwrap()), "{short} {stranger}");
            }
        }
        assert!("::/0".parse::<Network>().unwrap().contains("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn a_network_of_ipv4_in_the_clothes_of_ipv6_is_one_of_ipv4() {
        for (clothed, plain) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
        ] {
            let network: Network = clothed.parse().unwrap();
            assert_eq!(network.to_string(), plain);
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/00",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            "a",
            "1/1/1",
            "10.0.0.0 /8",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_allowed_host_is_one_host_and_perhaps_one_port() {
        let any = |host: &str| AllowedHost { host: host.into(), port: None };
        let one = AllowedHost { host: "idp.corp".into(), port: Some(8443) };
        assert!(any("idp.corp").covers("IDP.corp", Some(1)) && any("fd00::1").covers("[fd00::1]", None));
        assert!(!any("idp.corp").covers("evil.idp.corp", None) && !any("idp.corp").covers("idp.corp.", None));
        assert!(one.covers("idp.corp", Some(8443)));
        assert!(!one.covers("idp.corp", Some(443)) && !one.covers("idp.corp", None));
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "[0-9a-f:./]{0,30}") {
            let _ = text.parse::<Network>();
        }

        #[test]
        fn a_network_begins_with_its_start_and_reads_as_it_is_shown(bits: u128, length in 0..=128_u8) {
            let network = Network { address: std::net::Ipv6Addr::from_bits(bits).into(), length };
            prop_assume!(network.address.to_canonical() == network.address);
            prop_assert!(network.contains(network.address));
            let start = network.first_address();
            prop_assert!(start.to_canonical() != start || network.contains(start));
            prop_assert_eq!(network.to_string().parse(), Ok(network));
        }
    }
}
