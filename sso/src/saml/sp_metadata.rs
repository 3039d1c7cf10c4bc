//! Our own metadata: what an identity provider needs to know of us, to be uploaded there (SAML Metadata §2.4.4).

use super::builder::{build_element, build_text, write_element};
use super::metadata::SamlBinding;
use super::outbound::build_key_info;
use super::sp_key::SpCertificate;
use super::xml::{XmlElement, namespace};

/// The methods that we decrypt, the best first: an identity provider takes the first that it knows.
const ENCRYPTION_METHODS: [&str; 4] = [
    "http://www.w3.org/2009/xmlenc11#aes256-gcm",
    "http://www.w3.org/2009/xmlenc11#aes128-gcm",
    "http://www.w3.org/2009/xmlenc11#rsa-oaep",
    "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p",
];

/// The description of us as a service provider.
#[derive(Clone, Copy, Debug)]
pub struct SpDescription<'a> {
    /// Our entity ID.
    pub entity_id: &'a str,
    /// The address that responses are posted to.
    pub acs_url: &'a str,
    /// The address of single logout, for both bindings; `None` where there is none.
    pub slo_url: Option<&'a str>,
    /// The certificates of the keys that we sign with: the present one and, while it is replaced, the next.
    pub signing: &'a [SpCertificate],
    /// The certificates of the keys that we decrypt with: what is encrypted goes to the first.
    pub encryption: &'a [SpCertificate],
    /// The formats of names that we take.
    pub name_id_formats: &'a [String],
}

/// Writes our metadata: the elements in the order of the schema, every value escaped.
pub fn write_sp_metadata(sp: &SpDescription<'_>) -> String {
    let mut parts: Vec<XmlElement> = Vec::new();
    parts.extend(sp.signing.iter().map(|certificate| build_key("signing", certificate)));
    parts.extend(sp.encryption.iter().map(|certificate| build_key("encryption", certificate)));
    for binding in [SamlBinding::Redirect, SamlBinding::Post] {
        let location = sp.slo_url.map(|url| [("Binding", Some(binding.uri())), ("Location", Some(url))]);
        parts.extend(location.map(|is| build_element("md:SingleLogoutService", &is, Vec::new())));
    }
    parts.extend(sp.name_id_formats.iter().map(|format| build_text("md:NameIDFormat", &[], format)));
    let acs = [
        ("Binding", Some(SamlBinding::Post.uri())),
        ("Location", Some(sp.acs_url)),
        ("index", Some("0")),
        ("isDefault", Some("true")),
    ];
    parts.push(build_element("md:AssertionConsumerService", &acs, Vec::new()));
    let role = [
        ("AuthnRequestsSigned", Some("true")),
        ("WantAssertionsSigned", Some("true")),
        ("protocolSupportEnumeration", Some(namespace::PROTOCOL)),
    ];
    let role = build_element("md:SPSSODescriptor", &role, parts);
    let root = build_element("md:EntityDescriptor", &[("entityID", Some(sp.entity_id))], vec![role]);
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n", write_element(&root))
}

fn build_key(usage: &str, certificate: &SpCertificate) -> XmlElement {
    let mut parts = vec![build_key_info(certificate.der())];
    if usage == "encryption" {
        let method = |uri| build_element("md:EncryptionMethod", &[("Algorithm", Some(uri))], Vec::new());
        parts.extend(ENCRYPTION_METHODS.into_iter().map(method));
    }
    build_element("md:KeyDescriptor", &[("use", Some(usage))], parts)
}
