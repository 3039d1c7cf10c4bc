//! Which hosts a provider's metadata may send us or the browser to.
//!
//! The host of the configured issuer is trusted as it is written. Any other host must be public https or stand in
//! `http_client.allow`, which then stands for plain http too. Plain http is otherwise for this machine only, and only
//! where our own public URL is on this machine. What a name resolves to is looked at when it is connected to.

use std::net::IpAddr;

use portcullis_policy::{AllowedHost, is_loopback_name};
use url::{Host, Url};

use crate::{Class, LoginRefusal, is_public};

pub(super) struct Hosts {
    issuer: Option<String>,
    allow: Vec<AllowedHost>,
    loopback: bool,
}

impl Hosts {
    pub(super) fn new(issuer: &str, allow: &[AllowedHost], loopback: bool) -> Self {
        let issuer = Url::parse(issuer).ok().and_then(|url| url.host_str().map(Into::into));
        Self { issuer, allow: allow.to_vec(), loopback }
    }

    /// An address that we will connect to ourselves.
    pub(super) fn check_fetched(&self, what: &str, url: &str) -> Result<Url, LoginRefusal> {
        let url = self.check_visited(what, url)?;
        let issuers = self.issuer.as_deref() == url.host_str();
        if issuers || self.allows_url(&url) || on_this_machine(&url) && self.loopback || may_be_public(&url) {
            return Ok(url);
        }
        Err(LoginRefusal::new(
            Class::OidcMetadata,
            format_args!("{what} at the issuer's host or a public one"),
            &url,
            "If this address is right, put its host into http_client.allow.",
        ))
    }

    /// An address that the browser is sent to.
    pub(super) fn check_visited(&self, what: &str, url: &str) -> Result<Url, LoginRefusal> {
        let refuse =
            |remedy| LoginRefusal::new(Class::OidcMetadata, format_args!("{what} with https"), url, remedy);
        let parsed = Url::parse(url).map_err(|_| refuse("The identity provider's metadata is broken."))?;
        if !parsed.username().is_empty() || parsed.password().is_some() || parsed.fragment().is_some() {
            return Err(refuse("An address with a user, a password or a fragment is not used."));
        }
        match parsed.scheme() {
            "https" => Ok(parsed),
            "http" if self.loopback && on_this_machine(&parsed) || self.allows_url(&parsed) => Ok(parsed),
            "http" => Err(refuse(
                "Plain http is used on this machine only, where public_url is on this machine too. Give the identity provider a certificate.",
            )),
            _ => Err(refuse("The identity provider's metadata is broken.")),
        }
    }

    fn allows_url(&self, url: &Url) -> bool {
        let port = url.port_or_known_default();
        self.allow.iter().any(|allowed| url.host_str().is_some_and(|host| allowed.covers(host, port)))
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
        let allowed = |host: &str, port| AllowedHost { host: host.into(), port };
        let allow =
            [allowed("keys.corp.test", Some(8443)), allowed("10.9.9.9", None), allowed("fd00::9", None)];
        let hosts = Hosts::new("https://10.0.0.5:8443/realm", &allow, false);
        for (url, fine) in [
            ("https://10.0.0.5:8443/jwks", true),
            ("https://10.0.0.5/jwks", true),
            ("https://10.0.0.6/jwks", false),
            ("http://10.0.0.5:8443/jwks", false),
            ("http://keys.corp.test:8443/jwks", true),
            ("http://keys.corp.test/jwks", false),
            ("https://10.9.9.9/jwks", true),
            ("http://10.9.9.9:8080/jwks", true),
            ("http://10.9.9.8:8080/jwks", false),
            ("https://[fd00::9]/jwks", true),
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
            assert_eq!(hosts.check_fetched("jwks_uri", url).is_ok(), fine, "{url}");
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
            assert_eq!(hosts.check_fetched("jwks_uri", url).is_ok(), fine, "{url}");
        }
    }
}
