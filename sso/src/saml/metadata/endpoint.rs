//! The addresses in metadata: https alone, absolute, and of a binding that we speak.

use portcullis_policy::is_loopback_name;
use url::{Host, Url};

use super::METADATA;
use crate::saml::xml::XmlElement;

/// The way in which a message travels through a browser (SAML Bindings §3.4, §3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamlBinding {
    /// In the query of a URL.
    Redirect,
    /// In a form that the browser posts.
    Post,
}

impl SamlBinding {
    /// The URI that names it.
    pub fn uri(self) -> &'static str {
        match self {
            Self::Redirect => "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect",
            Self::Post => "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST",
        }
    }

    fn read_uri(uri: &str) -> Option<Self> {
        [Self::Redirect, Self::Post].into_iter().find(|binding| binding.uri() == uri)
    }
}

/// An address of an identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamlEndpoint {
    /// The way in which messages come there.
    pub binding: SamlBinding,
    /// The address for requests.
    pub location: String,
    /// The address for responses, where it is another one.
    pub response_location: Option<String>,
}

impl SamlEndpoint {
    /// The first endpoint of a binding.
    pub fn find_binding(endpoints: &[Self], binding: SamlBinding) -> Option<&Self> {
        endpoints.iter().find(|endpoint| endpoint.binding == binding)
    }

    /// The address that answers are sent to.
    pub fn response_location(&self) -> &str {
        self.response_location.as_deref().unwrap_or(&self.location)
    }
}

/// Reads the endpoints of one kind. Those of other bindings are read over; a bad address is left out with a warning.
pub(super) fn read_endpoints(
    role: &XmlElement,
    kind: &str,
    allow_loopback: bool,
    warnings: &mut Vec<String>,
) -> Vec<SamlEndpoint> {
    let mut endpoints = Vec::new();
    for element in role.elements_named(METADATA, kind) {
        let Some(binding) = element.attribute("Binding").and_then(SamlBinding::read_uri) else { continue };
        match read_endpoint(element, binding, allow_loopback) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(fault) => warnings.push(format!("{kind} is left out: {fault}.")),
        }
    }
    endpoints
}

fn read_endpoint(
    element: &XmlElement,
    binding: SamlBinding,
    allow_loopback: bool,
) -> Result<SamlEndpoint, String> {
    let location = element.attribute("Location").ok_or("it has no Location")?;
    let response_location = element.attribute("ResponseLocation");
    for address in [Some(location), response_location].into_iter().flatten() {
        check_address(address, allow_loopback)?;
    }
    let (location, response_location) = (location.to_owned(), response_location.map(str::to_owned));
    Ok(SamlEndpoint { binding, location, response_location })
}

/// Checks that an address is an absolute URL over https that a message can be added to.
fn check_address(address: &str, allow_loopback: bool) -> Result<(), String> {
    let fault = |rule: &str| Err(format!("its address {} {rule}", portcullis_policy::shown(address)));
    if !address.bytes().all(|byte| byte.is_ascii_graphic()) || address.len() > 2048 {
        return fault("holds characters that no URL has, or is too long");
    }
    let Ok(url) = Url::parse(address) else { return fault("is no absolute URL") };
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => is_loopback_name(name),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback && allow_loopback => {}
        "http" => return fault("is not https"),
        _ => return fault("is no URL of the web"),
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return fault("has a user, a password or a fragment");
    }
    // A second one of these would be read instead of ours, and is not what we sign.
    let is_ours = |name: &str| {
        matches!(
            name,
            "SAMLRequest" | "SAMLResponse" | "RelayState" | "SigAlg" | "Signature" | "SAMLEncoding"
        )
    };
    match url.query_pairs().any(|(name, _)| is_ours(&name)) {
        true => fault("has a parameter that a SAML message brings itself"),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_absolute_and_of_https() {
        for right in [
            "https://idp.test/sso",
            "https://idp.test:8443/sso?idpid=C01&x=%20",
            "https://accounts.google.com/o/saml2/idp?idpid=C01",
        ] {
            assert_eq!(check_address(right, false), Ok(()), "{right}");
        }
        for wrong in [
            "",
            "/sso",
            "//idp.test/sso",
            "http://idp.test/sso",
            "http://127.0.0.1/sso",
            "javascript:alert(1)",
            "ftp://idp.test/",
            "https://idp.test/sso#x",
            "https://user@idp.test/",
            "https://idp.test/a b",
            "https://idp.test/\u{e9}",
            "https://idp.test/?SAMLRequest=x",
            "https://idp.test/?RelaySt%61te=x",
        ] {
            assert!(check_address(wrong, false).is_err(), "{wrong}");
        }
        for here in
            ["http://localhost:9703/sso", "http://127.0.0.1/sso", "http://[::1]/sso", "http://idp.localhost/"]
        {
            assert!(check_address(here, true).is_ok() && check_address(here, false).is_err(), "{here}");
        }
        assert!(check_address("http://idp.test/", true).is_err());
    }
}
