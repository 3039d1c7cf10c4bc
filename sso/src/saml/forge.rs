//! An identity provider for the tests: keys with certificates, and signatures over whatever they are given.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use openssl::x509::X509;

use super::canonical::canonicalize_element;
use super::idp_key::IdpKey;
use super::xml::{XmlBounds, XmlElement, namespace};

/// The place of the signature in a text that is to be signed.
pub(crate) const PLACE: &str = "[signature]";

pub(crate) static RSA: LazyLock<Forger> = LazyLock::new(|| Forger::with_rsa(2048));
pub(crate) static OTHER_RSA: LazyLock<Forger> = LazyLock::new(|| Forger::with_rsa(2048));
pub(crate) static P256: LazyLock<Forger> = LazyLock::new(|| Forger::with_curve(Nid::X9_62_PRIME256V1));

/// A key that signs.
pub(crate) struct Forger {
    key: PKey<Private>,
    certificate: Vec<u8>,
}

/// A signature that is to be made; what tests bend is in it.
#[derive(Clone)]
pub(crate) struct Wanted<'a> {
    pub(crate) method: &'a str,
    pub(crate) digest_method: &'a str,
    pub(crate) hash: MessageDigest,
    pub(crate) prefix_list: &'a str,
    /// The reference, where it is not to the element itself.
    pub(crate) uri: Option<&'a str>,
    /// The bytes that are digested, where they are not the canonical text.
    pub(crate) referred: Option<&'a [u8]>,
}

impl Forger {
    pub(crate) fn with_rsa(bits: u32) -> Self {
        Self::with_key(PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap())
    }

    pub(crate) fn with_curve(curve: Nid) -> Self {
        let group = EcGroup::from_curve_name(curve).unwrap();
        Self::with_key(PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap())
    }

    fn with_key(key: PKey<Private>) -> Self {
        let mut builder = X509::builder().unwrap();
        builder.set_pubkey(&key).unwrap();
        let mut serial = openssl::bn::BigNum::new().unwrap();
        serial.rand(64, openssl::bn::MsbOption::ONE, false).unwrap();
        builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self { certificate: builder.build().to_der().unwrap(), key }
    }

    /// The same key in another certificate.
    pub(crate) fn renewed(&self) -> Self {
        Self::with_key(self.key.clone())
    }

    pub(crate) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    pub(crate) fn idp_key(&self) -> IdpKey {
        IdpKey::from_certificate(&self.certificate).unwrap()
    }

    /// What an ordinary identity provider makes.
    pub(crate) fn ordinary(&self) -> Wanted<'static> {
        Wanted {
            method: if self.key.rsa().is_ok() {
                "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
            } else {
                "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
            },
            digest_method: "http://www.w3.org/2001/04/xmlenc#sha256",
            hash: MessageDigest::sha256(),
            prefix_list: "",
            uri: None,
            referred: None,
        }
    }

    /// Signs the element of an ID and puts the signature into its place, where there is exactly one.
    pub(crate) fn sign(&self, text: &str, id: &str, wanted: &Wanted<'_>) -> String {
        let bounds = XmlBounds { bytes: 1 << 24, elements: 1 << 20, ..XmlBounds::MESSAGE };
        let bare = XmlElement::read_document(&text.replace(PLACE, ""), &bounds).unwrap();
        let signed = bare.descendants().find(|element| element.attribute("ID") == Some(id)).unwrap();
        let prefixes: Vec<String> = wanted
            .prefix_list
            .split_whitespace()
            .map(|prefix| if prefix == "#default" { String::new() } else { prefix.to_owned() })
            .collect();
        let canonical = canonicalize_element(signed, &prefixes, None);
        let referred = wanted.referred.unwrap_or(canonical.as_bytes());
        let digest = STANDARD.encode(openssl::hash::hash(wanted.hash, referred).unwrap());
        let list = match wanted.prefix_list {
            "" => String::new(),
            list => format!(
                "<ec:InclusiveNamespaces xmlns:ec=\"{}\" PrefixList=\"{list}\"></ec:InclusiveNamespaces>",
                namespace::EXCLUSIVE_C14N
            ),
        };
        let (exclusive, dsig) = (namespace::EXCLUSIVE_C14N, namespace::SIGNATURE);
        let uri = wanted.uri.map_or_else(|| format!("#{id}"), str::to_owned);
        let transforms = if wanted.referred.is_some() {
            String::new()
        } else {
            format!(
                "<ds:Transforms><ds:Transform Algorithm=\"{dsig}enveloped-signature\"></ds:Transform>\
                 <ds:Transform Algorithm=\"{exclusive}\">{list}</ds:Transform></ds:Transforms>"
            )
        };
        let info = format!(
            "<ds:SignedInfo xmlns:ds=\"{dsig}\"><ds:CanonicalizationMethod Algorithm=\"{exclusive}\">\
             </ds:CanonicalizationMethod><ds:SignatureMethod Algorithm=\"{}\"></ds:SignatureMethod>\
             <ds:Reference URI=\"{uri}\">{transforms}<ds:DigestMethod Algorithm=\"{}\"></ds:DigestMethod>\
             <ds:DigestValue>{digest}</ds:DigestValue></ds:Reference></ds:SignedInfo>",
            wanted.method, wanted.digest_method
        );
        let value = STANDARD.encode(self.sign_bytes(info.as_bytes(), wanted.hash));
        let signature = format!(
            "<ds:Signature xmlns:ds=\"{dsig}\">{info}<ds:SignatureValue>{value}</ds:SignatureValue></ds:Signature>"
        );
        text.replace(PLACE, &signature)
    }

    fn sign_bytes(&self, bytes: &[u8], hash: MessageDigest) -> Vec<u8> {
        let mut signer = Signer::new(hash, &self.key).unwrap();
        let signature = signer.sign_oneshot_to_vec(bytes).unwrap();
        if self.key.rsa().is_ok() {
            return signature;
        }
        let length = i32::try_from(self.key.bits().div_ceil(8)).unwrap();
        let signature = EcdsaSig::from_der(&signature).unwrap();
        [signature.r().to_vec_padded(length).unwrap(), signature.s().to_vec_padded(length).unwrap()].concat()
    }
}
