//! Messages that come in the query of a URL (SAML Bindings §3.4).
//!
//! The signature is over the octets of the query as they came, so nothing is decoded and encoded again. Each parameter
//! stands once and under its plain name, or two readers would read two messages.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};
use portcullis_keys::SignedHash;

use super::field::read_utf8;
use super::idp_key::{IdpKey, find_signer, show_fingerprint};
use super::inbound::SignedMessage;
use super::parameter::SamlParameter;
use super::signature::{KeyFamily, decode_base64, find_signature_method};
use super::xml::{XmlBounds, XmlElement, XmlFault, namespace};
use crate::{Class, LoginRefusal};

/// The most bytes of a query.
const MOST_QUERY: usize = 64 * 1024;
/// The most bytes of a message that is inflated.
const MOST_TEXT: usize = 64 * 1024;
/// The most bytes of a RelayState. The standard's 80 are too few for some identity providers.
const MOST_RELAY_STATE: usize = 2048;
const DEFLATE: &str = "urn:oasis:names:tc:SAML:2.0:bindings:URL-Encoding:DEFLATE";
const NAMES: [&str; 6] = ["SAMLRequest", "SAMLResponse", "RelayState", "SigAlg", "Signature", "SAMLEncoding"];

/// A message out of a query that is plain; nothing in it is believed yet.
#[derive(Clone)]
pub struct RedirectMessage {
    parameter: SamlParameter,
    root: XmlElement,
    relay_state: Option<String>,
    /// The octets that were signed.
    signed: String,
    family: KeyFamily,
    hash: SignedHash,
    signature: Vec<u8>,
}

impl RedirectMessage {
    /// Reads a message from the query of a URL as it came, without the question mark.
    ///
    /// # Errors
    /// `too_large`, `malformed`, `forbidden_xml`, `structure`, `unsigned`, `signature_policy`.
    pub fn read_query(raw_query: &str) -> Result<Self, LoginRefusal> {
        let query = RawQuery::split(raw_query)?;
        let (parameter, raw) = query.find_message()?;
        let root = read_root(raw)?;
        let relay_state = query.find("RelayState").map(read_relay_state).transpose()?;
        let signature = query.find("Signature").filter(|raw| !raw.is_empty()).ok_or_else(refuse_unsigned)?;
        let signature = decode_octets(signature).ok_or_else(|| refuse_letters("Signature"))?;
        let raw_method = query.find("SigAlg").unwrap_or_default();
        let (family, hash) = read_method(raw_method)?;
        let mut signed = format!("{}={raw}", parameter.name());
        for name in ["RelayState", "SigAlg"] {
            if let Some(raw) = query.find(name) {
                signed.push_str(&format!("&{name}={raw}"));
            }
        }
        Ok(Self { parameter, root, relay_state, signed, family, hash, signature })
    }

    /// The parameter that the message came in.
    pub fn parameter(&self) -> SamlParameter {
        self.parameter
    }

    /// Verifies the signature by the keys of the identity provider.
    ///
    /// # Errors
    /// `signature_invalid`, `key_waiting`, `key_distrusted`.
    pub fn verify(self, keys: &[IdpKey]) -> Result<SignedMessage, LoginRefusal> {
        let found = find_signer(keys, self.family, self.hash, self.signed.as_bytes(), &self.signature);
        match found {
            Ok(_) => return Ok(SignedMessage::new(self.parameter, self.root, self.relay_state)),
            Err(Some(refusal)) => return Err(refusal),
            Err(None) => {}
        }
        let known: Vec<_> = keys.iter().take(4).map(|key| show_fingerprint(&key.fingerprint())).collect();
        Err(LoginRefusal::new(
            Class::SamlSignatureInvalid,
            format!("a query signed by a known key of the identity provider ({})", known.join(", ")),
            "one of another key, or one that was changed on its way",
            "Most often the identity provider has rotated its certificate: fetch or upload its metadata again. Else look \
             for a proxy that rewrites the query of URLs in front of us.",
        ))
    }
}

impl fmt::Debug for RedirectMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedirectMessage({})", self.parameter.name())
    }
}

/// The parameters of a query that are SAML's, undecoded.
struct RawQuery<'a>(Vec<(&'static str, &'a str)>);

impl<'a> RawQuery<'a> {
    fn split(raw_query: &'a str) -> Result<Self, LoginRefusal> {
        if raw_query.len() > MOST_QUERY {
            let got = format!("{} bytes", raw_query.len());
            return Err(XmlFault::too_large("a query of at most 64 KiB", got).into());
        }
        let mut found: Vec<(&'static str, &'a str)> = Vec::new();
        for pair in raw_query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = decode_text(name).ok_or_else(|| refuse_letters("the name of a parameter"))?;
            let Some(known) = NAMES.into_iter().find(|known| *known == decoded) else { continue };
            if name != known {
                return Err(refuse_query("each parameter under its plain name", name));
            }
            if found.iter().any(|(before, _)| *before == known) {
                return Err(refuse_query("each parameter once", format!("{known} twice")));
            }
            found.push((known, value));
        }
        Ok(Self(found))
    }

    fn find(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(found, _)| *found == name).map(|(_, raw)| *raw)
    }

    fn find_message(&self) -> Result<(SamlParameter, &'a str), LoginRefusal> {
        let encoding = self.find("SAMLEncoding").map(decode_text);
        if encoding.is_some_and(|encoding| encoding.as_deref() != Some(DEFLATE)) {
            return Err(refuse_query("a message encoded by DEFLATE", "another SAMLEncoding"));
        }
        match (self.find("SAMLRequest"), self.find("SAMLResponse")) {
            (Some(raw), None) => Ok((SamlParameter::Request, raw)),
            (None, Some(raw)) => Ok((SamlParameter::Response, raw)),
            (Some(_), Some(_)) => Err(refuse_query("SAMLRequest or SAMLResponse", "both")),
            (None, None) => Err(refuse_query("SAMLRequest or SAMLResponse", "neither")),
        }
    }
}

/// Reads the root of a message, which holds no signature of its own (§3.4.4.1).
fn read_root(raw: &str) -> Result<XmlElement, LoginRefusal> {
    let compressed = decode_octets(raw).ok_or_else(|| refuse_letters("the message"))?;
    let text = read_utf8(inflate_message(&compressed)?)?;
    let root = XmlElement::read_document(&text, &XmlBounds::MESSAGE)?;
    if root.descendants().any(|element| element.is(namespace::SIGNATURE, "Signature")) {
        return Err(refuse_query("the signature in the query alone", "one in the message"));
    }
    Ok(root)
}

fn read_relay_state(raw: &str) -> Result<String, LoginRefusal> {
    let text = decode_text(raw).ok_or_else(|| refuse_letters("RelayState"))?;
    match text.len() <= MOST_RELAY_STATE && !text.contains(char::is_control) {
        true => Ok(text),
        false => {
            Err(refuse_query("a RelayState of at most 2048 bytes, without control characters", "another"))
        }
    }
}

fn read_method(raw: &str) -> Result<(KeyFamily, SignedHash), LoginRefusal> {
    let uri = decode_text(raw).ok_or_else(|| refuse_letters("SigAlg"))?;
    let method = find_signature_method(&uri).filter(|(_, hash)| *hash != SignedHash::Sha1);
    method.ok_or_else(|| {
        LoginRefusal::new(
            Class::SamlSignaturePolicy,
            "RSA or ECDSA with SHA-256, SHA-384 or SHA-512 in SigAlg",
            if uri.is_empty() { "none" } else { &uri },
            "Set the signature algorithm of the identity provider's application to RSA-SHA256.",
        )
    })
}

/// Decodes a percent-encoded text of a form; `None` where a percent sign stands for nothing or it is no UTF-8.
fn decode_text(raw: &str) -> Option<String> {
    String::from_utf8(decode_percents(raw)?).ok()
}

/// Decodes percent-encoded base64. A bare plus sign would be a blank to one reader and a letter to the next.
fn decode_octets(raw: &str) -> Option<Vec<u8>> {
    if raw.contains('+') {
        return None;
    }
    decode_text(raw).as_deref().and_then(decode_base64)
}

fn decode_percents(raw: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' => b' ',
            other => other,
        });
    }
    Some(decoded)
}

/// Inflates a message: to its very end, and within bounds.
fn inflate_message(compressed: &[u8]) -> Result<Vec<u8>, LoginRefusal> {
    let mut text = Vec::with_capacity(MOST_TEXT + 1);
    let mut inflater = Decompress::new(false);
    let status = inflater.decompress_vec(compressed, &mut text, FlushDecompress::Finish);
    if text.len() > MOST_TEXT {
        return Err(XmlFault::too_large("a message of at most 64 KiB", "a longer one, compressed").into());
    }
    let is_whole = u64::try_from(compressed.len()).is_ok_and(|length| length == inflater.total_in());
    match status {
        Ok(Status::StreamEnd) if is_whole => Ok(text),
        _ => Err(refuse_malformed("a message compressed by DEFLATE", "other octets")),
    }
}

fn refuse_letters(what: &str) -> LoginRefusal {
    refuse_malformed(
        "percent-encoded parameters, the message and its signature in base64",
        format!("{what} in other letters"),
    )
}

fn refuse_malformed(expected: &str, got: impl fmt::Display) -> LoginRefusal {
    LoginRefusal::new(Class::SamlMalformed, expected, got, ON_ITS_WAY)
}

fn refuse_query(expected: &str, got: impl fmt::Display) -> LoginRefusal {
    LoginRefusal::new(Class::SamlStructure, expected, got, ON_ITS_WAY)
}

fn refuse_unsigned() -> LoginRefusal {
    LoginRefusal::new(
        Class::SamlUnsigned,
        "a query with SigAlg and Signature",
        "no signature",
        "Nobody is logged out by a message that is not signed. Switch \"sign logout messages\" on in the settings of the \
         identity provider's application.",
    )
}

const ON_ITS_WAY: &str = "Look for a proxy that rewrites the query of URLs in front of us. If there is none, this is no \
     message of the identity provider, or its support should be told.";
