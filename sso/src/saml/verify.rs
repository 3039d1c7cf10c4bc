//! The verification of a document: its signatures checked twice, and its signed part read out of the signed text.
//!
//! The rule it protects: [`SignedElement`] is made here alone, of the text that both verifications agree on, so whoever
//! reads one reads what was signed.

use portcullis_keys::SignedHash;

use super::engine::reduce_to_signed;
use super::idp_key::{IdpKey, KeyStanding};
use super::second::{VerifiedSignature, verify_signature};
use super::shape::{describe_element, refuse_shape};
use super::signature::{SignatureShape, refuse_policy};
use super::xml::{XmlBounds, XmlElement};
use crate::{Class, LoginRefusal};

/// The known keys, of which those in force are believed, and what is taken of them.
#[derive(Clone, Copy)]
pub(crate) struct Trust<'a> {
    pub(crate) keys: &'a [IdpKey],
    pub(crate) allow_sha1: bool,
    /// Asks the engine even where the second opinion has refused: for a captured response that somebody looks into.
    pub(crate) ask_engine_always: bool,
}

/// An element that was signed: read out of the text that was digested.
pub(crate) struct SignedElement {
    pub(crate) root: XmlElement,
}

/// Verifies all signatures of a document that has the right shape. `owners` are the elements that may hold one, the
/// outermost first.
///
/// # Errors
/// `unsigned`, `signature_policy`, `signature_invalid`, `key_waiting`, `key_distrusted`; `structure` where the two verifications disagree.
pub(crate) fn verify_document(
    text: &str,
    owners: &[&XmlElement],
    trust: &Trust<'_>,
) -> Result<SignedElement, LoginRefusal> {
    verify_document_within(text, owners, trust, &XmlBounds::CANONICAL)
}

/// Verifies as [`verify_document`] does, a document whose canonical text has other bounds than that of a message.
pub(crate) fn verify_document_within(
    text: &str,
    owners: &[&XmlElement],
    trust: &Trust<'_>,
    bounds: &XmlBounds,
) -> Result<SignedElement, LoginRefusal> {
    let shapes = read_signatures(owners)?;
    let Some(outermost) = shapes.first() else { return Err(refuse_unsigned()) };
    let has_sha1 = shapes.iter().any(SignatureShape::has_sha1);
    if let Some(weak) = shapes.iter().find(|shape| shape.has_sha1()).filter(|_| !trust.allow_sha1) {
        let got =
            if weak.hash == SignedHash::Sha1 { "SignatureMethod: rsa-sha1" } else { "DigestMethod: sha1" };
        return Err(refuse_policy("a signature by SHA-256, SHA-384 or SHA-512", got));
    }
    if shapes.iter().any(|shape| shape.family != outermost.family) {
        return Err(refuse_policy("all signatures of a message by keys of one kind", "RSA and ECDSA"));
    }
    let verified: Result<Vec<_>, _> =
        shapes.iter().map(|shape| verify_signature(shape, trust.keys)).collect();
    let verified = match verified {
        Ok(verified) => verified,
        Err(refusal) if trust.ask_engine_always => return Err(ask_engine(text, &shapes, trust, refusal)),
        Err(refusal) => return Err(refusal),
    };
    let mut keys: Vec<&IdpKey> = Vec::new();
    for VerifiedSignature { key, .. } in &verified {
        if !keys.contains(key) {
            keys.push(key);
        }
    }
    let ours = &verified[0].text;
    match reduce_to_signed(text, &keys, has_sha1) {
        Ok(theirs) if theirs == *ours => read_signed(ours, outermost.signed, bounds),
        Ok(_) => Err(report_disagreement("the two verifications canonicalize it differently")),
        Err(error) => Err(report_disagreement(&format!("the XML signature library refuses it: {error}"))),
    }
}

/// Reads the signatures of the elements that may hold one.
pub(crate) fn read_signatures<'a>(
    owners: &[&'a XmlElement],
) -> Result<Vec<SignatureShape<'a>>, LoginRefusal> {
    owners.iter().filter_map(|owner| SignatureShape::read_in(owner).transpose()).collect()
}

/// Reads the signed text again: nothing else of the document is believed from here on.
fn read_signed(text: &str, signed: &XmlElement, bounds: &XmlBounds) -> Result<SignedElement, LoginRefusal> {
    let root = XmlElement::read_document(text, bounds)?;
    if root.is(&signed.namespace, &signed.local) && root.attribute("ID") == signed.attribute("ID") {
        return Ok(SignedElement { root });
    }
    Err(refuse_shape("the element that the signature refers to", describe_element(&root)))
}

/// Asks the engine about a signature that the second opinion refused: the refusal stands unless the engine takes it.
fn ask_engine(
    text: &str,
    shapes: &[SignatureShape<'_>],
    trust: &Trust<'_>,
    refusal: LoginRefusal,
) -> LoginRefusal {
    let is_asked = |key: &&IdpKey| key.family() == shapes[0].family && key.standing() == KeyStanding::InForce;
    let keys: Vec<_> = trust.keys.iter().filter(is_asked).collect();
    match reduce_to_signed(text, &keys, trust.allow_sha1) {
        Ok(_) => report_disagreement("the XML signature library takes it and our own verification does not"),
        Err(_) => refusal,
    }
}

fn report_disagreement(how: &str) -> LoginRefusal {
    tracing::error!(
        how,
        "two verifications of one SAML message disagree, so it is refused. Please capture this response \
         (SAMLResponse, as the browser posts it), read it with `portcullis doctor saml`, and report it: it may be our \
         fault"
    );
    LoginRefusal::new(
        Class::SamlStructure,
        "a message that both verifications read alike",
        how,
        "Capture the response (SAMLResponse, as the browser posts it), read it with `portcullis doctor saml`, and report \
         it: it may be our fault.",
    )
}

fn refuse_unsigned() -> LoginRefusal {
    LoginRefusal::new(
        Class::SamlUnsigned,
        "a signed Response or Assertion",
        "no signature",
        "Let the identity provider sign: in the settings of its application, \"Sign SAML response\" or \"Sign SAML \
         assertion\".",
    )
}
