//! Accept: what a request must look like before anybody asks where it goes, and whose address it comes from.
//!
//! It refuses heads that are too large and methods that a proxy must not carry, drops upgrades to anything but a
//! WebSocket, and alone believes a forwarded address. The readings of a path are the rules' to judge
//! (`policy/src/readings.rs`).

use std::net::IpAddr;

use http::header::{
    CONTENT_LENGTH, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use crate::field_set::{FieldKind, FieldSet};
use crate::hop::connection_options;
use crate::networks::Networks;
use crate::peer::Peer;
use crate::strip::Strip;

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// A target longer than this is refused (414).
const TARGET: usize = crate::way_back::LONGEST;
/// More fields than this are refused (431).
const FIELDS: usize = 200;

/// The settings of Accept, from the configuration.
#[derive(Clone, Debug)]
pub struct Accept {
    /// Proxies whose word on the client's address counts.
    pub trusted: Networks,
    /// The fields that are stripped.
    pub strip: Strip,
    /// The largest size of a head, in bytes.
    pub head: usize,
}

impl Default for Accept {
    fn default() -> Self {
        Self { trusted: Networks::default(), strip: Strip::default(), head: 64 * 1024 }
    }
}

/// The reason why a head is refused, whoever sent it and wherever it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unacceptable {
    /// It has too many bytes or too many fields.
    Head,
    /// Its target is too long.
    Target,
    /// No proxy should carry this method.
    Method,
    /// It has no path.
    NoTarget,
    /// `Connection` names what may not be taken out.
    Connection,
    /// `:authority` and `Host` name two hosts.
    OtherHost,
    /// It has two lengths or two hosts, or its method, scheme or target is written as HTTP/1.1 does not write it.
    TwoWays,
    /// A WebSocket is asked for with a body: its end and the first frame could not be told apart.
    UpgradeWithBody,
}

/// A request's head as the rooms read it.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query as sent.
    pub target: &'a PathAndQuery,
    /// The `Host` field or `:authority`; empty where the client named none.
    pub host: &'a str,
    /// The fields.
    pub headers: &'a HeaderMap,
    /// It asks for another protocol: a WebSocket, for nothing else is left by then.
    pub is_upgrade: bool,
    /// The client's address, through trusted proxies.
    pub client: IpAddr,
}

impl Accept {
    /// Reads a head. `has`: its fields; `bytes` is its length on the wire as the guard has counted it; 0 over HTTP/2, which it
    /// does not read.
    pub(crate) fn read_head<'a>(
        &self,
        parts: &'a http::request::Parts,
        has: FieldSet,
        bytes: usize,
        peer: &Peer,
    ) -> Result<Head<'a>, Unacceptable> {
        if matches!(parts.method.as_str(), "TRACE" | "TRACK" | "CONNECT") {
            return Err(Unacceptable::Method);
        }
        let target = parts.uri.path_and_query().ok_or(Unacceptable::NoTarget)?;
        if target.as_str().len() > TARGET {
            return Err(Unacceptable::Target);
        }
        if bytes > self.head || parts.headers.len() > FIELDS {
            return Err(Unacceptable::Head);
        }
        // A WebSocket of HTTP/2 stands here as one of HTTP/1.1, so that the version does not tell them apart.
        let is_guarded = bytes > 0;
        if !is_guarded && !is_read_one_way(parts, target) {
            return Err(Unacceptable::TwoWays);
        }
        if has.has(FieldKind::Connection) && !self.may_be_named(&parts.headers) {
            return Err(Unacceptable::Connection);
        }
        let is_upgrade = has.has(FieldKind::Upgrade);
        if is_upgrade && has_body(&parts.headers) {
            return Err(Unacceptable::UpgradeWithBody);
        }
        let authority = parts.uri.authority().map(|authority| authority.as_str());
        let field = || parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        if let Some(authority) = authority
            && parts
                .headers
                .get_all(HOST)
                .iter()
                .any(|host| !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()))
        {
            return Err(Unacceptable::OtherHost);
        }
        Ok(Head {
            method: &parts.method,
            target,
            host: authority.or_else(field).unwrap_or_default(),
            headers: &parts.headers,
            is_upgrade,
            client: peer.client_address(&self.trusted, &parts.headers),
        })
    }
}

/// Checks for HTTP/2 what the guard asks of the bytes of HTTP/1.1: the application reads HTTP/1.1.
fn is_read_one_way(parts: &http::request::Parts, target: &PathAndQuery) -> bool {
    let at_most_one = |name: &HeaderName| parts.headers.get_all(name).iter().nth(1).is_none();
    at_most_one(&CONTENT_LENGTH)
        && at_most_one(&HOST)
        && parts.method.as_str().bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
        && target.as_str().is_ascii()
        && parts.uri.scheme_str().is_none_or(|scheme| matches!(scheme, "http" | "https"))
}

/// Drops what asks for another protocol and is not carried: every `Upgrade` but a WebSocket's opening handshake.
pub(crate) fn drop_unwanted_upgrade(parts: &mut http::request::Parts) {
    if parts.headers.contains_key(UPGRADE) && !is_opening_handshake(parts) {
        parts.headers.remove(UPGRADE);
        parts.headers.remove(HTTP2_SETTINGS);
    }
}

/// Gives a head its own target and host. Those read from a socket are pieces of a whole buffer, and what a WebSocket is
/// remembered by would keep all of it for as long as it lasts.
pub(crate) fn keep_apart(parts: &mut http::request::Parts) {
    let mut uri = parts.uri.clone().into_parts();
    if let Some(target) = &mut uri.path_and_query
        && let Ok(copy) = PathAndQuery::try_from(target.as_str())
    {
        *target = copy;
    }
    if let Ok(copy) = Uri::from_parts(uri) {
        parts.uri = copy;
    }
    if let Some(host) = parts.headers.get_mut(HOST)
        && let Ok(copy) = HeaderValue::from_bytes(host.as_bytes())
    {
        *host = copy;
    }
}

/// RFC 6455 §4.2.1: a GET of HTTP/1.1 with each of these fields once.
fn is_opening_handshake(parts: &http::request::Parts) -> bool {
    let only = |name: &HeaderName| {
        let mut all = parts.headers.get_all(name).iter();
        all.next().filter(|_| all.next().is_none()).map(HeaderValue::as_bytes)
    };
    parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && connection_options(&parts.headers).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
        && only(&UPGRADE).is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
        && only(&SEC_WEBSOCKET_KEY).is_some_and(|key| key.len() == 24)
        && only(&SEC_WEBSOCKET_VERSION) == Some(b"13")
}

/// Tells whether a body was announced.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers
            .get(CONTENT_LENGTH)
            .is_some_and(|length| length.as_bytes().iter().any(|digit| *digit != b'0'))
}

/// The fields that `Connection` may not take out.
const PROTECTED: [&str; 6] = [
    "host",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "content-length",
    "transfer-encoding",
];
/// The number of fields that `Connection` may name.
const NAMED: usize = 9;

impl Accept {
    /// Tells whether `Connection` names only what a client may take out with it (RFC 9110 §7.6.1).
    fn may_be_named(&self, headers: &HeaderMap) -> bool {
        let may_be = |option: &[u8]| {
            HeaderName::from_bytes(option).is_ok_and(|name| {
                let name = name.as_str();
                !PROTECTED.contains(&name)
                    && !name.starts_with("sec-websocket-")
                    && !self.strip.is_listed(name)
            })
        };
        connection_options(headers).take(NAMED + 1).count() <= NAMED
            && connection_options(headers).all(may_be)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> http::request::Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn read<'p>(
        accept: &Accept,
        parts: &'p http::request::Parts,
        bytes: usize,
    ) -> Result<Head<'p>, Unacceptable> {
        let peer = crate::test::gate().make_peer(IpAddr::from([127, 0, 0, 1]));
        accept.read_head(parts, FieldSet::of_headers(&parts.headers), bytes, &peer)
    }

    fn refused(method: &str, uri: &str, bytes: usize) -> Option<Unacceptable> {
        read(&Accept::default(), &parts(method, uri, &[]), bytes).err()
    }

    #[test]
    fn too_much_is_refused_by_name() {
        assert_eq!(refused("GET", "/", 64 * 1024), None);
        assert_eq!(refused("GET", "/", 64 * 1024 + 1), Some(Unacceptable::Head));
        assert_eq!(refused("GET", &format!("/{}", "a".repeat(TARGET - 1)), 1), None);
        assert_eq!(refused("GET", &format!("/{}", "a".repeat(TARGET)), 1), Some(Unacceptable::Target));
        for method in ["TRACE", "TRACK", "CONNECT"] {
            assert_eq!(refused(method, "/", 1), Some(Unacceptable::Method), "{method}");
        }
        let many: Vec<(String, String)> = (0..=FIELDS).map(|n| (format!("a{n}"), "x".into())).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let refused = |fields| read(&Accept::default(), &parts("GET", "/", fields), 1).err();
        assert_eq!(refused(&many), Some(Unacceptable::Head));
        assert_eq!(refused(&many[1..]), None);
    }

    #[test]
    fn what_http_2_may_write_and_http_1_may_not_is_refused() {
        let two_ways = |method, uri, fields: &[_]| {
            let parts = parts(method, uri, fields);
            match read(&Accept::default(), &parts, 0) {
                Ok(_) => false,
                Err(why) => why == Unacceptable::TwoWays,
            }
        };
        assert!(two_ways("POST", "/", &[("content-length", "3"), ("content-length", "3")]));
        assert!(two_ways("GET", "/", &[("host", "a.test"), ("host", "a.test")]));
        assert!(two_ways("GET", "https://a.test/", &[("host", "a.test"), ("host", "a.test")]));
        assert!(two_ways("get", "/", &[]));
        assert!(two_ways("GE_T", "/", &[]));
        assert!(two_ways("GET", "/\u{e4}", &[]));
        assert!(two_ways("GET", "ftp://a.test/", &[]));
        assert!(!two_ways("VERSION-CONTROL", "https://a.test/%E4", &[("host", "a.test")]));
    }

    #[test]
    fn the_host_is_the_authority_or_the_field() {
        let accept = Accept::default();
        let host = |uri, fields: &[_]| {
            let parts = parts("GET", uri, fields);
            read(&accept, &parts, 1).unwrap().host.to_owned()
        };
        assert_eq!(host("/", &[("host", "a.test")]), "a.test");
        assert_eq!(host("https://b.test/", &[]), "b.test");
        assert_eq!(host("/", &[]), "");
    }

    #[test]
    fn what_is_kept_apart_says_the_same() {
        for uri in ["/", "/a?b", "/%2e//x;y", "*", "https://a.test", "https://a.test/a?b", "a.test:1"] {
            let mut apart = parts("GET", uri, &[("host", "a.test"), ("host", "b.test"), ("x", "y")]);
            let before = apart.clone();
            keep_apart(&mut apart);
            assert_eq!((apart.uri, apart.headers), (before.uri, before.headers), "{uri}");
        }
    }

    #[test]
    fn only_a_websocket_may_be_asked_for() {
        let dropped = |method, fields: &[_]| {
            let mut parts = parts(method, "/", fields);
            let asks = parts.headers.contains_key(UPGRADE);
            drop_unwanted_upgrade(&mut parts);
            asks && !parts.headers.contains_key(UPGRADE)
        };
        let handshake = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
        ];
        assert!(!dropped("GET", &handshake));
        assert!(!dropped("GET", &[]));
        assert!(dropped("POST", &handshake));
        for at in [0, 2, 3] {
            let without: Vec<_> =
                handshake.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, f)| *f).collect();
            assert!(dropped("GET", &without), "{without:?}");
        }
        for (at, value) in [(0, "close"), (1, "h2c"), (1, "websocket, h2c"), (2, "x"), (3, "8")] {
            let mut other = handshake;
            other[at].1 = value;
            assert!(dropped("GET", &other), "{other:?}");
        }
        for twice in handshake.iter().skip(1) {
            assert!(dropped("GET", &[&handshake[..], &[*twice]].concat()), "{twice:?}");
        }
    }
}
