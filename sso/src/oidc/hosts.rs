//! Which hosts a provider's metadata may send us or the browser to.
//!
//! The host of the configured issuer is trusted as it is written. Any other host must be public https or stand in
//! `http_client.allow`. Plain http is for this machine only, and only where our own public URL is on this machine.
//! What a name resolves to is looked at again when it is connected to.

use std::net::IpAddr;

use url::{Host, Url};

use crate::{Class, Refusal, is_loopback_name, is_public};

pub(super) struct Hosts {
    issuer: Option<String>,
    allow: Vec<String>,
    loopback: bool,
}

impl Hosts {
    pub(super) fn new(issuer: &str, allow: &[String], loopback: bool) -> Self {
        let issuer = Url::parse(issuer).ok().and_then(|url| url.host_str().map(Into::into));
        // IPv6 addresses are written with and without brackets.
        let spelled = |host: &String| match host.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => host.to_ascii_lowercase(),
        };
        let allow = allow.iter().map(spelled).collect();
        Self { issuer, allow, loopback }
    }

    /// An address that we will connect to ourselves.
    pub(super) fn fetched(&self, what: &str, url: &str) -> Result<Url, Refusal> {
        let url = self.visited(what, url)?;
        let host = url.host_str().unwrap_or_default();
        let known = self.issuer.as_deref() == Some(host) || self.allow.iter().any(|allowed| allowed == host);
        if known || on_this_machine(&url) && self.loopback || may_be_public(&url) {
            return Ok(url);
        }
        Err(Refusal::new(
            Class::Metadata,
            format_args!("{what} at the issuer's host or a public one"),
            &url,
            "If this address is right, put its host into http_client.allow.",
        ))
    }

    /// An address that the browser is sent to.
    pub(super) fn visited(&self, what: &str, url: &str) -> Result<Url, Refusal> {
        let refuse = |remedy| Refusal::new(Class::Metadata, format_args!("{what} with https"), url, remedy);
        let parsed = Url::parse(url).map_err(|_| refuse("The identity provider's metadata is broken."))?;
        if !parsed.username().is_empty() || parsed.password().is_some() || parsed.fragment().is_some() {
            return Err(refuse("An address with a user, a password or a fragment is not used."));
        }
        match parsed.scheme() {
            "https" => Ok(parsed),
            "http" if self.loopback && on_this_machine(&parsed) => Ok(parsed),
            "http" => Err(refuse(
                "Plain http is used on this machine only, where public_url is on this machine too. Give the identity provider a certificate.",
            )),
            _ => Err(refuse("The identity provider's metadata is broken.")),
        }
    }
}

fn on_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => is_loopback_name(name),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn may_be_public(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => !is_loopback_name(name),
        Some(Host::Ipv4(address)) => is_public(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => is_public(IpAddr::V6(address)),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_the_issuers_or_public_or_allowed() {
        let allow = ["Keys.corp.test", "10.9.9.9", "fd00:0::9", "[fd00::8]"].map(str::to_owned);
        let hosts = Hosts::new("https://10.0.0.5:8443/realm", &allow, false);
        for (url, fine) in [
            ("https://10.0.0.5:8443/jwks", true),
            ("https://10.0.0.5/jwks", true),
            ("https://10.0.0.6/jwks", false),
            ("http://10.0.0.5:8443/jwks", false),
            ("https://keys.corp.test/jwks", true),
            ("https://10.9.9.9/jwks", true),
            ("https://[fd00::9]/jwks", true),
            ("https://[fd00::8]/jwks", true),
            ("https://[fd00::7]/jwks", false),
            ("https://www.googleapis.com/oauth2/v3/certs", true),
            ("https://169.254.169.254/latest/meta-data", false),
            ("https://[::1]/jwks", false),
            ("https://[::ffff:10.0.0.6]/jwks", false),
            ("https://localhost/jwks", false),
            ("https://idp.localhost/jwks", false),
            ("https://0x7f.1/jwks", false),
            ("https://2130706433/jwks", false),
            ("http://localhost/jwks", false),
            ("https://user@op.test/jwks", false),
            ("https://op.test/jwks#x", false),
            ("file:///etc/passwd", false),
            ("javascript:alert(1)", false),
            ("/jwks", false),
            ("", false),
        ] {
            assert_eq!(hosts.fetched("jwks_uri", url).is_ok(), fine, "{url}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        let hosts = Hosts::new("http://idp.localhost:8082", &[], true);
        for (url, fine) in [
            ("http://idp.localhost:8082/jwks", true),
            ("http://127.0.0.1:9/jwks", true),
            ("http://[::1]:9/jwks", true),
            ("http://op.test/jwks", false),
            ("http://10.0.0.1/jwks", false),
            ("https://op.test/jwks", true),
        ] {
            assert_eq!(hosts.fetched("jwks_uri", url).is_ok(), fine, "{url}");
        }
    }
}
