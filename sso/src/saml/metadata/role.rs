//! The role of an identity provider in metadata: `IDPSSODescriptor` (SAML Metadata §2.4.3).

use super::endpoint::read_endpoints;
use super::{ASK_AGAIN, FoundEntity, IdpMetadata, METADATA, MetadataRules, refuse_metadata};
use crate::LoginRefusal;
use crate::saml::idp_key::{IdpKey, show_fingerprint};
use crate::saml::signature::decode_base64;
use crate::saml::xml::{XmlElement, namespace};

/// The most keys of an identity provider that are read: each is tried at each signature.
const MOST_KEYS: usize = 16;
/// The most formats of names, and the most endpoints of a kind.
const MOST_ROWS: usize = 64;
const CHAIN: &str =
    "A KeyInfo has several certificates: the first is taken for the signing key, the others are left out.";

pub(super) fn has_idp_role(entity: &XmlElement) -> bool {
    entity.first_named(METADATA, "IDPSSODescriptor").is_some()
}

/// Reads the identity provider out of its entity.
pub(super) fn read_idp(
    entity: &FoundEntity<'_>,
    rules: &MetadataRules<'_>,
) -> Result<IdpMetadata, LoginRefusal> {
    if entity.entity_id.is_empty() || entity.entity_id.len() > 1024 {
        return Err(refuse_metadata("an entityID of at most 1024 bytes", "none, or a longer one", ASK_AGAIN));
    }
    let role = find_role(entity)?;
    let mut bounds = FoundEntity { ..*entity };
    bounds.narrow(role)?;
    super::check_lifetime(&bounds, rules.now)?;
    let mut warnings = Vec::new();
    let sso = read_endpoints(role, "SingleSignOnService", rules.allow_loopback, &mut warnings);
    if sso.is_empty() {
        return Err(refuse_sso(role, &warnings));
    }
    let slo = read_endpoints(role, "SingleLogoutService", rules.allow_loopback, &mut warnings);
    let formats = role.elements_named(METADATA, "NameIDFormat").filter_map(XmlElement::text);
    let name_id_formats: Vec<_> =
        formats.map(|format| format.trim().to_owned()).take(MOST_ROWS + 1).collect();
    if [sso.len(), slo.len(), name_id_formats.len()].iter().any(|rows| *rows > MOST_ROWS) {
        return Err(refuse_metadata(
            format!("at most {MOST_ROWS} addresses or formats of a kind"),
            "more",
            ASK_AGAIN,
        ));
    }
    let signing = read_signing_keys(role, &mut warnings)?;
    warn_of_ends(&signing, rules, &mut warnings);
    Ok(IdpMetadata {
        entity_id: entity.entity_id.to_owned(),
        sso,
        slo,
        signing,
        want_authn_requests_signed: matches!(role.attribute("WantAuthnRequestsSigned"), Some("true" | "1")),
        name_id_formats,
        valid_until: bounds.valid_until,
        cache_ms: bounds.cache_ms,
        warnings,
        pinned: rules.pinned.to_vec(),
    })
}

/// Finds the one role that speaks SAML 2.0.
fn find_role<'a>(entity: &FoundEntity<'a>) -> Result<&'a XmlElement, LoginRefusal> {
    let roles: Vec<_> = entity.element.elements_named(METADATA, "IDPSSODescriptor").collect();
    let speaks_saml2 = |role: &&&XmlElement| {
        let protocols = role.attribute("protocolSupportEnumeration").unwrap_or_default();
        protocols.split_whitespace().any(|protocol| protocol == namespace::PROTOCOL)
    };
    let mut fitting = roles.iter().filter(speaks_saml2);
    match (fitting.next(), fitting.next(), &*roles) {
        (Some(role), None, _) => Ok(role),
        (Some(_), Some(_), _) => Err(refuse_metadata("one IDPSSODescriptor for SAML 2.0", "two", ASK_AGAIN)),
        (None, _, []) => Err(refuse_missing_role(&describe_roles(entity))),
        (None, _, [other, ..]) => Err(refuse_metadata(
            "an identity provider that speaks SAML 2.0",
            other.attribute("protocolSupportEnumeration").unwrap_or("no protocol"),
            "This is metadata of an older protocol. Switch SAML 2.0 on at the identity provider and download its SAML 2.0 \
             metadata.",
        )),
    }
}

fn describe_roles(entity: &FoundEntity<'_>) -> String {
    let roles = entity.element.elements().map(|element| &*element.local);
    let roles: Vec<_> = roles.filter(|local| local.ends_with("Descriptor")).collect();
    match &*roles {
        [] => format!("{} without a role", entity.entity_id),
        _ => format!("{} with {}", entity.entity_id, roles.join(", ")),
    }
}

pub(super) fn refuse_missing_role(got: &str) -> LoginRefusal {
    refuse_metadata(
        "an identity provider (IDPSSODescriptor)",
        got,
        "This is not an identity provider's metadata; with SPSSODescriptor it is that of a service provider, perhaps our \
         own. Download \"Identity Provider metadata\" from the identity provider's application.",
    )
}

fn refuse_sso(role: &XmlElement, warnings: &[String]) -> LoginRefusal {
    let got = match warnings {
        [] => {
            let services = role.elements_named(METADATA, "SingleSignOnService");
            let bindings: Vec<_> =
                services.filter_map(|service| service.attribute("Binding")).take(5).collect();
            if bindings.is_empty() { "no SingleSignOnService".to_owned() } else { bindings.join(", ") }
        }
        _ => warnings.join(" "),
    };
    refuse_metadata(
        "a SingleSignOnService over https, by HTTP-Redirect or HTTP-POST",
        got,
        "Switch web browser sign-on by HTTP-Redirect or HTTP-POST on at the identity provider, give it an https address, \
         and download its metadata again.",
    )
}

/// Reads the keys that the identity provider signs with. A key that cannot be used is left out with a warning.
fn read_signing_keys(role: &XmlElement, warnings: &mut Vec<String>) -> Result<Vec<IdpKey>, LoginRefusal> {
    let mut keys: Vec<IdpKey> = Vec::new();
    let mut faults: Vec<String> = Vec::new();
    for descriptor in role.elements_named(METADATA, "KeyDescriptor") {
        // Without a use it is for both (§2.4.1.1).
        if !matches!(descriptor.attribute("use"), None | Some("signing")) {
            continue;
        }
        match read_key(descriptor, warnings) {
            Ok(key) if keys.contains(&key) => {}
            Ok(key) => keys.push(key),
            Err(fault) => faults.push(fault),
        }
        if keys.len() > MOST_KEYS || faults.len() > MOST_KEYS {
            return Err(refuse_metadata(format!("at most {MOST_KEYS} signing keys"), "more", ASK_AGAIN));
        }
    }
    if keys.is_empty() {
        return Err(refuse_metadata(
            "a signing key: a KeyDescriptor with an X509Certificate, RSA of 2048 bits or more, or EC",
            if faults.is_empty() { "none".to_owned() } else { faults.join("; ") },
            "Without it nothing that the identity provider sends can be believed. Let it make a signing certificate with \
             a strong key, switch signing on, and download its metadata again.",
        ));
    }
    warnings.extend(faults.into_iter().map(|fault| format!("A signing key is left out: {fault}.")));
    Ok(keys)
}

/// Reads the key of a descriptor. Of several certificates the first is the key's own (XML Signature §4.4.4 has chains).
fn read_key(descriptor: &XmlElement, warnings: &mut Vec<String>) -> Result<IdpKey, String> {
    let info =
        descriptor.first_named(namespace::SIGNATURE, "KeyInfo").ok_or("a KeyDescriptor without KeyInfo")?;
    let data = info.elements_named(namespace::SIGNATURE, "X509Data");
    let mut certificates =
        data.flat_map(|data| data.elements_named(namespace::SIGNATURE, "X509Certificate")).take(2);
    let certificate = certificates.next().ok_or("a KeyInfo without X509Certificate")?;
    if certificates.next().is_some() {
        warnings.push(CHAIN.to_owned());
    }
    let der = certificate.text().and_then(decode_base64).ok_or("an X509Certificate that is no base64")?;
    IdpKey::from_certificate(&der)
        .map_err(|refusal| format!("{} where {} is expected", refusal.got, refusal.expected))
}

fn warn_of_ends(keys: &[IdpKey], rules: &MetadataRules<'_>, warnings: &mut Vec<String>) {
    for key in keys.iter().filter(|key| key.not_after() <= rules.now) {
        let days = rules.now.since_ms(key.not_after()) / (24 * 60 * 60 * 1000);
        warnings.push(format!(
            "The signing certificate {} is over since {days} days. Its key is still taken, as SAML says; let the identity \
             provider make a new one.",
            show_fingerprint(&key.fingerprint())
        ));
    }
}
