//! Networks and hosts: who is believed when it speaks of others, and where outgoing requests may go besides.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::{At, shown};
use crate::desk::Desk;
use crate::node::Node;
use crate::read::{Read, text};

/// A network in CIDR form, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

impl Network {
    /// Whether an address is of this network. An IPv4 address in IPv6 clothes is the IPv4 address.
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

    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => most,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        };
        (length <= most).then_some(Self { address, length })
    }

    /// The network with every bit behind its length cleared.
    fn start(&self) -> IpAddr {
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

impl Read for Network {
    const WANTED: &'static str = "a network such as 10.0.0.0/8, or one address";

    fn read(node: &Node, at: &At, desk: &mut Desk<'_>) -> Option<Self> {
        let text = text(node, at, desk, Self::WANTED)?;
        let Some(network) = Self::parse(text) else {
            return desk.say(
                node,
                at,
                format!("\"{}\" is not a network", shown(text)),
                "Write an address, a slash and a length, such as 10.0.0.0/8, or one address",
            );
        };
        if network.length == 0 {
            return desk.say(
                node,
                at,
                "everybody would be believed, and could say to be anybody",
                "Name the addresses of your proxies",
            );
        }
        if network.start() != network.address {
            return desk.say(
                node,
                at,
                format!("{} has bits behind its length", shown(text)),
                format!("Write {}/{} for the network, or the address alone", network.start(), network.length),
            );
        }
        Some(network)
    }
}

impl JsonSchema for Network {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// A host that outgoing requests may reach although it is not public or speaks no https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    /// The name in A-form and lower case, or the address; an IPv6 address without brackets.
    pub host: String,
    /// The one port; every port where none is written.
    pub port: Option<u16>,
}

impl AllowedHost {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':')?)),
            None if text.parse::<IpAddr>().is_ok() => (text, None),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            Some(digits) => Some(digits.parse().ok().filter(|port| *port > 0)?),
            None => None,
        };
        let host = match host.parse::<IpAddr>() {
            Ok(address) => address.to_string(),
            Err(_) => portcullis_policy::fold::domain_key(host)?,
        };
        Some(Self { host, port })
    }
}

impl Read for AllowedHost {
    const WANTED: &'static str = "a host such as idp.internal or idp.internal:8443";

    fn read(node: &Node, at: &At, desk: &mut Desk<'_>) -> Option<Self> {
        let text = text(node, at, desk, Self::WANTED)?;
        match Self::parse(text) {
            Some(host) => Some(host),
            None => desk.say(
                node,
                at,
                format!("\"{}\" is not a host", shown(text)),
                "Write a name or an address, perhaps with a port, without https://",
            ),
        }
    }
}

impl JsonSchema for AllowedHost {
    fn schema_name() -> Cow<'static, str> {
        "AllowedHost".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.128/25", "192.0.2.255", "192.0.2.127"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::1", "::1", "::2"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::ffff:11.1.1.1"),
        ] {
            let network = Network::parse(network).unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network:?} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network:?} {outside}");
        }
        assert!(Network::parse("0.0.0.0/0").unwrap().contains("8.8.8.8".parse().unwrap()));
        for wrong in
            ["", "10.0.0.0/33", "10.0.0/8", "::/129", "a", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8"]
        {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_host_has_a_name_and_perhaps_a_port() {
        for (text, host, port) in [
            ("IdP.internal", "idp.internal", None),
            ("idp.internal:8443", "idp.internal", Some(8443)),
            ("10.0.0.1:1", "10.0.0.1", Some(1)),
            ("[::1]:80", "::1", Some(80)),
            ("[::1]", "::1", None),
            ("::1", "::1", None),
        ] {
            assert_eq!(AllowedHost::parse(text), Some(AllowedHost { host: host.into(), port }), "{text}");
        }
        for wrong in ["", "https://a", "a:0", "a:x", "a b", "*.a", "[::1", "[::1]x", "a.", "a/b"] {
            assert_eq!(AllowedHost::parse(wrong), None, "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn networks_never_panic(text in "[0-9a-f:./]{0,30}", bits in proptest::prelude::any::<u128>(), length in 0..=128_u8) {
            let _ = (Network::parse(&text), AllowedHost::parse(&text));
            let network = Network { address: std::net::Ipv6Addr::from_bits(bits).into(), length };
            proptest::prop_assert!(network.contains(network.start()) || network.start().to_canonical().is_ipv4());
        }
    }
}
