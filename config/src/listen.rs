//! `listen`: the addresses we listen on.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::at::{At, show_value};
use crate::node::{YamlNode, YamlValue};
use crate::read::{FromYaml, read_text, section, words};
use crate::report::Report;

section! {
    /// The addresses we listen on. A plain address is short for a block with `address`.
    #[derive(PartialEq, Eq)]
    pub struct Listen {
        /// The application and our own pages. Without `tls` it speaks HTTP/1.1 and h2c.
        pub proxy: ProxyListener = "127.0.0.1:8080",
        /// SCIM; it listens only where there is a `scim:` block.
        pub scim: ScimListenerBlock = "127.0.0.1:8081",
        /// Health and metrics.
        pub health: HealthListener = "127.0.0.1:8082",
    }
}

section! {
    /// Where the application is reached.
    #[derive(PartialEq, Eq)]
    pub struct ProxyListener [short = address] {
        /// The address and port; port 0 is any that is free.
        #[schemars(with = "String")]
        pub address: SocketAddr = "127.0.0.1:8080",
        /// The certificates, of which the first that is for the name asked is shown; HTTP/2 and HTTP/1.1 over TLS then.
        #[schemars(with = "Option<Vec<Certificate>>")]
        pub tls: Option<Tls>,
        /// Authorities, PEM: only browsers with a certificate of one of them get as far as a page. Who they are a session
        /// says all the same.
        pub client_ca: Option<PathBuf>,
        /// True where a proxy before it begins each connection with a header of the PROXY protocol, version 1 or 2. It is
        /// believed of `trusted_proxies`, and nobody else is heard then.
        pub proxy_protocol: bool = "false",
        /// Where plain http is sent on to `public_url`, such as 0.0.0.0:80. It reads no cookie.
        #[schemars(with = "Option<String>")]
        pub redirect: Option<SocketAddr>,
    }
}

section! {
    /// Where SCIM is reached.
    #[derive(PartialEq, Eq)]
    pub struct ScimListenerBlock [short = address] {
        /// The address and port; port 0 is any that is free.
        #[schemars(with = "String")]
        pub address: SocketAddr = "127.0.0.1:8081",
        /// Says that a proxy before it ends TLS; without this or `tls` SCIM listens on loopback addresses only.
        pub plaintext: Option<Plaintext>,
        /// The certificates, of which the first that is for the name asked is shown; HTTP/2 and HTTP/1.1 over TLS then, and
        /// nothing in the clear.
        #[schemars(with = "Option<Vec<Certificate>>")]
        pub tls: Option<Tls>,
        /// Authorities, PEM: only clients with a certificate of one of them are heard. Their token is asked for all the same.
        pub client_ca: Option<PathBuf>,
    }
}

section! {
    /// Where health and metrics are reached.
    #[derive(PartialEq, Eq)]
    pub struct HealthListener [short = address] {
        /// The address and port; port 0 is any that is free.
        #[schemars(with = "String")]
        pub address: SocketAddr = "127.0.0.1:8082",
    }
}

section! {
    /// A certificate and its key.
    #[derive(PartialEq, Eq)]
    pub struct Certificate {
        /// The certificate and its chain, PEM.
        pub certificate: PathBuf,
        /// The private key, PEM.
        pub key: PathBuf,
    }
}

words! {
    /// Who ends TLS where we do not.
    pub enum Plaintext {
        /// A proxy before us.
        BehindProxy = "behind-proxy",
    }
}

/// The most certificates of a listener.
const MOST_CERTIFICATES: usize = 50;

/// The certificates of a listener: 1 to 50.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// In the order in which they are written.
    pub certificates: Vec<Certificate>,
}

impl FromYaml for Tls {
    const WANTED: &'static str = "a list of certificates, each with its key";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let certificates = match &node.value {
            YamlValue::List(items) if items.is_empty() => {
                return report.add_problem(
                    node,
                    at,
                    "an empty list is no certificate",
                    "Leave tls out, or name one",
                );
            }
            _ => Vec::<Certificate>::read(node, at, report)?,
        };
        if certificates.len() > MOST_CERTIFICATES {
            let what = format!("more than {MOST_CERTIFICATES} certificates");
            return report.add_problem(node, at, what, "Join some: one may have many names");
        }
        Some(Self { certificates })
    }
}

impl FromYaml for SocketAddr {
    const WANTED: &'static str = "an address and a port such as 127.0.0.1:8080";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        if text == "off" && *at == At::from("listen.scim.address") {
            return report.refuse_word(node, at, text, "");
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let remedy = match (host, port.parse::<u16>()) {
            ("localhost", Ok(port)) => format!("Write 127.0.0.1:{port}"),
            ("" | "*", Ok(port)) => format!("Write 127.0.0.1:{port}, or 0.0.0.0:{port} for every network"),
            (host, Ok(port)) if host.parse::<IpAddr>().is_ok() => format!("Write [{host}]:{port}"),
            _ => format!("Write {}", Self::WANTED),
        };
        report.add_problem(node, at, format!("\"{}\" is not an address and a port", show_value(text)), remedy)
    }
}
