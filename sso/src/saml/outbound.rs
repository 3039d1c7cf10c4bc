//! Messages of ours on their way: signed, in a URL or in a form (SAML Bindings §3.4, §3.5).

use std::io::Write as _;

use crate::PostForm;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use portcullis_keys::{Random, sha256};

use super::builder::{build_element, build_text, write_element};
use super::parameter::SamlParameter;
use super::signature::ENVELOPED;
use super::sp_key::SpSigner;
use super::xml::{XmlElement, XmlNode, namespace};

/// All but the unreserved characters (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Draws the ID of a message: 128 random bits, a name of XML (SAML Core §1.3.4).
pub fn draw_message_id(random: &mut Random) -> String {
    let digits = random.draw_bytes::<16>().map(|byte| format!("{byte:02x}"));
    format!("_{}", digits.concat())
}

/// A message of ours that is complete but for its signature.
pub struct OutboundMessage {
    parameter: SamlParameter,
    destination: String,
    root: XmlElement,
}

impl OutboundMessage {
    /// A message whose first child is its issuer.
    pub(super) fn new(parameter: SamlParameter, destination: &str, root: XmlElement) -> Self {
        Self { parameter, destination: destination.to_owned(), root }
    }

    /// Gives the URL that brings the message to the identity provider, signed (SAML Bindings §3.4.4.1). What the
    /// identity provider's address has in its query already stays in front and is not signed.
    ///
    /// `relay_state` is at most 80 bytes by the standard. Letters, digits, `-` and `_` are encoded alike by identity
    /// providers that wrongly encode the query again before they verify it.
    pub fn to_redirect_url(&self, relay_state: Option<&str>, signer: &SpSigner) -> String {
        let mut query = format!(
            "{}={}",
            self.parameter.name(),
            encode_percents(&deflate_text(&write_element(&self.root)))
        );
        if let Some(relay_state) = relay_state {
            query.push_str("&RelayState=");
            query.extend(utf8_percent_encode(relay_state, RESERVED));
        }
        query.push_str("&SigAlg=");
        query.extend(utf8_percent_encode(signer.algorithm(), RESERVED));
        let signature = encode_percents(&STANDARD.encode(signer.sign(query.as_bytes())));
        let joint = match self.destination.split_once('?') {
            None => "?",
            Some((_, before)) if before.is_empty() || before.ends_with('&') => "",
            Some(_) => "&",
        };
        format!("{}{joint}{query}&Signature={signature}", self.destination)
    }

    /// Gives the form that brings the message to the identity provider, with an enveloped signature.
    pub fn to_post_form(&self, relay_state: Option<&str>, signer: &SpSigner) -> PostForm {
        let message = STANDARD.encode(write_element(&sign_enveloped(&self.root, signer)));
        let mut fields = vec![(self.parameter.name(), message)];
        fields.extend(relay_state.map(|relay_state| ("RelayState", relay_state.to_owned())));
        PostForm { action: self.destination.clone(), fields }
    }
}

fn encode_percents(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Compresses without a header and writes base64 (§3.4.4.1).
fn deflate_text(text: &str) -> String {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    #[allow(clippy::expect_used, reason = "a Vec takes every write")]
    let compressed =
        encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).expect("a write to memory");
    STANDARD.encode(compressed)
}

/// Signs an element as a whole; the signature stands behind its first child, the issuer (SAML Core §3.2.1).
fn sign_enveloped(root: &XmlElement, signer: &SpSigner) -> XmlElement {
    let digest = STANDARD.encode(sha256(write_element(root).as_bytes()));
    let algorithm = |name, uri| build_element(name, &[("Algorithm", Some(uri))], Vec::new());
    let transforms =
        vec![algorithm("ds:Transform", ENVELOPED), algorithm("ds:Transform", namespace::EXCLUSIVE_C14N)];
    let reference = vec![
        build_element("ds:Transforms", &[], transforms),
        algorithm("ds:DigestMethod", "http://www.w3.org/2001/04/xmlenc#sha256"),
        build_text("ds:DigestValue", &[], &digest),
    ];
    let uri = format!("#{}", root.attribute("ID").unwrap_or_default());
    let info = vec![
        algorithm("ds:CanonicalizationMethod", namespace::EXCLUSIVE_C14N),
        algorithm("ds:SignatureMethod", signer.algorithm()),
        build_element("ds:Reference", &[("URI", Some(&uri))], reference),
    ];
    let info = build_element("ds:SignedInfo", &[], info);
    let value = STANDARD.encode(signer.sign(write_element(&info).as_bytes()));
    let key_info = build_key_info(signer.certificate().der());
    let signature = vec![info, build_text("ds:SignatureValue", &[], &value), key_info];
    let mut signed = root.clone();
    let place = signed.children.len().min(1);
    signed.children.insert(place, XmlNode::Element(build_element("ds:Signature", &[], signature)));
    signed
}

/// Builds the `KeyInfo` that names a certificate.
pub(super) fn build_key_info(certificate: &[u8]) -> XmlElement {
    let certificate = build_text("ds:X509Certificate", &[], &STANDARD.encode(certificate));
    build_element("ds:KeyInfo", &[], vec![build_element("ds:X509Data", &[], vec![certificate])])
}
