//! Messages that were signed, whichever way they came, and those that come in a form (SAML Bindings §3.5).

use std::fmt;

use super::field::read_field;
use super::idp_key::IdpKey;
use super::parameter::SamlParameter;
use super::shape::check_places;
use super::verify::{Trust, read_signatures, verify_document};
use super::xml::{XmlBounds, XmlElement};
use crate::LoginRefusal;

/// A message that a key of the identity provider has signed. What it says is not judged yet.
#[derive(Clone)]
pub struct SignedMessage {
    parameter: SamlParameter,
    pub(super) root: XmlElement,
    relay_state: Option<String>,
}

impl SignedMessage {
    /// Only the two verifications make one.
    pub(super) fn new(parameter: SamlParameter, root: XmlElement, relay_state: Option<String>) -> Self {
        Self { parameter, root, relay_state }
    }

    /// The parameter that the message came in.
    pub fn parameter(&self) -> SamlParameter {
        self.parameter
    }

    /// The RelayState that was signed with the message, to be given back as it is. That of a form is signed by nobody
    /// and is not here.
    pub fn relay_state(&self) -> Option<&str> {
        self.relay_state.as_deref()
    }
}

impl fmt::Debug for SignedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedMessage({})", self.parameter.name())
    }
}

/// A message out of a form that is plain and rightly built; nothing in it is believed yet.
#[derive(Clone)]
pub struct PostMessage {
    parameter: SamlParameter,
    text: String,
    root: XmlElement,
}

impl PostMessage {
    /// Reads a message from its form field.
    ///
    /// # Errors
    /// `too_large`, `malformed`, `forbidden_xml`, `structure`, `signature_policy`.
    pub fn read_field(parameter: SamlParameter, field: &[u8]) -> Result<Self, LoginRefusal> {
        let mut text = read_field(field)?;
        if text.starts_with('\u{feff}') {
            text.remove(0);
        }
        let root = XmlElement::read_document(&text, &XmlBounds::MESSAGE)?;
        check_places(&root, &[&root])?;
        read_signatures(&[&root])?;
        Ok(Self { parameter, text, root })
    }

    /// Verifies the signature by the keys of the identity provider and keeps what was signed. Both verifications take
    /// part: call it from a thread that may block.
    ///
    /// # Errors
    /// `unsigned`, `signature_policy`, `signature_invalid`.
    pub fn verify(self, keys: &[IdpKey]) -> Result<SignedMessage, LoginRefusal> {
        let trust = Trust { keys, allow_sha1: false, ask_engine_always: false };
        let signed = verify_document(&self.text, &[&self.root], &trust)?;
        Ok(SignedMessage::new(self.parameter, signed.root, None))
    }
}

impl fmt::Debug for PostMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostMessage({})", self.parameter.name())
    }
}
