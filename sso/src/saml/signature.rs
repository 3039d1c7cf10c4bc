//! The shape of a signature: the one way of signing that every identity provider has, and nothing else of XML
//! Signature.
//!
//! One reference to the element that holds the signature, the enveloped-signature transform and exclusive
//! canonicalization, methods of a list. What else XML Signature knows (objects, manifests, XPath, XSLT, references that
//! are fetched) is refused before a library sees it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_keys::{SignedHash, sha256};

use super::xml::{XmlElement, is_white_space, namespace};
use crate::{Class, LoginRefusal};

/// The most inclusive prefixes: each is looked up at every element.
const MOST_PREFIXES: usize = 32;
pub(crate) const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const SIGNATURE_METHODS: [(&str, KeyFamily, SignedHash); 7] = [
    ("http://www.w3.org/2000/09/xmldsig#rsa-sha1", KeyFamily::Rsa, SignedHash::Sha1),
    ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", KeyFamily::Rsa, SignedHash::Sha256),
    ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha384", KeyFamily::Rsa, SignedHash::Sha384),
    ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha512", KeyFamily::Rsa, SignedHash::Sha512),
    ("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", KeyFamily::Ecdsa, SignedHash::Sha256),
    ("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384", KeyFamily::Ecdsa, SignedHash::Sha384),
    ("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512", KeyFamily::Ecdsa, SignedHash::Sha512),
];
const DIGEST_METHODS: [(&str, SignedHash); 4] = [
    ("http://www.w3.org/2000/09/xmldsig#sha1", SignedHash::Sha1),
    ("http://www.w3.org/2001/04/xmlenc#sha256", SignedHash::Sha256),
    ("http://www.w3.org/2001/04/xmldsig-more#sha384", SignedHash::Sha384),
    ("http://www.w3.org/2001/04/xmlenc#sha512", SignedHash::Sha512),
];

/// Finds the signature method that a URI names; SHA-1 is among them.
pub(crate) fn find_signature_method(uri: &str) -> Option<(KeyFamily, SignedHash)> {
    SIGNATURE_METHODS.into_iter().find_map(|(known, family, hash)| (known == uri).then_some((family, hash)))
}

/// The kind of keys that a signature method takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyFamily {
    /// RSA, PKCS#1 v1.5.
    Rsa,
    /// ECDSA over any curve.
    Ecdsa,
}

/// A signature that is built as we take it, not yet verified.
pub(crate) struct SignatureShape<'a> {
    /// The element that holds the signature and is what it signs.
    pub(crate) signed: &'a XmlElement,
    pub(crate) element: &'a XmlElement,
    pub(crate) signed_info: &'a XmlElement,
    /// The inclusive prefixes of the canonicalization of `signed_info`.
    pub(crate) info_prefixes: Vec<String>,
    /// The inclusive prefixes of the canonicalization of `signed`.
    pub(crate) prefixes: Vec<String>,
    pub(crate) family: KeyFamily,
    pub(crate) hash: SignedHash,
    pub(crate) digest_hash: SignedHash,
    pub(crate) digest: Vec<u8>,
    pub(crate) value: Vec<u8>,
    /// The SHA-256 of the certificate that the message names, for whoever reads the refusal.
    pub(crate) named_certificate: Option<[u8; 32]>,
}

impl<'a> SignatureShape<'a> {
    /// Reads the signature that stands directly in an element; `None` where there is none.
    ///
    /// # Errors
    /// `signature_policy`, where it is built in any other way, or there are two.
    pub(crate) fn read_in(signed: &'a XmlElement) -> Result<Option<Self>, LoginRefusal> {
        let mut signatures = signed.elements_named(namespace::SIGNATURE, "Signature");
        let Some(element) = signatures.next() else { return Ok(None) };
        if signatures.next().is_some() {
            return Err(refuse_policy("one signature in an element", "two"));
        }
        let [signed_info, value, rest @ ..] = &*take_children(element, &["Id"])? else {
            return Err(refuse_policy("SignedInfo and SignatureValue in a signature", "less"));
        };
        let named_certificate = match rest {
            [] => None,
            [key_info] => read_key_info(key_info)?,
            [_, other, ..] => {
                return Err(refuse_policy("no more than KeyInfo in a signature", other.written_name()));
            }
        };
        expect_name(signed_info, "SignedInfo")?;
        expect_name(value, "SignatureValue")?;
        let [canonicalization, method, reference] = &*take_children(signed_info, &["Id"])? else {
            return Err(refuse_policy(
                "one method of each kind and one reference",
                "more or less in SignedInfo",
            ));
        };
        expect_name(canonicalization, "CanonicalizationMethod")?;
        expect_name(method, "SignatureMethod")?;
        let info_prefixes = read_exclusive_c14n(canonicalization)?;
        let (family, hash) = bare_algorithm(method)
            .and_then(find_signature_method)
            .ok_or_else(|| refuse_method("RSA or ECDSA with SHA-256, SHA-384 or SHA-512", method))?;
        let reference = read_reference(reference, signed)?;
        let value = read_base64(value, &["Id"])?;
        if value.is_empty() || family == KeyFamily::Ecdsa && has_zero_half(&value) {
            return Err(refuse_policy("a signature value", "nothing but zeros in it"));
        }
        let SignedReference { prefixes, digest_hash, digest } = reference;
        Ok(Some(Self {
            signed,
            element,
            signed_info,
            info_prefixes,
            prefixes,
            family,
            hash,
            digest_hash,
            digest,
            value,
            named_certificate,
        }))
    }

    /// Tells whether SHA-1 has a part in it.
    pub(crate) fn has_sha1(&self) -> bool {
        self.hash == SignedHash::Sha1 || self.digest_hash == SignedHash::Sha1
    }
}

struct SignedReference {
    prefixes: Vec<String>,
    digest_hash: SignedHash,
    digest: Vec<u8>,
}

/// Reads the reference: to the element that holds the signature, by its `ID`, by two transforms.
fn read_reference(reference: &XmlElement, signed: &XmlElement) -> Result<SignedReference, LoginRefusal> {
    expect_name(reference, "Reference")?;
    let [transforms, method, digest] = &*take_children(reference, &["Id", "URI"])? else {
        return Err(refuse_policy("Transforms, DigestMethod and DigestValue in Reference", "more or less"));
    };
    let uri = reference.attribute("URI").unwrap_or("(none)");
    let id = signed.attribute("ID").unwrap_or_default();
    if id.is_empty() || uri.strip_prefix('#') != Some(id) {
        return Err(refuse_policy(&format!("a reference to the signed element, #{id}"), uri));
    }
    expect_name(transforms, "Transforms")?;
    let [enveloped, canonicalization] = &*take_children(transforms, &[])? else {
        return Err(refuse_policy(
            "two transforms, enveloped signature and exclusive canonicalization",
            "more or less",
        ));
    };
    expect_name(enveloped, "Transform")?;
    expect_name(canonicalization, "Transform")?;
    if bare_algorithm(enveloped) != Some(ENVELOPED) {
        return Err(refuse_method("the enveloped-signature transform first", enveloped));
    }
    expect_name(method, "DigestMethod")?;
    expect_name(digest, "DigestValue")?;
    let digest_hash = DIGEST_METHODS
        .into_iter()
        .find_map(|(uri, hash)| (bare_algorithm(method) == Some(uri)).then_some(hash))
        .ok_or_else(|| refuse_method("a digest by SHA-256, SHA-384 or SHA-512", method))?;
    Ok(SignedReference {
        prefixes: read_exclusive_c14n(canonicalization)?,
        digest_hash,
        digest: read_base64(digest, &[])?,
    })
}

/// Reads the inclusive prefixes of an exclusive canonicalization, which is the only one we take.
fn read_exclusive_c14n(method: &XmlElement) -> Result<Vec<String>, LoginRefusal> {
    if method.attribute("Algorithm") != Some(namespace::EXCLUSIVE_C14N) || method.attributes.len() != 1 {
        return Err(refuse_method("exclusive canonicalization without comments", method));
    }
    let fault =
        || refuse_policy("at most one InclusiveNamespaces in a canonicalization", method.written_name());
    let below: Vec<_> = method.elements().collect();
    match &*below {
        _ if method.has_own_text() => Err(fault()),
        [] => Ok(Vec::new()),
        [list] if list.is(namespace::EXCLUSIVE_C14N, "InclusiveNamespaces") && list.text() == Some("") => {
            let prefixes = list.attribute("PrefixList").filter(|_| list.attributes.len() == 1);
            let prefixes =
                prefixes.ok_or_else(fault)?.split(is_white_space).filter(|prefix| !prefix.is_empty());
            let prefixes: Vec<_> =
                prefixes.map(|prefix| if prefix == "#default" { "" } else { prefix }).collect();
            if prefixes.len() > MOST_PREFIXES {
                return Err(refuse_policy("at most 32 prefixes in InclusiveNamespaces", prefixes.len()));
            }
            Ok(prefixes.into_iter().map(str::to_owned).collect())
        }
        _ => Err(fault()),
    }
}

/// Reads over what the message says of its key, which nothing is decided by.
fn read_key_info(key_info: &XmlElement) -> Result<Option<[u8; 32]>, LoginRefusal> {
    expect_name(key_info, "KeyInfo")?;
    let mut named = None;
    for hint in take_children(key_info, &["Id"])? {
        if !matches!(&*hint.local, "X509Data" | "KeyValue" | "KeyName") {
            return Err(refuse_policy("X509Data, KeyValue or KeyName in KeyInfo", hint.written_name()));
        }
        let certificate =
            hint.first_named(namespace::SIGNATURE, "X509Certificate").and_then(XmlElement::text);
        named = named.or_else(|| certificate.and_then(decode_base64).map(|der| sha256(&der)));
    }
    Ok(named)
}

/// The elements directly below, all of XML Signature, with no text between them and no attribute besides `known`.
fn take_children<'a>(element: &'a XmlElement, known: &[&str]) -> Result<Vec<&'a XmlElement>, LoginRefusal> {
    check_attributes(element, known)?;
    if element.has_own_text() {
        return Err(refuse_policy("no text between the parts of a signature", element.written_name()));
    }
    element
        .elements()
        .map(|child| match &*child.namespace {
            namespace::SIGNATURE => Ok(child),
            _ => Err(refuse_policy("parts of XML Signature in a signature", child.written_name())),
        })
        .collect()
}

fn check_attributes(element: &XmlElement, known: &[&str]) -> Result<(), LoginRefusal> {
    let foreign = element
        .attributes
        .iter()
        .find(|attribute| !attribute.namespace.is_empty() || !known.contains(&&*attribute.local));
    match foreign {
        Some(attribute) => Err(refuse_policy(
            "no other attributes in a signature",
            format!("{} of {}", attribute.local, element.local),
        )),
        None => Ok(()),
    }
}

fn expect_name(element: &XmlElement, local: &'static str) -> Result<(), LoginRefusal> {
    if element.is(namespace::SIGNATURE, local) {
        return Ok(());
    }
    Err(refuse_policy(&format!("{local} in its place in a signature"), element.written_name()))
}

/// The algorithm of a method that says nothing else.
fn bare_algorithm(method: &XmlElement) -> Option<&str> {
    let is_blank = method.text().is_some_and(|text| text.chars().all(is_white_space));
    method.attribute("Algorithm").filter(|_| is_blank && method.attributes.len() == 1)
}

fn read_base64(element: &XmlElement, known: &[&str]) -> Result<Vec<u8>, LoginRefusal> {
    check_attributes(element, known)?;
    element.text().and_then(decode_base64).ok_or_else(|| {
        refuse_policy("base64 and nothing else", format!("something else in {}", element.local))
    })
}

/// Decodes strict base64 with white space in it.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let letters: String = text.chars().filter(|c| !is_white_space(*c)).collect();
    STANDARD.decode(letters).ok()
}

/// Tells whether r or s of an ECDSA signature is zero, which some libraries take for a signature of everything.
fn has_zero_half(value: &[u8]) -> bool {
    let (r, s) = value.split_at(value.len() / 2);
    [r, s].iter().any(|half| half.iter().all(|byte| *byte == 0))
}

fn refuse_method(expected: &str, method: &XmlElement) -> LoginRefusal {
    let got = match method.attribute("Algorithm") {
        Some(algorithm) => format!("{}: {algorithm}", method.local),
        None => format!("{} without an algorithm", method.local),
    };
    refuse_policy(expected, got)
}

pub(crate) fn refuse_policy(expected: &str, got: impl std::fmt::Display) -> LoginRefusal {
    LoginRefusal::new(
        Class::SamlSignaturePolicy,
        expected,
        got,
        "Set the signature algorithm of the identity provider's application to RSA-SHA256 (its digest SHA-256), and let \
         it sign the response or the assertion in its ordinary way.",
    )
}
