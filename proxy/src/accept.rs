//! Accept: what a request must look like before anybody asks where it goes, and whose address it comes from.
//!
//! It refuses heads that are too large and methods that a proxy must not carry, drops upgrades to anything but a
//! WebSocket, and alone believes a forwarded address. The raw head and the readings of a path are looked at here too
//! once they are.

use std::net::IpAddr;

use http::header::{HOST, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Method, Version};

use crate::networks::Networks;
use crate::strip::Strip;

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// A target longer than this is refused (414).
const TARGET: usize = 16 * 1024;
/// More fields than this are refused (431).
const FIELDS: usize = 200;

/// What Accept is told by the configuration.
#[derive(Clone, Debug)]
pub struct Accept {
    /// Proxies whose word on the client's address counts.
    pub trusted: Networks,
    /// What is stripped.
    pub strip: Strip,
    /// How large a head may be, in bytes.
    pub head: usize,
}

impl Default for Accept {
    fn default() -> Self {
        Self { trusted: Networks::default(), strip: Strip::default(), head: 64 * 1024 }
    }
}

/// Why a head is refused, whoever sent it and wherever it goes.
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
}

impl Unacceptable {
    /// The word of the access log.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Head => "head_too_large",
            Self::Target => "target_too_long",
            Self::Method => "method",
            Self::NoTarget => "no_target",
        }
    }
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
    /// The client's address, through trusted proxies.
    pub client: IpAddr,
}

impl Accept {
    /// Reads a head. `bytes` is its length on the wire, where that is known.
    pub(crate) fn read<'a>(
        &self,
        parts: &'a http::request::Parts,
        bytes: usize,
        peer: IpAddr,
    ) -> Result<Head<'a>, Unacceptable> {
        let target = parts.uri.path_and_query().ok_or(Unacceptable::NoTarget)?;
        if matches!(parts.method.as_str(), "TRACE" | "TRACK" | "CONNECT") {
            return Err(Unacceptable::Method);
        }
        if target.as_str().len() > TARGET {
            return Err(Unacceptable::Target);
        }
        if bytes > self.head || parts.headers.len() > FIELDS {
            return Err(Unacceptable::Head);
        }
        let authority = parts.uri.authority().map(|authority| authority.as_str());
        let field = || parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        Ok(Head {
            method: &parts.method,
            target,
            host: authority.or_else(field).unwrap_or_default(),
            headers: &parts.headers,
            client: self.trusted.client(peer, &parts.headers),
        })
    }
}

/// Fields that ask for another protocol and are not carried: every `Upgrade` but a WebSocket's on an HTTP/1.1 GET.
pub(crate) fn unwanted_upgrade(parts: &http::request::Parts) -> &'static [HeaderName] {
    static BOTH: [HeaderName; 2] = [UPGRADE, HTTP2_SETTINGS];
    let Some(upgrade) = parts.headers.get(UPGRADE) else { return &[] };
    let is_websocket = upgrade.as_bytes().eq_ignore_ascii_case(b"websocket")
        && parts.headers.get_all(UPGRADE).iter().nth(1).is_none()
        && parts.version == Version::HTTP_11
        && parts.method == Method::GET;
    if is_websocket { &[] } else { &BOTH }
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

    fn refused(method: &str, uri: &str, bytes: usize) -> Option<Unacceptable> {
        Accept::default().read(&parts(method, uri, &[]), bytes, IpAddr::from([127, 0, 0, 1])).err()
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
        let read = |fields| {
            Accept::default().read(&parts("GET", "/", fields), 1, IpAddr::from([127, 0, 0, 1])).err()
        };
        assert_eq!(read(&many), Some(Unacceptable::Head));
        assert_eq!(read(&many[1..]), None);
    }

    #[test]
    fn the_host_is_the_authority_or_the_field() {
        let accept = Accept::default();
        let host = |uri, fields: &[_]| {
            let parts = parts("GET", uri, fields);
            accept.read(&parts, 1, IpAddr::from([127, 0, 0, 1])).unwrap().host.to_owned()
        };
        assert_eq!(host("/", &[("host", "a.test")]), "a.test");
        assert_eq!(host("https://b.test/", &[]), "b.test");
        assert_eq!(host("/", &[]), "");
    }

    #[test]
    fn only_a_websocket_may_be_asked_for() {
        let dropped = |method, fields: &[_]| !unwanted_upgrade(&parts(method, "/", fields)).is_empty();
        assert!(!dropped("GET", &[("upgrade", "WebSocket")]));
        assert!(!dropped("GET", &[]));
        assert!(dropped("POST", &[("upgrade", "websocket")]));
        assert!(dropped("GET", &[("upgrade", "h2c")]));
        assert!(dropped("GET", &[("upgrade", "websocket, h2c")]));
        assert!(dropped("GET", &[("upgrade", "websocket"), ("upgrade", "h2c")]));
    }
}
