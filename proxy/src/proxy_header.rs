//! The header of the PROXY protocol, versions 1 and 2: a proxy that only passes bytes on says whose they are.
//!
//! It is believed of `trusted_proxies` alone, and must be there: a listener that takes connections with and without it
//! would believe whoever writes one. Whoever else connects is let go before anything is read. What a proxy says of
//! itself (`UNKNOWN`, `LOCAL`) leaves its own address.

use std::net::IpAddr;
use std::time::Duration;

use ppp::{PartialResult as _, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The most bytes of a header, what a proxy adds of its own included.
const MOST: usize = 4 * 1024;

/// The beginning of a header of version 1, and the longest there can be (the protocol, §2.1).
const LINE_BEGINS: &[u8] = b"PROXY ";
const LONGEST_LINE: usize = 107;

/// Reasons why a connection is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyHeaderFault {
    /// It is not from a trusted proxy.
    Stranger,
    /// What came is no such header.
    Malformed,
    /// It did not come in time, or not whole.
    Late,
}

impl ProxyHeaderFault {
    /// Every one, in the order of their numbers.
    pub(crate) const ALL: [Self; 3] = [Self::Stranger, Self::Malformed, Self::Late];

    /// Its name in metrics.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Stranger => "stranger",
            Self::Malformed => "malformed",
            Self::Late => "late",
        }
    }
}

/// A header, and what was read behind it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HeaderRead {
    /// The client's address; `None` where the proxy speaks for itself.
    pub(crate) client: Option<IpAddr>,
    pub(crate) rest: Vec<u8>,
}

/// Reads the header at the beginning of a connection.
///
/// # Errors
/// [`ProxyHeaderFault::Malformed`], [`ProxyHeaderFault::Late`].
pub(crate) async fn read_header(
    from: &mut (impl AsyncRead + Unpin),
    limit: Duration,
) -> Result<HeaderRead, ProxyHeaderFault> {
    let reading = async {
        let mut read = Vec::with_capacity(256);
        loop {
            if from.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return Err(ProxyHeaderFault::Late);
            }
            if let Some(parsed) = parse_header(&read) {
                let (client, length) = parsed?;
                return Ok(HeaderRead { client, rest: read.split_off(length) });
            }
        }
    };
    tokio::time::timeout(limit, reading).await.unwrap_or(Err(ProxyHeaderFault::Late))
}

/// A header's address, where the proxy does not speak for itself, and its length in bytes.
pub type ParsedHeader = Result<(Option<IpAddr>, usize), ProxyHeaderFault>;

/// Reads the header at the beginning of these bytes, whole (PROXY protocol, versions 1 and 2; HAProxy 2.9, `proxy-protocol.txt`); `None` where more has to come.
pub fn parse_header(bytes: &[u8]) -> Option<ParsedHeader> {
    let may_begin = |beginning: &[u8]| beginning.starts_with(bytes) || bytes.starts_with(beginning);
    if may_begin(v2::PROTOCOL_PREFIX) {
        return parse_binary(bytes);
    }
    let line = &bytes[..bytes.len().min(LONGEST_LINE)];
    match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => Some(parse_line(&bytes[..=end])),
        None if may_begin(LINE_BEGINS) && bytes.len() < LONGEST_LINE => None,
        None => Some(Err(ProxyHeaderFault::Malformed)),
    }
}

/// Version 1, which is a line.
fn parse_line(line: &[u8]) -> ParsedHeader {
    let header = v1::Header::try_from(line).map_err(|_| ProxyHeaderFault::Malformed)?;
    // The library takes one that ends in a carriage return and anything.
    if !line.ends_with(b"\r\n") || header.header.len() != line.len() {
        return Err(ProxyHeaderFault::Malformed);
    }
    // It reads +1 as a number, too.
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" .:\r\n".contains(byte);
    if header.addresses != v1::Addresses::Unknown && !line.iter().all(is_plain) {
        return Err(ProxyHeaderFault::Malformed);
    }
    let client = match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(addresses) => Some(IpAddr::from(addresses.source_address)),
        v1::Addresses::Tcp6(addresses) => Some(IpAddr::from(addresses.source_address)),
    };
    Ok((client, line.len()))
}

/// Version 2, which has a length.
fn parse_binary(bytes: &[u8]) -> Option<ParsedHeader> {
    let parsed = v2::Header::try_from(bytes);
    if parsed.is_incomplete() {
        return (bytes.len() >= MOST).then_some(Err(ProxyHeaderFault::Malformed));
    }
    let Some(header) = parsed.ok().filter(|header| header.len() <= MOST) else {
        return Some(Err(ProxyHeaderFault::Malformed));
    };
    let client = match (header.command, &header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(addresses)) => Some(IpAddr::from(addresses.source_address)),
        (v2::Command::Proxy, v2::Addresses::IPv6(addresses)) => Some(IpAddr::from(addresses.source_address)),
        (v2::Command::Local, _)
        | (v2::Command::Proxy, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
    };
    Some(Ok((client, header.len())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    /// Version 2, by hand: signature, version and command, family and protocol, length, addresses, and a value of type 4.
    fn version_two(command: u8, family: u8, addresses: &[u8], more: &[u8]) -> Vec<u8> {
        let signature = b"\r\n\r\n\0\r\nQUIT\n";
        let length = u16::try_from(addresses.len() + more.len()).unwrap().to_be_bytes();
        [&signature[..], &[0x20 | command, family], &length, addresses, more].concat()
    }

    async fn read_in_pieces(bytes: &[u8], piece: usize) -> Result<HeaderRead, ProxyHeaderFault> {
        let (mut here, mut there) = tokio::io::duplex(piece);
        let bytes = bytes.to_vec();
        let writing = tokio::spawn(async move {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut there, &bytes).await;
        });
        let mut read = read_header(&mut here, LIMIT).await;
        if let Ok(HeaderRead { rest, .. }) = &mut read {
            here.read_to_end(rest).await.unwrap();
        }
        drop(here);
        writing.await.unwrap();
        read
    }

    #[tokio::test]
    async fn what_is_behind_the_header_is_left_and_the_address_is_the_clients() {
        let ipv4 = [192, 0, 2, 7, 10, 0, 0, 1, 0xc0, 0, 0x01, 0xbb];
        let ipv6 = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7], [0; 16]].concat();
        let ipv6 = [&ipv6[..], &[0, 1, 0, 2]].concat();
        let noise = [4, 0, 3, b'a', b'b', b'c'];
        let client = |text: &str| Some(text.parse().unwrap());
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 49152 443\r\n".to_vec(), client("192.0.2.7")),
            (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(), client("2001:db8::7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(), None),
            (version_two(1, 0x11, &ipv4, &noise), client("192.0.2.7")),
            (version_two(1, 0x21, &ipv6, &[]), client("2001:db8::7")),
            (version_two(0, 0x11, &ipv4, &[]), None),
            (version_two(0, 0, &[], &noise), None),
            (version_two(1, 0x31, &[b'/'; 216], &[]), None),
        ] {
            for rest in [
                &b""[..],
                b"GET / HTTP/1.1\r\n\r\n",
                b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
                &[0x16, 3, 1, 0xff],
            ] {
                for piece in [1, 5, 4096] {
                    let read = read_in_pieces(&[&header, rest].concat(), piece).await;
                    let expected = HeaderRead { client: expected, rest: rest.to_vec() };
                    assert_eq!(read, Ok(expected), "{}", String::from_utf8_lossy(&header));
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let huge = version_two(0, 0, &[], &[0; MOST]);
        for (said, fault) in [
            (&b""[..], ProxyHeaderFault::Late),
            (b"PROXY TCP4 192.0.2.7", ProxyHeaderFault::Late),
            (b"\r\n\r\n\0\r\nQUIT\n\x21", ProxyHeaderFault::Late),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", ProxyHeaderFault::Malformed),
            (&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0, 0], ProxyHeaderFault::Malformed),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 49152 443\rX\n", ProxyHeaderFault::Malformed),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 49152 443\n", ProxyHeaderFault::Malformed),
            (b"PROXY TCP4 192.0.2.777 10.0.0.1 1 2\r\n", ProxyHeaderFault::Malformed),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n", ProxyHeaderFault::Malformed),
            (b"PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n", ProxyHeaderFault::Malformed),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 +1 2\r\n", ProxyHeaderFault::Malformed),
            (b"proxy TCP4 192.0.2.7 10.0.0.1 1 2\r\n", ProxyHeaderFault::Malformed),
            (&huge, ProxyHeaderFault::Malformed),
        ] {
            let read = read_in_pieces(said, 4096).await;
            assert_eq!(read, Err(fault), "{}", String::from_utf8_lossy(said));
        }
        let long = [b"PROXY TCP4 ", &[b'1'; 5000][..]].concat();
        assert_eq!(read_in_pieces(&long, 4096).await, Err(ProxyHeaderFault::Malformed));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_is_not_waited_for() {
        let (mut here, _there) = tokio::io::duplex(16);
        assert_eq!(read_header(&mut here, LIMIT).await, Err(ProxyHeaderFault::Late));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..300), prefix in 0..3) {
            let prefix = [&b""[..], b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"][usize::try_from(prefix).unwrap()];
            let bytes = [prefix, &bytes].concat();
            if let Some(Ok((_, length))) = parse_header(&bytes) {
                prop_assert!(length <= bytes.len());
                // What is behind the header is no matter, and less than the header is none.
                prop_assert_eq!(parse_header(&bytes[..length]), parse_header(&bytes));
                prop_assert!(parse_header(&bytes[..length - 1]).is_none_or(|parsed| parsed.is_err()));
            }
        }
    }
}
