//! Addresses on the web: where an app is reached, and where an application is. They are read once, with the
//! configuration; whoever has one need not ask again whether it is one.

use std::fmt;
use std::net::IpAddr;

use http::HeaderValue;

use crate::{Pattern, is_loopback_name};

/// Parts that make no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The host is empty, or has a character that no host has.
    #[error("the host is none")]
    Host,
    /// The path has an empty or dot segment, a star, a final slash, or a character that is encoded.
    #[error("the path is not of plain segments")]
    Path,
}

/// A host and perhaps a port, as the field `Host` has them (RFC 9110 §7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    host: Box<str>,
    ip: Option<IpAddr>,
    port: Option<u16>,
    field: HeaderValue,
}

impl HostPort {
    /// Joins a host and a port. `host` is a name in lower case and A-form, or an address; one of IPv6 is in brackets.
    ///
    /// # Errors
    /// [`AddressError::Host`].
    pub fn new(host: &str, port: Option<u16>) -> Result<Self, AddressError> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let ip = match bare {
            Some(bare) => Some(IpAddr::V6(bare.parse().map_err(|_| AddressError::Host)?)),
            None => host.parse().ok().map(IpAddr::V4),
        };
        let fits = |byte: u8| byte.is_ascii_graphic() && !br"/?#@:[]\<>^|%".contains(&byte);
        if ip.is_none() && (host.is_empty() || !host.bytes().all(fits)) {
            return Err(AddressError::Host);
        }
        let text = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let field = HeaderValue::try_from(text).map_err(|_| AddressError::Host)?;
        Ok(Self { host: host.into(), ip, port, field })
    }

    /// The host without a port; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host, where it is an address and no name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The port, where it is not the scheme's own.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Both as a field's value.
    pub fn field(&self) -> &HeaderValue {
        &self.field
    }

    /// Tells whether the host is `localhost`, `*.localhost` or a loopback address.
    pub fn is_loopback(&self) -> bool {
        self.ip.map_or_else(|| is_loopback_name(&self.host), |ip| ip.is_loopback())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// An address people or programs reach us at: `https://wiki.example.com`, perhaps with a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    https: bool,
    at: HostPort,
    origin: String,
    path: String,
}

impl PublicUrl {
    /// Joins the parts of an address. `path` has no final slash and is empty for the root.
    ///
    /// # Errors
    /// [`AddressError::Path`].
    pub fn new(https: bool, at: HostPort, path: &str) -> Result<Self, AddressError> {
        let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*')
            && Pattern::parse_path(&format!("{path}/**")).is_ok();
        if !is_plain {
            return Err(AddressError::Path);
        }
        let origin = format!("{}://{at}", if https { "https" } else { "http" });
        Ok(Self { https, at, origin, path: path.into() })
    }

    /// Scheme, host and a port that is not the scheme's own; no final slash. A browser writes it so in `Origin`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Tells whether the scheme is https.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Tells whether the host is `localhost`, `*.localhost` or a loopback address.
    pub fn is_loopback(&self) -> bool {
        self.at.is_loopback()
    }

    /// The host in lower case and A-form, without a port; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        self.at.host()
    }

    /// The port, where it is not the scheme's own.
    pub fn port(&self) -> Option<u16> {
        self.at.port()
    }

    /// Host and port as a field's value.
    pub fn authority(&self) -> &HeaderValue {
        self.at.field()
    }

    /// The path without its final slash; empty for the root.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(host: &str, port: Option<u16>) -> HostPort {
        HostPort::new(host, port).unwrap()
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for (host, port, written, ip) in [
            ("wiki.example.com", None, "wiki.example.com", None),
            ("app", Some(3000), "app:3000", None),
            ("127.0.0.1", Some(80), "127.0.0.1:80", Some("127.0.0.1")),
            ("[::1]", None, "[::1]", Some("::1")),
            ("[2001:db8::1]", Some(1), "[2001:db8::1]:1", Some("2001:db8::1")),
        ] {
            let at = at(host, port);
            assert_eq!((at.host(), at.port(), at.to_string().as_str()), (host, port, written));
            assert_eq!(at.field(), written);
            assert_eq!(at.ip(), ip.map(|ip| ip.parse().unwrap()));
        }
        for none in [
            "",
            "::1",
            "[::1",
            "[a]",
            "[127.0.0.1]",
            "a b",
            "a:1",
            "a/b",
            "a@b",
            "a\u{7f}",
            "b\u{fc}cher",
            "a\r",
        ] {
            assert_eq!(HostPort::new(none, None), Err(AddressError::Host), "{none:?}");
        }
    }

    #[test]
    fn loopback_names_end_with_localhost_as_a_whole() {
        for here in ["localhost", "app.localhost", "a.b.LOCALHOST", "127.9.9.9", "[::1]"] {
            assert!(at(here, None).is_loopback(), "{here}");
        }
        for elsewhere in ["notlocalhost", "localhost.test", "10.0.0.1", "[::2]", "host"] {
            assert!(!at(elsewhere, None).is_loopback(), "{elsewhere}");
        }
    }

    #[test]
    fn a_public_url_is_an_origin_and_a_path() {
        let url = PublicUrl::new(true, at("wiki.test", Some(8443)), "/x/y").unwrap();
        assert_eq!(
            (url.origin(), url.to_string().as_str()),
            ("https://wiki.test:8443", "https://wiki.test:8443/x/y")
        );
        assert_eq!((url.host(), url.authority().as_bytes()), ("wiki.test", &b"wiki.test:8443"[..]));
        for path in ["/", "x", "/x/", "//", "/a/../b", "/*", "/**", "/a%2fb", "/a?b", "/a b", "/\u{fc}"] {
            let made = PublicUrl::new(true, at("wiki.test", None), path);
            assert_eq!(made, Err(AddressError::Path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn parts_never_panic(host in "\\PC{0,20}", path in "\\PC{0,20}") {
            if let Ok(at) = HostPort::new(&host, Some(1)) {
                let _ = PublicUrl::new(false, at, &path);
            }
        }
    }
}
