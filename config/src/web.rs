//! Addresses on the web as the configuration writes them: ours, the issuer's, the upstream's.
//!
//! An address with a name or password inside is refused without printing it.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use portcullis_policy::{HostPort, PublicUrl};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use url::Url;

use crate::at::{At, show_value};
use crate::node::YamlNode;
use crate::read::{FromYaml, read_text};
use crate::report::Report;

const NO_HOST: &str = "not an address: the host or the port cannot be read";

impl FromYaml for PublicUrl {
    const WANTED: &'static str = "an address such as https://wiki.example.com";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let url = read_url(node, at, report, Self::WANTED)?;
        let https = url.scheme() == "https";
        let host = host_port(&url, node, at, report)?;
        if !https && !host.is_loopback() {
            return report.add_problem(
                node,
                at,
                "plain http is for localhost, *.localhost and loopback addresses only, since cookies are Secure",
                "Write https:// and end TLS here (listen.proxy.tls) or before",
            );
        }
        match Self::new(https, host, url.path().trim_end_matches('/')) {
            Ok(public) => Some(public),
            Err(_) => report.add_problem(
                node,
                at,
                "the path has an empty or dot segment, a star, or a character that is encoded",
                "Write a path of plain segments, or none",
            ),
        }
    }
}

/// The schema of a [`PublicUrl`].
pub(crate) struct PublicUrlText;

impl JsonSchema for PublicUrlText {
    fn schema_name() -> Cow<'static, str> {
        "PublicUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "uri", "pattern": "^https?://" })
    }
}

/// The issuer of an OpenID provider, byte for byte as its documents say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    text: String,
    https: bool,
    host: HostPort,
}

impl Issuer {
    /// The text, byte for byte: issuers are compared so (OIDC Core §3.1.3.7).
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host and port.
    pub fn host(&self) -> &HostPort {
        &self.host
    }

    /// Tells whether the scheme is https; plain http is of a loopback host then.
    pub fn is_https(&self) -> bool {
        self.https
    }
}

impl Issuer {
    /// Entra's word for all tenants at once, where this issuer has it in the place of one.
    pub(crate) fn of_every_tenant(&self) -> Option<&'static str> {
        const HOSTS: [&str; 6] = [
            "login.microsoftonline.com",
            "login.microsoftonline.us",
            "login.partner.microsoftonline.cn",
            "login.chinacloudapi.cn",
            "login.windows.net",
            "sts.windows.net",
        ];
        let url = Url::parse(&self.text).ok()?;
        let first = url.path_segments()?.next()?;
        HOSTS.contains(&url.host_str()?).then_some(())?;
        ["common", "organizations", "consumers"].into_iter().find(|word| word.eq_ignore_ascii_case(first))
    }
}

impl FromYaml for Issuer {
    const WANTED: &'static str = "the issuer, an address such as https://example.okta.com";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let url = read_url(node, at, report, Self::WANTED)?;
        let text = read_text(node, at, report, Self::WANTED)?.to_owned();
        let https = url.scheme() == "https";
        let host = host_port(&url, node, at, report)?;
        if !https && !host.is_loopback() {
            return report.add_problem(
                node,
                at,
                "an issuer without https could be anybody's",
                "Write the issuer as https://; plain http is for a rehearsal on this machine only",
            );
        }
        if text.ends_with("/.well-known/openid-configuration") {
            return report.add_problem(
                node,
                at,
                "this is the discovery document, not the issuer",
                "Leave /.well-known/openid-configuration away",
            );
        }
        Some(Self { text, https, host })
    }
}

impl JsonSchema for Issuer {
    fn schema_name() -> Cow<'static, str> {
        "Issuer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        PublicUrlText::json_schema(generator)
    }
}

/// The address on which the application listens: `http://host:port`, `https://host:port`, `h2c://host:port`, each perhaps with
/// a path, or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamUrl {
    /// Over http.
    Http {
        /// The host, and the port where it is not 80.
        at: HostPort,
        /// The path before every path that is asked for, without a slash at its end.
        base: String,
    },
    /// Over https.
    Https {
        /// The host, and the port where it is not 443.
        at: HostPort,
        /// As of http.
        base: String,
    },
    /// Over HTTP/2 in the clear.
    H2c {
        /// The host, and the port where it is not 80.
        at: HostPort,
        /// As of http.
        base: String,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl UpstreamUrl {
    /// The host and the port that are connected to, over TCP.
    pub fn tcp(&self) -> Option<(&HostPort, u16)> {
        match self {
            Self::Http { at, .. } | Self::H2c { at, .. } => Some((at, at.port().unwrap_or(80))),
            Self::Https { at, .. } => Some((at, at.port().unwrap_or(443))),
            Self::Unix(_) => None,
        }
    }

    /// The path before every path that is asked for; empty for none.
    pub fn base(&self) -> &str {
        match self {
            Self::Http { base, .. } | Self::Https { base, .. } | Self::H2c { base, .. } => base,
            Self::Unix(_) => "",
        }
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { at, base } => write!(f, "http://{at}{base}"),
            Self::Https { at, base } => write!(f, "https://{at}{base}"),
            Self::H2c { at, base } => write!(f, "h2c://{at}{base}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The longest path that a socket can have, in bytes (`sockaddr_un`, without its end).
pub const LONGEST_SOCKET: usize = 107;

impl FromYaml for UpstreamUrl {
    const WANTED: &'static str = "an address such as http://127.0.0.1:3000";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let written = read_text(node, at, report, Self::WANTED)?;
        if written.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("unix:")) {
            return read_socket_path(&written[5..], node, at, report).map(Self::Unix);
        }
        let is_h2c = written.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("h2c://"));
        // To the parser it is a scheme of which it knows nothing.
        let parsed = if is_h2c { Cow::from(format!("http://{}", &written[6..])) } else { Cow::from(written) };
        let url = parse_url(&parsed, node, at, report, Self::WANTED)?;
        // As it is written: the parser has resolved what it could.
        let behind = written.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
        let base = behind.unwrap_or_default().trim_end_matches('/').to_owned();
        if !is_plain_path(&base) {
            let what = format!("\"{}\" is no path that one could be below", show_value(&base));
            return report.add_problem(
                node,
                at,
                what,
                "Write segments of letters, digits, - _ and ., such as /app",
            );
        }
        let read = host_port(&url, node, at, report)?;
        Some(match url.scheme() {
            _ if is_h2c => Self::H2c { at: read, base },
            "https" => Self::Https { at: read, base },
            _ => Self::Http { at: read, base },
        })
    }
}

/// Tells whether a path has one reading only: `/a/b`, or empty.
pub(crate) fn is_plain_path(path: &str) -> bool {
    let is_segment = |segment: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        !segment.is_empty() && !matches!(segment, "." | "..") && segment.bytes().all(fits)
    };
    path.is_empty() || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_segment))
}

fn read_socket_path(path: &str, node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<PathBuf> {
    let path = path.strip_prefix("//").unwrap_or(path);
    let is_one = path.starts_with('/')
        && path.len() <= LONGEST_SOCKET
        && !path.ends_with('/')
        && !path.contains(|c: char| c.is_control());
    if is_one {
        return Some(path.into());
    }
    let what = format!("\"{}\" is not the path of a socket", show_value(path));
    let remedy = format!("Write unix:/run/app.sock: a whole path of at most {LONGEST_SOCKET} bytes");
    report.add_problem(node, at, what, remedy)
}

impl JsonSchema for UpstreamUrl {
    fn schema_name() -> Cow<'static, str> {
        "UpstreamUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "uri", "pattern": "^(https?://|h2c://|unix:/)" })
    }
}

/// An http or https address with a host, without user, query or fragment.
fn read_url(node: &YamlNode, at: &At, report: &mut Report<'_>, wanted: &str) -> Option<Url> {
    let written = read_text(node, at, report, wanted)?;
    parse_url(written, node, at, report, wanted)
}

fn parse_url(written: &str, node: &YamlNode, at: &At, report: &mut Report<'_>, wanted: &str) -> Option<Url> {
    let remedy = format!("Write {wanted}");
    let scheme = written.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !matches!(scheme.as_deref(), Some("http" | "https")) {
        return report.add_problem(node, at, "not an address that begins with http:// or https://", remedy);
    }
    // The parser would mend these silently.
    if written.contains(|c: char| c == '\\' || c.is_whitespace()) {
        return report.add_problem(node, at, "an address with a blank or a backslash", remedy);
    }
    let Ok(url) = Url::parse(written) else {
        return report.add_problem(node, at, NO_HOST, remedy);
    };
    // Asked before anything of it is printed.
    if !url.username().is_empty() || url.password().is_some() || url_authority(written).contains('@') {
        return report.add_problem(node, at, "an address with a name or password inside", remedy);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return report.add_problem(
            node,
            at,
            "an address with a query or a fragment",
            "Leave what follows ? or # away",
        );
    }
    let host = url.host_str().unwrap_or_default();
    if host.is_empty() || host.ends_with('.') || host.starts_with('.') || host.contains(['*', '$', '{']) {
        let host = show_value(host);
        return report.add_problem(node, at, format!("\"{host}\" is not the name of one host"), remedy);
    }
    Some(url)
}

fn url_authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// The host and the port of an address that was read whole.
fn host_port(url: &Url, node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<HostPort> {
    match HostPort::new(url.host_str().unwrap_or_default(), url.port()) {
        Ok(host) => Some(host),
        Err(_) => report.add_problem(node, at, NO_HOST, "Write a host as in https://wiki.example.com"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::node::YamlValue;
    use std::path::Path;

    fn read<T: FromYaml>(text: &str) -> Result<T, String> {
        let environment = Environment::with_variables([]);
        let node = YamlNode { line: 1, value: YamlValue::Text(text.into()) };
        let mut report = Report::new("c", Path::new(""), &environment, Vec::new);
        T::read(&node, &At::root(), &mut report).ok_or_else(|| report.problems[0].to_string())
    }

    #[test]
    fn a_public_url_is_https_or_local() {
        let parts = |text: &str| {
            let url = read::<PublicUrl>(text).unwrap();
            (url.to_string(), url.host().to_owned(), url.port(), url.path().to_owned())
        };
        let one = |whole: &str, host: &str, port: Option<u16>, path: &str| {
            (whole.to_owned(), host.to_owned(), port, path.to_owned())
        };
        assert_eq!(
            parts("https://Wiki.Example.com/"),
            one("https://wiki.example.com", "wiki.example.com", None, "")
        );
        assert_eq!(parts("https://a.test:443"), one("https://a.test", "a.test", None, ""));
        assert_eq!(
            parts("https://a.test:8443/x/y/"),
            one("https://a.test:8443/x/y", "a.test", Some(8443), "/x/y")
        );
        assert_eq!(
            parts("http://app.localhost:8080"),
            one("http://app.localhost:8080", "app.localhost", Some(8080), "")
        );
        assert_eq!(parts("http://[::1]:81"), one("http://[::1]:81", "[::1]", Some(81), ""));
        assert_eq!(parts("https://bücher.test").1, "xn--bcher-kva.test");
        for local in ["http://localhost", "http://127.0.0.1:8080", "http://a.b.LOCALHOST"] {
            assert!(read::<PublicUrl>(local).is_ok(), "{local}");
        }
        for wrong in [
            "wiki.example.com",
            "http://wiki.example.com",
            "http://localhost.evil.test",
            "http://notlocalhost",
            "http://10.0.0.1",
            "ftp://a.test",
            "https://",
            "https://a.test?x",
            "https://a.test/#x",
            "https://a.test/a//b",
            "https://a.test/a%2fb",
            "https://a.test/*",
            "https://*.a.test",
            "https://a.test.",
            "https://a.test\\x",
            "https:a.test",
            "https://a.test:99999",
        ] {
            assert!(read::<PublicUrl>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_printed() {
        for text in
            ["https://u:hunter2@a.test", "http://hunter2@localhost", "https://hunter2:@a.test", "hunter2://@"]
        {
            for message in [
                read::<PublicUrl>(text).unwrap_err(),
                read::<UpstreamUrl>(text).unwrap_err(),
                read::<Issuer>(text).unwrap_err(),
            ] {
                assert!(!message.contains("hunter2"), "{message}");
            }
        }
    }

    #[test]
    fn an_upstream_has_a_host_and_a_port_or_a_path() {
        for (text, shown, port) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000", Some(3000)),
            ("http://app/", "http://app", Some(80)),
            ("HTTP://app:80", "http://app", Some(80)),
            ("http://[::1]:1", "http://[::1]:1", Some(1)),
            ("https://app.test", "https://app.test", Some(443)),
            ("https://app.test:8443/", "https://app.test:8443", Some(8443)),
            ("http://app:8080/shop/v1/", "http://app:8080/shop/v1", Some(8080)),
            ("h2c://127.0.0.1:50051/", "h2c://127.0.0.1:50051", Some(50051)),
            ("H2C://[::1]/v1", "h2c://[::1]/v1", Some(80)),
            ("unix:/run/app.sock", "unix:/run/app.sock", None),
            ("unix:///run/app.sock", "unix:/run/app.sock", None),
        ] {
            let read = read::<UpstreamUrl>(text).unwrap();
            assert_eq!(
                (read.to_string().as_str(), read.tcp().map(|(_, port)| port)),
                (shown, port),
                "{text}"
            );
        }
        let long = format!("unix:/{}", "a".repeat(LONGEST_SOCKET));
        for wrong in [
            "127.0.0.1:3000",
            "http://a/a//b",
            "https://a/%2e",
            "http://a/../b",
            "http://a/a;b",
            "http://a?x",
            "h2c:127.0.0.1",
            "h2c://u@a",
            "h2c://",
            "localhost:3000",
            "unix:app.sock",
            "unix://app.sock",
            "unix:/run/",
            "unix:",
            &long,
        ] {
            assert!(read::<UpstreamUrl>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_issuer_is_kept_byte_for_byte() {
        assert_eq!(
            read::<Issuer>("https://Example.okta.com/").unwrap().as_str(),
            "https://Example.okta.com/"
        );
        assert!(!read::<Issuer>("http://idp.localhost:8084").unwrap().is_https());
        for wrong in
            ["http://idp.test", "https://a.test/.well-known/openid-configuration", "https://a.test?x=1"]
        {
            assert!(read::<Issuer>(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn addresses_never_panic(text in "(https?://)?\\PC{0,40}") {
            let _ = (read::<PublicUrl>(&text), read::<UpstreamUrl>(&text), read::<Issuer>(&text));
        }
    }
}
