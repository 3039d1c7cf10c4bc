//! What is encrypted in a response, opened by our own keys: the assertion, its NameID, its attributes (XML Encryption,
//! SAML Core §2.2.4, §2.3.4, §2.7.3.2).
//!
//! A text that anybody can send is opened only by a cipher that knows its own text; else its padding would answer
//! questions. Whatever does not open is refused with one and the same word. The plain text is a document like any: it
//! is read within bounds, has its one shape, and counts as signed only where it or what it came in was.

pub use super::cipher::DecryptionKey;

use super::SamlExpectations;
use super::cipher::{ContentCipher, KeyWrapping, OaepHash};
use super::shape::{check_assertion, check_encrypted, check_places, describe_element, refuse_shape};
use super::signature::decode_base64;
use super::verify::{Trust, read_signatures, verify_document};
use super::xml::{XmlBounds, XmlElement, XmlFaultKind, XmlNode, namespace};
use crate::{Class, LoginRefusal};

const ENCRYPTION_11: &str = "http://www.w3.org/2009/xmlenc11#";
const TYPE_ELEMENT: &str = "http://www.w3.org/2001/04/xmlenc#Element";
/// The most wrapped keys that are tried, each a private operation.
const MOST_KEYS: usize = 4;
/// The most encrypted parts of an assertion.
const MOST_PARTS: usize = 32;

/// Opens the encrypted assertion of a response, and verifies it where it is signed; it must be where the response is
/// not.
pub(super) fn open_assertion(
    response: &XmlElement,
    is_signed: bool,
    expected: &SamlExpectations<'_>,
    trust: &Trust<'_>,
) -> Result<XmlElement, LoginRefusal> {
    let encrypted = response
        .first_named(namespace::ASSERTION, "EncryptedAssertion")
        .ok_or_else(|| refuse_shape("an EncryptedAssertion", "none"))?;
    let takes_cbc = is_signed || expected.allow_cbc;
    let opened = open_element(encrypted, takes_cbc, expected.decryption_keys)?;
    let assertion = opened.element()?;
    check_assertion(assertion)?;
    if is_signed && read_signatures(&[assertion])?.is_empty() {
        return Ok(assertion.clone());
    }
    verify_document(&opened.text, &[assertion], trust).map(|signed| signed.root)
}

/// Tells whether an assertion has parts that are encrypted.
pub(super) fn has_encrypted_parts(assertion: &XmlElement) -> bool {
    assertion.elements().any(|statement| {
        part_of(statement)
            .is_some_and(|(encrypted, _)| statement.first_named(namespace::ASSERTION, encrypted).is_some())
    })
}

/// Opens the encrypted name and the encrypted attributes of a signed assertion, each in its place.
pub(super) fn open_parts(
    assertion: &mut XmlElement,
    expected: &SamlExpectations<'_>,
) -> Result<(), LoginRefusal> {
    let mut parts = 0;
    for statement in &mut assertion.children {
        let XmlNode::Element(statement) = statement else { continue };
        let Some((encrypted, plain)) = part_of(statement) else { continue };
        for part in &mut statement.children {
            let XmlNode::Element(part) = part else { continue };
            if !part.is(namespace::ASSERTION, encrypted) {
                continue;
            }
            parts += 1;
            if parts > MOST_PARTS {
                return Err(refuse_shape("at most 32 encrypted parts of an assertion", "more"));
            }
            *part = open_part(part, plain, expected.decryption_keys)?;
        }
    }
    Ok(())
}

/// Opens one encrypted part of what is signed.
pub(super) fn open_part(
    part: &XmlElement,
    plain: &str,
    keys: &[DecryptionKey],
) -> Result<XmlElement, LoginRefusal> {
    check_encrypted(part)?;
    // What is around it is signed, so nobody else can ask questions of the padding.
    let opened = open_element(part, true, keys)?;
    let element = opened.element()?;
    if !element.is(namespace::ASSERTION, plain) {
        return Err(refuse_shape(&format!("{plain} in {}", part.local), describe_element(element)));
    }
    check_places(element, &[])?;
    Ok(element.clone())
}

/// The names of the encrypted and the plain part that an element of an assertion may hold.
fn part_of(element: &XmlElement) -> Option<(&'static str, &'static str)> {
    match &*element.local {
        _ if *element.namespace != *namespace::ASSERTION => None,
        "Subject" => Some(("EncryptedID", "NameID")),
        "AttributeStatement" => Some(("EncryptedAttribute", "Attribute")),
        _ => None,
    }
}

/// A plain text within an element that declares the namespaces of the place where it was: some identity providers
/// leave their declarations outside of what they encrypt.
struct OpenedText {
    text: String,
    root: XmlElement,
}

impl OpenedText {
    fn read(plain: &str, place: &XmlElement) -> Result<Self, LoginRefusal> {
        let mut text = String::from("<opened");
        let mut declared = Vec::new();
        let mut next = place.declarations.as_ref();
        while let Some(declaration) = next {
            next = declaration.outer.as_ref();
            let prefix = declaration.prefix.as_str();
            if declared.contains(&prefix) {
                continue;
            }
            declared.push(prefix);
            let colon = if prefix.is_empty() { "" } else { ":" };
            // A namespace holds nothing that is to be escaped (`tag.rs`).
            let namespace = &declaration.namespace;
            text.push_str(&format!(" xmlns{colon}{prefix}='{namespace}'"));
        }
        text.push('>');
        text.push_str(without_declaration(plain));
        text.push_str("</opened>");
        let root =
            XmlElement::read_document(&text, &XmlBounds::MESSAGE).map_err(|fault| match fault.kind {
                // Garbage is what a wrong key gives.
                XmlFaultKind::Malformed => refuse_unopened(),
                _ => fault.into(),
            })?;
        Ok(Self { text, root })
    }

    /// The one element that was encrypted.
    fn element(&self) -> Result<&XmlElement, LoginRefusal> {
        let mut elements = self.root.elements();
        match (elements.next(), elements.next()) {
            (Some(element), None) if !self.root.has_own_text() => Ok(element),
            (Some(_), Some(_)) => Err(refuse_shape("one encrypted element", "two")),
            _ => Err(refuse_unopened()),
        }
    }
}

fn without_declaration(plain: &str) -> &str {
    let plain = plain.strip_prefix('\u{feff}').unwrap_or(plain);
    match plain.strip_prefix("<?xml ").and_then(|rest| rest.split_once("?>")) {
        Some((_, rest)) => rest,
        None => plain,
    }
}

/// Opens what stands in an encrypted element, whose parts are those of its shape.
fn open_element(
    encrypted: &XmlElement,
    takes_cbc: bool,
    keys: &[DecryptionKey],
) -> Result<OpenedText, LoginRefusal> {
    let data = encrypted.first_named(namespace::ENCRYPTION, "EncryptedData").ok_or_else(refuse_unopened)?;
    if data.attribute("Type").is_some_and(|is| is != TYPE_ELEMENT) {
        return Err(refuse_policy("an encrypted element", data.attribute("Type").unwrap_or_default()));
    }
    let uri = algorithm_of(data);
    let cipher = ContentCipher::from_uri(uri)
        .ok_or_else(|| refuse_policy("AES of 128 or 256 bits in GCM (or CBC)", uri))?;
    check_key_size(data, cipher)?;
    if !cipher.is_authenticated() && !takes_cbc {
        return Err(refuse_policy("AES-GCM, or AES-CBC in a signed Response", uri));
    }
    let text = read_cipher_value(data)?;
    let wrapped = read_wrapped_keys(encrypted, data)?;
    let opened = wrapped.iter().find_map(|(wrapping, wrapped)| {
        let mut unwrapped = keys.iter().filter_map(|key| key.unwrap_key(*wrapping, wrapped));
        unwrapped.find_map(|key| cipher.decrypt(&key, &text))
    });
    // What failed is in OpenSSL's queue of this thread.
    let _ = openssl::error::ErrorStack::get();
    let plain = opened.and_then(|plain| String::from_utf8(plain).ok()).ok_or_else(refuse_unopened)?;
    OpenedText::read(&plain, encrypted)
}

/// The wrapped keys, in the KeyInfo of the data and beside it, and how each is wrapped.
fn read_wrapped_keys(
    encrypted: &XmlElement,
    data: &XmlElement,
) -> Result<Vec<(KeyWrapping, Vec<u8>)>, LoginRefusal> {
    let infos = data.elements_named(namespace::SIGNATURE, "KeyInfo");
    let inside = infos.flat_map(|info| info.elements_named(namespace::ENCRYPTION, "EncryptedKey"));
    let beside = encrypted.elements_named(namespace::ENCRYPTION, "EncryptedKey");
    let keys: Vec<_> = inside.chain(beside).collect();
    if keys.is_empty() || keys.len() > MOST_KEYS {
        return Err(refuse_policy("one to four EncryptedKeys", format!("{}", keys.len())));
    }
    keys.into_iter().map(|key| Ok((read_wrapping(key)?, read_cipher_value(key)?))).collect()
}

/// Reads how a key is wrapped: RSA-OAEP, with or without its hashes named.
fn read_wrapping(key: &XmlElement) -> Result<KeyWrapping, LoginRefusal> {
    let uri = algorithm_of(key);
    let is_new = match uri {
        "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p" => false,
        "http://www.w3.org/2009/xmlenc11#rsa-oaep" => true,
        other => return Err(refuse_policy("a key encrypted by RSA-OAEP", other)),
    };
    let mut wrapping = KeyWrapping { digest: OaepHash::Sha1, mask: OaepHash::Sha1 };
    for parameter in
        key.first_named(namespace::ENCRYPTION, "EncryptionMethod").into_iter().flat_map(|m| m.elements())
    {
        let uri = parameter.attribute("Algorithm").unwrap_or("no algorithm");
        match uri {
            "http://www.w3.org/2000/09/xmldsig#sha1"
                if parameter.is(namespace::SIGNATURE, "DigestMethod") => {}
            "http://www.w3.org/2001/04/xmlenc#sha256"
                if parameter.is(namespace::SIGNATURE, "DigestMethod") =>
            {
                wrapping.digest = OaepHash::Sha256;
            }
            "http://www.w3.org/2009/xmlenc11#mgf1sha1" if parameter.is(ENCRYPTION_11, "MGF") => {}
            "http://www.w3.org/2009/xmlenc11#mgf1sha256" if is_new && parameter.is(ENCRYPTION_11, "MGF") => {
                wrapping.mask = OaepHash::Sha256;
            }
            _ => {
                let got = format!("{} with {uri}", parameter.local);
                return Err(refuse_policy("RSA-OAEP with SHA-1 or SHA-256", got));
            }
        }
    }
    Ok(wrapping)
}

/// Checks that a method says no other size of the key than its algorithm has.
fn check_key_size(data: &XmlElement, cipher: ContentCipher) -> Result<(), LoginRefusal> {
    let method = data.first_named(namespace::ENCRYPTION, "EncryptionMethod");
    let bits = cipher.key_bits().to_string();
    match method.into_iter().flat_map(XmlElement::elements).next() {
        Some(size) if size.is(namespace::ENCRYPTION, "KeySize") && size.text() == Some(&*bits) => Ok(()),
        Some(other) => {
            Err(refuse_policy(&format!("a key of {bits} bits and nothing else"), other.local.clone()))
        }
        None => Ok(()),
    }
}

/// The algorithm of an encrypted thing; empty where it names none.
fn algorithm_of(encrypted: &XmlElement) -> &str {
    let method = encrypted.first_named(namespace::ENCRYPTION, "EncryptionMethod");
    method.and_then(|method| method.attribute("Algorithm")).unwrap_or_default()
}

/// Reads the bytes of an encrypted thing, which stand in the message and nowhere else.
fn read_cipher_value(encrypted: &XmlElement) -> Result<Vec<u8>, LoginRefusal> {
    let data = encrypted.first_named(namespace::ENCRYPTION, "CipherData").ok_or_else(refuse_unopened)?;
    let mut values = data.elements();
    match (values.next(), values.next()) {
        (Some(value), None) if value.is(namespace::ENCRYPTION, "CipherValue") => {
            value.text().and_then(decode_base64).ok_or_else(refuse_unopened)
        }
        (Some(value), _) => Err(refuse_policy("a CipherValue", value.local.clone())),
        (None, _) => Err(refuse_unopened()),
    }
}

fn refuse_policy(expected: &str, got: impl std::fmt::Display) -> LoginRefusal {
    LoginRefusal::new(
        Class::SamlDecrypt,
        expected,
        got,
        "Set the encryption of the identity provider's application to AES-GCM (\"AES256-GCM\") and its key transport to \
         RSA-OAEP; or sign the whole response, or set `allow_cbc` of the identity provider in our configuration.",
    )
}

/// The one refusal of whatever does not open: it does not say at which step.
fn refuse_unopened() -> LoginRefusal {
    LoginRefusal::new(
        Class::SamlDecrypt,
        "something encrypted to one of our keys",
        "something that does not open",
        "Upload our metadata (`portcullis urls` prints its address) or our encryption certificate to the identity \
         provider's application again: it encrypts to an old key.",
    )
}
