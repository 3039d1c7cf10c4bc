//! How this crate asks other machines: a function the program gives it, and which addresses such a function may
//! connect to without being told.
//!
//! The contract of a [`Fetch`]: no redirect is followed, an answer is complete within seconds or an error, a body is
//! at most 1 MiB, and the address that was checked is the address that is connected to.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

/// Sends one request and brings the whole answer.
pub type Fetch = Arc<
    dyn Fn(
            http::Request<Bytes>,
        ) -> Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, FetchError>> + Send>>
        + Send
        + Sync,
>;

/// Reasons why a request brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address may not be connected to.
    #[error("{host} is {why}; put the host into http_client.allow if this is meant")]
    NotAllowed {
        /// The host that was asked for.
        host: String,
        /// The fault of the address.
        why: &'static str,
    },
    /// The name has no address.
    #[error("{host} cannot be resolved")]
    Name {
        /// The host that was asked for.
        host: String,
        /// The error of the resolver.
        source: std::io::Error,
    },
    /// No connection, or none that could be trusted.
    #[error("{host} cannot be connected to")]
    Connect {
        /// The host that was asked for.
        host: String,
        /// The error of the connection.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer was not there in time.
    #[error("{host} did not answer within {seconds} s")]
    Timeout {
        /// The host that was asked for.
        host: String,
        /// The limit.
        seconds: u64,
    },
    /// The answer was too large.
    #[error("the answer of {host} is larger than {limit} bytes")]
    TooLarge {
        /// The host that was asked for.
        host: String,
        /// The limit.
        limit: usize,
    },
    /// The answer was not HTTP, or ended too early.
    #[error("the answer of {host} cannot be read")]
    Malformed {
        /// The host that was asked for.
        host: String,
        /// The error of the exchange.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl FetchError {
    /// The error and its causes on one line.
    pub(crate) fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

/// Tells whether an address belongs to the public internet: not to this machine, a private or local network, a
/// documentation range or a translation that leads back into one (the special-purpose registries of RFC 6890).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, high, low] = address.segments();
    let embedded = || is_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match (a, b) {
        // IPv4 written as IPv6, and the well-known prefix of NAT64 (RFC 6052): what counts is the address inside.
        (0, 0) if (c, d, e, f) == (0, 0, 0, 0xffff) => embedded(),
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => embedded(),
        // Protocol assignments with Teredo, documentation, 6to4, documentation again.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x2002, _) | (0x3fff, 0..=0xfff) => false,
        // Only 2000::/3 is given out at all.
        (0x2000..=0x3fff, _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.255.255",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b:1::a00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }
}
